"""Judges logits one array at a time with the suite's own reference: any dtype, target and weight.

`kernel` does the same for float32 and the targets 0 and 1, compiled; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..judging import tolerance
from ..judging.accuracy import USUAL_ATOL, USUAL_RTOL, rounded
from ..judging.errors import Mask, Truth, errors
from ..judging.tolerance import Floats
from ..model.call import Array
from ..model.dtypes import FLOATS
from .figures import EDGES, MARKS, Figures, Span

CLOSE = 2.0**-20
"""Ulps from half an ulp within which it takes a rounding to tell whether a result is nearest."""


@dataclass(frozen=True)
class Judged:
    """Results compared with the truth, element by element, and what each element is marked with."""

    bits: NDArray[Any]
    got: Floats
    got_bits: NDArray[Any]
    expected: Truth
    absolute: Floats
    ulps: Floats
    compared: Mask
    as_due: Mask
    nearest: Mask
    marks: dict[str, Mask]

    def figures(self, starts: Sequence[int]) -> list[Figures]:
        """The figures of parts of the elements, which begin at `starts`; each part is on one side
        of 0 and ordered outwards."""
        first = np.asarray(starts)
        ulps = np.where(self.compared, self.ulps, 0.0)
        sums = {
            "elements": self.compared,
            "as_due": self.as_due,
            "uncertain": ~self.compared & ~self.as_due & ~self.marks["other_kind"],
            "correctly_rounded": self.nearest & self.compared,
        }
        counts = {n: np.add.reduceat(m.astype(np.int64), first) for n, m in sums.items()}
        worst = np.maximum.reduceat(ulps, first)
        part = np.repeat(np.arange(first.size), np.diff([*first, ulps.size]))
        at = self._first_at(ulps == worst[part], part, first.size)
        histogram = self._histogram(part, first.size)
        largest = {name: np.maximum.reduceat(v, first) for name, v in self._sizes().items()}
        marks = self._marks(part)
        return [
            Figures(
                **{name: int(count[i]) for name, count in counts.items()},
                max_ulp=float(worst[i]),
                at=int(self.bits[at[i]]) if worst[i] > 0 else None,
                got=int(self.got_bits[at[i]]) if worst[i] > 0 else None,
                histogram=tuple(histogram[i].tolist()),
                extremes={name: float(values[i]) for name, values in largest.items()},
                marks=marks.get(i, {}),
            )
            for i in range(first.size)
        ]

    def _first_at(self, here: Mask, part: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """The first index in each part where `here` holds, which it does somewhere."""
        index = np.flatnonzero(here)[::-1]
        found = np.zeros(count, np.int64)
        found[part[index]] = index
        return found

    def _histogram(self, part: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        bins = len(EDGES) + 1
        which = np.searchsorted(EDGES, self.ulps[self.compared], side="left")
        flat = np.bincount(part[self.compared] * bins + which, minlength=count * bins)
        return flat.reshape(count, bins)

    def _sizes(self) -> dict[str, Floats]:
        """The values whose largest is kept; 0 where nothing was compared."""
        absolute, size = self.absolute, np.abs(self.expected.high)
        with np.errstate(all="ignore"):
            more = np.maximum(absolute - self.expected.rest, 0.0)
            # numpy.testing.assert_allclose and its like compare with the due value as a float64.
            off = np.abs(self.got - self.expected.high)
            found = {"abs": absolute, "rel": _over(absolute, size)}
            for grade in tolerance.GRADES:
                found[f"k_{grade}"] = _over(more, self.expected.scale[grade])
            for atol in USUAL_ATOL[self.expected.dtype]:
                found[f"rtol {atol:g}"] = _over(np.maximum(off - atol, 0.0), size)
            rtol = USUAL_RTOL[self.expected.dtype]
            found[f"atol {rtol:g}"] = np.maximum(off - rtol * size, 0.0)
        return {name: np.where(self.compared, values, 0.0) for name, values in found.items()}

    def _marks(self, part: NDArray[np.int64]) -> dict[int, dict[str, Span]]:
        """The spans of each part that has any."""
        found: dict[int, dict[str, Span]] = {}
        for name in MARKS:
            marked = np.flatnonzero(self.marks[name])
            for i in np.unique(part[marked]):
                index = marked[part[marked] == i]
                side = "-" if int(self.bits[index[0]]) >> (8 * self.bits.itemsize - 1) else "+"
                found.setdefault(int(i), {})[side + name] = self._span(index)
        return found

    def _span(self, index: NDArray[np.int64]) -> Span:
        error = np.nan_to_num(self.ulps[index], nan=0.0, posinf=0.0)
        worst = int(np.argmax(error))
        first, last, where = (int(self.bits[i]) for i in (index[0], index[-1], index[worst]))
        got = int(self.got_bits[index[worst]])
        return Span(int(index.size), first, last, where, got, float(error[worst]))


def judged(bits: NDArray[Any], result: Array, expected: Truth) -> Judged:
    """bits: of the logits; result and due: one element for each."""
    form = FLOATS[expected.dtype]
    with np.errstate(all="ignore"):
        found = errors(result, expected)
        got, size = result.values, np.abs(expected.high)
        number = np.isfinite(got) & np.isfinite(expected.high)
        # No reference is finer than the grid of float64's own subnormals (see `judge`).
        grid = 4 * FLOATS["float64"].smallest_subnormal
        certain = expected.uncertainty <= np.maximum(tolerance.REFERENCE_SHARE * expected.ulp, grid)
        # One that is expected, or where the tolerance reaches to the overflow.
        as_due = np.isinf(got) & ~found.other_kind
        as_due |= np.isnan(got) & np.isnan(expected.high)
        same_sign = np.sign(got) == np.sign(expected.high)
        excused = (
            np.isinf(got) & ~as_due & np.isfinite(expected.high) & expected.may_overflow & same_sign
        )
        compared = number & certain
        beyond = {
            g: found.absolute > expected.tolerance[g] + expected.uncertainty
            for g in tolerance.GRADES
        }
        within_flushing = (
            found.absolute <= expected.tolerance["stable"] + expected.flushed + expected.uncertainty
        )
        tiny = size < form.smallest_normal
        lost = compared & (got == 0) & (found.ulps > 1)
        marks = {
            "zero": lost & ~tiny,
            "flushed": lost & tiny,
            "strict": (compared & beyond["strict"]) | excused,
            "stable": compared & beyond["stable"] & ~within_flushing,
            "other_kind": ~number & ~as_due & ~excused,
        }
        nearest = found.ulps < 0.5
        close = np.flatnonzero(np.abs(found.ulps - 0.5) <= CLOSE)
        nearest[close] = (
            rounded(expected.dtype, expected.high[close], expected.low[close]) == got[close]
        )
    return Judged(bits, got, _words(result), expected, found.absolute, found.ulps, compared,
                  as_due | excused, nearest, marks)  # fmt: skip


def by_block(found: Judged, sizes: Sequence[int]) -> list[Figures]:
    """The figures of blocks of so many elements each, which `found` is of, one after the other."""
    return found.figures(np.cumsum([0, *sizes])[:-1].tolist())


def _over(amount: Floats, size: Floats) -> Floats:
    """amount/size; 0 where there is nothing to divide, infinite where nothing divides it."""
    with np.errstate(all="ignore"):
        return np.where(amount == 0, 0.0, amount / size)


def _words(result: Array) -> NDArray[Any]:
    bits = result.bits
    return bits.view(f"<u{bits.dtype.itemsize}")
