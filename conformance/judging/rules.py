"""The verdicts: what a backend returned, checked against what was expected. All rules are here.

A verdict is a `Judgement`; `running.witness` turns it into a check with its witness. The rules, in
the order of the contract ("What decides a verdict"):

1. A surface must do what its document promises.
2. An accepted call returns the formula's value, shape and dtype.
3. A refusal is fine unless acceptance was promised; a promised refusal must come, of its type.
4. A crash or a hang is never fine, whatever was expected.
5. Beyond the stable grade deviates; beyond the strict grade is reported, and fails only
   `--grade strict`.

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
from ..model.check import EARLIER_CALL, FAILING, Axis, Verdict
from ..model.dtypes import FLOATS
from ..model.expectation import (
    AgreesWithReference,
    But,
    Case,
    Characterise,
    EqualsCall,
    Expectation,
    HasValue,
    LeavesArguments,
    OnlyForm,
    PrintedAs,
    Raises,
    Refuses,
    Repeatable,
    SameAsEager,
)
from ..model.literal import apart
from . import tolerance
from .errors import Errors, Truth, errors, truth
from .rounded_sigmoid import by_rounded_sigmoid
from .tolerance import Floats, Grade

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Evidence:
    """What a value was compared with, element by element; `result` has the shape of `expected`."""

    result: Array
    expected: Truth
    found: Errors


@dataclass(frozen=True)
class Judgement:
    """A verdict about one quantity, in words, with the numbers behind it.

    worst is the index of the element that decided; expected and allowed are its value (high + low)
    and tolerance, ulps its error; None where no element was compared. strict says whether all
    elements are within the strict grade as well. reason and finding are the title and id of a known
    deviation; causes are the diagnoses that fit. evidence is what a tolerance report is made of.
    """

    verdict: Verdict
    axis: Axis
    summary: str
    worst: tuple[int, ...] | None = None
    expected: tuple[float, float] | None = None
    allowed: float | None = None
    ulps: float | None = None
    strict: bool | None = None
    reason: str = ""
    finding: str = ""
    causes: tuple[str, ...] = ()
    evidence: Evidence | None = field(default=None, compare=False, repr=False)


def judge(
    case: Case, quantity: str, outcome: Outcome, other: Outcome | None, grade: Grade
) -> Judgement:
    """The verdict on one quantity of an answered question.

    other is the outcome of the last of several calls, for `EqualsCall` and `Unmoved`. The grade
    decides which of the two tolerances fails a value.
    """
    result = outcome.of(quantity)
    promise = case.expectation.promise
    failed = _no_result(result)
    if failed is not None:
        return failed
    assert isinstance(result, (Array, Raised))
    if isinstance(promise, LeavesArguments):
        return _arguments(outcome)
    if isinstance(promise, Raises):
        return _refusal(promise, result)
    if isinstance(promise, Refuses):
        return _expected_refusal(promise, result)
    if isinstance(promise, Characterise):
        return Judgement("characterised", "semantics", _described(result))
    if isinstance(promise, SameAsEager):
        return _modes(case.call, quantity, result, other)
    if isinstance(result, Raised):
        optional = getattr(promise, "optional", isinstance(promise, Repeatable))
        return _open_refusal(result) if optional else _refusal_of_documented_call(result)
    return _value(case, quantity, result, other, grade)


class KnownBehaviour(Protocol):
    """What a release is known to do instead of what is expected (see `known.Known`)."""

    @property
    def summary(self) -> str: ...

    @property
    def id(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def crashes(self) -> bool: ...

    @property
    def remembers(self) -> bool: ...

    @property
    def changes(self) -> tuple[str, ...]: ...

    def explained(self, case: Case) -> Case: ...


def excused(
    judgement: Judgement,
    known: KnownBehaviour | None,
    case: Case,
    quantity: str,
    outcome: Outcome,
    other: Outcome | None,
    grade: Grade,
) -> Judgement:
    """The finding, or `known` where a failing one is exactly what the release is known to do.

    For a comparison with eager mode, known is what is known of that mode, whose outcome is other.
    """
    if known is None or judgement.verdict not in FAILING:
        return judgement
    promise = case.expectation.promise
    if isinstance(promise, LeavesArguments):
        same = bool(outcome.changed) and set(outcome.changed) <= set(known.changes)
    elif judgement.verdict == "crashed":
        same = known.crashes
    elif isinstance(promise, SameAsEager):
        formula = replace(case, expectation=Expectation(AgreesWithReference(case.call)))
        same = other is not None and _explains(known, formula, quantity, other, None, grade)
    else:
        same = _explains(known, case, quantity, outcome, other, grade)
    summary = f"{known.summary}. {judgement.summary}"
    if not same:
        return judgement
    causes = (EARLIER_CALL,) if known.remembers else ()
    return replace(judgement, verdict="known", summary=summary, causes=causes, reason=known.title,
                   finding=known.id)  # fmt: skip


def _explains(
    known: KnownBehaviour, case: Case, quantity: str, outcome: Outcome,
    other: Outcome | None, grade: Grade,
) -> bool:  # fmt: skip
    behaviour = known.explained(case)
    does = behaviour is not case
    return does and judge(behaviour, quantity, outcome, other, grade).verdict == "conforms"


def _modes(call: Call, quantity: str, result: Array | Raised, other: Outcome | None) -> Judgement:
    """A compiled result against the eager one; what only one of them accepts is left open."""
    assert other is not None
    eager = other.of(quantity)
    failed = _no_result(eager)
    if failed is not None:
        return replace(failed, summary=f"in eager mode: {failed.summary}")
    assert isinstance(eager, (Array, Raised))
    if isinstance(result, Raised) or isinstance(eager, Raised):
        same = isinstance(result, Raised) and isinstance(eager, Raised)
        summary = f"compiled {_described(result)}; eager {_described(eager)}"
        return Judgement("conforms" if same else "characterised", "semantics", summary)
    if result.dtype != eager.dtype:
        summary = f"compiled {_described(result)}; eager {_described(eager)}"
        return Judgement("deviates", "semantics", summary)
    return _equal(call, EqualsCall(call), quantity, result, other, flushing=True)


def _value(
    case: Case, quantity: str, result: Array, other: Outcome | None, grade: Grade
) -> Judgement:
    """The verdict on something that was returned."""
    promise = case.expectation.promise
    form = _form(case, quantity, result)
    if form is not None:
        return form
    if isinstance(promise, OnlyForm):
        return Judgement("conforms", "semantics", f"returned {_form_of(result)}")
    if isinstance(promise, Repeatable):
        same = EqualsCall(case.call)
        return _equal(case.call, same, quantity, result, other)
    if isinstance(promise, EqualsCall):
        return _equal(case.call, promise, quantity, result, other)
    if isinstance(promise, (HasValue, PrintedAs)):
        return _stated(case.call, quantity, promise, result)
    assert isinstance(promise, AgreesWithReference)
    return _formula(promise, quantity, result, grade)


def _no_result(result: Array | Failure) -> Judgement | None:
    """The verdict where the framework returned nothing at all; None where it did, or refused."""
    if isinstance(result, (Array, Raised)):
        return None
    if isinstance(result, Unsupported):
        return Judgement("unsupported", "semantics", f"not available here: {result.reason}")
    if isinstance(result, Faulty):
        summary = f"adapter error, not the framework's ({result.during}): {result.reason}"
        return Judgement("crashed", "semantics", one_line(summary, 400))
    if isinstance(result, TimedOut):
        summary = f"no result within {result.seconds:g} s ({result.during}); the worker was killed"
        return Judgement("timed-out", "semantics", summary)
    said = steady(decisive_line(result.stderr))
    message = f": {one_line(said)}" if said else ""
    return Judgement("crashed", "semantics", f"{result.cause} ({result.during}){message}")


def decisive_line(stderr: tuple[str, ...]) -> str:
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


def _refusal(promise: Raises, result: Array | Raised) -> Judgement:
    expected = " or ".join(promise.types)
    if isinstance(result, Raised):
        if set(promise.types) & {result.type, *result.bases}:
            return Judgement("conforms", "semantics", f"refused with {result.type} as documented")
        summary = (
            f"expected {expected}, as documented; got {result.type}: {one_line(result.message)}"
        )
        return Judgement("deviates", "semantics", summary)
    returned = f"{_form_of(result)}: {shown(result)}"
    summary = f"expected {expected}, as documented; accepted, returned {returned}"
    return Judgement("deviates", "semantics", summary)


def _expected_refusal(promise: Refuses, result: Array | Raised) -> Judgement:
    if isinstance(result, Raised):
        summary = f"refused with {result.type}: {one_line(result.message)}"
        return Judgement("conforms", "semantics", summary)
    summary = (
        f"expected an error: {promise.why}; accepted, returned {_form_of(result)}: {shown(result)}"
    )
    return Judgement("deviates", "semantics", summary)


def _arguments(outcome: Outcome) -> Judgement:
    if outcome.changed:
        changed = " and ".join(outcome.changed)
        return Judgement("deviates", "semantics", f"the call changed {changed} in place")
    return Judgement("conforms", "semantics", "the arguments are unchanged after the call")


def _open_refusal(result: Raised) -> Judgement:
    return Judgement("characterised", "semantics", _described(result))


def _refusal_of_documented_call(result: Raised) -> Judgement:
    at = "" if result.during == FORWARD else f" during {result.during}"
    summary = f"expected a result; got {result.type}{at}: {one_line(result.message)}"
    return Judgement("deviates", "semantics", summary)


def _form(case: Case, quantity: str, result: Array) -> Judgement | None:
    """Deviating shape or dtype, None where both are as promised."""
    shape, dtype = _expected_form(case, quantity)
    if shape is not None and result.shape != shape:
        expected = f"expected shape {list(shape)}"
        return Judgement("deviates", "semantics", f"{expected}, got {_form_of(result)}")
    if dtype is not None and result.dtype != dtype:
        return Judgement("deviates", "semantics", f"expected {dtype}, got {_form_of(result)}")
    return None


def _expected_form(case: Case, quantity: str) -> tuple[tuple[int, ...] | None, str | None]:
    """The expected shape and dtype: as stated, else as rule 2 says for a value that is judged.

    Arguments of one dtype give a result of that dtype; a mixture leaves the dtype open.
    """
    expectation: Expectation = case.expectation
    call = case.call
    judged = not isinstance(expectation.promise, OnlyForm)
    if quantity != FORWARD:
        argument = call.argument(quantity.split(".")[1])
        assert argument is not None
        return argument.shape, expectation.dtype or argument.dtype
    reference_call = expectation.promise
    source = (
        reference_call.reference_call if isinstance(reference_call, AgreesWithReference) else call
    )
    shape = source.logits.shape if source.reduction == "none" else ()
    dtypes = {a.dtype for a in (call.logits, call.target, call.weight, call.pos_weight) if a}
    dtype = call.logits.dtype if len(dtypes) == 1 else None
    expected_shape = (
        expectation.shape if expectation.shape is not None else (shape if judged else None)
    )
    return expected_shape, expectation.dtype or (dtype if judged else None)


def _judging_dtype(call: Call, result: Array) -> str:
    """The precision a value must have: the coarsest of the floating arguments' and its own."""
    arguments = (call.logits, call.target, call.weight, call.pos_weight, result)
    names = [a.dtype for a in arguments if a is not None and a.dtype in FLOATS]
    return min(names, key=lambda name: FLOATS[name].precision) if names else "float64"


