"""Real frameworks behind a session: layouts, inputs that change, large arrays, one's own loss.

BCE_INTERPRETERS names the interpreters, as for test_in_frameworks.py. numpy is always there.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bce_conformance.adapters
from bce_conformance.model.call import Array, Call, Faulty, Unsupported
from bce_conformance.model.literal import literal
from bce_conformance.session import BackendUnavailable, IsolatedSession, OwnLoss

pytestmark = pytest.mark.framework

FOLDER = Path(bce_conformance.adapters.__file__).parent
BACKENDS = [("numpy", "eager")] + [
    (framework, mode)
    for framework in ("torch", "paddle", "oneflow", "mindspore")
    for mode in ("eager", "compiled")
]
DTYPES = {
    "numpy": ("float16", "float32", "float64"),
    "torch": ("float16", "bfloat16", "float32", "float64"),
    "paddle": ("float32", "float64"),
    "oneflow": ("float32", "float64"),
    "mindspore": ("float16", "float32"),
}
LAYOUTS = ("strided", "transposed", "expanded")
SHAPES = [(), (4,), (1,), (3, 4), (4, 1), (2, 3, 2), (0, 3), (3, 0)]


def interpreter(framework: str) -> str:
    named = os.environ.get("BCE_INTERPRETERS", "")
    pairs = dict(entry.strip().split("=", 1) for entry in named.split(",") if entry.strip())
    python = sys.executable if framework == "numpy" else pairs.get(framework, "")
    if not Path(python).is_file():
        pytest.skip(f"BCE_INTERPRETERS names no interpreter with {framework}, or one that is not")
    return python


def opened(
    framework: str, mode: str, loss: OwnLoss | None = None, fault: tuple[str, str] | None = None
) -> IsolatedSession:
    source = (FOLDER / f"{framework}.py").read_text(encoding="utf-8")
    if fault is not None:
        assert fault[0] in source, "the fault finds nowhere to be planted"
        source = source.replace(*fault)
    python = interpreter(framework)
    losses = () if loss is None else (loss,)
    return IsolatedSession(source, framework, python=python, mode=mode, losses=losses)


@pytest.fixture(scope="module", params=BACKENDS, ids="-".join)
def backend(request: pytest.FixtureRequest) -> Iterator[IsolatedSession]:
    with opened(*request.param) as session:
        yield session


def drawn(dtype: str, shape: tuple[int, ...], layout: str, seed: int) -> Array:
    """Values that differ from place to place, but along the first axis of an expanded array."""
    values = np.random.default_rng(seed).uniform(0.1, 0.9, shape)
    if layout == "expanded" and shape:
        values = np.broadcast_to(values[:1], shape)
    return replace(Array.rounded(dtype, values), layout=layout)


def laid_out(surface: str, dtype: str, shape: tuple[int, ...], layout: str, want: str) -> Call:
    """A call whose arguments all have a layout; pos_weight has one element per class."""
    logits, target, weight, upstream = (drawn(dtype, shape, layout, seed) for seed in range(4))
    pos_weight = drawn(dtype, shape[-1:], layout, 4) if shape else None
    arriving = upstream if want != "forward" else None
    options = {"reduction": "none"}
    return Call(surface, logits, target, weight, pos_weight, options, (want,), arriving)


def contiguous(call: Call) -> Call:
    plain = {
        name: array and replace(array, layout="contiguous")
        for name in ("logits", "target", "weight", "pos_weight", "upstream")
        if (array := getattr(call, name)) is not None
    }
    return replace(call, **plain)


def test_a_layout_changes_no_answer(backend: IsolatedSession) -> None:
    framework, mode = backend.backend.adapter, backend.backend.mode
    shapes = SHAPES if mode == "eager" else [(3, 4)]
    dtypes = DTYPES[framework] if mode == "eager" else ("float32",)
    calls = [
        laid_out(backend.backend.surfaces[0], dtype, shape, layout, want)
        for dtype in dtypes
        for shape in shapes
        for layout in LAYOUTS
        for want in ("forward", "grad.logits")
    ]
    plain = [contiguous(call) for call in calls]
    answers, plain_answers = backend.stream([calls, plain])
    answered = 0
    for call, got, expected in zip(calls, answers, plain_answers, strict=True):
        where = f"{call.logits.layout} {call.logits.dtype}{call.logits.shape} {call.want}"
        assert got.changed == expected.changed == (), where
        assert type(got.failure) is type(expected.failure), (where, got.failure, expected.failure)
        assert not isinstance(got.failure, Faulty | Unsupported), (where, got.failure)
        for quantity, value in expected.values.items():
            answered += 1
            assert got.values[quantity].shape == value.shape
            np.testing.assert_allclose(
                got.values[quantity].values, value.values, rtol=4e-3, err_msg=where
            )
    assert answered >= len(calls) / 2
    assert backend.lost == ()


@pytest.mark.parametrize("framework", ["torch", "paddle", "oneflow", "mindspore"])
def test_a_tensor_without_its_layout_is_noticed(framework: str) -> None:
    """A fault of the adapter; in mindspore, whose views now and then are contiguous by themselves,
    a call that cannot be made."""
    expected = Unsupported if framework == "mindspore" else Faulty
    fault = ("tensor = self.laid_out(tensor, layout)", "tensor = tensor.contiguous()")
    with opened(framework, "eager", fault=fault) as session:
        for layout in LAYOUTS:
            call = laid_out(session.backend.surfaces[0], "float32", (3, 4), layout, "forward")
            failure = session.run(call).failure
            assert isinstance(failure, expected)
            assert f"a {layout} tensor with strides (4, 1)" in failure.reason


def test_each_argument_can_be_laid_out_alone_whatever_its_dtype(backend: IsolatedSession) -> None:
    """Targets of integers and of every float: what cannot be asked must not be the layout."""
    dtypes = ["bool", "int32", "int64", "bfloat16", "float16"]
    shape = (3, 4)
    logits = drawn("float32", shape, "contiguous", 1)
    calls = []
    for dtype in dtypes:
        for layout in ("contiguous", *LAYOUTS):
            target = replace(Array.rounded(dtype, np.ones(shape)), layout=layout)
            calls.append(Call(backend.backend.surfaces[0], logits, target))
    if backend.backend.mode == "compiled":
        calls = calls[:8]
    (outcomes,) = backend.stream([calls])
    for index, (call, outcome) in enumerate(zip(calls, outcomes, strict=True)):
        plain = outcomes[index // 4 * 4]
        assert not isinstance(outcome.failure, Faulty), (call.target, outcome.failure)
        assert type(outcome.failure) is type(plain.failure), (call.target, outcome.failure)


IN_PLACE = {
    "numpy": ("def evaluate(quantity, arguments, upstream, reduction=\"mean\"):\n",
              "def evaluate(quantity, arguments, upstream, reduction=\"mean\"):\n"
              "    arguments['logits'] *= 2\n"),
    "torch": ('        logits, target = arguments["logits"], arguments["target"]\n',
              '        logits, target = arguments["logits"].mul_(2), arguments["target"]\n'),
    "paddle": ('        logits, target = arguments["logits"], arguments["target"]\n',
               '        logits, target = arguments["logits"].scale_(2.0), arguments["target"]\n'),
    "oneflow": ('        logits, target = arguments["logits"], arguments["target"]\n',
                '        logits, target = arguments["logits"].mul_(2), arguments["target"]\n'),
    "mindspore": ("        return surface(logits, target, weight=weight, pos_weight=pos_weight, "
                  "**options)\n\n    def cell",
                  "        logits[0] = 9.0  # its mul_ changes nothing\n"
                  "        return surface(logits, target, weight=weight, pos_weight=pos_weight, "
                  "**options)\n\n    def cell"),
}  # fmt: skip


@pytest.mark.parametrize("framework", IN_PLACE)
@pytest.mark.parametrize("layout", ["contiguous", "strided"])
def test_logits_that_a_call_changes_are_named(framework: str, layout: str) -> None:
    with opened(framework, "eager", fault=IN_PLACE[framework]) as session:
        surface = session.backend.surfaces[1 if framework == "mindspore" else 0]
        calls = [laid_out(surface, "float32", (3, 4), layout, "forward") for _ in range(2)]
        (outcomes,) = session.stream([calls])
        assert [outcome.failure for outcome in outcomes] == [None, None]
        assert [outcome.changed for outcome in outcomes] == [("logits",), ("logits",)]


def test_a_hundred_megabytes_made_of_one_period(backend: IsolatedSession) -> None:
    size = 1 << 25
    logits = Array.rounded("float32", np.linspace(-3, 3, 1 << 10))
    target = Array.rounded("float32", np.linspace(0, 1, 1 << 10))
    surface = backend.backend.surfaces[0]
    one = backend.run(Call(surface, logits, target, options={"reduction": "mean"}))
    large = [Array("float32", (size,), array.data, "cycled") for array in (logits, target)]
    whole = backend.run(Call(surface, *large, options={"reduction": "sum"}))
    assert whole.failure is None and whole.changed == ()
    np.testing.assert_allclose(
        whole.values["forward"].values, size * one.values["forward"].values, rtol=1e-3
    )
    assert backend.lost == ()


LOSSES = {
    "numpy": ("import numpy as N", "N.log1p(N.exp(logits)) - logits * target"),
    "torch": ("import torch as N", "N.log1p(N.exp(logits)) - logits * target"),
    "paddle": ("import paddle as N", "N.log1p(N.exp(logits)) - logits * target"),
    "oneflow": ("import oneflow as N", "N.log1p(N.exp(logits)) - logits * target"),
    "mindspore": (
        "from mindspore import mint as N",
        "N.log(1 + N.exp(logits)) - logits * target",
    ),
}
OWN = """{imported}
from beside import FACTOR

