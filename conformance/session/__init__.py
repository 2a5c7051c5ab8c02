"""Sessions: where a call runs.

`IsolatedSession` runs calls in a worker process of any interpreter, which may crash, hang or leak
without hurting the run; `LocalSession` runs them in this process.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Protocol

from ..model.call import Backend, Call, Outcome
from .isolated import IsolatedSession, LostWorker
from .local import AdapterModule, LocalSession
from .own_loss import Closure, OwnLoss
from .tiles import Tile, Tiles, TilesOver
from .unavailable import BackendUnavailable

__all__ = [
    "AdapterModule",
    "BackendUnavailable",
    "Closure",
    "IsolatedSession",
    "LocalSession",
    "LostWorker",
    "OwnLoss",
    "Session",
    "Tile",
    "Tiles",
    "TilesOver",
]


class Session(Protocol):
    """What the engine needs to know of either."""

    backend: Backend

    @property
    def lost(self) -> tuple[LostWorker, ...]: ...

    @property
    def restarts(self) -> int: ...

    @property
    def framework_seconds(self) -> float: ...

    def run(self, call: Call) -> Outcome: ...

    def stream(self, batches: Iterable[Sequence[Call]]) -> Generator[list[Outcome], None, None]: ...

    def renew(self) -> None: ...

    def close(self) -> None: ...
