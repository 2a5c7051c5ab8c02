"""A session whose calls run in another process, which may crash, hang or leak."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from ..vocabulary import (
    Array,
    Backend,
    Call,
    Crashed,
    Failure,
    Faulty,
    Outcome,
    Raised,
    TimedOut,
    Unsupported,
)
from . import worker as far_side
from .process import GLANCE, Garbled, Gone, Silent, Unsendable, WorkerProcess
from .unavailable import BackendUnavailable

GIB = 1 << 30
STARTS = 3
"""How often in a row a worker that had started before may fail to start again."""
TRIES = 3
"""How many workers may die before a call has begun in one of them."""
NOT_BEGUN = "request"


@dataclass(frozen=True)
class LostWorker:
    """A worker that died, or stopped answering, while nothing was asked of it.

    `after` is the last call that it had finished, if any; that call has its own outcome.
    """

    cause: str
    stderr: tuple[str, ...]
    after: Call | None


class IsolatedSession:
    """Calls in a worker started by the interpreter `python`; a new worker whenever one is lost.

    adapter_source, adapter_name: the text of an adapter file, and the name to report it by;
    timeout: seconds for a call; start_timeout: for a start, imports of the framework included;
    memory_limit: bytes that a worker may grow beyond what it used after its start;
    variables: environment variables set for the worker beside the inherited ones.

    Raises BackendUnavailable. For one user at a time: calls must not overlap.
    """

    def __init__(
        self,
        adapter_source: str,
        adapter_name: str,
        *,
        python: str,
        device: str = "cpu",
        mode: str = "eager",
        timeout: float = 60.0,
        start_timeout: float = 300.0,
        memory_limit: int = 4 * GIB,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._request = {
            "source": adapter_source,
            "name": adapter_name,
            "device": device,
            "mode": mode,
        }
        self._python = python
        self._timeout = timeout
        self._start_timeout = start_timeout
        self._memory_limit = memory_limit
        self._variables = dict(variables or {})
        self._lost: list[LostWorker] = []
        self._starts = 0
        self._serial = 0
        self._last_call: Call | None = None
        self._closed = False
        self._worker: _Worker | None = None
        self._worker = self._started()
        self.backend: Backend = self._worker.backend

    @property
    def lost(self) -> tuple[LostWorker, ...]:
        """The workers that were lost between calls, so far."""
        return tuple(self._lost)

    @property
    def restarts(self) -> int:
        """How many workers were started after the first."""
        return self._starts - 1

    def run(self, call: Call) -> Outcome:
        """What came of the call: exactly one outcome, whatever becomes of the worker.

        Raises BackendUnavailable if a worker is lost and no new one can be started, and
        ValueError after close().
        """
        if self._closed:
            raise ValueError("the session is closed")
        failure: Failure | None = None
        for _ in range(TRIES):
            worker = self._ready_worker()
            self._serial += 1
            talk = _Conversation(self._serial, call.want)
            try:
                failure = self._converse(worker, call, talk)
            except BaseException:
                # Ctrl-C, most likely. What the worker still does belongs to nobody.
                self._drop()
                raise
            if talk.done or talk.stage != NOT_BEGUN or isinstance(failure, Unsupported):
                self._last_call = call
                return Outcome(talk.values, failure)
            assert isinstance(failure, Crashed | TimedOut)
            self._note_lost(_cause(failure), failure.stderr)
        return Outcome({}, failure)

    def close(self) -> None:
        """Ends the worker and whatever it started. A second close does nothing."""
        if self._worker is not None and self._worker.process.has_exited():
            self._lose(self._worker)
        self._closed = True
        self._drop()

    def __enter__(self) -> IsolatedSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- one call

    def _converse(self, worker: _Worker, call: Call, talk: _Conversation) -> Failure | None:
        """Asks and listens until the call is done or the worker is ended; what stopped it."""
        process = worker.process
        process.clear_log()
        deadline = time.monotonic() + self._timeout
        stopped: str | None = None
        try:
            process.send((talk.serial, call.wire()), deadline)
            while not talk.done:
                try:
                    talk.hear(process.receive(GLANCE))
                    continue
                except Silent:
                    process.trim_log()
                if time.monotonic() > deadline:
                    raise Silent
                if process.has_exited():
                    # A child of it may hold the connection open.
                    raise Gone("")
                stopped = self._overgrown(worker)
                if stopped:
                    break
        except Unsendable as error:
            return Unsupported(f"the call cannot be sent to a worker: {error}")
        except Silent:
            self._end(worker, talk)
            return TimedOut(self._timeout, process.said(), talk.stage)
        except Gone as gone:
            stopped = _last_line(str(gone)) and f"the worker failed: {_last_line(str(gone))}"
            stopped = stopped or process.cause_of_death() or "closed the connection to the suite"
        except Garbled as garbled:
            # Nor is anything believed that comes after it.
            process.end()
            self._worker = None
            return Crashed(f"broke the protocol: {garbled}", process.said(), talk.stage)
        if stopped is None:
            # Growth is looked at here too, since many short calls end before any glance.
            if time.monotonic() > worker.next_look:
                worker.next_look = time.monotonic() + GLANCE
                worker.spent = bool(self._overgrown(worker))
            return talk.failure
        self._end(worker, talk)
        if not talk.done:
            return Crashed(stopped, process.said(), talk.stage)
        # It had answered in full, and died before that was read.
        self._last_call = call
        self._note_lost(stopped, process.said())
        return talk.failure

    def _end(self, worker: _Worker, talk: _Conversation) -> None:
        """Ends the worker; what it had sent before still counts."""
        self._worker = None
        for message in worker.process.end():
            try:
                talk.hear(message)
            except Garbled:
                break

    def _overgrown(self, worker: _Worker) -> str | None:
        grown = worker.process.resident() - worker.resident_at_start
        if grown <= self._memory_limit:
            return None
        return (
            f"memory limit: the worker grew by {grown / GIB:.1f} GiB, "
            f"more than the {self._memory_limit / GIB:.1f} GiB allowed"
        )

    # ---- workers

    def _ready_worker(self) -> _Worker:
        worker = self._worker
        if worker is not None and worker.process.has_exited():
            self._lose(worker)
        elif worker is not None and worker.spent:
            self._drop()
        for attempt in range(STARTS):
            if self._worker is not None:
                break
            try:
                self._worker = self._started()
            except BackendUnavailable:
                if attempt == STARTS - 1:
                    raise
        assert self._worker is not None
        return self._worker

    def _lose(self, worker: _Worker) -> None:
        cause = worker.process.cause_of_death() or "closed the connection to the suite"
        self._drop()
        self._note_lost(cause, worker.process.said())

    def _note_lost(self, cause: str, stderr: tuple[str, ...]) -> None:
        self._lost.append(LostWorker(cause, stderr, self._last_call))

    def _drop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.process.end()

    def _started(self) -> _Worker:
        self._last_call = None
        try:
            worker = _start(self._request, self._python, self._variables, self._start_timeout)
        except _NotStarted as not_started:
            name, device, mode = (self._request[key] for key in ("name", "device", "mode"))
            raise BackendUnavailable(
                f"{name} on {device} ({mode}) in {self._python}: {not_started.said}",
                not_started.stderr,
            ) from None
        self._starts += 1
        return worker


def _cause(failure: Crashed | TimedOut) -> str:
    if isinstance(failure, Crashed):
        return failure.cause
    return f"did not take a call within {failure.seconds:g} s"


# ---- what is said


@dataclass
class _Conversation:
    """What has been heard of one call."""

    serial: int
    want: tuple[str, ...]
    stage: str = NOT_BEGUN
    values: dict[str, Array] = field(default_factory=dict)
    done: bool = False
    failure: Failure | None = None

    def hear(self, message: Any) -> None:
        """Takes a message in; those of other calls are dropped. Raises Garbled."""
        try:
            kind, serial, *fields = message
            if not self.is_addressed(serial) or self.done:
                return
            if kind == "at":
                (self.stage,) = map(str, fields)
            elif kind == "value":
                quantity, wire = fields
                array = Array.from_wire(wire)
                array.bits  # noqa: B018  raises if shape and bytes disagree
                self.values[quantity] = array
                left = [q for q in self.want if q not in self.values]
                self.stage = left[0] if left else far_side.FINISH
            elif kind == "done":
                (self.failure,) = map(failure_from_wire, fields)
                self.done = True
            else:
                raise ValueError(f"a message of kind {kind!r}")
        except (TypeError, ValueError, KeyError) as error:
            raise Garbled(f"{type(error).__name__}: {error}") from None

    def is_addressed(self, serial: object) -> bool:
        return serial == self.serial


def failure_from_wire(wire: Any) -> Failure | None:
    """The failure in a message of kind "done". Raises ValueError."""
    if wire is None:
        return None
    kind, *fields = wire
    if kind == "raised":
        name, bases, message, during = fields
        return Raised(name, tuple(bases), message, during)
    if kind == "unsupported":
        (reason,) = fields
        return Unsupported(reason)
    if kind == "faulty":
        reason, during = fields
        return Faulty(reason, during)
    raise ValueError(f"a failure of kind {kind!r}")


# ---- starting


@dataclass
class _Worker:
    """A worker that is ready. `spent`: it has grown too large for a further call."""

    process: WorkerProcess
    backend: Backend
    resident_at_start: int
    spent: bool = False
    next_look: float = 0.0


class _NotStarted(Exception):
    def __init__(self, said: str, stderr: tuple[str, ...]) -> None:
        self.said = said
        self.stderr = stderr


def far_source() -> str:
    """The text of the worker."""
    return inspect.getsource(far_side)


def _start(
    request: Mapping[str, str], python: str, variables: Mapping[str, str], timeout: float
) -> _Worker:
    deadline = time.monotonic() + timeout
    late = f"did not start within {timeout:g} s"
    try:
        process = WorkerProcess(python, far_source(), variables, deadline)
    except OSError as error:
        raise _NotStarted(f"cannot be executed: {error.strerror}", ()) from None
    except Silent:
        raise _NotStarted(f"{late}: no answer from a Python interpreter", ()) from None
    stage = "the interpreter"
    try:
        process.send(request, deadline)
        while True:
            try:
                kind, _, *fields = process.receive(GLANCE)
            except Silent:
                process.trim_log()
                if process.has_exited():
                    raise Gone("") from None
                if time.monotonic() > deadline:
                    raise
                continue
            if kind == "at":
                stage = fields[0]
            elif kind == "refused":
                where, name, message = fields
                raise _NotStarted(f"{where} raised {name}: {message}", ())
            elif kind == "ready":
                about = dict(fields[0])
                process.pid = about.pop("pid")
                about = {k: tuple(v) if isinstance(v, list) else v for k, v in about.items()}
                backend = Backend(
                    adapter=request["name"], device=request["device"], mode=request["mode"], **about
                )
                return _Worker(process, backend, process.resident())
            else:
                raise Garbled(f"a message of kind {kind!r}")
    except BaseException as error:
        raised = _last_line(str(error)) if isinstance(error, Gone) else ""
        cause = process.cause_of_death() if isinstance(error, Gone) and not raised else None
        process.end()
        stderr = process.said()
        last = f"; its last line: {stderr[-1]}" if stderr else ""
        if isinstance(error, _NotStarted):
            raise _NotStarted(_one_line(error.said), stderr) from None
        if isinstance(error, Silent):
            raise _NotStarted(f"{late}: it hung at: {stage}{last}", stderr) from None
        if isinstance(error, Gone):
            said = raised or f"it ended at: {stage} with {cause or 'a closed connection'}{last}"
            raise _NotStarted(_one_line(said), stderr) from None
        if isinstance(error, Garbled | TypeError | ValueError):
            raise _NotStarted(f"broke the protocol: {_one_line(str(error))}", stderr) from None
        raise


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
