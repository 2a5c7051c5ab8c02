"""Elements evaluated once and reduced many times: the same numbers, and as exact as asked for."""

from __future__ import annotations

import numpy as np
import pytest

from bce_conformance.reference import QUANTITIES, Arguments, Reduction, evaluate, sigmoid
from bce_conformance.reference.elements import COARSE_FLOOR
from bce_conformance.reference.oracle import Point, exact, measure

COARSE, FINE = 2.0**-30, 2.0**-59
REDUCTIONS: tuple[Reduction, ...] = ("none", "mean", "sum")


def drawn(size: int, seed: int = 0) -> list[np.ndarray]:  # type: ignore[type-arg]
    """float32 numbers: logits of every size, targets inside and outside [0, 1], some cancelling."""
    random = np.random.default_rng(seed)
    x = random.normal(0, 5, size) * 2.0 ** random.uniform(-30, 10, size)
    y = np.where(random.random(size) < 0.3, sigmoid(x), random.choice([0, 1, 0.5], size))
    y = np.where(random.random(size) < 0.1, random.uniform(-100, 100, size), y)
    w, p = (2.0 ** random.uniform(-20, 20, size) for _ in range(2))
    p = np.where(random.random(size) < 0.5, 1.0, p)
    return [column.astype(np.float32).astype(np.float64) for column in (x, y, w, p)]


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("relative", [COARSE, FINE])
def test_every_element_is_known_as_well_as_asked_for(quantity: str, relative: float) -> None:
    columns = drawn(300)
    value = Arguments.of(*columns).known_to(quantity, relative).value
    assert (value.uncertainty <= np.maximum(relative * np.abs(value.high), COARSE_FLOOR)).all()
    for i, row in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        found = (float(part[i]) for part in (value.high, value.low, value.uncertainty))
        measured = measure(*found, exact(quantity, Point(*row)))
        assert measured.ratio <= 1


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("relative", [COARSE, FINE])
def test_reductions_of_kept_elements_are_those_of_evaluate(
    quantity: str, reduction: Reduction, relative: float
) -> None:
    x, y, w, p = (column.reshape(4, 75) for column in drawn(300))
    w, p = w[:1, :1], p[0]
    elements = Arguments.of(x, y, w, p).known_to(quantity, relative)
    random = np.random.default_rng(1)
    shape = x.shape if reduction == "none" else ()
    for up in (None, random.normal(0, 9, shape), np.zeros(shape)):
        if up is not None and quantity == "forward":
            continue
        found = elements.reduced(reduction, up)
        expected = evaluate(
            quantity, x, y, w, p, reduction=reduction, upstream=up, tier="auto", tolerable=1e-25
        )
        assert found.high.shape == expected.high.shape
        off = np.abs((found.high - expected.high) + (found.low - expected.low))
        assert (off <= found.uncertainty + expected.uncertainty).all()


@pytest.mark.parametrize("relative", [COARSE, FINE])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_limits_and_nothing_are_the_same_at_every_demand(quantity: str, relative: float) -> None:
    inf, nan = np.inf, np.nan
    x = np.array([inf, -inf, 0.0, nan, 1.0, 2.0, inf])
    y = np.array([1.0, 1.0, 0.5, 0.0, nan, 1.0, 0.0])
    w = np.array([1.0, 0.0, inf, 1.0, 1.0, inf, 2.0])
    p = np.array([1.0, inf, 1.0, 1.0, 1.0, 2.0, inf])
    elements = Arguments.of(x, y, w, p).known_to(quantity, relative)
    for up in (None, np.zeros(7), np.array([inf] * 7), np.array([0, nan, inf, 1, 2, -inf, -1.0])):
        if up is not None and quantity == "forward":
            continue
        expected = evaluate(quantity, x, y, w, p, upstream=up)
        np.testing.assert_allclose(elements.reduced("none", up).high, expected.high, rtol=2.0**-29)
    nothing = Arguments.of(np.ones((0, 3)), np.ones((0, 3)), np.ones(3), np.ones(()))
    for reduction in REDUCTIONS:
        found = nothing.known_to(quantity, relative).reduced(reduction).high
        expected = evaluate(quantity, *(np.ones((0, 3)),) * 2, np.ones(3), np.ones(()),
                       reduction=reduction).high  # fmt: skip
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("relative", [COARSE, FINE])
def test_nothing_arriving_at_an_infinite_sum_is_nothing(relative: float) -> None:
    """Each element is 0 times infinity, a limit of 0, though the sum is infinity - infinity."""
    x, y = np.array([np.inf, -np.inf]), np.array([0.5, 0.5])
    elements = Arguments.of(x, y, np.asarray(1.0)).known_to("grad.weight", relative)
    assert float(elements.reduced("sum", 0.0).high) == 0
    signs = Arguments.of(x, 3 * y, np.asarray(1.0)).known_to("grad.weight", relative)
    assert np.isnan(float(signs.reduced("sum").high))
    assert float(signs.reduced("sum", 0.0).high) == 0


def test_repeated_arguments_have_one_axis_and_count_every_period() -> None:
    x, y = np.array([0.25, -2.0]), np.array([0.0, 1.0])
    once, often = (Arguments.of(x, y, repeated=n).known_to("forward", FINE) for n in (1, 1000))
    assert float(often.reduced("sum").high) == 1000 * float(once.reduced("sum").high)
    assert float(often.reduced("mean").high) == float(once.reduced("mean").high)
    with pytest.raises(ValueError, match="one axis"):
        Arguments.of(x.reshape(1, 2), y.reshape(1, 2), repeated=2)


def test_what_does_not_fit_is_refused() -> None:
    elements = Arguments.of([1.0], [0.0]).known_to("forward", COARSE)
    with pytest.raises(ValueError, match="unknown reduction"):
        elements.reduced("avg")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no meaning"):
        elements.reduced("sum", 1.0)
    gradient = Arguments.of([1.0], [0.0]).known_to("grad.logits", COARSE)
    with pytest.raises(ValueError, match="upstream has shape"):
        gradient.reduced("sum", [1.0])
    with pytest.raises(ValueError, match="absent"):
        Arguments.of([1.0], [0.0]).known_to("grad.weight", COARSE)
