"""Calls and expectations from their specifications, and errors with the place of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..model.call import ARGUMENTS, FORWARD, Array, Call
from ..model.dtypes import FLOATS
from ..model.expectation import (
    AgreesWithReference,
    Characterise,
    EqualsCall,
    Expectation,
    HasValue,
    OnlyForm,
    PrintedAs,
    Promise,
    Raises,
    Refuses,
)
from .model import ArraySpec, CallSpec, ExpectSpec, Nested
from .tree import CaseFileError, Path_, Tree

M = TypeVar("M", bound=BaseModel)
Place = Callable[[Path_], Path_]


@dataclass(frozen=True)
class Builder:
    """Makes calls and expectations of one case, knowing where its parts stand.

    place leads from a part of the call to where the file has it; expect is the expectation's path.
    """

    tree: Tree
    surface: str
    place: Place
    expect: Path_

    def array(self, name: str, spec: ArraySpec | None, dtype: str, at: Path_) -> Array | None:
        if spec is None:
            return None
        dtype = spec.dtype or dtype
        values = spec.array()
        if dtype not in FLOATS and not np.array_equal(values, np.trunc(values)):
            raise self.tree.error(at, f"expected whole numbers for {name} of dtype {dtype}")
        rounded = Array.rounded(dtype, values)
        shape = rounded.shape if spec.layout != "cycled" else tuple(spec.shape or ())
        return Array(dtype, shape, rounded.data, spec.layout)

    def call(self, spec: CallSpec) -> Call:
        arrays = {
            name: self.array(name, getattr(spec, name), spec.dtype, self.place((name,)))
            for name in ARGUMENTS
        }
        for name in ("logits", "target"):
            if arrays[name] is None:
                raise self.tree.error(self.place((name,)), f"expected {name}")
        options = dict(spec.options)
        if "reduction" in options:
            at = self.place(("options", "reduction"))
            raise self.tree.error(at, "expected reduction beside options, not in them")
        if spec.reduction is not None:
            options["reduction"] = spec.reduction
        want = (FORWARD, *(f"grad.{name}" for name in spec.gradients))
        for name in spec.gradients:
            if arrays[name] is None:
                raise self.tree.error(self.place(("gradients",)), f"expected {name} in the call")
        at = self.place(("upstream",))
        upstream = self.array("upstream", spec.upstream, spec.dtype, at)
        call = Call(surface=self.surface, options=options, want=want, upstream=upstream, **arrays)  # type: ignore[arg-type]
        if upstream is not None and upstream.shape != result_shape(call):
            expected = f"upstream of the loss's shape {list(result_shape(call))}"
            raise self.tree.error(at, f"expected {expected}, not {list(upstream.shape)}")
        return call

    def changed(self, spec: CallSpec, change: BaseModel) -> CallSpec:
        """`spec` with the keys that `change` states, null removing one."""
        return spec.model_copy(
            update={key: getattr(change, key) for key in change.model_fields_set}
        )

    def expectation(self, expect: ExpectSpec, spec: CallSpec, call: Call) -> Expectation:
        promise = self.promise(expect, spec, call)
        shape = None if expect.shape is None else tuple(expect.shape)
        valued = isinstance(promise, (AgreesWithReference, HasValue, PrintedAs, EqualsCall))
        if shape is not None and valued:
            self.require_result_shape(promise, call, shape)
        if not isinstance(promise, (Raises, Refuses, Characterise, AgreesWithReference)):
            self.require_broadcastable(call)
        return Expectation(promise, shape, expect.dtype)

    def promise(self, expect: ExpectSpec, spec: CallSpec, call: Call) -> Promise:
        if expect.reference is not None:
            reference_call = self.call(self.changed(spec, expect.reference))
            self.require_reduction(reference_call)
            self.require_broadcastable(reference_call)
            self.require_same_gradients(spec, call, reference_call)
            return AgreesWithReference(reference_call)
        if expect.equals is not None:
            other = self.call(self.changed(spec, expect.equals))
            self.require_broadcastable(other)
            return EqualsCall(other)
        if expect.value is not None:
            return HasValue(*self.stated(expect.value, call, "value"))
        if expect.printed is not None:
            return PrintedAs(*self.stated(expect.printed, call, "printed"))
        if expect.raises is not None:
            return Raises(expect.raises)
        if expect.refuses is not None:
            return Refuses(" ".join(expect.refuses.split()))
        return Characterise() if expect.characterise else OnlyForm()

    def stated(
        self, nested: Nested, call: Call, key: str
    ) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        expected = result_shape(call)
        if nested.shape not in (expected, ()):
            what = f"expected numbers of shape {list(expected)}, not {list(nested.shape)}"
            raise self.tree.error((*self.expect, key), what)
        return nested.shape, nested.leaves

    def require_reduction(self, reference_call: Call) -> None:
        if reference_call.reduction not in ("none", "mean", "sum"):
            at: Path_ = (*self.expect, "reference")
            what = f"{reference_call.reduction!r}: say which one the document promises"
            raise self.tree.error(at, f"expected the reduction none, mean or sum, not {what}")

    def require_result_shape(self, promise: Promise, call: Call, shape: tuple[int, ...]) -> None:
        """A value is judged element by element, so a stated shape has to be the value's own."""
        judged = promise.reference_call if isinstance(promise, AgreesWithReference) else call
        expected = result_shape(judged)
        if shape != expected:
            at: Path_ = (*self.expect, "shape")
            what = f"expected the shape of the result, {list(expected)}, not {list(shape)}"
            raise self.tree.error(at, what)

    def require_same_gradients(self, spec: CallSpec, call: Call, reference_call: Call) -> None:
        """A gradient has the shape of the argument that was given, so the promised one must too."""
        for name in spec.gradients:
            given, other = call.argument(name), reference_call.argument(name)
            if given is None or other is None or given.shape != other.shape:
                expected = f"expected {name} as the document promises it to have the call's shape"
                raise self.tree.error(self.place(("gradients",)), f"{expected}, for its gradient")

    def require_broadcastable(self, call: Call) -> None:
        shape = call.logits.shape
        if call.target.shape != shape:
            expected = f"expected target of the logits' shape {list(shape)}"
            raise self.tree.error(
                self.place(("target",)), f"{expected}, not {list(call.target.shape)}"
            )
        for name in ("weight", "pos_weight"):
            array = call.argument(name)
            if array is not None and not broadcasts(array.shape, shape):
                expected = f"expected {name} to broadcast to the logits' shape {list(shape)}"
                got = f"{list(array.shape)} (a case that expects `raises` may have it)"
                raise self.tree.error(self.place((name,)), f"{expected}, not {got}")


