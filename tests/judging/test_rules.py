"""The verdict rules, each with an answer that keeps it and one that breaks it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bce_conformance.judging.errors import truth
from bce_conformance.judging.rules import Judgement, compare, decisive_line, judge, one_line
from bce_conformance.judging.tolerance import Grade
from bce_conformance.model.call import (
    FORWARD,
    Array,
    Call,
    Crashed,
    Failure,
    Faulty,
    Outcome,
    Raised,
    TimedOut,
    Unsupported,
)
from bce_conformance.model.check import Verdict
from bce_conformance.model.expectation import (
    AgreesWithReference,
    Case,
    Characterise,
    EqualsCall,
    Expectation,
    HasValue,
    OnlyForm,
    PrintedAs,
    Promise,
    Raises,
    SameAsEager,
    Source,
)

LOGITS = [[1.2, 0.2, -0.3], [0.7, 0.6, -2.0]]
TARGET = [[0.0, 1.0, 0.25], [1.0, 0.0, 0.5]]


def array(values: object, dtype: str = "float32") -> Array:
    return Array.rounded(dtype, np.asarray(values, dtype=np.float64))


def call(dtype: str = "float32", **options: str) -> Call:
    return Call(
        "a.surface",
        array(LOGITS, dtype),
        array(TARGET, dtype),
        options=options or {"reduction": "none"},
        want=(FORWARD, "grad.logits"),
    )


def case(promise: Promise, tested: Call | None = None, **form: object) -> Case:
    tested = tested or call()
    expectation = Expectation(promise, **form)  # type: ignore[arg-type]
    return Case("q", "documented", tested, expectation, Source("a page", "a sentence"))


def exact(tested: Call, quantity: str = FORWARD) -> np.ndarray:  # type: ignore[type-arg]
    return truth(tested, quantity, tested.logits.dtype).high


def verdict(
    tested: Case, result: Array | Failure, quantity: str = FORWARD,
    other: Outcome | None = None, grade: Grade = "stable",
) -> Judgement:  # fmt: skip
    outcome = Outcome({quantity: result}) if isinstance(result, Array) else Outcome({}, result)
    return judge(tested, quantity, outcome, other, grade)


RAISED = Raised("MyError", ("MyError", "ValueError", "Exception", "object"), "no", FORWARD)


class TestReference:
    tested = call()
    held = case(AgreesWithReference(tested), tested)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
    @pytest.mark.parametrize("quantity", [FORWARD, "grad.logits"])
    def test_the_rounded_truth_conforms(self, dtype: str, quantity: str) -> None:
        tested = call(dtype)
        found = verdict(
            case(AgreesWithReference(tested), tested),
            array(exact(tested, quantity), dtype),
            quantity,
        )
        assert (found.verdict, found.strict) == ("conforms", True)

    @pytest.mark.parametrize(
        ("factor", "expected", "axis"),
        [
            (1 + 2e-7, "conforms", "accuracy"),
            (1 + 2e-5, "deviates", "accuracy"),
            (1.5, "deviates", "semantics"),
            (-1.0, "deviates", "semantics"),
            (np.nan, "deviates", "semantics"),
            (np.inf, "deviates", "semantics"),
        ],
    )
    def test_two_axes(self, factor: float, expected: Verdict, axis: str) -> None:
        found = verdict(self.held, array(exact(self.tested) * factor))
        assert (found.verdict, found.axis) == (expected, axis)

    def test_the_worst_element_is_named(self) -> None:
        wrong = exact(self.tested).copy()
        wrong[1, 2] *= 1.01
        wrong[0, 1] *= 1.02
        found = verdict(self.held, array(wrong))
        assert found.worst == (0, 1)
        assert f"expected {exact(self.tested)[0, 1]:.4g} at [0, 1], got " in found.summary

    @pytest.mark.parametrize(
        "result",
        [array(1.0), array(np.ones((3, 2))), array(np.ones((1, 2, 3))), array([1.0])],
        ids=["scalar", "transposed", "grown", "flat"],
    )
    def test_another_shape_deviates(self, result: Array) -> None:
        found = verdict(self.held, result)
        assert (found.verdict, found.axis) == ("deviates", "semantics")
        assert "expected shape [2, 3], got" in found.summary

    def test_another_dtype_deviates(self) -> None:
        found = verdict(self.held, array(exact(self.tested), "float64"))
        assert found.verdict == "deviates" and "expected float32, got" in found.summary

    def test_mixed_dtypes_leave_the_dtype_open(self) -> None:
        mixed = replace(self.tested, target=array(TARGET, "float64"))
        held = case(AgreesWithReference(mixed), mixed)
        assert verdict(held, array(exact(mixed), "float64")).verdict == "conforms"
        assert verdict(held, array(exact(mixed), "float32")).verdict == "conforms"

    def test_an_integer_result_deviates(self) -> None:
        mixed = replace(self.tested, target=array([[0, 1, 1], [1, 0, 0]], "int64"))
        held = case(AgreesWithReference(mixed), mixed)
        assert verdict(held, array(np.ones((2, 3)), "int64")).verdict == "deviates"

    def test_a_refusal_deviates(self) -> None:
        found = verdict(self.held, RAISED)
        assert found.verdict == "deviates" and "got MyError: no" in found.summary

    def test_what_the_document_promises_counts_not_what_was_said(self) -> None:
        shouted = replace(self.tested, options={"reduction": "SUM"})
        held = case(
            AgreesWithReference(replace(self.tested, options={"reduction": "sum"})), shouted
        )
        assert verdict(held, array(exact(self.tested).sum())).verdict == "conforms"
        assert verdict(held, array(exact(self.tested).mean())).verdict == "deviates"
        assert verdict(held, array(exact(self.tested))).verdict == "deviates"

    def test_gradient_of_a_mean_is_divided_by_n_once(self) -> None:
        tested = call(reduction="mean")
        held = case(AgreesWithReference(tested), tested)
        expected = exact(tested, "grad.logits")
        assert verdict(held, array(expected), "grad.logits").verdict == "conforms"
        assert verdict(held, array(expected * 6), "grad.logits").verdict == "deviates"
        assert verdict(held, array(expected / 6), "grad.logits").verdict == "deviates"

    def test_empty(self) -> None:
        tested = Call("s", array(np.ones((0, 3))), array(np.ones((0, 3))), options={})
        held = case(AgreesWithReference(tested), tested)
        assert verdict(held, array(np.nan)).verdict == "conforms"
        assert verdict(held, array(0.0)).verdict == "deviates"
        total = replace(tested, options={"reduction": "sum"})
        held = case(AgreesWithReference(total), total)
        assert verdict(held, array(0.0)).verdict == "conforms"
        assert verdict(held, array(np.nan)).verdict == "deviates"


class TestGrades:
    """A lost tail is within the stable grade and beyond the strict one."""

    tested = Call("s", array([-30.0]), array([0.0]), options={"reduction": "none"})
    held = case(AgreesWithReference(tested), tested)

    def test_zero_tail(self) -> None:
        found = verdict(self.held, array([0.0]))
        assert (found.verdict, found.strict) == ("conforms", False)
        found = verdict(self.held, array([0.0]), grade="strict")
        assert (found.verdict, found.axis) == ("deviates", "accuracy")
        strict = float(truth(self.tested, FORWARD, "float32").tolerance["strict"][0])
        assert found.allowed == strict and f"(tolerance {strict:.3g})" in found.summary

    def test_kept_tail(self) -> None:
        found = verdict(self.held, array(exact(self.tested)), grade="strict")
        assert (found.verdict, found.strict) == ("conforms", True)

    def test_float16_intermediate_overflow(self) -> None:
        """pos_weight 30000 times 60 overflows float16 before the weight brings it back."""
        tested = Call("s", array([-60.0], "float16"), array([1.0], "float16"),
                     array([0.001], "float16"), array([30000.0], "float16"),
                     {"reduction": "none"})  # fmt: skip
        held = case(AgreesWithReference(tested), tested)
        early = array([np.inf], "float16")
        assert verdict(held, early).verdict == "conforms"
        assert verdict(held, early, grade="strict").verdict == "deviates"
        assert verdict(held, array([-np.inf], "float16")).verdict == "deviates"
        assert verdict(held, array([np.nan], "float16")).verdict == "deviates"

    @pytest.mark.parametrize(
        ("x", "y", "p"),
        [(-1000, -100, 0), (-1000, -100, -0.5), (-700, -100, -0.001), (-1000, -100, 0.25)],
    )
    def test_float16_terms_that_overflow_against_each_other(
        self, x: float, y: float, p: float
    ) -> None:
        """The composite is inf − inf there, though the loss is representable."""
        tested = Call("s", array([x], "float16"), array([y], "float16"), None,
                     array([p], "float16"), {"reduction": "none"})  # fmt: skip
        half = {n: np.float16(v) for n, v in (("x", x), ("y", y), ("p", p))}
        with np.errstate(all="ignore"):
            lw = 1 + (half["p"] - 1) * half["y"]
            tail = np.log1p(np.exp(-abs(half["x"]))) + np.maximum(-half["x"], np.float16(0))
            composite = (1 - half["y"]) * half["x"] + lw * tail
        assert np.isnan(composite) and np.isfinite(exact(tested)).all()
        held = case(AgreesWithReference(tested), tested)
        assert verdict(held, array([np.nan], "float16")).verdict == "conforms"
        assert verdict(held, array([np.nan], "float16"), grade="strict").verdict == "deviates"
        assert verdict(held, array([np.inf], "float16")).verdict == (
            "conforms" if exact(tested)[0] > 0 else "deviates"
        )
        inside = replace(tested, target=array([1.0], "float16"))
        held = case(AgreesWithReference(inside), inside)
        assert verdict(held, array([np.nan], "float16")).verdict == "deviates"

    def test_overflow_is_due(self) -> None:
        big = Call("s", array([60000.0] * 2, "float16"), array([0.0] * 2, "float16"),
                   options={"reduction": "sum"})  # fmt: skip
        held = case(AgreesWithReference(big), big)
        assert verdict(held, array(np.inf, "float16")).verdict == "conforms"
        assert verdict(held, array(-np.inf, "float16")).verdict == "deviates"
        mean = replace(big, options={"reduction": "mean"})
        held = case(AgreesWithReference(mean), mean)
        assert verdict(held, array(60000.0, "float16")).verdict == "conforms"


def test_refused_where_the_reference_cannot_carry_it() -> None:
    tested = call("float64")
    expected = truth(tested, FORWARD, "float64")
    result = array(expected.high, "float64")
    assert compare(result, expected, "stable").verdict == "conforms"
    unsure = replace(expected, uncertainty=expected.tolerance["stable"])
    assert compare(result, unsure, "stable").verdict == "refused"
    assert compare(array(expected.high * 2, "float64"), unsure, "stable").verdict == "deviates"


class TestRaises:
    held = case(Raises(("ValueError", "TypeError")))

    def test_a_subclass_counts(self) -> None:
        assert verdict(self.held, RAISED).verdict == "conforms"

    def test_another_type_deviates(self) -> None:
        other = replace(RAISED, type="KeyError", bases=("KeyError", "LookupError", "Exception"))
        found = verdict(self.held, other)
        assert found.verdict == "deviates" and "ValueError or TypeError" in found.summary

    def test_acceptance_deviates(self) -> None:
        assert verdict(self.held, array(exact(call()))).verdict == "deviates"


@pytest.mark.parametrize(
    "promise",
    [AgreesWithReference(call()), Raises(("ValueError",)), Characterise(), OnlyForm()],
    ids=lambda p: type(p).__name__,
)
@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Crashed("signal 11 (SIGSEGV)", ("boom",), FORWARD), "crashed"),
        (TimedOut(3.0, (), FORWARD), "timed-out"),
        (Unsupported("no float8"), "unsupported"),
        (Faulty("a bug of ours", "prepare"), "crashed"),
    ],
)
def test_a_crash_is_never_fine(promise: Promise, failure: Failure, expected: Verdict) -> None:
    assert verdict(case(promise), failure).verdict == expected


class TestPrinted:
    tested = call(reduction="mean")
    exactly = float(exact(call(reduction="mean")))

    def held(self, text: str) -> Case:
        return case(PrintedAs((), (text,)), self.tested)

    def test_half_a_unit_of_the_last_digit(self) -> None:
        text = f"{self.exactly:.4f}"
        held = self.held(text)
        assert verdict(held, array(float(text) + 0.49e-4)).verdict == "conforms"
        assert verdict(held, array(float(text) - 0.49e-4)).verdict == "conforms"
        assert verdict(held, array(float(text) + 0.6e-4)).verdict == "deviates"
        assert verdict(held, array(np.nan)).verdict == "deviates"

    def test_zeros_at_the_end_are_digits(self) -> None:
        assert verdict(self.held("0.5000"), array(0.50004)).verdict == "conforms"
        assert verdict(self.held("0.500000"), array(0.50004)).verdict == "deviates"

    def test_a_wrong_document_is_told_from_a_wrong_loss(self) -> None:
        found = verdict(self.held("0.7"), array(self.exactly))
        assert found.verdict == "deviates"
        assert f"its formula gives {self.exactly:.9g}" in found.summary


def test_stated_value() -> None:
    tested = call(reduction="mean")
    value = float(exact(tested))
    held = case(HasValue((), (value,)), tested)
    assert verdict(held, array(value)).verdict == "conforms"
    assert verdict(held, array(value * 1.0001)).verdict == "deviates"


class TestEquals:
    tested = call()
    held = case(EqualsCall(call()), tested)

    def judged(self, first: object, second: Array | Failure) -> Judgement:
        other = Outcome({FORWARD: second}) if isinstance(second, Array) else Outcome({}, second)
        return verdict(self.held, array(first), other=other)

    def test_agree(self) -> None:
        expected = exact(self.tested)
        assert self.judged(expected, array(expected * (1 + 1e-7))).verdict == "conforms"

    @pytest.mark.parametrize("factor", [1.001, 2.0, np.nan])
    def test_disagree(self, factor: float) -> None:
        expected = exact(self.tested)
        assert self.judged(expected, array(expected * factor)).verdict == "deviates"

    def test_the_other_call_fails(self) -> None:
        expected = exact(self.tested)
        assert self.judged(expected, RAISED).verdict == "deviates"
        assert self.judged(expected, Crashed("signal 6", (), FORWARD)).verdict == "crashed"
        assert self.judged(expected, array(1.0)).verdict == "deviates"


class TestForm:
    def test_stated_shape_and_dtype(self) -> None:
        held = case(OnlyForm(), shape=(2, 3), dtype="float32")
        assert verdict(held, array(np.zeros((2, 3)))).verdict == "conforms"
        assert verdict(held, array(np.zeros((3, 2)))).verdict == "deviates"
        assert verdict(held, array(np.zeros((2, 3)), "float16")).verdict == "deviates"

    def test_a_stated_dtype_goes_before_the_rule(self) -> None:
        tested = call()
        held = case(AgreesWithReference(tested), tested, dtype="float64")
        assert verdict(held, array(exact(tested))).verdict == "deviates"


def test_characterised_never_fails() -> None:
    held = case(Characterise())
    found = verdict(held, RAISED)
    assert found.verdict == "characterised" and "MyError" in found.summary
    assert verdict(held, array(np.full((7,), np.nan))).verdict == "characterised"


def test_a_gradient_may_fail_after_the_value() -> None:
    tested = call()
    held = case(AgreesWithReference(tested), tested)
    outcome = Outcome({FORWARD: array(exact(tested))}, replace(RAISED, during="grad.logits"))
    assert judge(held, FORWARD, outcome, None, "stable").verdict == "conforms"
    found = judge(held, "grad.logits", outcome, None, "stable")
    assert found.verdict == "deviates" and "during grad.logits" in found.summary


def test_messages_lose_their_colours_and_rules() -> None:
    assert one_line("\x1b[1m\x1b[38;2;255;0;0mError\x1b[0m:\n-------\n- no kernel\x07") == (
        "Error: - no kernel"
    )
    assert len(one_line("x" * 10_000)) == 200


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ((), ""),
        (("a warning", "F0101 Check failed"), "F0101 Check failed"),
        (("F0101 no kernel", "Fatal Python error: Aborted", "", "Thread 1"), "F0101 no kernel"),
        (("Fatal Python error: Segmentation fault", "", "Thread 1"),
         "Fatal Python error: Segmentation fault"),
    ],
)  # fmt: skip
def test_the_line_that_says_why(stderr: tuple[str, ...], said: str) -> None:
    assert decisive_line(stderr) == said


@pytest.mark.parametrize(
    ("compiled", "eager", "expected"),
    [
        (0.0, 2e-39, "conforms"),  # subnormal numbers are 0 there
        (2e-39, 0.0, "conforms"),
        (0.0, 1e-37, "deviates"),
        (1e-37, 2e-39, "deviates"),
    ],
)
def test_a_mode_may_take_subnormal_numbers_for_0(
    compiled: float, eager: float, expected: Verdict
) -> None:
    tiny = replace(
        call(), logits=array([0.0]), target=array([0.0]), weight=array([2e-39 / np.log(2)])
    )
    other = Outcome({FORWARD: array([eager])})
    found = verdict(case(SameAsEager(), tiny), array([compiled]), other=other)
    assert found.verdict == expected
