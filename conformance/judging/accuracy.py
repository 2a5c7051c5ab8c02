"""How exact a backend's results were: the tolerance report, row by row.

A `Tally` counts the elements of one surface, quantity, dtype and reduction while they are judged.
All that it keeps are counts and largest values, with ties broken by the bits of the inputs, so the
order in which calls are added makes no difference.

Only elements where a number is due and a number came enter the figures; the rest is counted apart.
The error is that of the result against the real number due, in ulps of `FloatFormat.ulp`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_UP, Context, Decimal
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..adapters import AdapterFile
from ..model.call import ARGUMENTS, FORWARD, QUANTITIES, Array, Backend, Call
from ..model.dtypes import FLOATS, from_float64, to_float64
from ..model.literal import literal, to_json
from . import tolerance
from .errors import Errors, Mask, Truth
from .tolerance import GRADES, Floats, Grade

Json = dict[str, Any]

USUAL_ATOL: dict[str, tuple[float, ...]] = {
    "float16": (0.0, 1e-8, 1e-5, 1e-3),
    "bfloat16": (0.0, 1e-8, 1e-5, 1e-2),
    "float32": (0.0, 1e-8, 1e-5),
    "float64": (0.0, 1e-8, 1e-7),
}
"""The absolute tolerances that tests are written with, by dtype: 0 is the default of
numpy.testing.assert_allclose, 1e-8 that of numpy.allclose and torch.allclose, then that of
torch.testing.assert_close. In 16 bits these are below what the format resolves near 1, so what
tests of losses use instead stands last."""

USUAL_RTOL = {"float16": 1e-3, "bfloat16": 1.6e-2, "float32": 1.3e-6, "float64": 1e-7}
"""The default relative tolerance of torch.testing.assert_close."""

DOMAIN = "logits within ±16, targets in [0, 1], weights between 1/16 and 16"
"""What the rows are measured over; the caller adds no other calls."""

PERCENTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
REDUCTIONS = ("none", "mean", "sum")
SHOWN_WHOLE = 64
"""A call of more elements is described by its shape, where one element of it is not enough."""

PENDING_CALLS, PENDING_ELEMENTS = 32, 1 << 12
"""Calls are counted in batches of this size: numpy's own time is then spread over many."""


class Histogram:
    """Counts of ulp errors in bins 1/32 octave wide, from 2^-16 to 2^64.

    The bin is read off the bits of the float64 (its exponent and five bits of the significand), so
    it is the same on every machine. Errors below 2^-16 ulp count as 0.
    """

    SHIFT = 47
    FIRST = int(np.float64(2.0**-16).view(np.int64)) >> SHIFT
    BINS = (int(np.float64(2.0**64).view(np.int64)) >> SHIFT) - FIRST + 2

    def __init__(self) -> None:
        self.counts = np.zeros(self.BINS, dtype=np.int64)

    def add(self, ulps: Floats) -> None:
        bins = (ulps.view(np.int64) >> self.SHIFT) - (self.FIRST - 1)
        bins = np.minimum(np.maximum(bins, 0), self.BINS - 1)
        self.counts += np.bincount(bins, minlength=self.BINS)

    def percentile(self, share: float) -> float:
        """The upper edge of the bin below which at least this share of the errors lies."""
        reached = np.cumsum(self.counts) >= share * self.counts.sum()
        bin_ = int(np.argmax(reached))
        return 0.0 if bin_ == 0 else self._edge(bin_)

    def _edge(self, bin_: int) -> float:
        if bin_ == self.BINS - 1:
            return math.inf
        return float(np.int64((bin_ + self.FIRST) << self.SHIFT).view(np.float64))


@dataclass(frozen=True)
class Worst:
    """The element that is worst by some measure, in the smallest call known to hold it.

    inputs are the arguments at that element, none where a result is made of many elements; call is
    None where it is too large to be shown, and shape is that of its logits. at is the index in the
    result of that call.
    """

    size: float
    ties: tuple[bytes, ...]
    inputs: Mapping[str, Array]
    call: Call | None
    shape: tuple[int, ...]
    at: tuple[int, ...]
    got: Array
    expected: float
    ulps: float


