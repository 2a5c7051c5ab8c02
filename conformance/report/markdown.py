"""The Markdown summary: a matrix that is read in ten seconds, then each deviation in full."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ..engine import BackendNotRun

Json = dict[str, Any]

COLUMNS = (
    ("kept", ("conforms",)),
    ("broken", ("deviates", "fixed")),
    ("known", ("known",)),
    ("crashed", ("crashed", "timed-out")),
    ("unsupported", ("unsupported",)),
    ("left open", ("characterised",)),
    ("refused", ("refused",)),
)
"""Columns of the matrix, each with the verdicts that it counts."""


def summary(reports: Sequence[Json], not_run: Sequence[BackendNotRun]) -> str:
    """A page for a CI job: what was run, the matrix, what deviates and how to see it."""
    parts = ["# Binary cross entropy with logits: documented claims", ""]
    for absent in not_run:
        parts += [f"> **NOT RUN: {_text(absent.adapter)}.** {_text(absent.reason)}", ""]
    parts += [*matrix(reports), ""]
    for report in reports:
        parts += _backend(report)
    return "\n".join(parts).rstrip() + "\n"


def matrix(reports: Iterable[Json]) -> list[str]:
    """Surfaces down; claims kept, broken and undecided across."""
    lines = [
        "| release | surface | checks | " + " | ".join(name for name, _ in COLUMNS) + " |",
        "|---|---|" + "---:|" * (len(COLUMNS) + 1),
    ]
    for report in reports:
        backend = report["backend"]
        release = f"{backend['adapter']} {backend['framework_version']}"
        if (backend["device"], backend["mode"]) != ("cpu", "eager"):
            release += f", {backend['device']}, {backend['mode']}"
        for surface, counts in by_surface(report).items():
            cells = [sum(counts[v] for v in verdicts) for _, verdicts in COLUMNS]
            bold = [f"**{n}**" if name in ("broken", "crashed") and n else str(n)
                    for (name, _), n in zip(COLUMNS, cells, strict=True)]  # fmt: skip
            row = [_text(release), f"`{surface}`", str(counts.total()), *bold]
            lines.append("| " + " | ".join(row) + " |")
    return lines


def by_surface(report: Json) -> dict[str, Counter[str]]:
    """Verdicts by surface, in the adapter's order."""
    counts: dict[str, Counter[str]] = {}
    for surface in report["backend"]["surfaces"]:
        verdicts = [c["verdict"] for c in report["checks"] if c["surface"] == surface]
        if verdicts:
            counts[surface] = Counter(verdicts)
    return counts


def _backend(report: Json) -> list[str]:
    backend = report["backend"]
    title = f"{backend['adapter']} {backend['framework_version']}"
    lines = [f"## {_text(title)}", ""]
    where = f"{backend['device']} ({_text(backend['device_name'])}), {backend['mode']}"
    lines += [
        f"{where}, Python {backend['python']}, numpy {backend['numpy']}, "
        f"suite {report['suite']['version']}, grade {report['suite']['grade']}.",
        "",
    ]
    if report["interrupted"]:
        lines += [f"> **Interrupted** after {len(report['checks'])} checks.", ""]
    if report["broken"]:
        lines += [f"> **The backend was lost.** {_text(report['broken'])}", ""]
    for death in report["lost_workers"]:
        lines += [f"> **A worker died** after `{death['after']}`: {_text(death['cause'])}", ""]
    failing = [c for c in report["checks"] if c["verdict"] in ("deviates", "crashed", "timed-out")]
    if not failing:
        return [*lines, "No deviation.", ""]
    for check in failing:
        lines += _deviation(check)
    return lines


def _deviation(check: Json) -> list[str]:
    source = check["source"]
    lines = [
        f"### {check['verdict']}: `{check['id']}`",
        "",
        f"{_text(source['document'])}: “{_text(source['sentence'])}”",
        "",
        f"**{_text(check['summary'])}**",
        "",
    ]
    if check["note"]:
        lines += [_text(check["note"]), ""]
    code = check["witness"]["reproduce"]
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
    return [*lines, f"{fence}python", code, fence, ""]


def _text(text: str) -> str:
    """Text of a framework, a document or a path, so that Markdown shows it as it is."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]<>#|~$!])", r"\\\1", line)


def in_full(check: Json) -> str:
    """A check as plain text: its sentence, what came of it, and the paste."""
    source = check["source"]
    lines = [
        f"{check['verdict']}: {check['id']}",
        f"  {source['document']}: “{source['sentence']}”",
        f"  {check['summary']}",
    ]
    if check["note"]:
        lines.append(f"  note: {check['note']}")
    return "\n".join([*lines, "", check["witness"]["reproduce"]])
