"""What runs beside the framework: takes calls, hands them to the adapter, sends back what came.

This file is sent as text, with an adapter's, into the interpreter under test, where nothing of the
suite is installed: Python 3.8 and numpy, no relative import, no newer syntax. `perform` is also
what `LocalSession` runs in process.

Every message is a list (kind, serial, …), packed. Serial 0 is the start:

    ("at", serial, stage)             the worker begins this stage; the first one of a call says
                                      that the call has begun
    ("value", serial, quantity, array)
    ("done", serial, failure)         failure: None, ("raised", type, bases, message, during) or
                                      ("unsupported", reason) or ("faulty", reason, during)
    ("ready", 0, about)               the adapter is open; what answers, and where
    ("refused", 0, stage, type, message)
"""

from __future__ import annotations

import faulthandler
import importlib.abc
import importlib.util
import json
import linecache
import os
import platform
import re
import signal
import struct
import sys
from typing import Any, Callable, Iterator, Tuple, Type

import numpy

# The table of the suite's dtypes module, which is not there to be imported.
CARRIERS = {
    "float16": "<f2",
    "bfloat16": "<u2",
    "float32": "<f4",
    "float64": "<f8",
    "bool": "|b1",
    "uint8": "|u1",
    "int8": "|i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
}

PREPARE = "prepare"
FINISH = "finish"
LONGEST_TEXT = 8000
LARGEST_ARRAY = 2**31 - 2**20  # execnet counts a message's bytes in 31 bits
NUMERIC_FLAGS = re.compile(
    r"(s?sse|avx|fma|amx|f16c|asimd|neon|sve|sme(?!p)|fphp|bf16|vfp|vsx|altivec)"
)

Send = Callable[..., None]


def pack(message: Any) -> bytes:
    """A message as bytes: the length of a JSON text, the text, and the bytes in it one by one.

    execnet's own serializer takes several times as long, and refuses what UTF-8 cannot encode.
    """
    blobs = []

    def aside(value: Any) -> Any:
        if not isinstance(value, bytes):
            raise TypeError("no message can hold %s" % type(value).__name__)
        blobs.append(value)
        return {"bytes": len(value)}

    head = json.dumps(message, default=aside).encode("ascii")
    return b"".join([struct.pack("!I", len(head)), head, *blobs])


def unpack(data: bytes) -> Any:
    """The message in `data`. Raises ValueError if there is none."""
    if not isinstance(data, bytes) or len(data) < 4:
        raise ValueError("not a packed message")
    start = 4 + struct.unpack("!I", data[:4])[0]
    position = [start]

    def restored(found: Any) -> Any:
        if len(found) != 1 or "bytes" not in found:
            return found
        begin = position[0]
        position[0] += found["bytes"]
        return data[begin : position[0]]

    message = json.loads(data[4:start].decode("ascii"), object_hook=restored)
    if position[0] != len(data):
        raise ValueError("a packed message of %d bytes, not %d" % (position[0], len(data)))
    return message


def text(value: object) -> str:
    """str(value), of bounded length and encodable, whatever value does when it is asked."""
    try:
        encoded = str.encode(str(value), "utf-8", "backslashreplace")
    except BaseException as error:
        return "<no text: str() raised %s>" % type(error).__name__
    if len(encoded) > LONGEST_TEXT:
        half = LONGEST_TEXT // 2
        left_out = b" [... %d bytes left out ...] " % (len(encoded) - 2 * half)
        encoded = encoded[:half] + left_out + encoded[-half:]
    # Twice, because the cut may have gone through a character.
    return encoded.decode("utf-8", "replace")


def class_name(cls: type) -> str:
    # A metaclass may have made __name__ anything.
    return text(type.__dict__["__name__"].__get__(cls))


def described(error: BaseException) -> str:
    return "%s: %s" % (class_name(type(error)), text(error))


def decoded(wire: Any) -> Any:
    """(dtype, writable array in the carrier) of an array on the wire."""
    if wire is None:
        return None
    bits = numpy.frombuffer(wire["data"], CARRIERS[wire["dtype"]]).reshape(wire["shape"])
    return wire["dtype"], bits.copy()


def encoded(dtype: Any, value: Any) -> Any:
    """An array for the wire. Raises TypeError for what the suite has no carrier for."""
    carrier = CARRIERS.get(dtype)
    if carrier is None:
        raise TypeError("a result of dtype %s" % text(dtype))
    array = numpy.asarray(value)
    if array.dtype != numpy.dtype(carrier):
        raise TypeError("a result said to be %s in an array of %s" % (dtype, array.dtype))
    if array.nbytes > LARGEST_ARRAY:
        raise TypeError("a result of %d bytes" % array.nbytes)
    data = numpy.ascontiguousarray(array, carrier).tobytes()
    return {"dtype": str(dtype), "shape": [int(n) for n in array.shape], "data": data}


def perform(
    adapter: Any,
    wire: Any,
    send: Send,
    refusal: Tuple[Type[BaseException], ...] = (BaseException,),
) -> None:
    """Runs one call and sends its stages, values and end, as the module's docstring says.

    wire: a call on the wire; send: called with a message less its serial;
    refusal: what counts as the framework's refusal if raised; the rest passes through.
    """
    send("at", PREPARE)
    try:
        call = dict(wire)
        call["arguments"] = {n: decoded(a) for n, a in wire["arguments"].items()}
        call["upstream"] = decoded(wire["upstream"])
        prepared = adapter.prepare(call)
    except NotImplementedError as error:
        send("done", ("unsupported", text(error) or "not implemented"))
        return
    except refusal as error:
        send("done", ("faulty", "preparing the arguments raised " + described(error), "prepare"))
        return
    send("done", _compute(adapter, prepared, list(wire["want"]), send, refusal))


