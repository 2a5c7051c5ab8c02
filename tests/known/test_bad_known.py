"""Whatever is wrong with a file of known deviations is said in one line, with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from bce_conformance.adapters import available
from bce_conformance.casefile import CaseFileError
from bce_conformance.known import load_known

GOOD = """\
backend: numpy
known:
  - checks: "numpy.bce_with_logits/property/soft[{dtype}]{quantity}"
    each: {dtype: [float32, float64], quantity: ["", ":grad.logits"]}
    versions: ">=1.0,<=3.3.1"
    modes: [eager]
    axis: semantics
    id: some-cause
    title: a title
    upstream: https://example.org/issues/1
    instead: {value: 0}
    witness:
      call: {logits: [1, 2], target: [0, 1], dtype: "{dtype}", reduction: none}
"""

ACTUAL = "{value: 0}"
CALL = 'call: {logits: [1, 2], target: [0, 1], dtype: "{dtype}", reduction: none}'
NAME = "numpy.bce_with_logits/property/soft[{dtype}]{quantity}"

# (name, what is replaced, by what, line, column, what the message must say)
BAD = [
    ("a list", GOOD, "- 1\n", 1, 1, "a mapping with `backend`"),
    ("no list of entries", "known:", "know:", 2, 1, "a known key, not 'know'"),
    ("unknown adapter", "backend: numpy", "backend: nump", 1, 10, "an adapter ("),
    ("unknown key", "    title:", "    titles:", 9, 5, "a known key, not 'titles'"),
    ("missing key", "    title: a title\n", "", 3, 5, "the key 'title'"),
    ("no title", "a title", "' '", 9, 12, "a sentence"),
    ("a long title", "a title", "a" * 101, 9, 12, "at most 100 characters"),
    ("an id with spaces", "some-cause", "some cause", 8, 9, "a finding's id"),
    ("another axis", "semantics", "shape", 7, 11, "'semantics' or 'accuracy'"),
    ("no version range", '">=1.0,<=3.3.1"', "3.3.1", 5, 15, "a version range"),
    ("an empty version range", '">=1.0,<=3.3.1"', '""', 5, 15, "a version range"),
    ("a number as version", '">=1.0,<=3.3.1"', "3.3", 5, 15, "a version range"),
    ("unknown mode", "[eager]", "[eager, lazy]", 6, 20, "a mode of numpy (eager)"),
    ("no link", "https://example.org/issues/1", "issue 1", 10, 15, "a link"),
    ("another surface", NAME, "numpy.bce/property/soft", 3, 13, "a surface of numpy"),
    ("no kind", NAME, "numpy.bce_with_logits/soft", 3, 13, "a check id, surface/kind/name"),
    ("unknown kind", NAME, "numpy.bce_with_logits/wrong/soft", 3, 13, "with a kind of"),
    ("unknown placeholder", "[{dtype}]", "[{type}]", 3, 13, "a key of `each` (dtype, quantity)"),
    ("unknown placeholder in the call", '"{dtype}"', '"{dtyp}"', 13, 53, "a key of `each`"),
    ("each over nothing", "[float32, float64]", "[]", 4, 19, "at least one value"),
    ("each is no list", "[float32, float64]", "float32", 4, 19, "list"),
    ("each to a bad dtype", "[float32, float64]", "[float32, f8]", 4, 29, "a dtype"),
    ("each without a place in the id", "[{dtype}]", "", 3, 13, "one entry for a check"),
    ("unknown behaviour", ACTUAL, "{gives: 0}", 11, 15, "a known key, not 'gives'"),
    ("no behaviour", ACTUAL, "{}", 11, 14, "one of value"),
    ("two behaviours", ACTUAL, "{value: 0, raises: TypeError}", 11, 14, "one kind of behaviour"),
    ("value and formula", ACTUAL, "{value: 0, slack: 4}", 11, 14, "not value and slack"),
    ("nothing as behaviour", ACTUAL, "{value: null}", 11, 22, "something for value"),
    ("no number", ACTUAL, "{value: zero}", 11, 22, "a number"),
    ("slack that allows nothing", ACTUAL, "{slack: 1}", 11, 22, "more than 1"),
    ("slack that is no number", ACTUAL, "{slack: nan}", 11, 22, "more than 1"),
    ("unknown argument", ACTUAL, "{but: {value: 0, where: {label: 1}}}", 11, 39, "'label'"),
    ("nowhere", ACTUAL, "{but: {value: 0, where: {}}}", 11, 38, "at least one argument"),
    ("no exception", ACTUAL, "{raises: [a b]}", 11, 23, "an exception type"),
    ("unknown reduction", ACTUAL, "{reference: {reduction: avg}}", 11, 38, "'none', 'mean' or"),
    ("unknown replacement", ACTUAL, "{reference: {weight: none}}", 11, 35, "null, a number or"),
    ("no index", ACTUAL, "{reference: {weight: {element: -1}}}", 11, 35, "the index of an"),
    ("unknown key of the formula", ACTUAL, "{reference: {w: 1}}", 11, 27, "a known key, not 'w'"),
    ("a shape beside a refusal", ACTUAL, "{raises: TypeError, shape: [1]}", 11, 41, "no shape"),
    ("a dtype beside a crash", ACTUAL, "{crashes: true, dtype: float16}", 11, 37, "no dtype"),
    ("a shape of the formula", ACTUAL, "{slack: 4, shape: [1]}", 11, 32, "a shape beside value"),
    ("a shape that is none", ACTUAL, "{value: 0, shape: grown}", 11, 32, "a shape or the word"),
    ("a dtype that is none", ACTUAL, "{dtype: double}", 11, 22, "a dtype, or the argument"),
    ("what is due anyway", ACTUAL, "{reference: {weight: null}}", 11, 14, "something else than"),
    ("accepted, as is due", ACTUAL, "{accepts: true}", 11, 14, "a case that must be refused"),
    ("the dtype of no argument", ACTUAL, "{dtype: weight}", 11, 14, "the call has no weight"),
    ("a shape of a gradient", ACTUAL, "{value: 0, shape: broadcast}", 11, 32, "held to the shape"),
    ("gradients in a witness", "reduction: none}", "gradients: [logits]}", 13, 75, "no gradients"),
    ("the gradient of nothing", ":grad.logits", ":grad.weight", 13, 13, "weight, for its gradient"),
    ("a bad call", "[0, 1], dtype", "[0, 1, 1], dtype", 13, 38, "target of the logits' shape"),
    ("a bad number in a call", "logits: [1, 2]", "logits: [1, x]", 13, 26, "a number"),
    ("no witness", f"    witness:\n      {CALL}\n", "", 3, 5, "the key 'witness'"),
    ("a bad expectation", CALL, f"{CALL}\n      expect: {{agrees: true}}", 14, 16, "a known key"),
    ("an alias", "[eager]", "&a [eager]", 6, 12, "anchor"),
]  # fmt: skip


def known(text: str, folder: Path, name: str = "known.yaml") -> list[object]:
    (folder / name).write_text(text, encoding="utf-8")
    return [*load_known([folder / name], available())]


@pytest.mark.parametrize(
    ("right", "wrong", "line", "column", "said"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_one_line_says_where_and_what(
    tmp_path: Path, right: str, wrong: str, line: int, column: int, said: str
) -> None:
    assert right in GOOD
    with pytest.raises(CaseFileError) as caught:
        known(GOOD.replace(right, wrong, 1), tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'known.yaml'}:{line}:{column}: expected "), message
    assert said in message
    assert "\n" not in message


def test_the_good_file_is_good(tmp_path: Path) -> None:
    assert len(known(GOOD, tmp_path)) == 4


@pytest.mark.parametrize("text", ["", "# nothing\n", "backend: numpy\nknown: []\n"])
def test_an_empty_file_knows_nothing(tmp_path: Path, text: str) -> None:
    assert known(text, tmp_path) == []


def entry(versions: str, modes: str = "[]", devices: str = "[]") -> str:
    text = GOOD.replace('">=1.0,<=3.3.1"', f'"{versions}"').replace("[eager]", modes)
    return text.replace("    axis", f"    devices: {devices}\n    axis")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (entry(">=1.0"), entry(">=2.0")),
        (entry("<=3.3.1"), entry(">=3.3.1")),
        (entry(">=1.0", "[]"), entry(">=1.0", "[eager]")),
        (entry(">=1.0", "[]", "[cpu]"), entry(">=1.0", "[]", "[cuda, cpu]")),
    ],
)
def test_two_entries_for_one_check_of_one_release(tmp_path: Path, one: str, other: str) -> None:
    (tmp_path / "a.yaml").write_text(one, encoding="utf-8")
    (tmp_path / "b.yaml").write_text(other, encoding="utf-8")
    with pytest.raises(CaseFileError) as caught:
        load_known([tmp_path], available())
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'b.yaml'}:3:13: expected one entry")
    assert f"{tmp_path / 'a.yaml'}:3" in message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (entry("<3.3.1"), entry(">=3.3.1")),
        (entry("==3.3.0"), entry("==3.3.1")),
        (entry(">=1.0", "[]", "[cpu]"), entry(">=1.0", "[]", "[cuda]")),
    ],
)
def test_two_entries_for_one_check_apart(tmp_path: Path, one: str, other: str) -> None:
    (tmp_path / "a.yaml").write_text(one, encoding="utf-8")
    (tmp_path / "b.yaml").write_text(other, encoding="utf-8")
    assert len(load_known([tmp_path], available())) == 8
