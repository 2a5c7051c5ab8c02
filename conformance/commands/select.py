"""Which backends, in which interpreters, and which questions the arguments mean."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ..adapters import AdapterFile
from ..casefile import CaseFile, load_all
from ..model.dtypes import CARRIERS, FLOATS
from ..model.expectation import Case
from ..session import IsolatedSession, OwnLoss
from . import UsageError


@dataclass(frozen=True)
class Target:
    """An adapter and the interpreter to run it in."""

    adapter: AdapterFile
    python: str

    def session(
        self,
        device: str,
        mode: str,
        timeout: float,
        losses: Sequence[OwnLoss] = (),
        variables: Mapping[str, str] | None = None,
    ) -> IsolatedSession:
        """A worker in that interpreter, with environment variables. Raises BackendUnavailable."""
        return IsolatedSession(
            self.adapter.source,
            self.adapter.name,
            python=self.python,
            device=device,
            mode=mode,
            timeout=timeout,
            losses=losses,
            fragile=mode in self.adapter.fragile,
            # Idle threads of a framework would otherwise spin on the core that judges.
            variables={
                "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
                **(variables or {}),
            },
        )


def targets(
    named: Sequence[str], python: str | None, adapters: dict[str, AdapterFile]
) -> list[Target]:
    """NAME or NAME=PYTHON each. Raises UsageError for a name that no adapter has."""
    chosen = []
    for text in named:
        name, _, own = text.partition("=")
        if name not in adapters:
            raise UsageError(f"--backend: expected one of {', '.join(adapters)}, not {name!r}")
        chosen.append(Target(adapters[name], own or python or sys.executable))
    if len(set(chosen_keys := [(t.adapter.name, t.python) for t in chosen])) < len(chosen_keys):
        raise UsageError("--backend: expected each backend once")
    return chosen


def shipped_cases() -> Path:
    """The folder of the case files that are installed with the suite."""
    return Path(str(files("bce_conformance") / "cases" / "documented"))


def load_cases(paths: Sequence[Path], adapters: dict[str, AdapterFile]) -> list[CaseFile]:
    """The case files below paths, or the shipped ones. Raises CaseFileError.

    A file about a surface that none of the adapters has is an error.
    """
    surfaces = [surface for adapter in adapters.values() for surface in adapter.surfaces]
    return load_all(paths or [shipped_cases()], surfaces)


@dataclass(frozen=True)
class Filter:
    """Which questions are asked: empty sequences mean all."""

    surfaces: Sequence[str] = ()
    dtypes: Sequence[str] = ()
    shard: tuple[int, int] = (1, 1)

    @property
    def everything(self) -> bool:
        return not self.surfaces and not self.dtypes and self.shard == (1, 1)

    @property
    def floats(self) -> tuple[str, ...]:
        """The dtypes of what is generated."""
        return tuple(name for name in FLOATS if not self.dtypes or name in self.dtypes)

    def of(self, adapter: AdapterFile) -> tuple[str, ...]:
        """The adapter's surfaces that are meant."""
        return tuple(s for s in adapter.surfaces if not self.surfaces or s in self.surfaces)

    def cases(self, case_files: Sequence[CaseFile], adapter: AdapterFile) -> list[Case]:
        """The questions for an adapter's surfaces, in the order of the files."""
        tested = [q for file in case_files for q in file.cases if q.surface in adapter.surfaces]
        tested = [q for q in tested if not self.surfaces or q.surface in self.surfaces]
        tested = [q for q in tested if not self.dtypes or q.call.logits.dtype in self.dtypes]
        index, count = self.shard
        return tested[index - 1 :: count]


def parse_shard(text: str | None) -> tuple[int, int]:
    """I/N with 1 ≤ I ≤ N. Raises UsageError."""
    if text is None:
        return (1, 1)
    index, slash, count = text.partition("/")
    if slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return int(index), int(count)
    raise UsageError(f"--shard: expected I/N with 1 <= I <= N, not {text!r}")


def parse_losses(texts: Sequence[str]) -> tuple[OwnLoss, ...]:
    """FILE.py:CALLABLE each, as `--loss` takes them. Raises UsageError."""
    losses = tuple(map(_parse_loss, texts))
    surfaces = [loss.surface for loss in losses]
    for surface in surfaces:
        if surfaces.count(surface) > 1:
            raise UsageError(f"--loss: expected each {surface} once, whatever its folder")
    return losses


def _parse_loss(text: str) -> OwnLoss:
    name, colon, attribute = text.rpartition(":")
    if not colon or not name.endswith(".py") or not attribute.isidentifier():
        raise UsageError(f"--loss: expected FILE.py:CALLABLE, not {text!r}")
    file = Path(name).resolve()
    try:
        return OwnLoss(file, attribute, file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--loss: {name}: {getattr(error, 'strerror', error)}") from None


def require_known(
    surfaces: Sequence[str],
    dtypes: Sequence[str],
    chosen: Sequence[Target],
    losses: Sequence[OwnLoss],
) -> None:
    """Raises UsageError for a surface of no chosen backend, or a dtype that is none."""
    if losses and surfaces:
        raise UsageError("--surface: expected none beside --loss, which takes the place of all")
    known = [surface for target in chosen for surface in target.adapter.surfaces]
    for surface in surfaces:
        if surface not in known:
            raise UsageError(f"--surface: expected one of {', '.join(known)}, not {surface!r}")
    for dtype in dtypes:
        if dtype not in CARRIERS:
            raise UsageError(f"--dtype: expected one of {', '.join(CARRIERS)}, not {dtype!r}")
