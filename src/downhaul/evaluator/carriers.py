"""Buckets that travel: how a backend decides by a hash that is not its own (rules E9 and E10).

A carrier is an attribute whose value is the bucket of whoever asks, and whose name says whose hash
it is: ``downhaul:split?seed=17&of=100``. A backend compares it with a number, as it can any
attribute; whoever asks the backend reads in the flag's own rules which buckets to send. So a flag
that moves takes its users along, and no declaration has to be handed out beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from downhaul.context import Context
from downhaul.evaluator.bucketing import bucket_of, measure_of
from downhaul.evaluator.clauses import bucket_key
from downhaul.flag import TARGETING_KEY, USER, WHOLE, Bucketing, NoKey, Scheme

PREFIX: Final = "downhaul:"
"""What the names of all carriers begin with, and no attribute of an application should."""

_BY_SEED: Final = frozenset({Scheme.SPLIT, Scheme.SPLIT_LEGACY})


def carrier_of(bucketing: Bucketing, key: str) -> str:
    """Return the name of the carrier of a bucketing; ``key`` is the flag's or the segment's.

    Equal bucketings have one name, whether their salt is said or is the key that it defaults to.
    """
    said: list[tuple[str, Any]] = []
    if bucketing.scheme is not Scheme.RANDOM and bucketing.scheme not in _BY_SEED:
        said.append(("salt", key if bucketing.salt is None else bucketing.salt))
    if bucketing.seed or bucketing.scheme in _BY_SEED:
        said.append(("seed", bucketing.seed or 0))
    if bucketing.total != WHOLE:
        said.append(("of", bucketing.total))
    if bucketing.by != (TARGETING_KEY,):
        said += [("by", name) for name in bucketing.by]
    if bucketing.context_kind != USER:
        said.append(("kind", bucketing.context_kind))
    if bucketing.no_key is not NoKey.ERROR:
        said.append(("no_key", bucketing.no_key.value))
    return f"{PREFIX}{bucketing.scheme.value}?{urlencode(said)}"


def bucketing_of(name: str) -> Bucketing | None:
    """Return the bucketing that a carrier's name says, or None for what is no carrier's name.

    Its salt is always said. What :func:`carrier_of` would write otherwise is no carrier: one
    bucketing has one name.
    """
    if not name.startswith(PREFIX):
        return None
    scheme, _, query = name.removeprefix(PREFIX).partition("?")
    said = parse_qsl(query, keep_blank_values=True)
    one = dict(said)
    try:
        made = Bucketing(
            Scheme(scheme),
            salt=one.get("salt"),
            seed=int(one["seed"]) if "seed" in one else None,
            by=tuple(value for field, value in said if field == "by") or (TARGETING_KEY,),
            context_kind=one.get("kind", USER),
            no_key=NoKey(one.get("no_key", NoKey.ERROR)),
            total=int(one.get("of", WHOLE)),
        )
    except ValueError:
        return None
    return made if made.total > 0 and carrier_of(made, "") == name else None


Bucket = Callable[[Context], int | None]
"""Gives the bucket of whoever asks; None where there is none to send."""


def bucket_carried(bucketing: Bucketing) -> Bucket:
    """Return what gives the value that a carrier carries, 0..``total`` - 1.

    Without a key to bucket by there is none, so that a backend's comparison matches nobody; unless
    the bucketing says what happens then. Nobody gets one whose context lacks the whole kind: there
    is nothing for a backend to read it from.
    """
    last = bucketing.total - 1
    if bucketing.scheme is Scheme.RANDOM:
        measure = measure_of(bucketing, "")
        return lambda _context: int(measure("")) - 1
    read = bucket_key(bucketing)

    def bucket(context: Context) -> int | None:
        key = read(context)
        if key is None:
            return without(context)
        return min(int(bucket_of(bucketing, "", key)), last)

    without = _without_key(bucketing)
    return bucket


def _without_key(bucketing: Bucketing) -> Bucket:
    if bucketing.no_key is NoKey.FIRST:
        return lambda _context: 0
    if bucketing.no_key is NoKey.RANDOM:
        return bucket_carried(Bucketing(Scheme.RANDOM, total=bucketing.total))
    return lambda _context: None


def carrying(names: Iterable[str]) -> Callable[[Context], Context] | None:
    """Return what puts into a context the buckets that some attributes carry; None if none does.

    ``names`` are all attributes that a flag's rules ask for, and those of the flags and segments
    that they name. Every kind of a context of several gets the buckets, for backends that know no
    kinds read one of them. What the context says itself under such a name stays.
    """
    carriers = tuple(
        (name, bucket_carried(bucketing))
        for name in sorted(set(names))
        if (bucketing := bucketing_of(name)) is not None
    )
    if not carriers:
        return None

    def carried(context: Context) -> Context:
        buckets: dict[str, Any] = {}
        for name, bucket in carriers:
            value = bucket(context)
            if value is not None:
                buckets[name] = value
        return _with(context, buckets) if buckets else context

    return carried


def _with(context: Context, buckets: Mapping[str, Any]) -> Context:
    if context.kinds is None:
        made = Context(context.targeting_key, {**buckets, **context.attributes}, context.kind)
    else:
        made = Context.multi(*(_with(one, buckets) for one in context.kinds.values()))
    made.at = context.at
    return made
