"""Reports in, the view of the page out."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...diff import LABELS, Change, Difference, row_name
from ...dtypes import FLOATS
from ...vocabulary import QUANTITIES
from ..changes import release
from ..markdown import VARIANT
from .evidence import (
    BAD,
    Held,
    Kept,
    exact,
    findings,
    kind_of,
    reason,
    share_of_check,
    share_of_row,
    share_shown,
    swept,
    worst_of,
)
from .figure import at_bits, figure
from .special import is_tabled, special
from .view import (
    GRAVEST,
    Cell,
    Changed,
    ChangeList,
    Claim,
    Claims,
    Column,
    Count,
    Detail,
    Elsewhere,
    Fact,
    Group,
    Line,
    Page,
    Said,
    Surface,
    gravest,
)

Json = dict[str, Any]

QUANTITY_NAMES = {
    "forward": "loss",
    "grad.logits": "∂ logits",
    "grad.target": "∂ target",
    "grad.weight": "∂ weight",
    "grad.pos_weight": "∂ pos_weight",
    "hessian.logits": "∂² logits",
    "none": "the call",
}
DTYPES = tuple(FLOATS)
CLAIMS = "claims"
SWEEP = "sweep"
MOST_CHANGES = 60
MOST_CHANGES_OF_A_CELL = 8


@dataclass
class Backend:
    """The reports of one column: those of runs, and of sweeps."""

    anchor: str
    kept: list[Kept] = field(default_factory=list)
    changes: dict[tuple[str, str], list[Change]] = field(default_factory=dict)

    @property
    def first(self) -> Json:
        return self.kept[0].report

    @property
    def backend(self) -> Json:
        return dict(self.first["backend"])

    @property
    def held(self) -> list[Held]:
        return [Held(kept, check) for kept in self.kept for check in kept.report["checks"]]

    @property
    def rows(self) -> list[tuple[Kept, Json]]:
        return [(kept, row) for kept in self.kept for row in kept.report["accuracy"]]


@dataclass
class Once:
    """What is shown once on the page, and where, for others that would show the same."""

    places: dict[str, Elsewhere] = field(default_factory=dict)

    def met(self, content: object, here: Elsewhere) -> Elsewhere | None:
        """Where that is already; None the first time, which is noted as here."""
        key = json.dumps(content, sort_keys=True, default=str)
        if key in self.places:
            return self.places[key]
        self.places[key] = here
        return None


def view(reports: Sequence[Kept], differences: Sequence[Difference] | None) -> Page:
    """The page about some reports; differences from the release before, None if not compared.

    Raises KeyError, TypeError or ValueError where a report is not as the schema says.
    """
    backends = _backends(reports)
    for each in backends:
        _note_changes(each, differences or ())
    figures = Once()
    columns = tuple(_column(each, figures) for each in backends)
    return Page(
        columns=columns,
        groups=tuple(_groups(columns)),
        compared=differences is not None,
        changed=tuple(_changed(each) for each in differences or ()),
        labels=LABELS,
        suite=", ".join(sorted({kept.report["suite"]["version"] for kept in reports})),
    )


def _is_sweep(report: Json) -> bool:
    return bool(report["suite"]["profile"] == SWEEP)


def _key(report: Json) -> tuple[str, ...]:
    backend = report["backend"]
    return tuple(str(backend[k]) for k in ("adapter", "framework_version", "device", "mode"))


def _backends(reports: Sequence[Kept]) -> list[Backend]:
    """Reports of one release, device and mode together; a second run of them stands apart.

    The releases of a framework stand side by side, in the order in which they are met.
    """
    found: dict[tuple[str, ...], Backend] = {}
    ordered = sorted(reports, key=lambda kept: _is_sweep(kept.report))
    for kept in ordered:
        key, again = _key(kept.report), 1
        while not _is_sweep(kept.report) and (*key, str(again)) in found:
            again += 1
        found.setdefault((*key, str(again)), Backend("")).kept.append(kept)
    frameworks = list(dict.fromkeys(key[0] for key in found))
    placed = sorted(found, key=lambda key: frameworks.index(key[0]))
    for index, key in enumerate(placed, 1):
        found[key].anchor = f"b{index}"
    return [found[key] for key in placed]


def _counted(held: Iterable[Held]) -> tuple[Count, ...]:
    counts = Counter(each.verdict for each in held)
    return tuple(Count(v, counts[v]) for v in GRAVEST if counts[v])


# ---- a column


def _column(each: Backend, figures: Once) -> Column:
    held, backend = each.held, each.backend
    where = f"{backend['device']}, {backend['mode']}"
    title = f"{backend['adapter']} {backend['framework_version']}, {where}"
    surfaces = _surfaces(each, title, figures)
    details = [(_bare(s.name, backend["adapter"]), d) for s in surfaces for d in s.details]
    on, worst = max(details, key=lambda pair: _badness(pair[1]), default=("", None))
    return Column(
        anchor=each.anchor,
        framework=backend["adapter"],
        version=backend["framework_version"],
        where=where,
        verdict=gravest(h.verdict for h in held) if held else "unsupported",
        headline=_headline(held, each),
        worst=None if worst is None else Elsewhere(worst.anchor, f"{worst.name} of {on}"),
        worst_told="" if worst is None else _how_far(worst),
        counts=_counted(held),
        warnings=tuple(_warnings(each)),
        environment=tuple(_environment(each)),
        surfaces=surfaces,
    )


def _badness(detail: Detail) -> tuple[float, float]:
    return -GRAVEST.index(detail.verdict), -1.0 if detail.share is None else detail.share


def _how_far(detail: Detail) -> str:
    return f"{detail.number} × the tolerance" if detail.share is not None else detail.number


def _bare(surface: str, framework: str) -> str:
    """A surface's name without its framework's, under which several frameworks have it."""
    return surface.removeprefix(f"{framework}.")


FAILED = {"crashed": "crashed", "timed-out": "timed out", "deviates": "deviate",
          "fixed": "are known and no longer there"}  # fmt: skip
"""What checks of a failing verdict do, after their number."""


def _headline(held: Sequence[Held], each: Backend) -> str:
    counts = Counter(h.verdict for h in held)
    failing = ", ".join(f"{counts[v]:,} {word}" for v, word in FAILED.items() if counts[v])
    known = [h for h in held if h.verdict == "known"]
    causes = len({reason(h) for h in known})
    on_record = (
        f"{len(known):,} known {_plural('deviation', len(known))} of {causes} "
        f"{_plural('cause', causes)}"
    )
    what = "sweeps only: " if all(_is_sweep(kept.report) for kept in each.kept) else ""
    if failing:
        more = f", beside {on_record}" if known else ""
        return f"{what}of {len(held):,} checks {failing}{more}"
    if known:
        return f"{what}nothing new deviates; {on_record} among {len(held):,} checks"
    return f"{what}nothing deviates in {len(held):,} checks"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


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
        told = f"{report['questions']:,} questions in {times['seconds']:,} s"
        made = times.get("generated") or {}
        if made.get("elements"):
            told += f"; generated: {made['examples']:,} examples, {made['elements']:,} elements"
        yield Fact(kept.name, f"{told}; begun {times['started']}")


# ---- a surface


def _surfaces(each: Backend, title: str, figures: Once) -> tuple[Surface, ...]:
    of_surface: dict[str, list[Held]] = defaultdict(list)
    for held in each.held:
        of_surface[held.check["surface"]].append(held)
    names = [*each.backend["surfaces"], *of_surface, *(row["surface"] for _, row in each.rows)]
    met = Once()
    made = []
    for index, name in enumerate(dict.fromkeys(names), 1):
        rows = [(kept, row) for kept, row in each.rows if row["surface"] == name]
        if of_surface[name] or rows:
            anchor = f"{each.anchor}s{index}"
            made.append(_surface(each, anchor, name, title, of_surface[name], rows, figures, met))
    return tuple(_with_figures_of_others(made))


def _surface(
    each: Backend,
    anchor: str,
    name: str,
    title: str,
    held: Sequence[Held],
    rows: Sequence[tuple[Kept, Json]],
    figures: Once,
    met: Once,
) -> Surface:
    documented = [h for h in held if h.check["kind"] == "documented"]
    others = [h for h in held if h.check["kind"] != "documented"]
    asked = {*(h.check["quantity"] for h in others), *(row["quantity"] for _, row in rows)}
    quantities = [q for q in (*QUANTITIES, "none") if q in asked]
    details = tuple(
        _detail(
            Elsewhere(f"{anchor}q{index}", f"{QUANTITY_NAMES[q]} of {name}, {title}"),
            QUANTITY_NAMES[q],
            [h for h in others if h.check["quantity"] == q],
            [(kept, row) for kept, row in rows if row["quantity"] == q],
            each.changes.get((name, q), ()),
            figures,
        )
        for index, q in enumerate(quantities, 1)
    )
    table, where = special(others), None
    if table is not None:
        where = met.met(table, Elsewhere(f"{anchor}special", name))
    left_open, count = _left_open([h for h in others if not is_tabled(h)])
    open_at = met.met(left_open, Elsewhere(f"{anchor}open", name)) if left_open else None
    return Surface(
        anchor=anchor,
        name=name,
        claims=_claims(anchor, documented, each.changes.get((name, CLAIMS), ())),
        details=details,
        special=table if where is None else None,
        special_at=where,
        left_open=left_open if open_at is None else (),
        left_open_count=count,
        open_at=open_at,
    )


LEFT_OPEN = ("characterised", "unsupported", "refused")


def _left_open(held: Sequence[Held]) -> tuple[tuple[Said, ...], int]:
    """What is on no side, alike answers to variants of one case together, and how many checks."""
    alike: dict[tuple[str, str, str], list[Held]] = defaultdict(list)
    for each in held:
        if each.verdict in LEFT_OPEN:
            alike[each.case, each.verdict, each.check["summary"]].append(each)
    said = []
    for (case, verdict, summary), variants in alike.items():
        more = f"{case} ({len(variants)} variants)" if len(variants) > 1 else variants[0].name
        said.append(Said(more, verdict, summary))
    return tuple(said), sum(map(len, alike.values()))


def _claims(anchor: str, held: Sequence[Held], changes: Sequence[Change]) -> Claims | None:
    if not held:
        return None
    sentences: dict[tuple[str, str], list[Held]] = defaultdict(list)
    for each in held:
        source = each.check["source"]
        sentences[source["document"], source["sentence"]].append(each)
    claims = [
        Claim(
            gravest(h.verdict for h in alike),
            document,
            sentence,
            _counted(alike),
            tuple(_said(alike)),
        )
        for (document, sentence), alike in sentences.items()
    ]
    judged = [c for c in claims if c.verdict in BAD or c.verdict == "conforms"]
    return Claims(
        f"{anchor}claims",
        gravest(claim.verdict for claim in claims),
        sum(claim.verdict == "conforms" for claim in judged),
        len(judged),
        tuple(sorted(claims, key=lambda claim: GRAVEST.index(claim.verdict))),
        findings(held),
        _changes_of_a_cell(changes),
    )


def _said(held: Sequence[Held]) -> Iterator[Said]:
    """The checks of a claim, variants of one case together; what deviates stands in `findings`."""
    cases: dict[tuple[str, str], list[Held]] = defaultdict(list)
    for each in held:
        cases[each.case, each.verdict].append(each)
    for (case, verdict), variants in cases.items():
        name = case.removeprefix("documented/")
        more = f" ({len(variants)} variants)" if len(variants) > 1 else ""
        summary = "see above" if verdict in BAD else variants[0].check["summary"]
        yield Said(name + more, verdict, summary)


# ---- a quantity


def _detail(
    here: Elsewhere,
    name: str,
    held: Sequence[Held],
    rows: Sequence[tuple[Kept, Json]],
    changes: Sequence[Change],
    figures: Once,
) -> Detail:
    found = findings(held)
    plain = sorted((row for _, row in rows), key=lambda row: DTYPES.index(row["dtype"]))
    shares = [share_of_row(row, kept.grade) for kept, row in rows]
    bad = [share_of_check(h.check) for h in held if h.verdict in BAD]
    share = max((n for n in (bad or shares) if n is not None), default=None)
    drawn, elsewhere = [], []
    for row in plain:
        if row.get("sweep", {}).get("blocks"):
            met = figures.met(_figures_of(row), here)
            if met is None:
                caption = f"{row['dtype']}, {swept(row)}"
                drawn.append(figure(row, caption, _told(row)))
            elif met not in elsewhere:
                elsewhere.append(met)
    return Detail(
        anchor=here.anchor,
        name=name,
        title=here.title,
        verdict=gravest(h.verdict for h in held) if held else _verdict_of_rows(rows),
        share=share,
        number=kind_of(held) if bad and share is None else share_shown(share),
        counts=_counted(held),
        worst=None if found else worst_of(plain, held),
        findings=found,
        exact=tuple(exact(row) for row in plain if row["elements"]),
        figures=tuple(drawn),
        same_figures=tuple(elsewhere),
        no_figure="",
        changes=_changes_of_a_cell(changes),
    )


def _verdict_of_rows(rows: Sequence[tuple[Kept, Json]]) -> str:
    """Of a quantity that was measured but not checked."""
    beyond = any(row["grades"][kept.grade] == "beyond" for kept, row in rows)
    return "deviates" if beyond else "conforms"


def _figures_of(row: Json) -> Json:
    """What two drawings would have in common if they were the same."""
    sweep = {k: row["sweep"][k] for k in ("name", "logits", "cells", "cliffs", "blocks")}
    return {"dtype": row["dtype"], "quantity": row["quantity"], **sweep}


def _told(row: Json) -> str:
    sweep = row["sweep"]
    cells = len(sweep["cells"])
    logits = "every finite logit" if sweep["logits"] == "every" else "logits sampled by exponent"
    paired = any(cell["pos_weight"] for cell in sweep["cells"])
    targets = f"{cells} {'pairs of target and pos_weight' if paired else _plural('target', cells)}"
    nearest = 100 * row["correctly_rounded"] / max(row["elements"], 1)
    worst = max(sweep["blocks"], key=lambda block: float(block["max_ulp"]))
    at = f" at x = {at_bits(row['dtype'], worst['at'])}" if worst["at"] else ""
    return (
        f"{row['elements']:,} results ({logits}, {targets}): at most {row['max_ulp']:.4g} ulp{at}; "
        f"{nearest:.2f} % correctly rounded; beyond the strict grade {row['beyond']['strict']:,}, "
        f"beyond the stable grade {row['beyond']['stable']:,}."
    )


def _with_figures_of_others(surfaces: Sequence[Surface]) -> Iterator[Surface]:
    """Surfaces that were not swept point to one of the same column that was."""
    swept: dict[str, Elsewhere] = {}
    for surface in surfaces:
        for detail in surface.details:
            if detail.figures or detail.same_figures:
                swept.setdefault(detail.name, Elsewhere(detail.anchor, surface.name))
    for surface in surfaces:
        details = tuple(_pointing(detail, swept) for detail in surface.details)
        yield replace(surface, details=details)


def _pointing(detail: Detail, swept: dict[str, Elsewhere]) -> Detail:
    if detail.figures or detail.same_figures:
        return detail
    other = swept.get(detail.name)
    if other is None:
        why = "No sweep of this is among the reports; bce-conformance sweep makes one."
        return replace(detail, no_figure=why)
    why = "Swept on another surface of this release:"
    return replace(detail, no_figure=why, same_figures=(other,))


# ---- the matrix


def _groups(columns: Sequence[Column]) -> Iterator[Group]:
    """Surfaces by the name that they have without their framework's, the most common first."""
    named: dict[str, dict[int, Surface]] = defaultdict(dict)
    for index, column in enumerate(columns):
        for surface in column.surfaces:
            named[_bare(surface.name, column.framework)][index] = surface
    frameworks = {name: len({columns[i].framework for i in own}) for name, own in named.items()}
    for name in sorted(named, key=lambda n: -frameworks[n]):
        own = [named[name].get(index) for index in range(len(columns))]
        lines = [_line("claims", own, _claims_cell)]
        for quantity in QUANTITY_NAMES.values():
            lines.append(_line(quantity, own, _quantity_cell(quantity)))
        yield Group(name, tuple(line for line in lines if any(line.cells)))


