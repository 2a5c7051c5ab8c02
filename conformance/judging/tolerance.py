"""The one table of tolerances, and the few rules that apply it.

    tolerance = k·u·S·a + η·(1 + P·max(1, a))          (one element)

u = 2^-p is the unit roundoff of the dtype, η its smallest subnormal, k the cell of the table, S
the size of what the computation handles, a the size of what arrives at a gradient (upstream, over
n for a mean) and P what may be multiplied after an underflow (`pending`). Two grades differ in S:

  stable  what the documented formulas can deliver in this precision. max(x,0) − x·y + log1p(…)
          handles numbers as large as |x|, so an error of u·|x| is within its rights.
  strict  relative accuracy kept in the tails: S is the sum of the absolute terms of
          L = w·[p·y·sp(−x) + (1−y)·sp(x)], which do not cancel for targets in [0, 1].

The first decides a run; the second is reported, and decides only under `--grade strict`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..model.dtypes import FLOATS

Grade = Literal["stable", "strict"]
GRADES: tuple[Grade, ...] = ("stable", "strict")
Floats = NDArray[np.float64]

# k, by dtype. Over 1.2 million logits (tails, targets of −1 to 1, pos_weight 0.01 to 100) seven
# differently written correct torch losses needed at most 3.6 in float16, bfloat16 and float32 and
# 5.7 in float64 under the stable grade; k leaves a margin over that, and no more. Nine ways of
# writing the loss, differentiated by torch (once and twice), and five orders of multiplying each
# gradient by hand, over logits, weights, pos_weights and upstream gradients of every exponent and
# targets of −100 to 100 and down to the subnormals, needed at most 3.1 in any dtype and quantity
# (torch's second derivative of logaddexp apart, which is NaN beyond |x| of about 85).
K_FORWARD = {"float16": 4.0, "bfloat16": 4.0, "float32": 8.0, "float64": 8.0}
K_GRADIENT = {"float16": 4.0, "bfloat16": 4.0, "float32": 8.0, "float64": 10.0}

WRONG_FORMULA = 0.5
"""An error above u^WRONG_FORMULA·S (S of the stable grade) has lost half the digits of the
format: no rounding of the documented formulas does that, so it is a matter of semantics."""

REFERENCE_SHARE = 1 / 16
"""A verdict is refused where the reference's uncertainty exceeds this share of the target's ulp,
or of the tolerance where that is larger. Of the ulp alone would be too strict: softplus(−1000)
is 5e-435, float64 can only say 0 with an uncertainty of two subnormals, and no verdict under
the stable grade depends on them. (Four documented float64 checks of torch were refused so.)"""

REFERENCE_RELATIVE = REFERENCE_SHARE / 4
"""What is asked of the reference for each element, in unit roundoffs: an ulp is at least one of
them, and the rest is room for sums."""

ACCUMULATOR = {"float16": "float32", "bfloat16": "float32", "float32": "float32",
               "float64": "float64"}  # fmt: skip
"""The precision in which a sum over elements of a dtype is expected to be carried."""


@dataclass(frozen=True)
class Elements:
    """The arguments of a loss as real numbers that broadcast against each other, x of full shape.

    What several sizes are made of is computed once, when first asked for. u is the unit roundoff
    of the dtype: sizes are multiplied by it first, so that they overflow in float64 no earlier
    than the tolerance that is made of them.
    """

    x: Floats
    y: Floats
    w: Floats
    p: Floats
    u: float = 1.0

    @cached_property
    def uw(self) -> Floats:
        return self.u * abs(self.w)

    @cached_property
    def reach(self) -> Floats:
        return 1 + abs(self.x)

    @cached_property
    def positive(self) -> Floats:
        return abs(self.p * self.y)

    @cached_property
    def negative(self) -> Floats:
        return abs(1 - self.y)

    @cached_property
    def coefficients(self) -> Floats:
        return 1 + abs(self.y) + self.positive

    @cached_property
    def excess(self) -> Floats:
        """The largest of 1, |y| and |1 − y|."""
        return np.maximum(1, np.maximum(abs(self.y), self.negative))

    @cached_property
    def intermediate(self) -> Floats:
        weighting = np.maximum(self.positive, abs(1 + (self.p - 1) * self.y))
        largest = np.maximum(self.excess, weighting)
        return np.asarray(np.maximum(1, abs(self.w)) * largest * self.reach)

    @cached_property
    def _decay(self) -> Floats:
        return np.asarray(np.exp(-abs(self.x)))

    @cached_property
    def below(self) -> Floats:
        """softplus(−x)."""
        return np.maximum(-self.x, 0) + np.log1p(self._decay)

    @cached_property
    def above(self) -> Floats:
        """softplus(x)."""
        return np.maximum(self.x, 0) + np.log1p(self._decay)

    @cached_property
    def rising(self) -> Floats:
        """sigmoid(x)."""
        return np.where(self.x >= 0, 1, self._decay) / (1 + self._decay)

    @cached_property
    def falling(self) -> Floats:
        """sigmoid(−x)."""
        return np.where(self.x >= 0, self._decay, 1) / (1 + self._decay)


SIZES: dict[str, dict[Grade, Callable[[Elements], Floats]]] = {
    "forward": {
        "stable": lambda e: e.uw * e.coefficients * e.reach,
        "strict": lambda e: _terms(e, e.uw),
    },
    "grad.logits": {
        "stable": lambda e: e.uw * e.coefficients,
        "strict": lambda e: e.uw * e.negative * e.rising + e.uw * e.positive * e.falling,
    },
    "grad.target": {
        "stable": lambda e: e.uw * (1 + abs(e.p)) * e.reach,
        "strict": lambda e: e.uw * abs(e.p) * e.below + e.uw * e.above,
    },
    "grad.weight": {
        "stable": lambda e: e.u * e.coefficients * e.reach,
        "strict": lambda e: _terms(e, e.u),
    },
    "grad.pos_weight": {
        "stable": lambda e: e.uw * abs(e.y) * e.reach,
        "strict": lambda e: e.uw * abs(e.y) * e.below,
    },
    "hessian.logits": {
        "stable": lambda e: e.uw * e.coefficients,
        "strict": lambda e: e.uw * (e.negative + e.positive) * e.rising * e.falling,
    },
}
"""u·S by quantity and grade, per element of the unreduced loss."""


def _terms(e: Elements, factor: Floats | float) -> Floats:
    return factor * e.positive * e.below + factor * e.negative * e.above


def largest_intermediate(quantity: str, e: Elements) -> Floats:
    """The largest number that a documented formula may pass through on its way, per element.

    Where it exceeds the largest finite number, an infinity of the right sign passes the stable
    grade although the value is representable: in float16, pos_weight 30000 times |x| = 60
    overflows before a weight of 0.001 brings it back. It is the largest product, not their sum S,
    and leaves a small weight out, so that it excuses what must overflow and little else. What
    arrives at a gradient (`Truth` multiplies by it where it exceeds 1) comes on top: an upstream
    of 30000 times a weight of 10 overflows before sigmoid(x) = 0.001 brings it back.
    """
    with np.errstate(all="ignore"):
        if quantity != "grad.target":
            return e.intermediate
        # p·sp(−x) has no target in it
        return np.maximum(e.intermediate, np.maximum(1, abs(e.w)) * abs(e.p) * e.reach)


def cancelling(quantity: str, e: Elements) -> Floats:
    """The smaller of two terms of opposite sign that a documented formula subtracts, per element.

    The composite (1 − y)·x + (1 + (p − 1)·y)·sp(−x) is a difference for targets outside [0, 1].
    Where both terms overflow it is ∞ − ∞, so NaN, although the value is representable: in float16
    x = −700, y = −100 and p = −0.001 make 70.03 of it. Such a NaN passes the stable grade. 0 where
    the terms have the same sign; its gradient with respect to x has the same form without x and sp.
    """
    if quantity not in ("forward", "grad.logits"):
        return np.zeros_like(e.x)
    with np.errstate(all="ignore"):
        plain, weighted = (1 - e.y) * np.ones_like(e.x), (1 + (e.p - 1) * e.y) * np.ones_like(e.x)
        if quantity == "forward":
            plain, weighted = plain * e.x, weighted * e.below
        else:
            weighted = -weighted * e.falling
        least = np.minimum(abs(plain), abs(weighted)) * np.maximum(1, abs(e.w))
        return np.where(np.sign(plain) * np.sign(weighted) < 0, least, 0.0)


def pending(quantity: str, e: Elements) -> Floats:
    """The largest factor that may still follow a product that underflows on the way, per element.

    An element of a gradient is a product of what arrives, w, p, y or 1 − y, and a function of x,
    and its factors may be multiplied in any order: autograd begins with what arrives, and 1/n is
    itself subnormal in float16 from n = 2^14 on. A product below the smallest normal number is
    off by up to η/2, and so is the result, times the product of the factors that are still to
    come: at most the product of those that exceed 1. (Of S alone would be too little: it holds a
    small w or y although these were multiplied in before the underflow: η·(1 + S + a) accuses
    four of the fifteen float16 gradients of `test_underflow_on_the_way_…`, this none.)
    """
    sigmoidal = quantity in ("grad.logits", "hessian.logits")
    with np.errstate(all="ignore"):
        factors = np.ones_like(e.x) if sigmoidal else e.reach
        if quantity != "grad.weight":
            factors = factors * np.maximum(1, abs(e.w))
        if quantity != "grad.pos_weight":
            factors = factors * np.maximum(1, abs(e.p))
        if quantity != "grad.target":
            factors = factors * e.excess
        return np.asarray(factors)


def k(quantity: str, dtype: str) -> float:
    """The table's cell: how many unit roundoffs of S an element may be off."""
    return (K_FORWARD if quantity == "forward" else K_GRADIENT)[dtype]


