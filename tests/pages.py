"""What a page of the documentation holds: its fences, its links, its anchors."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Fence:
    """A block of a page. name: of the file that it is, where its first line says so."""

    language: str
    text: str

    @property
    def name(self) -> str | None:
        found = re.match(r"# (\w[\w.-]*\.(?:py|yaml|yml))\n", self.text)
        return found[1] if found else None


def fences(page: Path) -> list[Fence]:
    return [Fence(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]


def prose(page: Path) -> str:
    """A page without what stands in fences and between backticks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def links(page: Path) -> list[str]:
    return LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The ids that its headings get, by the rule of Python-Markdown."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return {slug(heading) for heading in re.findall(r"^#{1,6} (.*)$", text, flags=re.M)}


def slug(heading: str) -> str:
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    ascii_ = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_).strip().lower())


@dataclass(frozen=True)
class Command:
    """A line after `$`, and what the page shows of its output."""

    words: str
    output: tuple[str, ...]


def commands(fence: Fence) -> Iterator[Command]:
    """The commands of a console block; a line that ends with a backslash goes on."""
    for part in re.split(r"^\$ ", fence.text, flags=re.M)[1:]:
        lines = part.replace("\\\n", "").splitlines()
        yield Command(lines[0], tuple(lines[1:]))
