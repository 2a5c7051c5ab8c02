"""Shapes, reductions, special values and errors of `evaluate`."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from bce_conformance.reference import (
    QUANTITIES,
    Tier,
    Value,
    evaluate,
    sigmoid,
    softplus,
)

INF, NAN = math.inf, math.nan
TIERS: tuple[Tier, ...] = ("plain", "doubled", "auto")
RANDOM = np.random.default_rng(7)


def one(quantity: str, x: float, y: float, w: float, p: float, tier: Tier = "auto") -> Value:
    return evaluate(quantity, x, y, w, p, tier=tier)


# (quantity, logits, target, weight, pos_weight) -> the limit
LIMITS = [
    ("forward", INF, 1.0, 1.0, 1.0, 0.0),
    ("forward", INF, 0.0, 1.0, 1.0, INF),
    ("forward", INF, 0.5, -1.0, 1.0, -INF),
    ("forward", INF, 2.0, 1.0, 1.0, -INF),
    ("forward", -INF, 0.0, 1.0, 1.0, 0.0),
    ("forward", -INF, 1.0, 1.0, 1.0, INF),
    ("forward", -INF, 1.0, 1.0, 0.0, 0.0),
    ("forward", -INF, 1.0, 0.0, 1.0, 0.0),
    ("forward", INF, 0.0, 0.0, 1.0, 0.0),
    ("forward", 800.0, 1.0, INF, 1.0, INF),  # the loss underflows, but is not 0
    ("forward", 5.0, 1.0, 1.0, INF, INF),
    ("forward", INF, 1.0, 1.0, INF, 0.0),
    ("grad.logits", INF, 0.25, 2.0, 1.0, 1.5),
    ("grad.logits", -INF, 0.25, 2.0, 3.0, -1.5),
    ("grad.logits", INF, 1.0, 2.0, 1.0, 0.0),
    ("grad.logits", -INF, 0.0, 2.0, 1.0, 0.0),
    ("grad.logits", INF, 0.25, 2.0, INF, 1.5),
    ("grad.logits", 0.0, 0.25, INF, 1.0, INF),
    ("grad.logits", 0.0, 0.75, INF, 1.0, -INF),
    ("grad.logits", 0.0, 0.5, 1.0, 1.0, 0.0),
    ("forward", 0.0, 2.0, 3.0, 0.5, 0.0),  # log(2) * (1 - 2 + 2/2), exactly 0
    ("grad.target", INF, 0.5, 1.0, 1.0, -INF),
    ("grad.target", -INF, 0.5, 1.0, 1.0, INF),
    ("grad.target", -INF, 0.5, 1.0, 0.0, 0.0),
    ("grad.target", INF, 0.5, 0.0, 1.0, 0.0),
    ("grad.weight", INF, 1.0, 3.0, 1.0, 0.0),
    ("grad.weight", INF, 0.0, 3.0, 1.0, INF),
    ("grad.pos_weight", -INF, 0.0, 1.0, 1.0, 0.0),
    ("grad.pos_weight", -INF, 0.5, -1.0, 1.0, -INF),
    ("grad.pos_weight", INF, 0.5, 1.0, 1.0, 0.0),
    ("hessian.logits", INF, 0.5, 1.0, 1.0, 0.0),
    ("hessian.logits", -INF, 0.5, 1.0, 1.0, 0.0),
    ("hessian.logits", INF, 0.5, INF, 1.0, 0.0),
    ("hessian.logits", 0.0, 0.0, 1.0, INF, 0.25),
]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(("quantity", "x", "y", "w", "p", "limit"), LIMITS)
def test_limits(
    quantity: str, x: float, y: float, w: float, p: float, limit: float, tier: Tier
) -> None:
    value = one(quantity, x, y, w, p, tier)
    assert float(value.high + value.low) == pytest.approx(limit, rel=1e-15, abs=0)
    if math.isinf(limit):
        assert float(value.uncertainty) == 0
    if limit == 0:
        # log(2) * 0 is an exact 0 for the decimal tier alone
        doubled = 2.0**-96 if (quantity, x) == ("forward", 0.0) else 0.0
        largest = {"plain": 2.0**-46, "doubled": doubled, "auto": 0.0}
        assert float(value.uncertainty) <= largest[tier]


def test_infinite_pos_weight_under_target_0_leaves_the_other_term() -> None:
    with_infinity = one("forward", 1.5, 0.0, 2.0, INF)
    assert with_infinity == one("forward", 1.5, 0.0, 2.0, 1.0)
    assert float(with_infinity.high) == pytest.approx(2 * math.log1p(math.exp(1.5)))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("position", range(4))
def test_nan_in_gives_nan_out_where_the_formula_has_the_argument(
    quantity: str, position: int, tier: Tier
) -> None:
    arguments: list[Any] = [0.0, 0.0, 0.0, 0.0]  # 0 * NaN is NaN
    arguments[position] = NAN
    absent = {"grad.target": 1, "grad.weight": 2, "grad.pos_weight": 3}.get(quantity)
    value = evaluate(quantity, *arguments, tier=tier)
    assert math.isnan(float(value.high)) == (position != absent)
    if position != absent:
        assert float(value.uncertainty) == 0


def test_infinity_minus_infinity_is_nan() -> None:
    assert math.isnan(float(one("forward", 0.0, INF, 1.0, 1.0).high))


def test_specials_leave_their_neighbours_alone() -> None:
    x, y = np.array([1.0, INF, NAN, -2.0]), np.array([0.5, 1.0, 0.0, 1.0])
    value = evaluate("forward", x, y)
    alone = evaluate("forward", x[[0, 3]], y[[0, 3]])
    np.testing.assert_array_equal(value.high[[0, 3]], alone.high)
    np.testing.assert_array_equal(np.isnan(value.high), [False, False, True, False])
    assert value.high[1] == 0
    total = evaluate("forward", x, y, reduction="sum")
    assert math.isnan(float(total.high))
    assert float(evaluate("forward", [-INF, 1.0], [1.0, 1.0], reduction="mean").high) == INF


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_overflow_is_decided_by_doubled_and_auto(quantity: str) -> None:
    x, y, w, p = -1e300, 0.5, -1e300, 1e300
    for tier in ("doubled", "auto"):
        value = one(quantity, x, y, w, p, tier)
        if quantity == "hessian.logits":
            assert float(value.high) == 0
        elif quantity == "grad.logits":
            assert (float(value.high), float(value.uncertainty)) == (INF, 0.0)
        else:
            assert math.isinf(float(value.high))
            assert float(value.uncertainty) == 0
    assert not np.isnan(one(quantity, x, y, w, p, "plain").high)


def test_large_intermediates_cancel_out_in_every_tier_but_plain() -> None:
    # p*y overflows float64; the weight brings the loss back
    for tier in ("doubled", "auto"):
        value = one("forward", 0.0, 16.0, 2.0**-1000, 2.0**1021, tier)
        assert float(value.high) == pytest.approx(2.0**25 * math.log(2))
    assert float(one("forward", 0.0, 16.0, 2.0**-1000, 2.0**1021, "plain").uncertainty) == INF


# reductions and shapes


def arrays(shape: tuple[int, ...]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return RANDOM.normal(0, 3, shape), RANDOM.random(shape)


@pytest.mark.parametrize("tier", TIERS)
def test_sum_and_mean_of_the_loss(tier: Tier) -> None:
    x, y = arrays((7, 13))
    elements = evaluate("forward", x, y, tier=tier)
    total = evaluate("forward", x, y, reduction="sum", tier=tier)
    mean = evaluate("forward", x, y, reduction="mean", tier=tier)
    assert total.high.shape == mean.high.shape == ()
    exact = math.fsum([*elements.high.flat, *elements.low.flat])
    assert abs(float(total.high) - exact) <= float(total.uncertainty) + math.ulp(exact)
    assert float(mean.high) == pytest.approx(exact / 91, rel=1e-15)


def test_a_mean_does_not_overflow_where_its_sum_does() -> None:
    value = evaluate("forward", np.full(4, 1.5e308), np.zeros(4), reduction="mean")
    assert float(value.high) == 1.5e308
    assert float(evaluate("forward", np.full(4, 1.5e308), np.zeros(4), reduction="sum").high) == INF


SHAPES: list[tuple[int, ...]] = [(), (1,), (4,), (3, 1), (1, 4), (3, 4), (2, 3, 4), (2, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("quantity", ["grad.weight", "grad.pos_weight"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gradients_of_broadcast_arguments_are_sums(
    quantity: str, shape: tuple[int, ...], reduction: Any
) -> None:
    x, y = arrays((2, 3, 4))
    argument = RANDOM.random(shape) + 0.5
    upstream = RANDOM.normal(size=x.shape) if reduction == "none" else np.array(1.75)
    named: dict[str, Any] = {"weight" if quantity == "grad.weight" else "pos_weight": argument}
    value = evaluate(quantity, x, y, reduction=reduction, upstream=upstream, **named)
    full: dict[str, Any] = {name: np.broadcast_to(array, x.shape) for name, array in named.items()}
    spread = evaluate(quantity, x, y, reduction=reduction, upstream=upstream, **full)
    padded = (1,) * (3 - len(shape)) + shape
    axes = tuple(i for i in range(3) if padded[i] == 1)
    expected = (spread.high + spread.low).sum(axis=axes, keepdims=True).reshape(shape)
    assert value.high.shape == value.low.shape == value.uncertainty.shape == shape
    np.testing.assert_allclose(value.high, expected, rtol=1e-13, atol=1e-14)


def test_upstream_and_mean_scale_gradients() -> None:
    x, y = arrays((5,))
    plain = evaluate("grad.logits", x, y).high
    mean = evaluate("grad.logits", x, y, reduction="mean", upstream=3.0).high
    np.testing.assert_allclose(mean, plain * 3 / 5, rtol=1e-15)
    hessian = evaluate("hessian.logits", x, y).high
    scaled = evaluate("hessian.logits", x, y, reduction="mean", upstream=3.0).high
    np.testing.assert_allclose(scaled, hessian * 3 / 5, rtol=1e-15)


def test_missing_weights_are_ones() -> None:
    x, y = arrays((6,))
    for quantity in ("forward", "grad.logits", "grad.target", "hessian.logits"):
        ones = evaluate(quantity, x, y, np.ones(6), np.ones(6))
        np.testing.assert_array_equal(evaluate(quantity, x, y).high, ones.high)


@pytest.mark.parametrize("tier", TIERS)
def test_nothing(tier: Tier) -> None:
    empty = np.empty((0, 3))
    assert evaluate("forward", empty, empty, tier=tier).high.shape == (0, 3)
    assert float(evaluate("forward", empty, empty, reduction="sum", tier=tier).high) == 0
    assert math.isnan(float(evaluate("forward", empty, empty, reduction="mean", tier=tier).high))
    for reduction in ("none", "sum", "mean"):
        logits = evaluate("grad.logits", empty, empty, reduction=reduction, tier=tier)
        assert logits.high.shape == (0, 3)
        weight = evaluate("grad.weight", empty, empty, np.ones(3), reduction=reduction, tier=tier)
        np.testing.assert_array_equal(weight.high, np.zeros(3))
        np.testing.assert_array_equal(weight.uncertainty, np.zeros(3))


def test_elements_do_not_depend_on_how_many_there_are() -> None:
    # more than a chunk in every tier
    x, y = arrays((40_000,))
    for tier in TIERS:
        whole = evaluate("grad.logits", x, y, 0.5, 2.0, tier=tier)
        part = evaluate("grad.logits", x[33_000:33_010], y[33_000:33_010], 0.5, 2.0, tier=tier)
        difference = (whole.high[33_000:33_010] - part.high) + (whole.low[33_000:33_010] - part.low)
        assert (np.abs(difference) <= 2 * part.uncertainty).all()


def test_inputs_are_left_as_they_were() -> None:
    x, y = np.array([1.0, INF, NAN]), np.array([0.0, 0.5, 1.0])
    w, p = np.array([1.0, 0.0, INF]), np.array([INF, 1.0, 2.0])
    before = [array.copy() for array in (x, y, w, p)]
    for array in (x, y, w, p):
        array.setflags(write=False)
    for quantity in QUANTITIES:
        evaluate(quantity, x, y, w, p)
    for array, kept in zip((x, y, w, p), before, strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("loss", [1.0], [1.0]), "unknown quantity 'loss'"),
        (("forward", [1.0], [[1.0]]), "target has shape"),
        (("forward", [1.0], [1.0], [1.0, 2.0]), "weight of shape"),
        (("forward", [1.0], [1.0], None, [1.0, 2.0]), "pos_weight of shape"),
        (("forward", [1.0, 2.0], [1.0, 2.0], [[1.0, 2.0]]), "weight of shape"),
        (("forward", [1.0, 2.0], [1.0, 2.0], [1.0, 2.0, 3.0]), "weight of shape"),
        (("grad.weight", [1.0], [1.0]), "absent"),
        (("grad.pos_weight", [1.0], [1.0]), "absent"),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        evaluate(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": "avg"}, "unknown reduction 'avg'"),
        ({"tier": "exact"}, "unknown tier 'exact'"),
        ({"tier": "plain", "tolerable": 1.0}, "tolerable needs"),
        ({"upstream": [1.0, 2.0]}, "upstream has shape"),
        ({"upstream": [1.0], "reduction": "sum"}, "upstream has shape"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate("grad.logits", [1.0], [1.0], **options)


def test_forward_takes_no_upstream() -> None:
    with pytest.raises(ValueError, match="upstream"):
        evaluate("forward", [1.0], [1.0], upstream=[1.0])


def test_softplus_and_sigmoid_in_the_tails_without_warnings() -> None:
    z = np.array([-INF, -1e308, -745.0, 0.0, 745.0, 1e308, INF, NAN])
    with np.errstate(all="raise"):
        plus, s = softplus(z), sigmoid(z)
        for quantity in QUANTITIES:
            evaluate(quantity, z, np.full(8, 0.3), 1e308, 1e308)
    np.testing.assert_array_equal(plus[[0, 1, 5, 6]], [0.0, 0.0, 1e308, INF])
    np.testing.assert_array_equal(s[[0, 1, 3, 5, 6]], [0.0, 0.0, 0.5, 1.0, 1.0])
    assert plus[3] == math.log(2)
    assert math.isnan(plus[7])
    assert math.isnan(s[7])
    assert 0 < plus[2] < 1e-323
    assert s[2] == plus[2]


def test_numpy_is_all_it_needs() -> None:
    code = (
        "import sys; sys.modules['flint'] = None; import bce_conformance.reference as r;"
        "assert r.evaluate('forward', [0.0], [1.0]).high.shape == (1,)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
