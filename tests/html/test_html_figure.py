"""The drawing: the line of numbers in order, errors and tolerances where the sweep has them."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bce_conformance.judging.tolerance import GRADES
from bce_conformance.model.dtypes import FLOATS
from bce_conformance.report.html.axis import LEFT, RIGHT, WIDTH, Axis, bins_of
from bce_conformance.report.html.figure import (
    LANES,
    PLOT,
    TOP,
    Figure,
    _Scale,
    _tolerances,
    figure,
)
from bce_conformance.report.read import read, reports_in
from bce_conformance.sweep.line import blocks, number

Json = dict[str, Any]
SWEEPS = Path(__file__).parent.parent.parent / "reports" / "sweeps"
FILES = reports_in(SWEEPS)


def rows(file: Path) -> list[Json]:
    """Those of the first surface; the others' are mostly the same."""
    accuracy = read(file)["accuracy"]
    first = accuracy[0]["surface"]
    return [row for row in accuracy if row["sweep"]["blocks"] and row["surface"] == first]


@pytest.mark.parametrize("dtype", FLOATS)
def test_numbers_lie_in_their_order(dtype: str) -> None:
    axis = Axis.of(dtype)
    largest = FLOATS[dtype].largest
    values = [largest, 1000.0, 100.0, 99.0, 1.5, 1.0, 0.75, 1e-3, 1e-4,
              FLOATS[dtype].smallest_normal / 2, 0.0]  # fmt: skip
    line = [-value for value in values[:-1]] + values[::-1]
    places = [axis.of_value(value) for value in line]
    assert all(before < after for before, after in pairwise(places))
    assert places[0] == pytest.approx(LEFT, abs=0.5)
    assert places[-1] == pytest.approx(WIDTH - RIGHT, abs=0.5)
    assert places[len(places) // 2] == pytest.approx(axis.centre)


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_exponent_is_in_one_bin(dtype: str) -> None:
    axis = Axis.of(dtype)
    found = [
        {"block": str(block), "max_ulp": 1.0, "at": None}
        for block in blocks(dtype) if block.kind == "numbers"
    ]  # fmt: skip
    bins = bins_of(axis, found)
    assert bins[0].start == pytest.approx(LEFT) and bins[-1].stop == pytest.approx(WIDTH - RIGHT)
    assert all(one.stop == pytest.approx(other.start) for one, other in pairwise(bins))
    for block in blocks(dtype):
        if block.kind == "numbers":
            at = axis.of_bits(block.first)
            assert sum(b.start - 1e-6 <= at <= b.stop + 1e-6 for b in bins) in (1, 2)


def test_the_worst_of_neighbours_is_drawn_where_it_is() -> None:
    axis = Axis.of("float32")
    found = [{"block": str(b), "max_ulp": 0.0, "at": None} for b in blocks("float32")
             if b.kind == "numbers"]  # fmt: skip
    for value in (-3e-20, -12.0, 5e-30, 0.3, 7.0, 4e33):
        bits = int(np.float32(value).view(np.uint32))
        place = axis.of_bits(bits)
        block = next(b for b in blocks("float32")
                     if b.kind == "numbers" and b.first <= bits < b.first + b.count)  # fmt: skip
        peak = [{**f, "max_ulp": 9.0, "at": f"{bits:08x}"} if f["block"] == str(block) else f
                for f in found]  # fmt: skip
        (top,) = [b for b in bins_of(axis, peak) if b.error == 9.0]
        assert top.start <= place <= top.stop and top.bits == bits


def test_blocks_that_were_not_swept_leave_a_gap() -> None:
    row = rows(SWEEPS / "torch-2.13.0+cpu-cpu-eager-sweep-float16.json.gz")[0]
    row["sweep"]["blocks"] = [b for b in row["sweep"]["blocks"] if b["block"] != "+2^3"]
    assert figure(row, "", "").outline.count("M") == 2


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_grades_are_those_that_counted(file: Path) -> None:
    """A worst error above the line of a grade was counted as beyond it, and the other way round.

    Only of bins of one exponent: there the counts are of the same logits. A logit that is beyond a
    grade need not be the one with the largest error, so a block may be counted and lie below.
    """
    above = 0
    for row in rows(file):
        axis = Axis.of(row["dtype"])
        bins = bins_of(axis, row["sweep"]["blocks"])
        drawn = _tolerances(row, axis, bins)
        if len(row["sweep"]["cells"]) > 1:
            assert drawn == {}
            continue
        counted = {b["at"]: b["beyond"] for b in row["sweep"]["blocks"] if b["at"] is not None}
        for index, grade in enumerate(GRADES):
            for bin_, (_, _, allowed) in zip(bins, drawn[grade], strict=True):
                width = 2 * np.dtype("u8" if row["dtype"] == "float64" else "u4").itemsize
                width = {"float16": 4, "bfloat16": 4}.get(row["dtype"], width)
                beyond = counted.get(f"{bin_.bits:0{width}x}", [0, 0])[index]
                if bin_.error > allowed * 1.001:
                    assert beyond > 0, (row["surface"], row["quantity"], grade, bin_)
                    above += 1
                if not beyond:
                    assert bin_.error <= allowed * 1.001
    assert above > 0 or not any(row["beyond"]["strict"] for row in rows(file)
                                if len(row["sweep"]["cells"]) == 1)  # fmt: skip


def test_a_tolerance_by_hand() -> None:
    """The loss at target 0 near logit 0: k = 8, S = 1 + |x| = 1, loss ln 2 of ulp 2^-24."""
    row = rows(SWEEPS / "torch-2.13.0+cpu-cpu-eager-sweep-float32.json.gz")[0]
    assert (row["quantity"], row["sweep"]["name"]) == ("forward", "target-0")
    axis = Axis.of("float32")
    bins = bins_of(axis, row["sweep"]["blocks"])
    drawn = _tolerances(row, axis, bins)
    middle = next(i for i, b in enumerate(bins) if b.start <= axis.centre < b.stop)
    u, ulp = 2.0**-24, 2.0**-24
    assert drawn["stable"][middle][2] == pytest.approx(8 * u * 1 / ulp)
    assert drawn["strict"][middle][2] == pytest.approx(8 * u * math.log(2) / ulp)


def test_larger_errors_lie_higher() -> None:
    scale = _Scale(1e6)
    places = [scale.of(u) for u in (0.0, 0.125, 0.25, 1.0, 2.0, 1e3, 1e6)]
    assert places[0] == places[1] == scale.bottom
    assert all(before > after for before, after in pairwise(places[1:]))
    assert places[-1] > TOP
    assert scale.of(1e30) == TOP


def points(path: str) -> list[tuple[float, float]]:
    """The corners of a path of M, H, V, Z."""
    x, y, made = 0.0, 0.0, []
    for letter, numbers in re.findall(r"([MHVZ])([^MHVZ]*)", path):
        given = [float(n) for n in numbers.split()]
        if letter in "MH":
            x = given[0]
        if letter in "MV":
            y = given[-1]
        made.append((x, y))
    return made


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_all_is_inside_the_drawing(file: Path) -> None:
    for row in rows(file):
        made: Figure = figure(row, "a", "b")
        for path in (made.area, made.outline, *made.grades.values()):
            for x, y in points(path):
                assert LEFT - 0.1 <= x <= WIDTH - RIGHT + 0.1 and TOP <= y <= TOP + PLOT
        for lane in made.lanes:
            assert made.bottom < lane.top < made.height
            for span in lane.spans:
                assert span.at >= LEFT - 0.1 and span.at + span.width <= WIDTH - RIGHT + 2


def test_cliffs_stand_at_their_logits_and_are_told() -> None:
    row = rows(SWEEPS / "mindspore-2.10.0-cpu-eager-sweep-float32.json.gz")[1]
    made, axis = figure(row, "", ""), Axis.of("float32")
    assert [lane.name for lane in made.lanes] == [
        LANES[mark] for mark in LANES if any(c["name"] == mark for c in row["sweep"]["cliffs"])
    ]
    said = {cliff.sentence for cliff in made.cliffs}
    assert said == {cliff["sentence"] for cliff in row["sweep"]["cliffs"]} and not made.untold
    for lane in made.lanes:
        for span in lane.spans:
            (cliff,) = (c for c in made.cliffs if c.number == span.number)
            source = next(c for c in row["sweep"]["cliffs"] if c["sentence"] == cliff.sentence)
            ends = sorted(number("float32", int(source[e]["bits"], 16)) for e in ("from", "to"))
            assert span.at == pytest.approx(axis.of_value(ends[0]), abs=0.1)
            assert span.at + span.width >= axis.of_value(ends[1]) - 0.1
            assert source["name"] == lane.mark


def test_ticks_do_not_touch() -> None:
    for dtype in FLOATS:
        row: Json = {
            "dtype": dtype, "quantity": "forward", "surface": "s",
            "sweep": {"blocks": [], "cliffs": [], "cells": []},
        }  # fmt: skip
        places = [tick.at for tick in figure(row, "", "").columns]
        assert len(places) >= 9
        assert all(after - before >= 38 for before, after in pairwise(places))
