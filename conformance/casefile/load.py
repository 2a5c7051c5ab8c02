"""From case files to questions, with file, line and column for everything that is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..dtypes import FLOATS
from ..question import (
    AgreesWithReference,
    Characterise,
    EqualsCall,
    Expectation,
    HasValue,
    OnlyForm,
    PrintedAs,
    Promise,
    Question,
    Raises,
    Source,
)
from ..vocabulary import ARGUMENTS, FORWARD, Array, Call
from .model import CALL_KEYS, ArraySpec, CallSpec, CaseSpec, FileSpec, Nested
from .tree import CaseFileError, Path_, Tree, read

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Unchecked:
    """A sentence of a document that no case holds, and why."""

    sentence: str
    why: str
    document: str | None


@dataclass(frozen=True)
class CaseFile:
    """A valid case file: its questions in order, and which sentences it leaves alone.

    quotations are all its (document file name, sentence) pairs, checked or not.
    """

    file: Path
    surface: str
    source: str
    questions: tuple[Question, ...]
    unchecked: tuple[Unchecked, ...]
    quotations: tuple[tuple[str | None, str], ...]


def case_files(paths: Iterable[Path]) -> list[Path]:
    """The YAML files among paths and below folders, sorted. Raises CaseFileError for none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml"))
            if not below:
                raise CaseFileError(path, 1, 1, "expected a folder with .yaml case files")
            found += below
        else:
            found.append(path)
    return found


def load_all(paths: Iterable[Path], surfaces: Iterable[str] | None = None) -> list[CaseFile]:
    """Every case file below paths. Raises CaseFileError for the first thing that is wrong.

    surfaces: all surfaces that some adapter has; a file about another one is an error.
    """
    files: list[CaseFile] = []
    seen: dict[str, Path] = {}
    known = None if surfaces is None else sorted(surfaces)
    for path in case_files(paths):
        tree = read(path)
        loaded = load(tree)
        if known is not None and loaded.surface not in known:
            expected = f"expected a surface (one of {', '.join(known)}), not {loaded.surface!r}"
            raise tree.error(("surface",), expected)
        for question in loaded.questions:
            if question.id in seen:
                clash = (
                    f"expected an id of its own: {question.id} stands in {seen[question.id]} too"
                )
                raise tree.error(("cases",), clash)
            seen[question.id] = path
        files.append(loaded)
    return files


def load(tree: Tree) -> CaseFile:
    """Validates one file and expands its cases."""
    if not isinstance(tree.data, dict):
        raise tree.error((), "expected a mapping with `surface`, `source` and `cases`")
    spec = _validate(tree, FileSpec, tree.data, lambda loc: loc)
    questions: list[Question] = []
    places: dict[str, int] = {}
    for index, case in enumerate(spec.cases):
        if case.id in places:
            what = f"expected each id once: {case.id!r} is the id of case {places[case.id] + 1} too"
            raise tree.error(("cases", index, "id"), what)
        places[case.id] = index
        questions += _expand(tree, spec, case, index)
    unchecked = tuple(
        Unchecked(n.claim, n.why, n.document or spec.document) for n in spec.not_checked
    )
    claims = [(case.document or spec.document, case.claim) for case in spec.cases]
    quotations = (*claims, *((u.document, u.sentence) for u in unchecked))
    return CaseFile(tree.file, spec.surface, spec.source, tuple(questions), unchecked, quotations)


# Each variant of a case: its label, its call as data, and which keys came from `each`.
Variant = tuple[str, dict[str, Any], dict[str, int]]


def _variants(tree: Tree, case: CaseSpec, index: int) -> Iterator[Variant]:
    for key, values in case.each.items():
        at: Path_ = ("cases", index, "each", key)
        if key not in CALL_KEYS:
            expected = f"expected a key of a call ({', '.join(CALL_KEYS)}), not {key!r}"
            raise tree.error((*at, "@"), expected)
        if not values:
            raise tree.error(at, "expected at least one value")
    choices = [list(enumerate(values)) for values in case.each.values()]
    for chosen in itertools.product(*choices):
        named = dict(zip(case.each, chosen, strict=True))
        label = ",".join(f"{key}={_label(i, value)}" for key, (i, value) in named.items())
        call = {**case.call, **{key: value for key, (_, value) in named.items()}}
        yield label, call, {key: i for key, (i, _) in named.items()}


def _label(index: int, value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, (str, bool, int, float)):
        return str(value)
    if isinstance(value, dict) and all(isinstance(v, (str, bool, int)) for v in value.values()):
        return "+".join(f"{k}:{v}" for k, v in value.items()) or "none"
    return f"#{index + 1}"


