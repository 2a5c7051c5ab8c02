"""One surface of one column: its claims, its quantities, special values, what is left open."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...model.call import QUANTITIES
from ...model.dtypes import FLOATS
from ..diff import Change
from .backend import Backend, counted, plural
from .changed import CLAIMS, changes_of_a_cell
from .evidence import (
    BAD,
    Held,
    Kept,
    exact,
    findings,
    kind_of,
    share_of_check,
    share_of_row,
    share_shown,
    swept,
    worst_of,
)
from .figure import at_bits, figure
from .special import is_tabled, special
from .view import GRAVEST, Claim, Claims, Detail, Elsewhere, Said, Surface, gravest

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


def surfaces(each: Backend, title: str, figures: Once) -> tuple[Surface, ...]:
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
    tested = {*(h.check["quantity"] for h in others), *(row["quantity"] for _, row in rows)}
    quantities = [q for q in (*QUANTITIES, "none") if q in tested]
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
            counted(alike),
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
        changes_of_a_cell(changes),
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
        counts=counted(held),
        worst=None if found else worst_of(plain, held),
        findings=found,
        exact=tuple(exact(row) for row in plain if row["elements"]),
        figures=tuple(drawn),
        same_figures=tuple(elsewhere),
        no_figure="",
        changes=changes_of_a_cell(changes),
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
    targets = f"{cells} {'pairs of target and pos_weight' if paired else plural('target', cells)}"
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
