"""Whatever a framework says or a case file holds is shown as text: no tag, no script, no disguise.

The page of hostile reports must have the very same tags and attributes as that of harmless ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hostile import harmless, hostile, replaced, shown
from page_tree import Element, tree

from bce_conformance.report.html import render
from bce_conformance.report.html.visible import visible

Json = dict[str, Any]


def shape(element: Element) -> Iterator[tuple[str, ...]]:
    """Every tag and its attributes but for what texts go into."""
    for each in element:
        free = ("aria-label", "content")
        yield each.tag, *(k if k in free else f"{k}={v}" for k, v in each.attributes.items())


def test_hostile_text_makes_no_tags(few_reports: list[Json]) -> None:
    one = tree(shown(replaced(few_reports, hostile), "report.json"))
    other = tree(shown(replaced(few_reports, harmless), "report.json"))
    assert list(shape(one)) == list(shape(other))


def test_an_unescaped_page_would_be_seen(
    few_reports: list[Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check above can fail."""
    environment = render._environment()
    environment.autoescape = False
    monkeypatch.setattr(render, "_environment", lambda: environment)
    with pytest.raises(AssertionError):
        one = tree(shown(replaced(few_reports, hostile), "report.json"))
        other = tree(shown(replaced(few_reports, harmless), "report.json"))
        assert list(shape(one)) == list(shape(other))


def test_all_of_it_is_shown_as_text(few_reports: list[Json]) -> None:
    """What the harmless page shows, the hostile one shows too."""
    root = tree(shown(replaced(few_reports, hostile), "report.json"))
    plain = tree(shown(replaced(few_reports, harmless), "report.json"))
    numbers = {int(n) for n in re.findall(r"harmless nr(\d+)\.", plain.text)}
    assert len(numbers) > 100
    text = root.one("body").text
    for number in numbers:
        assert visible(hostile(number)) in text or visible(hostile(number)).strip() in text


def test_nothing_in_disguise(few_reports: list[Json]) -> None:
    """Neither controls nor characters that hide or turn the writing; and it can be written."""
    text = shown(replaced(few_reports, hostile), "\x1b\u202e'\".json")
    text.encode("utf-8")
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", text
    )
    assert "\\x1b[31mred" in text and "\\u202eright to left" in text


def test_escapes_keep_the_meaning_of_string_literals() -> None:
    said = "\x1b[31m \u202e \ud800 \U000e0041"
    assert eval(f"'{visible(said)}'") == said
    assert visible("σ(−x), 2^−24, naïve, 損失, \t\n") == "σ(−x), 2^−24, naïve, 損失, \t\n"


def test_ids_of_the_page_are_its_own(few_reports: list[Json]) -> None:
    root = tree(shown(replaced(few_reports, hostile), "report.json"))
    for element in root:
        assert re.fullmatch(r"[\w-]*", element.attributes.get("id", ""))
