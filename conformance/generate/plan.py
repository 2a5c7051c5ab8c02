"""All that is generated for a backend, group by group, in the order in which it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from ..model.case_family import Asked, Asking, Group
from . import contracts, sizes, topics
from .relations import relations
from .special import special_values

COUNTS = {"quick": 2, "standard": 6, "full": 40}
"""Situations of each topic, by profile."""
BATCH = 48
"""Calls that go to a worker in one message."""
ORDINARY = ("float16", "bfloat16", "float32", "float64")

Abilities = dict[tuple[str, str], tuple[str, ...]]
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
    thrifty: bool = False

    @property
    def count(self) -> int:
        return COUNTS[self.profile]

    @property
    def size(self) -> int:
        """How many groups there are at most."""
        others = len(self._others("float32"))
        many = len(topics.THRIFTY if self.thrifty else topics.TOPICS)
        return 2 + len(self.dtypes) * (many + others)

    def acceptance(self) -> Group:
        """Asked first: what is refused here is not asked any further."""

        def batches(asked: tuple[Asked, ...]) -> list[list[Asking]]:
            return [list(contracts.accepted(a, dtype)) for a in asked for dtype in self.dtypes]

        return Group("accepts", batches)

    def groups(self, able: Abilities) -> Iterator[Group]:
        """Everything else, of what a backend is able to; of a shard, every Nth group."""
        index, count = self.shard
        yield from islice(self._all(able), index - 1, None, count)

    def _all(self, able: Abilities) -> Iterator[Group]:
        for dtype in self.dtypes:
            for topic in topics.THRIFTY if self.thrifty else topics.TOPICS:
                yield Group(f"{topic.name} {dtype}", partial(self._topic, topic, dtype, able))
            for title, ask in self._others(dtype).items():
                if self.thrifty and title not in ("special values", "defaults"):
                    continue
                yield Group(f"{title} {dtype}", partial(_each, ask, dtype, able))

    def _topic(
        self, topic: topics.Topic, dtype: str, able: Abilities, asked: tuple[Asked, ...]
    ) -> list[list[Asking]]:
        (signature,) = {each.signature for each in asked}  # of one run, all take the same
        topic = topics.suited(topic, signature)
        count = 2 if self.thrifty else self.count
        if topic.largest == topics.SINGLE:
            count *= topics.SINGLES
        found = topics.drawn_for(topic, dtype, self.seed, count)
        askings = (
            asking
            for batch in topics.topic_askings(topic, asked, found)
            for asking in batch
            if asking[0].quantity in able.get((asking[0].surface, dtype), ())
        )
        return in_batches(filter(takeable, askings))

    def _others(self, dtype: str) -> dict[str, Callable[[Asked, Sequence[str]], Iterable[Asking]]]:
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
    each: sizes.Sizes, dtype: str, seed: int, asked: Asked, quantities: Sequence[str]
) -> Iterator[Asking]:
    return sizes.sized(each, asked, dtype, seed, quantities)


def _each(
    ask: Callable[[Asked, Sequence[str]], Iterable[Asking]],
    dtype: str,
    able: Abilities,
    asked: tuple[Asked, ...],
) -> list[list[Asking]]:
    """The questions of each surface that takes the dtype, for the quantities that it gives."""
    askings = []
    for surface in asked:
        quantities = able.get((surface.surface, dtype), ())
        if quantities:
            askings += [a for a in ask(surface, quantities) if a[0].quantity in quantities]
    return in_batches(filter(takeable, askings))


def takeable(asking: Asking) -> bool:
    """Whether the surface takes what the question's calls are made of."""
    series, question = asking
    return all(map(series.asked.signature.takes, question.calls))


def in_batches(askings: Iterable[Asking]) -> list[list[Asking]]:
    """Lists of at most BATCH; a large array ends a list, so that one holds few of them."""
    batches: list[list[Asking]] = [[]]
    size = 0
    for asking in askings:
        size += asking[1].call.logits.size
        if len(batches[-1]) == BATCH or size > 2**19:
            batches.append([])
            size = asking[1].call.logits.size
        batches[-1].append(asking)
    return [batch for batch in batches if batch]
