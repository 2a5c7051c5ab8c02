"""A session whose calls run in another process, which may crash, hang or leak."""

from __future__ import annotations

import contextlib
import inspect
import time
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Any, Protocol

from ..model.call import (
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
    Wire,
)
from . import worker as far_side
from .own_loss import OwnLoss
from .process import GLANCE, Garbled, Gone, Silent, Unsendable, WorkerProcess
from .tiles import Ring, Tile, Tiles, TilesOver
from .unavailable import BackendUnavailable

GIB = 1 << 30
STARTS = 3
"""How often in a row a worker that had started before may fail to start again."""
TRIES = 3
"""How many workers may die before a call has begun in one of them."""
NOT_BEGUN = "request"
TILES = "tiles"


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
    memory_limit: bytes that a worker may grow beyond what it used after its start (one that has
    grown by half of that between two calls is replaced);
    losses: callables of the user's own instead of the framework's, each a surface;
    fragile: a refusal leaves the framework in a state in which the next call may kill it, and
    calls kill it at random: a worker that refused is replaced, a call that died is tried twice;
    variables: environment variables set for the worker on top of the inherited ones.

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
        losses: Sequence[OwnLoss] = (),
        fragile: bool = False,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._fragile = fragile
        self._request = {
            "source": adapter_source,
            "name": adapter_name,
            "device": device,
            "mode": mode,
            "losses": [loss.wire() for loss in losses],
        }
        self._python = python
        self._timeout = timeout
        self._start_timeout = start_timeout
        self._memory_limit = memory_limit
        self._variables = dict(variables or {})
        self._lost: list[LostWorker] = []
        self._flights: list[_Flight] = []
        self._seconds = 0.0
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

    @property
    def framework_seconds(self) -> float:
        """Seconds that the adapter's `run` took in all calls so far: the framework's own time."""
        return self._seconds

    def resident(self) -> int:
        """Bytes that the worker holds in memory; 0 if there is none."""
        return 0 if self._worker is None else self._worker.process.resident()

    def run(self, call: Call) -> Outcome:
        """What came of the call: exactly one outcome, whatever becomes of the worker.

        Raises BackendUnavailable if a worker is lost and no new one can be started, and
        ValueError after close().
        """
        self._require_open()
        while self._flights:
            self._land()
        return self._run(call)

    def stream(self, batches: Iterable[Sequence[Call]]) -> Generator[list[Outcome], None, None]:
        """The outcomes of each batch, in order, one per call, as `run` would give them.

        The worker is one batch ahead: it computes the next while the caller looks at these. run()
        may be called in between. Where a worker is lost within a batch, each of its calls is run
        by itself; if then none ends its worker, the loss is among `lost`. Raises as run() does.
        """
        ahead: _Flight | None = None
        try:
            for batch in batches:
                flight, ahead = ahead, self._launched(tuple(batch))
                if flight is not None:
                    yield self._landed(flight)
            if ahead is not None:
                yield self._landed(ahead)
        finally:
            if ahead in self._flights:
                # What the worker still does belongs to nobody.
                self._flights.remove(ahead)
                self._drop()

    def tiles(self, tested: Iterable[Tiles]) -> Generator[Tile | TilesOver, None, None]:
        """The results of each Tiles, tile by tile, and its end; all are of one length and dtype.

        The worker is ahead by as many tiles as the ring has slots. Where it is lost, what it was
        at ends with that failure, and the rest goes to a new one. Raises as run() does.
        """
        self._require_open()
        while self._flights:
            self._land()
        source = iter(tested)
        waiting = deque(islice(source, 1))
        sent: dict[Tiles, int] = {}
        worker: _Worker | None = None
        ring: Ring | None = None
        try:
            while waiting:
                waiting.extend(islice(source, 1))
                if worker is None or self._worker is not worker:
                    worker, sent = self._ready_worker(), {}
                    if ring is not None:
                        ring.close()
                    ring = Ring(waiting[0].call.logits.nbytes)
                assert ring is not None
                for each in waiting:
                    if each not in sent:
                        sent[each] = self._send_tiles(worker, each, ring)
                one = waiting.popleft()
                yield from self._tiled(worker, one, sent.pop(one), ring)
        finally:
            if ring is not None:
                ring.close()
            if sent:
                self._drop()  # what the worker still does belongs to nobody

    def _send_tiles(self, worker: _Worker, tested: Tiles, ring: Ring) -> int:
        self._serial += 1
        message = ("tiles", self._serial, tested.wire(ring.spec(tested.tiles)))
        # One that is gone is noticed when it is listened to.
        with contextlib.suppress(Gone):
            worker.process.send(message, time.monotonic() + self._timeout)
        return self._serial

    def _tiled(
        self, worker: _Worker, tested: Tiles, serial: int, ring: Ring
    ) -> Generator[Tile | TilesOver, None, None]:
        for start in range(0, tested.count, tested.length):
            filled = self._next_tile(worker, ring)
            if isinstance(filled, Crashed | TimedOut):
                yield TilesOver(tested, filled)
                return
            if filled:
                count = min(tested.length, tested.count - start)
                yield Tile(tested, start, ring.results(tested.call.logits.dtype, count))
            ring.release()
        ring.release_all()
        talk = _TilesTalk(serial, tested)
        failure = self._converse(worker, talk)
        yield TilesOver(tested, failure, talk.seconds, talk.alone)

    def _next_tile(self, worker: _Worker, ring: Ring) -> bool | Crashed | TimedOut:
        """Whether the next tile was filled, or what became of the worker."""
        deadline = time.monotonic() + self._timeout
        while True:
            filled = ring.next(GLANCE)
            if filled is not None:
                return filled
            process, stopped = worker.process, self._overgrown(worker)
            if process.has_exited():
                stopped = process.cause_of_death() or "closed the connection to the suite"
            if stopped is not None:
                self._drop()
                return Crashed(stopped, process.said(), TILES)
            if time.monotonic() > deadline:
                self._drop()
                return TimedOut(self._timeout, process.said(), TILES)

    def renew(self) -> None:
        """Ends the worker; the next call runs in a new one, which remembers nothing."""
        self._require_open()
        while self._flights:
            self._land()
        self._drop()

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

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError("the session is closed")

    # ---- one call

    def _run(self, call: Call) -> Outcome:
        failure: Failure | None = None
        died = False
        for _ in range(TRIES):
            worker = self._ready_worker()
            self._serial += 1
            talk = _Conversation(self._serial, call)
            failure = self._converse(worker, talk, ("call", talk.serial, call.wire()))
            if talk.done or talk.stage != NOT_BEGUN or isinstance(failure, Unsupported):
                if self._fragile and isinstance(failure, Crashed) and not died:
                    died = True
                    self._note_lost(failure.cause, failure.stderr)
                    continue
                self._last_call = call
                self._seconds += talk.seconds
                if self._fragile and isinstance(failure, Raised):
                    self._drop()
                return Outcome(talk.values, failure, talk.changed)
            assert isinstance(failure, Crashed | TimedOut)
            self._note_lost(_cause(failure), failure.stderr)
        return Outcome({}, failure)

    def _converse(self, worker: _Worker, talk: _Talk, message: object = None) -> Failure | None:
        """Asks and listens until the talk is done or the worker is ended; what stopped it.

        message: the question, if it has not been sent before.
        """
        try:
            return self._listened(worker, talk, message)
        except BaseException:
            # Ctrl-C, most likely. What the worker still does belongs to nobody.
            self._drop()
            raise

    def _listened(self, worker: _Worker, talk: _Talk, message: object) -> Failure | None:
        process = worker.process
        deadline = time.monotonic() + self._timeout
        stopped: str | None = None
        try:
            if message is not None:
                process.clear_log()
                process.send(message, deadline)
            while not talk.done:
                try:
                    talk.hear(process.receive(GLANCE))
                    if talk.of_many:
                        deadline = time.monotonic() + self._timeout
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
            # Growth is looked at here too, since many short calls end before any glance; at half
            # the limit, so that what leaks slowly does not reach it in the middle of a call.
            if time.monotonic() > worker.next_look:
                worker.next_look = time.monotonic() + GLANCE
                worker.spent = self._growth(worker) > self._memory_limit / 2
            return talk.failure
        self._end(worker, talk)
        if not talk.done:
            return Crashed(stopped, process.said(), talk.stage)
        # It had answered in full, and died before that was read.
        self._last_call = talk.last_call
        self._note_lost(stopped, process.said())
        return talk.failure

    def _end(self, worker: _Worker, talk: _Talk) -> None:
        """Ends the worker; what it had sent before still counts."""
        self._worker = None
        for message in worker.process.end():
            try:
                talk.hear(message)
            except Garbled:
                break

    def _overgrown(self, worker: _Worker) -> str | None:
        grown = self._growth(worker)
        if grown <= self._memory_limit:
            return None
        return (
            f"memory limit: the worker grew by {grown / GIB:.1f} GiB, "
            f"more than the {self._memory_limit / GIB:.1f} GiB allowed"
        )

    def _growth(self, worker: _Worker) -> int:
        """Bytes beyond what the worker used after its start."""
        return worker.process.resident() - worker.resident_at_start

    # ---- batches

    def _launched(self, calls: tuple[Call, ...]) -> _Flight:
        """A batch on its way, behind the one that the worker has, if it has one."""
        self._require_open()
        flight = _Flight(calls)
        if not calls:
            flight.outcomes = []
            return flight
        self._flights.append(flight)
        if len(self._flights) == 1:
            self._send_ahead(flight, self._ready_worker())
        elif (worker := self._flights[-2].worker) and worker is self._worker and not worker.spent:
            self._send_ahead(flight, worker)
        return flight

    def _send_ahead(self, flight: _Flight, worker: _Worker) -> None:
        """Sends a batch, if that can be done; else it is sent when its turn comes."""
        try:
            worker.process.clear_log()
            worker.process.send(self._case(flight), time.monotonic() + self._timeout)
            flight.worker = worker
        except (Gone, Unsendable):
            pass
        except Silent:
            self._drop()
        except BaseException:
            self._drop()
            raise

    def _case(self, flight: _Flight) -> object:
        self._serial += 1
        flight.serial = self._serial
        return flight.wire()

    def _landed(self, flight: _Flight) -> list[Outcome]:
        """The outcomes of a batch: exactly one for each call, whatever becomes of the worker."""
        self._require_open()
        while flight.outcomes is None:
            self._land()
        return flight.outcomes

    def _land(self) -> None:
        """Waits for the outcomes of the oldest batch on its way."""
        flight = self._flights.pop(0)
        worker, case = flight.worker, None
        if worker is None or worker is not self._worker:
            worker, case = self._ready_worker(), self._case(flight)
        before = self._last_call
        talk = _BatchTalk(flight.serial, flight.calls)
        failure = self._converse(worker, talk, case)
        if talk.done:
            self._last_call = talk.last_call
            self._seconds += talk.seconds
            flight.outcomes = talk.outcomes
            if self._fragile and any(isinstance(o.failure, Raised) for o in talk.outcomes):
                self._drop()
            return
        flight.outcomes = [self._run(call) for call in flight.calls]
        died_again = any(isinstance(o.failure, Crashed | TimedOut) for o in flight.outcomes)
        if isinstance(failure, Crashed | TimedOut) and not died_again:
            self._lost.append(LostWorker(_cause(failure), failure.stderr, before))

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
    if failure.during == NOT_BEGUN:
        return f"did not take a call within {failure.seconds:g} s"
    return f"did not answer within {failure.seconds:g} s"


