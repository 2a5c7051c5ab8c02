"""`report`: a table, Markdown and HTML of a folder of reports, and one line for what is wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from bce_conformance.cli import main
from bce_conformance.report.read import read

Json = dict[str, Any]
REPORTS = Path(__file__).parent.parent.parent / "reports"
RUN = "paddle-3.3.1-cpu-eager.json"
NOT_SO = f"{RUN}: "
SWEEP = "sweeps/paddle-3.3.1-cpu-eager-sweep-float32.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run and a sweep, as they lie in reports/."""
    (tmp_path / "reports" / "sweeps").mkdir(parents=True)
    for name in (RUN, SWEEP):
        report = read(REPORTS / f"{name}.gz")
        (tmp_path / "reports" / name).write_text(json.dumps(report), encoding="utf-8")
    return tmp_path / "reports"


def change(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_without_options_it_prints_the_matrix(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("paddle.nn.BCEWithLogitsLoss") == 1 and "generated" in shown
    assert "and 1 of a sweep each" in shown


def test_it_writes_both_pages_and_says_how_large(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html, markdown = tmp_path / "a" / "page.html", tmp_path / "b" / "page.md"
    assert main(["report", str(folder), "--html", str(html), "--markdown", str(markdown)]) == 0
    out = capsys.readouterr().out
    assert f"{html}: {html.stat().st_size:,} bytes" in out and str(markdown) in out
    assert "<figure" in html.read_text()
    page = markdown.read_text()
    assert "### How exact" in page and "## Where results break off" in page


def test_one_report_is_enough(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(folder / RUN), "--html", str(page)]) == 0
    assert "<figure" not in page.read_text()


def test_since_shows_what_changed(folder: Path, tmp_path: Path) -> None:
    old, page = tmp_path / "old", tmp_path / "page.html"
    shutil.copytree(folder, old)
    report = json.loads((old / RUN).read_text())
    report["backend"]["framework_version"] = "3.2.0"
    known = next(c for c in report["checks"] if c["verdict"] == "known")
    known["verdict"] = "conforms"
    (old / RUN).write_text(json.dumps(report))
    assert main(["report", str(folder), "--since", str(old), "--html", str(page)]) == 0
    text = page.read_text()
    assert "paddle 3.2.0 on cpu, eager → 3.3.1" in text and known["id"] in text


def test_what_fails_is_the_exit_status(folder: Path) -> None:
    change(folder / RUN, summary={"deviates": 1})
    assert main(["report", str(folder)]) == 1


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda f: shutil.rmtree(f), "reports: "),
        (lambda f: (f / RUN).write_text("{"), "expected a report in JSON"),
        (lambda f: (f / RUN).write_text('{"schema": "another"}'), "expected a report of schema"),
        (
            lambda f: change(f / RUN, backend={}),
            NOT_SO + "backend: expected otherwise: it must contain",
        ),
        (
            lambda f: change(f / RUN, checks=[{}]),
            NOT_SO + "checks[0]: expected otherwise: it must contain",
        ),
        (
            lambda f: change(f / RUN, accuracy=3),
            NOT_SO + "accuracy: expected otherwise: it must be array",
        ),
        (
            lambda f: change(f / RUN, summary=None),
            NOT_SO + "summary: expected otherwise",
        ),
    ],
    ids=["no-folder", "no-json", "another-schema", "no-backend", "no-checks", "no-rows", "none"],
)
def test_what_cannot_be_read_is_said_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Any, line: str
) -> None:
    spoil(folder)
    page = tmp_path / "page.html"
    assert main(["report", str(folder), "--html", str(page)]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1
    assert not page.exists()


def test_an_empty_folder_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "expected reports (JSON), and found none" in capsys.readouterr().err


def test_two_earlier_reports_of_one_backend_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(folder / RUN, folder / "again.json")
    page = tmp_path / "page.html"
    assert main(["report", str(folder), "--since", str(folder), "--html", str(page)]) == 2
    assert "a second earlier report of paddle cpu eager" in capsys.readouterr().err


def test_the_front_page_links_what_lies_beside_it(folder: Path) -> None:
    (folder / "sweeps" / "sweeps.md").write_text("# Sweeps *here*\n")
    file = folder / "README.md"
    assert main(["report", str(folder), "--overview", str(file)]) == 0
    page = file.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert {RUN, "sweeps/sweeps.md"} <= set(links)
    assert all((folder / link).exists() for link in links)
    assert r"[Sweeps \*here\*](sweeps/sweeps.md)" in page
    assert "README.md](" not in page
    for heading in ("What was kept and broken", "What is known to deviate", "How exact"):
        assert page.count(f"## {heading}\n") == 1


def test_the_published_front_page_is_that_of_the_published_reports(tmp_path: Path) -> None:
    """Made anew it is the same: `bce-conformance report reports --overview reports/README.md`."""
    made = tmp_path / "reports"
    shutil.copytree(REPORTS, made)
    (made / "README.md").unlink()
    assert main(["report", str(made), "--overview", str(made / "README.md")]) == 0
    assert (made / "README.md").read_text("utf-8") == (REPORTS / "README.md").read_text("utf-8")