def _line(
    name: str, surfaces: Sequence[Surface | None], made: Callable[[Surface], Cell | None]
) -> Line:
    cells = tuple(None if surface is None else made(surface) for surface in surfaces)
    quiet = all(cell is None or cell.verdict not in BAD for cell in cells)
    return Line(name, cells, quiet)


def _claims_cell(surface: Surface) -> Cell | None:
    claims = surface.claims
    if claims is None:
        return None
    return Cell(claims.anchor, claims.verdict, f"{claims.kept}/{claims.all}", "claims kept")


def _quantity_cell(quantity: str) -> Callable[[Surface], Cell | None]:
    def made(surface: Surface) -> Cell | None:
        for detail in surface.details:
            if detail.name == quantity:
                label = "times the tolerance" if detail.share is not None else ""
                return Cell(detail.anchor, detail.verdict, detail.number, label)
        return None

    return made


# ---- changes


def _note_changes(each: Backend, differences: Sequence[Difference]) -> None:
    """Hands the changes of this column to its cells."""
    for difference in differences:
        if not any(difference.new is kept.report for kept in each.kept):
            continue
        places = {**_places(difference.old), **_places(difference.new)}
        for change in difference.changes:
            each.changes.setdefault(places[change.name], []).append(change)


def _places(report: Json) -> dict[str, tuple[str, str]]:
    """The cell of each check and row of figures, by what changes call it."""
    found = {row_name(row): (row["surface"], row["quantity"]) for row in report["accuracy"]}
    for check in report["checks"]:
        documented = check["kind"] == "documented"
        found[check["id"]] = (check["surface"], CLAIMS if documented else check["quantity"])
    return found


