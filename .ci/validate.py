"""Validates one release of a framework against the last published report of that framework.

usage: python validate.py "torch==2.14.0rc1"     (through tox: `tox run -e validate -- REQUIREMENT`)

Makes the framework's tox environment with that requirement in place of the pinned one, runs the
suite in it, compares the report with the published one, and writes what changed as a page. The
comparison decides, not the run: what was known of the last release is no news about this one.

Exit status: 0 nothing new; 1 something new or less exact, or a run that did not finish; 2 a bad
requirement or option; 3 the environment could not be built, or the framework not started.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bce_conformance.adapters import available
from bce_conformance.known import load_known, shipped_known
from bce_conformance.report.document import backend_from_json
from bce_conformance.report.read import read
from bce_conformance.report.write import atomically

ROOT = Path(__file__).resolve().parent.parent
RELEASES = ROOT / ".tox" / "releases"
"""Where the environments of releases under validation are made."""
Json = dict[str, Any]

ENVIRONMENTS = {
    "torch": "torch",
    "paddlepaddle": "paddle",
    "oneflow": "oneflow",
    "mindspore": "mindspore",
}
"""The tox environment, which is the backend too, that tests a distribution."""

PAGE_LIMIT = 1_000_000
"""Bytes of a job's page. The service refuses one of more than 1 MiB, the whole of it."""

NOTHING_NEW, NEW, BAD_USAGE, NOT_STARTED = 0, 1, 2, 3


class Stopped(Exception):
    """There is nothing to compare: an exit status, and why, in one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    try:
        return validate(options)
    except Stopped as error:
        print(f"validate: {error}", file=sys.stderr)
        add_to_job_page(f"# Not validated\n\n    {error}\n")
        return error.status


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="validate", description=(__doc__ or "").split("\n")[0])
    top.add_argument("requirement", metavar="REQUIREMENT", help='such as "torch==2.14.0rc1"')
    top.add_argument("--profile", choices=("quick", "standard", "full"), default="standard")
    top.add_argument("--drift", metavar="FACTOR", help="by which the largest errors may grow")
    top.add_argument("--published", type=Path, metavar="REPORT",
                     help="compare with it (default: the newest one in reports/)")  # fmt: skip
    top.add_argument("--report-dir", type=Path, default=Path("bce-reports"), metavar="DIR")
    top.add_argument("--python", metavar="PATH",
                     help="an interpreter that has the release: none is made")  # fmt: skip
    return top


def validate(options: argparse.Namespace) -> int:
    requirement = parsed(options.requirement)
    backend = ENVIRONMENTS[canonicalize_name(requirement.name)]
    published = options.published or last_published(ROOT / "reports", backend)
    if not published.is_file():
        raise Stopped(BAD_USAGE, f"--published: {published}: no such file")
    python = options.python or built(requirement, backend)
    folder = options.report_dir.resolve()
    report = run(backend, python, folder, options.profile)
    changes = folder / "changes.md"
    differs = compared(published.resolve(), report, changes, options.drift)
    outcome = Outcome(
        requirement=str(requirement),
        published=published.name,
        differs=differs,
        otherwise=deviates_otherwise(read(report)),
        unfinished=unfinished(read(published), read(report)),
    )
    matrix = front((folder / "summary.md").read_text(encoding="utf-8"))
    page = outcome.page(changes.read_text(encoding="utf-8"), matrix)
    atomically(folder / "page.md", page)
    add_to_job_page(page)
    print(f"\n{outcome.headline}")
    print("\n".join(outcome.reasons()))
    return outcome.status


def front(summary: str) -> str:
    """The findings and the matrix of a summary, without the sections of each release below."""
    findings, heading, rest = summary.partition("\n## What passed and failed\n")
    return findings + heading + rest.split("\n## ")[0]


# ---- the requirement


def parsed(text: str) -> Requirement:
    """The requirement. Raises Stopped for what is none, or is of no framework tested here."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        why = str(error).splitlines()[0]
        message = f"expected a requirement such as torch==2.14.0rc1, not {text!r}: {why}"
        raise Stopped(BAD_USAGE, message) from None
    if canonicalize_name(requirement.name) not in ENVIRONMENTS:
        message = f"expected one of {', '.join(ENVIRONMENTS)}, not {requirement.name!r}"
        raise Stopped(BAD_USAGE, message)
    return requirement


def last_published(folder: Path, backend: str) -> Path:
    """The newest release's report of a backend on a CPU. Raises Stopped where there is none."""
    found = sorted(folder.glob(f"{backend}-*-cpu-eager.json*"), key=age)
    if not found:
        message = f"{folder}: there is no published report of {backend} to compare with"
        raise Stopped(BAD_USAGE, message)
    return found[-1]


def age(report: Path) -> Version:
    """The version in a report's name; before all others if it is none."""
    try:
        return Version(report.name.split("-", 1)[1].partition("-cpu-eager.json")[0])
    except InvalidVersion:
        return Version("0.dev0")


# ---- the environment, the run, the comparison: each a command that is shown


