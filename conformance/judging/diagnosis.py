"""Diagnoses: alternative formulas that give exactly the wrong result.

A guess at the cause, for the person who has to find it; no verdict depends on it. Gradients of the
alternatives are taken by the complex step (Squire and Trapp 1998): Im f(x + ih)/h, exact to
rounding for any h that is small enough, since nothing is subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..model.call import ARGUMENTS, FORWARD, GRADIENTS, Array, Call
from ..model.expectation import AgreesWithReference, Case, HasValue, PrintedAs
from .errors import truth
from .rules import Judgement
from .tolerance import Floats

MOST_ELEMENTS = 1 << 17
"""Of calls of more no guess is made: each takes the formula anew over all elements."""

Guess = tuple[str, Floats]
"""What may have happened, and what the result would be then."""


def diagnoses(case: Case, quantity: str, result: Array) -> tuple[str, ...]:
    """What may have happened, such as "the weight was ignored": all alternatives that fit.

    Empty where none fits, where nothing can be compared, and for calls of many elements.
    """
    promise = case.expectation.promise
    if not isinstance(promise, AgreesWithReference | HasValue | PrintedAs) or result.size == 0:
        return ()
    call = promise.reference_call if isinstance(promise, AgreesWithReference) else case.call
    if call.logits.size > MOST_ELEMENTS:
        return ()
    with np.errstate(all="ignore"):
        return tuple(dict.fromkeys(_fitting(call, case.call, quantity, result)))


def diagnosed(judgement: Judgement, found: Sequence[str]) -> Judgement:
    """The judgement with the diagnoses, the first of which its summary names."""
    if not found:
        return judgement
    summary = f"{judgement.summary}, as if {found[0]}"
    return replace(judgement, summary=summary, causes=tuple(found))


def _fitting(call: Call, given: Call, quantity: str, result: Array) -> Iterator[str]:
    """The alternatives that fit the whole result, where the formula itself does not."""
    try:
        expected = truth(call, quantity, result.dtype)
        allowed = np.nan_to_num(expected.tolerance["stable"], posinf=0.0)
        for words, value in guesses(call, quantity, result.dtype, given):
            if value.shape != result.shape:
                continue
            if value.shape != expected.high.shape:
                if _fits(result, value, np.zeros(())):
                    yield words
            elif _fits(result, value, allowed) and not _within(value, expected.high, allowed):
                yield words
    except (ValueError, KeyError):
        return


def _within(value: Floats, expected: Floats, allowed: Floats) -> bool:
    """Whether the formula itself gives this; a number where NaN is expected is something else."""
    close = np.abs(value - expected) <= allowed
    return bool(np.all(close | _identical(value, expected)))


def _fits(result: Array, value: Floats, allowed: Floats) -> bool:
    with np.errstate(all="ignore"):
        near = np.abs(result.values - value) <= 4 * allowed + 1e-6 * np.abs(value)
    return bool(np.all((near & np.isfinite(value)) | _identical(result.values, value)))


def _identical(one: Floats, other: Floats) -> NDArray[np.bool_]:
    """Where both are the same number, infinities and NaN included."""
    return np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))


def guesses(call: Call, quantity: str, dtype: str, given: Call) -> Iterator[Guess]:
    """Alternatives and their values, the plainest first.

    call: whose formula is expected; given: the call that was made, where a document promises
    another formula for it.
    """
    expected = truth(call, quantity, dtype).high
    if given != call and (grown := _broadcast(given)) is not None:
        yield "the arguments were broadcast against each other", truth(grown, quantity, dtype).high
    yield "it was always 0", np.zeros_like(expected)
    yield "it was negated", -expected
    yield "it was doubled", 2 * expected
    yield "it was halved", expected / 2
    for words, other in _other_calls(call, quantity):
        if all(
            a is None or np.all(np.isfinite(a.values)) for a in (other.weight, other.pos_weight)
        ):
            yield words, truth(other, quantity, dtype).high
    if quantity in (FORWARD, *GRADIENTS):
        yield from _other_formulas(call, quantity)


def _broadcast(call: Call) -> Call | None:
    """The call with logits and target repeated to the shape of all arguments together."""
    arrays = [a for a in map(call.argument, ARGUMENTS) if a is not None]
    try:
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
    except ValueError:
        return None
    logits, target = (_of(a, np.broadcast_to(a.values, shape)) for a in (call.logits, call.target))
    return replace(call, logits=logits, target=target)


def _other_calls(call: Call, quantity: str) -> Iterator[tuple[str, Call]]:
    w, p, n = call.weight, call.pos_weight, call.logits.size
    of = quantity.partition(".")[2]
    if w is not None and of != "weight":
        yield "the weight was ignored", replace(call, weight=None)
        yield "the weight was applied twice", replace(call, weight=_of(w, w.values**2))
        yield "the weight's sign was ignored", replace(call, weight=_of(w, np.abs(w.values)))
    if p is not None and of != "pos_weight":
        yield "pos_weight was ignored", replace(call, pos_weight=None)
        yield "pos_weight was 1/pos_weight", replace(call, pos_weight=_of(p, 1 / p.values))
        yield "pos_weight was applied twice", replace(call, pos_weight=_of(p, p.values**2))
        yield "pos_weight was 1 + pos_weight", replace(call, pos_weight=_of(p, 1 + p.values))
    if w is not None and p is not None and not of.endswith("weight"):
        yield "weight and pos_weight were swapped", replace(call, weight=p, pos_weight=w)
    clamped = _of(call.target, np.clip(call.target.values, 0, 1))
    yield "the target was clamped to [0, 1]", replace(call, target=clamped)
    if call.upstream is not None:
        yield "the upstream gradient was ignored", replace(call, upstream=None)
        if call.reduction == "mean":
            yield (
                "the upstream gradient and the mean were ignored",
                replace(call, upstream=None, options={**call.options, "reduction": "sum"}),
            )
    for reduction in ("mean", "sum"):
        if call.reduction in ("mean", "sum") and reduction != call.reduction:
            words = "it was not divided by n" if reduction == "sum" else "it was divided by n"
            yield words, replace(call, options={**call.options, "reduction": reduction})
    if call.reduction == "mean" and n > 1 and quantity != FORWARD and call.upstream is None:
        share = Array.rounded("float64", np.asarray(1 / n))
        yield "it was divided by n twice", replace(call, upstream=share)


def _of(array: Array, values: Floats) -> Array:
    return Array.rounded("float64", np.asarray(values, dtype=np.float64))


Complexes = NDArray[np.complex128]
Elementwise = Callable[[Complexes, Complexes, Complexes, Complexes], Complexes]
"""The loss of each element from x, y, w and p."""


def _softplus(x: Complexes) -> Complexes:
    """log(1 + exp(x)), without overflow, of numbers with an infinitesimal imaginary part."""
    return np.where(x.real > 0, x, 0) + np.log1p(np.exp(np.where(x.real > 0, -x, x)))


def _loss(x: Complexes, y: Complexes, w: Complexes, p: Complexes) -> Complexes:
    return w * (p * y * _softplus(-x) + (1 - y) * _softplus(x))


ALTERNATIVES: dict[str, Elementwise] = {
    "pos_weight multiplied the whole loss": lambda x, y, w, p: (
        w * (1 + (p - 1) * y) * _loss(x, y, np.ones_like(w), np.ones_like(p))
    ),
    "pos_weight multiplied the negative term": lambda x, y, w, p: (
        w * (y * _softplus(-x) + p * (1 - y) * _softplus(x))
    ),
    "pos_weight multiplied the logarithm alone": lambda x, y, w, p: (
        w * (np.where(x.real > 0, x, 0) - x * y
             + (1 + (p - 1) * y) * np.log1p(np.exp(np.where(x.real > 0, -x, x))))
    ),
    "pos_weight multiplied both terms": lambda x, y, w, p: (
        w * p * _loss(x, y, np.ones_like(w), np.ones_like(p))
    ),
    "1 − target was 1": lambda x, y, w, p: w * (p * y * _softplus(-x) + _softplus(x)),
    "the positive term was missing": lambda x, y, w, p: w * (1 - y) * _softplus(x),
    "the negative term was missing": lambda x, y, w, p: w * p * y * _softplus(-x),
    "target and 1 − target were swapped": lambda x, y, w, p: (
        w * (p * (1 - y) * _softplus(-x) + y * _softplus(x))
    ),
    "the logits were negated": lambda x, y, w, p: _loss(-x, y, w, p),
    "the logits were clamped to [-100, 100]": lambda x, y, w, p: _loss(
        np.where(np.abs(x.real) > 100, np.sign(x.real) * 100, x), y, w, p
    ),
    "the target was rounded": lambda x, y, w, p: _loss(x, np.round(y.real) + 0 * y, w, p),
    "the absolute value of the loss was taken": lambda x, y, w, p: (
        _loss(x, y, w, p) * np.sign(_loss(x, y, w, p).real)
    ),
}  # fmt: skip
STEP = 1e-30


def _other_formulas(call: Call, quantity: str) -> Iterator[Guess]:
    """The alternatives to the loss of an element, and to the way in which a mean is taken."""
    for words, formula in ALTERNATIVES.items():
        if "pos_weight" not in words or call.pos_weight is not None:
            yield words, _evaluated(formula, call, quantity, _mean_count(call))
    if call.reduction == "mean":
        for words, count in _counts(call):
            yield words, _evaluated(_loss, call, quantity, count)


def _mean_count(call: Call) -> float:
    return float(max(call.logits.size, 1)) if call.reduction == "mean" else 1.0


def _counts(call: Call) -> Iterator[tuple[str, float]]:
    """What a mean may have been divided by instead of the number of elements."""
    shape = call.logits.shape
    if call.weight is not None:
        total = np.sum(np.broadcast_to(call.weight.values, shape))
        yield "it was divided by the sum of the weights", float(total)
    if shape:
        yield "it was divided by the length of the first axis", float(shape[0])
        yield "it was divided by the length of the last axis", float(shape[-1])
    yield "it was divided by n − 1", float(max(call.logits.size - 1, 1))


def _evaluated(formula: Elementwise, call: Call, quantity: str, count: float) -> Floats:
    """A quantity of an alternative loss; count: what the sum is divided by, 1 for a sum."""
    shape = call.logits.shape
    values = {name: _complex(call.argument(name), shape) for name in ARGUMENTS}
    if quantity == FORWARD:
        each = formula(*values.values()).real
        return each if call.reduction == "none" else np.asarray(np.sum(each)) / count
    name = quantity.partition(".")[2]
    argument = call.argument(name)
    assert argument is not None
    values[name] = values[name] + 1j * STEP
    slopes = formula(*values.values()).imag / STEP
    upstream = 1.0 if call.upstream is None else call.upstream.values
    return _summed_to(slopes * upstream / count, argument.shape)


def _complex(array: Array | None, shape: tuple[int, ...]) -> Complexes:
    values = np.ones(()) if array is None else array.values
    return np.broadcast_to(values, shape).astype(np.complex128)


def _summed_to(slopes: Floats, shape: tuple[int, ...]) -> Floats:
    """The gradient of an argument that was repeated is the sum over its repetitions."""
    leading = tuple(range(slopes.ndim - len(shape)))
    summed = slopes.sum(axis=leading) if leading else slopes
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 and summed.shape[i] != 1)
    return np.asarray(summed.sum(axis=repeated, keepdims=True) if repeated else summed)