def size(quantity: str, grade: Grade, elements: Elements) -> Floats:
    """u·S, of the broadcast shape; infinite where an argument is, or where it overflows."""
    with np.errstate(all="ignore"):
        return np.asarray(SIZES[quantity][grade](elements))


def summation(dtype: str, n: int) -> float:
    """γ_m, m = ⌈log2 n⌉ + 8: what adding n terms up may cost, relative to Σ|terms|.

    γ_m = m·u/(1 − m·u), with u of the accumulator, bounds a pairwise sum (Higham, Accuracy and
    Stability of Numerical Algorithms, §4.2). A slower accumulator is a finding, not a reason to
    widen this.
    """
    accumulator = FLOATS[ACCUMULATOR[dtype]].unit_roundoff
    m = int(np.ceil(np.log2(max(n, 1)))) + 8
    return m * accumulator / (1 - m * accumulator)


RECORDED_UNITS = 64
"""By how many unit roundoffs recorded values of two machines may differ and count as the same."""


def recorded_alike(dtype: str, one: Floats, other: Floats) -> bool:
    """Whether recorded values of one shape are the same but for their last digits."""
    if dtype not in FLOATS:
        return bool(np.array_equal(one, other))
    form = FLOATS[dtype]
    with np.errstate(all="ignore"):
        room = RECORDED_UNITS * form.unit_roundoff * np.maximum(np.abs(one), np.abs(other))
        near = np.abs(one - other) <= room + RECORDED_UNITS * form.smallest_subnormal
    return bool(np.all(near | (one == other) | (np.isnan(one) & np.isnan(other))))
