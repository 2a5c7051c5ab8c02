"""Error against logit over the whole line of representable numbers, for an inline SVG.

From left to right every finite number of the dtype in its order: an exponent takes as much room as
its neighbour, so the axis is linear in the bits and looks like symlog. The exponents where losses
bend are drawn wider than the rest. Upwards log2 of the error in ulps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np

from ...dtypes import CARRIERS, FLOATS, from_float64
from ...measure import truth
from ...sweep.line import WORDS, Block, blocks, number
from ...tolerance import GRADES, Grade
from ...vocabulary import Array, Call
from ..exactness import short

Json = dict[str, Any]

LEFT, RIGHT, TOP = 96.0, 30.0, 20.0
WIDTH, PLOT = 960.0, 200.0
LANE = 17.0
"""Pixels of the drawing: margins, the whole and the plotting area, and one lane of cliffs."""

WIDER = range(-6, 10)
"""Exponents that are drawn wider: logits of 1/64 to 1024, where exp saturates in every dtype."""
WIDER_SHARE = 0.62
NARROWEST = 2.0
"""Exponents narrower than this many pixels are drawn together, by the worst of them."""

FLOOR = -3
"""log2 of the smallest error drawn; what is smaller, 0 too, lies on the axis."""
LEAST_TOP = 5

LANES = {
    "other_kind": "inf or NaN",
    "stable": "beyond stable",
    "strict": "beyond strict",
    "zero": "0 came",
    "flushed": "flushed",
}
"""Marks of cliffs, the gravest first, with what their lane is called."""
MOST_CLIFFS = 6
FEW_CLIFFS = 3
"""Of each mark so many cliffs are told in words, the longest, of one target and of several; all
are drawn."""

DECADES = (1e-300, 1e-100, 1e-30, 1e-10, 1e-3, 0.1, 1.0, 10.0, 100.0, 1e4, 1e10, 1e30, 1e100, 1e300)
TICK_ROOM = 38.0


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


ROOM_FOR_NUMBER = 15.0


@dataclass(frozen=True)
class Span:
    """A cliff in its lane; number: that of its sentence, if it has one."""

    at: float
    width: float
    number: int | None

    @property
    def inside(self) -> bool:
        """Whether the number fits into the bar; else it stands behind it."""
        return self.width >= ROOM_FOR_NUMBER

    @property
    def number_at(self) -> float:
        return _rounded(self.at + (self.width / 2 if self.inside else self.width + 7))


@dataclass(frozen=True)
class Lane:
    name: str
    mark: str
    top: float
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Cliff:
    """number: the one in the drawing; None where cliffs of several targets lie over each other."""

    number: int | None
    sentence: str


@dataclass(frozen=True)
class Figure:
    """What the drawing shows, in its pixels; area, outline and grades are SVG path data."""

    title: str
    summary: str
    height: float
    bottom: float
    area: str
    outline: str
    grades: Mapping[str, str]
    columns: tuple[Tick, ...]
    rows: tuple[Tick, ...]
    borders: tuple[float, ...]
    lanes: tuple[Lane, ...]
    cliffs: tuple[Cliff, ...]
    untold: int

    left, right, top, width = LEFT, WIDTH - RIGHT, TOP, WIDTH
    lane_height = LANE


def figure(row: Json, title: str, summary: str) -> Figure:
    """The drawing of one row of a sweep. Raises KeyError for a row that is of no sweep."""
    axis = Axis.of(row["dtype"])
    sweep = row["sweep"]
    bins = _bins(axis, sweep["blocks"])
    scale = _Scale(max((b.error for b in bins), default=0.0))
    lanes, cliffs, untold = _lanes(axis, sweep)
    steps = [(b.start, b.stop, b.error) for b in bins]
    return Figure(
        title,
        summary,
        height=scale.bottom + 24 + LANE * len(lanes) + (6 if lanes else 0),
        bottom=scale.bottom,
        area=_area(steps, scale),
        outline=_steps(steps, scale),
        grades={g: _steps(found, scale) for g, found in _tolerances(row, axis, bins).items()},
        columns=_columns(axis),
        rows=scale.ticks,
        borders=axis.borders,
        lanes=lanes,
        cliffs=cliffs,
        untold=untold,
    )


# ---- the line of numbers


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
        return tuple(_rounded(self.centre + side * end) for side in (-1, 1) for end in ends)

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


def _bins(axis: Axis, found: Sequence[Json]) -> list[Bin]:
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


def _columns(axis: Axis) -> tuple[Tick, ...]:
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
            ticks.append(Tick(_rounded(at), text))
    return tuple(sorted(ticks, key=lambda tick: tick.at))


def _decade(value: float) -> str:
    return f"{value:g}".replace("-", "−").replace("e+", "e").replace("e−0", "e−")


# ---- errors


@dataclass(frozen=True)
class _Scale:
    """log2 of an error, upwards from the axis."""

    largest: float

    @property
    def bottom(self) -> float:
        return TOP + PLOT

    @property
    def high(self) -> float:
        return max(LEAST_TOP, math.log2(self.largest) + 1 if self.largest else 0)

    def of(self, ulps: float) -> float:
        exponent = FLOOR if ulps <= 2.0**FLOOR else min(math.log2(ulps), self.high)
        return _rounded(self.bottom - (exponent - FLOOR) / (self.high - FLOOR) * PLOT)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        step = max(2, math.ceil((self.high - FLOOR) / 7))
        exponents = range(0, math.floor(self.high) + 1, step)
        return (
            Tick(self.bottom, "⅛, less"),
            *(Tick(self.of(2.0**e), _power(e)) for e in exponents),
        )


def _power(exponent: int) -> str:
    if exponent <= 10:
        return str(2**exponent)
    return "2" + str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


Step = tuple[float, float, float]


def _runs(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """Steps that touch each other."""
    run: list[Step] = []
    for step in steps:
        if run and step[0] - run[-1][1] > 0.01:
            yield run
            run = []
        run.append(step)
    if run:
        yield run


def _steps(steps: Iterable[Step], scale: _Scale) -> str:
    return "".join(f"M{_n(run[0][0])} {_level(run, scale)}" for run in _runs(steps))


def _area(steps: Iterable[Step], scale: _Scale) -> str:
    bottom = _n(scale.bottom)
    return "".join(
        f"M{_n(run[0][0])} {bottom}V{_level(run, scale)}V{bottom}Z" for run in _runs(steps)
    )


def _level(run: Sequence[Step], scale: _Scale) -> str:
    """The rest of a path that has come to the start of a run; equal neighbours are one step."""
    parts: list[str] = []
    last: float | None = None
    for _, stop, ulps in run:
        at = scale.of(ulps)
        if at == last:
            parts.pop()
        else:
            parts.append(_n(at) if last is None else f"V{_n(at)}")
        parts.append(f"H{_n(stop)}")
        last = at
    return "".join(parts)


def _tolerances(row: Json, axis: Axis, bins: Sequence[Bin]) -> dict[Grade, list[Step]]:
    """What both grades allow at each bin's worst logit, in ulps; only of one target at a time."""
    cells = row["sweep"]["cells"]
    if len(cells) != 1 or not bins:
        return {}
    dtype, count = axis.dtype, len(bins)
    words = np.array([b.bits for b in bins], dtype=WORDS[dtype])
    logits = Array(dtype, (count,), words.view(CARRIERS[dtype]).tobytes())
    target = Array.rounded(dtype, np.full(count, float(cells[0]["target"])))
    given = cells[0]["pos_weight"]
    weight = None if given is None else Array.rounded(dtype, np.array([float(given)]))
    call = Call(row["surface"], logits, target, None, weight, {"reduction": "none"})
    due = truth(call, row["quantity"], dtype)
    with np.errstate(all="ignore"):
        allowed = {grade: due.tolerance[grade] / due.ulp for grade in GRADES}
    return {
        grade: [(b.start, b.stop, float(u)) for b, u in zip(bins, ulps, strict=True)]
        for grade, ulps in allowed.items()
    }


