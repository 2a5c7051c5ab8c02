"""Characters that a browser would hide, obey or refuse, as text that can be seen.

A framework's message may hold terminal escapes, a case file may turn the direction of writing, and
a lone surrogate cannot be written to a file at all. Python's own escapes are used, so a string
literal in a paste keeps its meaning.
"""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but for tab and line feed
    "\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # formatting
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]"  # no characters, and tags
)


def visible(text: str) -> str:
    """The text with what cannot be seen written as \\x1b, \\u202e and so on."""
    return HIDDEN.sub(lambda met: _escaped(ord(met[0])), text)


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def finalize(value: Any) -> Any:
    """What the template writes in the place of a value: every one goes through here."""
    if isinstance(value, Markup):
        return value
    return visible(value) if isinstance(value, str) else value
