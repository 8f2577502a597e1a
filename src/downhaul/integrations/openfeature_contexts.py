"""Contexts as OpenFeature has them and as Downhaul has them, both ways. Imports no SDK.

OpenFeature has one targeting key and attributes, and no kinds of contexts. Where several kinds are
meant, the attributes say so as LaunchDarkly's users write it: ``{"kind": "organisation", "key":
"acme"}``, or ``{"kind": "multi", "user": {"key": "ada"}, "organisation": {"key": "acme"}}``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final, Protocol

from downhaul.context import Context
from downhaul.flag import USER

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


class OpenFeatureContext(Protocol):
    """What is read of an OpenFeature ``EvaluationContext``."""

    targeting_key: str | None
    attributes: Mapping[str, Any]


def context_from(context: OpenFeatureContext) -> Context:
    """Return an OpenFeature context as ours; an empty targeting key is a missing one.

    Times become RFC 3339 in UTC, at any depth; one without an offset stays without, and then no
    clause reads it as a time. Raises InvalidContext for a targeting key that is no string.
    """
    attributes = context.attributes
    if not all(type(value) in _SCALARS for value in attributes.values()):
        attributes = {name: _plain(value) for name, value in attributes.items()}
    kind = attributes.get("kind")
    if isinstance(kind, str):
        return _of_kinds(kind, context.targeting_key, attributes)
    return Context(context.targeting_key, attributes)


def context_parts(context: Context) -> tuple[str | None, dict[str, Any]]:
    """Return the targeting key and the attributes of an OpenFeature context that says the same.

    What is None is left out, for OpenFeature has no such value. The time that the evaluation is
    about (:meth:`Context.at_time`) has no place there and is not carried.
    """
    if context.kinds is None and context.kind == USER:
        said: Mapping[str, Any] = context.attributes
    else:
        said = context.as_mapping()
    attributes = {
        name: value if type(value) in _SCALARS else _plain(value)
        for name, value in said.items()
        if value is not None
    }
    return context.targeting_key, attributes


def _of_kinds(kind: str, key: str | None, attributes: Mapping[str, Any]) -> Context:
    """Read what the attributes say of kinds. An attribute that only happens to be so named stays.

    One kind needs a ``key`` beside it that is the targeting key, or stands in its place. Several
    need a part with a ``key``; what is no part belongs to the user.
    """
    own = attributes.get("key")
    if kind == "multi":
        parts = {
            name: value
            for name, value in attributes.items()
            if isinstance(value, Mapping) and isinstance(value.get("key"), str)
        }
        if parts:
            return _joined(parts, key, attributes)
    elif isinstance(own, str) and (key or own) == own:
        rest = {name: one for name, one in attributes.items() if name not in ("kind", "key")}
        return Context(own, rest, kind)
    return Context(key, attributes)


def _joined(
    parts: Mapping[str, Mapping[str, Any]], key: str | None, attributes: Mapping[str, Any]
) -> Context:
    made = {
        kind: Context(part["key"], {name: one for name, one in part.items() if name != "key"}, kind)
        for kind, part in parts.items()
    }
    rest = {name: one for name, one in attributes.items() if name not in parts and name != "kind"}
    if rest or (
        key and USER not in made and key not in {one.targeting_key for one in made.values()}
    ):
        user = made.get(USER, Context(key))
        made[USER] = Context(user.targeting_key or key, {**rest, **user.attributes})
    return Context.multi(*made.values())


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def rfc3339(moment: dt.datetime) -> str:
    """Return a time as RFC 3339 in UTC. One without an offset is no point in time, and stays so."""
    if moment.utcoffset() is None:
        return moment.isoformat()
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
