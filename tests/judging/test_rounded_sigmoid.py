"""`logs_of_sigmoid` excuses what comes of a rounded sigmoid, and no other wrong gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bce_conformance.judging.rules import judge
from bce_conformance.known import Behaviour
from bce_conformance.known.behaviour import NothingSaid
from bce_conformance.model.call import Array, Call, Outcome
from bce_conformance.model.expectation import AgreesWithReference, Case, Expectation, Source

Floats = NDArray[np.floating]
Wrong = Callable[[Floats, Floats, Floats], Floats]
QUANTITY = "grad.target"
BEHAVIOUR = Behaviour(logs_of_sigmoid=True)


def by_rounded_sigmoid(x: Floats, w: Floats, p: Floats, overflowing: bool = False) -> Floats:
    """As oneflow 0.9.0 does it, in the dtype of the arguments."""
    with np.errstate(all="ignore"):
        decay = np.exp(-abs(x))
        sigmoid = np.where(x >= 0, 1, decay) / (1 + decay)
        if overflowing:
            sigmoid = 1 / (1 + np.exp(-x))
        return np.asarray((np.log(1 - sigmoid) - p * np.log(sigmoid)) * w)


def logits(dtype: str, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    steep = rng.uniform(-800, 800, 400) if dtype == "float64" else rng.uniform(-120, 120, 400)
    everyday = rng.uniform(-18, 18, 400)
    return np.concatenate([steep, everyday, [0.0, -0.0, 1e30, -1e30, 1e-30]]).astype(dtype)


def weights(dtype: str, n: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    usual = np.exp2(rng.uniform(-4, 4, n))
    return np.where(rng.integers(4, size=n) == 0, rng.choice([0, -1.5, 1e3], n), usual).astype(
        dtype
    )


def verdict(
    result: Floats, x: Floats, w: Floats, p: Floats, behaviour: Behaviour | None = BEHAVIOUR,
    reduction: str = "none", upstream: float | None = None,
) -> str:  # fmt: skip
    dtype = x.dtype.name
    given = {"weight": Array.rounded(dtype, w), "pos_weight": Array.rounded(dtype, p)}
    arriving = None if upstream is None else Array.rounded(dtype, np.full(x.shape, upstream))
    call = Call("s", Array.rounded(dtype, x), Array.rounded(dtype, np.zeros(x.shape)), **given,
                upstream=arriving, options={"reduction": reduction}, want=(QUANTITY,))  # fmt: skip
    source = Source("a document", "a sentence")
    tested = Case("s/property/a", "property", call, Expectation(AgreesWithReference(call)), source)
    if behaviour is not None:
        tested = Case(tested.id, "property", call, behaviour.expectation(tested, QUANTITY), source)
    answer = Outcome({QUANTITY: Array.rounded(dtype, result)})
    return judge(tested, QUANTITY, answer, None, "stable").verdict


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("overflowing", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_a_rounded_sigmoid_is_excused(dtype: str, overflowing: bool, seed: int) -> None:
    x = logits(dtype, seed)
    w, p = weights(dtype, x.size, seed + 1000), weights(dtype, x.size, seed + 2000)
    got = by_rounded_sigmoid(x, w, p, overflowing)
    assert np.isinf(got).any() and np.isnan(got).any()
    assert verdict(got, x, w, p, None) == "deviates"
    assert verdict(got, x, w, p) == "conforms"


@pytest.mark.parametrize("reduction, upstream", [("none", 3.0), ("mean", None), ("sum", None)])
def test_what_arrives_multiplies_what_is_excused(reduction: str, upstream: float | None) -> None:
    x = logits("float64", 1)
    w, p = weights("float64", x.size, 2), weights("float64", x.size, 3)
    arriving = (upstream or 1.0) / (x.size if reduction == "mean" else 1)
    got = by_rounded_sigmoid(x, w, p)
    assert verdict(got * arriving, x, w, p, BEHAVIOUR, reduction, upstream) == "conforms"
    if arriving != 1:
        assert verdict(got, x, w, p, BEHAVIOUR, reduction, upstream) == "deviates"


WRONG: dict[str, Wrong] = {
    "weight ignored": lambda x, w, p: by_rounded_sigmoid(x, np.ones_like(w), p),
    "pos_weight ignored": lambda x, w, p: by_rounded_sigmoid(x, w, np.ones_like(p)),
    "sign": lambda x, w, p: -by_rounded_sigmoid(x, w, p),
    "σ swapped": lambda x, w, p: by_rounded_sigmoid(-x, w, p),
    "a coarse sigmoid": lambda x, w, p: by_rounded_sigmoid(x, w, p) * x.dtype.type(1 + 1e-4),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WRONG)
def test_another_wrong_formula_does_not_hide_behind_it(dtype: str, name: str) -> None:
    x = np.array([0.5, -1.0, 3.0, -4.0], dtype)
    w, p = np.array([2, 0.5, 3, 0.25], dtype), np.array([3, 2, 0.5, 4], dtype)
    assert verdict(by_rounded_sigmoid(x, w, p), x, w, p) == "conforms"
    assert verdict(WRONG[name](x, w, p), x, w, p) == "deviates"


@pytest.mark.parametrize(
    ("dtype", "x", "got"),
    [
        ("float32", 12.0, -np.inf),  # σ(12) is no 1
        ("float32", 40.0, np.inf),  # log 0 is −∞
        ("float32", 40.0, np.nan),  # nothing here is 0·∞
        ("float32", 40.0, -20.0),  # 1 − σ is 0 or at least 2^-24, of logarithm −16.6
        ("float32", -80.0, np.inf),  # σ(−80) is no 0
        ("float32", -120.0, -np.inf),
        ("float64", 20.0, -np.inf),
        ("float64", 20.0, -20.1),
    ],
)
def test_only_what_the_rounding_can_give(dtype: str, x: float, got: float) -> None:
    one, logit = np.ones(1, dtype), np.array([x], dtype)
    assert verdict(np.array([got]), logit, one, one) == "deviates"


def test_it_is_said_of_the_gradient_of_the_target_alone() -> None:
    one = Array.rounded("float32", np.ones(1))
    tested = Expectation(AgreesWithReference(Call("s", one, one)))
    case = Case("s/property/a", "property", Call("s", one, one), tested, Source("a", "b"))
    with pytest.raises(NothingSaid, match=QUANTITY):
        BEHAVIOUR.expectation(case, "forward")
