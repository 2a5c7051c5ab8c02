"""What a person sees while a run goes on and when it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ..findings import gather
from ..model.check import FAILING
from ..running.engine import (
    BackendFinished,
    BackendNotRun,
    BackendStarted,
    ChecksReady,
    Event,
    Measured,
    WorkerLost,
)
from . import accuracy_text
from .document import check_json
from .findings_text import counted, lines
from .html.visible import visible
from .matrix import ALARMING, CLAIMS, GENERATED, Row, present, release, rows

Json = dict[str, Any]
EVERY = 100
"""Without a terminal, a line of progress after this many tests."""


class Terminal:
    """Shows events as they come: a live bar on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console, verbose: bool = False) -> None:
        self.console, self.verbose = console, verbose
        self.shown: set[str] = set()
        self.progress: Progress | None = None
        self.task: TaskID | None = None
        self.name = ""
        self.total = self.done = self.failing = 0

    def show(self, event: Event) -> None:
        if isinstance(event, BackendStarted):
            self._started(event)
        elif isinstance(event, BackendNotRun):
            self._print(f"[bold red]NOT RUN {event.adapter}[/]: {escape(event.reason)}")
        elif isinstance(event, ChecksReady):
            self._checks_ready(event)
        elif isinstance(event, WorkerLost):
            message = f"the worker died after {event.after}: {event.cause}"
            self._print(f"[bold red]{self.name}[/]: {escape(message)}")
        elif not isinstance(event, Measured):
            self._finished(event)

    def close(self) -> None:
        """Takes the live display down, so that whatever follows is printed below it."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def _started(self, event: BackendStarted) -> None:
        backend = event.backend
        self.name = backend.adapter
        self.total, self.done, self.failing = event.total, 0, 0
        self.shown = set()
        what = f"{backend.framework_version} on {backend.device} ({backend.device_name})"
        self._print(
            f"[bold]{backend.adapter}[/] {escape(what)}, {backend.mode}, Python {backend.python}: "
            f"{event.total} tests"
        )
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                       TextColumn("{task.fields[failing]} failing"))  # fmt: skip
            self.progress = Progress(*columns, console=self.console, transient=True)
            self.progress.start()
            self.task = self.progress.add_task(backend.adapter, total=event.total, failing=0)

    def _checks_ready(self, event: ChecksReady) -> None:
        self.done += 1
        failing = [check for check in event.checks if check.verdict in FAILING]
        self.failing += len(failing)
        for check in event.checks if self.verbose else ():
            style = "red" if check.verdict in FAILING else "dim"
            self._print(f"  [{style}]{check.verdict}[/] {escape(check.id)}")
            self._print(f"    {escape(check.summary)}")
        for title in self._fresh(gather([check_json(check) for check in failing])):
            self._print(f"  [red]new[/]: {escape(title)}")
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=self.done, failing=self.failing)
        elif self.done % EVERY == 0 and self.done < self.total:
            self._print(f"  {self.done}/{self.total} tests, {self.failing} failing checks")

    def _fresh(self, findings: Sequence[Json]) -> list[str]:
        """The titles of findings that were not shown before."""
        fresh = {each["id"]: each["title"] for each in findings if each["id"] not in self.shown}
        self.shown |= fresh.keys()
        return list(fresh.values())

    def _finished(self, event: BackendFinished) -> None:
        self.close()
        message = f"  {self.done}/{self.total} tests, {self.failing} failing checks"
        if event.restarts:
            message += f", worker restarted {event.restarts} times"
        self._print(message)
        if event.broken:
            self._print(f"[bold red]{self.name} was lost[/]: {escape(event.broken)}")

    def _print(self, markup: str) -> None:
        self.console.print(markup, highlight=False, soft_wrap=True)


def findings(report: Json, path: str, python: str) -> Text:
    """The findings of a report that are not known, gravest first; of the known ones the titles."""
    text = Text(f"{release(report)}: {counted(report['findings'])}\n", style="bold")
    for each in report["findings"]:
        if each["verdict"] == "known":
            text.append(
                f"  known: {each['title']} ({len(each['checks'])} checks)\n", style="not bold"
            )
            continue
        first, *rest = lines(each, path, python)
        text.append(f"  {first}\n", style="not bold red")
        text.append("".join(f"  {line}\n" for line in rest), style="not bold")
    return text


WIDE = 130
"""Columns that the tables need; narrower terminals get two lines a surface, and fewer columns."""


def matrix(reports: Sequence[Json], width: int) -> RenderableType:
    """Surfaces down; claims and generated checks by the result of them across."""
    made = rows(reports)
    names = present(made)
    return _table(made, names) if width >= WIDE else _lines(made, names)


def _lines(made: Sequence[Row], names: Sequence[str]) -> Text:
    others = [name for name in names if name not in CLAIMS + GENERATED]
    text = Text()
    for row in made:
        text.append(f"{row.release}  {row.surface}\n", style="bold")
        message = [_sort("claims", row, [name for name in names if name in CLAIMS])]
        if row.generated:
            message.append(_sort("generated", row, [name for name in names if name in GENERATED]))
        message += [_alarm(name, row.counts[name]).append(f" {name}") for name in others]
        text.append("    ").append_text(Text("; ").join(message)).append("\n")
    return text


def _sort(sort: str, row: Row, names: Sequence[str]) -> Text:
    """claims: 12 kept, 0 broken."""
    words = ((_alarm(name, row.counts[name]), name.removeprefix(f"{sort} ")) for name in names)
    return Text(f"{sort}: ") + Text(", ").join(count.append(f" {word}") for count, word in words)


def _table(made: Sequence[Row], names: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("release", no_wrap=True)
    table.add_column("surface", overflow="fold")
    for name in names:
        table.add_column(name.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for row in made:
        cells = [_alarm(name, row.counts[name]) for name in names]
        table.add_row(Text(row.release), Text(row.surface), *cells)
    return table


def _alarm(name: str, count: int) -> Text:
    return Text(str(count), style="bold red" if count and name in ALARMING else "")


HEIGHT = 24
"""Lines that the exactness of a backend may take; what does not fit is counted."""
WIDE_EXACT = 150
"""Columns that the exactness of each quantity needs."""


def exact(report: Json, width: int) -> Text:
    """How exact a backend was: surfaces and dtypes down, quantities across; empty if unmeasured."""
    measured = report["accuracy"]
    if not measured:
        return Text()
    wide = width >= WIDE_EXACT
    groups = accuracy_text.EACH if wide else accuracy_text.FEW
    made = accuracy_text.lines(measured, groups)
    columns = [["", *(line.dtype for line in made)]]
    for index, name in enumerate(groups):
        columns.append([name, *(_cell(line.cells[index], wide) for line in made)])
    widths = [max(map(len, column)) for column in columns]
    text = Text()
    text.append(f"{release(report)}, accuracy\n", style="bold")
    explained = accuracy_text.EXPLAINED if wide else accuracy_text.EXPLAINED_BRIEFLY
    text.append(f"{fill(explained, width)}\n{_aligned(columns, 0, widths)}  within\n")
    for index, line in enumerate(made):
        if index == 0 or line.surface != made[index - 1].surface:
            text.append(f"{line.surface}\n", style="bold")
        style = "bold red" if line.grade == "neither" else ""
        text.append(f"{_aligned(columns, index + 1, widths)}  {line.grade}\n", style=style)
    return text.append(_beyond(measured, HEIGHT - text.plain.count("\n")))


def _aligned(columns: Sequence[Sequence[str]], row: int, widths: Sequence[int]) -> str:
    first, *cells = (column[row] for column in columns)
    padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
    return "  ".join(["", first.ljust(widths[0]), *padded])


def _cell(cell: accuracy_text.Cell | None, wide: bool) -> str:
    if cell is None:
        return "–"
    return cell.text if wide else cell.brief


def _beyond(measured: Sequence[Json], room: int) -> str:
    """The worst elements beyond the strict grade, as many as there is room for."""
    rows = accuracy_text.beyond_strict(measured, "dtype", "quantity")
    message = [f"  {accuracy_text.beyond_shortly(row)}" for row in rows]
    if len(message) >= room:  # the heading takes a line
        message = message[: max(room - 2, 0)]
    rest = len(rows) - len(message)
    more = f" ({rest} more in the summary)" if rest else ""
    return "\n".join([f"beyond the strict grade{more}:", *message, ""]) if rows else ""


class VisibleConsole(Console):
    """A console on which no text of a framework or a report is obeyed by the terminal.

    Escape sequences, controls and marks that turn the direction of writing are shown as escapes;
    the console's own styles are added after that.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            plain = segment.control is None
            yield Segment(visible(segment.text), segment.style) if plain else segment


def console() -> Console:
    """Standard output; a pipe or a file is as wide as its lines need."""
    output = VisibleConsole(highlight=False)
    return output if output.is_terminal else VisibleConsole(highlight=False, width=200)
