"""Every rank, every short length, no elements at all, and as many as make accumulators fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..model.call import FORWARD, Array
from ..model.case_family import CaseFamily, PlannedCase, TestedSurface
from ..model.expectation import Source
from .situation import Recipe, Shape, Situation, Structure, situation
from .stable_random import StableRandom
from .topics import DERIVATIVES, DOCUMENT, REDUCTIONS, call_of, formula, unweighted
from .values import everyday_logits, everyday_weights, targets

PLAIN = Recipe(everyday_logits, targets)
WEIGHTED = Recipe(everyday_logits, targets, None, everyday_weights)
FULLY_WEIGHTED = Recipe(everyday_logits, targets, everyday_weights)

RANKS: tuple[Shape, ...] = (
    (), (1,), (5,), (1, 1), (4, 1), (1, 4), (3, 4), (1, 1, 1), (2, 1, 3), (2, 3, 4), (3, 3, 1),
    (2, 2, 2, 2), (1, 3, 1, 2), (2, 1, 2, 1, 2), (2, 2, 2, 2, 2), (1, 2, 1, 2, 1, 2),
    (2, 2, 2, 2, 2, 2), (1, 1, 1, 1, 1, 1),
)  # fmt: skip
EMPTY: tuple[Shape, ...] = ((0,), (3, 0), (0, 3), (2, 0, 3), (0, 0))
SHORT: tuple[Shape, ...] = tuple((n,) for n in range(1, 41))
LONG: tuple[Shape, ...] = tuple(
    (n + d,) for n in (64, 128, 256, 512, 1024, 4096, 8192, 32768, 65536) for d in (-1, 0, 1)
)
PERIODS = (4099, 4096)
"""Elements of one period of the large arrays: a prime, so that no block size divides them, and for
the least of them a power of two, so that every block is full."""


@dataclass(frozen=True)
class Sizes:
    """bare: what takes no pos_weight is asked the same without it."""

    name: str
    rule: str
    shapes: tuple[Shape, ...]
    tested: tuple[tuple[str, str], ...]
    recipe: Recipe = PLAIN
    bare: bool = False


EACH = tuple((q, r) for r in ("none", "mean", "sum") for q in (FORWARD, "grad.logits"))
LENGTHS = ((FORWARD, "none"), (FORWARD, "mean"), ("grad.logits", "none"), ("grad.logits", "mean"))
SIZES = (
    Sizes("ranks", "ranks 0 to 6, axes of length 1", RANKS, EACH),
    Sizes("ranks-with-pos_weight", "ranks 1 to 6, a pos_weight per class", RANKS[1:], EACH,
          WEIGHTED),
    Sizes("ranks-with-weight", "ranks 1 to 6, a weight of the logits' shape", RANKS[1:], EACH,
          FULLY_WEIGHTED),
    Sizes("many-rows", "more rows than 65,535, where some grids of threads end", ((70_001, 2),),
          LENGTHS[::2]),
    Sizes("no-axes-with-pos_weight", "a single logit without axes, and its pos_weight", RANKS[:1],
          EACH, WEIGHTED),
    Sizes("short-vectors", "vectors of every length to 40", SHORT, LENGTHS),
    Sizes("long-vectors", "lengths about the powers of two, where kernels change", LONG, LENGTHS,
          WEIGHTED, bare=True),
    Sizes("empty", "the sum of nothing is 0 and the mean of nothing NaN", EMPTY, EACH),
)  # fmt: skip


def sized(
    sizes: Sizes, tested: TestedSurface, dtype: str, seed: int, quantities: Sequence[str]
) -> Iterator[PlannedCase]:
    """Every shape of one row of SIZES."""
    kind = "reduction" if sizes.name == "empty" else "property"
    for shape in sizes.shapes:
        found = _of_shape(sizes.name, sizes.recipe, shape, dtype, seed)
        if sizes.bare:
            found = unweighted(found, tested.signature)
        reduced = tested.signature.reduced
        for quantity, reduction in dict.fromkeys((q, reduced(r)) for q, r in sizes.tested):
            # What an accumulator loses over so many is asked by `large`, where it shows.
            summed = quantity == FORWARD and reduction != "none" and found.logits.size > 8192
            if quantity in quantities and not summed:
                family = _family(sizes.name, kind, sizes.rule, tested, dtype, quantity, reduction)
                yield family, formula(family, call_of(found, tested, quantity, reduction))


@lru_cache(maxsize=1024)
def _of_shape(name: str, recipe: Recipe, shape: Shape, dtype: str, seed: int) -> Situation:
    weight, pos_weight = recipe.weight and "full", recipe.pos_weight and "per-class"
    structure = Structure(shape, weight, pos_weight, seed)
    return situation(structure, recipe, dtype, StableRandom(seed, name, dtype, *shape))


def _family(name: str, kind: str, rule: str, tested: TestedSurface, dtype: str, quantity: str,
            reduction: str) -> CaseFamily:  # fmt: skip
    sentence = f"{DERIVATIVES[quantity]}{REDUCTIONS[reduction]}. Here: {rule}."
    source = Source(DOCUMENT, sentence)
    return CaseFamily(name, kind, tested, dtype, quantity, reduction, source, formula)


# ---- reductions so large that accumulators fail

LARGEST = {"quick": 2**17, "standard": 2**25, "full": 2**25}
COUNTS = (2**17, 2**20, 2**22, 2**25)


def large(tested: TestedSurface, dtype: str, seed: int, most: int, quantities: Sequence[str]
          ) -> Iterator[PlannedCase]:  # fmt: skip
    """Sums and means of up to `most` elements, and gradients of means and of one shared weight."""
    small = dtype in ("float16", "bfloat16", "float64")
    for count, period in ((COUNTS[0], PERIODS[1]), *((count, PERIODS[0]) for count in COUNTS)):
        if count > (min(most, 2**22) if small else most):
            continue
        found = unweighted(_cycled(dtype, seed, period, count // period), tested.signature)
        for quantity, reduction, name in _large_cases(count, found):
            if quantity in quantities:
                rule = "the accumulator must lose no more than pairwise summation in float32"
                family = _family(name, "reduction", rule, tested, dtype, quantity, reduction)
                yield family, formula(family, call_of(found, tested, quantity, reduction))


WIDE: Shape = (8, 32_768)
"""Of losses whose sum over a row is no float16, and whose mean is one."""


def wide_rows(tested: TestedSurface, dtype: str, seed: int) -> Iterator[PlannedCase]:
    """The mean of a matrix in float16: adding up one axis after the other may overflow."""
    if dtype == "float16":
        rule = "a mean that is a float16 comes out, whatever its rows add up to"
        found = _of_shape("wide-rows", PLAIN, WIDE, dtype, seed)
        family = _family("wide-rows", "reduction", rule, tested, dtype, FORWARD, "mean")
        yield family, formula(family, call_of(found, tested, FORWARD, "mean"))


def _large_cases(count: int, found: Situation) -> Iterator[tuple[str, str, str]]:
    yield FORWARD, "sum", "large-sum"
    yield FORWARD, "mean", "large-mean"
    if count <= 2**20:
        yield "grad.logits", "mean", "large-mean"
        yield "grad.pos_weight", "sum", "large-sum"


@lru_cache(maxsize=16)
def _cycled(dtype: str, seed: int, period: int, periods: int) -> Situation:
    """Arrays of one period, as often as it takes; one pos_weight for all."""
    rng = StableRandom(seed, "large", dtype)
    structure = Structure((period,), None, None, 0)
    one = situation(structure, PLAIN, dtype, rng)
    n = (period * periods,)
    logits = Array(dtype, n, one.logits.data, "cycled")
    target = Array(dtype, n, one.target.data, "cycled")
    return Situation(logits, target, None, Array.rounded(dtype, np.array([1.5])))
