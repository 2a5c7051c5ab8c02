"""Surfaces down, claims and generated checks by the result of them across: the first table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..model.check import FAILING

Json = dict[str, Any]

CLAIMS = ("claims kept", "claims broken", "claims known")
GENERATED = ("generated kept", "generated broken", "generated known")
COLUMNS = (*CLAIMS, *GENERATED, "crashed", "unsupported", "left open", "refused")
"""The columns. A claim is a sentence of the surface's document, whose cases are many checks; a
generated check stands for many drawn examples. The last four count checks of both sorts."""

ALARMING = ("claims broken", "generated broken", "crashed")
EXPLAINED = (
    "A claim is a sentence of the surface's own document; a generated check holds drawn examples "
    "to the formula. Known deviations are listed with their causes; they do not fail a run."
)

GENERATED_BY_VERDICT = {
    "conforms": "generated kept",
    "deviates": "generated broken",
    "fixed": "generated broken",
    "known": "generated known",
}
OTHER_VERDICTS = {
    "crashed": "crashed",
    "timed-out": "crashed",
    "unsupported": "unsupported",
    "characterised": "left open",
    "refused": "refused",
}


@dataclass(frozen=True)
class Row:
    """A surface of a release; counts are by column, and generated says if any check of it is."""

    release: str
    surface: str
    counts: Counter[str]
    generated: bool


def rows(reports: Iterable[Json]) -> list[Row]:
    """One row a surface that was asked anything, in the adapters' order."""
    made = []
    for report in reports:
        for surface in report["backend"]["surfaces"]:
            checks = [c for c in report["checks"] if c["surface"] == surface]
            if checks:
                made.append(_row(release(report), surface, checks))
    return made


def release(report: Json) -> str:
    """The framework and its version, and where it ran if that is not eagerly on the CPU."""
    backend = report["backend"]
    name = f"{backend['adapter']} {backend['framework_version']}"
    if (backend["device"], backend["mode"]) != ("cpu", "eager"):
        name += f", {backend['device']}, {backend['mode']}"
    return name


def _row(release: str, surface: str, checks: Sequence[Json]) -> Row:
    documented = [check for check in checks if check["kind"] == "documented"]
    generated = [check for check in checks if check["kind"] != "documented"]
    counts = Counter(_claims(documented))
    for check in generated:
        if check["verdict"] in GENERATED_BY_VERDICT:
            counts[GENERATED_BY_VERDICT[check["verdict"]]] += 1
    for check in checks:
        if check["verdict"] in OTHER_VERDICTS:
            counts[OTHER_VERDICTS[check["verdict"]]] += 1
    return Row(release, surface, counts, bool(generated))


def _claims(checks: Iterable[Json]) -> Iterable[str]:
    """What came of each sentence: broken where any check of it fails, known where any deviates as
    is known, kept where one conforms; left out where it was only recorded or could not be asked."""
    verdicts: dict[str, set[str]] = defaultdict(set)
    for check in checks:
        verdicts[check["source"]["sentence"]].add(check["verdict"])
    for given in verdicts.values():
        if given & FAILING:
            yield "claims broken"
        elif "known" in given:
            yield "claims known"
        elif "conforms" in given:
            yield "claims kept"


def present(made: Sequence[Row]) -> list[str]:
    """The columns that count anything, and those of what is kept and broken."""
    always = {"claims kept", "claims broken"}
    if any(row.generated for row in made):
        always |= {"generated kept", "generated broken"}
    return [name for name in COLUMNS if name in always or any(row.counts[name] for row in made)]
