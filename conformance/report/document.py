"""A run's results as the JSON document that everything else is made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from .. import __version__
from ..findings import gather
from ..model.call import Backend
from ..model.check import VERDICTS, Check, Witness
from ..running.engine import (
    BackendFinished,
    BackendNotRun,
    BackendStarted,
    ChecksReady,
    Event,
    Measured,
    WorkerLost,
)

SCHEMA = "bce-conformance-report/2"
SCHEMAS = ("bce-conformance-report/1", SCHEMA)
"""What is read: version 1 has no findings."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What a run was asked to do: the `suite` object of a report."""

    profile: str
    seed: int
    grade: str
    shard: str | None = None


@dataclass
class BackendResult:
    """What one backend has answered so far; grows while its events arrive."""

    backend: Backend
    total: int
    python: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    checks: list[Check] = field(default_factory=list)
    accuracy: list[Json] = field(default_factory=list)
    effort: dict[str, float] = field(default_factory=dict)
    lost: list[WorkerLost] = field(default_factory=list)
    finished: BackendFinished | None = None
    ended: datetime | None = None

    @property
    def failing(self) -> bool:
        broken = self.finished is not None and self.finished.broken is not None
        return broken or bool(self.lost) or any(check.failing for check in self.checks)

    @property
    def counts(self) -> Counter[str]:
        return Counter(check.verdict for check in self.checks)


@dataclass
class Record:
    """All backends of a run, from its events."""

    settings: Settings
    results: list[BackendResult] = field(default_factory=list)
    not_run: list[BackendNotRun] = field(default_factory=list)

    def take(self, event: Event) -> None:
        if isinstance(event, BackendStarted):
            self.results.append(BackendResult(event.backend, event.total, event.python))
        elif isinstance(event, BackendNotRun):
            self.not_run.append(event)
        elif isinstance(event, ChecksReady):
            self.results[-1].checks += event.checks
        elif isinstance(event, Measured):
            self.results[-1].accuracy += event.rows
            self.results[-1].effort = event.effort
        elif isinstance(event, WorkerLost):
            self.results[-1].lost.append(event)
        else:
            self.results[-1].finished = event
            self.results[-1].ended = datetime.now(UTC)


def document(result: BackendResult, settings: Settings) -> Json:
    """The report of one backend. Only `times` differs between two runs of one seed and version."""
    finished = result.finished
    checks = [slim(check_json(check)) for check in result.checks]
    ended = result.ended or datetime.now(UTC)
    return {
        "schema": SCHEMA,
        "suite": {"version": __version__, **asdict(settings)},
        "backend": backend_json(result.backend),
        "interrupted": finished is None,
        "broken": finished.broken if finished else None,
        "questions": result.total,
        "lost_workers": [asdict(death) for death in result.lost],
        "summary": by_verdict(result.counts),
        "findings": gather(checks),
        "checks": checks,
        "accuracy": result.accuracy,
        "times": {
            "started": result.started.isoformat(timespec="seconds"),
            "seconds": round((ended - result.started).total_seconds(), 1),
            "generated": result.effort,
        },
    }


def by_verdict(counts: Mapping[Any, int]) -> dict[str, int]:
    """How many checks have each verdict that there is, in the order of VERDICTS."""
    return {verdict: counts[verdict] for verdict in VERDICTS if counts.get(verdict)}


def backend_json(backend: Backend) -> Json:
    fields = asdict(backend).items()
    return {key: list(value) if isinstance(value, tuple) else value for key, value in fields}


def backend_from_json(kept: Json) -> Backend:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()}
    return Backend(**fields)


def check_json(check: Check) -> Json:
    """The check as JSON; what is in it is shared with the check (`asdict` would copy it all)."""
    witness = vars(check.witness)
    named = {"question" if key == "case" else key: value for key, value in witness.items()}
    return {**vars(check), "source": vars(check.source), "witness": named}


def witness_from_json(data: Json) -> Witness:
    """The witness that `check_json` wrote."""
    return Witness(**{"case" if key == "question" else key: value for key, value in data.items()})


def slim(check: Json) -> Json:
    """A check as a report keeps it: what its question repeats is said once."""
    if not check.get("causes"):
        check = {key: value for key, value in check.items() if key != "causes"}
    if not check.get("finding"):
        check = {key: value for key, value in check.items() if key != "finding"}
    witness = dict(check["witness"])
    repeated = ("id", "kind", "source", "note")
    witness["question"] = {k: v for k, v in witness["question"].items() if k not in repeated}
    return {**check, "witness": witness}


def file_name(report: Json, taken: Sequence[str] = (), of: str = "") -> str:
    """ADAPTER-VERSION-DEVICE-MODE.json; a second one of the same name gets a number.

    of: what the report is of, where that is not the framework's own.
    """
    stem = file_stem(report["backend"]) + (f"-{of}" if of else "")
    name, count = f"{stem}.json", 2
    while name in taken:
        name, count = f"{stem}-{count}.json", count + 1
    return name


def is_sweep(report: Json) -> bool:
    return bool(report["suite"]["profile"] == "sweep")


def swept_dtype(report: Json) -> str:
    """The dtype that the report of a sweep is about; nothing for that of a run."""
    rows = report["accuracy"] if is_sweep(report) else []
    return str(rows[0]["dtype"]) if rows else ""


def comparable(report: Json) -> tuple[str, ...]:
    """The backend and what was swept, whatever the release: reports alike in it are compared."""
    backend = report["backend"]
    return (*(backend[k] for k in ("adapter", "device", "mode")), swept_dtype(report))


def file_stem(backend: Json) -> str:
    """ADAPTER-VERSION-DEVICE-MODE."""
    parts = (backend[key] for key in ("adapter", "framework_version", "device", "mode"))
    return "-".join("".join(c for c in part if c.isalnum() or c in "._+") for part in parts)
