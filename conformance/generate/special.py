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
from ..model.case_family import Ask, Asked, Asking, Series
from ..model.dtypes import FLOATS
from ..model.expectation import Characterise, Expectation, Question, Source
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


def _recorded(series: Series, call: Call) -> Question:
    expectation = Expectation(Characterise())
    return Question(series.question_id, series.kind, call, expectation, series.source)


def special_values(asked: Asked, dtype: str, quantities: Sequence[str]) -> Iterator[Asking]:
    for row in ROWS:
        for quantity in (q for q in (FORWARD, "grad.logits") if q in quantities):
            summed = row.judged and quantity == FORWARD
            each = ("none", "mean", "sum") if summed else ("none",)
            for reduction in asked.signature.each(*each):
                # A gradient at an infinite logit has a finite limit: left open.
                judged = row.judged and (
                    quantity == FORWARD or math.isfinite(row.x) or row.x != row.x
                )
                ask: Ask = formula if judged else _recorded
                series = _series(row.name, _sentence(judged, quantity), ask, asked, dtype,
                                 quantity, reduction)  # fmt: skip
                question = ask(series, call_of(_situation(row, dtype), asked, quantity, reduction))
                assert question is not None
                yield series, question
    yield from _flushed(asked, dtype)


def _series(name: str, sentence: str, ask: Ask, asked: Asked, dtype: str, quantity: str,
            reduction: str) -> Series:  # fmt: skip
    source = Source("special values", sentence)
    return Series(name, "special", asked, dtype, quantity, reduction, source, ask)


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


def _flushed(asked: Asked, dtype: str) -> Iterator[Asking]:
    """Whether results below the smallest normal number survive."""
    form = FLOATS[dtype]
    tiny = Array.rounded(dtype, np.array([form.smallest_normal / 4, form.smallest_normal / 2]))
    half = Array.rounded(dtype, np.zeros(2))
    series = _series("subnormal-results", "Left open: flushing to zero.", _recorded, asked, dtype,
                     FORWARD, "none")  # fmt: skip
    yield series, _recorded(series, call_of(Situation(half, half, tiny), asked, FORWARD, "none"))
