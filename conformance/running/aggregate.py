"""Many findings of one series into one check: the gravest decides, and it becomes the witness."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..judging.rules import Judgement, KnownBehaviour, excused, judge
from ..judging.tolerance import Grade
from ..model.call import Array, Failure, Outcome, Raised
from ..model.case_family import CaseFamily
from ..model.expectation import Case

GRAVITY = {
    "unsupported": 0,
    "characterised": 1,
    "conforms": 2,
    "known": 4,
    "refused": 5,
    "deviates": 6,
    "timed-out": 8,
    "crashed": 8,
}
FEW = 16
"""Elements up to which a call that conforms is kept whole in a report."""


@dataclass(frozen=True)
class Example:
    """A question, what was found, and what had been answered."""

    case: Case
    judgement: Judgement
    result: Array | Failure

    @property
    def size(self) -> int:
        return self.case.call.logits.size


@dataclass
class Aggregate:
    """One series while its questions are answered; known is what the release is known to do."""

    family: CaseFamily
    grade: Grade
    known: KnownBehaviour | None = None
    examples: int = 0
    refused_examples: int = 0
    decisive: Example | None = field(default=None)
    refusal: str = ""

    def add(self, case: Case, outcome: Outcome, other: Outcome | None) -> Judgement:
        """Judges an answered question and keeps what matters of it."""
        quantity = self.family.quantity
        judgement = judge(case, quantity, outcome, other, self.grade)
        judgement = excused(judgement, self.known, case, quantity, outcome, other, self.grade)
        result = outcome.of(quantity)
        self.examples += 1
        if isinstance(result, Raised) and judgement.verdict == "characterised":
            self.refused_examples += 1
            self.refusal = self.refusal or judgement.summary
        example = Example(case, judgement, result)
        if self.decisive is None or weight(example) > weight(self.decisive):
            self.decisive = replace(example, judgement=replace(judgement, evidence=None))
        return judgement

    @property
    def failing(self) -> bool:
        return self.decisive is not None and GRAVITY[self.decisive.judgement.verdict] >= 6

    @property
    def refused_throughout(self) -> bool:
        """Nothing was ever computed: refused, or not to be had here."""
        return self.decisive is not None and GRAVITY[self.decisive.judgement.verdict] <= 1

    def text(self, judgement: Judgement) -> Judgement:
        """The finding of the check, with the result of the other examples."""
        if 0 < self.refused_examples < self.examples:
            more = f"; {self.refused_examples} of {self.examples} examples {self.refusal}"
            return replace(judgement, summary=judgement.summary + more)
        return judgement


def weight(example: Example) -> tuple[float, ...]:
    """Which of two examples a check is decided by, and shows: the larger one.

    Gravest first; among failures semantics before accuracy, then the smallest call; among values
    that conform those beyond the strict grade, then such as can be shown, then the least exact.
    """
    judgement = example.judgement
    gravity = GRAVITY[judgement.verdict]
    if gravity >= 4:
        return gravity, judgement.axis == "semantics", -example.size
    beyond = judgement.strict is False
    return gravity, beyond, example.size <= FEW, judgement.ulps or 0.0