# ---- what is said


class _Talk(Protocol):
    """What has been heard of a question. of_many: each message says that the worker goes on."""

    of_many: bool
    stage: str
    done: bool
    failure: Failure | None

    @property
    def last_call(self) -> Call: ...

    def hear(self, message: Any) -> None: ...


@dataclass
class _Conversation:
    """What has been heard of one call."""

    serial: int
    call: Call
    stage: str = NOT_BEGUN
    values: dict[str, Array] = field(default_factory=dict)
    done: bool = False
    failure: Failure | None = None
    changed: tuple[str, ...] = ()
    seconds: float = 0.0
    of_many = False

    @property
    def last_call(self) -> Call:
        return self.call

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
                self.values[quantity] = _result(wire)
                left = [q for q in self.call.want if q not in self.values]
                self.stage = left[0] if left else far_side.FINISH
            elif kind == "done":
                self.failure, self.changed, self.seconds = end_from_wire(*fields)
                self.done = True
            else:
                raise ValueError(f"a message of kind {kind!r}")
        except (TypeError, ValueError, KeyError) as error:
            raise Garbled(f"{type(error).__name__}: {error}") from None

    def is_addressed(self, serial: object) -> bool:
        return serial == self.serial


@dataclass
class _BatchTalk:
    """What has been heard of a batch."""

    serial: int
    calls: tuple[Call, ...]
    stage: str = NOT_BEGUN
    outcomes: list[Outcome] = field(default_factory=list)
    done: bool = False
    seconds: float = 0.0
    failure: Failure | None = None
    of_many = True

    @property
    def last_call(self) -> Call:
        return self.calls[-1]

    def hear(self, message: Any) -> None:
        """Takes a message in; those of other batches are dropped. Raises Garbled."""
        try:
            kind, serial, *fields = message
            if serial != self.serial or self.done:
                return
            if kind == "at":
                (self.stage,) = (f"call {at + 1} of {len(self.calls)}" for at in fields)
            elif kind == "all":
                (answers,) = fields
                for call, answer in zip(self.calls, answers, strict=True):
                    self.outcomes.append(self._outcome(call, *answer))
                self.done = True
            else:
                raise ValueError(f"a message of kind {kind!r}")
        except (TypeError, ValueError, KeyError) as error:
            raise Garbled(f"{type(error).__name__}: {error}") from None

    def _outcome(self, call: Call, returned: Any, *end: Any) -> Outcome:
        failure, changed, seconds = end_from_wire(*end)
        values = {quantity: _result(wire) for quantity, wire in returned}
        if not set(values) <= set(call.want):
            raise ValueError(f"{', '.join(values)} instead of {', '.join(call.want)}")
        self.seconds += seconds
        return Outcome(values, failure, changed)


