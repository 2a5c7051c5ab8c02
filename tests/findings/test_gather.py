"""Checks that share a cause are one finding; two causes are two."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bce_conformance.cli import main
from bce_conformance.findings import SEVERITIES, gather
from bce_conformance.findings.titles import LONGEST

Json = dict[str, Any]
Plant = Callable[..., Path]

BUGS = {
    "pos_weight ignored": ("w * (p * y * softplus(-x)", "w * (y * softplus(-x)"),
    "doubled": ("loss = w * (p * y", "loss = 2 * w * (p * y"),
    "negated": ("loss = w * (p * y", "loss = -w * (p * y"),
    "a sum for a mean": ('"mean": numpy.mean', '"mean": numpy.sum'),
}
"""Faults of the numpy adapter's formula, each with the words that its title needs."""
WORDS = {
    "pos_weight ignored": "pos_weight was ignored",
    "doubled": "expected",
    "negated": "expected",
    "a sum for a mean": "it was not divided by n",
}


@pytest.fixture
def findings(tmp_path: Path, planted: Plant) -> Callable[[str, str], list[Json]]:
    """The findings of a quick run on an adapter with a fault."""

    def run(right: str, wrong: str) -> list[Json]:
        adapter, folder = planted("numpy", right=right, wrong=wrong), tmp_path / "reports"
        assert main(["run", "--backend", "numpy", "--adapter", str(adapter), "--profile", "quick",
                     "--dtype", "float64", "--report-dir", str(folder)]) == 1  # fmt: skip
        (file,) = folder.glob("*.json")
        report = json.loads(file.read_text())
        failing = {c["id"] for c in report["checks"] if c["verdict"] in ("deviates", "crashed")}
        listed = Counter(id for each in report["findings"] for id in each["checks"])
        assert set(listed) == failing and set(listed.values()) <= {1}
        return list(report["findings"])

    return run


@pytest.mark.parametrize("bug", BUGS)
def test_the_first_finding_names_the_cause(
    findings: Callable[[str, str], list[Json]], bug: str
) -> None:
    first = findings(*BUGS[bug])[0]
    assert WORDS[bug] in first["title"]
    assert first["verdict"] == "new" and first["reproduce"]


@pytest.mark.parametrize("bug", ["pos_weight ignored", "a sum for a mean"])
def test_a_wrong_formula_is_one_finding(
    findings: Callable[[str, str], list[Json]], bug: str
) -> None:
    """Its checks fail under every topic and reduction; the cause is one."""
    found = findings(*BUGS[bug])
    assert len(found) == 1, [each["title"] for each in found]
    assert len(found[0]["checks"]) > 5


def check(name: str, **given: Any) -> Json:
    """A failing check as a report holds it."""
    array = {"dtype": "float32", "shape": [], "bits": "3f800000", "values": "1.0"}
    call = {"surface": "s", "options": {"reduction": "none"}, "upstream": None, "want": ["forward"],
            "arguments": {"logits": array, "target": array,
                          "weight": None, "pos_weight": None}}  # fmt: skip
    base: Json = {
        "id": f"s/property/{name}[float32,none]", "surface": "s", "kind": "property",
        "quantity": "forward", "dtype": "float32", "reduction": "none", "axis": "semantics",
        "verdict": "deviates", "source": {"document": "d", "sentence": name},
        "summary": "expected 1, got 2", "note": "", "reason": "", "strict": None, "examples": 1,
        "witness": {
            "question": {"call": call}, "quantity": "forward",
            "expected": {"promise": "agrees with the formula", "value": 1.0, "digits": "1",
                         "at": []},
            "got": {"returned": {**array, "bits": "40000000"}}, "reproduce": "code",
        },
    }  # fmt: skip
    return {**base, **given}


def test_one_diagnosis_is_one_finding_whatever_the_name() -> None:
    one = check("a", causes=["it was doubled", "the weight was ignored"])
    other = check("b", causes=["the weight was ignored"])
    (finding,) = gather([one, other])
    assert finding["cause"] == "the weight was ignored"
    assert finding["checks"] == [one["id"], other["id"]]


def test_two_diagnoses_are_two_findings() -> None:
    found = gather([check("a", causes=["the weight was ignored"]),
                    check("b", causes=["the target was rounded"])])  # fmt: skip
    assert [len(each["checks"]) for each in found] == [1, 1]


def test_scaling_one_quantity_says_nothing_of_another() -> None:
    slope = check("b", quantity="grad.weight", causes=["it was always 0"])
    slope["id"] += ":grad.weight"
    slope["witness"]["question"]["call"]["arguments"] = {
        **slope["witness"]["question"]["call"]["arguments"],
        "weight": {"dtype": "float32", "shape": [], "bits": "40400000", "values": "3.0"},
    }
    assert len(gather([check("a", causes=["it was always 0"]), slope])) == 2


def test_known_checks_have_the_id_and_title_of_their_entry() -> None:
    entry = {"verdict": "known", "finding": "some-cause", "reason": "A title"}
    (finding,) = gather([check("a", **entry), check("b", **entry), check("c", verdict="conforms")])
    assert (finding["id"], finding["title"]) == ("some-cause", "A title")
    assert finding["verdict"] == "known" and len(finding["checks"]) == 2


def test_severity_orders_findings_and_crashes_come_first() -> None:
    got = {"crashed": {"cause": "signal 6 (SIGABRT)", "during": "forward", "stderr": []}}
    crashed = check("b", verdict="crashed")
    crashed["witness"] |= {"got": got, "expected": {"promise": "agrees with the formula"}}
    found = gather([check("a"), crashed])
    assert [each["severity"] for each in found] == ["crash", "wrong-value"]
    assert [SEVERITIES.index(each["severity"]) for each in found] == [0, 1]
    assert "SIGABRT" in found[0]["title"]


def test_the_witness_is_the_plainest() -> None:
    plain, odd = (check(name, causes=["the target was rounded"]) for name in "ab")
    arguments = odd["witness"]["question"]["call"]["arguments"]
    odd["witness"]["question"]["call"]["arguments"] = {
        **arguments, "target": {**arguments["target"], "values": "-7.25"}
    }  # fmt: skip
    (finding,) = gather([odd, plain])
    assert finding["witness"]["check"] == plain["id"]


def test_a_title_is_one_line_of_bounded_length() -> None:
    raised = {"type": "ValueError", "message": "no\n" * 100, "bases": [], "during": "forward"}
    refused = check("a")
    refused["witness"]["got"] = {"raised": raised}
    (finding,) = gather([refused])
    assert len(finding["title"]) <= LONGEST and "\n" not in finding["title"]


def test_where_an_earlier_call_is_to_blame_the_witness_makes_it() -> None:
    """Alone the call is right, so a reproducer without the other call shows nothing."""
    causes = ["something from an earlier call was kept"]
    alone, after = check("a", causes=causes), check("b", causes=causes)
    call = after["witness"]["question"]["call"]
    after["witness"]["question"] = {"call": call, "before": [call]}
    (finding,) = gather([alone, after])
    assert finding["witness"]["check"] == after["id"]
