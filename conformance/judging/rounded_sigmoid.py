"""What ∂L/∂y comes to where it is made of logarithms of a sigmoid that was rounded before.

∂L/∂y is w·[log(1 − σ(x)) − p·log σ(x)]. Where σ(x) is rounded to the dtype before the logarithms
are taken, each of them is off by what the rounding is of its argument: by everything from where
σ(x) becomes 1 (float32: x of about 17) or 0 (x of about −104), for log 0 is −∞. An entry of known
deviations can say so (`instead: {logs_of_sigmoid: true}`), and the judge then allows this and no
more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..model.call import Array, Call
from ..model.dtypes import FLOATS
from ..reference import sigmoid, softplus
from . import tolerance
from .errors import Truth
from .tolerance import Floats

QUANTITY = "grad.target"


def by_rounded_sigmoid(expected: Truth, call: Call, result: Array) -> Truth:
    """The truth of ∂L/∂y, widened by the rounding of σ(x); due and result have the logits' shape.

    Where that rounding may give 0 or 1, a result that is not finite is checked against what IEEE
    arithmetic then makes of the formula: an infinity of one sign, or NaN for 0·∞.
    """
    form = FLOATS[expected.dtype]
    x = call.logits.values
    w, p = (np.ones(()) if a is None else a.values for a in (call.weight, call.pos_weight))
    rising, falling = sigmoid(x), sigmoid(-x)
    off = (
        tolerance.k(QUANTITY, expected.dtype) * form.unit_roundoff * rising
        + form.smallest_subnormal
    )
    with np.errstate(all="ignore"):
        factor = _arriving(call) * w
        # 1/(1 + exp(−x)) is 0 from where exp(−x) overflows, which is among the subnormal numbers.
        of_rising = _Logarithm.of(
            rising, -softplus(-x), off, form.smallest_subnormal, form.smallest_normal
        )
        of_falling = _Logarithm.of(falling, -softplus(x), off, form.unit_roundoff, 0.0)
        limit = factor * (of_falling.limit - p * of_rising.limit)
        shift = factor * (of_falling.shift - p * of_rising.shift)
        widened = abs(factor) * (of_falling.spread + abs(p) * of_rising.spread)
    taken = ~np.isfinite(result.values) & ~np.isfinite(limit)
    return replace(
        expected,
        high=np.where(taken, limit, expected.high + shift),
        low=np.where(taken, 0.0, expected.low),
        tolerance={grade: allowed + widened for grade, allowed in expected.tolerance.items()},
    )


@dataclass(frozen=True)
class _Logarithm:
    """What the logarithm of a rounded number may be: log + shift ± spread, or else limit.

    limit is −∞ where the number may become 0, and the logarithm itself elsewhere.
    """

    shift: Floats
    spread: Floats
    limit: Floats

    @classmethod
    def of(
        cls, number: Floats, log: Floats, off: Floats, spacing: float, flushed: float
    ) -> _Logarithm:
        """Of a number that is off by so much; spacing: the smallest but 0 that it may become.

        flushed: below this it may be 0, too.
        """
        least = np.log(np.maximum(number - off, spacing)) - log
        most = np.log(np.maximum(number + off, spacing)) - log
        shift = np.where(least > 0, (least + most) / 2, 0.0)
        spread = np.maximum(most - shift, shift - least)
        return cls(shift, spread, np.where(number <= np.maximum(off, flushed), -np.inf, log))


def _arriving(call: Call) -> Floats | float:
    upstream: Floats | float = 1.0 if call.upstream is None else call.upstream.values
    return upstream / call.logits.size if call.reduction == "mean" else upstream
