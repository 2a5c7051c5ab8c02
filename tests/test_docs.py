"""The site without mkdocs: every page is in the nav, every link and anchor leads somewhere.

`tox run -e docs` builds the site and is strict about the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pages
import pytest
import yaml

ROOT, DOCS, PAGES = pages.ROOT, pages.DOCS, pages.PAGES
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def in_nav(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for part in entry if isinstance(entry, list) else []:
        yield from in_nav(part)
    for part in entry.values() if isinstance(entry, dict) else []:
        yield from in_nav(part)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_all_pages_are_in_the_nav_once() -> None:
    assert sorted(in_nav(SITE["nav"])) == sorted(p.relative_to(DOCS).as_posix() for p in PAGES)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in pages.links(page):
        if re.match(r"https?://", link):
            continue  # other sites are not tried: tests need no network
        target, _, anchor = link.partition("#")
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), link
        assert ROOT in found.parents, link
        if DOCS in page.parents:
            assert found.is_file(), f"{link}: the site has no page for a folder"
        if anchor:
            assert anchor in pages.anchors(found), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_has_one_title_at_its_top(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, flags=re.M)) == 1


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_nothing_is_loaded_from_elsewhere(page: Path) -> None:
    text = pages.prose(page)
    assert not re.search(r"!\[[^\]]*\]\(\w+:|<(script|link|img|iframe)", text)


def test_the_theme_loads_nothing_from_elsewhere() -> None:
    assert SITE["theme"]["name"] == "mkdocs" and SITE["theme"]["highlightjs"] is False


def test_slugs_are_those_of_python_markdown() -> None:
    assert pages.slug("What `ulp`, stable and strict mean") == "what-ulp-stable-and-strict-mean"
    assert pages.slug("A check: `checks[]`") == "a-check-checks"
    assert pages.slug("Why 1.6e7 — not 3?") == "why-16e7-not-3"


def test_the_largest_errors_are_those_of_the_record() -> None:
    """docs/reference.md against reference/ACCURACY.md."""
    record = (ROOT / "reference" / "ACCURACY.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1:-1] for line in record.splitlines() if line.startswith("| ")]
    header, *rows = [[cell.strip() for cell in row] for row in cells]
    auto = header.index("auto")
    largest: dict[str, float] = {}
    for row in rows:
        largest[row[0]] = max(largest.get(row[0], 0.0), float(row[auto]))
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    table = page.split("<!-- largest")[1]
    message = dict(re.findall(r"^\| ([a-z._]+) \| ([\d.]+) \|", table, flags=re.M))
    assert {quantity: float(figure) for quantity, figure in message.items()} == largest
    measured = re.search(r"(\d+) values measured", record)
    assert measured and f"{int(measured[1]):,}" in page
    assert f"largest measured: {max(largest.values()):.1f}" in page


def test_the_fields_of_a_report_are_those_of_its_schema() -> None:
    import json

    schema = json.loads((ROOT / "conformance/report/schema.json").read_text(encoding="utf-8"))
    page = (DOCS / "reports.md").read_text(encoding="utf-8")
    sections = {part.split("\n")[0]: part for part in page.split("\n## ")}
    head = set(schema["properties"]) - {"findings", "checks", "accuracy", "units"}
    assert head == fields(sections["The head"])
    finding = set(schema["$defs"]["finding"]["properties"])
    assert finding == fields(sections["A finding: `findings[]`"])
    check = sections["A check: `checks[]`"].split("### Verdicts")
    assert set(schema["$defs"]["check"]["properties"]) == fields(check[0])
    assert set(schema["$defs"]["verdict"]["enum"]) == fields(check[1])
    row = set(schema["$defs"]["accuracy"]["properties"])
    of_sweeps = {"sweep", "seconds_total", "seconds_framework", "time_ratio"}
    message = fields(sections["A row of figures: `accuracy[]`"])
    assert row - of_sweeps - {"surface", "quantity", "dtype", "reduction"} == message


def fields(section: str) -> set[str]:
    """The names in the first column of its table."""
    cells = re.findall(r"^\| (`.*?) \|", section, flags=re.M)
    return {name for cell in cells for name in re.findall(r"`([\w-]+)`", cell)}
