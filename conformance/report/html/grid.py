"""The matrix: surfaces and quantities down, backends across."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from .backend import bare
from .evidence import BAD
from .surface import QUANTITY_NAMES
from .view import Cell, Column, Group, Line, Surface


def groups(columns: Sequence[Column]) -> Iterator[Group]:
    """Surfaces by the name that they have without their framework's, the most common first."""
    named: dict[str, dict[int, Surface]] = defaultdict(dict)
    for index, column in enumerate(columns):
        for surface in column.surfaces:
            named[bare(surface.name, column.framework)][index] = surface
    frameworks = {name: len({columns[i].framework for i in own}) for name, own in named.items()}
    for name in sorted(named, key=lambda n: -frameworks[n]):
        own = [named[name].get(index) for index in range(len(columns))]
        lines = [_line("claims", own, _claims_cell)]
        for quantity in QUANTITY_NAMES.values():
            lines.append(_line(quantity, own, _quantity_cell(quantity)))
        yield Group(name, tuple(line for line in lines if any(line.cells)))


def _line(
    name: str, surfaces: Sequence[Surface | None], made: Callable[[Surface], Cell | None]
) -> Line:
    cells = tuple(None if surface is None else made(surface) for surface in surfaces)
    quiet = all(cell is None or cell.verdict not in BAD for cell in cells)
    return Line(name, cells, quiet)


def _claims_cell(surface: Surface) -> Cell | None:
    claims = surface.claims
    if claims is None:
        return None
    return Cell(claims.anchor, claims.verdict, f"{claims.kept}/{claims.all}", "claims kept")


def _quantity_cell(quantity: str) -> Callable[[Surface], Cell | None]:
    def made(surface: Surface) -> Cell | None:
        for detail in surface.details:
            if detail.name == quantity:
                label = "times the tolerance" if detail.share is not None else ""
                return Cell(detail.anchor, detail.verdict, detail.number, label)
        return None

    return made
