"""What a release does instead of what is expected, in terms that the judge can test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..casefile.build import broadcasts, result_shape
from ..judging.rounded_sigmoid import QUANTITY
from ..model.call import ARGUMENTS, FORWARD, Array, Call
from ..model.expectation import (
    AgreesWithReference,
    But,
    Case,
    Expectation,
    HasValue,
    OnlyForm,
    Promise,
    Raises,
    Refuses,
)


@dataclass(frozen=True)
class Plus:
    """An argument with a number added to it."""

    addend: float


@dataclass(frozen=True)
class Element:
    """One element of an argument instead of all of them, counted in C order."""

    index: int


Replacement = str | float | Plus | Element | None
"""Of an argument: another argument's name, a number, the argument and a number more, one of its
elements, or None for its absence."""


class NothingSaid(ValueError):
    """The entry does not say what the release does in such a call; the message says why."""


@dataclass(frozen=True)
class Behaviour:
    """What happens instead. Only one of these is stated; shape and dtype may stand beside it:

    value       every element is this number
    raises      the call is refused with one of these exception types
    accepts     a call is accepted that was due to be refused
    crashes     the worker dies; no outcome conforms to that, so the question stays as it was
    changes     these arguments are changed in place; the result stays due as it was
    the formula of the call with the keys of `reference` replaced (of what was promised, where
    reference is None), within `slack` times the tolerance, but for the elements of `but`

    shape is the result's, or "broadcast": the arguments' together, the formula's logits and target
    included. dtype is the result's, or the name of the argument whose dtype it is.
    """

    value: float | None = None
    raises: tuple[str, ...] = ()
    accepts: bool = False
    crashes: bool = False
    changes: tuple[str, ...] = ()
    reference: Mapping[str, Replacement] | None = None
    but: But | None = None
    slack: float = 1.0
    another_count: bool = False
    logs_of_sigmoid: bool = False
    running_totals: int = 0
    shape: tuple[int, ...] | Literal["broadcast"] | None = None
    dtype: str | None = None

    @property
    def of_the_result(self) -> bool:
        """Whether it is said of the value returned or the exception, so that a judge can tell."""
        return not (self.crashes or self.changes)

    def expectation(self, case: Case, quantity: str) -> Expectation:
        """What to expect of one quantity of the question. Raises NothingSaid."""
        promise = self._promise(case, quantity)
        return Expectation(promise, self._shape(case, promise), self._dtype(case))

    def _promise(self, case: Case, quantity: str) -> Promise:
        expected = case.expectation.promise
        if self.raises:
            return Raises(self.raises)
        if self.accepts:
            if not isinstance(expected, (Refuses, Raises)):
                raise NothingSaid("`accepts` needs a case that must be refused")
            return OnlyForm()
        if self.value is not None:
            return HasValue((), (self.value,))
        if self.logs_of_sigmoid and quantity != QUANTITY:
            raise NothingSaid(f"logs_of_sigmoid is about {QUANTITY}")
        reference_call = self._reference_call(case.call, expected)
        _require_meaning(reference_call, case.call, quantity)
        return AgreesWithReference(
            reference_call,
            slack=self.slack,
            but=self.but,
            another_count=self.another_count,
            logs_of_sigmoid=self.logs_of_sigmoid,
            running_totals=self.running_totals,
        )

    def _reference_call(self, call: Call, expected: Promise) -> Call:
        if self.reference is not None:
            reference_call = _changed(call, self.reference)
        else:
            reference_call = (
                expected.reference_call if isinstance(expected, AgreesWithReference) else call
            )
        return _grown(reference_call) if self.shape == "broadcast" else reference_call

    def _shape(self, case: Case, promise: Promise) -> tuple[int, ...] | None:
        if self.shape == "broadcast":
            return result_shape(_grown(case.call))
        if self.shape is not None:
            return self.shape
        return None if isinstance(promise, AgreesWithReference) else case.expectation.shape

    def _dtype(self, case: Case) -> str | None:
        if self.dtype is None:
            return case.expectation.dtype
        if self.dtype not in ARGUMENTS:
            return self.dtype
        argument = case.call.argument(self.dtype)
        if argument is None:
            raise NothingSaid(f"the call has no {self.dtype} to take the dtype of")
        return argument.dtype


def _changed(call: Call, keys: Mapping[str, Replacement]) -> Call:
    """The call with these keys replaced."""
    arrays = {name: _replacement(call, name, how) for name, how in keys.items() if name in TENSORS}
    reduction = {"reduction": str(keys["reduction"])} if "reduction" in keys else {}
    return replace(call, options={**call.options, **reduction}, **arrays)  # type: ignore[arg-type]


TENSORS = (*ARGUMENTS, "upstream")


def _replacement(call: Call, name: str, how: Replacement) -> Array | None:
    if how is None:
        return None
    if isinstance(how, str):
        return call.argument(how)
    given = call.upstream if name == "upstream" else call.argument(name)
    if isinstance(how, Plus):
        # float64 holds the sum of two numbers of any other dtype; it is not rounded to theirs.
        return given and Array.rounded("float64", given.values + how.addend)
    if isinstance(how, Element):
        return given and _element(name, given, how.index)
    shape, dtype = ((), call.logits.dtype) if given is None else (given.shape, given.dtype)
    return Array.rounded(dtype, np.full(shape, how))


def _element(name: str, given: Array, index: int) -> Array:
    if index >= given.size:
        raise NothingSaid(f"{name} has no element {index}")
    return Array(given.dtype, (), given.bits.reshape(-1)[index : index + 1].tobytes())


def _grown(call: Call) -> Call:
    """The call with logits and target repeated to the shape of all arguments together."""
    given = [a for a in map(call.argument, ARGUMENTS) if a is not None]
    try:
        shape = np.broadcast_shapes(*(a.shape for a in given))
    except ValueError:
        raise NothingSaid("the arguments do not broadcast against each other") from None
    return replace(call, logits=_repeated(call.logits, shape), target=_repeated(call.target, shape))


def _repeated(array: Array, shape: tuple[int, ...]) -> Array:
    if array.shape == shape:
        return array
    return Array(array.dtype, shape, np.broadcast_to(array.bits, shape).tobytes())


def _require_meaning(reference_call: Call, call: Call, quantity: str) -> None:
    """Raises NothingSaid where the formula has no such quantity for the call as it is promised."""
    shape = reference_call.logits.shape
    if reference_call.target.shape != shape:
        raise NothingSaid("the formula needs a target of the logits' shape")
    for name in ("weight", "pos_weight"):
        array = reference_call.argument(name)
        if array is not None and not broadcasts(array.shape, shape):
            raise NothingSaid(f"the formula needs a {name} that broadcasts to the logits' shape")
    if reference_call.reduction not in ("none", "mean", "sum"):
        raise NothingSaid(f"the formula has no reduction {reference_call.reduction!r}")
    if quantity == FORWARD:
        return
    upstream = reference_call.upstream
    if upstream is not None and upstream.shape != result_shape(reference_call):
        raise NothingSaid("the formula's upstream gradient has the shape of its loss")
    name = quantity.split(".")[1]
    given, other = call.argument(name), reference_call.argument(name)
    if given is None or other is None or given.shape != other.shape:
        raise NothingSaid(f"a gradient needs {name} in the formula, of the shape that was given")
