"""The table of issue 3: which planted bugs the suite catches, by which check, and whom it accuses.

    python tests/planted/table.py --python PATH [--backend torch] [--seeds N] [--only NAME …]
                                  [--in-turn] [--journal FILE]

Each bug is one run of the suite's own command line with `--loss`; the correct losses share one run
a seed, and with it the reference. --in-turn: a seed asks them in one dtype, the next in another.
A Markdown table goes to stdout (or -o FILE). Exit status 1 if a bug survives or a correct loss is
accused, 2 if a run could not be made at all. Losses are read from their files without importing
them, for the framework is in another interpreter.

The whole takes hours. With --journal each run is written down as soon as it is made, and one that
stands there, made with the same options, is not made again: remove the file when the suite changes.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FILES = {
    "torch": (
        "bugs_of_the_formula.py",
        "bugs_of_the_gradients.py",
        "bugs_of_reductions.py",
        "bugs_of_the_contract.py",
        "correct.py",
    ),
    "numpy": ("numpy_losses.py",),
    "paddle": ("paddle_losses.py",),
    "oneflow": ("oneflow_losses.py",),
    "mindspore": ("mindspore_losses.py",),
}
DTYPES = ("float32", "float16", "bfloat16", "float64")
ACCUSING = ("deviates", "crashed", "timed-out")
MARKS_OF_CORRECT = ("correct", "written_as")


@dataclass(frozen=True)
class Loss:
    """A loss in a file. named_by is None for a correct one; see `parts.planted`."""

    file: Path
    name: str
    wrong: str
    named_by: tuple[str, ...] | None
    grade: str = "stable"

    @property
    def is_bug(self) -> bool:
        return self.named_by is not None


@dataclass(frozen=True)
class Run:
    """One run of the suite on a loss: the checks that accuse it, and those the strict grade names.

    failed is what the command said where it made no report.
    """

    loss: Loss
    seed: int
    seconds: float
    accusing: tuple[str, ...] = ()
    beyond_strict: tuple[str, ...] = ()
    failed: str = ""

    @property
    def telling(self) -> tuple[str, ...]:
        """The checks that count for a bug, those that name it first."""
        found = self.accusing if self.loss.grade == "stable" else self.beyond_strict
        return tuple(sorted(found, key=lambda check: not self._is_named(check)))

    @property
    def named(self) -> bool:
        return any(self._is_named(check) for check in self.telling)

    def _is_named(self, check: str) -> bool:
        return any(names(pattern, check) for pattern in self.loss.named_by or ())

    @property
    def as_expected(self) -> bool:
        """A bug is caught (a strict one without failing the stable grade), a correct loss not."""
        if self.failed:
            return False
        if not self.loss.is_bug:
            return not self.accusing
        within = self.loss.grade == "stable" or not self.accusing
        return bool(self.telling) and within


def names(pattern: str, check: str) -> bool:
    """Whether "series:part:part" matches a check's id: SURFACE/KIND/SERIES[PART,PART]:PART."""
    family, *parts = pattern.split(":")
    tail = check.rsplit("/", 1)[-1]
    name, _, rest = tail.partition("[")
    inside, _, quantity = rest.partition("]")
    present = {*inside.split(","), quantity.lstrip(":") or "forward"}
    return fnmatchcase(name, family) and present.issuperset(parts)


def losses(backend: str) -> Iterator[Loss]:
    """Every bug and correct loss of a framework, in the order of their files."""
    for name in FILES[backend]:
        tree = ast.parse((HERE / name).read_text(encoding="utf-8"))
        for function in tree.body:
            if isinstance(function, ast.FunctionDef):
                yield from _marked(HERE / name, function)


def _marked(file: Path, function: ast.FunctionDef) -> Iterator[Loss]:
    wrong = (ast.get_docstring(function) or "").splitlines()[:1]
    for mark in function.decorator_list:
        if isinstance(mark, ast.Name) and mark.id in MARKS_OF_CORRECT:
            yield Loss(file, function.name, "".join(wrong), None)
        if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "planted":
            named_by = tuple(ast.literal_eval(argument) for argument in mark.args)
            grades = [ast.literal_eval(k.value) for k in mark.keywords if k.arg == "grade"]
            yield Loss(file, function.name, "".join(wrong), named_by, *grades)


