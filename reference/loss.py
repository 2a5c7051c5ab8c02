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

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .cancelling import evaluate_cancelling
from .doubled import evaluate_doubled
from .factors import QUANTITIES, Factors
from .limits import evaluate_limits, harmless, special, without_vanishing_pos_weight
from .plain import PLAIN_RELATIVE, evaluate_plain
from .reduce import divided, summed_to
from .scaled import SMALLEST_SUBNORMAL, Array, Mask, Scaled, Value, rounded

Tier: TypeAlias = Literal["plain", "doubled", "auto"]
Reduction: TypeAlias = Literal["none", "mean", "sum"]

# "auto" keeps a plain element up to this uncertainty relative to its value: 1.125 times the bound
# of plain where nothing cancels. Terms that cancel by more than an eighth go to double-double.
AUTO_PLAIN_RELATIVE = 1.125 * PLAIN_RELATIVE
# ... and a double-double one up to this, 1/256 of a float64 ulp at most: terms that cancel by less
# than 2**39 stay double-double.
AUTO_DOUBLED_RELATIVE = 2.0**-60
# Results this small are uncertain by the grid of subnormals; no tier improves on that.
GRID_UNCERTAINTY = 4 * SMALLEST_SUBNORMAL
# Elements evaluated at a time: a chunk's temporaries stay in the cache.
CHUNKS = {"plain": 1 << 15, "doubled": 1 << 13, "cancelling": 1 << 13}
_EVALUATORS: dict[str, Callable[[str, Factors], Scaled]] = {
    "plain": evaluate_plain,
    "doubled": evaluate_doubled,
    "cancelling": evaluate_cancelling,
}


