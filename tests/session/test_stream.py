"""Batches: the outcomes are those of single calls, whatever the worker does in between."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import faulty_adapter
import numpy as np
import pytest
from calling import FAULTY, WANT, ask, assert_answered, assert_values
from leftovers import processes_of

from bce_conformance.model.call import Array, Call, Crashed, Faulty, Raised, TimedOut, Unsupported
from bce_conformance.session import IsolatedSession, LocalSession, Session, isolated, worker

Open = Callable[..., IsolatedSession]


def batches(count: int, size: int = 5) -> list[list[Call]]:
    return [[ask() for _ in range(size)] for _ in range(count)]


def pid(session: IsolatedSession) -> int:
    logits = Array.rounded("float64", np.zeros(()))
    return int(session.run(Call("faulty.pid", logits, logits)).values["forward"].values)


def test_each_call_of_each_batch_is_answered_in_order(shared: IsolatedSession) -> None:
    tested = [*batches(3), [], *batches(2, 1)]
    for calls, outcomes in zip(tested, shared.stream(tested), strict=True):
        for call, outcome in zip(calls, outcomes, strict=True):
            assert_answered(outcome, call)


def test_both_sessions_stream_the_same(shared: IsolatedSession) -> None:
    tested = [[ask(), ask("between", "raise"), ask("prepare", "raise"), ask(returns="no triple")]]
    sessions: list[Session] = [LocalSession(faulty_adapter), shared]
    first, second = (list(session.stream(tested)) for session in sessions)
    assert first == second
    assert [type(o.failure) for o in first[0]] == [type(None), Raised, Faulty, Faulty]


def test_the_worker_is_one_batch_ahead_and_no_more(open_session: Open) -> None:
    pulled: list[int] = []

    def tested() -> Iterator[list[Call]]:
        for number, batch in enumerate(batches(5)):
            pulled.append(number)
            yield batch

    stream = open_session().stream(tested())
    assert pulled == []
    for number, _ in enumerate(stream):
        assert pulled[-1] == min(number + 1, 4)


def test_an_array_of_many_calls_is_sent_once() -> None:
    shared = Array.rounded("float64", np.zeros(1000))
    calls = tuple(Call("faulty.loss", shared, shared) for _ in range(100))
    message = isolated._Flight(calls).wire()
    assert len(message[2]) == 1
    assert len(worker.pack(message)) < 8000 + 100 * 300


@pytest.mark.parametrize("where", ["prepare", "before", "between", "after"])
@pytest.mark.parametrize("how", ["SIGSEGV", "exit 0"])
def test_a_death_in_a_batch_is_the_outcome_of_its_call_alone(
    open_session: Open, where: str, how: str
) -> None:
    session = open_session()
    tested = batches(4)
    tested[1][2] = ask(where, how)
    for number, (calls, outcomes) in enumerate(zip(tested, session.stream(tested), strict=True)):
        for position, (call, outcome) in enumerate(zip(calls, outcomes, strict=True)):
            if (number, position) == (1, 2):
                assert isinstance(outcome.failure, Crashed)
                before = {"between": WANT[:1], "after": WANT}.get(where, ())
                assert_values(outcome, call, before)
            else:
                assert_answered(outcome, call)
    assert session.lost == ()
    assert session.restarts == 2, "one for the calls one by one, one after the call that died"


def test_a_death_that_does_not_come_again_is_noted(open_session: Open, tmp_path: Path) -> None:
    tested = batches(3)
    tested[1][2] = ask("between", "die once")
    session = open_session(variables={"BCE_TEST_SIGN": str(tmp_path / "died")})
    for calls, outcomes in zip(tested, session.stream(tested), strict=True):
        for call, outcome in zip(calls, outcomes, strict=True):
            assert_answered(outcome, call)
    (lost,) = session.lost
    assert (lost.cause, lost.after) == ("signal 9 (SIGKILL)", tested[0][-1])
    assert session.restarts == 1


@pytest.mark.parametrize("how", ["sleep", "hold the GIL", "SIGSTOP"])
def test_a_hang_in_a_batch_times_out_alone(open_session: Open, how: str) -> None:
    session = open_session(timeout=1.0)
    tested = batches(3)
    tested[0][3] = ask("between", how)
    for calls, outcomes in zip(tested, session.stream(tested), strict=True):
        for call, outcome in zip(calls, outcomes, strict=True):
            if call is tested[0][3]:
                assert isinstance(outcome.failure, TimedOut)
                assert_values(outcome, call, WANT[:1])
            else:
                assert_answered(outcome, call)
    assert session.lost == ()


def test_the_time_limit_is_for_a_call_not_for_a_batch(open_session: Open) -> None:
    session = open_session(timeout=2.0)
    calls = [ask("before", "nap 0.3") for _ in range(10)]
    (outcomes,) = session.stream([calls])
    for call, outcome in zip(calls, outcomes, strict=True):
        assert_answered(outcome, call)
    assert session.restarts == 0


@pytest.mark.parametrize("how", ["not packed", "truncated", "unknown kind", "raw garbage"])
def test_what_is_garbled_is_asked_again(open_session: Open, how: str) -> None:
    session = open_session()
    tested = batches(3)
    tested[1][0] = ask("between", how)
    outcomes = list(session.stream(tested))
    assert isinstance(outcomes[1][0].failure, Crashed)
    for call, outcome in zip(tested[1][1:] + tested[2], outcomes[1][1:] + outcomes[2], strict=True):
        assert_answered(outcome, call)


def test_memory_that_only_a_batch_takes_is_noted(open_session: Open) -> None:
    session = open_session(memory_limit=700 << 20)
    (outcomes,) = session.stream([[ask("before", "allocate"), ask("before", "allocate")]])
    assert [outcome.failure for outcome in outcomes] == [None, None]
    (lost,) = session.lost
    assert lost.cause.startswith("memory limit: the worker grew by 0.")


def test_a_worker_that_grows_slowly_is_replaced_between_batches(open_session: Open) -> None:
    session = open_session(memory_limit=900 << 20)
    tested = [[ask("before", "allocate")], *batches(3)]
    for calls, outcomes in zip(tested, session.stream(tested), strict=True):
        for call, outcome in zip(calls, outcomes, strict=True):
            assert_answered(outcome, call)
    assert (session.restarts, session.lost) == (1, ())


def test_a_call_may_be_run_between_two_batches(shared: IsolatedSession) -> None:
    tested, restarts = batches(4), shared.restarts
    stream = shared.stream(tested)
    for calls, outcomes in zip(tested, stream, strict=True):
        call = ask()
        assert_answered(shared.run(call), call)
        for call, outcome in zip(calls, outcomes, strict=True):
            assert_answered(outcome, call)
    assert shared.restarts == restarts


def test_a_call_between_two_batches_may_die(open_session: Open) -> None:
    session = open_session()
    tested = batches(4)
    for calls, outcomes in zip(tested, session.stream(tested), strict=True):
        assert isinstance(session.run(ask("before", "SIGKILL")).failure, Crashed)
        for call, outcome in zip(calls, outcomes, strict=True):
            assert_answered(outcome, call)
    assert (session.restarts, session.lost) == (3, ())


def test_a_stream_that_is_not_finished_leaves_a_usable_session(open_session: Open) -> None:
    session = open_session()
    stream = session.stream([*batches(3), [ask("before", "sleep")]])
    next(stream)
    stream.close()
    call = ask()
    assert_answered(session.run(call), call)
    assert session.lost == ()


def test_an_interrupt_in_a_stream_leaves_no_worker(
    open_session: Open, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session()

    def interrupted(self: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(isolated.WorkerProcess, "trim_log", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(session.stream([[ask("before", "sleep")]]))
    assert not processes_of(run)
    call = ask()
    assert_answered(session.run(call), call)


def test_what_the_source_of_batches_raises_passes_through(open_session: Open) -> None:
    def tested() -> Iterator[list[Call]]:
        yield from batches(2)
        raise RuntimeError("no more")

    session = open_session()
    with pytest.raises(RuntimeError, match="no more"):
        list(session.stream(tested()))
    call = ask()
    assert_answered(session.run(call), call)


def test_a_closed_session_streams_nothing(open_session: Open) -> None:
    session = open_session()
    session.close()
    with pytest.raises(ValueError, match="closed"):
        list(session.stream(batches(1)))


def test_the_frameworks_own_time_is_told() -> None:
    with (
        LocalSession(faulty_adapter) as local,
        IsolatedSession(FAULTY, "faulty", python=sys.executable) as apart,
    ):
        for session in (local, apart):
            started = time.monotonic()
            session.run(ask("before", "nap 0.3"))
            list(session.stream([[ask("between", "nap 0.3"), ask("prepare", "nap 0.3")]]))
            assert 0.6 <= session.framework_seconds < 0.9 <= time.monotonic() - started


def changed(session: Session, how: str | None, **more: Array) -> tuple[str, ...]:
    options = {"changes": how} if how else {}
    logits = Array.rounded("float64", np.array([1.0, np.nan, -0.0]))
    call = Call("faulty.loss", logits, logits, options=options, want=WANT, **more)
    single = session.run(call).changed
    ((batched,),) = session.stream([[call]])
    assert batched.changed == single
    return single


def test_an_argument_that_is_changed_is_named(shared: IsolatedSession) -> None:
    up = Array.rounded("float64", np.ones(3))
    for session in (shared, LocalSession(faulty_adapter)):
        assert changed(session, None, upstream=up) == ()
        assert changed(session, "logits", upstream=up) == ("logits",)
        assert changed(session, "target") == ("target",)
        assert changed(session, "upstream", upstream=up) == ("upstream",)
        assert changed(session, "sign of zero") == ("logits",)
        assert changed(session, "payload") == ()


def test_a_refused_call_is_looked_at_too(shared: IsolatedSession) -> None:
    outcome = shared.run(ask("between", "raise", changes="logits"))
    assert isinstance(outcome.failure, Raised)
    assert outcome.changed == ("logits",)


def test_an_adapter_that_does_not_hold_what_it_is_sent_is_at_fault(
    shared: IsolatedSession,
) -> None:
    for outcome in (shared.run(ask(holds="other")), next(shared.stream([[ask(holds="other")]]))[0]):
        assert isinstance(outcome.failure, Faulty)
        assert "logits: the framework does not hold the bits that it was sent" in (
            outcome.failure.reason
        )
        assert not outcome.values


def test_an_adapter_that_shows_nothing_still_works(open_session: Open) -> None:
    source = FAULTY.replace("def inputs(", "def no_inputs(")
    session = open_session(source)
    assert changed(session, "logits") == ()


def test_layouts_arrive_and_a_period_is_repeated(shared: IsolatedSession) -> None:
    period = Array.rounded("float64", np.array([1.0, 2.0, 3.0]))
    cycled = Array("float64", (3 << 16,), period.data, "cycled")
    strided = Array("float64", (3,), period.data, "strided")
    outcome = shared.run(Call("faulty.loss", cycled, strided, want=WANT))
    assert outcome.values["forward"].shape == (3 << 16,)
    assert outcome.values["forward"].values[-3:].tolist() == [2.0, 4.0, 6.0]
    text = shared.run(Call("faulty.layouts", cycled, strided, upstream=strided))
    assert isinstance(text.failure, Raised)
    assert text.failure.message == "{'target': 'strided', 'upstream': 'strided'}"


def test_unsupported_in_a_batch(shared: IsolatedSession) -> None:
    (outcomes,) = shared.stream([[ask("prepare", "NotImplementedError"), ask()]])
    assert outcomes[0].failure == Unsupported("no such thing")
    assert outcomes[1].failure is None
