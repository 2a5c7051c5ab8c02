"""What a case file may contain, as typed models; `load` gives each its meaning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

from ..model.call import ARGUMENTS, LAYOUTS
from ..model.dtypes import CARRIERS

MOST_ELEMENTS = 1 << 22
MOST_CYCLED = 1 << 26
"""Elements of an array of which only one period is kept."""
NUMBER = "a number (decimal, hexadecimal such as 0x1.8p3, inf, -inf or nan)"


class Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True
    )


@dataclass(frozen=True)
class Nested:
    """Nested lists of one shape: the leaves in C order."""

    shape: tuple[int, ...]
    leaves: tuple[Any, ...]


def wrong(expected: str, *at: int | str) -> PydanticCustomError:
    """A validation error; `at` leads from the field to the part of it that is wrong."""
    return PydanticCustomError("case", "expected {expected}", {"expected": expected, "at": at})


def number(value: Any) -> float:
    """A number as YAML or this project writes it. YAML 1.1 reads 1e-3 as text; here it is 0.001."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    if isinstance(value, str):
        text = value.strip().lower()
        if "0x" in text:
            return float.fromhex(text)
        if "_" in text:
            raise ValueError
        return float(text)
    result = float(value)
    if isinstance(value, int) and int(result) != value:
        raise ValueError
    return result


def _nested(value: Any, leaf: Any, what: str, at: tuple[int, ...] = ()) -> Nested:
    if not isinstance(value, list):
        try:
            return Nested((), (leaf(value),))
        except (ValueError, OverflowError):
            raise wrong(f"{what}, not {value!r}", *at) from None
    parts = [_nested(item, leaf, what, (*at, i)) for i, item in enumerate(value)]
    for i, part in enumerate(parts):
        if part.shape != parts[0].shape:
            shapes = f"{list(part.shape)} after {list(parts[0].shape)}"
            raise wrong(f"nested lists of one shape, not {shapes}", *at, i)
    inner = parts[0].shape if parts else ()
    return Nested((len(parts), *inner), tuple(leaf for part in parts for leaf in part.leaves))


def _numbers(value: Any) -> Nested:
    return _nested(value, number, NUMBER)


def _printed_leaf(value: Any) -> str:
    if not isinstance(value, str) or not math.isfinite(number(value)):
        raise ValueError
    return value.strip()


def _printed(value: Any) -> Nested:
    return _nested(value, _printed_leaf, 'a number as printed, in quotes ("2.6207")')


def _layout(value: str) -> str:
    if value not in LAYOUTS:
        raise wrong(f"a layout (one of {', '.join(LAYOUTS)}), not {value!r}")
    return value


def _dtype(value: str) -> str:
    if value not in CARRIERS:
        raise wrong(f"a dtype (one of {', '.join(CARRIERS)}), not {value!r}")
    return value


Numbers = Annotated[Nested, PlainValidator(_numbers)]
Printed = Annotated[Nested, PlainValidator(_printed)]
Dtype = Annotated[str, AfterValidator(_dtype)]
Layout = Annotated[str, AfterValidator(_layout)]
Shape = list[Annotated[int, Field(ge=0)]]


class ArraySpec(Strict):
    """{values} or {fill, shape} or {cycle, shape}, each with an optional dtype and layout."""

    values: Numbers | None = None
    fill: Numbers | None = None
    cycle: Numbers | None = None
    shape: Shape | None = None
    dtype: Dtype | None = None
    layout: Layout = "contiguous"

    def array(self) -> NDArray[np.float64]:
        """The numbers, not yet rounded to a dtype; of a cycled array only its period."""
        if self.values is not None:
            return np.array(self.values.leaves, dtype=np.float64).reshape(self.values.shape)
        source = self.fill if self.fill is not None else self.cycle
        assert source is not None and self.shape is not None
        numbers = np.array(source.leaves, dtype=np.float64)
        return numbers if self.layout == "cycled" else _repeated(numbers, self.shape)


