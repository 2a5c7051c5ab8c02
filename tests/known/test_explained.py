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
from bce_conformance.known import Behaviour, Known
from bce_conformance.known.behaviour import Element, Plus, Replacement
from bce_conformance.model.call import FORWARD, Array, Backend, Call
from bce_conformance.model.check import Verdict
from bce_conformance.model.expectation import (
    AgreesWithReference,
    But,
    Case,
    Characterise,
    EqualsCall,
    Expectation,
    HasValue,
    OnlyForm,
    Promise,
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


def case(tested: Call, promise: Promise | None = None, **form: object) -> Case:
    expectation = Expectation(promise or AgreesWithReference(tested), **form)  # type: ignore[arg-type]
    source = Source("a document", "a sentence")
    return Case(f"{SURFACE}/property/a", "property", tested, expectation, source)


def known(quantity: str = FORWARD, *, versions: str = ">=1.0", **behaviour: object) -> Known:
    tested = case(call())
    return Known(
        backend="numpy",
        check=tested.check_id(quantity),
        quantity=quantity,
        versions=SpecifierSet(versions),
        modes=(),
        devices=(),
        axis="semantics",
        id="some-cause",
        title="a title",
        upstream=None,
        behaviour=Behaviour(**behaviour),  # type: ignore[arg-type]
        witness=tested,
        file=Path("known.yaml"),
        line=1,
    )


def explained(entry: Known, tested: Case) -> Expectation:
    result = entry.explained(tested)
    assert replace(result, expectation=tested.expectation) == tested
    return result.expectation


# --- what each behaviour expects ---------------------------------------------------------------


def test_a_value_everywhere() -> None:
    assert explained(known(value=0.0), case(call())).promise == HasValue((), (0.0,))


def test_another_refusal() -> None:
    expectation = explained(known(raises=("TypeError",)), case(call()))
    assert expectation.promise == Raises(("TypeError",))


def test_an_exception_to_the_formula() -> None:
    but = But(0.0, {"target": -100.0})
    tested = case(call(), AgreesWithReference(call(), optional=True))
    promise = explained(known(but=but), tested).promise
    assert promise == AgreesWithReference(call(), but=but)


def test_within_more_than_the_tolerance() -> None:
    reference_call = call(weight=array([[1], [2], [3]]))
    tested = case(call(weight=array([1, 2])), AgreesWithReference(reference_call))
    assert explained(known(slack=40.0), tested).promise == AgreesWithReference(
        reference_call, slack=40
    )


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
    tested = call(weight=WEIGHT, pos_weight=POS_WEIGHT, upstream=UPSTREAM)
    # Of the call itself, whatever was promised in its place:
    reference_call = case(tested, AgreesWithReference(call()))
    assert explained(known(reference=keys), reference_call).promise == AgreesWithReference(expected)


def test_an_element_that_is_not_there_excuses_nothing() -> None:
    tested = case(call(pos_weight=POS_WEIGHT))
    beyond = known(reference={"pos_weight": Element(2)})
    assert explained(beyond, tested) == tested.expectation


def test_an_argument_and_more() -> None:
    target = Array.rounded("float64", call().target.values + 1)
    expected = AgreesWithReference(replace(call(), target=target))
    assert explained(known(reference={"target": Plus(1)}), case(call())).promise == expected


def test_the_dtype_of_an_argument() -> None:
    mixed = replace(call(), target=array(np.ones((3, 2)), "float16"))
    tested = case(mixed, OnlyForm(), shape=(3, 2), dtype="float32")
    expected = Expectation(AgreesWithReference(mixed), None, "float16")
    assert explained(known(dtype="target"), tested) == expected
    assert explained(known(dtype="weight"), tested) == tested.expectation
    assert explained(known(value=0.0, dtype="bfloat16"), tested).dtype == "bfloat16"


def test_a_stated_dtype_is_held_to_where_the_entry_says_nothing_of_it() -> None:
    tested = case(call(), dtype="float64")
    assert explained(known(slack=2.0), tested).dtype == "float64"


def test_a_grown_result() -> None:
    column = Call(
        SURFACE,
        array([[1.0], [2.0], [3.0]]),
        array([[1.0], [0.0], [1.0]]),
        array([1.0, 2.0]),
        options={"reduction": "none"},
    )
    tested = case(column, Refuses("the loss would grow"))
    expectation = explained(known(reference={}, shape="broadcast"), tested)
    assert expectation.shape == (3, 2)
    assert isinstance(expectation.promise, AgreesWithReference)
    reference_call = expectation.promise.reference_call
    assert reference_call.logits.values.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert reference_call.target.values.tolist() == [[1, 1], [0, 0], [1, 1]]
    assert reference_call.weight == column.weight


def test_acceptance_is_said_of_refusals_only() -> None:
    refused = case(call(), Refuses("no meaning"))
    assert explained(known(accepts=True), refused).promise == OnlyForm()
    refused = case(call(), Raises(("ValueError",)))
    assert explained(known(accepts=True, shape=(2,)), refused) == Expectation(OnlyForm(), (2,))
    tested = case(call())
    assert known(accepts=True).explained(tested) == tested


@pytest.mark.parametrize("said", [{"crashes": True}, {"changes": ("logits",)}])
def test_what_no_outcome_can_be_held_to_leaves_the_question(said: dict[str, object]) -> None:
    tested = case(call())
    assert known(**said).explained(tested) == tested


@pytest.mark.parametrize(
    ("quantity", "keys", "tested"),
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
    quantity: str, keys: dict[str, str | float | None], tested: Call
) -> None:
    expected = case(tested, Raises(("ValueError",)))
    assert known(quantity, reference=keys).explained(expected) == expected


@pytest.mark.parametrize("promise", [Characterise(), EqualsCall(call("sum"))])
def test_any_other_promise_gives_way(promise: Promise) -> None:
    tested = case(call(), promise)
    assert explained(known(slack=2.0), tested).promise == AgreesWithReference(call(), slack=2)


# --- held against outcomes of an implementation with a fault -------------------------------------

Plant = Callable[..., Path]


def verdicts(file: Path, entry: Known, tested: Case) -> tuple[Verdict, Verdict]:
    """As the question stands, and as the entry explains it."""
    spec = importlib.util.spec_from_file_location("planted", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with LocalSession(module) as session:  # type: ignore[arg-type]
        outcome = session.run(replace(tested.call, want=(entry.quantity,)))
    cases: Sequence[Case] = (tested, entry.explained(tested))
    one, other = (judge(q, entry.quantity, outcome, None, "stable").verdict for q in cases)
    return one, other


WEIGHTED = case(call(weight=WEIGHT, pos_weight=POS_WEIGHT))
FORMULA = "loss = w * (p * y"


@pytest.mark.parametrize(
    ("right", "wrong", "quantity", "behaviour"),
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
    planted: Plant, right: str, wrong: str, quantity: str, behaviour: dict[str, object]
) -> None:
    file = planted("numpy", right=right, wrong=wrong)
    assert verdicts(file, known(quantity, **behaviour), WEIGHTED) == ("deviates", "conforms")
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
    assert entry.summary == "known (numpy ≥3.0, ≤3.3.1): a title"
    linked = replace(entry, upstream="https://example.org/1")
    assert linked.summary == "known (numpy ≥3.0, ≤3.3.1): a title; https://example.org/1"
