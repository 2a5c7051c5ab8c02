"""NaN, infinities and subnormal results as a table: what was given, and what came in each dtype."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.dtypes import FLOATS
from ..accuracy_text import short
from .evidence import Held, Json
from .view import Special, SpecialCell, SpecialRow

NAMES = {"forward": "loss", "grad.logits": "gradient"}


def special(held: Sequence[Held]) -> Special | None:
    """The checks of kind special whose arguments have one dtype; None where there are none."""
    own = [h for h in held if is_tabled(h)]
    if not own:
        return None
    dtypes = tuple(name for name in FLOATS if any(h.check["dtype"] == name for h in own))
    rows: dict[tuple[str, str], dict[str, Held]] = {}
    for each in own:
        key = (each.case, each.check["quantity"] + _reduced(each))
        rows.setdefault(key, {})[each.check["dtype"]] = each
    return Special(
        dtypes,
        tuple(_row(name, quantity, found, dtypes) for (name, quantity), found in rows.items()),
    )


def is_tabled(held: Held) -> bool:
    """Whether a check stands in the table: of a special value, in one dtype throughout."""
    if held.check["kind"] != "special":
        return False
    given = held.check["witness"]["question"]["call"]["arguments"].values()
    return {array["dtype"] for array in given if array} == {held.check["dtype"]}


def _reduced(held: Held) -> str:
    reduction = held.check["reduction"]
    return "" if reduction == "none" else f", {reduction}"


def _row(name: str, quantity: str, found: dict[str, Held], dtypes: Sequence[str]) -> SpecialRow:
    first = next(iter(found.values()))
    word, _, reduction = quantity.partition(",")
    shown = NAMES.get(word, word) + ("," + reduction if reduction else "")
    cells = tuple(_cell(found[dtype]) if dtype in found else None for dtype in dtypes)
    return SpecialRow(name.removeprefix("special/"), _given(first.check), shown, cells)


def _given(check: Json) -> str:
    """The first element of each argument."""
    arguments = check["witness"]["question"]["call"]["arguments"]
    firsts = {name: _first(array) for name, array in arguments.items() if array}
    return ", ".join(f"{name} {value}" for name, value in firsts.items())


def _first(array: Json) -> str:
    values = str(array.get("values", "")).split()
    return _shortly(values[0]) if values else "…"


def _shortly(value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        return value
    return value if number != number or number in (float("inf"), float("-inf")) else short(number)


def _cell(held: Held) -> SpecialCell:
    """What came for the first element, or why nothing did."""
    got = held.check["witness"]["got"]
    if "returned" in got:
        text = _first(got["returned"])
    elif "raised" in got:
        text = f"raises {got['raised']['type']}"
    else:
        text = ", ".join(got)
    return SpecialCell(held.verdict, text)
