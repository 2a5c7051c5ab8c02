"""All that is generated for a backend, group by group, in the order in which it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from ..model.case_family import Group, PlannedCase, TestedSurface
from . import contracts, sizes, topics
from .relations import relations
from .special import special_values

COUNTS = {"quick": 2, "standard": 6, "full": 40}
"""Situations of each topic, by profile."""
BATCH = 48
"""Calls that go to a worker in one message."""
ORDINARY = ("float16", "bfloat16", "float32", "float64")

Capabilities = dict[tuple[str, str], tuple[str, ...]]
"""(surface, dtype) → the quantities that it was seen to give."""


@dataclass(frozen=True)
class Plan:
    """What is generated: of which seed, how much, for which dtypes; shard: the Ith of N parts.

    thrifty: each signature is compiled, which takes seconds, so that shapes are few.
    """

    seed: int
    profile: str
    dtypes: tuple[str, ...] = ORDINARY
    shard: tuple[int, int] = (1, 1)
    few_shapes: bool = False

    @property
    def count(self) -> int:
        return COUNTS[self.profile]

    @property
    def size(self) -> int:
        """How many groups there are at most."""
        others = len(self._others("float32"))
        many = len(topics.FEW_SHAPES if self.few_shapes else topics.TOPICS)
        return 2 + len(self.dtypes) * (many + others)

    def acceptance(self) -> Group:
        """Asked first: what is refused here is not asked any further."""

        def batches(tested: tuple[TestedSurface, ...]) -> list[list[PlannedCase]]:
            return [list(contracts.accepted(a, dtype)) for a in tested for dtype in self.dtypes]

        return Group("accepts", batches)

    def groups(self, capabilities: Capabilities) -> Iterator[Group]:
        """Everything else, of what a backend is able to; of a shard, every Nth group."""
        index, count = self.shard
        yield from islice(self._all(capabilities), index - 1, None, count)

    def _all(self, capabilities: Capabilities) -> Iterator[Group]:
        for dtype in self.dtypes:
            for topic in topics.FEW_SHAPES if self.few_shapes else topics.TOPICS:
                yield Group(
                    f"{topic.name} {dtype}", partial(self._topic, topic, dtype, capabilities)
                )
            for title, make_cases in self._others(dtype).items():
                if self.few_shapes and title not in ("special values", "defaults"):
                    continue
                yield Group(f"{title} {dtype}", partial(_each, make_cases, dtype, capabilities))

    def _topic(
        self,
        topic: topics.Topic,
        dtype: str,
        capabilities: Capabilities,
        tested: tuple[TestedSurface, ...],
    ) -> list[list[PlannedCase]]:
        (signature,) = {each.signature for each in tested}  # of one run, all take the same
        topic = topics.suited(topic, signature)
        count = 2 if self.few_shapes else self.count
        if topic.largest == topics.SINGLE:
            count *= topics.SINGLES
        found = topics.drawn_for(topic, dtype, self.seed, count)
        planned_cases = (
            planned_case
            for batch in topics.topic_cases(topic, tested, found)
            for planned_case in batch
            if planned_case[0].quantity in capabilities.get((planned_case[0].surface, dtype), ())
        )
        return in_batches(filter(takeable, planned_cases))

    def _others(
        self, dtype: str
    ) -> dict[str, Callable[[TestedSurface, Sequence[str]], Iterable[PlannedCase]]]:
        seed, count = self.seed, self.count
        most = sizes.LARGEST[self.profile]
        return {
            **{
                # Each in batches of its own: one of them ends the worker of a release.
                each.name: partial(_sized, each, dtype, seed)
                for each in sizes.SIZES
            },
            "special values": lambda a, q: special_values(a, dtype, q),
            "relations": lambda a, q: relations(a, dtype, seed, count, q),
            "defaults": lambda a, q: contracts.defaults(a, dtype, seed),
            "integer targets": lambda a, q: contracts.integer_targets(a, dtype, seed),
            "mixed dtypes": lambda a, q: contracts.mixed_dtypes(a, dtype, seed),
            "refusals": lambda a, q: contracts.refusals(a, dtype, seed),
            "another size": lambda a, q: contracts.of_another_size(a, dtype, seed, q),
            "memory": lambda a, q: contracts.memory(a, dtype, seed, q),
            "wide rows": lambda a, q: sizes.wide_rows(a, dtype, seed),
            "several gradients": lambda a, q: contracts.taken_together(a, dtype, seed, q),
            "large reductions": lambda a, q: sizes.large(a, dtype, seed, most, q),
        }


def _sized(
    each: sizes.Sizes, dtype: str, seed: int, tested: TestedSurface, quantities: Sequence[str]
) -> Iterator[PlannedCase]:
    return sizes.sized(each, tested, dtype, seed, quantities)


def _each(
    make_cases: Callable[[TestedSurface, Sequence[str]], Iterable[PlannedCase]],
    dtype: str,
    capabilities: Capabilities,
    tested: tuple[TestedSurface, ...],
) -> list[list[PlannedCase]]:
    """The questions of each surface that takes the dtype, for the quantities that it gives."""
    planned_cases = []
    for surface in tested:
        quantities = capabilities.get((surface.surface, dtype), ())
        if quantities:
            planned_cases += [
                a for a in make_cases(surface, quantities) if a[0].quantity in quantities
            ]
    return in_batches(filter(takeable, planned_cases))


def takeable(planned_case: PlannedCase) -> bool:
    """Whether the surface takes what the question's calls are made of."""
    family, case = planned_case
    return all(map(family.tested.signature.takes, case.calls))


def in_batches(planned_cases: Iterable[PlannedCase]) -> list[list[PlannedCase]]:
    """Lists of at most BATCH; a large array ends a list, so that one holds few of them."""
    batches: list[list[PlannedCase]] = [[]]
    size = 0
    for planned_case in planned_cases:
        size += planned_case[1].call.logits.size
        if len(batches[-1]) == BATCH or size > 2**19:
            batches.append([])
            size = planned_case[1].call.logits.size
        batches[-1].append(planned_case)
    return [batch for batch in batches if batch]
