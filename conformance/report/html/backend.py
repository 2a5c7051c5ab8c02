"""Which reports belong to one column of the matrix, and what is asked of them again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..diff import Change
from ..document import is_sweep
from .evidence import Held, Kept
from .view import GRAVEST, Count

Json = dict[str, Any]


@dataclass
class Backend:
    """The reports of one column: those of runs, and of sweeps."""

    anchor: str
    kept: list[Kept] = field(default_factory=list)
    changes: dict[tuple[str, str], list[Change]] = field(default_factory=dict)

    @property
    def first(self) -> Json:
        return self.kept[0].report

    @property
    def backend(self) -> Json:
        return dict(self.first["backend"])

    @property
    def held(self) -> list[Held]:
        return [Held(kept, check) for kept in self.kept for check in kept.report["checks"]]

    @property
    def rows(self) -> list[tuple[Kept, Json]]:
        return [(kept, row) for kept in self.kept for row in kept.report["accuracy"]]


def _key(report: Json) -> tuple[str, ...]:
    backend = report["backend"]
    return tuple(str(backend[k]) for k in ("adapter", "framework_version", "device", "mode"))


def backends(reports: Sequence[Kept]) -> list[Backend]:
    """Reports of one release, device and mode together; a second run of them stands apart.

    The releases of a framework stand side by side, in the order in which they are met.
    """
    found: dict[tuple[str, ...], Backend] = {}
    ordered = sorted(reports, key=lambda kept: is_sweep(kept.report))
    for kept in ordered:
        key, again = _key(kept.report), 1
        while not is_sweep(kept.report) and (*key, str(again)) in found:
            again += 1
        found.setdefault((*key, str(again)), Backend("")).kept.append(kept)
    frameworks = list(dict.fromkeys(key[0] for key in found))
    placed = sorted(found, key=lambda key: frameworks.index(key[0]))
    for index, key in enumerate(placed, 1):
        found[key].anchor = f"b{index}"
    return [found[key] for key in placed]


def counted(held: Iterable[Held]) -> tuple[Count, ...]:
    counts = Counter(each.verdict for each in held)
    return tuple(Count(v, counts[v]) for v in GRAVEST if counts[v])


def plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def bare(surface: str, framework: str) -> str:
    """A surface's name without its framework's, under which several frameworks have it."""
    return surface.removeprefix(f"{framework}.")
