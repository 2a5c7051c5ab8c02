"""Certifies the reference against ball arithmetic and writes ACCURACY.md.

    python -m bce_conformance.reference.certify [--points N] [--seed S] [--output FILE]

Exit status 1 if any stated uncertainty is smaller than the error, or a promise is broken.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import flint  # type: ignore[import-untyped,import-not-found,unused-ignore]
import numpy as np

from .elements import Reduction
from .factors import QUANTITIES
from .loss import Tier, evaluate
from .oracle import Measured, Point, exact, exact_sum, measure
from .plain import sigmoid, softplus
from .scaled import Array, Value

ElementwiseEvaluator: TypeAlias = Callable[[str, list[Point], Tier], Value]
ReducingEvaluator: TypeAlias = Callable[[str, list[Point], Reduction, Tier], Value]

TIERS: tuple[Tier, ...] = ("quick", "plain", "auto", "doubled")
REGIONS = ("left tail", "right tail", "near 0", "moderate", "cancelling", "extreme")
CLASSES = ("{0,1}", "(0,1)", "outside")
# "auto" keeps this for every element: every quantity, every target, any size.
AUTO_PROMISE = 3.0
# "quick" and "plain" keep theirs where nothing cancels and no intermediate leaves the normal range.
QUICK_PROMISE = 8.0
PLAIN_PROMISE = 3.0
SMALLEST_PLAIN = 2.0**-960
# The rounded double-double result, where the terms do not cancel.
DOUBLED_PROMISE = 0.501


@dataclass
class Cell:
    """What was seen of one tier in one region: maxima, and the point of the largest error."""

    points: int = 0
    undecided: int = 0
    ulps: float = 0.0
    rounded_ulps: float = 0.0
    ratio: float = 0.0
    at: Point | None = None

    def record(self, measured: Measured, point: Point) -> None:
        """Counts one point."""
        self.points += 1
        self.ratio = max(self.ratio, measured.ratio)
        if measured.undecided:
            self.undecided += 1
            return
        self.rounded_ulps = max(self.rounded_ulps, measured.rounded_ulps)
        if measured.ulps >= self.ulps:
            self.ulps, self.at = measured.ulps, point


@dataclass
class Findings:
    """Cells by (quantity, region, target class, tier), and what was broken."""

    cells: dict[tuple[str, str, str, str], Cell] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def cell(self, *key: str) -> Cell:
        """The cell of (quantity, region, target class, tier)."""
        quantity, region, target_class, tier = key
        return self.cells.setdefault((quantity, region, target_class, tier), Cell())


def draw(
    quantity: str, region: str, target_class: str, count: int, random: np.random.Generator
) -> list[Point]:
    """Seeded points of a region and target class."""
    x = _logits(region, count, random)
    y = _targets(target_class, count, random)
    extreme = region == "extreme"
    w = _weights(count, random, extreme)
    p = np.abs(_weights(count, random, extreme)) if target_class != "outside" else _weights(
        count, random, extreme
    )  # fmt: skip
    if region == "cancelling":
        x, y, p = _cancelling(quantity, x, y, p, random)
    g = np.where(random.random(count) < 0.5, 1.0, _weights(count, random, extreme))
    if quantity == "forward":
        g = np.ones(count)
    rows = zip(x.tolist(), y.tolist(), w.tolist(), p.tolist(), g.tolist(), strict=True)
    return [Point(*row) for row in rows]


def _logits(region: str, count: int, random: np.random.Generator) -> Array:
    sign = np.where(random.random(count) < 0.5, -1.0, 1.0)
    if region in ("left tail", "right tail"):
        size = random.uniform(20.0, 708.0, count)
        return -size if region == "left tail" else size
    if region == "near 0":
        return sign * 10.0 ** random.uniform(-320, -8, count)
    if region == "extreme":
        return sign * 2.0 ** random.uniform(9.4, 1023.9, count) ** random.uniform(0.7, 1, count)
    return sign * np.where(
        random.random(count) < 0.7,
        random.uniform(0.0, 20.0, count),
        10.0 ** random.uniform(-8, 1.3, count),
    )


def _targets(target_class: str, count: int, random: np.random.Generator) -> Array:
    if target_class == "{0,1}":
        return random.integers(0, 2, count).astype(np.float64)
    small = 10.0 ** random.uniform(-300, 0, count)
    if target_class == "(0,1)":
        choice = random.integers(0, 3, count)
        near_one = 1.0 - np.maximum(small**0.05, 2.0**-53)
        y = np.where(choice == 0, random.random(count), np.where(choice == 1, small, near_one))
        return np.clip(y, 5e-324, 1 - 2.0**-53)
    sign = np.where(random.random(count) < 0.5, -1.0, 1.0)
    large = random.uniform(1.0, 10.0, count) ** random.integers(1, 30, count)
    below = -np.where(random.random(count) < 0.5, small, large)
    return np.where(sign > 0, 1.0 + np.maximum(large - 1.0, 2.0**-52), below)


def _weights(count: int, random: np.random.Generator, extreme: bool) -> Array:
    span = 1000.0 if extreme else 20.0
    size = 2.0 ** random.uniform(-span, span, count)
    sign = np.where(random.random(count) < 0.2, -1.0, 1.0)
    return np.where(random.random(count) < 0.3, 1.0, sign * size)


def _cancelling(
    quantity: str, x: Array, y: Array, p: Array, random: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Arguments within a few float64 steps of a zero of the quantity, where it has one.

    Half of the points use pos_weight 1, whose zeros people meet: y = sigmoid(x).
    """
    p = np.where(random.random(x.size) < 0.5, 1.0, np.abs(p))
    with np.errstate(all="ignore"):
        if quantity == "grad.logits":
            y = sigmoid(x) / (sigmoid(x) + p * sigmoid(-x))
        elif quantity == "grad.target":
            p = softplus(x) / softplus(-x)
            return x, y, p * (1 + 2.0**-52 * random.integers(-3, 4, x.size))
        elif quantity in ("forward", "grad.weight"):
            y = softplus(x) / (softplus(x) - p * softplus(-x))
        elif quantity == "hessian.logits":
            y = 1.0 / (1.0 - p)
        y = y * (1 + 2.0**-52 * random.integers(-3, 4, x.size))
    return x, np.where(np.isfinite(y) & (np.abs(y) < 1e30), y, 0.5), p


