"""The report of a sweep: rows of figures, and one check for each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..adapters import AdapterFile
from ..judging import tolerance
from ..judging.accuracy import (
    PERCENTILES,
    USUAL_ATOL,
    USUAL_RTOL,
    Worst,
    hair_above,
    pasteable,
    up,
    worst_json,
)
from ..judging.errors import truth
from ..judging.rules import Judgement
from ..judging.tolerance import Grade
from ..known import Known
from ..model.call import ARGUMENTS, FORWARD, Array, Backend, Call, Unsupported
from ..model.check import Check
from ..model.expectation import AgreesWithReference, Case, Expectation, Source
from ..running.engine import run_case
from ..running.witness import check_of
from ..session import Session
from .cliffs import Cliff, cliffs, hexadecimal
from .figures import EDGES, Figures, total
from .journal import Done
from .line import WORDS, array, blocks, number
from .plan import Cell, SweepPlan, Unit

Json = dict[str, Any]

COPIES = 64
"""An element alone may take another path through a kernel than one among many."""


@dataclass
class Row:
    """The cells that are reported together, and what was found of each, block by block."""

    surface: str
    quantity: str
    name: str
    cells: dict[Cell, dict[int, Figures]] = field(default_factory=dict)
    done: list[tuple[Unit, Done]] = field(default_factory=list)

    @property
    def dtype(self) -> str:
        return next(iter(self.cells)).dtype

    @property
    def case_id(self) -> str:
        return f"{self.surface}/sweep/{self.name}[{self.dtype},none]"

    @property
    def check_id(self) -> str:
        return self.case_id + ("" if self.quantity == FORWARD else f":{self.quantity}")

    @property
    def failures(self) -> list[tuple[Unit, Done]]:
        return [(unit, done) for unit, done in self.done if done.failure is not None]

    @cached_property
    def numbers(self) -> dict[Cell, Figures]:
        """The figures of each cell over all finite logits."""
        return {cell: self._of(cell, ("numbers",)) for cell in self.cells}

    @cached_property
    def judged(self) -> dict[Cell, Figures]:
        """... and over the NaNs; what becomes of infinite logits is recorded only."""
        return {cell: of + self._of(cell, ("nan",)) for cell, of in self.numbers.items()}

    def of_kind(self, kind: str) -> Figures:
        """The figures of the infinities, or of the NaNs, over all cells."""
        return total(self._of(cell, (kind,)) for cell in self.cells)

    def _of(self, cell: Cell, kinds: Sequence[str]) -> Figures:
        those = {block.index for block in blocks(cell.dtype) if block.kind in kinds}
        return total(figures for index, figures in self.cells[cell].items() if index in those)

    @cached_property
    def cliffs(self) -> list[Cliff]:
        return [cliff for cell, found in self.cells.items() for cliff in cliffs(cell, found)]


def rows_of(units: Sequence[Unit], done: Mapping[int, Done]) -> list[Row]:
    """What is done of the units, row by row."""
    rows: dict[tuple[str, str, str], Row] = {}
    for unit in units:
        if unit.index not in done:
            continue
        cell = unit.cell
        key = (cell.surface, cell.quantity, cell.row)
        row = rows.setdefault(key, Row(*key))
        row.cells.setdefault(cell, {}).update(done[unit.index].figures)
        row.done.append((unit, done[unit.index]))
    return list(rows.values())


# ---- figures


def row_json(row: Row, plan: SweepPlan, backend: Backend, adapter: AdapterFile) -> Json:
    """An entry of a report's `accuracy`; figures are rounded up, so that they still hold."""
    by_cell = row.numbers
    figures = total(by_cell.values())
    worst = max(by_cell, key=lambda cell: by_cell[cell].max_ulp)
    largest = {name: figures.extremes.get(name, 0.0) for name in ("abs", "rel")}
    dtype = row.dtype
    beyond: dict[str, int] = {grade: figures.count(grade) for grade in tolerance.GRADES}
    return {
        "surface": row.surface,
        "quantity": row.quantity,
        "dtype": dtype,
        "reduction": "none",
        "grades": {g: "beyond" if beyond[g] else "within" for g in tolerance.GRADES},
        "beyond": beyond,
        "calls": len(row.done),
        "elements": figures.elements,
        "not_compared": {
            "infinite_or_nan_as_due": figures.as_due,
            "infinite_too_early": 0,
            "another_kind": figures.count("other_kind"),
            "reference_uncertain": figures.uncertain,
        },
        "max_ulp": up(figures.max_ulp, 4),
        "at": _element(worst, by_cell[worst], backend, adapter),
        **{
            n: up(figures.percentile(s), 3) if figures.elements else 0.0
            for n, s in PERCENTILES.items()
        },
        "correctly_rounded": figures.correctly_rounded,
        **{f"max_{name}": up(value, 4) for name, value in largest.items()},
        **{f"k_{g}": up(figures.extremes.get(f"k_{g}", 0.0), 4) for g in tolerance.GRADES},
        "smallest_rtol": {
            f"{a:g}": pasteable(figures.extremes.get(f"rtol {a:g}", 0.0)) for a in USUAL_ATOL[dtype]
        },
        "smallest_atol": {
            f"{r:g}": hair_above(figures.extremes.get(f"atol {r:g}", 0.0))
            for r in (USUAL_RTOL[dtype],)
        },
        "beyond_strict_at": _beyond_strict(by_cell, backend, adapter),
        **_times(row),
        "sweep": _swept(row, plan, by_cell),
    }


