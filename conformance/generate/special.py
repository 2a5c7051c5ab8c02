"""NaN and infinities, one row a kind: NaN is judged, infinities are recorded.

Infinite logits are no real numbers: where the limit is infinite too, the documented formulas give
NaN as often as infinity (0·∞, ∞ − ∞), and no document says which.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..model.call import FORWARD, Array, Call
from ..model.case_family import CaseFamily, MakeCase, PlannedCase, TestedSurface
from ..model.dtypes import FLOATS
from ..model.expectation import Case, Characterise, Expectation, Source
from .situation import Situation
from .topics import DERIVATIVES, call_of, formula

NAN, INF = math.nan, math.inf


@dataclass(frozen=True)
class Row:
    """The first element of a call; the second is an ordinary one, which it must not spoil.

    judged: by the formula; otherwise recorded only. w, p None: absent.
    """

    name: str
    x: float
    y: float
    w: float | None = None
    p: float | None = None
    judged: bool = False


ROWS = (
    Row("nan-logits", NAN, 1.0, judged=True),
    Row("nan-logits-with-target-0", NAN, 0.0, judged=True),
    Row("nan-logits-with-pos_weight", NAN, 1.0, None, 2.0, judged=True),
    Row("nan-logits-with-weight", NAN, 0.0, 2.0, judged=True),
    Row("nan-target", 0.5, NAN, judged=True),
    Row("nan-weight", 0.5, 1.0, NAN, judged=True),
    Row("nan-pos_weight", 0.5, 1.0, None, NAN, judged=True),
    Row("nan-pos_weight-with-target-0", 0.5, 0.0, None, NAN),
    Row("infinite-loss-plus", INF, 0.0),
    Row("infinite-loss-minus", -INF, 1.0),
    Row("infinite-loss-plus-soft", INF, 0.25),
    Row("infinite-loss-minus-soft", -INF, 0.25),
    Row("infinite-logits-loss-0-plus", INF, 1.0),
    Row("infinite-logits-loss-0-minus", -INF, 0.0),
    Row("infinite-logits-with-pos_weight", -INF, 1.0, None, 2.0),
    Row("infinite-logits-with-weight-0", INF, 0.0, 0.0),
    Row("infinite-weight", 0.5, 1.0, INF),
    Row("infinite-pos_weight", 0.5, 1.0, None, INF),
    Row("infinite-pos_weight-with-target-0", 0.5, 0.0, None, INF),
    Row("infinite-target", 0.5, INF),
)


def _recorded(family: CaseFamily, call: Call) -> Case:
    expectation = Expectation(Characterise())
    return Case(family.case_id, family.kind, call, expectation, family.source)


def special_values(
    tested: TestedSurface, dtype: str, quantities: Sequence[str]
) -> Iterator[PlannedCase]:
    for row in ROWS:
        for quantity in (q for q in (FORWARD, "grad.logits") if q in quantities):
            summed = row.judged and quantity == FORWARD
            each = ("none", "mean", "sum") if summed else ("none",)
            for reduction in tested.signature.each(*each):
                # A gradient at an infinite logit has a finite limit: left open.
                judged = row.judged and (
                    quantity == FORWARD or math.isfinite(row.x) or row.x != row.x
                )
                make_case: MakeCase = formula if judged else _recorded
                family = _family(row.name, _sentence(judged, quantity), make_case, tested, dtype,
                                 quantity, reduction)  # fmt: skip
                case = make_case(
                    family, call_of(_situation(row, dtype), tested, quantity, reduction)
                )
                assert case is not None
                yield family, case
    yield from _flushed(tested, dtype)


def _family(
    name: str,
    sentence: str,
    make_case: MakeCase,
    tested: TestedSurface,
    dtype: str,
    quantity: str,
    reduction: str,
) -> CaseFamily:
    source = Source("special values", sentence)
    return CaseFamily(name, "special", tested, dtype, quantity, reduction, source, make_case)


def _sentence(judged: bool, quantity: str) -> str:
    if judged:
        return f"NaN gives NaN, and to its own element alone: {DERIVATIVES[quantity]}"
    return "Left open by the documents: recorded, not judged."


def _situation(row: Row, dtype: str) -> Situation:
    def pair(first: float | None, second: float) -> Array | None:
        return None if first is None else Array.rounded(dtype, np.array([first, second]))

    logits, target = pair(row.x, 0.75), pair(row.y, 1.0)
    assert logits is not None and target is not None
    return Situation(logits, target, pair(row.w, 1.5), pair(row.p, 1.25))


def _flushed(tested: TestedSurface, dtype: str) -> Iterator[PlannedCase]:
    """Whether results below the smallest normal number survive."""
    form = FLOATS[dtype]
    tiny = Array.rounded(dtype, np.array([form.smallest_normal / 4, form.smallest_normal / 2]))
    half = Array.rounded(dtype, np.zeros(2))
    family = _family("subnormal-results", "Left open: flushing to zero.", _recorded, tested, dtype,
                     FORWARD, "none")  # fmt: skip
    yield family, _recorded(family, call_of(Situation(half, half, tiny), tested, FORWARD, "none"))
