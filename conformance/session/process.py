"""A worker's process: started, spoken with, watched, and ended with everything that it started.

Knows nothing of calls. execnet starts foreign interpreters itself, but then neither the time that
takes nor the process's stderr is in our hands; so the process is started here, and execnet speaks
over its pipes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping
from typing import IO, Any

import execnet
import psutil  # type: ignore[import-untyped,unused-ignore]
from execnet import gateway_base, gateway_bootstrap

from .worker import pack, unpack

MARK = "BCE_CONFORMANCE_WORKER"
GLANCE = 0.05
"""Seconds between two looks at a process that is being waited for."""
LARGEST_LOG = 4 << 20
FIRST_LINES = 5
LAST_LINES = 30
LONGEST_LINE = 500
LAST_BYTES = 1 << 15
SECONDS_TO_DIE = 2.0
"""How long a process whose connection has ended may take to end by itself."""
SECONDS_TO_BE_KILLED = 10.0

# What execnet runs is given on stdin. The directory that the suite was started in must not stand
# first on the path: people start it in a framework's source tree, or beside a file numpy.py.
BOOTSTRAP = (
    "import sys;"
    "sys.version_info<(3,8)and sys.exit("
    "'Python 3.8 or later is needed, this is '+sys.version.split()[0]);"
    "sys.path[:1]==['']and sys.path.pop(0);"
    "exec(eval(sys.stdin.readline()))"
)


class Silent(Exception):
    """Nothing came in time."""


class Gone(Exception):
    """The connection ended. The message, if any, is what the worker raised."""


class Garbled(Exception):
    """A message that is not of the protocol."""


class Unsendable(Exception):
    """What no message can carry: more than 2 GiB."""


def environment(python: str, additions: Mapping[str, str]) -> dict[str, str]:
    """The worker's environment variables.

    PYTHONPATH, PYTHONHOME and their like were meant for the interpreter that runs the suite; in
    another one they would put this one's numpy instead of its own. The same interpreter
    keeps them. `additions` come last (Ascend's toolkit, for one, lives on PYTHONPATH).
    """
    same = os.path.abspath(python) == os.path.abspath(sys.executable)
    kept = {k: v for k, v in os.environ.items() if same or not k.startswith("PYTHON")}
    kept.pop("PYTHONINSPECT", None)
    kept.pop("EXECNET_DEBUG", None)
    return {**kept, **additions}


class WorkerProcess:
    """An interpreter in which `source` runs, with an execnet channel to it.

    Raises OSError if the interpreter cannot be executed at all. A process that is executed but is
    no Python, or dies early, shows as `Gone` when something is received.
    """

    def __init__(
        self, python: str, source: str, additions: Mapping[str, str], deadline: float
    ) -> None:
        self._mark = uuid.uuid4().hex
        self._log = _Log()
        command = [python, "-u", "-c", BOOTSTRAP]
        variables = {**environment(python, additions), MARK: self._mark}
        process = _started(command, variables, self._log.descriptor)
        self._process = process
        self.pid = process.pid
        # Kills at the end of the interpreter too, and when a session is dropped unclosed.
        self._end = weakref.finalize(self, _end_everything, process, self._mark, os.getpid())
        self._pipes = _Pipes(process)
        try:
            self._channel = _opened(self._pipes, source, deadline)
        except BaseException:
            self._channel = None
            self.end()
            raise

    def send(self, item: object, deadline: float) -> None:
        """Raises Gone, Silent if it is not taken in time, and Unsendable."""
        self._pipes.deadline = deadline
        if self._channel is None:
            raise Gone("")
        try:
            self._channel.send(pack(item))
        except (gateway_base.DumpError, struct.error, TypeError, ValueError) as error:
            raise Unsendable(str(error)) from None
        except OSError as error:
            if isinstance(error.__cause__, _NotTaken):
                raise Silent from None
            raise Gone("") from None

    def receive(self, timeout: float) -> Any:
        """The next message. Raises Silent after `timeout` seconds, Gone, and Garbled."""
        if self._channel is None:
            raise Gone("")
        try:
            return unpack(self._channel.receive(timeout))
        except self._channel.TimeoutError:
            raise Silent from None
        except self._channel.RemoteError as error:
            raise Gone(str(error)) from None
        except EOFError:
            raise Gone("") from None
        except (ValueError, TypeError, struct.error) as error:
            raise Garbled(str(error)) from None

    def has_exited(self) -> bool:
        return self._process.poll() is not None

    def resident(self) -> int:
        """Bytes in memory; 0 if it is gone."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def trim_log(self) -> None:
        self._log.trim()

    def clear_log(self) -> None:
        self._log.clear()

    def said(self) -> tuple[str, ...]:
        """The last lines of its stderr and stdout, and the first if they are many."""
        return self._log.last_lines()

    def cause_of_death(self) -> str | None:
        """How it ended by itself, given a moment to; None if it has not."""
        try:
            status = self._process.wait(SECONDS_TO_DIE)
        except subprocess.TimeoutExpired:
            return None
        if status >= 0:
            return f"exit status {status}"
        try:
            return f"signal {-status} ({signal.Signals(-status).name})"
        except ValueError:
            return f"signal {-status}"

    def end(self) -> list[Any]:
        """Kills it and all that it started. Returns what it had said and nobody had received."""
        self._end()
        remaining: list[Any] = []
        until = time.monotonic() + SECONDS_TO_DIE
        believed = True
        while time.monotonic() < until:
            try:
                message = self.receive(GLANCE)
                if believed:
                    remaining.append(message)
            except Silent:
                continue
            except Garbled:
                believed = False
            except Gone:
                break
        self._channel = None
        self._pipes.close(until)
        self._log.close()
        return remaining


# ---- execnet: the only code here that depends on how it works inside


class _NotTaken(OSError):
    """The far side does not read."""


class _Pipes:
    """execnet's IO over a process of ours.

    Reading is done by execnet's receiver thread, writing by the session's; the descriptors are
    closed only when both are through, since a closed one's number may be another file's at once.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.execmodel = gateway_base.get_execmodel("thread")
        self.deadline = 0.0
        self.starting = True
        self.receiver_is_through = threading.Event()
        self._process = process
        self._in, self._out = process.stdout, process.stdin
        self._received = bytearray()
        self._at_header = False
        os.set_blocking(self._out.fileno(), False)

    def read(self, numbytes: int, /) -> bytes:
        while len(self._received) < numbytes:
            if self.starting:
                self._await(self._in, select.POLLIN)
            chunk = os.read(self._in.fileno(), 1 << 16)
            if not chunk:
                raise EOFError("the worker's end of the connection is closed")
            self._received += chunk
        taken = bytes(memoryview(self._received)[:numbytes])
        del self._received[:numbytes]
        if not self.starting:
            # Headers and payloads take turns.
            self._at_header = not self._at_header
            if self._at_header:
                _refuse_garbage(taken)
        return taken

    def write(self, data: bytes, /) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._out.fileno(), rest) :]
            except BlockingIOError:
                try:
                    self._await(self._out, select.POLLOUT)
                except EOFError as error:
                    raise BrokenPipeError(str(error)) from None

    def _await(self, stream: IO[bytes], event: int) -> None:
        poll = select.poll()
        poll.register(stream.fileno(), event)
        while not poll.poll(1000 * GLANCE):
            # A child of a dead worker may hold the other end open.
            if self._process.poll() is not None:
                raise EOFError("the worker is gone")
            if time.monotonic() > self.deadline:
                raise _NotTaken

    def close_read(self) -> None:
        self.receiver_is_through.set()

    def close_write(self) -> None:
        pass

    def wait(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        self._process.kill()

    def close(self, until: float) -> None:
        patience = max(0.0, until - time.monotonic())
        if not self.starting and not self.receiver_is_through.wait(patience):
            return  # a process that was not found holds the pipe; better two descriptors lost
        self._in.close()
        self._out.close()


def _refuse_garbage(header: bytes) -> None:
    """execnet would wait for as many bytes as any garbage seems to announce."""
    kind, _, size = struct.unpack("!bii", header)
    if kind not in gateway_base.Message._types or size < 0:
        raise EOFError("the worker sent no message of execnet")


def _opened(pipes: _Pipes, source: str, deadline: float) -> gateway_base.Channel | None:
    """A channel to `source`; None if what was started does not answer as a Python would.

    Raises Silent at the deadline.
    """
    pipes.deadline = deadline
    spec = execnet.XSpec("popen//execmodel=thread//id=worker")
    try:
        # Returns, too, if the connection ends early: the channel then says so.
        gateway_bootstrap.bootstrap_exec(pipes, spec)
    except _NotTaken:
        raise Silent from None
    except (AssertionError, OSError):
        return None
    pipes.starting = False
    gateway = execnet.Gateway(pipes, spec)
    try:
        return gateway.remote_exec(source)
    except OSError:
        return None


# ---- starting and ending processes


def _started(
    command: list[str], variables: Mapping[str, str], stderr: int
) -> subprocess.Popen[bytes]:
    """The process, started by a thread that lives as long as this process.

    A worker asks Linux to be killed when its parent dies, and there the parent is the thread that
    started it: a session used first in a short-lived thread would lose its worker.
    """
    answer: queue.SimpleQueue[subprocess.Popen[bytes] | Exception] = queue.SimpleQueue()

    def start() -> None:
        try:
            answer.put(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    bufsize=0,
                    env=variables,
                    # What a terminal sends to its foreground group is for the suite alone.
                    start_new_session=True,
                )
            )
        except Exception as error:
            answer.put(error)

    _starter().put(start)
    started = answer.get()
    if isinstance(started, Exception):
        raise started
    return started


_starters: dict[int, queue.SimpleQueue[Callable[[], None]]] = {}


def _starter() -> queue.SimpleQueue[Callable[[], None]]:
    # By process, because a fork takes no threads along.
    if os.getpid() not in _starters:
        jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

        def work() -> None:
            while True:
                jobs.get()()

        threading.Thread(target=work, name="bce-conformance-starter", daemon=True).start()
        _starters[os.getpid()] = jobs
    return _starters[os.getpid()]


def _end_everything(process: subprocess.Popen[bytes], mark: str, owner: int) -> None:
    """Kills the process and its descendants, those that left its session or lost their parent
    included: they carry its mark in their environment."""
    if os.getpid() != owner:
        return  # a fork of the suite; the worker is not its own
    descendants = _descendants(process.pid)
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS_TO_BE_KILLED)
    for _ in range(5):
        descendants += _marked(mark)
        if not descendants:
            return
        for descendant in descendants:
            with contextlib.suppress(psutil.Error):
                descendant.kill()
        until = time.monotonic() + SECONDS_TO_BE_KILLED
        while any(map(_lives, descendants)) and time.monotonic() < until:
            time.sleep(0.002)
        descendants = []


def _lives(process: psutil.Process) -> bool:
    # An ended one may stay in the list until whoever inherited it looks after it.
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _lines(text: bytes) -> list[str]:
    lines = text.decode("utf-8", "backslashreplace").splitlines()
    return [line[:LONGEST_LINE] for line in lines if line.strip()]


class _Log:
    """What a worker prints: an unnamed file, so that it survives a crash and leaves nothing."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="bce-conformance-")  # noqa: SIM115
        self.descriptor = self._file.fileno()
        self._before = b""
        self._last: tuple[str, ...] = ()
        # The worker then writes at the end again after the file was cut.
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, os.O_APPEND)

    def clear(self) -> None:
        self._before = b""
        if os.fstat(self.descriptor).st_size:
            os.ftruncate(self.descriptor, 0)

    def trim(self) -> None:
        """Bounds the file while a worker writes without end."""
        if os.fstat(self.descriptor).st_size > LARGEST_LOG:
            self._before = self._tail()
            os.ftruncate(self.descriptor, 0)

    def last_lines(self) -> tuple[str, ...]:
        if self._file.closed:
            return self._last
        lines = _lines(self._before + self._tail())
        if len(lines) <= LAST_LINES:
            return tuple(lines)
        # What went wrong stands first, often before a long trace.
        first = _lines(os.pread(self.descriptor, LAST_BYTES, 0))[:FIRST_LINES]
        return (*first, "[...]", *lines[-LAST_LINES:])

    def _tail(self) -> bytes:
        size = os.fstat(self.descriptor).st_size
        return os.pread(self.descriptor, LAST_BYTES, max(0, size - LAST_BYTES))

    def close(self) -> None:
        self._last = self.last_lines()
        self._file.close()
