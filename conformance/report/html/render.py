"""The page as one file of HTML, from its view and the template beside this module.

Every value goes through the template engine's escaping, and through `visible` before that. The
Content-Security-Policy lets nothing be loaded and nothing run but the page's own script and style,
which are named by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ... import __version__
from ..diff import Difference
from .build import view
from .evidence import EXACT_COLUMNS, Kept
from .view import MEANINGS, WORDS
from .visible import finalize


def page(reports: Sequence[Kept], differences: Sequence[Difference] | None = None) -> str:
    """The page about some reports; differences: from the release before, None if not compared.

    Raises KeyError, TypeError, ValueError or AttributeError where a report is not as the schema
    says.
    """
    style, script = _shipped("page.css"), _shipped("page.js")
    policy = (
        "default-src 'none'; "
        f"style-src 'sha256-{_digest(style)}'; script-src 'sha256-{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template("page.html").render(
        page=view(reports, differences),
        words=WORDS,
        meanings=MEANINGS,
        exact_columns=EXACT_COLUMNS,
        version=__version__,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
    )  # fmt: skip


def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_shipped),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _shipped(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
