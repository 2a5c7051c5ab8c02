"""The page in a browser: its own script runs, hostile text does not, nothing is asked of a network.

Chromium without a window writes the document as it stands after its scripts have run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hostile import harmless, hostile, replaced, shown
from page_tree import tree

Json = dict[str, Any]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-sync",
           "--disable-dev-shm-usage", "--enable-logging=stderr")  # fmt: skip
OWNED = 'data-owned="1"'
BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser: none of {', '.join(BROWSERS)} is on the path"
)


def rendered(page: str, folder: Path) -> tuple[str, str]:
    """The document after its scripts, and what the browser's console said."""
    assert BROWSER is not None
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    done = subprocess.run(
        [BROWSER, *OPTIONS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, encoding="utf-8", errors="replace",
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(console)


def test_hostile_text_would_run_in_another_page(tmp_path: Path) -> None:
    """That the mark is seen where it is set: the same texts, not escaped and without a policy."""
    raw = "".join(hostile(number) for number in range(1, 15) if "\ud800" not in hostile(number))
    document, _ = rendered(f"<!DOCTYPE html><p>{raw}", tmp_path)
    assert OWNED in document


def test_hostile_text_does_not_run_here(few_reports: list[Json], tmp_path: Path) -> None:
    document, console = rendered(shown(replaced(few_reports, hostile), "report.json"), tmp_path)
    assert OWNED not in document
    assert console == ""
    other, _ = rendered(shown(replaced(few_reports, harmless), "report.json"), tmp_path)
    tags = re.compile(r"<[a-z][\w-]*")
    assert tags.findall(document) == tags.findall(other)


def test_the_policy_stops_what_slips_through(few_reports: list[Json], tmp_path: Path) -> None:
    """Were a text not escaped, the policy would still not let it run or load anything."""
    page = shown(replaced(few_reports, harmless), "report.json")
    planted = hostile(14) + hostile(1) + hostile(2) + '<img src="file:///etc/hostname">'
    document, console = rendered(page.replace("harmless nr1.", planted, 1), tmp_path)
    assert "<img" in document  # it did slip through
    assert OWNED not in document
    assert "Content Security Policy" in console


def test_its_own_script_and_style_run(few_reports: list[Json], tmp_path: Path) -> None:
    document, console = rendered(shown(few_reports, "report.json"), tmp_path)
    found = tree(document)
    assert "hidden" not in found.one("div", cls="tools").attributes
    copies = found.all("button", cls="copy")
    assert copies and all("hidden" not in button.attributes for button in copies)
    assert console == ""
