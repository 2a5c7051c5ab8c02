"""The planted bugs are bugs and the correct losses are not, without the suite's generation.

Each bug names a call, its witness, on which it is wrong; all correct losses must be right there.
Only the reference and the table of tolerances are used.
"""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real import interpreters

from bce_conformance.judging.errors import errors, truth
from bce_conformance.model.call import FORWARD, Array, Call
from bce_conformance.model.dtypes import FLOATS

pytestmark = pytest.mark.framework

HERE = Path(__file__).parent
NAMES = {"x": "logits", "y": "target", "w": "weight", "p": "pos_weight"}
Said = dict[str, Any]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[Said]:
    """What every bug and correct loss did on the witnesses."""
    python = interpreters().get("torch")
    if python is None:
        pytest.skip("no interpreter with torch was named in BCE_INTERPRETERS or exists")
    results = tmp_path_factory.mktemp("witnesses") / "results.pickle"
    command = [python, str(HERE / "demonstrate.py"), str(results)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[Said] = pickle.loads(results.read_bytes())
    return found


def test_each_bug_shows_on_its_witness(said: list[Said]) -> None:
    bugs = [one for one in said if one["planted"]]
    unseen = [one["bug"] for one in bugs if what_is_wrong(one, one["grade"]) is None]
    assert len(bugs) >= 90
    assert not unseen, f"right on their own witnesses: {unseen}"


def test_what_the_strict_grade_alone_sees_is_within_the_stable_one(said: list[Said]) -> None:
    bugs = [one for one in said if one["planted"] and one["grade"] == "strict"]
    found = {one["bug"]: what_is_wrong(one, "stable") for one in bugs}
    assert bugs and not {name: wrong for name, wrong in found.items() if wrong}


def test_the_correct_losses_are_right_on_every_witness(said: list[Said]) -> None:
    found = {
        (one["loss"], one["bug"]): wrong
        for one in said
        if not one["planted"] and (wrong := what_is_wrong(one, "stable")) and may_not(one)
    }
    assert not found


def may_not(one: Said) -> bool:
    """A correct loss may refuse derivatives and mixed dtypes; what it returns must be right."""
    dtypes = {array[0] for array in one["given"].values()}
    optional = one["want"] != FORWARD or len(dtypes) > 1
    return not (optional and one["outcome"][0] == "raised")


def what_is_wrong(one: Said, grade: str) -> str | None:
    """None where the outcome is what is due."""
    kind, came = one["outcome"]
    if kind == "changed":
        return f"changed {', '.join(came)}"
    call = call_of(one)
    dtype = call.logits.dtype
    try:
        expected = truth(call, one["want"], dtype)
    except ValueError:
        return None if kind == "raised" else "accepted what has no meaning"
    if kind == "raised":
        return str(came)
    if came[0] != dtype or came[1] != expected.high.shape:
        return f"{came[0]} of shape {came[1]}"
    got = array(came)
    off = errors(got, expected)
    late = np.isinf(got.values) & expected.may_overflow & (grade == "stable")
    beyond = off.other_kind | (off.absolute > expected.tolerance[grade] + expected.uncertainty)
    if not np.any(beyond & ~late):
        return None
    return f"{got.values.ravel()[:3]} where {expected.high.ravel()[:3]} is due"


def call_of(one: Said) -> Call:
    given = {NAMES[name]: array(packed) for name, packed in one["given"].items()}
    options = {} if one["reduction"] is None else {"reduction": one["reduction"]}
    upstream = None if one["upstream"] is None else array(one["upstream"])
    return Call("planted", **given, options=options, want=(one["want"],), upstream=upstream)


def array(packed: tuple[str, tuple[int, ...], bytes]) -> Array:
    """The array of a dtype whose values these are: nothing is rounded again."""
    dtype, shape, data = packed
    values = np.frombuffer(data, np.float64).reshape(shape)
    held = Array.rounded(dtype, values)
    assert dtype not in FLOATS or np.array_equal(held.values, values, equal_nan=True)
    return held
