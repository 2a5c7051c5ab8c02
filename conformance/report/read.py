"""The one reader of reports: validates what it reads, and says in one line what is wrong with it.

A report is a stranger's data. It is read whole and bounded, checked against the schema, and never
executed: `read` returns plain JSON, and nothing that it names is imported or started.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

import fastjsonschema

from ..findings import gather
from ..findings.evidence import call_of
from ..model.literal import from_json
from .document import SCHEMAS

Json = dict[str, Any]

LARGEST = 1 << 29
"""Bytes of a report, decompressed: more is refused before it is parsed."""
LONGEST_NUMBER = 400
"""Digits of a number: Python takes quadratic time for more, and no report needs them."""


SUFFIXES = (".json", ".json.gz")


def reports_in(folder: Path) -> list[Path]:
    """The reports of a folder, compressed ones too, by name."""
    return sorted(p for p in folder.iterdir() if p.name.endswith(SUFFIXES)
                  and not p.name.startswith("."))  # fmt: skip


class ReportError(Exception):
    """A file that is no report: its path, the place in it, and what was expected; one line."""

    def __init__(self, file: Path, what: str) -> None:
        super().__init__(f"{shown(file)}: {what}")


def shown(file: Path) -> str:
    """A path of bounded length."""
    text = str(file)
    return text if len(text) <= 300 else f"{text[:300]}…"


def read(file: Path) -> Json:
    """A report of this or an earlier schema version, as one of this version. Raises ReportError.

    The file may be compressed (.json.gz).
    """
    report = parsed(file, text_of(file))
    if not isinstance(report, dict) or report.get("schema") not in SCHEMAS:
        raise ReportError(file, f"expected a report of schema {SCHEMAS[-1]}")
    try:
        validator()(report)
        for place, call in calls(report):
            for name, array in call["arguments"].items():
                if array is not None:
                    _require_array(file, f"{place}.arguments.{name}", array)
    except fastjsonschema.JsonSchemaValueException as error:
        place, _, what = error.message.removeprefix("data.").partition(" ")
        raise ReportError(file, f"{place[:200]}: expected otherwise: it {what[:200]}") from None
    except RecursionError:
        raise ReportError(file, "expected less deeply nested JSON") from None
    try:
        return upgraded(report)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise ReportError(file, f"checks: expected evidence that fits together: {why}") from None


def upgraded(report: Json) -> Json:
    """The report with its findings, which version 1 does not have."""
    if report["schema"] == SCHEMAS[0]:
        return {**report, "findings": gather(report["checks"])}
    known = {check["id"] for check in report["checks"]}
    for finding in report["findings"]:
        missing = {finding["witness"]["check"], *finding["checks"]} - known
        if missing:
            raise ValueError(
                f"finding {finding['id']} names no check of the report: {min(missing)}"
            )
    return report


@cache
def validator() -> Any:
    """The compiled JSON Schema that is shipped with the suite."""
    text = files(__package__).joinpath("schema.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    del schema["$id"]  # references are resolved within the document, never fetched
    return fastjsonschema.compile(schema, detailed_exceptions=True)


def text_of(file: Path) -> str:
    """The text of a regular file of bounded size. Raises ReportError."""
    try:
        if not file.is_file():
            missing = not file.exists()
            what = "no such file or folder" if missing else "expected a regular file"
            raise ReportError(file, what)
        if file.suffix == ".gz":
            with gzip.open(file) as stream:
                data = stream.read(LARGEST + 1)
        else:
            with file.open("rb") as plain:
                data = plain.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ReportError(file, getattr(error, "strerror", None) or str(error)) from None
    except ValueError:  # a null byte in the path
        raise ReportError(file, "expected a path without null bytes") from None
    if len(data) > LARGEST:
        raise ReportError(file, f"expected at most {LARGEST:,} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReportError(file, f"expected UTF-8 at byte {error.start}") from None


def parsed(file: Path, text: str) -> Any:
    """The JSON of a text, of which every number is finite and every string can be written."""
    try:
        made = json.loads(text, parse_constant=_not_finite, parse_int=_integer, parse_float=_real)
    except (ValueError, RecursionError) as error:
        raise ReportError(file, f"expected a report in JSON: {error}") from None
    if "\\ud" in text.lower():
        try:
            json.dumps(made, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise ReportError(file, "expected text without lone surrogates") from None
    return made


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"expected a finite number, not {name}")


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"expected a number of at most {LONGEST_NUMBER} digits")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits) if len(digits) <= LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, not {digits[:40]}")
    return value


def calls(report: Json) -> Iterator[tuple[str, Json]]:
    """The call of each check, and its place in the report."""
    for i, check in enumerate(report["checks"]):
        yield f"checks[{i}].witness.question.call", call_of(check)


def _require_array(file: Path, place: str, array: Json) -> None:
    try:
        from_json(array)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ReportError(file, f"{place}: expected an array: {error}") from None
