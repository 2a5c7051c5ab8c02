"""Every tier against ball arithmetic, and the same checks against planted faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bce_conformance.reference import QUANTITIES, Reduction, Tier, Value, evaluate
from bce_conformance.reference import certify as certification
from bce_conformance.reference.certify import CLASSES, REGIONS, Findings
from bce_conformance.reference.oracle import Point, exact, measure, nearest

SEED = 11
Fault = Callable[[str, list[Point], Tier], Value]


def points(quantity: str, region: str, count: int = 60) -> list[Point]:
    random = np.random.default_rng(SEED)
    drawn: list[Point] = []
    for target_class in CLASSES:
        drawn += certification.draw(quantity, region, target_class, count, random)
    return drawn


def bit_patterns(quantity: str, count: int, seed: int = SEED) -> list[Point]:
    """Finite arguments of every exponent and both signs, a fifth of them 0, 1 or subnormal."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2**64, (count, 5), dtype=np.uint64)
    table = bits.view(np.float64)
    special = random.choice([0.0, -0.0, 1.0, 5e-324, 2.0**-1022 - 2.0**-1074], table.shape)
    table = np.where(random.random(table.shape) < 0.2, special, table)
    table = np.where(np.isfinite(table), table, 0.5)
    # logits whose exponent lets the functions matter
    table[::2, 0] = random.normal(0, 100, table[::2, 0].shape)
    if quantity == "forward":
        table[:, 4] = 1.0
    return [Point(*row) for row in table.tolist()]


def breaches(quantity: str, region: str, fault: Fault = certification.evaluate_points) -> list[str]:
    findings = Findings()
    certification.certify_points(quantity, region, points(quantity, region), findings, fault)
    return findings.broken


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_uncertainties_hold_and_promises_are_kept(quantity: str, region: str) -> None:
    assert breaches(quantity, region) == []


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_uncertainties_hold_for_uniform_bit_patterns(quantity: str) -> None:
    findings = Findings()
    certification.certify_points(quantity, "extreme", bit_patterns(quantity, 300), findings)
    assert findings.broken == []


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_reductions_are_within_their_uncertainty(quantity: str) -> None:
    findings = Findings()
    random = np.random.default_rng(SEED)
    certification.certify_reductions(quantity, 12, random, findings)
    assert findings.broken == []


def textbook(quantity: str, points: list[Point], tier: Tier) -> Value:
    """max(x, 0) - x*y + log1p(exp(-|x|)), with the uncertainty of the real thing."""
    right = certification.evaluate_points(quantity, points, tier)
    x, y = (np.array([getattr(q, name) for q in points]) for name in ("logits", "target"))
    wrong = np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))
    return replace(right, high=wrong, low=np.zeros_like(wrong))


def overconfident(quantity: str, points: list[Point], tier: Tier) -> Value:
    value = certification.evaluate_points(quantity, points, tier)
    return replace(value, uncertainty=value.uncertainty / 100)


def sigmoids_swapped(quantity: str, points: list[Point], tier: Tier) -> Value:
    mirrored = [replace(q, logits=-q.logits) for q in points]
    return certification.evaluate_points(quantity, mirrored, tier)


def low_half_dropped(quantity: str, points: list[Point], tier: Tier) -> Value:
    value = certification.evaluate_points(quantity, points, tier)
    return replace(value, low=np.zeros_like(value.low))


def four_ulps_off_and_honest(quantity: str, points: list[Point], tier: Tier) -> Value:
    """Keeps the uncertainty true, so that only the promise of 3 ulps can catch it."""
    value = certification.evaluate_points(quantity, points, tier)
    step = 4 * np.spacing(np.abs(value.high))
    return Value(value.high + step, value.low, value.uncertainty + 2 * step)


@pytest.mark.parametrize(
    ("fault", "quantity", "region"),
    [
        (overconfident, "forward", "moderate"),
        (overconfident, "grad.logits", "moderate"),
        (overconfident, "grad.target", "moderate"),
        (overconfident, "grad.weight", "moderate"),
        (overconfident, "grad.pos_weight", "moderate"),
        (overconfident, "hessian.logits", "moderate"),
        (sigmoids_swapped, "grad.logits", "moderate"),
        (low_half_dropped, "forward", "moderate"),
        (low_half_dropped, "grad.logits", "cancelling"),
        (four_ulps_off_and_honest, "forward", "right tail"),
        (four_ulps_off_and_honest, "hessian.logits", "near 0"),
    ],
)
def test_a_planted_fault_is_caught(fault: Fault, quantity: str, region: str) -> None:
    assert breaches(quantity, region, fault)


