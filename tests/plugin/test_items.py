"""--bce-backend, test_*.bce.yaml and --bce-report: items that run in an isolated session."""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.resources import files
from pathlib import Path
from textwrap import dedent

import jsonschema
import pytest

from bce_conformance.adapters import numpy as numpy_adapter

SURFACE = "numpy.bce_with_logits"
FEW = "accepts or hard-targets[float32] or memory[float32] or printed"
CASES = """
    surface: numpy.bce_with_logits
    source: our page
    cases:
      - id: at-zero
        claim: "at 0 it is log 2"
        call: {logits: [0], target: [1], reduction: sum}
        expect: {printed: "0.6931"}
      - id: at-one
        claim: "at 1 it is 1"
        call: {logits: [1], target: [1], reduction: sum}
        expect: {value: 1}
"""


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(dedent(text), encoding="utf-8")


def counts(result: pytest.RunResult) -> dict[str, int]:
    """How many items passed, failed and so on, of those that were chosen."""
    return {k: n for k, n in result.parseoutcomes().items() if k not in ("deselected", "warnings")}


def reports(folder: Path) -> dict[str, dict]:
    return {f.name: json.loads(f.read_text(encoding="utf-8")) for f in folder.glob("*.json")}


# ---- a framework


def test_a_backend_is_items_that_can_be_chosen(run) -> None:
    everything = run("--bce-backend", "numpy", "--collect-only", "-q")
    assert everything.ret == 0
    names = [line for line in everything.outlines if line.startswith("bce[numpy]")]
    assert f"bce[numpy]::{SURFACE}::documented/printed-value" in names
    assert f"bce[numpy]::{SURFACE}::soft-targets[float32]" in names
    assert len(names) == len(set(names)) > 200
    few = run("--bce-backend", "numpy", "-k", "soft-targets and float64 and not pos_weight")
    assert counts(few) == {"passed": 1}


def test_items_beside_tests_of_the_projects_own(project, run) -> None:
    project.makepyfile("def test_mine(): pass")
    options = ("--bce-backend", "numpy", "-k", "accepts[float32] or mine")
    assert counts(run(*options)) == {"passed": 2}
    assert counts(run(*options, "-m", "bce_conformance")) == {"passed": 1}


def test_what_a_backend_does_not_give_is_skipped_and_said_so(run) -> None:
    result = run("--bce-backend", "numpy", "-k", "hard-targets[bfloat16]", "-rs")
    assert counts(result) == {"skipped": 1}
    result.stdout.fnmatch_lines(["SKIPPED * the surface does not give this in this dtype"])


def test_a_backend_that_is_not_there_fails_once(project, run) -> None:
    absent = project.path / "no-python"
    result = run("--bce-backend", f"numpy={absent}", "-k", "accepts")
    assert counts(result) == {"failed": 1, "skipped": 3}
    result.stdout.fnmatch_lines([f"numpy could not be started: *{absent}*"])
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--bce-backend", "jax"], "*--bce-backend: expected one of *, not 'jax'"),
        (["--bce-backend", "numpy", "--bce-backend", "numpy"], "*expected each backend once"),
        (["--bce-known", "none.yaml"], "*none.yaml:1:1: expected a readable file: *"),
        (["--bce-profile", "slow"], "*--bce-profile: invalid choice: 'slow' *"),
        (["--bce-report", "test_file.py"], "*--bce-report: *test_file.py: File exists"),
    ],
)
def test_wrong_options_are_said_in_a_line(project, run, options: list[str], said: str) -> None:
    write(project.path, "test_file.py", "")
    result = run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
    result.stderr.no_fnmatch_line("*Traceback*")


# ---- case files


