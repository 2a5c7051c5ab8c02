"""How numbers are written in a case file, and what reaches the backend."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bce_conformance.casefile import load_all
from bce_conformance.model.expectation import Case

FILE = """\
surface: numpy.bce_with_logits
source: a page
cases:
  - id: one
    claim: "a sentence"
    call: {{logits: {logits}, target: {target}, dtype: {dtype}, reduction: none}}
    expect: {{characterise: true}}
"""


def case(tmp_path: Path, logits: str, target: str = "0", dtype: str = "float64") -> Case:
    file = tmp_path / "case.yaml"
    file.write_text(FILE.format(logits=logits, target=target, dtype=dtype), encoding="utf-8")
    return load_all([file])[0].cases[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), ("-0.0", -0.0), ("1e-3", 1e-3), ("1.5e3", 1500.0), ("0x1.8p3", 12.0),
        ("-0x1p-1074", -(2.0**-1074)), (".inf", math.inf), ("-inf", -math.inf), ("inf", math.inf),
        ("nan", math.nan), (".nan", math.nan), ("'2.5'", 2.5),
    ],
)  # fmt: skip
def test_scalars(tmp_path: Path, text: str, value: float) -> None:
    got = float(case(tmp_path, text).call.logits.values)
    assert np.array_equal(got, value, equal_nan=True)
    assert math.isnan(value) or np.signbit(got) == np.signbit(value)


def test_rounded_once_to_the_dtype(tmp_path: Path) -> None:
    tested = case(tmp_path, "[0.1, 65520, 1e-8]", "[0, 0, 0]", "float16").call.logits
    assert tested.values.tolist() == [float(np.float16(0.1)), math.inf, 0.0]


def test_cycle_repeats_in_c_order(tmp_path: Path) -> None:
    tested = case(tmp_path, "{cycle: [1, 2, 3], shape: [2, 2]}", "{fill: 0, shape: [2, 2]}")
    assert tested.call.logits.values.tolist() == [[1.0, 2.0], [3.0, 1.0]]


def test_an_argument_may_have_a_dtype_of_its_own(tmp_path: Path) -> None:
    call = case(tmp_path, "1.0", "{values: 1, dtype: int64}", "float32").call
    assert (call.logits.dtype, call.target.dtype) == ("float32", "int64")


def test_empty_arrays_keep_their_shape(tmp_path: Path) -> None:
    tested = case(tmp_path, "{fill: 0, shape: [0, 3]}", "{fill: 0, shape: [0, 3]}")
    assert tested.call.logits.shape == (0, 3)
