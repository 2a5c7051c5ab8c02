"""Failing checks: their witnesses are small, and asking for them does not take the whole run."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from test_generated import FORMULA, RIGHT

from bce_conformance.adapters import available
from bce_conformance.adapters import numpy as adapter
from bce_conformance.generate.plan import Plan
from bce_conformance.judging.rules import judge
from bce_conformance.model.call import FORWARD, Array, Call, Outcome
from bce_conformance.model.check import Check
from bce_conformance.model.expectation import AgreesWithReference, Case, Expectation, Source
from bce_conformance.running.aggregate import Example
from bce_conformance.running.generated import GeneratedRun, fails_alike
from bce_conformance.running.witness import case_from_json
from bce_conformance.session import LocalSession, OwnLoss

WRONG_EVERYWHERE = f"1.5 * ({FORMULA})"
RIGHT_AT_FIRST = f"(1.0 if x.shape == (4, 3) else 1.5) * ({FORMULA})"


class Counting(LocalSession):
    """Counts the calls that are asked alone, and the workers that are begun anew."""

    alone = 0
    renewed = 0

    def run(self, call: Call) -> Outcome:
        self.alone += 1
        return super().run(call)

    def stream(self, batches: Iterable[Sequence[Call]]) -> Generator[list[Outcome], None, None]:
        for batch in batches:
            yield [super(Counting, self).run(call) for call in batch]

    def renew(self) -> None:
        self.renewed += 1
        super().renew()


def judged(formula: str) -> tuple[tuple[Check, ...], Counting]:
    source = RIGHT.replace("LOSS", f"({formula}).astype(x.dtype)")
    loss = OwnLoss(Path("/nowhere/mine.py"), "loss", source)
    with Counting(adapter, losses=(loss,)) as session:
        plan = Plan(0, "quick", ("float32", "float64"))
        generated = GeneratedRun(
            session,
            available()["numpy"],
            plan,
            session.backend.surfaces,
            "stable",
            must_accept=("float32",),
        )
        return tuple(check for _, checks in generated.checks() for check in checks), session


@pytest.fixture(scope="module")
def wrong() -> tuple[tuple[Check, ...], Counting]:
    return judged(WRONG_EVERYWHERE)


def witnesses(checks: tuple[Check, ...]) -> Iterator[Call]:
    """Those of elements that came out wrong."""
    for check in checks:
        if check.failing and check.kind == "property":
            yield case_from_json(check.witness.case).call


def test_what_fails_everywhere_is_shrunk_once_for_each_name(
    wrong: tuple[tuple[Check, ...], Counting],
) -> None:
    checks, session = wrong
    failing = [check for check in checks if check.failing]
    assert len(failing) > 100
    assert session.alone < 5 * len(failing), session.alone / len(failing)


def test_every_witness_is_of_one_element_in_its_own_dtype(
    wrong: tuple[tuple[Check, ...], Counting],
) -> None:
    found = list(witnesses(wrong[0]))
    assert {call.logits.size for call in found} == {1}
    dtypes = [check.dtype for check in wrong[0] if check.failing and check.kind == "property"]
    assert [call.logits.dtype for call in found] == dtypes


def test_no_second_worker_is_begun_for_what_one_found_as_wrong() -> None:
    """What is asked first of each dtype comes out right, and the rest wrong, in every worker."""
    _, session = judged(RIGHT_AT_FIRST)
    assert session.renewed == 1


def of_result(x: float, y: float, p: float, result: float) -> Example:
    """An example in float16 whose right result is finite."""
    logits, target, weight = (Array.rounded("float16", np.array([v])) for v in (x, y, p))
    call = Call("f", logits, target, None, weight, {"reduction": "none"})
    promise = Expectation(AgreesWithReference(call))
    case = Case("f/property/f[float16,none]", "property", call, promise, Source("", ""))
    outcome = Outcome({FORWARD: Array.rounded("float16", np.array([result]))})
    judgement = judge(case, FORWARD, outcome, None, "stable")
    return Example(case, judgement, outcome.values[FORWARD])


def test_a_witness_does_not_turn_into_two_infinities_that_cancel() -> None:
    """There a right loss fails too."""
    with np.errstate(all="ignore"):
        x, y, p = np.float16(-1000), np.float16(-100), np.float16(0.25)
        right = (1 - y) * x + (1 + (p - 1) * y) * -x  # as most frameworks document it
    assert np.isnan(right)
    wrong, cancelled = of_result(-3, -3, 0.25, 17), of_result(x, y, p, float(right))
    assert wrong.judgement.verdict == "deviates" and wrong.judgement.axis == "semantics"
    assert fails_alike(wrong, of_result(-2, -2, 0.25, 17))
    assert not fails_alike(wrong, cancelled)
    assert fails_alike(cancelled, cancelled)