def _formula(promise: AgreesWithReference, quantity: str, result: Array, grade: Grade) -> Judgement:
    """The value against the reference, on two axes."""
    reference_call = promise.reference_call
    if result.dtype not in FLOATS:
        summary = f"expected a floating-point result, got {_form_of(result)}: {shown(result)}"
        return Judgement("deviates", "semantics", summary)
    expected = truth(reference_call, quantity, _judging_dtype(reference_call, result))
    if promise.but is not None:
        expected = _excepted(expected, promise.but, reference_call)
    if promise.another_count:
        expected = _counted_otherwise(expected, reference_call, result)
    if promise.logs_of_sigmoid:
        expected = by_rounded_sigmoid(expected, reference_call, result)
    if promise.running_totals:
        expected = _added_one_by_one(expected, reference_call, promise.running_totals)
    return compare(result, expected, grade, promise.slack)


def _added_one_by_one(expected: Truth, call: Call, totals: int) -> Truth:
    """The truth where each total may lose a unit roundoff for every element added to it.

    The bound of sequential summation (Higham, Accuracy and Stability of Numerical Algorithms, §4.2)
    is n/totals·u·Σ|terms|; |Σ terms| stands for that, which is less where terms cancel.
    """
    accumulator = FLOATS[tolerance.ACCUMULATOR[expected.dtype]]
    lost = call.logits.size / totals * accumulator.unit_roundoff * np.abs(expected.high)
    return replace(expected, tolerance={grade: a + lost for grade, a in expected.tolerance.items()})


