"""`bce-conformance diff`: what changed between two reports, or two folders of them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..report import terminal
from ..report.changes import page, release, title
from ..report.diff import LABELS, Difference, difference
from ..report.document import comparable
from ..report.html.visible import visible
from ..report.read import read, reports_in
from ..report.write import atomically, json_text
from . import UsageError

Json = dict[str, Any]
SCHEMA = "bce-conformance-diff/1"


def command(options: Namespace) -> int:
    """Exit status 0, or 1 for something new or drifted for the worse; raises UsageError."""
    pairs, alone = _pairs(options.old, options.new)
    differences = [difference(old, new, options.drift) for old, new in pairs]
    # Written first: whoever reads only the head of what is printed still gets the files.
    if options.json:
        atomically(options.json, json_text(_document(differences, alone, options.drift)))
    if options.markdown:
        atomically(options.markdown, page(differences))
    _show(terminal.console(), differences, alone, options.verbose)
    return int(any(each.failing for each in differences))


def _pairs(old: Path, new: Path) -> tuple[list[tuple[Json, Json]], list[str]]:
    """Reports to compare, and words for those that have no partner. Raises UsageError."""
    if old.is_dir() != new.is_dir():
        raise UsageError(f"diff: expected two reports or two folders, not {old} and {new}")
    if not old.is_dir():
        return [(read(old), read(new))], []
    before, now = _folder(old), _folder(new)
    pairs = [(before[key], now[key]) for key in before if key in now]
    if not pairs:
        raise UsageError(f"diff: expected a backend that is in {old} and in {new}")
    lonely = [f"only in {folder}: {release(report)}"
              for folder, mine, other in ((old, before, now), (new, now, before))
              for key, report in mine.items() if key not in other]  # fmt: skip
    return pairs, lonely


def _folder(folder: Path) -> dict[tuple[str, ...], Json]:
    """The reports of a folder by backend, whatever the release."""
    found: dict[tuple[str, ...], Json] = {}
    for path in reports_in(folder):
        report = read(path)
        key = comparable(report)
        if key in found:
            other = found[key]["backend"]["framework_version"]
            raise UsageError(f"{path}: a second report of {' '.join(key).strip()}, beside that of "
                             f"{other}: name the two reports to compare")  # fmt: skip
        found[key] = report
    return found


def _show(console: Console, differences: list[Difference], alone: list[str], verbose: bool) -> None:
    table = Table("", *LABELS, "as before", box=None, header_style="")
    for each in differences:
        table.add_row(
            title(each), *(str(each.count(label)) for label in LABELS), str(each.unchanged)
        )
    console.print(table)
    for each in differences:
        for note in each.notes:
            console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    for words in alone:
        console.print(f"note: {words}", markup=False, highlight=False, soft_wrap=True)
    console.print()
    for each in differences:
        for line in _lines(each, verbose):
            console.print(visible(line), markup=False, highlight=False, soft_wrap=True)


def _lines(each: Difference, verbose: bool) -> Iterator[str]:
    """One line for each finding that changed; verbose: its checks below it."""
    for group in (group for label in LABELS for group in each.groups(label)):
        yield group.line()
        if verbose:
            yield from (f"    {change.line()}" for change in group.changes)


def _document(differences: list[Difference], alone: list[str], drift: float) -> Json:
    return {
        "schema": SCHEMA,
        "drift": drift,
        "notes": alone,
        "differences": [
            {
                "old": each.old["backend"],
                "new": each.new["backend"],
                "counts": {label: each.count(label) for label in LABELS},
                "unchanged": each.unchanged,
                "notes": list(each.notes),
                "findings": [
                    {
                        "label": g.label,
                        "id": g.id,
                        "title": g.topic,
                        "checks": [change.name for change in g.changes],
                    }
                    for label in LABELS
                    for g in each.groups(label)
                ],
                "changes": [change.json() for change in each.changes],
            }
            for each in differences
        ],
    }
