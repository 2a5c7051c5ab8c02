"""The tolerance report: its figures are those of the raw errors, whatever the order of calls."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bce_conformance.adapters import available
from bce_conformance.adapters import numpy as numpy_adapter
from bce_conformance.judging.accuracy import USUAL_ATOL, Histogram, Tallies, rounded, up
from bce_conformance.judging.errors import Errors, Truth, errors, truth
from bce_conformance.judging.tolerance import GRADES
from bce_conformance.model.call import Array, Call
from bce_conformance.model.dtypes import FLOATS, from_float64, to_float64
from bce_conformance.session import LocalSession

SURFACE = "numpy.bce_with_logits"
ADAPTER = available()["numpy"]
Judged = tuple[Call, str, Array, Truth, Errors]


def judged(
    dtype: str, reduction: str, quantity: str, *, calls: int = 12, size: int = 300, seed: int = 0
) -> list[Judged]:
    """What numpy really returns for logits of many sizes, hard and soft targets, and weights."""
    rng = np.random.default_rng(seed)
    session = LocalSession(numpy_adapter)
    made = []
    for _ in range(calls):
        x = rng.normal(0, 4, size) * 10.0 ** rng.uniform(-6, 1, size)
        y = rng.choice([0, 1, 0.25, 0.9], size)
        w = rng.uniform(0.25, 4, size)
        arrays = [Array.rounded(dtype, np.asarray(values)) for values in (x, y, w)]
        call = Call(SURFACE, *arrays, options={"reduction": reduction}, want=(quantity,))
        result = session.run(call).of(quantity)
        assert isinstance(result, Array)
        expected = truth(call, quantity, dtype)
        made.append((call, quantity, result, expected, errors(result, expected)))
    return made


def rows(every: Sequence[Judged]) -> list[dict[str, Any]]:
    tallies = Tallies()
    for one in every:
        tallies.add(*one)
    return tallies.rows(LocalSession(numpy_adapter).backend, ADAPTER)


def row(every: Sequence[Judged]) -> dict[str, Any]:
    (only,) = rows(every)
    return only


def raw(every: Sequence[Judged], name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.concatenate([getattr(found, name).reshape(-1) for *_, found in every])


def expected_of(every: Sequence[Judged]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.concatenate([expected.high.reshape(-1) for _, _, _, expected, _ in every])


def got_of(every: Sequence[Judged]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.concatenate([result.values.reshape(-1) for _, _, result, _, _ in every])


DTYPES = ("float16", "float32", "float64")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("quantity", ["forward", "grad.logits", "grad.weight"])
class TestFiguresAreThoseOfTheRawErrors:
    def test_largest(self, dtype: str, quantity: str) -> None:
        every = judged(dtype, "none", quantity)
        found, absolute = row(every), raw(every, "absolute")
        relative = absolute / np.abs(expected_of(every))
        assert found["elements"] == absolute.size
        for name, exact in (("max_ulp", raw(every, "ulps").max()), ("max_abs", absolute.max()),
                            ("max_rel", relative.max())):  # fmt: skip
            assert exact <= found[name] <= exact * 1.001

    def test_percentiles(self, dtype: str, quantity: str) -> None:
        every = judged(dtype, "none", quantity)
        found, ulps = row(every), raw(every, "ulps")
        for name, share in (("p50", 50), ("p99", 99), ("p999", 99.9)):
            exact = np.percentile(ulps, share, method="inverted_cdf")
            assert exact <= found[name] <= exact * (1 + 2**-5) * 1.01 + 2**-16

    def test_correctly_rounded(self, dtype: str, quantity: str) -> None:
        every = judged(dtype, "none", quantity)
        nearest = to_float64(dtype, from_float64(dtype, expected_of(every)))
        assert row(every)["correctly_rounded"] == np.count_nonzero(nearest == got_of(every))

    def test_k_lets_everything_pass(self, dtype: str, quantity: str) -> None:
        every = judged(dtype, "none", quantity)
        found = row(every)
        for grade in GRADES:
            k = found[f"k_{grade}"]
            exact = max(
                expected.k_of(errors.absolute, grade) for _, _, _, expected, errors in every
            )
            assert exact <= k <= exact * 1.001 and k > 0


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_pasted_rtol_passes_and_a_smaller_one_does_not(dtype: str, reduction: str) -> None:
    every = judged(dtype, reduction, "forward", calls=40, size=50)
    got, expected = got_of(every), expected_of(every)
    smallest = row(every)["smallest_rtol"]
    assert {float(atol) for atol in smallest} == set(USUAL_ATOL[dtype])
    for atol, rtol in smallest.items():
        assert np.allclose(got, expected, rtol=float(str(rtol)), atol=float(atol))
        if rtol > 0:
            assert not np.allclose(got, expected, rtol=0.9 * rtol, atol=float(atol))
    assert smallest["0"] > 0


@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("quantity", ["forward", "grad.logits"])
def test_order_makes_no_difference(reduction: str, quantity: str) -> None:
    """Ties included: every call is added twice, and float16 has many equal errors."""
    every = judged("float16", reduction, quantity, calls=30, size=40) * 2
    expected = row(every)
    for seed in range(5):
        random.Random(seed).shuffle(every)
        assert row(every) == expected


def forged(got: float, x: float, *, dtype: str = "float32", y: float = 0.0) -> Judged:
    """One element, with a result of our own."""
    return forged_array([got], [x], [y], dtype)


def forged_array(got: list[float], x: list[float], y: list[float], dtype: str) -> Judged:
    arrays = [Array.rounded(dtype, np.array(values)) for values in (x, y)]
    call = Call(SURFACE, *arrays, options={"reduction": "none"})
    result, expected = Array.rounded(dtype, np.array(got)), truth(call, "forward", dtype)
    return call, "forward", result, expected, errors(result, expected)


class TestTies:
    """L(2, 0) = L(−2, 1), so equal results are equally wrong; the smaller bits are those of 2."""

    def test_between_calls(self) -> None:
        every = [forged(2.0, 2.0), forged(2.0, -2.0, y=1.0)]
        expected = row(every)
        assert expected["at"]["inputs"]["logits"]["value"] == "2.0"
        assert row(every[::-1]) == expected

    @pytest.mark.parametrize("x", [[2.0, -2.0], [-2.0, 2.0]])
    def test_within_a_call(self, x: list[float]) -> None:
        found = row([forged_array([2.0, 2.0], x, [float(v < 0) for v in x], "float32")])
        assert found["at"]["inputs"]["logits"]["value"] == "2.0"


class TestWorst:
    def test_is_one_element_that_can_be_pasted(self) -> None:
        every = judged("float32", "none", "forward")
        found = row(every)
        at = found["at"]
        ulps = raw(every, "ulps")
        call, _, result, expected, _ = every[int(np.argmax(ulps)) // 300]
        here = int(np.argmax(ulps)) % 300
        assert float(at["inputs"]["logits"]["value"]) == call.logits.values[here]
        assert int(at["inputs"]["target"]["bits"], 16) == call.target.bits.view("<u4")[here]
        assert float(at["got"]["value"]) == result.values[here]
        assert float(at["due"]) == expected.high[here]
        printed: list[object] = []
        exec(at["reproduce"], {"print": lambda *given: printed.extend(given)})
        assert float(printed[-1]) == pytest.approx(float(at["due"]), rel=1e-5)  # type: ignore[arg-type]

    def test_of_a_small_reduced_call_is_the_whole_call(self) -> None:
        at = row(judged("float32", "mean", "forward", size=64))["at"]
        assert at["shape"] == [64] and at["inputs"] == {} and "np.array([" in at["reproduce"]

    def test_of_a_large_reduced_call_is_its_shape(self) -> None:
        at = row(judged("float32", "mean", "forward", size=65))["at"]
        assert at["shape"] == [65] and at["reproduce"] is None

    def test_of_a_mean_s_gradient_names_the_element(self) -> None:
        """Its call cannot be cut to one element: the mean divides by how many there are."""
        at = row(judged("float32", "mean", "grad.logits", size=65))["at"]
        assert set(at["inputs"]) == {"logits", "target", "weight"} and len(at["index"]) == 1

    def test_of_exact_results_is_none(self) -> None:
        found = row([forged(got=100.0, x=100.0)])
        assert found["max_ulp"] < 1e-4 and found["correctly_rounded"] == 1
        assert row([forged(got=0.0, x=-1e30)])["at"] is None

    def test_beyond_the_strict_grade_alone(self) -> None:
        """A tail that is exactly 0."""
        found = row([forged(got=0.0, x=-17.2), forged(got=float(np.log(2)), x=0.0)])
        assert found["grades"] == {"stable": "within", "strict": "beyond"}
        assert found["beyond"] == {"stable": 0, "strict": 1}
        assert found["beyond_strict_at"]["inputs"]["logits"]["value"].startswith("-17.2")
        assert found["k_strict"] > 8 > found["k_stable"]


class TestWhatIsNotCompared:
    def test_is_counted_apart(self) -> None:
        inf, nan = float("inf"), float("nan")
        every = [forged(1.0, 1.0), forged(nan, 1.0), forged(inf, 3.0), forged(inf, inf),
                 forged(nan, nan), forged(1.0, nan), forged(-inf, inf)]  # fmt: skip
        found = row(every)
        assert found["elements"] == 1 and found["calls"] == 7
        assert found["not_compared"] == {
            "infinite_or_nan_as_due": 2,
            "infinite_too_early": 1,
            "another_kind": 3,
            "reference_uncertain": 0,
        }
        assert found["beyond"]["stable"] == 5  # and 1.0 for log(1 + e) among them

    def test_no_number_at_all_is_still_a_row_of_json(self) -> None:
        found = row([forged(float("nan"), float("nan"))])
        assert found["elements"] == 0 and found["at"] is None
        json.dumps(found, allow_nan=False)

    def test_no_elements(self) -> None:
        empty = Array.rounded("float32", np.zeros(0))
        call = Call(SURFACE, empty, empty, options={"reduction": "none"})
        expected = truth(call, "forward", "float32")
        found = row([(call, "forward", empty, expected, errors(empty, expected))])
        assert (found["calls"], found["elements"], found["p99"]) == (1, 0, 0.0)


def test_no_rtol_helps_where_0_is_due() -> None:
    found = row([forged(got=1e-3, x=-1e30)])
    assert found["smallest_rtol"] == {"0": None, "1e-08": None, "1e-05": None}
    json.dumps(found, allow_nan=False)


def test_rows_stand_in_one_order() -> None:
    every = [one for quantity in ("grad.logits", "forward") for reduction in ("sum", "none")
             for one in judged("float32", reduction, quantity, calls=1)]  # fmt: skip
    named = [(r["reduction"], r["quantity"]) for r in rows(every)]
    assert named == [("none", "forward"), ("none", "grad.logits"), ("sum", "forward"),
                     ("sum", "grad.logits")]  # fmt: skip


class TestRounded:
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
    def test_low_decides_between_two(self, dtype: str) -> None:
        half = 2.0 ** -FLOATS[dtype].precision
        high, low = np.full(3, 1 + half), np.array([-1e-30, 0.0, 1e-30])
        assert rounded(dtype, high, low).tolist() == [1.0, 1.0, 1 + 2 * half]
        above = np.full(3, 1 + 3 * half)  # the even neighbour is the larger one here
        assert rounded(dtype, above, low).tolist() == [1 + 2 * half, 1 + 4 * half, 1 + 4 * half]

    def test_high_is_a_float64_already(self) -> None:
        high, low = np.full(2, 1.5), np.array([-1e-17, 1e-17])
        assert rounded("float64", high, low).tolist() == [1.5, 1.5]

    def test_low_does_not_move_what_is_not_between(self) -> None:
        half = 2.0**-24
        high = np.array([1 + half - 2.0**-52, 1 + half + 2.0**-52, 1.0])
        assert rounded("float32", high, np.full(3, 1e-17)).tolist() == [1.0, 1 + 2 * half, 1.0]

    def test_one_below_a_power_of_two_is_not_nearest(self) -> None:
        """sigmoid(0) is 1/2 exactly; the float below it is half an ulp off, and not the nearest."""
        x, y = (Array.rounded("float32", np.array([0.0])) for _ in range(2))
        call = Call(SURFACE, x, y, options={"reduction": "none"}, want=("grad.logits",))
        expected = truth(call, "grad.logits", "float32")
        below = Array.rounded("float32", np.array([0.5 - 2.0**-25]))
        exact = Array.rounded("float32", np.array([0.5]))
        found = row(
            [(call, "grad.logits", r, expected, errors(r, expected)) for r in (below, exact)]
        )
        assert found["max_ulp"] == 0.5 and found["correctly_rounded"] == 1


def test_histogram_at_its_ends() -> None:
    ends = Histogram()
    ends.add(np.array([0.0, 2.0**-17, 1e300]))
    assert [ends.percentile(share) for share in (0.3, 0.6, 1.0)] == [0.0, 0.0, float("inf")]


def test_up_never_rounds_down() -> None:
    for value in (1.2e-7, 1.21e-7, 9.99e-8, 5e-324, 0.1, 1e307):
        assert value <= up(value, 2) <= value * 1.1001 or value == 5e-324
    assert (up(1.21e-7, 2), up(0.0, 2), up(float("inf"), 2)) == (1.3e-7, 0.0, 1e308)
