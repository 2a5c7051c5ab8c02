"""Hundreds of calls, with planned deaths at every stage and others at any time."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import psutil
import pytest
from calling import WANT, ask, assert_answered, assert_values
from test_containment import DEATHS, STAGES

from bce_conformance.model.call import Crashed, Outcome, Raised
from bce_conformance.session import IsolatedSession, isolated

Open = Callable[..., IsolatedSession]
CALLS = 120


class Killer(threading.Thread):
    """Kills the session's worker at times drawn from the seed: in calls, between, at its start."""

    def __init__(self, session: IsolatedSession, seed: int) -> None:
        super().__init__()
        self.kills = 0
        self._session = session
        self._random = random.Random(seed)
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.is_set():
            at_start = self._random.random() < 0.1
            while self._session._worker is None and not (at_start or self._enough.wait(0.001)):
                pass
            self._enough.wait(self._random.uniform(0, 0.15))
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    child.kill()
                    self.kills += 1

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *about: object) -> None:
        self._enough.set()
        self.join()


@pytest.mark.parametrize("seed", [1, 2])
def test_each_call_has_its_own_outcome(
    open_session: Open,
    seed: int,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolated, "STARTS", 20)  # starts are killed too
    rng = random.Random(seed)
    session = open_session()
    seen: Counter[str] = Counter()
    with Killer(session, seed) as killer:
        for _ in range(CALLS):
            where, how = rng.choice(list(STAGES)), "nap"
            if rng.random() < 0.15:
                how = rng.choice([*DEATHS, "raise", "print"])
            if rng.random() < 0.3:
                time.sleep(rng.uniform(0, 0.02))
            call = ask(where, how)
            outcome = session.run(call)
            assert isinstance(outcome, Outcome)
            failure = outcome.failure
            assert_values(outcome, call, WANT[: len(outcome.values)])
            if isinstance(failure, Crashed):
                during, before = STAGES[where]
                planned = failure.during == during and failure.cause == DEATHS.get(how)
                killed = failure.cause == "signal 9 (SIGKILL)"
                assert planned or killed
                if planned and not killed:
                    assert tuple(outcome.values) == before
                seen["planned" if planned else "killed"] += 1
            elif how in ("nap", "print"):
                assert_answered(outcome, call)
                seen["answered"] += 1
            else:
                assert how == "raise", "a planned death does not pass for an answer"
                assert where == "prepare" or isinstance(failure, Raised)
                seen["raised"] += 1
    assert sum(seen.values()) == CALLS
    crashed = seen["planned"] + seen["killed"]
    has_worker = session._worker is not None
    assert session.restarts == crashed + len(session.lost) - (not has_worker)
    assert {lost.cause for lost in session.lost} <= {"signal 9 (SIGKILL)"}
    assert len(session.lost) + seen["killed"] <= killer.kills
    record_property("deaths", f"{dict(seen)}, {killer.kills} kills, {len(session.lost)} lost idle")
    print(dict(seen), killer.kills, "kills", len(session.lost), "lost", session.restarts)
