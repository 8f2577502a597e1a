"""Columns of a population, and what clauses and splits make of them: a list in, a list out.

The per-user work of a million users is done by functions written in C that run over lists. What a
clause says of an attribute's value is asked once for each value that occurs.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from operator import add, methodcaller, mod, not_, sub, xor
from types import NoneType
from typing import Any, Final

import mmh3

from downhaul.context import Context
from downhaul.evaluator.bucketing import Heads, Measure, bucketable, edges_of, measure_of
from downhaul.evaluator.clauses import (
    Predicate,
    constant_choice,
    index_of,
    path_of,
    plain_words,
    reader,
)
from downhaul.evaluator.split_legacy import hashes
from downhaul.flag import CONTEXT_KIND, TARGETING_KEY, USER, Bucketing, Clause, NoKey, Scheme

Rows = Sequence[int]
"""Positions within a chunk, in order."""

_NOBODY: Final = Context()
_REMEMBERED: Final = 50_000  # values of one attribute; a column of other values is not remembered
_HASHES: Final = 1 << 32
_LD_HASHES: Final = 1 << 60
_LD_SCALE: Final = float(_LD_HASHES - 1)
_DIGEST: Final = methodcaller("digest")
_SHA1: Final = partial(hashlib.sha1, usedforsecurity=False)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some users of kind ``user``: their targeting keys (None: none) and columns of attributes.

    ``keyed`` says that it is known that each of them has a key.
    """

    keys: Sequence[str | None]
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    keyed: bool = False

    def keys_at(self, rows: Rows) -> Sequence[str | None]:
        """Return the targeting keys at these rows."""
        return _taken(self.keys, rows)

    def at(self, name: str, rows: Rows) -> Sequence[Any] | None:
        """Return an attribute's values at these rows; None where there is no such column."""
        column = self.columns.get(name)
        return None if column is None else _taken(column, rows)

    def context(self, row: int) -> Context:
        """Return one user as the context that the scalar path is asked with."""
        return Context(self.keys[row], {name: one[row] for name, one in self.columns.items()})


def _taken(column: Sequence[Any], rows: Rows) -> Sequence[Any]:
    return column if len(rows) == len(column) else list(map(column.__getitem__, rows))


Test = Callable[[Chunk, Rows], Iterable[bool]]
"""Says for each row whether a condition holds."""

Pick = Callable[[Chunk, Rows], Iterable[int | None]]
"""Says for each row which weight it falls to, as :func:`.clauses.index_of` does for a context."""


# --- clauses


def read_by(clause: Clause) -> str | None:
    """Return the attribute that decides a clause of a ``user``; None: the same for all of them."""
    if clause.attribute == CONTEXT_KIND or clause.context_kind != USER:
        return None
    return path_of(clause.attribute)[0]


def clause_test(clause: Clause, predicate: Predicate) -> Test:
    """Return the test of a clause that names an attribute. ``predicate`` is the clause compiled."""
    name = read_by(clause)
    without = predicate(_NOBODY)
    if name is None:
        return lambda _chunk, rows: repeat(without, len(rows))
    if name == TARGETING_KEY:
        asked = _Asked(clause, lambda key: predicate(Context(key)))
        return lambda chunk, rows: asked.all(chunk.keys_at(rows))
    asked = _Asked(clause, lambda value: predicate(Context(None, {name: value})))

    def test(chunk: Chunk, rows: Rows) -> Iterable[bool]:
        values = chunk.at(name, rows)
        return repeat(without, len(rows)) if values is None else asked.all(values)

    return test


class _Asked:
    """What a clause says of values, asked once for each."""

    def __init__(self, clause: Clause, one: Callable[[Any], bool]) -> None:
        self._one = one
        self._words = plain_words(clause)
        self._negate = clause.negate
        # A memory for each type: True, 1 and 1.0 are one key of a dictionary, and three values.
        self._known = {one_type: _Known(one) for one_type in (str, int, bool)}

    def all(self, values: Sequence[Any]) -> Iterable[bool]:
        types = set(map(type, values))
        if self._words is not None and types == {str}:
            among = map(self._words.__contains__, values)
            return map(not_, among) if self._negate else among
        types.discard(NoneType)
        only = types.pop() if len(types) == 1 else None
        if only not in self._known:
            return list(map(self._one, values))
        known = self._known[only]
        if len(known) > _REMEMBERED:
            known.clear()
        return map(known.__getitem__, values)


class _Known(dict[Any, bool]):
    """A memory of answers that asks for the ones it lacks."""

    __slots__ = ("_one",)

    def __init__(self, one: Callable[[Any], bool]) -> None:
        super().__init__()
        self._one = one

    def __missing__(self, value: Any) -> bool:
        answer = self[value] = self._one(value)
        return answer


# --- splits and gates


def picking(
    bucketing: Bucketing, key: str, weights: tuple[int, ...], *, closed: bool = False
) -> Pick:
    """Return what places rows among weights, as :func:`.clauses.index_of` does one context."""
    constant = constant_choice(bucketing, weights)
    if constant is not None:
        return lambda _chunk, rows: repeat(constant, len(rows))
    one = index_of(bucketing, key, weights, closed=closed)
    if bucketing.scheme is Scheme.RANDOM or bucketing.context_kind != USER:
        return lambda _chunk, rows: [one(_NOBODY) for _ in rows]
    texts_of, choose = _hashed(bucketing), choosing(bucketing, key, weights, closed=closed)
    draws = bucketing.no_key is NoKey.RANDOM
    keyless = None if draws else one(_NOBODY)
    by_key = bucketing.by == (TARGETING_KEY,)

    def pick(chunk: Chunk, rows: Rows) -> Iterable[int | None]:
        texts = texts_of(chunk, rows)
        if (by_key and chunk.keyed) or None not in texts:
            return choose(texts)  # type: ignore[arg-type]  # asked just before
        placed = iter(choose([text for text in texts if text is not None]))
        if draws:
            return [one(_NOBODY) if text is None else next(placed) for text in texts]
        return [keyless if text is None else next(placed) for text in texts]

    return pick


