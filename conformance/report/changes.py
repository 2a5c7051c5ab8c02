"""Differences between reports as a page: the counts first, then a paragraph for each topic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .diff import LABELS, Difference, Group, Label
from .markup import aggregated, code, fenced, text

Json = dict[str, Any]


def release(report: Json) -> str:
    """Such as: paddle 3.3.1 on cpu, eager."""
    backend = report["backend"]
    where = f"{backend['adapter']} {backend['framework_version']} on {backend['device']}"
    return f"{where}, {backend['mode']}"


def title(each: Difference) -> str:
    """Such as: paddle 2.6.2 on cpu, eager → 3.3.1."""
    return f"{release(each.old)} → {each.new['backend']['framework_version']}"


def page(differences: Sequence[Difference]) -> str:
    """Markdown for a job's page."""
    only = f": {title(differences[0])}" if len(differences) == 1 else ""
    lines = [f"# What changed{only}", "", "| | " + " | ".join(LABELS) + " | as before |",
             "|---|" + "--:|" * (len(LABELS) + 1)]  # fmt: skip
    for each in differences:
        counts = " | ".join(str(each.count(label)) for label in LABELS)
        lines.append(f"| {title(each)} | {counts} | {each.unchanged} |")
    for each in differences:
        lines += ["", f"## {title(each)}", ""]
        lines += [f"- {text(note)}" for note in each.notes]
        lines += _changes(each) if each.changes else ["Nothing changed."]
    return "\n".join(lines) + "\n"


SHOWN: dict[Label, int] = {"NEW": 15, "FIXED": 8, "DRIFTED": 4, "CHANGED": 4, "GONE": 4}
"""How many groups of a label the first screen has room for."""


def first_screen(each: Difference) -> Iterator[tuple[str, str, str]]:
    """Label, id and title of each group, and how many checks, in the order of their gravity."""
    for label in LABELS:
        groups = each.groups(label)
        for group in groups[: SHOWN[label]]:
            n = len(group.changes)
            yield label, f"{group.id}: {group.topic}", f"{n} check{'s'[: n != 1]}"
        rest = groups[SHOWN[label] :]
        if rest:
            count = sum(len(group.changes) for group in rest)
            yield label, f"{count} of {len(rest)} more kinds", ""


def _changes(each: Difference) -> Iterator[str]:
    for label in LABELS:
        groups = each.groups(label)
        if groups:
            yield from ("", f"### {label} ({each.count(label)})", "")
        for group in groups:
            yield from _group(group)


def _group(group: Group) -> Iterator[str]:
    """What the changes are about, the first of them with a paste that shows it, and their names."""
    first = group.changes[0]
    many = "" if group.surfaces == 1 else f" on {group.surfaces} surfaces"
    count = f"{len(group.changes)}{many}"
    yield f"**{text(group.topic)}** ({count}): {text(first.summary)}"
    yield ""
    paste = first.reproduce
    if paste and group.label in ("NEW", "FIXED"):
        yield from aggregated("In a plain interpreter", fenced(paste))
    if len(group.changes) > 1:
        named = [f"- {code(change.name)}: {text(change.summary)}" for change in group.changes]
        yield from aggregated("Each of them", named)
