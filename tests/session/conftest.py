from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bce_conformance.session import IsolatedSession

FAULTY = (Path(__file__).parent / "faulty_adapter.py").read_text()
RUN = "BCE_CONFORMANCE_TEST_RUN"


def processes_of(run: str) -> list[psutil.Process]:
    """Every process that has the run in its environment, ended ones apart."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN) == run and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def wait_until_none(run: str) -> list[psutil.Process]:
    """What is still there after a long while, killed now; [] as soon as nothing is."""
    until = time.monotonic() + 20
    while (left := processes_of(run)) and time.monotonic() < until:
        time.sleep(0.02)
    for process in left:
        process.kill()
    return left


@pytest.fixture(autouse=True)
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The mark of this test's processes; none may be left when it ends."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(RUN, mark)
    yield mark
    assert not wait_until_none(mark)


@pytest.fixture
def open_session(request: pytest.FixtureRequest) -> Callable[..., IsolatedSession]:
    """IsolatedSession on the faulty adapter, closed when the test ends."""

    def opened(source: str = FAULTY, **settings: Any) -> IsolatedSession:
        settings.setdefault("python", sys.executable)
        session = IsolatedSession(source, "faulty", **settings)
        request.addfinalizer(session.close)
        return session

    return opened


@pytest.fixture(scope="module")
def shared() -> Iterator[IsolatedSession]:
    """One session for many tests: each must leave it usable. Restarts are part of that."""
    mark = uuid.uuid4().hex
    marked = {RUN: mark}
    with IsolatedSession(FAULTY, "faulty", python=sys.executable, variables=marked) as session:
        yield session
    assert not wait_until_none(mark)
