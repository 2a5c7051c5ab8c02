"""Time and memory of float32 sweeps of 2^20 to 2^32 logits, as a table.

    python benchmarks/scaling.py --backend torch=/path/to/python [--most 32] [--quantity forward]

The logits are those whose bits are 0, 1, 2, …: all positive ones first. Memory is the largest that
was resident, of the process that judges and of the worker beyond what it held after its start.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

from bce_conformance.adapters import available
from bce_conformance.commands.select import Target, targets
from bce_conformance.generate.needed_weights import tested_surface
from bce_conformance.model.call import Array
from bce_conformance.session import IsolatedSession, Tile, Tiles
from bce_conformance.sweep.line import Block, blocks
from bce_conformance.sweep.plan import Cell
from bce_conformance.sweep.tiles import TileJudge

LENGTH = 1 << 16


def parts(count: int) -> list[tuple[Block, int]]:
    """The blocks that the first `count` logits lie in, and how many of each."""
    found = []
    for block in blocks("float32"):
        if count == 0:
            break
        some = min(count, block.count)
        found.append((block, some))
        count -= some
    return found


def swept(session: IsolatedSession, cell: Cell, count: int) -> tuple[float, int]:
    """Seconds, and bytes that the worker grew by at most."""
    logits = Array("float32", (LENGTH,), bytes(4), "cycled")
    call = cell.call(logits)
    judge = TileJudge(cell.quantity, int(cell.target), LENGTH)
    by_tiles = {Tiles(call, block.first, some): block for block, some in parts(count)}
    start, grown, before = time.perf_counter(), 0, session.resident()
    elements = 0
    for event in session.tiles(by_tiles):
        block = by_tiles[event.tested]
        if isinstance(event, Tile):
            judge.tile(block, event.start, event.results)
            continue
        assert event.failure is None, event.failure
        elements += judge.figures(block).all
        grown = max(grown, session.resident() - before)
    assert elements == count
    return time.perf_counter() - start, grown


def session_of(target: Target) -> IsolatedSession:
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return target.session("cpu", "eager", 60.0, variables=one)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--backend", required=True)
    parser.add_argument("--most", type=int, default=32)
    parser.add_argument("--quantity", default="forward")
    options = parser.parse_args()
    (target,) = targets([options.backend], sys.executable, available())
    print("| logits | seconds | ns a logit | judge, MiB | worker grew, MiB |")
    print("|---|--:|--:|--:|--:|")
    with session_of(target) as session:
        tested = tested_surface(session, session.backend.surfaces[0])
        cell = Cell(tested, options.quantity, "float32", 0.0)
        swept(session, cell, 1 << 20)  # compiles
        for power in range(20, options.most + 1, 2):
            seconds, grown = swept(session, cell, 1 << power)
            own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"| 2^{power} | {seconds:.3f} | {seconds / 2**power * 1e9:.2f} | {own:.0f} | "
                f"{grown / 2**20:.0f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
