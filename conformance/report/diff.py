"""What changed between two reports of a backend: by finding, check and row of figures.

  NEW      deviates, crashes or hangs now, and did not before (or less gravely)
  FIXED    deviated before, and does not now
  DRIFTED  the largest error of a row of figures moved by more than a factor
  CHANGED  characterised, and something else than before: recorded, never a failure
  GONE     checked before, not now

A known deviation is a deviation here: that a file excuses it says nothing about the release.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..findings.evidence import slug
from ..judging.tolerance import recorded_alike
from ..model.literal import from_json

Json = dict[str, Any]
Label = Literal["NEW", "FIXED", "DRIFTED", "CHANGED", "GONE"]
LABELS: tuple[Label, ...] = ("NEW", "FIXED", "DRIFTED", "CHANGED", "GONE")

GRAVITY = {"known": 1, "deviates": 1, "timed-out": 2, "crashed": 2}
"""How bad a verdict is; 0 for the others."""
CRASHED = frozenset({"crashed", "timed_out"})
NOT_CHECKED = ("unsupported", "refused")
DRIFT = 2.0
"""By which factor the largest error has to move to count as drift, unless another is given."""
LEAST = 0.5
"""... and by how many ulps: below that, it is another worst input of the same rounding."""


@dataclass(frozen=True)
class Change:
    """One change. name: of a check, or of a row; before and now: what the two reports say.

    worse: it is for the worse; a drift in the other direction is told and fails nothing.
    """

    label: Label
    name: str
    summary: str
    before: Json | None
    now: Json | None
    worse: bool = False

    def line(self) -> str:
        return f"{self.label} {self.name}: {self.summary}"

    @property
    def reproduce(self) -> str:
        """Plain framework code that shows it: what deviates now, or what did."""
        for check in (self.now, self.before):
            if check is not None and check.get("verdict") in GRAVITY:
                return str(check["reproduce"])
        return ""

    @property
    def topic(self) -> str:
        """What it is about, whatever the surface, the dtype, the reduction and the quantity."""
        surface, slash, check = self.name.partition("/")
        about = check if slash else surface.partition(" ")[2]
        return ("" if slash else "accuracy of ") + about.partition("[")[0]

    @property
    def transition(self) -> str:
        """What a recorded behaviour was and became, without values: it names the change."""
        assert self.before is not None and self.now is not None
        return f"{self.before['behaviour']} became {self.now['behaviour']}"

    @property
    def surface(self) -> str:
        return self.name.partition("/")[0].partition(" ")[0]

    def json(self) -> Json:
        return {"label": self.label, "name": self.name, "summary": self.summary,
                "worse": self.worse, "before": self.before, "now": self.now}  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Changes of one label and one cause; the first stands for the rest.

    id and topic are those of the finding that the checks belong to, where there is one.
    """

    label: Label
    id: str
    topic: str
    changes: tuple[Change, ...]

    def line(self) -> str:
        """LABEL finding-id: title (how many checks)."""
        n = len(self.changes)
        what = "row" if self.label == "DRIFTED" else "check"
        return f"{self.label} {self.id}: {self.topic} ({n} {what}{'s'[: n != 1]})"

    @property
    def surfaces(self) -> int:
        return len({change.surface for change in self.changes})


@dataclass(frozen=True)
class Difference:
    """All changes between two reports, the gravest kind first, and what is to be borne in mind."""

    old: Json
    new: Json
    changes: tuple[Change, ...]
    unchanged: int
    notes: tuple[str, ...]

    def count(self, label: Label) -> int:
        return sum(change.label == label for change in self.changes)

    @property
    def failing(self) -> bool:
        return any(change.worse for change in self.changes)

    def groups(self, label: Label) -> list[Group]:
        """The changes by cause: in the order of the findings, then the largest groups."""
        report = self.new if label == "NEW" else self.old
        titles = {finding["id"]: finding["title"] for finding in report["findings"]}
        of_check = {id: f["id"] for f in report["findings"] for id in f["checks"]}
        found: dict[tuple[str, str], list[Change]] = {}
        for change in self.changes:
            if change.label == label:
                found.setdefault(_cause(change, of_check, titles), []).append(change)
        groups = [Group(label, *cause, tuple(some)) for cause, some in found.items()]
        order = list(titles)
        groups.sort(key=lambda g: (order.index(g.id) if g.id in titles else len(order),
                                   -len(g.changes)))  # fmt: skip
        return groups


def _cause(
    change: Change, of_check: Mapping[str, str], titles: Mapping[str, str]
) -> tuple[str, str]:
    """The id and title under which a change is listed."""
    if change.label in ("NEW", "FIXED") and change.name in of_check:
        id = of_check[change.name]
        return id, titles[id]
    words = change.transition if change.label == "CHANGED" else change.topic
    return slug(words), words


def difference(old: Json, new: Json, drift: float = DRIFT) -> Difference:
    """What changed from one report to the other; drift: the factor beyond which errors count."""
    before, now = _by_id(old), _by_id(new)
    changes = [*_of_checks(before, now), *_of_rows(old, new, drift)]
    changes.sort(key=lambda change: (LABELS.index(change.label), not change.worse))
    touched = {change.name for change in changes}
    unchanged = sum(name in before and name not in touched for name in now)
    return Difference(old, new, tuple(changes), unchanged, tuple(_notes(old, new)))


def _by_id(report: Json) -> dict[str, Json]:
    return {check["id"]: check for check in report["checks"]}


