"""The HTML page: it loads nothing, is sound for a screen reader, and says what the reports say."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from page_tree import Element, tree

from bce_conformance.report.diff import difference
from bce_conformance.report.html.evidence import LONGEST_PASTE, Kept
from bce_conformance.report.html.render import page
from bce_conformance.report.html.view import WORDS
from bce_conformance.report.read import read, reports_in

Json = dict[str, Any]
REPORTS = Path(__file__).parent.parent.parent / "reports"
LIMIT = 2_000_000
BAD = {"deviates", "fixed", "crashed", "timed-out", "known"}


def kept(paths: list[Path]) -> list[Kept]:
    return [Kept(path.name, read(path)) for path in paths]


@pytest.fixture(scope="module")
def published() -> list[Kept]:
    return kept(reports_in(REPORTS) + reports_in(REPORTS / "sweeps"))


@pytest.fixture(scope="module")
def text(published: list[Kept]) -> str:
    return page(published)


@pytest.fixture(scope="module")
def root(text: str) -> Element:
    return tree(text)


def of(adapter: str, published: list[Kept], *, sweeps: bool = False) -> list[Kept]:
    return [
        each for each in published
        if each.report["backend"]["adapter"] == adapter
        and (sweeps or each.report["suite"]["profile"] != "sweep")
    ]  # fmt: skip


# ---- it stands alone


def test_it_is_small(text: str) -> None:
    assert len(text.encode()) < LIMIT


def test_it_loads_nothing(root: Element) -> None:
    tags = Counter(element.tag for element in root)
    assert tags["style"] == tags["script"] == 1
    for tag in ("link", "img", "iframe", "object", "embed", "form", "base", "audio", "video"):
        assert not tags[tag], tag
    for element in root:
        for name, value in element.attributes.items():
            assert not name.startswith("on") and name not in ("style", "src", "srcset", "action")
            assert name != "href" or value.startswith("#"), value
    style = root.one("style").text
    assert "url(" not in style and "@import" not in style


def test_the_policy_names_the_style_and_the_script(root: Element) -> None:
    meta = next(m for m in root.all("meta") if m.attributes.get("http-equiv"))
    assert meta.attributes["http-equiv"] == "Content-Security-Policy"
    policy = dict(part.strip().split(" ", 1) for part in meta.attributes["content"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    for tag in ("style", "script"):
        digest = hashlib.sha256(root.one(tag).text.encode()).digest()
        assert policy[f"{tag}-src"] == f"'sha256-{base64.b64encode(digest).decode()}'"


def test_the_same_reports_give_the_same_bytes(tmp_path: Path) -> None:
    """In other processes too, where sets have other orders."""
    report = REPORTS / "oneflow-0.9.0-cpu-eager.json.gz"
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "bce_conformance", "report", str(report)]
        subprocess.run(
            [*command, "--html", str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


# ---- it is sound


def test_ids_are_unique_and_links_lead_somewhere(root: Element) -> None:
    ids = Counter(e.attributes["id"] for e in root if "id" in e.attributes)
    assert {name: count for name, count in ids.items() if count > 1} == {}
    for element in root:
        for name in ("href", "aria-labelledby", "aria-describedby", "for"):
            for target in element.attributes.get(name, "").split():
                assert target.removeprefix("#") in ids, target


def test_headings_do_not_jump(root: Element) -> None:
    levels = [int(e.tag[1]) for e in root if re.fullmatch("h[1-6]", e.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_tables_have_captions_and_scoped_headers(root: Element) -> None:
    tables = root.all("table")
    assert len(tables) > 10
    for table in tables:
        assert len(table.all("caption")) == 1
        assert all(th.attributes["scope"] in ("col", "row", "rowgroup") for th in table.all("th"))
        columns = len(table.one("thead").all("th"))
        for row in table.all("tr"):
            cells = [e for e in row.children if isinstance(e, Element)]
            assert cells[0].tag == "th"
            assert sum(int(c.attributes.get("colspan", "1")) for c in cells) == columns


def test_every_control_is_labelled(root: Element) -> None:
    assert root.one("html").attributes["lang"] == "en"
    for element in root:
        if element.tag in ("a", "button", "summary", "label"):
            assert element.text.strip() or element.attributes.get("aria-label")
        if element.tag == "input":
            assert element.within(lambda e: e.tag == "label")
        if element.attributes.get("role") in ("group", "region", "img"):
            assert element.attributes.get("aria-label") or element.attributes["aria-labelledby"]
        if element.tag == "svg":
            hidden = element.attributes.get("aria-hidden") == "true"
            assert hidden or element.attributes["role"] == "img"
        if "scroll" in element.classes or element.tag == "pre":
            assert element.attributes.get("aria-label") or element.attributes["aria-labelledby"]
            assert element.attributes["tabindex"] == "0"  # scrolled by keyboard


def test_it_begins_with_a_way_past_the_head(root: Element) -> None:
    first = next(e for e in root.one("body") if e.tag in ("a", "button", "summary", "input"))
    assert "skip" in first.classes and first.attributes["href"] == "#matrix"


def test_without_javascript_nothing_is_lost(root: Element) -> None:
    """Only what needs it is hidden until it runs."""
    hidden = {e.tag for e in root if "hidden" in e.attributes}
    assert hidden == {"button", "div"}
    assert all("copy" in b.classes for b in root.all("button") if "hidden" in b.attributes)
    (tools,) = (d for d in root.all("div") if "hidden" in d.attributes)
    assert "tools" in tools.classes


# ---- colours


def channel(value: int) -> float:
    share = value / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def luminance(colour: str) -> float:
    red, green, blue = (channel(int(colour[i : i + 2], 16)) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it: 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_measured_rightly() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast_is_that_of_wcag_aa(root: Element, theme: int) -> None:
    block = re.findall(r":root \{(.*?)\}", root.one("style").text, flags=re.DOTALL)[theme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    tones = ("conforms", "known", "deviates", "crashed", "open")
    on = {
        "ink": ("page", "card", "code", "head", *(f"{tone}-card" for tone in tones)),
        "soft": ("page", "card", "head"),
        "link": ("page", "card", "known-card", "deviates-card", "crashed-card"),
        **{tone: ("page", "card", f"{tone}-card") for tone in tones},
    }
    for ink, papers in on.items():
        for paper in papers:
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    for mark in ("curve", "strict", "stable", "focus"):
        assert contrast(colours[mark], colours["card"]) >= 3, mark


# ---- it says what the reports say


def matrix(root: Element) -> dict[tuple[str, str, str], str]:
    """The cells by surface, line and column."""
    table = root.one("table", cls="matrix")
    columns = [" ".join(th.text.split()) for th in table.one("thead").all("th")[1:]]
    cells = {}
    for body in table.all("tbody"):
        group, *rows = body.all("tr")
        for row in rows:
            name = row.all("th")[0].text
            for column, cell in zip(columns, row.all("td"), strict=True):
                cells[group.text.strip(), name, column] = " ".join(cell.text.split())
    return cells


def test_the_matrix_has_a_cell_for_each_surface_and_quantity(
    root: Element, published: list[Kept]
) -> None:
    cells = matrix(root)
    names = {"forward": "loss", "hessian.logits": "∂² logits"}
    for each in published:
        backend = each.report["backend"]
        column = "{adapter} {framework_version} {device}, {mode}".format(**backend)
        for check in each.report["checks"]:
            surface = check["surface"].removeprefix(f"{backend['adapter']}.")
            quantity = check["quantity"]
            name = names.get(quantity, quantity.replace("grad.", "∂ "))
            line = "claims" if check["kind"] == "documented" else name
            assert cells[surface, line, column] != "not there"


def test_the_matrix_of_published_reports(root: Element) -> None:
    """Read off reports/summary.md and reports/sweeps/sweeps.md by hand."""
    cells = matrix(root)
    torch, paddle = "torch 2.13.0+cpu cpu, eager", "paddle 3.3.1 cpu, eager"
    oneflow, mindspore = "oneflow 0.9.0 cpu, eager", "mindspore 2.10.0 cpu, eager"
    nn = "nn.BCEWithLogitsLoss"
    assert cells[nn, "claims", torch] == "conforms 44/44 claims kept"
    assert cells[nn, "claims", paddle] == "known 29/31 claims kept"
    assert cells["ops.BCEWithLogitsLoss", "claims", mindspore] == "known 31/33 claims kept"
    assert cells["ops.BCEWithLogitsLoss", "claims", torch] == "not there"
    assert cells[nn, "loss", oneflow].startswith("known dies")
    assert cells[nn, "∂ weight", mindspore].startswith("known ")
    assert cells[nn, "∂ weight", torch].startswith("left open")
    assert cells[nn, "loss", torch].startswith("conforms 0.")


def test_what_conforms_is_below_one(root: Element) -> None:
    found = [cell.split() for cell in matrix(root).values() if "times the tolerance" in cell]
    shares: dict[str, list[float]] = {"conforms": [], "known": []}
    for word, number, *_ in found:
        shares[word].append(math.inf if number == "wrong" else float(number))
    assert len(shares["conforms"]) > 20 and max(shares["conforms"]) <= 1
    assert len(shares["known"]) > 10 and min(shares["known"]) > 1


def test_every_verdict_is_counted(root: Element, published: list[Kept]) -> None:
    expected: Counter[str] = Counter()
    for each in published:
        expected.update({WORDS[v]: n for v, n in each.report["summary"].items()})
    message: Counter[str] = Counter()
    for section in root.all("section", cls="chapter"):
        for line in (p for p in section.children if isinstance(p, Element)):
            if line.tag == "p" and "counts" in line.classes:
                for count in line.all("span", cls="count"):
                    word, number = count.text.rsplit(" ", 1)
                    message[word.strip()] += int(number.replace(",", ""))
    assert message == expected


def test_every_sentence_of_a_document_is_there(root: Element, published: list[Kept]) -> None:
    quoted = {q.text for q in root.all("q")}
    for each in published:
        for check in each.report["checks"]:
            assert check["kind"] != "documented" or check["source"]["sentence"] in quoted


def test_every_cause_of_a_known_deviation_is_there_with_code(
    root: Element, published: list[Kept]
) -> None:
    """Of each surface and quantity, unless no call with that cause is small enough."""
    titles = {f.one("strong").text for f in root.all("div", cls="finding")}
    pasted = {pre.text for pre in root.all("pre")}
    codes: dict[tuple[Any, ...], list[str]] = {}
    for each in published:
        for check in each.report["checks"]:
            if check["verdict"] == "known":
                cause = re.search(r"known \([^()]*\): (.*?)(?:\. |$)", check["summary"])
                assert cause and any(title.startswith(cause[1]) for title in titles)
                mode = each.report["backend"]["mode"]
                documented = str(check["kind"] == "documented")
                key = (mode, check["surface"], documented, check["quantity"], cause[1])
                codes.setdefault(key, []).append(check["witness"]["reproduce"])
    assert len(codes) > 50
    for key, given in codes.items():
        assert not pasted.isdisjoint(given) or min(map(len, given)) > LONGEST_PASTE, key


def test_each_dtype_swept_has_a_curve_or_leads_to_one(root: Element, published: list[Kept]) -> None:
    curves = len(root.all("figure"))
    rows = [r for each in published for r in each.report["accuracy"] if "sweep" in r]
    content = {
        json.dumps([r["dtype"], r["quantity"], *(r["sweep"][k] for k in
                   ("name", "logits", "cells", "cliffs", "blocks"))])
        for r in rows if r["sweep"]["blocks"]
    }  # fmt: skip
    assert curves == len(content)


def test_special_values_show_what_came(root: Element) -> None:
    tables = root.all("table", cls="special")
    rows = {tuple(" ".join(c.text.split()) for c in row.children if isinstance(c, Element))
            for table in tables for row in table.all("tr")}  # fmt: skip
    # the published report of torch: log-sigmoid of infinity times nought is NaN
    found = [row for row in rows if row[0] == "infinite-loss-minus" and row[2] == "loss"]
    assert found and all("logits -inf, target 1" in row[1] for row in found)
    assert any("left open: inf" in cell for row in found for cell in row)
    judged = [row for row in rows if row[0] == "nan-logits" and row[2] == "loss"]
    assert judged and all("conforms: nan" in cell for row in judged for cell in row[3:] if cell)


# ---- changed reports


@pytest.fixture
def paddle(published: list[Kept]) -> Kept:
    (found,) = of("paddle", published)
    return copy.deepcopy(found)


def first(report: Json, **wanted: str) -> Json:
    return next(c for c in report["checks"] if all(c[k] == v for k, v in wanted.items()))


@pytest.mark.parametrize("verdict", ["deviates", "crashed", "timed-out", "fixed"])
def test_a_new_failure_is_seen_in_the_head_the_matrix_and_in_full(
    paddle: Kept, verdict: str
) -> None:
    check = first(paddle.report, kind="relation", verdict="conforms", quantity="forward")
    check["witness"]["reproduce"] = "import paddle\nprint('planted')"
    check.update(verdict=verdict, summary="the planted summary")
    found = tree(page([paddle]))
    head = found.one("ul", cls="releases")
    checks = paddle.report["checks"]
    known = sum(c["verdict"] == "known" for c in checks)
    counted = f" of {len(checks):,} checks, and {known} known"
    assert WORDS[verdict] in head.text and counted in head.text
    surface = check["surface"].removeprefix("paddle.")
    cell = matrix(found)[surface, "loss", "paddle 3.3.1 cpu, eager"]
    assert cell.startswith(WORDS[verdict])
    (judgement,) = (f for f in found.all("div", cls="finding") if f"v-{verdict}" in f.classes)
    assert "the planted summary" in judgement.text and check["source"]["sentence"] in judgement.text
    assert judgement.one("pre").text == check["witness"]["reproduce"]


def test_a_paste_that_is_too_large_is_named(paddle: Kept) -> None:
    check = first(paddle.report, kind="relation", verdict="conforms", quantity="forward")
    check["witness"]["reproduce"] = "x" * (LONGEST_PASTE + 1)
    check.update(verdict="deviates", summary="planted")
    found = tree(page([paddle]))
    (judgement,) = (f for f in found.all("div", cls="finding") if "v-deviates" in f.classes)
    assert not judgement.all("pre")
    assert f"bce-conformance replay {paddle.name} {check['id']}" in judgement.text.replace("'", "")


def test_what_the_document_promises_and_breaks_is_under_its_claims(paddle: Kept) -> None:
    check = first(paddle.report, kind="documented", verdict="conforms")
    check.update(verdict="deviates", summary="the planted summary")
    found = tree(page([paddle]))
    head = " ".join(found.one("ul", cls="releases").text.split())
    assert "worst: claims of nn" in head and "passed" in head
    claims = next(t for t in found.all("table", cls="claims") if "deviates" in t.text)
    row = claims.one("tbody").all("tr")[0]
    assert row.one("q").text == check["source"]["sentence"] and "deviates 1" in row.text
    cell = matrix(found)[
        check["surface"].removeprefix("paddle."), "claims", "paddle 3.3.1 cpu, eager"
    ]
    assert cell.startswith("deviates ")


def test_an_interrupted_run_says_so(paddle: Kept) -> None:
    paddle.report.update(interrupted=True, broken="the planted loss")
    shown = tree(page([paddle])).one("main").text
    counted = f"{len(paddle.report['checks']):,} checks"
    assert f"interrupted after {counted}" in shown and "the planted loss" in shown


def test_two_runs_of_one_release_stand_side_by_side(paddle: Kept) -> None:
    table = tree(page([paddle, copy.deepcopy(paddle)])).one("table", cls="matrix")
    assert len(table.one("thead").all("th")) == 3


def test_changes_are_in_their_chapter_and_in_their_cell(paddle: Kept) -> None:
    before = copy.deepcopy(paddle.report)
    check = first(paddle.report, kind="relation", verdict="conforms", quantity="forward")
    check.update(verdict="deviates", summary="the planted change")
    row = next(r for r in paddle.report["accuracy"] if r["max_ulp"] > 1)
    row["max_ulp"] *= 10
    found = tree(page([paddle], [difference(before, paddle.report)]))
    (changes,) = found.all("details", cls="changes")
    body = changes.parent
    assert body is not None and check["id"].split("/", 1)[1] in body.text
    said = [" ".join(li.text.split()) for li in changes.all("li")]
    assert said[0] == f"NEW {check['id']} the planted change"
    assert said[1].startswith("DRIFTED")
    captions = [t for t in found.all("table") if "Changes by kind" in t.text]
    counts = [td.text for td in captions[0].one("tbody").all("td")]
    assert counts == ["1", "0", "1", "0", "0", f"{len(before['checks']) - 1:,}"]


def test_nothing_compared_is_said(text: str) -> None:
    assert "Not compared: no earlier reports were given" in text


def test_findings_come_first_and_each_has_its_code(root: Element) -> None:
    headings = [e.text.strip() for e in root.all("h2")]
    assert headings[0] == "Findings" and "The matrix" in headings[1]
    section = next(e for e in root.all("section")
                   if e.attributes.get("aria-labelledby") == "findings")  # fmt: skip
    report = read(REPORTS / "paddle-3.3.1-cpu-eager.json.gz")
    for finding in report["findings"]:
        assert finding["title"] in section.text
        assert finding["reproduce"].splitlines()[0] in section.text
