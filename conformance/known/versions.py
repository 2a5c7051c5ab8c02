"""Version ranges: PEP 440 specifiers, and whether two of them have a version in common."""

from __future__ import annotations

import re

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version


def within(versions: SpecifierSet, release: str) -> bool:
    """Whether a release's version is in the range; a text that is no version is in none.

    Pre-releases count as what they are: 3.4.0rc1 is in >=3.3.1 (PEP 440 keeps it out of <3.4.0).
    A local version such as 2.13.0+cpu is in ==2.13.0.
    """
    try:
        return versions.contains(Version(release), prereleases=True)
    except InvalidVersion:
        return False


def overlap(one: SpecifierSet, other: SpecifierSet) -> bool:
    """Whether some version is in both ranges.

    A range changes only at the versions that it names, so it is enough to look at those, just
    below and just above each, and at both ends.
    """
    named = [s.version.removesuffix(".*") for s in (*one, *other)]
    candidates = {"0", "999999"}
    for text in named:
        candidates |= {text, _below(text), f"{Version(text).base_version}.0.1"}
    return any(within(one, version) and within(other, version) for version in candidates)


def _below(text: str) -> str:
    """A version below `text`, with none that a range would name between them: 3.2.999999 for 3.3"""
    release = list(Version(text).release)
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    return ".".join(map(str, [*release[:-1], max(release[-1] - 1, 0), 999999]))


def shown(versions: SpecifierSet) -> str:
    """The range as a person writes it: '≥3.0, ≤3.3.1'."""
    lower_first = sorted(map(str, versions), key=lambda text: (text[0] not in ">~=", text))
    signs = {">=": "≥", "<=": "≤", "!=": "≠", "==": "", "~=": "~=", ">": ">", "<": "<", "===": ""}
    return ", ".join(
        re.sub(r"^(===|>=|<=|!=|==|~=|>|<)", lambda m: signs[m[1]], text) for text in lower_first
    )
