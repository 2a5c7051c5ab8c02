"""The pytest plugin, as pytest loads it: options, hooks and fixtures, and nothing behind them yet.

Every pytest run in an environment that has this distribution imports this file, so it imports
pytest alone; the suite is imported by the first test, option or file that asks for it.

PYTEST_DONT_REWRITE (it has no assertions, and a second pytest in one process would warn).
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .fixture import Checker
    from .published import Tolerances

MARKER = "bce_conformance"
CASES = ".bce.yaml"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bce-conformance", "binary cross entropy with logits (bce-conformance)")
    group.addoption("--bce-backend", action="append", default=[], metavar="ADAPTER[=PYTHON]",
                    help="hold a framework to its documents and the formula, each question a test "
                    "item: numpy, torch, … of this interpreter, or of another one")  # fmt: skip
    group.addoption("--bce-profile", choices=("quick", "standard", "full"), default="quick",
                    help="how much is generated (default quick)")  # fmt: skip
    group.addoption("--bce-device", default="cpu", metavar="DEVICE",
                    help="of --bce-backend and of case files: cpu (default), cuda, …")  # fmt: skip
    group.addoption("--bce-known", type=Path, metavar="FILE",
                    help="known deviations in place of the shipped ones")  # fmt: skip
    group.addoption("--bce-report", type=Path, metavar="DIR",
                    help="write the reports (JSON, Markdown) of whatever was checked")  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    signature = 'framework, dtypes=None, device="cpu", …'
    config.addinivalue_line(
        "markers",
        f"{MARKER}({signature}): the test returns a loss, which is held to binary cross entropy "
        "with logits; arguments as of the fixture's check()",
    )
    if config.option.bce_backend or config.option.bce_known:
        from .backends import backends

        backends(config)  # what is wrong with the options is said now
    if config.option.bce_report is not None:
        from .report import register

        register(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if not (file_path.name.endswith(CASES) and file_path.name.startswith("test_")):
        return None
    from .items import CaseFileCollector

    collector: pytest.Collector = CaseFileCollector.from_parent(parent, path=file_path)
    return collector


@pytest.hookimpl(tryfirst=True)  # -k, -m and --deselect then apply to these items too
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    for item in items:
        if item.get_closest_marker(MARKER) is not None and _is_unittest(item):
            why = "a unittest.TestCase does not hand on what they return"
            raise pytest.UsageError(f"{item.nodeid}: {MARKER} is for test functions; {why}")
    if config.option.bce_backend:
        from .items import backend_items

        items += backend_items(session)


def _is_unittest(item: pytest.Item) -> bool:
    from unittest import TestCase

    return isinstance(item, pytest.Function) and issubclass(item.cls or object, TestCase)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    marker = pyfuncitem.get_closest_marker(MARKER)
    if marker is None:
        return (yield)
    from .fixture import marked

    return (yield from marked(pyfuncitem, marker))


@pytest.fixture
def bce_conformance(request: pytest.FixtureRequest) -> Checker:
    """`.check(loss, framework="torch", dtypes=["float32"], …)` holds a loss of yours to the formula
    of binary cross entropy with logits."""
    from .fixture import Checker

    return Checker(request.node)


@pytest.fixture(scope="session")
def bce_tolerance() -> Tolerances:
    """bce_tolerance("torch", "float32", "grad.logits"): the published rtol and atol of the release
    that is installed."""
    from .published import Tolerances

    return Tolerances()
