"""The last resort: elements whose terms cancel beyond double-double, one by one in decimal.

y = fl(sigmoid(x)) in float64 leaves a gradient some 2**-54 of its terms or less, of which
double-double knows too few bits. Python's decimal rounds exp and ln correctly at any precision.
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np

from .factors import Factors
from .scaled import SMALLEST_SUBNORMAL, Scaled

PRECISIONS = (60, 120, 400)
# Roundings on the longest path, as in `plain`, each half a unit of the last digit; generously.
ROUNDINGS = 20
# exp(-a) for larger a is below anything that matters, and its term counts as error.
LARGEST_ARGUMENT = Decimal(4096)
LOG2_OF_10 = math.log2(10)


def evaluate_cancelling(quantity: str, factors: Factors) -> Scaled:
    """One value per element, shape (n,), to half a float64 ulp of the result or better.

    Finite arguments, infinite logits allowed where `evaluate_plain` does. About 0.1 ms an element.
    """
    full = factors.full()
    columns = (full.logits, full.target, full.weight, full.pos_weight)
    rows = [
        _element(quantity, float(x), float(y), float(w), float(p))
        for x, y, w, p in zip(*columns, strict=True)
    ]
    table = np.array([row[:3] for row in rows], dtype=np.float64).reshape(-1, 3)
    exponent = np.array([row[3] for row in rows], dtype=np.int64)
    return Scaled(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy(), exponent)


def _element(
    quantity: str, x: float, y: float, w: float, p: float
) -> tuple[float, float, float, int]:
    """high, low, uncertainty and the exponent of all three."""
    if w == 0 or (x == 0 and _coefficient_at_zero(quantity, y, p) == 0):
        return 0.0, 0.0, 0.0, 0
    for precision in PRECISIONS:
        context = decimal.Context(prec=precision, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
        with decimal.localcontext(context):
            terms, lost = _terms(quantity, x, y, p, precision)
            scale = Decimal(w)
            total = scale * sum(terms, Decimal(0))
            absolute = sum((abs(term) for term in terms), Decimal(0))
            error = abs(scale) * (absolute * ROUNDINGS * Decimal(10) ** (1 - precision) + lost)
            if error <= abs(total) * Decimal(2) ** -60:
                break
    with decimal.localcontext(context):
        return _as_floats(total, error)


def _coefficient_at_zero(quantity: str, y: float, p: float) -> Fraction:
    """The bracket at x = 0 up to the positive factor ln 2, 1/2 or 1/4: rational, so 0 is exact."""
    if quantity == "grad.target":
        return Fraction(p) - 1
    if quantity == "grad.pos_weight":
        return Fraction(y)
    sign = -1 if quantity == "grad.logits" else 1
    return 1 - Fraction(y) + sign * Fraction(p) * Fraction(y)


def _terms(
    quantity: str, x: float, y: float, p: float, precision: int
) -> tuple[list[Decimal], Decimal]:
    """The terms of the bracket, and what the cut-off of exp may have cost them."""
    distance = abs(Decimal(x))
    beyond = distance > LARGEST_ARGUMENT
    z = Decimal(0) if math.isinf(x) else (-min(distance, LARGEST_ARGUMENT)).exp()
    one, target, factor = Decimal(1), Decimal(y), Decimal(p)
    if quantity in ("grad.logits", "hessian.logits"):
        large, small = 1 / (1 + z), z / (1 + z)
        at_x, at_minus_x = (large, small) if x >= 0 else (small, large)
        if quantity == "grad.logits":
            terms = [(one - target) * at_x, -factor * target * at_minus_x]
        else:
            terms = [(one - target) * large * small, factor * target * large * small]
        size = abs(one - target) + abs(factor * target)
        return terms, size * z if beyond else Decimal(0)
    tail = _log1p(z, precision)
    lost = 2 * z * (1 + abs(target)) * (1 + abs(factor)) if beyond else Decimal(0)
    if quantity == "grad.target":
        return [(factor - 1) * tail, -distance if x >= 0 else factor * distance], lost
    at_x, at_minus_x = (distance + tail, tail) if x >= 0 else (tail, distance + tail)
    if quantity == "grad.pos_weight":
        return [target * at_minus_x], lost
    return [factor * target * at_minus_x, (one - target) * at_x], lost


def _log1p(z: Decimal, precision: int) -> Decimal:
    if z < Decimal(10) ** -precision:
        return z
    context = decimal.getcontext().copy()
    context.prec = precision - min(z.adjusted(), 0) + 2
    with decimal.localcontext(context):
        logarithm = (1 + z).ln()
    return +logarithm


def _as_floats(total: Decimal, error: Decimal) -> tuple[float, float, float, int]:
    """The number on an exponent of its own. 2**-exponent is rounded to 60 digits, which is far
    below what the last term allows."""
    exponent = int(max(total, error, key=abs).adjusted() * LOG2_OF_10)
    total, error = (number * Decimal(2) ** -exponent for number in (total, error))
    high = float(total)
    low = float(total - Decimal(high))
    bound = float(error) * (1 + 2.0**-50) + abs(low) * 2.0**-52 + abs(high) * 2.0**-150
    return high, low, bound + 2 * SMALLEST_SUBNORMAL, exponent
