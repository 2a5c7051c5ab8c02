"""The verdicts: what a backend did, held against what was expected. All rules stand here.

A verdict is a `Finding`; turning it into a check with its witness is `witness`'s work. The rules,
in the order of the contract ("What decides a verdict"):

1. A document's promise is held against the surface.
2. An accepted call returns the formula's value, shape and dtype.
3. A refusal is fine unless acceptance was promised; a promised refusal must come, of its type.
4. A crash or a hang is never fine, whatever was expected.
5. Beyond the stable grade deviates; beyond the strict grade is said, and fails `--grade strict`.

Where the truth is not known well enough to decide, the verdict is `refused`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..model.call import (
    FORWARD,
    Array,
    Call,
    Failure,
    Faulty,
    Outcome,
    Raised,
    TimedOut,
    Unsupported,
)
from ..model.check import FAILING, Axis, Verdict
from ..model.dtypes import FLOATS
from ..model.expectation import (
    AgreesWithReference,
    But,
    Characterise,
    EqualsCall,
    Expectation,
    HasValue,
    LeavesArguments,
    OnlyForm,
    PrintedAs,
    Question,
    Raises,
    Refuses,
    SameAsEager,
    Unmoved,
)
from . import tolerance
from .errors import Errors, Truth, errors, truth
from .rounded_sigmoid import by_rounded_sigmoid
from .tolerance import Floats, Grade

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Evidence:
    """What a value was held against, element by element; `result` has the shape of `due`."""

    result: Array
    due: Truth
    found: Errors


@dataclass(frozen=True)
class Finding:
    """A verdict about one quantity, in words, with the numbers behind it.

    worst is the index of the element that decided; due and allowed are its value (high + low) and
    tolerance, ulps its error; None where no element was compared. strict says whether all elements
    are within the strict grade as well. reason is that of a known deviation. evidence is what a
    tolerance report is made of.
    """

    verdict: Verdict
    axis: Axis
    summary: str
    worst: tuple[int, ...] | None = None
    due: tuple[float, float] | None = None
    allowed: float | None = None
    ulps: float | None = None
    strict: bool | None = None
    reason: str = ""
    evidence: Evidence | None = field(default=None, compare=False, repr=False)


def judge(
    question: Question, quantity: str, outcome: Outcome, other: Outcome | None, grade: Grade
) -> Finding:
    """The verdict on one quantity of an answered question.

    other is the outcome of the last of several calls, for `EqualsCall` and `Unmoved`. The grade
    decides which of the two tolerances fails a value.
    """
    result = outcome.of(quantity)
    promise = question.expectation.promise
    failed = _not_answered(result)
    if failed is not None:
        return failed
    assert isinstance(result, (Array, Raised))
    if isinstance(promise, LeavesArguments):
        return _arguments(outcome)
    if isinstance(promise, Raises):
        return _refusal(promise, result)
    if isinstance(promise, Refuses):
        return _due_refusal(promise, result)
    if isinstance(promise, Characterise):
        return Finding("characterised", "semantics", _described(result))
    if isinstance(promise, SameAsEager):
        return _modes(question.call, quantity, result, other)
    if isinstance(result, Raised):
        optional = getattr(promise, "optional", isinstance(promise, Unmoved))
        return _open_refusal(result) if optional else _unpromised_refusal(result)
    return _value(question, quantity, result, other, grade)


class KnownBehaviour(Protocol):
    """What a release is known to do otherwise than is due (see `known.Known`)."""

    @property
    def summary(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def crashes(self) -> bool: ...

    @property
    def changes(self) -> tuple[str, ...]: ...

    def explained(self, question: Question) -> Question: ...


def excused(
    finding: Finding,
    known: KnownBehaviour | None,
    question: Question,
    quantity: str,
    outcome: Outcome,
    other: Outcome | None,
    grade: Grade,
) -> Finding:
    """The finding, or `known` where a failing one is exactly what the release is known to do.

    For a comparison with eager mode, known is what is known of that mode, whose outcome is other.
    """
    if known is None or finding.verdict not in FAILING:
        return finding
    promise = question.expectation.promise
    if isinstance(promise, LeavesArguments):
        same = bool(outcome.changed) and set(outcome.changed) <= set(known.changes)
    elif finding.verdict == "crashed":
        same = known.crashes
    elif isinstance(promise, SameAsEager):
        formula = replace(question, expectation=Expectation(AgreesWithReference(question.call)))
        same = other is not None and _explains(known, formula, quantity, other, None, grade)
    else:
        same = _explains(known, question, quantity, outcome, other, grade)
    summary = f"{known.summary}. {finding.summary}"
    if not same:
        return finding
    return replace(finding, verdict="known", summary=summary, reason=known.reason)


def _explains(
    known: KnownBehaviour, question: Question, quantity: str, outcome: Outcome,
    other: Outcome | None, grade: Grade,
) -> bool:  # fmt: skip
    instead = known.explained(question)
    does = instead is not question
    return does and judge(instead, quantity, outcome, other, grade).verdict == "conforms"


def _modes(call: Call, quantity: str, result: Array | Raised, other: Outcome | None) -> Finding:
    """A compiled result against the eager one; what only one of them accepts is left open."""
    assert other is not None
    eager = other.of(quantity)
    failed = _not_answered(eager)
    if failed is not None:
        return replace(failed, summary=f"in eager mode: {failed.summary}")
    assert isinstance(eager, (Array, Raised))
    if isinstance(result, Raised) or isinstance(eager, Raised):
        same = isinstance(result, Raised) and isinstance(eager, Raised)
        summary = f"compiled {_described(result)}; eager {_described(eager)}"
        return Finding("conforms" if same else "characterised", "semantics", summary)
    if result.dtype != eager.dtype:
        summary = f"compiled {_described(result)}; eager {_described(eager)}"
        return Finding("deviates", "semantics", summary)
    return _equal(call, EqualsCall(call), quantity, result, other, flushing=True)


def _value(
    question: Question, quantity: str, result: Array, other: Outcome | None, grade: Grade
) -> Finding:
    """The verdict on something that was returned."""
    promise = question.expectation.promise
    form = _form(question, quantity, result)
    if form is not None:
        return form
    if isinstance(promise, OnlyForm):
        return Finding("conforms", "semantics", f"returned {_form_of(result)}")
    if isinstance(promise, Unmoved):
        same = EqualsCall(question.call)
        return _equal(question.call, same, quantity, result, other)
    if isinstance(promise, EqualsCall):
        return _equal(question.call, promise, quantity, result, other)
    if isinstance(promise, (HasValue, PrintedAs)):
        return _stated(question.call, quantity, promise, result)
    assert isinstance(promise, AgreesWithReference)
    return _formula(promise, quantity, result, grade)


def _not_answered(result: Array | Failure) -> Finding | None:
    """The verdict where the framework gave no answer at all; None where it did, or refused."""
    if isinstance(result, (Array, Raised)):
        return None
    if isinstance(result, Unsupported):
        return Finding("unsupported", "semantics", f"cannot be asked here: {result.reason}")
    if isinstance(result, Faulty):
        summary = f"a fault of the adapter, not of the framework ({result.during}): {result.reason}"
        return Finding("crashed", "semantics", one_line(summary, 400))
    if isinstance(result, TimedOut):
        summary = f"no answer within {result.seconds:g} s ({result.during}); the worker was killed"
        return Finding("timed-out", "semantics", summary)
    said = steady(telling_line(result.stderr))
    told = f": {one_line(said)}" if said else ""
    return Finding("crashed", "semantics", f"{result.cause} ({result.during}){told}")


def telling_line(stderr: tuple[str, ...]) -> str:
    """The line that says why: the last before Python's own dump of a fatal error, else that."""
    checks = [line for line in stderr if GLOG.match(line)]
    if checks:
        return steady(checks[0])
    fatal = [i for i, line in enumerate(stderr) if line.startswith("Fatal Python error")]
    before = [line for line in stderr[: fatal[0]] if line.strip()] if fatal else list(stderr)
    return before[-1] if before else (stderr[fatal[0]] if fatal else "")


