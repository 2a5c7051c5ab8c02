"""The formulas in double-double, exponents carried apart so that nothing over- or underflows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import double_double as dd
from .factors import SIGMOIDAL, Factors
from .scaled import Array, Integers, Mask, Scaled, power_scaled

# Errors in u**2 = 2**-106, relative to the sum of the absolute terms: a function of the logits
# 60 at most (softplus 45 + 3; sigmoid(a) = 1/(1+z) 3 + 3 + 16; sigmoid(-a) that + 6 + 7; the slope
# sigmoid(x)*sigmoid(-x) 22 + 35 + 7 before correlated parts cancel, 64), coefficient exact,
# product 7, sum 3, product with the weight 7: 81. Rounded up to a power of two, which also pays
# for the shifts of mantissas (2**-1074 each) and the rounding of the bound.
DOUBLED_RELATIVE = 128 * 2.0**-106
# The exponent of an exact zero: loses against every other, and sums of three do not wrap.
ZERO_EXPONENT = -(10**6)


@dataclass(frozen=True)
class _Number:
    """pair * 2**exponent with |pair| in [1/2, 1) or exactly 0."""

    pair: dd.Pair
    exponent: Integers


@dataclass(frozen=True)
class _Functions:
    """softplus and sigmoid at +|x| and -|x|, and where the latter are below any float64."""

    large: _Number
    small: _Number
    vanished: Mask


def evaluate_doubled(quantity: str, factors: Factors) -> Scaled:
    """One value per element, shape (n,), in double-double with relative error DOUBLED_RELATIVE
    of the sum of the absolute terms. Arguments as for `evaluate_plain`."""
    with np.errstate(all="ignore"):
        factors = factors.full()
        terms = _terms(quantity, factors)
        bracket, error = _sum(terms)
        if quantity in SIGMOIDAL:
            # sigmoid(0) = 1/2 makes every product exact: only the sum rounds, and a zero is one.
            exact = factors.logits == 0
            error = np.where(exact, DOUBLED_RELATIVE * np.abs(bracket.pair[0]), error)
        weight = _normalised((factors.weight, np.zeros_like(factors.weight)))
        pair = dd.multiply(bracket.pair, weight.pair)
        high = pair[0]
        # |weight| < 1; the last product's error belongs to the bracket's
        uncertainty = error * np.abs(weight.pair[0])
        exponent = np.where((high == 0) & (uncertainty == 0), 0, bracket.exponent + weight.exponent)
    return Scaled(high, pair[1], uncertainty, exponent)


def _terms(quantity: str, factors: Factors) -> list[tuple[_Number, _Number, Mask]]:
    """(coefficient, function, where the function is only known to be below any float64)."""
    x, y, p = factors.logits, factors.target, factors.pos_weight
    ahead = x >= 0
    one = np.ones_like(x)
    functions = _sigmoids(x) if quantity in SIGMOIDAL else _softplus(x)
    large, small, vanished = functions.large, functions.small, functions.vanished
    if quantity == "grad.target":
        # see plain: (p-1)*sp(-|x|) - x for x >= 0, + p*|x| below
        linear = _normalised((np.where(ahead, -1.0, p), np.zeros_like(x)))
        distance = _normalised((np.abs(x), np.zeros_like(x)))
        excess = _normalised(dd.two_sum(p, -one))
        return [(excess, small, vanished), (linear, distance, np.zeros_like(vanished))]
    at_x, lost_x = _chosen(ahead, large, small), vanished & ~ahead
    at_minus_x, lost_minus_x = _chosen(ahead, small, large), vanished & ahead
    if quantity == "grad.pos_weight":
        return [(_normalised((y, np.zeros_like(y))), at_minus_x, lost_minus_x)]
    positive, negative = _product(p, y), _normalised(dd.two_sum(one, -y))
    if quantity == "hessian.logits":
        slope = _times(large, small)
        return [(negative, slope, vanished), (positive, slope, vanished)]
    if quantity == "grad.logits":
        minus = _Number((-positive.pair[0], -positive.pair[1]), positive.exponent)
        return [(negative, at_x, lost_x), (minus, at_minus_x, lost_minus_x)]
    return [(positive, at_minus_x, lost_minus_x), (negative, at_x, lost_x)]


def _softplus(x: Array) -> _Functions:
    distance = np.abs(x)
    z, exponent, beyond = dd.exp_of_minus(distance)
    logarithm, exponent = dd.log1p_of_exp(z, exponent)
    shifted = (power_scaled(logarithm[0], exponent), power_scaled(logarithm[1], exponent))
    large = dd.add_number(shifted, distance)
    return _Functions(_normalised(large), _normalised(logarithm, exponent), beyond)


def _sigmoids(x: Array) -> _Functions:
    z, exponent, beyond = dd.exp_of_minus(np.abs(x))
    shifted = (power_scaled(z[0], exponent), power_scaled(z[1], exponent))
    one = np.ones_like(x)
    large = dd.divide((one, np.zeros_like(x)), dd.add_number(shifted, one))
    small = dd.multiply(z, large)
    # exp(-infinity) is 0 exactly, not merely small
    infinite = np.isinf(x)
    small = (np.where(infinite, 0.0, small[0]), np.where(infinite, 0.0, small[1]))
    return _Functions(_normalised(large), _normalised(small, exponent), beyond & ~infinite)


def _sum(terms: list[tuple[_Number, _Number, Mask]]) -> tuple[_Number, Array]:
    """The bracket and its error, both on the bracket's exponent."""
    products = [_times(coefficient, function) for coefficient, function, _ in terms]
    top = products[0].exponent
    for product in products[1:]:
        top = np.maximum(top, product.exponent)
    total: dd.Pair = (np.zeros(top.shape), np.zeros(top.shape))
    error = np.zeros(top.shape)
    for product, (_, _, lost) in zip(products, terms, strict=True):
        shift = product.exponent - top
        pair = (power_scaled(product.pair[0], shift), power_scaled(product.pair[1], shift))
        total = dd.add(total, pair)
        error = error + np.where(lost, 2.0, DOUBLED_RELATIVE) * np.abs(pair[0])
        # a term shifted out of sight, or below the exponents of pairs, still counts
        error = error + np.where((product.pair[0] != 0) & (shift < -900), 2.0**-900, 0.0)
    return _Number(total, top), error


def _product(a: Array, b: Array) -> _Number:
    """a * b of two float64 arrays, exactly."""
    a_mantissa, a_exponent = np.frexp(a)
    b_mantissa, b_exponent = np.frexp(b)
    pair = dd.two_product(a_mantissa, b_mantissa)
    return _normalised(pair, a_exponent.astype(np.int64) + b_exponent)


def _times(a: _Number, b: _Number) -> _Number:
    return _normalised(dd.multiply(a.pair, b.pair), a.exponent + b.exponent)


def _normalised(pair: dd.Pair, exponent: Integers | None = None) -> _Number:
    mantissa, shift = np.frexp(pair[0])
    low = np.ldexp(pair[1], -shift)
    total = shift.astype(np.int64) + (0 if exponent is None else exponent)
    return _Number((mantissa, low), np.where(mantissa == 0, ZERO_EXPONENT, total))


def _chosen(where: Mask, a: _Number, b: _Number) -> _Number:
    pair = (np.where(where, a.pair[0], b.pair[0]), np.where(where, a.pair[1], b.pair[1]))
    return _Number(pair, np.where(where, a.exponent, b.exponent))
