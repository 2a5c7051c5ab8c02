"""The fixture and the marker: a loss of a test's own, on numpy arrays."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

OURS = ("conformance/plugin", "plugin/fixture.py", "engine.py", "During handling")


def test_a_right_loss_passes(project, run) -> None:
    project.makepyfile("""
        import losses

        def test_mine(bce_conformance):
            bce_conformance.check(losses.good, framework="numpy", dtypes=["float32"])
    """)
    run().assert_outcomes(passed=1)


def test_a_wrong_loss_fails_with_its_witness_and_no_code_of_ours(project, run) -> None:
    project.makepyfile("""
        import losses

        def test_mine(bce_conformance):
            bce_conformance.check(losses.half_weighted, framework="numpy", dtypes=["float32"])
    """)
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        ">       bce_conformance.check(losses.half_weighted, *",
        "E       AssertionError: half_weighted on numpy * (cpu, eager): * of * checks fail",
        "E       deviates: property/mean-with-weight[[]float32,mean[]]: expected *, got *",
        "E         the formula: “L = w·*the mean divides by the number of elements.*”",
        "E         logits * = 0x* (float32)",
        "E         got * = 0x* (float32)",
        "E         expected  *.*",
        "E         tolerance *",
        "E           from losses import half_weighted as own_loss  # *losses.py:*",
        "E           print(own_loss(logits, target, weight=weight, reduction='mean'))",
    ])  # fmt: skip
    for name in OURS:
        result.stdout.no_fnmatch_line(f"*{name}*")


def test_the_reproduction_shows_what_came(project, run) -> None:
    project.makepyfile("""
        import losses

        def test_mine(bce_conformance):
            bce_conformance.check(losses.half_weighted, framework="numpy", dtypes=["float32"])
    """)
    lines = [line.removeprefix("E").strip() for line in run().outlines]
    start = lines.index("import numpy as np")
    paste = lines[start : 1 + next(i for i in range(start, 99) if "print(" in lines[i])]
    got = next(line for line in lines if line.startswith("got ")).split()[1]
    printed = subprocess.run(
        [sys.executable, "-c", "\n".join(paste)], capture_output=True, text=True, check=True
    )
    assert float(printed.stdout) == pytest.approx(float(got), rel=1e-6)


def test_a_loss_of_input_and_target_alone(project, run) -> None:
    project.makepyfile("""
        import losses

        def test_right(bce_conformance):
            bce_conformance.check(losses.bare, framework="numpy", arguments=())

        def test_wrong(bce_conformance):
            bce_conformance.check(losses.naive, framework="numpy", arguments=())
    """)
    result = run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([
        "E       deviates: property/hard-targets[[]float16,mean[]]: expected *, got inf*",
        "E           print(own_loss(logits, target))",
    ])  # fmt: skip


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("taken", ["", "weight", "pos_weight"])
def test_a_loss_that_takes_no_reduction(project, run, taken: str, reduction: str) -> None:
    project.makepyfile(f"""
        import losses

        def mine(input, target, **weights):
            assert set(weights) <= set({taken.split()!r})
            return losses.good(input, target, reduction={reduction!r}, **weights)

        def test_mine(bce_conformance):
            bce_conformance.check(mine, framework="numpy", dtypes=["float32"],
                                  arguments={taken.split()!r}, reduction={reduction!r})
    """)
    run().assert_outcomes(passed=1)


def test_the_reduction_said_is_the_one_that_is_due(project, run) -> None:
    project.makepyfile("""
        import losses

        def test_mine(bce_conformance):
            bce_conformance.check(losses.bare, framework="numpy", arguments=(), reduction="sum")
    """)
    run().assert_outcomes(failed=1)


def test_what_is_asked_for_by_name_is_due_to_be_accepted(project, run) -> None:
    project.makepyfile("""
        import losses, numpy

        def narrow(input, target, **given):
            if input.dtype != numpy.float32:
                raise TypeError("float32 only")
            return losses.good(input, target, **given)

        def test_some_dtype(bce_conformance):
            bce_conformance.check(narrow, framework="numpy")

        def test_this_dtype(bce_conformance):
            bce_conformance.check(narrow, framework="numpy", dtypes=["float64"])
    """)
    result = run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *: expected a result; got TypeError: float32 only*"])


def test_a_loss_of_which_nothing_could_be_judged_has_not_passed(project, run) -> None:
    project.makepyfile("""
        def test_mine(bce_conformance):
            bce_conformance.check(lambda input, target: input, framework="numpy",
                                  dtypes=["bfloat16"], arguments=())
    """)
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *nothing was computed that could be judged*bfloat16*"])


def test_a_warning_is_no_refusal(project, run_apart) -> None:
    project.makepyfile("""
        import losses, warnings

        def noisy(input, target, **given):
            warnings.warn("odd numbers", RuntimeWarning)
            return losses.good(input, target, **given)

        def test_mine(bce_conformance):
            bce_conformance.check(noisy, framework="numpy", dtypes=["float32"])
    """)
    run_apart("-W", "error").assert_outcomes(passed=1)


def test_the_marker_checks_what_the_test_returns(project, run_apart) -> None:
    project.makepyfile("""
        import losses, pytest

        pytestmark = pytest.mark.bce_conformance(framework="numpy", arguments=())

        def test_right():
            return losses.bare

        @pytest.mark.parametrize("loss", [losses.bare, losses.naive])
        def test_each(loss):
            return loss

        class TestOnes:
            def test_method(self, tmp_path):
                return lambda input, target: losses.bare(input, target)

        def test_nothing():
            losses.bare
    """)
    result = run_apart("--strict-markers", "-W", "error")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines([
        "naive on numpy * (cpu, eager): * of * checks fail",
        "bce_conformance: test_nothing is marked, so it must return a loss, and returned None",
    ])  # fmt: skip
    for name in OURS:
        result.stdout.no_fnmatch_line(f"*{name}*")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('1, framework="numpy"', "expected a callable loss(input, target, …), not int"),
        ('losses.good, framework="jax"', "framework: expected one of *numpy*, not 'jax'"),
        ('losses.good, framework="numpy", dtypes="float32"', "*expected lists of words"),
        ('losses.good, framework="numpy", dtypes=["f4"]', "dtypes: expected *, not 'f4'"),
        ('losses.good, framework="numpy", dtypes=[]', "dtypes: expected at least one"),
        ('losses.good, framework="numpy", profile="slow"', "profile: expected *, not 'slow'"),
        ('losses.good, framework="numpy", arguments=["weights"]', "arguments: *, not 'weights'"),
        ('losses.good, framework="numpy", reduction="sum"',
         "reduction: *takes no reduction; *arguments=('weight', 'pos_weight')"),
        ('losses.bare, framework="numpy"',
         "bare takes no weight, pos_weight, reduction; if that is meant, say arguments=()"),
        ('losses.softplus, framework="numpy"', "expected a loss(input, target, …), not softplus*"),
        ('losses.good, framework="numpy", device="cuda"', "*numpy has no device 'cuda', only cpu*"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_call_is_said_in_a_line(project, run, call: str, said: str) -> None:
    project.makepyfile(
        dedent(f"""
        import losses

        def test_mine(bce_conformance):
            bce_conformance.check({call})
    """)
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{said}"])
    for name in OURS:
        result.stdout.no_fnmatch_line(f"*{name}*")


def test_what_is_wrong_with_a_marker_is_said_in_a_line(project, run) -> None:
    project.makepyfile("""
        import losses, pytest

        @pytest.mark.bce_conformance(framwork="numpy")
        def test_mine():
            return losses.good
    """)
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["bce_conformance: the marker: *argument*"])


def test_outcomes_of_pytest_within_a_loss_pass_through(project, run) -> None:
    project.makepyfile("""
        import pytest

        def test_mine(bce_conformance):
            bce_conformance.check(lambda input, target: pytest.skip("not here"),
                                  framework="numpy", arguments=())
    """)
    run().assert_outcomes(skipped=1)


def test_the_marker_is_not_overlooked_in_a_test_case(project, run) -> None:
    project.makepyfile("""
        import losses, pytest, unittest

        class TestMine(unittest.TestCase):
            @pytest.mark.bce_conformance(framework="numpy", arguments=())
            def test_mine(self):
                return losses.naive
    """)
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: *::TestMine::test_mine: bce_conformance is for test functions; *"]
    )
