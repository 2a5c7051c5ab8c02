"""Reports: valid by their schema, whole or absent, and safe whatever a framework says."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from bce_conformance.cli import main
from bce_conformance.engine import BackendNotRun
from bce_conformance.report import write
from bce_conformance.report.junit import junit
from bce_conformance.report.markdown import summary

SCHEMA = json.loads((files("bce_conformance") / "report" / "schema.json").read_text())
PUBLISHED = sorted((Path(__file__).parent.parent / "reports").glob("*.json"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    arguments = ["run", "--backend", "numpy", "--report-dir", str(folder)]
    assert main([*arguments, "--junit", str(folder / "junit.xml")]) == 0
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict:  # type: ignore[type-arg]
    (file,) = folder.glob("*.json")
    kept: dict = json.loads(file.read_text())  # type: ignore[type-arg]
    return kept


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_report_is_valid(report: dict) -> None:  # type: ignore[type-arg]
    jsonschema.validate(report, SCHEMA)
    assert sum(report["summary"].values()) == len(report["checks"])


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.name)
def test_published_reports_are_valid(file: Path) -> None:
    jsonschema.validate(json.loads(file.read_text()), SCHEMA)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.pop("checks"),
        lambda r: r.update(colour="red"),
        lambda r: r["checks"][0].update(verdict="passes"),
        lambda r: r["checks"][0].pop("witness"),
        lambda r: r["checks"][0]["source"].update(sentence=""),
        lambda r: r["checks"][0]["witness"]["question"]["call"]["arguments"].pop("logits"),
        lambda r: r["summary"].update(deviates=0),
    ],
)
def test_the_schema_catches_a_spoilt_report(
    report: dict, spoil: Callable[[dict], object]  # type: ignore[type-arg]
) -> None:  # fmt: skip
    spoilt = json.loads(json.dumps(report))
    spoil(spoilt)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spoilt, SCHEMA)


def test_the_same_run_gives_the_same_report(
    report: dict, tmp_path: Path  # type: ignore[type-arg]
) -> None:  # fmt: skip
    assert main(["run", "--backend", "numpy", "--report-dir", str(tmp_path)]) == 0
    again = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert {**again, "times": 0} == {**report, "times": 0}


def test_file_name(folder: Path, report: dict) -> None:  # type: ignore[type-arg]
    version = report["backend"]["framework_version"]
    assert (folder / f"numpy-{version}-cpu-eager.json").exists()


class TestAtomic:
    def test_a_failed_write_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "report.json"
        write.atomically(target, "old")

        def interrupted(handle: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write.atomically(target, "new" * 10_000)
        assert target.read_text() == "old"
        assert [file.name for file in tmp_path.iterdir()] == ["report.json"]

    def test_numbers_that_json_has_not_are_refused(self) -> None:
        with pytest.raises(ValueError):
            write.json_text({"value": float("nan")})


HOSTILE = "</failure><b>&\x00\x1b[31m\ud800 ]]> ``` | # <script>alert(1)</script> \ufffe"


def hostile(report: dict) -> dict:  # type: ignore[type-arg]
    changed = json.loads(json.dumps(report))
    check = changed["checks"][0]
    check.update(verdict="deviates", summary=HOSTILE, note=HOSTILE)
    check["source"]["sentence"] = HOSTILE
    check["witness"]["reproduce"] = f"print('''{HOSTILE}''')\n````\nmore"
    check["id"] = f"a/documented/b[reduction=`{HOSTILE}]"
    changed["lost_workers"] = [{"after": f"`{HOSTILE}", "cause": HOSTILE}]
    kept: dict = changed  # type: ignore[type-arg]
    return kept


def test_junit_is_well_formed_whatever_is_said(report: dict) -> None:  # type: ignore[type-arg]
    root = ET.fromstring(junit([hostile(report)], [BackendNotRun("x", "y", HOSTILE)]).encode())
    failures = root.findall(".//failure")
    assert len(failures) == 1 and "<script>" in (failures[0].get("message") or "")
    assert len(root.findall(".//error")) == 2


def test_junit_counts(folder: Path, report: dict) -> None:  # type: ignore[type-arg]
    root = ET.parse(folder / "junit.xml").getroot()
    suite = root.find("testsuite")
    assert suite is not None
    assert int(suite.get("tests", "0")) == len(report["checks"]) == len(suite)
    assert suite.get("failures") == suite.get("errors") == "0"


def test_markdown_shows_text_as_text(report: dict) -> None:  # type: ignore[type-arg]
    page = summary([hostile(report)], [BackendNotRun("x", "y", HOSTILE)])
    outside = []
    fence = None
    for line in page.splitlines():
        ticks = line[: len(line) - len(line.lstrip("`"))]
        if fence is None and len(ticks) >= 3:
            fence = ticks
        elif fence is not None and line == fence:
            fence = None
        elif fence is None:
            outside.append(line)
    assert fence is None
    text = "\n".join(outside)
    spans = re.sub(r"`[^`\n]*`", "", text)
    assert "<script" not in spans.replace("\\<script", "")
    assert "`" not in spans.replace("\\`", "")
    assert "NOT RUN" in text


def test_the_matrix_counts_every_check(report: dict) -> None:  # type: ignore[type-arg]
    page = summary([report], [])
    assert f"| {len(report['checks'])} | {len(report['checks'])} | 0 |" in page
