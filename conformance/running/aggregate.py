"""Many findings of one series into one check: the gravest decides, and it becomes the witness."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..judging.rules import Finding, KnownBehaviour, excused, judge
from ..judging.tolerance import Grade
from ..model.call import Array, Failure, Outcome, Raised
from ..model.case_family import Series
from ..model.expectation import Question

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

    question: Question
    finding: Finding
    result: Array | Failure

    @property
    def size(self) -> int:
        return self.question.call.logits.size


@dataclass
class Fold:
    """One series while its questions are answered; known is what the release is known to do."""

    series: Series
    grade: Grade
    known: KnownBehaviour | None = None
    examples: int = 0
    not_answered: int = 0
    decisive: Example | None = field(default=None)
    refusal: str = ""

    def add(self, question: Question, outcome: Outcome, other: Outcome | None) -> Finding:
        """Judges an answered question and keeps what matters of it."""
        quantity = self.series.quantity
        finding = judge(question, quantity, outcome, other, self.grade)
        finding = excused(finding, self.known, question, quantity, outcome, other, self.grade)
        result = outcome.of(quantity)
        self.examples += 1
        if isinstance(result, Raised) and finding.verdict == "characterised":
            self.not_answered += 1
            self.refusal = self.refusal or finding.summary
        example = Example(question, finding, result)
        if self.decisive is None or weight(example) > weight(self.decisive):
            self.decisive = replace(example, finding=replace(finding, evidence=None))
        return finding

    @property
    def failing(self) -> bool:
        return self.decisive is not None and GRAVITY[self.decisive.finding.verdict] >= 6

    @property
    def refused_throughout(self) -> bool:
        """Nothing was ever computed: refused, or not to be had here."""
        return self.decisive is not None and GRAVITY[self.decisive.finding.verdict] <= 1

    def told(self, finding: Finding) -> Finding:
        """The finding of the check, with what came of the other examples."""
        if 0 < self.not_answered < self.examples:
            more = f"; {self.not_answered} of {self.examples} examples {self.refusal}"
            return replace(finding, summary=finding.summary + more)
        return finding


def weight(example: Example) -> tuple[float, ...]:
    """Which of two examples a check is decided by, and shows: the larger one.

    Gravest first; among failures semantics before accuracy, then the smallest call; among values
    that conform those beyond the strict grade, then such as can be shown, then the least exact.
    """
    finding = example.finding
    gravity = GRAVITY[finding.verdict]
    if gravity >= 4:
        return gravity, finding.axis == "semantics", -example.size
    beyond = finding.strict is False
    return gravity, beyond, example.size <= FEW, finding.ulps or 0.0
