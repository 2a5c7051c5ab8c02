"""Puts questions to a backend and yields what happens, as typed events; knows no output."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from .adapters import AdapterFile
from .check import Check
from .judge import Finding
from .question import EqualsCall, Question
from .session import BackendUnavailable, Session
from .tolerance import Grade
from .vocabulary import Backend, Call, Outcome
from .witness import checks, not_asked


@dataclass(frozen=True)
class BackendStarted:
    """A worker in `python` has imported its framework; `total` questions follow."""

    backend: Backend
    total: int
    python: str


@dataclass(frozen=True)
class BackendNotRun:
    """A backend could not be started: which interpreter, and what it said."""

    adapter: str
    python: str
    reason: str


@dataclass(frozen=True)
class Answered:
    """A question was answered; it gave these checks."""

    checks: tuple[Check, ...]


@dataclass(frozen=True)
class WorkerLost:
    """A worker died between two calls, after the question `after` had been answered."""

    after: str
    cause: str


@dataclass(frozen=True)
class BackendFinished:
    """All questions were put, or the rest could not be (`broken` says why)."""

    backend: Backend
    restarts: int
    broken: str | None = None


Event = BackendStarted | BackendNotRun | Answered | WorkerLost | BackendFinished


@dataclass(frozen=True)
class Job:
    """One backend to run: its adapter, its interpreter, how to open a session, what to ask."""

    adapter: AdapterFile
    python: str
    open: Callable[[], Session]
    questions: Sequence[Question]
    grade: Grade = "stable"


def run(jobs: Iterable[Job]) -> Generator[Event, None, None]:
    """Runs the jobs one after the other; one that cannot start does not stop the rest."""
    for job in jobs:
        yield from run_job(job)


def run_job(job: Job) -> Generator[Event, None, None]:
    try:
        session = job.open()
    except BackendUnavailable as error:
        reason = f"{error} ({job.adapter.name} needs {job.adapter.needs})"
        yield BackendNotRun(job.adapter.name, job.python, reason)
        return
    with closing(session):
        yield BackendStarted(session.backend, len(job.questions), job.python)
        yield from _put_questions(session, job)


def _put_questions(session: Session, job: Job) -> Generator[Event, None, None]:
    """Every question in turn; once no worker can be had any more, the rest are not put."""
    broken: str | None = None
    seen = 0
    previous = "the start"
    for question in job.questions:
        if broken is None:
            try:
                answered = ask(session, question, job.adapter, job.grade)
            except BackendUnavailable as error:
                broken = str(error)
        if broken is not None:
            answered = _not_put(question, broken, session.backend, job.adapter)
        yield from _deaths(session, seen, previous)
        seen, previous = len(session.lost), question.id
        yield Answered(tuple(answered))
    session.close()  # a worker that died after the last question is noticed here
    yield from _deaths(session, seen, previous)
    yield BackendFinished(session.backend, session.restarts, broken)


def _deaths(session: Session, seen: int, previous: str) -> Generator[Event, None, None]:
    for death in session.lost[seen:]:
        yield WorkerLost(previous, death.cause)


def ask(session: Session, question: Question, adapter: AdapterFile, grade: Grade) -> list[Check]:
    """The checks of one question. Raises BackendUnavailable where no worker can be had any more."""
    backend = session.backend
    if question.requires is not None and question.requires.lower() != backend.platform_kind.lower():
        reason = f"the claim is about {question.requires}; this run is on {backend.platform_kind}"
        return not_asked(question, Finding("unsupported", "semantics", reason), backend, adapter)
    answers = _answers(session, question.call)
    promise = question.expectation.promise
    others = _answers(session, promise.other) if isinstance(promise, EqualsCall) else {}
    return checks(question, answers, others, grade, backend, adapter)


def _answers(session: Session, call: Call) -> dict[str, Outcome]:
    """Each quantity in a call of its own, so that a refusal of one says nothing of the next."""
    return {quantity: session.run(replace(call, want=(quantity,))) for quantity in call.want}


def _not_put(
    question: Question, broken: str, backend: Backend, adapter: AdapterFile
) -> list[Check]:
    finding = Finding("crashed", "semantics", f"not asked, for the backend is gone: {broken}")
    return not_asked(question, finding, backend, adapter)


__all__ = [
    "Answered", "BackendFinished", "BackendNotRun", "BackendStarted", "Event", "Job",
    "WorkerLost", "ask", "run", "run_job",
]  # fmt: skip
