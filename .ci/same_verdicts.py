"""Holds the reports of a run against the published ones: each documented check has its verdict.

usage: python same_verdicts.py PUBLISHED NEW      (two folders of reports)

Generated checks are drawn by a library that may draw otherwise in its next release, so their
verdicts are not compared; but none may fail. mindspore alone gets a warning there: its results
differ from call to call (docs/findings/mindspore.md), now and then by more than a tolerance.
"""

import sys
from pathlib import Path

from bce_conformance.report.read import read, reports_in


def verdicts(folder: Path) -> dict[str, dict[str, str]]:
    """Check ids and verdicts, by report file."""
    reports = {file.name.removesuffix(".gz"): read(file) for file in reports_in(folder)}
    if not reports:
        sys.exit(f"{folder}: expected reports, found none")
    return {
        name: {c["id"]: c["verdict"] for c in r["checks"] if c["kind"] == "documented"}
        for name, r in reports.items()
    }


FAILING = ("deviates", "fixed", "crashed", "timed-out")
UNSTEADY = "mindspore-"


def failing(folder: Path) -> list[str]:
    """Generated checks that fail, each a line; the unsteady backend's are printed only."""
    lines = []
    for file in reports_in(folder):
        report = read(file)
        for check in report["checks"]:
            if check["kind"] != "documented" and check["verdict"] in FAILING:
                line = f"{file.name}: {check['id']}: {check['summary']}"
                if file.name.startswith(UNSTEADY):
                    print(f"warning: {line}")
                else:
                    lines.append(line)
        if report["interrupted"] or report["broken"]:
            lines.append(f"{file.name}: interrupted or broken")
    return lines


def differences(published: dict[str, str], new: dict[str, str]) -> list[str]:
    """One line for each check that differs."""
    ids = sorted(published.keys() | new.keys())
    return [
        f"{check}: {published.get(check, 'absent')} -> {new.get(check, 'absent')}"
        for check in ids
        if published.get(check) != new.get(check)
    ]


def main(published_folder: str, new_folder: str) -> int:
    published, new = verdicts(Path(published_folder)), verdicts(Path(new_folder))
    lines = failing(Path(new_folder))
    for name in sorted(published.keys() | new.keys()):
        if name not in published or name not in new:
            lines.append(f"{name}: only {'published' if name in published else 'new'}")
            continue
        lines += [f"{name}: {line}" for line in differences(published[name], new[name])]
    print("\n".join(lines) or f"{len(new)} reports have the published verdicts")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
