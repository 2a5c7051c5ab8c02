"""Arrays as text: source code that a person can paste, and bits that a report keeps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import dtypes
from .call import LAYOUTS, Array, Wire

MOST_VALUES = 256
"""Beyond this many elements a report keeps the bits of an array, and not its decimals beside."""


def literal(wire: Wire) -> str:
    """The values as nested Python lists, each number as short as its bits allow.

    Rows that repeat are written as a product, so that `[[1.5] * 64] * 10` stays one line.
    """
    array = Array.from_wire(wire)
    if array.layout == "cycled":
        period = array.period
        return f"{_nested(period, period.values)} * {array.size // period.size}"
    return _nested(array, array.values)


def _nested(array: Array, values: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    if values.ndim == 0:
        return number(array.dtype, float(values))
    if len(values) > 3 and np.array_equal(values, np.broadcast_to(values[:1], values.shape)):
        return f"[{_nested(array, values[0])}] * {len(values)}"
    return f"[{', '.join(_nested(array, item) for item in values)}]"


def number(dtype: str, value: float) -> str:
    """A value as Python source that rounds back to it in its dtype."""
    if dtype == "bool":
        return str(bool(value))
    if dtype not in dtypes.FLOATS:
        return str(int(value))
    if not math.isfinite(value):
        return f"float('{value}')"
    if dtype in ("float16", "float32", "bfloat16"):
        narrow = np.float16(value) if dtype == "float16" else np.float32(value)
        short = (
            np.format_float_positional(narrow, trim="0") if 1e-4 < abs(value) < 1e9 else str(narrow)
        )
        back = Array.rounded(dtype, np.array(float(short)))
        if float(back.values) == value:
            return short
    return repr(value)


def to_json(array: Array) -> dict[str, Any]:
    """dtype, shape, the bits of each element in hexadecimal, and (if few) the decimals."""
    words = array.period.bits.reshape(-1)
    width = 2 * words.dtype.itemsize
    unsigned = words.view(f"<u{words.dtype.itemsize}")
    kept: dict[str, Any] = {
        "dtype": array.dtype,
        "shape": list(array.shape),
        "bits": " ".join(f"{int(word):0{width}x}" for word in unsigned),
    }
    if array.layout != "contiguous":
        kept["layout"] = array.layout
    if array.size <= MOST_VALUES:
        kept["values"] = " ".join(repr(float(value)) for value in array.values.ravel())
    return kept


def from_json(kept: dict[str, Any]) -> Array:
    """The array that `to_json` kept. Raises ValueError or KeyError for anything else."""
    carrier = np.dtype(dtypes.CARRIERS[kept["dtype"]])
    words = [int(word, 16) for word in str(kept["bits"]).split()]
    shape = tuple(int(n) for n in kept["shape"])
    layout = str(kept.get("layout", "contiguous"))
    size = math.prod(shape)
    whole = size % len(words) == 0 if layout == "cycled" and words else len(words) == size
    if not whole or layout not in LAYOUTS:
        raise ValueError(f"{len(words)} elements for shape {list(shape)}, {layout}")
    data = np.array(words, dtype=f"<u{carrier.itemsize}").tobytes()
    return Array(kept["dtype"], shape, data, layout)


def apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers in as few significant digits, at least 4, as tell them apart."""
    for digits in (4, 6, 9, 12, 17):
        pair = f"{one:.{digits}g}", f"{other:.{digits}g}"
        if pair[0] != pair[1]:
            break
    return pair
