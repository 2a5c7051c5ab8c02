"""Bits, rounding and ulps of each dtype."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bce_conformance.model.call import Array
from bce_conformance.model.dtypes import FLOATS, from_float64, to_float64
from bce_conformance.model.literal import from_json, literal, number, to_json

BFLOATS = np.arange(1 << 16, dtype=np.uint16)


def test_every_bfloat16_survives() -> None:
    values = to_float64("bfloat16", BFLOATS)
    back = from_float64("bfloat16", values)
    nan = np.isnan(values)
    assert np.array_equal(back[~nan], BFLOATS[~nan])
    assert np.all(np.isnan(to_float64("bfloat16", back[nan].astype(np.uint16))))
    assert nan.sum() == 2 * 127


FINITE = np.sort(to_float64("bfloat16", BFLOATS)[np.isfinite(to_float64("bfloat16", BFLOATS))])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_bfloat16_rounds_once_to_nearest_even(value: float) -> None:
    rounded = float(to_float64("bfloat16", from_float64("bfloat16", np.array(value))))
    if abs(Fraction(value)) >= Fraction(FLOATS["bfloat16"].overflow_threshold):
        assert rounded == np.copysign(np.inf, value)
        return
    near = np.searchsorted(FINITE, value)
    around = FINITE[max(near - 2, 0) : near + 3]
    distance = {float(c): abs(Fraction(float(c)) - Fraction(value)) for c in around}
    least = min(distance.values())
    best = [c for c, d in distance.items() if d == least]
    assert rounded in best
    if len(set(best)) > 1:
        bits = int(from_float64("bfloat16", np.array(rounded)))
        assert bits % 2 == 0


def test_bfloat16_double_rounding_is_caught() -> None:
    """Just above a tie, too close for float32 to see: rounding twice would go to even, down."""
    tie = 1 + 2.0**-8
    assert float(to_float64("bfloat16", from_float64("bfloat16", np.array(tie)))) == 1.0
    above = tie + 2.0**-40
    assert float(to_float64("bfloat16", from_float64("bfloat16", np.array(above)))) == 1 + 2.0**-7


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_ulp_is_the_spacing(name: str) -> None:
    form = FLOATS[name]
    kind = np.dtype(form.carrier).type
    values = np.array([1.0, 1.5, 2.0, 3e-5, 1e4, form.smallest_normal, form.smallest_subnormal])
    spacing = np.spacing(values.astype(kind)).astype(np.float64)
    assert np.array_equal(form.ulp(values.astype(kind).astype(np.float64)), spacing)
    assert form.ulp(np.array([0.0])) == form.smallest_subnormal
    assert float(np.finfo(kind).max) == form.largest
    assert form.unit_roundoff == float(np.finfo(kind).eps) / 2


@pytest.mark.parametrize(
    ("name", "threshold"), [("float16", 65520.0), ("float32", 2.0**128 - 2.0**103)]
)
def test_overflow_threshold(name: str, threshold: float) -> None:
    assert FLOATS[name].overflow_threshold == threshold
    below = np.nextafter(threshold, 0)
    with np.errstate(over="ignore"):
        assert np.isinf(from_float64(name, np.array(threshold)))
        assert np.isfinite(from_float64(name, np.array(below)))


ARRAYS = st.tuples(
    st.sampled_from([*FLOATS, "int64", "bool"]),
    st.sampled_from([(), (0,), (1,), (3,), (2, 2), (5, 1, 2), (0, 3), (4, 3)]),
    st.randoms(use_true_random=False),
)


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    dtype, shape, random = draw(ARRAYS)
    if dtype in ("int64", "bool"):
        values = [random.randrange(0, 2) for _ in range(int(np.prod(shape)))]
        return Array.rounded(dtype, np.array(values, dtype=np.float64).reshape(shape))
    width = {"float16": 16, "bfloat16": 16, "float32": 32, "float64": 64}[dtype]
    bits = [random.getrandbits(width) for _ in range(int(np.prod(shape)))]
    if random.random() < 0.3:
        bits = bits[:1] * len(bits)
    return Array(dtype, shape, np.array(bits, dtype=f"<u{width // 8}").tobytes())


@given(arrays())
def test_a_literal_pastes_back_to_the_same_bits(array: Array) -> None:
    values = np.array(eval(literal(array.wire())), dtype=np.float64).reshape(array.shape)
    back = Array.rounded(array.dtype, values)
    same = (back.bits == array.bits) | (np.isnan(back.values) & np.isnan(array.values))
    assert np.all(same)


@given(arrays())
def test_json_keeps_every_bit(array: Array) -> None:
    assert from_json(to_json(array)) == array


def test_literals_are_short() -> None:
    assert number("float32", float(np.float32(0.1))) == "0.1"
    assert number("float64", 0.1) == "0.1"
    constant = Array.rounded("float32", np.full((10, 64), 1.5))
    assert literal(constant.wire()) == "[[1.5] * 64] * 10"