def class_of(target: float) -> str:
    """The target class that a target belongs to."""
    if target in (0.0, 1.0):
        return "{0,1}"
    return "(0,1)" if 0.0 < target < 1.0 else "outside"


def evaluate_points(quantity: str, points: list[Point], tier: Tier) -> Value:
    """The reference at every point, elementwise."""
    table = np.array([[q.logits, q.target, q.weight, q.pos_weight, q.upstream] for q in points])
    upstream = None if quantity == "forward" else table[:, 4]
    return evaluate(
        quantity, table[:, 0], table[:, 1], table[:, 2], table[:, 3], upstream=upstream, tier=tier
    )


def evaluate_reduced(quantity: str, points: list[Point], reduction: Reduction, tier: Tier) -> Value:
    """The reference at the points as one array; weight, pos_weight and upstream are the first's."""
    first = points[0]
    return evaluate(
        quantity,
        np.array([q.logits for q in points]),
        np.array([q.target for q in points]),
        np.array([first.weight]),
        np.array([first.pos_weight]),
        reduction=reduction,
        upstream=None if quantity == "forward" else first.upstream,
        tier=tier,
    )


def promised(quantity: str, region: str, point: Point, size: float, tier: str) -> float:
    """The largest error in ulps that the tier promises at the point, infinity if none.

    `size` is the magnitude of the value: float64 promises nothing near the subnormals.
    """
    ordinary = 0.0 <= point.target <= 1.0 and point.pos_weight >= 0.0
    if quantity in ("grad.target", "grad.logits"):
        one_term = point.target in (0.0, 1.0) or point.pos_weight == 0.0
        ordinary = ordinary and quantity == "grad.logits" and one_term
    if tier == "auto":
        return AUTO_PROMISE
    if tier == "doubled":
        return DOUBLED_PROMISE if ordinary else math.inf
    normal = region != "extreme" and size >= SMALLEST_PLAIN
    if tier == "quick":
        return QUICK_PROMISE if ordinary and normal else math.inf
    return PLAIN_PROMISE if ordinary and normal else math.inf


