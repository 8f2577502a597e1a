"""Which buckets the rules of each flag ask for, as the SDK holds them, and how they are sent.

A flag's answer may depend on other flags and on rule-based segments, which get the same attributes:
what they ask for is sent too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from downhaul.context import Context
from downhaul.evaluator.carriers import bucketing_of, carrying
from downhaul.flag import NoKey


@dataclass(frozen=True, slots=True)
class Asked:
    """What a flag or a rule-based segment asks for by itself: carriers, other flags, segments."""

    carriers: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()


class Unknown(int):
    """A bucket of somebody who has none: nobody is let in at 0 % and everybody at 100 %.

    Where it would be decided by the bucket, ``asked`` tells so. The flag's ``own`` condition is
    then met, so that nothing behind it is come to; that of another flag is not.
    """

    last: int
    own: bool
    asked: bool

    def __new__(cls, total: int, *, own: bool) -> Self:
        """Return one of ``total`` buckets."""
        made = super().__new__(cls)
        made.last, made.own, made.asked = total - 1, own, False
        return made

    def __le__(self, edge: int) -> bool:
        if 0 <= edge < self.last:
            self.asked = self.own
            return self.own
        return edge >= 0

    def __ge__(self, edge: int) -> bool:
        if edge <= 0:
            return True
        self.asked = self.own
        return self.own


@dataclass(frozen=True, slots=True)
class Carry:
    """How the buckets that one flag asks for come to the SDK.

    ``into`` puts into a context those that whoever asks has. ``required`` are the carriers that
    nothing stands in for: their names, how many buckets each has, and whether the flag itself asks.
    """

    into: Callable[[Context], Context]
    required: tuple[tuple[str, int, bool], ...]

    def unknown(self, attributes: dict[str, Any]) -> list[Unknown]:
        """Put something in for each bucket that cannot be done without and is not there."""
        made = []
        for name, total, own in self.required:
            if name not in attributes:
                attributes[name] = one = Unknown(total, own=own)
                made.append(one)
        return made


def asked_by(conditions: Iterable[Any], *needed: str) -> Asked:
    """Return what conditions of the SDK ask for; ``needed`` are further flags."""
    carriers: set[str] = set()
    flags: set[str | None] = set(needed)
    segments: set[str | None] = set()
    for one in conditions:
        for matcher in one.matchers:
            name = getattr(matcher, "_attribute_name", None)
            if isinstance(name, str) and bucketing_of(name) is not None:
                carriers.add(name)
            flags.add(getattr(matcher, "_split_name", None))
            segments.add(getattr(matcher, "_rbs_segment_name", None))
    named = (frozenset(filter(None, found)) for found in (flags, segments))
    return Asked(frozenset(carriers), *named)


def segment_asked(segment: Any) -> Asked:
    """Return what a rule-based segment of the SDK asks for."""
    found = asked_by(segment.conditions)
    outside = {one.name for one in segment.excluded.get_excluded_segments()}
    return Asked(found.carriers, found.flags, found.segments | outside)


def carries_of(flags: Mapping[str, Asked], segments: Mapping[str, Asked]) -> dict[str, Carry]:
    """Return for each flag that needs any what puts its buckets into a context."""
    if not any(one.carriers for one in (*flags.values(), *segments.values())):
        return {}
    made = {}
    for key, own in flags.items():
        names = {name for one in _reached(own, flags, segments) for name in one.carriers}
        into = carrying(names)
        if into is not None:
            made[key] = Carry(into, tuple(_required(names, own.carriers)))
    return made


def _required(names: Iterable[str], own: frozenset[str]) -> Iterator[tuple[str, int, bool]]:
    for name in sorted(names):
        how = bucketing_of(name)
        if how is not None and how.no_key is NoKey.ERROR:
            yield name, how.total, name in own


def _reached(
    start: Asked, flags: Mapping[str, Asked], segments: Mapping[str, Asked]
) -> Iterator[Asked]:
    """Yield what is asked by whatever somebody comes to, each once."""
    seen = {id(start)}
    waiting = [start]
    while waiting:
        one = waiting.pop()
        yield one
        named = [flags.get(key) for key in one.flags] + [segments.get(key) for key in one.segments]
        for other in named:
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)
