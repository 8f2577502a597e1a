"""What LaunchDarkly's rules ask of us before they can decide: buckets, and who has a key at all.

A bucket by somebody else's hash travels as an attribute (see ``downhaul.evaluator.carriers``), and
the rules name the ones that they want. Who has nothing to bucket by has no place among them, and
LaunchDarkly knows nobody without a key: such a one is decided here, by the same flags as they read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from downhaul.context import Context
from downhaul.evaluator.carriers import bucket_carried, bucketing_of
from downhaul.evaluator.compile import World
from downhaul.evaluator.view import View
from downhaul.flag import (
    TARGETING_KEY,
    USER,
    Bucketing,
    Flag,
    NoKey,
    Scheme,
    Segment,
    Serve,
    Split,
)
from downhaul.result import Result
from downhaul_launchdarkly.api import NAME
from downhaul_launchdarkly.translate import lifted_whole, read_as_written

Documents = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What one document asks of a context, and which flags and segments it leaves the rest to.

    ``carriers`` are names of attributes, ``kinds`` those of contexts whose key is read.
    """

    carriers: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.carriers or self.kinds)

    def __or__(self, other: Asked) -> Asked:
        return Asked(
            self.carriers | other.carriers,
            self.kinds | other.kinds,
            self.segments | other.segments,
            self.flags | other.flags,
        )


def asked_by(raw: Mapping[str, Any]) -> Asked:
    """Return what the document of a flag or of a segment asks itself."""
    rules = raw.get("rules") or []
    clauses = [one for rule in rules for one in rule.get("clauses") or []]
    shares = [one for one in rules if one.get("weight") is not None]
    return Asked(
        frozenset(
            name for one in clauses if bucketing_of(name := str(one.get("attribute"))) is not None
        ),
        frozenset(
            [one.get("contextKind") or USER for one in clauses if one.get("attribute") == "key"]
            + [
                one.get("rolloutContextKind") or USER
                for one in shares
                if one.get("bucketBy") in (None, "key")
            ]
        ),
        frozenset(
            str(value)
            for one in clauses
            if one.get("op") == "segmentMatch"
            for value in one.get("values") or []
        ),
        frozenset(str(one.get("key")) for one in raw.get("prerequisites") or []),
    )


class Carrier:
    """One bucket to send."""

    def __init__(self, name: str, bucketing: Bucketing) -> None:
        self.name = name
        self._kind = bucketing.context_kind
        self._bucket = bucket_carried(bucketing)
        self._misses = bucketing.no_key is NoKey.MISS and bucketing.scheme is not Scheme.RANDOM
        self._strict = bucketing.no_key is NoKey.ERROR and bucketing.scheme is not Scheme.RANDOM

    def undecided(self, context: Context, bucket: int | None) -> bool:
        """Return whether no rule of LaunchDarkly's says what becomes of who has no bucket."""
        if self._misses:
            return False
        return (bucket is None and self._strict) or context.of_kind(self._kind) is None

    def bucket(self, context: Context) -> int | None:
        """Return the bucket of whoever asks, or None."""
        return self._bucket(context)


class Bearer:
    """Gives a context what a flag asks for, with all that the flag leaves to others."""

    def __init__(self, asked: Asked) -> None:
        found = ((name, bucketing_of(name)) for name in sorted(asked.carriers))
        self._carriers = tuple(Carrier(name, how) for name, how in found if how is not None)
        self._kinds = tuple(sorted(asked.kinds))

    def borne(self, context: Context) -> tuple[Context, bool]:
        """Return the context with its buckets, and whether LaunchDarkly can decide by them.

        What the context says itself under the name of a carrier stays.
        """
        buckets: dict[str, Any] = {}
        decidable = not any(_keyless(context, kind) for kind in self._kinds)
        for one in self._carriers:
            bucket = one.bucket(context)
            if one.undecided(context, bucket):
                decidable = False
            elif bucket is not None:
                buckets[one.name] = bucket
        return (_with(context, buckets) if buckets else context), decidable


def _keyless(context: Context, kind: str) -> bool:
    part = context if context.kind == kind else context.of_kind(kind)
    return part is not None and part.targeting_key is None


def _with(context: Context, buckets: Mapping[str, Any]) -> Context:
    if context.kinds is None:
        made = Context(context.targeting_key, {**buckets, **context.attributes}, context.kind)
    else:
        made = Context.multi(*(_with(one, buckets) for one in context.kinds.values()))
    made.at = context.at
    return made


def bearers(flags: Mapping[str, Asked], segments: Mapping[str, Asked]) -> Mapping[str, Bearer]:
    """Return who bears what, for the flags that ask for anything, themselves or through others."""
    if not any(flags.values()) and not any(segments.values()):
        return {}
    made = {}
    for key in flags:
        asked = _whole(key, flags, segments)
        if asked:
            made[key] = Bearer(asked)
    return made


def _whole(key: str, flags: Mapping[str, Asked], segments: Mapping[str, Asked]) -> Asked:
    found = Asked()
    seen: set[tuple[str, str]] = set()
    pending: list[tuple[str, str]] = [("flag", key)]
    while pending:
        place = pending.pop()
        if place in seen:
            continue
        seen.add(place)
        sort, name = place
        one = (flags if sort == "flag" else segments).get(name, _NOTHING)
        found |= one
        pending += [("segment", each) for each in one.segments]
        pending += [("flag", each) for each in one.flags]
    return found


_NOTHING: Final = Asked()


class Here:
    """Decides what LaunchDarkly can't, by the flags that it sends. Costs nothing until it must."""

    def __init__(self, flags: Documents, segments: Documents) -> None:
        self._documents = {"flags": flags, "segments": segments}

    @cached_property
    def _decisions(self) -> Mapping[str, Callable[[Context], Result]]:
        written = read_as_written(self._documents)
        strict = replace(
            written,
            flags=tuple(map(_strict, written.flags)),
            segments=tuple(map(_strict_segment, written.segments)),
        )
        read = lifted_whole(strict).flag_set()
        return View(World(read.flags, read.segments, provider=NAME)).results

    def decide(self, key: str, context: Context) -> Result | None:
        """Return the answer; None for a flag that has no like here."""
        decide = self._decisions.get(key)
        return None if decide is None else decide(context)


def _strict(flag: Flag) -> Flag:
    """Return a flag that serves a share of users by their key to nobody who has none (rule E8)."""
    rules = tuple(replace(one, serve=_strict_serve(one.serve)) for one in flag.rules)
    return replace(flag, rules=rules, default=_strict_serve(flag.default))


def _strict_serve(serve: Serve) -> Serve:
    if isinstance(serve, str):
        return serve
    return Split(serve.weights, _strictly(serve.bucketing))


def _strict_segment(segment: Segment) -> Segment:
    rules = tuple(
        one
        if one.gate is None
        else replace(one, gate=replace(one.gate, bucketing=_strictly(one.gate.bucketing)))
        for one in segment.rules
    )
    return replace(segment, rules=rules)


def _strictly(how: Bucketing) -> Bucketing:
    own = how.scheme is Scheme.LAUNCHDARKLY and how.no_key is NoKey.FIRST
    return replace(how, no_key=NoKey.ERROR) if own and how.by == (TARGETING_KEY,) else how


def asked_by_all(documents: Iterable[Mapping[str, Any]]) -> Mapping[str, Asked]:
    """Return what documents ask, by their keys."""
    return {str(one["key"]): asked_by(one) for one in documents}
