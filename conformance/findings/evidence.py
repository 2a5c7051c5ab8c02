"""What a check says about its cause: the evidence by which checks are gathered.

Works on checks as reports hold them. In order of strength: the known entry that excuses the check,
the cause of a crash, a diagnosis (an alternative formula that fits the result), the rule that was
broken, and last where and how the smallest failing call is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..model.call import ARGUMENTS, FORWARD

Json = dict[str, Any]
Key = tuple[str, ...]

GATHERED = ("deviates", "known", "fixed", "crashed", "timed-out")
"""Verdicts of checks that belong to a finding."""
ADAPTER_ERROR = "fault of the adapter"
"""As a report says it: the adapter failed, not the framework."""
LARGE = 8.0
"""Logits beyond this are in the tails of the sigmoid."""


def key(check: Mapping[str, Any], cause: str) -> Key:
    """Checks with the same key share a cause; `cause` is the diagnosis chosen for the check."""
    if check.get("finding"):
        return "known", str(check["finding"])
    if check["verdict"] == "known":  # a report of version 1 has the reason alone
        return "known", slug(check.get("reason", "")) or name(check)
    if ADAPTER_ERROR in check["witness"]["got"]:
        return "adapter", check["witness"]["got"][ADAPTER_ERROR]["reason"].partition(":")[0]
    if check["verdict"] in ("crashed", "timed-out"):
        return "crash", crash(check)
    if cause:
        return "cause", cause
    if check["kind"] == "reduction":  # large ones: an error that grows with the number of elements
        return "reduction", check["quantity"], name(check)
    got, promise = check["witness"]["got"], check["witness"]["expected"]["promise"]
    if "raised" in got:
        return "refused", got["raised"]["type"], name(check)
    if promise.startswith(REFUSED):
        return "accepted", re.sub(r"\[.*?\]", "[…]", promise)
    if check["kind"] in ("contract", "error", "relation"):
        return "rule", sentence(check)
    if is_form(check):
        return "form", form(check), check["kind"]
    if check["kind"] == "documented" and "value" not in check["witness"]["expected"]:
        return "claim", name(check)
    if check["axis"] == "accuracy":
        return "accuracy", check["quantity"]
    return "place", *place(check)


def causes(check: Mapping[str, Any]) -> tuple[str, ...]:
    """The diagnoses that fit the check, the more specific ones first.

    What only scales the result ("it was doubled") says nothing of another quantity, so it counts
    for the check's own quantity alone.
    """
    own = f" ({check['quantity']})"
    return tuple(cause + (own if SCALING.match(cause) else "") for cause in check.get("causes", ()))


SCALING = re.compile(r"it was (always|doubled|halved|negated|multiplied by a constant)")


REFUSED = "is refused: "
"""How an expectation begins that the call is refused, and then says why."""


def name(check: Mapping[str, Any]) -> str:
    """What the check is called on every surface, in every dtype and with every reduction."""
    return str(check["id"]).rsplit("/", 1)[-1].partition("[")[0]


def crash(check: Mapping[str, Any]) -> str:
    """The signal or exit status, with the first words of the line that explains it."""
    if check["verdict"] == "timed-out":
        return "no result in time"
    crashed = check["witness"]["got"].get("crashed", {})
    return str(crashed.get("cause") or check["summary"].partition(" (")[0])


def sentence(check: Mapping[str, Any]) -> str:
    """The rule that the check is about."""
    return str(check["source"]["sentence"])


def is_form(check: Mapping[str, Any]) -> bool:
    """Whether the shape or dtype is wrong, and no value was compared."""
    witness = check["witness"]
    judged = witness["expected"]["promise"] in FORMULA
    return "returned" in witness["got"] and "value" not in witness["expected"] and judged


FORMULA = ("agrees with the formula", "has the shape and dtype stated")


def form(check: Mapping[str, Any]) -> str:
    """Whether it is the dtype or the shape that is wrong."""
    return "shape" if "expected shape" in check["summary"].lower() else "dtype"


def place(check: Mapping[str, Any]) -> Key:
    """Where the smallest failing call is wrong: its arguments, their region, and the result."""
    call = call_of(check)
    given = {name: numbers(call["arguments"].get(name)) for name in ARGUMENTS}
    named = [name for name in ARGUMENTS if given[name] is not None]
    parts = [",".join(named), region(given), layout(call)]
    if call["options"].get("reduction", "mean") != "none":
        parts.append(str(call["options"].get("reduction", "mean")))
    if call.get("upstream"):
        parts.append("upstream")
    if case_of(check).get("before"):
        parts.append("after another call")
    return tuple(parts)


def case_of(check: Mapping[str, Any]) -> Json:
    return dict(check["witness"]["question"])


def call_of(check: Mapping[str, Any]) -> Json:
    return dict(case_of(check)["call"])


def numbers(array: Mapping[str, Any] | None) -> list[float] | None:
    """The values of an argument; empty where a report has only their bits."""
    if array is None:
        return None
    return [float(value) for value in str(array.get("values", "")).split()]


def region(given: Mapping[str, list[float] | None]) -> str:
    """In words, where logits and target lie."""
    x, y = given["logits"] or [], given["target"] or []
    words = [logits_region(x), target_region(y)]
    for name in ("weight", "pos_weight"):
        values = given[name]
        if values and any(v < 0 for v in values):
            words.append(f"negative {name}")
    return ", ".join(words)


def logits_region(x: list[float]) -> str:
    if any(v != v or abs(v) == float("inf") for v in x):
        return "logits that are not finite"
    if x and all(v == 0 for v in x):
        return "logits of 0"
    return "large logits" if any(abs(v) > LARGE for v in x) else "logits"


def target_region(y: list[float]) -> str:
    if any(v != v or abs(v) == float("inf") for v in y):
        return "targets that are not finite"
    if all(v in (0, 1) for v in y):
        return "hard targets"
    return "soft targets" if all(0 <= v <= 1 for v in y) else "targets outside [0, 1]"


def layout(call: Mapping[str, Any]) -> str:
    arrays = [a for a in call["arguments"].values() if a]
    return "/".join(sorted({a.get("layout", "contiguous") for a in arrays}))


def slug(text: str, most: int = 60) -> str:
    """Lower-case words joined by hyphens, cut at a word."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return words if len(words) <= most else words[:most].rpartition("-")[0] or words[:most]


def is_forward(check: Mapping[str, Any]) -> bool:
    return bool(check["quantity"] == FORWARD)
