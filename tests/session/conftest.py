from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from calling import FAULTY
from leftovers import RUN, wait_until_none

from bce_conformance.session import IsolatedSession


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
