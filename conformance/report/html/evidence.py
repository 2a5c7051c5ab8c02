"""Checks and rows of figures as evidence: what deviates and why, the worst element, its code."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...judging import tolerance
from ...model.check import FAILING
from ...model.dtypes import FLOATS
from ..accuracy_text import element, grade_of, short
from ..markdown import VARIANT
from .view import GRAVEST, Exact, FindingCard, Paste, Said, Worst

Json = dict[str, Any]

LONGEST_PASTE = 6000
"""Characters of code beyond which a call is named, and not pasted into the page."""
MOST_LISTED = 12
"""Checks of one reason that are listed beside the one in full; more are counted."""
BAD = FAILING | {"known"}

MOST_TOLERANCES = 1000.0
"""Beyond that a multiple of the tolerance tells nothing: the result is another one."""

EXACT_COLUMNS = ("elements", "median", "99 %", "largest", "nearest", "of strict", "of stable",
                 "rtol at atol 0", "or at another atol")  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """A report, and the name of its file for commands that read it."""

    name: str
    report: Json

    @property
    def grade(self) -> tolerance.Grade:
        """That which decides."""
        return "strict" if self.report["suite"]["grade"] == "strict" else "stable"

    def replay(self, check_id: str) -> str:
        return f"bce-conformance replay {shlex.quote(self.name)} {shlex.quote(check_id)}"


@dataclass(frozen=True)
class Held:
    """A check and the report that holds it."""

    kept: Kept
    check: Json

    @property
    def verdict(self) -> str:
        return str(self.check["verdict"])

    @property
    def name(self) -> str:
        """The id, without the surface under which it stands."""
        return str(self.check["id"]).removeprefix(f"{self.check['surface']}/")

    @property
    def case(self) -> str:
        return VARIANT.sub("", self.name)

    @property
    def rank(self) -> tuple[float, ...]:
        """The larger, the worse: by verdict, then by the error where there is one."""
        share = share_of_check(self.check)
        return -GRAVEST.index(self.verdict), -1.0 if share is None else share

    @property
    def paste(self) -> Paste:
        code = self.check["witness"]["reproduce"]
        fits = code and len(code) <= LONGEST_PASTE
        return Paste(self.check["id"], code if fits else None, self.kept.replay(self.check["id"]))


# ---- how far off


def share_of_check(check: Json) -> float | None:
    """The error of a check's witness as a multiple of its tolerance; None where it has none."""
    expected = check["witness"]["expected"]
    ulps, allowed, value = (expected.get(k) for k in ("ulps_off", "tolerance", "value"))
    form = FLOATS.get(check["dtype"])
    numbers = (ulps, allowed, value)
    if form is None or not all(isinstance(n, int | float) for n in numbers) or not allowed:
        return None
    spacing = float(form.ulp(np.array(float(value))))
    return float(ulps) * spacing / float(allowed)


def share_of_row(row: Json, grade: tolerance.Grade) -> float | None:
    """The largest error of a row as a multiple of a grade's tolerance."""
    if not row["elements"]:
        return None
    return float(row[f"k_{grade}"]) / tolerance.k(row["quantity"], row["dtype"])


def share_shown(share: float | None) -> str:
    """The largest error as a multiple of the tolerance; a wrong formula has no such measure."""
    if share is None:
        return "–"
    return short(share) if share < MOST_TOLERANCES else "wrong"


def relative(row: Json) -> float:
    """The largest error of a row in units that compare dtypes: ulps times the unit roundoff."""
    return float(row["max_ulp"]) * FLOATS[row["dtype"]].unit_roundoff


KINDS = {"crashed": "dies", "timed_out": "hangs", "raised": "raises"}
"""What a surface does in the place of an answer, by what a witness calls it."""


def kind_of(held: Iterable[Held]) -> str:
    """What came in the place of a number, of the gravest that deviate."""
    check = max((h for h in held if h.verdict in BAD), key=lambda h: h.rank).check
    (got,) = check["witness"]["got"]
    if got != "returned":
        return KINDS.get(got, str(got))
    return "inf or NaN" if "value" in check["witness"]["expected"] else "shape, dtype"


# ---- what deviates


