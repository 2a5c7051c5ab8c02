"""A verdict with its evidence: what a report is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .expectation import Source

Axis = Literal["semantics", "accuracy"]
Verdict = Literal[
    "conforms", "deviates", "known", "fixed", "unsupported", "characterised", "crashed",
    "timed-out", "refused",
]  # fmt: skip
VERDICTS: tuple[Verdict, ...] = (
    "conforms", "deviates", "known", "fixed", "unsupported", "characterised", "crashed",
    "timed-out", "refused",
)  # fmt: skip
EARLIER_CALL = "something from an earlier call was kept"
"""The cause where a call is right in a new process and wrong after another one."""
FAILING: frozenset[Verdict] = frozenset({"deviates", "fixed", "crashed", "timed-out"})
"""Verdicts that make a run exit with 1 (a known deviation that is gone is stale: `fixed`)."""


@dataclass(frozen=True)
class Witness:
    """The call behind a verdict, enough to run it again without the case file.

    expected and got are small JSON objects; reproduce is plain framework code without this package.
    """

    case: dict[str, Any]
    quantity: str
    expected: dict[str, Any]
    got: dict[str, Any]
    reproduce: str


@dataclass(frozen=True)
class Check:
    """One verdict about one quantity of one case.

    axis says what was decided on: semantics (formula, shape, dtype, NaN and infinity, errors) or
    accuracy (how far from the reference); they are never mixed. strict says whether an accepted
    value is within the strict grade as well (None where no value was judged). reason and
    finding are the title and id of a known deviation. causes are the diagnoses that fit a failing
    result ("the weight was ignored"), the likeliest first.
    """

    id: str
    surface: str
    kind: str
    quantity: str
    dtype: str
    reduction: str
    axis: Axis
    verdict: Verdict
    source: Source
    summary: str
    witness: Witness
    note: str = ""
    reason: str = ""
    finding: str = ""
    causes: tuple[str, ...] = ()
    strict: bool | None = None
    examples: int = field(default=1)

    @property
    def failing(self) -> bool:
        return self.verdict in FAILING