def _counted_otherwise(expected: Truth, call: Call, result: Array) -> Truth:
    """The truth if the mean were over the number of elements that fits the result best."""
    if result.shape != expected.high.shape:
        return expected
    n = call.logits.size
    fits = [_divided(expected, n / count) for count in _plausible_counts(expected, n, result)]
    return min(fits, key=lambda fit: _misfit(fit, result), default=expected)


def _plausible_counts(expected: Truth, n: int, result: Array) -> list[int]:
    """The whole numbers about n·due/result, by least squares over all elements.

    A single element does not tell: in float16 its own rounding is worth one in two thousand.
    """
    with np.errstate(all="ignore"):
        weight = (
            np.max(expected.tolerance["stable"], initial=0.0) / expected.tolerance["stable"]
        ) ** 2
        guess = (
            n * np.sum(weight * expected.high**2) / np.sum(weight * expected.high * result.values)
        )
    if not (np.isfinite(guess) and guess >= 0.5):
        return []
    return [count for count in range(round(guess) - 2, round(guess) + 3) if count >= 1]


def _divided(expected: Truth, ratio: float) -> Truth:
    """The truth times a ratio; what is lost to underflow does not shrink with it."""
    rest = expected.rest * max(ratio, 1.0)
    tolerances = {
        grade: ratio * (a - expected.rest) + rest for grade, a in expected.tolerance.items()
    }
    high, low = ratio * expected.high, ratio * expected.low
    uncertainty = ratio * expected.uncertainty + 2.0**-50 * np.abs(high)
    return replace(expected, high=high, low=low, tolerance=tolerances, uncertainty=uncertainty)


