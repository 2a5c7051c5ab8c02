"""What holds for every call besides the formula: forms, arguments, refusals, and no memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from ..model.call import FORWARD, QUANTITIES, Array, Call
from ..model.case_family import CaseFamily, MakeCase, PlannedCase, TestedSurface
from ..model.dtypes import FLOATS
from ..model.expectation import (
    AgreesWithReference,
    Case,
    Characterise,
    Expectation,
    LeavesArguments,
    OnlyForm,
    Refuses,
    Repeatable,
    SameAsEager,
    Source,
)
from .situation import USUAL, Forms, Recipe, Shape, Situation, drawn
from .stable_random import StableRandom
from .topics import call_of, formula, ones, unweighted
from .values import Pool, everyday_logits, everyday_weights, targets

DOCUMENT = "the contract"
WEIGHTED = Recipe(everyday_logits, targets, everyday_weights, everyday_weights)


def contract(
    name: str, sentence: str, make_case: MakeCase, tested: TestedSurface, dtype: str,
    quantity: str = FORWARD, reduction: str = "mean", kind: str = "contract",
) -> CaseFamily:  # fmt: skip
    return CaseFamily(
        name, kind, tested, dtype, quantity, reduction, Source(DOCUMENT, sentence), make_case
    )


# ---- what is seen along the way, in every answer of a dtype


def _same_arguments(family: CaseFamily, call: Call) -> Case:
    return _case(family, call, Expectation(LeavesArguments()))


def _expected_shape(family: CaseFamily, call: Call) -> Case:
    shape = call.logits.shape if call.reduction == "none" else ()
    return _case(family, call, Expectation(OnlyForm(optional=True), shape=shape))


def _expected_dtype(family: CaseFamily, call: Call) -> Case:
    return _case(family, call, Expectation(OnlyForm(optional=True), dtype=call.logits.dtype))


def _expected_form(family: CaseFamily, call: Call) -> Case:
    return _case(family, call, Expectation(OnlyForm(optional=True)))


def _case(family: CaseFamily, call: Call, expectation: Expectation) -> Case:
    return Case(family.case_id, family.kind, call, expectation, family.source, family.note)


@lru_cache(maxsize=4096)
def observers(
    tested: TestedSurface, dtype: str, quantity: str, reduction: str
) -> tuple[CaseFamily, ...]:
    """The series that every generated call of this kind counts in, beside its own."""
    forward = quantity == FORWARD
    seen = [contract("inputs-unchanged", "A call leaves its arguments as they were.",
                     _same_arguments, tested, dtype, quantity, "none")]  # fmt: skip
    if forward:
        of_shape = {"none": "the shape of the logits"}.get(reduction, "no axes")
        seen.append(
            contract(
                "output-shape",
                f"With reduction '{reduction}' the result has {of_shape}.",
                _expected_shape,
                tested,
                dtype,
                quantity,
                reduction,
            )
        )
        seen.append(contract("output-dtype", "Arguments of one dtype give a result of that dtype.",
                             _expected_dtype, tested, dtype, quantity, reduction))  # fmt: skip
    else:
        seen.append(contract("gradient-form", "A gradient has the shape and dtype of its argument.",
                             _expected_form, tested, dtype, quantity, reduction))  # fmt: skip
    return tuple(seen)


def _same_as_eager(family: CaseFamily, call: Call) -> Case:
    return _case(family, call, Expectation(SameAsEager()))


@lru_cache(maxsize=8192)
def same_as_eager(family: CaseFamily) -> CaseFamily:
    """The series that a compiled call of this one counts in as well."""
    sentence = "What is compiled gives what eager mode gives, and accepts what it accepts."
    return contract(f"same-as-eager-{family.name}", sentence, _same_as_eager, family.tested,
                    family.dtype, family.quantity, family.reduction, kind="relation")  # fmt: skip


# ---- what is accepted at all


def accepted(tested: TestedSurface, dtype: str) -> Iterator[PlannedCase]:
    """One plain call for each quantity: those that are refused are not asked any further."""
    reduction = tested.signature.reduced("mean")
    for quantity in QUANTITIES:
        family = contract("accepts", "Whether this dtype and derivative can be had.", formula,
                          tested, dtype, quantity, reduction)  # fmt: skip
        call = _plain_call(tested, dtype, quantity)
        if tested.signature.takes(call):
            yield family, formula(family, call)


def _plain_call(tested: TestedSurface, dtype: str, quantity: str) -> Call:
    found, of = plain(dtype), quantity.partition(".")[2]
    weight = found.weight if of == "weight" else None
    pos_weight = found.pos_weight if of == "pos_weight" else None
    few = replace(found, weight=weight, pos_weight=pos_weight)
    return call_of(few, tested, quantity, tested.signature.reduced("mean"))


@lru_cache
def plain(dtype: str) -> Situation:
    rng = StableRandom(0, "accepts", dtype)
    logits, target = (
        array(dtype, rng, everyday_logits, (4, 3)),
        array(dtype, rng, targets, (4, 3)),
    )
    return Situation(logits, target, ones(dtype, (4, 3)), ones(dtype, (4, 3)))


def array(dtype: str, rng: StableRandom, pool: Pool, shape: Shape) -> Array:
    values = pool(rng, FLOATS[dtype], math.prod(shape)).reshape(shape)
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


def _no_meaning(why: str) -> MakeCase:
    def make_case(family: CaseFamily, call: Call) -> Case | None:
        return _case(family, call, Expectation(Refuses(why)))

    return make_case


def refusals(tested: TestedSurface, dtype: str, seed: int) -> Iterator[PlannedCase]:
    """Calls that nothing but a refusal answers; how it is worded is left open."""
    rng = StableRandom(seed, "refusals", dtype)
    for reduction in tested.signature.each("none", "mean"):
        for name, shape, other in TARGET_SHAPES:
            why = f"logits {list(shape)} and target {list(other)} are not of one shape"
            call = _of_shapes(tested, dtype, rng, reduction, shape, target=other)
            yield _refusal(f"target-of-another-shape-{name}", why, tested, dtype, call)
        for name, shape, other in WEIGHT_SHAPES:
            for argument in ("weight", "pos_weight"):
                why = f"a {argument} of {list(other)} does not broadcast to logits {list(shape)}"
                call = _of_shapes(tested, dtype, rng, reduction, shape, **{argument: other})
                yield _refusal(f"{argument}-{name}", why, tested, dtype, call)
    for word in UNKNOWN_REDUCTIONS:
        call = _of_shapes(tested, dtype, rng, word, (4, 3))
        why = f"there is no reduction {word!r}"
        yield _refusal(f"unknown-reduction-{word}", why, tested, dtype, call)


def _refusal(name: str, why: str, tested: TestedSurface, dtype: str, call: Call) -> PlannedCase:
    sentence = "What the formula has no meaning for is refused; nothing is silently broadcast."
    family = contract(name, sentence, _no_meaning(why), tested, dtype, reduction=call.reduction)
    return family, _case(family, call, Expectation(Refuses(why)))


def _of_shapes(
    tested: TestedSurface, dtype: str, rng: StableRandom, reduction: str | None, shape: Shape,
    target: Shape | None = None, weight: Shape | None = None, pos_weight: Shape | None = None,
) -> Call:  # fmt: skip
    logits = array(dtype, rng, everyday_logits, shape)
    expected = array(dtype, rng, targets, shape if target is None else target)
    w = None if weight is None else array(dtype, rng, everyday_weights, weight)
    p = None if pos_weight is None else array(dtype, rng, everyday_weights, pos_weight)
    return call_of(Situation(logits, expected, w, p), tested, FORWARD, reduction)


# ---- defaults, and targets that are no floats


def defaults(tested: TestedSurface, dtype: str, seed: int) -> Iterator[PlannedCase]:
    for quantity in (FORWARD, "grad.logits"):
        family = contract("default-reduction", "The default reduction is the mean.", formula,
                          tested, dtype, quantity)  # fmt: skip
        for found in drawn("default-reduction", WEIGHTED, dtype, seed, 2, 40):
            bare = replace(found, weight=None, pos_weight=None)
            yield family, formula(family, call_of(bare, tested, quantity, None))


INTEGERS = ("bool", "uint8", "int8", "int32", "int64")


def _of_logits_dtype(family: CaseFamily, call: Call) -> Case | None:
    if call.target.dtype not in INTEGERS:
        return None
    promise = AgreesWithReference(call, optional=True)
    return _case(family, call, Expectation(promise, dtype=call.logits.dtype))


def integer_targets(tested: TestedSurface, dtype: str, seed: int) -> Iterator[PlannedCase]:
    """Accepted or refused; where accepted, the value is the formula's, in the logits' dtype."""
    rng = StableRandom(seed, "integer-target", dtype)
    for name in INTEGERS:
        for reduction in tested.signature.each("none", "mean"):
            for quantity in (FORWARD, "grad.logits"):
                found = _hard(dtype, name, rng)
                yield _integer(f"integer-target-{name}", found, tested, quantity, reduction)
    for name in ("bool", "int64"):
        p = array(dtype, rng, everyday_weights, (5,))
        found = replace(_hard(dtype, name, rng), pos_weight=p)
        yield _integer(f"integer-target-{name}-with-pos_weight", found, tested, FORWARD,
                       tested.signature.reduced("none"))  # fmt: skip


def _integer(
    name: str, found: Situation, tested: TestedSurface, quantity: str, reduction: str
) -> PlannedCase:
    sentence = "An integer target that is accepted counts as the number that it is."
    family = contract(name, sentence, _of_logits_dtype, tested, found.dtype, quantity, reduction)
    case = _of_logits_dtype(family, call_of(found, tested, quantity, reduction))
    assert case is not None
    return family, case


def _hard(dtype: str, target_dtype: str, rng: StableRandom) -> Situation:
    logits = array(dtype, rng, everyday_logits, (4, 5))
    return Situation(logits, Array.rounded(target_dtype, rng.dealt([0, 1], 20).reshape(4, 5)))


def _recorded(family: CaseFamily, call: Call) -> Case:
    return _case(family, call, Expectation(Characterise()))


def mixed_dtypes(tested: TestedSurface, dtype: str, seed: int) -> Iterator[PlannedCase]:
    """One argument of another floating dtype than the rest: what comes out is recorded."""
    rng = StableRandom(seed, "mixed-dtypes", dtype)
    arrays = Situation(
        *(
            array(dtype, rng, pool, (3,))
            for pool in (everyday_logits, targets, everyday_weights, everyday_weights)
        )
    )
    for name in ("target", "weight", "pos_weight"):
        for other in FLOATS:
            if other != dtype:
                given = getattr(arrays, name)
                mixed = replace(arrays, **{name: Array.rounded(other, given.values)})
                family = contract(
                    f"mixed-dtypes-{name}-{other}",
                    "Left open: mixed dtypes.",
                    _recorded,
                    tested,
                    dtype,
                    reduction="none",
                    kind="special",
                )
                yield family, _recorded(family, call_of(mixed, tested, FORWARD, "none"))


# ---- several gradients

TWO_SHAPES: tuple[tuple[tuple[str, str], Forms], ...] = (
    (("full", "full"), ()),
    (USUAL, ()),
    (("per-item", "per-class"), ("square", "matrix")),
)
"""Of weight and pos_weight, where two gradients can be taken for each other: both of one shape, one
to be summed and the other not, and each to be summed along another axis."""


def taken_together(
    tested: TestedSurface, dtype: str, seed: int, quantities: Sequence[str]
) -> Iterator[PlannedCase]:
    """All gradients that a surface gives, in one backward pass: each is what it is alone."""
    gradients = [quantity for quantity in quantities if quantity.startswith("grad.")]
    recipe, reduction = replace(WEIGHTED, upstream=True), tested.signature.reduced("none")
    sentence = "A gradient is the same whether others are taken with it or not."
    for quantity in gradients if len(gradients) > 1 else ():
        others = tuple(other.partition(".")[2] for other in gradients if other != quantity)
        family = contract("gradients-taken-together", sentence, formula, tested, dtype, quantity,
                          reduction)  # fmt: skip
        for patterns, forms in TWO_SHAPES:
            for found in drawn("gradients-taken-together", recipe, dtype, seed, 2, 60, patterns,
                               forms):  # fmt: skip
                call = call_of(unweighted(found, tested.signature), tested, quantity, reduction)
                along_with = tuple(name for name in others if call.argument(name) is not None)
                yield family, formula(family, replace(call, along_with=along_with))


# ---- no memory


def memory(
    tested: TestedSurface, dtype: str, seed: int, quantities: Sequence[str]
) -> Iterator[PlannedCase]:
    """The same call gives the same result: at once, after other calls, after one that failed."""
    rng = StableRandom(seed, "memory", dtype)
    signature = tested.signature
    of = signature.reduced
    other = _of_shapes(tested, dtype, rng, of("sum"), (5, 2), weight=(5, 2), pos_weight=(2,))
    other = unweighted(other, signature)
    wrong = _of_shapes(tested, dtype, rng, of("mean"), (4,), target=(3,))
    unbroadcastable = _of_shapes(tested, dtype, rng, of("mean"), (4, 3), weight=(4, 2))
    unknown = _of_shapes(tested, dtype, rng, "avg", (4, 3))
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
            family = contract(
                name, sentence, _repeatable(calls), tested, dtype, quantity, reduction
            )
            for found in drawn(name, WEIGHTED, dtype, seed, 3, 60):
                call = call_of(unweighted(found, signature), tested, quantity, reduction)
                yield family, _case(family, call, Expectation(Repeatable(calls)))
            if name == "after-a-failed-call":
                # What failed before may have spoilt the first of two calls already, but not the
                # one by which the quantity was found to be accepted.
                call = _plain_call(tested, dtype, quantity)
                yield family, _still_answered(family, call, calls)


def _still_answered(family: CaseFamily, call: Call, before: tuple[Call, ...]) -> Case:
    """What is accepted is accepted again; its value is asked about elsewhere."""
    return replace(_case(family, call, Expectation(OnlyForm())), before=before)


def of_another_size(
    tested: TestedSurface, dtype: str, seed: int, quantities: Sequence[str]
) -> Iterator[PlannedCase]:
    """A call after one of another length, as the last batch of an epoch is."""
    rng = StableRandom(seed, "another-size", dtype)
    for reduction in ("none", "mean", "sum"):
        for quantity in quantities:
            sized = [
                _of_shapes(tested, dtype, rng, reduction, (n,), weight=(n,), pos_weight=(n,))
                for n in (17, 23)
            ]
            before, call = (
                replace(unweighted(each, tested.signature), want=(quantity,)) for each in sized
            )
            sentence = "A call of another length before it makes no difference."
            family = contract("after-a-call-of-another-size", sentence, _after(before), tested,
                              dtype, quantity, reduction)  # fmt: skip
            yield family, _after_call(family, call, before)


def _after(before: Call) -> MakeCase:
    def make_case(family: CaseFamily, call: Call) -> Case | None:
        return _after_call(family, call, before)

    return make_case


def _after_call(family: CaseFamily, call: Call, before: Call) -> Case:
    return replace(formula(family, call), before=(before,))


def _repeatable(between: tuple[Call, ...]) -> MakeCase:
    def make_case(family: CaseFamily, call: Call) -> Case | None:
        return _case(family, call, Expectation(Repeatable(between)))

    return make_case
