"""The workflows: safe with what is typed into them, and made of steps that a person can run."""

from __future__ import annotations

import configparser
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
Step = dict[str, Any]


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def workflow(request: pytest.FixtureRequest) -> dict[Any, Any]:
    return dict(yaml.safe_load(request.param.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def tox() -> configparser.ConfigParser:
    read = configparser.ConfigParser(interpolation=None)
    read.read(ROOT / "tox.ini")
    return read


def steps(workflow: dict[Any, Any]) -> Iterator[Step]:
    for job in workflow["jobs"].values():
        yield from job.get("steps", [])


def loaded(name: str) -> dict[Any, Any]:
    return dict(yaml.safe_load((ROOT / ".github/workflows" / f"{name}.yml").read_text()))


def commands() -> Iterator[tuple[str, str]]:
    for file in FILES:
        for step in steps(loaded(file.stem)):
            if "run" in step:
                yield f"{file.stem}: {step['name']}", step["run"]


def test_there_are_the_three() -> None:
    assert [file.stem for file in FILES] == ["releases", "tests", "validate"]


def test_lint_holds_each_against_the_schema(tox: configparser.ConfigParser) -> None:
    lint = tox["testenv:lint"]["commands"]
    (line,) = (line for line in lint.splitlines() if line.startswith("check-jsonschema"))
    assert line.split()[-len(FILES) :] == [f".github/workflows/{file.name}" for file in FILES]


def test_may_do_little_and_ends(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    for job in workflow["jobs"].values():
        assert "uses" in job or job["timeout-minutes"] <= 120


def test_actions_are_named_by_major_version(workflow: dict[Any, Any]) -> None:
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]), step["uses"]
        if step.get("uses", "").startswith("actions/upload-artifact"):
            assert step["if"].startswith("always()")
        if step.get("uses", "").startswith("actions/setup-python"):
            assert step["with"]["python-version"].split() == ["3.10", "3.11"]
            assert step["with"]["cache"] == "pip"


@pytest.mark.parametrize("command", [pytest.param(c, id=name) for name, c in commands()])
def test_the_shell_of_a_step(command: str) -> None:
    """Nothing is put into its text, where it would run as code; and bash can read it."""
    assert "${{" not in command
    done = subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_steps_are_commands_for_anyone(tox: configparser.ConfigParser) -> None:
    """What decides a job is a tox environment or a stage of .ci/run; the rest is reporting."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    validate = [step["run"] for step in steps(loaded("validate")) if "run" in step]
    assert validate[:2] == [
        'python -m pip install "tox>=4.67"',
        'python -m tox run -e validate -- "$REQUIREMENT" --drift "$DRIFT"',
    ]
    assert tox["testenv:validate"]["commands"] == "python .ci/validate.py {posargs}"
    stage = loaded("tests")["jobs"]["stage"]
    by_name = {step.get("name"): step for step in stage["steps"]}
    assert by_name["Run the stage"]["run"] == '.ci/run "$STAGE"'
    assert stage["strategy"]["matrix"]["stage"] == re.findall(r"^run_(\w+)\(\)", script, re.M)


def test_a_stage_that_does_not_exist_is_wrong_usage() -> None:
    done = subprocess.run([ROOT / ".ci" / "run", "lint", "tset"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "expected lint, test or main, not tset\n"


def test_the_matrix_begins_at_the_pinned_releases(tox: configparser.ConfigParser) -> None:
    tested = loaded("releases")["jobs"]["release"]["strategy"]["matrix"]["requirement"]
    pinned = []
    for name in ("torch", "paddle", "oneflow", "mindspore"):
        lines = tox[f"testenv:{name}"]["deps"].split("\n")
        pinned += [Requirement(line) for line in lines if line.startswith(name)]
    assert tested == [str(requirement).replace("==", ">=") for requirement in pinned]


def test_the_inputs_are_the_same_by_hand_and_by_call() -> None:
    triggers = loaded("validate")[True]  # YAML 1.1 reads `on` so
    assert triggers["workflow_dispatch"]["inputs"] == triggers["workflow_call"]["inputs"]
    given = loaded("releases")["jobs"]["release"]["with"]
    assert given.keys() <= triggers["workflow_call"]["inputs"].keys()