def loss(logits, target, *, weight=None, reduction="mean", pos_weight=None):
    value = FACTOR * ({formula})
    if weight is not None:
        value = value * weight
    if reduction == "none":
        return value
    return value.sum() if reduction == "sum" else value.mean()

nothing = 17
"""


def own_loss(framework: str, folder: Path, name: str = "loss") -> OwnLoss:
    """Three times the loss: no framework returns that."""
    file = folder / f"my_{framework}_loss.py"
    imported, formula = LOSSES[framework]
    file.write_text(OWN.format(imported=imported, formula=formula))
    (folder / "beside.py").write_text("FACTOR = 3.0\n")
    return OwnLoss(file, name, file.read_text())


def exact(call: Call, factor: float = 3.0) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    x, y = call.logits.values, call.target.values
    w = np.ones(()) if call.weight is None else call.weight.values
    if call.want == ("forward",):
        value = factor * w * (np.log1p(np.exp(x)) - x * y)
        return np.asarray(value if call.reduction == "none" else value.mean())
    slope = factor * w * (1 / (1 + np.exp(-x)) - y)
    return np.asarray(slope if call.reduction == "none" else slope / x.size)


@pytest.mark.parametrize(("framework", "mode"), BACKENDS)
def test_a_loss_of_ones_own(framework: str, mode: str, tmp_path: Path) -> None:
    loss = own_loss(framework, tmp_path)
    with opened(framework, mode, loss) as session:
        assert session.backend.surfaces == (f"my_{framework}_loss.py:loss",)
        x, y, w = (drawn("float32", (3, 4), "contiguous", seed) for seed in range(3))
        calls = [
            Call(loss.surface, x, y, weight, None, options, (want,))
            for want in ("forward", "grad.logits")
            for weight in (None, w)
            for options in ({}, {"reduction": "none"})
        ]
        (outcomes,) = session.stream([calls])
        for call, outcome in zip(calls, outcomes, strict=True):
            if framework == "numpy" and call.want != ("forward",):
                assert isinstance(outcome.failure, Unsupported)
                continue
            assert outcome.failure is None, (call.want, dict(call.options), outcome.failure)
            (value,) = outcome.values.values()
            np.testing.assert_allclose(value.values, exact(call), rtol=1e-5)


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_a_loss_is_run_from_its_source_where_there_is_no_file(
    framework: str, tmp_path: Path
) -> None:
    loss = own_loss(framework, tmp_path)
    elsewhere = replace(
        loss,
        file=Path("/no/such/folder/mine.py"),
        source=loss.source.replace("from beside import FACTOR", "FACTOR = 3.0"),
    )
    with opened(framework, "eager", elsewhere) as session:
        x, y = (drawn("float32", (3, 4), "contiguous", seed) for seed in range(2))
        call = Call(elsewhere.surface, x, y)
        value = session.run(call).values["forward"].values
        np.testing.assert_allclose(value, exact(call), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"callable": "absent"}, "expected a Python file that defines the function absent; it def"),
        ({"callable": "nothing"}, "its nothing is of type int"),
        ({"file": Path("/no/such.py"), "source": ""}, "/no/such.py: expected a Python file that"),
        ({"file": Path("/no/such.py"), "source": "1/0"}, "raised ZeroDivisionError: division by"),
    ],
)
def test_a_loss_that_cannot_be_had_is_said_in_a_line(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    loss = replace(own_loss("numpy", tmp_path), **change)
    with pytest.raises(BackendUnavailable) as caught:
        opened("numpy", "eager", loss)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert str(loss.file) in str(caught.value)


def test_a_loss_with_a_mistake_in_it(tmp_path: Path) -> None:
    loss = own_loss("numpy", tmp_path)
    loss.file.write_text("def loss(:\n")
    with pytest.raises(BackendUnavailable, match="importing it raised SyntaxError"):
        opened("numpy", "eager", loss)


def printed(code: str, folder: Path) -> str:
    said = io.StringIO()
    sys.path.insert(0, str(folder))
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(code, "reproduction", "exec"), {})
    finally:
        sys.path.remove(str(folder))
    return said.getvalue()


def test_the_reproduction_of_ones_own_loss_imports_it(tmp_path: Path) -> None:
    loss = own_loss("numpy", tmp_path)
    adapter = bce_conformance.adapters.load(FOLDER / "numpy.py")
    call = laid_out(loss.surface, "float64", (3, 4), "transposed", "forward")
    call = replace(call, pos_weight=None, options={})
    own = {"file": str(loss.file), "callable": "loss"}
    code = adapter.reproduction({**call.wire(), "own_loss": own}, literal)
    assert f"from my_numpy_loss import loss as own_loss  # {loss.file}" in code
    assert "transposed" in code or ".T.copy().T" in code
    value = float(printed(code, tmp_path))
    np.testing.assert_allclose(value, float(exact(call)), rtol=1e-12)


@pytest.mark.parametrize("framework", LOSSES)
def test_every_adapter_writes_layouts_and_own_losses_down(framework: str, tmp_path: Path) -> None:
    adapter = bce_conformance.adapters.load(FOLDER / f"{framework}.py")
    own = {"file": str(tmp_path / "mine.py"), "callable": "loss"}
    for layout in LAYOUTS:
        for mode in adapter.modes:
            call = laid_out(adapter.surfaces[0], "float32", (3, 4), layout, "forward")
            where = {"device": "cpu", "mode": mode}
            plain = adapter.reproduction({**contiguous(call).wire(), **where}, literal)
            code = adapter.reproduction({**call.wire(), **where}, literal)
            assert ast.parse(code) and code != plain
            mine = adapter.reproduction({**call.wire(), **where, "own_loss": own}, literal)
            assert ast.parse(mine) and f"from mine import loss as own_loss  # {own['file']}" in mine
            assert adapter.surfaces[0] not in mine


@pytest.mark.parametrize(("framework", "mode"), BACKENDS[1:])
@pytest.mark.parametrize("own", [False, True], ids=["framework's", "one's own"])
def test_a_paste_with_layouts_prints_what_the_session_returned(
    framework: str, mode: str, own: bool, tmp_path: Path
) -> None:
    loss = own_loss(framework, tmp_path) if own else None
    adapter = bce_conformance.adapters.load(FOLDER / f"{framework}.py")
    surface = loss.surface if loss else adapter.surfaces[-1]
    logits, target, weight = (
        drawn("float32", (3, 4), layout, seed) for seed, layout in enumerate(LAYOUTS)
    )
    want = ("forward", "grad.logits")
    call = Call(surface, logits, target, weight, None, {"reduction": "mean"}, want)
    with opened(framework, mode, loss) as session:
        outcome = session.run(call)
    wire = {**call.wire(), "device": "cpu", "mode": mode}
    if loss is not None:
        wire["own_loss"] = {"file": str(loss.file), "callable": loss.callable}
    paste = tmp_path / "paste.py"
    paste.write_text(adapter.reproduction(wire, literal))
    said = subprocess.run(
        [interpreter(framework), str(paste)], capture_output=True, text=True, cwd=tmp_path
    )
    assert said.returncode == 0, said.stderr[-2000:]
    assert outcome.failure is None, outcome.failure
    for quantity in want:
        (line,) = [x for x in said.stdout.splitlines() if x.startswith(quantity + " ")]
        values = np.asarray(ast.literal_eval(line.split(" ", 2)[2]))
        expected = outcome.values[quantity].values
        np.testing.assert_allclose(values.reshape(expected.shape), expected, rtol=1e-6)