def _times(row: Row) -> Json:
    """Seconds of the whole row; the framework's, alone on the same tiles, and the ratio of both.

    Where only some blocks were timed alone, framework and ratio are of these.
    """
    timed = [done for _, done in row.done if done.alone is not None]
    alone = sum(done.alone or 0.0 for done in timed)
    seconds = sum(done.seconds for done in timed)
    whole = len(timed) == len(row.done)
    return {
        "seconds_total": round(sum(done.seconds for _, done in row.done), 3),
        "seconds_framework": round(alone, 3) if whole else None,
        "time_ratio": round(seconds / alone, 3) if alone else None,
    }


def _swept(row: Row, plan: SweepPlan, by_cell: Mapping[Cell, Figures]) -> Json:
    timed = [done for _, done in row.done if done.alone is not None]
    return {
        "name": row.name,
        "logits": "every" if plan.exhaustive else "sampled",
        "seed": plan.seed,
        "edges": list(EDGES),
        "cells": [_cell(cell, figures) for cell, figures in by_cell.items()],
        "infinite_logits": _special(row.of_kind("infinity")),
        "nan_logits": _special(row.of_kind("nan")),
        "cliffs": [cliff.json() for cliff in row.cliffs],
        "blocks": list(_blocks(row)),
        "failures": [_failure(unit, done) for unit, done in row.failures],
        "framework_seconds_within": round(sum(d.framework for _, d in row.done), 3),
        "timed_alone": {
            "units": len(timed),
            "of": len(row.done),
            "seconds": round(sum(d.seconds for d in timed), 3),
            "alone": round(sum(d.alone or 0.0 for d in timed), 3),
        },
    }  # fmt: skip


def _failure(unit: Unit, done: Done) -> Json:
    return {"cell": unit.cell.key, "from": str(unit.blocks[0]), "to": str(unit.blocks[-1]),
            **(done.failure or {})}  # fmt: skip


def _special(figures: Figures) -> Json:
    return {"swept": figures.all, "as_due": figures.as_due,
            "compared": figures.elements, "otherwise": figures.count("other_kind")}  # fmt: skip


def _cell(cell: Cell, figures: Figures) -> Json:
    dtype = cell.dtype
    return {
        "target": f"{cell.target:.17g}",
        "pos_weight": None if cell.pos_weight is None else f"{cell.pos_weight:.17g}",
        "elements": figures.elements,
        "max_ulp": up(figures.max_ulp, 4),
        "at": None if figures.at is None else repr(number(dtype, figures.at)),
        "correctly_rounded": figures.correctly_rounded,
        "beyond_strict": figures.count("strict"),
        "beyond_stable": figures.count("stable"),
    }


def _blocks(row: Row) -> Iterator[Json]:
    """One entry for each sign and exponent: over all cells of the row."""
    for block in blocks(row.dtype):
        found = [f[block.index] for f in row.cells.values() if block.index in f]
        if not found or block.kind != "numbers":
            continue
        figures = total(found)
        yield {
            "block": str(block),
            "elements": figures.elements,
            "max_ulp": up(figures.max_ulp, 4),
            "at": None if figures.at is None else hexadecimal(block.dtype, figures.at),
            "correctly_rounded": figures.correctly_rounded,
            "beyond": [figures.count("stable"), figures.count("strict")],
            "histogram": figures.json()["histogram"],
        }  # fmt: skip


