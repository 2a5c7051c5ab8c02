"""Element values: mixtures that reach what uniform numbers never do.

Every function takes the dice, the dtype's format and a count, and gives float64 values, to be
rounded to the dtype (`Array.rounded`); none exceeds its largest finite number.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..model.dtypes import FloatFormat
from .stable_random import Floats, StableRandom

Pool = Callable[[StableRandom, FloatFormat, int], Floats]

EVERYDAY = 16.0
"""Logits of a model in training; the weights of EVERYDAY_WEIGHTS are its inverse to itself."""


def of_exponents(rng: StableRandom, n: int, low: int, high: int) -> Floats:
    """Positive numbers in [2^low, 2^(high+1)), every exponent as often as the others."""
    exponents = rng.dealt(np.arange(low, high + 1), n).astype(np.int64)
    return np.ldexp(1.0 + rng.unit(n), exponents)


def of_signed_exponents(rng: StableRandom, n: int, low: int, high: int) -> Floats:
    """Numbers of both signs, every pair of a sign and an exponent as often as the others."""
    pairs = rng.dealt(np.arange(2 * low, 2 * high + 2), n).astype(np.int64)
    signs = np.where(pairs % 2 == 0, 1.0, -1.0)
    return signs * np.ldexp(1.0 + rng.unit(n), pairs // 2)


def within(form: FloatFormat, values: Floats) -> Floats:
    return np.clip(values, -form.largest, form.largest)


# ---- logits


def everyday_logits(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """Uniform in ±16, some of them round numbers; 0 has a topic of its own."""
    uniform = rng.uniform(-EVERYDAY, EVERYDAY, n)
    mixed = np.where(rng.below(8, n) == 0, np.round(2 * uniform) / 2, uniform)
    return np.where(mixed == 0, 0.5, mixed)


def zero_logits(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """+0 and −0, where the branches of |x| and max(x, 0) meet."""
    return rng.dealt([0.0, -0.0], n)


def tiny_logits(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """Every exponent from the smallest subnormal to 1/16, both signs; 0 has its own topic."""
    lowest = form.emin - form.precision + 1
    tiny = of_signed_exponents(rng, n, lowest, -5)
    edges = [form.smallest_subnormal, form.smallest_normal, form.unit_roundoff]
    special = rng.signs(n) * rng.dealt(edges, n)
    return np.where(rng.below(8, n) == 0, special, tiny)


def large_logits(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """From 16 to the largest number, and the places where exp and log1p change their minds."""
    exponents = within(form, of_exponents(rng, n, 4, form.emax))
    thresholds = near(rng, form, thresholds_of(form), n)
    steep = rng.uniform(EVERYDAY, 1.2 * reach(form), n)
    kind = rng.below(3, n)
    magnitude = np.choose(kind, [exponents, np.abs(thresholds), steep])
    return np.asarray(rng.signs(n) * within(form, np.maximum(magnitude, EVERYDAY)))


def every_logit(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """Every exponent of the dtype, subnormals included, both signs."""
    lowest = form.emin - form.precision + 1
    return within(form, of_signed_exponents(rng, n, lowest, form.emax))


def tail_logits(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """Where σ(−|x|) is small but not 0: from 2 to where it leaves the dtype, both signs."""
    return rng.signs(n) * rng.uniform(2.0, reach(form), n)


def reach(form: FloatFormat) -> float:
    """−log of the smallest subnormal: beyond it exp(−x) is 0 in the dtype (16.6, 92, 103, 744)."""
    return -math.log(form.smallest_subnormal)


def thresholds_of(form: FloatFormat) -> list[float]:
    """|x| where an implementation may branch, overflow, or lose its last bit."""
    overflow = math.log(form.largest) if form.emax < 1024 else 709.78
    rounding = -math.log(form.unit_roundoff)
    underflow = -math.log(form.smallest_normal)
    common = [10.0, 15.0, 16.0, 20.0, 30.0, 32.0, 40.0, 50.0, 64.0, 80.0, 88.0, 100.0, 128.0, 256.0]
    squares = [math.sqrt(form.largest), form.largest / 2, form.largest]
    own = [rounding / 2, rounding, 2 * rounding, overflow, underflow, reach(form)]
    return [t for t in common + own + squares if t <= form.largest]


def near(rng: StableRandom, form: FloatFormat, places: list[float], n: int) -> Floats:
    """The places, and their neighbours up to three ulps away, both signs."""
    chosen = rng.dealt(places, n)
    steps = rng.below(7, n) - 3.0
    with np.errstate(over="ignore"):  # above the largest float64
        return within(form, rng.signs(n) * (chosen + steps * form.ulp(chosen)))


# ---- targets


def hard_targets(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    return rng.dealt([0.0, 1.0], n)


def soft_targets(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """Strictly inside (0, 1): uniform, round, of every exponent, just below 1."""
    lowest = form.emin - form.precision + 1
    uniform = rng.uniform(2.0**-7, 1 - 2.0**-7, n)
    round_ones = rng.dealt([0.5, 0.25, 0.1, 0.9, 0.75, 1 / 3], n)
    small = of_exponents(rng, n, lowest, -2)
    below_one = 1 - np.ldexp(1.0, -rng.dealt(np.arange(1, form.precision + 1), n).astype(np.int64))
    return np.asarray(np.choose(rng.below(6, n), [uniform, uniform, uniform, round_ones, small,
                                                   below_one]))  # fmt: skip


def targets(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """In [0, 1], hard and soft."""
    return rng.mixed([hard_targets(rng, form, n), soft_targets(rng, form, n)], n)


def outside_targets(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """Real numbers outside [0, 1], where the formula holds as well; no small integers."""
    around = rng.uniform(-3.0, 4.0, n)
    wide = rng.signs(n) * rng.uniform(1.0, 100.0, n)
    outside = np.where(rng.below(4, n) == 0, wide, around)
    outside = np.where((outside >= 0) & (outside <= 1), outside - 1.5, outside)
    return np.where(outside == np.round(outside), outside + 0.375, outside)


SENTINELS = (-100.0, -1.0, 2.0, 255.0, -2.0, 100.0)
"""Numbers that code of other losses takes for 'ignore this element' or for a class index."""


def sentinel_targets(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    return rng.dealt(SENTINELS, n)


# ---- weights and upstream gradients


def everyday_weights(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """1/16 to 16, some of them round."""
    factor = np.exp2(rng.uniform(-4.0, 4.0, n))
    return np.where(rng.below(4, n) == 0, rng.dealt([0.5, 2.0, 3.0, 1.5, 0.25, 10.0], n), factor)


def weights_with_zeros(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """A third of them 0, as of a mask; the rest as on every day."""
    return np.where(rng.below(3, n) == 0, 0.0, everyday_weights(rng, form, n))


def extreme_weights(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """Zero, negative, and of every exponent that leaves room for 32 times as much."""
    lowest = form.emin - form.precision + 1
    any_size = rng.signs(n) * of_exponents(rng, n, lowest, form.emax - 10)
    small_ones = -everyday_weights(rng, form, n)
    return np.asarray(np.choose(rng.below(4, n), [any_size, any_size, small_ones,
                                                   rng.dealt([0.0, -0.0, 1.0], n)]))  # fmt: skip


def arriving_gradients(rng: StableRandom, form: FloatFormat, n: int) -> Floats:
    """Upstream gradients: both signs, 1/16 to 16, a few zeros and ones."""
    factor = rng.signs(n) * everyday_weights(rng, form, n)
    return np.where(rng.below(8, n) == 0, rng.dealt([0.0, 1.0, -1.0, 2.0], n), factor)
