"""Every bit pattern of a dtype is swept, once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from bce_conformance.model.dtypes import FLOATS
from bce_conformance.sweep.line import WORDS, blocks, number, values
from bce_conformance.sweep.plan import HARD, SweepPlan, grid, targets


@pytest.mark.parametrize("dtype", FLOATS)
def test_blocks_hold_every_bit_pattern_once(dtype: str) -> None:
    every = blocks(dtype)
    assert every[0].first == 0
    for one, following in pairwise(every):
        assert one.first + one.count == following.first
    assert sum(block.count for block in every) == 2 ** (8 * np.dtype(WORDS[dtype]).itemsize)
    assert [block.index for block in every] == list(range(len(every)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_block_is_of_one_sign_and_exponent(dtype: str) -> None:
    form = FLOATS[dtype]
    for block in blocks(dtype):
        x = values(dtype, block.bits())
        if block.kind == "nan":
            assert np.isnan(x).all()
        elif block.kind == "infinity":
            assert x.tolist() == [-np.inf if block.negative else np.inf]
        else:
            assert (np.signbit(x) == block.negative).all()
            assert (np.diff(np.abs(x)) > 0).all()
            if block.exponent >= form.emin:
                assert (np.floor(np.log2(np.abs(x))) == block.exponent).all()
            else:
                assert x[0] == 0 and np.abs(x).max() < form.smallest_normal


def test_float32_has_2_to_the_32_logits_less_infinities_and_nans() -> None:
    numbers = [block for block in blocks("float32") if block.kind == "numbers"]
    assert sum(block.count for block in numbers) == 2**32 - 2 * 2**23
    assert {str(block) for block in blocks("float32") if block.kind != "numbers"} == {
        "+infinity", "-infinity", "+nan", "-nan",
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_grid_of_16_bits(dtype: str) -> None:
    """At least 17 targets: 0, 1, soft ones, subnormal, just inside 0 and 1; with pos_weight too."""
    form, found = FLOATS[dtype], targets(dtype)
    assert len(set(found)) == len(found) >= 17
    assert set(HARD) <= set(found)
    assert any(0 < y < form.smallest_normal for y in found)
    assert 1 - form.unit_roundoff in found and form.smallest_normal in found
    assert {p is None for _, p in grid(dtype)} == {True, False}


def test_samples_of_float64_are_seeded_and_reach_the_ends_of_each_block() -> None:
    plan = SweepPlan("float64", samples=16)
    block = blocks("float64")[1023]
    bits = plan.bits(block)
    assert bits[0] == block.first and bits[-1] == block.first + block.count - 1
    assert len(bits) == 16 and (np.diff(bits.astype(object)) > 0).all()
    assert (plan.bits(block) == bits).all()
    assert (SweepPlan("float64", seed=1, samples=16).bits(block) != bits).any()
    assert number("float64", int(bits[0])) == 2.0**block.exponent
