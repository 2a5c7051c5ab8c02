"""The arguments of one element, flattened, and which quantity depends on which of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .scaled import Array, Mask

QUANTITIES = (
    "forward",
    "grad.logits",
    "grad.target",
    "grad.weight",
    "grad.pos_weight",
    "hessian.logits",
)
# Quantities built on the sigmoid: finite at infinite logits.
SIGMOIDAL = ("grad.logits", "hessian.logits")
ARGUMENTS = {
    "forward": ("logits", "target", "weight", "pos_weight"),
    "grad.logits": ("logits", "target", "weight", "pos_weight", "upstream"),
    "grad.target": ("logits", "weight", "pos_weight", "upstream"),
    "grad.weight": ("logits", "target", "pos_weight", "upstream"),
    "grad.pos_weight": ("logits", "target", "weight", "upstream"),
    "hessian.logits": ("logits", "target", "weight", "pos_weight", "upstream"),
}


@dataclass(frozen=True)
class Factors:
    """What an element is made of. `logits` has shape (n,), the others (n,) or ().

    `divisor` is the n of a mean for gradients, 1 otherwise.
    """

    logits: Array
    target: Array
    weight: Array
    pos_weight: Array
    upstream: Array
    divisor: int

    def changed(self, change: Callable[[str, Array], Array]) -> Factors:
        """The factors with change(name, array) in the place of each array."""
        return Factors(
            change("logits", self.logits),
            change("target", self.target),
            change("weight", self.weight),
            change("pos_weight", self.pos_weight),
            change("upstream", self.upstream),
            self.divisor,
        )

    def __getitem__(self, selection: slice | Mask) -> Factors:
        """The factors of the selected elements."""
        return self.changed(lambda _, array: array[selection] if array.ndim else array)

    def used(self, quantity: str) -> dict[str, Array]:
        """The arguments the quantity's formula contains; the others cannot spoil it."""
        return {name: getattr(self, name) for name in ARGUMENTS[quantity]}

    def only(self, quantity: str) -> Factors:
        """The factors with 1 in the place of what the quantity's formula does not contain."""
        one = np.ones(())
        return self.changed(lambda name, array: array if name in ARGUMENTS[quantity] else one)

    def full(self) -> Factors:
        """The factors with every array of shape (n,)."""
        return self.changed(lambda _, array: np.broadcast_to(array, self.logits.shape))
