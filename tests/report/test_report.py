"""Reports: valid by their schema, whole or absent, and safe whatever a framework says."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import numpy as np
import pytest
from rich.console import Console, RenderableType

from bce_conformance.adapters import available
from bce_conformance.adapters import numpy as numpy_adapter
from bce_conformance.cli import main
from bce_conformance.findings import gather
from bce_conformance.judging.accuracy import Tallies
from bce_conformance.judging.errors import errors, truth
from bce_conformance.model.call import QUANTITIES, Array, Call
from bce_conformance.report import terminal, write
from bce_conformance.report.accuracy_text import short
from bce_conformance.report.document import Record, Settings, document
from bce_conformance.report.junit import junit
from bce_conformance.report.markdown import matrix, summary
from bce_conformance.report.read import reports_in, text_of
from bce_conformance.running.engine import BackendFinished, BackendNotRun, BackendStarted, Measured
from bce_conformance.session import LocalSession

Json = dict[str, Any]
SCHEMA = json.loads((files("bce_conformance") / "report" / "schema.json").read_text())
REPORTS = Path(__file__).parents[2] / "reports"
PUBLISHED = [*reports_in(REPORTS), *reports_in(REPORTS / "sweeps")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    arguments = ["run", "--only", "cases", "--backend", "numpy", "--report-dir", str(folder)]
    assert main([*arguments, "--junit", str(folder / "junit.xml")]) == 0
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> Json:
    (file,) = folder.glob("*.json")
    kept: Json = json.loads(file.read_text())
    return kept


@pytest.fixture(scope="module")
def rows() -> list[Json]:
    """How exact numpy's results are, for logits of many sizes."""
    session, tallies = LocalSession(numpy_adapter), Tallies()
    x = np.random.default_rng(0).normal(0, 4, 60) * np.repeat([1e-4, 1, 20], 20)
    for dtype in ("float32", "float64"):
        logits, target = (Array.rounded(dtype, a) for a in (x, np.tile([0, 1, 0.25], 20)))
        for reduction in ("none", "mean", "sum"):
            for quantity in QUANTITIES[:3]:
                call = Call("numpy.bce_with_logits", logits, target, want=(quantity,),
                            options={"reduction": reduction})  # fmt: skip
                result, expected = session.run(call).values[quantity], truth(call, quantity, dtype)
                tallies.add(call, quantity, result, expected, errors(result, expected))
    return tallies.rows(session.backend, available()["numpy"])


@pytest.fixture
def measured(report: Json, rows: list[Json]) -> Json:
    return {**report, "accuracy": json.loads(json.dumps(rows))}


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_report_is_valid(report: Json) -> None:
    jsonschema.validate(report, SCHEMA)
    assert sum(report["summary"].values()) == len(report["checks"])


def test_rows_of_figures_are_valid(measured: Json) -> None:
    assert len(measured["accuracy"]) == 18
    jsonschema.validate(measured, SCHEMA)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: row.pop("at"),
        lambda row: row.update(dtype="float8"),
        lambda row: row["smallest_rtol"].update({"0": -1}),
        lambda row: row["smallest_rtol"].update(close=1),
        lambda row: row["grades"].update(stable=True),
        lambda row: row["at"]["got"].update(bits="0x12"),
    ],
)
def test_the_schema_catches_spoilt_figures(
    measured: Json, spoil: Callable[[Json], object]
) -> None:  # fmt: skip
    spoil(measured["accuracy"][0])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(measured, SCHEMA)


def test_a_measured_event_becomes_the_rows_of_its_backend(rows: list[Json]) -> None:
    backend, record = LocalSession(numpy_adapter).backend, Record(Settings("quick", 0, "stable"))
    for event in (BackendStarted(backend, 0, "python"), Measured(tuple(rows[:5])),
                  Measured(tuple(rows[5:])), BackendFinished(backend, 0)):  # fmt: skip
        record.take(event)
    (result,) = record.results
    assert document(result, record.settings)["accuracy"] == rows


def test_what_is_published_stays_small() -> None:
    """A clone has all of it, and it travels to machines where little can be carried."""
    size = sum(file.stat().st_size for file in REPORTS.rglob("*") if "latest" not in file.parts)
    assert size < 15_000_000


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.name)
def test_published_reports_are_valid(file: Path) -> None:
    jsonschema.validate(json.loads(text_of(file)), SCHEMA)


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
    report: Json, spoil: Callable[[Json], object]
) -> None:  # fmt: skip
    spoilt = json.loads(json.dumps(report))
    spoil(spoilt)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spoilt, SCHEMA)


