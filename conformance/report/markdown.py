"""The Markdown summary: a matrix that is read in ten seconds, then each deviation in full."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..model.check import FAILING
from ..running.engine import BackendNotRun
from .accuracy_text import (
    EACH,
    EXPLAINED,
    Cell,
    beyond_in_full,
    beyond_strict,
    element,
    lines,
    short,
)
from .findings_text import counted, numbers, spans
from .markup import aggregated, code, fenced, text
from .matrix import ALARMING, present, release, rows
from .matrix import EXPLAINED as COLUMNS_EXPLAINED

Json = dict[str, Any]

VARIANT = re.compile(r"\[.*?\]|:(?:grad|hessian)\.\w+$")
"""The parts of a check's id that say which expansion of its case, or which quantity, it is."""

MOST_VARIANTS = 12
"""How many variants of one case are listed; they mostly fail alike."""


def summary(reports: Sequence[Json], not_run: Sequence[BackendNotRun]) -> str:
    """A page for a CI job: what was run, the matrix, what deviates and how to see it."""
    parts = ["# Binary cross entropy with logits: findings and checks", ""]
    for absent in not_run:
        parts += [f"> **NOT RUN: {text(absent.adapter)}.** {text(absent.reason)}", ""]
    for report in reports:
        parts += _findings(report)
    parts += ["## What passed and failed", "", *matrix(reports), "", COLUMNS_EXPLAINED, ""]
    for report in reports:
        parts += _backend(report)
    return "\n".join(parts).rstrip() + "\n"


def _findings(report: Json) -> list[str]:
    """A section of the findings, each with its two numbers and code that shows it."""
    lines = [f"## {text(release(report))}: {counted(report['findings'])}", ""]
    for each in report["findings"]:
        lines += [f"**{each['verdict']}: {text(each['title'])}**  "]
        lines += [f"{text(numbers(each))}  ", f"in {text(spans(each))}", ""]
        if each["reproduce"]:
            lines += aggregated("In a plain interpreter", fenced(each["reproduce"]))
    return lines


def matrix(reports: Iterable[Json]) -> list[str]:
    """Surfaces down; claims and generated checks by the result of them across."""
    made = rows(reports)
    names = present(made)
    table = [
        "| release | surface | " + " | ".join(names) + " |",
        "|---|---|" + "---:|" * len(names),
    ]
    for row in made:
        cells = [_alarm(name, row.counts[name]) for name in names]
        table.append(f"| {text(row.release)} | {code(row.surface)} | {' | '.join(cells)} |")
    return table


def _alarm(name: str, count: int) -> str:
    return _bold(str(count), count > 0 and name in ALARMING)


