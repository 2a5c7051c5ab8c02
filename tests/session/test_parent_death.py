"""However the suite ends, no worker stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from leftovers import processes_of, wait_until_none

SUITE = """
import sys, threading
sys.path[:0] = {path!r}
from bce_conformance.session import IsolatedSession, isolated
from calling import FAULTY, ask
how, planted = sys.argv[1:]
if planted:
    source = isolated.far_source()
    assert planted in source
    isolated.far_source = lambda: source.replace(planted, "pass #")
session = IsolatedSession(FAULTY, "faulty", python=sys.executable)
session.run(ask())
if how == "orphan":
    session.run(ask("before", "orphan"))
print("ready", flush=True)
if how == "idle":
    threading.Event().wait()
if how == "exception":
    raise RuntimeError("unhandled")
if how != "orphan":
    session.run(ask("before", how))
"""


def started(how: str, planted: str = "") -> subprocess.Popen[bytes]:
    here = [p for p in sys.path if p]
    suite = subprocess.Popen(
        [sys.executable, "-c", SUITE.format(path=here), how, planted],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd=Path(__file__).parent,
    )
    assert suite.stdout is not None
    assert suite.stdout.readline() == b"ready\n"
    return suite


@pytest.mark.parametrize("how", ["idle", "sleep", "hold the GIL"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_signal_to_the_suites_process_group(run: str, how: str, number: signal.Signals) -> None:
    suite = started(how)
    os.killpg(suite.pid, number)
    _, said = suite.communicate()
    assert not wait_until_none(run)
    if number == signal.SIGINT:
        assert said.rstrip().endswith(b"KeyboardInterrupt")
        assert said.count(b"Traceback") == 1
    else:
        assert said == b""


@pytest.mark.parametrize("how", ["exception", "orphan"])
def test_a_suite_that_ends_without_closing(run: str, how: str) -> None:
    suite = started(how)
    suite.communicate()
    assert not wait_until_none(run)


@pytest.mark.parametrize("planted", ["", "ctypes.CDLL(None).prctl"])
def test_only_the_kernel_ends_a_worker_that_holds_the_gil(
    run: str, planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = tmp_path / "holding"
    monkeypatch.setenv("BCE_TEST_SIGN", str(sign))
    suite = started("hold the GIL", planted)
    while not sign.exists():
        time.sleep(0.01)
    suite.kill()
    suite.communicate()
    if planted:
        assert processes_of(run)
        processes_of(run)[0].kill()
    else:
        assert not wait_until_none(run)
