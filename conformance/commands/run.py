"""`bce-conformance run`: tests one or more backends and writes a report of each."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from ..adapters import AdapterFile, available
from ..generate.plan import Plan
from ..known import Known, load_known, shipped_known
from ..model.expectation import Case
from ..report import terminal
from ..report.document import Json, Record, Settings, document, file_name
from ..report.html.visible import visible
from ..report.judged import nothing_judged
from ..report.junit import junit
from ..report.markdown import summary
from ..report.write import atomically, json_text
from ..running.engine import Job, run
from ..session import OwnLoss
from . import UsageError
from .select import (
    Filter,
    Target,
    load_cases,
    parse_losses,
    parse_shard,
    require_known,
    targets,
)


def command(options: Namespace) -> int:
    """Exit status 0, 1, 3 or 130; raises for wrong usage and invalid files."""
    adapters = available(options.adapter)
    chosen = targets(options.backend, options.python, adapters)
    losses = parse_losses(options.loss)
    require_known(options.surface, options.dtype, chosen, losses)
    case_files = load_cases([options.cases] if options.cases else [], adapters)
    known = load_known([options.known or shipped_known()], adapters)
    selected = Filter(options.surface, options.dtype, parse_shard(options.shard))
    jobs = []
    for target in chosen:
        cases = selected.cases(case_files, target.adapter)
        if not cases and selected.everything and not losses:
            raise UsageError(f"no case file has a surface of {target.adapter.name}")
        jobs.append(_job(target, options, selected, cases, known, losses))
    require_writable(options.report_dir)
    record = Record(Settings(options.profile, options.seed, options.grade, options.shard))
    return _run(jobs, record, options)


def _job(
    target: Target,
    options: Namespace,
    selected: Filter,
    cases: list[Case],
    known: list[Known],
    losses: Sequence[OwnLoss],
) -> Job:
    start = partial(target.session, options.device, options.mode, options.timeout, losses)
    eager = partial(target.session, options.device, "eager", options.timeout, losses)
    generated = options.only != "cases" and bool(selected.floats)
    plan = Plan(options.seed, options.profile, selected.floats, selected.shard,
                few_shapes=options.mode != "eager")  # fmt: skip
    return Job(
        adapter=with_losses(target.adapter, losses) if losses else target.adapter,
        python=target.python,
        open=start,
        cases=[] if losses or options.only == "generated" else cases,
        grade=options.grade,
        plan=plan if generated else None,
        surfaces=() if losses else selected.of(target.adapter),
        must_accept=("float32",) if losses else (),
        known=known,
        eager=eager if options.mode != "eager" and "eager" in target.adapter.modes else None,
        whole=selected.everything and not (losses or options.only or options.cases),
    )


def with_losses(adapter: AdapterFile, losses: Sequence[OwnLoss]) -> AdapterFile:
    """The adapter, whose pastes import the user's losses, each in that of its surface."""
    where = {loss.surface: {"file": str(loss.file), "callable": loss.callable} for loss in losses}

    def reproduction(call: Json, literal: Callable[[Json], str]) -> str:
        return adapter.reproduction({**call, "own_loss": where[call["surface"]]}, literal)

    return replace(adapter, reproduction=reproduction)


def require_writable(folder: Path) -> None:
    """Raises UsageError before anything is run, rather than after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--report-dir: {folder}: {error.strerror}") from None


def _run(jobs: list[Job], record: Record, options: Namespace) -> int:
    console = terminal.console()
    display = terminal.Terminal(console, options.verbose)
    interrupted = False
    try:
        with closing(run(jobs)) as events:
            for event in events:
                record.take(event)
                display.show(event)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        display.close()
        reports = write(record, options.report_dir, options.junit)
    conclude(console, reports, record, options.report_dir)
    status, why = verdict(record, list(reports.values()), interrupted)
    console.print(f"{why}: exit status {status}", markup=False, highlight=False)
    return status


def verdict(record: Record, reports: Sequence[Json], interrupted: bool) -> tuple[int, str]:
    """The exit status of a run, and the reason in words; the gravest one counts."""
    if interrupted:
        return 130, "interrupted; the reports hold what had finished"
    if record.not_run:
        names = ", ".join(absent.adapter for absent in record.not_run)
        return 3, f"{names} could not be started"
    unjudged = [line for report in reports for line in nothing_judged(report)]
    if unjudged:
        return 3, unjudged[0]
    failing = [result.backend.adapter for result in record.results if result.failing]
    if failing:
        new = sum(f["verdict"] != "known" for r in reports for f in r["findings"])
        return 1, f"{new} new finding{'s'[: new != 1]} on {', '.join(failing)}"
    return 0, "nothing new deviates"


def write(record: Record, folder: Path, junit_file: Path | None) -> dict[str, Json]:
    """One JSON file a backend, summary.md for all of them, and JUnit XML where asked for."""
    reports: dict[str, Json] = {}
    for result in record.results:
        report = document(result, record.settings)
        reports[file_name(report, tuple(reports))] = report
    for name, report in reports.items():
        atomically(folder / name, json_text(report))
    atomically(folder / "summary.md", summary(list(reports.values()), record.not_run))
    if junit_file is not None:
        atomically(junit_file, junit(list(reports.values()), record.not_run))
    return reports


def conclude(console: Console, reports: dict[str, Json], record: Record, folder: Path) -> None:
    """What was not judged, the matrix, the accuracy, and last the findings."""
    console.print()
    for line in (line for report in reports.values() for line in nothing_judged(report)):
        console.print(visible(line), markup=False, highlight=False, soft_wrap=True)
    console.print(terminal.matrix(list(reports.values()), console.width))
    console.print()
    for report in reports.values():
        console.print(terminal.exact(report, console.width), end="")
    for (name, report), result in zip(reports.items(), record.results, strict=True):
        path = str(folder / name)
        if not any(nothing_judged(report)):
            found = terminal.findings(report, path, result.python)
            console.print(found, end="", highlight=False, soft_wrap=True)
        console.print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)
    for absent in record.not_run:
        console.print(f"NOT RUN {absent.adapter}: {absent.reason}", markup=False, soft_wrap=True)
