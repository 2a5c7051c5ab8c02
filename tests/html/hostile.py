"""Reports whose every text is replaced, once by hostile text and once by harmless text.

Each text is made unmistakable by its number, so that two such pages can be compared.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable
from typing import Any

from bce_conformance.report.diff import difference
from bce_conformance.report.html.evidence import Kept
from bce_conformance.report.html.render import page

Json = dict[str, Any]

WRITTEN = (
    "<script>document.documentElement.dataset.owned=1</script>",
    '"><img src=x onerror="document.documentElement.dataset.owned=1">',
    "'><svg onload=document.documentElement.dataset.owned=1>",
    "</script><script>document.documentElement.dataset.owned=1</script>",
    "</style><style>body{display:none}</style>",
    "]]><!-- --!>",
    "\\x1b[31mred\\x1b[0m \\x07\\x00",
    "\\u202eright to left\\u2066\\u200b\\ufeff",
    "javascript:document.documentElement.dataset.owned=1",
    '<a href="javascript:document.documentElement.dataset.owned=1">x</a>',
    "{{ 7*7 }}{% raise %}${7*7}",
    "\\ud800 \\udfff \\uffff",
    "&lt;b&gt; &#x3c;b&#x3e;",
    "</title></textarea></noscript></template></svg><p>",
)  # fmt: skip
HOSTILE = tuple(
    re.sub(r"\\(x..|u....)", lambda met: chr(int(met[1][1:], 16)), text) for text in WRITTEN
)

KEPT = {
    "schema", "verdict", "kind", "quantity", "dtype", "reduction", "axis", "grade", "profile",
    "shard", "bits", "block", "due", "target", "pos_weight", "logits", "value", "values",
    "started", "platform_kind", "strict", "stable", "layout", "at",
}  # fmt: skip
"""Fields whose words are fixed by the schema, or are numbers."""

TEXTS = {
    "id", "surface", "document", "sentence", "summary", "note", "reproduce", "promise", "type",
    "message", "adapter", "framework_version", "device", "device_name", "mode", "python", "numpy",
    "platform", "cause", "after", "broken", "version",
}  # fmt: skip


def replaced(reports: list[Json], text: Callable[[int], str]) -> list[Json]:
    """The reports with every text replaced; equal texts by equal ones, parts of ids apart."""
    numbers: dict[str, int] = {}
    count = itertools.count(1)

    def of(value: str) -> str:
        if value not in numbers:
            numbers[value] = next(count)
        return text(numbers[value])

    def walk(node: Any, field: str = "") -> Any:
        if isinstance(node, dict):
            return {key: walk(value, key) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value, field) for value in node]
        if not isinstance(node, str) or field in KEPT or not node:
            return node
        return of(node) if field in TEXTS | {"surfaces", "cpu_flags", "sentence", "name"} else node

    made = []
    for report in reports:
        walked = walk(copy.deepcopy(report))
        for old, new in zip(report["accuracy"], walked["accuracy"], strict=True):
            for before, after in zip(
                old.get("sweep", {}).get("cliffs", ()), new.get("sweep", {}).get("cliffs", ()),
                strict=True,
            ):  # fmt: skip
                after["name"] = before["name"]
        made.append(walked)
    return made


def shown(reports: list[Json], name: str) -> str:
    """The page about reports, and about what changed in them."""
    before = copy.deepcopy(reports[0])
    before["checks"][3]["verdict"] = "deviates"
    before["checks"] = before["checks"][:-1]
    return page([Kept(name, report) for report in reports], [difference(before, reports[0])])


def hostile(number: int) -> str:
    return f"{HOSTILE[number % len(HOSTILE)]} nr{number}."


def harmless(number: int) -> str:
    return f"harmless nr{number}."
