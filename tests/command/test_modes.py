"""`run --mode compiled`: what is known there, and what no run in that mode asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_run import reports, run

KNOWN = """\
backend: numpy
known:
  - checks: "numpy.bce_with_logits/contract/never-asked[float32,mean]"
    versions: ">=1"
    {modes}
    axis: semantics
    id: some-cause
    title: nothing of the kind
    instead: {{value: 0}}
    witness:
      call: {{logits: [0.5], target: [1], dtype: float32, reduction: mean}}
"""


@pytest.mark.parametrize(
    ("mode", "modes", "stale"),
    [
        ("eager", "", True),
        ("eager", "modes: [eager]", True),
        ("eager", "modes: [compiled]", False),
        ("compiled", "", False),  # fewer questions are asked there
        ("compiled", "modes: [compiled]", True),
        ("compiled", "modes: [eager, compiled]", True),
    ],
)
def test_an_entry_that_names_the_mode_is_due_to_be_asked_in_it(
    tmp_path: Path, planted: Callable[..., Path], mode: str, modes: str, stale: bool
) -> None:
    adapter = planted("numpy", right='MODES = ("eager",)', wrong='MODES = ("eager", "compiled")')
    (tmp_path / "known.yaml").write_text(KNOWN.format(modes=modes))
    done = run("run", "--backend", "numpy", "--adapter", adapter, "--mode", mode, "--profile",
               "quick", "--known", "known.yaml", cwd=tmp_path)  # fmt: skip
    (report,) = reports(tmp_path / "bce-reports")
    assert report["summary"].get("fixed", 0) == stale
    assert done.returncode == (1 if stale else 0)