def _repeated(numbers: NDArray[np.float64], shape: Shape) -> NDArray[np.float64]:
    """The numbers over and over, the last time in part. (numpy.resize joins them one by one.)"""
    size = math.prod(shape)
    whole = np.empty((-(-size // max(numbers.size, 1)), numbers.size))
    whole[...] = numbers.reshape(-1)
    return whole.reshape(-1)[:size].reshape(shape)


def _written_out(value: Any) -> Any:
    """A bare number or nested list is short for {values: …}."""
    return value if value is None or isinstance(value, dict) else {"values": value}


def _consistent(spec: ArraySpec | None) -> ArraySpec | None:
    if spec is None:
        return None
    ways = [way for way in ("values", "fill", "cycle") if getattr(spec, way) is not None]
    if len(ways) != 1:
        raise wrong("exactly one of values, fill and cycle")
    if (spec.shape is None) != (ways[0] == "values"):
        raise wrong("a shape with fill or cycle, and none with values")
    most = MOST_CYCLED if spec.layout == "cycled" else MOST_ELEMENTS
    if spec.shape is not None and math.prod(spec.shape) > most:
        raise wrong(f"at most {most} elements", "shape")
    if spec.cycle is not None and not spec.cycle.leaves:
        raise wrong("at least one number to repeat", "cycle")
    if spec.fill is not None and spec.fill.shape != ():
        raise wrong("one number to fill with", "fill")
    _can_lie_so(spec)
    return spec


def _can_lie_so(spec: ArraySpec) -> None:
    """Raises where an array of these numbers cannot have the layout."""
    if spec.layout == "cycled":
        period = len(spec.cycle.leaves) if spec.cycle is not None else 0
        if not period or spec.shape is None or len(spec.shape) != 1 or spec.shape[0] % period:
            raise wrong("a cycle whose length divides the one axis of the shape", "layout")
    elif spec.layout != "contiguous":
        numbers = spec.array()
        if numbers.ndim == 0:
            raise wrong(f"at least one axis for the layout {spec.layout}", "layout")
        same = np.array_equal(numbers, np.broadcast_to(numbers[:1], numbers.shape), equal_nan=True)
        if spec.layout == "expanded" and not same:
            raise wrong("equal items along the first axis of an expanded array", "layout")


AnArray = Annotated[ArraySpec | None, BeforeValidator(_written_out), AfterValidator(_consistent)]


def _reduction(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise wrong(f"a word for reduction, not {value!r}")
    return value


Reduction = Annotated[str | None, BeforeValidator(_reduction)]
Gradient = Literal["logits", "target", "weight", "pos_weight"]
OptionValue = bool | str | None


class CallSpec(Strict):
    logits: AnArray
    target: AnArray
    weight: AnArray = None
    pos_weight: AnArray = None
    dtype: Dtype = "float32"
    reduction: Reduction = None
    options: dict[str, OptionValue] = Field(default_factory=dict)
    gradients: list[Gradient] = Field(default_factory=list)
    upstream: AnArray = None


class CallChange(Strict):
    """Keys of a call that replace those of another; null removes."""

    logits: AnArray = None
    target: AnArray = None
    weight: AnArray = None
    pos_weight: AnArray = None
    dtype: Dtype | None = None
    reduction: Reduction = None
    options: dict[str, OptionValue] | None = None


class ReferenceSpec(Strict):
    """What the document promises instead of what the call literally says."""

    logits: AnArray = None
    target: AnArray = None
    weight: AnArray = None
    pos_weight: AnArray = None
    reduction: Reduction = None


def _true(value: Any) -> bool:
    if value is not True:
        raise wrong(f"true, not {value!r}")
    return True


def _reference_call(value: Any) -> Any:
    if value is True:
        return {}
    if not isinstance(value, dict):
        raise wrong("true, or a mapping of what the document promises")
    return value


def _names(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise wrong("the name of an exception type, or a list of them")
    return tuple(names)


def _sentence(value: str) -> str:
    if not value.strip():
        raise wrong("a sentence")
    return value


Text = Annotated[str, AfterValidator(_sentence)]
OnlyTrue = Annotated[bool, PlainValidator(_true)]
Exceptions = Annotated[tuple[str, ...], PlainValidator(_names)]


class ExpectSpec(Strict):
    reference: Annotated[ReferenceSpec | None, BeforeValidator(_reference_call)] = None
    value: Numbers | None = None
    printed: Printed | None = None
    raises: Exceptions | None = None
    refuses: Text | None = None
    equals: CallChange | None = None
    characterise: OnlyTrue | None = None
    shape: Shape | None = None
    dtype: Dtype | None = None


KINDS = ("reference", "value", "printed", "raises", "refuses", "equals", "characterise")


def _expect(spec: ExpectSpec) -> ExpectSpec:
    kinds = [kind for kind in KINDS if kind in spec.model_fields_set]
    if len(kinds) > 1:
        raise wrong(f"one kind of expectation, not {' and '.join(kinds)}")
    if not spec.model_fields_set:
        raise wrong(f"one of {', '.join(KINDS)}, shape or dtype")
    return spec


Expectations = Annotated[ExpectSpec, AfterValidator(_expect)]


def _identifier(value: str) -> str:
    if not value or not all(c.isalnum() or c in "-_." for c in value):
        raise wrong(f"an id of letters, digits, '-', '_' and '.', not {value!r}")
    return value


class CaseSpec(Strict):
    id: Annotated[str, AfterValidator(_identifier)]
    claim: Text
    note: Text | None = None
    document: str | None = None
    source: str | None = None
    each: dict[str, list[Any]] = Field(default_factory=dict)
    call: dict[str, Any]
    expect: Expectations
    requires: Text | None = None


class NotChecked(Strict):
    claim: Text
    why: Text
    document: str | None = None


class FileSpec(Strict):
    surface: Text
    source: Text
    document: str | None = None
    cases: list[CaseSpec]
    not_checked: list[NotChecked] = Field(default_factory=list)


CALL_KEYS = tuple(CallSpec.model_fields)
assert set(ARGUMENTS) < set(CALL_KEYS)
