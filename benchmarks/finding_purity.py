"""How well findings separate causes: one planted bug should be one finding, two should be two.

    python benchmarks/finding_purity.py --python PATH [--bugs N] [--pairs N] [--seed N]

PATH is an interpreter with torch. Single bugs are those of tests/planted, each run by the suite's
own command line; a pair is the correct loss plus what each of two bugs adds to it, so that both are
there at once, in the gradients too. Prints a Markdown table and the shares that the docs quote.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLANTED = ROOT / "tests" / "planted"
Json = dict[str, Any]

PAIR = """\
import importlib.util, sys
from pathlib import Path

sys.path.insert(0, {planted!r})


def load(file, name):
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


from torch.nn.functional import binary_cross_entropy_with_logits as correct

one, other = load({one_file!r}, {one!r}), load({other_file!r}, {other!r})


def both(input, target, *, weight=None, reduction="mean", pos_weight=None):
    given = dict(weight=weight, reduction=reduction, pos_weight=pos_weight)
    right = correct(input, target, **given)
    return one(input, target, **given) + other(input, target, **given) - right
"""


def planted() -> list[Any]:
    """The planted bugs of torch that fail the stable grade."""
    spec = importlib.util.spec_from_file_location("table", PLANTED / "table.py")
    assert spec is not None and spec.loader is not None
    table = importlib.util.module_from_spec(spec)
    sys.modules["table"] = table
    spec.loader.exec_module(table)
    return [loss for loss in table.losses("torch") if loss.is_bug and loss.grade == "stable"]


def findings(loss: str, python: str) -> list[Json]:
    """The findings of a quick run in float32 on one loss, `FILE:NAME`; empty where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder, "known.yaml")
        known.touch()
        command = [sys.executable, "-m", "bce_conformance", "run", "--backend", "torch",
                   "--python", python, "--known", str(known), "--loss", loss, "--dtype", "float32",
                   "--profile", "quick", "--report-dir", folder]  # fmt: skip
        subprocess.run(command, capture_output=True, text=True)
        reports = [json.loads(f.read_text(encoding="utf-8")) for f in Path(folder).glob("*.json")]
    return [finding for report in reports for finding in report["findings"]]


def single(bug: Any, python: str) -> tuple[str, list[Json]]:
    return bug.name, findings(f"{bug.file}:{bug.name}", python)


def pair(one: Any, other: Any, python: str) -> tuple[str, list[Json]]:
    source = PAIR.format(planted=str(PLANTED), one_file=str(one.file), other_file=str(other.file),
                         one=one.name, other=other.name)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pair.py")
        file.write_text(source, encoding="utf-8")
        return f"{one.name} + {other.name}", findings(f"{file}:both", python)


def row(name: str, found: Sequence[Json]) -> str:
    titles = "; ".join(each["title"].replace("|", "\\\\|") for each in found[:3])
    return f"| {name} | {len(found)} | {titles} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--python", required=True, help="an interpreter with torch")
    parser.add_argument("--bugs", type=int, default=40, help="single bugs, drawn at random")
    parser.add_argument("--pairs", type=int, default=20, help="pairs of bugs, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, bugs = random.Random(options.seed), planted()
    chosen = draw.sample(bugs, min(options.bugs, len(bugs)))
    print("| bug | findings | the first titles |\n|---|--:|---|")
    singles = []
    for bug in chosen:
        name, found = single(bug, options.python)
        singles.append(len(found))
        print(row(name, found), flush=True)
    caught = [n for n in singles if n]
    print(f"\nexactly one finding: {caught.count(1)} of {len(caught)} bugs; "
          f"most: {max(caught, default=0)}\n")  # fmt: skip
    counts = []
    for _ in range(options.pairs):
        name, found = pair(*draw.sample(bugs, 2), options.python)
        counts.append(len(found))
        print(row(name, found), flush=True)
    seen = [n for n in counts if n]
    print(f"\nexactly two findings: {seen.count(2)} of {len(seen)} pairs; "
          f"merged into one: {seen.count(1)}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
