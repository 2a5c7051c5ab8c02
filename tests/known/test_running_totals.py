"""`instead: {running_totals: k}`: a sum that loses n/k unit roundoffs, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from bce_conformance.judging.rules import judge
from bce_conformance.model.call import FORWARD, Array, Call, Outcome
from bce_conformance.model.expectation import AgreesWithReference, Case, Expectation, Source

N = 2**16
LOSS = 3.048587351573742  # softplus(3)
UNIT = 2.0**-24


def verdict(lost: float, totals: int, reduction: str = "sum") -> str:
    """On N equal losses whose sum or mean is so many unit roundoffs too small."""
    x, y = (Array.rounded("float32", np.full(N, value)) for value in (3.0, 0.0))
    call = Call("s", x, y, options={"reduction": reduction})
    promise = AgreesWithReference(call, running_totals=totals)
    case = Case("s/a/b", "reduction", call, Expectation(promise), Source("", ""))
    expected = LOSS * (N if reduction == "sum" else 1)
    result = Array.rounded("float32", np.asarray(expected * (1 - lost * UNIT)))
    return judge(case, FORWARD, Outcome({FORWARD: result}), None, "stable").verdict


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("totals", [16, 64])
def test_the_bound_of_sequential_summation(totals: int, reduction: str) -> None:
    assert verdict(0.9 * N / totals, 0, reduction) == "deviates"
    assert verdict(0.9 * N / totals, totals, reduction) == "conforms"
    assert verdict(1.1 * N / totals, totals, reduction) == "deviates"
