"""What is kept of judged logits: counts and largest errors, which add up in any order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from ..judging.accuracy import USUAL_ATOL, USUAL_RTOL

Json = dict[str, Any]

EDGES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.5, 2.0, 3.0, 4.0,
         *(2.0**i for i in range(3, 33)))  # fmt: skip
"""Upper edges of the histogram's bins, in ulps; the last bin holds what is beyond the last."""

MARKS = ("zero", "flushed", "strict", "stable", "other_kind")
"""What is remembered of a logit besides its error: 0 came although a normal number is due; 0 came
where a subnormal is; beyond the tolerance of a grade; infinite or NaN where a number is due, or the
other way round."""


def extremes(dtype: str) -> tuple[str, ...]:
    """The names of the largest values that are kept."""
    rtols = (f"rtol {atol:g}" for atol in USUAL_ATOL[dtype])
    return ("abs", "rel", "k_stable", "k_strict", *rtols, f"atol {USUAL_RTOL[dtype]:g}")


@dataclass(frozen=True)
class Span:
    """Logits that bear a mark, and the bits of the first and last of them, going from 0 outwards.

    worst: bits of the one with the largest error, got: of its result, and that error in ulps.
    """

    count: int
    first: int
    last: int
    worst: int
    got: int
    ulps: float

    def __add__(self, other: Span) -> Span:
        """Of two spans on the same side of 0."""
        worst = max(self, other, key=lambda span: (span.ulps, -span.worst))
        return Span(self.count + other.count, min(self.first, other.first),
                    max(self.last, other.last), worst.worst, worst.got, worst.ulps)  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """Of some logits: how many there were, and how exact the results.

    elements: those compared (a number was due and a number came); as_due: an infinity or NaN that
    was due; uncertain: the reference cannot tell. at and got: bits of the logit with the largest
    error (the one nearest to 0 of several) and of its result. marks: by name, for each side of 0
    (keys such as "-zero").
    """

    elements: int = 0
    as_due: int = 0
    uncertain: int = 0
    correctly_rounded: int = 0
    max_ulp: float = 0.0
    at: int | None = None
    got: int | None = None
    histogram: tuple[int, ...] = (0,) * (len(EDGES) + 1)
    extremes: Mapping[str, float] = field(default_factory=dict)
    marks: Mapping[str, Span] = field(default_factory=dict)

    @property
    def all(self) -> int:
        """Every logit looked at."""
        return self.elements + self.as_due + self.uncertain + self.count("other_kind")

    def count(self, mark: str) -> int:
        return sum(span.count for key, span in self.marks.items() if key[1:] == mark)

    def __add__(self, other: Figures) -> Figures:
        worse = max(self, other, key=_worse)
        names = {**self.extremes, **other.extremes}
        largest = {n: max(self.extremes.get(n, 0.0), other.extremes.get(n, 0.0)) for n in names}
        return Figures(
            elements=self.elements + other.elements,
            as_due=self.as_due + other.as_due,
            uncertain=self.uncertain + other.uncertain,
            correctly_rounded=self.correctly_rounded + other.correctly_rounded,
            max_ulp=worse.max_ulp,
            at=worse.at,
            got=worse.got,
            histogram=tuple(a + b for a, b in zip(self.histogram, other.histogram, strict=True)),
            extremes=largest,
            marks=_joined(self.marks, other.marks),
        )

    def percentile(self, share: float) -> float:
        """The upper edge of the bin below which at least this share of the errors lies."""
        reached = np.cumsum(self.histogram) >= share * sum(self.histogram)
        bin_ = int(np.argmax(reached))
        return min(self.max_ulp, EDGES[bin_] if bin_ < len(EDGES) else math.inf)

    def json(self) -> Json:
        """As a journal keeps it."""
        return {
            **{name: getattr(self, name) for name in PLAIN},
            "histogram": _without_zeros(self.histogram),
            "extremes": {name: value for name, value in self.extremes.items() if value},
            "marks": {key: list(vars(span).values()) for key, span in self.marks.items()},
        }

    @classmethod
    def from_json(cls, kept: Json) -> Figures:
        """Raises KeyError or TypeError where the JSON is not of figures."""
        return cls(
            **{name: kept[name] for name in PLAIN},
            histogram=(*kept["histogram"], *[0] * (len(EDGES) + 1 - len(kept["histogram"]))),
            extremes=dict(kept["extremes"]),
            marks={key: Span(*span) for key, span in kept["marks"].items()},
        )


PLAIN = ("elements", "as_due", "uncertain", "correctly_rounded", "max_ulp", "at", "got")


def _without_zeros(counts: tuple[int, ...]) -> list[int]:
    """The counts but for the zeros at their end."""
    return list(counts[: max((i for i, n in enumerate(counts) if n), default=-1) + 1])


def total(figures: Iterable[Figures]) -> Figures:
    return reduce(Figures.__add__, figures, Figures())


def _worse(figures: Figures) -> tuple[float, float]:
    """Of equal errors the one with the smallest bits counts."""
    return figures.max_ulp, -math.inf if figures.at is None else -figures.at


def _joined(one: Mapping[str, Span], other: Mapping[str, Span]) -> dict[str, Span]:
    keys = sorted({*one, *other})
    return {
        key: one[key] + other[key] if key in one and key in other else one.get(key) or other[key]
        for key in keys
    }
