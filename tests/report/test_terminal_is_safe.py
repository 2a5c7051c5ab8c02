"""Nothing that a framework, a report or a file says is obeyed by the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bce_conformance.cli import main

HOSTILE = "1.0\x1b]0;owned\x07\x1b[31m\u202e"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A report whose texts hold escape sequences and marks that turn the direction of writing."""
    assert (
        main(["run", "--backend", "numpy", "--only", "cases", "--report-dir", str(tmp_path)]) == 0
    )
    (file,) = tmp_path.glob("*.json")
    report: dict[str, Any] = json.loads(file.read_text())
    report["backend"].update(framework_version=HOSTILE, device_name=HOSTILE)
    report["checks"][0].update(verdict="deviates", summary=HOSTILE)
    report["lost_workers"] = [{"after": HOSTILE, "cause": HOSTILE}]
    file.write_text(json.dumps(report))
    return file


@pytest.mark.parametrize("command", ["report", "diff", "merge", "replay"])
def test_controls_are_shown_and_not_obeyed(
    hostile: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    id = json.loads(hostile.read_text())["checks"][1]["id"]
    main({
        "report": ["report", str(hostile)],
        "diff": ["diff", str(hostile), str(hostile)],
        "merge": ["merge", str(hostile), "-o", str(hostile.parent / "out")],
        "replay": ["replay", str(hostile), id],
    }[command])  # fmt: skip
    shown = "".join(capsys.readouterr())
    assert not set("\x1b\x07\u202e") & set(shown)
    if command != "merge":
        assert "\\x1b" in shown


def test_errors_about_arguments_are_visible_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", f"/nowhere/{HOSTILE}"]) == 2
    error = capsys.readouterr().err
    assert "\\x1b" in error and "\x1b" not in error