def test_a_projects_own_cases(project, run) -> None:
    write(project.path, "test_loss.bce.yaml", CASES)
    write(project.path, "other.bce.yaml", CASES)
    result = run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([
        "numpy.bce_with_logits on numpy * (cpu, eager): 1 of 1 checks fail",
        "deviates: documented/at-one: the document says 1; got 0.31326*",
        "  our page: “at 1 it is 1”",
        "  logits * 1.0 = 0x3f800000 (float32)",
        "    print(loss.sum())",
        "FAILED test_loss.bce.yaml::documented/at-one - *",
    ])  # fmt: skip
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*conformance/plugin*")


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (SURFACE, "jax.bce", ":2:10: expected a surface*'jax.bce'"),
        ("value: 1", "valu: 1", ":12:*valu*"),
        ("reduction: sum}", "reduction: sum", ":*: expected YAML*"),
        ("target: [1]", "target: [1, 2]", ":7:*"),
    ],
)
def test_an_invalid_case_file_is_an_error_of_collection(
    project, run, right: str, wrong: str, said: str
) -> None:
    write(project.path, "test_loss.bce.yaml", CASES.replace(right, wrong, 1))
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ERROR collecting test_loss*", f"*test_loss.bce.yaml{said}"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*casefile/*")


DYING = f"""
import os

{Path(numpy_adapter.__file__).read_text(encoding="utf-8")}

NAME, SURFACES = "dying", ("dying.bce",)
answered = Adapter.run


def run(self, prepared):
    if prepared[0]["logits"].ravel()[0] == 666:
        os.abort()
    return answered(self, prepared)


Adapter.run = run
"""


def test_a_crash_fails_its_item_alone(project, run_apart) -> None:
    """Of an adapter of the project's own, registered as its distribution would."""
    write(project.path, "dying_adapter.py", DYING)
    info = project.mkdir("dying-1.0.dist-info")
    write(info, "METADATA", "Metadata-Version: 2.1\nName: dying\nVersion: 1.0\n")
    write(info, "entry_points.txt", "[bce_conformance.adapters]\ndying = dying_adapter\n")
    cases = CASES.replace("numpy.bce", "dying.bce").replace("_with_logits", "")
    deadly = cases.replace("logits: [0]", "logits: [666]")
    write(project.path, "test_loss.bce.yaml", deadly.replace("value: 1", 'printed: "0.3133"'))
    result = run_apart()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["crashed: documented/at-zero: *SIGABRT*"])


# ---- several workers, and reports


def test_everything_works_in_several_workers(project, run_apart) -> None:
    pytest.importorskip("xdist")
    project.makepyfile("""
        import losses, pytest

        def test_fixture(bce_conformance):
            bce_conformance.check(losses.bare, framework="numpy", arguments=(), dtypes=["float32"])

        def test_wrong(bce_conformance):
            bce_conformance.check(losses.naive, framework="numpy", arguments=(), dtypes=["float32"])

        @pytest.mark.bce_conformance(framework="numpy", arguments=(), dtypes=["float32"])
        def test_marker():
            return losses.bare
    """)
    write(project.path, "test_loss.bce.yaml", CASES)
    options = ("--bce-backend", "numpy", "-k", f"({FEW} or test_) and not bfloat16", "-p",
               "no:cacheprovider")  # fmt: skip
    alone = run_apart(*options, "--bce-report", "alone")
    split = run_apart(*options, "--bce-report", "split", "-n", "2")
    for result in (alone, split):
        assert counts(result) == {"failed": 2, "passed": 9}
        failed = {line.split(" ")[1] for line in result.outlines if line.startswith("FAILED ")}
        assert {name.split("::")[1] for name in failed} == {"test_wrong", "documented/at-one"}
    schema = json.loads((files("bce_conformance") / "report" / "schema.json").read_text())
    first, second = reports(project.path / "alone"), reports(project.path / "split")
    assert len(first) == 4
    assert sorted(first) == sorted(second)
    for name, report in second.items():
        jsonschema.validate(report, schema)
        assert report["checks"] == first[name]["checks"]
        assert report["summary"] == first[name]["summary"]
        assert [r["elements"] for r in report["accuracy"]] == [
            r["elements"] for r in first[name]["accuracy"]
        ]
        assert not report["interrupted"]
    (framework,) = (r for name, r in second.items() if name.endswith("eager.json"))
    ids = [check["id"] for check in framework["checks"]]
    assert len(ids) == len(set(ids))
    assert f"{SURFACE}/documented/at-one" in ids
    assert f"{SURFACE}/property/hard-targets[float32,none]:grad.logits" in ids


