"""A short version of the campaign in `mutations`: no damaged report is an internal error."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutations import campaign

from bce_conformance.cli import main


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    assert main(["run", "--backend", "numpy", "--only", "cases", "--report-dir", str(folder)]) == 0
    (file,) = folder.glob("*.json")
    return file


def test_no_damaged_report_is_an_internal_error(good: Path) -> None:
    found = campaign(good, 150, 0, ("report", "html", "diff", "merge"))
    assert [what for what in found if what.startswith("WRONG")] == []
    assert sum(n for what, n in found.items() if what.endswith(" 2")) > 50


def test_no_damaged_report_is_replayed_wrongly(good: Path) -> None:
    found = campaign(good, 12, 1, ("replay",))
    assert [what for what in found if what.startswith("WRONG")] == []
