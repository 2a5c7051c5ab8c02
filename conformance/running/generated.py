"""Puts generated questions to a backend and folds the answers into checks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from ..adapters import AdapterFile
from ..generate import contracts
from ..generate.contracts import observers
from ..generate.needed_weights import as_asked
from ..generate.plan import Abilities, Plan
from ..judging.accuracy import Tallies
from ..judging.diagnosis import diagnosis
from ..judging.rules import KnownBehaviour
from ..judging.tolerance import Grade
from ..model.call import Array, Call, Crashed, Failure, Outcome, TimedOut
from ..model.case_family import EVERYTHING, Asked, Asking, Group, Series, Signature
from ..model.check import Check
from ..model.expectation import Question, SameAsEager, Unmoved
from ..session import Session
from .aggregate import FEW, GRAVITY, Example, Fold
from .shrink import TRIES, TRIES_WHERE_COMPILED, Witnesses, shrinks, shrunk, small, tries_for
from .witness import check_of

TRIES_IN_ALL = 1500
"""How often all failing checks together are asked again to make their witnesses small: a loss that
fails everywhere is not worth more. Beyond that each is asked LEAST_TRIES times."""
LEAST_TRIES = 4
NEW_WORKERS = 3


@dataclass
class Trial:
    """The generated questions of one backend.

    surfaces: which of the backend's are asked; promised: the dtypes in which they are due to
    accept what the formula allows; signature: what they take;
    known: what this release is known to do, by check id; eager: a session in eager mode, where
    `session` is in another, to compare the two, and eager_known what the release is known to do
    there.
    """

    session: Session
    adapter: AdapterFile
    plan: Plan
    surfaces: tuple[str, ...]
    grade: Grade
    known: Mapping[str, KnownBehaviour] = field(default_factory=dict)
    promised: tuple[str, ...] = ()
    signature: Signature = EVERYTHING
    eager: Session | None = None
    eager_known: Mapping[str, KnownBehaviour] = field(default_factory=dict)
    tallies: Tallies = field(default_factory=Tallies)
    examples: int = 0
    elements: int = 0
    _asked: dict[str, Asked] = field(default_factory=dict)
    _seen: dict[str, Fold] = field(default_factory=dict)
    _first: dict[tuple[str, ...], Call] = field(default_factory=dict)
    _remembers: dict[tuple[str, ...], bool] = field(default_factory=dict)
    _witnesses: Witnesses = field(default_factory=Witnesses)
    _in_vain: set[str] = field(default_factory=set)
    _tries: int = 0
    _renewed: int = 0
    _seconds: float = 0.0
    _framework: float = 0.0

    @property
    def effort(self) -> dict[str, float]:
        """Examples and elements judged, and the seconds that took, the framework's among them."""
        return {
            "examples": self.examples,
            "elements": self.elements,
            "seconds": round(self._seconds, 3),
            "framework_seconds": round(self._framework, 3),
        }

    def checks(self) -> Iterator[tuple[str, tuple[Check, ...]]]:
        """The checks group by group, each under its group's title.

        Raises BackendUnavailable where no worker can be had any more.
        """
        asked = tuple(self._as_asked(surface) for surface in self.surfaces)
        acceptance = self.plan.acceptance()
        folds = self._put(acceptance, asked)
        yield acceptance.title, self._concluded(folds)
        able = abilities(folds.values())
        for group in self.plan.groups(able):
            folds = self._put(group, asked)
            if folds:
                yield group.title, self._concluded(folds)
        yield "contracts seen in passing", self._concluded(self._seen)

    def alone(self, surface: str, group: Group) -> tuple[dict[str, Fold], tuple[Check, ...]]:
        """One group put to one surface: its folds, and the checks made of them and of the contracts
        seen in passing. Raises as `checks` does."""
        self._seen = {}
        folds = self._put(group, (self._as_asked(surface),))
        return folds, (*self._concluded(folds), *self._concluded(self._seen))

    def _as_asked(self, surface: str) -> Asked:
        if surface not in self._asked:
            asked = as_asked(self.session, surface, self.promised, self.signature)
            self._asked[surface] = asked
        return self._asked[surface]

    def _put(self, group: Group, asked: tuple[Asked, ...]) -> dict[str, Fold]:
        """Asks a group's questions; the folds of its own series, by check id."""
        folds: dict[str, Fold] = {}
        sent: deque[list[tuple[Series, Question, int, int]]] = deque()

        def calls() -> Iterator[list[Call]]:
            for batch in group.batches(asked):
                # A series that ends its worker is not asked on: each time costs a worker.
                batch = [a for a in batch if not _crashed(folds.get(a[0].check_id))]
                laid, places = _laid_out(batch)
                if laid:
                    sent.append(places)
                    yield laid

        start, framework = time.perf_counter(), self.session.framework_seconds
        for outcomes in self.session.stream(calls()):
            watched: set[int] = set()
            self._compare(folds, sent[0], outcomes)
            for series, question, first, last in sent.popleft():
                outcome, other = outcomes[first], outcomes[last] if last != first else None
                self._count(folds, series, question, outcome, other)
                if first not in watched:
                    watched.add(first)
                    self._watch(series, question, outcome)
        self._seconds += time.perf_counter() - start
        self._framework += self.session.framework_seconds - framework
        return folds

    def _count(
        self, folds: dict[str, Fold], series: Series, question: Question, outcome: Outcome,
        other: Outcome | None,
    ) -> None:  # fmt: skip
        self._first.setdefault(_kind_of(series), question.call)
        fold = self._fold(folds, series)
        finding = fold.add(question, outcome, other)
        self.examples += 1
        evidence = finding.evidence
        if evidence is not None:
            self.elements += evidence.result.size
            # A wrong formula is not a large error: what it gives says nothing of exactness.
            wrong = finding.axis == "semantics"
            if series.everyday and evidence.due.dtype == series.dtype and not wrong:
                self.tallies.add(
                    question.call, series.quantity, evidence.result, evidence.due, evidence.found
                )

    def _compare(
        self,
        folds: dict[str, Fold],
        asked: Sequence[tuple[Series, Question, int, int]],
        outcomes: Sequence[Outcome],
    ) -> None:
        """The same calls in eager mode, each compared once."""
        if self.eager is None:
            return
        compared = {
            first: (series, question)
            for series, question, first, _ in asked
            if series.kind in ("property", "reduction", "contract")
            and not isinstance(outcomes[first].failure, Crashed | TimedOut)
        }
        batch = [question.call for _, question in compared.values()]
        answers = chain.from_iterable(self.eager.stream([batch] if batch else []))
        for (first, (series, question)), outcome in zip(compared.items(), answers, strict=True):
            same = contracts.same_as_eager(series)
            about = same.ask(same, question.call)
            assert about is not None
            known = self.eager_known.get(series.check_id)
            self._fold(folds, same, known).add(about, outcomes[first], outcome)

    def _watch(self, series: Series, question: Question, outcome: Outcome) -> None:
        """What is seen in passing: forms and arguments, of calls that were answered."""
        answered = isinstance(outcome.of(series.quantity), Array)
        if series.kind not in ("property", "reduction") or not answered:
            return
        for seen in observers(series.asked, series.dtype, series.quantity, series.reduction):
            about = seen.ask(seen, question.call)
            if about is not None:
                self._fold(self._seen, seen).add(about, outcome, None)

    def _fold(
        self, folds: dict[str, Fold], series: Series, known: KnownBehaviour | None = None
    ) -> Fold:
        fold = folds.get(series.check_id)
        if fold is None:
            fold = Fold(series, self.grade, known or self.known.get(series.check_id))
            folds[series.check_id] = fold
        return fold

    def _concluded(self, folds: Mapping[str, Fold]) -> tuple[Check, ...]:
        conforming = [fold for fold in folds.values() if not fold.failing]
        # Where every shape is compiled, a smaller call would take seconds.
        compact = {} if self.plan.thrifty else self._compact(conforming)
        return tuple(self._conclude(fold, compact) for fold in folds.values())

    def _conclude(self, fold: Fold, compact: Mapping[str, Example]) -> Check:
        """The check of a fold: its decisive example, shrunk if it fails, else a small one."""
        example = fold.decisive
        assert example is not None
        finding = example.finding
        if fold.failing:
            guess = self._guess(example, fold.series.quantity)
            if fold.series.kind != "special":  # there the values are the question
                example = self._shrunk(fold, example)
            finding = example.finding
            example = self._with_history(fold, example)
            finding = example.finding
            if guess:
                finding = replace(finding, summary=f"{finding.summary}, {guess}")
        else:
            example = compact.get(fold.series.check_id, example)
        return check_of(
            example.question,
            fold.series.quantity,
            fold.told(finding),
            example.result,
            self.session.backend,
            self.adapter,
            examples=fold.examples,
        )

    def _with_history(self, fold: Fold, example: Example) -> Example:
        """The example as a new worker shows it: alone, or after the call that spoils it.

        A release that keeps something from an earlier call gives wrong results for right
        questions; the witness is then both calls. Looked into once for each kind of call.
        """
        question, series = example.question, fold.series
        first = self._first.get(_kind_of(series))
        settled = question.before or example.finding.verdict != "deviates"
        if first is None or settled or not isinstance(example.result, Array):
            return example
        after = replace(question, before=(first,))
        if _kind_of(series) not in self._remembers:
            self._remembers[_kind_of(series)] = self._is_remembered(fold, question, first)
        if not self._remembers[_kind_of(series)]:
            return example
        again = self._asked_alone(fold, after)
        if again.finding.verdict != "deviates":
            return example
        told = f"{again.finding.summary}; right in a new process, wrong after the other call"
        return replace(again, finding=replace(again.finding, summary=told))

    def _is_remembered(self, fold: Fold, question: Question, first: Call) -> bool:
        """Whether the question is answered rightly in a new worker, where `first` never was asked.

        A new worker costs seconds: none is started where `first` itself comes out wrong, nor for
        a surface that was as wrong in one before, nor more than NEW_WORKERS in all.
        """
        about, surface = fold.series.ask(fold.series, first), fold.series.surface
        if self._renewed == NEW_WORKERS or surface in self._in_vain or about is None:
            return False
        if self._asked_alone(fold, about).finding.verdict != "conforms":
            return False
        self._renewed += 1
        self.session.renew()
        right = self._asked_alone(fold, question).finding.verdict != "deviates"
        if right:
            self.session.renew()
        else:
            self._in_vain.add(surface)
        return right

    def _compact(self, folds: Sequence[Fold]) -> dict[str, Example]:
        """Small calls in the place of large ones that conform, found to conform too, by check id.

        The findings stay those of the large ones.
        """
        asked: list[tuple[Fold, Question]] = []
        for fold in folds:
            example = fold.decisive
            if example is not None and example.size > FEW:
                call = next(iter(small(example, FEW)), None)
                question = None if call is None else fold.series.ask(fold.series, call)
                if question is not None and len(question.calls) == 1:
                    asked.append((fold, question))
        answers = self.session.stream([[question.call for _, question in asked]] if asked else [])
        found: dict[str, Example] = {}
        for (fold, question), outcome in zip(asked, chain.from_iterable(answers), strict=True):
            again = Fold(fold.series, fold.grade, fold.known)
            again.add(question, outcome, None)
            smaller, example = again.decisive, fold.decisive
            assert smaller is not None and example is not None
            if smaller.finding.verdict == example.finding.verdict:
                found[fold.series.check_id] = smaller
        return found

    def _shrunk(self, fold: Fold, example: Example) -> Example:
        if not shrinks(example):
            return example
        most = TRIES_WHERE_COMPILED if self.plan.thrifty else TRIES
        left = tries_for(example, min(most, max(TRIES_IN_ALL - self._tries, LEAST_TRIES)))

        def again(call: Call) -> Example | None:
            self._tries += 1
            return self._again(fold, example, call)

        call = self._witnesses.of_name(fold.series)
        found = None if call is None else again(call)
        if found is None:
            found = shrunk(example, again, left)
            self._witnesses.keep(fold.series, found.question.call)
        return found

    def _guess(self, example: Example, quantity: str) -> str:
        if example.finding.axis != "semantics" or not isinstance(example.result, Array):
            return ""
        return diagnosis(example.question, quantity, example.result)

    def _again(self, fold: Fold, before: Example, call: Call) -> Example | None:
        """A simpler call asked: the example if it fails as gravely and of the same kind."""
        question = fold.series.ask(fold.series, call)
        if question is None or not all(map(self.signature.takes, question.calls)):
            return None
        try:
            smaller = self._asked_alone(fold, question)
        except ValueError:
            return None
        return smaller if fails_alike(before, smaller) else None

    def _asked_alone(self, fold: Fold, question: Question) -> Example:
        """The question's calls one after the other, outside of any batch."""
        outcomes = [self.session.run(each) for each in question.calls]
        first = len(question.before)
        other = outcomes[-1] if len(outcomes) > first + 1 else None
        if isinstance(question.expectation.promise, SameAsEager) and self.eager is not None:
            other = self.eager.run(question.call)
        again = Fold(fold.series, fold.grade, fold.known)
        again.add(question, outcomes[first], other)
        assert again.decisive is not None
        return again.decisive


