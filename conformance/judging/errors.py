"""How far a result is from the real number due, and how far it may be.

What belongs to the elements of a loss (their value, their sizes) is computed once for the same
arguments, whatever the reduction, the upstream gradient and the surface that is asked.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..model.call import ARGUMENTS, FORWARD, Array, Call, repeated
from ..model.dtypes import FLOATS, FloatFormat
from ..reference import Reduction, collapsed
from . import tolerance
from .tolerance import Floats, Grade

Mask = NDArray[np.bool_]
Kind = TypeVar("Kind")

KEPT_NUMBERS = 1 << 24
"""How many float64 numbers are kept of the arguments met last, and of the truths told last."""
NUMBERS_PER_ELEMENT = 72
"""What an element of the arguments may come to: 12 shared numbers, 10 for each quantity."""
NUMBERS_PER_RESULT = 12
"""... and an element of a truth: ten arrays, and what comparing with it keeps."""


@dataclass(frozen=True)
class Truth:
    """The real numbers due, and what the dtype allows around them; all of one shape, read-only.

    The value is high + low, known to within uncertainty. tolerance is by grade: k·scale + rest,
    k the cell of the table. formula is the error above which no rounding of the documented
    formulas explains a result. may_overflow marks where an intermediate of the documented formulas
    can overflow although the value is finite, may_cancel where two of them that are subtracted can.
    flushed is what may be lost beside the tolerance
    where arguments and results below the smallest normal number count as 0.
    """

    dtype: str
    high: Floats
    low: Floats
    uncertainty: Floats
    tolerance: dict[Grade, Floats]
    formula: Floats
    may_overflow: Mask
    may_cancel: Mask
    scale: dict[Grade, Floats]
    rest: Floats
    flushed: Floats

    def k_of(self, absolute: Floats, grade: Grade) -> float:
        """The smallest k under which these absolute errors would be within the tolerance.

        0 where what is independent of k suffices; infinite where no k does. NaN is left out: it
        marks a result of another kind, which no tolerance concerns.
        """
        with np.errstate(all="ignore"):
            needed = (absolute - self.rest) / self.scale[grade]
        needed = np.where(absolute > self.rest, needed, 0.0)
        return float(np.max(needed, initial=0.0, where=~np.isnan(needed)))

    @cached_property
    def ulp(self) -> Floats:
        """The spacing of the dtype around each value."""
        return FLOATS[self.dtype].ulp(np.where(np.isfinite(self.high), self.high, 0.0))

    @cached_property
    def in_range(self) -> bool:
        """No value due is NaN or at the edge of overflow."""
        return bool((np.abs(self.high) < FLOATS[self.dtype].overflow_edge).all())


@dataclass(frozen=True)
class Errors:
    """A result compared with the truth, element by element.

    absolute is NaN and other_kind true where one of the two is NaN or infinite and the other is
    not that. An infinity is not of another kind where the truth overflows the dtype too.
    """

    absolute: Floats
    ulps: Floats
    other_kind: Mask


class Kept(Generic[Kind]):
    """The things made last, by key, as long as they come to `most` numbers together.

    One that alone exceeds that is not kept, unless it is `indispensable`: then it is kept until
    the next.
    """

    def __init__(self, most: int, *, indispensable: bool = False) -> None:
        self._most = most
        self._indispensable = indispensable
        self._numbers = 0
        self._things: OrderedDict[Hashable, tuple[Kind, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Kind], numbers: int) -> Kind:
        """The thing of that key, made now if it is not there."""
        if key in self._things:
            self._things.move_to_end(key)
            return self._things[key][0]
        thing = make()
        if numbers <= self._most or self._indispensable:
            self._things[key] = (thing, numbers)
            self._numbers += numbers
        while self._numbers > self._most and len(self._things) > 1:
            _, (_, freed) = self._things.popitem(last=False)
            self._numbers -= freed
        return thing

    def clear(self) -> None:
        self._things.clear()
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._things)


Four = tuple[Array, Array, Array | None, Array | None]


def truth(call: Call, quantity: str, dtype: str) -> Truth:
    """What `call` is expected to return for `quantity` in a dtype.

    Raises ValueError where the formula has no meaning: shapes that do not broadcast to the
    logits', an unknown reduction.
    """
    four = cast(Four, tuple(_laid_flat(call.argument(name)) for name in ARGUMENTS))
    # the loss itself has nothing arriving from above
    upstream = None if quantity == FORWARD else _laid_flat(call.upstream)
    key = (*four, upstream, call.reduction, quantity, dtype)
    wanted = 1 if quantity == FORWARD and call.reduction != "none" else math.prod(four[0].shape)
    return _truths.get(
        key,
        lambda: _truth(four, upstream, call.reduction, quantity, dtype),
        wanted * NUMBERS_PER_RESULT,
    )


def _laid_flat(array: Array | None) -> Array | None:
    """The array whatever its layout: values do not depend on it."""
    if array is None or array.layout in ("contiguous", "cycled"):
        return array
    return replace(array, layout="contiguous")


def _truth(four: Four, upstream: Array | None, reduction: str, quantity: str, dtype: str) -> Truth:
    whole = four[0].shape
    repeated = _repetitions((*four, upstream))
    situation = _situations.get(
        (*four, dtype, repeated),
        lambda: Situation.of(four, repeated, FLOATS[dtype]),
        NUMBERS_PER_ELEMENT * math.prod(four[0].shape) // repeated,
    )
    arriving = None if upstream is None else _values(upstream, repeated)
    return situation.truth(quantity, _known(reduction), arriving, whole)


def _known(reduction: str) -> Reduction:
    if reduction in ("none", "mean", "sum"):
        return cast(Reduction, reduction)
    raise ValueError(f"the formula has no reduction {reduction!r}")


def _repetitions(arrays: tuple[Array | None, ...]) -> int:
    """How often the arrays repeat their common period: 1 where they have none.

    The first two decide; of the others, one of a single element, or absent, has every period.
    """
    if not any(a is not None and a.layout == "cycled" for a in arrays):
        return 1
    periods = {a.period.size for a in arrays[:2] if a is not None}
    periods |= {a.period.size for a in arrays[2:] if a is not None and a.size != 1}
    period = periods.pop()
    logits = arrays[0]
    assert logits is not None
    return 1 if periods or period == 0 else logits.size // period


def _values(array: Array, repeated: int) -> Floats:
    return array.values if repeated == 1 else array.period.values


@dataclass(frozen=True)
class Situation:
    """The arguments of a loss in one dtype, one period of them, and what was made of them."""

    form: FloatFormat
    arguments: reference.Arguments
    sizes: tolerance.Elements
    _quantities: dict[str, _Amounts] = field(default_factory=dict)

    @classmethod
    def of(cls, four: Four, repeated: int, form: FloatFormat) -> Situation:
        x, y, w, p = (None if a is None else _values(a, repeated) for a in four)
        assert x is not None and y is not None
        arguments = reference.Arguments.of(x, y, w, p, repeated=repeated)
        one = np.ones(())
        w, p = (one if a is None else a for a in (w, p))
        return cls(form, arguments, tolerance.Elements(x, y, w, p, form.unit_roundoff))

    def truth(
        self,
        quantity: str,
        reduction: Reduction,
        upstream: Floats | None,
        whole: tuple[int, ...],
    ) -> Truth:
        """The truth of the reduced loss; `whole` is the shape of all periods together."""
        if quantity not in self._quantities:
            self._quantities[quantity] = self._amounts(quantity)
        amounts = self._quantities[quantity]
        value = amounts.elements.reduced(reduction, upstream)
        tiled = self.arguments.repeated != 1 and value.high.shape == self.arguments.shape
        shape = whole if tiled else None
        return _bounded(amounts, self.form, value, reduction, upstream, shape)

    @cached_property
    def subnormal(self) -> Mask:
        """Where an argument is below the smallest normal number, and not 0."""
        sizes = self.sizes
        tiny = [(a != 0) & (np.abs(a) < self.form.smallest_normal)
                for a in (sizes.x, sizes.y, sizes.w, sizes.p)]  # fmt: skip
        return np.broadcast_to(tiny[0] | tiny[1] | tiny[2] | tiny[3], sizes.x.shape)

    def _amounts(self, quantity: str) -> _Amounts:
        relative = tolerance.REFERENCE_RELATIVE * self.form.unit_roundoff
        elements = self.arguments.known_to(quantity, relative)
        size = {g: tolerance.size(quantity, g, self.sizes) for g in tolerance.GRADES}
        pending = tolerance.pending(quantity, self.sizes)
        return _Amounts(
            elements,
            stable=size["stable"],
            strict=size["strict"],
            pending=pending,
            flushed=np.where(self.subnormal, pending, 0.0),
            magnitude=np.abs(elements.value.high),
            intermediate=tolerance.largest_intermediate(quantity, self.sizes),
            cancelling=tolerance.cancelling(quantity, self.sizes),
        )


@dataclass(frozen=True)
class _Amounts:
    """What the tolerance of a quantity is made of, per element, and sums of that.

    stable and strict: u·S of the two grades; pending, intermediate, cancelling: see `tolerance`;
    flushed:
    pending where an argument is subnormal, else 0; magnitude: |value|.
    """

    elements: reference.Elements
    stable: Floats
    strict: Floats
    pending: Floats
    flushed: Floats
    magnitude: Floats
    intermediate: Floats
    cancelling: Floats
    _sums: dict[tuple[str, tuple[int, ...]], Floats] = field(default_factory=dict)
    _largest: dict[str, float] = field(default_factory=dict)

    def added(self, name: str, shape: tuple[int, ...], factor: Floats | float) -> Floats:
        """An amount times a factor per element (or one for all), added up to the shape of a
        result over every period."""
        amount: Floats = getattr(self, name)
        if shape == amount.shape:
            return amount * factor
        times = self.elements.repeated
        if isinstance(factor, np.ndarray):
            return collapsed(amount * factor, shape) * times
        if (name, shape) not in self._sums:
            self._sums[name, shape] = collapsed(amount, shape)
        return np.asarray(self._sums[name, shape] * (factor * times))

    def overflows(
        self, name: str, shape: tuple[int, ...], factor: Floats | float, edge: float
    ) -> Mask:
        """Where an amount of any element of a result, times the factor, exceeds the edge."""
        amount: Floats = getattr(self, name)
        if name not in self._largest:
            self._largest[name] = float(np.max(amount, initial=0.0))
        if self._largest[name] * np.max(factor, initial=0.0) <= edge:
            return np.zeros(shape, dtype=np.bool_)
        exceeds = (amount * factor > edge).astype(np.float64)
        return np.asarray(collapsed(exceeds, shape) > 0)


def _bounded(
    amounts: _Amounts,
    form: FloatFormat,
    value: reference.Value,
    reduction: Reduction,
    upstream: Floats | None,
    whole: tuple[int, ...] | None,
) -> Truth:
    """The value with its tolerance: its elements', plus what adding them up may cost.

    All of it is repeated to the shape `whole`, if there is one.
    """
    quantity, shape = amounts.elements.quantity, value.high.shape
    n = max(amounts.elements.count, 1) if reduction == "mean" else 1
    reaching = _size(upstream)
    with np.errstate(all="ignore"):
        arriving = reaching / n
        stable = amounts.added("stable", shape, arriving)
        strict = amounts.added("strict", shape, arriving)
        rest = _rest(amounts, form, value.high, reduction, arriving)
        k = tolerance.k(quantity, form.name)
        allowed: dict[Grade, Floats] = {"stable": k * stable + rest, "strict": k * strict + rest}
        wrong = form.unit_roundoff ** (tolerance.WRONG_FORMULA - 1) * stable
        factor = 1.0 if quantity == FORWARD else np.maximum(1.0, reaching)

        def overflows(name: str) -> Mask:
            return amounts.overflows(name, shape, factor, form.largest)

        return Truth(
            form.name,
            high=_fixed(value.high, whole),
            low=_fixed(value.low, whole),
            uncertainty=_fixed(value.uncertainty, whole),
            tolerance={grade: _fixed(a, whole) for grade, a in allowed.items()},
            formula=_fixed(np.maximum(wrong, 2 * allowed["stable"]), whole),
            may_overflow=_fixed(overflows("intermediate"), whole),
            may_cancel=_fixed(overflows("cancelling"), whole),
            scale={"stable": _fixed(stable, whole), "strict": _fixed(strict, whole)},
            rest=_fixed(rest, whole),
            flushed=_fixed(
                _underflow(amounts, "flushed", form.smallest_normal, value.high, arriving), whole
            ),
        )


def _size(upstream: Floats | None) -> Floats | float:
    if upstream is None:
        return 1.0
    return np.abs(upstream) if upstream.ndim else abs(float(upstream))


def _rest(
    amounts: _Amounts,
    form: FloatFormat,
    high: Floats,
    reduction: Reduction,
    arriving: Floats | float,
) -> Floats:
    """What is allowed beside k·scale: underflow, the roundings of upstream, n and the sum."""
    u = form.unit_roundoff
    forward = amounts.elements.quantity == FORWARD
    reduced, count = high.shape != amounts.stable.shape, _added_up(amounts, high)
    rest = _underflow(amounts, "pending", form.smallest_subnormal, high, arriving)
    relative = 0.0 if forward else 2 * u
    if reduced:
        relative += tolerance.summation(form.name, count)
        rest = rest + (2 if forward and reduction == "mean" else 1) * u * np.abs(high)
    if relative:
        rest = rest + amounts.added("magnitude", high.shape, relative * arriving)
    return np.asarray(rest)


def _added_up(amounts: _Amounts, high: Floats) -> int:
    """How many elements of the loss an element of the result is made of."""
    reduced = high.shape != amounts.stable.shape
    return amounts.elements.count // max(high.size, 1) if reduced else 1


def _underflow(
    amounts: _Amounts, name: str, eta: float, high: Floats, arriving: Floats | float
) -> Floats:
    """What may be lost where numbers below eta are not told apart from 0."""
    count = _added_up(amounts, high)
    if amounts.elements.quantity == FORWARD:  # n divides what was added up
        return amounts.added(name, high.shape, arriving * eta) + eta * (count * arriving + 1)
    following = np.maximum(1.0, arriving)  # what arrives is a factor among the others
    return amounts.added(name, high.shape, eta * following) + eta * (count + 1)


Made = TypeVar("Made", Floats, Mask)


def _fixed(array: Made, whole: tuple[int, ...] | None) -> Made:
    """Read-only, for it is kept; repeated to the whole shape if there is one."""
    fixed = np.asarray(array) if whole is None else repeated(array, whole)
    fixed.flags.writeable = False
    return fixed


_situations: Kept[Situation] = Kept(KEPT_NUMBERS, indispensable=True)
_truths: Kept[Truth] = Kept(KEPT_NUMBERS)


def forget(*, truths_only: bool = False) -> None:
    """Drops what is kept: the truths told, and with them what was made of their arguments."""
    _truths.clear()
    if not truths_only:
        _situations.clear()


def errors(got: Array, expected: Truth) -> Errors:
    """|got − truth| element by element; the shapes must be equal.

    Overflow is placed at 2^(emax+1), on both sides, so that a rightly infinite result has no
    error and a prematurely infinite one has the distance to the edge.
    """
    value = got.values
    if expected.in_range:
        with np.errstate(all="ignore"):
            absolute = np.abs((value - expected.high) - expected.low)
            ulps = np.asarray(absolute / expected.ulp)
        if np.isfinite(absolute).all():
            return Errors(absolute, ulps, np.zeros(absolute.shape, dtype=np.bool_))
    return _special_errors(value, expected)


def _special_errors(value: Floats, expected: Truth) -> Errors:
    form = FLOATS[expected.dtype]
    edge = form.overflow_edge
    high = np.where(np.abs(expected.high) > edge, np.copysign(edge, expected.high), expected.high)
    low = np.where(np.abs(expected.high) >= edge, 0.0, expected.low)
    infinite = np.isinf(expected.high)  # whatever the tolerance: only that infinity will do
    both_nan = np.isnan(value) & np.isnan(high)
    with np.errstate(all="ignore"):
        near = (np.abs(high) + expected.tolerance["stable"] >= form.overflow_threshold) | infinite
        same_side = np.isinf(value) & (np.sign(value) == np.sign(high))
        value = np.where(same_side & near, np.copysign(edge, value), value)
        comparable = np.isfinite(value) & np.isfinite(high) & (~infinite | same_side)
        absolute = np.where(comparable, np.abs((value - high) - low), np.nan)
        absolute = np.where(both_nan, 0.0, absolute)
        ulps = absolute / form.ulp(np.where(comparable, high, 0.0))
    return Errors(absolute, np.asarray(ulps), ~comparable & ~both_nan)
