"""The shapes on which a mistake in broadcasting or in strides shows are drawn from every seed."""

from __future__ import annotations

import math

import pytest

from bce_conformance.generate.plan import COUNTS
from bce_conformance.generate.relations import RELATIONS, Relation, situations_of
from bce_conformance.generate.situation import Shape, Situation
from bce_conformance.generate.topics import BROADCAST, Topic, drawn_for

SEEDS = range(10)
QUICK = COUNTS["quick"]


def drawn(name: str, seed: int) -> list[tuple[Shape, Shape]]:
    """The shapes of the logits and of the weight that a broadcast topic draws when it is quick."""
    (topic,) = (topic for topic in BROADCAST if topic.name == name)
    return [shapes(topic, found) for found in drawn_for(topic, "float32", seed, QUICK)]


def shapes(topic: Topic, found: Situation) -> tuple[Shape, Shape]:
    given = found.pos_weight if topic.name.startswith("pos_weight") else found.weight
    assert given is not None
    return found.logits.shape, given.shape


def of_many(shape: Shape) -> int:
    """Axes with more than one element."""
    return sum(length > 1 for length in shape)


@pytest.mark.parametrize("argument", ["weight", "pos_weight"])
@pytest.mark.parametrize("pattern", ["per-item", "trailing-ones", "per-channel"])
def test_a_weight_could_be_taken_for_one_of_the_last_axis(argument: str, pattern: str) -> None:
    """Its elements are as many as the last axis has, and lie along another one."""
    for seed in SEEDS:
        assert any(
            len(own) > 1 and 1 < math.prod(own) == logits[-1] != own[-1]
            for logits, own in drawn(f"{argument}-{pattern}", seed)
        ), f"seed {seed}"


@pytest.mark.parametrize("topic", BROADCAST, ids=lambda topic: topic.name)
def test_there_are_rows_of_another_number_than_columns(topic: Topic) -> None:
    for seed in SEEDS:
        found = [logits for logits, _ in drawn(topic.name, seed)]
        assert any(of_many(shape) > 1 and len(set(shape)) > 1 for shape in found), f"seed {seed}"


@pytest.mark.parametrize("argument", ["weight", "pos_weight"])
def test_channels_are_followed_by_another_axis(argument: str) -> None:
    for seed in SEEDS:
        assert all(len(logits) > 2 for logits, _ in drawn(f"{argument}-per-channel", seed))


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda r: f"{r.name}-{r.reduction}")
def test_relations_are_asked_of_rows_and_columns(relation: Relation) -> None:
    for seed in SEEDS:
        found = situations_of(relation, "float32", seed, QUICK)
        assert any(of_many(situation.logits.shape) > 1 for situation in found), f"seed {seed}"
