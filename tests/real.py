"""Where the real frameworks are."""

from __future__ import annotations

import os
from pathlib import Path


def interpreters() -> dict[str, str]:
    """Framework → interpreter, from BCE_INTERPRETERS="torch=PYTHON,paddle=…", which tox sets."""
    pairs = os.environ.get("BCE_INTERPRETERS", "").split(",")
    named = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return {name: python for name, python in named.items() if Path(python).exists()}
