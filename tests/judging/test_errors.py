"""The tolerances: correct losses pass in every dtype, and wrong ones do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bce_conformance.judging import tolerance
from bce_conformance.judging.errors import Kept, truth
from bce_conformance.judging.rules import compare
from bce_conformance.judging.tolerance import GRADES
from bce_conformance.model.call import ARGUMENTS, FORWARD, QUANTITIES, Array, Call
from bce_conformance.model.dtypes import FLOATS
from bce_conformance.reference import evaluate

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
    expected = truth(call, FORWARD, dtype)
    terms = np.log1p(np.exp(x.values)).astype(dtype)
    good = Array.rounded(dtype, np.asarray(terms.sum(), dtype=np.float64))
    poor = Array.rounded(dtype, np.asarray(np.cumsum(terms)[-1], dtype=np.float64))
    assert compare(good, expected, "stable").verdict == "conforms"
    assert float(np.abs(poor.values - expected.high)) > 0
    narrow = np.float64(np.cumsum(terms.astype(np.float16))[-1])
    assert (
        compare(Array.rounded(dtype, np.asarray(narrow)), expected, "stable").verdict == "deviates"
    )


def test_no_meaning_is_an_error() -> None:
    x = Array.rounded("float32", np.ones(3))
    with pytest.raises(ValueError):
        truth(Call("s", x, x, options={"reduction": "avg"}), FORWARD, "float32")
    with pytest.raises(ValueError):
        truth(Call("s", x, x, Array.rounded("float32", np.ones(2))), FORWARD, "float32")


def situation(dtype: str, size: int = 300, seed: int = 0) -> dict[str, Array]:
    """Arguments whose logits, targets and weights are small enough not to overflow anything."""
    random = np.random.default_rng(seed)
    columns = (random.normal(0, 4, size), random.random(size), random.choice([0.25, 1, 2], size))
    x, y, w = (Array.rounded(dtype, column) for column in columns)
    return {"logits": x, "target": y, "weight": w, "pos_weight": Array.rounded(dtype, 3 * w.values)}


def example(arrays: dict[str, Array], reduction: str, upstream: Array | None = None) -> Call:
    options = {"reduction": reduction}
    return Call("s", options=options, upstream=upstream, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_the_truth_is_the_reference_whatever_was_asked_before(
    dtype: str, reduction: str, quantity: str
) -> None:
    """Terms kept from one call serve the next: no reduction or upstream leaks into another."""
    arrays = situation(dtype)
    x, y, w, p = (arrays[name].values for name in ARGUMENTS)
    for seed in range(2):
        up = None
        if quantity != FORWARD:
            shape = x.shape if reduction == "none" else ()
            up = Array.rounded(dtype, np.random.default_rng(seed).normal(0, 2, shape))
        expected = truth(example(arrays, reduction, up), quantity, dtype)
        exact = evaluate(quantity, x, y, w, p, reduction=reduction, tier="doubled",  # type: ignore[arg-type]
                         upstream=None if up is None else up.values)  # fmt: skip
        off = np.abs((expected.high - exact.high) + (expected.low - exact.low))
        assert (off <= expected.uncertainty + exact.uncertainty).all()
        assert (expected.uncertainty <= FLOATS[dtype].ulp(expected.high) / 16).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_cycled_array_has_the_truth_of_the_whole(
    dtype: str, quantity: str, reduction: str, shared: bool
) -> None:
    arrays = situation(dtype, 50)
    if shared:
        arrays["weight"] = Array.rounded(dtype, np.array([1.5]))
        arrays["pos_weight"] = Array.rounded(dtype, np.asarray(2.5))
    n = 50 * 37
    cycled = {
        name: a if a.size == 1 else Array(dtype, (n,), a.data, "cycled")
        for name, a in arrays.items()
    }
    whole = {
        name: a if a.size == 1 else Array.rounded(dtype, np.resize(a.values, n))
        for name, a in arrays.items()
    }
    found, expected = (truth(example(a, reduction), quantity, dtype) for a in (cycled, whole))
    assert found.high.shape == expected.high.shape
    off = np.abs((found.high - expected.high) + (found.low - expected.low))
    assert (off <= found.uncertainty + expected.uncertainty).all()
    for grade in GRADES:
        np.testing.assert_allclose(found.tolerance[grade], expected.tolerance[grade], rtol=1e-9)
        np.testing.assert_allclose(found.scale[grade], expected.scale[grade], rtol=1e-9)


def test_a_cycled_sum_evaluates_its_period_alone() -> None:
    """2^40 elements: nothing of that size can have been made."""
    one = Array("float64", (1 << 40,), np.array([0.5, -1.0]).tobytes(), "cycled")
    zero = Array("float64", (1 << 40,), np.zeros(2).tobytes(), "cycled")
    expected = truth(Call("s", one, zero, options={"reduction": "sum"}), FORWARD, "float64")
    pair = evaluate(FORWARD, [0.5, -1.0], [0.0, 0.0], reduction="sum", tier="doubled")
    assert float(expected.high) == float(pair.high) * 2.0**39
    assert float(expected.uncertainty) < 1e-25 * float(expected.high)


def test_k_of_an_error_is_the_k_that_would_just_do() -> None:
    call = example(situation("float32"), "none")
    expected = truth(call, "grad.logits", "float32")
    for grade in GRADES:
        assert expected.k_of(expected.rest, grade) == 0
        assert expected.k_of(3 * expected.scale[grade] + expected.rest, grade) == pytest.approx(
            3, rel=1e-9
        )
        k = expected.k_of(expected.tolerance[grade], grade)
        assert k == pytest.approx(tolerance.k("grad.logits", "float32"), rel=1e-9)


def test_a_truth_that_is_kept_cannot_be_changed() -> None:
    expected = truth(example(situation("float32"), "none"), FORWARD, "float32")
    for array in (expected.high, expected.uncertainty, expected.rest, *expected.tolerance.values()):
        with pytest.raises(ValueError):
            array[0] = 0


def test_what_is_kept_is_bounded() -> None:
    kept: Kept[int] = Kept(100)
    made: list[int] = []

    def make(i: int) -> int:
        made.append(i)
        return i

    for i in (1, 2, 3, 1, 4, 1, 2):
        assert kept.get(i, lambda i=i: make(i), 30) == i  # type: ignore[misc]
    assert made == [1, 2, 3, 4, 2]
    kept.get(9, lambda: make(9), 101)
    kept.get(9, lambda: make(9), 101)
    assert made[-2:] == [9, 9] and len(kept) == 3


MULTIPLIED: list[Callable[..., np.ndarray]] = [  # type: ignore[type-arg]
    lambda a, w, y, p, f: a * w * y * p * f,
    lambda a, w, y, p, f: (w * (p * y * f)) * a,
    lambda a, w, y, p, f: a * f * y * p * w,
    lambda a, w, y, p, f: w * y * f * p * a,
    lambda a, w, y, p, f: a * y * f * w * p,
]


@pytest.mark.parametrize("order", range(len(MULTIPLIED)))
@pytest.mark.parametrize("n", [1, 1 << 14, 1 << 17])
def test_underflow_on_the_way_is_allowed_for_in_any_order(order: int, n: int) -> None:
    """A float16 gradient of a mean over 2000·n elements, of which 1/n alone may be subnormal."""
    random = np.random.default_rng(order)
    f16, size = np.float16, 2000
    w, p = (2.0 ** random.uniform(-6, 6, size) for _ in range(2))
    y = random.random(size) * 2.0 ** random.uniform(-10, 0, size)
    x = random.normal(0, 3, size)
    arrays = [Array.rounded("float16", a) for a in (x, y, w, p)]
    x, y, w, p = (np.array(a.bits) for a in arrays)
    factor = (1 / (1 + np.exp(x.astype(np.float64)))).astype(f16)
    rising = (1 / (1 + np.exp(-x.astype(np.float64)))).astype(f16)
    arriving = np.full(size, 1 / (size * n)).astype(f16)
    positive = MULTIPLIED[order](arriving, w, y, p, factor)
    negative = MULTIPLIED[order](arriving, w, f16(1) - y, f16(1), rising)
    got = Array.rounded("float16", (negative - positive).astype(np.float64))
    call = example(dict(zip(ARGUMENTS, arrays, strict=True)), "none",
                 Array.rounded("float64", np.full(size, 1 / (size * n))))  # fmt: skip
    assert compare(got, truth(call, "grad.logits", "float16"), "stable").verdict == "conforms"


def test_an_upstream_gradient_may_overflow_on_the_way() -> None:
    """30000 · 10 overflows float16; times sigmoid(−8) it is 100."""
    x, y, w, g = (Array.rounded("float16", np.array([v])) for v in (-8.0, 0.0, 10.0, 30000.0))
    call = Call("s", x, y, w, options={"reduction": "none"}, upstream=g)
    assert truth(call, "grad.logits", "float16").may_overflow.all()
    plain = Call("s", x, y, w, options={"reduction": "none"})
    assert not truth(plain, "grad.logits", "float16").may_overflow.any()


def test_the_tolerance_overflows_no_earlier_than_itself() -> None:
    """S = 2e308·2 is no float64, u·S is: an error of half the value is still seen."""
    x, y, w = (Array.rounded("float64", np.array([v])) for v in (1e308, 0.0, 1.5))
    expected = truth(Call("s", x, y, w, options={"reduction": "none"}), FORWARD, "float64")
    assert np.isfinite(expected.tolerance["stable"]).all()
    wrong = Array.rounded("float64", np.array([0.75e308]))
    assert compare(wrong, expected, "stable").verdict == "deviates"
