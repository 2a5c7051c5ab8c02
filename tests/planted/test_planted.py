"""Planted bugs are caught by the suite's own command, correct losses pass; the quick part of it.

The whole table, in the standard profile and over many seeds, is made by table.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from real import interpreters
from table import Journal, Loss, Run, from_journal, losses, names, run

QUICK = ("--profile", "quick", "--dtype", "float32", "--dtype", "float16")
"""Of each file some bugs that every profile must see, and whatever is cheapest to break."""
FEW = (
    "whole_loss_times_log_weight",
    "no_shift_with_pos_weight",
    "pos_weight_flattened",
    "ignore_index",
    "target_gradient_swapped",
    "zero_gradient_at_the_kink",
    "hessian_without_pos_weight",
    "gradient_not_divided_by_n",
    "mean_over_the_weights",
    "mean_of_nothing_is_0",
    "mean_overflows",
    "target_broadcast",
    "logits_changed",
    "strides_of_the_logits_ignored",
    "broken_by_a_failed_call",
    "no_gradients_after_a_failed_call",
    "tail_exactly_zero",
    "sigmoid_made_of_tanh",
    "composite",
    "softplus_of_the_framework",
    "float32_inside",
    "hand_written_for_logits",
    "chunked",
)


def of(backend: str) -> list[Loss]:
    return [loss for loss in losses(backend) if backend != "torch" or loss.name in FEW]


def answered(loss: Loss, backend: str) -> Run:
    python = sys.executable if backend == "numpy" else interpreters().get(backend)
    if python is None:
        pytest.skip(f"no interpreter with {backend} was named in BCE_INTERPRETERS or exists")
    return run(loss, 0, backend, python, QUICK)


def held(found: Run) -> None:
    assert not found.failed, found.failed
    assert found.as_expected, f"accused by {found.accusing}, strictly by {found.beyond_strict[:5]}"
    if found.loss.is_bug:
        assert found.named, f"{found.loss.wrong} is not what {found.telling[:9]} say"


@pytest.mark.parametrize("loss", of("numpy"), ids=lambda loss: loss.name)
def test_numpy(loss: Loss) -> None:
    held(answered(loss, "numpy"))


@pytest.mark.framework
@pytest.mark.parametrize("loss", of("torch"), ids=lambda loss: loss.name)
def test_torch(loss: Loss) -> None:
    held(answered(loss, "torch"))


@pytest.mark.framework
@pytest.mark.parametrize("backend", ["paddle", "oneflow", "mindspore"])
@pytest.mark.parametrize("name", ["log_sigmoid", "whole_loss_times_log_weight"])
def test_the_other_frameworks_take_a_loss_too(backend: str, name: str) -> None:
    (loss,) = [loss for loss in losses(backend) if loss.name == name]
    held(answered(loss, backend))


def test_the_few_are_there() -> None:
    assert len(of("torch")) == len(FEW)


def test_there_are_bugs_of_every_kind() -> None:
    planted = list(losses("torch"))
    assert sum(loss.is_bug for loss in planted) >= 90
    assert sum(not loss.is_bug for loss in planted) >= 9
    assert sum(loss.grade == "strict" for loss in planted) >= 2
    assert all(loss.named_by and loss.wrong for loss in planted if loss.is_bug)
    assert len({loss.name for loss in planted}) == len(planted)


def test_a_run_is_made_once_where_there_is_a_journal(tmp_path: Path) -> None:
    first, second = list(losses("numpy"))[:2]
    journal = Journal(tmp_path / "journal.jsonl", ("numpy", "--profile", "quick"))
    journal.write(Run(first, 3, 1.5, ("a/b/c",), ("d",)))
    journal.write(Run(second, 3, 1.5, failed="exit status 3: no worker"))
    with journal.file.open("a") as lines:  # type: ignore[union-attr]
        lines.write('{"loss": "cut o')
    found = journal.runs()
    assert list(found) == [(first.name, 3)]
    assert from_journal(first, found[first.name, 3]) == Run(first, 3, 1.5, ("a/b/c",), ("d",))
    assert not Journal(journal.file, ("numpy", "--profile", "standard")).runs()
    assert not Journal(None, ()).runs()


@pytest.mark.parametrize(
    ("pattern", "check", "matches"),
    [
        ("weight", "f.py:f/property/weight[float32,none]", True),
        ("weight", "f.py:f/property/weight-full[float32,none]", False),
        ("*:grad.target", "f.py:f/property/weight[float32,none]:grad.target", True),
        ("*:grad.target", "f.py:f/property/weight[float32,none]", False),
        ("large-mean:float16", "f.py:f/reduction/large-mean[float16,mean]", True),
        ("large-mean:float16", "f.py:f/reduction/large-mean[float32,mean]", False),
        ("unknown-reduction-*", "f.py:f/contract/unknown-reduction-avg[float32,avg]", True),
        ("mean", "f.py:f/property/weight[float32,mean]", False),
    ],
)
def test_what_names_a_bug(pattern: str, check: str, matches: bool) -> None:
    assert names(pattern, check) is matches
