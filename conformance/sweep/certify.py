"""Holds the kernel's truth against ball arithmetic at every exponent.

    python -m bce_conformance.sweep.certify [--points N] [--seed N] [-o FILE]

Needs python-flint. Exit status 1 if an error exceeds what `kernel.UNCERTAINTY` promises.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..model.call import FORWARD
from ..model.dtypes import FLOATS
from ..reference import oracle
from ..report.write import atomically
from . import kernel
from .line import Block, blocks

QUANTITIES = (FORWARD, "grad.logits")
BANDS = (-127, -64, -30, -16, -8, 0, 4, 8)
"""The exponents at which a row of the table begins, the subnormals' first."""
LEAST = Fraction(2) ** -184
"""What the kernel may be off where e^-|x| is gone (kernel.GONE)."""


@dataclass(frozen=True)
class Certified:
    """The largest error of a block over some points: in ulps of float32, and as a share of what is
    promised."""

    block: Block
    quantity: str
    target: int
    points: int
    ulps: float
    share: float


def certify(points: int, seed: int, some: Sequence[Block] = ()) -> Iterator[Certified]:
    """Every block of finite logits (or some), for both quantities and targets, at its ends and at
    points drawn between them."""
    random = np.random.default_rng(seed)
    for block in some or blocks("float32"):
        if block.kind != "numbers":
            continue
        inner = random.integers(1, block.count - 1, max(points - 2, 0))
        offsets = np.unique([0, block.count - 1, *inner]).astype(np.uint32)
        for quantity in QUANTITIES:
            for target in (0, 1):
                yield _certified(block, quantity, target, offsets)


def _certified(block: Block, quantity: str, target: int, offsets: np.ndarray) -> Certified:
    words = np.resize(offsets, kernel.CHUNK) + np.uint32(block.first)
    x = words.view(np.float32)
    expected = np.empty(x.size)
    gradient = quantity != FORWARD
    way = kernel.way_of(block.exponent, not block.negative, target, gradient)
    kernel.truths(x, way, expected)
    ulps = share = 0.0
    for i in range(min(offsets.size, x.size)):
        off, spacing, size = _distance(quantity, float(x[i]), target, float(expected[i]))
        ulps = max(ulps, float(off / spacing))
        promised = Fraction(kernel.UNCERTAINTY) * size + LEAST
        share = max(share, float(off / promised))
    return Certified(block, quantity, target, offsets.size, ulps, share)


def _distance(
    quantity: str, x: float, target: int, expected: float
) -> tuple[Fraction, Fraction, Fraction]:
    """|due − |truth||, the ulp of float32 there, and |truth|; upper bounds but for the second."""
    ball = oracle.exact(quantity, oracle.Point(x, float(target)))
    if abs(ball) < oracle.power_of_two(-1000):  # no fraction has room for e^-1e38
        return Fraction(expected), Fraction(2) ** -149, Fraction(0)
    middle = abs(oracle.as_fraction(ball.mid()))
    radius = oracle.as_fraction(ball.rad())
    exponent = -149
    if middle >= Fraction(2) ** -126:
        exponent = _log2(middle) - 23
    return abs(Fraction(expected) - middle) + radius, Fraction(2) ** exponent, middle + radius


def _log2(value: Fraction) -> int:
    """⌊log2⌋ of a positive fraction."""
    guess = value.numerator.bit_length() - value.denominator.bit_length()
    return guess if Fraction(2) ** guess <= value else guess - 1


def markdown(found: Sequence[Certified], points: int, seed: int) -> str:
    worst = max(found, key=lambda each: each.ulps)
    number = sum(each.points for each in found)
    lines = [
        "# How accurate is the judge of float32 sweeps?",
        "",
        f"Its largest error is **{worst.ulps:.2g} ulp of float32**; a verdict is refused from",
        f"1/16 ulp on. {number:,} expected values of `conformance/sweep/kernel.py` were compared",
        f"with ball arithmetic: at both ends of each sign and exponent, and at up to {points - 2}",
        f"logits drawn between them (seed {seed}). The command was",
        "",
        f"    python -m bce_conformance.sweep.certify --points {points} --seed {seed} -o FILE",
        "",
        "The largest error in ulps of float32, of both signs and of the targets 0 and 1:",
        "",
        *_table(found),
    ]
    return "\n".join(lines) + "\n"


def _table(found: Sequence[Certified]) -> Iterator[str]:
    """The largest error of each band, by quantity."""
    yield from ("| logits | loss | gradient |", "|---|--:|--:|")
    for start, stop in pairwise((*BANDS, FLOATS["float32"].emax + 1)):
        here = [each for each in found if start <= each.block.exponent < stop]
        if here:
            below = "largest" if stop > FLOATS["float32"].emax else f"2^{stop}"
            above = "0" if start < FLOATS["float32"].emin else f"2^{start}"
            cells = (
                f"{max(each.ulps for each in here if each.quantity == quantity):.1e}"
                for quantity in QUANTITIES
            )
            yield f"| {above} to {below} | {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--points", type=int, default=64, help="of each sign and exponent")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    found = list(certify(options.points, options.seed))
    if options.output:
        atomically(options.output, markdown(found, options.points, options.seed))
    worst = max(found, key=lambda each: each.ulps)
    promised = max(each.share for each in found)
    print(f"{len(found)} blocks: at most {worst.ulps:.3g} ulp of float32 ({worst.quantity}, target "
          f"{worst.target}, {worst.block}); {promised:.3f} of what is promised")  # fmt: skip
    return int(promised > 1)


if __name__ == "__main__":
    sys.exit(main())
