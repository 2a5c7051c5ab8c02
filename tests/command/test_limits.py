"""Full disks and limits: one line with the path, exit status 3, and the last good report intact."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bce_conformance.cli import main

RUN = ["run", "--backend", "numpy", "--only", "cases"]


def limited(folder: Path, size: int) -> subprocess.CompletedProcess[str]:
    """A run whose files may have so many bytes, as under `ulimit -f`."""
    return subprocess.run(
        [sys.executable, "-m", "bce_conformance", *RUN, "--report-dir", str(folder)],
        capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )  # fmt: skip


def test_a_file_size_limit_leaves_the_last_good_report(tmp_path: Path) -> None:
    assert main([*RUN, "--report-dir", str(tmp_path)]) == 0
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    done = limited(tmp_path, 4096)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert str(tmp_path) in line and "cannot be written: File too large" in line
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_folder_where_a_file_belongs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "junit.xml").mkdir()
    status = main([*RUN, "--report-dir", str(tmp_path), "--junit", str(tmp_path / "junit.xml")])
    assert status == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "junit.xml: cannot be written: " in line
    assert list(tmp_path.glob("*.json")), "what can be written is written"


def test_a_full_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    target = "/dev/full/report.html"
    assert main([*RUN, "--report-dir", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["report", str(tmp_path), "--html", target]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"bce-conformance: {target}: cannot be written: ")