def _element(cell: Cell, figures: Figures, backend: Backend, adapter: AdapterFile) -> Json | None:
    if figures.at is None or figures.got is None:
        return None
    return element_json(cell, figures.at, figures.got, figures.max_ulp, backend, adapter)


def _beyond_strict(
    by_cell: Mapping[Cell, Figures], backend: Backend, adapter: AdapterFile
) -> Json | None:
    spans = [(cell, span) for cell, figures in by_cell.items()
             for key, span in figures.marks.items() if key[1:] == "strict"]  # fmt: skip
    if not spans:
        return None
    cell, span = max(spans, key=lambda pair: (pair[1].ulps, -pair[1].worst))
    return element_json(cell, span.worst, span.got, span.ulps, backend, adapter)


def element_json(
    cell: Cell, bits: int, got: int, ulps: float, backend: Backend, adapter: AdapterFile
) -> Json:
    """One logit, as rows of figures show their worst."""
    call = alone(cell, [bits])
    named = {name: call.argument(name) for name in ARGUMENTS}
    expected = float(truth(call, cell.quantity, cell.dtype).high[0])
    inputs = {name: a for name, a in named.items() if a is not None}
    result = array(cell.dtype, np.array([got], dtype=WORDS[cell.dtype]))
    worst = Worst(ulps, (), inputs, call, (1,), (0,), result, expected, ulps)
    return worst_json(worst, backend, adapter)


def alone(cell: Cell, bits: Sequence[int]) -> Call:
    """The cell's call on a few logits."""
    call = cell.call(array(cell.dtype, np.array(bits, dtype=WORDS[cell.dtype])))
    target = Array(cell.dtype, (len(bits),), call.target.data * len(bits))
    return replace(call, target=target)


# ---- checks

MARKS = ("other_kind", "stable", "strict")
BY_GRAVITY = ("other_kind", "stable", "zero", "strict", "flushed")


@dataclass(frozen=True)
class Decisive:
    """The logit that decides a row's check, the mark by which it does, if any, and its error."""

    cell: Cell
    bits: int
    mark: str | None
    ulps: float

    @property
    def rank(self) -> tuple[float, ...]:
        """The larger, the graver; of equals that with the smallest bits counts."""
        gravity = len(MARKS) - MARKS.index(self.mark) if self.mark else 0
        return gravity, self.ulps, -self.bits


def check(
    row: Row,
    session: Session,
    adapter: AdapterFile,
    grade: Grade,
    known: Mapping[str, Known],
) -> Check:
    """The verdict on a row, its worst logit asked once more as the witness; see `concluded`."""
    decisive = decisive_of(row, grade)
    if row.failures:
        return _failed(row, _case(row, decisive), session.backend, adapter)
    return _witnessed(row, decisive, session, adapter, grade, known)


def concluded(row: Row, plan: SweepPlan, made: Check) -> Check:
    """The check with the figures of the whole row, and its cliffs, in its summary."""
    examples = sum(f.all for found in row.cells.values() for f in found.values())
    if row.failures:
        return replace(made, examples=examples)
    said = (_sentence(row, cliff) for cliff in _told(row.cliffs))
    text = (_counted(row, plan), made.summary, *said)
    strict = not any(figures.count("strict") for figures in row.numbers.values())
    return replace(made, summary="; ".join(text), strict=strict, examples=examples)


def _told(found: list[Cliff]) -> list[Cliff]:
    """The cliffs a sentence names: the longest of each kind, the gravest kind first."""
    longest = sorted(found, key=lambda cliff: cliff.span.count)
    of_mark = {cliff.mark: cliff for cliff in longest}
    return [of_mark[mark] for mark in BY_GRAVITY if mark in of_mark]


def _sentence(row: Row, cliff: Cliff) -> str:
    """What a cliff is, and of which target if there are several."""
    if len(row.cells) == 1:
        return cliff.sentence()
    weight = "" if cliff.cell.pos_weight is None else f" and pos_weight {cliff.cell.pos_weight:.5g}"
    return f"with target {cliff.cell.target:.5g}{weight} {cliff.sentence()}"


