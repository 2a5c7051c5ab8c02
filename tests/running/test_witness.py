"""A witness holds its whole question: what is replayed is what was asked."""

from __future__ import annotations

import ast
import json

import pytest

from bce_conformance.adapters import available
from bce_conformance.casefile import load_all
from bce_conformance.commands.select import shipped_cases
from bce_conformance.model.call import Backend, Call
from bce_conformance.model.expectation import Question
from bce_conformance.running.witness import question_from_json, question_json, reproduction

FILES = load_all([shipped_cases()])
ADAPTERS = available()
BY_SURFACE = {s: adapter for adapter in ADAPTERS.values() for s in adapter.surfaces}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.surface)
def test_every_question_survives_json(file: object) -> None:
    for question in file.questions:  # type: ignore[attr-defined]
        assert question_from_json(json.loads(json.dumps(question_json(question)))) == question


def test_a_lost_field_is_seen() -> None:
    question = FILES[0].questions[0]
    kept = question_json(question)
    kept["call"]["options"] = {"reduction": "other"}
    assert question_from_json(kept) != question


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.surface)
@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_every_reproduction_is_python_without_this_package(file: object, mode: str) -> None:
    for question in file.questions:  # type: ignore[attr-defined]
        adapter = BY_SURFACE[question.surface]
        if mode not in adapter.modes:
            continue
        source = reproduction(question, backend(mode), adapter)
        ast.parse(source)
        assert "bce_conformance" not in source


def backend(mode: str) -> Backend:
    return Backend("a", "1", "cpu", "CPU", "CPU", mode, "3.11", "2", "linux", (), ())


def test_calls_cross_the_wire() -> None:
    questions: list[Question] = [q for file in FILES for q in file.questions]
    for question in questions:
        assert Call.from_wire(question.call.wire()) == question.call
