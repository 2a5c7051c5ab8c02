"""What runs beside the framework: takes calls, hands them to the adapter, sends back what came.

This file is sent as text, with an adapter's, into the interpreter under test, where nothing of the
suite is installed: Python 3.8 and numpy, no relative import, no newer syntax. `perform` is also
what `LocalSession` runs in process.

After the request that starts it, it is asked

    ("call", serial, wire)            one call, answered as it goes along
    ("batch", serial, arrays, wires)  many calls, whose arguments are positions in `arrays`
    ("tiles", serial, asked)          one call on many logits in a row (see `perform_tiles`)

Every message that it sends is a list (kind, serial, …), packed. Serial 0 is the start:

    ("at", serial, stage)             the worker begins this stage; the first one of a call says
                                      that the call has begun. In a batch: a sign of life between
                                      two calls, the stage is the next one's index
    ("value", serial, quantity, array)
    ("done", serial, failure, changed, seconds)
                                      failure: None, ("raised", type, bases, message, during) or
                                      ("unsupported", reason) or ("faulty", reason, during);
                                      changed: names of arguments that are not as they were sent;
                                      seconds: what the adapter's run took
    ("all", serial, answers)          the end of a batch: ((quantity, array) …), failure, changed
                                      and seconds of each call
    ("over", serial, failure, seconds, alone)
                                      the end of tiles, whose results went through shared memory
    ("ready", 0, about)               the adapter is open; what answers, and where
    ("refused", 0, stage, type, message)
"""

from __future__ import annotations

import faulthandler
import importlib.abc
import importlib.util
import json
import linecache
import mmap
import os
import platform
import re
import signal
import struct
import sys
import time
from typing import Any, Callable, ClassVar, Dict, Iterator, List, Optional, Set, Tuple, Type

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
SIGN_OF_LIFE = 0.1
"""Seconds between two signs of life in a batch: one for each call would cost more than the call."""
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
    bits = numpy.frombuffer(wire["data"], CARRIERS[wire["dtype"]])
    if wire.get("layout") == "cycled":
        return wire["dtype"], repeated(bits, wire["shape"])
    return wire["dtype"], bits.reshape(wire["shape"]).copy()


def repeated(period: Any, shape: Any) -> Any:
    """The period over and over, as an array of one axis (numpy.resize joins it piece by piece)."""
    whole = numpy.empty(shape, period.dtype)
    whole.reshape(-1, max(period.size, 1))[...] = period
    return whole


def holds(dtype: Any, array: Any, wire: Any) -> bool:
    """Whether (dtype, array) has the bits of an array on the wire; NaN payloads may differ."""
    held = numpy.asarray(array)
    if dtype != wire["dtype"] or list(held.shape) != wire["shape"]:
        return False
    cycled = wire.get("layout") == "cycled"
    if held.size == 0 or (not cycled and held.tobytes() == wire["data"]):
        return True
    if held.dtype != numpy.dtype(CARRIERS[dtype]):
        return False
    given = numpy.frombuffer(wire["data"], held.dtype)
    held = numpy.ascontiguousarray(held).reshape(-1, given.size)
    word = "u%d" % given.itemsize
    differ = held.view(word) != given.view(word)
    return not differ.any() or not (differ & ~(is_nan(dtype, held) & is_nan(dtype, given))).any()


def is_nan(dtype: Any, array: Any) -> Any:
    return (array & 0x7FFF) > 0x7F80 if dtype == "bfloat16" else array != array


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
    sure: Optional[Set[int]] = None,
) -> None:
    """Runs one call and sends its stages, values and end, as the module's docstring says.

    wire: a call on the wire; send: called with a message less its serial;
    refusal: what counts as the framework's refusal if raised; the rest passes through;
    sure: ids of arrays on the wire that the framework is known to hold as they were sent.
    """
    send("at", PREPARE)
    given = given_arrays(wire)
    choose(adapter, wire["surface"])
    try:
        prepared = adapter.prepare(decoded_call(wire))
        if sure is None or not sure.issuperset(map(id, given.values())):
            for name in not_held(adapter, prepared, given):
                raise ValueError("%s: the framework does not hold the bits that it was sent" % name)
    except NotImplementedError as error:
        send("done", ("unsupported", text(error) or "not implemented"), (), 0.0)
        return
    except refusal as error:
        reason = "preparing the arguments raised " + described(error)
        send("done", ("faulty", reason, PREPARE), (), 0.0)
        return
    if sure is not None:
        sure.update(map(id, given.values()))
    clock = Clock()
    failure = _compute(adapter, prepared, list(wire["want"]), send, refusal, clock)
    changed: List[str] = []
    try:
        changed = not_held(adapter, prepared, given)
    except refusal as error:
        reason = "looking at the arguments after the call raised " + described(error)
        failure = failure or ("faulty", reason, FINISH)
    send("done", failure, changed, clock.seconds)


