"""From the checks of a report to its findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..model.call import FORWARD, QUANTITIES
from .evidence import GATHERED, Key, call_of, causes, is_form, key, name, numbers, slug
from .representative import representative
from .titles import title, without_quantity

Json = dict[str, Any]

SEVERITIES = ("crash", "wrong-value", "wrong-gradient", "wrong-form", "broken-claim", "accuracy")
"""From the gravest to the least."""
REDUCTIONS = ("none", "mean", "sum")


def gather(checks: Iterable[Mapping[str, Any]]) -> list[Json]:
    """The findings of the checks (as reports hold them) that fail or are known to, gravest first.

    Each check that fails belongs to exactly one finding.
    """
    failing = [dict(check) for check in checks if check["verdict"] in GATHERED]
    chosen = chosen_causes(failing)
    groups: dict[Key, list[Json]] = {}
    for check in failing:
        groups.setdefault(key(check, chosen.get(check["id"], "")), []).append(check)
    groups = with_consequences(groups)
    made = [finding(list(group), chosen) for group in groups.values()]
    return distinct(sorted(made, key=place))


def chosen_causes(checks: Sequence[Json]) -> dict[str, str]:
    """A diagnosis for each check that has one, by check id: as few different ones as explain all.

    Several formulas fit the result of a small call by chance; the one that also fits most other
    checks is the cause.
    """
    fits = {c["id"]: causes(c) for c in checks if not c.get("finding") and causes(c)}
    chosen: dict[str, str] = {}
    while len(chosen) < len(fits):
        votes = Counter(cause for id, cs in fits.items() if id not in chosen for cause in cs)
        most = max(votes.values())
        # Of equally good ones the first that a check names: diagnoses list the plainest first.
        best = next(c for id, cs in fits.items() if id not in chosen for c in cs
                    if votes[c] == most)  # fmt: skip
        chosen |= {id: best for id, cs in fits.items() if id not in chosen and best in cs}
    return chosen


def with_consequences(groups: Mapping[Key, list[Json]]) -> dict[Key, list[Json]]:
    """The groups, without those that only follow from another one.

    A gradient that is wrong where the loss itself is wrong has the loss's cause; so has a relation
    between two calls (a sum, a reordering) whose results are wrong one by one.
    """
    kept = dict(groups)
    for each in list(groups):
        source = source_of(each, kept)
        if source is not None:
            kept[source] = [*kept[source], *kept.pop(each)]
    return kept


def source_of(each: Key, groups: Mapping[Key, list[Json]]) -> Key | None:
    checks = groups.get(each, [])
    if each[0] in ("cause", "place") and all(c["quantity"] != FORWARD for c in checks):
        return wrong_loss(representative(checks), groups)
    if each[0] != "rule" or any(c["kind"] != "relation" for c in checks):
        return None
    for other, others in groups.items():
        if other[0] in ("cause", "place") and all(any(alike(c, o) for o in others) for c in checks):
            return other
    return None


def wrong_loss(gradient: Mapping[str, Any], groups: Mapping[Key, list[Json]]) -> Key | None:
    """The group whose witness shows that the loss is wrong for the arguments of this gradient."""
    for other, others in groups.items():
        shown = representative(others)
        plain = other[0] in ("cause", "place") and shown["quantity"] == FORWARD
        if plain and inputs(shown) == inputs(gradient):
            return other
    return None


def inputs(check: Mapping[str, Any]) -> dict[str, list[float] | None]:
    """The values of each argument of a witness, whatever their dtype and shape."""
    return {argument: numbers(array) for argument, array in call_of(check)["arguments"].items()}


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[field] == other[field] for field in ("surface", "quantity", "dtype"))


def finding(checks: list[Json], chosen: Mapping[str, str]) -> Json:
    """One finding of the checks that share a cause."""
    shown = representative(checks)
    cause = without_quantity(chosen.get(shown["id"], ""))
    quantities = {c["quantity"] for c in checks}
    return {
        "id": shown.get("finding") or identifier(shown, cause),
        "title": title(shown, chosen.get(shown["id"], "")),
        "severity": min((severity(c) for c in checks), key=SEVERITIES.index),
        "verdict": verdict(checks),
        "cause": cause,
        "surfaces": list(dict.fromkeys(c["surface"] for c in checks)),
        "quantities": [q for q in QUANTITIES if q in quantities],
        "dtypes": list(dict.fromkeys(c["dtype"] for c in checks)),
        "reductions": [r for r in REDUCTIONS if any(c["reduction"] == r for c in checks)],
        "ways": ["plain"],
        "checks": [c["id"] for c in checks],
        "witness": {
            "check": shown["id"],
            "quantity": shown["quantity"],
            "expected": shown["witness"]["expected"],
            "got": shown["witness"]["got"],
        },
        "reproduce": shown["witness"]["reproduce"],
    }


def identifier(check: Mapping[str, Any], cause: str) -> str:
    """A slug that is the same from release to release: of what is wrong, never of numbers."""
    if check["verdict"] == "known":
        return slug(check.get("reason", "") or name(check))
    quantity = "" if check["quantity"] == FORWARD else f"{slug(check['quantity'])}-"
    if cause:
        return slug(f"{quantity}as-if-{cause}")
    ending = {"crashed": "-crash", "timed-out": "-hang"}.get(check["verdict"], "")
    return slug(f"{quantity}{name(check)}") + ending


def severity(check: Mapping[str, Any]) -> str:
    got = check["witness"]["got"]
    if check["verdict"] in ("crashed", "timed-out") or "crashed" in got:
        return "crash"
    if check["axis"] == "accuracy":
        return "accuracy"
    if "raised" in got or ("value" not in check["witness"]["expected"] and "returned" not in got):
        return "broken-claim"
    if is_form(check):
        return "wrong-form"
    return "wrong-value" if check["quantity"] == FORWARD else "wrong-gradient"


def verdict(checks: Sequence[Mapping[str, Any]]) -> str:
    found = {check["verdict"] for check in checks}
    if found <= {"known"}:
        return "known"
    return "fixed" if found <= {"fixed", "known"} else "new"


def place(made: Mapping[str, Any]) -> tuple[Any, ...]:
    """The order of findings: new before known, then by severity, then the wider one first."""
    verdicts = ("new", "fixed", "known")
    return (verdicts.index(made["verdict"]), SEVERITIES.index(made["severity"]),
            -len(made["checks"]), made["id"])  # fmt: skip


def distinct(made: list[Json]) -> list[Json]:
    """The findings with ids of their own: a second one of a name gets a number."""
    seen: Counter[str] = Counter()
    for each in made:
        seen[each["id"]] += 1
        if seen[each["id"]] > 1:
            each["id"] += f"-{seen[each['id']]}"
    return made
