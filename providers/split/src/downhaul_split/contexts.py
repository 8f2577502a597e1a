"""A context of ours as Split's SDK takes one: a key, and attributes.

Split has no evaluation without a key. Somebody without one is asked for under a key that stands for
nobody; what a share of users would make of that key never reaches the caller (see ``known``).
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from downhaul.context import Context

NOBODY: Final = "downhaul:nobody"
"""The key under which somebody without a targeting key is asked for."""

LONGEST: Final = 250
"""Characters of a key; the SDK answers ``control`` to a longer one."""


def their_key(context: Context) -> str:
    """Return the key for the SDK. Raises ValueError for one that it refuses."""
    key = context.targeting_key
    if key is None:
        return NOBODY
    if len(key) > LONGEST:
        message = (
            f"Split takes no targeting key of over {LONGEST} characters, and it has {len(key)}"
        )
        raise ValueError(message)
    if not key.strip():
        message = "Split takes no targeting key that is only blanks"
        raise ValueError(message)
    return key


def asked_of(context: Context, traffic_type: str) -> Context:
    """Return the part of a context that a flag's traffic type is about, else all of it."""
    if context.kinds is None:
        return context
    return context.kinds.get(traffic_type, context)


def their_attributes(context: Context, about: Context) -> dict[str, Any] | None:
    """Return the attributes for the SDK: those of ``about`` by their names.

    Those of other kinds are ``kind.attribute``, and their keys ``kind``. Values go as they are,
    because what the SDK makes of them is what it makes of them without us; a ``datetime``, of which
    it makes nothing, goes as whole seconds since 1970. None is left out, and so is a ``datetime``
    without an offset.
    """
    made: dict[str, Any] = {}
    for name, value in about.attributes.items():
        if value is None or isinstance(value, dt.datetime):
            _put(made, name, value)
        else:
            made[name] = value
    for kind, one in (context.kinds or {}).items():
        if kind != about.kind:
            _put(made, kind, one.targeting_key)
            for name, value in one.attributes.items():
                _put(made, f"{kind}.{name}", value)
    return made or None


def _put(made: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, dt.datetime):
        value = None if value.utcoffset() is None else int(value.timestamp())
    if value is not None:
        made[name] = value
