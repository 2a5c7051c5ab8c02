"""The words of the suite: what is asked of a framework, and what it answered.

Plain frozen data; nothing here knows a framework, a tolerance or an output format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import dtypes

ARGUMENTS = ("logits", "target", "weight", "pos_weight")
FORWARD = "forward"
GRADIENTS = ("grad.logits", "grad.target", "grad.weight", "grad.pos_weight")
HESSIAN = "hessian.logits"
QUANTITIES = (FORWARD, *GRADIENTS, HESSIAN)

Option = str | bool | None
Wire = dict[str, Any]


LAYOUTS = ("contiguous", "strided", "transposed", "expanded", "cycled")
"""How an argument lies in the framework's memory: strided is every second element of the last
axis, transposed has its axes reversed in memory, expanded has stride 0 along its first axis (whose
items are equal). cycled is contiguous there, but `Array.data` holds one period of it only."""


Number = TypeVar("Number", bound=np.generic)


def repeated(period: NDArray[Number], shape: tuple[int, ...]) -> NDArray[Number]:
    """The period over and over, as an array of one axis, of which it is a part.

    (numpy.resize joins it piece by piece, which takes longer than judging the result.)
    """
    whole = np.empty(shape, period.dtype)
    whole.reshape(-1, max(period.size, 1))[...] = period
    return whole


@dataclass(frozen=True)
class Array:
    """An array as its bits: little-endian, C order, in the carrier of its dtype.

    layout is one of LAYOUTS. data is the whole array whatever its layout, but for a cycled one of
    shape (n,), where it is the period, whose length divides n.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes = field(repr=False)
    layout: str = "contiguous"

    @classmethod
    def rounded(cls, dtype: str, values: NDArray[np.float64]) -> Array:
        """`values` rounded once to `dtype`; the suite judges what the backend is really given."""
        bits = np.ascontiguousarray(dtypes.from_float64(dtype, values))
        return cls(dtype, tuple(values.shape), bits.tobytes())

    @property
    def bits(self) -> NDArray[np.generic]:
        """The array in its carrier (uint16 for bfloat16), of shape `shape`."""
        bits = np.frombuffer(self.data, dtypes.CARRIERS[self.dtype])
        return repeated(bits, self.shape) if self.layout == "cycled" else bits.reshape(self.shape)

    @property
    def period(self) -> Array:
        """One period of a cycled array, as an array of its own; another array itself."""
        if self.layout != "cycled":
            return self
        count = len(self.data) // np.dtype(dtypes.CARRIERS[self.dtype]).itemsize
        return Array(self.dtype, (count,), self.data)

    @property
    def values(self) -> NDArray[np.float64]:
        """The exact values as float64, of shape `shape`."""
        return dtypes.to_float64(self.dtype, self.bits)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Of the whole array, a cycled one included."""
        return self.size * np.dtype(dtypes.CARRIERS[self.dtype]).itemsize

    def wire(self) -> Wire:
        kept: Wire = {"dtype": self.dtype, "shape": list(self.shape), "data": self.data}
        return kept if self.layout == "contiguous" else {**kept, "layout": self.layout}

    @classmethod
    def from_wire(cls, wire: Wire) -> Array:
        layout = wire.get("layout", "contiguous")
        return cls(wire["dtype"], tuple(wire["shape"]), wire["data"], layout)


@dataclass(frozen=True)
class Call:
    """One call of one surface.

    options holds further arguments by name exactly as they are passed, `reduction` among them; an
    absent one is not passed at all, so the framework's own default applies. `want` names the
    quantities asked for, the forward value first; `upstream` is the gradient that arrives at the
    loss (its shape is the output's), ones if absent. `beside` names arguments whose gradients are
    taken in the same backward pass as the one that is asked for: a release may have other code for
    a gradient that is wanted alone.
    """

    surface: str
    logits: Array
    target: Array
    weight: Array | None = None
    pos_weight: Array | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    want: tuple[str, ...] = (FORWARD,)
    upstream: Array | None = None
    along_with: tuple[str, ...] = ()

    def argument(self, name: str) -> Array | None:
        array = getattr(self, name)
        assert array is None or isinstance(array, Array)
        return array

    @property
    def reduction(self) -> str:
        """The reduction asked for; every document under test says that the default is 'mean'."""
        return str(self.options.get("reduction", "mean"))

    def wire(self, packed: Callable[[Array], Any] = Array.wire) -> Wire:
        """Builtin types only: what crosses to a worker of any Python and numpy version.

        packed: what stands for an array.
        """
        arguments = {name: self.argument(name) for name in ARGUMENTS}
        return {
            "surface": self.surface,
            "arguments": {n: None if a is None else packed(a) for n, a in arguments.items()},
            "options": dict(self.options),
            "want": list(self.want),
            "upstream": None if self.upstream is None else packed(self.upstream),
            **({"beside": list(self.along_with)} if self.along_with else {}),
        }

    @classmethod
    def from_wire(cls, wire: Wire) -> Call:
        arguments: dict[str, Any] = {
            n: a and Array.from_wire(a) for n, a in wire["arguments"].items()
        }
        return cls(
            along_with=tuple(wire.get("beside", ())),
            surface=wire["surface"],
            options=dict(wire["options"]),
            want=tuple(wire["want"]),
            upstream=wire["upstream"] and Array.from_wire(wire["upstream"]),
            **arguments,
        )


@dataclass(frozen=True)
class Raised:
    """The framework refused. `bases` are the names of all classes of the exception's MRO."""

    type: str
    bases: tuple[str, ...]
    message: str
    during: str


@dataclass(frozen=True)
class Unsupported:
    """The backend cannot be asked this at all: a dtype, device or mode that it does not have."""

    reason: str


@dataclass(frozen=True)
class Crashed:
    """The worker died. `cause` names the signal or the exit status; `stderr` its last lines."""

    cause: str
    stderr: tuple[str, ...]
    during: str


@dataclass(frozen=True)
class TimedOut:
    """The worker did not answer in time and was killed."""

    seconds: float
    stderr: tuple[str, ...]
    during: str


@dataclass(frozen=True)
class Faulty:
    """The adapter itself failed or broke its interface: a fault of ours, never an opt-out."""

    reason: str
    during: str


Failure = Raised | Unsupported | Crashed | TimedOut | Faulty


@dataclass(frozen=True)
class Outcome:
    """What came of a call: the quantities that were returned, and what stopped the rest, if any.

    A gradient may fail after the forward value was returned, so both can be present. changed names
    the arguments whose bits were not the same after the call.
    """

    values: Mapping[str, Array] = field(default_factory=dict)
    failure: Failure | None = None
    changed: tuple[str, ...] = ()

    def of(self, quantity: str) -> Array | Failure:
        """The value of a quantity, or why there is none."""
        if quantity in self.values:
            return self.values[quantity]
        return self.failure or Faulty(f"the adapter returned no {quantity}", quantity)


@dataclass(frozen=True)
class Backend:
    """Which release answered, where: the `backend` object of a report."""

    adapter: str
    framework_version: str
    device: str
    device_name: str
    platform_kind: str
    mode: str
    python: str
    numpy: str
    platform: str
    cpu_flags: tuple[str, ...]
    surfaces: tuple[str, ...]

    @property
    def where(self) -> dict[str, str]:
        """What an adapter needs, beside a call, to write the paste that makes it here."""
        return {
            "device": self.device,
            "mode": self.mode,
            "framework_version": self.framework_version,
        }
