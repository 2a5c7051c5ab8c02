"""--bce-report: what the items found, written by one process.

Each item's checks travel with pytest's own report of it, from a worker of pytest-xdist to the
process that started them; the accuracy of the results comes from each worker at its end.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from .. import __version__
from ..commands.merge import added
from ..findings import gather
from ..judging.accuracy import REDUCTIONS
from ..model.call import QUANTITIES, Backend
from ..model.check import Check
from ..model.dtypes import FLOATS
from ..report.document import (
    SCHEMA,
    Json,
    backend_json,
    by_verdict,
    check_json,
    file_name,
    slim,
)
from ..report.markdown import summary
from ..report.write import atomically, json_text
from ..running.aggregate import GRAVITY
from .backends import GRADE, KEY, SEED

FOUND = pytest.StashKey[list[Json]]()
ATTRIBUTE = "bce_conformance"
ROWS = "bce_conformance_rows"
PLUGIN = "bce_conformance_report"
FIXED = 7
"""A known deviation that is gone is graver than one that is there, which GRAVITY does not know."""


def keep(
    item: pytest.Item,
    backend: Backend,
    checks: Sequence[Check],
    rows: Sequence[Json] = (),
    of: str = "",
) -> None:
    """Remembers what an item found, if it is to be reported.

    of: the test that a loss of its own is of, which has a report of its own.
    """
    if item.config.pluginmanager.has_plugin(PLUGIN):
        found = {
            "of": of,
            "backend": backend_json(backend),
            "checks": [slim(check_json(check)) for check in checks],
            "rows": list(rows),
        }
        item.stash.setdefault(FOUND, []).append(found)


def register(config: pytest.Config) -> None:
    """Raises pytest.UsageError if nothing can be written there."""
    folder: Path = config.option.bce_report
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"--bce-report: {folder}: {error.strerror}") from None
    config.pluginmanager.register(Reporter(config), PLUGIN)


class Reporter:
    """Collects what was found here, or in the workers of pytest-xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.worker = getattr(config, "workerinput", None) is not None
        self.started = datetime.now(UTC)
        self.found: list[Json] = []
        self.interrupted = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Any:
        report = yield
        if call.when == "call" and FOUND in item.stash:
            # Text, because pytest-xdist carries builtin types only.
            setattr(report, ATTRIBUTE, json.dumps(item.stash[FOUND]))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not self.worker:
            self.found += json.loads(getattr(report, ATTRIBUTE, "[]"))
            # What pytest-xdist says of an item whose worker died.
            self.interrupted |= report.when not in ("setup", "call", "teardown")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        self.found += json.loads(getattr(node, "workeroutput", {}).get(ROWS, "[]"))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        rows = self._rows()
        if self.worker:
            self.config.workeroutput[ROWS] = json.dumps(rows)  # type: ignore[attr-defined]
            return
        self.found += rows
        whole = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        self._write(self.interrupted or not whole or bool(session.shouldstop or session.shouldfail))

    def _rows(self) -> list[Json]:
        if KEY not in self.config.stash:
            return []
        return [
            {
                "of": "",
                "backend": backend_json(parts.start().session.backend),
                "checks": [],
                "rows": parts.rows,
            }
            for parts in self.config.stash[KEY].opened()
        ]

    def _write(self, interrupted: bool) -> None:
        reports: dict[str, Json] = {}
        for key, found in grouped(self.found).items():
            backend, of = json.loads(key)
            report = self._document(backend, found, interrupted)
            name = "".join(c if c.isalnum() or c in "._+" else "-" for c in of)
            reports[file_name(report, tuple(reports), name)] = report
        folder: Path = self.config.option.bce_report
        for name, report in reports.items():
            atomically(folder / name, json_text(report))
        if reports:
            atomically(folder / "summary.md", summary(list(reports.values()), []))

    def _document(self, backend: Json, found: Sequence[Json], interrupted: bool) -> Json:
        checks = joined(check for each in found for check in each["checks"])
        counts = Counter(check["verdict"] for check in checks)
        profile = self.config.option.bce_profile
        seconds = (datetime.now(UTC) - self.started).total_seconds()
        return {
            "schema": SCHEMA,
            "suite": {"version": __version__, "profile": profile, "seed": SEED, "grade": GRADE,
                      "shard": None},
            "backend": backend,
            "interrupted": interrupted,
            "broken": None,
            "questions": sum(bool(each["checks"]) for each in found),
            "lost_workers": [],
            "summary": by_verdict(counts),
            "findings": gather(checks),
            "checks": checks,
            "accuracy": sorted(added(row for each in found for row in each["rows"]), key=_place),
            "times": {
                "started": self.started.isoformat(timespec="seconds"),
                "seconds": round(seconds, 1),
                "generated": {},
            },
        }  # fmt: skip


def grouped(found: Iterable[Json]) -> dict[str, list[Json]]:
    """What was found by backend and test, as JSON; in an order that does not depend on which came
    first."""
    groups: dict[str, list[Json]] = {}
    for each in found:
        key = json.dumps([each["backend"], each["of"]], sort_keys=True)
        groups.setdefault(key, []).append(each)
    return dict(sorted(groups.items()))


def joined(checks: Iterable[Json]) -> list[Json]:
    """One check an id, sorted: what several items saw of one is told as the gravest of them."""
    by_id: dict[str, Json] = {}
    for check in checks:
        other = by_id.get(check["id"])
        if other is None:
            by_id[check["id"]] = check
            continue
        gravest = max(other, check, key=_gravity)
        examples = other["examples"] + check["examples"]
        by_id[check["id"]] = {**gravest, "examples": examples}
    return [by_id[id] for id in sorted(by_id)]


def _place(row: Json) -> tuple[int | str, ...]:
    return (
        row["surface"],
        list(FLOATS).index(row["dtype"]),
        REDUCTIONS.index(row["reduction"]),
        QUANTITIES.index(row["quantity"]),
    )


def _gravity(check: Json) -> tuple[int, str]:
    """Ties are broken by what the check says, so that the order of workers makes no difference."""
    said = {k: check[k] for k in ("summary", "witness")}
    return GRAVITY.get(check["verdict"], FIXED), json.dumps(said, sort_keys=True)
