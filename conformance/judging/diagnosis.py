"""What a wrong result looks like: other formulas that give exactly what came out.

A guess at the cause, for the person who has to find it; no verdict depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..model.call import FORWARD, Array, Call
from ..model.expectation import AgreesWithReference, Case
from ..reference import softplus
from .errors import truth
from .tolerance import Floats

MOST_ELEMENTS = 1 << 17
"""Of calls of more no guess is made: each takes the formula anew over all elements."""

Guess = tuple[str, Floats]
"""What may have happened, and what the result would be then."""


def diagnosis(case: Case, quantity: str, result: Array) -> str:
    """A clause such as "as if the weight were ignored"; "" where no guess fits, or any would."""
    promise = case.expectation.promise
    if not isinstance(promise, AgreesWithReference) or result.size == 0:
        return ""
    call = promise.reference_call
    if call.logits.size > MOST_ELEMENTS:
        return ""
    if not np.all(np.isfinite(result.values)):
        return ""
    with np.errstate(all="ignore"):
        return _guessed(call, quantity, result)


def _guessed(call: Call, quantity: str, result: Array) -> str:
    try:
        expected = truth(call, quantity, result.dtype)
        for words, value in guesses(call, quantity, result.dtype):
            allowed = expected.tolerance["stable"]
            if value.shape != result.shape:
                continue
            if _fits(result, value, allowed) and np.any(np.abs(value - expected.high) > allowed):
                return f"as if {words}"
    except (ValueError, KeyError):
        return ""
    return ""


def _fits(result: Array, value: Floats, allowed: Floats) -> bool:
    with np.errstate(all="ignore"):
        near = np.abs(result.values - value) <= 4 * allowed + 1e-6 * np.abs(value)
    return bool(np.all(near & np.isfinite(value)))


def guesses(call: Call, quantity: str, dtype: str) -> Iterator[Guess]:
    expected = truth(call, quantity, dtype).high
    yield "it were always 0", np.zeros_like(expected)
    yield "its sign were turned", -expected
    yield "it were doubled", 2 * expected
    yield "it were halved", expected / 2
    for words, other in _other_calls(call, quantity):
        if all(
            a is None or np.all(np.isfinite(a.values)) for a in (other.weight, other.pos_weight)
        ):
            yield words, truth(other, quantity, dtype).high
    if quantity == FORWARD:
        yield from _other_formulas(call)


def _other_calls(call: Call, quantity: str) -> Iterator[tuple[str, Call]]:
    w, p, n = call.weight, call.pos_weight, call.logits.size
    of = quantity.partition(".")[2]
    if w is not None and of != "weight":
        yield "the weight were ignored", replace(call, weight=None)
        yield "the weight were applied twice", replace(call, weight=_of(w, w.values**2))
        yield "the weight's sign were ignored", replace(call, weight=_of(w, np.abs(w.values)))
    if p is not None and of != "pos_weight":
        yield "pos_weight were ignored", replace(call, pos_weight=None)
        yield "pos_weight were 1/pos_weight", replace(call, pos_weight=_of(p, 1 / p.values))
        yield "pos_weight were applied twice", replace(call, pos_weight=_of(p, p.values**2))
        yield "pos_weight were 1 + pos_weight", replace(call, pos_weight=_of(p, 1 + p.values))
    if w is not None and p is not None and not of.endswith("weight"):
        yield "weight and pos_weight were swapped", replace(call, weight=p, pos_weight=w)
    clamped = _of(call.target, np.clip(call.target.values, 0, 1))
    yield "the target were clamped to [0, 1]", replace(call, target=clamped)
    if call.upstream is not None:
        yield "the upstream gradient were ignored", replace(call, upstream=None)
        if call.reduction == "mean":
            yield (
                "the upstream gradient and the mean were ignored",
                replace(call, upstream=None, options={**call.options, "reduction": "sum"}),
            )
    for reduction in ("mean", "sum"):
        if call.reduction in ("mean", "sum") and reduction != call.reduction:
            words = "it were not divided by n" if reduction == "sum" else "it were divided by n"
            yield words, replace(call, options={**call.options, "reduction": reduction})
    if call.reduction == "mean" and n > 1 and quantity != FORWARD and call.upstream is None:
        share = Array.rounded("float64", np.asarray(1 / n))
        yield "it were divided by n twice", replace(call, upstream=share)


def _of(array: Array, values: Floats) -> Array:
    return Array.rounded("float64", np.asarray(values, dtype=np.float64))


def _other_formulas(call: Call) -> Iterator[Guess]:
    x, y = call.logits.values, call.target.values
    w = np.ones(()) if call.weight is None else call.weight.values
    p = np.ones(()) if call.pos_weight is None else call.pos_weight.values
    with np.errstate(all="ignore"):
        lw = 1 + (p - 1) * y
        plain = y * softplus(-x) + (1 - y) * softplus(x)
        wrong = {
            "pos_weight multiplied the whole loss": w * lw * plain,
            "pos_weight multiplied the negative term": w * (y * softplus(-x)
                                                            + p * (1 - y) * softplus(x)),
            "pos_weight multiplied the logarithm alone": w * (
                np.maximum(x, 0) - x * y + lw * np.log1p(np.exp(-np.abs(x)))),
            "pos_weight multiplied both terms": w * p * plain,
        }  # fmt: skip
        for words, each in wrong.items():
            yield words, _reduced(call, np.broadcast_to(each, x.shape))
        if call.reduction == "mean":
            right = w * (p * y * softplus(-x) + (1 - y) * softplus(x))
            total = np.asarray(np.sum(np.broadcast_to(right, x.shape)))
            if call.weight is not None:
                yield "it were divided by the sum of the weights", total / np.sum(
                    np.broadcast_to(w, x.shape))  # fmt: skip
            if x.shape:
                yield "it were divided by the length of the first axis", total / x.shape[0]
            yield "it were divided by n − 1", total / max(x.size - 1, 1)


def _reduced(call: Call, each: Floats) -> Floats:
    if call.reduction == "none":
        return each
    total = np.asarray(np.sum(each))
    return total / max(each.size, 1) if call.reduction == "mean" else total