def certify(points: int, seed: int) -> Findings:
    """Measures every tier at about `points` points a quantity, and reductions besides."""
    findings = Findings()
    random = np.random.default_rng(seed)
    share = max(1, points // (len(REGIONS) * len(CLASSES)))
    for quantity in QUANTITIES:
        for region in REGIONS:
            for target_class in CLASSES:
                drawn = draw(quantity, region, target_class, share, random)
                certify_points(quantity, region, drawn, findings)
    for quantity in QUANTITIES:
        certify_reductions(quantity, max(12, points // 1000), random, findings)
    return findings


def certify_points(
    quantity: str,
    region: str,
    points: list[Point],
    findings: Findings,
    evaluated: ElementwiseEvaluator = evaluate_points,
) -> None:
    """Measures every tier at the points, and notes what is broken."""
    balls = [exact(quantity, point) for point in points]
    for tier in TIERS:
        value = evaluated(quantity, points, tier)
        for i, (point, ball) in enumerate(zip(points, balls, strict=True)):
            measured = measure(
                float(value.high[i]), float(value.low[i]), float(value.uncertainty[i]), ball
            )
            findings.cell(quantity, region, class_of(point.target), tier).record(measured, point)
            findings.broken += _breaches(
                quantity, region, point, abs(float(value.high[i])), tier, measured
            )


def _breaches(
    quantity: str, region: str, point: Point, magnitude: float, tier: str, measured: Measured
) -> Iterable[str]:
    where = f"{tier} {quantity} ({region}) at {_spelled(point)}"
    if measured.ratio > 1:
        yield f"{where}: the error is {measured.ratio:.3g} times the uncertainty"
    size = measured.rounded_ulps if tier == "doubled" else measured.ulps
    limit = promised(quantity, region, point, magnitude, tier)
    if size > limit:
        yield f"{where}: {size:.4g} ulps, {limit} promised"


def certify_reductions(
    quantity: str,
    count: int,
    random: np.random.Generator,
    findings: Findings,
    evaluated: ReducingEvaluator = evaluate_reduced,
) -> None:
    """Sums, means and gradients of broadcast arguments, over arrays of 1 to 100 elements."""
    for i in range(count):
        reduction: Reduction = "sum" if i % 2 else "mean"
        size = int(random.integers(1, 101))
        region = REGIONS[i % 4]
        drawn = draw(quantity, region, CLASSES[i % 3], size, random)
        shared = drawn[0]
        points = [
            Point(q.logits, q.target, shared.weight, shared.pos_weight, shared.upstream,
                  size if reduction == "mean" and quantity != "forward" else 1)
            for q in drawn
        ]  # fmt: skip
        for tier in TIERS:
            value = evaluated(quantity, points, reduction, tier)
            summed = value.high.size == 1
            ball = _reduced_ball(quantity, points, reduction) if summed else None
            for j, point in enumerate(points[: value.high.size]):
                measured = measure(
                    float(value.high.flat[j]), float(value.low.flat[j]),
                    float(value.uncertainty.flat[j]),
                    ball if summed else exact(quantity, point),
                )  # fmt: skip
                findings.cell(quantity, "reduced", "mixed", tier).record(measured, point)
                if measured.ratio > 1:
                    findings.broken.append(
                        f"{tier} {quantity} {reduction} of {size}, first {_spelled(point)}: "
                        f"the error is {measured.ratio:.3g} times the uncertainty"
                    )


def _reduced_ball(quantity: str, points: list[Point], reduction: Reduction) -> object:
    mean = quantity == "forward" and reduction == "mean"
    return exact_sum(quantity, points, len(points) if mean else 1)


def _spelled(point: Point | None) -> str:
    if point is None:
        return ""
    names = ("logits", "target", "weight", "pos_weight", "upstream")
    values = {name: float(getattr(point, name)) for name in names}
    spelled = [f"{name}={value!r}" for name, value in values.items() if value != 1.0]
    return ", ".join(spelled) or "every argument 1"


def report(findings: Findings, points: int, seed: int, seconds: float) -> str:
    """ACCURACY.md."""
    total = sum(cell.points for cell in findings.cells.values())
    verdict = f"**{len(findings.broken)} promises broken**" if findings.broken else "all kept"
    command = f"python -m bce_conformance.reference.certify --points {points} --seed {seed}"
    lines = [
        "# Accuracy of the reference",
        "",
        "Made by `certify`; do not edit. Errors are upper bounds against ball arithmetic (arb),",
        "in float64 ulps of the real value. *ratio* is the largest error over the stated",
        "uncertainty: above 1 the uncertainty would be false. *rounded* is the error of the",
        "double-double result rounded to float64. Undecided points (an intermediate overflowed in",
        "plain float64, and the value says so with an infinite uncertainty) are counted, not",
        "measured; *quick* is undecided in much the same places.",
        "",
        f"- again: `{command} --output reference/ACCURACY.md`",
        f"- {total} values measured in {seconds:.0f} s, seed {seed}",
        f"- Python {platform.python_version()}, numpy {np.__version__}, "
        f"python-flint {flint.__version__}, {platform.system()} {platform.machine()}",
        f"- numpy's kernels here: {_kernels()}",
        f"- promises: {verdict}",
        "",
        "Promised, and checked at every point:",
        "",
        "- no error above its uncertainty;",
        f"- *auto*: at most {AUTO_PROMISE:g} ulps for every element;",
        f"- *plain*: at most {PLAIN_PROMISE:g} ulps, *quick*: at most {QUICK_PROMISE:g}, where",
        "  targets are in [0,1], pos_weight >= 0,",
        "  |logits| <= 708 and results of at least 2**-960, where one sign rules: not in",
        "  grad.target, nor in grad.logits for targets inside (0,1);",
        f"- *doubled*, rounded: at most {DOUBLED_PROMISE:g} ulps for targets in [0,1] and",
        "  pos_weight >= 0 where one sign rules, at any logits and size.",
        "",
        "Where the terms cancel (inputs chosen a few float64 steps from a zero) *doubled* may be",
        "off by many ulps: its uncertainty says so, and *auto* goes on in decimal. *reduced* rows",
        "are sums, means and gradients of broadcast arguments.",
        "",
        "| quantity | logits | target | points | quick | plain | auto | doubled | rounded "
        "| ratio quick / plain / auto / doubled | undecided in plain | worst for plain |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    keys = list(dict.fromkeys(key[:3] for key in findings.cells))
    order = {name: i for i, name in enumerate((*REGIONS, "reduced"))}
    keys.sort(key=lambda key: (QUANTITIES.index(key[0]), order[key[1]], key[2]))
    lines += [_row(key, findings) for key in keys]
    if findings.broken:
        lines += ["", "## Broken", ""] + [f"- {line}" for line in findings.broken[:100]]
    return "\n".join(lines) + "\n"


def _row(key: tuple[str, str, str], findings: Findings) -> str:
    quick, plain, auto, doubled = (findings.cell(*key, tier) for tier in TIERS)
    cells = [
        *key, str(plain.points),
        *(_number(cell.ulps) for cell in (quick, plain, auto, doubled)),
        f"{doubled.rounded_ulps:.4f}" if doubled.rounded_ulps < 10 else _number(
            doubled.rounded_ulps),
        " / ".join(_number(cell.ratio) for cell in (quick, plain, auto, doubled)),
        str(plain.undecided), f"`{_spelled(plain.at)}`",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _number(size: float) -> str:
    return f"{size:.3f}" if size == 0 or 0.01 <= size < 1000 else f"{size:.1e}"


def _kernels() -> str:
    try:
        info = np.lib.introspect.opt_func_info(func_name="^(exp|log1p)$", signature="float64")
    except AttributeError:  # numpy before 2.1
        return "unknown"
    targets = [
        f"{name} {entry['current']}"
        for name, kernels in sorted(info.items())
        for entry in kernels.values()
    ]
    return ", ".join(targets) or "baseline (no dispatch)"


def write_atomically(path: Path, text: str) -> None:
    """Replaces the file, or leaves the old one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bce_conformance.reference.certify", description=__doc__)
    parser.add_argument("--points", type=int, default=150_000, help="points a quantity")
    parser.add_argument("--seed", type=int, default=20240229)
    parser.add_argument("--output", type=Path, default=None, help="where ACCURACY.md goes")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    findings = certify(options.points, options.seed)
    text = report(findings, options.points, options.seed, time.perf_counter() - started)
    if options.output is None:
        sys.stdout.write(text)
    else:
        write_atomically(options.output, text)
    for line in findings.broken[:20]:
        print(line, file=sys.stderr)
    return 1 if findings.broken else 0


if __name__ == "__main__":
    sys.exit(main())
