"""A failing call cut down: to its worst element, the fewest arguments, the simplest numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ..model.call import ARGUMENTS, Array, Call
from ..model.case_family import CaseFamily
from ..model.dtypes import FLOATS, from_float64
from ..model.expectation import AgreesWithReference, EqualsCall, SameAsEager
from .aggregate import GRAVITY, Example

Fails = Callable[[Call], Example | None]
"""Asks about a call again; the example if it fails as before, None if not (or cannot be asked)."""

TRIES = 80
TRIES_WHERE_COMPILED = 4
"""Each costs a compilation."""
TRIES_OF_A_CRASH = 6
"""Each costs a worker."""
FEW = 4
"""Elements up to which numbers are made simple one by one."""
SIMPLE = (1.0, -1.0, 2.0, 0.5, -2.0, 3.0, 10.0, -10.0, 100.0, -100.0, 0.0)


def shrinks(example: Example) -> bool:
    """Whether smaller calls can be asked about; elsewhere the shapes are the question."""
    promises = (AgreesWithReference, EqualsCall, SameAsEager)
    return isinstance(example.case.expectation.promise, promises)


def tries_for(example: Example, most: int) -> int:
    crash = GRAVITY[example.judgement.verdict] > GRAVITY["deviates"]
    return min(most, TRIES_OF_A_CRASH) if crash else most


def shrunk(example: Example, fails: Fails, tries: int = TRIES) -> Example:
    """The smallest example found that still fails; the same where nothing smaller does."""
    left = tries
    progress = True
    while progress and left > 0:
        progress = False
        for call in candidates(example):
            if left == 0:
                break
            left -= 1
            smaller = fails(call)
            if smaller is not None:
                example, progress = smaller, True
                break
    return example


@dataclass
class Witnesses:
    """The small calls found so far, for checks of the same name and quantity that fail later.

    What fails in one dtype mostly fails in the others: asked first, its witness needs no more
    shrinking. It is not shared between names, for these say which numbers a check is about.
    """

    _found: dict[tuple[str, ...], Call] = field(default_factory=dict)

    def keep(self, family: CaseFamily, call: Call) -> None:
        if call.logits.size <= FEW:
            self._found[_name_of(family)] = call

    def of_name(self, family: CaseFamily) -> Call | None:
        """As this series would ask it: the same numbers, in its dtype."""
        call = self._found.get(_name_of(family))
        if call is None or call.reduction not in ("none", family.reduction):
            return None
        return _mapped(call, partial(_of_dtype, own=call.logits.dtype, dtype=family.dtype))


def _name_of(family: CaseFamily) -> tuple[str, ...]:
    return family.surface, family.kind, family.name, family.quantity


def _of_dtype(array: Array, own: str, dtype: str) -> Array:
    """What was of the calls' own dtype in another one; an integer target stays what it is."""
    if array.dtype != own or own == dtype:
        return array
    return replace(Array.rounded(dtype, array.values), layout=array.layout)


def small(example: Example, most: int) -> Iterator[Call]:
    """Calls of at most `most` elements made from this one: its worst element, or its beginning."""
    call = example.case.call
    if call.reduction == "none" and call.logits.layout != "cycled":
        yield from _one_element(example)
    while call.logits.size > most:
        cuts = _fewer_periods(call) if call.logits.layout == "cycled" else _smaller(call)
        shorter = next(iter(cuts), call)
        if shorter is call:
            return
        call = shorter
    yield call


def candidates(example: Example) -> Iterator[Call]:
    """Calls that are simpler, the simplest first; each is a different way to go on."""
    call = example.case.call
    yield from _one_element(example)
    yield from _fewer_arguments(call)
    yield from _smaller(call)
    if call.logits.size <= FEW:
        yield from _simpler(call)


def _one_element(example: Example) -> Iterator[Call]:
    """The worst element alone; the first, where no element of the result is one of the logits."""
    call, worst = example.case.call, example.judgement.worst
    shape = call.logits.shape
    if call.logits.size <= 1 or call.logits.layout == "cycled":
        return
    at = worst if worst is not None and len(worst) == len(shape) else (0,) * len(shape)
    yield _mapped(call, lambda a: _element(a, at, shape, (1,)))


