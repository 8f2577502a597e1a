"""Which buckets a payload's features ask for, and what is decided for who has none to send."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from downhaul.context import Context
from downhaul.evaluator.carriers import PREFIX, bucketing_of, carrying
from downhaul.evaluator.compile import World
from downhaul.evaluator.view import View
from downhaul.flag import USER, Bucketing, NoKey
from downhaul.result import Result
from downhaul_unleash.absence import lacked_by
from downhaul_unleash.source import Constraint, Feature, Source

Carry = Callable[[Context], Context]


class Carrier(NamedTuple):
    """A carrier that a constraint compares: our name of it, and whose buckets it brings."""

    name: str
    how: Bucketing


def carrier_in(context_name: str) -> Carrier | None:
    """Return the carrier that a constraint on this field compares, or None."""
    kind, dot, rest = context_name.rpartition(f".{PREFIX}")
    name = f"{PREFIX}{rest}" if dot else context_name
    how = bucketing_of(name)
    if how is None or how.context_kind != (kind or USER):
        return None
    return Carrier(name, how)


@dataclass(frozen=True, slots=True)
class Carried:
    """What a feature needs of a context: ``carry`` puts its buckets there.

    ``needed`` are the names, and the kinds, of those buckets without which nothing can be decided.
    ``absent`` are properties that say what somebody lacks, each with what that is.
    """

    carry: Carry | None
    needed: tuple[tuple[str, str], ...]
    absent: tuple[tuple[str, str], ...]

    def lacks(self, context: Context) -> bool:
        """Return whether a context, with its buckets, lacks one that is needed."""
        for name, kind in self.needed:
            part = context.of_kind(kind)
            if part is None or name not in part.attributes:
                return True
        return False


def carried_by(source: Source) -> Mapping[str, Carried]:
    """Return what each feature of a payload needs, where it needs any bucket."""
    made: dict[str, Carried] = {}
    for name, feature in source.features.items():
        names = {one.context_name for one in _constraints(feature, source, {name})}
        found = dict(carrier for one in names if (carrier := carrier_in(one)) is not None)
        absent = tuple((one, what) for one in names if (what := lacked_by(one)) is not None)
        if found or absent:
            needed = tuple(
                (one, how.context_kind) for one, how in found.items() if how.no_key is NoKey.ERROR
            )
            made[name] = Carried(carrying(found), needed, absent)
    return made


def _constraints(feature: Feature, source: Source, seen: set[str]) -> Iterator[Constraint]:
    """Yield the constraints of a feature, of its segments, and of what it depends on."""
    for one in feature.strategies:
        yield from one.constraints
        for number in one.segments:
            if number in source.segments:
                yield from source.segments[number].constraints
    for dependency in feature.dependencies:
        parent = source.features.get(dependency.feature)
        if parent is not None and parent.name not in seen:
            seen.add(parent.name)
            yield from _constraints(parent, source, seen)


class Reference:
    """Our own decisions on a payload, for who has no key to bucket by.

    A comparison with a bucket that is not there is false in Unleash, or true where it is turned
    round. Where a split needs a key, that would be an answer by chance.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._views: dict[str, View] = {}

    def decide(self, key: str, context: Context) -> Result:
        """Return what our own evaluator decides. Raises KeyError for an unknown flag."""
        view = self._views.get(key) or self._made(key)
        result: Result = view.results[key](context)
        return result

    def _made(self, key: str) -> View:
        """Return one flag, with what it depends on: all others have no part in it."""
        from downhaul_unleash.translate import flags_from  # noqa: PLC0415  (imports pydantic)

        feature = self._source.features[key]
        named = {key, *(one.feature for one in feature.dependencies)}
        document = {
            "features": [one.raw for name, one in self._source.features.items() if name in named],
            "segments": [one.raw for one in self._source.segments.values()],
        }
        found = flags_from(document).flag_set()
        with self._lock:
            made = View(World(flags=found.flags, segments=found.segments))
            return self._views.setdefault(key, made)