def _misfit(expected: Truth, result: Array) -> float:
    """The largest error, in tolerances."""
    with np.errstate(all="ignore"):
        return float(
            np.max(np.abs(result.values - expected.high) / expected.tolerance["stable"], initial=0)
        )


def _excepted(expected: Truth, but: But, call: Call) -> Truth:
    """The truth with a release's own value where its known exception applies."""
    applies = np.ones(expected.high.shape, dtype=bool)
    for name, value in but.where.items():
        argument = call.argument(name)
        if argument is not None and argument.shape == expected.high.shape:
            applies &= argument.values == value
        else:
            applies[...] = False
    high = np.where(applies, but.value, expected.high)
    return replace(expected, high=high, low=np.where(applies, 0.0, expected.low))


def compare(result: Array, expected: Truth, grade: Grade, slack: float = 1.0) -> Judgement:
    """Element by element: another kind of number, a wrong formula, too inexact, undecidable.

    slack multiplies the tolerance.
    """
    if result.size == 0:
        return Judgement("conforms", "accuracy", "nothing to compare: no elements", strict=True)
    found = errors(result, expected)
    evidence = Evidence(result, expected, found)
    allowed = expected.tolerance[grade] if slack == 1.0 else slack * expected.tolerance[grade]
    absolute = found.absolute
    early = np.zeros(absolute.shape, dtype=bool)
    if np.any(found.other_kind):
        early = np.isinf(result.values) & expected.may_overflow
        early &= np.sign(result.values) == np.sign(expected.high)
        early |= np.isnan(result.values) & expected.may_cancel
        early &= np.isfinite(expected.high)
        other_kind = found.other_kind & ~early
        if np.any(other_kind):
            at = _first(other_kind)
            return _at(at, evidence, allowed, "semantics", "deviates")
        absolute = np.where(early, 0.0, absolute)
    within = (absolute <= expected.tolerance["strict"]) | (
        absolute == 0
    )  # an infinity has no tolerance
    strict = bool(np.all(within & ~early))
    with np.errstate(invalid="ignore"):
        fails = absolute - allowed > expected.uncertainty
    if grade == "strict":
        fails = fails | early
    if np.any(fails):
        at = _worst(np.where(fails, absolute, 0.0), allowed)
        # What a backend does with subnormal numbers is recorded, and fails only the strict grade.
        gone = absolute - allowed <= expected.flushed + expected.uncertainty
        if grade == "stable" and np.all(gone | ~fails):
            message = f"as if subnormal numbers were 0: {_two_numbers(at, evidence)}"
            judgement = _at(at, evidence, allowed, "accuracy", "conforms")
            return replace(judgement, strict=False, summary=message)
        wrong = bool(np.any(absolute - expected.uncertainty > expected.formula))
        axis: Axis = "semantics" if wrong else "accuracy"
        return replace(_at(at, evidence, allowed, axis, "deviates"), strict=strict)
    unsure = _unsure(expected, grade)
    if np.any(unsure):
        return _at(_first(unsure), evidence, allowed, "accuracy", "refused")
    judgement = _at(_worst(absolute, allowed), evidence, allowed, "accuracy", "conforms")
    if strict:
        return replace(judgement, strict=True)
    return replace(judgement, strict=False, summary=_beyond_strict(judgement, evidence, early))