def test_the_same_run_gives_the_same_report(
    report: Json, tmp_path: Path
) -> None:  # fmt: skip
    assert (
        main(["run", "--only", "cases", "--backend", "numpy", "--report-dir", str(tmp_path)]) == 0
    )
    again = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert {**again, "times": 0} == {**report, "times": 0}


def test_file_name(folder: Path, report: Json) -> None:
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

    @pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.name)
    def test_a_line_to_a_check_says_the_same(self, file: Path) -> None:
        report = json.loads(text_of(file))
        text = write.json_text(report)
        assert json.loads(text) == report and list(json.loads(text)) == list(report)
        assert sum('"verdict":' in line for line in text.splitlines()) == len(
            report["checks"]
        ) + len(report.get("findings", ()))

    def test_numbers_that_json_has_not_are_refused(self) -> None:
        with pytest.raises(ValueError):
            write.json_text({"value": float("nan")})


HOSTILE = "</failure><b>&\x00\x1b[31m\ud800 ]]> ``` | # <script>alert(1)</script> \ufffe"


def hostile(report: Json) -> Json:
    changed = json.loads(json.dumps(report))
    check = changed["checks"][0]
    check.update(verdict="deviates", summary=HOSTILE, note=HOSTILE)
    check["source"]["sentence"] = HOSTILE
    check["witness"]["reproduce"] = f"print('''{HOSTILE}''')\n````\nmore"
    check["id"] = f"a/documented/b[reduction=`{HOSTILE}]"
    known, named = changed["checks"][1:3]
    known.update(verdict="known", note=HOSTILE, summary=HOSTILE, id=f"a/b[`{HOSTILE}]")
    named.update(strict=False, summary=HOSTILE, id=f"a/c[`{HOSTILE}]:grad.logits")
    changed["lost_workers"] = [{"after": f"`{HOSTILE}", "cause": HOSTILE}]
    changed["findings"] = gather(changed["checks"])
    changed["findings"][0].update(title=HOSTILE, reproduce=check["witness"]["reproduce"])
    kept: Json = changed
    return kept


def test_junit_is_well_formed_whatever_is_said(report: Json) -> None:
    root = ET.fromstring(junit([hostile(report)], [BackendNotRun("x", "y", HOSTILE)]).encode())
    failures = root.findall(".//failure")
    assert len(failures) == 1 and "<script>" in (failures[0].get("message") or "")
    assert len(root.findall(".//error")) == 2


def test_junit_counts(folder: Path, report: Json) -> None:
    root = ET.parse(folder / "junit.xml").getroot()
    suite = root.find("testsuite")
    assert suite is not None
    assert report["findings"] == []
    assert int(suite.get("tests", "0")) == len(suite) == 1  # the surface, which conforms
    assert suite.get("failures") == suite.get("errors") == "0"


def test_markdown_shows_text_as_text(report: Json) -> None:
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


def variants(report: Json, changes: list[Json]) -> Json:
    """The report with a copy of its first check for each of the changes, in the place of all."""
    first = report["checks"][0]
    kept: Json = {**report, "checks": [{**first, **change} for change in changes]}
    return kept


def generated(name: str, verdict: str = "conforms", **more: object) -> Json:
    return {"id": f"s/property/{name}", "kind": "property", "verdict": verdict, "note": "", **more}


def claim(sentence: str, verdict: str) -> Json:
    source = {"document": "d", "sentence": sentence}
    return {"id": f"s/documented/{sentence}", "verdict": verdict, "source": source}


def counted(report: Json) -> dict[str, str]:
    """The one row of the matrix, by column."""
    header, _, row = (line.strip("| ").split(" | ") for line in matrix([report]))
    return dict(zip(header, row, strict=True))


class TestMatrix:
    def test_tells_claims_and_generated_checks_apart(self, report: Json) -> None:
        found = counted(variants(report, [
            claim("a", "conforms"), claim("a", "deviates"), claim("b", "conforms"),
            claim("b", "conforms"), claim("c", "known"), claim("c", "conforms"),
            claim("d", "characterised"), claim("e", "crashed"),
            generated("w"), generated("x"), generated("y", "deviates"), generated("z", "known"),
            generated("v", "timed-out"), generated("u", "fixed"),
        ]))  # fmt: skip
        del found["release"], found["surface"]
        assert found == {
            "claims kept": "1",
            "claims broken": "**2**",
            "claims known": "1",
            "generated kept": "2",
            "generated broken": "**2**",
            "generated known": "1",
            "crashed": "**2**",
            "left open": "1",
        }  # fmt: skip

    def test_has_no_column_for_what_never_was(self, report: Json) -> None:
        assert list(counted(report)) == ["release", "surface", "claims kept", "claims broken"]

    @pytest.mark.parametrize("width", [80, 200])
    def test_in_the_terminal_counts_the_same(self, report: Json, width: int) -> None:
        shown = printed(
            terminal.matrix([variants(report, [generated(str(i)) for i in range(17)])], width),
            width,
        )
        assert "17" in shown and "kept" in shown and "generated" in shown


