"""Test items: a question of a case file, or one topic of what is generated in one dtype.

They are known before anything runs and are the same in every worker of pytest-xdist; each worker
then asks only what it was given. They run in an isolated session, so that a crash fails an item.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from ..casefile import CaseFileError
from ..commands.select import Filter, Target, load_cases
from ..model.check import Check
from ..model.expectation import Case
from ..running.on_demand import OnDemandGroup, OnDemandRun, parts
from ..session import BackendUnavailable
from . import MARKER
from .backends import Backends, adapters, backends
from .failure import failure_text, where
from .report import keep


class Failure(Exception):
    """A text for whoever reads the test's failure."""


class BackendItem(pytest.Item):
    """Something that is asked of one surface."""

    def __init__(self, *, target: Target, surface: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.target, self.surface = target, surface

    @property
    def backends(self) -> Backends:
        return backends(self.config)

    def tested(self, of: OnDemandRun) -> list[Check]:
        raise NotImplementedError

    def runtest(self) -> None:
        try:
            of = self.backends.parts(self.target)
            checks = self.tested(of)
        except BackendUnavailable as error:
            adapter = self.target.adapter
            reason = f"{error} ({adapter.name} needs {adapter.needs})"
            if not self.backends.is_news(self.target):
                pytest.skip(f"{adapter.name} could not be started: see the item that failed")
            raise Failure(f"{adapter.name} could not be started: {reason}") from None
        backend = of.start().session.backend
        keep(self, backend, checks)
        lost = of.lost()
        if any(check.failing for check in checks):
            raise Failure(failure_text(self.surface, backend, checks))
        if lost:
            raise Failure(f"{self.surface} on {where(backend)}: a worker died: {'; '.join(lost)}")
        self._conclude(checks)

    def _conclude(self, checks: Iterable[Check]) -> None:
        """What did not fail may still be known to, or be nothing that could be asked here."""
        verdicts = Counter(check.verdict for check in checks)
        if verdicts["known"]:
            known = next(c for c in checks if c.verdict == "known")
            rest = f" (and {verdicts['known'] - 1} more)" if verdicts["known"] > 1 else ""
            pytest.xfail(f"{known.summary}{rest}")
        if set(verdicts) <= {"unsupported"}:
            reasons = [check.summary for check in checks]
            pytest.skip(reasons[0] if reasons else "the surface does not give this in this dtype")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, Failure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        return self.path, None, f"{self.surface} {self.name}"


class CaseItem(BackendItem):
    """One question of a case file."""

    def __init__(self, *, case: Case, **arguments: Any) -> None:
        super().__init__(surface=case.surface, **arguments)
        self.case = case

    def tested(self, of: OnDemandRun) -> list[Check]:
        return of.case(self.case)


class GroupItem(BackendItem):
    """One topic of what is generated, in one dtype."""

    def __init__(self, *, part: OnDemandGroup, **arguments: Any) -> None:
        super().__init__(surface=part.surface, **arguments)
        self.part = part

    def tested(self, of: OnDemandRun) -> list[Check]:
        return of.part(self.part)


class CaseFileCollector(pytest.File):
    """test_*.bce.yaml: a project's own cases about a surface of a framework."""

    def collect(self) -> Iterable[CaseItem]:
        try:
            (case_file,) = load_cases([self.path], adapters())
        except CaseFileError as error:
            raise self.CollectError(str(error)) from None
        target = backends(self.config).of_surface(case_file.surface)
        for case in case_file.cases:
            item: CaseItem = CaseItem.from_parent(self, name=_short(case), target=target, case=case)
            yield item


class SurfaceCollector(pytest.Collector):
    """A surface of a backend of --bce-backend: its document's claims, then what is generated."""

    def __init__(self, *, target: Target, claims: Sequence[Case], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.target, self.claims = target, claims

    def collect(self) -> Iterable[BackendItem]:
        for case in self.claims:
            yield self._made(CaseItem, name=_short(case), case=case)
        for part in parts(backends(self.config).plan, [self.name]):
            title = f"{part.title.replace(' ', '-')}[{part.dtype}]"
            yield self._made(GroupItem, name=title, part=part)

    def _made(self, kind: type[BackendItem], **arguments: Any) -> BackendItem:
        item: BackendItem = kind.from_parent(self, target=self.target, **arguments)
        item.add_marker(MARKER)  # -m bce_conformance means these too
        return item


def backend_items(session: pytest.Session) -> list[pytest.Item]:
    """The items of every backend of --bce-backend."""
    chosen = backends(session.config)
    case_files = load_cases([], adapters())
    names = Counter(target.adapter.name for target in chosen.chosen)
    items: list[pytest.Item] = []
    for target in chosen.chosen:
        name = target.adapter.name
        top = f"bce[{name}]" if names[name] == 1 else f"bce[{name}={target.python}]"
        cases = Filter().cases(case_files, target.adapter)
        for surface in target.adapter.surfaces:
            collector = SurfaceCollector.from_parent(
                session,
                name=surface,
                nodeid=f"{top}::{surface}",
                target=target,
                claims=[case for case in cases if case.surface == surface],
            )
            items += session.genitems(collector)
    return items


def _short(case: Case) -> str:
    return case.id.removeprefix(f"{case.surface}/")
