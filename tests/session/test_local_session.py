"""The session in this process tells the same story, as far as it can."""

from __future__ import annotations

from dataclasses import replace

import faulty_adapter
import pytest
from calling import WANT, ask, assert_answered, assert_values

from bce_conformance.adapters import numpy as numpy_adapter
from bce_conformance.model.call import Array
from bce_conformance.session import (
    BackendUnavailable,
    Closure,
    IsolatedSession,
    LocalSession,
    Session,
)


def test_a_call_is_answered() -> None:
    with LocalSession(faulty_adapter) as session:
        call = ask()
        assert_answered(session.run(call), call)
        assert (session.lost, session.restarts) == ((), 0)


@pytest.mark.parametrize(
    "how", ["raise", "sys.exit", "NotImplementedError", "unprintable", "surrogate"]
)
@pytest.mark.parametrize("where", ["prepare", "before", "between", "after"])
def test_both_sessions_agree(shared: IsolatedSession, where: str, how: str) -> None:
    call = ask(where, how)
    sessions: list[Session] = [LocalSession(faulty_adapter), shared]
    first, second = (session.run(call) for session in sessions)
    assert first == second


def test_the_users_interrupt_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        LocalSession(faulty_adapter).run(ask("between", "KeyboardInterrupt"))


def test_the_callers_arrays_are_not_changed() -> None:
    call = ask()
    before = call.logits.data
    outcome = LocalSession(faulty_adapter).run(call)
    assert_values(outcome, call, WANT)
    assert call.logits.data == before


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(BackendUnavailable, match="ValueError: no device 'npu'"):
        LocalSession(faulty_adapter, device="npu")


def test_both_describe_the_same_backend(shared: IsolatedSession) -> None:
    assert LocalSession(faulty_adapter).backend == shared.backend


def test_a_closure_in_the_place_of_the_frameworks_loss() -> None:
    scale = 2.0
    closure = Closure(lambda input, target, reduction: scale * input, "mine")
    session = LocalSession(numpy_adapter, losses=(closure,))
    assert session.backend.surfaces == ("mine",)
    call = replace(ask(), want=("forward",), options={"reduction": "none"}, weight=None)
    returned = session.run(call).of("forward")
    assert isinstance(returned, Array)
    assert returned.values.tolist() == (2 * call.logits.values).tolist()


def test_an_adapter_that_takes_no_closure() -> None:
    with pytest.raises(BackendUnavailable, match="mine: this adapter does not take a loss of"):
        LocalSession(faulty_adapter, losses=(Closure(lambda input, target: input, "mine"),))
