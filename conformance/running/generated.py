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
from ..generate.needed_weights import tested_surface
from ..generate.plan import Capabilities, Plan
from ..judging.accuracy import Tallies
from ..judging.diagnosis import diagnosed, diagnoses
from ..judging.rules import KnownBehaviour
from ..judging.tolerance import Grade
from ..model.call import Array, Call, Crashed, Failure, Outcome, TimedOut
from ..model.case_family import EVERYTHING, CaseFamily, Group, PlannedCase, Signature, TestedSurface
from ..model.check import EARLIER_CALL, Check
from ..model.expectation import Case, Repeatable, SameAsEager
from ..session import Session
from .aggregate import FEW, GRAVITY, Aggregate, Example
from .shrink import TRIES, TRIES_WHERE_COMPILED, Witnesses, shrinks, shrunk, small, tries_for
from .witness import check_of

TRIES_IN_ALL = 1500
"""How often all failing checks together are asked again to make their witnesses small: a loss that
fails everywhere is not worth more. Beyond that each is asked LEAST_TRIES times."""
LEAST_TRIES = 4
NEW_WORKERS = 3


@dataclass
class GeneratedRun:
    """The generated questions of one backend.

    surfaces: which of the backend's are asked; promised: the dtypes in which they are expected to
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
    must_accept: tuple[str, ...] = ()
    signature: Signature = EVERYTHING
    eager: Session | None = None
    eager_known: Mapping[str, KnownBehaviour] = field(default_factory=dict)
    tallies: Tallies = field(default_factory=Tallies)
    examples: int = 0
    elements: int = 0
    _tested: dict[str, TestedSurface] = field(default_factory=dict)
    _seen: dict[str, Aggregate] = field(default_factory=dict)
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
        tested = tuple(self._tested_surface(surface) for surface in self.surfaces)
        acceptance = self.plan.acceptance()
        aggregates = self._put(acceptance, tested)
        yield acceptance.title, self._concluded(aggregates)
        capabilities = capabilities_of(aggregates.values())
        for group in self.plan.groups(capabilities):
            aggregates = self._put(group, tested)
            if aggregates:
                yield group.title, self._concluded(aggregates)
        yield "contracts checked along the way", self._concluded(self._seen)

    def alone(self, surface: str, group: Group) -> tuple[dict[str, Aggregate], tuple[Check, ...]]:
        """One group put to one surface: its folds, and the checks made of them and of the contracts
        seen along the way. Raises as `checks` does."""
        self._seen = {}
        aggregates = self._put(group, (self._tested_surface(surface),))
        return aggregates, (*self._concluded(aggregates), *self._concluded(self._seen))

    def _tested_surface(self, surface: str) -> TestedSurface:
        if surface not in self._tested:
            tested = tested_surface(self.session, surface, self.must_accept, self.signature)
            self._tested[surface] = tested
        return self._tested[surface]

    def _put(self, group: Group, tested: tuple[TestedSurface, ...]) -> dict[str, Aggregate]:
        """Asks a group's questions; the folds of its own series, by check id."""
        aggregates: dict[str, Aggregate] = {}
        sent: deque[list[tuple[CaseFamily, Case, int, int]]] = deque()

        def calls() -> Iterator[list[Call]]:
            for batch in group.batches(tested):
                # A series that ends its worker is not asked on: each time costs a worker.
                batch = [a for a in batch if not _crashed(aggregates.get(a[0].check_id))]
                laid, places = _laid_out(batch)
                if laid:
                    sent.append(places)
                    yield laid

        start, framework = time.perf_counter(), self.session.framework_seconds
        for outcomes in self.session.stream(calls()):
            watched: set[int] = set()
            self._compare(aggregates, sent[0], outcomes)
            for family, case, first, last in sent.popleft():
                outcome, other = outcomes[first], outcomes[last] if last != first else None
                self._count(aggregates, family, case, outcome, other)
                if first not in watched:
                    watched.add(first)
                    self._watch(family, case, outcome)
        self._seconds += time.perf_counter() - start
        self._framework += self.session.framework_seconds - framework
        return aggregates

    def _count(
        self, aggregates: dict[str, Aggregate], family: CaseFamily, case: Case, outcome: Outcome,
        other: Outcome | None,
    ) -> None:  # fmt: skip
        self._first.setdefault(_kind_of(family), case.call)
        aggregate = self._aggregate(aggregates, family)
        judgement = aggregate.add(case, outcome, other)
        self.examples += 1
        evidence = judgement.evidence
        if evidence is not None:
            self.elements += evidence.result.size
            # A wrong formula is not a large error: what it gives says nothing of exactness.
            wrong = judgement.axis == "semantics"
            if family.everyday and evidence.expected.dtype == family.dtype and not wrong:
                self.tallies.add(
                    case.call, family.quantity, evidence.result, evidence.expected, evidence.found
                )

    def _compare(
        self,
        aggregates: dict[str, Aggregate],
        tested: Sequence[tuple[CaseFamily, Case, int, int]],
        outcomes: Sequence[Outcome],
    ) -> None:
        """The same calls in eager mode, each compared once."""
        if self.eager is None:
            return
        compared = {
            first: (family, case)
            for family, case, first, _ in tested
            if family.kind in ("property", "reduction", "contract")
            and not isinstance(outcomes[first].failure, Crashed | TimedOut)
        }
        batch = [case.call for _, case in compared.values()]
        answers = chain.from_iterable(self.eager.stream([batch] if batch else []))
        for (first, (family, case)), outcome in zip(compared.items(), answers, strict=True):
            same = contracts.same_as_eager(family)
            about = same.make_case(same, case.call)
            assert about is not None
            known = self.eager_known.get(family.check_id)
            self._aggregate(aggregates, same, known).add(about, outcomes[first], outcome)

    def _watch(self, family: CaseFamily, case: Case, outcome: Outcome) -> None:
        """What is seen along the way: forms and arguments, of calls that were answered."""
        answered = isinstance(outcome.of(family.quantity), Array)
        if family.kind not in ("property", "reduction") or not answered:
            return
        for seen in observers(family.tested, family.dtype, family.quantity, family.reduction):
            about = seen.make_case(seen, case.call)
            if about is not None:
                self._aggregate(self._seen, seen).add(about, outcome, None)

    def _aggregate(
        self,
        aggregates: dict[str, Aggregate],
        family: CaseFamily,
        known: KnownBehaviour | None = None,
    ) -> Aggregate:
        aggregate = aggregates.get(family.check_id)
        if aggregate is None:
            aggregate = Aggregate(family, self.grade, known or self.known.get(family.check_id))
            aggregates[family.check_id] = aggregate
        return aggregate

    def _concluded(self, aggregates: Mapping[str, Aggregate]) -> tuple[Check, ...]:
        conforming = [aggregate for aggregate in aggregates.values() if not aggregate.failing]
        # Where every shape is compiled, a smaller call would take seconds.
        compact = {} if self.plan.few_shapes else self._compact(conforming)
        return tuple(self._conclude(aggregate, compact) for aggregate in aggregates.values())

    def _conclude(self, aggregate: Aggregate, compact: Mapping[str, Example]) -> Check:
        """The check of a fold: its decisive example, shrunk if it fails, else a small one."""
        example = aggregate.decisive
        assert example is not None
        judgement = example.judgement
        if aggregate.failing:
            found = self._diagnoses(example, aggregate.family.quantity)
            if aggregate.family.kind != "special":  # there the values are the question
                example = self._shrunk(aggregate, example, found)
            judgement = example.judgement
            example = self._with_history(aggregate, example)
            judgement = example.judgement
            found = judgement.causes or found or self._diagnoses(example, aggregate.family.quantity)
            judgement = diagnosed(judgement, found)
        else:
            example = compact.get(aggregate.family.check_id, example)
        return check_of(
            example.case,
            aggregate.family.quantity,
            aggregate.text(judgement),
            example.result,
            self.session.backend,
            self.adapter,
            examples=aggregate.examples,
        )

    def _with_history(self, aggregate: Aggregate, example: Example) -> Example:
        """The example as a new worker shows it: alone, or after the call that spoils it.

        A release that keeps something from an earlier call gives wrong results for right
        questions; the witness is then both calls. Looked into once for each kind of call.
        """
        case, family = example.case, aggregate.family
        first = self._first.get(_kind_of(family))
        settled = case.before or example.judgement.verdict != "deviates"
        if first is None or settled or not isinstance(example.result, Array):
            return example
        after = replace(case, before=(first,))
        if _kind_of(family) not in self._remembers:
            self._remembers[_kind_of(family)] = self._is_remembered(aggregate, case, first)
        if not self._remembers[_kind_of(family)]:
            return example
        again = self._run_alone(aggregate, after)
        if again.judgement.verdict != "deviates":
            return example
        text = f"{again.judgement.summary}; correct in a new process, wrong after the other call"
        judgement = replace(again.judgement, summary=text, causes=(EARLIER_CALL,))
        return replace(again, judgement=judgement)

    def _is_remembered(self, aggregate: Aggregate, case: Case, first: Call) -> bool:
        """Whether the question is answered rightly in a new worker, where `first` never was asked.

        A new worker costs seconds: none is started where `first` itself comes out wrong, nor for
        a surface that was as wrong in one before, nor more than NEW_WORKERS in all.
        """
        about, surface = (
            aggregate.family.make_case(aggregate.family, first),
            aggregate.family.surface,
        )
        if self._renewed == NEW_WORKERS or surface in self._in_vain or about is None:
            return False
        if self._run_alone(aggregate, about).judgement.verdict != "conforms":
            return False
        self._renewed += 1
        self.session.renew()
        right = self._run_alone(aggregate, case).judgement.verdict != "deviates"
        if right:
            self.session.renew()
        else:
            self._in_vain.add(surface)
        return right

    def _compact(self, aggregates: Sequence[Aggregate]) -> dict[str, Example]:
        """Small calls instead of large ones that conform, found to conform too, by check id.

        The findings stay those of the large ones.
        """
        tested: list[tuple[Aggregate, Case]] = []
        for aggregate in aggregates:
            example = aggregate.decisive
            if example is not None and example.size > FEW:
                call = next(iter(small(example, FEW)), None)
                case = None if call is None else aggregate.family.make_case(aggregate.family, call)
                if case is not None and len(case.calls) == 1:
                    tested.append((aggregate, case))
        answers = self.session.stream([[case.call for _, case in tested]] if tested else [])
        found: dict[str, Example] = {}
        for (aggregate, case), outcome in zip(tested, chain.from_iterable(answers), strict=True):
            again = Aggregate(aggregate.family, aggregate.grade, aggregate.known)
            again.add(case, outcome, None)
            smaller, example = again.decisive, aggregate.decisive
            assert smaller is not None and example is not None
            if smaller.judgement.verdict == example.judgement.verdict:
                found[aggregate.family.check_id] = smaller
        return found

    def _shrunk(self, aggregate: Aggregate, example: Example, found: Sequence[str]) -> Example:
        """The smallest call that fails alike, and by one of the same diagnoses if any fits."""
        if not shrinks(example):
            return example
        most = TRIES_WHERE_COMPILED if self.plan.few_shapes else TRIES
        left = tries_for(example, min(most, max(TRIES_IN_ALL - self._tries, LEAST_TRIES)))

        def again(call: Call) -> Example | None:
            self._tries += 1
            smaller = self._again(aggregate, example, call)
            if smaller is None or not found:
                return smaller
            same = set(found) & set(self._diagnoses(smaller, aggregate.family.quantity))
            return smaller if same else None

        call = self._witnesses.of_name(aggregate.family)
        small = None if call is None else again(call)
        if small is None:
            small = shrunk(example, again, left)
            self._witnesses.keep(aggregate.family, small.case.call)
        return small

    def _diagnoses(self, example: Example, quantity: str) -> tuple[str, ...]:
        if not isinstance(example.result, Array):
            return ()
        return diagnoses(example.case, quantity, example.result)

    def _again(self, aggregate: Aggregate, before: Example, call: Call) -> Example | None:
        """A simpler call asked: the example if it fails as gravely and of the same kind."""
        case = aggregate.family.make_case(aggregate.family, call)
        if case is None or not all(map(self.signature.takes, case.calls)):
            return None
        try:
            smaller = self._run_alone(aggregate, case)
        except ValueError:
            return None
        return smaller if fails_alike(before, smaller) else None

    def _run_alone(self, aggregate: Aggregate, case: Case) -> Example:
        """The question's calls one after the other, outside of any batch."""
        outcomes = [self.session.run(each) for each in case.calls]
        first = len(case.before)
        other = outcomes[-1] if len(outcomes) > first + 1 else None
        if isinstance(case.expectation.promise, SameAsEager) and self.eager is not None:
            other = self.eager.run(case.call)
        again = Aggregate(aggregate.family, aggregate.grade, aggregate.known)
        again.add(case, outcomes[first], other)
        assert again.decisive is not None
        return again.decisive


