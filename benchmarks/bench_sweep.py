"""What a tile of a float32 sweep costs, stage by stage, in seconds for 65,536 logits.

    tox run -e bench -- benchmarks/bench_sweep.py
    BCE_BENCH=torch=/path/to/python … also times that framework's own part and the transport

`hard` logits are those where exp and log1p have to be worked out (|x| in [1, 2)); nine exponents in
ten are `easy`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bce_conformance.adapters import available
from bce_conformance.commands.select import targets
from bce_conformance.generate.needed_weights import tested_surface
from bce_conformance.model.call import FORWARD, Array
from bce_conformance.session import IsolatedSession, Tiles, TilesOver
from bce_conformance.sweep import kernel
from bce_conformance.sweep.line import Block, blocks
from bce_conformance.sweep.plan import Cell
from bce_conformance.sweep.tiles import TileJudge

LENGTH = 1 << 16
TILES = 128
WHERE = {"easy": 60, "hard": 0}
QUANTITIES = (FORWARD, "grad.logits")


def block_of(where: str) -> Block:
    return next(b for b in blocks("float32") if b.exponent == WHERE[where] and not b.negative)


def expected(quantity: str, block: Block) -> NDArray[np.float64]:
    values = np.empty(LENGTH)
    way = kernel.way_of(block.exponent, True, 0, quantity != FORWARD)
    kernel.truths(block.bits(0, LENGTH).view(np.float32), way, values)
    return values


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_reference(benchmark: Any, quantity: str, where: str) -> None:
    block = block_of(where)
    benchmark(expected, quantity, block)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_judge(benchmark: Any, quantity: str, where: str) -> None:
    """Reference, ulps and counts together, on results that are correctly rounded."""
    block = block_of(where)
    got = expected(quantity, block).astype(np.float32)
    judge = TileJudge(quantity, 0, LENGTH)
    benchmark(judge.tile, block, 0, got)


@pytest.fixture(scope="module")
def session() -> Iterator[IsolatedSession]:
    named = os.environ.get("BCE_BENCH", "numpy")
    (target,) = targets([named], sys.executable, available())
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with target.session("cpu", "eager", 60.0, variables=one) as opened:
        yield opened


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_framework_and_transport(benchmark: Any, session: IsolatedSession, quantity: str) -> None:
    """TILES tiles through the worker, not judged; `framework` of the extra information is the part
    of it that the framework took."""
    tested = tested_surface(session, session.backend.surfaces[0])
    logits = Array("float32", (LENGTH,), bytes(4), "cycled")
    call = Cell(tested, quantity, "float32", 0.0).call(logits)
    first = block_of("hard").first
    inside: list[float] = []

    def run() -> None:
        for event in session.tiles([Tiles(call, first, TILES * LENGTH)]):
            if isinstance(event, TilesOver):
                inside.append(event.seconds)

    benchmark(run)
    benchmark.extra_info["framework"] = min(inside)
    benchmark.extra_info["tiles"] = TILES
