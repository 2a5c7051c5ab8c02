"""Findings in words, for a terminal, a page and a CI job: one place for how a finding reads."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from ..findings.titles import NAMES, first_line, two_numbers

Json = dict[str, Any]
MOST_NAMED = 3
"""Surfaces that are listed by name; of more, how many there are."""


def spans(finding: Json) -> str:
    """Where a finding was seen, and in how many checks."""
    surfaces = finding["surfaces"]
    where = ", ".join(surfaces[:MOST_NAMED])
    if len(surfaces) > MOST_NAMED:
        where += f" and {len(surfaces) - MOST_NAMED} more"
    quantities = ", ".join(NAMES[q] for q in finding["quantities"])
    dtypes, reductions = ", ".join(finding["dtypes"]), ", ".join(finding["reductions"])
    n = len(finding["checks"])
    return f"{where}; {quantities}; {dtypes}; reduction {reductions}; {n} check{'s'[: n != 1]}"


def numbers(finding: Json) -> str:
    """expected …, got …; what was raised; or how the process ended."""
    got, expected = finding["witness"]["got"], finding["witness"]["expected"]
    if "raised" in got:
        raised = got["raised"]
        return f"raised {raised['type']}: {first_line(got)[:200]}"
    if "value" in expected and "returned" in got:
        value, due = two_numbers(finding)
        at = f" at index {expected['at']}" if expected.get("at") else ""
        return f"expected {due}, got {value}{at}"
    if "returned" in got:
        form = f"{got['returned']['dtype']} of shape {got['returned']['shape']}"
        return f"expected: {expected['promise']}; got {form}"
    return "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in got.items())[:200]


def counted(findings: Sequence[Json]) -> str:
    """2 new findings, 5 known."""
    words: list[str] = []
    for verdict in ("new", "fixed", "known"):
        n = sum(each["verdict"] == verdict for each in findings)
        if n:
            noun = f" finding{'s'[: n != 1]}" if not words else ""
            words.append(f"{n} {verdict}{noun}")
    return ", ".join(words) or "no findings"


def lines(finding: Json, report: str, python: str = "") -> Iterator[str]:
    """Title, the two numbers, where it was seen, and how to see it again."""
    yield f"{finding['verdict']}: {finding['title']}"
    yield f"    {numbers(finding)}"
    yield f"    in {spans(finding)}"
    words = ["bce-conformance", "replay", report, finding["id"]]
    yield f"    {shlex.join([*words, *(['--python', python] if python else [])])}"
