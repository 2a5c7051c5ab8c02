"""Double-double arithmetic, exp and log1p on arrays, for normalised mantissas.

A number is a pair (high, low) with |low| <= ulp(high)/2. Error bounds, in units of u**2 = 2**-106
relative to the result, are those proved in M. Joldes, J.-M. Muller, V. Popescu, "Tight and
rigorous error bounds for basic building blocks of double-word arithmetic", ACM TOMS 44(2), 2017;
the error-free transformations are T. J. Dekker's, Numer. Math. 18, 1971, and D. E. Knuth's. They
need arguments whose products neither overflow nor underflow: callers keep magnitudes near 1 and
carry exponents apart.
"""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np

from .scaled import Array, Integers, Mask, power_scaled

Pair: TypeAlias = tuple[Array, Array]

# exp(-a) for larger a is taken as exp(-4096) with an error of 100 %. Times the largest product of
# four float64 numbers that is still 2**-1813, below anything float64 can tell from 0.
LARGEST_ARGUMENT = 4096.0
EXP_STEPS = 256
LOG_STEPS = 128
# Relative error bounds in u**2, derived at exp_of_minus and log1p_of_exp.
EXP_ERROR = 6.0
LOG1P_ERROR = 45.0


def two_sum(a: Array, b: Array) -> Pair:
    """a + b without error (Knuth), whatever the order of magnitudes."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def fast_two_sum(a: Array, b: Array) -> Pair:
    """a + b without error for |a| >= |b| or a = 0 (Dekker)."""
    total = a + b
    return total, b - (total - a)


def _halves(a: Array) -> Pair:
    shifted = 134217729.0 * a
    high = shifted - (shifted - a)
    return high, a - high


def two_product(a: Array, b: Array) -> Pair:
    """a * b without error (Dekker, Veltkamp's splitting)."""
    product = a * b
    a_high, a_low = _halves(a)
    b_high, b_low = _halves(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def add(a: Pair, b: Pair) -> Pair:
    """a + b, relative error 3 u**2 even where they cancel (Joldes et al., AccurateDWPlusDW)."""
    high, low = two_sum(a[0], b[0])
    high_rest, low_rest = two_sum(a[1], b[1])
    high, low = fast_two_sum(high, low + high_rest)
    return fast_two_sum(high, low_rest + low)


def add_number(a: Pair, b: Array) -> Pair:
    """a + b for a float64 b, relative error 2 u**2 (DWPlusFP)."""
    high, low = two_sum(a[0], b)
    return fast_two_sum(high, a[1] + low)


def multiply(a: Pair, b: Pair) -> Pair:
    """a * b, relative error 7 u**2 (DWTimesDW1)."""
    high, low = two_product(a[0], b[0])
    return fast_two_sum(high, low + (a[0] * b[1] + a[1] * b[0]))


def multiply_number(a: Pair, b: Array) -> Pair:
    """a * b for a float64 b, relative error 3 u**2 (DWTimesFP2)."""
    high, low = two_product(a[0], b)
    return fast_two_sum(high, low + a[1] * b)


def divide(a: Pair, b: Pair) -> Pair:
    """a / b, relative error 16 u**2 (DWDivDW2 with DWTimesFP2)."""
    quotient = a[0] / b[0]
    product = multiply_number(b, quotient)
    rest = (a[0] - product[0]) + (a[1] - product[1])
    return fast_two_sum(quotient, rest / b[0])


@dataclass(frozen=True)
class _Constants:
    """Tables made with decimal arithmetic: no library function, no CPU, enters them."""

    step: tuple[float, float, float, float]  # ln(2)/256 in pieces of 30 bits
    power_high: Array  # 2**(-j/256)
    power_low: Array
    reciprocal: Array  # c_j of at most 13 bits, near 1/(1 + j/128)
    minus_log_high: Array  # -log(c_j)
    minus_log_low: Array


@cache
def _constants() -> _Constants:
    with decimal.localcontext(decimal.Context(prec=80)):
        two = decimal.Decimal(2)
        step = _pieces(two.ln() / EXP_STEPS)
        powers = [two ** (decimal.Decimal(-j) / EXP_STEPS) for j in range(EXP_STEPS)]
        reciprocals = [round(4096 / (1 + j / LOG_STEPS)) / 4096 for j in range(LOG_STEPS + 1)]
        minus_logs = [-decimal.Decimal(c).ln() for c in reciprocals]
        power_high, power_low = _split_decimals(powers)
        log_high, log_low = _split_decimals(minus_logs)
    return _Constants(step, power_high, power_low, np.array(reciprocals), log_high, log_low)


def _pieces(number: decimal.Decimal) -> tuple[float, float, float, float]:
    pieces = []
    for _ in range(3):
        mantissa, exponent = math.frexp(float(number))
        piece = math.ldexp(math.floor(mantissa * 2**30), exponent - 30)
        pieces.append(piece)
        number -= decimal.Decimal(piece)
    return pieces[0], pieces[1], pieces[2], float(number)


def _split_decimals(numbers: list[decimal.Decimal]) -> Pair:
    high = [float(number) for number in numbers]
    low = [float(number - decimal.Decimal(h)) for number, h in zip(numbers, high, strict=True)]
    return np.array(high), np.array(low)


def _ratio(numerator: int, denominator: int) -> Pair:
    high = numerator / denominator
    with decimal.localcontext(decimal.Context(prec=80)):
        exact = decimal.Decimal(numerator) / decimal.Decimal(denominator)
        low = float(exact - decimal.Decimal(high))
    return np.asarray(high), np.asarray(low)


_SIXTH, _TWENTY_FOURTH = _ratio(1, 6), _ratio(1, 24)
_THIRD, _FIFTH = _ratio(1, 3), _ratio(1, 5)


def exp_of_minus(a: Array) -> tuple[Pair, Integers, Mask]:
    """exp(-a) for a >= 0 as mantissa * 2**exponent, and where a exceeds LARGEST_ARGUMENT.

    a = k*ln(2)/256 + r with |r| <= 0.00136. k has at most 21 bits, so its products with the three
    30-bit pieces of ln(2)/256 are exact; what is left of a is a two_sum chain with an absolute
    error below 2**-113. exp(-r) - 1 is its Taylor series to r**9 (the next term is below
    2**-117), with r**5 and up in float64, which costs 2**-106.7 absolute. Table entries are
    within 2**-107, the product of table and series errs by 7 u**2 * 0.00136, the last addition by
    3 u**2. Together below 6 u**2 relative.
    """
    constants = _constants()
    beyond = a > LARGEST_ARGUMENT
    limited = np.minimum(a, LARGEST_ARGUMENT)
    count = np.rint(limited * (EXP_STEPS / math.log(2.0)))
    first, second, third, fourth = constants.step
    high, rest = two_sum(limited - count * first, -count * second)
    middle, low = two_sum(rest, -count * third)
    high, rest = two_sum(high, middle)
    r = fast_two_sum(-high, -(rest + (low - count * fourth)))
    q = r[0]
    tail = 1 / 5040 + q * (1 / 40320 + q * (1 / 362880))
    tail = q * (1 / 120 + q * (1 / 720 + q * tail))
    family = add_number(_TWENTY_FOURTH, tail)
    family = add(multiply(family, r), _SIXTH)
    family = add_number(multiply(family, r), np.asarray(0.5))
    family = add_number(multiply(family, r), np.asarray(1.0))
    family = multiply(family, r)
    index = count.astype(np.int64)
    entry = index % EXP_STEPS
    power = (constants.power_high[entry], constants.power_low[entry])
    return add(power, multiply(power, family)), -(index // EXP_STEPS), beyond


def log1p_of_exp(z: Pair, exponent: Integers) -> tuple[Pair, Integers]:
    """log(1 + z * 2**exponent) as mantissa * 2**exponent, for 0 < z * 2**exponent <= 1.

    Below 2**-119 the logarithm is z itself, to 2**-120 relative. Above, with c near 1/(1+z) from a
    table, log(1+z) = -log(c) + log(1+r), r = (c-1) + c*z, |r| <= 0.0044, and
    log(1+r) = 2*atanh(s), s = r/(2+r), by its series to s**13 (the next term is below 2**-122
    relative) with s**7 and up in float64 (2**-108 relative). Errors in u**2 relative to the
    result: z's own (condition number at most 1), c*z 3, r 3 (together at most 6, since c*z and r
    do not exceed about 1.2 times the result), s 2 + 16, series 4, product and two additions
    7*2**-18 + 3 + 3, table 0.5: below 45 with the 6 of exp.
    """
    constants = _constants()
    tiny = exponent < -119
    shift = np.where(tiny, 0, exponent)
    moderate = (power_scaled(z[0], shift), power_scaled(z[1], shift))
    index = np.rint(np.where(tiny, 0.0, moderate[0]) * LOG_STEPS).astype(np.int64)
    c = constants.reciprocal[index]
    r = add_number(multiply_number(moderate, c), c - 1.0)
    s = divide(r, add_number(r, np.asarray(2.0)))
    square = multiply(s, s)
    t = square[0]
    tail = t * (1 / 7 + t * (1 / 9 + t * (1 / 11 + t * (1 / 13))))
    family = add(multiply(add_number(_FIFTH, tail), square), _THIRD)
    family = multiply(family, square)
    half = add(s, multiply(s, family))
    table = (constants.minus_log_high[index], constants.minus_log_low[index])
    result = add((2.0 * half[0], 2.0 * half[1]), table)
    return (
        (np.where(tiny, z[0], result[0]), np.where(tiny, z[1], result[1])),
        np.where(tiny, exponent, 0),
    )
