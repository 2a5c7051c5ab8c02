"""One self-contained file per framework, and the way to find them.

An adapter file defines NAME, NEEDS (which Pythons have the framework), MODES, SURFACES,
`open(device, mode)` and `reproduction(call, literal)`; `numpy.py` is the smallest and explains
each. FRAGILE, if there, names modes in which a refusal may leave the framework unfit to go
on. Third parties register theirs under the entry point group `bce_conformance.adapters`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

GROUP = "bce_conformance.adapters"
REQUIRED = ("NAME", "NEEDS", "MODES", "SURFACES", "open", "reproduction")


class AdapterError(Exception):
    """An adapter that cannot be used, in one line."""


@dataclass(frozen=True)
class AdapterFile:
    """An adapter as the suite sees it, without its framework: what it serves, and its source."""

    name: str
    needs: str
    modes: tuple[str, ...]
    surfaces: tuple[str, ...]
    file: Path
    reproduction: Callable[[dict[str, Any], Callable[[dict[str, Any]], str]], str]
    fragile: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        return self.file.read_text(encoding="utf-8")


def load(file: Path) -> AdapterFile:
    """The adapter in a file. Raises AdapterError where it is none."""
    module = module_of(file)
    missing = [name for name in REQUIRED if not hasattr(module, name)]
    if missing:
        raise AdapterError(f"{file}: expected an adapter file; it lacks {', '.join(missing)}")
    return AdapterFile(
        name=module.NAME,
        needs=module.NEEDS,
        modes=tuple(module.MODES),
        surfaces=tuple(module.SURFACES),
        file=file,
        reproduction=module.reproduction,
        fragile=tuple(getattr(module, "FRAGILE", ())),
    )


def module_of(file: Path) -> ModuleType:
    """The adapter file as a module of this process. Raises AdapterError."""
    spec = importlib.util.spec_from_file_location(f"bce_adapter_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise AdapterError(f"{file}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise AdapterError(f"{file}: {type(error).__name__}: {error}") from None
    return module


def builtin_files() -> list[Path]:
    return sorted(p for p in Path(__file__).parent.glob("*.py") if p.name != "__init__.py")


def registered_files() -> list[Path]:
    """Adapter files of other distributions, each an entry point that names its module."""
    files = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        spec = importlib.util.find_spec(point.module)
        if spec is None or spec.origin is None:
            raise AdapterError(f"entry point {point.name}: there is no module {point.module}")
        files.append(Path(spec.origin))
    return files


def available(extra: Path | None = None) -> dict[str, AdapterFile]:
    """Every adapter by name; a file given by hand takes the place of one of the same name."""
    files = [*builtin_files(), *registered_files(), *([extra] if extra else [])]
    return {adapter.name: adapter for adapter in map(load, files)}
