"""Where along the line of logits a result breaks off, found and said by the tool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import reference
from .figures import Figures, Span
from .line import WORDS, Block, blocks, number
from .plan import Cell

Json = dict[str, Any]

SAID = {
    "zero": "{what} is 0",
    "flushed": "{what} is 0 where a subnormal number is expected",
    "strict": "{what} is beyond the strict grade",
    "stable": "{what} is beyond the stable grade",
    "other_kind": "{what} is infinite or NaN where a number is expected",
}
WHAT = {"forward": "loss", "grad.logits": "gradient"}
FEWEST = 16
"""Logits that make a cliff; fewer are single errors, which the worst input shows."""


@dataclass(frozen=True)
class Cliff:
    """Logits from `span.first` outwards to `span.last` that bear one mark; among: of how many."""

    cell: Cell
    mark: str
    negative: bool
    span: Span
    among: int

    def sentence(self) -> str:
        """Such as: loss is 0 from x = -16.635532 down to -87.336548 (all 19.7 million logits) …"""
        dtype = self.cell.dtype
        first, last = (_shown(dtype, bits) for bits in (self.span.first, self.span.last))
        way = "down to" if self.negative else "up to"
        share = "all" if self.span.count == self.among else f"{self.span.count:,} of"
        said = SAID[self.mark].format(what=WHAT[self.cell.quantity])
        where = f"{said} from x = {first} {way} {last} ({share} {self.among:,} logits)"
        if self.mark == "other_kind":
            return where
        expected = _expected(self.cell, self.span.worst)
        at = _shown(dtype, self.span.worst)
        return (
            f"{where}; worst at x = {at}: expected {expected:.9g}, off by {self.span.ulps:.4g} ulp"
        )

    def json(self) -> Json:
        span = self.span
        return {
            "name": self.mark,
            "target": f"{self.cell.target:.9g}",
            "pos_weight": None if self.cell.pos_weight is None else f"{self.cell.pos_weight:.9g}",
            "from": _point(self.cell.dtype, span.first),
            "to": _point(self.cell.dtype, span.last),
            "logits": span.count,
            "among": self.among,
            "sentence": self.sentence(),
        }


def cliffs(cell: Cell, found: Mapping[int, Figures]) -> Iterator[Cliff]:
    """The cliffs of a cell, from its figures by block."""
    numbers = [block for block in blocks(cell.dtype) if block.kind == "numbers"]
    for mark in SAID:
        for negative in (False, True):
            side = [block for block in numbers if block.negative == negative]
            yield from _runs(cell, mark, side, found)


def _runs(
    cell: Cell, mark: str, side: list[Block], found: Mapping[int, Figures]
) -> Iterator[Cliff]:
    """Neighbouring blocks that bear the mark are one cliff."""
    key = ("-" if side[0].negative else "+") + mark
    run: list[Span] = []
    for block in side:
        span = found[block.index].marks.get(key) if block.index in found else None
        if span is not None:
            run.append(span)
            continue
        yield from _cliff(cell, mark, side[0].negative, run)
        run = []
    yield from _cliff(cell, mark, side[0].negative, run)


def _cliff(cell: Cell, mark: str, negative: bool, run: list[Span]) -> Iterator[Cliff]:
    if not run:
        return
    span = run[0]
    for other in run[1:]:
        span = span + other
    if span.count >= FEWEST or mark == "other_kind":
        yield Cliff(cell, mark, negative, span, span.last - span.first + 1)


def _expected(cell: Cell, bits: int) -> float:
    x, y = number(cell.dtype, bits), cell.target
    return float(reference.evaluate(cell.quantity, x, y, None, cell.pos_weight).high)


def _point(dtype: str, bits: int) -> Json:
    return {"bits": hexadecimal(dtype, bits), "value": repr(number(dtype, bits))}


def hexadecimal(dtype: str, bits: int) -> str:
    return f"{bits:0{2 * np.dtype(WORDS[dtype]).itemsize}x}"


def _shown(dtype: str, bits: int) -> str:
    value = number(dtype, bits)
    if dtype == "float32":
        return str(np.float32(value))
    return f"{value:.9g}"
