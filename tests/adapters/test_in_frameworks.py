"""The adapters beside their real frameworks.

This tests the adapters, not the frameworks: tolerances are loose, and each argument differs from
element to element by far more than they allow, so that an argument swapped, ignored or rounded on
the way shows. Where a framework is known to be wrong, DEVIATIONS says what it computes instead.

BCE_INTERPRETERS names the interpreters: "torch=/path/python,paddle=/path/python". One process per
framework runs all of its tasks; the tests then look at what came of them.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import bce_conformance.adapters
import bce_conformance.session.worker
from bce_conformance.model import dtypes
from bce_conformance.model.call import ARGUMENTS, QUANTITIES, Array, Call
from bce_conformance.model.literal import literal

pytestmark = pytest.mark.framework

FOLDER = Path(bce_conformance.adapters.__file__).parent
FRAMEWORKS = ("torch", "paddle", "oneflow", "mindspore")
MODES = ("eager", "compiled")
FLOATS = ("float16", "bfloat16", "float32", "float64")
Numbers = NDArray[np.float64]
Wire = dict[str, Any]

# What each framework returns on a CPU. A quantity that is not here may be returned, too: it is
# judged like the rest.
FIRST = {"forward", "grad.logits"}
RETURNS: dict[tuple[str, str], dict[str, set[str]]] = {
    ("torch", "eager"): {d: FIRST | {"grad.target", "hessian.logits"} for d in FLOATS},
    ("torch", "compiled"): {d: FIRST | {"grad.target"} for d in FLOATS},
    ("paddle", "eager"): {d: FIRST | {"grad.weight"} for d in ("float32", "float64")},
    ("paddle", "compiled"): {
        d: FIRST | {"grad.target", "grad.weight"} for d in ("float32", "float64")
    },
    ("oneflow", "eager"): {
        d: FIRST | {"grad.target", "hessian.logits"} for d in ("float32", "float64")
    },
    ("oneflow", "compiled"): {d: FIRST | {"grad.target"} for d in ("float32", "float64")},
    ("mindspore", "eager"): {d: FIRST | {"grad.target"} for d in ("float16", "float32")}
    | {"bfloat16": {"forward"}},
    ("mindspore", "compiled"): {d: FIRST | {"grad.target"} for d in ("float16", "float32")},
}

# What makes torch.compile affordable here: a second per graph.
COMPILED_TORCH = [("float32", "mean"), ("float32", "none")] + [
    (dtype, "none") for dtype in ("float16", "bfloat16", "float64")
]

# Evaluated after the compiled calls: something that only a compiler leaves behind.
COMPILED = {
    "torch": "__import__('torch')._dynamo.utils.counters['stats']['unique_graphs']",
    "paddle": "sum(len(f.program_cache) for f in adapter.static.values())",
    "oneflow": "sum(__import__('oneflow').nn.Graph._child_init_cnt.values())",
    "mindspore": "len(__import__('sys').modules['mindspore.graph.api'].ms_compile_cache)",
}


def softplus(z: Numbers) -> Numbers:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def sigmoid(z: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-z))


def formula(call: Call, quantity: str) -> Numbers:
    """Any quantity in float64, in the shape in which it is due."""
    x, y = call.logits.values, call.target.values
    w = np.ones(()) if call.weight is None else call.weight.values
    p = np.ones(()) if call.pos_weight is None else call.pos_weight.values
    loss = w * (p * y * softplus(-x) + (1 - y) * softplus(x))
    if quantity == "forward":
        how = reduction(call)
        return np.asarray(loss if how == "none" else loss.sum() if how == "sum" else loss.mean())
    slope = {
        "grad.logits": lambda: w * ((1 - y) * sigmoid(x) - p * y * sigmoid(-x)),
        "grad.target": lambda: w * (p * softplus(-x) - softplus(x)),
        "grad.weight": lambda: p * y * softplus(-x) + (1 - y) * softplus(x),
        "grad.pos_weight": lambda: w * y * softplus(-x),
        "hessian.logits": lambda: w * (1 - y + p * y) * sigmoid(x) * sigmoid(-x),
    }[quantity]()
    slope = slope * (1.0 if call.upstream is None else call.upstream.values)
    if reduction(call) == "mean":
        slope = slope / x.size
    argument = call.argument(quantity.split(".")[1])
    assert argument is not None
    extra = slope.ndim - len(argument.shape)
    return np.asarray(slope.sum(axis=tuple(range(extra))))


def reduction(call: Call) -> str:
    """What the options amount to, torch's two deprecated ones included."""
    if call.options.get("reduce") is False:
        return "none"
    return "sum" if call.options.get("size_average") is False else call.reduction


