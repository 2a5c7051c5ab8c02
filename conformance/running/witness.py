"""The evidence of a check: its question as JSON, what was due, the result, and a paste."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..adapters import AdapterFile
from ..judging.diagnosis import diagnosed, diagnoses
from ..judging.rules import Judgement, KnownBehaviour, excused, judge, one_line, steady
from ..judging.tolerance import Grade
from ..model.call import (
    ARGUMENTS,
    Array,
    Backend,
    Call,
    Failure,
    Faulty,
    Outcome,
    Raised,
    TimedOut,
    Unsupported,
)
from ..model.check import Check, Witness
from ..model.expectation import (
    AgreesWithReference,
    Case,
    Characterise,
    EqualsCall,
    Expectation,
    HasValue,
    LeavesArguments,
    OnlyForm,
    PrintedAs,
    Promise,
    Raises,
    Refuses,
    Repeatable,
    SameAsEager,
    Source,
)
from ..model.literal import from_json, literal, to_json

Json = dict[str, Any]


def checks(
    case: Case,
    answers: Mapping[str, Outcome],
    others: Mapping[str, Outcome],
    grade: Grade,
    backend: Backend,
    adapter: AdapterFile,
    known: Mapping[str, KnownBehaviour],
) -> list[Check]:
    """One check for each quantity of an answered question; others are of the call it equals.

    known is what the release is known to do otherwise, by check id.
    """
    made = []
    for quantity, outcome in answers.items():
        other = others.get(quantity)
        judgement = judge(case, quantity, outcome, other, grade)
        excuse = known.get(case.check_id(quantity))
        judgement = excused(judgement, excuse, case, quantity, outcome, other, grade)
        result = outcome.of(quantity)
        if judgement.verdict == "deviates" and isinstance(result, Array):
            judgement = diagnosed(judgement, diagnoses(case, quantity, result))
        made.append(check_of(case, quantity, judgement, result, backend, adapter))
    return made


def not_tested(
    case: Case, judgement: Judgement, backend: Backend, adapter: AdapterFile
) -> list[Check]:
    """The checks of a question that was not run against the backend, and why."""
    nothing = Unsupported(judgement.summary)
    wanted = case.call.want
    return [check_of(case, q, judgement, nothing, backend, adapter) for q in wanted]


def check_of(
    case: Case,
    quantity: str,
    judgement: Judgement,
    result: Array | Failure,
    backend: Backend,
    adapter: AdapterFile,
    examples: int = 1,
) -> Check:
    """A finding with its witness; examples: how many questions it was made from."""
    return Check(
        id=case.check_id(quantity),
        surface=case.surface,
        kind=case.kind,
        quantity=quantity,
        dtype=case.call.logits.dtype,
        reduction=case.call.reduction,
        axis=judgement.axis,
        verdict=judgement.verdict,
        source=case.source,
        summary=judgement.summary,
        witness=Witness(
            case=case_json(case),
            quantity=quantity,
            expected=_expected(case, judgement),
            got=_got(result),
            reproduce=_paste(case, judgement, backend, adapter),
        ),
        note=case.note,
        reason=judgement.reason,
        finding=judgement.finding,
        causes=judgement.causes,
        strict=judgement.strict,
        examples=examples,
    )


PASTED = ("documented", "sweep")


def _paste(case: Case, judgement: Judgement, backend: Backend, adapter: AdapterFile) -> str:
    """Nothing for generated checks that conform: they are many, and `replay` makes it."""
    spare = judgement.verdict == "conforms" and case.kind not in PASTED
    return "" if spare else reproduction(case, backend, adapter)


def reproduction(case: Case, backend: Backend, adapter: AdapterFile) -> str:
    """Plain framework code for the call, and for those that it is compared with."""
    where = backend.where
    ways = [{**call.wire(), **where} for call in case.calls]
    if isinstance(case.expectation.promise, SameAsEager):
        ways.append({**case.call.wire(), **where, "mode": "eager"})
    sources = [adapter.reproduction(way, literal).strip() for way in ways]
    return "\n\n".join(sources)


def _expected(case: Case, judgement: Judgement) -> Json:
    promise = case.expectation.promise
    expected: Json = {"promise": _words(promise)}
    if judgement.expected is not None:
        high, low = judgement.expected
        expected["value"] = _number(high)
        expected["digits"] = f"{high:.17g}"
        expected["low"] = _number(low)
        expected["at"] = list(judgement.worst or ())
    if judgement.allowed is not None:
        expected["tolerance"] = _number(judgement.allowed)
    if judgement.ulps is not None:
        expected["ulps_off"] = judgement.ulps
    return expected


def _words(promise: Promise) -> str:
    if isinstance(promise, Raises):
        return f"raises {' or '.join(promise.types)}"
    if isinstance(promise, PrintedAs):
        return f"prints {', '.join(promise.texts)}"
    if isinstance(promise, HasValue):
        return f"is {', '.join(f'{v:.17g}' for v in promise.values)}"
    if isinstance(promise, Refuses):
        return f"is refused: {promise.why}"
    return {
        AgreesWithReference: "agrees with the formula",
        EqualsCall: "equals the other call",
        Repeatable: "is the same when asked again",
        SameAsEager: "is the same in eager mode",
        LeavesArguments: "leaves its arguments as they were",
        Characterise: "left open; recorded",
        OnlyForm: "has the shape and dtype stated",
    }[type(promise)]


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _got(result: Array | Failure) -> Json:
    if isinstance(result, Array):
        return {"returned": to_json(result)}
    if isinstance(result, Raised):
        raised = {"type": result.type, "message": one_line(result.message, 2000)}
        return {"raised": {**raised, "bases": list(result.bases), "during": result.during}}
    if isinstance(result, Unsupported):
        return {"unsupported": result.reason}
    if isinstance(result, Faulty):
        return {"fault of the adapter": {"reason": result.reason, "during": result.during}}
    lines = [one_line(steady(line), 500) for line in result.stderr]
    if isinstance(result, TimedOut):
        return {"timed_out": {"seconds": result.seconds, "during": result.during, "stderr": lines}}
    return {"crashed": {"cause": result.cause, "during": result.during, "stderr": lines}}


def call_json(call: Call) -> Json:
    arguments = {name: call.argument(name) for name in ARGUMENTS}
    return {
        "surface": call.surface,
        "arguments": {name: array and to_json(array) for name, array in arguments.items()},
        "options": dict(call.options),
        "want": list(call.want),
        "upstream": call.upstream and to_json(call.upstream),
        **({"beside": list(call.along_with)} if call.along_with else {}),
    }


def call_from_json(kept: Json) -> Call:
    arguments = {n: a and from_json(a) for n, a in kept["arguments"].items()}
    return Call(
        surface=kept["surface"],
        options=dict(kept["options"]),
        want=tuple(kept["want"]),
        upstream=kept["upstream"] and from_json(kept["upstream"]),
        along_with=tuple(kept.get("beside", ())),
        **arguments,
    )


def case_json(case: Case) -> Json:
    """All of a question; `question_from_json` reads it back."""
    expectation = case.expectation
    shape = expectation.shape
    return {
        "id": case.id,
        "kind": case.kind,
        "call": call_json(case.call),
        "expect": {
            **_promise_json(expectation.promise, case.call),
            "shape": None if shape is None else list(shape),
            "dtype": expectation.dtype,
        },
        "source": {"document": case.source.document, "sentence": case.source.sentence},
        "note": case.note,
        "requires": case.requires,
        **({"before": [call_json(call) for call in case.before]} if case.before else {}),
    }


def _promise_json(promise: Promise, call: Call) -> Json:
    if isinstance(promise, AgreesWithReference):
        same = promise.reference_call == call
        optional = {"optional": True} if promise.optional else {}
        return {"reference": True if same else call_json(promise.reference_call), **optional}
    if isinstance(promise, HasValue):
        values = [_number(value) for value in promise.values]
        return {"value": {"shape": list(promise.shape), "values": values}}
    if isinstance(promise, PrintedAs):
        return {"printed": {"shape": list(promise.shape), "texts": list(promise.texts)}}
    if isinstance(promise, Raises):
        return {"raises": list(promise.types)}
    if isinstance(promise, EqualsCall):
        order = None if promise.order is None else list(promise.order)
        return {
            "equals": call_json(promise.other),
            "factor": promise.factor,
            "order": order,
            "optional": promise.optional,
        }
    if isinstance(promise, Repeatable):
        return {"unmoved": [call_json(between) for between in promise.between]}
    if isinstance(promise, Refuses):
        return {"refuses": promise.why}
    if isinstance(promise, SameAsEager):
        return {"same_as_eager": True}
    if isinstance(promise, OnlyForm):
        return {"form": True, "optional": promise.optional}
    return {"characterise" if isinstance(promise, Characterise) else "leaves_arguments": True}


def case_from_json(kept: Json) -> Case:
    """Raises KeyError, TypeError or ValueError where the JSON is not a case's."""
    call = call_from_json(kept["call"])
    expect = kept["expect"]
    shape = expect["shape"]
    return Case(
        id=kept["id"],
        kind=kept["kind"],
        call=call,
        expectation=Expectation(
            _promise_from_json(expect, call),
            None if shape is None else tuple(shape),
            expect["dtype"],
        ),
        source=Source(kept["source"]["document"], kept["source"]["sentence"]),
        note=kept["note"],
        requires=kept["requires"],
        before=tuple(call_from_json(call) for call in kept.get("before", ())),
    )


