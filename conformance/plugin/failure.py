"""What a test that fails says: the worst input, what was due, and a paste; no traceback of ours."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from ..judging.accuracy import elementwise, item
from ..model.call import ARGUMENTS, Array, Backend
from ..model.check import Check
from ..model.literal import from_json, literal, to_json
from ..running.witness import call_from_json

Row = tuple[str, str]

PLAINEST = ("documented", "property", "reduction", "relation", "contract", "error", "special")
"""Kinds of checks, those first whose failure says most by itself."""
MOST_LINES = 20
MOST_IDS = 4
FEW = 8
"""Elements up to which an argument is shown whole, where no single element is to blame."""


def where(backend: Backend) -> str:
    return f"{backend.adapter} {backend.framework_version} ({backend.device}, {backend.mode})"


def failure_text(name: str, backend: Backend, checks: Sequence[Check]) -> str:
    """All that fails of `checks`: the plainest in full, the others by what they say."""
    failing = [check for check in checks if check.failing]
    first, *others = sorted(failing, key=lambda check: PLAINEST.index(check.kind))
    count = f"{len(failing)} of {len(checks)} checks"
    lines = [f"{name} on {where(backend)}: {count} fail", "", *in_full(first)]
    return "\n".join([*lines, *_in_lines(others)])


def _in_lines(checks: Sequence[Check]) -> list[str]:
    """A line for all that say the same; of many lines, the first."""
    alike: dict[str, list[str]] = {}
    for check in checks:
        alike.setdefault(f"{check.verdict}: {check.summary}", []).append(short_id(check))
    lines = [""] if alike else []
    for said, ids in list(alike.items())[:MOST_LINES]:
        more = f" and {len(ids) - MOST_IDS} more" if len(ids) > MOST_IDS else ""
        lines += [said, f"  in {', '.join(ids[:MOST_IDS])}{more}"]
    rest = sum(map(len, list(alike.values())[MOST_LINES:]))
    return [*lines, f"and {rest} more checks fail"] if rest else lines


def in_full(check: Check) -> list[str]:
    lines = [f"{check.verdict}: {short_id(check)}: {check.summary}"]
    lines.append(f"  {check.source.document}: “{check.source.sentence}”")
    if check.note:
        lines.append(f"  {check.note}")
    rows = evidence(check)
    width = max((len(name) for name, _ in rows), default=0)
    lines += [f"  {name:<{width}}  {value}" for name, value in rows]
    if check.witness.reproduce:
        lines += ["", "  the same without this suite:", ""]
        lines.append(indent(check.witness.reproduce.strip(), "    "))
    return lines


def short_id(check: Check) -> str:
    """The id without the surface, which is said once."""
    return check.id.removeprefix(f"{check.surface}/")


def evidence(check: Check) -> list[Row]:
    """The inputs of the worst element with their bits, what is due to 17 digits, what came."""
    kept = check.witness
    call = call_from_json(kept.case["call"])
    returned = kept.got.get("returned")
    if returned is None:
        return []
    got = from_json(returned)
    at = tuple(kept.expected.get("at", ()))
    expected = kept.expected.get("digits")
    inputs = elementwise(call, check.quantity, got) if expected is not None else {}
    if inputs:
        rows = [(name, _number(item(array, at))) for name, array in inputs.items()]
    else:
        arrays = {name: call.argument(name) for name in ARGUMENTS}
        rows = [(name, _array(array)) for name, array in arrays.items() if array is not None]
    rows.append(("got", _array(got) if expected is None else _number(item(got, at))))
    if expected is not None:
        rows.append(("expected", expected))
    if "tolerance" in kept.expected:
        rows.append(("tolerance", f"{kept.expected['tolerance']:.3g}"))
    return rows


def _number(array: Array) -> str:
    """A value, and its bits."""
    return f"{literal(array.wire())} = 0x{to_json(array)['bits']} ({array.dtype})"


def _array(array: Array) -> str:
    if array.size == 1:
        return _number(Array(array.dtype, (), array.data))
    if array.size > FEW:
        return f"{array.dtype} of shape {list(array.shape)}"
    return f"{literal(array.wire())} ({array.dtype}, shape {list(array.shape)})"
