"""Markdown that shows whatever it is given as it is: text of frameworks, documents and paths."""

from __future__ import annotations

import re
from collections.abc import Sequence


def text(given: str) -> str:
    """A line that holds nothing Markdown or HTML would take for its own."""
    line = " ".join(given.split())
    return re.sub(r"([\\`*_{}\[\]<>#|~$!&])", r"\\\1", line)


def code(given: str) -> str:
    """An id as a code span; one that holds backticks or line breaks loses them."""
    return f"`{' '.join(given.replace('`', chr(39)).split())}`"


def fenced(program: str) -> list[str]:
    """Lines that show a program, whatever backticks it holds."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", program)), default=0))
    return [f"{fence}python", program, fence, ""]


def aggregated(title: str, body: Sequence[str]) -> list[str]:
    """Lines that unfold under a title; nothing where there are none."""
    if not body:
        return []
    return [f"<details><summary>{title}</summary>", "", *body, "", "</details>", ""]