def _element(
    array: Array, at: tuple[int, ...], whole: tuple[int, ...], shape: tuple[int, ...]
) -> Array:
    if array.shape == () or array.size == 1:
        return Array(array.dtype, () if array.shape == () else shape, array.data)
    bits = np.broadcast_to(array.bits, whole)[at]
    return Array(array.dtype, shape, bits.tobytes())


def _mapped(call: Call, change: Callable[[Array], Array]) -> Call:
    given = {name: a for name in ARGUMENTS if (a := call.argument(name)) is not None}
    changed = {name: change(array) for name, array in given.items()}
    upstream = call.upstream and change(call.upstream)
    return replace(call, upstream=upstream, **changed)  # type: ignore[arg-type]


def _fewer_arguments(call: Call) -> Iterator[Call]:
    differentiated = {quantity.partition(".")[2] for quantity in call.want} | set(call.along_with)
    for name in call.along_with:
        yield replace(call, along_with=tuple(other for other in call.along_with if other != name))
    if call.upstream is not None:
        yield replace(call, upstream=None)
    if call.weight is not None and "weight" not in differentiated:
        yield replace(call, weight=None)
    if call.pos_weight is not None and "pos_weight" not in differentiated:
        yield replace(call, pos_weight=None)
    if call.reduction in ("mean", "sum") and call.upstream is None:
        yield replace(call, options={**call.options, "reduction": "none"})


def _smaller(call: Call) -> Iterator[Call]:
    """Halves along each axis, then one less; then without an axis of length 1."""
    shape = call.logits.shape
    if call.logits.layout == "cycled":
        yield from _fewer_periods(call)
        return
    for axis, length in enumerate(shape):
        if length > 1:
            half = length // 2
            for part in (slice(0, half), slice(half, length), slice(0, length - 1)):
                yield _mapped(call, partial(_sliced, axis=axis - len(shape), part=part,
                                            length=length))  # fmt: skip
    if 1 in shape and len(shape) > 1:
        axis = shape.index(1) - len(shape)
        yield _mapped(call, lambda a: _without(a, axis))


def _fewer_periods(call: Call) -> Iterator[Call]:
    period = call.logits.period.size
    periods = call.logits.size // period
    if periods > 1:
        n = (period * (periods // 2),)
        yield _mapped(call, lambda a: replace(a, shape=n) if a.layout == "cycled" else a)
    else:
        yield _mapped(call, lambda a: a.period if a.layout == "cycled" else a)


def _sliced(array: Array, axis: int, part: slice, length: int) -> Array:
    if len(array.shape) < -axis or array.shape[axis] != length:
        return array
    cut: list[slice] = [slice(None)] * len(array.shape)
    cut[axis] = part
    bits = array.bits[tuple(cut)]
    return Array(array.dtype, tuple(bits.shape), np.ascontiguousarray(bits).tobytes(), array.layout)


def _without(array: Array, axis: int) -> Array:
    if len(array.shape) < -axis:
        return array
    bits = array.bits.squeeze(axis)
    return Array(array.dtype, tuple(bits.shape), np.ascontiguousarray(bits).tobytes(), array.layout)


def _simpler(call: Call) -> Iterator[Call]:
    for name in ("weight", "pos_weight", "target", "logits"):
        given = call.argument(name)
        if given is None:
            continue
        for i, value in enumerate(given.values.ravel()):
            for simple in _simple(given.dtype, float(value)):
                changed: dict[str, Array] = {name: _with(given, i, simple)}
                yield replace(call, **changed)  # type: ignore[arg-type]
    if call.upstream is not None:
        for i, value in enumerate(call.upstream.values.ravel()):
            for simple in _simple(call.upstream.dtype, float(value)):
                yield replace(call, upstream=_with(call.upstream, i, simple))


def _simple(dtype: str, value: float) -> Iterator[float]:
    """Simpler numbers than this one: never a more complicated one, so that shrinking ends."""
    if not np.isfinite(value):
        return
    for simple in SIMPLE:
        if simple == value:
            return
        yield simple
    if dtype in FLOATS and value == float(np.float64(f"{value:.1g}")):
        return
    for digits in (1, 2, 3):
        rounded = float(f"{value:.{digits}g}")
        if rounded == value:
            return
        yield rounded


def _with(array: Array, at: int, value: float) -> Array:
    bits = array.bits.ravel().copy()
    bits[at] = from_float64(array.dtype, np.array([value]))[0]
    return Array(array.dtype, array.shape, bits.tobytes(), array.layout)
