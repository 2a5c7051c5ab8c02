"""The front page of a folder of reports: what was run, found and measured, as short tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .accuracy_text import EXPLAINED_BRIEFLY, FEW, Cell, lines
from .document import is_sweep, swept_dtype
from .markdown import cause_of, matrix
from .markup import code, text
from .matrix import EXPLAINED, release
from .sweep_markdown import table

Json = dict[str, Any]

COMMAND = "bce-conformance report DIR --overview DIR/README.md"


def overview(reports: Mapping[str, Json], pages: Mapping[str, str]) -> str:
    """Markdown. reports: by file name, relative to the page; pages: what else lies there, and what
    it is about."""
    ran = [report for report in reports.values() if not is_sweep(report)]
    swept = [report for report in reports.values() if is_sweep(report)]
    message = ["# Reports", "", f"Made from the JSON files beside it by `{COMMAND}`.", ""]
    message += [f"- [{text(title)}]({name})" for name, title in pages.items()]
    if pages:
        message.append("")
    if ran:
        message += ["## What was kept and broken", "", *matrix(ran), "", EXPLAINED, ""]
        message += [*_known(ran), *_exactness(ran)]
    message += [*_sweeps(swept), *_files(reports)]
    return "\n".join(message).rstrip() + "\n"


def _known(reports: Sequence[Json]) -> Iterator[str]:
    """How many checks each known cause fails."""
    causes = [
        (release(report), cause, count)
        for report in reports
        for cause, count in Counter(_causes(report)).most_common()
    ]
    if not causes:
        return
    yield from ("## What is known to deviate", "", "| release | what | checks |", "|---|---|--:|")
    for name, cause, count in causes:
        yield f"| {text(name)} | {text(cause)} | {count} |"
    yield ""


def _causes(report: Json) -> Iterator[str]:
    for check in report["checks"]:
        if check["verdict"] == "known":
            yield cause_of(check)


def _exactness(reports: Sequence[Json]) -> Iterator[str]:
    yield from ("## How exact", "", EXPLAINED_BRIEFLY, "")
    yield "| release | surface | dtype | " + " | ".join(FEW) + " | within |"
    yield "|---|---|---|" + "---:|" * len(FEW) + "---|"
    for report in reports:
        for line in lines(report["accuracy"], FEW):
            cells = " | ".join(map(_cell, line.cells))
            where = f"{text(release(report))} | {code(line.surface)}"
            yield f"| {where} | {line.dtype} | {cells} | {line.grade} |"
    yield ""


def _cell(cell: Cell | None) -> str:
    return "–" if cell is None else cell.brief


def _sweeps(reports: Sequence[Json]) -> Iterator[str]:
    """Every logit of float32; the other dtypes are on the page of sweeps."""
    every = [report for report in reports if swept_dtype(report) == "float32"]
    if not every:
        return
    yield from ("## Every float32 logit", "", *table(every), "")


def _files(reports: Mapping[str, Json]) -> Iterator[str]:
    yield from ("## The reports", "", "| report | profile | seed | Python | device | begun |")
    yield "|---|---|--:|---|---|---|"
    for name, report in reports.items():
        backend, suite = report["backend"], report["suite"]
        device = f"{backend['device']} ({text(backend['device_name'])})"
        begun = report["times"]["started"]
        yield (f"| [{text(name)}]({name}) | {suite['profile']} | {suite['seed']} | "
               f"{backend['python']} | {device} | {begun} |")  # fmt: skip