@dataclass
class _TilesTalk:
    """What has been heard of the end of tiles."""

    serial: int
    tested: Tiles
    stage: str = TILES
    done: bool = False
    failure: Failure | None = None
    seconds: float = 0.0
    alone: float = 0.0
    of_many = True

    @property
    def last_call(self) -> Call:
        return self.tested.call

    def hear(self, message: Any) -> None:
        """Takes a message in; those of other questions are dropped. Raises Garbled."""
        try:
            kind, serial, *fields = message
            if serial != self.serial or self.done:
                return
            if kind != "over":
                raise ValueError(f"a message of kind {kind!r}")
            failure, seconds, alone = fields
            self.failure = failure_from_wire(failure)
            self.seconds, self.alone, self.done = float(seconds), float(alone), True
        except (TypeError, ValueError, KeyError) as error:
            raise Garbled(f"{type(error).__name__}: {error}") from None


@dataclass(eq=False)
class _Flight:
    """A batch on its way: which worker has it, if any, and the result of it at last."""

    calls: tuple[Call, ...]
    serial: int = 0
    worker: _Worker | None = None
    outcomes: list[Outcome] | None = None

    def wire(self) -> tuple[str, int, list[Wire], list[Wire]]:
        """The message: each distinct array once, and calls that name them by position."""
        positions: dict[int, int] = {}
        arrays: list[Wire] = []

        def position(array: Array) -> int:
            if id(array) not in positions:
                positions[id(array)] = len(arrays)
                arrays.append(array.wire())
            return positions[id(array)]

        return "batch", self.serial, arrays, [call.wire(position) for call in self.calls]


def _result(wire: Any) -> Array:
    array = Array.from_wire(wire)
    array.bits  # noqa: B018  raises if shape and bytes disagree
    return array


def end_from_wire(
    failure: Any, changed: Any, seconds: Any
) -> tuple[Failure | None, tuple[str, ...], float]:
    """What the end of a call says: the failure, the arguments changed, the framework's seconds.

    Raises TypeError or ValueError.
    """
    return failure_from_wire(failure), tuple(map(str, changed)), float(seconds)


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
    request: Mapping[str, Any], python: str, variables: Mapping[str, str], timeout: float
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
                said = (
                    message
                    if name == far_side.NoOwnLoss.__name__
                    else (f"{where} raised {name}: {message}")
                )
                raise _NotStarted(said, ())
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
