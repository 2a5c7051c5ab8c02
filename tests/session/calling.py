"""Calls of the faulty adapter, and what an undisturbed one must answer."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from bce_conformance.model.call import Array, Call, Outcome

FAULTY = (Path(__file__).parent / "faulty_adapter.py").read_text()
WANT = ("forward", "grad.logits")
_numbers = itertools.count(1)


def ask(where: str | None = None, how: str | None = None, **options: str) -> Call:
    """A call with values of its own; `where` and `how` say how it goes wrong, if at all."""
    logits = Array.rounded("float64", np.array([next(_numbers), 0.5]))
    if where is not None:
        options |= {"where": where, "how": str(how)}
    return Call("faulty.loss", logits, logits, options=options, want=WANT)


def assert_values(outcome: Outcome, call: Call, quantities: tuple[str, ...] = WANT) -> None:
    """Exactly these quantities came back, with this call's own values."""
    assert tuple(outcome.values) == quantities
    for quantity in quantities:
        factor = 2 if quantity == "forward" else 3
        expected = factor * call.logits.values
        assert outcome.values[quantity].values.tolist() == expected.tolist()


def assert_answered(outcome: Outcome, call: Call) -> None:
    assert outcome.failure is None
    assert_values(outcome, call)
