"""A context of ours as LaunchDarkly's SDK wants it.

LaunchDarkly has no context without a key. Somebody without one is asked for under a key that stands
for nobody; what a split would make of that key never reaches the caller (see ``known``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from ldclient import Context as TheirContext

from downhaul.context import Context
from downhaul.flag import USER

NOBODY: Final = "downhaul:nobody"
"""The key under which somebody without a targeting key is asked for."""

_ATOMS: Final = frozenset({str, bool, int, float})
_OWN: Final = frozenset({"kind", "key", "_meta"})
"""What LaunchDarkly reads as its own: an attribute of that name would change who is asking."""


def their_context(context: Context) -> TheirContext:
    """Return the context for the SDK. Attributes that are None, or named as its own, are left out.

    Times go as RFC 3339 in UTC. Raises ValueError for a kind that LaunchDarkly doesn't take.
    """
    if context.kinds is None:
        if context.targeting_key is not None and not context.attributes and context.kind == USER:
            # Most are so. A builder costs twice as much, and there is nothing that can be wrong.
            return TheirContext.create(context.targeting_key)
        made = _single(context)
    else:
        made = TheirContext.create_multi(*map(_single, context.kinds.values()))
    if not made.valid:
        message = f"LaunchDarkly takes no such context: {made.error}"
        raise ValueError(message)
    return made


def _single(context: Context) -> TheirContext:
    builder = TheirContext.builder(context.targeting_key or NOBODY)
    if context.kind != USER:
        builder.kind(context.kind)
    if context.targeting_key is None:
        builder.anonymous(True)
    for name, value in context.attributes.items():
        if name not in _OWN and value is not None:
            builder.try_set(name, value if type(value) in _ATOMS else _plain(value))
    return builder.build()


def _plain(value: Any) -> Any:
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, dt.datetime):
        if value.utcoffset() is None:
            return value.isoformat()
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one) for one in value]
    return str(value)
