"""A witness holds its whole question: what is replayed is what was asked."""

from __future__ import annotations

import ast
import json

import pytest

from bce_conformance.adapters import available
from bce_conformance.casefile import load_all
from bce_conformance.commands.select import shipped_cases
from bce_conformance.model.call import Backend, Call
from bce_conformance.model.expectation import Case
from bce_conformance.running.witness import case_from_json, case_json, reproduction

FILES = load_all([shipped_cases()])
ADAPTERS = available()
BY_SURFACE = {s: adapter for adapter in ADAPTERS.values() for s in adapter.surfaces}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.surface)
def test_every_question_survives_json(file: object) -> None:
    for case in file.cases:  # type: ignore[attr-defined]
        assert case_from_json(json.loads(json.dumps(case_json(case)))) == case


def test_a_lost_field_is_seen() -> None:
    case = FILES[0].cases[0]
    kept = case_json(case)
    kept["call"]["options"] = {"reduction": "other"}
    assert case_from_json(kept) != case


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.surface)
@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_every_reproduction_is_python_without_this_package(file: object, mode: str) -> None:
    for case in file.cases:  # type: ignore[attr-defined]
        adapter = BY_SURFACE[case.surface]
        if mode not in adapter.modes:
            continue
        source = reproduction(case, backend(mode), adapter)
        ast.parse(source)
        assert "bce_conformance" not in source


def backend(mode: str) -> Backend:
    return Backend("a", "1", "cpu", "CPU", "CPU", mode, "3.11", "2", "linux", (), ())


def test_calls_cross_the_wire() -> None:
    cases: list[Case] = [q for file in FILES for q in file.cases]
    for case in cases:
        assert Call.from_wire(case.call.wire()) == case.call
