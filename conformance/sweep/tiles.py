"""Judges float32 results tile by tile with the compiled kernel.

Where a result is infinite or NaN the tile is judged by `exact` instead, element by element.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..judging import tolerance
from ..judging.accuracy import USUAL_ATOL, USUAL_RTOL, rounded
from ..judging.errors import Truth
from ..judging.tolerance import Floats
from ..model.call import FORWARD, Array
from ..model.dtypes import FLOATS
from . import kernel
from .exact import judged
from .figures import Figures, Span, extremes
from .line import Block

DTYPE = "float32"
FORM = FLOATS[DTYPE]
Way = tuple[float, ...]


def truth(quantity: str, target: int, x: Floats, high: Floats) -> Truth:
    """What `measure.truth` says of unweighted, unreduced float32 logits, made of the value due."""
    y, one = np.array(float(target)), np.ones(())
    sizes = tolerance.Elements(x, y, one, one, FORM.unit_roundoff)
    size = np.abs(high)
    scale: dict[tolerance.Grade, Floats] = {
        "stable": np.broadcast_to(tolerance.size(quantity, "stable", sizes), x.shape),
        "strict": FORM.unit_roundoff * size,  # one of the two terms is 0: it is the value
    }
    pending = tolerance.pending(quantity, sizes)
    rest = FORM.smallest_subnormal * (pending + 2)
    if quantity != FORWARD:
        rest = rest + 2 * FORM.unit_roundoff * size
    k = tolerance.k(quantity, DTYPE)
    allowed: dict[tolerance.Grade, Floats] = {g: k * scale[g] + rest for g in tolerance.GRADES}
    subnormal = (x != 0) & (np.abs(x) < FORM.smallest_normal)
    wrong = FORM.unit_roundoff ** (tolerance.WRONG_FORMULA - 1) * scale["stable"]
    return Truth(
        DTYPE,
        high=high,
        low=np.zeros(x.shape),
        uncertainty=kernel.UNCERTAINTY * size + 2.0**-184,
        tolerance=allowed,
        formula=np.maximum(wrong, 2 * allowed["stable"]),
        may_overflow=np.zeros(x.shape, dtype=np.bool_),
        may_cancel=np.zeros(x.shape, dtype=np.bool_),
        scale=scale,
        rest=np.broadcast_to(rest, x.shape),
        flushed=FORM.smallest_normal * (np.where(subnormal, pending, 0.0) + 2),
    )


class Table:
    """The table of tolerances for a quantity and target, as numbers for the kernel.

    sizes: s0 + s1·|x| is u·S of the stable grade, strict·|due| of the strict one,
    r0 + r1·|x| + r2·|due| what is allowed beside; and the usual rtol. allowances: the usual atols.
    limits: k, and what flushing may cost. All are linear, and read off `truth` at a few points.
    """

    def __init__(self, quantity: str, target: int) -> None:
        x, expected = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
        table = truth(quantity, target, x, expected)
        (s0, s1, _), (r0, r1, r2) = table.scale["stable"].tolist(), table.rest.tolist()
        strict = float(table.scale["strict"][2])
        rtol = USUAL_RTOL[DTYPE]
        self.sizes = (s0, s1 - s0, strict, r0, r1 - r0, r2 - r0, rtol)
        self.allowances = np.array(USUAL_ATOL[DTYPE])
        self.limits = (tolerance.k(quantity, DTYPE), float(table.flushed[1]))


class TileJudge:
    """Judges the tiles of blocks for one quantity and a target of 0 or 1, block after block.

    The largest values seen (`figures.extremes`) are those of all blocks so far: what cannot raise
    them is not looked at.
    """

    names = extremes(DTYPE)

    def __init__(self, quantity: str, target: int, length: int) -> None:
        self.quantity, self.target = quantity, target
        self.side = -1.0 if quantity != FORWARD and target == 1 else 1.0
        self.table = Table(quantity, target)
        self.seen = np.zeros(len(self.names))
        self.steps = np.arange(length, dtype=np.uint32)
        self.above = np.zeros(8, np.int64)
        self.beyond = np.zeros(kernel.LARGE.size + 1, np.int64)
        self.spans = np.zeros((len(kernel.MARKED), 4), np.int64)
        self.errors = np.zeros(len(kernel.MARKED))
        self.results = np.zeros(len(kernel.MARKED), np.int64)  # bits, of the worst of each span
        self.close = np.empty(256, np.int64)
        self.where = np.zeros(2, np.int64)
        self._begin()

    def _begin(self) -> None:
        for array in (self.above, self.beyond, self.spans, self.errors):
            array[...] = 0
        self.elements = self.nearest = 0
        self.worst = 0.0
        self.got: int | None = None
        self.others = Figures()

    def tile(self, block: Block, start: int, got: NDArray[np.float32]) -> None:
        """Takes the results of the block's logits from `start` on."""
        bits = np.uint32(block.first + start)
        if block.kind != "numbers":
            self.others += self._special(self._words(bits, got.size), got)
            return
        way = kernel.way_of(block.exponent, not block.negative, self.target, self._gradient)
        if not kernel.finite(got.view(np.uint32)):
            self.others += self._closely(self._words(bits, got.size), got, way)
            return
        table, before = self.table, self.worst
        self.worst = kernel.tile(
            bits, got, self.side, way, table.sizes, table.allowances, table.limits, start, before,
            self.seen, self.above, self.beyond, self.spans, self.errors, self.close, self.where,
        )  # fmt: skip
        self.elements += got.size
        if self.spans.any():
            for m, place in enumerate(self.spans[:, 3].tolist()):
                if self.spans[m, 0] and place >= start:
                    self.results[m] = got[place - start].view(np.uint32)
        if self.worst > before:
            self.got = int(got[self.where[1] - start].view(np.uint32))
        if self.where[0]:
            self.nearest += self._settled(self._words(bits, got.size), got, way)

    def _words(self, first: np.uint32, count: int) -> NDArray[np.uint32]:
        """The bits of so many logits."""
        return self.steps[:count] + first

    def figures(self, block: Block) -> Figures:
        """What the block's tiles came to; the next tile begins another block."""
        counts = np.diff(np.concatenate([[self.elements], self.above]))
        made = Figures(
            elements=self.elements,
            correctly_rounded=self.elements - int(self.above[3]) + self.nearest,
            max_ulp=self.worst,
            at=block.first + int(self.where[1]) if self.worst > 0 else None,
            got=self.got,
            histogram=(*(-counts).tolist(), *self.beyond.tolist()),
            extremes=dict(zip(self.names, self.seen.tolist(), strict=True)),
            marks=dict(self._marks(block)),
        )
        made += self.others
        self._begin()
        return made

    def _marks(self, block: Block) -> Iterator[tuple[str, Span]]:
        side = "-" if block.negative else "+"
        for m, name in enumerate(kernel.MARKED):
            count, *places = self.spans[m].tolist()
            if count:
                first, last, worst = (block.first + place for place in places)
                got, error = int(self.results[m]), float(self.errors[m])
                yield side + name, Span(count, first, last, worst, got, error)

    @property
    def _gradient(self) -> bool:
        return self.quantity != FORWARD

    def _settled(self, words: NDArray[np.uint32], got: NDArray[np.float32], way: Way) -> int:
        """By how much the count of correctly rounded results has to be corrected: where an error
        is too close to half an ulp for the kernel, double-double decides."""
        index = self.close[: self.where[0]]
        x = words.view(np.float32)
        high = self._truths(x, way)
        ulps = np.abs(got.astype(np.float64) - high) / FORM.ulp(high)
        if self.where[0] > self.close.size:
            index = np.flatnonzero(np.abs(ulps - 0.5) <= kernel.MARGIN)
        exact, low = self._finely(x[index].astype(np.float64))
        right = rounded(DTYPE, exact, low) == got[index].astype(np.float64)
        return int(np.count_nonzero(right)) - int(np.count_nonzero(ulps[index] <= 0.5))

    def _truths(self, x: NDArray[np.float32], way: Way) -> Floats:
        """The values due, of their own sign."""
        expected = np.empty(x.size)
        kernel.truths(x, way, expected)
        return self.side * expected

    def _finely(self, x: Floats) -> tuple[Floats, Floats]:
        """The values due in double-double."""
        y = np.full(x.shape, float(self.target))
        value = reference.evaluate(self.quantity, x, y, reduction="none", tier="doubled")
        return value.high, value.low

    def _closely(self, words: NDArray[np.uint32], got: NDArray[np.float32], way: Way) -> Figures:
        high = self._truths(words.view(np.float32), way)
        x = words.view(np.float32).astype(np.float64)
        expected = truth(self.quantity, self.target, x, high)
        off = np.abs(got.astype(np.float64) - expected.high) / expected.ulp
        index = np.flatnonzero(np.abs(off - 0.5) <= kernel.MARGIN)
        if index.size:
            expected.high[index], expected.low[index] = self._finely(x[index])
        result = Array(DTYPE, words.shape, got.tobytes())
        figures = judged(words, result, expected).figures([0])[0]
        np.maximum(self.seen, [figures.extremes[name] for name in self.names], out=self.seen)
        return figures

    def _special(self, words: NDArray[np.uint32], got: NDArray[np.float32]) -> Figures:
        """Infinite logits, and NaN, for which NaN is expected."""
        with np.errstate(invalid="ignore"):  # a signalling NaN is quieted
            x = words.view(np.float32).astype(np.float64)
        if np.isnan(x[0]):
            if np.isnan(got).all():
                return Figures(as_due=x.size)
            high = x
        else:
            y = np.full(x.shape, float(self.target))
            high = reference.evaluate(self.quantity, x, y, reduction="none").high
        expected = truth(self.quantity, self.target, x, high)
        return judged(words, Array(DTYPE, words.shape, got.tobytes()), expected).figures([0])[0]
