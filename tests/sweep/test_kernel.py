"""The compiled judge finds what the suite's own judge finds, and its truth is certified."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bce_conformance.judging.errors import Truth, forget, truth
from bce_conformance.model.call import Array, Call
from bce_conformance.model.dtypes import FLOATS
from bce_conformance.sweep import kernel, tiles
from bce_conformance.sweep.certify import Certified, certify, markdown
from bce_conformance.sweep.exact import judged
from bce_conformance.sweep.figures import Figures
from bce_conformance.sweep.line import Block, array, blocks
from bce_conformance.sweep.tiles import TileJudge

LENGTH = 2 * kernel.CHUNK
NUMBERS = [block for block in blocks("float32") if block.kind == "numbers"]
Results = NDArray[np.float32]


def one_off(v: Results, random: np.random.Generator) -> Results:
    side = np.where(random.random(v.size) < 0.5, np.float32(np.inf), np.float32(-np.inf))
    return np.where(random.random(v.size) < 0.1, np.nextafter(v, side), v)


def off_by_a_millionth(v: Results, _: np.random.Generator) -> Results:
    return (v * np.float32(1 + 1e-6)).astype(np.float32)


def flushed(v: Results, _: np.random.Generator) -> Results:
    return np.where(np.abs(v) < 1.2e-38, np.float32(0), v)


def tail_gone(v: Results, _: np.random.Generator) -> Results:
    return np.where(np.abs(v) < 1e-7, np.float32(0), v)


def some_infinite(v: Results, random: np.random.Generator) -> Results:
    return np.where(random.random(v.size) < 0.01, np.float32(np.inf), v)


SPOILT: dict[str, Callable[[Results, np.random.Generator], Results]] = {
    "correctly rounded": lambda v, _: v,
    "one off here and there": one_off,
    "a millionth off": off_by_a_millionth,
    "subnormals flushed": flushed,
    "tail gone": tail_gone,
    "infinite here and there": some_infinite,
}


def expected_of(quantity: str, target: int, words: NDArray[np.uint32]) -> Truth:
    y = Array.rounded("float32", np.full(words.size, float(target)))
    forget()
    return truth(Call("s", array("float32", words), y, options={"reduction": "none"}),
                 quantity, "float32")  # fmt: skip


def known_edge(expected: Truth) -> bool:
    """Within 2^-44 of a power of two the ulp is one of two, and the two judges may choose
    differently: gradients of next to 1/2."""
    significand, _ = np.frexp(np.abs(expected.high) + 0.0)
    return bool((np.abs(significand - 1) < 2.0**-44).any() or (
        (np.abs(significand - 0.5) < 2.0**-44) & (expected.high != 0)).any())  # fmt: skip


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("quantity", ["forward", "grad.logits"])
def test_it_counts_as_the_suite_does(quantity: str, target: int, spoilt: str) -> None:
    random = np.random.default_rng([target, len(spoilt), len(quantity)])
    judge = TileJudge(quantity, target, LENGTH)
    compared = 0
    for block in NUMBERS:
        start = int(random.integers(0, block.count // LENGTH)) * LENGTH
        words = block.bits(start, LENGTH)
        expected = expected_of(quantity, target, words)
        got = SPOILT[spoilt](expected.high.astype(np.float32), random).astype(np.float32)
        judge.tile(block, start, got)
        mine = judge.figures(block)
        result = Array("float32", words.shape, got.tobytes())
        (theirs,) = judged(words, result, expected).figures([0])
        if known_edge(expected):
            assert mine.all == theirs.all
            continue
        compared += 1
        assert_same(block, mine, theirs)
    assert compared > 200


def assert_same(block: Block, mine: Figures, theirs: Figures) -> None:
    for name in ("elements", "as_due", "uncertain"):
        assert getattr(mine, name) == getattr(theirs, name), (str(block), name)
    # Ties between two floats: the kernel decides them in double-double, the other in float64.
    assert abs(mine.correctly_rounded - theirs.correctly_rounded) <= 1, str(block)
    assert mine.max_ulp == pytest.approx(theirs.max_ulp, rel=1e-6, abs=1e-6), str(block)
    moved = np.abs(np.array(mine.histogram) - np.array(theirs.histogram)).sum()
    assert moved <= 4, str(block)
    spans = [
        {key: (span.count, span.first, span.last) for key, span in figures.marks.items()}
        for figures in (mine, theirs)
    ]
    assert spans[0] == spans[1], str(block)
    if block.exponent >= kernel.GONE:
        return  # what is due is 1e-60, and no share of it is worked out
    for name, value in theirs.extremes.items():
        known = 2.0**-46 / (FLOATS["float32"].unit_roundoff if name.startswith("k_") else 1)
        known *= 2.0 ** (block.exponent + 1) if block.exponent > 0 else 1
        # The kernel's are the largest of all blocks so far.
        assert mine.extremes[name] >= value * (1 - 1e-6) - known, (str(block), name)


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("quantity", ["forward", "grad.logits"])
def test_its_tolerances_are_those_of_the_table(quantity: str, target: int) -> None:
    table = tiles.Table(quantity, target)
    s0, s1, strict, r0, r1, r2, _ = table.sizes
    for block in NUMBERS:
        words = block.bits(0, 8)
        x = words.view(np.float32).astype(np.float64)
        expected = expected_of(quantity, target, words)
        size = np.abs(expected.high)
        own = tiles.truth(quantity, target, x, expected.high)
        for one, other in (
            (own.rest, expected.rest),
            (own.formula, expected.formula),
            (own.flushed, expected.flushed),
            (own.scale["stable"], expected.scale["stable"]),
            (own.tolerance["stable"], expected.tolerance["stable"]),
            (own.tolerance["strict"], expected.tolerance["strict"]),
            (s0 + s1 * np.abs(x), expected.scale["stable"]),
            (r0 + r1 * np.abs(x) + r2 * size, expected.rest),
            (strict * size, own.scale["strict"]),
        ):
            assert one == pytest.approx(other, rel=1e-12, abs=1e-55)


def test_the_worst_logit_is_the_one_nearest_to_0() -> None:
    block = next(b for b in NUMBERS if b.exponent == 1 and not b.negative)
    expected = expected_of("forward", 0, block.bits(0, LENGTH))
    got = expected.high.astype(np.float32)
    got[[700, 1500]] += np.float32(8 * 2.0**-22)
    judge = TileJudge("forward", 0, LENGTH)
    judge.tile(block, 0, got)
    found = judge.figures(block)
    ulps = np.abs(got - expected.high) / expected.ulp
    assert found.at == block.first + int(np.argmax(ulps))
    assert found.got == int(got.view(np.uint32)[np.argmax(ulps)])
    assert found.marks["+strict"].count == 2


def test_nan_is_due_for_nan() -> None:
    block = next(b for b in blocks("float32") if b.kind == "nan" and b.negative)
    judge = TileJudge("forward", 1, LENGTH)
    got = np.full(LENGTH, np.nan, np.float32)
    judge.tile(block, 0, got)
    got[5] = 0.0
    judge.tile(block, LENGTH, got)
    found = judge.figures(block)
    assert (found.as_due, found.count("other_kind"), found.all) == (
        2 * LENGTH - 1,
        1,
        2 * LENGTH,
    )
    assert found.marks["-other_kind"].first == block.first + LENGTH + 5


def test_a_wrong_kernel_would_be_seen() -> None:
    """The comparison above can fail: a truth that is off by 2^-20 of itself gives other figures."""
    block = next(b for b in NUMBERS if b.exponent == 0 and not b.negative)
    words = block.bits(0, LENGTH)
    expected = expected_of("forward", 0, words)
    got = (expected.high * (1 + 2.0**-20)).astype(np.float32)
    judge = TileJudge("forward", 0, LENGTH)
    judge.tile(block, 0, got)
    right = Array("float32", words.shape, expected.high.astype(np.float32).tobytes())
    (theirs,) = judged(words, right, expected).figures([0])
    with pytest.raises(AssertionError):
        assert_same(block, judge.figures(block), theirs)


def test_the_truth_is_certified_where_formulas_change() -> None:
    pytest.importorskip("flint", reason="ball arithmetic certifies, and is not installed")
    changes = (kernel.NEAR_SOFTPLUS, kernel.NEAR_SIGMOID, kernel.FAR, kernel.GONE)
    edges = {-127, -126, 0, 1, 3, 4, 127, *changes, *(change - 1 for change in changes)}
    some = [block for block in NUMBERS if block.exponent in edges]
    for found in certify(8, seed=0, some=some):
        assert found.share <= 1, found
        assert found.ulps < 1 / 16, found


def test_a_row_of_the_certificate_has_the_largest_error_of_its_band() -> None:
    errors = {0: 1.0, 1: 4.0, 3: 2.0, 4: 8.0}
    found = [
        Certified(block, quantity, 0, 1, errors[block.exponent] * factor, 0.0)
        for block in NUMBERS
        if block.exponent in errors
        for quantity, factor in (("forward", 1.0), ("grad.logits", 0.5))
    ]
    table = markdown(found, points=2, seed=0).splitlines()[-2:]
    assert table == ["| 2^0 to 2^4 | 4.0e+00 | 2.0e+00 |", "| 2^4 to 2^8 | 8.0e+00 | 4.0e+00 |"]