def zeros(call: Call, quantity: str) -> Numbers:
    return np.zeros_like(formula(call, quantity))


def without_upstream(call: Call, quantity: str) -> Numbers:
    """The gradient as if ones arrived at the unreduced loss."""
    plain = Call(call.surface, call.logits, call.target, call.weight, call.pos_weight)
    return formula(plain, quantity) * call.logits.size


# (framework, mode or None, quantity) → what is computed instead, and when.
Deviation = tuple[Callable[[Call], bool], Callable[[Call, str], Numbers]]
DEVIATIONS: dict[tuple[str, str | None, str], Deviation] = {
    ("mindspore", None, "grad.weight"): (lambda call: True, zeros),
    ("mindspore", None, "grad.pos_weight"): (lambda call: True, zeros),
    ("paddle", "compiled", "grad.target"): (lambda call: True, zeros),
    ("paddle", "compiled", "grad.pos_weight"): (lambda call: True, zeros),
    ("oneflow", None, "grad.target"): (lambda call: call.pos_weight is not None, without_upstream),
}


@dataclass(frozen=True)
class Task:
    """One call in one mode, and what came of it."""

    framework: str
    mode: str
    call: Call
    expected: frozenset[str]

    @property
    def label(self) -> str:
        call = self.call
        given = "+".join(n for n in ARGUMENTS if call.argument(n) is not None)
        return (
            f"{call.surface} {self.mode} {call.logits.dtype}{list(call.logits.shape)} "
            f"{dict(call.options)} {given}{' upstream' if call.upstream else ''}"
        )


def wrong(task: Task, result: Wire) -> list[str]:
    """What is missing or not as it should be in a result; [] if all is well."""
    problems = []
    if "error" in result:
        return [f"{task.label}: {result['error']}"]
    for quantity in sorted(task.expected - set(result["values"])):
        problems.append(f"{task.label}: no {quantity}: {result['failure']}")
    for quantity, wire in result["values"].items():
        got = unpacked(wire)
        if got.dtype != task.call.logits.dtype:
            problems.append(f"{task.label}: {quantity} is {got.dtype}")
        elif not agrees(got, formula(task.call, quantity)) and not deviates(task, quantity, got):
            exact = formula(task.call, quantity)
            problems.append(f"{task.label}: {quantity} is {got.values}, not {exact}")
    return problems


def agrees(got: Array, exact: Numbers) -> bool:
    u = dtypes.FLOATS[got.dtype].unit_roundoff
    return got.shape == exact.shape and bool(
        (np.abs(got.values - exact) <= 12 * u * (1 + np.abs(exact))).all()
    )


def deviates(task: Task, quantity: str, got: Array) -> bool:
    for mode in (task.mode, None):
        if (task.framework, mode, quantity) in DEVIATIONS:
            applies, behaviour = DEVIATIONS[task.framework, mode, quantity]
            return applies(task.call) and agrees(got, behaviour(task.call, quantity))
    return False


def packed(array: Array | None) -> Wire | None:
    return None if array is None else dict(array.wire(), data=array.data.hex())


def unpacked(wire: Wire) -> Array:
    return Array.from_wire(dict(wire, data=bytes.fromhex(wire["data"])))


def packed_call(call: Call) -> Wire:
    arguments = {name: packed(call.argument(name)) for name in ARGUMENTS}
    return dict(call.wire(), arguments=arguments, upstream=packed(call.upstream))


