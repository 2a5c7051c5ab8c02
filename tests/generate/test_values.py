"""What is generated: every exponent is met, nothing is out of range, and a seed says it all."""

from __future__ import annotations

import numpy as np
import pytest

from bce_conformance.generate import values
from bce_conformance.generate.situation import PATTERNS, Recipe, drawn, pattern
from bce_conformance.generate.stable_random import StableRandom
from bce_conformance.generate.topics import TOPICS, drawn_for
from bce_conformance.judging.tolerance import Elements, largest_intermediate
from bce_conformance.model.call import Array
from bce_conformance.model.dtypes import FLOATS

POOLS = [name for name in vars(values) if name.endswith(("_logits", "_targets", "_weights"))]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", POOLS)
def test_every_pool_stays_in_range(name: str, dtype: str) -> None:
    form = FLOATS[dtype]
    numbers = getattr(values, name)(StableRandom(1, name), form, 1000)
    assert numbers.shape == (1000,)
    assert np.all(np.isfinite(Array.rounded(dtype, numbers).values))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_an_array_of_ordinary_size_meets_every_exponent_of_both_signs(dtype: str) -> None:
    form = FLOATS[dtype]
    lowest = form.emin - form.precision + 1
    found = Array.rounded(dtype, values.every_logit(StableRandom(3), form, 1200)).values
    for sign in (1, -1):
        exponents = set(np.frexp(found[np.sign(found) == sign])[1] - 1)
        assert exponents >= set(range(lowest + 1, form.emax)), sign


def test_targets_are_where_their_names_say() -> None:
    form = FLOATS["float32"]
    rounded = Array.rounded("float32", values.soft_targets(StableRandom(1), form, 5000)).values
    assert np.all((rounded > 0) & (rounded < 1)) and rounded.min() < 1e-30
    outside = values.outside_targets(StableRandom(1), form, 5000)
    assert np.all((outside < 0) | (outside > 1)) and np.all(outside != np.round(outside))
    assert set(values.sentinel_targets(StableRandom(1), form, 50)) == set(values.SENTINELS)


def test_zero_has_a_topic_of_its_own() -> None:
    """Releases differ at exactly 0: no other topic may fail for that."""
    form = FLOATS["float16"]
    for pool in (values.everyday_logits, values.tiny_logits, values.large_logits):
        assert np.all(Array.rounded("float16", pool(StableRandom(5), form, 20000)).values != 0)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_seed_gives_the_same_arrays_and_another_seed_others(topic) -> None:  # type: ignore[no-untyped-def]
    drawn.cache_clear()
    first = drawn_for(topic, "float32", 7, 2)
    drawn.cache_clear()
    assert drawn_for(topic, "float32", 7, 2) == first
    assert drawn_for(topic, "float32", 8, 2) != first


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_no_correct_formula_overflows_on_its_way(topic, dtype: str) -> None:  # type: ignore[no-untyped-def]
    for found in drawn_for(topic, dtype, 11, 3):
        if found.weight is None and found.pos_weight is None:
            continue
        w = np.ones(()) if found.weight is None else found.weight.values
        p = np.ones(()) if found.pos_weight is None else found.pos_weight.values
        e = Elements(found.logits.values, found.target.values, w, p)
        assert np.all(largest_intermediate("forward", e) <= FLOATS[dtype].largest)


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_broadcasts_to_the_logits(name: str) -> None:
    for shape in ((4,), (3, 4), (1, 1), (2, 3, 4), (2, 1, 3, 2, 1, 2)):
        assert np.broadcast_shapes(pattern(name, shape), shape) == shape


def test_weights_follow_their_pattern() -> None:
    recipe = Recipe(values.everyday_logits, values.targets, values.everyday_weights)
    for found in drawn("per-item", recipe, "float32", 0, 8, 60, ("per-item", "full")):
        assert found.weight is not None and found.pos_weight is None
        shape = found.logits.shape
        assert found.weight.shape == (shape[0], *(1,) * (len(shape) - 1))