def decisive_of(row: Row, grade: Grade) -> Decisive:
    """The gravest logit of a row: by its mark, then by its error."""
    found = []
    for cell, figures in row.judged.items():
        found.append(Decisive(cell, figures.at or 0, None, figures.max_ulp))
        for key, span in figures.marks.items():
            if key[1:] in MARKS:
                found.append(Decisive(cell, span.worst, key[1:], span.ulps))
    return max(found, key=lambda decisive: decisive.rank)


def _case(row: Row, decisive: Decisive, copies: int = 1) -> Case:
    return _planned_case(row, alone(decisive.cell, [decisive.bits] * copies))


def _planned_case(row: Row, call: Call) -> Case:
    return Case(
        row.case_id,
        "sweep",
        call,
        Expectation(AgreesWithReference(call)),
        Source("the contract", "If a surface accepts a call, the value must be the formula's."),
    )


def _witnessed(
    row: Row,
    decisive: Decisive,
    session: Session,
    adapter: AdapterFile,
    grade: Grade,
    known: Mapping[str, Known],
) -> Check:
    """The check of the decisive logit alone; of copies of it where alone it does not show."""
    fails = decisive.mark in ("other_kind", "stable") or (
        decisive.mark == "strict" and grade == "strict"
    )
    for copies in (1, COPIES):
        (made,) = run_case(session, _case(row, decisive, copies), adapter, grade, known)
        if made.verdict == "known":
            return _all_known(row, decisive, made, session, adapter, grade, known)
        if not fails:
            return _fixed(made, known)
        if made.verdict != "conforms":
            return made
    text = f"{made.summary}, but wrong among other logits"
    return replace(made, verdict="deviates", summary=text)


def _all_known(
    row: Row,
    decisive: Decisive,
    made: Check,
    session: Session,
    adapter: AdapterFile,
    grade: Grade,
    known: Mapping[str, Known],
) -> Check:
    """A known deviation of the gravest logit excuses the row if it explains, of every run of
    logits that deviate, the ends and the worst as well."""
    for cell, found in row.cells.items():
        spans = [span for figures in found.values() for key, span in figures.marks.items()
                 if key[1:] == decisive.mark]  # fmt: skip
        bits = sorted({b for span in spans for b in (span.first, span.last, span.worst)})
        if not bits:
            continue
        case = _planned_case(row, alone(cell, bits))
        (again,) = run_case(session, case, adapter, grade, known)
        if again.verdict != "known":
            return replace(again, summary=f"not all as known: {again.summary}")
    return made


def _fixed(made: Check, known: Mapping[str, Known]) -> Check:
    """A row that conforms although it is known to deviate: the entry is stale."""
    if made.verdict != "conforms" or made.id not in known:
        return made
    summary = f"{known[made.id].summary}. It no longer is: remove the entry or close its range"
    return replace(made, verdict="fixed", summary=summary)


def _failed(row: Row, case: Case, backend: Backend, adapter: AdapterFile) -> Check:
    unit, done = row.failures[0]
    assert done.failure is not None
    kind, said = done.failure["kind"], done.failure["said"]
    many = len(row.failures)
    summary = f"{unit.cell.key}, block {unit.blocks[0]}: {said}" + (
        f" (and {many - 1} further units)" if many > 1 else ""
    )
    verdict: Any = {"Crashed": "crashed", "TimedOut": "timed-out", "Unsupported": "unsupported",
                    "Raised": "characterised"}.get(kind, "crashed")  # fmt: skip
    if verdict == "characterised" and len(row.failures) < len(row.done):
        verdict = "deviates"  # some logits are taken and others refused
    return check_of(case, row.quantity, Judgement(verdict, "semantics", summary),
                    Unsupported(said), backend, adapter)  # fmt: skip


def _counted(row: Row, plan: SweepPlan) -> str:
    figures = total(row.numbers.values())
    every = "every finite logit" if plan.exhaustive else f"{plan.samples} logits of each exponent"
    every += "" if plan.shard[1] == 1 else f" of shard {plan.shard[0]} of {plan.shard[1]}"
    exactly = 100 * figures.correctly_rounded / max(figures.elements, 1)
    return (
        f"{figures.elements:,} results ({every}, {len(row.cells)} target"
        f"{'s' if len(row.cells) > 1 else ''}): at most {figures.max_ulp:.4g} ulp, "
        f"{exactly:.2f} % correctly rounded"
    )