def _changes_of_a_cell(changes: Sequence[Change]) -> tuple[Said, ...]:
    """Its changes, those of one case together; what is too much is counted."""
    cases: list[list[Change]] = []
    for label in LABELS:
        cases += _alike([change for change in changes if change.label == label])
    said = [_change(alike) for alike in cases[:MOST_CHANGES_OF_A_CELL]]
    rest = sum(map(len, cases[MOST_CHANGES_OF_A_CELL:]))
    if rest:
        said.append(Said(f"{rest} more", "…", "told by bce-conformance diff"))
    return tuple(said)


def _changed(each: Difference) -> Changed:
    lists = []
    for label in LABELS:
        own = _alike([change for change in each.changes if change.label == label])
        if own:
            rest = sum(len(alike) for alike in own[MOST_CHANGES:])
            lists.append(ChangeList(label, tuple(map(_change, own[:MOST_CHANGES])), rest))
    return Changed(
        title=f"{release(each.old)} → {each.new['backend']['framework_version']}"
        + (f" ({each.new['accuracy'][0]['dtype']} sweep)" if _swept(each.new) else ""),
        counts=tuple(each.count(label) for label in LABELS),
        unchanged=each.unchanged,
        notes=each.notes,
        lists=tuple(lists),
    )


def _alike(changes: Sequence[Change]) -> list[list[Change]]:
    """The changes of one case together, whatever the surface, the dtype and the quantity."""
    cases: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        cases[VARIANT.sub("", change.name.partition("/")[2] or change.name)].append(change)
    return list(cases.values())


def _change(alike: Sequence[Change]) -> Said:
    first = alike[0]
    more = f" and {len(alike) - 1} like it" if len(alike) > 1 else ""
    return Said(first.name + more, first.label, first.summary)


def _swept(report: Json) -> bool:
    return _is_sweep(report) and bool(report["accuracy"])
