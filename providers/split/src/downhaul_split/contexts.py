"""A context of ours as Split's SDK takes one: a key, and attributes.

Split has no evaluation without a key. Somebody without one is asked for under a key that stands for
nobody; what a share of users would make of that key never reaches the caller (see ``known``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from downhaul.context import Context

NOBODY: Final = "downhaul:nobody"
"""The key under which somebody without a targeting key is asked for."""

LONGEST: Final = 250
"""Characters of a key; the SDK answers ``control`` to a longer one."""

_CARRIED: Final = frozenset({str, bool, int})


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

    Those of other kinds are ``kind.attribute``, and their keys ``kind``. None is left out, and so
    is an object. Split compares whole numbers only and times as whole seconds since 1970.
    """
    made: dict[str, Any] = {}
    for name, value in about.attributes.items():
        if type(value) in _CARRIED:
            made[name] = value
        else:
            _put(made, name, value)
    for kind, one in (context.kinds or {}).items():
        if kind != about.kind:
            if one.targeting_key is not None:
                made[kind] = one.targeting_key
            for name, value in one.attributes.items():
                _put(made, f"{kind}.{name}", value)
    return made or None


def _put(made: dict[str, Any], name: str, value: Any) -> None:
    plain = _plain(value)
    if plain is not None:
        made[str(name)] = plain


def _plain(value: Any) -> Any:
    if isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dt.datetime):
        return None if value.utcoffset() is None else int(value.timestamp())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [one for one in map(_plain, value) if one is not None]
    return None if value is None or isinstance(value, Mapping) else str(value)
