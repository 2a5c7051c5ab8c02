"""`run` from outside: exit statuses, what is printed, what is written. No traceback, ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "bce_conformance"]
Planted = Callable[..., Path]


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BCE_CONFORMANCE_DEBUG": "", "COLUMNS": "120"}
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=environment
    )
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done


def reports(folder: Path) -> list[dict]:  # type: ignore[type-arg]
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def test_conforms(tmp_path: Path) -> None:
    done = run("run", "--only", "cases", "--backend", "numpy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "0 failing checks" in done.stdout
    assert done.stdout.endswith("nothing new deviates: exit status 0\n")
    (report,) = reports(tmp_path / "bce-reports")
    assert set(report["summary"]) == {"conforms"}
    assert (tmp_path / "bce-reports" / "summary.md").exists()


FAULTS = [
    ("pos_weight on both terms", "(1 - y) * softplus(x))", "p * (1 - y) * softplus(x))",
     "unreduced-formula"),
    ("mean where sum is due", '"sum": numpy.sum', '"sum": numpy.mean', "reductions"),
    ("another default", 'reduction="mean"):', 'reduction="sum"):', "reductions"),
    ("weight unchecked", "!= x.shape:\n            raise", "== 0:\n            raise",
     "weight-too-long"),
    ("any reduction taken", 'not in ("none", "mean", "sum")', "is None", "unknown-reduction"),
    ("another error", "raise ValueError(\"reduction", "raise KeyError(\"reduction",
     "unknown-reduction"),
    ("promoted", "yield quantity, str(value.dtype), value",
     "value = value.astype('float64'); yield quantity, 'float64', value", "dtype-of-result"),
    ("gradient not over n", "arriving = (numpy.float64(1) * arriving / x.size).astype(x.dtype)",
     "pass", "reductions"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("right", "wrong", "named"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_a_planted_fault_is_found(
    tmp_path: Path, planted: Planted, right: str, wrong: str, named: str
) -> None:
    adapter = planted("numpy", right=right, wrong=wrong)
    done = run("run", "--only", "cases", "--backend", "numpy", "--adapter", adapter, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    (report,) = reports(tmp_path / "bce-reports")
    failing = [c["id"] for c in report["checks"] if c["verdict"] in ("deviates", "crashed")]
    assert any(f"/documented/{named}" in check for check in failing), failing


def test_a_crash_does_not_stop_the_run(tmp_path: Path, planted: Planted) -> None:
    adapter = planted(
        "numpy",
        right="arguments, options, want, upstream = prepared\n",
        wrong="arguments, options, want, upstream = prepared\n"
        "        import os\n"
        "        if options.get('reduction') == 'avg': os.abort()\n",
    )
    done = run("run", "--only", "cases", "--backend", "numpy", "--adapter", adapter, cwd=tmp_path)
    assert done.returncode == 1
    (report,) = reports(tmp_path / "bce-reports")
    (crashed,) = [c for c in report["checks"] if c["verdict"] == "crashed"]
    assert "SIGABRT" in crashed["summary"]
    assert len(report["checks"]) == 37 and report["summary"]["conforms"] == 36


def test_a_hang_does_not_stop_the_run(tmp_path: Path, planted: Planted) -> None:
    adapter = planted(
        "numpy",
        right="arguments, options, want, upstream = prepared\n",
        wrong="arguments, options, want, upstream = prepared\n"
        "        while options.get('reduction') == 'avg': pass\n",
    )
    done = run(
        "run",
        "--only",
        "cases",
        "--backend",
        "numpy",
        "--adapter",
        adapter,
        "--timeout",
        "2",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    (report,) = reports(tmp_path / "bce-reports")
    assert report["summary"] == {"conforms": 36, "timed-out": 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "--backend"),
        (["run", "--only", "cases", "--backend", "torhc"], "expected one of"),
        (
            ["run", "--only", "cases", "--backend", "numpy", "--surface", "torch.nn.BCE"],
            "--surface: expected one of",
        ),
        (
            ["run", "--only", "cases", "--backend", "numpy", "--dtype", "float8"],
            "--dtype: expected one of",
        ),
        (
            ["run", "--only", "cases", "--backend", "numpy", "--shard", "3/2"],
            "--shard: expected I/N",
        ),
        (["run", "--only", "cases", "--backend", "numpy", "--shard", "x"], "--shard: expected I/N"),
        (["run", "--only", "cases", "--backend", "numpy", "--seed", "-1"], "natural number"),
        (["run", "--only", "cases", "--backend", "numpy", "--timeout", "0"], "positive number"),
        (["run", "--only", "cases", "--backend", "numpy", "--profile", "slow"], "invalid choice"),
        (
            ["run", "--only", "cases", "--backend", "numpy", "--backend", "numpy"],
            "each backend once",
        ),
        (
            ["run", "--only", "cases", "--backend", "numpy", "--report-dir", "/dev/null/x"],
            "--report-dir",
        ),
        (["run", "--only", "cases", "--backend", "numpy", "--adapter", "absent.py"], "absent.py"),
        (
            ["run", "--only", "cases", "--backend", "numpy", "--cases", "absent"],
            "absent:1:1: expected",
        ),
        (["walk"], "invalid choice"),
        (["replay", "absent.json", "x"], "absent.json"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("source", "said"),
    [("x = 1\n", "it lacks NAME"), ("1/0\n", "ZeroDivisionError"), ("def\n", "SyntaxError")],
)
def test_not_an_adapter(tmp_path: Path, source: str, said: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(source)
    done = run("run", "--only", "cases", "--backend", "numpy", "--adapter", file, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("/nowhere/python", "/nowhere/python"),
        ("/bin/false", "/bin/false"),
        ("/etc/passwd", "passwd"),
    ],
)
def test_no_such_interpreter(tmp_path: Path, python: str, said: str) -> None:
    done = run(
        "run", "--only", "cases", "--backend", f"torch={python}", "--backend", "numpy", cwd=tmp_path
    )
    assert done.returncode == 3
    assert "NOT RUN torch" in done.stdout and said in done.stdout
    assert done.stdout.endswith("torch could not be started: exit status 3\n")
    assert len(reports(tmp_path / "bce-reports")) == 1, "the other backend goes on"
    assert "NOT RUN" in (tmp_path / "bce-reports" / "summary.md").read_text()


def test_an_interpreter_without_the_framework(tmp_path: Path) -> None:
    done = run("run", "--only", "cases", "--backend", "oneflow", cwd=tmp_path)
    assert done.returncode == 3
    assert "No module named 'oneflow'" in done.stdout


def test_a_framework_that_fails_at_import(tmp_path: Path) -> None:
    """Another interpreter, in which `import torch` finds a broken installation."""
    broken = tmp_path / "site"
    (broken / "torch").mkdir(parents=True)
    (broken / "torch" / "__init__.py").write_text(
        "raise ImportError('libcudnn.so.8: cannot open shared object file')"
    )
    python = tmp_path / "python with a space"
    python.write_text(
        textwrap.dedent(f"""\
            #!{sys.executable}
            import os, sys
            os.environ["PYTHONPATH"] = {str(broken)!r}
            code = "import sys; sys.path.insert(0, {str(broken)!r}); exec(sys.argv.pop(1))"
            rest = [a for a in sys.argv[1:] if a not in ("-u", "-c", "-B")]
            os.execv({sys.executable!r}, [{sys.executable!r}, "-u", "-c", code, *rest])
            """)
    )
    python.chmod(0o755)
    done = run("run", "--only", "cases", "--backend", f"torch={python}", cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "libcudnn.so.8" in done.stdout


def test_a_device_and_a_mode_that_are_not_there(tmp_path: Path) -> None:
    for option, value in (("--device", "cuda:0"), ("--mode", "compiled")):
        done = run("run", "--only", "cases", "--backend", "numpy", option, value, cwd=tmp_path)
        assert done.returncode == 3
        assert value in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_leaves_a_valid_report(
    tmp_path: Path, planted: Planted, number: signal.Signals
) -> None:
    marker = tmp_path / "half-way"
    adapter = planted(
        "numpy",
        right="arguments, options, want, upstream = prepared\n",
        wrong="arguments, options, want, upstream = prepared\n"
        "        import time, pathlib\n"
        "        if options.get('reduction') == 'avg':\n"
        f"            pathlib.Path({str(marker)!r}).touch(); time.sleep(600)\n",
    )
    command = [*COMMAND, "run", "--only", "cases", "--backend", "numpy", "--adapter", str(adapter),
               "--timeout", "900"]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        # Tests that a shell runs in the background inherit that SIGINT is ignored.
        preexec_fn=partial(signal.signal, number, signal.SIG_DFL),
    )  # fmt: skip
    while not marker.exists() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, number)  # a terminal's Ctrl-C reaches the worker too
    out, err = process.communicate()
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    (report,) = reports(tmp_path / "bce-reports")
    assert report["interrupted"] is True
    assert 0 < len(report["checks"]) < 37
    assert set(report["summary"]) == {"conforms"}


def test_filters_and_shards_cover_everything_once(tmp_path: Path) -> None:
    whole = run(
        "run", "--only", "cases", "--backend", "numpy", "--report-dir", "whole", cwd=tmp_path
    )
    assert whole.returncode == 0
    (all_checks,) = reports(tmp_path / "whole")
    ids = []
    for index in (1, 2, 3):
        folder = f"shard{index}"
        run(
            "run",
            "--only",
            "cases",
            "--backend",
            "numpy",
            "--shard",
            f"{index}/3",
            "--report-dir",
            folder,
            cwd=tmp_path,
        )
        (part,) = reports(tmp_path / folder)
        ids += [c["id"] for c in part["checks"]]
    assert sorted(ids) == sorted(c["id"] for c in all_checks["checks"])
    run(
        "run",
        "--only",
        "cases",
        "--backend",
        "numpy",
        "--dtype",
        "float16",
        "--report-dir",
        "f16",
        cwd=tmp_path,
    )
    (only,) = reports(tmp_path / "f16")
    assert {c["dtype"] for c in only["checks"]} == {"float16"}


def test_output_into_a_closed_pipe(tmp_path: Path) -> None:
    command = f"{sys.executable} -m bce_conformance cases | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
