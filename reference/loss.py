"""Binary cross entropy with logits, its gradients and second derivative, with uncertainties.

With softplus sp(z) = max(z, 0) + log1p(exp(-|z|)) and s = weight * upstream / n (n = 1 but for a
mean):

    forward          w * [p*y*sp(-x) + (1-y)*sp(x)]
    grad.logits      s * [(1-y)*sigmoid(x) - p*y*sigmoid(-x)]
    grad.target      s * [p*sp(-x) - sp(x)]
    grad.weight      upstream/n * [p*y*sp(-x) + (1-y)*sp(x)]
    grad.pos_weight  s * y*sp(-x)
    hessian.logits   s * [(1-y) + p*y] * sigmoid(x)*sigmoid(-x), the diagonal

Where an argument or function is exactly 0 and another factor infinite the limit, 0, is taken.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .elements import Arguments, Elements, Reduction
from .plain import PLAIN_RELATIVE
from .scaled import SMALLEST_SUBNORMAL, Mask, Value

Tier: TypeAlias = Literal["quick", "plain", "doubled", "auto"]

# "auto" keeps a plain element up to this uncertainty relative to its value: 1.125 times the bound
# of plain where nothing cancels. Terms that cancel by more than an eighth go to double-double.
AUTO_PLAIN_RELATIVE = 1.125 * PLAIN_RELATIVE
# ... and a double-double one up to this, 1/256 of a float64 ulp at most: terms that cancel by less
# than 2**39 stay double-double.
AUTO_DOUBLED_RELATIVE = 2.0**-60
# Results this small are uncertain by the grid of subnormals; no tier improves on that.
GRID_UNCERTAINTY = 4 * SMALLEST_SUBNORMAL


def evaluate(
    quantity: str,
    logits: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    *,
    reduction: Reduction = "none",
    upstream: ArrayLike | None = None,
    tier: Tier = "auto",
    tolerable: ArrayLike | None = None,
) -> Value:
    """The real value of a quantity at exactly these float64 arguments, with its uncertainty.

    `target` has the shape of `logits`; `weight` and `pos_weight` broadcast to it and are 1 where
    None. `upstream` is the gradient that arrives at the loss, of the loss's shape, 1 where None.
    The result has the shape of the loss for "forward", of the argument for a gradient (summed
    over the axes along which the argument was broadcast), of `logits` for "hessian.logits".

    Tier "quick" is float64 alone; "plain" has float64's exp and log1p and compensates the rest;
    "doubled" is double-double throughout; "auto" starts plain and recomputes what is more uncertain
    than `tolerable` (absolute, broadcast to the result), or, without it, than AUTO_PLAIN_RELATIVE
    of its value: first doubled, then, where the terms of an element cancel beyond that, in decimal.
    So every element is within 3 ulps; a sum whose elements cancel one another is known as well as
    double-double allows. A `tolerable` replaces the default, looser or tighter.

    Who asks for several reductions or quantities of the same arguments keeps `Arguments` and
    `Elements`, of which this is made.

    NaN gives NaN, infinite arguments their limit, infinity minus infinity NaN; what the formula
    does not contain (the target in grad.target) has no say. A sum of nothing is 0, a mean of
    nothing NaN; gradients of nothing are empty, or 0 where a broadcast argument is summed over
    nothing, under a mean as well.

    Raises ValueError for an unknown quantity, reduction or tier, for shapes that do not fit, for
    the gradient of an absent argument, for `upstream` with "forward" and for `tolerable` outside
    "auto".
    """
    if tier not in ("quick", "plain", "doubled", "auto"):
        raise ValueError(f"unknown tier {tier!r}: expected 'quick', 'plain', 'doubled' or 'auto'")
    if tolerable is not None and tier != "auto":
        raise ValueError(f"tolerable needs tier 'auto', not {tier!r}")
    arguments = Arguments.of(logits, target, weight, pos_weight)
    elements = arguments.elements(quantity, "plain" if tier == "auto" else tier)
    value = elements.reduced(reduction, upstream)
    if tier == "auto":
        return _escalated(arguments, elements, value, reduction, upstream, tolerable)
    return value


def _escalated(
    arguments: Arguments,
    elements: Elements,
    value: Value,
    reduction: Reduction,
    upstream: ArrayLike | None,
    tolerable: ArrayLike | None,
) -> Value:
    """The value with the elements of what is not known well enough evaluated again."""
    insufficient = _exceeds(value, AUTO_PLAIN_RELATIVE, tolerable)
    if not insufficient.any():
        return value
    where = np.broadcast_to(insufficient, arguments.shape).reshape(-1)
    elements = elements.improved(where, arguments.factors, "doubled")
    value = elements.reduced(reduction, upstream)
    insufficient &= _exceeds(value, AUTO_DOUBLED_RELATIVE, tolerable)
    number = elements.number
    cancels = number.uncertainty > AUTO_DOUBLED_RELATIVE * np.abs(number.high)
    where = np.broadcast_to(insufficient, arguments.shape).reshape(-1) & cancels
    if where.any():
        elements = elements.improved(where, arguments.factors, "cancelling")
        value = elements.reduced(reduction, upstream)
    return value


def _exceeds(value: Value, relative: float, tolerable: ArrayLike | None) -> Mask:
    with np.errstate(all="ignore"):
        allowed = relative * np.abs(value.high)
    if tolerable is not None:
        allowed = np.broadcast_to(np.asarray(tolerable, dtype=np.float64), value.high.shape)
    above = (value.uncertainty > allowed) & (value.uncertainty > GRID_UNCERTAINTY)
    return np.asarray(above, dtype=np.bool_)
