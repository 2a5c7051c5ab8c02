"""The tolerances: correct losses pass in every dtype, and wrong ones do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bce_conformance.judge import compare
from bce_conformance.measure import truth
from bce_conformance.vocabulary import FORWARD, Array, Call

Loss = Callable[..., np.ndarray]  # type: ignore[type-arg]


def softplus(z: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def composite(x, y, w, p):  # type: ignore[no-untyped-def]
    return w * (p * y * softplus(-x) + (1 - y) * softplus(x))


def max_form(x, y, w, p):  # type: ignore[no-untyped-def]
    return w * ((1 - y) * x + (1 + (p - 1) * y) * softplus(-x))


def shifted(x, y, w, p):  # type: ignore[no-untyped-def]
    m = np.maximum(-x, 0)
    return w * ((1 - y) * x + (1 + (p - 1) * y) * (np.log(np.exp(-m) + np.exp(-x - m)) + m))


def logaddexp(x, y, w, p):  # type: ignore[no-untyped-def]
    return w * (p * y * np.logaddexp(np.zeros_like(x), -x) + (1 - y) * np.logaddexp(0 * x, x))


CORRECT = [composite, max_form, shifted, logaddexp]


def whole_loss_weighted(x, y, w, p):  # type: ignore[no-untyped-def]
    return w * (1 + (p - 1) * y) * (np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x))))


def log_term_alone(x, y, w, p):  # type: ignore[no-untyped-def]
    return w * (np.maximum(x, 0) - x * y + (1 + (p - 1) * y) * np.log1p(np.exp(-np.abs(x))))


def off_by_one(x, y, w, p):  # type: ignore[no-untyped-def]
    return w * ((1 - y) * x + (1 + p * y) * softplus(-x))


def epsilon(x, y, w, p):  # type: ignore[no-untyped-def]
    s = 1 / (1 + np.exp(-x))
    e = x.dtype.type(1e-4)
    return -w * (p * y * np.log(s + e) + (1 - y) * np.log(1 - s + e))


def weight_ignored(x, y, w, p):  # type: ignore[no-untyped-def]
    return composite(x, y, x.dtype.type(1), p)


def weight_twice(x, y, w, p):  # type: ignore[no-untyped-def]
    return w * composite(x, y, w, p)


def swapped(x, y, w, p):  # type: ignore[no-untyped-def]
    return composite(x, y, p, w)


def clamped(x, y, w, p):  # type: ignore[no-untyped-def]
    return composite(np.clip(x, -20, 20), y, w, p)


WRONG = [whole_loss_weighted, log_term_alone, off_by_one, epsilon, weight_ignored, weight_twice,
         swapped, clamped]  # fmt: skip


def drawn(seed: int, dtype: str, size: int = 400) -> dict[str, Array]:
    """Logits over every size that the dtype's exp distinguishes, soft and hard targets."""
    random = np.random.default_rng(seed)
    reach = {"float16": 30.0, "float32": 90.0, "float64": 700.0}[dtype]
    x = np.concatenate([random.normal(0, 3, size // 2), random.uniform(-reach, reach, size // 2)])
    y = random.choice([0, 1, 0.5, 0.1, 0.999], size) * 1.0
    w = random.choice([0.25, 1, 2, 3.5], size)
    p = random.choice([0.01, 1, 3, 100], size)
    named = zip(("logits", "target", "weight", "pos_weight"), (x, y, w, p), strict=True)
    return {name: Array.rounded(dtype, values) for name, values in named}


def judged(loss: Loss, dtype: str, reduction: str, seed: int = 0) -> str:
    arrays = drawn(seed, dtype)
    call = Call("s", options={"reduction": reduction}, **arrays)  # type: ignore[arg-type]
    bits = [np.array(a.bits) for a in arrays.values()]
    with np.errstate(all="ignore"):
        value = loss(*bits)
    accumulate = np.float64 if dtype == "float64" else np.float32
    reduced = {
        "none": value,
        "mean": value.mean(dtype=accumulate),
        "sum": value.sum(dtype=accumulate),
    }
    result = Array.rounded(dtype, np.asarray(reduced[reduction], dtype=np.float64))
    return compare(result, truth(call, FORWARD, dtype), "stable").verdict


@pytest.mark.parametrize("loss", CORRECT, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_differently_written_correct_losses_conform(loss: Loss, dtype: str, reduction: str) -> None:
    assert {judged(loss, dtype, reduction, seed) for seed in range(10)} == {"conforms"}


@pytest.mark.parametrize("loss", WRONG, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_wrong_losses_deviate(loss: Loss, dtype: str) -> None:
    assert judged(loss, dtype, "none") == "deviates"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sum_in_a_poor_accumulator_deviates(dtype: str) -> None:
    """Adding half a million terms up one by one in the dtype itself is seen."""
    n = 1 << 19
    x = Array.rounded(dtype, np.full(n, -0.123456789))
    call = Call("s", x, Array.rounded(dtype, np.zeros(n)), options={"reduction": "sum"})
    due = truth(call, FORWARD, dtype)
    terms = np.log1p(np.exp(x.values)).astype(dtype)
    good = Array.rounded(dtype, np.asarray(terms.sum(), dtype=np.float64))
    poor = Array.rounded(dtype, np.asarray(np.cumsum(terms)[-1], dtype=np.float64))
    assert compare(good, due, "stable").verdict == "conforms"
    assert float(np.abs(poor.values - due.high)) > 0
    narrow = np.float64(np.cumsum(terms.astype(np.float16))[-1])
    assert compare(Array.rounded(dtype, np.asarray(narrow)), due, "stable").verdict == "deviates"


def test_no_meaning_is_an_error() -> None:
    x = Array.rounded("float32", np.ones(3))
    with pytest.raises(ValueError):
        truth(Call("s", x, x, options={"reduction": "avg"}), FORWARD, "float32")
    with pytest.raises(ValueError):
        truth(Call("s", x, x, Array.rounded("float32", np.ones(2))), FORWARD, "float32")