# ---------------------------------------------------------------------------- what is asked


def drawn(dtype: str, shape: tuple[int, ...], low: float, high: float, seed: int) -> Array:
    values = np.random.default_rng(seed).uniform(low, high, shape)
    return Array.rounded(dtype, np.asarray(values))


def call_of(
    surface: str,
    dtype: str,
    options: dict[str, Any],
    shape: tuple[int, ...] = (2, 3),
    weights: bool = True,
    upstream: tuple[int, ...] | None = None,
) -> Call:
    """A call with arguments far from each other; pos_weight has one element per class."""
    return Call(
        surface=surface,
        logits=drawn(dtype, shape, -3, 3, 1),
        target=drawn(dtype, shape, 0.1, 0.9, 2),
        weight=drawn(dtype, shape, 1, 3, 3) if weights else None,
        pos_weight=drawn(dtype, shape[-1:], 4, 9, 4) if weights else None,
        options=options,
        want=("forward",),
        upstream=None if upstream is None else drawn(dtype, upstream, 2, 5, 5),
    )


def calls(framework: str, mode: str, surface: str) -> Iterator[Call]:
    """Every dtype that the framework takes, each reduction, with and without the rest."""
    if (framework, mode) == ("torch", "compiled"):
        for dtype, how in COMPILED_TORCH:
            yield call_of(
                surface, dtype, {"reduction": how}, upstream=(2, 3)[: 2 * (how == "none")]
            )
        return
    for dtype in RETURNS[framework, mode]:
        for how in ("none", "mean", "sum"):
            yield call_of(surface, dtype, {"reduction": how}, weights=False)
            upstream = (2, 3) if how == "none" else ()
            yield call_of(surface, dtype, {"reduction": how}, upstream=upstream)
        yield call_of(surface, dtype, {}, shape=(2, 1, 3))
    if mode == "eager":
        yield call_of(surface, "float32", {"reduction": "none"}, shape=(), weights=False)
        yield call_of(surface, "float32", {"reduction": "none"}, shape=(0, 3), weights=False)
    if framework == "torch":
        yield call_of(surface, "float32", {"size_average": False})
        yield call_of(surface, "float32", {"reduce": False})


def tasks_of(framework: str) -> Iterator[Task]:
    """A call for each quantity, so that one refused says nothing of the next."""
    adapter = bce_conformance.adapters.load(FOLDER / f"{framework}.py")
    for mode in MODES:
        for surface in adapter.surfaces:
            for call in calls(framework, mode, surface):
                returned = RETURNS[framework, mode][call.logits.dtype]
                for quantity in QUANTITIES:
                    name = quantity.split(".")[-1]
                    if name in ARGUMENTS and call.argument(name) is None:
                        continue
                    one = Call(**{**vars(call), "want": (quantity,)})
                    expected = returned & {quantity}
                    if call.logits.size == 0 or call.weight is None:
                        expected = expected & FIRST
                    yield Task(framework, mode, one, frozenset(expected))


