"""A YAML file as plain data, with the line and column of everything in it.

Case files come from strangers, so only plain YAML is read: no tags, no anchors or aliases (an
alias can grow to gigabytes), no duplicate keys, bounded size and depth. No code is ever run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C where the yaml package has it: the shipped files load in 0.8 s instead of 2.5."""
LARGEST_FILE = 4_000_000
DEEPEST = 40

Path_ = tuple[str | int, ...]


class CaseFileError(Exception):
    """What is wrong with a file of the user's, in one line: file:line:column: expected …"""

    def __init__(self, file: Path | str, line: int, column: int, expected: str) -> None:
        super().__init__(f"{file}:{line}:{column}: {' '.join(expected.split())}")


@dataclass(frozen=True)
class Tree:
    """The data of a file and where each part of it stands.

    places maps a path such as ("cases", 0, "call") to the (line, column), counted from 1, of its
    value; the path with a trailing "@" stands for the key itself. An empty file has the data None.
    """

    file: Path
    data: Any
    places: dict[Path_, tuple[int, int]]

    def error(self, path: Path_, expected: str) -> CaseFileError:
        """An error at a path, or at the nearest enclosing part that the file has."""
        at = path
        while at and at not in self.places:
            at = at[:-1]
        line, column = self.places.get(at, (1, 1))
        return CaseFileError(self.file, line, column, expected)


def read(file: Path) -> Tree:
    """Reads a YAML file. Raises CaseFileError for whatever is not plain, safe YAML."""
    text = _text(file)
    try:
        _refuse_unsafe(file, text)
        root = yaml.compose(text, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise CaseFileError(file, line, column, f"expected YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line, column = _place(text, int(error.position))
        what = f"expected YAML text: the character #x{int(error.character):04x} is not allowed"
        raise CaseFileError(file, line, column, what) from None
    if root is None:
        return Tree(file, None, {})
    places: dict[Path_, tuple[int, int]] = {}
    data = _construct(file, root, (), places)
    return Tree(file, data, places)


def _text(file: Path) -> str:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise CaseFileError(file, 1, 1, f"expected a readable file: {error.strerror}") from None
    if len(raw) > LARGEST_FILE:
        size = f"{len(raw)} bytes"
        raise CaseFileError(file, 1, 1, f"expected at most {LARGEST_FILE} bytes, not {size}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before) - (before.rfind(b"\n") + 1) + 1
        byte = raw[error.start]
        what = f"expected UTF-8 text: byte 0x{byte:02x} is not part of any character"
        raise CaseFileError(file, line, column, what) from None


def _place(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _refuse_unsafe(file: Path, text: str) -> None:
    """Walks the parser's events, which are flat, before anything is built from them."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=LOADER):
        mark = event.start_mark
        here = (file, mark.line + 1, mark.column + 1) if mark else (file, 1, 1)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise CaseFileError(*here, "expected one YAML document in a file")
        if isinstance(event, yaml.AliasEvent):
            raise CaseFileError(
                *here, f"expected plain data: the alias *{event.anchor} is not allowed"
            )
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor:
            raise CaseFileError(*here, f"expected plain data: the anchor &{anchor} is not allowed")
        if tag:
            raise CaseFileError(*here, f"expected plain data: the tag {tag} is not allowed")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise CaseFileError(*here, f"expected at most {DEEPEST} levels of nesting")
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _construct(
    file: Path, node: yaml.Node, path: Path_, places: dict[Path_, tuple[int, int]]
) -> Any:
    places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.SequenceNode):
        items = enumerate(node.value)
        return [_construct(file, item, (*path, i), places) for i, item in items]
    if isinstance(node, yaml.MappingNode):
        return _construct_mapping(file, node, path, places)
    return _scalar(file, node)


def _construct_mapping(
    file: Path, node: yaml.MappingNode, path: Path_, places: dict[Path_, tuple[int, int]]
) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise CaseFileError(file, line, column, "expected a word as key")
        key = str(key_node.value)
        if key in mapping:
            raise CaseFileError(
                file, line, column, f"expected each key once: {key!r} is a duplicate"
            )
        mapping[key] = _construct(file, value_node, (*path, key), places)
        places[(*path, key, "@")] = (line, column)
    return mapping


def _scalar(file: Path, node: yaml.Node) -> Any:
    """null, booleans, integers, floats and strings; whatever else YAML resolves stays its text."""
    if not node.tag.endswith((":null", ":bool", ":int", ":float")):
        return node.value
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except (ValueError, OverflowError) as error:
        place = node.start_mark.line + 1, node.start_mark.column + 1
        raise CaseFileError(file, *place, f"expected a number: {error}") from None
