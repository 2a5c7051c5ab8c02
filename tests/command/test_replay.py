"""`replay`: a witness runs again, and says fixed, still deviates, or cannot run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from bce_conformance.cli import main

WRONG = {"right": "w * (p * y * softplus(-x)", "wrong": "w * (y * softplus(-x)"}


@pytest.fixture
def deviating(tmp_path: Path, planted: Callable[..., Path]) -> tuple[Path, str, Path]:
    """A report of an adapter with a fault, the id of a deviation, and the adapter."""
    adapter = planted("numpy", **WRONG)
    folder = tmp_path / "reports"
    arguments = [
        "run",
        "--only",
        "cases",
        "--backend",
        "numpy",
        "--adapter",
        str(adapter),
        "--report-dir",
        str(folder),
    ]
    assert main(arguments) == 1
    (file,) = folder.glob("*.json")
    report = json.loads(file.read_text())
    failing = [check["id"] for check in report["checks"] if check["verdict"] == "deviates"]
    return file, failing[0], adapter


def test_still_deviates(
    deviating: tuple[Path, str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, check, adapter = deviating
    capsys.readouterr()
    assert main(["replay", str(file), check, "--adapter", str(adapter)]) == 1
    out = capsys.readouterr().out
    assert "still deviates (deviates → deviates" in out
    assert "import numpy as np" in out and "expected" in out


def test_fixed(deviating: tuple[Path, str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    file, check, _ = deviating
    assert main(["replay", str(file), check]) == 0
    assert "fixed (deviates → conforms" in capsys.readouterr().out


def test_cannot_run(deviating: tuple[Path, str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    file, check, _ = deviating
    assert main(["replay", str(file), check, "--python", "/nowhere/python"]) == 3
    assert "cannot run" in capsys.readouterr().out


def test_every_check_can_be_replayed(tmp_path: Path) -> None:
    assert (
        main(["run", "--only", "cases", "--backend", "numpy", "--report-dir", str(tmp_path)]) == 0
    )
    (file,) = tmp_path.glob("*.json")
    for check in json.loads(file.read_text())["checks"][::5]:
        assert main(["replay", str(file), check["id"]]) == 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: "{", "expected a report in JSON"),
        (lambda text: "[1]", "expected a report of schema"),
        (lambda text: text.replace("report/2", "report/9"), "expected a report of schema"),
        (lambda text: text.replace('"checks":', '"cheques":'), "it must contain ['checks']"),
        (
            lambda text: re.sub('"bits": ?"', '"bits": "zz ', text),
            "bits: expected otherwise",
        ),
        (lambda text: text.replace('"expect":', '"expected":'), "it must contain ['expect']"),
    ],
)
def test_a_spoilt_report_is_one_line(
    deviating: tuple[Path, str, Path], capsys: pytest.CaptureFixture[str],
    spoil: Callable[[str], str], said: str,
) -> None:  # fmt: skip
    file, check, _ = deviating
    file.write_text(spoil(file.read_text()))
    capsys.readouterr()
    assert main(["replay", str(file), check]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_an_unknown_id_names_its_like(
    deviating: tuple[Path, str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, _, _ = deviating
    assert main(["replay", str(file), "unreduced-formula"]) == 2
    assert "like it: numpy.bce_with_logits/documented/unreduced" in capsys.readouterr().err


def test_the_command_that_a_run_offers_works(
    tmp_path: Path, planted: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = planted("numpy", **WRONG)
    folder = tmp_path / "a folder"
    arguments = ["run", "--only", "cases", "--backend", "numpy", "--adapter", str(adapter)]
    assert main([*arguments, "--report-dir", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    words = shlex.split(next(line for line in lines if "bce-conformance replay" in line))
    assert words[0] == "bce-conformance"
    assert main([*words[1:], "--adapter", str(adapter)]) == 1


@pytest.mark.parametrize("options", [[], ["--python", "python3"]])
def test_a_report_starts_no_program_that_it_names(
    deviating: tuple[Path, str, Path], capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """A report is data: `numpy=PROGRAM` in it once started PROGRAM."""
    file, check, _ = deviating
    marker, program = file.parent / "ran", file.parent / "evil.sh"
    program.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(marker))}\n")
    program.chmod(0o755)
    report = json.loads(file.read_text())
    report["backend"]["adapter"] = f"numpy={program}"
    file.write_text(json.dumps(report))
    assert main(["replay", str(file), check, *options]) == 2
    error = capsys.readouterr().err
    assert "backend.adapter: expected one of" in error and error.count("\n") == 1
    assert not marker.exists()


def test_a_finding_is_replayed_by_its_id(
    deviating: tuple[Path, str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, _, adapter = deviating
    finding = json.loads(file.read_text())["findings"][0]
    capsys.readouterr()
    assert main(["replay", str(file), finding["id"], "--adapter", str(adapter)]) == 1
    assert finding["witness"]["check"] in capsys.readouterr().out