# ---- cliffs


def _lanes(axis: Axis, sweep: Json) -> tuple[tuple[Lane, ...], tuple[Cliff, ...], int]:
    """One lane for each mark that there is, the sentences, and how many cliffs have none."""
    alone, found = len(sweep["cells"]) == 1, sweep["cliffs"]
    lanes: list[Lane] = []
    told: list[Cliff] = []
    for mark, name in LANES.items():
        own = [cliff for cliff in found if cliff["name"] == mark]
        if not own:
            continue
        longest = sorted(own, key=lambda cliff: -cliff["logits"])
        numbers = {}
        for cliff in longest[: MOST_CLIFFS if alone else FEW_CLIFFS]:
            number = len(told) + 1 if alone else None
            numbers[id(cliff)] = number
            told.append(Cliff(number, cliff["sentence"] if alone else _with_target(cliff)))
        top = TOP + PLOT + 28 + LANE * len(lanes)
        spans = tuple(_span(axis, cliff, numbers.get(id(cliff))) for cliff in own)
        lanes.append(Lane(name, mark, top, spans))
    return tuple(lanes), tuple(told), len(found) - len(told)


def _span(axis: Axis, cliff: Json, number: int | None) -> Span:
    start, stop = sorted(axis.of_bits(int(cliff[end]["bits"], 16)) for end in ("from", "to"))
    return Span(_rounded(start), _rounded(max(stop - start, NARROWEST)), number)


def _with_target(cliff: Json) -> str:
    weight = f", pos_weight {cliff['pos_weight']}" if cliff["pos_weight"] else ""
    return f"target {cliff['target']}{weight}: {cliff['sentence']}"


def at_bits(dtype: str, bits: str) -> str:
    """The logit with these bits, in up to nine digits."""
    return f"{number(dtype, int(bits, 16)):.9g}"


def _rounded(value: float) -> float:
    return round(value, 1)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
