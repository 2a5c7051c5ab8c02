"""The line of representable numbers of a dtype, in pixels: every exponent takes the same room.

So the axis is linear in the bits, and looks like symlog. The exponents where losses bend are drawn
wider than the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np

from ...model.dtypes import FLOATS, from_float64
from ...sweep.line import WORDS, Block, blocks
from ..accuracy_text import short

Json = dict[str, Any]

LEFT, RIGHT, WIDTH = 96.0, 30.0, 960.0
"""Pixels of the drawing: its margins, and its whole width."""

WIDER = range(-6, 10)
"""Exponents that are drawn wider: logits of 1/64 to 1024, where exp saturates in every dtype."""
WIDER_SHARE = 0.62
NARROWEST = 2.0
"""Exponents narrower than this many pixels are drawn together, by the worst of them."""

DECADES = (1e-300, 1e-100, 1e-30, 1e-10, 0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e10, 1e30, 1e100, 1e300)
TICK_ROOM = 38.0


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """Where each number of a dtype lies: ends are those of the exponents, from 0 outwards."""

    dtype: str
    ends: tuple[float, ...]
    wider: range

    @classmethod
    @lru_cache
    def of(cls, dtype: str) -> Axis:
        form = FLOATS[dtype]
        count = form.emax - form.emin + 2
        wider = range(WIDER[0] - form.emin + 1, WIDER[-1] - form.emin + 2)
        share = max(WIDER_SHARE, len(wider) / count)
        half = (WIDTH - LEFT - RIGHT) / 2
        inner, outer = half * share / len(wider), half * (1 - share) / (count - len(wider))
        widths = (inner if field in wider else outer for field in range(count))
        return cls(dtype, (0.0, *accumulate(widths)), wider)

    @property
    def centre(self) -> float:
        return (LEFT + WIDTH - RIGHT) / 2

    @property
    def borders(self) -> tuple[float, ...]:
        """Where the exponents change their width."""
        ends = (self.ends[self.wider[0]], self.ends[self.wider[-1] + 1])
        return tuple(rounded(self.centre + side * end) for side in (-1, 1) for end in ends)

    def of_bits(self, bits: int) -> float:
        """Of the number with these bits."""
        fraction = FLOATS[self.dtype].precision - 1
        sign = 1 << (8 * np.dtype(WORDS[self.dtype]).itemsize - 1)
        field, rest = divmod(bits & (sign - 1), 1 << fraction)
        if field >= len(self.ends) - 1:
            raise ValueError(f"{bits:x} are not the bits of a finite {self.dtype}")
        width = self.ends[field + 1] - self.ends[field]
        outwards = self.ends[field] + width * rest / (1 << fraction)
        return self.centre + (-outwards if bits & sign else outwards)

    def of_value(self, value: float) -> float:
        carried = from_float64(self.dtype, np.array([value]))
        return self.of_bits(int(carried.view(WORDS[self.dtype])[0]))

    def groups(self) -> Iterator[range]:
        """Exponents that are drawn together, from 0 outwards, as indices of `ends`."""
        count = len(self.ends) - 1
        for part, width in (
            (range(self.wider[0]), self.ends[1]),
            (self.wider, NARROWEST),
            (range(self.wider[-1] + 1, count), self.ends[1]),
        ):
            together = max(1, math.ceil(NARROWEST / width))
            for first in range(part.start, part.stop, together):
                yield range(first, min(first + together, part.stop))


@dataclass(frozen=True)
class Bin:
    """Some neighbouring exponents: from where to where, the worst error, and the logit it is at."""

    start: float
    stop: float
    error: float
    bits: int


def bins_of(axis: Axis, found: Sequence[Json]) -> list[Bin]:
    """From left to right; exponents that were not swept are left out."""
    named = {block["block"]: block for block in found}
    numbers = [block for block in blocks(axis.dtype) if block.kind == "numbers"]
    half = len(numbers) // 2
    made = []
    for negative in (True, False):
        side = numbers[half:] if negative else numbers[:half]
        bins = [_bin(axis, [side[i] for i in group], named, group) for group in axis.groups()]
        whole = [each for each in bins if each is not None]
        made += whole[::-1] if negative else whole
    return made


def _bin(
    axis: Axis, together: Sequence[Block], named: Mapping[str, Json], group: range
) -> Bin | None:
    present = [(block, named[str(block)]) for block in together if str(block) in named]
    if not present:
        return None
    block, worst = max(present, key=lambda pair: float(pair[1]["max_ulp"]))
    bits = block.first if worst["at"] is None else int(worst["at"], 16)
    inner, outer = axis.ends[group[0]], axis.ends[group[-1] + 1]
    if block.negative:
        inner, outer = -outer, -inner
    return Bin(axis.centre + inner, axis.centre + outer, float(worst["max_ulp"]), bits)


def ticks(axis: Axis) -> tuple[Tick, ...]:
    """Numbers below the axis, those near 1 first; what would touch another is left out."""
    largest = FLOATS[axis.dtype].largest
    ends = [(sign * largest, f"{'−' if sign < 0 else ''}{short(largest)}") for sign in (-1, 1)]
    decades = sorted(DECADES, key=lambda value: abs(math.log10(value) - 1))
    smallest = FLOATS[axis.dtype].smallest_normal
    inside = [d for d in decades if smallest <= d < largest]
    wanted = [(0.0, "0"), *ends]
    wanted += [(sign * d, _decade(sign * d)) for d in inside for sign in (-1, 1)]
    ticks: list[Tick] = []
    for value, text in wanted:
        at = axis.of_value(value)
        if all(abs(at - tick.at) >= TICK_ROOM for tick in ticks):
            ticks.append(Tick(rounded(at), text))
    return tuple(sorted(ticks, key=lambda tick: tick.at))


def _decade(value: float) -> str:
    return f"{value:g}".replace("-", "−").replace("e+", "e").replace("e−0", "e−")


def rounded(value: float) -> float:
    """To a tenth of a pixel."""
    return round(value, 1)
