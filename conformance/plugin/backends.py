"""The backends of one pytest process: which there are, and one session each for all items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import pytest

from ..adapters import AdapterError, AdapterFile, available
from ..casefile import CaseFileError
from ..commands import UsageError
from ..commands.select import Target, targets
from ..generate.plan import Plan
from ..judging.tolerance import Grade
from ..known import Known, load_known, shipped_known
from ..running.on_demand import OnDemandRun
from ..session import BackendUnavailable

TIMEOUT = 60.0
"""Seconds for one call."""
SEED = 0
GRADE: Grade = "stable"


@cache
def adapters() -> dict[str, AdapterFile]:
    """Raises pytest.UsageError."""
    try:
        return available()
    except AdapterError as error:
        raise pytest.UsageError(str(error)) from None


@dataclass
class Backends:
    """chosen: those of --bce-backend; parts of others are asked in this interpreter."""

    chosen: Sequence[Target]
    device: str
    profile: str
    known: Sequence[Known]
    _opened: dict[Target, OnDemandRun] = field(default_factory=dict)
    _absent: dict[Target, BackendUnavailable] = field(default_factory=dict)
    _told: set[Target] = field(default_factory=set)

    @property
    def plan(self) -> Plan:
        return Plan(SEED, self.profile)

    def of_surface(self, surface: str) -> Target:
        """The backend that is asked about a surface."""
        for target in self.chosen:
            if surface in target.adapter.surfaces:
                return target
        owner = next(a for a in adapters().values() if surface in a.surfaces)
        return targets([owner.name], None, adapters())[0]

    def parts(self, target: Target) -> OnDemandRun:
        """Raises BackendUnavailable; one that could not be started is not tried again."""
        if target in self._absent:
            raise self._absent[target]
        if target not in self._opened:
            start = partial(target.session, self.device, "eager", TIMEOUT)
            opened = OnDemandRun(start, target.adapter, self.plan, GRADE, self.known)
            try:
                opened.start()
            except BackendUnavailable as error:
                self._absent[target] = error
                raise
            self._opened[target] = opened
        return self._opened[target]

    def is_news(self, target: Target) -> bool:
        """Whether nobody was told yet that the backend could not be started."""
        news = target not in self._told
        self._told.add(target)
        return news

    def opened(self) -> list[OnDemandRun]:
        return list(self._opened.values())

    def close(self) -> None:
        for parts in self._opened.values():
            parts.close()


KEY = pytest.StashKey[Backends]()


def backends(config: pytest.Config) -> Backends:
    """Those of this run; sessions end with it. Raises pytest.UsageError for a wrong option."""
    if KEY not in config.stash:
        option = config.option
        try:
            chosen = targets(option.bce_backend, None, adapters())
            known = load_known([option.bce_known or shipped_known()], adapters())
        except (UsageError, CaseFileError) as error:
            line = str(error).replace("--backend:", "--bce-backend:")
            raise pytest.UsageError(line) from None
        config.stash[KEY] = Backends(chosen, option.bce_device, option.bce_profile, known)
        config.add_cleanup(config.stash[KEY].close)
    return config.stash[KEY]
