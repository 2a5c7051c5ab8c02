"""How far a result is from the real number due, and how far it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from . import tolerance
from .dtypes import FLOATS
from .reference import Reduction, evaluate
from .tolerance import Elements, Floats, Grade
from .vocabulary import ARGUMENTS, FORWARD, Array, Call

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """The real numbers due, and what the dtype allows around them; all of one shape.

    The value is high + low, known to within uncertainty. tolerance is by grade. formula is the
    error above which no rounding of the documented formulas explains a result. may_overflow marks
    where an intermediate of the documented formulas can overflow although the value is finite.
    """

    dtype: str
    high: Floats
    low: Floats
    uncertainty: Floats
    tolerance: dict[Grade, Floats]
    formula: Floats
    may_overflow: Mask


@dataclass(frozen=True)
class Errors:
    """A result held against the truth, element by element.

    absolute is NaN and other_kind true where one of the two is NaN or infinite and the other is
    not that. An infinity is not of another kind where the truth overflows the dtype too.
    """

    absolute: Floats
    ulps: Floats
    other_kind: Mask


def truth(call: Call, quantity: str, dtype: str) -> Truth:
    """What `call` is due to return for `quantity` in a dtype.

    Raises ValueError where the formula has no meaning: shapes that do not broadcast to the
    logits', an unknown reduction.
    """
    x, y, w, p = (None if a is None else a.values for a in map(call.argument, ARGUMENTS))
    assert x is not None and y is not None
    upstream = None if call.upstream is None else call.upstream.values
    form = FLOATS[dtype]
    reduction = _known(call.reduction)
    value = evaluate(quantity, x, y, w, p, reduction=reduction, upstream=upstream)
    bearable = form.ulp(value.high) * tolerance.REFERENCE_SHARE
    if np.any(value.uncertainty > bearable):
        value = evaluate(
            quantity, x, y, w, p, reduction=reduction, upstream=upstream, tolerable=bearable
        )
    terms = _terms(call, quantity)
    allowed = {grade: _allowed(terms, dtype, terms.size[grade]) for grade in tolerance.GRADES}
    scale = _collapsed(terms.size["stable"] * terms.arriving, terms.shape)
    wrong = form.unit_roundoff**tolerance.WRONG_FORMULA * scale
    return Truth(
        dtype=dtype,
        high=value.high,
        low=value.low,
        uncertainty=value.uncertainty,
        tolerance=allowed,
        formula=np.maximum(wrong, 2 * allowed["stable"]),
        may_overflow=_collapsed(terms.intermediate > form.largest, terms.shape) > 0,
    )


def _known(reduction: str) -> Reduction:
    if reduction in ("none", "mean", "sum"):
        return cast(Reduction, reduction)
    raise ValueError(f"the formula has no reduction {reduction!r}")


@dataclass(frozen=True)
class _Terms:
    """What a result is made of, per element of the unreduced loss.

    values: the elements that are added up (each already times what arrives); size: S by grade;
    intermediate: the largest number on the way to each;
    arriving: the factor on each element; shape: of the result; roundings: how many more there are
    to each element (times upstream, over n) and to each result (rounding a sum, dividing it).
    """

    quantity: str
    values: Floats
    size: dict[Grade, Floats]
    intermediate: Floats
    arriving: Floats
    shape: tuple[int, ...]
    roundings: tuple[int, int]


def _terms(call: Call, quantity: str) -> _Terms:
    given = map(call.argument, ARGUMENTS)
    x, y, w, p = np.broadcast_arrays(*(np.ones(()) if a is None else a.values for a in given))
    elements = Elements(x, y, w, p)
    mean, upstream = call.reduction == "mean", call.upstream
    n = np.float64(max(x.size, 1) if mean else 1)
    roundings: tuple[int, int]
    if quantity == FORWARD:
        arriving = np.asarray(1 / n)
        shape = x.shape if call.reduction == "none" else ()
        roundings = (0, 2 if mean else 1)
    else:
        arriving = np.asarray((1.0 if upstream is None else np.abs(upstream.values)) / n)
        argument = call.argument(quantity.split(".")[1])
        assert argument is not None
        shape = argument.shape
        roundings = (2, 1)
    with np.errstate(all="ignore"):
        values = evaluate(quantity, x, y, w, p).high * arriving
    size = {grade: tolerance.size(quantity, grade, elements) for grade in tolerance.GRADES}
    intermediate = tolerance.largest_intermediate(elements)
    return _Terms(quantity, values, size, intermediate, arriving, shape, roundings)


def _allowed(terms: _Terms, dtype: str, size: Floats) -> Floats:
    """The tolerance of each result: its elements', plus what adding them up may cost."""
    form = FLOATS[dtype]
    of_element, of_result = terms.roundings
    with np.errstate(all="ignore"):
        each = tolerance.element(terms.quantity, dtype, size) * terms.arriving
        each = each + of_element * form.unit_roundoff * np.abs(terms.values)
        total = _collapsed(each, terms.shape) + form.smallest_subnormal
        if terms.values.shape == terms.shape:
            return total
        summed = np.abs(_collapsed(terms.values, terms.shape))
        absolute = _collapsed(np.abs(terms.values), terms.shape)
        count = terms.values.size // max(summed.size, 1)
        rounded = of_result * form.unit_roundoff * summed
        return total + tolerance.summation(dtype, count) * absolute + rounded


def _collapsed(elements: Floats | Mask, shape: tuple[int, ...]) -> Floats:
    """Adds up the axes along which an argument of `shape` was repeated; () adds up everything."""
    array = elements.astype(np.float64)
    array = np.asarray(array.sum(axis=tuple(range(array.ndim - len(shape)))))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 and array.shape[i] != 1)
    return np.asarray(array.sum(axis=repeated, keepdims=True)) if repeated else array


def errors(got: Array, due: Truth) -> Errors:
    """|got − truth| element by element; the shapes must be equal.

    Overflow is placed at 2^(emax+1), on both sides, so that a rightly infinite result has no
    error and a prematurely infinite one has the distance to the edge.
    """
    form = FLOATS[due.dtype]
    edge = form.overflow_edge
    high = np.where(np.abs(due.high) > edge, np.copysign(edge, due.high), due.high)
    low = np.where(np.abs(due.high) >= edge, 0.0, due.low)
    near = np.abs(high) + due.tolerance["stable"] >= form.overflow_threshold
    value = np.where(np.isinf(got.values) & near, np.copysign(edge, got.values), got.values)
    both_nan = np.isnan(value) & np.isnan(high)
    comparable = np.isfinite(value) & np.isfinite(high)
    with np.errstate(all="ignore"):
        absolute = np.where(comparable, np.abs((value - high) - low), np.nan)
        absolute = np.where(both_nan, 0.0, absolute)
        ulps = absolute / form.ulp(np.where(comparable, high, 0.0))
    return Errors(absolute, np.asarray(ulps), ~comparable & ~both_nan)
