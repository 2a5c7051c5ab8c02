"""JUnit XML: a test suite per backend, a test case per check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

from ..model.check import FAILING
from ..running.engine import BackendNotRun

Json = dict[str, Any]


def junit(reports: Sequence[Json], not_run: Sequence[BackendNotRun]) -> str:
    """deviates, fixed, crashed and timed-out are failures; unsupported and refused are skipped."""
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
    cases = [_case(check) for check in report["checks"]]
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


def _case(check: Json) -> ET.Element:
    case = ET.Element("testcase", classname=_clean(check["surface"]), name=_clean(check["id"]))
    verdict, summary = check["verdict"], check["summary"]
    if verdict in FAILING:
        failure = ET.SubElement(case, "failure", type=verdict, message=_clean(summary))
        source = check["source"]
        line = f"{source['document']}: {source['sentence']}\n\n{check['witness']['reproduce']}\n"
        failure.text = _clean(line)
    elif verdict in ("unsupported", "refused"):
        ET.SubElement(case, "skipped", message=_clean(f"{verdict}: {summary}"))
    elif verdict in ("characterised", "known"):
        ET.SubElement(case, "system-out").text = _clean(f"{verdict}: {summary}")
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
