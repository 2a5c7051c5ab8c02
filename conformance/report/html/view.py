"""What the page shows: frozen data, made from reports by `build`, laid out by the template."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .figure import Figure

GRAVEST = ("crashed", "timed-out", "deviates", "fixed", "known", "refused", "conforms",
           "characterised", "unsupported")  # fmt: skip
"""Verdicts, the one first that decides what many checks together show."""

WORDS = {
    "crashed": "crashed",
    "timed-out": "timed out",
    "deviates": "deviates",
    "fixed": "stale known",
    "known": "known",
    "refused": "refused",
    "conforms": "conforms",
    "characterised": "left open",
    "unsupported": "unsupported",
}
"""What a verdict is called on the page."""

MEANINGS = {
    "crashed": "the process died",
    "timed-out": "no answer came in time",
    "deviates": "not what the document or the formula says, and on no list",
    "fixed": "on the list of known deviations, and no longer there: the entry is stale",
    "known": "deviates as is on record for this release; fails no run",
    "refused": "the reference is too uncertain to judge",
    "conforms": "as expected, within the stable grade",
    "characterised": "the documents leave it open: recorded, not judged",
    "unsupported": "not available here; never a pass",
}


def gravest(verdicts: Iterable[str]) -> str:
    """Raises KeyError for a word that is no verdict, and ValueError for none at all."""
    found = set(verdicts)
    unknown = found - set(GRAVEST)
    if unknown:
        raise KeyError(min(unknown))
    return min(found, key=GRAVEST.index)


@dataclass(frozen=True)
class Count:
    verdict: str
    number: int


@dataclass(frozen=True)
class Paste:
    """Framework code to copy; code is None where the call is too large, and replay shows it."""

    label: str
    code: str | None
    replay: str


@dataclass(frozen=True)
class Worst:
    """The worst element that is known of a cell, in words, with its code."""

    title: str
    told: str
    paste: Paste | None


@dataclass(frozen=True)
class Said:
    """A check that is listed without its code, or a change with its label as the verdict."""

    name: str
    verdict: str
    summary: str


@dataclass(frozen=True)
class FindingCard:
    """Checks that deviate for one reason: one of them in full, the others listed, or counted."""

    verdict: str
    title: str
    count: int
    name: str
    told: str
    document: str
    sentence: str
    note: str
    paste: Paste
    others: tuple[Said, ...]
    unlisted: int


@dataclass(frozen=True)
class Exact:
    """A row of figures; grade is the narrowest that holds."""

    label: str
    cells: tuple[str, ...]
    grade: str


@dataclass(frozen=True)
class Elsewhere:
    """Where on the page something is that is the same here."""

    anchor: str
    title: str


@dataclass(frozen=True)
class Detail:
    """All that is known of one quantity of one surface of one column of the matrix.

    share: the largest error as a multiple of the tolerance; None where there is no number.
    number: that share, or what came in the place of a number.
    """

    anchor: str
    name: str
    title: str
    verdict: str
    share: float | None
    number: str
    counts: tuple[Count, ...]
    worst: Worst | None
    findings: tuple[FindingCard, ...]
    exact: tuple[Exact, ...]
    figures: tuple[Figure, ...]
    same_figures: tuple[Elsewhere, ...]
    no_figure: str
    changes: tuple[Said, ...]


@dataclass(frozen=True)
class Claim:
    """A sentence of a surface's document, and what came of its checks."""

    verdict: str
    document: str
    sentence: str
    counts: tuple[Count, ...]
    checks: tuple[Said, ...]


@dataclass(frozen=True)
class Claims:
    anchor: str
    verdict: str
    kept: int
    all: int
    claims: tuple[Claim, ...]
    findings: tuple[FindingCard, ...]
    changes: tuple[Said, ...]


@dataclass(frozen=True)
class SpecialCell:
    verdict: str
    text: str


@dataclass(frozen=True)
class SpecialRow:
    """A special value; cells are by dtype, None where it was not asked."""

    name: str
    given: str
    quantity: str
    cells: tuple[SpecialCell | None, ...]


@dataclass(frozen=True)
class Special:
    dtypes: tuple[str, ...]
    rows: tuple[SpecialRow, ...]


@dataclass(frozen=True)
class Surface:
    """One API of one column; same: another surface's name where left out is what is equal there."""

    anchor: str
    name: str
    claims: Claims | None
    details: tuple[Detail, ...]
    special: Special | None
    special_at: Elsewhere | None
    left_open: tuple[Said, ...]
    left_open_count: int
    open_at: Elsewhere | None


@dataclass(frozen=True)
class Fact:
    name: str
    value: str


@dataclass(frozen=True)
class Card:
    """A finding: its title, the two numbers, where it was seen, and code that shows it."""

    verdict: str
    title: str
    numbers: str
    spans: str
    paste: Paste


@dataclass(frozen=True)
class Column:
    """A backend on a device in a mode: a column of the matrix, and a chapter of the page."""

    anchor: str
    framework: str
    version: str
    where: str
    verdict: str
    headline: str
    sentence: str
    cards: tuple[Card, ...]
    worst: Elsewhere | None
    worst_told: str
    counts: tuple[Count, ...]
    warnings: tuple[str, ...]
    environment: tuple[Fact, ...]
    surfaces: tuple[Surface, ...]

    @property
    def title(self) -> str:
        return f"{self.framework} {self.version}, {self.where}"


@dataclass(frozen=True)
class Cell:
    """A cell of the matrix: the verdict, the number, and where its detail is."""

    anchor: str
    verdict: str
    number: str
    label: str


@dataclass(frozen=True)
class Line:
    """A row of the matrix; quiet: nothing in it deviates."""

    name: str
    cells: tuple[Cell | None, ...]
    quiet: bool


@dataclass(frozen=True)
class Group:
    """The lines of a surface, under the name that it has in several frameworks."""

    name: str
    lines: tuple[Line, ...]

    @property
    def quiet(self) -> bool:
        return all(line.quiet for line in self.lines)


@dataclass(frozen=True)
class ChangeList:
    label: str
    lines: tuple[Said, ...]
    unlisted: int


@dataclass(frozen=True)
class Changed:
    """What changed of one backend since the release before."""

    title: str
    counts: tuple[int, ...]
    unchanged: int
    notes: tuple[str, ...]
    lists: tuple[ChangeList, ...]


@dataclass(frozen=True)
class Page:
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    compared: bool
    changed: tuple[Changed, ...]
    labels: tuple[str, ...]
    suite: str
