"""What belongs to the elements of a loss, evaluated once, and every reduction made of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .cancelling import evaluate_cancelling
from .doubled import evaluate_doubled
from .factors import QUANTITIES, Factors
from .limits import evaluate_limits, harmless, special, without_vanishing_pos_weight
from .plain import UNIT_ROUNDOFF, evaluate_plain
from .quick import evaluate_quick
from .reduce import divided, multiplied, summed_to
from .scaled import Array, Mask, Scaled, Value, rounded

Reduction: TypeAlias = Literal["none", "mean", "sum"]
REDUCTIONS = ("none", "mean", "sum")

# Elements evaluated at a time: a chunk's temporaries stay in the cache.
CHUNKS = {"quick": 1 << 16, "plain": 1 << 15, "doubled": 1 << 13, "cancelling": 1 << 13}
_EVALUATORS: dict[str, Callable[[str, Factors], Scaled]] = {
    "quick": evaluate_quick,
    "plain": evaluate_plain,
    "doubled": evaluate_doubled,
    "cancelling": evaluate_cancelling,
}
# From here on float64 alone is asked first; a finer demand starts in double-double.
COARSE = 2.0**-44
# Under a coarse demand an element (or sum) known to this is known: the factors that follow, two of
# 2**128 at most, leave it far below the smallest subnormal of a dtype of 32 bits.
COARSE_FLOOR = 2.0**-600
# More than the underflow of float64 costs, subnormals flushed or not, times 2**30 elements.
NOTHING = 2.0**-990
# ... and under a fine one to this: one factor of 2**1024 follows, and the grid is 2**-1074.
FINE_FLOOR_EXPONENT = -2200


@dataclass(frozen=True)
class Elements:
    """One quantity of the unreduced loss at every element, with 1 arriving from above.

    number: flat, in C order; shape: of the logits; argument: the shape to which a gradient is
    summed, that of the logits for the loss and its second derivative; relative: the uncertainty
    that was requested, relative to each value; repeated: the arrays are one period of arrays that
    repeat it so many times along their only axis.
    """

    quantity: str
    number: Scaled
    shape: tuple[int, ...]
    argument: tuple[int, ...]
    relative: float = 0.0
    repeated: int = 1

    @cached_property
    def value(self) -> Value:
        """The elements themselves, of the logits' shape."""
        return _shaped(self.number, self.shape)

    @property
    def count(self) -> int:
        """How many elements there are, every repetition counted."""
        return math.prod(self.shape) * self.repeated

    def reduced(self, reduction: Reduction, upstream: ArrayLike | None = None) -> Value:
        """The quantity of the reduced loss: for "forward" the loss, else what arrives at the loss
        (`upstream`, of the loss's shape, 1 where None) times the elements, over their number for a
        mean, summed over the axes along which the argument was broadcast.

        Of repeated arrays, a result of the logits' shape is its period. A sum of nothing is 0, a
        mean of nothing NaN; gradients of nothing are empty, or 0 where a broadcast argument is
        summed over nothing, under a mean as well.

        Raises ValueError for an unknown reduction, an upstream of another shape or with "forward".
        """
        g = self._arriving(reduction, upstream)
        output, divisor = self._output(reduction), self._divisor(reduction)
        if output == self.shape and divisor == 1 and upstream is None:
            return self.value
        if self.relative >= COARSE:
            value = self._in_floats(output, divisor, g)
            if value is not None:
                return value
        return self._exactly(output, divisor, g)

    def improved(self, where: Mask, factors: Factors, tier: str) -> Elements:
        """With the elements selected by the flat mask evaluated again in another tier."""
        better = evaluated(self.quantity, factors[where], tier)
        return replace(self, number=self.number.replaced(where, better))

    def _arriving(self, reduction: str, upstream: ArrayLike | None) -> Array:
        if reduction not in REDUCTIONS:
            raise ValueError(f"unknown reduction {reduction!r}: expected 'none', 'mean' or 'sum'")
        if upstream is None:
            return np.ones(())
        if self.quantity == "forward":
            raise ValueError("upstream has no meaning for the quantity 'forward'")
        g = np.asarray(upstream, dtype=np.float64)
        loss = self.shape if reduction == "none" else ()
        if g.shape != loss:
            raise ValueError(f"upstream has shape {g.shape}, the loss has shape {loss}")
        return g

    def _output(self, reduction: str) -> tuple[int, ...]:
        return () if self.quantity == "forward" and reduction != "none" else self.argument

    def _divisor(self, reduction: str) -> int:
        """n for a mean, 1 else. The mean of nothing is NaN, but its gradient is not."""
        least = 0 if self.quantity == "forward" else 1
        return max(self.count, least) if reduction == "mean" else 1

    def _exactly(self, output: tuple[int, ...], divisor: int, g: Array) -> Value:
        """In double-double, exponents apart: nothing is lost but what the elements lack."""
        number = self.number
        # 0 and infinity do not distribute over a sum of infinities
        after = g.ndim == 0 and bool(np.isfinite(g)) and bool(g != 0)
        if not after:
            number = multiplied(number, g.reshape(-1) if g.ndim else g)
        if output != self.shape:
            number = self._summed(output) if after else summed_to(number, self.shape, output)
            if self.repeated != 1:
                number = multiplied(number, np.asarray(float(self.repeated)))
        if after and g != 1:
            number = multiplied(number, g)
        if divisor != 1:
            number = divided(number, divisor)
        return _shaped(number, output)

    def _summed(self, output: tuple[int, ...]) -> Scaled:
        if output not in self._kept:
            self._kept[output] = summed_to(self.number, self.shape, output)
        return self._kept[output]

    @cached_property
    def _kept(self) -> dict[tuple[int, ...], Scaled]:
        """Sums at 1 arriving, by the shape of the result."""
        return {}

    @cached_property
    def _floats(self) -> tuple[Array, Array] | None:
        """The elements and their uncertainties as float64, of the logits' shape; None where that
        is not good enough: an element infinite, NaN or unknown."""
        value = self.value
        bound = value.uncertainty + np.abs(value.low)
        return (value.high, bound) if np.isfinite(value.high + bound).all() else None

    def _in_floats(self, output: tuple[int, ...], divisor: int, g: Array) -> Value | None:
        """In float64; None where that is not as exact as was asked for."""
        if self._floats is None or not np.isfinite(g).all() or self.count == 0:
            return None
        high, bound = self._floats
        factor = g / divisor if g.ndim else float(g) / divisor
        if output != self.shape and not g.ndim:
            high, bound = self._summed_in_floats(output)
            factor *= self.repeated
        high, bound = high * factor, bound * np.abs(factor)
        if output != high.shape:
            high, bound = _summed_floats(high, bound, output)
            high, bound = high * self.repeated, bound * self.repeated
        # the roundings of the factor (two: over n, times repeated), of its product with what is
        # added up or was, of a last product, and of the bound itself; an underflow of any of them
        size = np.abs(high)
        bound = bound * (1 + 2.0**-40) + 5 * UNIT_ROUNDOFF * size + NOTHING
        if (bound <= np.maximum(self.relative * size, COARSE_FLOOR)).all():
            return Value(np.asarray(high), np.zeros(output), np.asarray(bound))
        return None

    def _summed_in_floats(self, output: tuple[int, ...]) -> tuple[Array, Array]:
        if output not in self._kept_floats:
            assert self._floats is not None
            self._kept_floats[output] = _summed_floats(*self._floats, output)
        return self._kept_floats[output]

    @cached_property
    def _kept_floats(self) -> dict[tuple[int, ...], tuple[Array, Array]]:
        return {}


