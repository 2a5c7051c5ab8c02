"""What an entry excuses: exactly what it says that the release does, and nothing beside it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from packaging.specifiers import SpecifierSet

from bce_conformance.adapters import available
from bce_conformance.judging.rules import judge
from bce_conformance.known import Instead, Known
from bce_conformance.known.behaviour import Element, Plus, Replacement
from bce_conformance.model.call import FORWARD, Array, Backend, Call
from bce_conformance.model.check import Verdict
from bce_conformance.model.expectation import (
    AgreesWithReference,
    But,
    Characterise,
    EqualsCall,
    Expectation,
    HasValue,
    OnlyForm,
    Promise,
    Question,
    Raises,
    Refuses,
    Source,
)
from bce_conformance.session import LocalSession

SURFACE = "numpy.bce_with_logits"


def array(values: object, dtype: str = "float32") -> Array:
    return Array.rounded(dtype, np.asarray(values, dtype=np.float64))


def call(reduction: str = "none", dtype: str = "float32", **given: object) -> Call:
    return Call(
        SURFACE,
        array([[1.2, -0.3], [0.7, -2.0], [3.0, 0.1]], dtype),
        array([[1, 0], [0.25, 1], [1, 0]], dtype),
        options={"reduction": reduction},
        **given,  # type: ignore[arg-type]
    )


def question(asked: Call, promise: Promise | None = None, **form: object) -> Question:
    expectation = Expectation(promise or AgreesWithReference(asked), **form)  # type: ignore[arg-type]
    source = Source("a document", "a sentence")
    return Question(f"{SURFACE}/property/a", "property", asked, expectation, source)


def known(quantity: str = FORWARD, *, versions: str = ">=1.0", **instead: object) -> Known:
    asked = question(call())
    return Known(
        backend="numpy",
        check=asked.check_id(quantity),
        quantity=quantity,
        versions=SpecifierSet(versions),
        modes=(),
        devices=(),
        axis="semantics",
        reason="a reason",
        upstream=None,
        instead=Instead(**instead),  # type: ignore[arg-type]
        witness=asked,
        file=Path("known.yaml"),
        line=1,
    )


def explained(entry: Known, asked: Question) -> Expectation:
    result = entry.explained(asked)
    assert replace(result, expectation=asked.expectation) == asked
    return result.expectation


# --- what each behaviour expects ---------------------------------------------------------------


def test_a_value_everywhere() -> None:
    assert explained(known(value=0.0), question(call())).promise == HasValue((), (0.0,))


def test_another_refusal() -> None:
    expectation = explained(known(raises=("TypeError",)), question(call()))
    assert expectation.promise == Raises(("TypeError",))


def test_an_exception_to_the_formula() -> None:
    but = But(0.0, {"target": -100.0})
    asked = question(call(), AgreesWithReference(call(), optional=True))
    promise = explained(known(but=but), asked).promise
    assert promise == AgreesWithReference(call(), but=but)


def test_within_more_than_the_tolerance() -> None:
    promised = call(weight=array([[1], [2], [3]]))
    asked = question(call(weight=array([1, 2])), AgreesWithReference(promised))
    assert explained(known(slack=40.0), asked).promise == AgreesWithReference(promised, slack=40)


WEIGHT, POS_WEIGHT, UPSTREAM = array([2, 3]), array([5, 7]), array(np.ones((3, 2)))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, call(weight=WEIGHT, pos_weight=POS_WEIGHT, upstream=UPSTREAM)),
        ({"weight": None}, call(pos_weight=POS_WEIGHT, upstream=UPSTREAM)),
        ({"upstream": None}, call(weight=WEIGHT, pos_weight=POS_WEIGHT)),
        (
            {"weight": "pos_weight", "pos_weight": "weight"},
            call(weight=POS_WEIGHT, pos_weight=WEIGHT, upstream=UPSTREAM),
        ),
        (
            {"pos_weight": 1.0, "upstream": None, "reduction": "sum"},
            call("sum", weight=WEIGHT, pos_weight=array([1, 1])),
        ),
        (
            {"pos_weight": Element(1), "upstream": None},
            call(weight=WEIGHT, pos_weight=array(7)),
        ),
    ],
)
def test_the_formula_of_another_call(keys: dict[str, Replacement], expected: Call) -> None:
    asked = call(weight=WEIGHT, pos_weight=POS_WEIGHT, upstream=UPSTREAM)
    # Of the call itself, whatever was promised in its place:
    promised = question(asked, AgreesWithReference(call()))
    assert explained(known(reference=keys), promised).promise == AgreesWithReference(expected)


def test_an_element_that_is_not_there_excuses_nothing() -> None:
    asked = question(call(pos_weight=POS_WEIGHT))
    beyond = known(reference={"pos_weight": Element(2)})
    assert explained(beyond, asked) == asked.expectation


def test_an_argument_and_more() -> None:
    target = Array.rounded("float64", call().target.values + 1)
    expected = AgreesWithReference(replace(call(), target=target))
    assert explained(known(reference={"target": Plus(1)}), question(call())).promise == expected


def test_the_dtype_of_an_argument() -> None:
    mixed = replace(call(), target=array(np.ones((3, 2)), "float16"))
    asked = question(mixed, OnlyForm(), shape=(3, 2), dtype="float32")
    expected = Expectation(AgreesWithReference(mixed), None, "float16")
    assert explained(known(dtype="target"), asked) == expected
    assert explained(known(dtype="weight"), asked) == asked.expectation
    assert explained(known(value=0.0, dtype="bfloat16"), asked).dtype == "bfloat16"


def test_a_stated_dtype_is_held_to_where_the_entry_says_nothing_of_it() -> None:
    asked = question(call(), dtype="float64")
    assert explained(known(slack=2.0), asked).dtype == "float64"


def test_a_grown_result() -> None:
    column = Call(
        SURFACE,
        array([[1.0], [2.0], [3.0]]),
        array([[1.0], [0.0], [1.0]]),
        array([1.0, 2.0]),
        options={"reduction": "none"},
    )
    asked = question(column, Refuses("the loss would grow"))
    expectation = explained(known(reference={}, shape="broadcast"), asked)
    assert expectation.shape == (3, 2)
    assert isinstance(expectation.promise, AgreesWithReference)
    promised = expectation.promise.promised
    assert promised.logits.values.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert promised.target.values.tolist() == [[1, 1], [0, 0], [1, 1]]
    assert promised.weight == column.weight


def test_acceptance_is_said_of_refusals_only() -> None:
    refused = question(call(), Refuses("no meaning"))
    assert explained(known(accepts=True), refused).promise == OnlyForm()
    refused = question(call(), Raises(("ValueError",)))
    assert explained(known(accepts=True, shape=(2,)), refused) == Expectation(OnlyForm(), (2,))
    asked = question(call())
    assert known(accepts=True).explained(asked) == asked


@pytest.mark.parametrize("said", [{"crashes": True}, {"changes": ("logits",)}])
def test_what_no_outcome_can_be_held_to_leaves_the_question(said: dict[str, object]) -> None:
    asked = question(call())
    assert known(**said).explained(asked) == asked


@pytest.mark.parametrize(
    ("quantity", "keys", "asked"),
    [
        ("grad.weight", {"weight": None}, call(weight=WEIGHT)),
        ("grad.weight", {"weight": "pos_weight"}, call(weight=WEIGHT, pos_weight=array(1.0))),
        ("grad.logits", {"reduction": "sum"}, call(upstream=UPSTREAM)),
        (FORWARD, {}, call(weight=array([1, 2, 3, 4]))),
        (FORWARD, {}, call("avg")),
        (FORWARD, {"target": "weight"}, call(weight=WEIGHT)),
    ],
)
def test_where_the_formula_has_no_meaning_nothing_is_excused(
    quantity: str, keys: dict[str, str | float | None], asked: Call
) -> None:
    due = question(asked, Raises(("ValueError",)))
    assert known(quantity, reference=keys).explained(due) == due


@pytest.mark.parametrize("promise", [Characterise(), EqualsCall(call("sum"))])
def test_any_other_promise_gives_way(promise: Promise) -> None:
    asked = question(call(), promise)
    assert explained(known(slack=2.0), asked).promise == AgreesWithReference(call(), slack=2)


# --- held against outcomes of an implementation with a fault -------------------------------------

Plant = Callable[..., Path]


def verdicts(file: Path, entry: Known, asked: Question) -> tuple[Verdict, Verdict]:
    """As the question stands, and as the entry explains it."""
    spec = importlib.util.spec_from_file_location("planted", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with LocalSession(module) as session:  # type: ignore[arg-type]
        outcome = session.run(replace(asked.call, want=(entry.quantity,)))
    questions: Sequence[Question] = (asked, entry.explained(asked))
    one, other = (judge(q, entry.quantity, outcome, None, "stable").verdict for q in questions)
    return one, other


WEIGHTED = question(call(weight=WEIGHT, pos_weight=POS_WEIGHT))
FORMULA = "loss = w * (p * y"


@pytest.mark.parametrize(
    ("right", "wrong", "quantity", "instead"),
    [
        (FORMULA, "loss = (p * y", FORWARD, {"reference": {"weight": None}}),
        (FORMULA, "loss = w * (y", FORWARD, {"reference": {"pos_weight": None}}),
        (FORMULA, "w, p = p, w\n            loss = w * (p * y", FORWARD,
         {"reference": {"weight": "pos_weight", "pos_weight": "weight"}}),
        (FORMULA, "loss = numpy.nan * (p * y", FORWARD, {"value": float("nan")}),
        (FORMULA, "loss = 1.00001 * w * (p * y", FORWARD, {"slack": 100.0}),
        (FORMULA, "loss = (y != 0.25) * w * (p * y", FORWARD, {"but": But(0.0, {"target": 0.25})}),
        ('{"none": lambda v: v,', '{"none": numpy.sum,', FORWARD,
         {"reference": {"reduction": "sum"}}),
        (FORMULA, "loss = w[0, 0, 0] * (p * y", FORWARD, {"raises": ("IndexError",)}),
        ("summed_to(slope, numpy.shape(argument)).astype(argument.dtype)", "argument * 0",
         "grad.logits", {"value": 0.0}),
    ],
)  # fmt: skip
def test_a_planted_fault_is_excused_by_its_own_entry_alone(
    planted: Plant, right: str, wrong: str, quantity: str, instead: dict[str, object]
) -> None:
    file = planted("numpy", right=right, wrong=wrong)
    assert verdicts(file, known(quantity, **instead), WEIGHTED) == ("deviates", "conforms")
    other = known(quantity, reference={"weight": 2.5})
    assert verdicts(file, other, WEIGHTED) == ("deviates", "deviates")


def test_a_correct_answer_is_not_what_the_entry_says(planted: Plant) -> None:
    file = available()["numpy"].file
    entry = known(reference={"weight": None})
    assert verdicts(file, entry, WEIGHTED) == ("conforms", "deviates")


def test_no_second_fault_hides_behind_an_entry(planted: Plant) -> None:
    file = planted("numpy", right=FORMULA, wrong="loss = abs(x != 3) * (p * y")
    entry = known(reference={"weight": None})
    assert verdicts(file, entry, WEIGHTED) == ("deviates", "deviates")


# --- to whom it applies --------------------------------------------------------------------------


def backend(**facts: object) -> Backend:
    with LocalSession(_numpy()) as session:  # type: ignore[arg-type]
        return replace(session.backend, **facts)  # type: ignore[arg-type]


def _numpy() -> object:
    spec = importlib.util.spec_from_file_location("numpy_adapter", available()["numpy"].file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_applies_to_its_releases_modes_and_devices() -> None:
    entry = known(versions=">=3.0,<=3.3.1", value=0.0)
    assert entry.applies(backend(framework_version="3.3.1"))
    assert not entry.applies(backend(framework_version="3.4.0"))
    assert not entry.applies(backend(framework_version="3.3.1", adapter="torch"))
    compiled = replace(entry, modes=("compiled",))
    assert not compiled.applies(backend(framework_version="3.3.1"))
    assert compiled.applies(backend(framework_version="3.3.1", mode="compiled"))
    on_cuda = replace(entry, devices=("cuda",))
    assert not on_cuda.applies(backend(framework_version="3.3.1"))
    assert on_cuda.applies(backend(framework_version="3.3.1", device="cuda:1"))


def test_the_summary_says_which_releases_why_and_where_it_is_reported() -> None:
    entry = known(versions=">=3.0,<=3.3.1", value=0.0)
    assert entry.summary == "known (numpy ≥3.0, ≤3.3.1): a reason"
    linked = replace(entry, upstream="https://example.org/1")
    assert linked.summary == "known (numpy ≥3.0, ≤3.3.1): a reason; https://example.org/1"
