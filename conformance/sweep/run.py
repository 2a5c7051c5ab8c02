"""Goes through the units of a sweep, judges them, and writes each down as it is done."""

from __future__ import annotations

import time
from collections.abc import Container, Generator, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ..judging.errors import truth
from ..model.call import Array, Crashed, Failure, Raised, TimedOut
from ..session import IsolatedSession, Tile, Tiles, TilesOver
from .exact import by_block, judged
from .figures import Figures
from .journal import Done
from .line import Block, array
from .plan import Cell, SweepPlan, Unit

Json = dict[str, Any]

TOGETHER = 8
"""Blocks that are timed alone one after the other: each time, worker and judge wait for each other
until nothing is under way, which would otherwise count in the sweep's time."""


def work(
    session: IsolatedSession,
    plan: SweepPlan,
    units: Sequence[Unit],
    done: Container[int],
    length: int,
    every: int,
) -> Generator[Done, None, None]:
    """The units one after the other, done, but for those whose index is among the done.

    length: of a tile; every: of every so many lots of TOGETHER units the framework is also timed
    alone; 0: of none.
    Raises BackendUnavailable.
    """
    if plan.dtype == "float32":
        yield from _tiled(session, units, done, length, every)
    else:
        for unit in units:
            if unit.index not in done:
                yield _called(session, plan, unit)


# ---- float32: tiles through shared memory


def _tiled(
    session: IsolatedSession, units: Sequence[Unit], done: Container[int], length: int, every: int
) -> Generator[Done, None, None]:
    from .tiles import TileJudge  # compiled with numba, which the other dtypes do without

    judges: dict[tuple[str, float], TileJudge] = {}
    tested = list(_tested(units, done, length, every))
    by_tiles = dict(zip(tested, (u for u in units if u.index not in done), strict=True))
    before = time.perf_counter()
    for event in session.tiles(tested):
        unit = by_tiles[event.tested]
        (block,) = unit.blocks
        key = (unit.cell.quantity, unit.cell.target)
        if isinstance(event, Tile):
            judge = judges.get(key) or judges.setdefault(
                key, TileJudge(unit.cell.quantity, int(unit.cell.target), length)
            )
            judge.tile(block, event.start, event.results)
            continue
        figures = judges[key].figures(block) if key in judges else Figures()
        now = time.perf_counter()
        yield _over(unit, event, figures, now - before, every)
        before = now


def _tested(
    units: Sequence[Unit], done: Container[int], length: int, every: int
) -> Iterator[Tiles]:
    """The tiles of each unit left; the first of TOGETHER neighbours has the framework timed for
    all, unless one of them is done: then the time of all is known."""

    def lot(unit: Unit) -> tuple[Cell, int]:
        return unit.cell, unit.blocks[0].index // TOGETHER

    for (cell, _), together in groupby(units, lot):
        every_one = list(together)
        left = [unit.blocks[0] for unit in every_one if unit.index not in done]
        timed = len(left) == len(every_one) and _is_timed(left[0], every)
        alone = tuple((block.first, block.count) for block in left) if timed else ()
        logits = Array(cell.dtype, (length,), bytes(np.dtype("<f4").itemsize), "cycled")
        for block in left:
            yield Tiles(cell.call(logits), block.first, block.count, alone)
            alone = ()


def _is_timed(block: Block, every: int) -> bool:
    return every > 0 and block.index // TOGETHER % every == 0


def _over(unit: Unit, event: TilesOver, figures: Figures, seconds: float, every: int) -> Done:
    (block,) = unit.blocks
    if event.failure is not None:
        return Done(unit.index, {}, failure_json(event.failure), seconds - event.alone)
    alone = event.alone if _is_timed(block, every) else None
    return Done(
        unit.index, {block.index: figures}, None, seconds - event.alone, event.seconds, alone
    )


# ---- the other dtypes: ordinary calls


def _called(session: IsolatedSession, plan: SweepPlan, unit: Unit) -> Done:
    start, framework = time.perf_counter(), session.framework_seconds
    found: dict[int, Figures] = {}
    for some in _portions(unit.blocks):
        parts = [plan.bits(block) for block in some]
        bits = np.concatenate(parts)
        call = unit.cell.call(array(plan.dtype, bits))
        outcome = session.run(call)
        result = outcome.of(unit.cell.quantity)
        if not isinstance(result, Array):
            return Done(unit.index, {}, failure_json(result), time.perf_counter() - start)
        expected = truth(call, unit.cell.quantity, plan.dtype)
        if result.shape != expected.high.shape or result.dtype != plan.dtype:
            return Done(unit.index, {}, _misshapen(result), time.perf_counter() - start)
        figures = by_block(judged(bits, result, expected), [part.size for part in parts])
        found.update(zip((block.index for block in some), figures, strict=True))
    spent = session.framework_seconds - framework
    return Done(unit.index, found, None, time.perf_counter() - start, spent, spent)


def _portions(blocks: Sequence[Block]) -> Iterator[tuple[Block, ...]]:
    """Blocks in lots that make calls of a bearable size: float64's samples are many."""
    for start in range(0, len(blocks), 1024):
        yield tuple(blocks[start : start + 1024])


def failure_json(failure: Failure) -> Json:
    """What stopped a unit, for the journal."""
    kind = type(failure).__name__
    if isinstance(failure, Raised):
        said = f"{failure.type}: {failure.message}"
    elif isinstance(failure, Crashed):
        said = failure.cause
    elif isinstance(failure, TimedOut):
        said = f"no result within {failure.seconds:g} s"
    else:
        said = failure.reason
    return {"kind": kind, "said": said}


def _misshapen(result: Array) -> Json:
    return {"kind": "Raised", "said": f"a result of {result.dtype} and shape {list(result.shape)}"}