@dataclass(frozen=True)
class Journal:
    """The runs made so far with the same options, one JSON object a line; None: in no file."""

    file: Path | None
    options: tuple[str, ...]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def runs(self) -> dict[tuple[str, int], dict[str, Any]]:
        """What was written down, by loss and seed. A line that a killed run left half is none."""
        found = {}
        for line in self._lines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry["options"] == list(self.options):
                found[entry["loss"], entry["seed"]] = entry
        return found

    def _lines(self) -> list[str]:
        there = self.file is not None and self.file.exists()
        return self.file.read_text(encoding="utf-8").splitlines() if self.file and there else []

    def write(self, made: Run) -> None:
        """Adds a run; one that could not be made is tried again the next time."""
        if self.file is None or made.failed:
            return
        entry = {"loss": made.loss.name, "seed": made.seed, "options": self.options,
                 "seconds": round(made.seconds, 1), "accusing": made.accusing,
                 "beyond_strict": made.beyond_strict}  # fmt: skip
        with self._lock, self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(entry) + "\n")


def from_journal(loss: Loss, entry: dict[str, Any]) -> Run:
    return Run(loss, entry["seed"], entry["seconds"], tuple(entry["accusing"]),
               tuple(entry["beyond_strict"]))  # fmt: skip


def run(loss: Loss, seed: int, backend: str, python: str, more: Sequence[str]) -> Run:
    """The suite's command line on one loss, and what its report says."""
    (made,) = run_together((loss,), seed, backend, python, more)
    return made


def run_together(
    losses: Sequence[Loss], seed: int, backend: str, python: str, more: Sequence[str]
) -> list[Run]:
    """The suite's command line on losses, and what its report says of each."""
    with tempfile.TemporaryDirectory() as folder:
        nothing_known = Path(folder, "known.yaml")  # nothing is known of a loss of one's own
        nothing_known.touch()
        command = [sys.executable, "-m", "bce_conformance", "run", "--backend", backend,
                   "--python", python, "--known", str(nothing_known),
                   *(word for loss in losses for word in ("--loss", f"{loss.file}:{loss.name}")),
                   "--seed", str(seed), "--report-dir", folder, *more]  # fmt: skip
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = (time.monotonic() - start) / len(losses)
        reports = [json.loads(file.read_text()) for file in sorted(Path(folder).glob("*.json"))]
    if done.returncode not in (0, 1) or len(reports) != 1 or reports[0]["broken"]:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["nothing"]
        failed = f"exit status {done.returncode}: {said[0]}"
        return [Run(loss, seed, seconds, failed=failed) for loss in losses]
    return [Run(loss, seed, seconds, *accusations(reports[0], loss)) for loss in losses]


def accusations(report: dict[str, Any], loss: Loss) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of the checks that fail, and of those that conform but not to the strict grade."""
    checks = [c for c in report["checks"] if c["surface"] == f"{loss.file.name}:{loss.name}"]
    failing = tuple(c["id"] for c in checks if c["verdict"] in ACCUSING)
    strict = tuple(
        c["id"] for c in checks if c["verdict"] == "conforms" and c.get("strict") is False
    )
    return failing, strict


def markdown(runs: Sequence[Run]) -> str:
    bugs = [r for r in runs if r.loss.is_bug]
    right = [r for r in runs if not r.loss.is_bug]
    lines = [*_totals(bugs, right), ""]
    if bugs:
        lines += ["| bug | what is wrong | caught | by its name | failing checks | s |",
                  "|---|---|---|---|---|--:|"]  # fmt: skip
        lines += [_row(r) for r in bugs]
        lines.append("")
    if right:
        lines += ["| correct loss | runs | accused | of what | s a run |", "|---|--:|--:|---|--:|"]
        lines += [
            _row_of_correct(name, right) for name in dict.fromkeys(r.loss.name for r in right)
        ]
    return "\n".join(lines) + "\n"


def _totals(bugs: Sequence[Run], right: Sequence[Run]) -> list[str]:
    caught, named = sum(r.as_expected for r in bugs), sum(r.named for r in bugs)
    accused = sum(bool(r.accusing) for r in right)
    failed = [r for r in (*bugs, *right) if r.failed]
    lines = []
    if bugs:
        lines.append(f"Planted bugs: {caught} of {len(bugs)} caught, {named} of them by a check "
                     "whose name says what is wrong.  ")  # fmt: skip
    if right:
        kinds = len({r.loss.name for r in right})
        lines.append(f"Correct losses: {accused} of {len(right)} runs of {kinds} losses accused.  ")
    if failed:
        lines.append(f"Runs that could not be made: {len(failed)}.  ")
    return lines


def _row(r: Run) -> str:
    shown = "<br>".join(f"`{short(check)}`" for check in r.telling[:3])
    more = len(r.telling) - 3
    message = r.failed or (shown + (f" and {more} more" if more > 0 else ""))
    caught = ("yes" if r.as_expected else "**NO**") + (
        " (strict)" if r.loss.grade == "strict" else ""
    )
    named = "yes" if r.named else "no"
    wrong = r.loss.wrong.replace("|", "\\|")
    return f"| {r.loss.name} | {wrong} | {caught} | {named} | {message} | {r.seconds:.1f} |"


def _row_of_correct(name: str, runs: Sequence[Run]) -> str:
    mine = [r for r in runs if r.loss.name == name]
    accused = [r for r in mine if r.accusing or r.failed]
    message = "<br>".join(
        f"seed {r.seed}: {r.failed or ', '.join(f'`{short(c)}`' for c in r.accusing[:3])}"
        for r in accused[:3]
    )
    seconds = sum(r.seconds for r in mine) / len(mine)
    return f"| {name} | {len(mine)} | {len(accused)} | {message} | {seconds:.1f} |"


def short(check: str) -> str:
    """A check's id without the surface, which is the loss itself."""
    return check.split("/", 1)[-1].replace("|", "\\|")


