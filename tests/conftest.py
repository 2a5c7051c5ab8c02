"""Real frameworks for tests, and adapters with planted faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from real import interpreters

import bce_conformance.adapters

pytest_plugins = ["pytester"]

ADAPTERS = Path(bce_conformance.adapters.__file__).parent
FRAMEWORKS = ("torch", "paddle", "oneflow", "mindspore")


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Each framework and the interpreter that has it; skipped, and said so, where there is none."""
    python = interpreters().get(request.param)
    if python is None:
        pytest.skip(f"no interpreter with {request.param} was named in BCE_INTERPRETERS or exists")
    return request.param, python


@pytest.fixture
def planted(tmp_path: Path) -> Callable[..., Path]:
    """A copy of an adapter with a fault in it: planted("numpy", right="…", wrong="…")."""

    def plant(name: str, right: str, wrong: str) -> Path:
        source = (ADAPTERS / f"{name}.py").read_text(encoding="utf-8")
        assert source.count(right) == 1, f"{right!r} stands {source.count(right)} times in {name}"
        file = tmp_path / f"{name}_with_a_fault.py"
        file.write_text(source.replace(right, wrong), encoding="utf-8")
        return file

    return plant