def test_a_report_of_a_run_that_stopped_says_so(project, run) -> None:
    write(project.path, "test_loss.bce.yaml", CASES.replace('"0.6931"', '"0.5"'))
    run("-x", "--bce-report", "stopped").assert_outcomes(failed=1)
    (report,) = reports(project.path / "stopped").values()
    assert report["interrupted"]
    assert report["summary"] == {"deviates": 1}


# ---- where projects differ


@pytest.mark.parametrize("mode", ["prepend", "append", "importlib"])
def test_a_project_with_folders_of_the_same_names(project, run_apart, mode: str) -> None:
    for name in ("cases", "reference", "conformance"):
        package = project.mkpydir(name)
        write(package, "mine.py", "value = 1")
        text = f"from {name}.mine import value\ndef test_it(): assert value"
        write(package, f"test_in_{name}.py", text)
    right = CASES.replace("value: 1", 'printed: "0.3133"')
    write(project.path / "cases", "test_loss.bce.yaml", right)
    project.makepyfile("""
        import losses

        def test_fixture(bce_conformance):
            bce_conformance.check(losses.bare, framework="numpy", arguments=(), dtypes=["float32"])
    """)
    options = (f"--import-mode={mode}", "-o", "pythonpath=.", "-p", "no:cacheprovider")
    run_apart(*options).assert_outcomes(passed=6)


# ---- real frameworks


@pytest.mark.framework
def test_every_framework_is_items(framework, run) -> None:
    name, python = framework
    result = run("--bce-backend", f"{name}={python}", "-k",
                 "(soft-targets or accepts) and float32 and not pos_weight")  # fmt: skip
    found = counts(result)
    assert set(found) <= {"passed", "xfailed"}
    assert sum(found.values()) >= 4


@pytest.mark.framework
def test_an_empty_known_file_knows_nothing(framework, project, run) -> None:
    name, python = framework
    if name != "paddle":
        pytest.skip("one framework with known deviations is enough")
    write(project.path, "empty.yaml", "")
    chosen = ("-k", "functional and zero-logits[float32]", "-rx")
    options = ("--bce-backend", f"paddle={python}", *chosen)
    known = run(*options)
    assert counts(known) == {"xfailed": 1}
    known.stdout.fnmatch_lines(["XFAIL * known (paddle *): The gradient at a logit of exactly 0 *"])
    new = run(*options, "--bce-known", "empty.yaml")
    assert counts(new) == {"failed": 1}
    new.stdout.fnmatch_lines(["deviates: property/zero-logits[[]float32,none[]]:grad.logits: *",
                              "*paddle.*"])  # fmt: skip


@pytest.mark.framework
def test_cases_about_a_framework_in_another_interpreter(framework, project, run) -> None:
    name, python = framework
    if name != "torch":
        pytest.skip("one framework is enough")
    text = CASES.replace(SURFACE, "torch.nn.BCEWithLogitsLoss")
    write(project.path, "test_loss.bce.yaml", text)
    result = run("--bce-backend", f"torch={python}", "-k", "at-zero or at-one")
    assert counts(result) == {"passed": 1, "failed": 1}
    result.stdout.fnmatch_lines(["    criterion = torch.nn.BCEWithLogitsLoss(reduction='sum')"])


def test_this_interpreter_is_the_default(run) -> None:
    result = run("--bce-backend", "torch", "-k", "nn.BCEWithLogitsLoss and accepts[float32]")
    if importlib.util.find_spec("torch") is not None:
        assert counts(result) == {"passed": 1}
    else:
        assert counts(result) == {"failed": 1}
        result.stdout.fnmatch_lines([f"torch could not be started: * in {sys.executable}: *"])
