"""Sums and means of reference values, in double-double with the uncertainty carried along."""

from __future__ import annotations

import numpy as np

from . import double_double as dd
from .limits import product
from .scaled import SMALLEST_SUBNORMAL, Array, Integers, Mask, Scaled, power_scaled

# An addition of two pairs errs by 3 u**2 of its result, a product with a number as well, a
# division by 16 u**2; u**2 = 2**-106.
ADDITION_RELATIVE = 3 * 2.0**-106
PRODUCT_RELATIVE = 3 * 2.0**-106
DIVISION_RELATIVE = 16 * 2.0**-106
# For float64 sums of the bounds themselves: n * 2**-53 stays below this for n up to 2**32.
BOUND_SLACK = 1 + 2.0**-20


def summed_to(number: Scaled, shape: tuple[int, ...], target: tuple[int, ...]) -> Scaled:
    """Elements of the given shape (flat in `number`) summed over the axes along which an argument
    of shape `target` was broadcast. Flat again, in the order of `target`. Empty sums are 0."""
    padded = (1,) * (len(shape) - len(target)) + target
    axes = [i for i, (size, kept) in enumerate(zip(shape, padded, strict=True)) if size != kept]
    kept_axes = [i for i in range(len(shape)) if i not in axes]
    size = int(np.prod([shape[i] for i in kept_axes], dtype=np.int64))
    count = int(np.prod([shape[i] for i in axes], dtype=np.int64))

    def rows(field: Array) -> Array:
        return field.reshape(shape).transpose(axes + kept_axes).reshape(count, size)

    exponent = number.exponent.reshape(shape).transpose(axes + kept_axes).reshape(count, size)
    return _column_sums(
        Scaled(rows(number.high), rows(number.low), rows(number.uncertainty), exponent)
    )


def multiplied(number: Scaled, factor: Array) -> Scaled:
    """number * factor, the factor of shape (n,) or (), with 0 * infinity = 0."""
    mantissa, shift = np.frexp(number.high)
    by, by_shift = np.frexp(factor)
    with np.errstate(all="ignore"):
        high, low = dd.multiply_number((mantissa, np.ldexp(number.low, -shift)), by)
        known = np.ldexp(number.uncertainty, -shift)
        # brought down to the mantissa an uncertainty may underflow
        repaired = np.where(number.uncertainty != 0, SMALLEST_SUBNORMAL, 0.0)
        uncertainty = (known + repaired) * np.abs(by) * BOUND_SLACK
        uncertainty = uncertainty + PRODUCT_RELATIVE * np.abs(high)
    found = Scaled(high, low, uncertainty, number.exponent + shift + by_shift)
    ordinary = np.isfinite(number.high) & np.isfinite(number.uncertainty)
    ordinary &= np.isfinite(factor) & (factor != 0)
    return (
        found if ordinary.all() else found.replaced(~ordinary, _limits(number, factor)[~ordinary])
    )


def _limits(number: Scaled, factor: Array) -> Scaled:
    """Products that are 0, infinite, NaN or unknown."""
    factor = np.broadcast_to(factor, number.high.shape)
    sign = np.where(np.isinf(factor), np.sign(number.high), number.high)
    high = product(sign, factor)
    # infinitely many times what may be on either side of 0, or what is not known at all
    unknown = np.isinf(factor) & (np.abs(number.high) <= number.uncertainty)
    unknown = (unknown & (number.uncertainty != 0)) | np.isinf(number.uncertainty)
    unknown &= (factor != 0) & ~np.isnan(high)
    uncertainty = np.where(unknown, np.inf, 0.0)
    zero = np.zeros(high.shape)
    return Scaled(high, zero, uncertainty, zero.astype(np.int64))


def divided(number: Scaled, count: int) -> Scaled:
    """number / count; NaN for a count of 0, the mean of nothing."""
    if count == 0:
        empty = np.full(number.high.shape, np.nan)
        return Scaled(empty, np.zeros_like(empty), np.zeros_like(empty), number.exponent)
    mantissa, exponent = np.frexp(np.full(number.high.shape, float(count)))
    with np.errstate(all="ignore"):
        high, low = dd.divide((number.high, number.low), (mantissa, np.zeros_like(mantissa)))
        finite = np.isfinite(number.high)
        high, low = np.where(finite, high, number.high), np.where(finite, low, 0.0)
        uncertainty = number.uncertainty / mantissa * BOUND_SLACK
        uncertainty = uncertainty + np.where(finite, DIVISION_RELATIVE * np.abs(high), 0.0)
    return Scaled(high, low, uncertainty, np.where(finite, number.exponent - exponent, 0))


def _column_sums(number: Scaled) -> Scaled:
    count, size = number.high.shape
    if count == 0:
        zeros = np.zeros(size)
        return Scaled(zeros, zeros, zeros, np.zeros(size, dtype=np.int64))
    finite = np.isfinite(number.high)
    undecided = np.isinf(number.uncertainty)
    with np.errstate(all="ignore"):
        peak = _peak(number, finite & ~undecided)
        shift = number.exponent - peak
        usable = finite & ~undecided
        pair = (
            power_scaled(np.where(usable, number.high, 0.0), shift),
            power_scaled(np.where(usable, number.low, 0.0), shift),
        )
        bounds = power_scaled(np.where(usable, number.uncertainty, 0.0), shift)
        absolute = np.abs(pair[0]).sum(axis=0)
        high, low = _pairwise(pair)
        levels = (count - 1).bit_length()
        uncertainty = (bounds.sum(axis=0) + levels * ADDITION_RELATIVE * absolute) * BOUND_SLACK
        # bounds and small addends may have underflowed when brought to the common exponent
        present = ((number.high != 0) & (levels > 0)) | (number.uncertainty != 0)
        uncertainty = uncertainty + np.where(present.any(axis=0), count * 2.0**-1000, 0.0)
        infinite = np.where(finite, 0.0, number.high).sum(axis=0)
    uncertainty = np.where(undecided.any(axis=0), np.inf, uncertainty)
    special = ~finite.all(axis=0)
    uncertainty = np.where(special & ~undecided.any(axis=0), 0.0, uncertainty)
    return Scaled(
        np.where(special, infinite, high),
        np.where(special, 0.0, low),
        uncertainty,
        np.where(special, 0, peak),
    )


def _peak(number: Scaled, usable: Mask) -> Integers:
    """The exponent of the largest element of each column, 0 for columns of zeros."""
    magnitude = np.where(usable, np.maximum(np.abs(number.high), number.uncertainty), 0.0)
    _, exponent = np.frexp(magnitude)
    absent = -(10**7)
    top = np.where(magnitude > 0, exponent + number.exponent, absent).max(axis=0)
    return np.where(top == absent, 0, top).astype(np.int64)


def _pairwise(pair: dd.Pair) -> dd.Pair:
    high, low = pair
    while len(high) > 1:
        half = len(high) // 2
        total = dd.add((high[:half], low[:half]), (high[half : 2 * half], low[half : 2 * half]))
        high = np.concatenate([total[0], high[2 * half :]])
        low = np.concatenate([total[1], low[2 * half :]])
    return high[0], low[0]
