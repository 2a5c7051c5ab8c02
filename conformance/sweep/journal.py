"""What a sweep has finished, on disk as it goes: a killed sweep goes on from there.

One JSON object a line: first what the sweep is, then each unit as it is done. A line that was cut
off by a kill is left out, and its unit done again.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from .figures import Figures

Json = dict[str, Any]


@dataclass(frozen=True)
class Done:
    """A unit that is done: the figures of each block by its index, or what stopped it.

    seconds: of all, as it adds up to the sweep's; framework: of the framework while the sweep
    went on; alone: of the framework on the same tiles with nothing else going on, if measured.
    """

    unit: int
    figures: dict[int, Figures] = field(default_factory=dict)
    failure: Json | None = None
    seconds: float = 0.0
    framework: float = 0.0
    alone: float | None = None

    def json(self) -> Json:
        plain = {k: v for k, v in asdict(self).items() if k != "figures"}
        return {**plain, "figures": {str(i): f.json() for i, f in self.figures.items()}}

    @classmethod
    def from_json(cls, kept: Json) -> Done:
        figures = {int(i): Figures.from_json(f) for i, f in kept["figures"].items()}
        return cls(**{**kept, "figures": figures})


class Journal:
    """The file of a sweep, opened for more; `done` holds what stood there before.

    started_anew: there was a file of another sweep, which is gone.
    """

    def __init__(self, path: Path, about: Json) -> None:
        self.path = path
        self.done: dict[int, Done] = {}
        before = _read(path)
        # JSON has no tuples: compared as it would be read.
        self.started_anew = bool(before) and before[0] != json.loads(json.dumps(about))
        if before and not self.started_anew:
            self.done = {kept["unit"]: Done.from_json(kept) for kept in before[1:]}
        self._file = self._opened([about, *(d.json() for d in self.done.values())])

    def _opened(self, lines: list[Json]) -> IO[str]:
        """The file with these lines, and nothing torn behind them."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f".{self.path.name}.new")
        fresh.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        os.replace(fresh, self.path)
        return self.path.open("a", encoding="utf-8")

    def add(self, done: Done) -> None:
        """Writes a unit down; once this returns, no kill can take it back."""
        self.done[done.unit] = done
        self._file.write(json.dumps(done.json()) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _read(path: Path) -> list[Json]:
    """The whole lines of a file, up to one that is torn."""
    found: list[Json] = []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return found
    for line in text.splitlines(keepends=True):
        try:
            if not line.endswith("\n"):
                break
            found.append(json.loads(line))
        except ValueError:
            break
    return found
