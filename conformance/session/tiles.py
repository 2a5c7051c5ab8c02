"""Logits in a row through a worker at its framework's own speed: results over shared memory."""

from __future__ import annotations

import os
import select
import shutil
import tempfile
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.call import Call, Failure, Wire
from ..model.dtypes import CARRIERS

SLOTS, LOT = 16, 4
"""Tiles in flight, and how many are handed over at a time. Each side holds back less than a lot, so
that neither waits for the other as long as there are more than two."""
SHARED = Path("/dev/shm")


@dataclass(frozen=True, eq=False)
class Tiles:
    """One call asked for `count` logits whose bits follow each other from `first`.

    The call's arrays are as long as a tile (cycled ones cost nothing); its logits are replaced.
    alone: ranges of bits (first, count) that are run before with nothing else going on, to time the
    framework. One wait for the listener to be done then serves for many.
    """

    call: Call
    first: int
    count: int
    alone: tuple[tuple[int, int], ...] = ()

    @property
    def length(self) -> int:
        return self.call.logits.size

    @property
    def tiles(self) -> int:
        return -(-self.count // self.length)

    def wire(self, ring: Wire) -> Wire:
        return {
            "call": self.call.wire(),
            "first": self.first,
            "count": self.count,
            "length": self.length,
            "alone": [list(part) for part in self.alone],
            "ring": ring,
        }


@dataclass(frozen=True)
class Tile:
    """Results for `count` logits from `start` on, of its Tiles; they are gone after the next."""

    tested: Tiles
    start: int
    results: NDArray[Any]


@dataclass(frozen=True)
class TilesOver:
    """The end of its Tiles: what stopped it, if anything, and the framework's seconds: while it
    was listened to, and alone."""

    tested: Tiles
    failure: Failure | None
    seconds: float = 0.0
    alone: float = 0.0


class Ring:
    """The near side of `worker.Ring`, for tiles of so many bytes."""

    def __init__(self, size: int) -> None:
        shared = str(SHARED) if SHARED.is_dir() else None
        self._folder = Path(tempfile.mkdtemp(prefix="bce-conformance-", dir=shared))
        self._size, self._slot, self._sent = size, 0, 0
        self._signs, self._held = b"", 0
        memory = self._folder / "memory"
        with memory.open("wb") as file:
            file.truncate(size * SLOTS)
        with memory.open("r+b") as file:
            self._memory = mmap(file.fileno(), 0)
        self._pipes = {name: self._pipe(name) for name in ("filled", "free")}
        os.write(self._pipes["free"], b"." * SLOTS)

    def _pipe(self, name: str) -> int:
        path = self._folder / name
        os.mkfifo(path)
        return os.open(path, os.O_RDWR)  # both ways, so that neither side waits for the other

    def spec(self, tiles: int) -> Wire:
        """What the worker needs for the next so many tiles."""
        slot = self._sent % SLOTS
        self._sent += tiles
        paths = {name: str(self._folder / name) for name in ("memory", "filled", "free")}
        return {**paths, "slots": SLOTS, "bytes": self._size, "slot": slot, "lot": LOT}

    def next(self, timeout: float) -> bool | None:
        """Whether the next slot was filled; None if it is not yet known."""
        pipe = self._pipes["filled"]
        if not self._signs:
            ready, _, _ = select.select([pipe], [], [], timeout)
            if not ready:
                return None
            self._signs = os.read(pipe, SLOTS)
        sign, self._signs = self._signs[:1], self._signs[1:]
        return sign == b"."

    def results(self, dtype: str, count: int) -> NDArray[Any]:
        """What the slot holds."""
        return np.frombuffer(self._memory, CARRIERS[dtype], count, self._slot * self._size)

    def release(self) -> None:
        """Gives the slot back, at the latest with the next lot."""
        self._slot = (self._slot + 1) % SLOTS
        self._held += 1
        if self._held == LOT:
            self.release_all()

    def release_all(self) -> None:
        os.write(self._pipes["free"], b"." * self._held)
        self._held = 0

    def close(self) -> None:
        for pipe in self._pipes.values():
            os.close(pipe)
        shutil.rmtree(self._folder, ignore_errors=True)