def _bold(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text


def _backend(report: Json) -> list[str]:
    backend = report["backend"]
    where = f"{backend['device']} ({text(backend['device_name'])}), {backend['mode']}"
    message = [
        f"## {text(release(report))}",
        "",
        f"{where}, Python {backend['python']}, numpy {backend['numpy']}, "
        f"suite {report['suite']['version']}, grade {report['suite']['grade']}.",
        "",
    ]
    if report["interrupted"]:
        message += [f"> **Interrupted** after {len(report['checks'])} checks.", ""]
    if report["broken"]:
        message += [f"> **The backend was lost.** {text(report['broken'])}", ""]
    for death in report["lost_workers"]:
        message += [f"> **A worker died** after {code(death['after'])}: {text(death['cause'])}", ""]
    return [
        *message,
        *_deviations(report),
        *_exactness(report),
        *_known(report),
        *_strict(report),
        *_left_open(report),
    ]


def _deviations(report: Json) -> list[str]:
    failing = _by_case(c for c in report["checks"] if c["verdict"] in FAILING)
    message = [line for case, variants in failing.items() for line in _deviation(case, variants)]
    return message or ["No new deviation." if _of(report, "known") else "No deviation.", ""]


def _by_case(checks: Iterable[Json]) -> dict[str, list[Json]]:
    """The checks that are variants of one case, or quantities of one series, together."""
    cases: dict[str, list[Json]] = defaultdict(list)
    for check in checks:
        cases[VARIANT.sub("", check["id"])].append(check)
    return cases


def _of(report: Json, verdict: str) -> list[Json]:
    return [check for check in report["checks"] if check["verdict"] == verdict]


def _deviation(case: str, variants: Sequence[Json]) -> list[str]:
    """A case that fails: its sentence, the result of each variant, and a paste for the first."""
    first = variants[0]
    source = first["source"]
    lines = [
        f"### {first['verdict']}: {code(case)}",
        "",
        f"{text(source['document'])}: “{text(source['sentence'])}”",
        "",
    ]
    for check in variants[:MOST_VARIANTS]:
        variant = "".join(VARIANT.findall(check["id"]))
        named = f"{code(variant)} " if variant else ""
        other = f"{check['verdict']}: " if check["verdict"] != first["verdict"] else ""
        lines.append(f"- {named}**{other}{text(check['summary'])}**")
    if len(variants) > MOST_VARIANTS:
        lines.append(f"- and {len(variants) - MOST_VARIANTS} more, in the JSON report")
    lines.append("")
    if first["note"]:
        lines += [text(first["note"]), ""]
    return [*lines, *fenced(first["witness"]["reproduce"])]


def _exactness(report: Json) -> list[str]:
    """Surfaces and dtypes down, quantities across; every row of figures folded below."""
    if not report["accuracy"]:
        return []
    names = list(EACH)
    message = [
        "### How exact",
        "",
        f"{EXPLAINED} Bold: beyond the stable grade.",
        "",
        "| surface | dtype | " + " | ".join(names) + " | within |",
        "|---|---|" + "---:|" * len(names) + "---|",
    ]
    for line in lines(report["accuracy"], EACH):
        cells = " | ".join(map(_cell, line.cells))
        within = _bold(line.grade, line.grade == "neither")
        message.append(f"| {code(line.surface)} | {line.dtype} | {cells} | {within} |")
    named = beyond_strict(report["accuracy"], "surface", "dtype", "quantity")
    beyond = [f"- {text(beyond_in_full(row))}" for row in named]
    return [
        *message,
        "",
        *aggregated(f"{len(beyond)} beyond the strict grade: the worst element of each", beyond),
        *aggregated("Every figure, by reduction", _figures(report["accuracy"])),
    ]


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    return _bold(cell.text, cell.grade == "neither")


FIGURES: dict[str, Callable[[Json], str]] = {
    "surface": lambda row: code(row["surface"]),
    "dtype": lambda row: str(row["dtype"]),
    "reduction": lambda row: str(row["reduction"]),
    "quantity": lambda row: str(row["quantity"]),
    "elements": lambda row: f"{row['elements']:,}",
    "p50": lambda row: short(row["p50"]),
    "p99": lambda row: short(row["p99"]),
    "p99.9": lambda row: short(row["p999"]),
    "max ulp": lambda row: short(row["max_ulp"]),
    "nearest": lambda row: f"{100 * row['correctly_rounded'] / max(row['elements'], 1):.0f} %",
    "k stable": lambda row: short(row["k_stable"]),
    "k strict": lambda row: short(row["k_strict"]),
    "rtol at atol 0": lambda row: short(row["smallest_rtol"]["0"]),
    "rtol at another atol": lambda row: _pairs(row["smallest_rtol"], leaving="0"),
    "atol at rtol": lambda row: _pairs(row["smallest_atol"]),
    "worst": lambda row: text(element(row["at"])) if row["at"] else "–",
}
"""Columns of the full table, each with what it shows of a row."""


def _pairs(found: Json, leaving: str = "") -> str:
    """value (at key), for each but one."""
    return ", ".join(f"{short(v)} (at {key})" for key, v in found.items() if key != leaving)


def _figures(accuracy: Sequence[Json]) -> list[str]:
    table = [
        f"| {' | '.join(FIGURES)} |",
        "|---|---|---|---|" + "---:|" * (len(FIGURES) - 5) + "---|",
    ]
    return table + [f"| {' | '.join(show(row) for show in FIGURES.values())} |" for row in accuracy]


def _known(report: Json) -> list[str]:
    """The known deviations, folded away, by their causes."""
    known = _of(report, "known")
    causes: dict[str, list[Json]] = defaultdict(list)
    for check in known:
        causes[cause_of(check)].append(check)
    message = []
    for cause, checks in causes.items():
        message += ["", f"**{text(cause)}**", ""]
        message += [f"- {code(check['id'])}: {text(check['summary'])}" for check in checks]
    return aggregated(f"{len(known)} known deviations, {len(causes)} causes", message)


def cause_of(check: Json) -> str:
    """Why a known deviation deviates. (Earlier reports have no reasons.)"""
    return str(check.get("reason") or check["note"] or check["summary"])


def _strict(report: Json) -> list[str]:
    """What only the strict grade names, folded away, by series."""
    named = [c for c in _of(report, "conforms") if c["strict"] is False]
    message = []
    for case, checks in _by_case(named).items():
        first = checks[0]
        variant = "".join(VARIANT.findall(first["id"]))
        more = f" and {len(checks) - 1} more" if len(checks) > 1 else ""
        shown = f" ({code(variant)}{more})" if variant else ""
        message.append(f"- {code(case)}{shown}: {text(first['summary'])}")
    return aggregated(f"{len(named)} conform, and are named by the strict grade", message)


def _left_open(report: Json) -> list[str]:
    """What the documents leave open, folded away: recorded, not judged."""
    message = []
    for check in _of(report, "characterised"):
        note = f" ({text(check['note'])})" if check["note"] else ""
        message.append(f"- {code(check['id'])}: {text(check['summary'])}{note}")
    return aggregated(f"{len(message)} left open: recorded, not judged", message)


def in_full(check: Json) -> str:
    """A check as plain text: its sentence, the result of it, and the paste."""
    source = check["source"]
    lines = [
        f"{check['verdict']}: {check['id']}",
        f"  {source['document']}: “{source['sentence']}”",
        f"  {check['summary']}",
    ]
    if check["note"]:
        lines.append(f"  note: {check['note']}")
    return "\n".join([*lines, "", check["witness"]["reproduce"]])
