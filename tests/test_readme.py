"""The README's commands are the ones that CI runs, and the published pages show one matrix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bce_conformance.report.markdown import matrix
from bce_conformance.report.read import read, reports_in

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SUMMARY = ROOT / "reports" / "summary.md"
OVERVIEW = ROOT / "reports" / "README.md"


def rows(page: str) -> list[str]:
    """The rows of the matrix: a release, a surface, then counts only."""
    return re.findall(r"^\| \w+ \d[^|]*\| `[^|]*` \|(?: \**\d+\** \|)+$", page, flags=re.MULTILINE)


def test_exactly_two_set_up_commands() -> None:
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert [command.split("tox run ")[1] for command in commands] == ["-m main", "-m test"]


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    ran = re.findall(r'^ *bash -c "\$\(readme_command (\w+)\)"', script, flags=re.MULTILINE)
    assert ran == ["test", "main"]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 130


def test_the_overview_of_the_reports_shows_the_matrix_of_the_summary() -> None:
    published = rows(SUMMARY.read_text(encoding="utf-8"))
    assert sorted(rows(OVERVIEW.read_text(encoding="utf-8"))) == sorted(published)
    assert len(published) == 11


def test_the_published_summary_is_made_from_the_published_reports() -> None:
    reports = [read(file) for file in reports_in(ROOT / "reports")]
    assert sorted(rows("\n".join(matrix(reports)))) == sorted(
        rows(SUMMARY.read_text(encoding="utf-8"))
    )


@pytest.mark.parametrize(
    "page", ["README.md", "docs/cases.md", "docs/known.md", "docs/generated.md", "docs/html.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in target or ((ROOT / page).parent / target).exists(), target
