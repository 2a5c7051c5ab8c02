"""What is drawn depends on the seed and the version, not on the code that lies around."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DRAWN = """
{extra}
import zlib
from bce_conformance.generate.topics import TOPICS, drawn_for
shapes = [[s.logits.shape for s in drawn_for(t, "float32", 0, 6)] for t in TOPICS]
print(zlib.crc32(repr(shapes).encode()))
"""


def drawn(folder: Path, extra: str = "") -> str:
    command = [sys.executable, "-c", DRAWN.format(extra=extra)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_a_project_s_own_numbers_change_nothing(tmp_path: Path) -> None:
    """Hypothesis likes numbers that it finds in the sources of local modules."""
    numbers = ", ".join(map(str, range(1, 500)))
    (tmp_path / "project.py").write_text(f"NUMBERS = [{numbers}]\n")
    assert drawn(tmp_path, "import project") == drawn(tmp_path)


def test_what_was_drawn_before_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text("from hypothesis import given, strategies as st\n"
        "@given(st.integers(1, 5), st.integers(2, 24), st.integers(0, 6), st.integers(0, 2**32))\n"
        "def test(a, b, c, d): [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n")  # fmt: skip
    assert drawn(tmp_path, "import project; project.test()") == drawn(tmp_path)
