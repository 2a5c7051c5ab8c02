"""Relations that need no reference: two calls of which one gives a known multiple of the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..model.call import FORWARD, HESSIAN, Array, Call
from ..model.case_family import CaseFamily, MakeCase, PlannedCase, TestedSurface
from ..model.expectation import Case, EqualsCall, Expectation, Source
from .situation import OF_STRIDES, USUAL, Recipe, Situation, drawn
from .stable_random import StableRandom
from .topics import call_of, unweighted
from .values import everyday_logits, everyday_weights, targets

DOCUMENT = "the relations"
PLAIN = Recipe(everyday_logits, targets)
WEIGHTED = Recipe(everyday_logits, targets, everyday_weights)
BOTH = Recipe(everyday_logits, targets, everyday_weights, everyday_weights)
LOGITS_AND_TARGET = ("logits", "target")
Derived = Callable[[Call, str], EqualsCall | None]


@dataclass(frozen=True)
class Relation:
    """derived gives the other call, and how the two results are related; None: not of this one."""

    name: str
    sentence: str
    derived: Derived
    recipe: Recipe
    reduction: str = "none"
    quantities: tuple[str, ...] = (FORWARD, "grad.logits")
    patterns: tuple[str, str] = USUAL


def mirrored(call: Call, quantity: str) -> EqualsCall | None:
    """L(x, y) = L(−x, 1−y): exact in floating point for targets whose complement is."""
    if call.pos_weight is not None and not _all_ones(call.pos_weight):
        return None
    complement = 1.0 - call.target.values
    target = Array.rounded(call.target.dtype, complement)
    if not np.array_equal(target.values, complement):
        return None
    logits = Array.rounded(call.logits.dtype, -call.logits.values)
    factor = -1.0 if quantity == "grad.logits" else 1.0
    return EqualsCall(replace(call, logits=logits, target=target), factor=factor)


def _all_ones(array: Array) -> bool:
    return bool(np.all(array.values == 1))


def with_ones(name: str) -> Derived:
    def derived(call: Call, quantity: str) -> EqualsCall | None:
        one = Array.rounded(call.logits.dtype, np.ones(call.logits.shape))
        given = call.argument(name)
        if given is not None:
            return None
        changed = replace(call, weight=one) if name == "weight" else replace(call, pos_weight=one)
        return EqualsCall(changed)

    return derived


def summed(call: Call, quantity: str) -> EqualsCall | None:
    """The mean is 1/n of the sum."""
    n = call.logits.size
    options = {**call.options, "reduction": "sum"}
    return EqualsCall(replace(call, options=options), factor=1.0 / n) if n else None


def materialised(call: Call, quantity: str) -> EqualsCall | None:
    """Broadcast weights written out in full."""
    full = {}
    for name in ("weight", "pos_weight"):
        given = call.argument(name)
        if given is not None:
            values = np.broadcast_to(given.values, call.logits.shape)
            full[name] = Array.rounded(given.dtype, values)
    w, p = full.get("weight"), full.get("pos_weight")
    return EqualsCall(replace(call, weight=w, pos_weight=p)) if full else None


def laid_out(layout: str, *names: str) -> Derived:
    """Some arguments in another layout: the same numbers, elsewhere in memory."""

    def derived(call: Call, quantity: str) -> EqualsCall | None:
        given = {name: call.argument(name) for name in names}
        arrays = [array for array in given.values() if array is not None and array.shape]
        if len(arrays) < len(names) or any(a.layout != "contiguous" for a in arrays):
            return None
        if layout == "expanded" and not all(map(_repeats, arrays)):
            return None
        changed = {name: a and replace(a, layout=layout) for name, a in given.items()}
        return EqualsCall(replace(call, **changed))  # type: ignore[arg-type]

    return derived


def arriving(layout: str) -> Derived:
    """The gradient that arrives in another layout, as a transposed product behind the loss has."""

    def derived(call: Call, quantity: str) -> EqualsCall | None:
        upstream = call.upstream
        if upstream is None or not upstream.shape or upstream.layout != "contiguous":
            return None
        return EqualsCall(replace(call, upstream=replace(upstream, layout=layout)))

    return derived


def _repeats(array: Array) -> bool:
    return bool(np.all(array.bits == array.bits[:1]))


def reversed_order(call: Call, quantity: str) -> EqualsCall | None:
    """Elements in reverse order give the results in reverse order."""
    names = ("logits", "target", "weight", "pos_weight")
    arrays = {n: a for n in names if (a := call.argument(n)) is not None}
    if any(a.shape != call.logits.shape for a in arrays.values()):
        return None
    turned = {n: _turned(a) for n, a in arrays.items()}
    other = replace(call, **turned)  # type: ignore[arg-type]
    return EqualsCall(other, order=tuple(reversed(range(call.logits.size))))


def _turned(array: Array) -> Array:
    return Array.rounded(array.dtype, array.values.reshape(-1)[::-1].reshape(array.shape))


def batch_of_one(whole: Call) -> tuple[Call, EqualsCall] | None:
    """The last item alone, and what it is in the whole batch."""
    shape = whole.logits.shape
    if not shape or shape[0] < 2:
        return None
    names = ("logits", "target", "weight", "pos_weight")
    arrays = {n: a for n in names if (a := whole.argument(n)) is not None}
    if any(a.shape != shape for a in arrays.values()):
        return None
    item = {n: Array.rounded(a.dtype, a.values[-1:]) for n, a in arrays.items()}
    one = replace(whole, **item)  # type: ignore[arg-type]
    per_item = whole.logits.size // shape[0]
    order = tuple(range(whole.logits.size - per_item, whole.logits.size))
    return one, EqualsCall(whole, order=order)


RELATIONS = (
    Relation("symmetry", "L(x, y) = L(−x, 1−y), with opposite gradients.", mirrored, PLAIN,
             quantities=(FORWARD, "grad.logits", HESSIAN)),
    Relation("weight-of-ones", "A weight of ones is no weight.", with_ones("weight"), PLAIN),
    Relation("pos_weight-of-ones", "A pos_weight of ones is no pos_weight.",
             with_ones("pos_weight"), PLAIN),
    Relation("mean-is-sum-over-n", "The mean is the sum divided by the number of elements.",
             summed, BOTH, "mean"),
    Relation("broadcast-is-materialised", "A broadcast weight does what the same written out does.",
             materialised, BOTH, patterns=("per-class", "per-class")),
    Relation("layout-strided", "Strided arguments give what contiguous ones do.",
             laid_out("strided", *LOGITS_AND_TARGET), BOTH),
    Relation("layout-transposed", "Transposed arguments give what contiguous ones do.",
             laid_out("transposed", *LOGITS_AND_TARGET), BOTH),
    *(Relation(f"layout-{layout}", f"{layout.capitalize()} arguments give what contiguous ones do.",
               laid_out(layout, *LOGITS_AND_TARGET), BOTH, reduction, (FORWARD,))
      for layout in ("strided", "transposed") for reduction in ("mean", "sum")),
    *(Relation(f"layout-transposed-{name}",
               f"A transposed {name} beside contiguous arguments gives what a contiguous one does.",
               laid_out("transposed", name), BOTH)
      for name in ("logits", "target", "weight")),
    *(Relation(f"layout-{layout}-upstream",
               f"A {layout} upstream gradient gives what a contiguous one does.",
               arriving(layout), replace(BOTH, upstream=True), quantities=("grad.logits",))
      for layout in ("strided", "transposed")),
    Relation("element-order", "Each element's loss is its own: reversed in, reversed out.",
             reversed_order, WEIGHTED),
)  # fmt: skip
"""Relations that are derived from any call; expanded layouts and batches of one need their own."""


def family_of(
    name: str,
    sentence: str,
    make_case: MakeCase,
    tested: TestedSurface,
    dtype: str,
    quantity: str,
    reduction: str,
) -> CaseFamily:
    source = Source(DOCUMENT, sentence)
    return CaseFamily(name, "relation", tested, dtype, quantity, reduction, source, make_case)


def _planned_case(derived: Derived) -> MakeCase:
    def make_case(family: CaseFamily, call: Call) -> Case | None:
        promise = derived(call, family.quantity)
        return None if promise is None else _case(family, call, promise)

    return make_case


def _expected(family: CaseFamily) -> bool:
    """A loss of the user's own is expected to take its arguments however they lie in memory."""
    own = family.dtype in family.tested.must_accept and family.quantity in (FORWARD, "grad.logits")
    return own and family.name.startswith("layout-")


