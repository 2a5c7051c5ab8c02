"""The published tolerances: those of the reports, of known releases, and usable in a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bce_conformance.plugin.published import FILE, Unpublished, published_by, tolerance
from bce_conformance.report.read import read, reports_in

REPORTS = Path(__file__).parents[2] / "reports"


def reported() -> list[dict]:
    return [read(file) for file in reports_in(REPORTS)]


def test_the_file_is_what_the_reports_say() -> None:
    # If not: `python -m bce_conformance.plugin.published reports` writes it.
    kept = json.loads(FILE.read_text(encoding="utf-8"))
    assert kept == published_by(reported())


def test_every_row_holds_the_worst_surface_of_its_release() -> None:
    for report in reported():
        backend = report["backend"]
        for row in report["accuracy"]:
            found = tolerance(
                backend["adapter"], backend["framework_version"], backend["device"], row["dtype"],
                row["quantity"], row["reduction"],
            )  # fmt: skip
            assert found.atol >= next(iter(row["smallest_atol"].values()))
            assert found.ulp >= row["max_ulp"]
            assert found.rtol == float(next(iter(row["smallest_atol"])))


def test_it_is_what_a_comparison_takes() -> None:
    found = tolerance("torch", "2.13.0+cu130", "cpu", "float32", "grad.logits", "none")
    assert dict(**found) == {"rtol": found.rtol, "atol": found.atol}
    assert 0 < found.atol < 1e-3
    assert found.release.startswith("torch 2.13.0")


@pytest.mark.parametrize(
    ("tested", "said"),
    [
        (("torch", "2.99", "cpu", "float32", "forward", "none"),
         r"torch 2.99 has no published report; known: 2.13.0\+cpu"),
        (("numpy", "2.4", "cpu", "float32", "forward", "none"),
         r"numpy 2.4: nothing is published of it; there is mindspore 2.10.0, oneflow .*"),
        (("torch", "2.13.0", "cpu", "float8", "forward", "none"), "no published dtype 'float8'"),
        (("torch", "2.13.0", "cpu", "float32", "gradient", "none"),
         "no published quantity 'gradient'; there is forward, grad.logits, .*"),
        (("torch", "2.13.0", "cuda:0", "float32", "forward", "none"),
         "no published device 'cuda'; there is cpu"),
        (("torch", "2.13.0", "cpu", "float32", "forward", "avg"), "no published reduction 'avg'"),
    ],
)  # fmt: skip
def test_what_is_not_published_is_said(tested: tuple[str, ...], said: str) -> None:
    with pytest.raises(Unpublished, match=said):
        tolerance(*tested)


def test_the_fixture(project, run) -> None:
    project.makepyfile("""
        import numpy, pytest

        def test_known(bce_tolerance):
            tolerance = bce_tolerance("torch", "float32", release="2.13.0")
            numpy.testing.assert_allclose(1.0, 1.0 + tolerance.rtol / 2, **tolerance)
            with pytest.raises(AssertionError):
                numpy.testing.assert_allclose(1.0, 1.001, **tolerance)

        def test_unknown(bce_tolerance):
            bce_tolerance("torch", "float32", release="1.0")

        def test_installed(bce_tolerance):
            bce_tolerance("numpy", "float32")

        def test_misspelt(bce_tolerance):
            bce_tolerance("tourch", "float32")
    """)
    result = run()
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines([
        "bce_tolerance: torch 1.0 has no published report; known: 2.13.0+cpu",
        "bce_tolerance: numpy * nothing is published of it; there is *",
        "bce_tolerance: expected a framework, mindspore, oneflow, paddle, torch, not 'tourch'",
    ])  # fmt: skip
    result.stdout.no_fnmatch_line("*published.py*")
