"""What a person sees while a run goes on and when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from ..check import FAILING
from ..engine import (
    Answered,
    BackendFinished,
    BackendNotRun,
    BackendStarted,
    Event,
    WorkerLost,
)
from .markdown import Column, Row, present, rows

Json = dict[str, Any]
EVERY = 100
"""Without a terminal, a line of progress after this many questions."""


class Terminal:
    """Shows events as they come: a live bar on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress: Progress | None = None
        self.task: TaskID | None = None
        self.name = ""
        self.total = self.done = self.failing = 0

    def show(self, event: Event) -> None:
        if isinstance(event, BackendStarted):
            self._started(event)
        elif isinstance(event, BackendNotRun):
            self._print(f"[bold red]NOT RUN {event.adapter}[/]: {escape(event.reason)}")
        elif isinstance(event, Answered):
            self._answered(event)
        elif isinstance(event, WorkerLost):
            told = f"the worker died after {event.after}: {event.cause}"
            self._print(f"[bold red]{self.name}[/]: {escape(told)}")
        else:
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
        what = f"{backend.framework_version} on {backend.device} ({backend.device_name})"
        self._print(
            f"[bold]{backend.adapter}[/] {escape(what)}, {backend.mode}, Python {backend.python}: "
            f"{event.total} questions"
        )
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                       TextColumn("{task.fields[failing]} deviate"))  # fmt: skip
            self.progress = Progress(*columns, console=self.console, transient=True)
            self.progress.start()
            self.task = self.progress.add_task(backend.adapter, total=event.total, failing=0)

    def _answered(self, event: Answered) -> None:
        self.done += 1
        for check in event.checks:
            if check.verdict in FAILING:
                self.failing += 1
                told = f"{escape(check.id)}\n    {escape(check.summary)}"
                self._print(f"  [red]{check.verdict}[/] {told}")
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=self.done, failing=self.failing)
        elif self.done % EVERY == 0 and self.done < self.total:
            self._print(f"  {self.done}/{self.total} questions, {self.failing} deviate")

    def _finished(self, event: BackendFinished) -> None:
        self.close()
        told = f"  {self.done}/{self.total} questions, {self.failing} deviate"
        if event.restarts:
            told += f", worker restarted {event.restarts} times"
        self._print(told)
        if event.broken:
            self._print(f"[bold red]{self.name} was lost[/]: {escape(event.broken)}")

    def _print(self, markup: str) -> None:
        self.console.print(markup, highlight=False, soft_wrap=True)


WIDE = 130
"""Columns that the matrix needs; narrower terminals get two lines a surface."""


def matrix(reports: Sequence[Json], width: int) -> RenderableType:
    """Surfaces down; claims kept and broken, then checks by verdict, across."""
    made = rows(reports)
    columns = present(made)
    return _table(made, columns) if width >= WIDE else _lines(made, columns)


def _lines(made: Sequence[Row], columns: Sequence[Column]) -> Text:
    text = Text()
    for row in made:
        text.append(f"{row.release}  {row.surface}\n", style="bold")
        text.append(f"    claims: {row.kept} kept, ").append_text(_alarm("broken", row.broken))
        text.append(f" broken; {row.checks.total()} checks:")
        for (name, _), count in zip(columns, row.counts(columns), strict=True):
            text.append(" ").append_text(_alarm(name, count)).append(f" {name}")
        text.append("\n")
    return text


def _table(made: Sequence[Row], columns: Sequence[Column]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("release", no_wrap=True)
    table.add_column("surface", overflow="fold")
    for name in ("claims kept", "claims broken", "checks", *(name for name, _ in columns)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in made:
        cells = [Text(str(row.kept)), _alarm("broken", row.broken), Text(str(row.checks.total()))]
        counted = zip(columns, row.counts(columns), strict=True)
        cells += [_alarm(name, count) for (name, _), count in counted]
        table.add_row(Text(row.release), Text(row.surface), *cells)
    return table


def _alarm(name: str, count: int) -> Text:
    return Text(str(count), style="bold red" if count and name in ("broken", "crashed") else "")


def console() -> Console:
    """Standard output; a pipe or a file is as wide as its lines need."""
    output = Console(highlight=False)
    return output if output.is_terminal else Console(highlight=False, width=200)
