"""One sentence of plain English for a finding, with the two numbers where they say it best."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..model.dtypes import CARRIERS, to_float64
from ..model.literal import apart
from .evidence import ADAPTER_ERROR, REFUSED, SCALING, call_of, crash, is_form, numbers
from .evidence import name as called

Json = dict[str, Any]
LONGEST = 100
NAMES = {
    "forward": "loss",
    "grad.logits": "gradient of the logits",
    "grad.target": "gradient of the target",
    "grad.weight": "gradient of weight",
    "grad.pos_weight": "gradient of pos_weight",
    "hessian.logits": "second derivative of the logits",
}


def title(check: Mapping[str, Any], cause: str) -> str:
    """For the finding that `check` stands for; cause: the diagnosis, if one fits."""
    return shortened(_title(check, cause))


def _title(check: Mapping[str, Any], cause: str) -> str:
    if check.get("reason", "") and check["verdict"] in ("known", "fixed"):
        return str(check.get("reason", ""))
    name = NAMES[check["quantity"]]
    got, expected = check["witness"]["got"], check["witness"]["expected"]
    if ADAPTER_ERROR in got:
        return f"Adapter error, not the framework's: {got[ADAPTER_ERROR]['reason']}"
    if check["verdict"] == "timed-out":
        return f"The {name} does not return in time"
    if check["verdict"] == "crashed":
        return f"The {name} crashes the process: {crash(check)}"
    if "raised" in got:
        claimed = (
            f"Documented claim “{claim(check)}”" if check["kind"] == "documented" else "A call"
        )
        return f"{claimed} is refused: {got['raised']['type']}: {first_line(got)}"
    if expected["promise"].startswith(REFUSED):
        return f"Accepted without an error: {expected['promise'].removeprefix(REFUSED)}"
    if cause and not (SCALING.match(cause) and "value" in expected):
        return f"The {name} is computed as if {without_quantity(cause)}"
    if is_form(check) or "value" not in expected:
        return f"The {name}: {plain(check['summary'])}"
    value, due = two_numbers(check)
    if check["kind"] == "reduction" and check["reduction"] != "none":
        n = math.prod(call_of(check)["arguments"]["logits"]["shape"])
        return f"The {check['reduction']} of {n:,} elements is {value}, expected {due}"
    if check["kind"] == "documented":
        return f"{subject(check)}: the {name} is {value}, expected {due}"
    return f"The {name}{where(check)} is {value}, expected {due}"


def subject(check: Mapping[str, Any]) -> str:
    documented = check["kind"] == "documented"
    return f"Documented claim “{claim(check)}”" if documented else "A call that must work"


def claim(check: Mapping[str, Any]) -> str:
    """The name of a documented claim, in words."""
    return called(check).replace("-", " ")


def where(check: Mapping[str, Any]) -> str:
    """The arguments of a one-element witness: " at logit 0, target 1"."""
    arrays = call_of(check)["arguments"]
    single = {n: numbers(a) for n, a in arrays.items() if a}
    if not all(v is not None and len(v) == 1 for v in single.values()):
        return ""
    words = [f"{n.removesuffix('s')} {short(v[0])}" for n, v in single.items() if v]
    return f" at {', '.join(words)}"


def two_numbers(check: Mapping[str, Any]) -> tuple[str, str]:
    """What the framework returned and what was expected, told apart by as few digits as will do."""
    expected = check["witness"]["expected"]
    due = float(expected.get("digits", expected["value"]))
    value = got_value(check)
    returned, wanted = apart(value, due)
    return minus(returned), minus(wanted)


def got_value(check: Mapping[str, Any]) -> float:
    """The element of the result that decided the verdict; NaN where the report has none."""
    returned = check["witness"]["got"].get("returned")
    if returned is None:
        return math.nan
    words = str(returned["bits"]).split()
    at = tuple(check["witness"]["expected"].get("at", ()))
    shape = tuple(returned["shape"])
    inside = len(at) == len(shape) and all(i < n for i, n in zip(at, shape, strict=True))
    flat = int(np.ravel_multi_index(at, shape)) if shape and inside else 0
    if not words:
        return math.nan
    carrier = np.dtype(CARRIERS[returned["dtype"]])
    bits = np.array([int(words[flat], 16)], dtype=f"<u{carrier.itemsize}").view(carrier)
    return float(to_float64(returned["dtype"], bits)[0])


def short(value: float) -> str:
    return minus(f"{value:.4g}")


def minus(number: str) -> str:
    return number.replace("-", "−", 1) if number.startswith("-") else number


def plain(summary: str) -> str:
    """A summary without its tail of values."""
    return summary.split(" (tolerance", 1)[0]


def first_line(got: Mapping[str, Any]) -> str:
    return str(got["raised"]["message"])


def without_quantity(cause: str) -> str:
    return re.sub(r" \((forward|grad\.\w+|hessian\.\w+)\)$", "", cause)


def shortened(text: str) -> str:
    """At most LONGEST characters on one line."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"
