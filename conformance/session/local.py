"""A session whose calls run in this process."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol

from ..vocabulary import Array, Backend, Call, Failure, Outcome
from . import worker
from .isolated import LostWorker, failure_from_wire
from .unavailable import BackendUnavailable


class AdapterModule(Protocol):
    """What a session needs of an adapter file that is imported as a module."""

    NAME: str
    SURFACES: tuple[str, ...]

    def open(self, device: str, mode: str) -> Any: ...


class LocalSession:
    """Calls of an adapter in this process: nothing contains a crash, a hang or a leak.

    Raises BackendUnavailable.
    """

    lost: tuple[LostWorker, ...] = ()
    restarts = 0

    def __init__(self, adapter: AdapterModule, *, device: str = "cpu", mode: str = "eager") -> None:
        try:
            self._adapter = adapter.open(device, mode)
            about = worker.about(adapter, self._adapter)
        except Exception as error:
            raise BackendUnavailable(
                f"{adapter.NAME} on {device} ({mode}) in this interpreter: "
                f"{worker.described(error)}"
            ) from error
        about = {k: tuple(v) if isinstance(v, list) else v for k, v in about.items()}
        self.backend = Backend(adapter=adapter.NAME, device=device, mode=mode, **about)

    def run(self, call: Call) -> Outcome:
        """What came of the call.

        KeyboardInterrupt, and what pytest raises to skip or fail, pass through: here they are the
        user's or the test runner's.
        """
        values: dict[str, Array] = {}
        failures: list[Failure | None] = []

        def send(kind: str, *fields: Any) -> None:
            if kind == "value":
                quantity, wire = fields
                values[quantity] = Array.from_wire(wire)
            elif kind == "done":
                failures.extend(map(failure_from_wire, fields))

        worker.perform(self._adapter, call.wire(), send, (Exception, SystemExit))
        return Outcome(values, failures[-1])

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