@dataclass(frozen=True)
class _Batch:
    """Several judged results, their elements one after the other.

    starts is where each call's elements begin; all other arrays are of one length.
    """

    calls: tuple[Call, ...]
    results: tuple[Array, ...]
    starts: NDArray[np.int64]
    got: Floats
    high: Floats
    low: Floats
    uncertainty: Floats
    scale: dict[Grade, Floats]
    rest: Floats
    may_overflow: Mask
    absolute: Floats
    ulps: Floats
    other_kind: Mask

    @classmethod
    def of(cls, judged: list[tuple[Call, Array, Truth, Errors]]) -> _Batch:
        calls, results, all_expected, found = zip(*judged, strict=True)
        sizes = [expected.high.size for expected in all_expected]

        def joined(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
            return np.concatenate(list(arrays), axis=None)

        return cls(
            calls=calls,
            results=results,
            starts=np.cumsum([0, *sizes[:-1]]),
            got=joined(result.values for result in results),
            high=joined(expected.high for expected in all_expected),
            low=joined(expected.low for expected in all_expected),
            uncertainty=joined(expected.uncertainty for expected in all_expected),
            scale={
                grade: joined(expected.scale[grade] for expected in all_expected)
                for grade in GRADES
            },
            rest=joined(expected.rest for expected in all_expected),
            may_overflow=joined(expected.may_overflow for expected in all_expected),
            absolute=joined(errors.absolute for errors in found),
            ulps=joined(errors.ulps for errors in found),
            other_kind=joined(errors.other_kind for errors in found),
        )


class Tally:
    """The errors of one surface, quantity, dtype and reduction."""

    def __init__(self, surface: str, quantity: str, dtype: str, reduction: str) -> None:
        self.surface, self.quantity = surface, quantity
        self.dtype, self.reduction = dtype, reduction
        self.histogram = Histogram()
        self.counts: Counter[str] = Counter()
        self.beyond: Counter[Grade] = Counter()
        self.largest = {"ulp": 0.0, "abs": 0.0, "rel": 0.0}
        self.k: dict[Grade, float] = dict.fromkeys(GRADES, 0.0)
        self.table_k = tolerance.k(quantity, dtype)
        self.rtol = dict.fromkeys(USUAL_ATOL[dtype], 0.0)
        self.atol = {USUAL_RTOL[dtype]: 0.0}
        self.worst: dict[str, Worst] = {}
        self._pending: list[tuple[Call, Array, Truth, Errors]] = []
        self._elements = 0

    def add(self, call: Call, quantity: str, result: Array, expected: Truth, found: Errors) -> None:
        """Takes one judged result in; result, due and found are of one shape."""
        assert (call.surface, quantity, call.reduction, expected.dtype) == (
            self.surface, self.quantity, self.reduction, self.dtype
        )  # fmt: skip
        self.counts["calls"] += 1
        if expected.high.size == 0:
            return
        self._pending.append((call, result, expected, found))
        self._elements += max(expected.high.size, math.prod(call.logits.shape))
        if len(self._pending) >= PENDING_CALLS or self._elements >= PENDING_ELEMENTS:
            self._settle()

    def _settle(self) -> None:
        """Counts what is pending."""
        if not self._pending:
            return
        batch = _Batch.of(self._pending)
        self._pending, self._elements = [], 0
        with np.errstate(all="ignore"):
            compared = self._sort_out(batch)
            self._grade(batch)
            if np.any(compared):
                self._measure(batch, compared)

    def _sort_out(self, batch: _Batch) -> Mask:
        """Which elements are compared; the others are counted by what is the matter with them."""
        numbers = np.isfinite(batch.got) & np.isfinite(batch.high)
        compared = numbers & self._certain(batch)
        self.counts["reference_uncertain"] += _count(numbers) - _count(compared)
        if not numbers.all():
            representable = np.abs(batch.high) < FLOATS[self.dtype].overflow_threshold
            early = np.isinf(batch.got) & representable
            as_expected = np.isinf(batch.got) & ~representable
            as_expected &= np.sign(batch.got) == np.sign(batch.high)
            as_expected |= np.isnan(batch.got) & np.isnan(batch.high)
            self.counts["infinite_or_nan_as_due"] += _count(as_expected)
            self.counts["infinite_too_early"] += _count(early)
            self.counts["another_kind"] += _count(~numbers & ~early & ~as_expected)
        return np.asarray(compared)

    def _certain(self, batch: _Batch) -> Mask:
        """Where the reference is known to a sixteenth of an ulp (tolerance.REFERENCE_SHARE)."""
        form, share = FLOATS[self.dtype], tolerance.REFERENCE_SHARE
        least = np.maximum(np.abs(batch.high) * form.unit_roundoff, form.smallest_subnormal)
        certain = batch.uncertainty <= share * least  # an ulp is never less than that
        doubtful = np.flatnonzero(~certain)
        if doubtful.size:
            ulp = form.ulp(batch.high[doubtful])
            certain[doubtful] = batch.uncertainty[doubtful] <= share * ulp
        return np.asarray(certain)

    def _grade(self, batch: _Batch) -> None:
        """Counts what is beyond each grade, by the rules of `judge.compare`.

        An infinity where an intermediate may overflow is excused by the stable grade alone.
        """
        infinite, same_sign = np.isinf(batch.got), np.sign(batch.got) == np.sign(batch.high)
        excused = infinite & same_sign & batch.may_overflow & np.isfinite(batch.high)
        wrong = batch.other_kind | (infinite & ~same_sign)
        for grade in GRADES:
            allowed = self.table_k * batch.scale[grade] + batch.rest
            over = wrong | (batch.absolute > allowed + batch.uncertainty)
            over = over | excused if grade == "strict" else over & ~excused
            self.beyond[grade] += _count(over)

    def _measure(self, batch: _Batch, compared: Mask) -> None:
        everything = bool(compared.all())
        index = np.arange(compared.size) if everything else np.flatnonzero(compared)

        def kept(array: Floats) -> Floats:
            return array if everything else array[index]

        absolute, ulps = kept(batch.absolute), kept(batch.ulps)
        size = np.abs(kept(batch.high))
        self.counts["elements"] += index.size
        self.histogram.add(ulps)
        self.counts["correctly_rounded"] += self._nearest(batch, index, ulps)
        self._enlarge("abs", float(absolute.max()))
        self._enlarge("rel", float((absolute / np.where(size > 0, size, np.inf)).max()))
        off = np.abs(kept(batch.got) - kept(batch.high))  # a test's own value is a float64 too
        for atol in self.rtol:
            needed = float(np.fmax.reduce((off - atol) / size))
            self.rtol[atol] = max(self.rtol[atol], needed)
        for rtol in self.atol:
            self.atol[rtol] = max(self.atol[rtol], float((off - rtol * size).max()))
        if float(ulps.max()) > 0:
            self._enlarge("ulp", float(ulps.max()))
            self._remember("ulp", batch, index, ulps)
        more = absolute - kept(batch.rest)
        for grade in GRADES:
            k = more / kept(batch.scale[grade])
            largest = float(np.fmax.reduce(k))
            self.k[grade] = max(self.k[grade], largest)
            if grade == "strict" and largest > self.table_k:
                self._remember("strict", batch, index, k)

    def _enlarge(self, name: str, value: float) -> None:
        self.largest[name] = max(self.largest[name], value)

    def _nearest(self, batch: _Batch, index: NDArray[np.int64], ulps: Floats) -> int:
        """How many results are the number of the dtype nearest to the real one, ties to even.

        Less than half an ulp off is nearest; only close to half an ulp is there a need to round.
        """
        margin = 2.0**-20
        close = index[np.abs(ulps - 0.5) <= margin]
        if close.size == 0:
            return _count(ulps < 0.5)
        expected = rounded(self.dtype, batch.high[close], batch.low[close])
        return _count(ulps < 0.5 - margin) + _count(expected == batch.got[close])

    def _remember(self, name: str, batch: _Batch, index: NDArray[np.int64], size: Floats) -> None:
        """Keeps the worst element so far; of equally bad ones that with the smallest inputs."""
        largest, known = float(np.fmax.reduce(size)), self.worst.get(name)
        if known is not None and known.size > largest:
            return
        tied = index[size == largest]
        owners = np.searchsorted(batch.starts, tied, side="right") - 1
        candidates = [] if known is None else [known]
        for owner in np.unique(owners):
            within = tied[owners == owner] - batch.starts[owner]
            candidates.append(self._element(batch, int(owner), within, largest))
        self.worst[name] = min(candidates, key=lambda worst: (-worst.size, worst.ties))

    def _element(self, batch: _Batch, owner: int, tied: NDArray[np.int64], size: float) -> Worst:
        """The first, by the bits of its inputs, of the tied elements of one call's result."""
        call, result = batch.calls[owner], batch.results[owner]
        if self.quantity == FORWARD:
            call = replace(call, upstream=None)
        call = replace(call, want=(self.quantity,))
        inputs = elementwise(call, self.quantity, result)
        flat = _first(inputs, result, tied)
        at = tuple(int(i) for i in np.unravel_index(flat, result.shape))
        place = int(batch.starts[owner]) + flat
        here = {name: item(array, at) for name, array in inputs.items()}
        got, shape = item(result, at), call.logits.shape
        if inputs and self.reduction != "mean":  # a mean's gradient is of the whole call
            call, at, shape = _with(call, here), (), ()
        return Worst(
            size=size,
            ties=(*(here[name].data if name in here else b"" for name in ARGUMENTS),
                  *_identity(call), repr(at).encode(), got.data),
            inputs=here,
            call=call if math.prod(shape) <= SHOWN_WHOLE else None,
            shape=shape,
            at=at,
            got=got,
            expected=float(batch.high[place]),
            ulps=float(batch.ulps[place]),
        )  # fmt: skip

    def row(self, backend: Backend, adapter: AdapterFile) -> Json:
        """An entry of a report's `accuracy`; every figure is rounded up, so that it still holds.

        smallest_rtol (by atol) and smallest_atol (by rtol) are for a test of
        |got − due| ≤ atol + rtol·|due| with the real number due rounded to float64; one that
        rounds it to the dtype itself needs a unit roundoff more. k is the constant with which the
        grade's tolerance would just have let everything pass.
        """
        self._settle()
        return {
            "surface": self.surface,
            "quantity": self.quantity,
            "dtype": self.dtype,
            "reduction": self.reduction,
            "grades": {g: "beyond" if self.beyond[g] else "within" for g in GRADES},
            "beyond": {grade: self.beyond[grade] for grade in GRADES},
            "calls": self.counts["calls"],
            "elements": self.counts["elements"],
            "not_compared": {name: self.counts[name] for name in NOT_COMPARED},
            "max_ulp": up(self.largest["ulp"], 4),
            "at": self._at("ulp", backend, adapter),
            **{name: self._percentile(share) for name, share in PERCENTILES.items()},
            "correctly_rounded": self.counts["correctly_rounded"],
            "max_abs": up(self.largest["abs"], 4),
            "max_rel": up(self.largest["rel"], 4),
            **{f"k_{grade}": up(self.k[grade], 4) for grade in GRADES},
            "smallest_rtol": {f"{atol:g}": pasteable(rtol) for atol, rtol in self.rtol.items()},
            "smallest_atol": {f"{rtol:g}": hair_above(atol) for rtol, atol in self.atol.items()},
            "beyond_strict_at": self._at("strict", backend, adapter)
            if self.beyond["strict"]
            else None,
        }

    def _percentile(self, share: float) -> float:
        if not self.counts["elements"]:
            return 0.0
        return up(min(self.histogram.percentile(share), self.largest["ulp"]), 3)

    def _at(self, name: str, backend: Backend, adapter: AdapterFile) -> Json | None:
        worst = self.worst.get(name)
        return None if worst is None else worst_json(worst, backend, adapter)


NOT_COMPARED = ("infinite_or_nan_as_due", "infinite_too_early", "another_kind",
                "reference_uncertain")  # fmt: skip
"""Why an element has no error: an infinity or NaN that is due; an infinity where the dtype still
has a number; another kind of number than is due; the reference too uncertain to tell."""


class Tallies:
    """One tally for each surface, quantity, dtype and reduction that has been judged."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, str, str], Tally] = {}

    def add(self, call: Call, quantity: str, result: Array, expected: Truth, found: Errors) -> None:
        """Takes one judged result in; result, due and found are of one shape."""
        key = (call.surface, quantity, expected.dtype, call.reduction)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(*key)
        tally.add(call, quantity, result, expected, found)

    def rows(self, backend: Backend, adapter: AdapterFile) -> list[Json]:
        """The `accuracy` of a report, in an order that does not depend on the calls'."""
        return rows(self._tallies.values(), backend, adapter)


def rows(tallies: Iterable[Tally], backend: Backend, adapter: AdapterFile) -> list[Json]:
    """The rows of tallies: the adapter's surfaces in turn, then dtype, reduction and quantity."""
    surfaces, dtypes = list(backend.surfaces), list(FLOATS)

    def place(tally: Tally) -> tuple[int, ...]:
        return (surfaces.index(tally.surface), dtypes.index(tally.dtype),
                REDUCTIONS.index(tally.reduction), QUANTITIES.index(tally.quantity))  # fmt: skip

    return [tally.row(backend, adapter) for tally in sorted(tallies, key=place)]


def rounded(dtype: str, high: Floats, low: Floats) -> Floats:
    """high + low rounded once to dtype, where high is high + low rounded to float64.

    high alone rounds to the same number unless it lies exactly between two; then low decides.
    """
    nearest = to_float64(dtype, from_float64(dtype, high))
    if dtype == "float64":
        return nearest
    below, above = (
        to_float64(dtype, from_float64(dtype, np.nextafter(high, side)))
        for side in (-np.inf, np.inf)
    )
    between = (below != above) & (high - below == above - high)
    return np.where(between & (low < 0), below, np.where(between & (low > 0), above, nearest))


def up(value: float, digits: int) -> float:
    """The value rounded up to so many significant digits; 1e308 stands for anything above it."""
    if not 0 < value < 1e308:
        return 0.0 if value == 0 else 1e308
    return float(Context(prec=digits, rounding=ROUND_UP).create_decimal(Decimal(value)))


def pasteable(rtol: float) -> float | None:
    """An rtol to write into a test: two digits, rounded up; None where no rtol helps."""
    return None if math.isinf(rtol) else hair_above(rtol)


def hair_above(tolerance: float) -> float:
    """Two digits, rounded up; above by what the comparison itself may round."""
    return up(max(tolerance, 0.0) * (1 + 2.0**-40), 2)


def elementwise(call: Call, quantity: str, result: Array) -> dict[str, Array]:
    """The arguments of a call, by name, if each element of the result is made of one of theirs.

    A reduced loss is not, nor the gradient of an argument that was repeated: then there are none.
    """
    if result.shape != call.logits.shape or (quantity == FORWARD and call.reduction != "none"):
        return {}
    given = {name: call.argument(name) for name in ARGUMENTS}
    named = {name: array for name, array in given.items() if array is not None}
    if call.upstream is not None:
        named["upstream"] = call.upstream
    return named


def _first(inputs: Mapping[str, Array], result: Array, tied: NDArray[np.int64]) -> int:
    """Of the tied elements (flat indices), the one whose inputs have the smallest bits."""
    arrays = [result, *reversed(list(inputs.values()))]
    keys = [np.broadcast_to(_unsigned(array), result.shape).flat[tied] for array in arrays]
    return int(tied[np.lexsort([tied, *keys])[0]])


def _unsigned(array: Array) -> NDArray[Any]:
    bits = array.bits
    return bits.view(f"<u{bits.dtype.itemsize}")


def item(array: Array, at: tuple[int, ...]) -> Array:
    """The element of an array that is broadcast to the shape indexed by `at`, as an array of ()."""
    own = at[len(at) - len(array.shape) :]
    place = tuple(0 if n == 1 else i for i, n in zip(own, array.shape, strict=True))
    return Array(array.dtype, (), array.bits[place].tobytes())


def _with(call: Call, arrays: Mapping[str, Array]) -> Call:
    """The call on other arrays."""
    fields: dict[str, Any] = {**arrays}
    return replace(call, **fields)


def _identity(call: Call) -> tuple[bytes, ...]:
    """Tells calls apart, and puts them in an order."""
    arrays = [call.argument(name) for name in ARGUMENTS] + [call.upstream]
    described = [b"" if a is None else repr((a.shape, a.dtype, a.layout)).encode() for a in arrays]
    digests = [b"" if a is None else blake2b(a.data, digest_size=16).digest() for a in arrays]
    return (*described, *digests, repr(sorted(call.options.items())).encode())


def worst_json(worst: Worst, backend: Backend, adapter: AdapterFile) -> Json:
    """The worst input in bits and decimal, what was due to 17 digits, and a paste that makes it."""
    reproduce = None
    if worst.call is not None:
        call = {**worst.call.wire(), **backend.where}
        reproduce = adapter.reproduction(call, literal).strip()
    return {
        "inputs": {name: _number_json(array) for name, array in worst.inputs.items()},
        "shape": list(worst.shape),
        "index": list(worst.at),
        "got": _number_json(worst.got),
        "due": f"{worst.expected:.17g}",
        "ulps": up(worst.ulps, 4),
        "reproduce": reproduce,
    }


def _number_json(array: Array) -> Json:
    kept = to_json(array)
    return {"bits": kept["bits"], "value": kept["values"]}


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))
