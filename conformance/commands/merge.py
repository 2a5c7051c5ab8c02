"""`bce-conformance merge`: shards of a run or a sweep into one report, backends into one folder."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..adapters import AdapterFile, available
from ..findings import gather
from ..model.check import FAILING
from ..report import sweep_report as sweep_report
from ..report import terminal
from ..report.document import (
    backend_from_json,
    by_verdict,
    file_name,
    is_sweep,
    swept_dtype,
)
from ..report.markdown import summary
from ..report.read import read, reports_in
from ..report.write import atomically, write_report
from . import UsageError

Json = dict[str, Any]


def command(options: Namespace) -> int:
    """Exit status 0, or 1 where something in the reports fails; raises UsageError."""
    paths = [path for given in options.reports for path in _files(given)]
    if not paths:
        raise UsageError("merge: expected reports (JSON), and found none")
    adapters = available(options.adapter)
    results = merged(by_sweep(paths), adapters)
    for name, report in results.items():
        write_report(options.output / name, report, options.compress)
    runs = [report for report in results.values() if not is_sweep(report)]
    if runs:
        atomically(options.output / "summary.md", summary(runs, []))
    console = terminal.console()
    for name in results:
        written = f"{name}.gz" if options.compress else name
        console.print(f"{options.output / written}", markup=False, highlight=False, soft_wrap=True)
    return int(any(not FAILING.isdisjoint(report["summary"]) for report in results.values()))


def _files(given: Path) -> list[Path]:
    return reports_in(given) if given.is_dir() else [given]


Group = list[tuple[Path, Json]]
OF_THE_RELEASE = ("adapter", "framework_version", "device", "mode", "surfaces")
"""What the shards of one whole have in common; they may come from several machines."""


def by_sweep(paths: Sequence[Path]) -> list[Group]:
    """The reports that are parts of one whole, together. Raises UsageError."""
    groups: dict[str, Group] = {}
    for path in paths:
        report = read(path)
        suite = {k: v for k, v in report["suite"].items() if k != "shard"}
        _, shards = _shard(report)
        plan = {k: v for k, v in report.get("units", {}).get("plan", {}).items() if k != "shard"}
        release = [report["backend"][name] for name in OF_THE_RELEASE]
        key = json.dumps([release, suite, shards, plan, swept_dtype(report)], sort_keys=True)
        groups.setdefault(key, []).append((path, report))
    return list(groups.values())


def _shard(report: Json) -> tuple[int, int]:
    """Which shard of how many the report is."""
    index, _, count = (report["suite"]["shard"] or "1/1").partition("/")
    return int(index), int(count)


def merged(groups: Sequence[Group], adapters: Mapping[str, AdapterFile]) -> dict[str, Json]:
    """One report a group, by file name. Raises UsageError where a shard lacks or comes twice."""
    results: dict[str, Json] = {}
    for group in groups:
        _require_whole(group)
        reports = _of_one_backend([report for _, report in group])
        first, name = reports[0], group[0][0].name
        adapter = adapters.get(first["backend"]["adapter"])
        if adapter is None:
            raise UsageError(f"{group[0][0]}: expected one of {', '.join(adapters)}, not "
                             f"{first['backend']['adapter']!r}")  # fmt: skip
        if is_sweep(first):
            backend = backend_from_json(first["backend"])
            if len(reports) > 1:
                first = sweep_report.joined(reports, backend, adapter)
                name = sweep_report.file_name(backend, sweep_report.plan_of(reports[0]))
        elif len(reports) > 1:
            first = _joined(reports)
        if not is_sweep(first):
            name = file_name(first, tuple(results))
        results[name] = first
    return results


def _require_whole(group: Group) -> None:
    """Raises UsageError unless every shard is there, once."""
    shards = [(report["suite"]["shard"] or "1/1", path) for path, report in group]
    count = int(shards[0][0].split("/")[1])
    met: dict[str, Path] = {}
    for shard, path in shards:
        if shard in met:
            raise UsageError(f"{path}: shard {shard} is there twice, the first in {met[shard]}")
        met[shard] = path
    missing = [f"{i}/{count}" for i in range(1, count + 1) if f"{i}/{count}" not in met]
    if missing:
        raise UsageError(f"{group[0][0]}: shard {', '.join(missing)} of the same run is missing")
    broken = [path for path, report in group if report["interrupted"]]
    if broken:
        raise UsageError(f"{broken[0]}: the run was interrupted; run that shard to its end first")


def _of_one_backend(reports: Sequence[Json]) -> list[Json]:
    """The reports in the order of their shards, each naming every machine that took part."""
    ordered = sorted(reports, key=_shard)
    backends = [report["backend"] for report in ordered]
    together = {name: _of_all([backend[name] for backend in backends]) for name in backends[0]}
    return [{**report, "backend": together} for report in ordered]


def _of_all(values: Sequence[Any]) -> Any:
    """Texts side by side, lists as far as they agree."""
    if isinstance(values[0], list):
        return [each for each in values[0] if all(each in value for value in values)]
    return "; ".join(dict.fromkeys(values))


def _joined(reports: Sequence[Json]) -> Json:
    """The shards of a run as one report: checks side by side, rows of figures added up."""
    checks = [check for report in reports for check in report["checks"]]
    counts = Counter(check["verdict"] for check in checks)
    first = reports[0]
    effort: Counter[str] = Counter()
    for report in reports:
        effort.update(report["times"].get("generated", {}))
    return {
        **first,
        "suite": {**first["suite"], "shard": None},
        "broken": next((r["broken"] for r in reports if r["broken"]), None),
        "questions": sum(r["questions"] for r in reports),
        "lost_workers": [lost for r in reports for lost in r["lost_workers"]],
        "summary": by_verdict(counts),
        "findings": gather(checks),
        "checks": checks,
        "accuracy": added(row for report in reports for row in report["accuracy"]),
        "times": {
            "started": min(r["times"]["started"] for r in reports),
            "seconds": round(sum(r["times"]["seconds"] for r in reports), 1),
            "generated": {k: round(v, 3) for k, v in effort.items()},
        },
    }


def added(rows: Iterable[Json]) -> list[Json]:
    """Rows of figures, those of the same kind added up."""
    sums: dict[tuple[str, ...], Json] = {}
    for row in rows:
        key = tuple(row[k] for k in ("surface", "quantity", "dtype", "reduction"))
        sums[key] = _added(sums[key], row) if key in sums else row
    return list(sums.values())


ADDED = ("calls", "elements", "correctly_rounded")
LARGER = ("p50", "p99", "p999", "max_abs", "max_rel", "k_stable", "k_strict")


def _added(one: Json, other: Json) -> Json:
    """Two rows of the same kind as one. The percentiles of the whole are not known: the larger of
    the two is at least that."""
    worse = other if other["max_ulp"] > one["max_ulp"] else one
    return {
        **worse,
        **{name: one[name] + other[name] for name in ADDED},
        **{name: max(one[name], other[name]) for name in LARGER},
        "beyond": {g: one["beyond"][g] + n for g, n in other["beyond"].items()},
        "grades": {g: "beyond" if "beyond" in (one["grades"][g], v) else "within"
                   for g, v in other["grades"].items()},
        "not_compared": {k: one["not_compared"][k] + v for k, v in other["not_compared"].items()},
        "smallest_rtol": {
            a: _larger(one["smallest_rtol"][a], r) for a, r in other["smallest_rtol"].items()
        },
        "smallest_atol": {
            r: max(one["smallest_atol"][r], a) for r, a in other["smallest_atol"].items()
        },
        "beyond_strict_at": one["beyond_strict_at"] or other["beyond_strict_at"],
    }  # fmt: skip


def _larger(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)
