"""An adapter that misbehaves on request: the option `where` names a stage, `how` what it does.

Its values tell the calls apart: forward is twice the logits, each gradient three times.
"""

import ctypes
import os
import signal
import sys
import time

import numpy

NAME = "faulty"
NEEDS = "any Python 3 with numpy"
MODES = ("eager",)
SURFACES = ("faulty.loss", "faulty.pid", "faulty.layouts")

hoard = []


class Unprintable(ValueError):
    def __str__(self):
        raise RuntimeError("no words")


class OddlyNamed(ValueError):
    pass


OddlyNamed.__name__ = "Odd\nNäme"


def connection():
    """The worker's channel, taken from the frames below."""
    frame = sys._getframe()
    while "channel" not in frame.f_globals or "serve" not in frame.f_globals:
        frame = frame.f_back
    return frame.f_globals["channel"]


def pack(message):
    frame = sys._getframe()
    while "channel" not in frame.f_globals or "serve" not in frame.f_globals:
        frame = frame.f_back
    return frame.f_globals["pack"](message)


def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data) :]


def flood_without_end(descriptor):
    while True:
        os.write(descriptor, b"flood " * 10000 + b"\n")


def allocate():
    """32 times 16 MiB, touched."""
    for _ in range(32):
        hoard.append(bytearray(b"x") * (16 << 20))
        time.sleep(0.01)


def leave_a_child():
    if os.fork() == 0:
        time.sleep(1000)
        os._exit(0)


def leave_an_orphan():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    os.wait()


def fork_and_go_on_twice():
    os.fork()


def leave_a_child_and_die():
    leave_a_child()
    os.kill(os.getpid(), signal.SIGKILL)


def die_soon():
    if os.fork() == 0:
        time.sleep(0.05)
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(0)


def hold_the_gil():
    if "BCE_TEST_SIGN" in os.environ:
        os.close(os.open(os.environ["BCE_TEST_SIGN"], os.O_CREAT))
    ctypes.PyDLL(None).sleep(1000)


def print_much():
    for i in range(20000):
        print("printed", i)
    write_all(1, b"raw on 1\n" * 100000)
    write_all(2, b"raw on 2\n" * 100000)
    libc = ctypes.CDLL(None)
    libc.puts(b"from C")
    libc.fflush(None)


def die_once():
    """Dies unless it has done so before."""
    if not os.path.exists(os.environ["BCE_TEST_SIGN"]):
        os.close(os.open(os.environ["BCE_TEST_SIGN"], os.O_CREAT))
        os.kill(os.getpid(), signal.SIGKILL)


def raise_(error):
    raise error


class NotOffered(NotImplementedError):
    pass


HOW = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSEGV": lambda: ctypes.string_at(0),
    "SIGABRT": os.abort,
    "exit 0": lambda: os._exit(0),
    "exit 3": lambda: os._exit(3),
    "sys.exit": lambda: sys.exit(7),
    "raise": lambda: raise_(ValueError("not this")),
    "KeyboardInterrupt": lambda: raise_(KeyboardInterrupt("mine")),
    "NotImplementedError": lambda: raise_(NotImplementedError("no such thing")),
    "NotOffered": lambda: raise_(NotOffered("not in this mode")),
    "surrogate": lambda: raise_(ValueError("odd \ud800 and \udcff")),
    "ten megabytes": lambda: raise_(ValueError("é" * 5000000)),
    "unprintable": lambda: raise_(Unprintable()),
    "odd name": lambda: raise_(OddlyNamed("named oddly")),
    "recursion": lambda: HOW["recursion"](),
    "spin": lambda: exec("while True: pass"),
    "hold the GIL": hold_the_gil,
    "sleep": lambda: time.sleep(1000),
    "SIGSTOP": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "nap": lambda: time.sleep(0.01 * os.urandom(1)[0] / 255),
    "nap 0.3": lambda: time.sleep(0.3),
    "die once": die_once,
    "print": print_much,
    "flood 1": lambda: flood_without_end(1),
    "flood 2": lambda: flood_without_end(2),
    "allocate": allocate,
    "child": leave_a_child,
    "orphan": leave_an_orphan,
    "fork": fork_and_go_on_twice,
    "child, SIGKILL": leave_a_child_and_die,
    "die soon": die_soon,
    "close 1 and 2": lambda: os.closerange(1, 3),
    "close 2, SIGSEGV": lambda: (os.close(2), ctypes.string_at(0)),
    "close everything": lambda: os.closerange(0, 1000),
    "raw garbage": lambda: connection().gateway._io.write(b"\xffgarbage" * 1000),
    "huge header": lambda: connection().gateway._io.write(b"\x04\x00\x00\x00\x01\x7f\xff\xff\xff"),
    "unknown kind": lambda: connection().send(pack(("what", hear_own_serial()))),
    "not packed": lambda: connection().send({"surely": "not"}),
    "truncated": lambda: connection().send(pack(("at", hear_own_serial(), "x"))[:-3]),
    "terminate": lambda: connection().gateway._send(2),
    "stale": lambda: stale_answer(),
    "close channel": lambda: connection().gateway._send(5, connection().id),
}


