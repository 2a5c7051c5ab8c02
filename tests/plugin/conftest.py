"""Projects that use the plugin, run by pytest inside of pytest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

# pytester forgets what a run in this process has imported, and numpy is not imported twice.
import bce_conformance.plugin.fixture
import bce_conformance.plugin.items
import bce_conformance.plugin.published  # noqa: F401

LOSSES = '''
import numpy as np


def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def reduced(loss, reduction):
    return {"none": lambda v: v, "mean": np.mean, "sum": np.sum}[reduction](loss)


def good(input, target, *, weight=None, reduction="mean", pos_weight=None):
    one = input.dtype.type(1)
    w = one if weight is None else weight
    p = one if pos_weight is None else pos_weight
    if input.shape != target.shape or target.dtype != input.dtype:
        raise ValueError("target is not like input")
    if any(np.broadcast_shapes(input.shape, g.shape) != input.shape for g in (w, p)):
        raise ValueError("a weight does not broadcast")
    loss = w * (p * target * softplus(-input) + (1 - target) * softplus(input))
    return reduced(loss, reduction)


def bare(input, target):
    return good(input, target)


def naive(input, target):
    """Right on paper: exp overflows."""
    return np.mean(np.log(1 + np.exp(input)) - input * target)


def half_weighted(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The weight is applied twice where the reduction is the mean."""
    if reduction == "mean" and weight is not None:
        weight = weight * weight
    return good(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
'''

Run = Callable[..., pytest.RunResult]


LOADED = ("-p", "bce_conformance.plugin")
"""Loads the plugin where it is not installed; where it is, this is the entry point's name."""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(losses=LOSSES)
    pytester.syspathinsert()
    return pytester


@pytest.fixture
def run(project: pytest.Pytester) -> Run:
    """Runs pytest in this process."""

    def runs(*options: object) -> pytest.RunResult:
        return project.runpytest_inprocess(*LOADED, *map(str, options))

    return runs


@pytest.fixture
def run_apart(project: pytest.Pytester) -> Run:
    """Runs pytest in a process of its own."""

    def runs(*options: object) -> pytest.RunResult:
        return project.runpytest_subprocess(*LOADED, *map(str, options))

    return runs
