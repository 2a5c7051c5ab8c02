"""What holds for every call besides the formula: forms, arguments, refusals, and no memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from ..model.call import FORWARD, QUANTITIES, Array, Call
from ..model.case_family import Ask, Asked, Asking, Series
from ..model.dtypes import FLOATS
from ..model.expectation import (
    AgreesWithReference,
    Characterise,
    Expectation,
    LeavesArguments,
    OnlyForm,
    Question,
    Refuses,
    SameAsEager,
    Source,
    Unmoved,
)
from .situation import USUAL, Forms, Recipe, Shape, Situation, drawn
from .stable_random import Dice
from .topics import call_of, formula, ones, unweighted
from .values import Pool, everyday_logits, everyday_weights, targets

DOCUMENT = "the contract"
WEIGHTED = Recipe(everyday_logits, targets, everyday_weights, everyday_weights)


def contract(
    name: str, sentence: str, ask: Ask, asked: Asked, dtype: str,
    quantity: str = FORWARD, reduction: str = "mean", kind: str = "contract",
) -> Series:  # fmt: skip
    return Series(name, kind, asked, dtype, quantity, reduction, Source(DOCUMENT, sentence), ask)


# ---- what is seen in passing, in every answer of a dtype


def _same_arguments(series: Series, call: Call) -> Question:
    return _question(series, call, Expectation(LeavesArguments()))


def _due_shape(series: Series, call: Call) -> Question:
    shape = call.logits.shape if call.reduction == "none" else ()
    return _question(series, call, Expectation(OnlyForm(optional=True), shape=shape))


def _due_dtype(series: Series, call: Call) -> Question:
    return _question(series, call, Expectation(OnlyForm(optional=True), dtype=call.logits.dtype))


def _due_form(series: Series, call: Call) -> Question:
    return _question(series, call, Expectation(OnlyForm(optional=True)))


def _question(series: Series, call: Call, expectation: Expectation) -> Question:
    return Question(series.question_id, series.kind, call, expectation, series.source, series.note)


@lru_cache(maxsize=4096)
def observers(asked: Asked, dtype: str, quantity: str, reduction: str) -> tuple[Series, ...]:
    """The series that every generated call of this kind counts in, beside its own."""
    forward = quantity == FORWARD
    seen = [contract("inputs-unchanged", "A call leaves its arguments as they were.",
                     _same_arguments, asked, dtype, quantity, "none")]  # fmt: skip
    if forward:
        of_shape = {"none": "the shape of the logits"}.get(reduction, "no axes")
        seen.append(
            contract(
                "output-shape",
                f"With reduction '{reduction}' the result has {of_shape}.",
                _due_shape,
                asked,
                dtype,
                quantity,
                reduction,
            )
        )
        seen.append(contract("output-dtype", "Arguments of one dtype give a result of that dtype.",
                             _due_dtype, asked, dtype, quantity, reduction))  # fmt: skip
    else:
        seen.append(contract("gradient-form", "A gradient has the shape and dtype of its argument.",
                             _due_form, asked, dtype, quantity, reduction))  # fmt: skip
    return tuple(seen)


def _same_as_eager(series: Series, call: Call) -> Question:
    return _question(series, call, Expectation(SameAsEager()))


@lru_cache(maxsize=8192)
def same_as_eager(series: Series) -> Series:
    """The series that a compiled call of this one counts in as well."""
    sentence = "What is compiled gives what eager mode gives, and accepts what it accepts."
    return contract(f"same-as-eager-{series.name}", sentence, _same_as_eager, series.asked,
                    series.dtype, series.quantity, series.reduction, kind="relation")  # fmt: skip


# ---- what is accepted at all


def accepted(asked: Asked, dtype: str) -> Iterator[Asking]:
    """One plain call for each quantity: those that are refused are not asked any further."""
    reduction = asked.signature.reduced("mean")
    for quantity in QUANTITIES:
        series = contract("accepts", "Whether this dtype and derivative can be had.", formula,
                          asked, dtype, quantity, reduction)  # fmt: skip
        call = _plain_call(asked, dtype, quantity)
        if asked.signature.takes(call):
            yield series, formula(series, call)


def _plain_call(asked: Asked, dtype: str, quantity: str) -> Call:
    found, of = plain(dtype), quantity.partition(".")[2]
    weight = found.weight if of == "weight" else None
    pos_weight = found.pos_weight if of == "pos_weight" else None
    few = replace(found, weight=weight, pos_weight=pos_weight)
    return call_of(few, asked, quantity, asked.signature.reduced("mean"))


@lru_cache
def plain(dtype: str) -> Situation:
    dice = Dice(0, "accepts", dtype)
    logits, target = (
        array(dtype, dice, everyday_logits, (4, 3)),
        array(dtype, dice, targets, (4, 3)),
    )
    return Situation(logits, target, ones(dtype, (4, 3)), ones(dtype, (4, 3)))


def array(dtype: str, dice: Dice, pool: Pool, shape: Shape) -> Array:
    values = pool(dice, FLOATS[dtype], math.prod(shape)).reshape(shape)
    return Array.rounded(dtype, values)


# ---- what has no meaning


TARGET_SHAPES: tuple[tuple[str, Shape, Shape], ...] = (
    ("column-against-vector", (4,), (4, 1)),
    ("vector-against-column", (4, 1), (4,)),
    ("row-against-matrix", (3, 4), (4,)),
    ("one-row-against-matrix", (3, 4), (1, 4)),
    ("matrix-against-one-row", (1, 4), (3, 4)),
    ("scalar-against-vector", (4,), ()),
    ("vector-against-scalar", (), (4,)),
    ("one-element-against-vector", (4,), (1,)),
    ("transposed", (2, 3), (3, 2)),
    ("flattened", (2, 3), (6,)),
    ("shorter", (4,), (3,)),
)
WEIGHT_SHAPES: tuple[tuple[str, Shape, Shape], ...] = (
    ("larger-than-logits-more-rows", (1, 3), (5, 3)),
    ("larger-than-logits-one-more-axis", (3,), (2, 3)),
    ("larger-than-logits-one-leading-axis", (3,), (1, 3)),
    ("larger-than-logits-vector-against-column", (4, 1), (4,)),
    ("larger-than-logits-vector-against-scalar", (), (3,)),
    ("not-broadcastable-per-item", (4, 3), (4,)),
    ("not-broadcastable-rows", (4, 3), (2, 3)),
    ("not-broadcastable-classes", (4, 3), (4, 2)),
)
UNKNOWN_REDUCTIONS = ("avg", "batchmean", "max")


def _no_meaning(why: str) -> Ask:
    def ask(series: Series, call: Call) -> Question | None:
        return _question(series, call, Expectation(Refuses(why)))

    return ask


def refusals(asked: Asked, dtype: str, seed: int) -> Iterator[Asking]:
    """Calls that nothing but a refusal answers; how it is worded is left open."""
    dice = Dice(seed, "refusals", dtype)
    for reduction in asked.signature.each("none", "mean"):
        for name, shape, other in TARGET_SHAPES:
            why = f"logits {list(shape)} and target {list(other)} are not of one shape"
            call = _of_shapes(asked, dtype, dice, reduction, shape, target=other)
            yield _refusal(f"target-of-another-shape-{name}", why, asked, dtype, call)
        for name, shape, other in WEIGHT_SHAPES:
            for argument in ("weight", "pos_weight"):
                why = f"a {argument} of {list(other)} does not broadcast to logits {list(shape)}"
                call = _of_shapes(asked, dtype, dice, reduction, shape, **{argument: other})
                yield _refusal(f"{argument}-{name}", why, asked, dtype, call)
    for word in UNKNOWN_REDUCTIONS:
        call = _of_shapes(asked, dtype, dice, word, (4, 3))
        why = f"there is no reduction {word!r}"
        yield _refusal(f"unknown-reduction-{word}", why, asked, dtype, call)


def _refusal(name: str, why: str, asked: Asked, dtype: str, call: Call) -> Asking:
    sentence = "What the formula has no meaning for is refused; nothing is silently broadcast."
    series = contract(name, sentence, _no_meaning(why), asked, dtype, reduction=call.reduction)
    return series, _question(series, call, Expectation(Refuses(why)))


def _of_shapes(
    asked: Asked, dtype: str, dice: Dice, reduction: str | None, shape: Shape,
    target: Shape | None = None, weight: Shape | None = None, pos_weight: Shape | None = None,
) -> Call:  # fmt: skip
    logits = array(dtype, dice, everyday_logits, shape)
    due = array(dtype, dice, targets, shape if target is None else target)
    w = None if weight is None else array(dtype, dice, everyday_weights, weight)
    p = None if pos_weight is None else array(dtype, dice, everyday_weights, pos_weight)
    return call_of(Situation(logits, due, w, p), asked, FORWARD, reduction)


# ---- defaults, and targets that are no floats


def defaults(asked: Asked, dtype: str, seed: int) -> Iterator[Asking]:
    for quantity in (FORWARD, "grad.logits"):
        series = contract("default-reduction", "The default reduction is the mean.", formula,
                          asked, dtype, quantity)  # fmt: skip
        for found in drawn("default-reduction", WEIGHTED, dtype, seed, 2, 40):
            bare = replace(found, weight=None, pos_weight=None)
            yield series, formula(series, call_of(bare, asked, quantity, None))


INTEGERS = ("bool", "uint8", "int8", "int32", "int64")


def _of_logits_dtype(series: Series, call: Call) -> Question | None:
    if call.target.dtype not in INTEGERS:
        return None
    promise = AgreesWithReference(call, optional=True)
    return _question(series, call, Expectation(promise, dtype=call.logits.dtype))


def integer_targets(asked: Asked, dtype: str, seed: int) -> Iterator[Asking]:
    """Accepted or refused; where accepted, the value is the formula's, in the logits' dtype."""
    dice = Dice(seed, "integer-target", dtype)
    for name in INTEGERS:
        for reduction in asked.signature.each("none", "mean"):
            for quantity in (FORWARD, "grad.logits"):
                found = _hard(dtype, name, dice)
                yield _integer(f"integer-target-{name}", found, asked, quantity, reduction)
    for name in ("bool", "int64"):
        p = array(dtype, dice, everyday_weights, (5,))
        found = replace(_hard(dtype, name, dice), pos_weight=p)
        yield _integer(f"integer-target-{name}-with-pos_weight", found, asked, FORWARD,
                       asked.signature.reduced("none"))  # fmt: skip


def _integer(name: str, found: Situation, asked: Asked, quantity: str, reduction: str) -> Asking:
    sentence = "An integer target that is accepted counts as the number that it is."
    series = contract(name, sentence, _of_logits_dtype, asked, found.dtype, quantity, reduction)
    question = _of_logits_dtype(series, call_of(found, asked, quantity, reduction))
    assert question is not None
    return series, question


def _hard(dtype: str, target_dtype: str, dice: Dice) -> Situation:
    logits = array(dtype, dice, everyday_logits, (4, 5))
    return Situation(logits, Array.rounded(target_dtype, dice.dealt([0, 1], 20).reshape(4, 5)))


def _recorded(series: Series, call: Call) -> Question:
    return _question(series, call, Expectation(Characterise()))


def mixed_dtypes(asked: Asked, dtype: str, seed: int) -> Iterator[Asking]:
    """One argument of another floating dtype than the rest: what comes out is recorded."""
    dice = Dice(seed, "mixed-dtypes", dtype)
    arrays = Situation(
        *(
            array(dtype, dice, pool, (3,))
            for pool in (everyday_logits, targets, everyday_weights, everyday_weights)
        )
    )
    for name in ("target", "weight", "pos_weight"):
        for other in FLOATS:
            if other != dtype:
                given = getattr(arrays, name)
                mixed = replace(arrays, **{name: Array.rounded(other, given.values)})
                series = contract(
                    f"mixed-dtypes-{name}-{other}",
                    "Left open: mixed dtypes.",
                    _recorded,
                    asked,
                    dtype,
                    reduction="none",
                    kind="special",
                )
                yield series, _recorded(series, call_of(mixed, asked, FORWARD, "none"))


# ---- several gradients

TWO_SHAPES: tuple[tuple[tuple[str, str], Forms], ...] = (
    (("full", "full"), ()),
    (USUAL, ()),
    (("per-item", "per-class"), ("square", "matrix")),
)
"""Of weight and pos_weight, where two gradients can be taken for each other: both of one shape, one
to be summed and the other not, and each to be summed along another axis."""


def taken_together(
    asked: Asked, dtype: str, seed: int, quantities: Sequence[str]
) -> Iterator[Asking]:
    """All gradients that a surface gives, in one backward pass: each is what it is alone."""
    gradients = [quantity for quantity in quantities if quantity.startswith("grad.")]
    recipe, reduction = replace(WEIGHTED, upstream=True), asked.signature.reduced("none")
    sentence = "A gradient is the same whether others are taken with it or not."
    for quantity in gradients if len(gradients) > 1 else ():
        others = tuple(other.partition(".")[2] for other in gradients if other != quantity)
        series = contract("gradients-taken-together", sentence, formula, asked, dtype, quantity,
                          reduction)  # fmt: skip
        for patterns, forms in TWO_SHAPES:
            for found in drawn("gradients-taken-together", recipe, dtype, seed, 2, 60, patterns,
                               forms):  # fmt: skip
                call = call_of(unweighted(found, asked.signature), asked, quantity, reduction)
                beside = tuple(name for name in others if call.argument(name) is not None)
                yield series, formula(series, replace(call, beside=beside))


# ---- no memory


def memory(asked: Asked, dtype: str, seed: int, quantities: Sequence[str]) -> Iterator[Asking]:
    """The same call gives the same result: at once, after other calls, after one that failed."""
    dice = Dice(seed, "memory", dtype)
    signature = asked.signature
    of = signature.reduced
    other = _of_shapes(asked, dtype, dice, of("sum"), (5, 2), weight=(5, 2), pos_weight=(2,))
    other = unweighted(other, signature)
    wrong = _of_shapes(asked, dtype, dice, of("mean"), (4,), target=(3,))
    unbroadcastable = _of_shapes(asked, dtype, dice, of("mean"), (4, 3), weight=(4, 2))
    unknown = _of_shapes(asked, dtype, dice, "avg", (4, 3))
    slope = replace(other, want=("grad.logits",))
    failing = tuple(filter(signature.takes, (wrong, unbroadcastable, unknown)))
    between: dict[str, tuple[Call, ...]] = {
        "called-twice": (),
        "after-other-calls": (other, slope, other),
        "after-a-failed-call": failing,
    }
    for name, calls in between.items():
        for quantity in quantities:
            reduction = of("mean" if name != "called-twice" else "none")
            sentence = "One call does not spoil another: asked again, it gives the same."
            series = contract(name, sentence, _unmoved(calls), asked, dtype, quantity, reduction)
            for found in drawn(name, WEIGHTED, dtype, seed, 3, 60):
                call = call_of(unweighted(found, signature), asked, quantity, reduction)
                yield series, _question(series, call, Expectation(Unmoved(calls)))
            if name == "after-a-failed-call":
                # What failed before may have spoilt the first of two calls already, but not the
                # one by which the quantity was found to be accepted.
                call = _plain_call(asked, dtype, quantity)
                yield series, _still_answered(series, call, calls)


def _still_answered(series: Series, call: Call, before: tuple[Call, ...]) -> Question:
    """What is accepted is accepted again; its value is asked about elsewhere."""
    return replace(_question(series, call, Expectation(OnlyForm())), before=before)


def of_another_size(
    asked: Asked, dtype: str, seed: int, quantities: Sequence[str]
) -> Iterator[Asking]:
    """A call after one of another length, as the last batch of an epoch is."""
    dice = Dice(seed, "another-size", dtype)
    for reduction in ("none", "mean", "sum"):
        for quantity in quantities:
            sized = [
                _of_shapes(asked, dtype, dice, reduction, (n,), weight=(n,), pos_weight=(n,))
                for n in (17, 23)
            ]
            before, call = (
                replace(unweighted(each, asked.signature), want=(quantity,)) for each in sized
            )
            sentence = "A call of another length before it makes no difference."
            series = contract("after-a-call-of-another-size", sentence, _after(before), asked,
                              dtype, quantity, reduction)  # fmt: skip
            yield series, _after_call(series, call, before)


def _after(before: Call) -> Ask:
    def ask(series: Series, call: Call) -> Question | None:
        return _after_call(series, call, before)

    return ask


def _after_call(series: Series, call: Call, before: Call) -> Question:
    return replace(formula(series, call), before=(before,))


def _unmoved(between: tuple[Call, ...]) -> Ask:
    def ask(series: Series, call: Call) -> Question | None:
        return _question(series, call, Expectation(Unmoved(between)))

    return ask
