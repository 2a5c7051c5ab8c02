"""`bce-conformance report`: a folder of reports as a table, a Markdown page, a page of HTML."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ..model.check import FAILING
from ..report import sweep_markdown as sweeps
from ..report import terminal
from ..report.diff import Difference, difference
from ..report.document import comparable, is_sweep
from ..report.html.evidence import Kept
from ..report.html.render import page
from ..report.markdown import summary
from ..report.overview import overview
from ..report.read import read, reports_in
from ..report.write import atomically
from . import UsageError

Json = dict[str, Any]

SWEEPS = "sweeps"
"""The folder below a folder of reports where those of sweeps lie."""
SPOILT = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What reading a document raises that has the schema's name and not its form."""


def command(options: Namespace) -> int:
    """Exit status 0, or 1 where something in the reports fails; raises UsageError."""
    reports = collected(options.reports)
    earlier = None if options.since is None else collected(options.since)
    console = terminal.console()
    try:
        failing = any(map(_failing, reports))
        if options.html:
            atomically(options.html, page(reports, _changes(earlier, reports)))
        if options.markdown:
            atomically(options.markdown, _markdown(reports))
        if options.overview:
            atomically(options.overview, _overview(options.reports, reports, options.overview))
        if not (options.html or options.markdown or options.overview):
            _show(console, reports)
    except SPOILT as error:
        text = f"{_spoilt(reports)}: not as the schema of reports says: {type(error).__name__}: "
        raise UsageError(f"{text}{error}") from None
    for written in (options.html, options.markdown, options.overview):
        if written:
            text = f"{written}: {written.stat().st_size:,} bytes"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    return int(failing)


def _show(console: Console, reports: Sequence[Kept]) -> None:
    """The matrix of the runs; sweeps are but counted, unless there is nothing else."""
    swept = [kept.report for kept in reports if is_sweep(kept.report)]
    ran = [kept.report for kept in reports if not is_sweep(kept.report)]
    console.print(terminal.matrix(ran or swept, console.width))
    if ran and swept:
        console.print(f"\nand {len(swept)} of a sweep each, which --html and --markdown show")


def _failing(kept: Kept) -> bool:
    return not FAILING.isdisjoint(kept.report["summary"])


def _spoilt(reports: Sequence[Kept]) -> str:
    """The name of the first report of which no page can be made."""
    for kept in reports:
        try:
            _failing(kept)
            page([kept])
        except SPOILT:
            return kept.name
    return "the reports together"


def collected(given: Path) -> list[Kept]:
    """A report, or those of a folder and of its `sweeps`. Raises UsageError where there is none."""
    return [Kept(path.name, read(path)) for path in _paths(given)]


def _paths(given: Path) -> list[Path]:
    if given.is_dir():
        sweeps = given / SWEEPS
        paths = reports_in(given) + (reports_in(sweeps) if sweeps.is_dir() else [])
    else:
        paths = [given]
    if not paths:
        raise UsageError(f"{given}: expected reports (JSON), and found none")
    return paths


def _overview(given: Path, reports: Sequence[Kept], file: Path) -> str:
    """The front page of a folder: its reports, and links to the other pages that lie there."""
    folder = given if given.is_dir() else given.parent
    pages = [path for suffix in ("md", "html") for path in sorted(folder.rglob(f"*.{suffix}"))
             if path.resolve() != file.resolve()]  # fmt: skip
    return overview(
        {_link(path, file): kept.report for path, kept in zip(_paths(given), reports, strict=True)},
        {_link(path, file): _title(path) for path in pages},
    )


def _link(path: Path, file: Path) -> str:
    return Path(os.path.relpath(path, file.parent)).as_posix()


def _title(path: Path) -> str:
    """What a page says it is: its heading."""
    if path.suffix == ".html":
        return "All of it as one page of HTML"
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ") or path.name


def _markdown(reports: Sequence[Kept]) -> str:
    """The page of the runs, and that of the sweeps below it."""
    swept = [kept.report for kept in reports if is_sweep(kept.report)]
    ran = [kept.report for kept in reports if not is_sweep(kept.report)]
    pages = [summary(ran, [])] if ran else []
    return "\n".join([*pages, sweeps.page(swept)] if swept else pages)


def _changes(earlier: Sequence[Kept] | None, now: Sequence[Kept]) -> list[Difference] | None:
    """From each earlier report to that of the same backend; None where none was given."""
    if earlier is None:
        return None
    before: dict[tuple[str, ...], Kept] = {}
    for kept in earlier:
        key = comparable(kept.report)
        if key in before:
            raise UsageError(f"{kept.name}: a second earlier report of {' '.join(key).strip()}, "
                             f"beside {before[key].name}")  # fmt: skip
        before[key] = kept
    return [
        difference(before[comparable(kept.report)].report, kept.report)
        for kept in now
        if comparable(kept.report) in before
    ]
