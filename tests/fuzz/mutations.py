"""Damaged reports, as many as asked for, through every command that reads one.

    python tests/fuzz/mutations.py --count 10000 [--seed N]

prints how often each command ended with which exit status, and every internal error. Nothing but 0,
1, 2 and 3 is right, and what is refused (2) is refused in one line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bce_conformance.cli import main as command

ODD: tuple[Any, ...] = (
    None, True, -1, 10**30, 1e308, "", "\\ud800", "\x1b[31m", "\u202e", "x" * 5000, [], {}, [[]],
    {"a": 1}, "numpy=./evil.sh", "../../etc/passwd", 0.5, "NaN", [None],
)  # fmt: skip
"""Values that a place in a report gets instead of its own."""
BYTES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    lambda draw, data: data[: draw.randrange(len(data))],
    lambda draw, data: data.replace(b'"', b"\xff", 1),
    lambda draw, data: b"[" * draw.choice((1, 5000, 200_000)),
    lambda draw, data: data.replace(b"0", b"9" * 5000, 1),
    lambda draw, data: data.replace(b": 0", b": NaN", 1),
    lambda draw, data: b"",
)
COMMANDS = ("report", "html", "diff", "merge", "replay")


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON value, as the keys that lead to it."""
    found = [at] if at else []
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(each, (*at, key))
    return found


def mutated(draw: random.Random, text: str) -> bytes:
    """The report with a few places changed or removed, or its bytes damaged."""
    if draw.random() < 0.1:
        return draw.choice(BYTES)(draw, text.encode())
    report = json.loads(text)
    for _ in range(draw.randint(1, 3)):
        *way, last = draw.choice(places(report))
        holder = report
        for key in way:
            holder = holder[key]
        if draw.random() < 0.25:
            del holder[last]
        else:
            holder[last] = draw.choice(ODD)
        if not report:
            break
    return json.dumps(report).encode("utf-8", "surrogatepass")


def ran(name: str, file: Path, good: Path, check: str) -> tuple[int, str]:
    """The exit status of a command on a damaged report, and what it wrote to standard error."""
    out = file.parent / "out"
    words = {
        "report": ["report", str(file)],
        "html": ["report", str(file), "--html", str(out / "page.html")],
        "diff": ["diff", str(good), str(file)],
        "merge": ["merge", str(file), "-o", str(out)],
        "replay": ["replay", str(file), check],
    }[name]
    error = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
        status = command(words)
    return status, error.getvalue()


def campaign(good: Path, count: int, seed: int, commands: tuple[str, ...]) -> Counter[str]:
    """Exit statuses by command; what is wrong with one is a key that begins with WRONG."""
    draw, text = random.Random(seed), good.read_text(encoding="utf-8")
    check = json.loads(text)["checks"][0]["id"]
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "damaged.json")
        for _ in range(count):
            data, name = mutated(draw, text), draw.choice(commands)
            file.write_bytes(data)
            status, error = ran(name, file, good, check)
            found[f"{name} {status}"] += 1
            if status not in (0, 1, 2, 3) or (status == 2 and error.count("\n") != 1):
                found[f"WRONG {name} {status}: {error[:300]}"] += 1
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            command(["run", "--backend", "numpy", "--only", "cases", "--report-dir", folder])
        (good,) = Path(folder).glob("*.json")
        found = campaign(good, options.count, options.seed, COMMANDS)
    print("\n".join(f"{n:6} {what}" for what, n in sorted(found.items())))
    return int(any(what.startswith("WRONG") for what in found))


if __name__ == "__main__":
    sys.exit(main())
