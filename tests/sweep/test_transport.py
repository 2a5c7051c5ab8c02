"""Tiles through shared memory: the results are those of calls, whatever becomes of the worker."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bce_conformance.adapters import available
from bce_conformance.model.call import Array, Call, Crashed, Raised, TimedOut
from bce_conformance.session import IsolatedSession, Tile, Tiles, TilesOver
from bce_conformance.session.tiles import LOT, SLOTS
from bce_conformance.sweep.line import array

LENGTH = 256
FIRST = 0x3F800000
SHARED = Path("/dev/shm")

SPOILT = """
    def run(self, prepared):
        logits = prepared[0]["logits"]
        if logits[0] == numpy.float32(TROUBLE):
            HOW
        yield from self.well(prepared)

    def well(self, prepared):
"""


def spoilt(how: str, trouble: float) -> str:
    """The numpy adapter, which does something else where a tile begins with a certain logit."""
    source = available()["numpy"].source
    head, _, tail = source.partition("    def run(self, prepared):\n")
    assert tail, "the adapter has another form"
    inserted = SPOILT.replace("TROUBLE", repr(trouble)).replace("HOW", how)
    return f"import os, signal\n{head}{inserted.lstrip(chr(10))}{tail}"


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Callable[..., IsolatedSession]:
    def open_session(source: str | None = None, **settings: Any) -> IsolatedSession:
        source = available()["numpy"].source if source is None else source
        session = IsolatedSession(source, "numpy", python=sys.executable, **settings)
        request.addfinalizer(session.close)
        return session

    return open_session


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = {p.name for p in SHARED.glob("bce-conformance-*")} if SHARED.is_dir() else set()
    yield
    after = {p.name for p in SHARED.glob("bce-conformance-*")} if SHARED.is_dir() else set()
    assert after <= before, uuid.uuid4()


def tiles(first: int, count: int, alone: bool = False) -> Tiles:
    logits = Array("float32", (LENGTH,), bytes(4), "cycled")
    target = Array.rounded("float32", np.zeros(1))
    target = Array("float32", (LENGTH,), target.data, "cycled")
    call = Call("numpy.bce_with_logits", logits, target, options={"reduction": "none"})
    return Tiles(call, first, count, ((first, count),) if alone else ())


def gathered(
    session: IsolatedSession, tested: list[Tiles]
) -> tuple[dict[Tiles, list[np.ndarray[Any, Any]]], list[TilesOver]]:
    results: dict[Tiles, list[np.ndarray[Any, Any]]] = {each: [] for each in tested}
    over = []
    for event in session.tiles(tested):
        if isinstance(event, Tile):
            assert event.start == sum(r.size for r in results[event.tested])
            results[event.tested].append(event.results.copy())
        else:
            over.append(event)
    return results, over


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("count", [1, LENGTH, LENGTH + 1, LENGTH * (3 * SLOTS + LOT - 1) + 7])
def test_results_are_those_of_calls(
    opened: Callable[..., IsolatedSession], count: int, alone: bool
) -> None:
    session = opened()
    tested = [tiles(FIRST, count, alone), tiles(FIRST + 5, 3, alone), tiles(0xC0000000, count)]
    results, over = gathered(session, tested)
    assert [event.tested for event in over] == tested
    for event in over:
        assert event.failure is None
        assert event.seconds > 0
        assert (event.alone > 0) == bool(event.tested.alone)
        found = np.concatenate(results[event.tested])
        bits = np.arange(
            event.tested.first, event.tested.first + event.tested.count, dtype=np.uint32
        )
        call = Call("numpy.bce_with_logits", array("float32", bits),
                    Array.rounded("float32", np.zeros(bits.size)),
                    options={"reduction": "none"})  # fmt: skip
        expected = session.run(call).values["forward"]
        assert found.tobytes() == expected.data


def test_a_death_ends_its_own_tiles_alone(opened: Callable[..., IsolatedSession]) -> None:
    session = opened(spoilt("os.kill(os.getpid(), signal.SIGKILL)", 1.5))
    there = 0x3FC00000  # 1.5
    tested = [tiles(FIRST, 4 * LENGTH), tiles(there - 20 * LENGTH, 40 * LENGTH), tiles(FIRST, 9)]
    results, over = gathered(session, tested)
    failures = [event.failure for event in over]
    assert failures[0] is None and failures[2] is None
    assert isinstance(failures[1], Crashed) and "SIGKILL" in failures[1].cause
    assert sum(r.size for r in results[tested[2]]) == 9
    assert session.restarts == 1


def test_a_refusal_in_the_middle_is_told_and_the_rest_goes_on(
    opened: Callable[..., IsolatedSession],
) -> None:
    session = opened(spoilt("raise ValueError('not this one')", 1.5))
    there = 0x3FC00000
    tested = [tiles(there - 3 * LENGTH, 5 * LENGTH), tiles(FIRST, 3 * LENGTH)]
    results, over = gathered(session, tested)
    assert isinstance(over[0].failure, Raised) and over[0].failure.message == "not this one"
    assert sum(r.size for r in results[tested[0]]) == 3 * LENGTH
    assert over[1].failure is None and len(results[tested[1]]) == 3
    assert session.restarts == 0


def test_a_hang_ends_after_the_timeout(opened: Callable[..., IsolatedSession]) -> None:
    session = opened(spoilt("import time; time.sleep(1000)", 1.5), timeout=1.0)
    _, over = gathered(session, [tiles(0x3FC00000, LENGTH), tiles(FIRST, LENGTH)])
    assert isinstance(over[0].failure, TimedOut)
    assert over[1].failure is None


def test_another_shape_or_dtype_is_no_result(opened: Callable[..., IsolatedSession]) -> None:
    session = opened(spoilt("yield 'forward', 'float32', logits[:3].astype('f4'); return", 1.5))
    _, over = gathered(session, [tiles(0x3FC00000, LENGTH)])
    assert isinstance(over[0].failure, Raised)
    assert f"shape (3,) for {LENGTH} float32 logits" in over[0].failure.message


def test_what_is_left_off_leaves_nothing_behind(opened: Callable[..., IsolatedSession]) -> None:
    session = opened()
    stream = session.tiles([tiles(FIRST, 100 * LENGTH) for _ in range(5)])
    next(stream)
    stream.close()
    _, over = gathered(session, [tiles(FIRST, LENGTH)])
    assert over[0].failure is None
