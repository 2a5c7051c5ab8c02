"""A sweep's results as a report, and shards of one joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from .. import __version__
from ..adapters import AdapterFile
from ..findings import gather
from ..judging.tolerance import Grade
from ..known import Known
from ..model.call import Backend
from ..model.case_family import TestedSurface
from ..model.check import Check
from ..model.expectation import Source
from ..session import Session
from ..sweep.journal import Done
from ..sweep.plan import SweepPlan, Unit
from ..sweep.rows import Row, check, concluded, decisive_of, row_json, rows_of
from .document import (
    SCHEMA,
    backend_json,
    by_verdict,
    check_json,
    file_stem,
    slim,
    witness_from_json,
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Swept:
    """Everything a report is made of: what was asked, and what has been done of it."""

    plan: SweepPlan
    tested: tuple[TestedSurface, ...]
    done: Mapping[int, Done]
    grade: Grade
    started: datetime
    seconds: float
    lost: tuple[str, ...] = ()
    broken: str | None = None

    @cached_property
    def units(self) -> list[Unit]:
        return self.plan.units(self.tested)

    @property
    def complete(self) -> bool:
        return all(unit.index in self.done for unit in self.units)

    @cached_property
    def rows(self) -> list[Row]:
        return rows_of(self.units, self.done)


def checked(
    swept: Swept, session: Session, adapter: AdapterFile, known: Mapping[str, Known]
) -> dict[str, Check]:
    """The check of each row by its id, its witness asked once more of the session."""
    made = (check(row, session, adapter, swept.grade, known) for row in swept.rows)
    return {each.id: each for each in made}


def document(
    swept: Swept, backend: Backend, adapter: AdapterFile, checks: Mapping[str, Check]
) -> Json:
    """The report; of a shard, with its units, so that `merge` can join it with the others.

    checks: of each row, as `checked` makes them.
    """
    rows = swept.rows
    final = [concluded(row, swept.plan, checks[row.check_id]) for row in rows]
    counts = Counter(each.verdict for each in final)
    index, count = swept.plan.shard
    report: Json = {
        "schema": SCHEMA,
        "suite": {
            "version": __version__,
            "profile": "sweep",
            "seed": swept.plan.seed,
            "grade": swept.grade,
            "shard": None if count == 1 else f"{index}/{count}",
        },
        "backend": backend_json(backend),
        "interrupted": not swept.complete,
        "broken": swept.broken,
        "questions": len(swept.units),
        "lost_workers": [{"after": "a tile", "cause": cause} for cause in swept.lost],
        "summary": by_verdict(counts),
        "findings": gather(slim(check_json(each)) for each in final),
        "checks": [slim(check_json(each)) for each in final],
        "accuracy": [row_json(row, swept.plan, backend, adapter) for row in rows],
        "times": {
            "started": swept.started.isoformat(timespec="seconds"),
            "seconds": round(swept.seconds, 1),
        },
    }
    if count > 1:
        report["units"] = {
            "plan": {**asdict(swept.plan), "shard": list(swept.plan.shard)},
            "asked": list(map(tested_json, swept.tested)),
            "done": [done.json() for _, done in sorted(swept.done.items())],
            "witnesses": [_kept(row, checks[row.check_id], swept.grade) for row in rows],
        }
    return report


def tested_json(tested: TestedSurface) -> Json:
    """What a sweep has to know of a surface."""
    return {"surface": tested.surface, "needs_weights": tested.needs_weights}


def _kept(row: Row, made: Check, grade: Grade) -> Json:
    """A check as the witness alone gave it, and how grave its logit is, to choose among shards."""
    return {"check": check_json(made), "rank": list(decisive_of(row, grade).rank)}


def file_name(backend: Backend, plan: SweepPlan) -> str:
    """ADAPTER-VERSION-DEVICE-MODE-sweep-DTYPE.json, and which shard it is if there are several."""
    index, count = plan.shard
    shard = "" if count == 1 else f"-{index}of{count}"
    return f"{file_stem(backend_json(backend))}-sweep-{plan.dtype}{shard}.json"


def joined(reports: Sequence[Json], backend: Backend, adapter: AdapterFile) -> Json:
    """The shards of one sweep as the report of the whole; all are there, each once."""
    first = reports[0]["units"]
    plan = plan_of(reports[0])
    tested = tuple(TestedSurface(a["surface"], a["needs_weights"]) for a in first["asked"])
    done = {d["unit"]: Done.from_json(d) for r in reports for d in r["units"]["done"]}
    best: dict[str, tuple[tuple[Any, ...], Check]] = {}
    for report in reports:
        for kept in report["units"]["witnesses"]:
            found = (tuple(kept["rank"]), check_from_json(kept["check"]))
            if found[1].id not in best or found[0] > best[found[1].id][0]:
                best[found[1].id] = found
    swept = Swept(
        plan,
        tested,
        done,
        reports[0]["suite"]["grade"],
        min(datetime.fromisoformat(r["times"]["started"]) for r in reports),
        sum(r["times"]["seconds"] for r in reports),
        tuple(lost["cause"] for r in reports for lost in r["lost_workers"]),
        next((r["broken"] for r in reports if r["broken"]), None),
    )
    return document(swept, backend, adapter, {name: made for name, (_, made) in best.items()})


def check_from_json(kept: Json) -> Check:
    witness, source = witness_from_json(kept["witness"]), Source(**kept["source"])
    return Check(**{**kept, "witness": witness, "source": source})


def plan_of(report: Json) -> SweepPlan:
    """What the whole asks, of which the report is a shard."""
    return SweepPlan(**{**report["units"]["plan"], "shard": (1, 1)})
