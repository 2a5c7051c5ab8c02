"""What sweeps found, as a page: one table of figures, and the cliffs in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Json = dict[str, Any]

HEAD = "# Sweeps: every logit there is"
COLUMNS = ("release", "dtype", "target", "quantity", "results", "largest error, ulp", "at",
           "correctly rounded", "beyond stable", "beyond strict", "verdict", "surfaces", "seconds",
           "times the framework")  # fmt: skip
QUANTITIES = {"forward": "loss", "grad.logits": "gradient"}
TOLD = (
    "Surfaces with the same figures share a line, and their seconds add up. `times the framework`",
    "is the sweep's time over that of the framework alone on the same tiles (float32).",
)


def page(reports: Sequence[Json]) -> str:
    """A page about the reports of sweeps, in their order."""
    lines = [HEAD, "", *TOLD, "", *table(reports), "", "## Where results break off", ""]
    for report in reports:
        found = list(dict.fromkeys(_cliffs(report)))
        if found:
            lines += [f"### {_release(report)}, {report['accuracy'][0]['dtype']}", "", *found, ""]
    return "\n".join(lines).rstrip() + "\n"


def table(reports: Sequence[Json]) -> Iterator[str]:
    """Every figure, a line each."""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|---|---|---|---|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|"
    for report in reports:
        verdicts = {check["id"]: check["verdict"] for check in report["checks"]}
        alike: dict[tuple[str, ...], list[Json]] = {}
        for row in report["accuracy"]:
            alike.setdefault(tuple(_cells(report, row, verdicts)), []).append(row)
        for cells, rows in alike.items():
            yield "| " + " | ".join((*cells, *_times(rows))) + " |"


def _cells(report: Json, row: Json, verdicts: dict[str, str]) -> Iterator[str]:
    sweep = row["sweep"]
    suffix = "" if row["quantity"] == "forward" else f":{row['quantity']}"
    check = f"{row['surface']}/sweep/{sweep['name']}[{row['dtype']},none]{suffix}"
    where = next((c["at"] for c in sweep["cells"] if c["max_ulp"] == row["max_ulp"]), None)
    yield _release(report)
    yield row["dtype"] + ("" if sweep["logits"] == "every" else ", sampled")
    yield sweep["name"].removeprefix("target-")
    yield QUANTITIES[row["quantity"]]
    yield f"{row['elements']:,}"
    if not row["elements"]:
        yield from ("",) * 5
        yield f"refused ({verdicts[check]})"
        return
    yield f"{row['max_ulp']:.4g}"
    yield "" if where is None else f"{float(where):.9g}"
    yield f"{100 * row['correctly_rounded'] / row['elements']:.2f} %"
    yield f"{row['beyond']['stable']:,}"
    yield f"{row['beyond']['strict']:,}"
    yield verdicts[check]


def _times(rows: Sequence[Json]) -> Iterator[str]:
    yield str(len(rows))
    yield f"{sum(row['seconds_total'] for row in rows):.1f}"
    ratio = rows[0]["time_ratio"] if rows[0]["dtype"] == "float32" else None
    yield "" if ratio is None else f"{ratio:.2f}"


def _release(report: Json) -> str:
    backend = report["backend"]
    mode = "" if backend["mode"] == "eager" else f" {backend['mode']}"
    return f"{backend['adapter']} {backend['framework_version']} on {backend['device']}{mode}"


def _cliffs(report: Json) -> Iterator[str]:
    """Those of the targets 0 and 1 without weights, which stand for the rest."""
    for row in report["accuracy"]:
        if row["sweep"]["name"].startswith("target-"):
            for cliff in row["sweep"]["cliffs"]:
                yield f"- target {cliff['target']}: {cliff['sentence']}."
