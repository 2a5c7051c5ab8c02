"""A series: many questions of one kind whose answers make one check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from .call import FORWARD, Call
from .expectation import Case, Source

MakeCase = Callable[["CaseFamily", Call], Case | None]

KEYWORDS = ("weight", "pos_weight", "reduction")


@dataclass(frozen=True)
class Signature:
    """Which keyword arguments a loss takes, of KEYWORDS; and how it reduces if it takes no
    reduction."""

    arguments: tuple[str, ...] = KEYWORDS
    reduction: str = "mean"

    def takes(self, call: Call) -> bool:
        """Whether the loss can be called so."""
        weights = (name for name in ("weight", "pos_weight") if call.argument(name) is not None)
        return all(name in self.arguments for name in weights) and self.gives(call.reduction)

    def gives(self, reduction: str) -> bool:
        return "reduction" in self.arguments or reduction == self.reduction

    def reduced(self, reduction: str) -> str:
        """The reduction to ask for where any will do: this one, if it can be asked for."""
        return reduction if "reduction" in self.arguments else self.reduction

    def each(self, *reductions: str) -> tuple[str, ...]:
        """The reductions to ask for where any of these will do, each once."""
        return tuple(dict.fromkeys(map(self.reduced, reductions)))


EVERYTHING = Signature()


@dataclass(frozen=True)
class TestedSurface:
    """A surface as generated questions are put to it.

    needs_weights: it refuses a call without weight and pos_weight, so ones are passed;
    promised: the dtypes in which it must accept what the formula allows, as a loss of the
    user's own is; signature: what it takes.
    """

    surface: str
    needs_weights: bool = False
    must_accept: tuple[str, ...] = ()
    signature: Signature = EVERYTHING


@dataclass(frozen=True)
class CaseFamily:
    """What its questions have in common.

    make_case makes the question that the series asks about a call; None where it has none, which
    happens while a witness is being shrunk. everyday: its results count in the tolerance report.
    """

    name: str
    kind: str
    tested: TestedSurface
    dtype: str
    quantity: str
    reduction: str
    source: Source
    make_case: MakeCase = field(compare=False, repr=False)
    note: str = ""
    everyday: bool = False

    @property
    def surface(self) -> str:
        return self.tested.surface

    @cached_property
    def case_id(self) -> str:
        return f"{self.surface}/{self.kind}/{self.name}[{self.dtype},{self.reduction}]"

    @cached_property
    def check_id(self) -> str:
        return self.case_id + ("" if self.quantity == FORWARD else f":{self.quantity}")


PlannedCase = tuple[CaseFamily, Case]
"""One question, and the series that it counts in."""


@dataclass(frozen=True)
class Group:
    """Questions that are put together; its checks are complete when it ends.

    batches gives them in lists that go to the worker in one message each.
    """

    title: str
    batches: Callable[[tuple[TestedSurface, ...]], list[list[PlannedCase]]] = field(compare=False)
