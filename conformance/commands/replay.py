"""`bce-conformance replay`: the witness of a check, run again."""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

from ..adapters import AdapterFile, available
from ..model.expectation import Case, SameAsEager
from ..report.document import Json, check_json
from ..report.html.visible import visible
from ..report.markdown import in_full
from ..report.read import read
from ..running.engine import run_case
from ..running.witness import case_from_json
from ..session import BackendUnavailable
from . import UsageError
from .select import Target, parse_losses


def command(options: Namespace) -> int:
    """0 fixed (or still as it should be), 1 still deviates, 3 cannot run; raises UsageError."""
    report = read(options.report)
    kept = find(report, witness_of(report, options.check), options.report)
    case = case_of(kept, options.report)
    backend = report["backend"]
    target = Target(adapter_of(report, options), options.python or sys.executable)
    losses = parse_losses([options.loss] if options.loss else [])
    modes = [backend["mode"]]
    if isinstance(case.expectation.promise, SameAsEager):
        modes.append("eager")
    try:
        with ExitStack() as opened:
            sessions = [
                opened.enter_context(
                    target.session(backend["device"], mode, options.timeout, losses)
                )
                for mode in modes
            ]
            now = sessions[0].backend.framework_version
            eager = sessions[1] if len(sessions) > 1 else None
            grade = report["suite"]["grade"]
            checks = run_case(sessions[0], case, target.adapter, grade, eager=eager)
    except BackendUnavailable as error:
        print(visible(f"cannot run: {error}"))
        return 3
    again = next(c for c in checks if c.quantity == kept["quantity"])
    print(visible(in_full(check_json(again))))
    print()
    return _conclude(kept["verdict"], again.verdict, backend["framework_version"], now)


def adapter_of(report: Json, options: Namespace) -> AdapterFile:
    """The installed adapter of the report's backend, or that of --adapter.

    A report is data: its text names an adapter and nothing else, so that no program that it names
    is ever started. Raises UsageError.
    """
    adapters = available(options.adapter)
    name = report["backend"]["adapter"]
    if name not in adapters:
        known = ", ".join(adapters)
        raise UsageError(
            f"{options.report}: backend.adapter: expected one of {known}, not {name!r}"
        )
    return adapters[name]


FAILED = ("deviates", "known", "crashed", "timed-out")


def _conclude(before: str, after: str, then: str, now: str) -> int:
    releases = visible(now if then == now else f"{then} then, {now} now")
    if after in FAILED:
        word = "still deviates" if before in FAILED else "deviates now"
        print(f"{word} ({before} → {after}; {releases})")
        return 1
    if after in ("unsupported", "refused"):
        print(f"cannot run ({before} → {after}; {releases})")
        return 3
    print(f"{'fixed' if before in FAILED else 'as before'} ({before} → {after}; {releases})")
    return 0


def witness_of(report: Json, name: str) -> str:
    """The id of the check that shows a finding; any other name comes back as it is."""
    shown = (each["witness"]["check"] for each in report["findings"] if each["id"] == name)
    return str(next(shown, name))


def find(report: Json, check_id: str, file: Path) -> Json:
    """The check of an id. Raises UsageError with ids that are like it."""
    try:
        ids = [check["id"] for check in report["checks"]]
    except (KeyError, TypeError):
        raise UsageError(f"{file}: expected a report with checks") from None
    if check_id in ids:
        found: Json = report["checks"][ids.index(check_id)]
        return found
    like = [known for known in ids if check_id in known][:5]
    hint = f"; like it: {', '.join(like)}" if like else ""
    raise UsageError(f"{file}: has no check {check_id!r}{hint}")


def case_id(kept: Json) -> str:
    """The id of a check's question: the check's without its quantity."""
    return str(kept["id"]).removesuffix(f":{kept['quantity']}")


def case_of(kept: Json, file: Path) -> Case:
    try:
        said_once = {"id": case_id(kept), **{k: kept[k] for k in ("kind", "source", "note")}}
        return case_from_json({**said_once, **kept["witness"]["question"]})
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{file}: the witness of {kept['id']} cannot be read: {error}") from None
