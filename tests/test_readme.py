"""The README keeps its word: two commands, the ones that CI runs, and the published matrix."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bce_conformance.report.markdown import matrix

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SUMMARY = ROOT / "reports" / "summary.md"


def rows(page: str) -> list[str]:
    return [line for line in page.splitlines() if re.match(r"\| \w+ \d.*\| `", line)]


def test_exactly_two_set_up_commands() -> None:
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert [command.split("tox run ")[1] for command in commands] == ["-m main", "-m test"]


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    ran = re.findall(r'^ *bash -c "\$\(readme_command (\w+)\)"', script, flags=re.MULTILINE)
    assert ran == ["test", "main"]


def test_the_matrix_is_the_published_one() -> None:
    published = rows(SUMMARY.read_text(encoding="utf-8"))
    block = README.split("<!-- matrix")[1].split("<!-- end of matrix -->")[0]
    assert rows(block) == published
    assert len(published) == 11


def test_the_published_summary_is_made_from_the_published_reports() -> None:
    reports = [json.loads(file.read_text()) for file in (ROOT / "reports").glob("*.json")]
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
