"""The entries that are installed: they load, and each is what the release really does."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from bce_conformance.adapters import AdapterFile, available
from bce_conformance.judging.rules import judge
from bce_conformance.known import Known, load_known, shipped_known
from bce_conformance.model.call import Crashed, TimedOut
from bce_conformance.report.read import read, reports_in
from bce_conformance.session import IsolatedSession, Session

REPORTS = Path(__file__).parents[2] / "reports"


@cache
def entries() -> tuple[Known, ...]:
    return tuple(load_known([shipped_known()], available()))


def test_each_file_is_about_the_backend_that_it_is_named_after() -> None:
    assert {entry.backend for entry in entries()}
    for entry in entries():
        assert entry.file.stem == entry.backend


def test_every_published_deviation_is_known_and_every_entry_names_a_published_check() -> None:
    ids = {entry.check for entry in entries()}
    for file in (*reports_in(REPORTS), *reports_in(REPORTS / "sweeps")):
        for check in read(file)["checks"]:
            if check["verdict"] in ("deviates", "known", "crashed", "timed-out"):
                assert check["id"] in ids, file.name


def _open(adapter: AdapterFile, python: str, mode: str) -> IsolatedSession:
    return IsolatedSession(
        adapter.source, adapter.name, python=python, device="cpu", mode=mode, timeout=600
    )


def _holds(session: Session, entry: Known) -> list[str]:
    """What is wrong with an entry, asked of its release."""
    tested, quantity = entry.witness, entry.quantity
    for earlier in tested.before:
        session.run(earlier)
    outcome = session.run(replace(tested.call, want=(quantity,)))
    if entry.behaviour.crashes:
        crashed = isinstance(outcome.of(quantity), (Crashed, TimedOut))
        return [] if crashed else [f"{entry.check} does not crash"]
    if entry.behaviour.changes:
        same = outcome.changed == entry.behaviour.changes
        return [] if same else [f"{entry.check} changes {outcome.changed}"]
    expected = judge(tested, quantity, outcome, None, "stable")
    behaviour = judge(entry.explained(tested), quantity, outcome, None, "stable")
    if (expected.verdict, behaviour.verdict) == ("deviates", "conforms"):
        return []
    due, does = (f"{each.verdict}: {each.summary}" for each in (expected, behaviour))
    return [f"{entry.check}: {due}; {does}"]


@pytest.mark.framework
def test_each_witness_deviates_and_does_what_its_entry_says(framework: tuple[str, str]) -> None:
    name, python = framework
    adapter = available()[name]
    wrong: list[str] = []
    for mode in adapter.modes:
        with _open(adapter, python, mode) as session:
            for entry in entries():
                if entry.applies(session.backend):
                    wrong += _holds(session, entry)
    assert wrong == []


def test_the_example_of_the_documentation_is_valid(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "known.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "known.yaml").write_text(example, encoding="utf-8")
    assert len(load_known([tmp_path / "known.yaml"], available())) == 4
