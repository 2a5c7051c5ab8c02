"""Whatever the adapter does at whatever stage, each call has one outcome, and the next is sane."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from calling import FAULTY, WANT, ask, assert_answered, assert_values
from leftovers import processes_of, wait_until_none

from bce_conformance.model.call import (
    Array,
    Call,
    Crashed,
    Faulty,
    Outcome,
    Raised,
    TimedOut,
    Unsupported,
)
from bce_conformance.session import IsolatedSession, isolated, process

Open = Callable[..., IsolatedSession]

# stage → the stage's name in the outcome, and the quantities returned before
STAGES = {
    "prepare": ("prepare", ()),
    "before": ("forward", ()),
    "between": ("grad.logits", WANT[:1]),
    "after": ("finish", WANT),
}
DEATHS = {
    "SIGKILL": "signal 9 (SIGKILL)",
    "SIGSEGV": "signal 11 (SIGSEGV)",
    "SIGABRT": "signal 6 (SIGABRT)",
    "exit 0": "exit status 0",
    "exit 3": "exit status 3",
    "child, SIGKILL": "signal 9 (SIGKILL)",
    "close 2, SIGSEGV": "signal 11 (SIGSEGV)",
}


def assert_usable(session: IsolatedSession) -> None:
    call = ask()
    assert_answered(session.run(call), call)


@pytest.mark.parametrize(
    ("how", "where"),
    [(how, "between") for how in DEATHS]
    + [(how, where) for how in ("SIGSEGV", "exit 0") for where in STAGES if where != "between"],
)
def test_a_death_is_a_crash_at_its_stage(shared: IsolatedSession, where: str, how: str) -> None:
    during, before = STAGES[where]
    restarts, lost = shared.restarts, len(shared.lost)
    call = ask(where, how)
    outcome = shared.run(call)
    assert isinstance(outcome.failure, Crashed)
    assert outcome.failure.cause == DEATHS[how]
    assert outcome.failure.during == during
    assert_values(outcome, call, before)
    assert shared.restarts == restarts, "a new worker is started when the next call needs it"
    assert_usable(shared)
    assert (shared.restarts, len(shared.lost)) == (restarts + 1, lost)


@pytest.mark.parametrize("how", ["SIGSEGV", "SIGABRT"])
def test_a_crash_keeps_the_last_lines_of_stderr(shared: IsolatedSession, how: str) -> None:
    failure = shared.run(ask("between", how)).failure
    assert isinstance(failure, Crashed)
    text = "\n".join(failure.stderr)
    assert "Fatal Python error" in text
    assert "in misbehave" in text and "adapter faulty" in text


@pytest.mark.parametrize("where", ["before", "between", "after"])
@pytest.mark.parametrize(
    ("how", "kind", "base", "message"),
    [
        ("raise", "ValueError", "Exception", "not this"),
        ("sys.exit", "SystemExit", "BaseException", "7"),
        ("KeyboardInterrupt", "KeyboardInterrupt", "BaseException", "mine"),
        ("NotImplementedError", "NotImplementedError", "RuntimeError", "no such thing"),
        ("surrogate", "ValueError", "Exception", r"odd \ud800 and \udcff"),
        ("unprintable", "Unprintable", "ValueError", "<no text: str() raised RuntimeError>"),
        ("odd name", "Odd\nNäme", "ValueError", "named oddly"),
        ("recursion", "RecursionError", "RuntimeError", "maximum recursion depth exceeded"),
    ],
)
def test_what_is_raised_while_running_is_the_frameworks_refusal(
    shared: IsolatedSession, where: str, how: str, kind: str, base: str, message: str
) -> None:
    during, before = STAGES[where]
    assert_usable(shared)
    restarts = shared.restarts
    call = ask(where, how)
    outcome = shared.run(call)
    assert isinstance(outcome.failure, Raised)
    assert outcome.failure.type == kind
    assert {kind, base, "object"} <= set(outcome.failure.bases)
    assert outcome.failure.message.startswith(message)
    assert outcome.failure.during == during
    assert_values(outcome, call, before)
    assert_usable(shared)
    assert shared.restarts == restarts


@pytest.mark.parametrize("where", ["before", "between"])
def test_what_the_adapter_itself_does_not_offer_is_unsupported(
    shared: IsolatedSession, where: str
) -> None:
    call = ask(where, "NotOffered")
    outcome = shared.run(call)
    assert outcome.failure == Unsupported("not in this mode")
    assert_values(outcome, call, STAGES[where][1])


def test_a_very_long_message_is_cut_in_the_middle(shared: IsolatedSession) -> None:
    failure = shared.run(ask("before", "ten megabytes")).failure
    assert isinstance(failure, Raised)
    assert failure.message.startswith("éé") and failure.message.endswith("éé")
    assert "bytes left out" in failure.message
    assert len(failure.message) < 10_000


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("NotImplementedError", "no such thing"),
        ("raise", "preparing the arguments raised ValueError: not this"),
        ("sys.exit", "preparing the arguments raised SystemExit: 7"),
    ],
)
def test_what_is_raised_in_preparing_is_not_the_frameworks_refusal(
    shared: IsolatedSession, how: str, reason: str
) -> None:
    outcome = shared.run(ask("prepare", how))
    opted_out = how == "NotImplementedError"
    failure = Unsupported(reason) if opted_out else Faulty(reason, "prepare")
    assert outcome == Outcome({}, failure)
    assert_usable(shared)


@pytest.mark.parametrize("how", ["spin", "hold the GIL", "sleep", "SIGSTOP", "flood 2"])
def test_a_hang_is_killed_at_the_time_limit(open_session: Open, how: str) -> None:
    session = open_session(timeout=0.7)
    call = ask("between", how)
    outcome = session.run(call)
    assert isinstance(outcome.failure, TimedOut)
    assert (outcome.failure.seconds, outcome.failure.during) == (0.7, "grad.logits")
    assert_values(outcome, call, WANT[:1])
    session._timeout = 60
    assert_usable(session)
    assert (session.restarts, session.lost) == (1, ())


@pytest.mark.parametrize("how", ["print", "child", "orphan", "close 1 and 2", "fork"])
def test_what_a_framework_may_do_changes_no_answer(open_session: Open, run: str, how: str) -> None:
    session = open_session()
    for where in [*STAGES, *STAGES]:
        call = ask(where, how)
        assert_answered(session.run(call), call)
    assert_usable(session)
    assert session.restarts == 0
    session.close()
    assert not wait_until_none(run)


def test_a_fork_that_comes_back_does_not_answer_too(open_session: Open) -> None:
    session = open_session()
    pids = set()
    for how in ["fork"] + ["none"] * 20:
        logits = Array.rounded("float64", np.zeros(()))
        options = {"where": "before" if how == "fork" else "nowhere", "how": how}
        outcome = session.run(Call("faulty.pid", logits, logits, options=options))
        pids.add(int(outcome.values["forward"].values))
    assert len(pids) == 1


def leaves_an_orphan(session: IsolatedSession, run: str) -> bool:
    call = ask("before", "orphan")
    assert_answered(session.run(call), call)
    assert len(processes_of(run)) == 2
    session.close()
    return bool(processes_of(run))


def test_orphans_are_found_by_their_mark(
    open_session: Open, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "SECONDS_TO_DIE", 0.5)
    assert not leaves_an_orphan(open_session(), run)
    monkeypatch.setattr(process, "_marked", lambda mark: [])
    assert leaves_an_orphan(open_session(), run)
    for left in processes_of(run):
        left.kill()


def test_a_flood_does_not_fill_the_disk(
    open_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    trim = process.WorkerProcess.trim_log

    def measured(self: process.WorkerProcess) -> None:
        trim(self)
        sizes.append(os.fstat(self._log.descriptor).st_size)

    monkeypatch.setattr(process.WorkerProcess, "trim_log", measured)
    session = open_session(timeout=1)
    failure = session.run(ask("before", "flood 1")).failure
    assert isinstance(failure, TimedOut)
    # Little beyond the bound is written between looking and cutting.
    assert sizes and max(sizes) < process.LARGEST_LOG + (64 << 20)
    assert any("flood flood" in line for line in failure.stderr)
    assert sum(map(len, failure.stderr)) <= 60 * process.LONGEST_LINE


def outcome_of_growth(session: IsolatedSession) -> object:
    return session.run(ask("before", "allocate")).failure


def test_a_call_that_takes_all_memory_is_killed(
    open_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session(memory_limit=200 << 20)
    failure = outcome_of_growth(session)
    assert isinstance(failure, Crashed)
    assert failure.cause.startswith("memory limit: the worker grew by 0.")
    assert failure.during == "forward"
    assert_usable(session)
    monkeypatch.setattr(IsolatedSession, "_overgrown", lambda self, worker: None)
    assert outcome_of_growth(session) is None, "the limit, and nothing else, stops it"


def test_a_worker_that_has_grown_is_replaced(open_session: Open) -> None:
    session = open_session(memory_limit=200 << 20)
    session._memory_limit = 2000 << 20
    assert outcome_of_growth(session) is None
    session._memory_limit = 200 << 20
    worker = session._worker
    assert worker is not None
    worker.next_look = 0
    assert_usable(session)
    assert session.restarts == 0
    assert_usable(session)
    assert (session.restarts, session.lost) == (1, ())


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raw garbage", ""),
        ("unknown kind", "broke the protocol: ValueError: a message of kind 'what'"),
        ("not packed", "broke the protocol: not a packed message"),
        ("truncated", "broke the protocol"),
        ("terminate", ""),
        ("close channel", ""),
        ("close everything", ""),
    ],
)
def test_a_broken_connection_is_a_crash(
    open_session: Open, monkeypatch: pytest.MonkeyPatch, how: str, said: str
) -> None:
    monkeypatch.setattr(process, "SECONDS_TO_DIE", 0.5)
    session = open_session()
    call = ask("between", how)
    outcome = session.run(call)
    assert isinstance(outcome.failure, Crashed)
    assert outcome.failure.cause.startswith(said) and outcome.failure.cause
    assert outcome.failure.during == "grad.logits"
    assert_values(outcome, call, WANT[:1])
    assert_usable(session)


def test_a_message_announced_and_never_sent_times_out(open_session: Open) -> None:
    session = open_session(timeout=0.7)
    assert isinstance(session.run(ask("between", "huge header")).failure, TimedOut)
    session._timeout = 60
    assert_usable(session)


def answers_with_a_stale_value(session: IsolatedSession) -> bool:
    assert_usable(session)
    call = ask("before", "stale")
    outcome = session.run(call)
    try:
        assert_answered(outcome, call)
    except AssertionError:
        return True
    return False


def test_an_answer_to_another_call_is_never_taken(
    open_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not answers_with_a_stale_value(open_session())
    monkeypatch.setattr(isolated._Conversation, "is_addressed", lambda self, serial: True)
    assert answers_with_a_stale_value(open_session())


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        ("complex", "TypeError: a result of dtype complex64"),
        ("other dtype", "TypeError: a result said to be float16 in an array of float64"),
        ("no triple", "TypeError"),
        ("other quantity", "ValueError: grad.weight instead of forward"),
        ("object", "TypeError: a result said to be float64 in an array of object"),
        ("big-endian", "TypeError: a result said to be float64 in an array of >f8"),
        ("too huge", "TypeError: a result of 4294967296 bytes"),
    ],
)
def test_what_cannot_be_sent_is_said(shared: IsolatedSession, returns: str, reason: str) -> None:
    failure = shared.run(ask(returns=returns)).failure
    assert isinstance(failure, Faulty) and failure.during == "forward"
    assert failure.reason.startswith("the adapter returned what cannot be sent: ")
    assert reason in failure.reason
    assert_usable(shared)


def test_large_and_strided_results_arrive(shared: IsolatedSession) -> None:
    outcome = shared.run(ask(returns="huge"))
    assert outcome.values["forward"].shape == (1 << 24,)
    outcome = shared.run(ask(returns="transposed"))
    assert outcome.values["forward"].values.tolist() == np.arange(6.0).reshape(2, 3).T.tolist()


def test_options_of_any_text_arrive(shared: IsolatedSession) -> None:
    call = ask(reduction="\ud800 \0 é")
    assert_answered(shared.run(call), call)


def kill_when_idle(session: IsolatedSession) -> None:
    worker = session._worker
    assert worker is not None
    worker.process._process.kill()
    while worker.process._process.poll() is None:
        time.sleep(0.005)


def test_a_death_between_calls_is_no_calls_fault(open_session: Open) -> None:
    session = open_session()
    call = ask()
    assert_answered(session.run(call), call)
    kill_when_idle(session)
    assert_usable(session)
    (lost,) = session.lost
    assert (lost.cause, lost.after) == ("signal 9 (SIGKILL)", call)
    assert session.restarts == 1
    kill_when_idle(session)
    session.close()
    assert len(session.lost) == 2


def test_a_death_that_shows_only_when_the_call_is_sent(
    open_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.WorkerProcess, "has_exited", lambda self: False)
    session = open_session()
    kill_when_idle(session)
    assert_usable(session)
    assert [lost.cause for lost in session.lost] == ["signal 9 (SIGKILL)"]
    # The rule is what saves the call:
    monkeypatch.setattr(isolated, "TRIES", 1)
    kill_when_idle(session)
    failure = session.run(ask()).failure
    assert isinstance(failure, Crashed) and failure.during == "request"


def test_a_worker_that_hangs_between_calls_is_replaced(open_session: Open) -> None:
    session = open_session(timeout=0.7)
    worker = session._worker
    assert worker is not None
    os.kill(worker.process.pid, signal.SIGSTOP)
    call = ask()
    outcome = session.run(call)
    assert_answered(outcome, call)
    assert [lost.cause for lost in session.lost] == ["did not take a call within 0.7 s"]


def test_a_stopped_worker_does_not_block_the_sending_of_a_large_call(open_session: Open) -> None:
    session = open_session(timeout=0.7)
    worker = session._worker
    assert worker is not None
    os.kill(worker.process.pid, signal.SIGSTOP)
    large = Array.rounded("float64", np.zeros(1 << 17))
    outcome = session.run(Call("faulty.loss", large, large))
    assert outcome.values["forward"].size == 1 << 17
    assert len(session.lost) == 1


def test_a_death_after_the_answer(open_session: Open) -> None:
    session = open_session()
    for _ in range(3):
        call = ask("after", "die soon")
        assert_answered(session.run(call), call)
        worker = session._worker
        assert worker is not None
        while not worker.process.has_exited():
            time.sleep(0.005)
    session.close()
    assert [lost.cause for lost in session.lost] == ["signal 9 (SIGKILL)"] * 3


def test_an_exception_in_the_suite_leaves_no_worker(
    open_session: Open, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session()
    trim = process.WorkerProcess.trim_log

    def interrupted(self: process.WorkerProcess) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(process.WorkerProcess, "trim_log", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.run(ask("before", "sleep"))
    assert not processes_of(run)
    monkeypatch.setattr(process.WorkerProcess, "trim_log", trim)
    assert_usable(session)


def test_a_dropped_session_leaves_no_worker(run: str) -> None:
    session = IsolatedSession(FAULTY, "faulty", python=sys.executable)
    assert processes_of(run)
    del session
    assert not wait_until_none(run)


def test_a_worker_outlives_the_thread_that_first_used_it(open_session: Open) -> None:
    opened: list[IsolatedSession] = []
    thread = threading.Thread(target=lambda: opened.append(open_session()))
    thread.start()
    thread.join()
    (session,) = opened
    time.sleep(0.1)
    assert_usable(session)
    assert (session.restarts, session.lost) == (0, ())


def test_a_closed_session_runs_nothing(open_session: Open) -> None:
    session = open_session()
    session.close()
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run(ask())