def result_shape(call: Call) -> tuple[int, ...]:
    """The shape of the loss that the formula gives for the call."""
    return call.logits.shape if call.reduction == "none" else ()


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether `shape` broadcasts to `to` without growing it."""
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def validate(tree: Tree, model: type[M], data: Any, place: Place) -> M:
    """`data` as `model`. Raises CaseFileError at the place of the first thing that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # An unknown key is the likely reason for a missing one, so it is named first.
        details = sorted(
            error.errors(include_url=False), key=lambda d: d["type"] != "extra_forbidden"
        )
        detail = details[0]
        raise _located(tree, detail, place) from None


def _located(tree: Tree, detail: ErrorDetails, place: Place) -> CaseFileError:
    loc: Path_ = (*detail["loc"], *detail.get("ctx", {}).get("at", ()))
    path: Path_ = place(loc)
    if path not in tree.places and "values" in path:  # the short form of an array has no such key
        path = tuple(part for part in path if part != "values")
    if detail["type"] == "missing":
        return tree.error(path[:-1], f"expected the key {loc[-1]!r}")
    if detail["type"] == "extra_forbidden":
        return tree.error((*path, "@"), f"expected a known key, not {loc[-1]!r}")
    return tree.error(path, _words(detail))


def _words(detail: ErrorDetails) -> str:
    if detail["type"] == "case":
        return str(detail["msg"])
    message = detail["msg"].removeprefix("Input should be ")
    if "valid dictionary or instance" in message:
        message = "a mapping"
    shown = detail["input"]
    given = repr(shown) if isinstance(shown, (str, int, float, bool)) or shown is None else "this"
    return f"expected {message}, not {given[:60]}"
