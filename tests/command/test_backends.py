"""`backends`: which adapters there are, and what the interpreters have."""

from __future__ import annotations

import pytest

from bce_conformance.cli import main


def test_lists_every_adapter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends"]) == 0
    out = capsys.readouterr().out
    for name in ("numpy", "torch", "paddle", "oneflow", "mindspore"):
        assert f"\n{name}: " in f"\n{out}"
    assert "mindspore.mint.nn.functional.binary_cross_entropy_with_logits" in out
    assert "not available here: " in out


def test_one_that_was_asked_for_and_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends", "--backend", "oneflow=/nowhere/python"]) == 3
    assert "/nowhere/python" in capsys.readouterr().out
