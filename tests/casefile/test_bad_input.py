"""Whatever is wrong with a case file is said in one line: file, line, column, what was expected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bce_conformance.casefile import CaseFileError, load_all
from bce_conformance.cli import main

GOOD = """\
surface: numpy.bce_with_logits
source: a page
cases:
  - id: first
    claim: "a sentence"
    call:
      logits: [1.0, 2.0]
      target: [0, 1]
    expect: {reference: true}
"""

# (name, what is replaced, by what, line, column, what the message must say)
BAD = [
    ("unknown key", "source: a page", "source: a page\ncolour: red", 3, 1, "not 'colour'"),
    ("unknown key of a case", "    claim:", "    clam:", 5, 5, "known key, not 'clam'"),
    ("unknown key of a call", "      target:", "      targets:", 8, 7, "known key, not 'targets'"),
    ("unknown expectation", "{reference: true}", "{agrees: true}", 9, 14, "not 'agrees'"),
    ("missing key", "source: a page\n", "", 1, 1, "the key 'source'"),
    ("missing target", "      target: [0, 1]\n", "", 7, 7, "the key 'target'"),
    ("wrong type of cases", GOOD, "surface: s\nsource: p\ncases: 3\n", 3, 8, "list"),
    ("wrong type of id", "id: first", "id: [1]", 4, 9, "valid string"),
    ("wrong type of reduction", "    expect", "      reduction: 3\n    expect", 9, 18, "a word"),
    ("bad number", "[1.0, 2.0]", "[1.0, two]", 7, 21, "a number"),
    ("bad number deep", "[1.0, 2.0]", "[[1.0, 2.0], [3.0, {}]]", 7, 34, "a number"),
    ("bad number underscore", "[1.0, 2.0]", "[1.0, '1_0']", 7, 21, "a number"),
    ("boolean as number", "[1.0, 2.0]", "[1.0, true]", 7, 21, "a number"),
    ("bad hexadecimal", "[1.0, 2.0]", "[1.0, 0x1.zp3]", 7, 21, "a number"),
    ("ragged", "[1.0, 2.0]", "[[1.0, 2.0], [1.0]]", 7, 28, "nested lists of one shape"),
    ("target of another shape", "[0, 1]", "[0, 1, 1]", 8, 15, "logits' shape [2], not [3]"),
    ("weight does not broadcast", "    expect", "      weight: [1, 2, 3]\n    expect", 9, 15,
     "weight to broadcast to the logits' shape [2], not [3]"),
    ("weight grows the output", "    expect", "      weight: [[1, 2], [3, 4]]\n    expect", 9, 15,
     "weight to broadcast"),
    ("unknown dtype", "    expect", "      dtype: float8\n    expect", 9, 14, "a dtype (one of"),
    ("fraction in integers", "target: [0, 1]", "target: {values: [0.5, 1], dtype: int64}", 8, 15,
     "whole numbers"),
    ("fill without shape", "[1.0, 2.0]", "{fill: 1.0}", 7, 15, "a shape with fill"),
    ("too many elements", "[1.0, 2.0]", "{fill: 1.0, shape: [100000, 100000]}", 7, 34, "at most"),
    ("negative shape", "[1.0, 2.0]", "{fill: 1.0, shape: [-2]}", 7, 35, "greater than or equal"),
    ("two expectations", "{reference: true}", "{reference: true, raises: ValueError}", 9, 13,
     "one kind of expectation"),
    ("no expectation", "{reference: true}", "{}", 9, 13, "one of reference"),
    ("reference: false", "{reference: true}", "{reference: false}", 9, 25, "true, or a mapping"),
    ("not an exception", "{reference: true}", "{raises: 'a b'}", 9, 22, "an exception type"),
    ("printed unquoted", "{reference: true}", "{printed: 2.62}", 9, 23, "in quotes"),
    ("unpromised reduction", "    expect: {r", "      reduction: MEAN\n    expect: {r", 10, 25,
     "none, mean or sum, not 'MEAN'"),
    ("gradient of what is not given", "    expect", "      gradients: [weight]\n    expect", 9, 18,
     "weight in the call"),
    ("expansion over nothing", "    call:", "    each: {dtype: []}\n    call:", 6, 19,
     "at least one value"),
    ("expansion of an unknown key", "    call:", "    each: {colour: [1]}\n    call:", 6, 12,
     "a key of a call"),
    ("expansion to a bad dtype", "    call:", "    each: {dtype: [float32, f4]}\n    call:", 6, 29,
     "a dtype"),
    ("gradient of a weight of another shape than promised", "    expect: {reference: true}",
     "      weight: [1, 2]\n      gradients: [weight]\n    expect: {reference: {weight: 1}}",
     10, 18, "weight as the document promises it to have the call's shape"),
    ("a shape that the formula has not", "{reference: true}", "{reference: true, shape: [3]}",
     9, 38, "the shape of the result, []"),
    ("empty claim", '"a sentence"', '" "', 5, 12, "a sentence"),
    ("duplicate ids", "cases:\n", "cases:\n  - {id: first, claim: c, call: {logits: 1, target: 1}, "
     "expect: {reference: true}}\n", 5, 9, "each id once: 'first'"),
    ("duplicate key", "      target: [0, 1]", "      target: [0, 1]\n      target: [1, 1]", 9, 7,
     "each key once"),
    ("tag", "id: first", "id: !!python/object/apply:os.system ['true']", 4, 9, "tag"),
    ("local tag", "[1.0, 2.0]", "!numbers [1.0, 2.0]", 7, 15, "tag"),
    ("alias", "[1.0, 2.0]", "&a [1.0, 2.0]\n      weight: *a", 7, 15, "anchor"),
    ("merge key", "    call:", "    <<: *x\n    call:", 6, 9, "alias"),
    ("nesting", "[1.0, 2.0]", "[" * 200 + "1" + "]" * 200, 7, 51, "levels of nesting"),
    ("not YAML", "cases:", "cases: [", 4, 3, "expected YAML"),
    ("a tab", "  - id: first", "\t- id: first", 4, 1, "expected YAML"),
    ("control character", "a page", "a \x07 page", 2, 11, "character #x0007"),
    ("two documents", "source: a page", "source: a page\n---\n", 3, 1, "one YAML document"),
    ("unknown surface", "numpy.bce_with_logits", "numpy.bce", 1, 10, "a surface (one of"),
    ("a list", GOOD, "- 1\n", 1, 1, "a mapping"),
    ("nothing", GOOD, "# nothing\n", 1, 1, "not nothing"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("right", "wrong", "line", "column", "said"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_one_line_says_where_and_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
    right: str, wrong: str, line: int, column: int, said: str,
) -> None:  # fmt: skip
    assert GOOD.count(right) >= 1
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace(right, wrong, 1), encoding="utf-8")
    assert main(["cases", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith(f"{file}:{line}:{column}: expected "), err
    assert said in err


def test_the_good_file_is_good(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD, encoding="utf-8")
    assert main(["cases", str(file)]) == 0


def test_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes(GOOD.encode().replace(b"a page", b"a p\xe4ge"))
    assert main(["cases", str(file)]) == 2
    assert f"{file}:2:12: expected UTF-8 text: byte 0xe4" in capsys.readouterr().err


def test_alias_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for i in range(1, 40):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]")
    file = tmp_path / "bomb.yaml"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(CaseFileError, match=r"bomb\.yaml:1:5: .*anchor"):
        load_all([file])


def test_too_large(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_bytes(b"#" * 5_000_000)
    with pytest.raises(CaseFileError, match="at most"):
        load_all([file])


def test_the_same_id_in_two_files(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    with pytest.raises(CaseFileError, match=r"b\.yaml:\d+:\d+: expected an id of its own"):
        load_all([tmp_path])


@pytest.mark.parametrize("kind", ["absent", "empty folder"])
def test_nothing_to_read(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    path = tmp_path if kind == "empty folder" else tmp_path / "absent.yaml"
    assert main(["cases", str(path)]) == 2
    assert re.fullmatch(rf"{re.escape(str(path))}:1:1: expected .*\n", capsys.readouterr().err)


def test_run_refuses_a_bad_file_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text(GOOD.replace("reference", "referenz"), encoding="utf-8")
    reports = tmp_path / "reports"
    arguments = [
        "run",
        "--backend",
        "numpy",
        "--cases",
        str(tmp_path),
        "--report-dir",
        str(reports),
    ]
    assert main(arguments) == 2
    assert "bad.yaml:9:14: expected a known key" in capsys.readouterr().err
    assert not reports.exists()
