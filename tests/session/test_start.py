"""A backend that cannot be started is said in one line: which interpreter, and what it said."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from calling import FAULTY, ask, assert_answered
from leftovers import RUN, processes_of

from bce_conformance.model import dtypes
from bce_conformance.session import BackendUnavailable, IsolatedSession, isolated, process, worker

Open = Callable[..., IsolatedSession]


def refusal(open_session: Open, capfd: pytest.CaptureFixture[str], **settings: object) -> str:
    """What is said when a start fails; nothing else may reach the terminal, or be left."""
    with pytest.raises(BackendUnavailable) as caught:
        open_session(**settings)
    assert capfd.readouterr() == ("", "")
    assert not processes_of(os.environ[RUN])
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("faulty on ")
    assert str(settings.get("python", sys.executable)) in message
    return message


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_no_such_interpreter(open_session: Open, capfd: pytest.CaptureFixture[str]) -> None:
    said = refusal(open_session, capfd, python="/no such/python")
    assert said.endswith("/no such/python: cannot be executed: No such file or directory")


def test_not_executable(
    open_session: Open, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "python").write_text("")
    said = refusal(open_session, capfd, python=str(tmp_path / "python"))
    assert said.endswith("cannot be executed: Permission denied")


def test_not_a_program(
    open_session: Open, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = refusal(open_session, capfd, python=script(tmp_path / "python", "\x7fELF?"))
    assert said.endswith("cannot be executed: Exec format error")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\nexit 0\n", "ended at: the interpreter with exit status 0"),
        ("#!/bin/sh\necho hello\nsleep 0.1\n", "ended at: the interpreter with exit status 0"),
        (
            "#!/bin/sh\necho 'no 3.10' >&2; exit 127\n",
            "exit status 127; its last line: no 3.10",
        ),
        ("#!/bin/sh\nkill -9 $$\n", "signal 9 (SIGKILL)"),
        ("#!/bin/sh\nexec yes\n", "closed connection"),
    ],
)
def test_not_a_python(
    open_session: Open, capfd: pytest.CaptureFixture[str], tmp_path: Path, text: str, said: str
) -> None:
    assert said in refusal(open_session, capfd, python=script(tmp_path / "python", text))


def test_an_interpreter_that_does_not_answer(
    open_session: Open, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    python = script(tmp_path / "python", "#!/bin/sh\nsleep 1000\n")
    said = refusal(open_session, capfd, python=python, start_timeout=0.5)
    assert said.endswith("did not start within 0.5 s: no answer from a Python interpreter")


def test_too_old_a_python(
    open_session: Open, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "BOOTSTRAP", process.BOOTSTRAP.replace("(3,8)", "(9,9)"))
    said = refusal(open_session, capfd)
    assert "Python 3.8 or later is needed, this is 3." in said


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment without numpy, with spaces in its path."""
    folder = tmp_path_factory.mktemp("an environment") / "with spaces"
    venv.create(folder, with_pip=False, symlinks=True)
    return folder


def test_without_numpy(open_session: Open, capfd: pytest.CaptureFixture[str], bare: Path) -> None:
    said = refusal(open_session, capfd, python=str(bare / "bin/python"))
    assert said.endswith("ModuleNotFoundError: No module named 'numpy'")


def test_a_path_with_spaces(open_session: Open, bare: Path) -> None:
    (packages,) = bare.glob("lib/python*/site-packages")
    numpy_alone = packages / "numpy.pth"
    numpy_alone.write_text(str(Path(np.__file__).parents[1]))
    session = open_session(python=str(bare / "bin/python"))
    numpy_alone.unlink()
    call = ask()
    assert_answered(session.run(call), call)
    assert session.backend.numpy == np.__version__


