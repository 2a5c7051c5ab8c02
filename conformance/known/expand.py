"""Entries with `each`: one template, one entry for every combination of its values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..casefile.build import validate
from ..casefile.load import label
from ..casefile.tree import Path_, Tree
from .model import EachSpec

PLACEHOLDER = re.compile(r"\{(\w+)\}")
FILLED = ("instead", "witness")


@dataclass(frozen=True)
class Entry:
    """The data of one expanded entry, and where its parts stand.

    origins maps the path (from the entry) of each filled part to the path of its value in `each`.
    """

    data: dict[str, Any]
    path: Path_
    origins: dict[Path_, Path_]

    def place(self, loc: Path_) -> Path_:
        """Where a part of the entry stands in the file."""
        for length in range(len(loc), 0, -1):
            if loc[:length] in self.origins:
                return (*self.origins[loc[:length]], *loc[length:])
        return (*self.path, *loc)


@dataclass(frozen=True)
class _Choice:
    """A value of `each`: as a check id names it, itself, and where it stands."""

    label: str
    value: Any
    path: Path_


def expanded(tree: Tree, data: dict[str, Any], path: Path_) -> Iterator[Entry]:
    """Every combination of the values of `each`. Raises CaseFileError."""
    spec = validate(tree, EachSpec, {k: v for k, v in data.items() if k == "each"}, _under(path))
    kept = {key: value for key, value in data.items() if key != "each"}
    for key, values in spec.each.items():
        if not values:
            raise tree.error((*path, "each", key), "expected at least one value")
    choices = [
        [_Choice(label(i, v), v, (*path, "each", key, i)) for i, v in enumerate(values)]
        for key, values in spec.each.items()
    ]
    for chosen in itertools.product(*choices):
        yield _Filler(tree, path, dict(zip(spec.each, chosen, strict=True)), {}).entry(kept)


def _under(path: Path_) -> Any:
    return lambda loc: (*path, *loc)


@dataclass(frozen=True)
class _Filler:
    tree: Tree
    path: Path_
    chosen: dict[str, _Choice]
    origins: dict[Path_, Path_]

    def entry(self, data: dict[str, Any]) -> Entry:
        filled = {k: self.fill(v, (k,)) if k in FILLED else v for k, v in data.items()}
        if isinstance(data.get("checks"), str):
            filled["checks"] = self.text(data["checks"], ("checks",))
        return Entry(filled, self.path, self.origins)

    def fill(self, data: Any, at: Path_) -> Any:
        """A placeholder that stands alone becomes the value; within a text, its label."""
        if isinstance(data, dict):
            return {key: self.fill(value, (*at, key)) for key, value in data.items()}
        if isinstance(data, list):
            return [self.fill(item, (*at, i)) for i, item in enumerate(data)]
        alone = PLACEHOLDER.fullmatch(data) if isinstance(data, str) else None
        if alone is None:
            return self.text(data, at) if isinstance(data, str) else data
        choice = self.choice(alone[1], at)
        self.origins[at] = choice.path
        return choice.value

    def text(self, text: str, at: Path_) -> str:
        return PLACEHOLDER.sub(lambda match: self.choice(match[1], at).label, text)

    def choice(self, name: str, at: Path_) -> _Choice:
        if name not in self.chosen:
            known = ", ".join(self.chosen) or "there is none"
            raise self.tree.error(
                (*self.path, *at), f"expected a key of `each` ({known}), not {name!r}"
            )
        return self.chosen[name]
