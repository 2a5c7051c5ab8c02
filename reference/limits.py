"""Infinite and NaN arguments: the extended real line, with 0 * infinity = 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .doubled import evaluate_doubled
from .factors import SIGMOIDAL, Factors
from .scaled import Array, Mask, Scaled


def without_vanishing_pos_weight(quantity: str, factors: Factors) -> Factors:
    """An infinite pos_weight that meets an exact 0 contributes 0: replaced by a 0."""
    p = factors.pos_weight
    if "pos_weight" not in factors.used(quantity) or not np.isinf(p).any():
        return factors
    vanishes = factors.logits == np.inf
    if "target" in factors.used(quantity):
        vanishes = vanishes | (factors.target == 0)
    return replace(factors, pos_weight=np.where(np.isinf(p) & vanishes, 0.0, p))


def special(quantity: str, factors: Factors) -> Mask:
    """Where the formula needs `evaluate_limits`, shape (n,)."""
    found = np.zeros(factors.logits.shape, dtype=bool)
    for name, array in factors.used(quantity).items():
        if name == "logits" and quantity in SIGMOIDAL:
            found |= np.isnan(array)
        else:
            found |= ~np.isfinite(array)
    return found


def harmless(factors: Factors, where: Mask) -> Factors:
    """The factors with 1 at `where`, so that the finite tiers may run over every element."""
    return factors.full().changed(lambda _, array: np.where(where, 1.0, array))


def evaluate_limits(quantity: str, factors: Factors) -> Scaled:
    """Results 0, infinite or NaN, shape (n,), from signs alone.

    NaN in gives NaN out, infinity minus infinity is NaN, and 0 * infinity is 0. Only the sign of
    a finite bracket under an infinite weight needs arithmetic; where double-double cannot tell
    it from 0 the uncertainty is infinite.
    """
    with np.errstate(all="ignore"):
        terms = _term_classes(quantity, factors)
        bracket = sum(terms[1:], terms[0])
        invalid = np.zeros(bracket.shape, dtype=bool)
        for array in factors.used(quantity).values():
            invalid |= np.isnan(array)
        opposed = np.isfinite(bracket) & (terms[0] * terms[-1] < 0) & ~invalid
        undecided = np.zeros(bracket.shape, dtype=bool)
        if opposed.any():
            signs, undecided[opposed] = _bracket_sign(quantity, factors[opposed])
            bracket[opposed] = signs
        result = np.where(invalid, np.nan, product(_class(factors.weight), bracket))
    uncertainty = np.where(undecided & ~np.isnan(result), np.inf, 0.0)
    shape = result.shape
    return Scaled(result, np.zeros(shape), uncertainty, np.zeros(shape, dtype=np.int64))


def _term_classes(quantity: str, factors: Factors) -> list[Array]:
    x = factors.logits
    one_minus_target = _class(1.0 - factors.target)
    p, y = _class(factors.pos_weight), _class(factors.target)
    if quantity in SIGMOIDAL:
        at_x = np.where(x == -np.inf, 0.0, 1.0)
        at_minus_x = np.where(x == np.inf, 0.0, 1.0)
        if quantity == "hessian.logits":
            slope = at_x * at_minus_x
            return [product(one_minus_target, slope), product(product(p, y), slope)]
        return [product(one_minus_target, at_x), -product(product(p, y), at_minus_x)]
    above = np.where(x == -np.inf, 0.0, np.where(x == np.inf, np.inf, 1.0))
    below = np.where(x == np.inf, 0.0, np.where(x == -np.inf, np.inf, 1.0))
    if quantity == "grad.target":
        return [product(p, below), -above]
    if quantity == "grad.pos_weight":
        return [product(y, below)]
    return [product(product(p, y), below), product(one_minus_target, above)]


def _class(values: Array) -> Array:
    """Infinities and NaN as they are, finite numbers by their sign."""
    return np.where(np.isinf(values), values, np.sign(values))


def product(a: Array, b: Array) -> Array:
    """a * b with 0 * infinity = 0."""
    with np.errstate(all="ignore"):
        zero = ((a == 0) | (b == 0)) & ~np.isnan(a) & ~np.isnan(b)
        return np.where(zero, 0.0, a * b)


def _bracket_sign(quantity: str, factors: Factors) -> tuple[Array, Mask]:
    number = evaluate_doubled(quantity, replace(factors, weight=np.ones(())))
    return np.sign(number.high), np.abs(number.high) <= number.uncertainty