def findings(held: Iterable[Held]) -> tuple[FindingCard, ...]:
    """What deviates, by reason, the gravest first: known ones by cause, new ones by case."""
    reasons: dict[tuple[str, str], list[Held]] = defaultdict(list)
    for each in held:
        if each.verdict in BAD:
            reasons[each.verdict, reason(each)].append(each)
    made = [(max(h.rank for h in alike), _card(title, alike))
            for (_, title), alike in reasons.items()]  # fmt: skip
    made.sort(key=lambda pair: [-n for n in pair[0]])
    return tuple(card for _, card in made)


def reason(held: Held) -> str:
    """The cause of a known deviation; the case of another."""
    return _cause(held.check) if held.verdict == "known" else held.case


def _cause(check: Json) -> str:
    """Of a known deviation: its summary up to what this check shows of it."""
    told = str(check["summary"]).split("; known (", 1)
    summary = "known (" + told[1] if len(told) > 1 else told[0]
    return summary.split(". ", 1)[0]


RECORDED = re.compile(r"known \(([^()]*)\): (.*)", re.DOTALL)
"""A cause as a summary begins with it: which releases, and why."""


def _titled(cause: str) -> str:
    met = RECORDED.fullmatch(cause)
    return f"{met[2]} (on record for {met[1]})" if met else cause


def _card(title: str, alike: Sequence[Held]) -> FindingCard:
    """The worst whose code fits is shown in full."""
    first = max(alike, key=lambda h: (h.paste.code is not None, h.rank, h.name))
    check = first.check
    others = [h for h in alike if h is not first]
    return FindingCard(
        verdict=first.verdict,
        title=_titled(title),
        count=len(alike),
        name=first.name,
        told=_rest(check["summary"], title),
        document=check["source"]["document"],
        sentence=check["source"]["sentence"],
        note=check["note"],
        paste=first.paste,
        others=tuple(
            Said(h.name, h.verdict, _rest(h.check["summary"], title)) for h in others[:MOST_LISTED]
        ),
        unlisted=len(others[MOST_LISTED:]),
    )


def _rest(summary: str, title: str) -> str:
    return summary.removeprefix(title).removeprefix(". ") or summary


# ---- the worst of what conforms


def worst_of(rows: Sequence[Json], held: Sequence[Held]) -> Worst | None:
    """The largest error of the rows; of the checks, where nothing was measured."""
    measured = [row for row in rows if row["at"]]
    if measured:
        row = max(measured, key=relative)
        at = row["at"]
        part = f", sweep, {swept(row)}" if "sweep" in row else ""
        title = f"{short(row['max_ulp'])} ulp: {row['dtype']}, reduction {row['reduction']}{part}"
        told = f"got {at['got']['value']}, expected {at['due']}, {element(at)}"
        code = at["reproduce"]
        fits = code and len(code) <= LONGEST_PASTE
        return Worst(title, told, Paste(title, code, "") if fits else None)
    numbered = [h for h in held if share_of_check(h.check) is not None]
    if not numbered:
        return None
    worst = max(numbered, key=lambda h: h.rank)
    return Worst(worst.name, worst.check["summary"], worst.paste)


# ---- figures


def swept(row: Json) -> str:
    """What a row of a sweep is about, as words: target 0, soft targets, with pos_weight."""
    return str(row["sweep"]["name"]).replace("-", " ", 1)


def exact(row: Json) -> Exact:
    """A row of the table of figures, in the order of EXACT_COLUMNS."""
    part = f" · sweep, {swept(row)}" if "sweep" in row else f" · {row['reduction']}"
    nearest = 100 * row["correctly_rounded"] / max(row["elements"], 1)
    cells = (
        f"{row['elements']:,}",
        short(row["p50"]),
        short(row["p99"]),
        short(row["max_ulp"]),
        f"{nearest:.1f} %",
        share_shown(share_of_row(row, "strict")),
        share_shown(share_of_row(row, "stable")),
        short(row["smallest_rtol"]["0"]),
        "; ".join(f"{short(rtol)} at {atol}" for atol, rtol in row["smallest_rtol"].items()
                  if atol != "0"),
    )  # fmt: skip
    return Exact(row["dtype"] + part, cells, grade_of(row))
