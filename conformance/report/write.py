"""Files that are either whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any


class CannotWriteError(Exception):
    """A file that could not be written: its path, and why, in one line. The old file is intact."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{str(path)[:300]}: cannot be written: {error.strerror or error}")


def atomically(path: Path, text: str | bytes) -> None:
    """Writes `path` in one step; an interrupted write leaves the old file, or none.

    Raises CannotWriteError where the disk is full, a limit is reached or a folder is in the way.
    """
    try:
        _atomically(path, text)
    except OSError as error:
        raise CannotWriteError(path, error) from None


def _atomically(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_report(path: Path, report: dict[str, Any], compress: bool = False) -> None:
    """Writes a report, as PATH.gz if it is to be compressed: the same bytes for the same report."""
    text = json_text(report)
    if compress:
        # The time is left out, so that what did not change is no change to version control.
        atomically(path.with_name(f"{path.name}.gz"), gzip.compress(text.encode(), 9, mtime=0))
    else:
        atomically(path, text)


def json_text(report: dict[str, Any]) -> str:
    """The report as JSON, one line to a field, and one to each entry of a list.

    A check or a row of figures on one line is a fifth smaller than one spread over many, and two
    reports are compared line by line. Raises ValueError for infinities and NaN.
    """
    fields = (f" {_compact(key)}: {_entries(value)}" for key, value in report.items())
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _entries(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return _compact(value)
    return "[\n" + ",\n".join(f"  {_compact(entry)}" for entry in value) + "\n ]"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
