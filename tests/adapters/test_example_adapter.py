"""The adapter of examples/, which docs/add-a-framework.md explains: by the rules, and it works."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from real import interpreters

from bce_conformance import adapters
from bce_conformance.model.call import Array, Call
from bce_conformance.model.literal import literal

FOLDER = Path(__file__).parent.parent.parent / "examples" / "adapters"
FILE = FOLDER / "optax.py"
DIFFERENTIABLE = ("forward", "grad.logits", "grad.target", "hessian.logits")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The adapter, where importing what it needs fails."""
    for name in ("optax", "jax"):
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location("example_adapter", FILE)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_is_an_adapter_that_python_3_8_can_read() -> None:
    adapter = adapters.load(FILE)
    assert (adapter.name, adapter.modes) == ("optax", ("eager", "compiled"))
    tree = ast.parse(adapter.source, feature_version=(3, 8))
    imported = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {alias.name for n in imported if isinstance(n, ast.Import) for alias in n.names}
    assert names == {"numpy", "jax", "optax"}
    assert not any(isinstance(n, ast.ImportFrom) for n in imported)
    at_the_top = [n for n in tree.body if isinstance(n, ast.Import)]
    assert [alias.name for n in at_the_top for alias in n.names] == ["numpy"]


def test_the_page_does_not_promise_too_few_lines() -> None:
    lines = sum(len(file.read_text().splitlines()) for file in FOLDER.glob("optax.*"))
    assert lines < 155
    assert "150 lines in all" in (FOLDER.parent.parent / "docs/add-a-framework.md").read_text()


def test_without_the_framework_it_says_what_is_missing(module: ModuleType) -> None:
    with pytest.raises(ImportError, match="jax"):
        module.open("cpu", "eager")
    with pytest.raises(ValueError, match="mode"):
        module.open("cpu", "tracing")
    with pytest.raises(ValueError, match="cpu"):
        module.open("cuda:0", "eager")


def wire(shape: tuple[int, ...], dtype: str, reduction: str, upstream: bool) -> dict[str, Any]:
    import numpy as np

    logits = Array.rounded(dtype, np.full(shape, -1.5))
    return Call(
        surface="optax.sigmoid_binary_cross_entropy",
        logits=logits,
        target=logits,
        options={"reduction": reduction},
        want=DIFFERENTIABLE,
        upstream=logits if upstream else None,
    ).wire()


def test_reproductions_compile(module: ModuleType) -> None:
    for shape, dtype, mode in itertools.product(
        [(), (0, 3), (2, 3)], ["float16", "bfloat16", "float64"], ["eager", "compiled"]
    ):
        for reduction, upstream in (("none", True), ("mean", False), ("sum", False)):
            call = {**wire(shape, dtype, reduction, upstream), "device": "cpu", "mode": mode}
            code = module.reproduction(call, literal)
            compile(code, "reproduction", "exec")
            assert code.count("print(") == len(DIFFERENTIABLE)
            assert ("upstream" in code) is upstream
            assert ("jax.jit" in code) is (mode == "compiled")
            assert (f").{reduction}()" in code) is (reduction != "none")


def test_its_case_file_is_valid() -> None:
    command = [sys.executable, "-m", "bce_conformance", "cases", str(FOLDER),
               "--adapter", str(FILE)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 files, 9 cases, all valid" in done.stdout


@pytest.mark.framework
@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_optax_keeps_what_its_docstring_promises(mode: str, tmp_path: Path) -> None:
    python = interpreters().get("optax")
    if python is None:
        pytest.skip("no interpreter with optax was named in BCE_INTERPRETERS or exists")
    command = [sys.executable, "-m", "bce_conformance", "run", "--adapter", str(FILE),
               "--cases", str(FOLDER), "--backend", f"optax={python}", "--mode", mode,
               "--only", "cases", "--report-dir", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.glob("optax-*.json")
    report = json.loads(file.read_text())
    assert set(report["summary"]) == {"conforms", "characterised"}
    check = next(c for c in report["checks"] if c["quantity"] == "grad.logits")
    pasted = subprocess.run(
        [python, "-c", check["witness"]["reproduce"]], capture_output=True, text=True
    )
    assert pasted.returncode == 0, pasted.stderr
    assert [line.split()[0] for line in pasted.stdout.splitlines()] == ["forward", "grad.logits"]
