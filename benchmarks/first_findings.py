"""How soon the generated questions find each known deviation, seed by seed, as a table.

    python benchmarks/first_findings.py --backend paddle=/path/to/python [--seeds 10]

Pinned witnesses are not asked: a deviation counts where a drawn call shows it. Seconds run from
the first generated call, over all dtypes, and over one surface unless --surface names more.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from bce_conformance.adapters import available
from bce_conformance.commands.select import Target, targets
from bce_conformance.generate.plan import Plan
from bce_conformance.judging.errors import forget
from bce_conformance.known import Known, load_known, shipped_known
from bce_conformance.running.engine import applying
from bce_conformance.running.generated import GeneratedRun
from bce_conformance.session import IsolatedSession

FOUND = ("known", "deviates", "crashed", "timed-out")


@dataclass(frozen=True)
class Seed:
    """One run: when each check was first seen to fail, and which failed that nobody knows of."""

    seed: int
    seconds: float
    found: dict[str, float]
    unknown: tuple[str, ...]


def run(target: Target, surfaces: tuple[str, ...], seed: int, profile: str) -> Seed:
    forget()
    with session_of(target) as session:
        known = known_of(session, surfaces)
        by_check = {entry.check: entry for entry in known}
        generated_run = GeneratedRun(
            session, target.adapter, Plan(seed, profile), surfaces, "stable", by_check
        )
        start, found = time.perf_counter(), {}
        unknown: list[str] = []
        for _, checks in generated_run.checks():
            now = time.perf_counter() - start
            found.update({c.id: now for c in checks if c.verdict in FOUND})
            unknown += [c.id for c in checks if c.verdict in FOUND and c.verdict != "known"]
        return Seed(seed, time.perf_counter() - start, found, tuple(unknown))


def session_of(target: Target) -> IsolatedSession:
    return target.session("cpu", "eager", 60.0, None)


def known_of(session: IsolatedSession, surfaces: tuple[str, ...]) -> list[Known]:
    return [
        entry
        for entry in applying(load_known([shipped_known()], available()), session.backend).values()
        if entry.witness.surface in surfaces and entry.witness.kind != "documented"
    ]


def table(known: list[Known], runs: list[Seed]) -> Iterator[str]:
    yield "| deviation | checks | found by seeds | missed by a seed | first found after (s) |"
    yield "|---|--:|--:|---|---|"
    by_entry: dict[int, list[Known]] = {}
    for each in known:
        by_entry.setdefault(each.line, []).append(each)
    for entries in by_entry.values():
        names = [entry.check for entry in entries]
        first = [min((r.found[n] for n in names if n in r.found), default=None) for r in runs]
        seen = [seconds for seconds in first if seconds is not None]
        missed = sorted({f"`{n.split('/', 1)[1]}` (seed {r.seed})"
                         for r in runs for n in names if n not in r.found})  # fmt: skip
        text = f"{min(seen):.1f} to {max(seen):.1f}, median {median(seen):.1f}" if seen else "never"
        least = "<br>".join(missed[:4]) + (f" and {len(missed) - 4} more" if missed[4:] else "")
        reason = entries[0].reason.replace("|", "\\|")
        yield f"| {reason} | {len(names)} | {len(seen)} of {len(runs)} | {least or '–'} | {text} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--backend", required=True)
    parser.add_argument("--surface", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--profile", default="standard")
    options = parser.parse_args()
    (target,) = targets([options.backend], None, available())
    surfaces = tuple(options.surface) or target.adapter.surfaces[:1]
    with session_of(target) as session:
        known, release = known_of(session, surfaces), session.backend.framework_version
    runs = []
    for seed in range(options.seeds):
        made = run(target, surfaces, seed, options.profile)
        runs.append(made)
        text = f"seed {seed}: {len(made.found)} of {len(known)} checks in {made.seconds:.1f} s"
        print(text, *made.unknown, sep="\n  not known: ", file=sys.stderr, flush=True)
    print(f"{target.adapter.name} {release}, {', '.join(surfaces)}, profile {options.profile}, "
          f"{options.seeds} seeds, {median(r.seconds for r in runs):.0f} s a seed\n")  # fmt: skip
    print("\n".join(table(known, runs)))
    return int(any(r.unknown for r in runs))


if __name__ == "__main__":
    sys.exit(main())
