"""The accuracy of the results, as a table for people: from the `accuracy` of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..judging.accuracy import DOMAIN, USUAL_ATOL
from ..model.call import FORWARD, QUANTITIES

Json = dict[str, Any]
Groups = Mapping[str, tuple[str, ...]]

EACH: Groups = {quantity: (quantity,) for quantity in QUANTITIES}
FEW: Groups = {
    FORWARD: (FORWARD,),
    "grad.logits": ("grad.logits",),
    "other derivatives": QUANTITIES[2:],
}
"""Columns, each with the quantities that it stands for."""

ATOL = {dtype: max(atols) for dtype, atols in USUAL_ATOL.items()}
"""The atol that the rtol of a cell is for."""

ATOLS = ", ".join(f"{dtype} {atol:g}" for dtype, atol in ATOL.items())
TOLERANCE = (
    f"the smallest rtol with which a test would pass (at atol: {ATOLS}) or, where none below 1 "
    "does, the smallest atol at the rtol of torch.testing.assert_close. Over all reductions; "
    f"{DOMAIN}."
)
EXPLAINED = f"99 % of the errors and the largest, in ulps; {TOLERANCE}"
EXPLAINED_BRIEFLY = f"The largest error in ulps; {TOLERANCE}"

GRADES = ("strict", "stable", "neither")
"""The narrowest grade that holds every element, the best first."""


@dataclass(frozen=True)
class Cell:
    """The worst of some rows: errors in ulps, an rtol (None where none helps), and an atol."""

    p99: float
    largest: float
    rtol: float | None
    atol: float
    grade: str

    @property
    def text(self) -> str:
        return f"{short(self.p99)}, {self.brief}"

    @property
    def brief(self) -> str:
        useful = self.rtol is not None and self.rtol < 1
        pasted = short(self.rtol) if useful else f"atol {short(self.atol)}"
        return f"{short(self.largest)}; {pasted}"


@dataclass(frozen=True)
class Line:
    """A surface in one dtype: its cells by column, None where nothing was measured."""

    surface: str
    dtype: str
    cells: tuple[Cell | None, ...]
    grade: str


def lines(rows: Sequence[Json], groups: Groups) -> list[Line]:
    """One line for each surface and dtype, in the order of the rows."""
    made = []
    for surface, dtype in dict.fromkeys((row["surface"], row["dtype"]) for row in rows):
        own = [row for row in rows if (row["surface"], row["dtype"]) == (surface, dtype)]
        cells = tuple(
            _cell([row for row in own if row["quantity"] in quantities], dtype)
            for quantities in groups.values()
        )
        made.append(Line(surface, dtype, cells, _worst_grade(own)))
    return made


def _cell(rows: Sequence[Json], dtype: str) -> Cell | None:
    if not rows:
        return None
    rtols = [row["smallest_rtol"][f"{ATOL[dtype]:g}"] for row in rows]
    return Cell(
        max(row["p99"] for row in rows),
        max(row["max_ulp"] for row in rows),
        None if None in rtols else max(rtols),
        max(max(row["smallest_atol"].values()) for row in rows),
        _worst_grade(rows),
    )


def grade_of(row: Json) -> str:
    """The narrowest grade that all elements of a row are within."""
    within = [grade for grade in GRADES[:2] if row["grades"][grade] == "within"]
    return within[0] if "stable" in within else "neither"


def _worst_grade(rows: Sequence[Json]) -> str:
    return max(map(grade_of, rows), key=GRADES.index)


def beyond_strict(rows: Sequence[Json], *by: str) -> list[Json]:
    """The rows with an element beyond the strict grade: the worst of those alike in `by`."""
    worst: dict[tuple[str, ...], Json] = {}
    for row in rows:
        key = tuple(row[name] for name in by)
        if not row["beyond_strict_at"]:
            continue
        if key not in worst or row["k_strict"] > worst[key]["k_strict"]:
            worst[key] = row
    return list(worst.values())


def beyond_shortly(row: Json) -> str:
    """The worst element of a row, on half a line."""
    at = row["beyond_strict_at"]
    got, expected = short(float(at["got"]["value"])), short(float(at["due"]))
    given = " ".join(f"{name} {short(number)}" for name, number in _leading(at))
    where = given or f"logits of shape {at['shape']}"
    return f"{row['dtype']} {row['quantity']}: got {got}, expected {expected} ({where})"


def _leading(at: Json) -> list[tuple[str, float]]:
    inputs = at["inputs"]
    return [(n, float(inputs[n]["value"])) for n in ("logits", "target") if n in inputs]


def beyond_in_full(row: Json) -> str:
    """The worst element of a row, to every digit."""
    at = row["beyond_strict_at"]
    named = f"{row['surface']} {row['dtype']} {row['quantity']}, reduction {row['reduction']}"
    return f"{named}: got {at['got']['value']}, expected {at['due']}, {element(at)}"


def element(at: Json) -> str:
    """The inputs of an element, or the shape of the call, in words."""
    if not at["inputs"]:
        return f"for logits of shape {at['shape']}"
    given = ", ".join(
        f"{name} {number['value']} (0x{number['bits']})" for name, number in at["inputs"].items()
    )
    return f"at {given}" + (f", one of shape {at['shape']}" if at["shape"] else "")


def short(value: float | None) -> str:
    """Up to three digits, two with an exponent; a dash for none."""
    if value is None:
        return "–"
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"
