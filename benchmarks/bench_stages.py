"""What a run spends its time on, stage by stage: `tox run -e bench`.

Nothing here passes or fails; quote ratios of rows taken in one run.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from bce_conformance.adapters import available
from bce_conformance.casefile import load_all
from bce_conformance.commands.select import shipped_cases
from bce_conformance.judging.errors import errors, forget, truth
from bce_conformance.judging.rules import compare
from bce_conformance.model.call import FORWARD, QUANTITIES, Array, Call
from bce_conformance.reference import evaluate
from bce_conformance.session import IsolatedSession


def drawn(n: int, dtype: str = "float32") -> Call:
    """n logits of all sizes with soft and hard targets."""
    random = np.random.default_rng(0)
    logits = Array.rounded(dtype, random.normal(0, 8, n))
    target = Array.rounded(dtype, random.choice([0, 1, 0.5, 0.1], n))
    return Call("numpy.bce_with_logits", logits, target, options={"reduction": "none"})


def test_load_case_files(benchmark: Any) -> None:
    files = benchmark(load_all, [shipped_cases()])
    assert files


@pytest.mark.parametrize("n", [10, 100_000])
def test_round_trip(benchmark: Any, n: int) -> None:
    """A call to a worker and back, the numpy adapter's own time included."""
    adapter = available()["numpy"]
    call = drawn(n)
    with IsolatedSession(adapter.source, adapter.name, python=sys.executable) as session:
        outcome = benchmark(session.run, call)
    assert FORWARD in outcome.values


@pytest.mark.parametrize("tier", ["quick", "plain", "auto", "doubled"])
def test_reference(benchmark: Any, tier: str) -> None:
    call = drawn(100_000)
    x, y = call.logits.values, call.target.values
    assert benchmark(evaluate, FORWARD, x, y, tier=tier).high.shape == x.shape


@pytest.mark.parametrize("n", [10, 100_000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_judge(benchmark: Any, n: int, dtype: str) -> None:
    """Truth, tolerance and comparison of one result."""
    call = drawn(n, dtype)
    result = Array.rounded(dtype, truth(call, FORWARD, dtype).high)

    def judged() -> str:
        return compare(result, truth(call, FORWARD, dtype), "stable").verdict

    assert benchmark(judged) == "conforms"


def weighted(n: int, dtype: str, reduction: str) -> Call:
    """As `drawn`, with a weight and a pos_weight for each element."""
    call = drawn(n, dtype)
    random = np.random.default_rng(1)
    w, p = (Array.rounded(dtype, random.choice([0.25, 1, 3], n)) for _ in range(2))
    return Call(call.surface, call.logits, call.target, w, p, {"reduction": reduction})


@pytest.mark.parametrize("n", [500, 100_000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_truth_cold(benchmark: Any, n: int, dtype: str) -> None:
    """All six quantities of arguments never met before."""
    call = weighted(n, dtype, "none")

    def text() -> int:
        return len([truth(call, quantity, dtype) for quantity in QUANTITIES])

    assert benchmark.pedantic(text, setup=forget, rounds=20 if n < 1000 else 5) == 6


@pytest.mark.parametrize("n", [500, 100_000])
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("quantity", [FORWARD, "grad.logits"])
def test_truth_warm(benchmark: Any, n: int, reduction: str, quantity: str) -> None:
    """Arguments met before, the reduction not."""
    call = weighted(n, "float32", reduction)
    truth(call, quantity, "float32")

    def text() -> int:
        return truth(call, quantity, "float32").high.size

    assert benchmark.pedantic(text, setup=lambda: forget(truths_only=True), rounds=200) >= 1


@pytest.mark.parametrize("n", [500, 100_000])
def test_errors(benchmark: Any, n: int) -> None:
    call = weighted(n, "float32", "none")
    expected = truth(call, FORWARD, "float32")
    result = Array.rounded("float32", expected.high)
    assert not benchmark(errors, result, expected).other_kind.any()
