"""What the plugin costs a project that does not use it: nothing is imported, nothing is said."""

from __future__ import annotations

import re


def quiet(lines: list[str]) -> list[str]:
    """Without times, and without the header's list of installed plugins."""
    return [re.sub(r"\d+\.\d+s", "", line) for line in lines if not line.startswith("plugins: ")]


def test_nothing_is_imported_and_nothing_said(project, run_apart) -> None:
    project.makeconftest("""
        import sys

        def pytest_sessionfinish():
            print("imported:", *sorted(m for m in sys.modules if m.startswith("bce_conformance")))
            print("numpy:", "numpy" in sys.modules)
    """)
    project.makepyfile("def test_mine(): pass")
    used = run_apart("-s", "-p", "no:hypothesispytest", "-p", "no:benchmark", "-p", "no:xdist")
    used.stdout.fnmatch_lines(["*imported: bce_conformance bce_conformance.plugin", "numpy: False"])
    project.makeconftest("")
    options = ("-p", "no:randomly")
    with_it = run_apart(*options)
    without = project.runpytest_subprocess(*options, "-p", "no:bce_conformance.plugin")
    assert quiet(with_it.outlines) == quiet(without.outlines)
    assert with_it.errlines == without.errlines == []


def test_help_and_markers_say_what_there_is(run_apart) -> None:
    run_apart("--help").stdout.fnmatch_lines([
        "binary cross entropy with logits (bce-conformance):",
        *(f"  --bce-{name}*" for name in ("backend", "profile", "device", "known", "report")),
    ])  # fmt: skip
    run_apart("--markers").stdout.fnmatch_lines(["@pytest.mark.bce_conformance(framework, *"])
    run_apart("--fixtures").stdout.fnmatch_lines(["*bce_conformance*", "*bce_tolerance*"])
