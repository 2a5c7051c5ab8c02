"""A session whose calls run in this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from types import TracebackType
from typing import Any, Protocol

from ..model.call import Array, Backend, Call, Failure, Outcome
from . import worker
from .isolated import LostWorker, end_from_wire
from .own_loss import Closure, OwnLoss
from .unavailable import BackendUnavailable


class AdapterModule(Protocol):
    """What a session needs of an adapter file that is imported as a module."""

    NAME: str
    SURFACES: tuple[str, ...]

    def open(self, device: str, mode: str) -> Any: ...


def callables(losses: Sequence[OwnLoss | Closure]) -> dict[str, Callable[..., Any]]:
    """What is called for each surface. Raises NoOwnLoss."""
    written = [loss.wire() for loss in losses if isinstance(loss, OwnLoss)]
    here = {loss.surface: loss.function for loss in losses if isinstance(loss, Closure)}
    return {**worker.own_losses(written), **here}


class LocalSession:
    """Calls of an adapter in this process: nothing contains a crash, a hang or a leak.

    Raises BackendUnavailable.
    """

    lost: tuple[LostWorker, ...] = ()
    restarts = 0

    def __init__(
        self,
        adapter: AdapterModule,
        *,
        device: str = "cpu",
        mode: str = "eager",
        losses: Sequence[OwnLoss | Closure] = (),
    ) -> None:
        where = f"{adapter.NAME} on {device} ({mode}) in this interpreter"
        try:
            self._adapter = adapter.open(device, mode)
            about = worker.about(adapter, self._adapter)
            if losses:
                worker.hand_over(callables(losses), self._adapter)
                about["surfaces"] = [loss.surface for loss in losses]
        except worker.NoOwnLoss as error:
            raise BackendUnavailable(f"{where}: {error}") from error
        except Exception as error:
            raise BackendUnavailable(f"{where}: {worker.described(error)}") from error
        self._seconds = 0.0
        about = {k: tuple(v) if isinstance(v, list) else v for k, v in about.items()}
        self.backend = Backend(adapter=adapter.NAME, device=device, mode=mode, **about)

    @property
    def framework_seconds(self) -> float:
        """Seconds that the adapter's `run` took in all calls so far: the framework's own time."""
        return self._seconds

    def run(self, call: Call) -> Outcome:
        """What came of the call.

        KeyboardInterrupt, and what pytest raises to skip or fail, pass through: here they are the
        user's or the test runner's.
        """
        values: dict[str, Array] = {}
        ends: list[tuple[Failure | None, tuple[str, ...], float]] = []

        def send(kind: str, *fields: Any) -> None:
            if kind == "value":
                quantity, wire = fields
                values[quantity] = Array.from_wire(wire)
            elif kind == "done":
                ends.append(end_from_wire(*fields))

        worker.perform(self._adapter, call.wire(), send, (Exception, SystemExit))
        failure, changed, seconds = ends[-1]
        self._seconds += seconds
        return Outcome(values, failure, changed)

    def stream(self, batches: Iterable[Sequence[Call]]) -> Generator[list[Outcome], None, None]:
        """The outcomes of each batch, in order, one per call."""
        for batch in batches:
            yield [self.run(call) for call in batch]

    def renew(self) -> None:
        """Nothing: this process is the only one there is."""

    def close(self) -> None:
        """Nothing to end."""

    def __enter__(self) -> LocalSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