def _expand(tree: Tree, file: FileSpec, case: CaseSpec, index: int) -> Iterator[Question]:
    source = Source(case.source or file.source, " ".join(case.claim.split()))
    labels: set[str] = set()
    for label, data, chosen in _variants(tree, case, index):
        if label in labels:
            raise tree.error(
                ("cases", index, "each"), f"expected different values, not {label} twice"
            )
        labels.add(label)

        def place(loc: Path_, chosen: dict[str, int] = chosen) -> Path_:
            """Where a part of the expanded call stands in the file."""
            if loc and loc[0] in chosen:
                return ("cases", index, "each", loc[0], chosen[str(loc[0])], *loc[1:])
            return ("cases", index, "call", *loc)

        spec = _validate(tree, CallSpec, data, place)
        builder = _Builder(tree, file.surface, place, index)
        call = builder.call(spec)
        expectation = builder.expectation(case, spec, call)
        if not isinstance(expectation.promise, (Raises, Characterise, AgreesWithReference)):
            builder.require_broadcastable(call)
        suffix = f"[{label}]" if label else ""
        yield Question(
            id=f"{file.surface}/documented/{case.id}{suffix}",
            kind="documented",
            call=call,
            expectation=expectation,
            source=source,
            note=" ".join((case.note or "").split()),
            requires=case.requires,
        )


@dataclass(frozen=True)
class _Builder:
    """Makes calls and expectations of one case, knowing where its parts stand."""

    tree: Tree
    surface: str
    place: Any
    index: int

    def array(self, name: str, spec: ArraySpec | None, dtype: str, at: Path_) -> Array | None:
        if spec is None:
            return None
        dtype = spec.dtype or dtype
        values = spec.array()
        if dtype not in FLOATS and not np.array_equal(values, np.trunc(values)):
            raise self.tree.error(at, f"expected whole numbers for {name} of dtype {dtype}")
        return Array.rounded(dtype, values)

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
        return Call(surface=self.surface, options=options, want=want, **arrays)  # type: ignore[arg-type]

    def changed(self, spec: CallSpec, change: BaseModel) -> CallSpec:
        """`spec` with the keys that `change` states, null removing one."""
        return spec.model_copy(
            update={key: getattr(change, key) for key in change.model_fields_set}
        )

    def expectation(self, case: CaseSpec, spec: CallSpec, call: Call) -> Expectation:
        expect = case.expect
        promise = self.promise(case, spec, call)
        if expect.shape is None:
            return Expectation(promise, None, expect.dtype)
        shape = tuple(expect.shape)
        if isinstance(promise, (AgreesWithReference, HasValue, PrintedAs, EqualsCall)):
            self.require_result_shape(promise, call, shape)
        return Expectation(promise, shape, expect.dtype)

    def promise(self, case: CaseSpec, spec: CallSpec, call: Call) -> Promise:
        expect = case.expect
        if expect.reference is not None:
            promised = self.call(self.changed(spec, expect.reference))
            self.require_reduction(promised)
            self.require_broadcastable(promised)
            self.require_same_gradients(spec, call, promised)
            return AgreesWithReference(promised)
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
        return Characterise() if expect.characterise else OnlyForm()

    def stated(
        self, nested: Nested, call: Call, key: str
    ) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        due = call.logits.shape if call.reduction == "none" else ()
        if nested.shape not in (due, ()):
            expected = f"expected numbers of shape {list(due)}, not {list(nested.shape)}"
            raise self.tree.error(("cases", self.index, "expect", key), expected)
        return nested.shape, nested.leaves

    def require_reduction(self, promised: Call) -> None:
        if promised.reduction not in ("none", "mean", "sum"):
            at: Path_ = ("cases", self.index, "expect", "reference")
            what = f"{promised.reduction!r}: say which one the document promises"
            raise self.tree.error(at, f"expected the reduction none, mean or sum, not {what}")

    def require_result_shape(self, promise: Promise, call: Call, shape: tuple[int, ...]) -> None:
        """A value is judged element by element, so a stated shape has to be the value's own."""
        judged = promise.promised if isinstance(promise, AgreesWithReference) else call
        due = judged.logits.shape if judged.reduction == "none" else ()
        if shape != due:
            at: Path_ = ("cases", self.index, "expect", "shape")
            expected = f"expected the shape of the result, {list(due)}, not {list(shape)}"
            raise self.tree.error(at, expected)

    def require_same_gradients(self, spec: CallSpec, call: Call, promised: Call) -> None:
        """A gradient has the shape of the argument that was given, so the promised one must too."""
        for name in spec.gradients:
            given, other = call.argument(name), promised.argument(name)
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


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether `shape` broadcasts to `to` without growing it."""
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def _validate(tree: Tree, model: type[M], data: Any, place: Any) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # An unknown key is the likely reason for a missing one, so it is named first.
        details = sorted(
            error.errors(include_url=False), key=lambda d: d["type"] != "extra_forbidden"
        )
        detail = details[0]
        raise _located(tree, detail, place) from None


def _located(tree: Tree, detail: ErrorDetails, place: Any) -> CaseFileError:
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
