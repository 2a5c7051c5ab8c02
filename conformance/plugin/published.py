"""The published tolerances of released frameworks, for tests that compare against their loss.

`published.json` is made from the project's reports:

    python -m bce_conformance.plugin.published reports
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from ..judging.accuracy import DOMAIN, USUAL_RTOL
from ..model.call import QUANTITIES
from ..model.dtypes import FLOATS
from ..report.document import is_sweep
from ..report.read import read, reports_in
from ..report.write import atomically, json_text

Json = dict[str, Any]
FILE = Path(__file__).with_name("published.json")
EXPLAINED = (
    "rtol: the default of torch.testing.assert_close for the dtype; atol: the smallest with which "
    "|got - due| <= atol + rtol*|due| held for every element, over all surfaces of the release; "
    f"{DOMAIN}"
)
KEYS = ("adapter", "release", "device", "mode", "dtype", "quantity", "reduction")


@dataclass(frozen=True)
class Tolerance(Mapping[str, float]):
    """rtol and atol, as in assert_close(actual, expected, **tolerance); and what they are of.

    ulp: the largest error seen, in units in the last place of the dtype.
    """

    rtol: float
    atol: float
    ulp: float
    release: str

    def __getitem__(self, name: str) -> float:
        return {"rtol": self.rtol, "atol": self.atol}[name]

    def __iter__(self) -> Iterator[str]:
        return iter(("rtol", "atol"))

    def __len__(self) -> int:
        return 2


@dataclass(frozen=True)
class Tolerances:
    """The fixture `bce_tolerance`."""

    def __call__(
        self,
        framework: str,
        dtype: str,
        quantity: str = "forward",
        *,
        reduction: str = "none",
        device: str = "cpu",
        release: str | None = None,
    ) -> Tolerance:
        """The published tolerance of a framework's loss; of its installed release if None is named.

        quantity: forward, grad.logits, grad.target, grad.weight, grad.pos_weight, hessian.logits;
        reduction: none, mean or sum. The test fails, in a line, where nothing is published.
        """
        __tracebackhide__ = True
        try:
            version = release or installed(framework, device)
            return tolerance(framework, version, device, dtype, quantity, reduction)
        except Unpublished as error:
            pytest.fail(f"bce_tolerance: {error}", pytrace=False)


class Unpublished(Exception):
    """What there is no published tolerance of, and of what there is one."""


@cache
def installed(framework: str, device: str) -> str:
    """The release of a framework in this interpreter. Raises Unpublished."""
    from ..adapters import module_of
    from ..session import BackendUnavailable, LocalSession
    from .backends import adapters

    adapter = adapters().get(framework)
    if adapter is None:
        raise Unpublished(f"expected a framework, {_or(sorted(_releases()))}, not {framework!r}")
    try:
        return LocalSession(module_of(adapter.file), device=device).backend.framework_version
    except BackendUnavailable as error:
        raise Unpublished(str(error)) from None


@cache
def table() -> list[Json]:
    rows: list[Json] = json.loads(FILE.read_text(encoding="utf-8"))["tolerances"]
    return rows


def _releases() -> dict[str, list[str]]:
    """Framework → the releases that are published."""
    found: dict[str, list[str]] = {}
    for row in table():
        of = found.setdefault(row["adapter"], [])
        if row["release"] not in of:
            of.append(row["release"])
    return found


def tolerance(
    framework: str, release: str, device: str, dtype: str, quantity: str, reduction: str
) -> Tolerance:
    """The published one. Builds of one release (2.13.0+cpu, 2.13.0+cu130) count as one.

    Raises Unpublished.
    """
    known = _releases().get(framework)
    if known is None:
        there = ", ".join(f"{name} {_or(of)}" for name, of in sorted(_releases().items()))
        raise Unpublished(f"{framework} {release}: nothing is published of it; there is {there}")
    same = [each for each in known if _public(each) == _public(release)]
    if not same:
        raise Unpublished(f"{framework} {release} has no published report; known: {_or(known)}")
    rows = [row for row in table() if row["adapter"] == framework and row["release"] in same]
    for name, value in (("device", device.partition(":")[0]), ("dtype", dtype),
                        ("quantity", quantity), ("reduction", reduction)):  # fmt: skip
        published = sorted({row[name] for row in rows})
        rows = [row for row in rows if row[name] == value]
        if not rows:
            what = f"{framework} {same[0]}: no published {name} {value!r}"
            raise Unpublished(f"{what}; there is {_or(published)}")
    (row,) = rows
    return Tolerance(row["rtol"], row["atol"], row["max_ulp"], f"{framework} {row['release']}")


def _or(words: Sequence[str]) -> str:
    return ", ".join(words)


def _public(release: str) -> str:
    return Version(release).public


def published_by(reports: Sequence[Json]) -> Json:
    """The table that the reports of eager mode amount to; the worst surface of each row counts."""
    rows: dict[tuple[str, ...], Json] = {}
    for report in reports:
        backend = report["backend"]
        if is_sweep(report) or backend["mode"] != "eager":
            continue
        for row in report["accuracy"]:
            found = _row(backend, row)
            key = tuple(found[name] for name in KEYS)
            rows[key] = _worse(rows.get(key, found), found)
    return {"explained": EXPLAINED, "tolerances": sorted(rows.values(), key=_place)}


def _row(backend: Json, row: Json) -> Json:
    (atol,) = row["smallest_atol"].values()
    return {
        "adapter": backend["adapter"],
        "release": backend["framework_version"],
        "device": backend["device"].partition(":")[0],
        "mode": backend["mode"],
        "dtype": row["dtype"],
        "quantity": row["quantity"],
        "reduction": row["reduction"],
        "rtol": USUAL_RTOL[row["dtype"]],
        "atol": atol,
        "max_ulp": row["max_ulp"],
    }


def _worse(one: Json, other: Json) -> Json:
    return {**one, **{name: max(one[name], other[name]) for name in ("atol", "max_ulp")}}


def _place(row: Json) -> tuple[object, ...]:
    return (
        row["adapter"],
        Version(row["release"]),
        row["device"],
        list(FLOATS).index(row["dtype"]),
        row["reduction"],
        QUANTITIES.index(row["quantity"]),
    )


def main(folder: str) -> None:
    files = reports_in(Path(folder))
    reports = [read(file) for file in files]
    atomically(FILE, json_text(published_by(reports)))


if __name__ == "__main__":
    main(*sys.argv[1:])
