"""What a sweep asks: targets and weights for each dtype, and the units of work it is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.call import FORWARD, Array, Call
from ..model.case_family import TestedSurface
from ..model.dtypes import FLOATS
from .line import WORDS, Block, blocks

QUANTITIES = {"forward": (FORWARD,), "gradient": ("grad.logits",), "all": (FORWARD, "grad.logits")}
HARD = (0.0, 1.0)
SOFT = (0.5, 0.25, 0.75, 0.1, 0.9, 0.3, 0.7, 1 / 3, 2 / 3, 0.05, 0.95, 0.01, 0.99, 0.001, 0.999)
POS_WEIGHTS = (3.0, 0.1)
SAMPLES = 64
"""Logits of each block of float64, where all of them would be too many."""
SWEPT = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Cell:
    """What is asked of each logit: one quantity, one target, with a pos_weight or without."""

    tested: TestedSurface
    quantity: str
    dtype: str
    target: float
    pos_weight: float | None = None

    @property
    def surface(self) -> str:
        return self.tested.surface

    @property
    def key(self) -> str:
        weight = "" if self.pos_weight is None else f" pos_weight {self.pos_weight!r}"
        return f"{self.surface} {self.quantity} target {self.target!r}{weight}"

    @property
    def row(self) -> str:
        """Cells of one row are reported together."""
        if self.pos_weight is not None:
            return "with-pos_weight"
        return f"target-{self.target:g}" if self.target in HARD else "soft-targets"

    def call(self, logits: Array) -> Call:
        """The call on an array of logits; the target is repeated for each."""
        period = Array.rounded(self.dtype, np.array([self.target]))
        target = Array(self.dtype, logits.shape, period.data, "cycled")
        weight = None if self.pos_weight is None else self._one(self.pos_weight)
        ones = self._one(1.0) if self.tested.needs_weights else None
        return Call(self.surface, logits, target, ones, weight or ones,
                    {"reduction": "none"}, (self.quantity,))  # fmt: skip

    def _one(self, value: float) -> Array:
        return Array.rounded(self.dtype, np.array([value]))


@dataclass(frozen=True)
class Unit:
    """One piece of work: a cell on some blocks, whole (float64: on samples of them)."""

    index: int
    cell: Cell
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class SweepPlan:
    """Which logits, and what is asked of them; shard: every Nth unit from the Ith."""

    dtype: str
    quantity: str = "all"
    seed: int = 0
    samples: int = SAMPLES
    shard: tuple[int, int] = (1, 1)

    @property
    def exhaustive(self) -> bool:
        return self.dtype != "float64"

    def cells(self, tested: Sequence[TestedSurface]) -> Iterator[Cell]:
        """Surfaces vary fastest: what is expected is then worked out once for all of them."""
        for target, pos_weight in grid(self.dtype):
            for quantity in QUANTITIES[self.quantity]:
                for surface in tested:
                    yield Cell(surface, quantity, self.dtype, target, pos_weight)

    def units(self, tested: Sequence[TestedSurface]) -> list[Unit]:
        """The shard's units, in the order in which they are worked on."""
        found = []
        index = 0
        for cell in self.cells(tested):
            for some in self._portions():
                if index % self.shard[1] == self.shard[0] - 1:
                    found.append(Unit(index, cell, some))
                index += 1
        return found

    def _portions(self) -> list[tuple[Block, ...]]:
        every = blocks(self.dtype)
        return [(block,) for block in every] if self.dtype == "float32" else [every]

    def bits(self, block: Block) -> NDArray[Any]:
        """The logits of a block that are swept: all of them, or as many as are sampled."""
        count = min(block.count, self.samples)
        if self.exhaustive or count == block.count:
            return block.bits()
        named = f"{self.seed} {block.index}".encode()
        entropy = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "big")
        random = np.random.Generator(np.random.PCG64(entropy))
        # The ends of a block are where formulas change their minds.
        inner = random.integers(1, block.count - 1, count - 2, dtype=np.int64)
        offsets = np.unique(np.concatenate([[0], inner, [block.count - 1]])).astype(np.uint64)
        return (offsets + np.uint64(block.first)).astype(WORDS[self.dtype])


@lru_cache
def grid(dtype: str) -> tuple[tuple[float, float | None], ...]:
    """(target, pos_weight) of each cell: 0 and 1 for float32 and float64, which are long."""
    if dtype in ("float32", "float64"):
        return tuple((target, None) for target in HARD)
    return tuple((y, p) for p in (None, *rounded(dtype, POS_WEIGHTS)) for y in targets(dtype))


def targets(dtype: str) -> tuple[float, ...]:
    """0, 1, soft ones, subnormal, and just inside 0 and 1; each as the dtype has it, once."""
    form = FLOATS[dtype]
    below_one = 1 - form.unit_roundoff
    edges = (form.smallest_subnormal, form.smallest_normal, 3 * form.smallest_subnormal,
             form.unit_roundoff, below_one, 1 - 2 * form.unit_roundoff)  # fmt: skip
    return tuple(dict.fromkeys((*HARD, *rounded(dtype, SOFT), *edges)))


def rounded(dtype: str, values: Sequence[float]) -> tuple[float, ...]:
    return tuple(Array.rounded(dtype, np.array(values)).values.tolist())