def _kind_of(family: CaseFamily) -> tuple[str, ...]:
    """Calls of one kind: those between which a release may keep something."""
    return family.surface, family.quantity, family.reduction, family.dtype


def _crashed(aggregate: Aggregate | None) -> bool:
    decisive = None if aggregate is None else aggregate.decisive
    return decisive is not None and decisive.judgement.verdict in ("crashed", "timed-out")


def _laid_out(
    batch: list[PlannedCase],
) -> tuple[list[Call], list[tuple[CaseFamily, Case, int, int]]]:
    """The calls of a batch, each once, and where each question finds its first and last one.

    What is asked twice on purpose is run twice.
    """
    calls: list[Call] = []
    index: dict[int, int] = {}
    places = []
    for family, case in batch:
        if case.before or isinstance(case.expectation.promise, Repeatable):
            first = len(calls) + len(case.before)
            calls += case.calls
            places.append((family, case, first, len(calls) - 1))
            continue
        found = []
        for call in case.calls:
            if id(call) not in index:
                index[id(call)] = len(calls)
                calls.append(call)
            found.append(index[id(call)])
        places.append((family, case, found[0], found[-1]))
    return calls, places


def fails_alike(before: Example, smaller: Example) -> bool:
    """Whether a smaller call fails as gravely and of the same kind.

    One that is NaN where the other was not is something else: two large intermediates that a right
    formula takes from each other, (1 − y)·x and (1 + (p − 1)·y)·|x| in float16, say.
    """
    then, now = before.judgement, smaller.judgement
    same = GRAVITY[now.verdict] == GRAVITY[then.verdict] and now.axis == then.axis
    return same and (_has_nan(before.result) or not _has_nan(smaller.result))


def _has_nan(result: Array | Failure) -> bool:
    return isinstance(result, Array) and bool(np.any(np.isnan(result.values)))


def _gives(example: Example) -> bool:
    """Whether there is something to ask further about: a result, and not wrongly zeros alone."""
    result = example.result
    if not isinstance(result, Array):
        return False
    return example.judgement.verdict not in ("deviates", "known") or bool(np.any(result.values))


def capabilities_of(aggregates: Iterable[Aggregate]) -> Capabilities:
    """Which quantities each surface gave in each dtype, from the checks of what is accepted.

    Zeros instead of a gradient deviate there, once, and are not asked about any further. What
    is compared with eager mode beside them does not count: zeros may well be equal.
    """
    capabilities: dict[tuple[str, str], list[str]] = {}
    for aggregate in aggregates:
        family = aggregate.family
        decisive = aggregate.decisive
        if family.kind == "contract" and decisive is not None and _gives(decisive):
            capabilities.setdefault((family.surface, family.dtype), []).append(family.quantity)
    return {key: tuple(quantities) for key, quantities in capabilities.items()}
