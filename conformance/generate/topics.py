"""The formula, topic by topic: which numbers a series is made of, and the rule it is held to.

A topic changes one thing, so that the name of the check that fails says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np

from ..model.call import FORWARD, HESSIAN, Array, Call
from ..model.case_family import CaseFamily, PlannedCase, Signature, TestedSurface
from ..model.expectation import AgreesWithReference, Case, Expectation, Source
from . import values
from .situation import (
    OF_AXES,
    OF_CHANNELS,
    ONE_SHAPE,
    PATTERNS,
    USUAL,
    Forms,
    Recipe,
    Situation,
    drawn,
)

DOCUMENT = "the formula"
DERIVATIVES = {
    "forward": "L = w·[p·y·sp(−x) + (1−y)·sp(x)], sp(z) = log(1 + exp(z))",
    "grad.logits": "∂L/∂x = w·[(1−y)·σ(x) − p·y·σ(−x)]",
    "grad.target": "∂L/∂y = w·[p·sp(−x) − sp(x)]",
    "grad.weight": "∂L/∂w = p·y·sp(−x) + (1−y)·sp(x)",
    "grad.pos_weight": "∂L/∂p = w·y·sp(−x)",
    "hessian.logits": "∂²L/∂x² = w·[(1−y) + p·y]·σ(x)·σ(−x)",
}
REDUCTIONS = {
    "none": "",
    "mean": "; the mean divides by the number of elements",
    "sum": "; the sum adds the elements up",
}
PLAIN = (FORWARD, "grad.logits", "grad.target", HESSIAN)
CHEAP = (FORWARD, "grad.logits", "grad.target")
LARGEST = 512
"""Elements of most arrays: every exponent of float32, both signs, is met in each."""


@dataclass(frozen=True)
class Topic:
    """A row of the table: a recipe, and how it is asked.

    rule: the sentence beside the formula; patterns: of weight and pos_weight; forms: of the shapes.
    """

    name: str
    rule: str
    recipe: Recipe
    reductions: tuple[str, ...] = ("none",)
    quantities: tuple[str, ...] = PLAIN
    everyday: bool = False
    patterns: tuple[str, str] = USUAL
    forms: Forms = ()
    largest: int = LARGEST


def _weighted(recipe: Recipe) -> tuple[str, ...]:
    more = (("grad.weight", recipe.weight), ("grad.pos_weight", recipe.pos_weight))
    return (*PLAIN, *(quantity for quantity, pool in more if pool is not None))


def _topic(name: str, rule: str, recipe: Recipe, everyday: bool = False) -> Topic:
    return Topic(name, rule, recipe, quantities=_weighted(recipe), everyday=everyday)


v = values
VALUES = (
    _topic("hard-targets", "targets 0 and 1, logits within ±16",
           Recipe(v.everyday_logits, v.hard_targets), True),
    _topic("soft-targets", "targets strictly between 0 and 1",
           Recipe(v.everyday_logits, v.soft_targets), True),
    _topic("targets-outside-0-1", "every real target, inside [0, 1] or not",
           Recipe(v.everyday_logits, v.outside_targets)),
    _topic("sentinel-targets", "−100, −1, 2 and 255 are targets like any other",
           Recipe(v.everyday_logits, v.sentinel_targets)),
    _topic("large-logits", "logits from 16 to the largest number",
           Recipe(v.large_logits, v.targets)),
    _topic("tiny-logits", "logits from the smallest subnormal to 1/16",
           Recipe(v.tiny_logits, v.targets), True),
    _topic("zero-logits", "logits that are exactly 0, where |x| and max(x, 0) have a kink",
           Recipe(v.zero_logits, v.targets), True),
    _topic("loss-tails", "logits on their target's side, where loss and gradient are small",
           Recipe(v.tail_logits, v.hard_targets, matching=True)),
    _topic("every-exponent", "logits of every exponent, soft and hard targets",
           Recipe(v.every_logit, v.targets)),
    _topic("weight", "the weight multiplies each element, once",
           Recipe(v.everyday_logits, v.targets, v.everyday_weights), True),
    _topic("pos_weight", "pos_weight multiplies the term of target 1, and no other",
           Recipe(v.everyday_logits, v.hard_targets, None, v.everyday_weights), True),
    _topic("pos_weight-with-soft-targets", "pos_weight multiplies y·sp(−x) alone, for soft y too",
           Recipe(v.everyday_logits, v.soft_targets, None, v.everyday_weights), True),
    _topic("pos_weight-with-targets-outside-0-1", "pos_weight with every real target",
           Recipe(v.everyday_logits, v.outside_targets, None, v.everyday_weights)),
    _topic("weight-and-pos_weight", "both weights, each in its place",
           Recipe(v.everyday_logits, v.targets, v.everyday_weights, v.everyday_weights), True),
    _topic("extreme-weights", "weights that are 0, negative, tiny and huge",
           Recipe(v.everyday_logits, v.targets, v.extreme_weights)),
    _topic("extreme-pos_weights", "pos_weights that are 0, negative, tiny and huge",
           Recipe(v.everyday_logits, v.targets, None, v.extreme_weights)),
    _topic("large-logits-with-pos_weight", "large logits, shifted on the pos_weight path too",
           Recipe(v.large_logits, v.targets, None, v.everyday_weights)),
    _topic("loss-tails-with-weights", "small losses and gradients under both weights",
           Recipe(v.tail_logits, v.hard_targets, v.everyday_weights, v.everyday_weights,
                  matching=True)),
    _topic("tiny-logits-with-pos_weight", "logits about 0 on the pos_weight path",
           Recipe(v.tiny_logits, v.targets, None, v.everyday_weights), True),
    _topic("zero-logits-with-pos_weight", "logits that are exactly 0 on the pos_weight path",
           Recipe(v.zero_logits, v.targets, None, v.everyday_weights), True),
)  # fmt: skip


def _gathered() -> Iterator[Topic]:
    """mean and sum, and arbitrary upstream gradients: bare, and under each weight."""
    everyday = v.everyday_weights
    for suffix, weight, pos_weight in (
        ("", None, None),
        ("-with-weight", everyday, None),
        ("-with-pos_weight", None, everyday),
        ("-with-both-weights", everyday, everyday),
    ):
        recipe = Recipe(v.everyday_logits, v.targets, weight, pos_weight)
        quantities = _weighted(recipe)
        for reduction, rule in (("mean", "the mean divides by the number of elements"),
                                ("sum", "the sum adds up and divides by nothing")):  # fmt: skip
            yield Topic(f"{reduction}{suffix}", rule, recipe, (reduction,), quantities, True)
        arriving = replace(recipe, upstream=True)
        yield Topic(f"upstream{suffix}", "the gradient that arrives multiplies every derivative",
                    arriving, ("none", "mean", "sum"), quantities[1:])  # fmt: skip


MASKED = Topic(
    "mean-with-zero-weights", "the mean counts every element, those of weight 0 too",
    Recipe(v.everyday_logits, v.targets, v.weights_with_zeros), ("mean",),
    _weighted(Recipe(v.everyday_logits, v.targets, v.weights_with_zeros)),
)  # fmt: skip


def _patterns() -> Iterator[Topic]:
    """Every documented and plausible way to broadcast a weight."""
    everyday = v.everyday_weights
    for pattern in PATTERNS:
        for name in ("weight", "pos_weight"):
            weights = (everyday, None) if name == "weight" else (None, everyday)
            recipe = Recipe(v.everyday_logits, v.targets, *weights)
            rule = f"a {name} of this shape broadcasts as arrays do: {pattern}"
            second = (HESSIAN,) if pattern in ("per-class", "per-item") else ()
            quantities = (FORWARD, "grad.logits", f"grad.{name}", *second)
            forms = OF_CHANNELS if pattern in ("per-channel", "per-pixel") else OF_AXES
            yield Topic(f"{name}-{pattern}", rule, recipe, ("none", "mean"), quantities,
                        patterns=(pattern, pattern), forms=forms, largest=120)  # fmt: skip


GATHERED = tuple(_gathered())
BROADCAST = tuple(_patterns())
TOPICS = (*VALUES, *GATHERED, MASKED, *BROADCAST)
FEW_SHAPES = tuple(
    replace(topic, largest=ONE_SHAPE, quantities=tuple(q for q in topic.quantities if q in CHEAP))
    for topic in (*VALUES, *GATHERED)
)
"""What is asked of a mode that compiles every signature: one shape, the first derivatives."""


def formula(family: CaseFamily, call: Call) -> Case:
    """The formula of the call itself, of its shape and dtype; a refusal is fine if not promised."""
    expected = family.dtype in family.tested.must_accept and family.quantity in (
        FORWARD,
        "grad.logits",
    )
    expectation = Expectation(AgreesWithReference(call, optional=not expected))
    return Case(family.case_id, family.kind, call, expectation, family.source, family.note)


@lru_cache(maxsize=8192)
def topic_family(
    topic: Topic, tested: TestedSurface, dtype: str, quantity: str, reduction: str
) -> CaseFamily:
    sentence = f"{DERIVATIVES[quantity]}{REDUCTIONS[reduction]}. Here: {topic.rule}."
    return CaseFamily(
        name=topic.name,
        kind="property",
        tested=tested,
        dtype=dtype,
        quantity=quantity,
        reduction=reduction,
        source=Source(DOCUMENT, sentence),
        make_case=formula,
        everyday=topic.everyday,
    )


def call_of(found: Situation, tested: TestedSurface, quantity: str, reduction: str | None) -> Call:
    """The call of a situation; reduction None passes none."""
    w, p = found.weight, found.pos_weight
    if tested.needs_weights:
        one = ones(found.dtype, found.logits.shape)
        w, p = w or one, p or one
    upstream = found.upstream if reduction == "none" else found.upstream_scalar
    return Call(
        surface=tested.surface,
        logits=found.logits,
        target=found.target,
        weight=w,
        pos_weight=p,
        options={} if reduction is None else {"reduction": reduction},
        want=(quantity,),
        upstream=None if quantity == FORWARD else upstream,
    )


@lru_cache(maxsize=512)
def ones(dtype: str, shape: tuple[int, ...]) -> Array:
    return Array.rounded(dtype, np.ones(shape))


SINGLE = 1
"""Elements of arrays whose sum would overflow although their mean does not."""
SINGLES = 16
"""Arrays of a single element instead of one of LARGEST."""


def suited(topic: Topic, signature: Signature) -> Topic:
    """The topic for a loss that takes no reduction: unreduced results are asked about as it
    reduces them, extreme ones singly; what is about another reduction is left out."""
    if "reduction" in signature.arguments or signature.reduction in topic.reductions:
        return replace(topic, reductions=tuple(filter(signature.gives, topic.reductions)))
    if topic.reductions != ("none",):
        return replace(topic, reductions=())
    reduced = replace(topic, reductions=(signature.reduction,))
    return reduced if topic.everyday else replace(reduced, largest=SINGLE, forms=("line",))


Weighted = TypeVar("Weighted", Situation, Call)


def unweighted(found: Weighted, signature: Signature) -> Weighted:
    """Without the weights that the loss does not take, where they are not the question."""
    taken = signature.arguments
    return replace(
        found,
        weight=found.weight if "weight" in taken else None,
        pos_weight=found.pos_weight if "pos_weight" in taken else None,
    )


def topic_cases(
    topic: Topic, tested: Sequence[TestedSurface], situations: Iterable[Situation]
) -> Iterator[list[PlannedCase]]:
    """One list a situation."""
    for found in situations:
        batch = []
        for surface in tested:
            for reduction in topic.reductions:
                for quantity in topic.quantities:
                    family = topic_family(topic, surface, found.dtype, quantity, reduction)
                    case = formula(family, call_of(found, surface, quantity, reduction))
                    batch.append((family, case))
        yield batch


def drawn_for(topic: Topic, dtype: str, seed: int, count: int) -> tuple[Situation, ...]:
    return drawn(topic.name, topic.recipe, dtype, seed, count, topic.largest, topic.patterns,
                 topic.forms)  # fmt: skip
