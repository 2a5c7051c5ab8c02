"""Reports in, the view of the page out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..diff import LABELS, Difference
from ..document import is_sweep
from ..findings_text import counted as counted_findings
from ..findings_text import numbers, spans
from .backend import Backend, backends, bare, counted, plural
from .changed import changed, note_changes
from .evidence import LONGEST_PASTE, MOST_TOLERANCES, Held, Kept, reason
from .grid import groups
from .surface import Once, surfaces
from .view import GRAVEST, Card, Column, Elsewhere, Fact, Page, Paste, Surface, gravest


def view(reports: Sequence[Kept], differences: Sequence[Difference] | None) -> Page:
    """The page about some reports; differences from the release before, None if not compared.

    Raises KeyError, TypeError or ValueError where a report is not as the schema says.
    """
    found = backends(reports)
    for each in found:
        note_changes(each, differences or ())
    figures = Once()
    columns = tuple(_column(each, figures) for each in found)
    return Page(
        columns=columns,
        groups=tuple(groups(columns)),
        compared=differences is not None,
        changed=tuple(changed(each) for each in differences or ()),
        labels=LABELS,
        suite=", ".join(sorted({kept.report["suite"]["version"] for kept in reports})),
    )


def _column(each: Backend, figures: Once) -> Column:
    held, backend = each.held, each.backend
    where = f"{backend['device']}, {backend['mode']}"
    title = f"{backend['adapter']} {backend['framework_version']}, {where}"
    made = surfaces(each, title, figures)
    worst = max(_places(made, backend["adapter"]), key=lambda place: place.rank, default=None)
    return Column(
        anchor=each.anchor,
        framework=backend["adapter"],
        version=backend["framework_version"],
        where=where,
        verdict=gravest(h.verdict for h in held) if held else "unsupported",
        headline=_headline(held, each),
        sentence=_sentence(each),
        cards=tuple(_cards(each)),
        worst=None if worst is None else worst.where,
        worst_told="" if worst is None else worst.told,
        counts=counted(held),
        warnings=tuple(_warnings(each)),
        environment=tuple(_environment(each)),
        surfaces=made,
    )


@dataclass(frozen=True)
class _Place:
    """A cell that may be the worst of its column; the larger its rank, the worse."""

    rank: tuple[float, float]
    where: Elsewhere
    told: str


def _places(made: Sequence[Surface], framework: str) -> Iterator[_Place]:
    for surface in made:
        name, claims = bare(surface.name, framework), surface.claims
        if claims is not None:
            rank = (-float(GRAVEST.index(claims.verdict)), -2.0)
            told = f"{claims.kept} of {claims.all} passed"
            yield _Place(rank, Elsewhere(claims.anchor, f"claims of {name}"), told)
        for detail in surface.details:
            share, told = detail.share, detail.number
            rank = (-float(GRAVEST.index(detail.verdict)), -1.0 if share is None else share)
            told += " × the tolerance" if share is not None and share < MOST_TOLERANCES else ""
            yield _Place(rank, Elsewhere(detail.anchor, f"{detail.name} of {name}"), told)


def _sentence(each: Backend) -> str:
    """How many findings, and whether the release conforms."""
    found = [finding for kept in each.kept for finding in kept.report["findings"]]
    new = [finding for finding in found if finding["verdict"] != "known"]
    if new:
        return f"{counted_findings(found)}."
    return (
        f"Nothing new deviates: {counted_findings(found)}." if found else "Conforms: no findings."
    )


VERDICTS = {"new": "deviates", "fixed": "fixed", "known": "known"}
"""The verdict by which a finding is marked."""


def _cards(each: Backend) -> Iterator[Card]:
    for kept in each.kept:
        for finding in kept.report["findings"]:
            crash = finding["severity"] == "crash" and finding["verdict"] == "new"
            code = finding["reproduce"]
            fits = bool(code) and len(code) <= LONGEST_PASTE
            yield Card(
                verdict="crashed" if crash else VERDICTS[finding["verdict"]],
                title=finding["title"],
                numbers=numbers(finding),
                spans=spans(finding),
                paste=Paste(finding["id"], code if fits else None, kept.replay(finding["id"])),
            )


FAILED = {
    "crashed": ("crashed", "crashed"),
    "timed-out": ("timed out", "timed out"),
    "deviates": ("deviates", "deviate"),
    "fixed": ("is known and no longer there", "are known and no longer there"),
}
"""What a check of a failing verdict does, and what several do, after their number."""


def _headline(held: Sequence[Held], each: Backend) -> str:
    counts = Counter(h.verdict for h in held)
    failing = ", ".join(
        f"{counts[v]:,} {one if counts[v] == 1 else several}"
        for v, (one, several) in FAILED.items()
        if counts[v]
    )
    among = f"{len(held):,} {plural('check', len(held))}"
    known = [h for h in held if h.verdict == "known"]
    causes = len({reason(h) for h in known})
    on_record = (
        f"{len(known):,} known {plural('deviation', len(known))} of {causes} "
        f"{plural('cause', causes)}"
    )
    what = "sweeps only: " if all(is_sweep(kept.report) for kept in each.kept) else ""
    if failing:
        more = f", and {on_record}" if known else ""
        return f"{what}{failing} of {among}{more}"
    if known:
        return f"{what}nothing new deviates; {on_record} among {among}"
    return f"{what}nothing deviates in {among}"


def _warnings(each: Backend) -> Iterator[str]:
    for kept in each.kept:
        report = kept.report
        if report["interrupted"]:
            yield f"{kept.name}: interrupted after {len(report['checks']):,} checks."
        if report["broken"]:
            yield f"{kept.name}: the backend was lost. {report['broken']}"
        if report["suite"]["shard"]:
            yield f"{kept.name}: only shard {report['suite']['shard']} of the run."
        for death in report["lost_workers"]:
            yield f"{kept.name}: a worker died after {death['after']}: {death['cause']}"


def _environment(each: Backend) -> Iterator[Fact]:
    backend, suite = each.backend, each.first["suite"]
    yield Fact("release", f"{backend['adapter']} {backend['framework_version']}")
    yield Fact("device", f"{backend['device']} ({backend['device_name']})")
    yield Fact("mode", backend["mode"])
    yield Fact("platform", backend["platform"])
    yield Fact("Python", backend["python"])
    yield Fact("numpy", backend["numpy"])
    yield Fact("CPU flags", " ".join(backend["cpu_flags"]))
    yield Fact("suite", f"{suite['version']}, profile {suite['profile']}, seed {suite['seed']}, "
                        f"grade {suite['grade']}")  # fmt: skip
    for kept in each.kept:
        times, report = kept.report["times"], kept.report
        told = f"{report['questions']:,} tests in {times['seconds']:,} s"
        made = times.get("generated") or {}
        if made.get("elements"):
            told += f"; generated: {made['examples']:,} examples, {made['elements']:,} elements"
        yield Fact(kept.name, f"{told}; begun {times['started']}")
