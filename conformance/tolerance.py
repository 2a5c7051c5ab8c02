"""The one table of tolerances, and the few rules that apply it.

    tolerance = k·u·S + η          (one element)

u = 2^-p is the unit roundoff of the dtype, η its smallest subnormal, k the cell of the table and
S the size of what the computation handles. Two grades differ in S:

  stable  what the documented formulas can deliver in this precision. max(x,0) − x·y + log1p(…)
          handles numbers as large as |x|, so an error of u·|x| is within its rights.
  strict  relative accuracy kept in the tails: S is the sum of the absolute terms of
          L = w·[p·y·sp(−x) + (1−y)·sp(x)], which do not cancel for targets in [0, 1].

The first decides a run; the second is reported, and decides only under `--grade strict`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .dtypes import FLOATS
from .reference import sigmoid, softplus

Grade = Literal["stable", "strict"]
GRADES: tuple[Grade, ...] = ("stable", "strict")
Floats = NDArray[np.float64]

# k, by dtype. Over 1.2 million logits (tails, targets of −1 to 1, pos_weight 0.01 to 100) seven
# differently written correct torch losses needed at most 3.6 in float16, bfloat16 and float32 and
# 5.7 in float64 under the stable grade; k leaves a margin over that, and no more.
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

ACCUMULATOR = {"float16": "float32", "bfloat16": "float32", "float32": "float32",
               "float64": "float64"}  # fmt: skip
"""The precision in which a sum over elements of a dtype is due to be carried."""


@dataclass(frozen=True)
class Elements:
    """The arguments of a loss as real numbers, broadcast against each other."""

    x: Floats
    y: Floats
    w: Floats
    p: Floats


SIZES: dict[str, dict[Grade, Callable[[Elements], Floats]]] = {
    "forward": {
        "stable": lambda e: abs(e.w) * (1 + abs(e.y) + abs(e.p * e.y)) * (1 + abs(e.x)),
        "strict": lambda e: abs(e.w) * _terms(e),
    },
    "grad.logits": {
        "stable": lambda e: abs(e.w) * (1 + abs(e.y) + abs(e.p * e.y)),
        "strict": lambda e: (
            abs(e.w) * (abs(1 - e.y) * sigmoid(e.x) + abs(e.p * e.y) * sigmoid(-e.x))
        ),
    },
    "grad.target": {
        "stable": lambda e: abs(e.w) * (1 + abs(e.p)) * (1 + abs(e.x)),
        "strict": lambda e: abs(e.w) * (abs(e.p) * softplus(-e.x) + softplus(e.x)),
    },
    "grad.weight": {
        "stable": lambda e: (1 + abs(e.y) + abs(e.p * e.y)) * (1 + abs(e.x)),
        "strict": lambda e: _terms(e),
    },
    "grad.pos_weight": {
        "stable": lambda e: abs(e.w * e.y) * (1 + abs(e.x)),
        "strict": lambda e: abs(e.w * e.y) * softplus(-e.x),
    },
    "hessian.logits": {
        "stable": lambda e: abs(e.w) * (1 + abs(e.y) + abs(e.p * e.y)),
        "strict": lambda e: (
            abs(e.w) * (abs(1 - e.y) + abs(e.p * e.y)) * sigmoid(e.x) * sigmoid(-e.x)
        ),
    },
}
"""S by quantity and grade, per element of the unreduced loss."""


def _terms(e: Elements) -> Floats:
    return abs(e.p * e.y) * softplus(-e.x) + abs(1 - e.y) * softplus(e.x)


def largest_intermediate(e: Elements) -> Floats:
    """The largest number that a documented formula may pass through on its way, per element.

    Where it exceeds the largest finite number, an infinity of the right sign passes the stable
    grade although the value is representable: in float16, pos_weight 30000 times |x| = 60
    overflows before a weight of 0.001 brings it back. It is the largest product, not their sum S,
    and leaves a small weight out, so that it excuses what must overflow and little else.
    """
    with np.errstate(all="ignore"):
        factors = (abs(e.y), abs(1 - e.y), abs(e.p * e.y), abs(1 + (e.p - 1) * e.y))
        largest = np.maximum.reduce([np.ones_like(e.x), *factors])
        return np.asarray(np.maximum(1, abs(e.w)) * largest * (1 + abs(e.x)))


def k(quantity: str, dtype: str) -> float:
    """The table's cell: how many unit roundoffs of S an element may be off."""
    return (K_FORWARD if quantity == "forward" else K_GRADIENT)[dtype]


def size(quantity: str, grade: Grade, elements: Elements) -> Floats:
    """S, of the broadcast shape; infinite where an argument is."""
    with np.errstate(all="ignore"):
        return np.asarray(SIZES[quantity][grade](elements))


def element(quantity: str, dtype: str, scale: Floats) -> Floats:
    """k·u·S + η for S = `scale`."""
    form = FLOATS[dtype]
    return k(quantity, dtype) * form.unit_roundoff * scale + form.smallest_subnormal


def summation(dtype: str, n: int) -> float:
    """γ_m, m = ⌈log2 n⌉ + 8: what adding n terms up may cost, relative to Σ|terms|.

    γ_m = m·u/(1 − m·u), with u of the accumulator, bounds a pairwise sum (Higham, Accuracy and
    Stability of Numerical Algorithms, §4.2). A slower accumulator is a finding, not a reason to
    widen this.
    """
    accumulator = FLOATS[ACCUMULATOR[dtype]].unit_roundoff
    m = int(np.ceil(np.log2(max(n, 1)))) + 8
    return m * accumulator / (1 - m * accumulator)