def _compute(
    adapter: Any,
    prepared: Any,
    want: Any,
    send: Send,
    refusal: Tuple[Type[BaseException], ...],
) -> Any:
    """Sends the values as they come; what stopped the rest, or None."""
    stages = [*want, FINISH]
    # A NotImplementedError of the adapter's own class is its word, not the framework's.
    home = type(adapter).__module__
    send("at", stages[0])
    given: Iterator[Any] = iter(())
    count = 0
    while True:
        try:
            # The call of run itself is inside: a plain function that returns a list will do.
            if count == 0:
                given = iter(adapter.run(prepared))
            item = next(given)
        except StopIteration:
            return None
        except refusal as error:
            kind = type(error)
            if isinstance(error, NotImplementedError) and kind.__module__ == home:
                return "unsupported", text(error)
            bases = tuple(class_name(base) for base in kind.__mro__)
            return "raised", class_name(kind), bases, text(error), stages[count]
        if count == len(want):
            return "faulty", "the adapter returned more than it was asked for", stages[count]
        try:
            quantity, dtype, value = item
            if quantity != want[count]:
                raise ValueError("%s instead of %s" % (text(quantity), want[count]))
            array = encoded(dtype, value)
        except refusal as error:
            reason = "the adapter returned what cannot be sent: " + described(error)
            return "faulty", reason, stages[count]
        count += 1
        send("value", want[count - 1], array)


def about(module: Any, adapter: Any) -> Any:
    """What answers, and where: the fields of the suite's Backend but the device and the mode."""
    described = adapter.describe()
    fields = {
        name: text(described[name])
        for name in ("framework_version", "device_name", "platform_kind")
    }
    fields.update(
        python=platform.python_version(),
        numpy=numpy.__version__,
        platform=platform.platform(),
    )
    return dict(fields, cpu_flags=cpu_flags(), surfaces=[text(s) for s in module.SURFACES])


def cpu_flags() -> Any:
    """The instruction sets that numerical libraries choose their kernels by; [] if not told."""
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            for line in cpuinfo:
                name, _, flags = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return sorted({f for f in flags.split() if NUMERIC_FLAGS.match(f)})
    except OSError:
        pass
    return []


class _Source(importlib.abc.InspectLoader):
    """A module from text, with its source at hand: compilers of frameworks read it back."""

    def __init__(self, source: str) -> None:
        self.source = source

    def get_source(self, fullname: str) -> str:
        return self.source


def load(source: str, name: str) -> Any:
    """The module of an adapter's source."""
    full_name = "bce_conformance_adapter_" + re.sub(r"\W", "_", name)
    file_name = "<adapter %s>" % name
    spec = importlib.util.spec_from_loader(full_name, _Source(source), origin=file_name)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = file_name
    # No modification time: linecache then never looks for the file.
    linecache.cache[file_name] = (len(source), None, source.splitlines(True), file_name)
    sys.modules[full_name] = module
    exec(compile(source, file_name, "exec"), module.__dict__)
    return module


def contain() -> None:
    """Keeps this process from hurting whoever started it, or outliving them."""
    # What is printed goes where stderr goes, a file; the protocol has its own descriptors.
    os.dup2(2, 1)
    # Its own descriptor, because an adapter or a framework may close 2. One thread: the others
    # are of the connection.
    faulthandler.enable(os.dup(2), all_threads=False)
    # Ctrl-C on a terminal reaches the whole process group; whoever started this decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    except (ImportError, OSError, ValueError):
        pass
    if sys.platform.startswith("linux"):
        try:
            import ctypes

            pr_set_pdeathsig = 1
            ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL), 0, 0, 0)
        except (ImportError, OSError, AttributeError):
            pass  # the end of the connection remains


def serve(channel: Any) -> None:
    """The worker's life: one request that opens the adapter, then calls until the end."""
    contain()
    own = os.getpid()

    def tell(kind: str, serial: int, *fields: Any) -> None:
        # An adapter may fork, and the child may come back here: only one of them may speak.
        if os.getpid() != own:
            os._exit(0)
        try:
            channel.send(pack((kind, serial, *fields)))
        except OSError:
            os._exit(74)  # nobody can be told anything any more

    request = unpack(channel.receive())
    stage = "import"
    try:
        tell("at", 0, "start of the adapter")
        module = load(request["source"], request["name"])
        stage = "open"
        tell("at", 0, "open")
        adapter = module.open(request["device"], request["mode"])
        stage = "describe"
        tell("at", 0, "describe")
        fields = about(module, adapter)
    except BaseException as error:
        tell("refused", 0, stage, class_name(type(error)), text(error))
        return
    tell("ready", 0, dict(fields, pid=own))
    while True:
        try:
            serial, wire = unpack(channel.receive())
        except EOFError:
            # At once: teardown at exit is where frameworks hang.
            os._exit(0)

        def send(kind: str, *fields: Any, serial: int = serial) -> None:
            tell(kind, serial, *fields)

        perform(adapter, wire, send)


if __name__ == "__channelexec__":
    serve(channel)  # type: ignore[name-defined]  # noqa: F821
