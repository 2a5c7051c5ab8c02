"""The Markdown summary: a matrix that is read in ten seconds, then each deviation in full."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..check import FAILING
from ..engine import BackendNotRun

Json = dict[str, Any]
Column = tuple[str, tuple[str, ...]]

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


VARIANT = re.compile(r"\[.*?\]")
"""The part of a check's id that says which expansion of its case it is."""


@dataclass(frozen=True)
class Row:
    """A surface of a release: its claims (sentences), and its checks by verdict.

    A claim is broken where any of its checks fails, kept where one conforms and none fails.
    """

    release: str
    surface: str
    kept: int
    broken: int
    checks: Counter[str]

    def counts(self, columns: Sequence[Column]) -> list[int]:
        return [sum(self.checks[v] for v in verdicts) for _, verdicts in columns]


def rows(reports: Iterable[Json]) -> list[Row]:
    """One row a surface that was asked anything, in the adapters' order."""
    made = []
    for report in reports:
        backend = report["backend"]
        release = f"{backend['adapter']} {backend['framework_version']}"
        if (backend["device"], backend["mode"]) != ("cpu", "eager"):
            release += f", {backend['device']}, {backend['mode']}"
        for surface in backend["surfaces"]:
            checks = [c for c in report["checks"] if c["surface"] == surface]
            if checks:
                made.append(_row(release, surface, checks))
    return made


def _row(release: str, surface: str, checks: Sequence[Json]) -> Row:
    verdicts: dict[str, set[str]] = defaultdict(set)
    for check in checks:
        verdicts[check["source"]["sentence"]].add(check["verdict"])
    broken = {sentence for sentence, given in verdicts.items() if given & FAILING}
    kept = {sentence for sentence, given in verdicts.items() if "conforms" in given} - broken
    return Row(release, surface, len(kept), len(broken), Counter(c["verdict"] for c in checks))


def present(made: Sequence[Row]) -> list[Column]:
    """The columns that count anything; kept and broken always."""
    always = ("kept", "broken")
    return [(name, verdicts) for name, verdicts in COLUMNS
            if name in always or any(row.checks[v] for row in made for v in verdicts)]  # fmt: skip


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
    """Surfaces down; claims kept and broken, then checks by verdict, across."""
    made = rows(reports)
    columns = present(made)
    names = ["claims kept", "claims broken", "checks", *(name for name, _ in columns)]
    lines = ["| release | surface | " + " | ".join(names) + " |"]
    lines.append("|---|---|" + "---:|" * len(names))
    for row in made:
        counted = zip((name for name, _ in columns), row.counts(columns), strict=True)
        cells = [str(row.kept), _alarm("broken", row.broken), str(row.checks.total())]
        cells += [_alarm(name, count) for name, count in counted]
        lines.append(f"| {_text(row.release)} | {_code(row.surface)} | {' | '.join(cells)} |")
    return lines


def _alarm(name: str, count: int) -> str:
    return f"**{count}**" if count and name in ("broken", "crashed") else str(count)


def _backend(report: Json) -> list[str]:
    backend = report["backend"]
    where = f"{backend['device']} ({_text(backend['device_name'])}), {backend['mode']}"
    lines = [
        f"## {_text(backend['adapter'])} {_text(backend['framework_version'])}",
        "",
        f"{where}, Python {backend['python']}, numpy {backend['numpy']}, "
        f"suite {report['suite']['version']}, grade {report['suite']['grade']}.",
        "",
    ]
    if report["interrupted"]:
        lines += [f"> **Interrupted** after {len(report['checks'])} checks.", ""]
    if report["broken"]:
        lines += [f"> **The backend was lost.** {_text(report['broken'])}", ""]
    for death in report["lost_workers"]:
        lines += [f"> **A worker died** after {_code(death['after'])}: {_text(death['cause'])}", ""]
    failing: dict[str, list[Json]] = defaultdict(list)
    for check in report["checks"]:
        if check["verdict"] in FAILING:
            failing[VARIANT.sub("", check["id"])].append(check)
    for case, variants in failing.items():
        lines += _deviation(case, variants)
    return [*lines, *([] if failing else ["No deviation.", ""]), *_left_open(report)]


def _deviation(case: str, variants: Sequence[Json]) -> list[str]:
    """A case that fails: its sentence, what came of each variant, and a paste for the first."""
    first = variants[0]
    source = first["source"]
    lines = [
        f"### {first['verdict']}: {_code(case)}",
        "",
        f"{_text(source['document'])}: “{_text(source['sentence'])}”",
        "",
    ]
    for check in variants:
        variant = "".join(VARIANT.findall(check["id"]))
        named = f"{_code(variant)} " if variant else ""
        lines.append(f"- {named}**{_text(check['summary'])}**")
    lines.append("")
    if first["note"]:
        lines += [_text(first["note"]), ""]
    code = first["witness"]["reproduce"]
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
    return [*lines, f"{fence}python", code, fence, ""]


def _left_open(report: Json) -> list[str]:
    """What the documents leave open, folded away: recorded, not judged."""
    checks = [c for c in report["checks"] if c["verdict"] == "characterised"]
    if not checks:
        return []
    lines = [f"<details><summary>{len(checks)} left open: recorded, not judged</summary>", ""]
    for check in checks:
        note = f" ({_text(check['note'])})" if check["note"] else ""
        lines.append(f"- {_code(check['id'])}: {_text(check['summary'])}{note}")
    return [*lines, "", "</details>", ""]


def _code(text: str) -> str:
    """An id as a code span; one that holds backticks or line breaks loses them."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


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