def built(requirement: Requirement, backend: str) -> str:
    """The interpreter of an environment of the release's own; the others stay as they are.

    Raises Stopped where it cannot be built.
    """
    command = [sys.executable, "-m", "tox", "run", "-e", backend, "--workdir", str(RELEASES),
               "--force-dep", str(requirement), "--skip-missing-interpreters", "false"]  # fmt: skip
    if not pinned(requirement):
        command.append("--recreate")  # what is there may satisfy it and yet not be the newest
    # This is run by tox itself, whose own settings are about another environment.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TOX_")}
    done = shown(command, environment)
    if done != 0:
        message = f"could not be built with {requirement}, or does not import it: tox exited with"
        raise Stopped(NOT_STARTED, f"the tox environment {backend} {message} {done}")
    return str(RELEASES / backend / "bin" / "python")


def pinned(requirement: Requirement) -> bool:
    exact = any(s.operator in ("==", "===") and not s.version.endswith(".*")
                for s in requirement.specifier)  # fmt: skip
    return exact or requirement.url is not None


def run(backend: str, python: str, folder: Path, profile: str) -> Path:
    """The report of a run, whose own verdict decides nothing here. Raises Stopped."""
    before = reports(folder, backend)
    done = shown([sys.executable, "-m", "bce_conformance", "run", "--profile", profile,
                  "--backend", f"{backend}={python}", "--report-dir", str(folder),
                  "--junit", str(folder / "junit.xml")])  # fmt: skip
    if done not in (0, 1):
        raise Stopped(done, f"bce-conformance run exited with {done}: there is nothing to compare")
    (written,) = (p for p, when in reports(folder, backend).items() if before.get(p) != when)
    return written


def reports(folder: Path, backend: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob(f"{backend}-*.json")}


def compared(published: Path, report: Path, changes: Path, drift: str | None) -> bool:
    """Whether something is new or less exact; writes `changes`. Raises Stopped."""
    command = [sys.executable, "-m", "bce_conformance", "diff", str(published), str(report),
               "--markdown", str(changes), *(["--drift", drift] if drift else [])]  # fmt: skip
    done = shown(command)
    if done not in (NOTHING_NEW, NEW):
        raise Stopped(done, f"bce-conformance diff exited with {done}")
    return done == NEW


def shown(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """The exit status of a command, which is printed before it runs."""
    print("+ " + shlex.join(command), flush=True)
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


# ---- what decides


@dataclass(frozen=True)
class Outcome:
    """What came of it. differs: `diff` found something new, or errors that grew."""

    requirement: str
    published: str
    differs: bool
    otherwise: tuple[str, ...]
    unfinished: tuple[str, ...]

    @property
    def status(self) -> int:
        return NEW if self.reasons() else NOTHING_NEW

    @property
    def headline(self) -> str:
        found = "fails" if self.status else "nothing new"
        return f"{self.requirement}: {found}, compared with {self.published}"

    def reasons(self) -> list[str]:
        lines = ["something is NEW or has DRIFTED for the worse"] if self.differs else []
        lines += [f"deviates otherwise than is known of it: {check}" for check in self.otherwise]
        return [*lines, *self.unfinished]

    def page(self, changes: str, matrix: str) -> str:
        """Markdown: the verdict, why, what changed, and the matrix of the run."""
        reasons = "".join(f"- {reason}\n" for reason in self.reasons())
        parts = [f"# {self.headline}\n", reasons, changes, matrix.rstrip() + "\n"]
        return "\n".join(part for part in parts if part)


def deviates_otherwise(report: Json) -> tuple[str, ...]:
    """Checks that deviate although an entry of cases/known is about them and this release.

    `diff` compares verdicts: where the published report has `known`, a deviation of another kind
    is none to it. Releases that no entry is about (older ones, mostly) have nothing here.
    """
    backend = backend_from_json(report["backend"])
    entries = load_known([shipped_known()], available())
    about = {entry.check for entry in entries if entry.applies(backend)}
    return tuple(c["id"] for c in report["checks"] if c["verdict"] == "deviates"
                 and c["id"] in about)  # fmt: skip


def unfinished(published: Json, report: Json) -> tuple[str, ...]:
    """Why the run did not get to its end in order, if it did not."""
    return tuple(_unfinished(published, report))


def _unfinished(published: Json, report: Json) -> Iterator[str]:
    if report["broken"] or report["interrupted"]:
        yield f"the run did not finish: {report['broken'] or 'interrupted'}"
    if len(report["lost_workers"]) > len(published["lost_workers"]):
        yield f"workers died between calls: {len(report['lost_workers'])}"


# ---- the job's page


def add_to_job_page(page: str) -> None:
    """Appends to the page of a GitHub job, if this is one."""
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(file, "a", encoding="utf-8") as out:
            out.write(shortened(page, PAGE_LIMIT))


def shortened(page: str, limit: int) -> str:
    """A page of at most `limit` bytes of UTF-8: whole lines from its start, and how many lack."""
    if len(page.encode()) <= limit:
        return page
    lines, kept, room = page.splitlines(keepends=True), 0, limit - 200
    for line in lines:
        room -= len(line.encode())
        if room < 0:
            break
        kept += 1
    note = f"\n… and {len(lines) - kept} more lines: page.md, among the job's artifacts, has all.\n"
    return "".join(lines[:kept]) + note


if __name__ == "__main__":
    sys.exit(main())
