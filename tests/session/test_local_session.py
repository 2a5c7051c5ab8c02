"""The session in this process tells the same story, as far as it can."""

from __future__ import annotations

import faulty_adapter
import pytest
from asking import WANT, ask, assert_answered, assert_values

from bce_conformance.session import BackendUnavailable, IsolatedSession, LocalSession, Session


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
