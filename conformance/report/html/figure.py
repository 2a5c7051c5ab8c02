"""Error against logit over the whole line of representable numbers, for an inline SVG.

From left to right every finite number of the dtype in its order (see `axis`), upwards log2 of the
error in ulps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...judging.errors import truth
from ...judging.tolerance import GRADES, Grade
from ...model.call import Array, Call
from ...model.dtypes import CARRIERS
from ...sweep.line import WORDS, number
from .axis import LEFT, NARROWEST, RIGHT, WIDTH, Axis, Bin, Tick, bins_of, rounded, ticks

Json = dict[str, Any]

TOP, PLOT, LANE = 20.0, 200.0, 17.0
"""Pixels of the drawing: above the plotting area, that, and one lane of cliffs."""

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
        return rounded(self.at + (self.width / 2 if self.inside else self.width + 7))


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
    bins = bins_of(axis, sweep["blocks"])
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
        columns=ticks(axis),
        rows=scale.ticks,
        borders=axis.borders,
        lanes=lanes,
        cliffs=cliffs,
        untold=untold,
    )


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
        return rounded(self.bottom - (exponent - FLOOR) / (self.high - FLOOR) * PLOT)

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
    expected = truth(call, row["quantity"], dtype)
    with np.errstate(all="ignore"):
        allowed = {grade: expected.tolerance[grade] / expected.ulp for grade in GRADES}
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
    return Span(rounded(start), rounded(max(stop - start, NARROWEST)), number)


def _with_target(cliff: Json) -> str:
    weight = f", pos_weight {cliff['pos_weight']}" if cliff["pos_weight"] else ""
    return f"target {cliff['target']}{weight}: {cliff['sentence']}"


def at_bits(dtype: str, bits: str) -> str:
    """The logit with these bits, in up to nine digits."""
    return f"{number(dtype, int(bits, 16)):.9g}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
