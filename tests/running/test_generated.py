"""Generated questions end to end, in this process: right losses pass, wrong ones are named."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from bce_conformance.adapters import available
from bce_conformance.adapters import numpy as adapter
from bce_conformance.generate.plan import Plan
from bce_conformance.model.check import Check
from bce_conformance.running.generated import GeneratedRun
from bce_conformance.running.witness import case_from_json
from bce_conformance.session import LocalSession, OwnLoss

RIGHT = """
import numpy as np
def sp(z): return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
def loss(input, target, *, weight=None, reduction="mean", pos_weight=None):
    x, y = input, np.asarray(target, input.dtype)
    one = x.dtype.type(1)
    w = one if weight is None else weight
    p = one if pos_weight is None else pos_weight
    if x.shape != np.shape(target):
        raise ValueError("shapes differ")
    for a in (w, p):
        if np.broadcast_shapes(np.shape(a), x.shape) != x.shape:
            raise ValueError("does not broadcast")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError("unknown reduction")
    with np.errstate(all="ignore"):
        each = LOSS
        return {"none": lambda v: v, "mean": np.mean, "sum": np.sum}[reduction](each)
"""
FORMULA = "w * (p * y * sp(-x) + (1 - y) * sp(x))"
REFUSING = """
failed = []
def loss(*arguments, **options):
    if failed:
        raise RuntimeError("not again")
    try:
        return right(*arguments, **options)
    except ValueError:
        failed.append(1)
        raise
"""
WRONG = {
    "weight ignored": (FORMULA, "p * y * sp(-x) + (1 - y) * sp(x)", "property/weight["),
    "weight applied twice": (FORMULA, f"w * {FORMULA}", "property/weight["),
    "pos_weight on the whole": (
        FORMULA, "w * (1 + (p - 1) * y) * (y * sp(-x) + (1 - y) * sp(x))",
        "pos_weight-with-soft-targets"),
    "no shift": (FORMULA, "w * (p * y * np.log1p(np.exp(-x)) + (1 - y) * np.log1p(np.exp(x)))",
                 "large-logits["),
    "target clamped": ("np.asarray(target, input.dtype)",
                       "np.clip(np.asarray(target, input.dtype), 0, 1)", "targets-outside-0-1"),
    "ignore index": (FORMULA, f"np.where(y == -100, 0, {FORMULA}).astype(x.dtype)",
                     "sentinel-targets"),
    "target broadcast": ('raise ValueError("shapes differ")', "y = np.broadcast_to(y, x.shape)",
                         "target-of-another-shape"),
    "grown by a weight": ('raise ValueError("does not broadcast")', "pass",
                          "weight-larger-than-logits"),
    "unknown reduction": ('raise ValueError("unknown reduction")', 'reduction = "mean"',
                          "unknown-reduction"),
    "mean of nothing 0": ('"mean": np.mean,', '"mean": lambda v: v.mean() if v.size else v.sum(),',
                          "reduction/empty"),
    "input changed": ("        each = LOSS", "        each = LOSS\n        x *= 1.5",
                      "inputs-unchanged"),
    "nan swallowed": (FORMULA, f"np.nan_to_num({FORMULA})", "special/nan-"),
    "dtype promoted": (FORMULA, f"({FORMULA}).astype(np.float64)", "output-dtype"),
    "mean by the weights": ('"mean": np.mean,',
                            '"mean": lambda v: np.sum(v) / np.sum(np.broadcast_to(w, v.shape)),',
                            "property/mean-with-weight"),
    "last axis averaged": ('"none": lambda v: v,',
                           '"none": lambda v: v.mean(-1) if v.ndim > 1 else v,', "output-shape"),
    "remembers": ('def loss(', 'calls = []\ndef loss(', "called-twice"),
    "refuses for ever": ('def loss(', f"{REFUSING}def right(", "after-a-failed-call"),
}  # fmt: skip


def source(name: str | None) -> str:
    text = RIGHT
    if name is not None:
        right, wrong, _ = WRONG[name]
        text = text.replace("LOSS", FORMULA) if right == FORMULA else text
        assert right in text
        text = text.replace(right, wrong)
        if name == "remembers":
            wrong_now = "calls.append(1) or (1 + 0.01 * (len(calls) % 2)) * "
            text = text.replace("LOSS", f"({wrong_now}{FORMULA}).astype(x.dtype)")
    return text.replace("LOSS", FORMULA)


@cache
def judged(name: str | None, seed: int = 0, dtype: str = "float32") -> tuple[Check, ...]:
    loss = OwnLoss(Path("/nowhere/mine.py"), "loss", source(name))
    with LocalSession(adapter, losses=(loss,)) as session:
        generated_run = GeneratedRun(session, available()["numpy"], Plan(seed, "quick", (dtype,)),
                      session.backend.surfaces, "stable", must_accept=("float32",))  # fmt: skip
        return tuple(check for _, checks in generated_run.checks() for check in checks)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_right_loss_passes(dtype: str) -> None:
    for seed in (0, 1):
        assert [c.id for c in judged(None, seed, dtype) if c.failing] == []


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_loss_is_named(name: str) -> None:
    failing = [check.id for check in judged(name) if check.failing]
    assert any(WRONG[name][2] in check for check in failing), failing


def test_check_ids_are_unique_and_do_not_depend_on_the_seed() -> None:
    ids = [check.id for check in judged(None, 0)]
    assert [i for i, n in Counter(ids).items() if n > 1] == []
    assert ids == [check.id for check in judged(None, 1)]


def test_one_seed_gives_one_report() -> None:
    first = judged(None, 3)
    judged.cache_clear()
    assert judged(None, 3) == first


def test_a_witness_is_one_element_and_says_what_was_done() -> None:
    (check,) = (c for c in judged("weight ignored") if "/property/weight[" in c.id
                and c.quantity == "forward")  # fmt: skip
    case = case_from_json(check.witness.case)
    assert case.call.logits.size == 1 and case.call.weight is not None
    assert case.call.pos_weight is None
    assert "as if the weight was ignored" in check.summary


def test_what_was_refused_is_recorded_and_not_asked_again() -> None:
    checks = judged(None)
    (accepts,) = (c for c in checks if "/accepts[" in c.id and c.quantity == "grad.logits")
    assert accepts.verdict == "unsupported"
    assert {c.quantity for c in checks if c.kind == "property"} == {"forward"}
