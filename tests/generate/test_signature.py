"""What is asked of a loss that takes fewer arguments: only what it takes, and still a lot."""

from __future__ import annotations

from itertools import chain

import pytest

from bce_conformance.generate.plan import Plan
from bce_conformance.model.call import QUANTITIES
from bce_conformance.model.case_family import (
    EVERYTHING,
    KEYWORDS,
    PlannedCase,
    Signature,
    TestedSurface,
)

PLAN = Plan(0, "quick", ("float32",))
EVERY = [
    Signature(tuple(name for name, kept in zip(KEYWORDS, which, strict=True) if kept), reduction)
    for which in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1))
    for reduction in (("mean",) if which[2] else ("none", "mean", "sum"))
]


def cases_for(signature: Signature) -> list[PlannedCase]:
    tested = (TestedSurface("mine", must_accept=("float32",), signature=signature),)
    capabilities = {("mine", "float32"): QUANTITIES}
    groups = (PLAN.acceptance(), *PLAN.groups(capabilities))
    return [a for group in groups for a in chain.from_iterable(group.batches(tested))]


@pytest.mark.parametrize("signature", EVERY, ids=str)
def test_nothing_is_asked_that_the_loss_does_not_take(signature: Signature) -> None:
    for _, case in cases_for(signature):
        for call in case.calls:
            assert call.weight is None or "weight" in signature.arguments
            assert call.pos_weight is None or "pos_weight" in signature.arguments
            assert "reduction" in signature.arguments or call.reduction == signature.reduction


@pytest.mark.parametrize("signature", EVERY, ids=str)
def test_what_needs_no_argument_is_asked_of_every_loss(signature: Signature) -> None:
    tested = cases_for(signature)
    names = {family.name for family, _ in tested}
    assert names >= {
        "accepts", "hard-targets", "soft-targets", "targets-outside-0-1", "large-logits",
        "zero-logits", "loss-tails", "every-exponent", "ranks", "short-vectors", "long-vectors",
        "called-twice", "after-other-calls", "after-a-failed-call", "after-a-call-of-another-size",
        "target-of-another-shape-column-against-vector", "nan-logits", "integer-target-bool",
    }  # fmt: skip
    quantities = {family.quantity for family, _ in tested if family.name == "soft-targets"}
    assert quantities == {"forward", "grad.logits", "grad.target", "hessian.logits"}
    for name in ("weight", "pos_weight"):
        assert (name in names) == (name in signature.arguments)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_extreme_logits_are_reduced_one_at_a_time(reduction: str) -> None:
    sizes: dict[str, set[int]] = {"large-logits": set(), "hard-targets": set()}
    for family, case in cases_for(Signature((), reduction)):
        if family.name in sizes:
            sizes[family.name].add(case.call.logits.size)
    assert sizes["large-logits"] == {1}
    assert max(sizes["hard-targets"]) > 100


def test_what_takes_everything_is_asked_about_every_reduction() -> None:
    reductions = {case.call.reduction for _, case in cases_for(EVERYTHING)}
    assert reductions >= {"none", "mean", "sum", "avg"}
