"""The witness a person would choose: forward, plain arguments, few of them, short numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..model.call import FORWARD
from ..model.check import EARLIER_CALL
from .evidence import call_of, case_of, numbers

Json = dict[str, Any]
PLAIN_TARGETS = (0.0, 1.0, 0.5)
DTYPES = ("float32", "float64", "float16", "bfloat16")
KINDS = ("documented", "property", "reduction", "error", "special", "contract", "relation", "sweep")


def representative(checks: Sequence[Json]) -> Json:
    """The check whose witness stands for all of them.

    Where an earlier call is to blame, only a witness that makes that call shows it.
    """
    if any(EARLIER_CALL in check.get("causes", ()) for check in checks):
        checks = [check for check in checks if case_of(check).get("before")] or checks
    return min(checks, key=awkwardness)


def awkwardness(check: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sorts the plainest witness first."""
    call = call_of(check)
    arrays = {name: array for name, array in call["arguments"].items() if array}
    target = numbers(arrays.get("target")) or []
    weights = [v for n in ("weight", "pos_weight") for v in numbers(arrays.get(n)) or []]
    size = max((len(numbers(a) or [0] * 10_000) for a in arrays.values()), default=0)
    return (
        not check["witness"]["reproduce"],
        check["quantity"] != FORWARD,
        check["kind"] in ("relation", "contract"),  # what is compared there is two results
        bool(case_of(check).get("before")),
        len(arrays) + bool(call.get("upstream")) + bool(call.get("beside")),
        any(a.get("layout", "contiguous") != "contiguous" for a in arrays.values()),
        any(v not in PLAIN_TARGETS for v in target),
        any(v <= 0 for v in weights),
        size,
        call["options"].get("reduction", "mean") != "none",
        KINDS.index(check["kind"]) if check["kind"] in KINDS else len(KINDS),
        sum(len(str(a.get("values", ""))) for a in arrays.values()),
        DTYPES.index(check["dtype"]) if check["dtype"] in DTYPES else len(DTYPES),
        check["id"],
    )
