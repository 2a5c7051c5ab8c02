"""`diff`: each kind of change is told once, and only what is for the worse fails."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bce_conformance.findings import gather
from bce_conformance.report.changes import first_screen
from bce_conformance.report.diff import difference
from bce_conformance.report.read import read

Json = dict[str, Any]
PUBLISHED = Path(__file__).parents[2] / "reports" / "paddle-3.3.1-cpu-eager.json.gz"


@pytest.fixture(scope="module")
def published() -> Json:
    return read(PUBLISHED)


@pytest.fixture
def report(published: Json) -> Json:
    return copy.deepcopy(published)


def first(report: Json, verdict: str) -> Json:
    return next(check for check in report["checks"] if check["verdict"] == verdict)


def a_claim(report: Json) -> Json:
    """A documented check that conforms, whose paste the report holds."""
    return next(check for check in report["checks"]
                if check["kind"] == "documented" and check["verdict"] == "conforms")  # fmt: skip


def becomes(verdict: str) -> Callable[[Json], None]:
    return lambda check: check.update(verdict=verdict, summary="now this")


@pytest.mark.parametrize(
    ("was", "change", "label", "fails"),
    [
        ("conforms", becomes("deviates"), "NEW", True),
        ("conforms", becomes("known"), "NEW", True),
        ("conforms", becomes("crashed"), "NEW", True),
        ("characterised", becomes("timed-out"), "NEW", True),
        ("known", becomes("crashed"), "NEW", True),
        ("known", becomes("conforms"), "FIXED", False),
        ("known", becomes("fixed"), "FIXED", False),
        ("conforms", becomes("unsupported"), "GONE", False),
        ("conforms", becomes("characterised"), "CHANGED", False),
        ("known", becomes("deviates"), None, False),
        ("conforms", lambda check: check.update(summary="in other words"), None, False),
    ],
)
def test_a_check_that_changed(
    published: Json, report: Json, was: str, change: Callable[[Json], None], label: str | None,
    fails: bool,
) -> None:  # fmt: skip
    check = first(report, was)
    change(check)
    found = difference(published, report)
    assert [(c.label, c.name) for c in found.changes] == ([(label, check["id"])] if label else [])
    assert found.failing is fails
    assert found.unchanged == len(report["checks"]) - len(found.changes)
    for message in found.changes:
        assert message.line().startswith(f"{label} {check['id']}: ")
        assert "now this" in message.summary


def test_a_known_crash_is_as_grave_as_another(published: Json, report: Json) -> None:
    """That a file excuses it mends nothing."""
    check = first(report, "known")
    check["witness"]["got"] = {"crashed": {"cause": "signal 6 (SIGABRT)"}}
    crashing = copy.deepcopy(report)
    first(crashing, "known").update(verdict="crashed", summary="signal 6 (SIGABRT)")
    assert difference(crashing, report).changes == ()
    (change,) = difference(published, report).changes
    assert (change.label, change.name) == ("NEW", check["id"])


def test_a_check_that_is_gone_and_one_that_is_new(published: Json, report: Json) -> None:
    removed = first(report, "conforms")
    report["checks"].remove(removed)
    added = {**copy.deepcopy(first(report, "known")), "id": "a.surface/property/another"}
    report["checks"].append(added)
    found = difference(published, report)
    assert [(c.label, c.name) for c in found.changes] == [
        ("NEW", "a.surface/property/another"),
        ("GONE", removed["id"]),
    ]
    assert "(not checked before)" in found.changes[0].summary
    back = difference(report, published)
    assert [c.label for c in back.changes] == ["GONE"]  # one that is new and conforms is no change
    assert not back.failing


def test_accuracy_that_becomes_semantics_is_new(published: Json, report: Json) -> None:
    old = copy.deepcopy(published)
    check = first(report, "known")["id"]
    for one, axis in ((old, "accuracy"), (report, "semantics")):
        next(c for c in one["checks"] if c["id"] == check)["axis"] = axis
    assert [c.label for c in difference(old, report).changes] == ["NEW"]
    assert difference(report, old).changes == ()


def test_a_known_crash_is_no_new_crash(published: Json, report: Json) -> None:
    """An older release is in no range of cases/known: what it shares with the newer is no news."""
    check = first(report, "known")["id"]
    (was,) = (c for c in published["checks"] if c["id"] == check)
    (now,) = (c for c in report["checks"] if c["id"] == check)
    old = {**published, "checks": [{**was, "witness": {**was["witness"], "got": {"crashed": {}}}}]}
    for verdict in ("crashed", "timed-out", "deviates"):
        found = difference(old, {**report, "checks": [{**now, "verdict": verdict}]})
        assert "NEW" not in [c.label for c in found.changes], verdict
    back = {**report, "checks": [{**now, "verdict": "crashed"}]}
    assert [c.label for c in difference({**published, "checks": [was]}, back).changes] == ["NEW"]


def test_what_is_characterised_is_compared_by_what_came(published: Json, report: Json) -> None:
    check = next(c for c in report["checks"] if c["verdict"] == "characterised"
                 and "raised" in c["witness"]["got"])  # fmt: skip
    raised = check["witness"]["got"]["raised"]
    raised["message"] = "other words"
    assert difference(published, report).changes == ()
    raised["type"] = "OtherError"
    (change,) = difference(published, report).changes
    assert (change.label, change.worse) == ("CHANGED", False)


@pytest.mark.parametrize(
    ("factor", "drift", "label", "fails"),
    [(3, 2.0, "DRIFTED", True), (3, 4.0, None, False), (1 / 3, 2.0, "DRIFTED", False)],
)
def test_errors_that_drift(
    published: Json, report: Json, factor: float, drift: float, label: str | None, fails: bool
) -> None:
    row = next(row for row in report["accuracy"] if row["max_ulp"] > 1 and row["at"]["inputs"])
    row["max_ulp"] *= factor
    found = difference(published, report, drift)
    assert [c.label for c in found.changes] == ([label] if label else [])
    assert found.failing is fails
    for change in found.changes:
        bits = next(iter(row["at"]["inputs"].values()))["bits"]
        assert change.summary.count(bits) == 2  # both worst inputs are shown
        assert "ulp before" in change.summary and "ulp now" in change.summary


def test_new_checks_are_one_line_for_their_finding(published: Json, report: Json) -> None:
    """Whatever the surface, the dtype, the reduction and the quantity."""
    family = "/property/soft-targets["
    for check in report["checks"]:
        if family in check["id"]:
            check.update(verdict="deviates", summary="now this", causes=["the weight was ignored"])
    report["findings"] = gather(report["checks"])
    found = difference(published, report)
    (soft,) = found.groups("NEW")
    assert soft.line().startswith("NEW as-if-the-weight-was-ignored: The loss is computed as if")
    assert soft.surfaces == 2 and len(soft.changes) == found.count("NEW")
    assert not found.groups("FIXED")


def test_an_exception_type_that_changed_is_one_line(published: Json, report: Json) -> None:
    refused = [c for c in report["checks"]
               if c["verdict"] == "characterised" and "raised" in c["witness"]["got"]]  # fmt: skip
    kind = refused[0]["witness"]["got"]["raised"]["type"]
    same = [c for c in refused if c["witness"]["got"]["raised"]["type"] == kind]
    for check in same:
        check["witness"]["got"]["raised"]["type"] = "NotImplementedError"
    (group,) = difference(published, report).groups("CHANGED")
    assert len(group.changes) == len(same) > 1
    assert group.topic == f"{kind} became NotImplementedError"


def test_another_wording_or_last_digit_is_no_change(published: Json, report: Json) -> None:
    touched = 0
    for check in report["checks"]:
        got = check["witness"]["got"]
        if check["verdict"] == "characterised" and "raised" in got:
            got["raised"]["message"] += " (in other words)"
            check["summary"] = "in other words"
        words = got.get("returned", {}).get("bits", "").split()
        finite = words and math.isfinite(float(got["returned"].get("values", "nan").split()[0]))
        if check["verdict"] == "characterised" and finite and words[0][-1] in "12345678":
            touched += 1
            words[0] = words[0][:-1] + chr(ord(words[0][-1]) + 1)  # one ulp
            got["returned"]["bits"] = " ".join(words)
    assert touched and not difference(published, report).changes


def test_another_value_is_a_change(published: Json, report: Json) -> None:
    check = next(c for c in report["checks"] if c["verdict"] == "characterised"
                 and c["witness"]["got"].get("returned", {}).get("dtype") == "float32")  # fmt: skip
    bits = check["witness"]["got"]["returned"]["bits"]
    check["witness"]["got"]["returned"]["bits"] = " ".join("40490fdb" for _ in bits.split())
    assert [c.label for c in difference(published, report).changes] == ["CHANGED"]


def test_a_surface_that_is_checked_for_the_first_time_is_said(
    published: Json, report: Json
) -> None:
    """A release that lacks a surface refuses each of its calls."""
    surface = "paddle.nn.BCEWithLogitsLoss"
    for check in report["checks"]:
        if check["surface"] == surface:
            raised = {"type": "AttributeError", "bases": [], "message": "no such thing"}
            check["witness"]["got"] = {"raised": raised}
    (note,) = difference(report, published).notes
    message = f"had no result from {surface}"
    assert note == f"the earlier run {message}: all of it is checked the first time"
    assert difference(published, report).notes == (f"the later run {message}",)


def test_the_first_screen_is_one(published: Json, report: Json) -> None:
    """However much changed."""
    become = {"conforms": "deviates", "known": "conforms"}
    for check in report["checks"]:
        check.update(verdict=become.get(check["verdict"], "refused"))
    report["findings"] = gather(report["checks"])
    message = list(first_screen(difference(published, report)))
    assert 10 < len(message) <= 40
    assert {label for label, _, _ in message} == {"NEW", "FIXED", "GONE"}
    assert [words for _, words, _ in message if words.endswith("more kinds")]


def test_another_profile_is_said(published: Json, report: Json) -> None:
    report["suite"]["profile"] = "quick"
    report["interrupted"] = True
    notes = difference(published, report).notes
    assert notes == (
        "another profile of the suite: standard before, quick now",
        "the later run did not finish: what is missing shows as GONE, or not at all",
    )


def ran(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bce_conformance", "diff", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def written(folder: Path, report: Json, name: str = "x.json") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(report), encoding="utf-8")
    return path


def test_the_command(tmp_path: Path, report: Json) -> None:
    check = a_claim(report)
    check.update(verdict="deviates", summary="<script>alert(1)</script> `now` [this](x)")
    report["findings"] = gather(report["checks"])
    new = written(tmp_path / "new", report)
    page, data = tmp_path / "page.md", tmp_path / "data.json"
    done = ran(PUBLISHED, new, "--json", data, "--markdown", page)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["NEW", "FIXED", "DRIFTED", "CHANGED", "GONE", "as", "before"]
    assert "NEW sigmoid-and-bce-in-one: The loss: <script>" in done.stdout
    (one,) = json.loads(data.read_text())["differences"]
    assert one["counts"] == {"NEW": 1, "FIXED": 0, "DRIFTED": 0, "CHANGED": 0, "GONE": 0}
    assert one["changes"][0]["now"]["verdict"] == "deviates"
    text = page.read_text(encoding="utf-8")
    assert f"```python\n{check['witness']['reproduce']}\n```" in text
    assert "<script>" not in text and r"\<script\>" in text
    assert r"\[this\]" in text
    assert ran(new, PUBLISHED).returncode == 0


def test_folders_are_compared_backend_by_backend(tmp_path: Path, report: Json) -> None:
    report["backend"]["framework_version"] = "4.0.0"
    written(tmp_path / "new", report)
    done = ran(PUBLISHED.parent, tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert "paddle 3.3.1 on cpu, eager → 4.0.0" in done.stdout
    assert f"only in {PUBLISHED.parent}: torch" in done.stdout


def test_wrong_usage_is_one_line(tmp_path: Path, report: Json) -> None:
    folder = tmp_path / "two"
    written(folder, report, "a.json")
    written(folder, report, "b.json")
    for words, said in (
        ((PUBLISHED, folder), "expected two reports or two folders"),
        ((folder, PUBLISHED.parent), "a second report of paddle cpu eager"),
        ((PUBLISHED, tmp_path / "none.json"), "no such file"),
        ((PUBLISHED, PUBLISHED, "--drift", "0"), "invalid positive number value"),
    ):
        done = ran(*words)
        assert done.returncode == 2
        assert said in done.stderr
