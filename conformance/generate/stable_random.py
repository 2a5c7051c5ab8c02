"""Random numbers that are the same on every machine and with every numpy."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class StableRandom:
    """PCG64's raw words, whose sequence numpy promises to keep (its distributions may change)."""

    def __init__(self, *key: int | str) -> None:
        words = [zlib.crc32(k.encode()) if isinstance(k, str) else k for k in key]
        self._bits = np.random.PCG64(np.random.SeedSequence(words))

    def words(self, n: int) -> NDArray[np.uint64]:
        return np.asarray(self._bits.random_raw(n), dtype=np.uint64).reshape(n)

    def unit(self, n: int) -> Floats:
        """Uniform in [0, 1), multiples of 2^-53."""
        return (self.words(n) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def uniform(self, low: float, high: float, n: int) -> Floats:
        return low + (high - low) * self.unit(n)

    def below(self, bound: int, n: int) -> NDArray[np.int64]:
        """Uniform in 0 … bound − 1, as good as 64 bits are against a small bound."""
        return (self.words(n) % np.uint64(bound)).astype(np.int64)

    def pick(self, among: ArrayLike, n: int) -> Floats:
        chosen = np.asarray(among, dtype=np.float64)
        return chosen[self.below(len(chosen), n)]

    def signs(self, n: int) -> Floats:
        return np.where(self.words(n) & np.uint64(1), -1.0, 1.0)

    def dealt(self, among: ArrayLike, n: int) -> Floats:
        """Each of `among` as often as the others, but for one, in random order."""
        cards = np.asarray(among, dtype=np.float64)
        start = int(self.below(len(cards), 1)[0])
        order = np.argsort(self.words(n))  # 64 bits: no two are equal, whose order would be open
        return cards[(start + order) % len(cards)]

    def mixed(self, parts: Sequence[Floats], n: int) -> Floats:
        """Element by element from one of the parts, each of length n."""
        return np.asarray(np.choose(self.below(len(parts), n), list(parts)))