def test_the_suites_own_path_does_not_reach_another_interpreter(
    monkeypatch: pytest.MonkeyPatch, bare: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/suite")
    monkeypatch.setenv("PYTHONHOME", "/suite")
    monkeypatch.setenv("PYTHONINSPECT", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    foreign = process.environment(str(bare / "bin/python"), {"EXTRA": "1"})
    assert not {"PYTHONPATH", "PYTHONHOME", "PYTHONINSPECT"} & set(foreign)
    assert (foreign["EXTRA"], foreign["OMP_NUM_THREADS"]) == ("1", "3")
    assert process.environment(sys.executable, {})["PYTHONPATH"] == "/suite"
    assert process.environment("/x/python", {"PYTHONPATH": "/ascend"})["PYTHONPATH"] == "/ascend"


def test_files_where_the_suite_is_started_are_not_imported(
    open_session: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this numpy')")
    monkeypatch.chdir(tmp_path)
    call = ask()
    assert_answered(open_session().run(call), call)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_framework", "import raised ModuleNotFoundError: No module named 'no_such"),
        ("this is no Python", "import raised SyntaxError"),
        ("raise RuntimeError('two\\nlines')", "import raised RuntimeError: two lines"),
        ("raise SystemExit(3)", "import raised SystemExit: 3"),
        ("", "open raised AttributeError"),
    ],
)
def test_an_adapter_that_cannot_be_imported(
    open_session: Open, capfd: pytest.CaptureFixture[str], source: str, said: str
) -> None:
    assert said in refusal(open_session, capfd, source=source)


def test_a_device_or_mode_that_is_not_there(
    open_session: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    said = refusal(open_session, capfd, device="cuda:7")
    assert said == (
        f"faulty on cuda:7 (eager) in {sys.executable}: open raised ValueError: no device 'cuda:7'"
    )


STARTS = {"import": "start of the adapter", "open": "open", "describe": "describe"}


@pytest.mark.parametrize("where", STARTS)
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("SIGKILL", "signal 9 (SIGKILL)"),
        ("SIGSEGV", "signal 11 (SIGSEGV); its last line: "),
        ("exit 0", "exit status 0"),
        ("close everything", ""),
    ],
)
def test_a_death_at_start(
    open_session: Open, capfd: pytest.CaptureFixture[str], where: str, how: str, said: str
) -> None:
    source = f"{FAULTY}\nHOW[{how!r}]()" if where == "import" else FAULTY
    mode = "eager" if where == "import" else f"{where}: {how}"
    message = refusal(open_session, capfd, source=source, mode=mode)
    assert said in message
    if how != "close everything":
        assert f"ended at: {STARTS[where]} with " in message


@pytest.mark.parametrize("how", ["hold the GIL", "flood 2", "SIGSTOP"])
def test_a_hang_at_start(open_session: Open, capfd: pytest.CaptureFixture[str], how: str) -> None:
    for seconds in (1, 5, 25, 125):
        message = refusal(open_session, capfd, mode=f"open: {how}", start_timeout=seconds)
        if "it hung at: open" in message:
            break  # on a busy machine, getting that far may take longer
    assert f"did not start within {seconds} s: it hung at: open" in message


@pytest.mark.parametrize("how", ["print", "child", "orphan", "close 1 and 2", "fork"])
def test_what_a_framework_may_do_at_start(open_session: Open, how: str) -> None:
    session = open_session(mode=f"open: {how}")
    call = ask()
    assert_answered(session.run(call), call)


def test_what_answers_is_described(open_session: Open) -> None:
    backend = open_session().backend
    assert (backend.adapter, backend.framework_version) == ("faulty", "1")
    assert (backend.device, backend.mode, backend.platform_kind) == ("cpu", "eager", "CPU")
    assert backend.python == ".".join(map(str, sys.version_info[:3]))
    assert backend.surfaces == ("faulty.loss", "faulty.pid", "faulty.layouts")
    assert list(backend.cpu_flags) == sorted(backend.cpu_flags)


def test_a_worker_that_cannot_be_started_again(open_session: Open, tmp_path: Path) -> None:
    once = tmp_path / "once"
    source = f"import os\nif os.path.exists({str(once)!r}): os.abort()\n{FAULTY}"
    session = open_session(source)
    once.touch()
    session.run(ask("before", "SIGKILL"))
    with pytest.raises(BackendUnavailable, match=r"signal 6 \(SIGABRT\)"):
        session.run(ask())
    once.unlink()
    call = ask()
    assert_answered(session.run(call), call)


def test_descriptors_and_threads_are_given_back(open_session: Open) -> None:
    def held() -> tuple[int, int]:
        import threading

        return len(os.listdir("/proc/self/fd")), threading.active_count()

    session = open_session()
    session.run(ask("before", "SIGKILL"))
    before = held()
    for _ in range(4):
        session.run(ask("before", "SIGKILL"))
    assert held() == before


def test_the_worker_is_python_3_8() -> None:
    import ast

    ast.parse(isolated.far_source(), feature_version=(3, 8))
    assert worker.CARRIERS == dtypes.CARRIERS


def old_python() -> str:
    """A Python 3.8 with numpy: named by the environment, on the path, or pyenv's."""
    candidates = [os.environ.get("BCE_PYTHON_3_8", "python3.8"), "python3.8"]
    candidates += map(str, Path.home().glob(".pyenv/versions/3.8*/bin/python3.8"))
    for candidate in candidates:
        probe = "import sys, numpy; sys.exit(sys.version_info[:2] != (3, 8))"
        try:
            if (
                candidate
                and subprocess.run([candidate, "-c", probe], capture_output=True).returncode == 0
            ):
                return candidate
        except OSError:
            continue
    pytest.skip("no Python 3.8 with numpy found; BCE_PYTHON_3_8 may name one")


def test_a_real_python_3_8(open_session: Open) -> None:
    import shutil

    python = shutil.which(old_python())
    assert python is not None
    session = open_session(python=python)
    for how in ("nothing", "unprintable", "SIGSEGV", "print"):
        session.run(ask("before" if how != "nothing" else None, how))
        call = ask()
        assert_answered(session.run(call), call)
    assert session.backend.python.startswith("3.8.")