GLOG = re.compile(r"^F\d{8} \d\d:\d\d:\d\d\.\d+ +\d+ ")
"""How a fatal message of glog begins: date, time, thread."""
VARYING = re.compile(r"0x[0-9a-f]{6,}|(?<=thread )0x[0-9a-f]+|\(pid=\d+\)")


def steady(line: str) -> str:
    """A line of a dying process without what differs from run to run: times, addresses."""
    return VARYING.sub("…", re.sub(r"^[IWEF]\d{8} \d\d:\d\d:\d\d\.\d+ +\d+ ", "", line))


COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
RULE = re.compile(r"[-=]{5,}|[\x00-\x08\x0b-\x1f\x7f]")


def one_line(text: str, most: int = 200) -> str:
    """A message of the framework's on one line, without colours and rules, of bounded length."""
    line = " ".join(RULE.sub(" ", COLOUR.sub("", text)).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _described(result: Array | Raised) -> str:
    if isinstance(result, Raised):
        return f"refused with {result.type}: {one_line(result.message)}"
    return f"returned {_form_of(result)}: {shown(result)}"


def _form_of(result: Array) -> str:
    return f"{result.dtype} of shape {list(result.shape)}"


def shown(result: Array, most: int = 6) -> str:
    """The first few values, to 9 digits (17 for float64)."""
    digits = 17 if result.dtype == "float64" else 9
    first = [f"{v:.{digits}g}" for v in result.values.ravel()[:most]]
    more = ", …" if result.size > most else ""
    return f"[{', '.join(first)}{more}]" if result.shape else first[0]


def _refusal(promise: Raises, result: Array | Raised) -> Finding:
    due = " or ".join(promise.types)
    if isinstance(result, Raised):
        if set(promise.types) & {result.type, *result.bases}:
            return Finding("conforms", "semantics", f"refused with {result.type} as documented")
        summary = f"{due} is documented; raised {result.type}: {one_line(result.message)}"
        return Finding("deviates", "semantics", summary)
    summary = f"{due} is documented; accepted, and returned {_form_of(result)}: {shown(result)}"
    return Finding("deviates", "semantics", summary)


def _due_refusal(promise: Refuses, result: Array | Raised) -> Finding:
    if isinstance(result, Raised):
        summary = f"refused with {result.type}: {one_line(result.message)}"
        return Finding("conforms", "semantics", summary)
    summary = f"{promise.why}; accepted, and returned {_form_of(result)}: {shown(result)}"
    return Finding("deviates", "semantics", summary)


def _arguments(outcome: Outcome) -> Finding:
    if outcome.changed:
        changed = " and ".join(outcome.changed)
        return Finding("deviates", "semantics", f"{changed} had other bits after the call")
    return Finding("conforms", "semantics", "the arguments have the same bits after the call")


def _open_refusal(result: Raised) -> Finding:
    return Finding("characterised", "semantics", _described(result))


def _unpromised_refusal(result: Raised) -> Finding:
    at = "" if result.during == FORWARD else f" during {result.during}"
    summary = f"documented to work; raised {result.type}{at}: {one_line(result.message)}"
    return Finding("deviates", "semantics", summary)


def _form(question: Question, quantity: str, result: Array) -> Finding | None:
    """Deviating shape or dtype, None where both are as promised."""
    shape, dtype = _due_form(question, quantity)
    if shape is not None and result.shape != shape:
        due = f"shape {list(shape)} is due"
        return Finding("deviates", "semantics", f"{due}; returned {_form_of(result)}")
    if dtype is not None and result.dtype != dtype:
        return Finding("deviates", "semantics", f"{dtype} is due; returned {_form_of(result)}")
    return None


def _due_form(question: Question, quantity: str) -> tuple[tuple[int, ...] | None, str | None]:
    """The shape and dtype due: as stated, else as rule 2 says for a value that is judged.

    Arguments of one dtype give a result of that dtype; a mixture leaves the dtype open.
    """
    expectation: Expectation = question.expectation
    call = question.call
    judged = not isinstance(expectation.promise, OnlyForm)
    if quantity != FORWARD:
        argument = call.argument(quantity.split(".")[1])
        assert argument is not None
        return argument.shape, expectation.dtype or argument.dtype
    promised = expectation.promise
    source = promised.promised if isinstance(promised, AgreesWithReference) else call
    shape = source.logits.shape if source.reduction == "none" else ()
    dtypes = {a.dtype for a in (call.logits, call.target, call.weight, call.pos_weight) if a}
    dtype = call.logits.dtype if len(dtypes) == 1 else None
    due_shape = expectation.shape if expectation.shape is not None else (shape if judged else None)
    return due_shape, expectation.dtype or (dtype if judged else None)


def _judging_dtype(call: Call, result: Array) -> str:
    """The precision a value is held to: the coarsest of the floating arguments' and its own."""
    arguments = (call.logits, call.target, call.weight, call.pos_weight, result)
    names = [a.dtype for a in arguments if a is not None and a.dtype in FLOATS]
    return min(names, key=lambda name: FLOATS[name].precision) if names else "float64"


def _formula(promise: AgreesWithReference, quantity: str, result: Array, grade: Grade) -> Finding:
    """The value against the reference, on two axes."""
    promised = promise.promised
    if result.dtype not in FLOATS:
        summary = f"a floating point result is due; returned {_form_of(result)}: {shown(result)}"
        return Finding("deviates", "semantics", summary)
    due = truth(promised, quantity, _judging_dtype(promised, result))
    if promise.but is not None:
        due = _excepted(due, promise.but, promised)
    if promise.another_count:
        due = _counted_otherwise(due, promised, result)
    if promise.logs_of_sigmoid:
        due = by_rounded_sigmoid(due, promised, result)
    if promise.running_totals:
        due = _added_one_by_one(due, promised, promise.running_totals)
    return compare(result, due, grade, promise.slack)


def _added_one_by_one(due: Truth, call: Call, totals: int) -> Truth:
    """The truth where each total may lose a unit roundoff for every element added to it.

    The bound of sequential summation (Higham, Accuracy and Stability of Numerical Algorithms, §4.2)
    is n/totals·u·Σ|terms|; |Σ terms| stands for that, which is less where terms cancel.
    """
    accumulator = FLOATS[tolerance.ACCUMULATOR[due.dtype]]
    lost = call.logits.size / totals * accumulator.unit_roundoff * np.abs(due.high)
    return replace(due, tolerance={grade: a + lost for grade, a in due.tolerance.items()})


def _counted_otherwise(due: Truth, call: Call, result: Array) -> Truth:
    """The truth if the mean were over the number of elements that fits the result best."""
    if result.shape != due.high.shape:
        return due
    n = call.logits.size
    fits = [_divided(due, n / count) for count in _plausible_counts(due, n, result)]
    return min(fits, key=lambda fit: _misfit(fit, result), default=due)


def _plausible_counts(due: Truth, n: int, result: Array) -> list[int]:
    """The whole numbers about n·due/result, by least squares over all elements.

    A single element does not tell: in float16 its own rounding is worth one in two thousand.
    """
    with np.errstate(all="ignore"):
        weight = (np.max(due.tolerance["stable"], initial=0.0) / due.tolerance["stable"]) ** 2
        guess = n * np.sum(weight * due.high**2) / np.sum(weight * due.high * result.values)
    if not (np.isfinite(guess) and guess >= 0.5):
        return []
    return [count for count in range(round(guess) - 2, round(guess) + 3) if count >= 1]


def _divided(due: Truth, ratio: float) -> Truth:
    """The truth times a ratio; what is lost to underflow does not shrink with it."""
    rest = due.rest * max(ratio, 1.0)
    tolerances = {grade: ratio * (a - due.rest) + rest for grade, a in due.tolerance.items()}
    high, low = ratio * due.high, ratio * due.low
    uncertainty = ratio * due.uncertainty + 2.0**-50 * np.abs(high)
    return replace(due, high=high, low=low, tolerance=tolerances, uncertainty=uncertainty)


def _misfit(due: Truth, result: Array) -> float:
    """The largest error, in tolerances."""
    with np.errstate(all="ignore"):
        return float(np.max(np.abs(result.values - due.high) / due.tolerance["stable"], initial=0))


def _excepted(due: Truth, but: But, call: Call) -> Truth:
    """The truth with a release's own value where its known exception applies."""
    applies = np.ones(due.high.shape, dtype=bool)
    for name, value in but.where.items():
        argument = call.argument(name)
        if argument is not None and argument.shape == due.high.shape:
            applies &= argument.values == value
        else:
            applies[...] = False
    high = np.where(applies, but.value, due.high)
    return replace(due, high=high, low=np.where(applies, 0.0, due.low))


def compare(result: Array, due: Truth, grade: Grade, slack: float = 1.0) -> Finding:
    """Element by element: another kind of number, a wrong formula, too inexact, undecidable.

    slack multiplies the tolerance.
    """
    if result.size == 0:
        return Finding("conforms", "accuracy", "nothing to compare: no elements", strict=True)
    found = errors(result, due)
    evidence = Evidence(result, due, found)
    allowed = due.tolerance[grade] if slack == 1.0 else slack * due.tolerance[grade]
    absolute = found.absolute
    early = np.zeros(absolute.shape, dtype=bool)
    if np.any(found.other_kind):
        early = np.isinf(result.values) & due.may_overflow
        early &= np.sign(result.values) == np.sign(due.high)
        early |= np.isnan(result.values) & due.may_cancel
        early &= np.isfinite(due.high)
        other_kind = found.other_kind & ~early
        if np.any(other_kind):
            at = _first(other_kind)
            return _at(at, evidence, allowed, "semantics", "deviates")
        absolute = np.where(early, 0.0, absolute)
    within = (absolute <= due.tolerance["strict"]) | (absolute == 0)  # an infinity has no tolerance
    strict = bool(np.all(within & ~early))
    with np.errstate(invalid="ignore"):
        fails = absolute - allowed > due.uncertainty
    if grade == "strict":
        fails = fails | early
    if np.any(fails):
        at = _worst(np.where(fails, absolute, 0.0), allowed)
        # What a backend does with subnormal numbers is recorded, and fails only the strict grade.
        gone = absolute - allowed <= due.flushed + due.uncertainty
        if grade == "stable" and np.all(gone | ~fails):
            told = f"as if subnormal numbers were 0: {_told(at, evidence)}"
            finding = _at(at, evidence, allowed, "accuracy", "conforms")
            return replace(finding, strict=False, summary=told)
        wrong = bool(np.any(absolute - due.uncertainty > due.formula))
        axis: Axis = "semantics" if wrong else "accuracy"
        return replace(_at(at, evidence, allowed, axis, "deviates"), strict=strict)
    unsure = _unsure(due, grade)
    if np.any(unsure):
        return _at(_first(unsure), evidence, allowed, "accuracy", "refused")
    finding = _at(_worst(absolute, allowed), evidence, allowed, "accuracy", "conforms")
    if strict:
        return replace(finding, strict=True)
    return replace(finding, strict=False, summary=_beyond_strict(finding, evidence, early))


def _beyond_strict(finding: Finding, evidence: Evidence, early: Mask) -> str:
    """What the strict grade has against a value that the stable grade lets pass."""
    due = evidence.due
    beyond = (evidence.found.absolute > due.tolerance["strict"]) | early
    at = _worst(np.where(beyond, evidence.found.absolute, 0.0), due.tolerance["strict"])
    at = _first(early) if np.any(early) else at
    return f"{finding.summary}; beyond the strict grade: {_told(at, evidence)}"


def _told(at: tuple[int, ...], evidence: Evidence) -> str:
    where = f" at {list(at)}" if at else ""
    got, due = float(evidence.result.values[at]), float(evidence.due.high[at])
    return f"{got:.9g} where {due:.9g} is due{where}"


def _unsure(due: Truth, grade: Grade) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Where the reference cannot carry a verdict (see tolerance.REFERENCE_SHARE)."""
    finite = np.isfinite(due.high)
    bearable = tolerance.REFERENCE_SHARE * np.maximum(due.ulp, due.tolerance[grade])
    # float64's own subnormals: no reference is finer than their grid, and `compare` adds it.
    bearable = np.maximum(bearable, 4 * FLOATS["float64"].smallest_subnormal)
    return np.asarray(finite & (due.uncertainty > bearable))


def _first(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])


def _worst(absolute: Floats, allowed: Floats) -> tuple[int, ...]:
    """The element whose error is the largest share of its tolerance."""
    share = np.zeros(absolute.shape)
    with np.errstate(all="ignore"):
        np.divide(absolute, allowed, out=share, where=(allowed > 0) & (allowed < np.inf))
    at = int(np.argmax(np.fmax(share, 0.0, out=share)))  # NaN is no share
    return tuple(int(i) for i in np.unravel_index(at, share.shape))


def _at(
    at: tuple[int, ...], evidence: Evidence, allowances: Floats, axis: Axis, verdict: Verdict
) -> Finding:
    due, result = evidence.due, evidence.result
    high, low = float(due.high[at]), float(due.low[at])
    allowed = float(allowances[at])
    error = float(evidence.found.ulps[at])
    where = f" at {list(at)}" if at else ""
    if verdict == "refused":
        summary = (
            f"the reference is uncertain by {float(due.uncertainty[at]):.2g}{where}, too much to "
            f"judge {float(result.values[at]):.17g}"
        )
    elif verdict == "conforms":
        summary = f"agrees with the formula: at most {error:.3g} ulp off{where}"
    else:
        comparable = np.isfinite(error)
        off = f"{error:.3g} ulp off (tolerance {allowed:.3g})"
        off = off if comparable else "not that kind of number"
        summary = f"{high:.17g} is due{where}; got {float(result.values[at]):.17g}, {off}"
    ulps_off = error if np.isfinite(error) else None
    return Finding(verdict, axis, summary, at, (high, low), allowed, ulps_off, evidence=evidence)


def _stated(call: Call, quantity: str, promise: HasValue | PrintedAs, result: Array) -> Finding:
    """A value or printed example of the document, within half a digit and the tolerance."""
    due = truth(call, quantity, _judging_dtype(call, result))
    if isinstance(promise, PrintedAs):
        numbers = np.array([float(text) for text in promise.texts])
        half = np.array([float(_half_digit(text)) for text in promise.texts])
    else:
        numbers = np.array(promise.values)
        half = np.zeros_like(numbers)
    stated = np.broadcast_to(numbers.reshape(promise.shape), result.shape)
    room = np.broadcast_to(half.reshape(promise.shape), result.shape) + due.tolerance["stable"]
    with np.errstate(all="ignore"):
        off = np.abs(result.values - stated)
    same = (np.isnan(result.values) & np.isnan(stated)) | (result.values == stated)
    fails = ~same & ~(off <= room)
    if not np.any(fails):
        return Finding("conforms", "semantics", f"agrees with the document: {shown(result)}")
    at = _first(fails)
    where = f" at {list(at)}" if at else ""
    summary = (
        f"the document says {stated[at]:.9g}{where}; got {result.values[at]:.9g}, "
        f"and its formula gives {due.high[at]:.17g}"
    )
    exact = (float(stated[at]), 0.0)
    return Finding("deviates", "semantics", summary, at, exact, float(room[at]))


def _half_digit(text: str) -> Decimal:
    """Half a unit of the last printed digit."""
    exponent = Decimal(text).as_tuple().exponent
    assert isinstance(exponent, int)
    return Decimal((0, (5,), exponent - 1))


def _equal(
    call: Call, promise: EqualsCall, quantity: str, result: Array, other: Outcome | None,
    flushing: bool = False,
) -> Finding:  # fmt: skip
    """Two calls of which one must give a known multiple of the other.

    flushing: one of them may treat subnormal numbers as 0, which fails no stable grade.
    """
    assert other is not None
    second = other.of(quantity)
    failed = _not_answered(second)
    if failed is not None:
        return failed
    if isinstance(second, Raised):
        return _open_refusal(second) if promise.optional else _unpromised_refusal(second)
    assert isinstance(second, Array)
    if promise.order is None and second.shape != result.shape:
        forms = f"{_form_of(result)} against {_form_of(second)}"
        return Finding("deviates", "semantics", f"two equal calls returned {forms}")
    this = truth(call, quantity, _judging_dtype(call, result))
    room = this.tolerance["stable"] + (this.flushed if flushing else 0.0)
    allowed = truth(promise.other, quantity, _judging_dtype(promise.other, second))
    room = room + abs(promise.factor) * _ordered(allowed.tolerance["stable"], promise, result)
    expected = promise.factor * _ordered(second.values, promise, result)
    with np.errstate(all="ignore"):
        off = np.abs(result.values - expected)
    same = (np.isnan(result.values) & np.isnan(expected)) | (result.values == expected)
    fails = ~same & ~(off <= room)
    if not np.any(fails):
        return Finding("conforms", "semantics", f"both calls agree: {shown(result)}")
    at = _first(fails)
    times = "" if promise.factor == 1.0 else f"{promise.factor:g} times "
    where = f" at {list(at)}" if at else ""
    summary = (
        f"{times}the other call gives {float(expected[at]):.17g}{where}; "
        f"got {float(result.values[at]):.17g} (tolerance {float(room[at]):.3g})"
    )
    due = (float(expected[at]), 0.0)
    return Finding("deviates", "semantics", summary, at, due, float(room[at]))


def _ordered(values: Floats, promise: EqualsCall, result: Array) -> Floats:
    """The other call's elements in the order and shape of this one's."""
    if promise.order is None:
        return values
    return values.reshape(-1)[list(promise.order)].reshape(result.shape)
