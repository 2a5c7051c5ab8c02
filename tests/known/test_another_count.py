"""`instead: {another_count: true}`: a mean divided by one other number of elements, and no more."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bce_conformance.judging.rules import judge
from bce_conformance.model.call import Array, Call, Outcome
from bce_conformance.model.dtypes import FLOATS
from bce_conformance.model.expectation import AgreesWithReference, Case, Expectation, Source

SLOPE = "grad.logits"
SURFACE = "mindspore.mint.nn.BCEWithLogitsLoss"


def example(logits: object, target: object, pos_weight: object, dtype: str) -> Case:
    x, y, p = (Array.rounded(dtype, np.asarray(a, float)) for a in (logits, target, pos_weight))
    call = Call(SURFACE, x, y, None, p, {"reduction": "mean"}, (SLOPE,))
    promise = AgreesWithReference(call, another_count=True)
    name = f"{SURFACE}/property/mean[{dtype},mean]"
    return Case(name, "property", call, Expectation(promise), Source("", ""))


def release(call: Call, count: int) -> NDArray[np.float64]:
    """The gradient divided by `count`, every step rounded to the dtype."""
    dtype = call.logits.dtype

    def rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return Array.rounded(dtype, values).values

    assert call.pos_weight is not None
    x, y, p = call.logits.values, call.target.values, call.pos_weight.values
    positive = rounded(y * p)
    rising = rounded(1 / (1 + np.exp(-x)))
    slope = rounded(rounded(rounded(positive + 1) - y) * rising)
    return rounded(rounded(slope - positive) / count)


def verdict(case: Case, values: NDArray[np.float64]) -> str:
    result = Array.rounded(case.call.logits.dtype, values)
    return judge(case, SLOPE, Outcome({SLOPE: result}), None, "stable").verdict


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("count", [1, 2, 3, 12, 384, 768, 1999, 4096])
@pytest.mark.parametrize("n", [1, 2, 4, 23, 200])
def test_any_one_count_is_found(dtype: str, count: int, n: int) -> None:
    """Of many elements in float16 the largest alone would name a count that is off by one."""
    rng = np.random.Generator(np.random.Philox([n, count, FLOATS[dtype].precision]))
    for _ in range(10):
        x, y = rng.uniform(-16, 16, n), rng.choice([0, 1, 0.3, 0.77], n)
        case = example(x, y, 2.0 ** rng.uniform(-4, 4, n), dtype)
        assert verdict(case, release(case.call, count)) == "conforms"


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param([1, 1, 1.01], id="one-element"),
        pytest.param([2**0.5] * 3, id="no-whole-number"),
        pytest.param([-1, -1, -1], id="sign"),
        pytest.param([0, 0, 0], id="zeros"),
        pytest.param([30, 30, 30], id="less-than-one"),
        pytest.param([np.nan, 1, 1], id="nan"),
    ],
)
def test_nothing_else_is_excused(wrong: list[float]) -> None:
    case = example([1, -2, 3], [0, 1, 0.5], [1, 2, 1], "float32")
    assert verdict(case, release(case.call, 12) * wrong) == "deviates"