def _notes(old: Json, new: Json) -> Iterator[str]:
    """What makes two reports hard to compare."""
    for name in ("version", "profile", "seed", "shard"):
        one, other = old["suite"][name], new["suite"][name]
        if one != other:
            yield f"another {name} of the suite: {one} before, {other} now"
    for name in ("adapter", "device", "mode", "device_name", "platform"):
        one, other = old["backend"][name], new["backend"][name]
        if one != other:
            yield f"another {name}: {one} before, {other} now"
    for surface in sorted(_computing(new) - _computing(old)):
        yield f"the earlier run had no result from {surface}: all of it is checked the first time"
    for surface in sorted(_computing(old) - _computing(new)):
        yield f"the later run had no result from {surface}"
    for report, when in ((old, "the earlier"), (new, "the later")):
        if report["interrupted"] or report["broken"]:
            yield f"{when} run did not finish: what is missing shows as GONE, or not at all"


def _computing(report: Json) -> set[str]:
    """The surfaces of which there is any result; one that a release lacks refuses every call."""
    return {check["surface"] for check in report["checks"] if "returned" in check["witness"]["got"]}


# ---- checks


def _of_checks(before: Mapping[str, Json], now: Mapping[str, Json]) -> Iterator[Change]:
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        change = _of_check(name, old, new)
        if change is not None:
            yield change


def _of_check(name: str, old: Json | None, new: Json | None) -> Change | None:
    was, is_ = _gravity(old), _gravity(new)
    if new is None:
        assert old is not None
        return Change("GONE", name, f"was: {_told(old)}", _kept(old), None)
    if is_ > was or (is_ == was > 0 and _graver_axis(old, new)):
        text = new["summary"] if old is None or not was else f"{new['summary']}; was: {_told(old)}"
        text += "" if old is not None else " (not checked before)"
        return Change("NEW", name, text, _kept(old), _kept(new), worse=True)
    if old is None:
        return None
    if _checked(old) and not _checked(new):
        return Change("GONE", name, f"{_told(new)}; was: {_told(old)}", _kept(old), _kept(new))
    if was > is_:
        label: Label = "FIXED"
        return Change(label, name, f"was: {_told(old)}; now: {_told(new)}", _kept(old), _kept(new))
    if "characterised" in (old["verdict"], new["verdict"]) and not _same_behaviour(old, new):
        text = f"was: {_told(old)}; now: {_told(new)}"
        return Change("CHANGED", name, text, _kept(old), _kept(new))
    return None


def _gravity(check: Json | None) -> int:
    """A known crash is a crash."""
    if check is None:
        return 0
    if check["verdict"] == "known" and not CRASHED.isdisjoint(check["witness"]["got"]):
        return GRAVITY["crashed"]
    return GRAVITY.get(check["verdict"], 0)


def _graver_axis(old: Json | None, new: Json) -> bool:
    return old is not None and old["axis"] == "accuracy" and new["axis"] == "semantics"


def _checked(check: Json) -> bool:
    return check["verdict"] not in NOT_CHECKED


def _told(check: Json) -> str:
    return f"{check['verdict']}, {check['summary']}"


def _kept(check: Json | None) -> Json | None:
    """What of a check a reader of the difference needs."""
    if check is None:
        return None
    names = ("verdict", "axis", "summary", "source")
    return {**{name: check[name] for name in names}, "behaviour": _in_words(check),
            "reproduce": check["witness"]["reproduce"]}  # fmt: skip


def _in_words(check: Json) -> str:
    """What a backend did, less what differs from call to call and from machine to machine."""
    got = check["witness"]["got"]
    if "raised" in got:
        return str(got["raised"]["type"])
    if "returned" in got:
        return f"{got['returned']['dtype']} of shape {got['returned']['shape']}"
    return ", ".join(sorted(got)).replace("_", " ")


def _same_behaviour(old: Json, new: Json) -> bool:
    """Whether both did the same: one exception type, or one dtype, shape and values.

    Values are compared by the tolerance for recorded values, for their last digits depend on the
    machine; the wording of a message does not count.
    """
    if old["verdict"] != new["verdict"] or _in_words(old) != _in_words(new):
        return False
    one, other = (check["witness"]["got"].get("returned") for check in (old, new))
    if one is None or other is None or one["bits"] == other["bits"]:
        return True
    return recorded_alike(one["dtype"], from_json(one).values, from_json(other).values)


# ---- figures


def _of_rows(old: Json, new: Json, drift: float) -> Iterator[Change]:
    before = {row_name(row): row for row in old["accuracy"]}
    for row in new["accuracy"]:
        name = row_name(row)
        if name in before:
            change = _of_row(name, before[name], row, drift)
            if change is not None:
                yield change


def row_name(row: Json) -> str:
    """What a row of figures is called among the changes."""
    part = f",{row['sweep']['name']}" if "sweep" in row else ""
    return f"{row['surface']} {row['quantity']}[{row['dtype']},{row['reduction']}{part}]"


def _of_row(name: str, old: Json, new: Json, drift: float) -> Change | None:
    was, is_ = old["max_ulp"], new["max_ulp"]
    least, most = sorted((was, is_))
    if most - least < LEAST or most <= drift * least:
        return None
    summary = f"at most {was:g} ulp before{_worst(old)}, {is_:g} ulp now{_worst(new)}"
    return Change("DRIFTED", name, summary, {"max_ulp": was, "at": old["at"]},
                  {"max_ulp": is_, "at": new["at"]}, worse=is_ > was)  # fmt: skip


def _worst(row: Json) -> str:
    at = row["at"]
    if not at or not at["inputs"]:
        return ""
    shown = ", ".join(f"{name} {n['value']} ({n['bits']})" for name, n in at["inputs"].items())
    return f" ({shown}: got {at['got']['value']}, expected {at['due']})"