def _case(family: CaseFamily, call: Call, promise: EqualsCall) -> Case:
    expectation = Expectation(replace(promise, optional=not _expected(family)))
    return Case(family.case_id, family.kind, call, expectation, family.source)


def relations(
    tested: TestedSurface, dtype: str, seed: int, count: int, quantities: Sequence[str]
) -> Iterator[PlannedCase]:
    """Questions of every relation; those whose calls do not suit it are left out."""
    for relation in RELATIONS:
        make_case = _planned_case(relation.derived)
        for found in situations_of(relation, dtype, seed, count):
            for quantity in (q for q in relation.quantities if q in quantities):
                call = call_of(unweighted(found, tested.signature), tested, quantity,
                               relation.reduction)  # fmt: skip
                family = family_of(
                    relation.name,
                    relation.sentence,
                    make_case,
                    tested,
                    dtype,
                    quantity,
                    relation.reduction,
                )
                case = make_case(family, _mirrorable(call) if relation.name == "symmetry" else call)
                if case is not None:
                    yield family, case
    yield from _expanded(tested, dtype, seed, count, quantities)
    yield from _batches_of_one(tested, dtype, seed, count, quantities)


def situations_of(relation: Relation, dtype: str, seed: int, count: int) -> tuple[Situation, ...]:
    return drawn(relation.name, relation.recipe, dtype, seed, count, 90, relation.patterns,
                 OF_STRIDES)  # fmt: skip