Task = tuple[tuple[Loss, ...], int]
"""Losses that share a run, and its seed."""


def planned(backend: str, only: Sequence[str], seeds: Sequence[int]) -> list[Task]:
    chosen = [
        loss
        for loss in losses(backend)
        if not only or any(fnmatchcase(loss.name, o) or loss.file.stem == o for o in only)
    ]
    right = tuple(loss for loss in chosen if not loss.is_bug)
    bugs: list[Task] = [((loss,), seeds[0]) for loss in chosen if loss.is_bug]
    return [*bugs, *((right, seed) for seed in seeds if right)]


class Made:
    """The runs of tasks, each made once where there is a journal."""

    def __init__(self, options: argparse.Namespace, more: Sequence[str]) -> None:
        self.options, self.more = options, more
        in_turn = ("--in-turn",) if options.in_turn else ()
        self.journal = Journal(options.journal, (options.backend, *more, *in_turn))
        self.before = self.journal.runs()

    def of(self, task: Task) -> list[Run]:
        losses, seed = task
        there = [loss for loss in losses if (loss.name, seed) in self.before]
        runs = [from_journal(loss, self.before[loss.name, seed]) for loss in there]
        missing = tuple(loss for loss in losses if loss not in there)
        return [*runs, *(self._new((missing, seed)) if missing else ())]

    def _new(self, task: Task) -> list[Run]:
        losses, seed = task
        words = (*self.more, *self._dtype(task))
        runs = run_together(losses, seed, self.options.backend, self.options.python, words)
        for run in runs:
            self.journal.write(run)
            mark = "as due" if run.as_expected else run.failed or "NOT AS DUE"
            print(f"{run.loss.name} seed {seed}: {mark}, {run.seconds:.1f} s", file=sys.stderr)
        return runs

    def _dtype(self, task: Task) -> tuple[str, ...]:
        (first, *_), seed = task
        turns = self.options.in_turn and not first.is_bug
        return ("--dtype", DTYPES[seed % len(DTYPES)]) if turns else ()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--backend", choices=sorted(FILES), default="torch")
    parser.add_argument("--python", default=sys.executable, help="which has the framework")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each correct loss")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--only", action="append", default=[], metavar="NAME",
                        help="a loss, a pattern of names or a file; may be repeated")  # fmt: skip
    parser.add_argument("--profile", default="standard")
    parser.add_argument("--in-turn", action="store_true",
                        help="correct losses: one dtype a seed, the next in the next")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--journal", type=Path, help="where each run is written down, and read")
    parser.add_argument("-o", "--output", type=Path, help="where the table goes, too")
    options, more = parser.parse_known_args()
    more = ["--profile", options.profile, *more]
    seeds = range(options.seed, options.seed + options.seeds)
    plan = planned(options.backend, options.only, seeds)
    if not plan:
        parser.error("no such loss")

    made = Made(options, more)
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = [one for some in pool.map(made.of, plan) for one in some]
    table = markdown(runs)
    print(table, end="")
    if options.output:
        options.output.write_text(table, encoding="utf-8")
    if any(r.failed for r in runs):
        return 2
    return 0 if all(r.as_expected for r in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