def collapsed(array: Array, shape: tuple[int, ...]) -> Array:
    """Adds up the axes along which an argument of `shape` was repeated; () adds up everything."""
    total = array.sum(axis=tuple(range(array.ndim - len(shape))))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 and total.shape[i] != 1)
    return np.asarray(total.sum(axis=repeated, keepdims=True) if repeated else total)


def _summed_floats(high: Array, bound: Array, output: tuple[int, ...]) -> tuple[Array, Array]:
    """float64 sums; m terms added in any order err by at most m·u of the sum of their sizes."""
    total = collapsed(high, output)
    terms = high.size // max(total.size, 1)
    sizes = collapsed(np.abs(high), output)
    return total, (collapsed(bound, output) + terms * UNIT_ROUNDOFF * sizes) * (1 + 2.0**-20)


@dataclass(frozen=True)
class Arguments:
    """The arguments of a loss, checked and flattened; `repeated` as in `Elements`."""

    factors: Factors
    shape: tuple[int, ...]
    shapes: dict[str, tuple[int, ...]]
    repeated: int = 1

    @classmethod
    def of(
        cls,
        logits: ArrayLike,
        target: ArrayLike,
        weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
        *,
        repeated: int = 1,
    ) -> Arguments:
        """`target` has the shape of `logits`; `weight` and `pos_weight` broadcast to it, and are 1
        where None. With `repeated`, one axis; a weight has the period's shape, or one element.

        Raises ValueError for shapes that do not fit.
        """
        x = np.asarray(logits, dtype=np.float64)
        y = np.asarray(target, dtype=np.float64)
        if y.shape != x.shape:
            raise ValueError(f"target has shape {y.shape}, logits have shape {x.shape}")
        if repeated != 1 and x.ndim != 1:
            raise ValueError(f"only arrays of one axis repeat, not of shape {x.shape}")
        w = _broadcastable("weight", weight, x.shape)
        p = _broadcastable("pos_weight", pos_weight, x.shape)
        factors = Factors(x.reshape(-1), *(_flat(array, x.shape) for array in (y, w, p)))
        shapes = {"grad.weight": w.shape, "grad.pos_weight": p.shape}
        if weight is None:
            del shapes["grad.weight"]
        if pos_weight is None:
            del shapes["grad.pos_weight"]
        return cls(factors, x.shape, shapes, repeated)

    def elements(self, quantity: str, tier: str) -> Elements:
        """One quantity in one tier.

        Raises ValueError for an unknown quantity and for the gradient of an absent argument.
        """
        argument = self._argument(quantity)
        number = evaluated(quantity, self.factors, tier)
        return Elements(quantity, number, self.shape, argument, 0.0, self.repeated)

    def known_to(self, quantity: str, relative: float) -> Elements:
        """One quantity, each element known to `relative` of its value where any tier can do that:
        float64 alone first if the demand is above COARSE, double-double, then decimal for those
        whose terms cancel. Raises as `elements`.
        """
        coarse = relative >= COARSE
        found = self.elements(quantity, "quick" if coarse else "doubled")
        found = replace(found, relative=relative)
        for tier in ("doubled", "cancelling") if coarse else ("cancelling",):
            where = _insufficient(found.number, relative)
            if not where.any():
                break
            found = found.improved(where, self.factors, tier)
        return found

    def _argument(self, quantity: str) -> tuple[int, ...]:
        if quantity not in QUANTITIES:
            expected = ", ".join(QUANTITIES)
            raise ValueError(f"unknown quantity {quantity!r}: expected one of {expected}")
        if quantity in ("grad.weight", "grad.pos_weight") and quantity not in self.shapes:
            raise ValueError(
                f"{quantity} needs the argument that it differentiates, which is absent"
            )
        return self.shapes.get(quantity, self.shape)


def evaluated(quantity: str, factors: Factors, tier: str) -> Scaled:
    """Unreduced values in one tier, chunk by chunk, shape (n,)."""
    size, step = factors.logits.size, CHUNKS[tier]
    if size <= step:
        return _chunk(quantity, factors, _EVALUATORS[tier])
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


def _insufficient(number: Scaled, relative: float) -> Mask:
    """Where the value is neither known to `relative` nor known to be next to nothing."""
    above = number.uncertainty > relative * np.abs(number.high)
    if not above.any():
        return above
    if relative >= COARSE:
        return above & (number.uncertainty > COARSE_FLOOR)
    _, exponent = np.frexp(number.uncertainty)
    return above & (exponent + number.exponent > FINE_FLOOR_EXPONENT)


def _shaped(number: Scaled, shape: tuple[int, ...]) -> Value:
    value = rounded(number)
    return Value(
        value.high.reshape(shape), value.low.reshape(shape), value.uncertainty.reshape(shape)
    )


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
