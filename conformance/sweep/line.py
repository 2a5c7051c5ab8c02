"""The line of numbers of a dtype, cut into blocks of one sign and one exponent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..model.call import Array
from ..model.dtypes import CARRIERS, FLOATS, FloatFormat, to_float64

Kind = Literal["numbers", "infinity", "nan"]
WORDS = {"float16": "<u2", "bfloat16": "<u2", "float32": "<u4", "float64": "<u8"}


@dataclass(frozen=True)
class Block:
    """`count` logits whose bits follow each other from `first`, ordered from 0 outwards.

    exponent: ⌊log2 |x|⌋ of normal numbers; one less than the smallest for zero and the subnormals;
    one more than the largest for the infinity, and for the NaNs.
    """

    dtype: str
    index: int
    kind: Kind
    negative: bool
    exponent: int
    first: int
    count: int

    def bits(self, start: int = 0, count: int | None = None) -> NDArray[Any]:
        """The bits of logits `start` to `start + count` of the block, as unsigned words."""
        stop = self.count if count is None else start + count
        word = np.dtype(WORDS[self.dtype])
        return np.arange(self.first + start, self.first + stop, dtype=np.uint64).astype(word)

    def __str__(self) -> str:
        sign = "-" if self.negative else "+"
        if self.kind != "numbers":
            return f"{sign}{self.kind}"
        subnormal = self.exponent < FLOATS[self.dtype].emin
        return f"{sign}subnormal" if subnormal else f"{sign}2^{self.exponent}"


@lru_cache
def blocks(dtype: str) -> tuple[Block, ...]:
    """All of a dtype: every bit pattern is in exactly one block."""
    return tuple(_blocks(dtype, FLOATS[dtype]))


def _blocks(dtype: str, form: FloatFormat) -> Iterator[Block]:
    fraction = form.precision - 1
    width = 8 * np.dtype(WORDS[dtype]).itemsize
    index = 0
    for negative in (False, True):
        sign = int(negative) << (width - 1)
        for field in range(form.emax - form.emin + 2):
            exponent = form.emin + field - 1
            first = sign | field << fraction
            yield Block(dtype, index, "numbers", negative, exponent, first, 1 << fraction)
            index += 1
        special = sign | (form.emax - form.emin + 2) << fraction
        for kind, first, count in (
            ("infinity", special, 1),
            ("nan", special + 1, (1 << fraction) - 1),
        ):
            yield Block(dtype, index, kind, negative, form.emax + 1, first, count)  # type: ignore[arg-type]
            index += 1


def number(dtype: str, bits: int) -> float:
    """The number with these bits."""
    return float(values(dtype, np.array(bits, dtype=WORDS[dtype])))


def array(dtype: str, bits: NDArray[Any]) -> Array:
    """The numbers with these bits, as an argument of a call."""
    return Array(dtype, bits.shape, np.ascontiguousarray(bits).tobytes())


def values(dtype: str, bits: NDArray[Any]) -> NDArray[np.float64]:
    """The numbers with these bits, exactly."""
    return to_float64(dtype, bits.view(CARRIERS[dtype]))
