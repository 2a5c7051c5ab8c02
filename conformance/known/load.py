"""From files of known deviations to entries, with the place of everything that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from ..adapters import AdapterFile
from ..casefile.build import Builder, validate
from ..casefile.load import case_files
from ..casefile.model import CallSpec, ExpectSpec
from ..casefile.tree import CaseFileError, Path_, Tree, read
from ..model.call import FORWARD, QUANTITIES, Call
from ..model.expectation import AgreesWithReference, Case, Expectation, Source
from .behaviour import NothingSaid
from .entry import Known
from .expand import Entry, expanded
from .model import EntrySpec, KnownFileSpec

KINDS = ("documented", "property", "relation", "contract", "error", "special", "reduction", "sweep")
EXPECTED: Mapping[str, object] = {"reference": True}
"""What a witness is expected to do where its entry does not say: agree with the formula."""


def shipped_known() -> Path:
    """The folder of the known deviations that are installed with the suite."""
    return Path(str(files("bce_conformance") / "cases" / "known"))


def load_known(paths: Iterable[Path], adapters: Mapping[str, AdapterFile]) -> list[Known]:
    """Every entry of the files among paths and below folders, in their order.

    An empty file knows nothing. Raises CaseFileError for the first thing that is wrong, two
    entries about one check of one release included.
    """
    known: list[Known] = []
    by_check: dict[str, list[Known]] = {}
    for path in case_files(paths):
        tree = read(path)
        for at, entry in _entries(tree, adapters):
            _require_alone(tree, at, entry, by_check.setdefault(entry.check, []))
            by_check[entry.check].append(entry)
            known.append(entry)
    return known


def _require_alone(tree: Tree, at: Path_, entry: Known, others: Sequence[Known]) -> None:
    for other in others:
        if entry.overlaps(other):
            place = f"{other.file}:{other.line}"
            what = f"expected one entry for a check of a release: {entry.check} is known at {place}"
            raise tree.error(at, f"{what} too, for versions in common")


def _entries(tree: Tree, adapters: Mapping[str, AdapterFile]) -> Iterator[tuple[Path_, Known]]:
    """The entries of one file, each with the path of its `checks`."""
    if tree.data is None:
        return
    if not isinstance(tree.data, dict):
        raise tree.error((), "expected a mapping with `backend` and `known`")
    spec = validate(tree, KnownFileSpec, tree.data, lambda loc: loc)
    if spec.backend not in adapters:
        names = ", ".join(adapters)
        raise tree.error(("backend",), f"expected an adapter ({names}), not {spec.backend!r}")
    for index, data in enumerate(spec.known):
        path: Path_ = ("known", index)
        for entry in expanded(tree, data, path):
            yield (*path, "checks"), _Reader(tree, adapters[spec.backend], entry).known()


@dataclass(frozen=True)
class _Reader:
    """Makes one entry of its expanded data, knowing where its parts stand."""

    tree: Tree
    adapter: AdapterFile
    entry: Entry

    def error(self, at: Path_, expected: str) -> CaseFileError:
        return self.tree.error(self.entry.place(at), f"expected {expected}")

    def known(self) -> Known:
        spec = validate(self.tree, EntrySpec, self.entry.data, self.entry.place)
        check = spec.checks.strip()
        for i, mode in enumerate(spec.modes):
            if mode not in self.adapter.modes:
                modes = ", ".join(self.adapter.modes)
                raise self.error(("modes", i), f"a mode of {self.adapter.name} ({modes})")
        case, quantity = self.case_id(check)
        known = Known(
            backend=self.adapter.name,
            check=check,
            quantity=quantity,
            versions=spec.versions,
            modes=tuple(spec.modes),
            devices=tuple(spec.devices),
            axis=spec.axis,
            id=spec.id,
            title=" ".join(spec.title.split()),
            upstream=spec.upstream,
            behaviour=spec.behaviour.behaviour(),
            witness=self.witness(spec, case, quantity),
            file=self.tree.file,
            line=self.tree.places[(*self.entry.path, "checks")][0],
        )
        self.require_said(known)
        return known

    def case_id(self, check: str) -> tuple[str, str]:
        """The id of the check's question, and its quantity."""
        case, colon, last = check.rpartition(":")
        if not colon or last not in QUANTITIES:
            case, last = check, FORWARD
        surface, *rest = case.split("/")
        if surface not in self.adapter.surfaces:
            surfaces = ", ".join(self.adapter.surfaces)
            raise self.error(("checks",), f"a surface of {self.adapter.name} ({surfaces}) first")
        if len(rest) < 2 or rest[0] not in KINDS:
            kinds = ", ".join(KINDS)
            what = f"a check id, surface/kind/name with a kind of {kinds}, not {check!r}"
            raise self.error(("checks",), what)
        return case, last

    def witness(self, spec: EntrySpec, case: str, quantity: str) -> Case:
        """The pinned call as a question about the check's own quantity."""

        def place(loc: Path_) -> Path_:
            return self.entry.place(("witness", "call", *loc))

        given = validate(self.tree, CallSpec, spec.witness.call, place)
        if given.gradients:
            what = "no gradients: a witness is asked for the quantity of its check"
            raise self.error(("witness", "call", "gradients"), what)
        surface, kind, _ = case.split("/", 2)
        at = self.entry.place(("witness", "expect"))
        builder = Builder(self.tree, surface, place, at)
        call = replace(builder.call(given), want=(quantity,))
        if quantity != FORWARD and call.argument(quantity.split(".")[1]) is None:
            raise self.error(("witness", "call"), f"{quantity.split('.')[1]}, for its gradient")
        before = self.before(spec, surface, at, quantity)
        expected = spec.witness.expect or ExpectSpec.model_validate(EXPECTED)
        return Case(
            id=case,
            kind=kind,
            call=call,
            expectation=_planned_case(quantity, builder.expectation(expected, given, call)),
            source=Source(f"known deviations of {self.adapter.name}", " ".join(spec.title.split())),
            before=before,
        )

    def before(self, spec: EntrySpec, surface: str, at: Path_, quantity: str) -> tuple[Call, ...]:
        """The call that is made before the pinned one, asked for the same quantity."""
        if spec.witness.before is None:
            return ()

        def place(loc: Path_) -> Path_:
            return self.entry.place(("witness", "before", *loc))

        given = validate(self.tree, CallSpec, spec.witness.before, place)
        return (replace(Builder(self.tree, surface, place, at).call(given), want=(quantity,)),)

    def require_said(self, known: Known) -> None:
        """`instead` has to say something of the witness, or it would excuse nothing."""
        behaviour = known.behaviour
        if known.quantity != FORWARD and behaviour.shape is not None:
            what = "no shape: a gradient is held to the shape of its argument"
            raise self.error(("instead", "shape"), what)
        if not behaviour.of_the_result:
            return
        try:
            explained = behaviour.expectation(known.witness, known.quantity)
        except NothingSaid as error:
            raise self.error(("instead",), f"what happens in the witness's call: {error}") from None
        if explained == known.witness.expectation:
            raise self.error(("instead",), "something else than what is expected anyway")


def _planned_case(quantity: str, expectation: Expectation) -> Expectation:
    """The expectation for a call that is asked for this quantity alone."""
    promise = expectation.promise
    if not isinstance(promise, AgreesWithReference):
        return expectation
    reference_call = replace(promise.reference_call, want=(quantity,))
    return replace(expectation, promise=replace(promise, reference_call=reference_call))
