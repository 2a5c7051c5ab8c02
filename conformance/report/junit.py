"""JUnit XML: a test suite per backend; a test case per finding, and one per surface."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

from ..running.engine import BackendNotRun
from .findings_text import numbers, spans

Json = dict[str, Any]


def junit(reports: Sequence[Json], not_run: Sequence[BackendNotRun]) -> str:
    """New findings are failures; known ones pass. What stopped a run is an error."""
    root = ET.Element("testsuites", name="bce-conformance")
    for report in reports:
        root.append(_suite(report))
    for absent in not_run:
        root.append(_not_run(absent))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(report: Json) -> ET.Element:
    backend = report["backend"]
    name = (
        f"{backend['adapter']} {backend['framework_version']} {backend['device']} {backend['mode']}"
    )
    cases = [_finding(finding) for finding in report["findings"]]
    cases += [_surface(report, surface) for surface in _surfaces(report)]
    for death in report["lost_workers"]:
        cases.append(
            _error(backend["adapter"], f"worker lost after {death['after']}", death["cause"])
        )
    if report["broken"]:
        cases.append(_error(backend["adapter"], "backend is gone", report["broken"]))
    if report["interrupted"]:
        cases.append(_error(backend["adapter"], "interrupted", "the run was interrupted"))
    return _with_counts(ET.Element("testsuite", name=_clean(name)), cases)


def _with_counts(suite: ET.Element, cases: list[ET.Element]) -> ET.Element:
    suite.set("tests", str(len(cases)))
    for counter, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(counter, str(sum(case.find(tag) is not None for case in cases)))
    suite.extend(cases)
    return suite


def _finding(finding: Json) -> ET.Element:
    """Its checks are properties of the test case; a known finding passes, and says so."""
    classname = finding["surfaces"][0]
    case = ET.Element("testcase", classname=_clean(classname), name=_clean(finding["id"]))
    properties = ET.SubElement(case, "properties")
    for check in finding["checks"]:
        ET.SubElement(properties, "property", name="check", value=_clean(check))
    message = f"{finding['title']}: {numbers(finding)}"
    if finding["verdict"] == "known":
        ET.SubElement(case, "system-out").text = _clean(f"known: {message}")
        return case
    failure = ET.SubElement(case, "failure", type=finding["severity"], message=_clean(message))
    failure.text = _clean(f"in {spans(finding)}\n\n{finding['reproduce']}\n")
    return case


def _surfaces(report: Json) -> list[str]:
    return list(dict.fromkeys(check["surface"] for check in report["checks"]))


def _surface(report: Json, surface: str) -> ET.Element:
    """What was checked of a surface; skipped where nothing of it could be tested."""
    case = ET.Element("testcase", classname=_clean(surface), name="checks")
    verdicts = Counter(c["verdict"] for c in report["checks"] if c["surface"] == surface)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    if set(verdicts) <= {"unsupported"}:
        ET.SubElement(case, "skipped", message=_clean(counts))
    else:
        ET.SubElement(case, "system-out").text = _clean(counts)
    return case


def _error(classname: str, name: str, message: str) -> ET.Element:
    case = ET.Element("testcase", classname=_clean(classname), name=_clean(name))
    ET.SubElement(case, "error", message=_clean(message))
    return case


def _not_run(absent: BackendNotRun) -> ET.Element:
    suite = ET.Element("testsuite", name=f"{absent.adapter} NOT RUN")
    return _with_counts(suite, [_error(absent.adapter, "not run", absent.reason)])


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 does not have."""
    return "".join(c if c in "\t\n" or (c >= " " and c not in "\ufffe\uffff" and not
                   "\ud800" <= c <= "\udfff") else "\ufffd" for c in text)  # fmt: skip
