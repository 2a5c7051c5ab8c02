"""The snippets of the documentation: run where they need no framework, else read.

Blocks of a page share a folder, in their order. One whose first line is `# name.py` becomes that
file. A python block with a text block right after it prints that. In a console block the lines
shown have to come, in their order; numbers with a point in them may differ, and … stands for any
lines.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pages
import pytest
import yaml

from bce_conformance.cli import parser

ROOT = pages.ROOT
WITH_SNIPPETS = [
    pages.DOCS / f"{name}.md"
    for name in ("index", "try-your-loss", "validate", "add-a-framework", "reports",
                 "ulp-stable-strict", "reference", "cases", "known", "sweeps",
                 "generated")
]  # fmt: skip
NEEDS_MORE = re.compile(r"/path/to/|\.tox/|\b(?:replay|diff|merge)\b|--backend \w+=")
"""Commands that are read only: they need a framework, or a report that is not there."""


def stem(page: Path) -> str:
    return page.stem


@pytest.mark.parametrize("page", WITH_SNIPPETS, ids=stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = pages.fences(page)
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        if block.name is not None:
            (tmp_path / block.name).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            ast.parse(textwrap.dedent(block.text))
            if after is not None and after.language == "text":
                assert ran([sys.executable, "-c", block.text], tmp_path).stdout == after.text
        elif block.language in ("yaml", "yml"):
            assert yaml.safe_load(block.text) is not None
        elif block.language in ("console", "sh"):
            for command in shown(block):
                follow(command, tmp_path)


def shown(block: pages.Fence) -> Iterator[pages.Command]:
    if block.language == "console":
        yield from pages.commands(block)
        return
    for line in block.text.splitlines():
        yield pages.Command(line.split("  # ")[0].split("     # ")[0], ())


def follow(command: pages.Command, folder: Path) -> None:
    """Runs it where it needs nothing more; reads it in any case."""
    if "tox run" in command.words:
        read_tox(command.words)
        return
    words = shlex.split(command.words)
    if words[0] != "bce-conformance":
        assert words[0] in ("python3", "pip", "python"), command.words
        return
    parser().parse_args(words[1:])  # SystemExit for an option that there is not
    if NEEDS_MORE.search(command.words) or words[1] in ("sweep", "backends"):
        return
    done = ran([sys.executable, "-m", "bce_conformance", *words[1:]], folder)
    assert done.returncode in (0, 1), done.stderr
    holds(done.stdout, command.output)


def ran(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment)


def holds(printed: str, output: tuple[str, ...]) -> None:
    """The lines shown come among those printed, next to each other but for …"""
    lines, at, free = [alike(line) for line in printed.splitlines()], 0, False
    for line in output:
        if line.strip() == "…":
            free = True
            continue
        wanted = alike(line)
        found = [i for i in range(at, len(lines)) if lines[i] == wanted]
        assert found, f"{line!r} is not in\n{printed}"
        assert free or found[0] == at, f"{line!r} comes later in\n{printed}"
        at, free = found[0] + 1, False


def alike(line: str) -> str:
    """A line without what differs from machine to machine."""
    line = re.sub(r"\d+(?:\.\d+)+(?:e[+-]?\d+)?", "#", line)
    return re.sub(r"\s+", " ", line).strip()


def read_tox(words: str) -> None:
    ini = (ROOT / "tox.ini").read_text(encoding="utf-8")
    for name in re.findall(r"tox run -e (\w+)", words):
        assert f"[testenv:{name}]" in ini, words


def test_what_the_page_on_adapters_shows_stands_in_the_adapter() -> None:
    adapter = (ROOT / "examples/adapters/optax.py").read_text(encoding="utf-8")
    cases = (ROOT / "examples/adapters/optax.yaml").read_text(encoding="utf-8")
    page = pages.DOCS / "add-a-framework.md"
    shown = [b for b in pages.fences(page) if b.language in ("python", "yaml")]
    assert len(shown) == 6
    for block in shown[:-1]:
        assert block.text in (adapter if block.language == "python" else cases), block.text


def test_lines_that_do_not_come_are_seen() -> None:
    holds("a 1.5\nb\nc\n", ("a 2.25", "…", "c"))
    for output in (("b",), ("a 1.5", "c"), ("…", "d"), ("…", "c", "a 1.5")):
        with pytest.raises(AssertionError):
            holds("a 1.5\nb\nc\n", output)