def test_the_textbook_loss_is_caught_where_it_cancels() -> None:
    # weight and pos_weight 1, y beside sigmoid(x) for a large x: exact formula, lost digits
    drawn = [Point(x, 1.0) for x in np.linspace(1.0, 30.0, 40)]
    findings = Findings()
    certification.certify_points("forward", "moderate", drawn, findings, textbook)
    assert len(findings.broken) > 40
    clean = Findings()
    certification.certify_points("forward", "moderate", drawn, clean)
    assert clean.broken == []


def test_a_mean_without_its_division_is_caught() -> None:
    def undivided(quantity: str, points: list[Point], reduction: Reduction, tier: Tier) -> Value:
        return certification.evaluate_reduced(quantity, points, "sum", tier)

    for quantity in QUANTITIES:
        findings = Findings()
        random = np.random.default_rng(SEED)
        certification.certify_reductions(quantity, 4, random, findings, undivided)
        assert findings.broken, quantity


def test_plain_gradients_of_soft_targets_lose_digits_and_auto_repairs_them() -> None:
    x = 2.0
    y = nearest(exact("grad.logits", Point(x, 0.0)))  # sigmoid(x), rounded
    ball = exact("grad.logits", Point(x, y))
    errors = {}
    for tier in ("plain", "auto", "doubled"):
        value = evaluate("grad.logits", [x], [y], tier=tier)
        measured = measure(
            float(value.high[0]), float(value.low[0]), float(value.uncertainty[0]), ball
        )
        assert measured.ratio <= 1
        errors[tier] = measured.ulps
    assert errors["plain"] > 1e10
    assert errors["auto"] <= 3


def test_tolerable_buys_precision_and_sells_it() -> None:
    x, y = np.array([0.5, -3.0, 12.0]), np.array([0.3, 0.9, 0.0])
    plain = evaluate("grad.logits", x, y, tier="plain")
    loose = evaluate("grad.logits", x, y, tolerable=1.0)
    np.testing.assert_array_equal(loose.high, plain.high)
    np.testing.assert_array_equal(loose.uncertainty, plain.uncertainty)
    tight = evaluate("grad.logits", x, y, tolerable=1e-25)
    assert (tight.uncertainty <= 1e-25).all()
    only_first = evaluate("grad.logits", x, y, tolerable=np.array([1e-25, 1.0, 1.0]))
    assert only_first.uncertainty[0] <= 1e-25
    np.testing.assert_array_equal(only_first.uncertainty[1:], plain.uncertainty[1:])


def test_the_script_writes_its_table_and_exits_by_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "ACCURACY.md"
    arguments = ["--points", "54", "--seed", "5", "--output", str(table)]
    assert certification.main(arguments) == 0
    assert "seed 5" in table.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["ACCURACY.md"]

    monkeypatch.setattr(certification, "AUTO_PROMISE", 1e-9)
    assert certification.main(arguments) == 1
    assert "promised" in capsys.readouterr().err
    assert "## Broken" in table.read_text(encoding="utf-8")


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_the_oracle_agrees_with_a_second_precision_and_with_python(quantity: str) -> None:
    # crude but independent: math's exp and log at a benign point
    from math import exp, log

    x, y, w, p = 0.75, 0.25, 1.5, 2.0
    sp_plus, sp_minus, s = log(1 + exp(x)), log(1 + exp(-x)), 1 / (1 + exp(-x))
    expected = {
        "forward": w * (p * y * sp_minus + (1 - y) * sp_plus),
        "grad.logits": w * ((1 - y) * s - p * y * (1 - s)),
        "grad.target": w * (p * sp_minus - sp_plus),
        "grad.weight": p * y * sp_minus + (1 - y) * sp_plus,
        "grad.pos_weight": w * y * sp_minus,
        "hessian.logits": w * (1 - y + p * y) * s * (1 - s),
    }
    assert nearest(exact(quantity, Point(x, y, w, p))) == pytest.approx(
        expected[quantity], rel=1e-14
    )


@pytest.mark.parametrize(
    ("quantity", "wrt"),
    [
        ("grad.logits", "logits"),
        ("grad.target", "target"),
        ("grad.weight", "weight"),
        ("grad.pos_weight", "pos_weight"),
    ],
)
def test_gradients_are_the_loss_differentiated(quantity: str, wrt: str) -> None:
    step = 2.0**-40
    for point in points("forward", "moderate", 5):
        point = replace(point, upstream=1.0, target=0.375, weight=1.5, pos_weight=2.5)
        up, down = (
            evaluate("forward", q.logits, q.target, q.weight, q.pos_weight, tier="doubled")
            for q in (
                replace(point, **{wrt: getattr(point, wrt) + sign * step}) for sign in (1, -1)
            )
        )
        spread = getattr(point, wrt) + step - (getattr(point, wrt) - step)
        slope = ((up.high - down.high) + (up.low - down.low)) / spread
        gradient = evaluate(quantity, point.logits, point.target, point.weight, point.pos_weight)
        assert float(slope) == pytest.approx(float(gradient.high), rel=1e-9, abs=1e-13)