def _beyond_strict(judgement: Judgement, evidence: Evidence, early: Mask) -> str:
    """What the strict grade has against a value that the stable grade lets pass."""
    expected = evidence.expected
    beyond = (evidence.found.absolute > expected.tolerance["strict"]) | early
    at = _worst(np.where(beyond, evidence.found.absolute, 0.0), expected.tolerance["strict"])
    at = _first(early) if np.any(early) else at
    return f"{judgement.summary}; beyond the strict grade: {_two_numbers(at, evidence)}"


def _two_numbers(at: tuple[int, ...], evidence: Evidence) -> str:
    where = f" at {list(at)}" if at else ""
    got, expected = float(evidence.result.values[at]), float(evidence.expected.high[at])
    got_text, expected_text = apart(got, expected)
    return f"got {got_text}, expected {expected_text}{where}"


def _unsure(expected: Truth, grade: Grade) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Where the reference cannot carry a verdict (see tolerance.REFERENCE_SHARE)."""
    finite = np.isfinite(expected.high)
    bearable = tolerance.REFERENCE_SHARE * np.maximum(expected.ulp, expected.tolerance[grade])
    # float64's own subnormals: no reference is finer than their grid, and `compare` adds it.
    bearable = np.maximum(bearable, 4 * FLOATS["float64"].smallest_subnormal)
    return np.asarray(finite & (expected.uncertainty > bearable))


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
) -> Judgement:
    expected, result = evidence.expected, evidence.result
    high, low = float(expected.high[at]), float(expected.low[at])
    allowed = float(allowances[at])
    error = float(evidence.found.ulps[at])
    where = f" at {list(at)}" if at else ""
    if verdict == "refused":
        summary = (
            f"the reference is uncertain by {float(expected.uncertainty[at]):.2g}{where}, "
            f"too much to judge {float(result.values[at]):.17g}"
        )
    elif verdict == "conforms":
        summary = f"agrees with the formula: at most {error:.3g} ulp off{where}"
    else:
        comparable = np.isfinite(error)
        off = f", off by {error:.3g} ulp (tolerance {allowed:.3g})" if comparable else ""
        got, wanted = apart(float(result.values[at]), high)
        summary = f"expected {wanted}{where}, got {got}{off}"
    ulps_off = error if np.isfinite(error) else None
    return Judgement(verdict, axis, summary, at, (high, low), allowed, ulps_off, evidence=evidence)


def _stated(call: Call, quantity: str, promise: HasValue | PrintedAs, result: Array) -> Judgement:
    """A value or printed example of the document, within half a digit and the tolerance."""
    expected = truth(call, quantity, _judging_dtype(call, result))
    if isinstance(promise, PrintedAs):
        numbers = np.array([float(text) for text in promise.texts])
        half = np.array([float(_half_digit(text)) for text in promise.texts])
    else:
        numbers = np.array(promise.values)
        half = np.zeros_like(numbers)
    stated = np.broadcast_to(numbers.reshape(promise.shape), result.shape)
    room = np.broadcast_to(half.reshape(promise.shape), result.shape) + expected.tolerance["stable"]
    with np.errstate(all="ignore"):
        off = np.abs(result.values - stated)
    same = (np.isnan(result.values) & np.isnan(stated)) | (result.values == stated)
    fails = ~same & ~(off <= room)
    if not np.any(fails):
        return Judgement("conforms", "semantics", f"agrees with the document: {shown(result)}")
    at = _first(fails)
    where = f" at {list(at)}" if at else ""
    summary = (
        f"the document says {stated[at]:.9g}{where}; got {result.values[at]:.9g}; "
        f"its formula gives {expected.high[at]:.9g}"
    )
    exact = (float(stated[at]), 0.0)
    return Judgement("deviates", "semantics", summary, at, exact, float(room[at]))


def _half_digit(text: str) -> Decimal:
    """Half a unit of the last printed digit."""
    exponent = Decimal(text).as_tuple().exponent
    assert isinstance(exponent, int)
    return Decimal((0, (5,), exponent - 1))


def _equal(
    call: Call, promise: EqualsCall, quantity: str, result: Array, other: Outcome | None,
    flushing: bool = False,
) -> Judgement:  # fmt: skip
    """Two calls of which one must give a known multiple of the other.

    flushing: one of them may treat subnormal numbers as 0, which fails no stable grade.
    """
    assert other is not None
    second = other.of(quantity)
    failed = _no_result(second)
    if failed is not None:
        return failed
    if isinstance(second, Raised):
        return _open_refusal(second) if promise.optional else _refusal_of_documented_call(second)
    assert isinstance(second, Array)
    if promise.order is None and second.shape != result.shape:
        forms = f"{_form_of(result)} against {_form_of(second)}"
        return Judgement("deviates", "semantics", f"two equal calls returned {forms}")
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
        return Judgement("conforms", "semantics", f"both calls agree: {shown(result)}")
    at = _first(fails)
    got, wanted = apart(float(result.values[at]), float(expected[at]))
    times = "" if promise.factor == 1.0 else f"{promise.factor:g} times "
    where = f" at {list(at)}" if at else ""
    summary = (
        f"expected {wanted}{where}, which is {times}the other call's result; "
        f"got {got} (tolerance {float(room[at]):.3g})"
    )
    return Judgement(
        "deviates", "semantics", summary, at, (float(expected[at]), 0.0), float(room[at])
    )


def _ordered(values: Floats, promise: EqualsCall, result: Array) -> Floats:
    """The other call's elements in the order and shape of this one's."""
    if promise.order is None:
        return values
    return values.reshape(-1)[list(promise.order)].reshape(result.shape)
