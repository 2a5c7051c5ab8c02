"""A backend asked in parts, in any order and none of them twice: what test items are made of.

A run asks everything of a backend; a part is one case of a case file, or one group of what is
generated, put to one surface in one dtype. Parts share a session, and what they learn about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..adapters import AdapterFile
from ..generate.plan import Capabilities, Plan
from ..judging.tolerance import Grade
from ..known import Known
from ..model.case_family import Group
from ..model.check import Check
from ..model.expectation import Case
from ..session import Session
from .engine import applying, run_case, still
from .generated import GeneratedRun, capabilities_of

ACCEPTS = "accepts"


@dataclass(frozen=True)
class OnDemandGroup:
    """What is generated under one title for one surface in one dtype."""

    surface: str
    title: str
    dtype: str


def parts(plan: Plan, surfaces: Sequence[str]) -> list[OnDemandGroup]:
    """All parts, in the order in which a run asks them; nothing has to be drawn to know them."""
    return [
        OnDemandGroup(surface, title, dtype)
        for surface in surfaces
        for dtype in plan.dtypes
        for title in (ACCEPTS, *_groups(plan, dtype, {}))
    ]


def _groups(plan: Plan, dtype: str, capabilities: Capabilities) -> dict[str, Group]:
    """The groups of one dtype by title, the dtype left out of it."""
    groups = replace(plan, dtypes=(dtype,)).groups(capabilities)
    return {group.title.removesuffix(f" {dtype}"): group for group in groups}


@dataclass(frozen=True)
class Started:
    """A session, what is generated in it, and what its release is known to do, by check id."""

    session: Session
    generated_run: GeneratedRun
    known: Mapping[str, Known]


class OnDemandRun:
    """The parts of one backend. `open` starts its session when the first part is asked.

    `rows` has the accuracy of the results so far.
    """

    def __init__(
        self,
        open: Callable[[], Session],
        adapter: AdapterFile,
        plan: Plan,
        grade: Grade,
        known: Sequence[Known],
    ) -> None:
        self._open, self._adapter, self._plan = open, adapter, plan
        self._grade, self._entries = grade, known
        self._capabilities: dict[tuple[str, str], Capabilities] = {}
        self._accepted: dict[tuple[str, str], list[Check]] = {}
        self._seen = 0
        self._started: Started | None = None

    def start(self) -> Started:
        """The session and the trial in it, begun if they are not. Raises BackendUnavailable."""
        if self._started is None:
            session = self._open()
            known = applying(self._entries, session.backend)
            generated_run = GeneratedRun(session, self._adapter, self._plan, (), self._grade, known)
            self._started = Started(session, generated_run, known)
        return self._started

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The `accuracy` of a report, of all parts so far."""
        if self._started is None:
            return []
        return self._started.generated_run.tallies.rows(
            self._started.session.backend, self._adapter
        )

    def case(self, case: Case) -> list[Check]:
        """The checks of a question of a case file. Raises BackendUnavailable."""
        at = self.start()
        return self._still(run_case(at.session, case, self._adapter, self._grade, at.known))

    def part(self, part: OnDemandGroup) -> list[Check]:
        """The checks of a group: its own, and of contracts checked along the way.

        None where the surface does not give what the part is about. Raises BackendUnavailable.
        """
        accepted = self._accepts(part.surface, part.dtype)
        if part.title == ACCEPTS:
            return accepted
        capabilities = self._capabilities[part.surface, part.dtype]
        group = _groups(self._plan, part.dtype, capabilities)[part.title]
        return self._still(self.start().generated_run.alone(part.surface, group)[1])

    def lost(self) -> list[str]:
        """Why workers were lost between calls since this was last asked."""
        if self._started is None:
            return []
        causes = [worker.cause for worker in self._started.session.lost[self._seen :]]
        self._seen += len(causes)
        return causes

    def close(self) -> None:
        if self._started is not None:
            self._started.session.close()

    def _accepts(self, surface: str, dtype: str) -> list[Check]:
        key = surface, dtype
        if key not in self._accepted:
            group = replace(self._plan, dtypes=(dtype,)).acceptance()
            aggregates, checks = self.start().generated_run.alone(surface, group)
            self._capabilities[key] = capabilities_of(aggregates.values())
            self._accepted[key] = self._still(checks)
        return self._accepted[key]

    def _still(self, checks: Sequence[Check]) -> list[Check]:
        at = self.start()
        return [still(at.session, c, self._adapter, self._grade, at.known) for c in checks]