def hear_own_serial():
    frame = sys._getframe()
    while "send" not in frame.f_locals or "serial" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["serial"]


def stale_answer():
    """A whole answer to the call before this one."""
    before = hear_own_serial() - 1
    array = {"dtype": "float64", "shape": [], "data": numpy.float64(-1).tobytes()}
    connection().send(pack(("value", before, "forward", array)))
    connection().send(pack(("done", before, None, (), 0.0)))


def open(device, mode):
    if device != "cpu":
        raise ValueError("no device {!r}".format(device))  # noqa: UP032
    where, _, how = mode.partition(": ")
    if where == "open":
        HOW[how]()
    return Adapter(where, how)


class Adapter:
    def __init__(self, where, how):
        self.where = where
        self.how = how

    def describe(self):
        if self.where == "describe":
            HOW[self.how]()
        return {"framework_version": "1", "device_name": "none", "platform_kind": "CPU"}

    def prepare(self, call):
        misbehave(call, "prepare")
        given = dict(call["arguments"], upstream=call["upstream"])
        self.given = {name: array for name, array in given.items() if array is not None}
        if call["options"].get("holds") == "other":
            self.given["logits"][1][0] += 1
        return call

    def inputs(self, call):
        for name, (dtype, array) in self.given.items():
            yield name, dtype, array

    def run(self, call):
        if call["surface"] == "faulty.pid":
            misbehave(call, "before")
            yield "forward", "int64", numpy.array(os.getpid())
            return
        if call["surface"] == "faulty.layouts":
            raise ValueError(str(call["layouts"]))
        logits = call["arguments"]["logits"][1].copy()
        if "changes" in call["options"]:
            CHANGES[call["options"]["changes"]](self.given)
        dtype = call["arguments"]["logits"][0]
        for count, quantity in enumerate(call["want"]):
            misbehave(call, "before" if count == 0 else "between")
            if call["options"].get("returns"):
                yield RETURNS[call["options"]["returns"]](logits)
                return
            yield quantity, dtype, logits * (2 if count == 0 else 3)
        misbehave(call, "after")


def add_one(name):
    def change(given):
        given[name][1][...] += 1  # in place: what arrives is writable

    return change


CHANGES = {
    "logits": add_one("logits"),
    "target": add_one("target"),
    "upstream": add_one("upstream"),
    "sign of zero": lambda given: given["logits"][1].__setitem__(-1, 0.0),
    "payload": lambda given: given["logits"][1].view("u8").__setitem__(1, 0x7FF8000000000123),
}
RETURNS = {
    "complex": lambda x: ("forward", "complex64", x.astype("complex64")),
    "other dtype": lambda x: ("forward", "float16", x),
    "no triple": lambda x: 17,
    "other quantity": lambda x: ("grad.weight", "float64", x),
    "object": lambda x: ("forward", "float64", [object()]),
    "huge": lambda x: ("forward", "float64", numpy.zeros(1 << 24)),
    "too huge": lambda x: ("forward", "float64", numpy.broadcast_to(numpy.float64(0), (1 << 29,))),
    "transposed": lambda x: ("forward", "float64", numpy.arange(6.0).reshape(2, 3).T),
    "big-endian": lambda x: ("forward", "float64", x.astype(">f8")),
}


def misbehave(call, stage):
    if call["options"].get("where") == stage:
        HOW[call["options"]["how"]]()
