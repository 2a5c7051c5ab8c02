"""Puts questions to a backend and yields what happens, as typed events; knows no output."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any

from ..adapters import AdapterFile
from ..generate.plan import Plan
from ..judging.rules import Judgement
from ..judging.tolerance import Grade
from ..known import Known
from ..model.call import Backend, Call, Outcome
from ..model.case_family import EVERYTHING, Signature
from ..model.check import Check, Witness
from ..model.expectation import Case, SameAsEager
from ..session import BackendUnavailable, Session
from .generated import GeneratedRun
from .witness import case_json, checks, not_tested


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
class ChecksReady:
    """A question was answered; it gave these checks."""

    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Measured:
    """The accuracy of the results: rows of the report's `accuracy` (see `accuracy.rows`).

    effort: how many examples and elements were judged, and in how many seconds (they differ from
    run to run): all of it, and the framework's own share.
    """

    rows: tuple[dict[str, Any], ...]
    effort: dict[str, float] = field(default_factory=dict)


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


Event = BackendStarted | BackendNotRun | ChecksReady | Measured | WorkerLost | BackendFinished


@dataclass(frozen=True)
class Job:
    """One backend to run: its adapter, its interpreter, how to open a session, what to ask.

    questions are those of case files; plan is what is generated beside them, for `surfaces` (all
    of the backend's if empty). promised, signature: of a loss of the user's own, the dtypes in
    which it must accept what the formula allows, and what it takes. eager: how to open a
    session in eager mode, where `open` is in another, to compare the two. whole: nothing was
    filtered out, so that a known deviation which nothing asked about is stale.
    """

    adapter: AdapterFile
    python: str
    open: Callable[[], Session]
    cases: Sequence[Case]
    grade: Grade = "stable"
    plan: Plan | None = None
    surfaces: Sequence[str] = ()
    must_accept: tuple[str, ...] = ()
    signature: Signature = EVERYTHING
    known: Sequence[Known] = ()
    eager: Callable[[], Session] | None = None
    whole: bool = False


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
        total = len(job.cases) + (job.plan.size if job.plan else 0)
        yield BackendStarted(session.backend, total, job.python)
        yield from _Run(session, job).events()


def applying(known: Iterable[Known], backend: Backend) -> dict[str, Known]:
    """What this release is known to do, by check id; that of sweeps is asked by `sweep` alone."""
    return {k.check: k for k in known if k.applies(backend) and k.witness.kind != "sweep"}


class _Run:
    """One backend's questions while they are put, those of case files first."""

    def __init__(self, session: Session, job: Job) -> None:
        self.session, self.job = session, job
        self.known = applying(job.known, session.backend)
        self.seen = 0
        self.previous = "the start"
        self.broken: str | None = None
        self.tested: set[str] = set()

    def events(self) -> Generator[Event, None, None]:
        """Once no worker can be had any more, the rest is not put."""
        for case in self.job.cases:
            yield from self._answered(case.id, self._ask(case))
        if self.job.plan is not None and self.broken is None:
            yield from self._generated(self.job.plan)
        if self.job.whole and self.broken is None:
            stale = [never_tested(k) for k in self.known.values() if self._untested(k)]
            if stale:
                yield ChecksReady(tuple(stale))
        self.session.close()  # a worker that died after the last question is noticed here
        yield from self._deaths()
        yield BackendFinished(self.session.backend, self.session.restarts, self.broken)

    def _untested(self, known: Known) -> bool:
        """Whether it was due to be asked about, and was not: where little is asked, only what is
        known of that mode by name."""
        plan, mode = self.job.plan, self.session.backend.mode
        expected = plan is None or not plan.few_shapes or mode in known.modes
        return expected and known.check not in self.tested

    def _ask(self, case: Case) -> list[Check]:
        job = self.job
        if self.broken is None:
            try:
                answered = run_case(self.session, case, job.adapter, job.grade, self.known)
                return self._still(answered)
            except BackendUnavailable as error:
                self.broken = str(error)
        return _not_run(case, self.broken, self.session.backend, job.adapter)

    def _generated(self, plan: Plan) -> Generator[Event, None, None]:
        job, backend = self.job, self.session.backend
        surfaces = tuple(job.surfaces or backend.surfaces)
        generated: GeneratedRun | None = None
        with ExitStack() as opened:
            try:
                eager = job.eager and opened.enter_context(closing(job.eager()))
                eager_known = applying(job.known, eager.backend) if eager else {}
                generated = GeneratedRun(
                    self.session,
                    job.adapter,
                    plan,
                    surfaces,
                    job.grade,
                    self.known,
                    job.must_accept,
                    job.signature,
                    eager or None,
                    eager_known,
                )
                for title, answered in generated.checks():
                    yield from self._answered(title, self._still(answered))
            except BackendUnavailable as error:
                self.broken = str(error)
        if generated is not None:
            yield Measured(tuple(generated.tallies.rows(backend, job.adapter)), generated.effort)

    def _answered(self, name: str, answered: Sequence[Check]) -> Generator[Event, None, None]:
        yield from self._deaths()
        self.seen, self.previous = len(self.session.lost), name
        self.tested.update(check.id for check in answered)
        yield ChecksReady(tuple(answered))

    def _deaths(self) -> Generator[Event, None, None]:
        for death in self.session.lost[self.seen :]:
            yield WorkerLost(self.previous, death.cause)

    def _still(self, answered: Sequence[Check]) -> list[Check]:
        job = self.job
        return [still(self.session, c, job.adapter, job.grade, self.known) for c in answered]


def still(
    session: Session, check: Check, adapter: AdapterFile, grade: Grade, known: Mapping[str, Known]
) -> Check:
    """A check that no longer fails although it is known to: what its pinned witness says."""
    entry = known.get(check.id)
    if entry is None or check.verdict not in ("conforms", "characterised", "refused"):
        return check
    (again,) = run_case(session, entry.witness, adapter, grade, known)
    if again.verdict == "known":
        return replace(
            check, verdict="known", axis=again.axis, summary=again.summary,
            reason=again.reason, finding=again.finding, causes=again.causes, witness=again.witness,
        )  # fmt: skip
    summary = f"{entry.summary}. It no longer is: remove the entry or close its range"
    return replace(check, verdict="fixed", summary=summary, witness=again.witness,
                   reason=entry.title, finding=entry.id)  # fmt: skip


def never_tested(known: Known) -> Check:
    """The check of an entry whose id no question has: misspelt, or of a check that is gone."""
    where = f"{known.file.name}:{known.line}"
    summary = f"{where}: {known.check} was never asked: remove the entry or mend its id"
    call = known.witness.call
    return Check(
        id=known.check,
        surface=known.witness.surface,
        kind=known.witness.kind,
        quantity=known.quantity,
        dtype=call.logits.dtype,
        reduction=call.reduction,
        axis=known.axis,
        verdict="fixed",
        source=known.witness.source,
        summary=summary,
        reason=known.title,
        finding=known.id,
        witness=Witness(
            case_json(known.witness),
            known.quantity,
            {"promise": "is asked"},
            {"nothing": "never asked"},
            "",
        ),
    )


def run_case(
    session: Session,
    case: Case,
    adapter: AdapterFile,
    grade: Grade,
    known: Mapping[str, Known] | None = None,
    eager: Session | None = None,
) -> list[Check]:
    """The checks of one case; eager: a session in eager mode, for what compares the two.

    Raises BackendUnavailable where no worker can be had any more.
    """
    backend = session.backend
    if case.requires is not None and case.requires.lower() != backend.platform_kind.lower():
        reason = f"the claim is about {case.requires}; this run is on {backend.platform_kind}"
        return not_tested(case, Judgement("unsupported", "semantics", reason), backend, adapter)
    answers: dict[str, Outcome] = {}
    others: dict[str, Outcome] = {}
    for quantity in case.call.want:
        # Each quantity in calls of its own, so that a refusal of one says nothing of the next.
        outcomes = [session.run(call) for call in _wanting(case, quantity)]
        first = len(case.before)
        answers[quantity] = outcomes[first]
        if len(outcomes) > first + 1:
            others[quantity] = outcomes[-1]
        if eager is not None and isinstance(case.expectation.promise, SameAsEager):
            others[quantity] = eager.run(replace(case.call, want=(quantity,)))
    return checks(case, answers, others, grade, backend, adapter, known or {})


def _wanting(case: Case, quantity: str) -> Iterator[Call]:
    """The question's calls; what is compared wants this quantity alone."""
    for call in case.calls:
        compared = call is case.call or call not in case.before
        between = getattr(case.expectation.promise, "between", ())
        yield replace(call, want=(quantity,)) if compared and call not in between else call


def _not_run(case: Case, broken: str, backend: Backend, adapter: AdapterFile) -> list[Check]:
    judgement = Judgement("crashed", "semantics", f"not asked, for the backend is gone: {broken}")
    return not_tested(case, judgement, backend, adapter)


__all__ = [
    "BackendFinished",
    "BackendNotRun",
    "BackendStarted",
    "ChecksReady",
    "Event",
    "Job",
    "Measured",
    "WorkerLost",
    "applying",
    "never_tested",
    "run",
    "run_case",
    "run_job",
    "still",
]  # fmt: skip
