"""Every claim is a sentence of its document, and no line of a document is passed over."""

from __future__ import annotations

from collections import defaultdict
from importlib.resources import files
from pathlib import Path

import pytest

from bce_conformance.casefile import CaseFile, load_all

CASES = Path(str(files("bce_conformance") / "cases"))
FILES = load_all([CASES / "documented"])
UNDER_TEST = (
    "torch.nn.BCEWithLogitsLoss",
    "paddle.nn.functional.binary_cross_entropy_with_logits",
    "oneflow.nn.BCEWithLogitsLoss",
    "mindspore.ops.BCEWithLogitsLoss",
    "mindspore.mint.nn.BCEWithLogitsLoss",
)


def squeezed(text: str) -> str:
    return "".join(text.split())


def untouched(document: str, quotations: list[str]) -> list[str]:
    """The lines of a document with no character inside any quotation."""
    whole = squeezed(document)
    covered = bytearray(len(whole))
    for quotation in map(squeezed, quotations):
        start = whole.find(quotation)
        while start >= 0:
            covered[start : start + len(quotation)] = b"\1" * len(quotation)
            start = whole.find(quotation, start + 1)
    missed, at = [], 0
    for line in document.splitlines():
        length = len(squeezed(line))
        if length and not any(covered[at : at + length]):
            missed.append(line.strip())
        at += length
    return missed


def document(name: str) -> str:
    return (CASES / "documents" / name).read_text(encoding="utf-8")


def main_document(file: CaseFile) -> str:
    return f"{file.surface}.txt"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.surface)
def test_claims_are_verbatim(file: CaseFile) -> None:
    for name, sentence in file.quotations:
        assert name is not None, f"{file.file}: which document says {sentence!r}?"
        assert squeezed(sentence) in squeezed(document(name)), f"not in {name}: {sentence!r}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.surface)
def test_no_line_is_passed_over(file: CaseFile) -> None:
    by_document = defaultdict(list)
    for name, sentence in file.quotations:
        by_document[name].append(sentence)
    name = main_document(file)
    assert untouched(document(name), by_document[name]) == []


def test_a_line_passed_over_is_seen() -> None:
    assert untouched("One claim.\nAnother one.\n\nA third.", ["One claim.", "A  third."]) == [
        "Another one."
    ]


def test_the_five_documents_have_cases() -> None:
    assert set(UNDER_TEST) <= {file.surface for file in FILES}


@pytest.mark.parametrize(
    ("surface", "printed"),
    [
        ("torch.nn.BCEWithLogitsLoss", None),
        ("paddle.nn.functional.binary_cross_entropy_with_logits", "0.45618808"),
        ("oneflow.nn.BCEWithLogitsLoss", "2.6207"),
        ("oneflow.nn.BCEWithLogitsLoss", "23.5865"),
        ("oneflow.nn.BCEWithLogitsLoss", "5.9554"),
        ("mindspore.ops.BCEWithLogitsLoss", "0.3463612"),
        ("mindspore.mint.nn.BCEWithLogitsLoss", "0.3463612"),
    ],
)
def test_printed_examples_are_held(surface: str, printed: str | None) -> None:
    cases = next(f for f in FILES if f.surface == surface).cases
    texts = [t for q in cases for t in getattr(q.expectation.promise, "texts", ())]
    values = [v for q in cases for v in getattr(q.expectation.promise, "values", ())]
    assert (
        printed in texts if printed else any(abs(v - 0.20141327798275246) < 1e-15 for v in values)
    )
