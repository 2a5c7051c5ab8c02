"""What the suite asks: a call, what is expected of it, and by which sentence.

Everything here can be written into a report and read back, so that a witness can be replayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .call import FORWARD, Call


@dataclass(frozen=True)
class But:
    """An exception to the formula: `value` at the elements where each argument named in `where`
    (name → value) has that value; everywhere, if it names none."""

    value: float
    where: Mapping[str, float]


@dataclass(frozen=True)
class AgreesWithReference:
    """The result is what the formula gives for `promised` (usually the call itself).

    optional: no document promises that the call is accepted, so a refusal is recorded only.

    The rest says what a release is known to do instead, and is left alone in every other place.
    slack: how many times the tolerance the result may be off; but: where it is something else;
    another_count: the mean is divided by another number of elements than there are, any one;
    logs_of_sigmoid: ∂L/∂y is made of log σ(x) and log(1 − σ(x)) with σ(x) rounded before;
    running_totals: elements are added up one after the other, in so many totals; 0: pairwise.
    """

    reference_call: Call
    optional: bool = False
    slack: float = 1.0
    but: But | None = None
    another_count: bool = False
    logs_of_sigmoid: bool = False
    running_totals: int = 0


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
    """The result is `factor` times that of another call, within the tolerances of both.

    order: flat indices into the other result, in the order of this one's elements; None: the same.
    """

    other: Call
    factor: float = 1.0
    order: tuple[int, ...] | None = None
    optional: bool = False


@dataclass(frozen=True)
class Repeatable:
    """Asked again after the calls `between`, which may fail, the call gives the same result."""

    between: tuple[Call, ...]


@dataclass(frozen=True)
class SameAsEager:
    """The call gives what it gives in eager mode, within the tolerances of both."""


@dataclass(frozen=True)
class Refuses:
    """The formula has no meaning for the call: any refusal will do, and any result deviates."""

    why: str


@dataclass(frozen=True)
class Characterise:
    """The documents leave it open: what happens is recorded, nothing is decided."""


@dataclass(frozen=True)
class OnlyForm:
    """Nothing is said of the value: only the shape and dtype stated are held."""

    optional: bool = False


@dataclass(frozen=True)
class LeavesArguments:
    """Whatever comes of the call, its arguments have the same bits afterwards."""


Promise = (
    AgreesWithReference
    | HasValue
    | PrintedAs
    | Raises
    | EqualsCall
    | Repeatable
    | SameAsEager
    | Refuses
    | Characterise
    | OnlyForm
    | LeavesArguments
)


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
class Case:
    """One question to a backend; each quantity of its call becomes one check.

    requires names a platform (GPU, Ascend, …) without which the claim cannot be tested. before
    holds calls that are made first, in the same process: what is expected does not depend on them.
    """

    id: str
    kind: str
    call: Call
    expectation: Expectation
    source: Source
    note: str = ""
    requires: str | None = None
    before: tuple[Call, ...] = ()

    @property
    def surface(self) -> str:
        return self.call.surface

    @property
    def calls(self) -> tuple[Call, ...]:
        """What has to be run, in this order; what the call is compared with comes last."""
        promise = self.expectation.promise
        if isinstance(promise, EqualsCall):
            return *self.before, self.call, promise.other
        if isinstance(promise, Repeatable):
            return *self.before, self.call, *promise.between, self.call
        return *self.before, self.call

    def check_id(self, quantity: str) -> str:
        return self.id if quantity == FORWARD else f"{self.id}:{quantity}"
