"""The formulas in ball arithmetic (arb, through python-flint), for finite arguments.

A ball encloses the real value with certainty. The formulas are spelled as in the documents, not as
the tiers spell them; precision doubles until the ball is tight. Nothing here uses numpy's or the
machine's exp and log.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import flint  # type: ignore[import-untyped,import-not-found,unused-ignore]

Ball: TypeAlias = Any  # flint.arb, which has no type information

START_PRECISION = 256
LARGEST_PRECISION = 1 << 15
RELATIVE_RADIUS = 2.0**-140
# Balls smaller than this are as good as exact for float64, whose grid is 2**-1074.
NEGLIGIBLE_EXPONENT = -1300
EMIN, EMAX, DIGITS = -1022, 1023, 53


@dataclass(frozen=True)
class Point:
    """The float64 arguments of one element; `divisor` is the n of a mean."""

    logits: float
    target: float
    weight: float = 1.0
    pos_weight: float = 1.0
    upstream: float = 1.0
    divisor: int = 1


@dataclass(frozen=True)
class Measured:
    """How far a value lies from a ball: upper bounds.

    `ulps` is |high + low - real|, `rounded_ulps` |high - real|, both in float64 ulps of the real
    value; `ratio` is |high + low - real| / uncertainty, so above 1 the uncertainty is false.
    """

    ulps: float
    rounded_ulps: float
    ratio: float
    undecided: bool


def exact(quantity: str, point: Point) -> Ball:
    """A ball around the quantity at the point, at most 2**-140 wide relative to its value.

    Values that are 0, or cannot be told from it, come as a ball smaller than 2**-1300. Raises
    ArithmeticError where LARGEST_PRECISION does not suffice, ValueError for an unknown quantity.
    """
    return tight(lambda: _formula(quantity, point))


def exact_sum(quantity: str, points: list[Point], divisor: int = 1) -> Ball:
    """A ball around the sum of the quantity over the points, divided by `divisor`."""

    def total() -> Ball:
        return sum((_formula(quantity, point) for point in points), flint.arb(0)) / divisor

    return tight(total)


def tight(evaluate: Any) -> Ball:
    """evaluate() at rising precision until the ball is tight."""
    precision = START_PRECISION
    previous = flint.ctx.prec
    try:
        while precision <= LARGEST_PRECISION:
            flint.ctx.prec = precision
            ball = evaluate()
            if _is_tight(ball):
                return ball
            precision *= 2
    finally:
        flint.ctx.prec = previous
    raise ArithmeticError(f"no tight ball at {LARGEST_PRECISION} bits")


def _is_tight(ball: Ball) -> bool:
    radius = ball.rad()
    if radius == 0:
        return True
    if bool(abs(ball) < power_of_two(NEGLIGIBLE_EXPONENT)):
        return True
    return bool(radius <= abs(ball.mid()) * RELATIVE_RADIUS)


def _formula(quantity: str, point: Point) -> Ball:
    x, y, w, p = (
        flint.arb(value)
        for value in (point.logits, point.target, point.weight, point.pos_weight)
    )  # fmt: skip
    arriving = flint.arb(point.upstream) / point.divisor
    if quantity == "forward":
        return w * (p * y * _softplus(-x) + (1 - y) * _softplus(x))
    if quantity == "grad.logits":
        return arriving * w * ((1 - y) * _sigmoid(x) - p * y * _sigmoid(-x))
    if quantity == "grad.target":
        return arriving * w * (p * _softplus(-x) - _softplus(x))
    if quantity == "grad.weight":
        return arriving * (p * y * _softplus(-x) + (1 - y) * _softplus(x))
    if quantity == "grad.pos_weight":
        return arriving * w * y * _softplus(-x)
    if quantity == "hessian.logits":
        return arriving * w * ((1 - y) + p * y) * _sigmoid(x) * _sigmoid(-x)
    raise ValueError(f"unknown quantity {quantity!r}")


def _softplus(z: Ball) -> Ball:
    tail = (-abs(z)).exp().log1p()
    return z + tail if z > 0 else tail


def _sigmoid(z: Ball) -> Ball:
    if z > 0:
        return 1 / (1 + (-z).exp())
    power = z.exp()
    return power / (1 + power)


def nearest(ball: Ball) -> float:
    """The float64 nearest to the ball's real value, ties to even.

    Raises ArithmeticError where the ball does not decide it.
    """
    if ball.rad() == 0:
        return _fraction_to_float(as_fraction(ball))
    if bool(abs(ball) < power_of_two(NEGLIGIBLE_EXPONENT)):
        return 0.0
    low, high = (_fraction_to_float(as_fraction(end)) for end in _ends(ball))
    if low != high:
        raise ArithmeticError(f"{ball} straddles two float64 numbers")
    return low


def _ends(ball: Ball) -> tuple[Ball, Ball]:
    previous = flint.ctx.prec
    try:
        flint.ctx.prec = LARGEST_PRECISION
        return ball.mid() - ball.rad(), ball.mid() + ball.rad()
    finally:
        flint.ctx.prec = previous


def as_fraction(number: Ball) -> Fraction:
    mantissa, exponent = number.man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def _fraction_to_float(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def power_of_two(exponent: int) -> Ball:
    return flint.arb(2) ** exponent


def ulp(ball: Ball) -> Ball:
    """2**(clamp(floor(log2|r|), emin, emax) - 52) of the ball's real value r."""
    mantissa, exponent = ball.mid().man_exp()
    size = int(mantissa).bit_length() - 1 + int(exponent) if mantissa else EMIN
    return power_of_two(min(max(size, EMIN), EMAX) - (DIGITS - 1))


def measure(high: float, low: float, uncertainty: float, ball: Ball) -> Measured:
    """How far (high, low, uncertainty) is from the ball.

    Infinities are right, with error 0, where the real magnitude is at least 2**1024, and without
    bound wrong elsewhere, unless the uncertainty is infinite: then nothing was claimed.
    """
    if uncertainty == math.inf:
        return Measured(math.inf, math.inf, 0.0, True)
    previous = flint.ctx.prec
    try:
        flint.ctx.prec = 2 * START_PRECISION
        if not math.isfinite(high):
            signed = math.copysign(1.0, high) * ball
            right = math.isinf(high) and bool(signed >= power_of_two(EMAX + 1))
            error = 0.0 if right and uncertainty == 0 else math.inf
            return Measured(error, error, error, False)
        flint.ctx.prec = 4096  # high + low may span every exponent
        unit = ulp(ball)
        off = flint.arb(high) - ball
        error = (off + flint.arb(low)).abs_upper()
        ratio = _upper(error / uncertainty) if uncertainty else (math.inf if error > 0 else 0.0)
        if ratio == math.inf and uncertainty == 0 and _negligible(ball):
            ratio = 0.0
        return Measured(_upper(error / unit), _upper(off / unit), ratio, False)
    finally:
        flint.ctx.prec = previous


def _negligible(ball: Ball) -> bool:
    # a 0 that ball arithmetic can only enclose
    return bool(ball.contains(0)) and bool(abs(ball) < power_of_two(NEGLIGIBLE_EXPONENT))


def _upper(ball: Ball) -> float:
    return float(ball.abs_upper())
