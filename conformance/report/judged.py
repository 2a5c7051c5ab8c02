"""Whether a run judged anything: a backend that returned nothing does not conform."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..findings.evidence import ADAPTER_ERROR

Json = dict[str, Any]
JUDGED = ("conforms", "deviates", "known", "fixed", "characterised", "refused")


def nothing_judged(report: Json) -> Iterator[str]:
    """One line for the backend, or for each surface, of which no result was judged."""
    backend = report["backend"]
    release = f"{backend['adapter']} {backend['framework_version']}"
    checks = report["checks"]
    if not any(_judged(check) for check in checks):
        served = ", ".join(backend["surfaces"])
        yield f"{release}: nothing was judged ({_why(checks)}); the adapter serves {served}"
        return
    for surface in dict.fromkeys(check["surface"] for check in checks):
        own = [check for check in checks if check["surface"] == surface]
        if not any(_judged(check) for check in own):
            yield f"{release}: nothing was judged of {surface} ({_why(own)})"


def _judged(check: Json) -> bool:
    crashed = check["verdict"] in ("crashed", "timed-out")
    adapter_error = ADAPTER_ERROR in check["witness"]["got"]
    return check["verdict"] in JUDGED or (crashed and not adapter_error)


def _why(checks: list[Json]) -> str:
    if not checks:
        return "no test was selected"
    got = checks[0]["witness"]["got"]
    if ADAPTER_ERROR in got:
        return f"adapter error: {got[ADAPTER_ERROR]['reason']}"
    return str(checks[0]["summary"])