def _mirrorable(call: Call) -> Call:
    """Targets rounded to multiples of 1/64, whose complements are exact in every dtype."""
    values = np.round(call.target.values * 64) / 64
    return replace(call, target=Array.rounded(call.target.dtype, values))


def _expanded(
    tested: TestedSurface, dtype: str, seed: int, count: int, quantities: Sequence[str]
) -> Iterator[PlannedCase]:
    make_case = _planned_case(laid_out("expanded", *LOGITS_AND_TARGET))
    for found in drawn("layout-expanded", PLAIN, dtype, seed, count, 60):
        if not found.logits.shape:
            continue
        repeat = 2 + int(StableRandom(seed, dtype, found.logits.size).below(4, 1)[0])
        rows = {n: _rows(getattr(found, n), repeat) for n in ("logits", "target")}
        requested = (*((q, "none") for q in (FORWARD, "grad.logits") if q in quantities),
                     (FORWARD, "mean"), (FORWARD, "sum"))  # fmt: skip
        for quantity, reduction in requested:
            family = family_of(
                "layout-expanded",
                "Expanded arguments (stride 0) give what contiguous ones do.",
                make_case,
                tested,
                dtype,
                quantity,
                reduction,
            )
            call = call_of(replace(found, **rows), tested, quantity, reduction)
            case = make_case(family, call)
            if case is not None:
                yield family, case


def _rows(array: Array, repeat: int) -> Array:
    values = np.broadcast_to(array.values, (repeat, *array.shape))
    return Array.rounded(array.dtype, np.ascontiguousarray(values))


def _batches_of_one(
    tested: TestedSurface, dtype: str, seed: int, count: int, quantities: Sequence[str]
) -> Iterator[PlannedCase]:
    for found in drawn("batch-of-one", WEIGHTED, dtype, seed, 2 * count, 60):
        for quantity in (q for q in (FORWARD, "grad.logits") if q in quantities):
            family = family_of("batch-of-one", "An item's loss is the same alone and in a batch.",
                               _no_other, tested, dtype, quantity, "none")  # fmt: skip
            whole = call_of(unweighted(found, tested.signature), tested, quantity, "none")
            pair = batch_of_one(whole)
            if pair is not None:
                yield family, _case(family, *pair)


def _no_other(family: CaseFamily, call: Call) -> Case | None:
    return None
