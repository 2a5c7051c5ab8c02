"""Two published reports, cut to something of everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bce_conformance.report.read import read

Json = dict[str, Any]
REPORTS = Path(__file__).parent.parent.parent / "reports"


@pytest.fixture(scope="module")
def few_reports() -> list[Json]:
    """A run with something of everything, and a sweep with cliffs."""
    run = read(REPORTS / "oneflow-0.9.0-cpu-eager.json.gz")
    alike: dict[tuple[str, ...], int] = {}
    few = []
    for check in run["checks"]:
        kind = (
            check["kind"],
            check["verdict"],
            check["surface"],
            next(iter(check["witness"]["got"])),
        )
        alike[kind] = alike.get(kind, 0) + 1
        if alike[kind] <= 2:
            few.append(check)
    few[0].update(verdict="deviates")
    few[1].update(verdict="crashed", note="a note")
    run.update(
        checks=few,
        broken="gone",
        lost_workers=[{"after": "this", "cause": "that"}],
        accuracy=run["accuracy"][:4],
    )
    sweep = REPORTS / "sweeps" / "oneflow-0.9.0-cpu-eager-sweep-float32.json.gz"
    return [run, read(sweep)]
