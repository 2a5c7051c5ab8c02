"""Double-double arithmetic against exact fractions, its functions against ball arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest

from bce_conformance.reference import double_double as dd
from bce_conformance.reference.reduce import divided, summed_to
from bce_conformance.reference.scaled import Array, Integers, Scaled

U2 = Fraction(1, 2**106)
COUNT = 400


def numbers(seed: int, spread: int = 30) -> Array:
    random = np.random.default_rng(seed)
    sign = random.choice([-1.0, 1.0], COUNT)
    return np.asarray(sign * random.uniform(0.5, 1, COUNT) * 2.0 ** random.integers(0, spread))


def pairs(seed: int) -> dd.Pair:
    high = numbers(seed)
    return dd.fast_two_sum(high, numbers(seed + 1, 1) * np.spacing(np.abs(high)) / 2)


def fractions(pair: dd.Pair) -> list[Fraction]:
    return [
        Fraction(h) + Fraction(e) for h, e in zip(*(half.tolist() for half in pair), strict=True)
    ]


def test_error_free_transformations_are_error_free() -> None:
    a, b = numbers(1), numbers(2, 60)
    for pair, operation in (
        (dd.two_sum(a, b), Fraction.__add__),
        (dd.two_product(a, b), Fraction.__mul__),
    ):
        exact = [operation(Fraction(x), Fraction(y)) for x, y in zip(a, b, strict=True)]
        assert fractions(pair) == exact


def nearly_opposite(a: dd.Pair) -> dd.Pair:
    """Pairs that cancel against `a` to the last bits of its high half."""
    return dd.fast_two_sum(-np.nextafter(a[0], 0), numbers(9, 1) * np.spacing(np.abs(a[0])) / 3)


@pytest.mark.parametrize(
    ("operation", "exact", "bound"),
    [
        (dd.add, Fraction.__add__, 3),
        (dd.multiply, Fraction.__mul__, 7),
        (dd.divide, Fraction.__truediv__, 16),
    ],
)
def test_pair_operations_keep_their_bounds(
    operation: Callable[..., dd.Pair], exact: Any, bound: int
) -> None:
    a, b = pairs(3), pairs(5)
    for left, right in ((a, b), (a, nearly_opposite(a))):
        results = fractions(operation(left, right))
        for x, y, result in zip(fractions(left), fractions(right), results, strict=True):
            real = exact(x, y)
            # the constant of the highest order; the bounds' u**3 terms need a little more
            assert abs(result - real) <= bound * U2 * abs(real) * (1 + Fraction(1, 2**40))


def relative_error(pair: dd.Pair, exponent: Integers, i: int, real: Any) -> float:
    value = (flint.arb(float(pair[0][i])) + flint.arb(float(pair[1][i]))) * flint.arb(2) ** int(
        exponent[i]
    )
    return float((abs(value - real) / real * flint.arb(2) ** 106).abs_upper())


def test_exp_and_log1p_keep_their_bounds() -> None:
    random = np.random.default_rng(4)
    # dense where the logarithm's table changes its entry, and over the whole range
    a = np.concatenate([random.uniform(0, 6, 3000), 10.0 ** random.uniform(-320, 3.6, 3000), [0.0]])
    z, exponent, beyond = dd.exp_of_minus(a)
    logarithm, log_exponent = dd.log1p_of_exp(z, exponent)
    assert not beyond.any()
    previous = flint.ctx.prec
    try:
        flint.ctx.prec = 400
        for i, argument in enumerate(a.tolist()):
            real = (-flint.arb(argument)).exp()
            assert relative_error(z, exponent, i, real) <= dd.EXP_ERROR
            assert relative_error(logarithm, log_exponent, i, real.log1p()) <= dd.LOG1P_ERROR
    finally:
        flint.ctx.prec = previous


def scaled(pair: dd.Pair, exponent: Any = 0) -> Scaled:
    zeros = np.zeros(pair[0].shape)
    return Scaled(*pair, zeros, np.zeros(pair[0].shape, dtype=np.int64) + exponent)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 400])
def test_sums_and_means_of_exact_elements_are_within_their_uncertainty(count: int) -> None:
    pair = pairs(7)
    pair = (pair[0][:count], pair[1][:count])
    total = summed_to(scaled(pair), (count,), ())
    mean = divided(total, count)
    exact = sum(fractions(pair), Fraction(0))
    for result, real in ((total, exact), (mean, exact / count)):
        size = Fraction(2) ** int(result.exponent[0])
        value = (Fraction(result.high[0]) + Fraction(result.low[0])) * size
        assert abs(value - real) <= Fraction(result.uncertainty[0]) * size
        assert Fraction(result.uncertainty[0]) * size <= 2**10 * U2 * sum(
            abs(x) for x in fractions(pair)
        )


def test_elements_beyond_float64_add_up() -> None:
    exponent = np.array([2000, 1999, -3000])
    ones = np.ones(3)
    total = summed_to(scaled((ones, np.zeros(3)), exponent), (3,), ())
    assert Fraction(total.high[0]) * Fraction(2) ** int(total.exponent[0]) == 3 * 2**1999
