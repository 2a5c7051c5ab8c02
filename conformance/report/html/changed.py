"""Differences between reports, by the cell that they are about, and as a chapter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ..changes import title
from ..diff import LABELS, Change, Difference, row_name
from ..document import swept_dtype
from ..markdown import VARIANT
from .backend import Backend
from .view import Changed, ChangeList, Said

Json = dict[str, Any]

CLAIMS = "claims"
"""What stands for the quantity where a sentence of a document is concerned."""
MOST_CHANGES = 60
MOST_CHANGES_OF_A_CELL = 8
"""So many cases are listed in the chapter, and in a cell; the changes of others are counted."""


def note_changes(each: Backend, differences: Sequence[Difference]) -> None:
    """Hands the changes of this column to its cells."""
    for difference in differences:
        if not any(difference.new is kept.report for kept in each.kept):
            continue
        places = {**_places(difference.old), **_places(difference.new)}
        for change in difference.changes:
            each.changes.setdefault(places[change.name], []).append(change)


def _places(report: Json) -> dict[str, tuple[str, str]]:
    """The cell of each check and row of figures, by what changes call it."""
    found = {row_name(row): (row["surface"], row["quantity"]) for row in report["accuracy"]}
    for check in report["checks"]:
        documented = check["kind"] == "documented"
        found[check["id"]] = (check["surface"], CLAIMS if documented else check["quantity"])
    return found


def changes_of_a_cell(changes: Sequence[Change]) -> tuple[Said, ...]:
    """Its changes, those of one case together; what is too much is counted."""
    cases: list[list[Change]] = []
    for label in LABELS:
        cases += _alike([change for change in changes if change.label == label])
    said = [_change(alike) for alike in cases[:MOST_CHANGES_OF_A_CELL]]
    rest = sum(map(len, cases[MOST_CHANGES_OF_A_CELL:]))
    if rest:
        said.append(Said(f"{rest} more", "…", "told by bce-conformance diff"))
    return tuple(said)


def changed(each: Difference) -> Changed:
    lists = []
    for label in LABELS:
        own = _alike([change for change in each.changes if change.label == label])
        if own:
            rest = sum(len(alike) for alike in own[MOST_CHANGES:])
            lists.append(ChangeList(label, tuple(map(_change, own[:MOST_CHANGES])), rest))
    return Changed(
        title=title(each) + (f" ({dtype} sweep)" if (dtype := swept_dtype(each.new)) else ""),
        counts=tuple(each.count(label) for label in LABELS),
        unchanged=each.unchanged,
        notes=each.notes,
        lists=tuple(lists),
    )


def _alike(changes: Sequence[Change]) -> list[list[Change]]:
    """The changes of one case together, whatever the surface, the dtype and the quantity."""
    cases: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        cases[VARIANT.sub("", change.name.partition("/")[2] or change.name)].append(change)
    return list(cases.values())


def _change(alike: Sequence[Change]) -> Said:
    first = alike[0]
    more = f" and {len(alike) - 1} like it" if len(alike) > 1 else ""
    return Said(first.name + more, first.label, first.summary)