def _kind_of(series: Series) -> tuple[str, ...]:
    """Calls of one kind: those between which a release may keep something."""
    return series.surface, series.quantity, series.reduction, series.dtype


def _crashed(fold: Fold | None) -> bool:
    decisive = None if fold is None else fold.decisive
    return decisive is not None and decisive.finding.verdict in ("crashed", "timed-out")


def _laid_out(
    batch: list[Asking],
) -> tuple[list[Call], list[tuple[Series, Question, int, int]]]:
    """The calls of a batch, each once, and where each question finds its first and last one.

    What is asked twice on purpose is run twice.
    """
    calls: list[Call] = []
    index: dict[int, int] = {}
    places = []
    for series, question in batch:
        if question.before or isinstance(question.expectation.promise, Unmoved):
            first = len(calls) + len(question.before)
            calls += question.calls
            places.append((series, question, first, len(calls) - 1))
            continue
        found = []
        for call in question.calls:
            if id(call) not in index:
                index[id(call)] = len(calls)
                calls.append(call)
            found.append(index[id(call)])
        places.append((series, question, found[0], found[-1]))
    return calls, places


def fails_alike(before: Example, smaller: Example) -> bool:
    """Whether a smaller call fails as gravely and of the same kind.

    One that is NaN where the other was not is something else: two large intermediates that a right
    formula takes from each other, (1 − y)·x and (1 + (p − 1)·y)·|x| in float16, say.
    """
    then, now = before.finding, smaller.finding
    same = GRAVITY[now.verdict] == GRAVITY[then.verdict] and now.axis == then.axis
    return same and (_has_nan(before.result) or not _has_nan(smaller.result))


def _has_nan(result: Array | Failure) -> bool:
    return isinstance(result, Array) and bool(np.any(np.isnan(result.values)))


def _gives(example: Example) -> bool:
    """Whether there is something to ask further about: a result, and not wrongly zeros alone."""
    result = example.result
    if not isinstance(result, Array):
        return False
    return example.finding.verdict not in ("deviates", "known") or bool(np.any(result.values))


def abilities(folds: Iterable[Fold]) -> Abilities:
    """Which quantities each surface gave in each dtype, from the checks of what is accepted.

    Zeros in the place of a gradient deviate there, once, and are not asked about any further. What
    is compared with eager mode beside them does not count: zeros may well be equal.
    """
    able: dict[tuple[str, str], list[str]] = {}
    for fold in folds:
        series = fold.series
        decisive = fold.decisive
        if series.kind == "contract" and decisive is not None and _gives(decisive):
            able.setdefault((series.surface, series.dtype), []).append(series.quantity)
    return {key: tuple(quantities) for key, quantities in able.items()}
