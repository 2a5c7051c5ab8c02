"""What is known of each dtype: its format, and the exact way between its bits and float64.

A dtype is named as the frameworks name it. Floating point formats are IEEE 754 binary formats or
bfloat16; all of them embed in float64, so `to_float64` is exact and `from_float64` rounds once,
to nearest, ties to even.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FloatFormat:
    """A binary floating point format.

    precision: bits of the significand, the hidden one included (p);
    emin, emax: exponents of the smallest normal and of the largest finite number;
    carrier: the numpy dtype whose bits carry a value (uint16 for bfloat16).
    """

    name: str
    precision: int
    emin: int
    emax: int
    carrier: str

    @property
    def unit_roundoff(self) -> float:
        """u = 2^-p, the largest relative error of one rounding to nearest."""
        return 2.0**-self.precision

    @property
    def smallest_subnormal(self) -> float:
        return 2.0 ** (self.emin - self.precision + 1)

    @property
    def smallest_normal(self) -> float:
        return 2.0**self.emin

    @property
    def largest(self) -> float:
        return (2.0 - 2.0 ** (1 - self.precision)) * 2.0**self.emax

    @property
    def overflow_edge(self) -> float:
        """Where an infinity is placed: 2^(emax + 1), or the largest float64 where that is it."""
        return self.largest if self.emax == 1023 else 2.0 ** (self.emax + 1)

    @property
    def overflow_threshold(self) -> float:
        """The smallest real number that rounds to infinity: 65520 for float16."""
        if self.emax == 1023:
            return self.largest
        return self.largest + 2.0 ** (self.emax - self.precision)

    def ulp(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """2^(clamp(floor(log2 |value|), emin, emax) - (p - 1)), the spacing around a real value.

        Zero has the spacing of the subnormals; infinities that of the largest binade.
        """
        biased = (np.asarray(value, dtype=np.float64).view(np.int64) >> 52) & 0x7FF
        spacing: NDArray[np.float64] = self._spacings[biased]
        return spacing

    @cached_property
    def _spacings(self) -> NDArray[np.float64]:
        """The ulp for each exponent as float64 holds it, from 0 (subnormal) to 2047 (infinity)."""
        exponent = np.clip(np.arange(2048) - 1023, self.emin, self.emax)
        return np.ldexp(1.0, exponent - (self.precision - 1))


FLOATS: dict[str, FloatFormat] = {
    "float16": FloatFormat("float16", 11, -14, 15, "<f2"),
    "bfloat16": FloatFormat("bfloat16", 8, -126, 127, "<u2"),
    "float32": FloatFormat("float32", 24, -126, 127, "<f4"),
    "float64": FloatFormat("float64", 53, -1022, 1023, "<f8"),
}

CARRIERS: dict[str, str] = {name: f.carrier for name, f in FLOATS.items()} | {
    "bool": "|b1",
    "uint8": "|u1",
    "int8": "|i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
}
"""dtype name → the numpy dtype in which an array's bytes are laid out."""


def to_float64(dtype: str, bits: NDArray[np.generic]) -> NDArray[np.float64]:
    """The exact values of an array held in its dtype's carrier.

    int64 beyond 2^53 is rounded; no case or generator goes there.
    """
    if dtype == "bfloat16":
        widened = bits.astype(np.uint32) << np.uint32(16)
        with np.errstate(invalid="ignore"):  # signalling NaNs are quieted
            return widened.view(np.float32).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return bits.astype(np.float64)


def from_float64(dtype: str, values: NDArray[np.float64]) -> NDArray[np.generic]:
    """Values rounded once to `dtype` (nearest, ties to even), in its carrier.

    Integers are truncated towards zero as numpy's astype does; callers validate before.
    """
    if dtype != "bfloat16":
        with np.errstate(over="ignore", under="ignore"):
            return values.astype(CARRIERS[dtype])
    return _round_to_bfloat16(values)


def _round_to_bfloat16(values: NDArray[np.float64]) -> NDArray[np.uint16]:
    """float64 → float32 rounded to odd → bfloat16 to nearest even: the two steps round as one."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        narrow = values.astype(np.float32)
    bits = narrow.view(np.uint32).copy()
    back = narrow.astype(np.float64)
    inexact = np.isfinite(values) & (back != values)
    away = inexact & (np.abs(back) > np.abs(values))
    bits = np.where(away, bits - 1, bits)  # truncate towards zero first …
    bits = np.where(inexact, bits | 1, bits).astype(np.uint32)  # … then make it odd
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)
