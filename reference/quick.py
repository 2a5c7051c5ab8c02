"""The formulas in float64 and nothing else: for dtypes of 32 bits or fewer, cheap and bounded.

exp(-|x|) and log1p of it are shared by all quantities (`Functions`); what remains is a handful of
multiplications. The bound is a priori: unit roundoffs times the sum of the absolute terms.
"""

from __future__ import annotations

import numpy as np

from .factors import SIGMOIDAL, Factors
from .plain import PLAIN_RELATIVE, UNIT_ROUNDOFF
from .scaled import Array, Scaled

# Beside what exp and log1p lose (see plain): the function of the logits takes at most four more
# operations (1 + z, 1 / that, z * that, and a product of two sigmoids, whose rounding of 1 + z
# counts twice), a coefficient two (1 - y; p * y), product, sum and weight one each: 5 + 2 + 3.
# Twelve leave room for second-order terms and for the rounding of the bound.
QUICK_RELATIVE = PLAIN_RELATIVE + 12 * UNIT_ROUNDOFF
# An operation that underflows errs by at most 2**-1022, also where subnormals are flushed; there
# are fewer than 16 of them, and what is multiplied afterwards is counted with its largest element.
UNDERFLOW = 2.0**-1018


def evaluate_quick(quantity: str, factors: Factors) -> Scaled:
    """One value per element, shape (n,), arguments as for `evaluate_plain`.

    The uncertainty is infinite where an intermediate overflows.
    """
    with np.errstate(all="ignore"):
        total, absolute, sizes = _bracket(quantity, factors)
        weight = factors.weight
        high = np.broadcast_to(weight * total, factors.logits.shape)
        lost = UNDERFLOW * (1.0 + sizes) * (1.0 + _largest(weight))
        uncertainty = QUICK_RELATIVE * (np.abs(weight) * absolute) + lost
        overflowed = ~np.isfinite(high + uncertainty)
        uncertainty = np.broadcast_to(uncertainty, high.shape)
        if overflowed.any():
            high = np.where(overflowed, 0.0, high)
            uncertainty = np.where(overflowed, np.inf, uncertainty)
    zero = np.zeros(high.shape)
    return Scaled(np.asarray(high), zero, uncertainty, zero.astype(np.int64))


def _bracket(quantity: str, factors: Factors) -> tuple[Array, Array, float]:
    """The bracket of the formula, the sum of its absolute terms, and the size of what multiplies
    the functions of the logits, whose underflow it passes on."""
    y, p, functions = factors.target, factors.pos_weight, factors.functions
    sigmoidal = quantity in SIGMOIDAL
    small = functions.small_sigmoid if sigmoidal else functions.small_softplus
    ahead = functions.ahead
    if quantity == "grad.target":
        # see plain: (p-1)*sp(-|x|) - x for x >= 0, + p*|x| below
        linear = np.where(ahead, -1.0, p) * functions.distance
        tail = (p - 1.0) * small
        return tail + linear, np.abs(tail) + np.abs(linear), 1.0 + _largest(p)
    large = functions.large_sigmoid if sigmoidal else functions.large_softplus
    if quantity == "grad.pos_weight":
        product = y * np.where(ahead, small, large)
        return product, np.abs(product), _largest(y)
    positive, negative = p * y, 1.0 - y
    sizes = _largest(positive) + _largest(negative)
    if quantity == "hessian.logits":
        slope = small * large
        size = np.abs(positive) + np.abs(negative)
        return (negative + positive) * slope, size * slope, sizes
    at_minus_x, at_x = np.where(ahead, small, large), np.where(ahead, large, small)
    positive, negative = positive * at_minus_x, negative * at_x
    absolute = np.abs(positive) + np.abs(negative)
    if quantity == "grad.logits":
        return negative - positive, absolute, sizes
    return positive + negative, absolute, sizes


def _largest(values: Array) -> float:
    """The largest magnitude; 0 for no elements."""
    return float(np.max(np.abs(values), initial=0.0))
