"""The formulas with float64's own exp and log1p, and a bound on what these lose.

The few operations around the two functions are double-double: in float64 alone they would cost
up to 5 ulps (measured: 3.0 in the loss, 5.5 in the second derivative).
"""

from __future__ import annotations

import numpy as np

from . import double_double as dd
from .factors import SIGMOIDAL, Factors
from .scaled import Array, Mask, Scaled

UNIT_ROUNDOFF = 2.0**-53
# What the bound allows exp and log1p, in float64 ulps (an ulp is at most two unit roundoffs).
# numpy's SIMD kernels differ by CPU and version, and elsewhere the platform's libm is called;
# numpy's own validation sets allow 1 ulp at their sample points, and 4 leaves room.
LIBRARY_ULPS = 4
# Only exp(-|x|) and log1p round: the arithmetic around them is double-double, 2**-99 relative to
# the sum of the absolute terms. log1p(z) has condition number at most 1 in z, so the error of exp
# passes on at most unchanged: 8 + 8 unit roundoffs. 1/(1+z), z/(1+z) and z/(1+z)**2 have condition
# numbers at most 1 as well and need 8. One more pays for second-order products, one for the
# rounding of the bound.
PLAIN_RELATIVE = (2 * 2 * LIBRARY_ULPS + 2) * UNIT_ROUNDOFF
# Where the splitting of a factor above 2**995 overflows there is no low part to be had, and the
# roundings count: the coefficient, the two of a sigmoid (one of softplus), product, sum,
# weight * sum.
UNCOMPENSATED_RELATIVE = PLAIN_RELATIVE + 6 * UNIT_ROUNDOFF
# An operation that underflows errs by less than the smallest normal number.
SMALLEST_NORMAL = 2.0**-1022


def softplus(z: Array) -> Array:
    """log(1 + exp(z)) as max(z, 0) + log1p(exp(-|z|)), elementwise, a few ulps, no warnings."""
    with np.errstate(all="ignore"):
        return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)), elementwise, a few ulps in both tails, no warnings."""
    with np.errstate(all="ignore"):
        tail = np.exp(-np.abs(z))
        return np.where(np.asarray(z) >= 0, 1.0, tail) / (1.0 + tail)


def evaluate_plain(quantity: str, factors: Factors) -> Scaled:
    """One value per element, shape (n,): formulas as in `loss`.

    Arguments are finite, but for logits of the sigmoidal quantities, which may be infinite. Where
    an intermediate overflows the uncertainty is infinite.
    """
    with np.errstate(all="ignore"):
        total, absolute, underflow = _bracket(quantity, factors)
        weight = (factors.weight, np.zeros(()))
        high, low = dd.multiply(total, weight)
        magnitude = np.abs(factors.weight)
        compensated = np.isfinite(low)
        relative = np.where(compensated, PLAIN_RELATIVE, UNCOMPENSATED_RELATIVE)
        uncertainty = magnitude * (relative * absolute + underflow)
        nonzero = (factors.weight != 0) & ((absolute != 0) | (underflow != 0))
        lost = 4 * SMALLEST_NORMAL * (1.0 + absolute + underflow + magnitude)
        uncertainty = uncertainty + np.where(nonzero, lost, 0.0)
        high = np.where(compensated, high, total[0] * factors.weight)
        low = np.where(compensated, low, 0.0)
        overflowed = ~np.isfinite(high) | ~np.isfinite(uncertainty)
    return Scaled(
        np.where(overflowed, 0.0, high),
        np.where(overflowed, 0.0, low),
        np.where(overflowed, np.inf, uncertainty),
        np.zeros(factors.logits.shape, dtype=np.int64),
    )


def _bracket(quantity: str, factors: Factors) -> tuple[dd.Pair, Array, Array]:
    """The bracket of the formula, the sum of its absolute terms, and what underflow may cost."""
    terms = _terms(quantity, factors)
    products = [dd.multiply(coefficient, function) for coefficient, _, function in terms]
    plain = [coefficient[0] * function[0] for coefficient, _, function in terms]
    absolute = np.abs(plain[0])
    total, simple = products[0], plain[0]
    if len(terms) > 1:
        absolute = absolute + np.abs(plain[1])
        total, simple = dd.add(total, products[1]), simple + plain[1]
    # the uncompensated sum, where splitting overflowed
    total = (np.where(np.isfinite(total[1]), total[0], simple), total[1])
    underflow: Array = np.zeros(())
    for coefficient, nonzero, function in terms:
        lost = 4 * SMALLEST_NORMAL * (1.0 + np.abs(coefficient[0]) + function[0])
        underflow = underflow + np.where(nonzero, lost, 0.0)
    return total, absolute, underflow


def _terms(quantity: str, factors: Factors) -> list[tuple[dd.Pair, Mask, dd.Pair]]:
    """(coefficient, where it is not exactly zero, function of the logits), for each term."""
    x, y, p = factors.logits, factors.target, factors.pos_weight
    functions = factors.functions
    z, ahead = functions.decay, functions.ahead
    one, zero = np.ones(()), np.zeros(())
    if quantity in SIGMOIDAL:
        large = dd.divide((one, zero), dd.two_sum(one, z))
        small = dd.multiply_number(large, z)
    else:
        small = (functions.small_softplus, zero)
        large = dd.two_sum(np.abs(x), small[0])
    if quantity == "grad.target":
        # p*sp(-x) - sp(x) with sp(x) = x + sp(-x) used on the side where it removes a term:
        # (p-1)*sp(-|x|) - x for x >= 0, + p*|x| below. Exact at p = 1.
        linear = np.where(ahead, -1.0, p)
        distance = (np.abs(x), zero)
        return [
            (dd.two_sum(p, -one), p != 1, small),
            ((linear, zero), (linear != 0) & (x != 0), distance),
        ]
    at_minus_x = _chosen(ahead, small, large)
    if quantity == "grad.pos_weight":
        return [((y, zero), y != 0, at_minus_x)]
    positive, positive_nonzero = dd.two_product(p, y), (p != 0) & (y != 0)
    negative, negative_nonzero = dd.two_sum(one, -y), y != 1
    if quantity == "hessian.logits":
        slope = dd.multiply(large, small)
        return [(negative, negative_nonzero, slope), (positive, positive_nonzero, slope)]
    at_x = _chosen(ahead, large, small)
    if quantity == "grad.logits":
        minus = (-positive[0], -positive[1])
        return [(negative, negative_nonzero, at_x), (minus, positive_nonzero, at_minus_x)]
    return [(positive, positive_nonzero, at_minus_x), (negative, negative_nonzero, at_x)]


def _chosen(where: Mask, a: dd.Pair, b: dd.Pair) -> dd.Pair:
    return np.where(where, a[0], b[0]), np.where(where, a[1], b[1])
