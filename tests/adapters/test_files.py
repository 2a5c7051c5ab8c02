"""The adapter files without their frameworks: complete, readable anywhere, and reproducible."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import bce_conformance.adapters
from bce_conformance.model.call import QUANTITIES, Array, Call
from bce_conformance.model.literal import literal

FRAMEWORKS = ("torch", "paddle", "oneflow", "mindspore")
FOLDER = Path(bce_conformance.adapters.__file__).parent

ALLOWED_IMPORTS = {"functools", "inspect", "re", "io", "numpy", "os", "tempfile"}


@pytest.fixture(params=FRAMEWORKS)
def source(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param, (FOLDER / f"{request.param}.py").read_text(encoding="utf-8")


@pytest.fixture
def module(source: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """An adapter as a module in an interpreter where importing its framework fails."""
    name, _ = source
    monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location(f"adapter_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    yield loaded


def test_imports_without_its_framework_and_names_itself(module: ModuleType) -> None:
    assert module.__name__ == f"adapter_{module.NAME}"
    assert module.NEEDS.startswith("Python 3.")
    assert module.MODES == ("eager", "compiled")
    assert module.SURFACES and all(s.startswith(module.NAME + ".") for s in module.SURFACES)
    assert len(set(module.SURFACES)) == len(module.SURFACES)


def test_opening_without_the_framework_says_what_is_missing(module: ModuleType) -> None:
    with pytest.raises(ImportError, match=module.NAME):
        module.open("cpu", "eager")


@pytest.mark.parametrize(("device", "mode"), [("cpu", "tracing"), ("cpu", "")])
def test_an_unknown_mode_is_a_value_error(module: ModuleType, device: str, mode: str) -> None:
    with pytest.raises(ValueError, match="mode"):
        module.open(device, mode)


def test_is_python_3_8_and_stands_alone(source: tuple[str, str]) -> None:
    name, text = source
    tree = ast.parse(text, feature_version=(3, 8))
    for node in tree.body:
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= ALLOWED_IMPORTS
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert imported - ALLOWED_IMPORTS == {name}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))


def calls(surface: str) -> Iterator[dict[str, Any]]:
    """Every structure that a reproduction has to write down."""
    shapes: list[tuple[int, ...]] = [(), (0,), (0, 3), (2, 3), (2, 1, 2)]
    dtypes = ("float16", "bfloat16", "float32", "float64", "int64", "bool")
    for shape, dtype, mode in itertools.product(shapes, dtypes, ("eager", "compiled")):
        values = np.full(shape, 1.0 if dtype in ("int64", "bool") else -np.inf)
        logits, target = Array.rounded("float32", values), Array.rounded(dtype, values)
        for weights, options in itertools.product((False, True), ({}, {"reduction": "none"})):
            call = Call(
                surface=surface,
                logits=logits,
                target=target,
                weight=logits if weights else None,
                pos_weight=logits if weights else None,
                options=options,
                want=tuple(q for q in QUANTITIES if weights or not q.endswith("weight")),
                upstream=logits if weights and options else None,
            )
            yield dict(call.wire(), device="cpu", mode=mode)


def test_reproductions_compile_and_name_what_was_asked(module: ModuleType) -> None:
    for surface in module.SURFACES:
        for call in calls(surface):
            code = module.reproduction(call, literal)
            compile(code, "reproduction", "exec")
            assert surface in code
            assert ("reduction='none'" in code) == bool(call["options"])
            assert '"forward"' in code and '"grad.logits"' in code
            assert ("weight=weight" in code or "weight, pos_weight" in code) or not (
                call["arguments"]["weight"]
            )


def test_a_reproduction_names_the_device(module: ModuleType) -> None:
    call = next(calls(module.SURFACES[0]))
    on_gpu = module.reproduction(dict(call, device="cuda:1"), literal)
    compile(on_gpu, "reproduction", "exec")
    assert any(spelt in on_gpu for spelt in ("cuda:1", "gpu:1", '"GPU", 1'))
    assert not any(spelt in module.reproduction(call, literal) for spelt in ("cuda", "gpu", "GPU"))
