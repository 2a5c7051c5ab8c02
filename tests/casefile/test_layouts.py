"""What a call of a case file may say of memory, of what arrives, and of refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from bce_conformance.casefile import CaseFileError, load_all
from bce_conformance.model.expectation import Case, Refuses

FILE = """\
surface: numpy.bce_with_logits
source: a page
cases:
  - id: first
    claim: "a sentence"
    call:
      logits: LOGITS
      target: {fill: 1, shape: [4]}
      reduction: none
      upstream: UPSTREAM
    expect: EXPECT
"""


def load(
    folder: Path,
    logits: str = "[1, 2, 1, 2]",
    upstream: str = "null",
    expect: str = "{reference: true}",
) -> Case:
    text = FILE.replace("LOGITS", logits).replace("UPSTREAM", upstream).replace("EXPECT", expect)
    (folder / "case.yaml").write_text(text, encoding="utf-8")
    return load_all([folder])[0].cases[0]


@pytest.mark.parametrize("layout", ["contiguous", "strided", "transposed"])
def test_an_array_keeps_its_numbers_in_any_layout(tmp_path: Path, layout: str) -> None:
    logits = load(tmp_path, f"{{values: [1, 2, 1, 2], layout: {layout}}}").call.logits
    assert logits.layout == layout
    assert logits.values.tolist() == [1, 2, 1, 2]


def test_an_expanded_array_repeats_its_first_item(tmp_path: Path) -> None:
    assert load(tmp_path, "{fill: 3, shape: [4], layout: expanded}").call.logits.values[3] == 3


def test_a_cycled_array_keeps_one_period(tmp_path: Path) -> None:
    logits = load(tmp_path, "{cycle: [1, 2], shape: [4], layout: cycled}").call.logits
    assert logits.shape == (4,)
    assert logits.period.values.tolist() == [1, 2]
    assert logits.values.tolist() == [1, 2, 1, 2]


def test_what_arrives_at_the_loss(tmp_path: Path) -> None:
    upstream = load(tmp_path, upstream="[1, -2, 0, 0.5]").call.upstream
    assert upstream is not None
    assert upstream.values.tolist() == [1, -2, 0, 0.5]


def test_a_refusal_of_any_kind_is_due(tmp_path: Path) -> None:
    promise = load(tmp_path, expect='{refuses: "no meaning"}').expectation.promise
    assert promise == Refuses("no meaning")


@pytest.mark.parametrize(
    ("keys", "place", "said"),
    [
        ({"logits": "{values: [1, 2, 1, 2], layout: odd}"}, "7:46", "a layout (one of"),
        ({"logits": "{values: [1, 2, 1, 2], layout: expanded}"}, "7:46", "equal items along"),
        ({"logits": "{values: 1, layout: strided}"}, "7:35", "at least one axis"),
        ({"logits": "{cycle: [1, 2, 3], shape: [4], layout: cycled}"}, "7:54", "divides"),
        ({"logits": "{fill: 1, shape: [4], layout: cycled}"}, "7:45", "a cycle whose"),
        ({"upstream": "[1, 2]"}, "10:17", "upstream of the loss's shape [4], not [2]"),
        ({"expect": "{refuses: true}"}, "11:23", "a valid string"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    tmp_path: Path, keys: dict[str, str], place: str, said: str
) -> None:
    with pytest.raises(CaseFileError) as caught:
        load(tmp_path, **keys)
    assert str(caught.value).startswith(f"{tmp_path / 'case.yaml'}:{place}: expected ")
    assert said in str(caught.value)
