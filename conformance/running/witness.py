"""The evidence of a check: its question as JSON, what was due, what came, and a paste."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..adapters import AdapterFile
from ..judging.rules import Finding, KnownBehaviour, excused, judge, one_line, steady
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
    Characterise,
    EqualsCall,
    Expectation,
    HasValue,
    LeavesArguments,
    OnlyForm,
    PrintedAs,
    Promise,
    Question,
    Raises,
    Refuses,
    SameAsEager,
    Source,
    Unmoved,
)
from ..model.literal import from_json, literal, to_json

Json = dict[str, Any]


def checks(
    question: Question,
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
        finding = judge(question, quantity, outcome, other, grade)
        excuse = known.get(question.check_id(quantity))
        finding = excused(finding, excuse, question, quantity, outcome, other, grade)
        made.append(check_of(question, quantity, finding, outcome.of(quantity), backend, adapter))
    return made


def not_asked(
    question: Question, finding: Finding, backend: Backend, adapter: AdapterFile
) -> list[Check]:
    """The checks of a question that was not put to the backend, and why."""
    nothing = Unsupported(finding.summary)
    wanted = question.call.want
    return [check_of(question, q, finding, nothing, backend, adapter) for q in wanted]


def check_of(
    question: Question,
    quantity: str,
    finding: Finding,
    result: Array | Failure,
    backend: Backend,
    adapter: AdapterFile,
    examples: int = 1,
) -> Check:
    """A finding with its witness; examples: how many questions it was made from."""
    return Check(
        id=question.check_id(quantity),
        surface=question.surface,
        kind=question.kind,
        quantity=quantity,
        dtype=question.call.logits.dtype,
        reduction=question.call.reduction,
        axis=finding.axis,
        verdict=finding.verdict,
        source=question.source,
        summary=finding.summary,
        witness=Witness(
            question=question_json(question),
            quantity=quantity,
            expected=_expected(question, finding),
            got=_got(result),
            reproduce=_paste(question, finding, backend, adapter),
        ),
        note=question.note,
        reason=finding.reason,
        strict=finding.strict,
        examples=examples,
    )


PASTED = ("documented", "sweep")


def _paste(question: Question, finding: Finding, backend: Backend, adapter: AdapterFile) -> str:
    """Nothing for generated checks that conform: they are many, and `replay` makes it."""
    spare = finding.verdict == "conforms" and question.kind not in PASTED
    return "" if spare else reproduction(question, backend, adapter)


def reproduction(question: Question, backend: Backend, adapter: AdapterFile) -> str:
    """Plain framework code for the call, and for those that it is compared with."""
    where = backend.where
    ways = [{**call.wire(), **where} for call in question.calls]
    if isinstance(question.expectation.promise, SameAsEager):
        ways.append({**question.call.wire(), **where, "mode": "eager"})
    sources = [adapter.reproduction(way, literal).strip() for way in ways]
    return "\n\n".join(sources)


def _expected(question: Question, finding: Finding) -> Json:
    promise = question.expectation.promise
    expected: Json = {"promise": _words(promise)}
    if finding.due is not None:
        high, low = finding.due
        expected["value"] = _number(high)
        expected["digits"] = f"{high:.17g}"
        expected["low"] = _number(low)
        expected["at"] = list(finding.worst or ())
    if finding.allowed is not None:
        expected["tolerance"] = _number(finding.allowed)
    if finding.ulps is not None:
        expected["ulps_off"] = finding.ulps
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
        Unmoved: "is the same when asked again",
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
        **({"beside": list(call.beside)} if call.beside else {}),
    }


def call_from_json(kept: Json) -> Call:
    arguments = {n: a and from_json(a) for n, a in kept["arguments"].items()}
    return Call(
        surface=kept["surface"],
        options=dict(kept["options"]),
        want=tuple(kept["want"]),
        upstream=kept["upstream"] and from_json(kept["upstream"]),
        beside=tuple(kept.get("beside", ())),
        **arguments,
    )


def question_json(question: Question) -> Json:
    """All of a question; `question_from_json` reads it back."""
    expectation = question.expectation
    shape = expectation.shape
    return {
        "id": question.id,
        "kind": question.kind,
        "call": call_json(question.call),
        "expect": {
            **_promise_json(expectation.promise, question.call),
            "shape": None if shape is None else list(shape),
            "dtype": expectation.dtype,
        },
        "source": {"document": question.source.document, "sentence": question.source.sentence},
        "note": question.note,
        "requires": question.requires,
        **({"before": [call_json(call) for call in question.before]} if question.before else {}),
    }


def _promise_json(promise: Promise, call: Call) -> Json:
    if isinstance(promise, AgreesWithReference):
        same = promise.promised == call
        optional = {"optional": True} if promise.optional else {}
        return {"reference": True if same else call_json(promise.promised), **optional}
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
    if isinstance(promise, Unmoved):
        return {"unmoved": [call_json(between) for between in promise.between]}
    if isinstance(promise, Refuses):
        return {"refuses": promise.why}
    if isinstance(promise, SameAsEager):
        return {"same_as_eager": True}
    if isinstance(promise, OnlyForm):
        return {"form": True, "optional": promise.optional}
    return {"characterise" if isinstance(promise, Characterise) else "leaves_arguments": True}


def question_from_json(kept: Json) -> Question:
    """Raises KeyError, TypeError or ValueError where the JSON is not a question's."""
    call = call_from_json(kept["call"])
    expect = kept["expect"]
    shape = expect["shape"]
    return Question(
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
        promised = expect["reference"]
        promised = call if promised is True else call_from_json(promised)
        return AgreesWithReference(promised, optional=optional)
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
        return Unmoved(tuple(call_from_json(between) for between in expect["unmoved"]))
    if "refuses" in expect:
        return Refuses(expect["refuses"])
    if "same_as_eager" in expect:
        return SameAsEager()
    if "leaves_arguments" in expect:
        return LeavesArguments()
    return Characterise() if "characterise" in expect else OnlyForm(optional)
