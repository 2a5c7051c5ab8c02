"""Guesses at the cause of a wrong result."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import pytest

from bce_conformance.judging import diagnosis as module
from bce_conformance.judging.diagnosis import MOST_ELEMENTS, diagnoses
from bce_conformance.judging.errors import truth
from bce_conformance.model.call import FORWARD, Array, Call
from bce_conformance.model.expectation import AgreesWithReference, Case, Expectation, Source


def example(call: Call) -> Case:
    source = Source("a document", "a sentence")
    return Case("s/k/n", "property", call, Expectation(AgreesWithReference(call)), source)


def weighted(n: int, layout: str = "contiguous") -> Call:
    def array(*values: float) -> Array:
        if layout == "cycled":
            return Array("float32", (n,), np.float32(values).tobytes(), "cycled")
        return Array.rounded("float32", np.resize(values, n))

    logits, target, weight = array(0.5, -2.0), array(1.0, 0.25), array(3.0, 0.5)
    return Call("s", logits, target, weight=weight, options={"reduction": "none"})


def test_an_ignored_weight_is_named() -> None:
    call = weighted(4)
    unweighted = Call("s", call.logits, call.target, options=call.options)
    result = Array.rounded("float32", truth(unweighted, FORWARD, "float32").high)
    assert diagnoses(example(call), FORWARD, result) == ("the weight was ignored",)


def test_what_is_due_is_no_case_for_guesses() -> None:
    call = weighted(4)
    result = Array.rounded("float32", truth(call, FORWARD, "float32").high)
    assert diagnoses(example(call), FORWARD, result) == ()


def test_no_guess_is_made_at_very_many_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes the whole formula anew: with 2^25 elements 10 GB and minutes."""

    def evaluated(*given: object) -> NoReturn:
        raise AssertionError("the formula was evaluated")

    monkeypatch.setattr(module, "truth", evaluated)
    call = weighted(2 * MOST_ELEMENTS, "cycled")
    total = Call("s", call.logits, call.target, options={"reduction": "sum"})
    assert diagnoses(example(total), FORWARD, Array.rounded("float32", np.ones(()))) == ()


def pos_weighted(dtype: str = "float64") -> Call:
    def array(*values: float) -> Array:
        return Array.rounded(dtype, np.array(values))

    return Call("s", array(0.5, -2.0, 3.0), array(1.0, 0.25, 0.5), pos_weight=array(3.0, 0.5, 2.0),
                options={"reduction": "none"})  # fmt: skip


@pytest.mark.parametrize("quantity", ["grad.logits", "grad.target", "grad.pos_weight"])
def test_the_gradients_of_an_alternative_are_named_like_its_loss(quantity: str) -> None:
    """By the complex step, against the derivative of (1 + (p − 1)·y)·(y·sp(−x) + (1 − y)·sp(x))."""
    call = pos_weighted()
    assert call.pos_weight is not None
    x, y, p = call.logits.values, call.target.values, call.pos_weight.values
    sigmoid, softplus = 1 / (1 + np.exp(-x)), np.log1p(np.exp(x))
    plain = y * (softplus - x) + (1 - y) * softplus
    slopes = {
        "grad.logits": (1 + (p - 1) * y) * (sigmoid - y),
        "grad.target": (p - 1) * plain - (1 + (p - 1) * y) * x,
        "grad.pos_weight": y * plain,
    }
    result = Array.rounded("float64", slopes[quantity])
    assert "pos_weight multiplied the whole loss" in diagnoses(example(call), quantity, result)


def test_a_mean_over_the_wrong_axis_is_named() -> None:
    values = Array.rounded("float32", np.array([[0.5, -2.0, 3.0], [1.0, 0.0, -1.0]]))
    call = Call("s", values, Array.rounded("float32", np.ones((2, 3))),
                options={"reduction": "mean"})  # fmt: skip
    mean = float(truth(call, FORWARD, "float32").high)
    result = Array.rounded("float32", np.array(mean * 6 / 2))
    assert diagnoses(example(call), FORWARD, result) == (
        "it was divided by the length of the first axis",
    )
