"""`bce-conformance sweep`: every logit of a dtype, resumable, in one process or several."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .. import __version__
from ..adapters import available
from ..generate.needed_weights import tested_surface
from ..known import Known, load_known, shipped_known
from ..model.case_family import TestedSurface
from ..report import terminal
from ..report.document import backend_json
from ..report.read import reports_in
from ..report.sweep_markdown import page
from ..report.sweep_report import Swept, checked, document, file_name, tested_json
from ..report.write import atomically, json_text
from ..session import BackendUnavailable, IsolatedSession
from ..sweep.journal import Journal
from ..sweep.line import array, blocks
from ..sweep.plan import SWEPT, SweepPlan
from ..sweep.run import work
from . import UsageError
from .merge import by_sweep, merged
from .run import require_writable
from .select import Target, parse_shard, require_known, targets

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""A sweep is split over processes, not over a framework's threads."""
FIRST_SURFACES = 1
"""How many of a backend's surfaces are swept in float32 and float64 where none is named."""

Json = dict[str, Any]


def command(options: Namespace) -> int:
    """Exit status 0, 1, 3 or 130; raises for wrong usage."""
    adapters = available(options.adapter)
    chosen = targets(options.backend, options.python, adapters)
    shard = parse_shard(options.shard)
    _require(options, chosen)
    # Before anything is swept: a mistake in it must not show after hours.
    known = load_known([options.known or shipped_known()], adapters)
    require_writable(options.report_dir)
    console = terminal.console()
    statuses = []
    for target in chosen:
        for dtype in options.dtype or ("float16", "bfloat16", "float32"):
            plan = SweepPlan(dtype, options.quantity, options.seed, options.samples, shard)
            if options.jobs > 1:
                statuses.append(_in_processes(target, plan, options, console))
            else:
                statuses.append(_Sweep(target, plan, options, known, console).run())
    return next((s for s in (130, 3, 1) if s in statuses), 0)


def _require(options: Namespace, chosen: Sequence[Target]) -> None:
    require_known(options.surface, (), chosen, ())
    for dtype in options.dtype:
        if dtype not in SWEPT:
            raise UsageError(f"--dtype: expected one of {', '.join(SWEPT)}, not {dtype!r}")
    wanted = options.dtype or ("float32",)
    if "float32" in wanted and importlib.util.find_spec("numba") is None:
        raise UsageError("--dtype float32: expected numba, which compiles the judge, to be "
                         "installed: pip install 'bce-conformance[sweep]'")  # fmt: skip
    if options.tile % 1024 or options.tile > 1 << 20:
        raise UsageError(f"--tile: expected a multiple of 1024 up to {1 << 20}, not {options.tile}")


@dataclass
class _Sweep:
    """One backend and dtype, in this process."""

    target: Target
    plan: SweepPlan
    options: Namespace
    known: Sequence[Known]
    console: Console

    def run(self) -> int:
        name = f"{self.target.adapter.name} {self.plan.dtype}"
        try:
            session = self._session()
        except BackendUnavailable as error:
            self.console.print(f"NOT RUN {name}: {error}", markup=False, soft_wrap=True)
            return 3
        with closing(session):
            tested = tuple(a for a in self._tested(session) if self._takes(session, a))
            if not tested:
                self.console.print(f"{name}: no surface takes {self.plan.dtype}; nothing swept")
                return 0
            return self._swept(session, tested)

    def _session(self) -> IsolatedSession:
        options = self.options
        variables = {} if options.threads else dict.fromkeys(ONE_THREAD, "1")
        return self.target.session(options.device, options.mode, options.timeout,
                                   variables=variables)  # fmt: skip

    def _tested(self, session: IsolatedSession) -> list[TestedSurface]:
        names = [s for s in session.backend.surfaces if s in self.options.surface]
        if not names:
            few = self.plan.dtype in ("float32", "float64")
            names = list(session.backend.surfaces)[: FIRST_SURFACES if few else None]
        return [tested_surface(session, name) for name in names]

    def _takes(self, session: IsolatedSession, tested: TestedSurface) -> bool:
        """Whether the surface has the dtype at all: a refusal is no deviation."""
        cell = next(iter(self.plan.cells([tested])))
        two = array(self.plan.dtype, blocks(self.plan.dtype)[1].bits(0, 2))
        return cell.quantity in session.run(cell.call(two)).values

    def _swept(self, session: IsolatedSession, tested: tuple[TestedSurface, ...]) -> int:
        folder, plan = self.options.report_dir, self.plan
        name = file_name(session.backend, plan)
        journal = Journal(folder / f"{name[:-5]}.journal", self._about(session, tested))
        if journal.started_anew:
            text = f"{journal.path.name} was of another sweep: begun anew"
            self.console.print(text, markup=False)
        swept = Swept(plan, tested, journal.done, self.options.grade, datetime.now(UTC), 0.0)
        start, interrupted, broken = time.monotonic(), False, None
        try:
            self._work(session, swept, journal)
        except KeyboardInterrupt:
            interrupted = True
        except BackendUnavailable as error:
            broken = str(error)
        journal.close()
        spent = sum(done.seconds for done in journal.done.values())
        swept = replace(swept, done=journal.done, broken=broken,
                        seconds=max(spent, time.monotonic() - start),
                        lost=tuple(lost.cause for lost in session.lost))  # fmt: skip
        if interrupted or broken:
            left = sum(unit.index not in journal.done for unit in swept.units)
            why = "interrupted" if interrupted else broken
            self.console.print(f"{why}: {left} units left; the same command goes on from here",
                               markup=False, soft_wrap=True)  # fmt: skip
            if interrupted:
                session.renew()
            else:
                return 3
        return self._concluded(session, swept, journal, folder / name, interrupted)

    def _about(self, session: IsolatedSession, tested: tuple[TestedSurface, ...]) -> Json:
        """What must be the same for a sweep to go on from what another run has done."""
        return {
            "sweep": __version__,
            "backend": backend_json(session.backend),
            "plan": asdict(self.plan),
            "asked": list(map(tested_json, tested)),
            "tile": self.options.tile,
            "timed": self.options.timed,
        }

    def _work(self, session: IsolatedSession, swept: Swept, journal: Journal) -> None:
        before = frozenset(journal.done)
        columns = (TextColumn("{task.description}"), BarColumn(),
                   TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=self.console, transient=True,
                      disable=not self.console.is_terminal) as progress:  # fmt: skip
            label = f"{self.target.adapter.name} {self.plan.dtype}"
            task = progress.add_task(label, total=len(swept.units), completed=len(journal.done))
            timed = self.options.timed
            tile = self.options.tile
            with closing(work(session, self.plan, swept.units, before, tile, timed)) as found:
                for done in found:
                    journal.add(done)
                    progress.advance(task)

    def _concluded(
        self,
        session: IsolatedSession,
        swept: Swept,
        journal: Journal,
        path: Path,
        interrupted: bool,
    ) -> int:
        adapter = self.target.adapter
        about = {k.check: k for k in self.known if k.applies(session.backend)}
        try:
            checks = checked(swept, session, adapter, about)
        except BackendUnavailable as error:
            self.console.print(f"{error}", markup=False, soft_wrap=True)
            return 3
        report = document(swept, session.backend, adapter, checks)
        atomically(path, json_text(report))
        write_page(path.parent)
        if not interrupted:
            journal.path.unlink(missing_ok=True)
        show(self.console, report, path)
        failing = any(check.failing for check in checks.values())
        return 130 if interrupted else int(failing)


