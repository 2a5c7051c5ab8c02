"""A run in another mode: each call is also put to a session in eager mode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bce_conformance.adapters import load, module_of
from bce_conformance.generate.plan import Plan
from bce_conformance.session import LocalSession
from bce_conformance.trial import Trial


def test_zeros_in_the_place_of_a_gradient_deviate_once(planted: Callable[..., Path]) -> None:
    """What the other session is compared with says nothing of whether there is a gradient."""
    file = planted(
        "numpy",
        right="            yield quantity, str(value.dtype), value",
        wrong="            value = value * 0 if quantity == 'grad.target' else value\n"
        "            yield quantity, str(value.dtype), value",
    )
    with LocalSession(module_of(file)) as session, LocalSession(module_of(file)) as other:
        trial = Trial(session, load(file), Plan(0, "quick", ("float32",), thrifty=True),
                      session.backend.surfaces, "stable", eager=other)  # fmt: skip
        checks = [check for _, checks in trial.checks() for check in checks]
    failing = [check.id.split("/", 1)[1] for check in checks if check.failing]
    assert failing == ["contract/accepts[float32,mean]:grad.target"]
    assert any("same-as-eager" in check.id for check in checks)