def _promise_from_json(expect: Json, call: Call) -> Promise:
    optional = bool(expect.get("optional", False))
    if "reference" in expect:
        reference_call = expect["reference"]
        reference_call = call if reference_call is True else call_from_json(reference_call)
        return AgreesWithReference(reference_call, optional=optional)
    if "value" in expect:
        values = tuple(float(value) for value in expect["value"]["values"])
        return HasValue(tuple(expect["value"]["shape"]), values)
    if "printed" in expect:
        return PrintedAs(tuple(expect["printed"]["shape"]), tuple(expect["printed"]["texts"]))
    if "raises" in expect:
        return Raises(tuple(expect["raises"]))
    if "equals" in expect:
        order = expect.get("order")
        return EqualsCall(
            call_from_json(expect["equals"]),
            factor=float(expect.get("factor", 1.0)),
            order=None if order is None else tuple(order),
            optional=optional,
        )
    if "unmoved" in expect:
        return Repeatable(tuple(call_from_json(between) for between in expect["unmoved"]))
    if "refuses" in expect:
        return Refuses(expect["refuses"])
    if "same_as_eager" in expect:
        return SameAsEager()
    if "leaves_arguments" in expect:
        return LeavesArguments()
    return Characterise() if "characterise" in expect else OnlyForm(optional)
