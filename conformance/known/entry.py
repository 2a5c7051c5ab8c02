"""One known deviation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from packaging.specifiers import SpecifierSet

from ..model.call import Backend
from ..model.check import Axis
from ..model.expectation import Case
from . import versions as ranges
from .behaviour import Behaviour, NothingSaid


@dataclass(frozen=True)
class Known:
    """A check that a range of releases is known to fail, and what happens instead.

    id and title are those of the finding that the check belongs to.

    check is the whole id, its quantity included; witness is the pinned call that shows it, with
    that quantity alone, expecting what is expected. Empty modes or devices mean all of them.
    """

    backend: str
    check: str
    quantity: str
    versions: SpecifierSet
    modes: tuple[str, ...]
    devices: tuple[str, ...]
    axis: Axis
    id: str
    title: str
    upstream: str | None
    behaviour: Behaviour
    witness: Case
    file: Path
    line: int

    def applies(self, backend: Backend) -> bool:
        """Whether it is about this release, in this mode, on this kind of device."""
        return (
            backend.adapter == self.backend
            and ranges.within(self.versions, backend.framework_version)
            and (not self.modes or backend.mode in self.modes)
            and (not self.devices or backend.device.split(":")[0] in self.devices)
        )

    def explained(self, case: Case) -> Case:
        """The same question, expecting what the release does instead.

        An outcome that deviates from `question` is this known deviation only if it conforms to
        the explained one. Where nothing is said of such a call, the question comes back as it was.
        """
        if not self.behaviour.of_the_result:
            return case
        try:
            expectation = self.behaviour.expectation(case, self.quantity)
        except NothingSaid:
            return case
        return replace(case, expectation=expectation)

    @property
    def crashes(self) -> bool:
        return self.behaviour.crashes

    @property
    def remembers(self) -> bool:
        """Whether it takes an earlier call to see it, as the pinned witness has one."""
        return bool(self.witness.before)

    @property
    def changes(self) -> tuple[str, ...]:
        return self.behaviour.changes

    @property
    def summary(self) -> str:
        """Which releases, why, and where it is reported; one line."""
        text = f"; {self.upstream}" if self.upstream else ""
        return f"known ({self.backend} {ranges.shown(self.versions)}): {self.title}{text}"

    def overlaps(self, other: Known) -> bool:
        """Whether both are about one check of one release, mode and device."""
        return (
            self.check == other.check
            and _common(self.modes, other.modes)
            and _common(self.devices, other.devices)
            and ranges.overlap(self.versions, other.versions)
        )


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return not one or not other or bool(set(one) & set(other))
