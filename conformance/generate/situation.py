"""Situations: arrays that belong together, their structure drawn by Hypothesis.

Hypothesis draws what has structure: ranks, axes of length 0 and 1, how weights broadcast. The
numbers in the arrays come from `values`, for a drawn integer would be 0 too often and a drawn
float takes a thousand times as long.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers

from ..judging.tolerance import Elements, largest_intermediate
from ..model.call import FORWARD, Array
from ..model.dtypes import FLOATS, FloatFormat
from .stable_random import Floats, StableRandom
from .values import Pool, arriving_gradients, everyday_logits

Shape = tuple[int, ...]

PATTERNS = (
    "full", "per-class", "scalar", "one-element", "per-item", "trailing-ones", "single-ones",
    "per-channel", "per-pixel",
)  # fmt: skip
"""How a weight broadcasts against logits; see `pattern`."""

ONE_SHAPE = -1
"""In the place of a number of elements: every situation has the shape THE_SHAPE."""
THE_SHAPE = (8, 61)

USUAL = ("full", "per-class")
"""Of weight and pos_weight, where broadcasting is not the question: every document allows these."""

Forms = tuple[str, ...]
"""Which forms the shapes of situations have, in turn (see `shapes`); of any form where empty."""

OF_AXES: Forms = ("square", "box", "matrix", "cube", "any", "line")
"""Where a mistake shows only if two axes are as long as each other, or only if they are not: even
two situations have both."""
OF_CHANNELS: Forms = ("deep", "cube", "box")
"""The channels are the second axis; without a third they are the classes."""
OF_STRIDES: Forms = ("matrix", "box", "line", "square", "any", "deep")
"""A single axis is the same whatever its order in memory."""


@dataclass(frozen=True)
class Structure:
    """shape of the logits; weight and pos_weight name a pattern, None where there is none."""

    shape: Shape
    weight: str | None
    pos_weight: str | None
    seed: int


@dataclass(frozen=True)
class Recipe:
    """Where the numbers of each argument come from; None: the argument is absent.

    matching: targets are 1 for positive logits and 0 for negative ones, the losses small.
    """

    logits: Pool
    target: Pool
    weight: Pool | None = None
    pos_weight: Pool | None = None
    upstream: bool = False
    matching: bool = False


@dataclass(frozen=True)
class Situation:
    """The arguments of a call, of one dtype.

    upstream has the logits' shape, for unreduced losses; upstream_scalar is 0-d, for reduced ones.
    """

    logits: Array
    target: Array
    weight: Array | None = None
    pos_weight: Array | None = None
    upstream: Array | None = None
    upstream_scalar: Array | None = None

    @property
    def dtype(self) -> str:
        return self.logits.dtype


def pattern(name: str, shape: Shape) -> Shape:
    """The shape of a weight that broadcasts so against logits of a shape of rank 1 or more."""
    ones = (1,) * (len(shape) - 1)
    return {
        "full": shape,
        "per-class": shape[-1:],
        "scalar": (),
        "one-element": (1,),
        "per-item": (*shape[:1], *ones),
        "trailing-ones": (*shape[:-1], 1)[-len(shape) :] if shape else (),
        "single-ones": (1,) * len(shape),
        "per-channel": (shape[1], *ones[1:]) if len(shape) > 2 else shape[-1:],
        "per-pixel": shape[-2:],
    }[name]


@st.composite
def shapes(draw: st.DrawFn, largest: int, form: str | None = None) -> Shape:
    """Ranks 0 to 6. Most have about `largest` elements, so that their numbers go everywhere."""
    if largest == ONE_SHAPE:
        return THE_SHAPE
    form = form or draw(st.sampled_from(("line", "matrix", "box", "any", "square")))
    if form == "any":
        rank = draw(st.integers(0, 6))
        return tuple(draw(st.integers(1, 4 if rank < 5 else 3)) for _ in range(rank))
    n = draw(st.integers(largest - largest // 4, largest))
    if form == "line":
        return (n,)
    if form == "square":
        return (math.isqrt(n),) * 2
    if form == "cube":
        return (round(n ** (1 / 3)),) * 3
    rows = draw(st.integers(2, 24))
    if form == "matrix":
        return (rows, max(n // rows, 1))
    depth = draw(st.integers(1, 5))
    if form == "box":
        return (rows, depth, max(n // (rows * depth), 1))
    return (draw(st.integers(2, 3)), rows, 1 + depth, max(n // (rows * depth * 3), 2))


@st.composite
def structures(
    draw: st.DrawFn, recipe: Recipe, largest: int, patterns: tuple[str, str],
    form: str | None = None,
) -> Structure:  # fmt: skip
    """patterns: of weight and of pos_weight."""
    weighted = recipe.weight is not None or recipe.pos_weight is not None
    found = shapes(largest, form)
    return Structure(
        # A weight of a loss of no axes broadcasts against nothing: sizes.RANKS has some.
        shape=draw(found.filter(bool) if weighted else found),
        weight=patterns[0] if recipe.weight else None,
        pos_weight=patterns[1] if recipe.pos_weight else None,
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@lru_cache(maxsize=4096)
def drawn(
    name: str, recipe: Recipe, dtype: str, seed: int, count: int, largest: int,
    patterns: tuple[str, str] = USUAL, forms: Forms = (),
) -> tuple[Situation, ...]:  # fmt: skip
    """`count` situations of a recipe, the same for the same name and seed."""
    found = _structures(name, recipe, seed, count, largest, patterns, forms)
    return tuple(
        situation(structure, recipe, dtype, StableRandom(seed, name, dtype, i, structure.seed))
        for i, structure in enumerate(found)
    )


@lru_cache(maxsize=4096)
def _structures(
    name: str, recipe: Recipe, seed: int, count: int, largest: int, patterns: tuple[str, str],
    forms: Forms,
) -> tuple[Structure, ...]:  # fmt: skip
    """The same for every dtype: what differs between two dtypes is then the dtype."""
    if not forms:
        return tuple(sample(structures(recipe, largest, patterns), count, StableRandom(seed, name)))
    dealt = [forms[i % len(forms)] for i in range(count)]
    of_form = {}
    for form in dict.fromkeys(dealt):
        strategy = structures(recipe, largest, patterns, form)
        # What Hypothesis draws first is the simplest there is, whatever the seed.
        of_form[form] = iter(
            sample(strategy, dealt.count(form) + 1, StableRandom(seed, name, form))[1:]
        )
    return tuple(next(of_form[form]) for form in dealt)


def sample(
    strategy: st.SearchStrategy[Structure], count: int, rng: StableRandom
) -> list[Structure]:
    """What Hypothesis draws first; nothing is judged here, so nothing is shrunk."""
    found: list[Structure] = []

    @seeded(int(rng.words(1)[0]))
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(structure: Structure) -> None:
        found.append(structure)

    with without_numbers_found_in_sources():
        collect()
    return found[:count]


@contextmanager
def without_numbers_found_in_sources() -> Iterator[None]:
    """Hypothesis draws one number in forty from the sources of the modules that it takes for local.

    Which these are depends on how the suite is installed and on whose tests it runs in, and the
    same seed has to draw the same everywhere. There is no setting for it. (Earlier releases of
    Hypothesis have no such numbers.)
    """
    if not hasattr(providers, "_get_local_constants"):
        yield
        return
    none = type(providers._local_constants)()
    cache = type(providers.CONSTANTS_CACHE)(1024)
    kept = providers._get_local_constants, providers.CONSTANTS_CACHE
    providers._get_local_constants, providers.CONSTANTS_CACHE = lambda: none, cache
    try:
        yield
    finally:
        providers._get_local_constants, providers.CONSTANTS_CACHE = kept


def situation(structure: Structure, recipe: Recipe, dtype: str, rng: StableRandom) -> Situation:
    """The arrays of a structure, rounded to the dtype."""
    form, shape = FLOATS[dtype], structure.shape
    n = math.prod(shape)
    x = recipe.logits(rng, form, n).reshape(shape)
    y = recipe.target(rng, form, n).reshape(shape)
    y = np.where(x > 0, 1.0, 0.0) if recipe.matching else y
    w = _weight(structure.weight, recipe.weight, shape, form, rng)
    p = _weight(structure.pos_weight, recipe.pos_weight, shape, form, rng)
    g = s = None
    if recipe.upstream:
        g = Array.rounded(dtype, arriving_gradients(rng, form, n).reshape(shape))
        s = Array.rounded(dtype, arriving_gradients(rng, form, 1).reshape(()))
    x = calmed(form, x, y, w, p, rng)
    rounded = [None if a is None else Array.rounded(dtype, a) for a in (x, y, w, p)]
    assert rounded[0] is not None and rounded[1] is not None
    return Situation(rounded[0], rounded[1], rounded[2], rounded[3], g, s)


def _weight(
    name: str | None, pool: Pool | None, shape: Shape, form: FloatFormat, rng: StableRandom
) -> Floats | None:
    if name is None or pool is None:
        return None
    own = pattern(name, shape) if shape else ()
    return pool(rng, form, math.prod(own)).reshape(own)


ROOM = 16.0
"""Upstream gradients are at most 16 in size, and a sum of two terms may double."""


def calmed(
    form: FloatFormat, x: Floats, y: Floats, w: Floats | None, p: Floats | None, rng: StableRandom
) -> Floats:
    """The logits, with everyday ones where a correct formula could overflow on its way.

    Bare logits up to the largest number are let through: no documented formula makes more of them.
    """
    if w is None and p is None and np.all((y >= 0) & (y <= 1)):
        return x
    one = np.ones(())
    e = Elements(x, y, one if w is None else w, one if p is None else p)
    too_much = largest_intermediate(FORWARD, e) > form.largest / (2 * ROOM)
    calm = everyday_logits(rng, form, x.size).reshape(x.shape)
    return np.where(too_much, calm, x)
