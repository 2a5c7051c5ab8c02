"""A run in another mode: each call is also put to a session in eager mode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bce_conformance.adapters import available, load, module_of
from bce_conformance.adapters import numpy as adapter
from bce_conformance.generate.plan import Plan
from bce_conformance.known import load_known
from bce_conformance.running.generated import GeneratedRun
from bce_conformance.session import LocalSession


def test_zeros_in_the_place_of_a_gradient_deviate_once(planted: Callable[..., Path]) -> None:
    """What the other session is compared with says nothing of whether there is a gradient."""
    file = planted(
        "numpy",
        right="            yield quantity, str(value.dtype), value",
        wrong="            value = value * 0 if quantity == 'grad.target' else value\n"
        "            yield quantity, str(value.dtype), value",
    )
    with LocalSession(module_of(file)) as session, LocalSession(module_of(file)) as other:
        run = GeneratedRun(
            session,
            load(file),
            Plan(0, "quick", ("float32",), few_shapes=True),
            session.backend.surfaces,
            "stable",
            eager=other,
        )
        checks = [check for _, checks in run.checks() for check in checks]
    failing = [check.id.split("/", 1)[1] for check in checks if check.failing]
    assert failing == ["contract/accepts[float32,mean]:grad.target"]
    assert any("same-as-eager" in check.id for check in checks)


EAGER = """\
backend: numpy
known:
  - checks: "numpy.bce_with_logits/property/hard-targets[float32,none]"
    versions: ">=1"
    axis: semantics
    id: some-cause
    title: everything comes out {times} times too large
    instead: {{reference: {{weight: {times}}}}}
    witness:
      call: {{logits: [0.5], target: [1], dtype: float32, reduction: none}}
"""


@pytest.mark.parametrize(("times", "verdict"), [(2, "known"), (3, "deviates")])
def test_what_is_known_of_eager_mode_explains_a_difference(
    planted: Callable[..., Path], tmp_path: Path, times: int, verdict: str
) -> None:
    file = planted(
        "numpy",
        right="            yield quantity, str(value.dtype), value",
        wrong="            value = value * value.dtype.type(2)\n"
        "            yield quantity, str(value.dtype), value",
    )
    (tmp_path / "known.yaml").write_text(EAGER.format(times=times))
    known = {k.check: k for k in load_known([tmp_path / "known.yaml"], available())}
    plan = Plan(0, "quick", ("float32",), few_shapes=True)
    with LocalSession(adapter) as session, LocalSession(module_of(file)) as other:
        run = GeneratedRun(
            session,
            available()["numpy"],
            plan,
            session.backend.surfaces,
            "stable",
            eager=other,
            eager_known=known,
        )
        checks = {check.id: check for _, checks in run.checks() for check in checks}
    same = checks["numpy.bce_with_logits/relation/same-as-eager-hard-targets[float32,none]"]
    assert same.verdict == verdict
    assert (same.reason == "everything comes out 2 times too large") is (verdict == "known")
