"""From case files to questions, with file, line and column for everything that is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..model.expectation import Case, Source
from .build import Builder, validate
from .model import CALL_KEYS, CallSpec, CaseSpec, FileSpec
from .tree import CaseFileError, Path_, Tree, read


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
    cases: tuple[Case, ...]
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
        for case in loaded.cases:
            if case.id in seen:
                clash = f"expected an id of its own: {case.id} stands in {seen[case.id]} too"
                raise tree.error(("cases",), clash)
            seen[case.id] = path
        files.append(loaded)
    return files


def load(tree: Tree) -> CaseFile:
    """Validates one file and expands its cases."""
    if tree.data is None:
        raise tree.error((), "expected a case file with `surface` and `cases`, not nothing")
    if not isinstance(tree.data, dict):
        raise tree.error((), "expected a mapping with `surface`, `source` and `cases`")
    spec = validate(tree, FileSpec, tree.data, lambda loc: loc)
    cases: list[Case] = []
    places: dict[str, int] = {}
    for index, entry in enumerate(spec.cases):
        if entry.id in places:
            what = (
                f"expected each id once: {entry.id!r} is the id of case {places[entry.id] + 1} too"
            )
            raise tree.error(("cases", index, "id"), what)
        places[entry.id] = index
        cases += _expand(tree, spec, entry, index)
    unchecked = tuple(
        Unchecked(n.claim, n.why, n.document or spec.document) for n in spec.not_checked
    )
    claims = [(entry.document or spec.document, entry.claim) for entry in spec.cases]
    quotations = (*claims, *((u.document, u.sentence) for u in unchecked))
    return CaseFile(tree.file, spec.surface, spec.source, tuple(cases), unchecked, quotations)


# Each variant of a case: its label, its call as data, and which keys came from `each`.
Variant = tuple[str, dict[str, Any], dict[str, int]]


def _variants(tree: Tree, entry: CaseSpec, index: int) -> Iterator[Variant]:
    for key, values in entry.each.items():
        at: Path_ = ("cases", index, "each", key)
        if key not in CALL_KEYS:
            expected = f"expected a key of a call ({', '.join(CALL_KEYS)}), not {key!r}"
            raise tree.error((*at, "@"), expected)
        if not values:
            raise tree.error(at, "expected at least one value")
    choices = [list(enumerate(values)) for values in entry.each.values()]
    for chosen in itertools.product(*choices):
        named = dict(zip(entry.each, chosen, strict=True))
        name = ",".join(f"{key}={label(i, value)}" for key, (i, value) in named.items())
        call = {**entry.call, **{key: value for key, (_, value) in named.items()}}
        yield name, call, {key: i for key, (i, _) in named.items()}


def label(index: int, value: Any) -> str:
    """How a check id names one value of `each`, the index-th."""
    if value is None:
        return "default"
    if isinstance(value, (str, bool, int, float)):
        return str(value)
    if isinstance(value, dict) and all(isinstance(v, (str, bool, int)) for v in value.values()):
        return "+".join(f"{k}:{v}" for k, v in value.items()) or "none"
    return f"#{index + 1}"


def _expand(tree: Tree, file: FileSpec, entry: CaseSpec, index: int) -> Iterator[Case]:
    source = Source(entry.source or file.source, " ".join(entry.claim.split()))
    labels: set[str] = set()
    for name, data, chosen in _variants(tree, entry, index):
        if name in labels:
            raise tree.error(
                ("cases", index, "each"), f"expected different values, not {name} twice"
            )
        labels.add(name)

        def place(loc: Path_, chosen: dict[str, int] = chosen) -> Path_:
            """Where a part of the expanded call stands in the file."""
            if loc and loc[0] in chosen:
                return ("cases", index, "each", loc[0], chosen[str(loc[0])], *loc[1:])
            return ("cases", index, "call", *loc)

        spec = validate(tree, CallSpec, data, place)
        builder = Builder(tree, file.surface, place, ("cases", index, "expect"))
        call = builder.call(spec)
        expectation = builder.expectation(entry.expect, spec, call)
        suffix = f"[{name}]" if name else ""
        yield Case(
            id=f"{file.surface}/documented/{entry.id}{suffix}",
            kind="documented",
            call=call,
            expectation=expectation,
            source=source,
            note=" ".join((entry.note or "").split()),
            requires=entry.requires,
        )