def printed(what: RenderableType, width: int) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        console.print(what, end="")
    return capture.get()


class TestSummary:
    def test_a_series_that_fails_is_one_entry(self, report: Json) -> None:
        ids = [f"{dtype},mean]{quantity}" for dtype in ("float32", "float64")
               for quantity in ("", ":grad.logits", ":hessian.logits")]  # fmt: skip
        failing = [generated(f"soft[{i}", "deviates", summary=f"off in {i}") for i in ids]
        page = summary([variants(report, failing)], [])
        assert page.count("### deviates: `s/property/soft`") == page.count("### ") == 1
        assert page.count("off in ") == 6 and "`[float64,mean]:grad.logits`" in page

    def test_what_is_not_listed_is_counted(self, report: Json) -> None:
        page = summary(
            [variants(report, [generated(f"s[{i}]", "deviates") for i in range(15)])], []
        )
        assert "- and 3 more, in the JSON report" in page

    def test_known_deviations_stand_by_their_causes(self, report: Json) -> None:
        causes = ["−100 is ignored", "−100 is ignored", "a cast"]
        known = [generated(str(i), "known", note=cause) for i, cause in enumerate(causes)]
        page = summary([variants(report, known)], [])
        assert "<summary>3 known deviations, 2 causes</summary>" in page
        assert page.count("**−100 is ignored**") == 1 and "No new deviation." in page

    def test_the_strict_grade_names_what_conforms(self, report: Json) -> None:
        named = [
            generated(f"tails[{i}]", strict=False, summary="got 0, expected 3e-8") for i in range(3)
        ]
        page = summary([variants(report, [*named, generated("other", strict=True)])], [])
        assert "<summary>3 conform, and are named by the strict grade</summary>" in page
        assert "- `s/property/tails` (`[0]` and 2 more): got 0, expected 3e-8" in page
        assert "s/property/other" not in page


class TestExactness:
    def test_markdown_has_a_row_for_each_surface_and_dtype(self, measured: Json) -> None:
        page = summary([measured], [])
        table = [line for line in page.splitlines() if line.startswith("| `numpy.bce_with_logits`")]
        brief, full = table[:2], table[2:]
        assert [line.split(" | ")[1] for line in brief] == ["float32", "float64"]
        assert len(full) == len(measured["accuracy"])
        assert {line.count(" | ") for line in brief} == {8} and {
            line.count(" | ") for line in full
        } == {15}

    def test_shows_the_figures_of_the_rows(self, measured: Json) -> None:
        forward = [
            r for r in measured["accuracy"] if (r["dtype"], r["quantity"]) == ("float32", "forward")
        ]
        largest = max(row["max_ulp"] for row in forward)
        rtol = max(row["smallest_rtol"]["1e-05"] for row in forward)
        shown = printed(terminal.exact(measured, 100), 100)
        assert f"{largest:.3g}; {short(rtol)}" in shown

    @pytest.mark.parametrize("width", [80, 100, 160, 200])
    def test_fits_the_terminal(self, measured: Json, width: int) -> None:
        shown = printed(terminal.exact(measured, width), width).splitlines()
        assert len(shown) <= terminal.HEIGHT
        assert all(len(line) <= width for line in shown)

    def test_names_what_is_beyond_the_strict_grade(self, measured: Json) -> None:
        number = {"bits": "c189999a", "value": "-17.200000762939453"}
        nought = {"bits": "00000000", "value": "0.0"}
        at = {"inputs": {"logits": number, "target": nought}, "shape": [], "index": [],
              "got": nought, "due": "3.3894e-08", "ulps": 1e7, "reproduce": "code"}  # fmt: skip
        grades = {"stable": "within", "strict": "beyond"}
        measured["accuracy"][0].update(grades=grades, beyond_strict_at=at)
        jsonschema.validate(measured, SCHEMA)
        message = "float32 forward: got 0, expected 3.4e-8 (logits -17.2 target 0)"
        assert message in printed(terminal.exact(measured, 100), 100)
        assert "got 0.0, expected 3.3894e-08, at logits -17.200000762939453 (0xc189999a)" in (
            summary([measured], []).replace("\\", "")
        )

    def test_of_nothing_measured_is_nothing(self, report: Json) -> None:
        assert printed(terminal.exact({**report, "accuracy": []}, 100), 100) == ""
        assert "How exact" not in summary([{**report, "accuracy": []}], [])