def perform_batch(adapter: Any, arrays: Any, wires: Any, alive: Callable[[int], None]) -> Any:
    """The answers to many calls; alive is told the index of a call before it is run."""
    sure: Set[int] = set()
    answers = []
    for index, wire in enumerate(wires):
        alive(index)
        arguments = {n: None if at is None else arrays[at] for n, at in wire["arguments"].items()}
        upstream = None if wire["upstream"] is None else arrays[wire["upstream"]]
        values: List[Any] = []
        ends: List[Any] = []

        def keep(kind: str, *fields: Any, values: Any = values, ends: Any = ends) -> None:
            if kind == "value":
                values.append(fields)
            elif kind == "done":
                ends.extend(fields)

        whole = dict(wire, arguments=arguments, upstream=upstream)
        perform(adapter, whole, keep, sure=sure)
        answers.append((values, *ends))
    return answers


def perform_tiles(
    adapter: Any,
    tested: Any,
    send: Send,
    refusal: Tuple[Type[BaseException], ...] = (BaseException,),
) -> None:
    """Runs one call on logits whose bits follow each other, tile by tile, into shared memory.

    asked: call (on the wire; its logits are replaced), first and count of the bits, length of a
    tile, ring, and alone: ranges of bits that are run before without handing anything over, so that
    the framework's time is known that nothing else takes part in.
    """
    ring = Ring.opened(tested["ring"])
    inside, alone = Clock(), Clock()
    failure: Any = None
    left = -(-tested["count"] // tested["length"])
    try:
        tiles = Tiles(adapter, tested)
        if tested["alone"]:
            ring.drain()
            tiles.timed(tested["alone"], alone, refusal)
        for tile in tiles.of(tested["first"], tested["count"]):
            ring.put(tiles.result(*tile, clock=inside))
            left -= 1
    except refusal as error:
        kind = type(error)
        bases = tuple(class_name(base) for base in kind.__mro__)
        failure = ("raised", class_name(kind), bases, text(error), tested["call"]["want"][0])
    for _ in range(left):
        ring.skip()
    ring.tell()
    send("over", failure, inside.seconds, alone.seconds)


class Tiles:
    """One call whose logits are replaced, tile after tile, by the next ones."""

    def __init__(self, adapter: Any, tested: Any) -> None:
        self.adapter = adapter
        choose(adapter, tested["call"]["surface"])
        self.call = decoded_call(tested["call"])
        self.length = tested["length"]
        self.dtype, logits = self.call["arguments"]["logits"]
        self.carrier = logits.dtype
        self.words = numpy.empty(self.length, "<u%d" % logits.dtype.itemsize)
        self.steps = numpy.arange(self.length, dtype=self.words.dtype)

    def of(self, first: int, count: int) -> Iterator[Tuple[int, int]]:
        """The tiles of a range of bits, as ranges of bits."""
        for start in range(0, count, self.length):
            yield first + start, min(self.length, count - start)

    def timed(self, ranges: Any, clock: "Clock", refusal: Tuple[Type[BaseException], ...]) -> None:
        """Runs ranges of bits for nothing but the time they take; what is refused shows later."""
        try:
            for first, count in ranges:
                for tile in self.of(first, count):
                    self.result(*tile, clock=clock)
        except refusal:
            pass

    def result(self, first: int, count: int, clock: "Clock") -> Any:
        """The result for `count` logits, a tile at most, whose bits follow each other."""
        numpy.add(self.steps, self.words.dtype.type(first), out=self.words)
        given = {name: self.cut(pair, count) for name, pair in self.call["arguments"].items()}
        given["logits"] = (self.dtype, self.words.view(self.carrier)[:count])
        with clock:
            prepared = self.adapter.prepare(dict(self.call, arguments=given))
            ((_, dtype, value),) = self.adapter.run(prepared)
        value = numpy.asarray(value)
        if dtype != self.dtype or value.shape != (count,):
            raise ValueError(
                "%s of shape %s for %d %s logits" % (dtype, value.shape, count, self.dtype)
            )
        return value

    def cut(self, pair: Any, count: int) -> Any:
        return pair and (pair[0], pair[1] if pair[1].size == 1 else pair[1][:count])


class Ring:
    """Shared memory for results: slots that are filled one after the other and given back.

    spec: memory, a file; filled and free, two named pipes; slots, how many; bytes, of each; slot,
    the next; lot, how many slots are told of at a time, for it takes as long as a tile to wake the
    other side. A byte in `filled` says that the next slot is, or (if it is an x) that nothing will
    come; a byte in `free` gives a slot back.
    """

    kept: ClassVar[Dict[str, "Ring"]] = {}

    @classmethod
    def opened(cls, spec: Any) -> "Ring":
        """The ring in that memory, which stays open: to map it anew costs as much as some tiles."""
        ring = cls.kept.get(spec["memory"])
        if ring is None:
            for old in cls.kept.values():
                old.close()
            ring = cls(spec)
            cls.kept = {spec["memory"]: ring}
        ring.slot = spec["slot"]
        return ring

    def __init__(self, spec: Any) -> None:
        self.slots, self.size, self.slot = spec["slots"], spec["bytes"], spec["slot"]
        with open(spec["memory"], "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)
        self.filled, self.free = (os.open(spec[name], os.O_RDWR) for name in ("filled", "free"))
        self.lot, self.untold = spec["lot"], b""
        self.mine = 0

    def put(self, array: Any) -> None:
        self.wait(1)
        place = numpy.frombuffer(self.memory, array.dtype, array.size, self.slot * self.size)
        place[...] = array
        self.pass_on(b".")

    def skip(self) -> None:
        self.wait(1)
        self.pass_on(b"x")

    def pass_on(self, sign: bytes) -> None:
        self.mine -= 1
        self.slot = (self.slot + 1) % self.slots
        self.untold += sign
        if len(self.untold) == self.lot:
            self.tell()

    def tell(self) -> None:
        """The other side learns of all slots that are filled."""
        os.write(self.filled, self.untold)
        self.untold = b""

    def drain(self) -> None:
        """Waits until every slot is given back."""
        self.wait(self.slots)

    def wait(self, count: int) -> None:
        while self.mine < count:
            self.mine += len(os.read(self.free, self.slots))

    def close(self) -> None:
        os.close(self.filled)
        os.close(self.free)
        self.memory.close()


def given_arrays(wire: Any) -> Dict[str, Any]:
    """The arrays of a call on the wire by name, the upstream gradient among them."""
    arrays = dict(wire["arguments"], upstream=wire["upstream"])
    return {name: array for name, array in arrays.items() if array is not None}


def decoded_call(wire: Any) -> Dict[str, Any]:
    """What an adapter's prepare takes."""
    given = given_arrays(wire)
    return dict(
        wire,
        arguments={n: decoded(a) for n, a in wire["arguments"].items()},
        upstream=decoded(wire["upstream"]),
        # A cycled array is an ordinary one as soon as it is decoded.
        layouts={
            n: a["layout"] for n, a in given.items() if a.get("layout") not in (None, "cycled")
        },
    )


def not_held(adapter: Any, prepared: Any, given: Dict[str, Any]) -> List[str]:
    """The arguments whose bits are not those that were sent, as far as the adapter shows them."""
    if not hasattr(adapter, "inputs"):
        return []
    shown = adapter.inputs(prepared)
    return [name for name, dtype, array in shown if not holds(dtype, array, given[name])]


class Clock:
    """Adds up the time spent in `with` blocks, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *raised: Any) -> None:
        self.seconds += time.perf_counter() - self.started


def _compute(
    adapter: Any,
    prepared: Any,
    want: Any,
    send: Send,
    refusal: Tuple[Type[BaseException], ...],
    clock: Clock,
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
            with clock:
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
    return module_of(source, full_name, "<adapter %s>" % name)


def module_of(source: str, full_name: str, file_name: str) -> Any:
    """A module made of text."""
    spec = importlib.util.spec_from_loader(full_name, _Source(source), origin=file_name)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = file_name
    # No modification time: linecache then never looks for the file.
    linecache.cache[file_name] = (len(source), None, source.splitlines(True), file_name)
    sys.modules[full_name] = module
    exec(compile(source, file_name, "exec"), module.__dict__)
    return module


class NoOwnLoss(Exception):
    """A loss of the user's own that cannot be had: the file, what was expected, what came."""


def own_surface(loss: Any) -> str:
    """What reports call a loss of the user's own."""
    return "%s:%s" % (os.path.basename(loss["file"]), loss["callable"])


def hand_over(losses: Dict[str, Any], adapter: Any) -> None:
    """Puts losses of the user's own, by surface, in the place of the framework's.

    Raises NoOwnLoss if the adapter takes none.
    """
    if not hasattr(adapter, "own_loss"):
        name = ", ".join(sorted(losses))
        raise NoOwnLoss("%s: this adapter does not take a loss of one's own" % name)
    adapter.own_losses = losses


def choose(adapter: Any, surface: str) -> None:
    """The loss of one's own that a surface means; one that is alone is meant by every surface."""
    losses = getattr(adapter, "own_losses", None)
    if losses:
        (first, *others) = losses.values()
        adapter.own_loss = losses[surface] if others else first


def own_losses(losses: Any) -> Dict[str, Any]:
    """The callables of users' files by surface, or of a file's source where it is not here.

    losses: file, callable and source of an OwnLoss each. A file is imported once, whatever many of
    its callables are meant. Raises NoOwnLoss.
    """
    modules: Dict[str, Any] = {}
    found = {}
    for loss in losses:
        file, name = loss["file"], loss["callable"]
        expected = "%s: expected a Python file that defines the function %s; " % (file, name)
        if file not in modules:
            modules[file] = _imported(file, loss["source"], expected)
        if not hasattr(modules[file], name):
            raise NoOwnLoss(expected + "it defines no %s" % name)
        own_loss = getattr(modules[file], name)
        if not callable(own_loss):
            raise NoOwnLoss(expected + "its %s is of type %s" % (name, class_name(type(own_loss))))
        found[own_surface(loss)] = own_loss
    return found


def _imported(file: str, source: str, expected: str) -> Any:
    if not os.path.isfile(file) and not source:
        raise NoOwnLoss(expected + "there is no such file")
    try:
        return _own_module(file, source)
    except BaseException as error:
        raise NoOwnLoss(expected + "importing it raised " + described(error)) from error


def _own_module(file: str, source: str) -> Any:
    stem = os.path.splitext(os.path.basename(file))[0]
    full_name = "bce_conformance_own_loss_" + re.sub(r"\W", "_", stem)
    if not os.path.isfile(file):
        return module_of(source, full_name, "<loss %s>" % file)
    # What stands beside the file is imported as it would be if the file were run.
    sys.path.insert(0, os.path.dirname(file))
    spec = importlib.util.spec_from_file_location(full_name, file)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module
    spec.loader.exec_module(module)
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
        if request["losses"]:
            stage = "loss"
            tell("at", 0, "import of the loss")
            hand_over(own_losses(request["losses"]), adapter)
            fields["surfaces"] = list(adapter.own_losses)
    except BaseException as error:
        tell("refused", 0, stage, class_name(type(error)), text(error))
        return
    tell("ready", 0, dict(fields, pid=own))
    while True:
        try:
            kind, serial, *tested = unpack(channel.receive())
        except EOFError:
            # At once: teardown at exit is where frameworks hang.
            os._exit(0)

        def send(kind: str, *fields: Any, serial: int = serial) -> None:
            tell(kind, serial, *fields)

        if kind == "call":
            (wire,) = tested
            perform(adapter, wire, send)
        elif kind == "tiles":
            perform_tiles(adapter, tested[0], send)
        else:
            arrays, wires = tested
            send("all", perform_batch(adapter, arrays, wires, signs_of_life(send)))


def signs_of_life(send: Send) -> Callable[[int], None]:
    """Says how far a batch is, at once and then no more often than is needed."""
    expected = [0.0]

    def alive(index: int) -> None:
        now = time.monotonic()
        if now >= expected[0]:
            expected[0] = now + SIGN_OF_LIFE
            send("at", index)

    return alive


if __name__ == "__channelexec__":
    serve(channel)  # type: ignore[name-defined]  # noqa: F821
