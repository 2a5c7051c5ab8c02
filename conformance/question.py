"""What the suite asks: a call, what is expected of it, and by which sentence.

Everything here can be written into a report and read back, so that a witness can be replayed.
"""

from __future__ import annotations

from dataclasses import dataclass

from .vocabulary import FORWARD, Call


@dataclass(frozen=True)
class AgreesWithReference:
    """The result is what the formula gives for `promised` (usually the call itself)."""

    promised: Call


@dataclass(frozen=True)
class HasValue:
    """The result is these real numbers, within the tolerance of the dtype."""

    shape: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class PrintedAs:
    """The result rounds to what the document prints: half a unit of the last digit."""

    shape: tuple[int, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Raises:
    """The call is refused with one of these exception types, or a subclass."""

    types: tuple[str, ...]


@dataclass(frozen=True)
class EqualsCall:
    """The result agrees with that of another call, within the tolerances of both."""

    other: Call


@dataclass(frozen=True)
class Characterise:
    """The documents leave it open: what happens is recorded, nothing is decided."""


@dataclass(frozen=True)
class OnlyForm:
    """Nothing is said of the value: only the shape and dtype stated are held."""


Promise = AgreesWithReference | HasValue | PrintedAs | Raises | EqualsCall | Characterise | OnlyForm


@dataclass(frozen=True)
class Expectation:
    promise: Promise
    shape: tuple[int, ...] | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Source:
    """Where a promise stands: the document and its sentence."""

    document: str
    sentence: str


@dataclass(frozen=True)
class Question:
    """One question to a backend; each quantity of its call becomes one check.

    requires names a platform (GPU, Ascend, …) without which the claim cannot be tested.
    """

    id: str
    kind: str
    call: Call
    expectation: Expectation
    source: Source
    note: str = ""
    requires: str | None = None

    @property
    def surface(self) -> str:
        return self.call.surface

    def check_id(self, quantity: str) -> str:
        return self.id if quantity == FORWARD else f"{self.id}:{quantity}"
