"""How a key becomes a bucket, and a bucket a choice (rules E6 to E9).

The native scheme equals flagd's fractional evaluation. The vendors' schemes are here so that
leaving a vendor flips nobody; each formula is checked against the vendor's own SDK in the tests,
and frozen in golden vectors.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

import mmh3

from downhaul.flag import Bucketing, Scheme

_HASHES: Final = 1 << 32
_LD_SCALE: Final = float(0xFFFFFFFFFFFFFFF)

Measure = Callable[[str], float]
"""Takes a key and gives its place: compare it with the edges of :func:`edges_of`."""


def cbor_head(major: int, length: int) -> bytes:
    """Return the canonical CBOR head of an item (RFC 8949, 3.1 and 4.2.1)."""
    if length < 24:  # noqa: PLR2004  (the largest count that fits the head's own byte)
        return bytes([major << 5 | length])
    for code, size in ((24, 1), (25, 2), (26, 4)):
        if length < 1 << 8 * size:
            return bytes([major << 5 | code]) + length.to_bytes(size, "big")
    return bytes([major << 5 | 27]) + length.to_bytes(8, "big")


class Heads(dict[int, bytes]):
    """The bytes that go before a key of a given length, for one salt; filled as lengths are met.

    ``digest(heads[len(key)] + key)`` is then the whole of the native hash: no CBOR library on
    the hot path, and no list built per call.
    """

    __slots__ = ("_prefix",)

    def __init__(self, salt: str) -> None:
        super().__init__()
        text = salt.encode()
        self._prefix = b"\x82" + cbor_head(3, len(text)) + text

    def __missing__(self, length: int) -> bytes:
        head = self[length] = self._prefix + cbor_head(3, length)
        return head


def hash_limit(weight: int, total: int) -> int:
    """Return the least hash whose bucket, ``hash * total >> 32``, is not below ``weight``."""
    return -(-weight * _HASHES // total)


def bucket(salt: str, targeting_key: str, total: int = 100_000) -> int:
    """Return the native bucket 0..total-1 of a targeting key (rule E6).

    ``murmur3_x86_32(cbor([salt, targeting_key])) * total >> 32`` with seed 0: the formula of
    flagd's ``fractional`` (flagd-core 2). Frozen: changing it reassigns every user.
    """
    key = targeting_key.encode()
    return mmh3.mmh3_32_uintdigest(Heads(salt)[len(key)] + key) * total >> 32


def measure_of(bucketing: Bucketing, flag_key: str) -> Measure:
    """Return the function that places a key under a scheme.

    Native: the 32-bit hash. LaunchDarkly: a float in 0..1. The others: an integer from 1.
    """
    salt = flag_key if bucketing.salt is None else bucketing.salt
    seed = bucketing.seed or 0
    return _MEASURES[bucketing.scheme](salt, seed, bucketing.total)


def edges_of(bucketing: Bucketing, weights: Sequence[int]) -> list[float]:
    """Return the upper edges of cumulative weights, exclusive, on the scale of the measure."""
    if bucketing.scheme is Scheme.LAUNCHDARKLY:
        # The SDK adds floats one by one; the edges must carry the same rounding.
        return list(accumulate(weight / bucketing.total for weight in weights))
    sums = accumulate(weights)
    if bucketing.scheme is Scheme.DOWNHAUL:
        return [hash_limit(edge, bucketing.total) for edge in sums]
    return [edge + 1 for edge in sums]  # these schemes count from 1, and take the edge itself in


def chooser(
    bucketing: Bucketing, flag_key: str, weights: Sequence[int], *, closed: bool = False
) -> Callable[[str], int]:
    """Return the function that gives a key the index of its weight; ``len(weights)`` is none.

    ``closed`` gives whoever falls beyond the last edge the last weight, as LaunchDarkly does.
    """
    measure = measure_of(bucketing, flag_key)
    edges = edges_of(bucketing, weights)
    if closed:
        edges[-1] = float("inf")
    return lambda key: bisect_right(edges, measure(key))


def bucket_of(bucketing: Bucketing, flag_key: str, key: str) -> float:
    """Return the bucket as people speak of it: 0..total-1, for any scheme."""
    place = measure_of(bucketing, flag_key)(key)
    if bucketing.scheme is Scheme.DOWNHAUL:
        return int(place) * bucketing.total >> 32
    if bucketing.scheme is Scheme.LAUNCHDARKLY:
        return int(place * bucketing.total)
    return place - 1


def bucketable(value: Any, scheme: Scheme = Scheme.DOWNHAUL) -> str | None:
    """Return an attribute's value as the string to hash, or None where it can't be bucketed by.

    The empty string is none, but to LaunchDarkly and Unleash, which hash it. Unleash's clients send
    every scalar as text, so that all are hashed there.
    """
    if isinstance(value, str):
        hashed = value or scheme in (Scheme.LAUNCHDARKLY, Scheme.UNLEASH)
        return str.__str__(value) if hashed else None
    if scheme is Scheme.UNLEASH and isinstance(value, (bool, float)):
        return str(value).lower()
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        return None


def _downhaul(salt: str, _seed: int, _total: int) -> Measure:
    heads = Heads(salt)
    digest = mmh3.mmh3_32_uintdigest

    def measure(key: str) -> int:
        text = key.encode()
        return digest(heads[len(text)] + text)

    return measure


def _launchdarkly(salt: str, _seed: int, _total: int) -> Measure:
    def measure(key: str) -> float:
        digest = hashlib.sha1(f"{salt}.{key}".encode(), usedforsecurity=False).hexdigest()
        return int(digest[:15], 16) / _LD_SCALE

    return measure


def _split(_salt: str, seed: int, total: int) -> Measure:
    seed &= _HASHES - 1
    return lambda key: mmh3.hash(key, seed, signed=False) % total + 1


def _split_legacy(_salt: str, seed: int, total: int) -> Measure:
    def measure(key: str) -> int:
        hashed = 0
        for letter in key:
            hashed = (31 * hashed + ord(letter)) & (_HASHES - 1)
        hashed ^= seed & (_HASHES - 1)
        signed = hashed - _HASHES if hashed >> 31 else hashed
        # The remainder is C's, which has the sign of the dividend; then its absolute value.
        return abs(signed) % total + 1

    return measure


def _unleash(salt: str, seed: int, total: int) -> Measure:
    return lambda key: mmh3.hash(f"{salt}:{key}", seed, signed=False) % total + 1


def _flipper(salt: str, _seed: int, total: int) -> Measure:
    begun = zlib.crc32(salt.encode())
    return lambda key: zlib.crc32(key.encode(), begun) % total + 1


def _random(_salt: str, _seed: int, total: int) -> Measure:
    return lambda _key: random.randrange(total) + 1  # noqa: S311  (a share of traffic, not a secret)


_MEASURES: Final[Mapping[Scheme, Callable[[str, int, int], Measure]]] = {
    Scheme.DOWNHAUL: _downhaul,
    Scheme.LAUNCHDARKLY: _launchdarkly,
    Scheme.SPLIT: _split,
    Scheme.SPLIT_LEGACY: _split_legacy,
    Scheme.UNLEASH: _unleash,
    Scheme.FLIPPER: _flipper,
    Scheme.RANDOM: _random,
}
