"""Numbers with their exponent kept apart, and the value that leaves the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

SMALLEST_SUBNORMAL = 2.0**-1074
# From here down ldexp may round: the low half of a double-double starts 2**-53 below the high half
# and has 53 bits of its own.
LOWEST_EXACT_EXPONENT = -1022 + 107


@dataclass(frozen=True)
class Value:
    """A reference value: the real number lies within `uncertainty` of `high + low`.

    The three arrays are float64 of one shape; `high + low` is an unevaluated sum and
    `high` is that sum rounded to float64. Where `high` is infinite and `uncertainty` 0, the real
    number is infinite (a limit) or its magnitude is at least 2**1024. Where `uncertainty` is
    infinite the tier could not decide, and `high` says nothing. NaN in `high` goes with
    uncertainty 0: the result is certainly NaN.
    """

    high: Array
    low: Array
    uncertainty: Array


@dataclass(frozen=True)
class Scaled:
    """(high + low) * 2**exponent, known to within uncertainty * 2**exponent.

    The exponent apart keeps products of extreme weights and tails of exp from overflowing or
    underflowing before the last step. Infinities and NaN have exponent 0 and uncertainty 0.
    """

    high: Array
    low: Array
    uncertainty: Array
    exponent: Integers

    def __getitem__(self, where: Mask) -> Scaled:
        """The selected elements."""
        return Scaled(
            self.high[where], self.low[where], self.uncertainty[where], self.exponent[where]
        )

    def replaced(self, where: Mask, other: Scaled) -> Scaled:
        """A copy in which the elements selected by `where` are those of `other`, in order."""
        fields = []
        for name in ("high", "low", "uncertainty", "exponent"):
            field = getattr(self, name).copy()
            field[where] = getattr(other, name)
            fields.append(field)
        return Scaled(*fields)


def rounded(number: Scaled) -> Value:
    """The Value of a Scaled, with overflow decided and underflow added to the uncertainty."""
    if not number.exponent.any() and not number.low.any():
        return Value(number.high, number.low, number.uncertainty)
    mantissa, shift = np.frexp(number.high)
    top = shift + number.exponent
    with np.errstate(all="ignore"):
        first, second = _renormalised(number.high, number.low)
        high = power_scaled(first, number.exponent)
        # On the grid of subnormals the two halves must not be rounded one after the other: what
        # high lost joins low, and their rounded sum corrects high.
        lost = first - power_scaled(high, -number.exponent)
        low = power_scaled(lost + second, number.exponent)
        coarse = np.isfinite(high) & (lost != 0)
        high, low = np.where(coarse, high + low, high), np.where(coarse, 0.0, low)
        uncertainty = power_scaled(number.uncertainty, number.exponent)
        scaled_uncertainty = power_scaled(number.uncertainty, -shift)
        # Rounded products are repaired upwards: ldexp itself may have rounded down to 0.
        inexact = (number.high != 0) & (top < LOWEST_EXACT_EXPONENT)
        inexact |= (number.uncertainty != 0) & (uncertainty < 2.0**-1000)
        uncertainty = uncertainty + np.where(inexact, 2 * SMALLEST_SUBNORMAL, 0.0)
        overflowed = np.isinf(high) & np.isfinite(number.high)
        # |mantissa| - u >= 1/2 with an exponent of 1025 means at least 2**1024 in magnitude;
        # anything above that exponent needs only to be surely not below 2**1024.
        margin = np.abs(mantissa) - scaled_uncertainty
        certain = margin >= power_scaled(np.ones_like(high), 1024 - top)
    uncertainty = np.where(overflowed, np.where(certain, 0.0, np.inf), uncertainty)
    return Value(high, np.where(np.isfinite(high), low, 0.0), uncertainty)


def power_scaled(values: Array, exponent: Integers) -> Array:
    """values * 2**exponent, for exponents of any size (numpy's ldexp takes C ints)."""
    limited = np.clip(exponent, -5000, 5000).astype(np.int32)
    return np.asarray(np.ldexp(values, limited), dtype=np.float64)


def _renormalised(high: Array, low: Array) -> tuple[Array, Array]:
    with np.errstate(all="ignore"):
        total = high + low
        kept = np.isfinite(total)
        rest = np.where(kept, low - (total - high), 0.0)
    return np.where(kept, total, high), rest