def patterns() -> Iterator[Array]:
    """Bits of every kind: all of a 16-bit format's, and any of the others'."""
    random = np.random.default_rng(7)
    for dtype, carrier in dtypes.CARRIERS.items():
        size = np.dtype(carrier).itemsize
        bits = random.integers(0, 256, 4096 * size, dtype=np.uint8)
        if size == 2:
            bits = np.arange(1 << 16, dtype="<u2").view(np.uint8)
        if dtype == "bool":
            bits &= 1
        yield Array(dtype, (len(bits) // size,), bits.tobytes())
        yield Array(dtype, (), bits[:size].tobytes())
        yield Array(dtype, (2, 0, 3), b"")
        yield Array(dtype, (2, 1, 3), bits[: 6 * size].tobytes())


# What an adapter file may get wrong: source text, and what stands there instead.
Fault = dict[str, str]
TORCH_LIKE: dict[str, Fault] = {
    "weight and pos_weight swapped": {
        "weights = {n: t for": "weights = {('weight', 'pos_weight')[n == 'weight']: t for"
    },
    "logits and target swapped": {
        'arguments["logits"], arguments["target"]': 'arguments["target"], arguments["logits"]'
    },
    "upstream ignored": {"if upstream is None else upstream": "if True else upstream"},
    "options not passed": {"**options": "**{}"},
    "gradient of another argument": {"arguments[name]": 'arguments["logits"]'},
}
SECOND = {
    "no second derivative": {"self.gradient(names, slope.sum(), leaves[:1], None)": "slope"},
}
FAULTS: dict[str, dict[str, Fault]] = {
    "torch": TORCH_LIKE | SECOND,
    "paddle": TORCH_LIKE,
    "oneflow": TORCH_LIKE | SECOND,
    "mindspore": {
        "weight and pos_weight swapped": {
            "weight=weight, pos_weight=pos_weight, **options": (
                "weight=pos_weight, pos_weight=weight, **options"
            )
        },
        "logits and target swapped": {
            "return surface(logits, target, weight=": "return surface(target, logits, weight="
        },
        "upstream ignored": {
            "self.slope(loss, position, upstream is not None)": "self.slope(loss, position, False)",
            "arguments if upstream is None else [*arguments, upstream]": "arguments",
        },
        "options not passed": {"**options": "**{}"},
        "gradient of another argument": {'ORDER.index(quantity.split(".")[1])': "0"},
    },
}


def faulty(framework: str) -> dict[str, str]:
    """Source of the adapter with each fault planted."""
    source = (FOLDER / f"{framework}.py").read_text(encoding="utf-8")
    sources = {}
    for fault, replacements in FAULTS[framework].items():
        sources[fault] = source
        for old, new in replacements.items():
            assert old in source, f"{framework}: the fault {fault!r} finds nowhere to be planted"
            sources[fault] = sources[fault].replace(old, new)
    return sources


# ---------------------------------------------------------------------------- asking


class Findings:
    """What one process beside a framework made of all that is asked of its adapter."""

    def __init__(self, framework: str, python: str, folder: Path) -> None:
        self.framework = framework
        self.plan: list[Wire] = []
        source = (FOLDER / f"{framework}.py").read_text(encoding="utf-8")
        self.adapter = bce_conformance.adapters.load(FOLDER / f"{framework}.py")
        self.tasks = list(tasks_of(framework))
        self.calls = [self.ask(t.mode, "call", wire=packed_call(t.call)) for t in self.tasks]
        self.printed = {i: self.ask_to_print(t) for i, t in enumerate(self.tasks) if t.expected}
        self.compiled = self.ask("compiled", "evaluate", expression=COMPILED[framework])
        self.about = self.ask("eager", "evaluate", expression="adapter.describe()")
        self.patterns = list(patterns())
        self.held = [self.ask("eager", "round_trip", array=packed(a)) for a in self.patterns]
        self.pasted = [self.ask_to_paste(a) for a in self.patterns]
        self.refused = self.ask_what_is_refused()
        self.faults = self.ask_the_faulty()
        sources = {"real": source, **faulty(framework)}
        self.results = run(framework, python, {"sources": sources, "tasks": self.plan}, folder)

    def ask(self, mode: str, do: str, source: str = "real", **fields: Any) -> int:
        task = dict(fields, id=len(self.plan), do=do, mode=mode, source=source)
        self.plan.append(task)
        return len(self.plan) - 1

    def ask_to_print(self, task: Task) -> int:
        call = dict(task.call.wire(), device="cpu", mode=task.mode)
        code = self.adapter.reproduction(call, literal)
        if (task.framework, task.mode) == ("torch", "compiled"):
            # Each stands for an interpreter of its own; here they would share a recompile limit.
            code = "import torch\ntorch._dynamo.reset()\n" + code
        return self.ask(task.mode, "execute", code=code)

    def ask_to_paste(self, array: Array) -> int:
        """A reproduction whose target has these bits; long ones are cut to stay readable."""
        if array.size > 50:
            size = np.dtype(dtypes.CARRIERS[array.dtype]).itemsize
            array = Array(array.dtype, (50,), array.data[7 * size : 57 * size])
        if array.dtype == "int64":  # written by way of float64
            array = Array(
                array.dtype,
                array.shape,
                (array.bits.astype(np.int64) >> 16).astype("<i8").tobytes(),
            )
        call = Call(self.adapter.surfaces[0], array, array)
        code = self.adapter.reproduction(dict(call.wire(), device="cpu", mode="eager"), literal)
        tested = self.ask("eager", "pasted", code=code, name="target")
        self.plan[tested]["array"] = packed(array)
        return tested

    def ask_what_is_refused(self) -> dict[str, int]:
        surface = self.adapter.surfaces[0]
        good = call_of(surface, "float32", {"reduction": "none"})
        odd = drawn("float32", (5, 7), 0, 1, 9)
        calls = {
            "an option that does not exist": call_of(surface, "float32", {"no_such_option": True}),
            "a target of another shape": Call(**{**vars(good), "target": odd}),
        }
        return {what: self.ask("eager", "call", wire=packed_call(c)) for what, c in calls.items()}

    def ask_the_faulty(self) -> dict[str, list[tuple[Task, int]]]:
        tested = {}
        for fault in FAULTS[self.framework]:
            tested[fault] = [
                (task, self.ask("eager", "call", fault, wire=packed_call(task.call)))
                for task in self.tasks
                if task.mode == "eager" and task.call.logits.dtype == "float32" and task.expected
            ]
        return tested

    def of(self, tested: int) -> Wire:
        return self.results[tested]


def run(framework: str, python: str, plan: Wire, folder: Path) -> list[Wire]:
    """The results of a plan's tasks, in order; fails where the process dies.

    A task in an nn.Graph of oneflow is forgiven once: about one call in a thousand, of whatever
    graph, takes the process with it.
    """
    plan = dict(plan, worker=bce_conformance.session.worker.__file__)
    results: list[Wire] = []
    killed_by = -1
    while len(results) < len(plan["tasks"]):
        more, ending = run_once(python, dict(plan, tasks=plan["tasks"][len(results) :]), folder)
        results += more
        if len(results) < len(plan["tasks"]):
            task = {k: v for k, v in plan["tasks"][len(results)].items() if k != "wire"}
            forgiven = framework == "oneflow" and task["mode"] == "compiled"
            assert forgiven and killed_by != len(results), f"{ending}\nat {task}"
            killed_by = len(results)
    return results


def run_once(python: str, plan: Wire, folder: Path) -> tuple[list[Wire], str]:
    """The results until the process ended, and how it ended."""
    plan_file, results_file, said = (folder / name for name in ("plan", "results", "stderr"))
    plan_file.write_text(json.dumps(plan))
    driver = Path(__file__).parent / "driver.py"
    with said.open("w") as stderr:
        # In its folder, where whatever the framework leaves behind is left behind.
        process = subprocess.run(
            [python, str(driver), str(plan_file), str(results_file)],
            stdout=stderr,
            stderr=stderr,
            cwd=folder,
            timeout=900,
            check=False,
        )
    lines = results_file.read_text().splitlines() if results_file.exists() else []
    last = "\n".join(said.read_text(errors="replace").splitlines()[-20:])
    return [json.loads(line) for line in lines], f"{python}: {process.returncode}\n{last}"


def interpreters() -> dict[str, str]:
    named = os.environ.get("BCE_INTERPRETERS", "")
    pairs = dict(entry.strip().split("=", 1) for entry in named.split(",") if entry.strip())
    return {framework: python for framework, python in pairs.items() if Path(python).exists()}


@pytest.fixture(scope="module", params=FRAMEWORKS)
def findings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    framework = request.param
    python = interpreters().get(framework)
    if python is None:
        pytest.skip(f"BCE_INTERPRETERS names no interpreter with {framework}, or one that is not")
    return Findings(framework, python, tmp_path_factory.mktemp(framework))


# ---------------------------------------------------------------------------- what is held


def test_every_quantity_is_that_of_the_arguments(findings: Findings) -> None:
    tested = zip(findings.tasks, findings.calls, strict=True)
    problems = [p for task, at in tested for p in wrong(task, findings.of(at))]
    assert not problems, "\n".join(problems)


def test_compiled_mode_compiles(findings: Findings) -> None:
    assert findings.of(findings.compiled)["value"] > 0


def test_describes_what_answers(findings: Findings) -> None:
    about = findings.of(findings.about)["value"]
    assert set(about) == {"framework_version", "device_name", "platform_kind"}
    assert about["framework_version"][:1].isdigit()
    assert about["platform_kind"] == "CPU" and about["device_name"]


def test_tensors_hold_the_bits_that_they_are_given(findings: Findings) -> None:
    for array, tested in zip(findings.patterns, findings.held, strict=True):
        result = findings.of(tested)
        if "error" in result:
            assert result["error"].startswith("NotImplementedError"), (array, result)
            assert (findings.framework, array.dtype) == ("oneflow", "int16")
        else:
            assert same_bits(unpacked(result["array"]), array), array


def test_reproductions_write_the_bits_down(findings: Findings) -> None:
    for tested in findings.pasted:
        result, array = findings.of(tested), unpacked(findings.plan[tested]["array"])
        if (findings.framework, array.dtype) == ("oneflow", "int16"):
            continue
        assert "error" not in result, (array, result, findings.plan[tested]["code"])
        assert same_bits(unpacked(result["array"]), array), findings.plan[tested]["code"]


def same_bits(one: Array, other: Array) -> bool:
    """The same dtype, shape and bits; one NaN is as good as another."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    if one.dtype not in dtypes.FLOATS:
        return one.data == other.data
    both_nan = np.isnan(one.values) & np.isnan(other.values)
    size = one.bits.itemsize
    return bool(((one.bits.view(f"u{size}") == other.bits.view(f"u{size}")) | both_nan).all())


def test_reproductions_print_what_the_adapter_returned(findings: Findings) -> None:
    problems = []
    for index, tested in findings.printed.items():
        task, result = findings.tasks[index], findings.of(tested)
        (quantity,) = task.call.want
        returned = findings.of(findings.calls[index]).get("values", {}).get(quantity)
        printed = numbers(result.get("printed", ""), quantity)
        if printed is None or returned is None:
            problems.append(f"{task.label} {quantity}: {result}\n{findings.plan[tested]['code']}")
            continue
        values = unpacked(returned).values.reshape(printed.shape)
        # mindspore's softplus differs in the last bits between the first calls of a process.
        rtol = 1e-5 if (task.framework, quantity) == ("mindspore", "grad.target") else 0
        if not np.allclose(printed, values, rtol=rtol, atol=0, equal_nan=True):
            problems.append(f"{task.label} {quantity}: printed {printed}, returned {values}")
    assert not problems, "\n".join(problems)


def numbers(printed: str, quantity: str) -> Numbers | None:
    """The values behind a quantity's name and dtype in what a reproduction printed."""
    for line in printed.splitlines():
        if line.startswith(quantity + " "):
            values = line.split(" ", 2)[2]
            return np.asarray(eval(values, {"inf": np.inf, "nan": np.nan}), dtype=np.float64)
    return None


def test_what_is_refused_is_the_frameworks_refusal(findings: Findings) -> None:
    for what, tested in findings.refused.items():
        result = findings.of(tested)
        assert not result["values"], what
        kind, _, bases, message, during = result["failure"]
        assert (kind, during) == ("raised", "forward"), what
        assert "Exception" in bases and message
    failure = findings.of(findings.refused["an option that does not exist"])["failure"]
    assert failure[1] == "TypeError"


def test_a_faulty_adapter_is_caught(findings: Findings) -> None:
    for fault, tested in findings.faults.items():
        assert any(wrong(task, findings.of(at)) for task, at in tested), fault
