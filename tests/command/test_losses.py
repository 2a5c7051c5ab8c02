"""`run --loss`, named once and more often."""

from __future__ import annotations

from pathlib import Path

from test_run import reports, run

QUICK = ("run", "--backend", "numpy", "--profile", "quick", "--dtype", "float32")
LOSSES = """
import numpy

if numpy.__dict__.setdefault("_imports_of_mine", []):
    raise RuntimeError("imported twice")
numpy._imports_of_mine.append(1)


def right(input, target, *, weight=None, reduction="mean", pos_weight=None):
    if reduction not in ("none", "mean", "sum") or input.shape != target.shape:
        raise ValueError("refused")
    one = input.dtype.type(1)
    w, p = (one if a is None else a for a in (weight, pos_weight))
    if numpy.broadcast_shapes(w.shape, p.shape, input.shape) != input.shape:
        raise ValueError("refused")
    x, y = input, target.astype(input.dtype)
    tail = numpy.log1p(numpy.exp(-abs(x)))
    loss = w * (p * y * (numpy.maximum(-x, 0) + tail) + (1 - y) * (numpy.maximum(x, 0) + tail))
    loss = loss.astype(input.dtype)
    return loss if reduction == "none" else getattr(loss, reduction)()


def without_pos_weight(input, target, *, weight=None, reduction="mean", pos_weight=None):
    return right(input, target, weight=weight, reduction=reduction)
"""


def losses(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(LOSSES)
    return folder / "mine.py"


def verdicts(folder: Path, *names: str) -> dict[str, str]:
    given = [word for name in names for word in ("--loss", f"{losses(folder)}:{name}")]
    done = run(*QUICK, *given, cwd=folder)
    assert done.returncode == int("without_pos_weight" in names), done.stderr
    (report,) = reports(folder / "bce-reports")
    assert report["backend"]["surfaces"] == [f"mine.py:{name}" for name in names]
    return {check["id"]: check["verdict"] for check in report["checks"]}


def test_several_losses_are_judged_as_each_is_alone(tmp_path: Path) -> None:
    both = verdicts(tmp_path / "both", "right", "without_pos_weight")
    right = verdicts(tmp_path / "right", "right")
    wrong = verdicts(tmp_path / "wrong", "without_pos_weight")
    assert both == {**right, **wrong}
    assert "deviates" not in right.values()
    assert wrong["mine.py:without_pos_weight/property/pos_weight[float32,none]"] == "deviates"


def test_the_paste_is_of_the_loss_that_deviates(tmp_path: Path) -> None:
    verdicts(tmp_path, "right", "without_pos_weight")
    (report,) = reports(tmp_path / "bce-reports")
    failing = [check for check in report["checks"] if check["verdict"] == "deviates"]
    assert {check["surface"] for check in failing} == {"mine.py:without_pos_weight"}
    for check in failing:
        assert "from mine import without_pos_weight as own_loss" in check["witness"]["reproduce"]


def test_two_losses_of_the_same_name(tmp_path: Path) -> None:
    one, other = (f"{losses(tmp_path / folder)}:right" for folder in ("one", "other"))
    done = run(*QUICK, "--loss", one, "--loss", other, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == ("--loss: expected each mine.py:right once, whatever its folder")
