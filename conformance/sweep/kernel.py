"""The judge of float32 sweeps, compiled: the truth of a tile of logits, and how far results are.

For the targets 0 and 1 without weights the loss and its gradient are one function each of z = ±x:

    L(x, 0) = sp(x)    ∂L/∂x(x, 0) =  σ(x)         sp(z) = max(z, 0) + log1p(e^−|z|)
    L(x, 1) = sp(−x)   ∂L/∂x(x, 1) = −σ(−x)        σ(z) = 1/(1 + e^−z)

float64 carries them: an ulp of float32 is at least 2^-24 of the value, and what stands here is good
to 2^-48 (`UNCERTAINTY`), so to 2^-24 ulp. Where |z| is small or large a shorter formula is as good,
and most logits are there; `certify` holds every block against ball arithmetic.

Loops are plain and separate because that is what LLVM turns into vector code.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .figures import EDGES

UNCERTAINTY = 2.0**-48
"""Relative error of what is due, a priori: e^−r by its series to r^12 with |r| ≤ ln(2)/2 leaves
2^-52, log1p by that of artanh to the 29th power with s ≤ 1/3 leaves 2^-52, and some twenty
roundings of 2^-53 follow; the shorter formulas leave less, see NEAR and FAR."""

NEAR_SOFTPLUS = -24
"""Below 2^this, sp(z) = ln 2 + z/2 to within z²/8 < 2^-50 of it."""
NEAR_SIGMOID = -16
"""Below 2^this, σ(z) = 1/2 + z/4 to within z³/48 < 2^-52 of it."""
FAR = 6
"""From 2^this on, sp(z) = z and σ(z) = 1 to within e^-64 = 2^-92 of them, for positive z."""
GONE = 7
"""From 2^this on, sp(−z) and σ(−z) are below e^-128 = 2^-184: 0 to within 2^-35 ulp."""

LARGEST = 200.0  # e^-200 is below anything that float32 resolves, and 2^-n a normal float64
LOG2_E = 1 / math.log(2)
# ln 2 = LN2_HIGH + LN2_LOW; the high part has so few bits that n times it is exact.
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
ROUNDER = 1.5 * 2.0**52  # added and taken off again, it rounds to an integer
BIAS = 1023
E = tuple(1 / math.factorial(k) for k in range(13))
A = tuple(1 / (2 * k + 1) for k in range(15))
LN_2 = math.log(2)
FASTMATH = {"contract", "nnan", "ninf", "nsz"}  # what is not finite is seen to before
CHUNK = 1024
"""Logits at a time: what is worked out of them stays in the nearest cache."""

MARGIN = UNCERTAINTY * 2.0**24
"""Ulps to which the truth is known."""
SLACK = 1e-9
"""Largest values are looked for where they could be exceeded by more than this share."""
LARGE = np.array(EDGES[8:])

SURE = 1.0
"""Ulps up to which a subnormal result bears no mark, whatever is expected."""
SURE_NORMAL = 4.0
"""... and a normal one: k·u·|due| alone is 8 unit roundoffs, which are 4 ulps or more."""
MARKED = ("zero", "flushed", "strict", "stable")

LINEAR, SOFTPLUS, SIGMOID = 0, 1, 2

Floats = NDArray[np.float64]


@njit(fastmath=FASTMATH, error_model="numpy", cache=True)
def _decay(x: Any, powers: Any, scale: Any, decay: Any) -> None:
    """e^-|x| of a chunk; powers and scale are one array, as int64 and as float64."""
    for i in range(CHUNK):
        reach = min(abs(np.float64(x[i])), LARGEST)
        n = (reach * LOG2_E + ROUNDER) - ROUNDER
        decay[i] = n  # kept: rounded a second time, a tie could go the other way
        scale[i] = ROUNDER - n  # its low bits are those of the integer −n
    for i in range(CHUNK):
        powers[i] = (powers[i] + BIAS) << 52
    for i in range(CHUNK):
        reach = min(abs(np.float64(x[i])), LARGEST)
        n = decay[i]
        r = (n * LN2_HIGH - reach) + n * LN2_LOW
        e = E[12]
        e = e * r + E[11]
        e = e * r + E[10]
        e = e * r + E[9]
        e = e * r + E[8]
        e = e * r + E[7]
        e = e * r + E[6]
        e = e * r + E[5]
        e = e * r + E[4]
        e = e * r + E[3]
        e = e * r + E[2]
        e = e * r + E[1]
        e = e * r + E[0]
        decay[i] = e * scale[i]


@njit(fastmath=FASTMATH, error_model="numpy", cache=True)
def _softplus(x: Any, sign: float, decay: Any, expected: Any) -> None:
    """sp(sign·x) of a chunk into due."""
    for i in range(CHUNK):
        t = decay[i]
        s = t / (2.0 + t)
        v = s * s
        a = A[14]
        a = a * v + A[13]
        a = a * v + A[12]
        a = a * v + A[11]
        a = a * v + A[10]
        a = a * v + A[9]
        a = a * v + A[8]
        a = a * v + A[7]
        a = a * v + A[6]
        a = a * v + A[5]
        a = a * v + A[4]
        a = a * v + A[3]
        a = a * v + A[2]
        a = a * v + A[1]
        a = a * v + A[0]
        expected[i] = max(sign * np.float64(x[i]), 0.0) + 2.0 * s * a


@njit(fastmath=FASTMATH, error_model="numpy", cache=True)
def _sigmoid(x: Any, sign: float, decay: Any, expected: Any) -> None:
    """σ(sign·x) of a chunk into due."""
    for i in range(CHUNK):
        t = decay[i]
        above = 1.0 if sign * np.float64(x[i]) >= 0 else t
        expected[i] = above / (1.0 + t)


@njit(fastmath=FASTMATH, error_model="numpy", cache=True)
def _truth(x: Any, way: Any, powers: Any, decay: Any, expected: Any) -> None:
    """What is expected of a chunk: way is (formula, sign, at zero, slope), see `way_of`."""
    if way[0] == LINEAR:
        for i in range(CHUNK):
            expected[i] = way[2] + way[3] * np.float64(x[i])
        return
    _decay(x, powers, powers.view(np.float64), decay)
    if way[0] == SOFTPLUS:
        _softplus(x, way[1], decay, expected)
    else:
        _sigmoid(x, way[1], decay, expected)


@njit(fastmath=FASTMATH, error_model="numpy", cache=True)
def truths(x: Any, way: Any, expected: Any) -> None:
    """What is expected of many logits, a multiple of CHUNK, into due."""
    powers = np.empty(CHUNK, np.int64)
    decay = np.empty(CHUNK, np.float64)
    for start in range(0, x.size, CHUNK):
        chunk = slice(start, start + CHUNK)
        _truth(x[chunk], way, powers, decay, expected[chunk])


@njit(cache=True)
def finite(words: Any) -> bool:
    """Whether no number with these bits is infinite or NaN."""
    largest: Any = 0
    for i in range(words.size):
        largest = max(largest, np.int32(words[i] & np.uint32(0x7FFFFFFF)))
    return bool(largest < 0x7F800000)


@njit(fastmath=FASTMATH, error_model="numpy", cache=True)
def _distances(got: Any, side: float, expected: Any, room: Any, ulps: Any) -> float:
    """|side·got − due| in ulps of due, of a chunk; the largest."""
    exponents, words = expected.view(np.int64), room.view(np.int64)
    for i in range(CHUNK):
        e = max((exponents[i] >> 52) & 0x7FF, BIAS - 126)
        words[i] = (2 * BIAS + 23 - e) << 52
    for i in range(CHUNK):
        ulps[i] = abs(side * np.float64(got[i]) - expected[i]) * room[i]
    return float(_largest(ulps, room))


@njit(fastmath=FASTMATH, error_model="numpy", cache=True)
def _largest(values: Any, room: Any) -> float:
    """The largest of a chunk, found by halves: one number after the other is four times slower."""
    half = CHUNK // 2
    for i in range(half):
        room[i] = max(values[i], values[i + half])
    while half > 8:
        half //= 2
        for i in range(half):
            room[i] = max(room[i], room[i + half])
    largest = 0.0
    for i in range(half):
        largest = max(largest, room[i])
    return largest


@njit(cache=True)
def _all_are(words: Any, word: Any) -> bool:
    """Whether all results of a chunk have the same bits."""
    others = 0
    for i in range(CHUNK):
        others += words[i] != word
    return others == 0


@njit(cache=True)
def _all_are_logits(words: Any, bits: Any, sign: Any) -> bool:
    """Whether all results of a chunk are the logits, or minus them; bits: of the first logit."""
    others = 0
    for i in range(CHUNK):
        others += words[i] != ((bits + np.uint32(i)) ^ sign)
    return others == 0


@njit(fastmath=FASTMATH, error_model="numpy", cache=True)
def _count_small(ulps: Any, above: Any) -> None:
    """Adds how many errors exceed each of the first eight edges of the histogram."""
    a = b = c = d = e = f = g = h = 0
    for i in range(CHUNK):
        u = ulps[i]
        a += u > 0.125
        b += u > 0.25
        c += u > 0.375
        d += u > 0.5
        e += u > 0.625
        f += u > 0.75
        g += u > 0.875
        h += u > 1.0
    above[0] += a
    above[1] += b
    above[2] += c
    above[3] += d
    above[4] += e
    above[5] += f
    above[6] += g
    above[7] += h


@njit(error_model="numpy", cache=True)
def _count_large(ulps: Any, counts: Any) -> None:
    """Adds the errors above 1 ulp to the further bins."""
    for i in range(CHUNK):
        u = ulps[i]
        if u > 1.0:
            bin_ = 0
            while bin_ < LARGE.size and u > LARGE[bin_]:
                bin_ += 1
            counts[bin_] += 1


@njit(fastmath=FASTMATH, error_model="numpy", cache=True)
def _extremes(
    x: Any, got: Any, side: float, expected: Any, sizes: Any, allowances: Any, seen: Any
) -> None:
    """Raises the largest values seen to those of a chunk; what they are, see `Table`."""
    s0, s1, strict, r0, r1, r2, rtol = sizes
    a = b = c = d = e = f = g = h = 0.0
    for i in range(CHUNK):
        size = expected[i]
        reach = abs(np.float64(x[i]))
        off = abs(side * np.float64(got[i]) - size)
        more = max(off - (r0 + r1 * reach + r2 * size), 0.0)
        share = 1.0 / size
        a = max(a, off)
        b = max(b, off * share)
        c = max(c, more / (s0 + s1 * reach))
        d = max(d, more * share)
        e = max(e, max(off - allowances[0], 0.0) * share)
        f = max(f, max(off - allowances[1], 0.0) * share)
        g = max(g, max(off - allowances[2], 0.0) * share)
        h = max(h, off - rtol * size)
    seen[0] = max(seen[0], a)
    seen[1] = max(seen[1], b)
    seen[2] = max(seen[2], c)
    seen[3] = max(seen[3], d / strict)
    seen[4] = max(seen[4], e)
    seen[5] = max(seen[5], f)
    seen[6] = max(seen[6], g)
    seen[7] = max(seen[7], h)


@njit(error_model="numpy", cache=True)
def _mark(
    x: Any, got: Any, side: float, expected: Any, ulps: Any, sizes: Any, limits: Any,
    first: int, spans: Any, errors: Any,
) -> None:  # fmt: skip
    """Adds the marks of a chunk to the spans: count, first, last and worst index in the block, for
    each of MARKED; errors: that of the worst. limits: k and the size of flushing."""
    s0, s1, strict, r0, r1, r2, _ = sizes
    k, flush = limits
    for i in range(CHUNK):
        value = side * np.float64(got[i])
        size, reach, u = expected[i], abs(np.float64(x[i])), ulps[i]
        unsure = UNCERTAINTY * size + 2.0**-184
        off, rest = abs(value - size), r0 + r1 * reach + r2 * size + unsure
        lost, tiny = value == 0.0 and u > 1.0, size < 2.0**-126
        stable = k * (s0 + s1 * reach) + rest
        borne = (lost and not tiny, lost and tiny, off > k * strict * size + rest,
                 off > stable and off > stable + flush)  # fmt: skip
        for m in range(4):
            if borne[m]:
                at = first + i
                if spans[m, 0] == 0:
                    spans[m, 1] = at
                spans[m, 0] += 1
                spans[m, 2] = at
                if u > errors[m]:
                    errors[m], spans[m, 3] = u, at


@njit(error_model="numpy", cache=True)
def _ulp(value: float) -> float:
    """The spacing of float32 around a number that is not negative."""
    if value < 2.0**-126:
        return 2.0**-149
    return float(2.0 ** (math.frexp(value)[1] - 24))


@njit(error_model="numpy", cache=True)
def _could_raise(
    worst: float, reach: float, first: float, last: float, sizes: Any, allowances: Any, seen: Any
) -> bool:
    """Whether a chunk whose largest error is `worst` ulps could raise one of the values seen.

    Logits and values due run one way: reach is the smallest |x|, first and last are the ends of
    what is expected.
    """
    s0, s1, strict, r0, r1, r2, rtol = sizes
    least, most = min(first, last), max(first, last)
    off = worst * _ulp(most) * (1.0 - SLACK)
    if least <= 0.0:
        return worst > 0.0
    more = max(off - (r0 + r1 * reach + r2 * least), 0.0)
    return bool(
        off > seen[0]
        or off > seen[1] * least
        or more > seen[2] * (s0 + s1 * reach)
        or more > seen[3] * strict * least
        or off - allowances[0] > seen[4] * least
        or off - allowances[1] > seen[5] * least
        or off - allowances[2] > seen[6] * least
        or off - rtol * least > seen[7]
    )


@njit(error_model="numpy", cache=True)
def _of_one_value(one: float, other: float, result: float) -> float:
    """The largest error in ulps of a chunk whose results are all the same, where what is due runs
    from `one` to `other` in a straight line; infinite where these are not of one spacing."""
    if _ulp(one) != _ulp(other):
        return math.inf
    return max(abs(result - one), abs(result - other)) / _ulp(one)


@njit(error_model="numpy", cache=True)
def _at_a_glance(words: Any, bits: Any, ends: Any, got: Any, side: float, way: Any) -> float:
    """The largest error of a chunk where that shows without working out each: due is a straight
    line, and the results are the line or all the same; infinite elsewhere."""
    if way[0] != LINEAR:
        return math.inf
    if way[2] == 0.0 and abs(way[3]) == 1.0:
        sign = np.uint32(0x80000000) if side * way[3] < 0 else np.uint32(0)
        return 0.0 if _all_are_logits(words, bits, sign) else math.inf
    if not _all_are(words, words[0]):
        return math.inf
    one = way[2] + way[3] * np.float64(ends[0])
    other = way[2] + way[3] * np.float64(ends[1])
    return _of_one_value(one, other, side * np.float64(got[0]))


@njit(error_model="numpy", cache=True)
def tile(
    bits: Any, got: Any, side: float, way: Any, sizes: Any, allowances: Any, limits: Any,
    first: int, worst: float, seen: Any, above: Any, counts: Any, spans: Any, errors: Any,
    close: Any, where: Any,
) -> float:  # fmt: skip
    """Judges a tile of a block, a multiple of CHUNK of finite results; its largest error in ulps,
    or `worst`, that of the tiles before, if that is larger.

    bits: of the first logit, the others follow; side: −1 where the result is minus what `way`
    gives; sizes, allowances, limits: see `Table`; first: the tile's place in the block. What is
    added to: seen, the largest values; above, how many errors exceed each of EDGES[:8], and counts,
    how many of them fall in each further bin; spans and errors, see `_mark`. close: indices in the
    tile of errors too close to half an ulp to say on which side; where: how many, and the place in
    the block of the largest error.
    """
    powers, logits = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.uint32)
    decay, expected = np.empty(CHUNK, np.float64), np.empty(CHUNK, np.float64)
    room, ulps = np.empty(CHUNK, np.float64), np.empty(CHUNK, np.float64)
    ends = np.empty(2, np.uint32)
    words, x, tips = got.view(np.uint32), logits.view(np.float32), ends.view(np.float32)
    where[0] = 0
    for start in range(0, got.size, CHUNK):
        part = slice(start, start + CHUNK)
        ends[0], ends[1] = bits + np.uint32(start), bits + np.uint32(start + CHUNK - 1)
        reach = min(abs(np.float64(tips[0])), abs(np.float64(tips[1])))
        largest = _at_a_glance(words[part], ends[0], tips, got[part], side, way)
        if largest <= min(worst, 0.125):
            one = way[2] + way[3] * np.float64(tips[0])
            other = way[2] + way[3] * np.float64(tips[1])
            if largest == 0.0 or not _could_raise(
                largest, reach, one, other, sizes, allowances, seen
            ):
                continue
        for i in range(CHUNK):
            logits[i] = ends[0] + np.uint32(i)
        _truth(x, way, powers, decay, expected)
        largest = _distances(got[part], side, expected, room, ulps)
        if largest > worst:
            worst = largest
            for i in range(CHUNK):
                if ulps[i] == largest:
                    where[1] = first + start + i
                    break
        least = min(expected[0], expected[CHUNK - 1])
        if largest > (SURE if least < 2.0**-126 else SURE_NORMAL):
            _mark(x, got[part], side, expected, ulps, sizes, limits, first + start, spans, errors)
        if largest > 0.125:
            _count_small(ulps, above)
        if largest > 1.0:
            _count_large(ulps, counts)
        if largest >= 0.5 - MARGIN:
            for i in range(CHUNK):
                if abs(ulps[i] - 0.5) <= MARGIN:
                    if where[0] < close.size:
                        close[where[0]] = start + i
                    where[0] += 1
        if largest > 0.0 and _could_raise(
            largest, reach, expected[0], expected[CHUNK - 1], sizes, allowances, seen
        ):
            _extremes(x, got[part], side, expected, sizes, allowances, seen)
    return worst


def way_of(exponent: int, positive: bool, target: int, gradient: bool) -> tuple[float, ...]:
    """How to work out what is expected of logits of one sign and exponent: (formula, sign, at zero,
    slope). Of the gradient the magnitude: it is negative for target 1."""
    sign = 1.0 if target == 0 else -1.0
    rising = positive == (target == 0)
    if exponent < (NEAR_SIGMOID if gradient else NEAR_SOFTPLUS):
        return (LINEAR, sign, 0.5 if gradient else LN_2, sign * (0.25 if gradient else 0.5))
    if exponent >= FAR and rising:
        return (LINEAR, sign, 1.0 if gradient else 0.0, 0.0 if gradient else sign)
    if exponent >= GONE:
        return (LINEAR, sign, 0.0, 0.0)
    return (SIGMOID if gradient else SOFTPLUS, sign, 0.0, 0.0)
