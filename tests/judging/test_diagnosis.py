"""Guesses at the cause of a wrong result."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import pytest

from bce_conformance.judging import diagnosis as module
from bce_conformance.judging.diagnosis import MOST_ELEMENTS, diagnosis
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
    assert diagnosis(example(call), FORWARD, result) == "as if the weight were ignored"


def test_what_is_due_is_no_case_for_guesses() -> None:
    call = weighted(4)
    result = Array.rounded("float32", truth(call, FORWARD, "float32").high)
    assert diagnosis(example(call), FORWARD, result) == ""


def test_no_guess_is_made_at_very_many_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes the whole formula anew: with 2^25 elements 10 GB and minutes."""

    def evaluated(*given: object) -> NoReturn:
        raise AssertionError("the formula was evaluated")

    monkeypatch.setattr(module, "truth", evaluated)
    call = weighted(2 * MOST_ELEMENTS, "cycled")
    total = Call("s", call.logits, call.target, options={"reduction": "sum"})
    assert diagnosis(example(total), FORWARD, Array.rounded("float32", np.ones(()))) == ""