def write_page(folder: Path) -> None:
    """A page about all sweeps in a folder."""
    reports = [json.loads(file.read_text(encoding="utf-8")) for file in
               sorted(folder.glob("*-sweep-*.json"))]  # fmt: skip
    whole = [report for report in reports if "units" not in report]
    if whole:
        atomically(folder / "sweeps.md", page(whole))


def show(console: Console, report: Json, path: Path) -> None:
    """What a sweep found, a check a line, and how long it took."""
    by_id = {check["id"]: check for check in report["checks"]}
    for check in by_id.values():
        console.print(f"{check['verdict']:9} {check['id']}", markup=False, highlight=False,
                      soft_wrap=True)  # fmt: skip
        console.print(
            f"          {check['summary']}", markup=False, highlight=False, soft_wrap=True
        )
    for row in report["accuracy"]:
        ratio = f", {row['time_ratio']:.2f} times the framework alone" if row["time_ratio"] else ""
        console.print(
            f"{row['sweep']['name']} {row['quantity']}: {row['seconds_total']:.1f} s{ratio}",
            markup=False, highlight=False,
        )  # fmt: skip
    console.print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)


def _in_processes(target: Target, plan: SweepPlan, options: Namespace, console: Console) -> int:
    """The sweep as `jobs` shards of it, each in a process of its own, and their reports joined.

    Of a sweep that is a shard itself they are left as they are: `merge` is given all of them.
    """
    index, count = plan.shard
    shards = [f"{index + count * job}/{count * options.jobs}" for job in range(options.jobs)]
    name = f"{target.adapter.name}-{plan.dtype}-jobs"
    folder = options.report_dir if count > 1 else options.report_dir / name
    commands = [_command(target, plan, options, shard, folder) for shard in shards]
    processes = [subprocess.Popen(words) for words in commands]
    try:
        statuses = [process.wait() for process in processes]
    except KeyboardInterrupt:
        statuses = [process.wait() for process in processes]
        return 130
    if max(statuses) > 1 or min(statuses) < 0:
        return max(statuses) if max(statuses) > 1 else 1
    if count == 1:
        _join(folder, options, console)
    return max(statuses)


def _join(folder: Path, options: Namespace, console: Console) -> None:
    """The reports of a folder as one beside it; the folder goes."""
    written = reports_in(folder)
    for name, report in merged(by_sweep(written), available(options.adapter)).items():
        path = options.report_dir / name
        atomically(path, json_text(report))
        show(console, report, path)
    shutil.rmtree(folder)
    write_page(options.report_dir)


def _command(
    target: Target, plan: SweepPlan, options: Namespace, shard: str, folder: Path
) -> list[str]:
    words = [sys.executable, "-m", __package__.rsplit(".", 1)[0], "sweep",
             "--backend", f"{target.adapter.name}={target.python}", "--dtype", plan.dtype,
             "--quantity", plan.quantity, "--shard", shard, "--seed", str(plan.seed),
             "--samples", str(plan.samples), "--tile", str(options.tile),
             "--timed", str(options.timed), "--device", options.device, "--mode", options.mode,
             "--timeout", str(options.timeout), "--grade", options.grade,
             "--report-dir", str(folder)]  # fmt: skip
    for surface in options.surface:
        words += ["--surface", surface]
    words += ["--threads"] if options.threads else []
    words += ["--adapter", str(options.adapter)] if options.adapter else []
    words += ["--known", str(options.known)] if options.known else []
    return words