def _hashed(bucketing: Bucketing) -> Callable[[Chunk, Rows], Sequence[str | None]]:
    """Return what gives the text of each row that is hashed."""
    if bucketing.by == (TARGETING_KEY,):
        return Chunk.keys_at
    scheme, names = bucketing.scheme, tuple(path_of(name)[0] for name in bucketing.by)
    reads = tuple(reader(name, USER) for name in bucketing.by)

    def texts(chunk: Chunk, rows: Rows) -> list[str | None]:
        found: list[str | None] = [None] * len(rows)
        for name, read in zip(names, reads, strict=True):
            values = chunk.keys_at(rows) if name == TARGETING_KEY else chunk.at(name, rows)
            if values is None:
                continue
            for place, value in enumerate(values):
                if found[place] is None and value is not None:
                    whole = value if name == TARGETING_KEY else read(Context(None, {name: value}))
                    found[place] = bucketable(whole, scheme)
        return found

    return texts


def choosing(
    bucketing: Bucketing, key: str, weights: Sequence[int], *, closed: bool = False
) -> Callable[[Sequence[str]], Iterable[int]]:
    """Return what :func:`.bucketing.chooser` returns, for a list of texts.

    Raises UnicodeEncodeError, when called, for a text that has no UTF-8.
    """
    edges = edges_of(bucketing, weights)
    if closed:
        edges.pop()
    salt = key if bucketing.salt is None else bucketing.salt
    seed = (bucketing.seed or 0) & (_HASHES - 1)
    match bucketing.scheme:
        case Scheme.DOWNHAUL:
            return _between([edge for edge in edges if edge < _HASHES], _native(salt))
        case Scheme.LAUNCHDARKLY:
            return _between(_digests(edges), _sha1(f"{salt}.".encode()))
        case Scheme.SPLIT:
            return _counted(edges, bucketing.total, b"", seed)
        case Scheme.UNLEASH:
            return _counted(edges, bucketing.total, f"{salt}:".encode(), seed)
        case Scheme.SPLIT_LEGACY:
            return _between(edges, _legacy(measure_of(bucketing, key), bucketing.total, seed))
    return _between(edges, partial(map, measure_of(bucketing, key)))


_Measures = Callable[[Sequence[str]], Iterable[Any]]


def _between(edges: Sequence[Any], measures: _Measures) -> Callable[[Sequence[str]], Iterable[int]]:
    if len(edges) == 1:  # with two weights the second one's edge lies beyond every hash
        reached = edges[0].__le__  # False is 0 and True is 1
        return lambda texts: map(reached, measures(texts))
    return lambda texts: map(bisect_right, repeat(edges), measures(texts))


def _native(salt: str) -> _Measures:
    heads = Heads(salt)

    def measures(texts: Sequence[str]) -> Iterable[int]:
        keys = list(map(str.encode, texts))
        return map(mmh3.mmh3_32_uintdigest, map(add, map(heads.__getitem__, map(len, keys)), keys))

    return measures


def _sha1(prefix: bytes) -> _Measures:
    return lambda texts: map(_DIGEST, map(_SHA1, map(prefix.__add__, map(str.encode, texts))))


def _digests(edges: Iterable[float]) -> list[bytes]:
    """Return LaunchDarkly's edges as the least digest that is not below each.

    It compares floats; the float of a hash rises with the hash, so the least hash is well defined,
    and the order of digests is that of their first sixty bits.
    """
    least = [
        bisect_left(range(_LD_HASHES), edge, key=lambda number: number / _LD_SCALE)
        for edge in edges
    ]
    return [(one << 4).to_bytes(8, "big") for one in least if one < _LD_HASHES]


def _legacy(measure: Measure, total: int, seed: int) -> _Measures:
    def measures(texts: Sequence[str]) -> Iterable[float]:
        found = hashes(texts)
        if found is None:
            return map(measure, texts)
        hashed = list(map(xor, found, repeat(seed)))
        # As a signed number without its sign: of 2**31 and above the distance from 2**32.
        unsigned = map(min, hashed, map(sub, repeat(_HASHES), hashed))
        return map(add, map(mod, unsigned, repeat(total)), repeat(1))

    return measures


def _counted(
    edges: Sequence[float], total: int, prefix: bytes, seed: int
) -> Callable[[Sequence[str]], Iterable[int]]:
    """Return the choice by a remainder, which these schemes count from 1."""
    below = [int(edge) - 1 for edge in edges if edge <= total]

    def measures(texts: Sequence[str]) -> Iterable[int]:
        keys: Iterable[bytes] = map(str.encode, texts)
        keys = map(prefix.__add__, keys) if prefix else keys
        return map(mod, map(mmh3.mmh3_32_uintdigest, keys, repeat(seed)), repeat(total))

    return _between(below, measures)
