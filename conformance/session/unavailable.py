"""The backend could not be started."""

from __future__ import annotations


class BackendUnavailable(Exception):
    """One line that says which interpreter, and what it said; `stderr` has its last lines."""

    def __init__(self, message: str, stderr: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.stderr = stderr
