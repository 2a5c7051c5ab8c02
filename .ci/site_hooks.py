"""mkdocs hooks: files of the repository that pages link to become part of the site.

A page links to ../conformance/judge.py as it does on a code host. The site gets a copy of such a
file below repository/, as a page if it is Markdown, and the link leads there.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel

LINK = re.compile(r"(?<!!)\]\((?P<target>(?:\.\./)[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")
COPIES = "repository"


def on_files(files: Files, config: Any) -> Files:
    """Adds the files that pages link to outside of the documentation."""
    docs, root = Path(config.docs_dir), Path(config.config_file_path).parent
    for page in list(files.documentation_pages()):
        text = (docs / page.src_uri).read_text(encoding="utf-8")
        for match in LINK.finditer(text):
            target = outside(page.src_uri, match["target"])
            if target is None or f"{COPIES}/{target}" in files.src_uris:
                continue
            source = root / target
            if not source.is_file():
                raise PluginError(f"{page.src_uri}: {match['target']} is no file of the repository")
            copy = File.generated(config, f"{COPIES}/{target}", content=source.read_bytes())
            copy.inclusion = InclusionLevel.NOT_IN_NAV
            files.append(copy)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leads links out of the documentation to the copies."""

    def led(match: re.Match[str]) -> str:
        target = outside(page.file.src_uri, match["target"])
        if target is None:
            return match[0]
        here = posixpath.dirname(page.file.src_uri)
        to = posixpath.relpath(f"{COPIES}/{target}", here or ".")
        return f"]({to}{match['anchor'] or ''})"

    return markdown if page.file.src_uri.startswith(f"{COPIES}/") else LINK.sub(led, markdown)


def outside(page: str, target: str) -> str | None:
    """The path in the repository that a link of a page leads to, if it leads out of docs/."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    return None if path.startswith("docs/") else path