@dataclass(frozen=True)
class _Call:
    quantity: str
    factors: Factors
    shape: tuple[int, ...]
    output: tuple[int, ...]
    reduction: str


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

    Tier "plain" has float64's exp and log1p; "doubled" is double-double throughout; "auto" starts
    plain and recomputes what is more uncertain than `tolerable` (absolute, broadcast to the
    result), or, without it, than AUTO_PLAIN_RELATIVE of its value: first doubled, then, where the
    terms of an element cancel beyond that, in decimal. So every element is within 3 ulps; a sum
    whose elements cancel one another is known as well as double-double allows. A `tolerable`
    replaces the default, looser or tighter.

    NaN gives NaN, infinite arguments their limit, infinity minus infinity NaN; what the formula
    does not contain (the target in grad.target) has no say. A sum of nothing is 0, a mean of
    nothing NaN; gradients of nothing are empty, or 0 where a broadcast argument is summed over
    nothing, under a mean as well.

    Raises ValueError for an unknown quantity, reduction or tier, for shapes that do not fit, for
    the gradient of an absent argument, for `upstream` with "forward" and for `tolerable` outside
    "auto".
    """
    if tier not in ("plain", "doubled", "auto"):
        raise ValueError(f"unknown tier {tier!r}: expected 'plain', 'doubled' or 'auto'")
    if tolerable is not None and tier != "auto":
        raise ValueError(f"tolerable needs tier 'auto', not {tier!r}")
    call = _checked(quantity, logits, target, weight, pos_weight, reduction, upstream)
    if tier == "auto":
        return _escalated(call, tolerable)
    return _reduced(call, _elements(call.quantity, call.factors, tier))


def _escalated(call: _Call, tolerable: ArrayLike | None) -> Value:
    elements = _elements(call.quantity, call.factors, "plain")
    value = _reduced(call, elements)
    insufficient = _exceeds(value, AUTO_PLAIN_RELATIVE, tolerable)
    if not insufficient.any():
        return value
    where = np.broadcast_to(insufficient, call.shape).reshape(-1)
    elements, value = _recomputed(call, elements, where, "doubled")
    insufficient &= _exceeds(value, AUTO_DOUBLED_RELATIVE, tolerable)
    cancels = elements.uncertainty > AUTO_DOUBLED_RELATIVE * np.abs(elements.high)
    where = np.broadcast_to(insufficient, call.shape).reshape(-1) & cancels
    if where.any():
        _, value = _recomputed(call, elements, where, "cancelling")
    return value


def _recomputed(call: _Call, elements: Scaled, where: Mask, tier: str) -> tuple[Scaled, Value]:
    better = _elements(call.quantity, call.factors[where], tier)
    elements = elements.replaced(where, better)
    return elements, _reduced(call, elements)


def _exceeds(value: Value, relative: float, tolerable: ArrayLike | None) -> Mask:
    with np.errstate(all="ignore"):
        allowed = relative * np.abs(value.high)
    if tolerable is not None:
        allowed = np.broadcast_to(np.asarray(tolerable, dtype=np.float64), value.high.shape)
    above = (value.uncertainty > allowed) & (value.uncertainty > GRID_UNCERTAINTY)
    return np.asarray(above, dtype=np.bool_)


def _elements(quantity: str, factors: Factors, tier: str) -> Scaled:
    """Unreduced values in one tier, chunk by chunk, shape (n,)."""
    size, step = factors.logits.size, CHUNKS[tier]
    fields = (np.empty(size), np.empty(size), np.empty(size), np.empty(size, dtype=np.int64))
    for start in range(0, size, step):
        chunk = slice(start, start + step)
        part = _chunk(quantity, factors[chunk], _EVALUATORS[tier])
        fields[0][chunk], fields[1][chunk] = part.high, part.low
        fields[2][chunk], fields[3][chunk] = part.uncertainty, part.exponent
    return Scaled(*fields)


def _chunk(quantity: str, factors: Factors, run: Callable[[str, Factors], Scaled]) -> Scaled:
    factors = without_vanishing_pos_weight(quantity, factors.only(quantity))
    where = special(quantity, factors)
    if not where.any():
        return run(quantity, factors)
    finite = run(quantity, harmless(factors, where))
    return finite.replaced(where, evaluate_limits(quantity, factors[where]))


def _reduced(call: _Call, elements: Scaled) -> Value:
    if call.output != call.shape:
        elements = summed_to(elements, call.shape, call.output)
    if call.quantity == "forward" and call.reduction == "mean":
        elements = divided(elements, int(np.prod(call.shape, dtype=np.int64)))
    value = rounded(elements)
    return Value(
        value.high.reshape(call.output),
        value.low.reshape(call.output),
        value.uncertainty.reshape(call.output),
    )


def _checked(
    quantity: str,
    logits: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None,
    pos_weight: ArrayLike | None,
    reduction: str,
    upstream: ArrayLike | None,
) -> _Call:
    if quantity not in QUANTITIES:
        raise ValueError(f"unknown quantity {quantity!r}: expected one of {', '.join(QUANTITIES)}")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"unknown reduction {reduction!r}: expected 'none', 'mean' or 'sum'")
    x = np.asarray(logits, dtype=np.float64)
    y = np.asarray(target, dtype=np.float64)
    if y.shape != x.shape:
        raise ValueError(f"target has shape {y.shape}, logits have shape {x.shape}")
    loss_shape = x.shape if reduction == "none" else ()
    if upstream is not None and quantity == "forward":
        raise ValueError("upstream has no meaning for the quantity 'forward'")
    g = np.ones(()) if upstream is None else np.asarray(upstream, dtype=np.float64)
    if upstream is not None and g.shape != loss_shape:
        raise ValueError(f"upstream has shape {g.shape}, the loss has shape {loss_shape}")
    w = _broadcastable("weight", weight, x.shape)
    p = _broadcastable("pos_weight", pos_weight, x.shape)
    absent = {"grad.weight": weight is None, "grad.pos_weight": pos_weight is None}
    if absent.get(quantity, False):
        raise ValueError(f"{quantity} needs the argument that it differentiates, which is absent")
    outputs = {"forward": loss_shape, "grad.weight": w.shape, "grad.pos_weight": p.shape}
    divisor = max(x.size, 1) if reduction == "mean" and quantity != "forward" else 1
    factors = Factors(x, y, w, p, g, divisor).changed(
        lambda name, array: x.reshape(-1) if name == "logits" else _flat(array, x.shape)
    )
    return _Call(quantity, factors, x.shape, outputs.get(quantity, x.shape), reduction)


def _broadcastable(name: str, argument: ArrayLike | None, shape: tuple[int, ...]) -> Array:
    array = np.ones(()) if argument is None else np.asarray(argument, dtype=np.float64)
    try:
        grown = np.broadcast_shapes(array.shape, shape) != shape
    except ValueError:
        grown = True
    if grown:
        raise ValueError(f"{name} of shape {array.shape} does not broadcast to logits' {shape}")
    return array


def _flat(array: Array, shape: tuple[int, ...]) -> Array:
    if array.size == 1:
        return array.reshape(())
    return np.broadcast_to(array, shape).reshape(-1)
