"""Unleash's context in our words: ``userId`` is the targeting key, everything else an attribute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from downhaul import Context
from downhaul.flag import CONTEXT_KIND, TARGETING_KEY

CURRENT_TIME: Final = "currentTime"
HOSTNAME: Final = "hostname"
"""The attribute that stands in for the host's name, which Unleash's SDK finds out by itself."""

_RESERVED: Final = frozenset({"", TARGETING_KEY, CONTEXT_KIND})


def attribute_of(context_name: str) -> str:
    """Return the attribute under which clauses and splits read a field of Unleash's context."""
    if context_name == "userId":
        return TARGETING_KEY
    if context_name in _RESERVED or context_name.startswith("/"):
        # A property may have a name that means something else here: its path doesn't.
        return "/" + context_name.replace("~", "~0").replace("/", "~1")
    return context_name


def context_from(mapping: Mapping[str, Any]) -> Context:
    """Return an Unleash context as ours.

    ``userId`` becomes the targeting key; ``sessionId``, ``environment``, ``appName``,
    ``currentTime`` and ``remoteAddress`` become attributes, and ``properties`` too, each under its
    own name. Unknown fields are properties. Everything is text, as the engine takes it: ``true``,
    ``5``, ``2.5``; None, lists and objects are left out, because the engine knows none.
    """
    properties = mapping.get("properties")
    beside = {name: value for name, value in mapping.items() if name != "properties"}
    known = dict(properties) if isinstance(properties, Mapping) else {}
    fields = {**known, **beside}
    texts = {str(name): text_of(value) for name, value in fields.items()}
    user = texts.pop("userId", None)
    return Context(user, {name: text for name, text in texts.items() if text is not None})


def text_of(value: Any) -> str | None:
    """Return a value of a context as the engine reads it, or None for what it passes over."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError:  # more digits than Python writes
            return None
    if isinstance(value, float):
        return _float(value)
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat()) if callable(isoformat) else None


def _float(value: float) -> str | None:
    text = repr(value)
    mantissa, exponent, power = text.partition("e")
    if not exponent:
        return None if text in ("nan", "inf", "-inf") else text
    if power == "-05":  # the one power that Python writes with an exponent, and Rust without
        sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
        return f"{sign}0.0000{digits.replace('.', '')}"
    return f"{mantissa}e{int(power)}"
