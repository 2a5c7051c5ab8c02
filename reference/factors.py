"""The arguments of one element, flattened, and which quantity depends on which of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

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
NAMES = ("logits", "target", "weight", "pos_weight")
ARGUMENTS = {
    "forward": ("logits", "target", "weight", "pos_weight"),
    "grad.logits": ("logits", "target", "weight", "pos_weight"),
    "grad.target": ("logits", "weight", "pos_weight"),
    "grad.weight": ("logits", "target", "pos_weight"),
    "grad.pos_weight": ("logits", "target", "weight"),
    "hessian.logits": ("logits", "target", "weight", "pos_weight"),
}


@dataclass(frozen=True)
class Functions:
    """What every quantity needs of the logits, in float64, each computed when first asked for.

    softplus and sigmoid at +|x| are `large`, at -|x| `small`; exp and log1p are numpy's.
    """

    logits: Array

    @cached_property
    def ahead(self) -> Mask:
        return np.asarray(self.logits >= 0)

    @cached_property
    def distance(self) -> Array:
        return np.abs(self.logits)

    @cached_property
    def decay(self) -> Array:
        """exp(-|x|)."""
        return np.asarray(np.exp(-self.distance))

    @cached_property
    def small_softplus(self) -> Array:
        return np.asarray(np.log1p(self.decay))

    @cached_property
    def large_softplus(self) -> Array:
        return self.distance + self.small_softplus

    @cached_property
    def large_sigmoid(self) -> Array:
        return np.asarray(1.0 / (1.0 + self.decay))

    @cached_property
    def small_sigmoid(self) -> Array:
        return self.decay * self.large_sigmoid


@dataclass(frozen=True)
class Factors:
    """What an element is made of. `logits` has shape (n,), the others (n,) or ()."""

    logits: Array
    target: Array
    weight: Array
    pos_weight: Array

    @cached_property
    def functions(self) -> Functions:
        return Functions(self.logits)

    def changed(self, change: Callable[[str, Array], Array]) -> Factors:
        """The factors with change(name, array) instead of each array."""
        return Factors(
            change("logits", self.logits),
            change("target", self.target),
            change("weight", self.weight),
            change("pos_weight", self.pos_weight),
        )

    def __getitem__(self, selection: slice | Mask) -> Factors:
        """The factors of the selected elements."""
        return self.changed(lambda _, array: array[selection] if array.ndim else array)

    def used(self, quantity: str) -> dict[str, Array]:
        """The arguments the quantity's formula contains; the others cannot spoil it."""
        return {name: getattr(self, name) for name in ARGUMENTS[quantity]}

    def only(self, quantity: str) -> Factors:
        """The factors with 1 instead of what the quantity's formula does not contain."""
        absent = {name: np.ones(()) for name in NAMES if name not in ARGUMENTS[quantity]}
        kept = replace(self, **absent)
        kept.__dict__["functions"] = self.functions  # the logits are the same: computed once
        return kept

    def full(self) -> Factors:
        """The factors with every array of shape (n,)."""
        return self.changed(lambda _, array: np.broadcast_to(array, self.logits.shape))
