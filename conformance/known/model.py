"""What a file of known deviations may contain, as typed models; `load` gives each its meaning."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from ..casefile.model import (
    NUMBER,
    Exceptions,
    Expectations,
    OnlyTrue,
    Shape,
    Strict,
    Text,
    number,
    wrong,
)
from ..model.call import ARGUMENTS
from ..model.dtypes import CARRIERS
from ..model.expectation import But
from .behaviour import Behaviour, Element, Plus, Replacement


def _number(value: Any) -> float:
    try:
        return number(value)
    except (ValueError, OverflowError):
        raise wrong(f"{NUMBER}, not {value!r}") from None


def _slack(value: float) -> float:
    if not value > 1:
        raise wrong(f"how many times the tolerance, more than 1, not {value:g}")
    return value


def _replacement(value: Any) -> Replacement:
    if isinstance(value, dict) and set(value) == {"plus"}:
        return Plus(_number(value["plus"]))
    if isinstance(value, dict) and set(value) == {"element"}:
        return Element(_index(value["element"]))
    if value is None or (isinstance(value, str) and value in ARGUMENTS):
        return None if value is None else str(value)
    try:
        return number(value)
    except (ValueError, OverflowError):
        known = ", ".join(ARGUMENTS)
        raise wrong(
            f"null, a number or an argument ({known}), plus and a number, or element and its "
            f"index, not {value!r}"
        ) from None


def _index(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise wrong(f"the index of an element, from 0, not {value!r}")
    return value


def _where(value: dict[str, float]) -> dict[str, float]:
    for name in value:
        if name not in ARGUMENTS:
            raise wrong(f"arguments ({', '.join(ARGUMENTS)}), not {name!r}", name, "@")
    if not value:
        raise wrong("at least one argument and its value")
    return value


def _result_dtype(value: str) -> str:
    if value not in CARRIERS and value not in ARGUMENTS:
        known = ", ".join((*CARRIERS, *ARGUMENTS))
        raise wrong(f"a dtype, or the argument whose dtype it is ({known}), not {value!r}")
    return value


def _result_shape(value: Any) -> Any:
    if value != "broadcast" and not isinstance(value, list):
        raise wrong(f"a shape or the word broadcast, not {value!r}")
    return value


def _versions(value: Any) -> SpecifierSet:
    what = f"a version range (PEP 440, such as >=3.0,<=3.3.1), not {value!r}"
    if not isinstance(value, str) or not value.strip():
        raise wrong(what)
    try:
        return SpecifierSet(value)
    except InvalidSpecifier:
        raise wrong(what) from None


def _link(value: str) -> str:
    if not value.startswith(("https://", "http://")) or len(value.split()) != 1:
        raise wrong(f"a link, not {value!r}")
    return value


SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST_TITLE = 100


def _slug(value: str) -> str:
    if not SLUG.fullmatch(value):
        raise wrong(f"a finding's id such as grad-logits-at-zero, not {value!r}")
    return value


def _title(value: str) -> str:
    if len(" ".join(value.split())) > LONGEST_TITLE:
        raise wrong(f"a sentence of at most {LONGEST_TITLE} characters")
    return value


Number = Annotated[float, PlainValidator(_number)]
Replaced = Annotated[str | float | Plus | Element | None, PlainValidator(_replacement)]


class ButSpec(Strict):
    value: Number
    where: Annotated[dict[str, Number], AfterValidator(_where)]


class ReplacedSpec(Strict):
    """Keys of the call that the release's formula reads otherwise."""

    target: Replaced = None
    weight: Replaced = None
    pos_weight: Replaced = None
    upstream: Replaced = None
    reduction: Literal["none", "mean", "sum"] = "none"

    def replaced(self) -> dict[str, Replacement]:
        """The keys that are stated, in the order above."""
        stated = self.model_fields_set
        return {key: getattr(self, key) for key in type(self).model_fields if key in stated}


FORMULA = ("reference", "but", "slack", "another_count", "logs_of_sigmoid", "running_totals")
KINDS = ("value", "raises", "accepts", "crashes", "changes")
FORMS = ("shape", "dtype")


class BehaviourSpec(Strict):
    value: Number | None = None
    raises: Exceptions | None = None
    accepts: OnlyTrue | None = None
    crashes: OnlyTrue | None = None
    changes: list[Literal["logits", "target", "weight", "pos_weight"]] | None = None
    reference: ReplacedSpec | None = None
    but: ButSpec | None = None
    slack: Annotated[Number, AfterValidator(_slack)] | None = None
    another_count: OnlyTrue | None = None
    logs_of_sigmoid: OnlyTrue | None = None
    running_totals: Annotated[int, Field(gt=0)] | None = None
    shape: Annotated[Shape | Literal["broadcast"] | None, BeforeValidator(_result_shape)] = None
    dtype: Annotated[str, AfterValidator(_result_dtype)] | None = None

    def behaviour(self) -> Behaviour:
        but, reference = self.but, self.reference
        return Behaviour(
            value=self.value,
            raises=self.raises or (),
            accepts=bool(self.accepts),
            crashes=bool(self.crashes),
            changes=tuple(self.changes or ()),
            reference=None if reference is None else reference.replaced(),
            but=None if but is None else But(but.value, but.where),
            slack=self.slack or 1.0,
            another_count=bool(self.another_count),
            logs_of_sigmoid=bool(self.logs_of_sigmoid),
            running_totals=self.running_totals or 0,
            shape=tuple(self.shape) if isinstance(self.shape, list) else self.shape,
            dtype=self.dtype,
        )


def _one_kind(spec: BehaviourSpec) -> BehaviourSpec:
    stated = spec.model_fields_set
    for key in stated:
        if getattr(spec, key) is None or getattr(spec, key) == []:
            raise wrong(f"something for {key}, not nothing", key)
    kinds = [kind for kind in KINDS if kind in stated]
    if len(kinds) > 1 or (kinds and stated & set(FORMULA)):
        named = [key for key in (*KINDS, *FORMULA) if key in stated]
        raise wrong(f"one kind of behaviour, not {' and '.join(named)}")
    if not stated:
        raise wrong(f"one of {', '.join((*KINDS, *FORMULA, *FORMS))}")
    for form in FORMS:
        if form in stated and {"raises", "crashes", "changes"} & stated:
            raise wrong(f"no {form} beside {kinds[0]}", form)
    if isinstance(spec.shape, list) and not {"value", "accepts"} & stated:
        raise wrong(
            "a shape beside value or accepts; the formula's is its own or broadcast", "shape"
        )
    return spec


class WitnessSpec(Strict):
    """call is what is judged; before, a call that is made first in the same process."""

    call: dict[str, Any]
    before: dict[str, Any] | None = None
    expect: Expectations | None = None


class EntrySpec(Strict):
    """One entry, its placeholders filled."""

    checks: Text
    versions: Annotated[SpecifierSet, PlainValidator(_versions)]
    modes: list[str] = Field(default_factory=list)
    devices: list[Text] = Field(default_factory=list)
    axis: Literal["semantics", "accuracy"]
    id: Annotated[Text, AfterValidator(_slug)]
    title: Annotated[Text, AfterValidator(_title)]
    upstream: Annotated[str, AfterValidator(_link)] | None = None
    behaviour: Annotated[BehaviourSpec, AfterValidator(_one_kind)] = Field(alias="instead")
    witness: WitnessSpec


class KnownFileSpec(Strict):
    backend: Text
    known: list[dict[str, Any]]


class EachSpec(Strict):
    each: dict[str, list[Any]] = Field(default_factory=dict)
