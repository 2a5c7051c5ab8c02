"""Differences between reports as a page: the counts first, then a line for each change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..diff import LABELS, Difference

Json = dict[str, Any]


def release(report: Json) -> str:
    """Such as: paddle 3.3.1 on cpu, eager."""
    backend = report["backend"]
    where = f"{backend['adapter']} {backend['framework_version']} on {backend['device']}"
    return f"{where}, {backend['mode']}"


def page(differences: Sequence[Difference]) -> str:
    """Markdown for a job's page."""
    lines = ["# What changed", "", "| | " + " | ".join(LABELS) + " | as before |",
             "|---|" + "--:|" * (len(LABELS) + 1)]  # fmt: skip
    for each in differences:
        counts = " | ".join(str(each.count(label)) for label in LABELS)
        lines.append(f"| {release(each.old)} → {release(each.new)} | {counts} | {each.unchanged} |")
    for each in differences:
        lines += ["", f"## {release(each.old)} → {release(each.new)}", ""]
        lines += [f"- {note}" for note in each.notes]
        lines += _changes(each) if each.changes else ["Nothing changed."]
    return "\n".join(lines) + "\n"


def _changes(each: Difference) -> Iterator[str]:
    for label in LABELS:
        some = [change for change in each.changes if change.label == label]
        if not some:
            continue
        yield ""
        yield f"### {label} ({len(some)})"
        yield ""
        for change in some:
            yield f"- `{change.name}`: {_plain(change.summary)}"


def _plain(text: str) -> str:
    """Text of frameworks, which may hold what Markdown or HTML would take for its own."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join("\\" + c if c in "`*_[]|" else c for c in escaped.replace("\n", " "))
