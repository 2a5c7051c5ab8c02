"""A loss of the user's own, instead of the framework's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class OwnLoss:
    """`callable` of a Python file: loss(input, target, *, weight, reduction, pos_weight).

    file is absolute. The worker imports it there, with the file's folder on its path; where it has
    no such file (another host) it runs `source`.
    """

    file: Path
    callable: str
    source: str

    @property
    def surface(self) -> str:
        """What reports call it: FILE.py:CALLABLE, without folders."""
        return f"{self.file.name}:{self.callable}"

    def wire(self) -> dict[str, str]:
        return {"file": str(self.file), "callable": self.callable, "source": self.source}


@dataclass(frozen=True)
class Closure:
    """A callable of this process instead of the framework's loss; it cannot be sent.

    It is called as a loss of the user's own is; surface is what reports call it.
    """

    function: Callable[..., Any]
    surface: str
