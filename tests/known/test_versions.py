"""Which releases a range means, and whether two ranges have one in common."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet

from bce_conformance.known.versions import overlap, shown, within


@pytest.mark.parametrize(
    ("versions", "release", "expected"),
    [
        ("==2.13.0", "2.13.0", True),
        ("==2.13.0", "2.13.0+cpu", True),
        ("<=2.13.0", "2.13.0+cu126", True),
        ("<2.13.0", "2.13.0+cpu", False),
        ("==2.13.0+cu126", "2.13.0+cpu", False),
        (">=3.0,<=3.3.1", "3.0.0", True),
        (">=3.0,<=3.3.1", "3.3.1", True),
        (">=3.0,<=3.3.1", "3.3.1.post1", False),
        (">=3.0,<=3.3.1", "3.3.1rc1", True),
        (">=3.0,<=3.3.1", "3.4.0rc1", False),
        (">=3.0,<=3.3.1", "2.6.2", False),
        (">=3.0", "3.0.0rc1", False),
        (">=3.0", "12.1", True),
        (">=3.0", "3.4.0.dev20261101+gitabcdef", True),
        ("<3.4", "3.4.0rc1", False),
        ("==3.3.*", "3.3.9", True),
        ("==3.3.*", "3.30", False),
        ("!=3.3.0,>=3", "3.3.0", False),
        (">=0", "unknown", False),
        (">=0", "", False),
    ],
)
def test_within(versions: str, release: str, expected: bool) -> None:
    assert within(SpecifierSet(versions), release) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (">=3.0", ">=4.0", True),
        ("<=3.0", ">=3.0", True),
        ("<3.0", ">=3.0", False),
        ("<=3.0", ">3.0", False),
        ("<3.0", ">2.9", True),
        (">=3.0,<=3.3.1", ">3.3.1", False),
        ("==3.3.1", ">=3.0,<=3.3.1", True),
        ("==3.3.1", "!=3.3.1", False),
        ("==3.3.*", "==3.3.7", True),
        ("==3.3.*", "==3.4.*", False),
        ("==3.3.*", ">=3.3.4", True),
        ("~=3.1", "==3.9.2", True),
        ("~=3.1", ">=4", False),
        (">=1,<2", ">=3,<4", False),
        ("<2", "<1", True),
        (">1,<2", ">1.5", True),
    ],
)
def test_overlap(one: str, other: str, expected: bool) -> None:
    assert overlap(SpecifierSet(one), SpecifierSet(other)) is expected
    assert overlap(SpecifierSet(other), SpecifierSet(one)) is expected


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        (">=3.0,<=3.3.1", "≥3.0, ≤3.3.1"),
        ("<=3.3.1,>=3.0", "≥3.0, ≤3.3.1"),
        ("==2.13.0", "2.13.0"),
        (">=0.9", "≥0.9"),
        ("~=3.1", "~=3.1"),
        (">3,!=3.1", ">3, ≠3.1"),
    ],
)
def test_shown(versions: str, text: str) -> None:
    assert shown(SpecifierSet(versions)) == text
