"""A context of ours as Unleash's SDK takes one.

The SDK writes every value with ``str()``: None would become a user called "None", True the text
"True", and a list its repr. So only text goes to it, as the engine reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from downhaul.context import Context
from downhaul.errors import InvalidContext
from downhaul.flag import USER
from downhaul_unleash.attributes import CURRENT_TIME, text_of

_FIELDS: Final = frozenset({"sessionId", "remoteAddress", "environment", "appName", CURRENT_TIME})
"""Fields of Unleash's context that stand beside its properties."""


def asked_with(context: Context) -> dict[str, Any]:
    """Return what Unleash's SDK is asked with.

    The ``user`` targeting key is ``userId``, and left out where there is none. Attributes named
    like a field of Unleash's context are that field; all others are properties. A list is its
    texts joined by commas; None and objects are left out. Unleash has no kinds: the key of another
    kind is a property of that name, and its attributes are ``kind.attribute``. Raises
    InvalidContext for text that is no Unicode: the SDK would answer False to it.
    """
    if context.kinds is None and context.kind == USER and context.at is None:
        return _of_a_user(context)
    asked: dict[str, Any] = {}
    properties: dict[str, str] = {}
    for kind, one in (context.kinds or {context.kind: context}).items():
        if kind == USER:
            if one.targeting_key is not None:
                asked["userId"] = one.targeting_key
            _put(one.attributes, "", asked, properties)
        else:
            if one.targeting_key is not None:
                properties[kind] = one.targeting_key
            _put(one.attributes, f"{kind}.", properties, properties)
    if context.at is not None:
        asked[CURRENT_TIME] = context.at.isoformat()
    for text in (*asked.values(), *properties, *properties.values()):
        if not text.isascii():
            _check(text)
    asked["properties"] = properties
    return asked


def flattened(context: Context) -> Context:
    """Return a context in which the user has what Unleash is told of the other kinds, too."""
    if context.kinds is None and context.kind == USER:
        return context
    parts = context.kinds or {context.kind: context}
    told: dict[str, Any] = {}
    for kind, one in parts.items():
        if kind != USER:
            told |= {f"{kind}.{name}": value for name, value in one.attributes.items()}
            told |= {} if one.targeting_key is None else {kind: one.targeting_key}
    user = parts.get(USER, Context(None))
    others = [one for kind, one in parts.items() if kind != USER]
    made = Context.multi(Context(user.targeting_key, {**user.attributes, **told}), *others)
    made.at = context.at
    return made


def _of_a_user(context: Context) -> dict[str, Any]:
    """Return the same for the context that most are."""
    asked: dict[str, Any] = {}
    key = context.targeting_key
    if key is not None:
        if not key.isascii():
            _check(key)
        asked["userId"] = key
    properties: dict[str, str] = {}
    for name, value in context.attributes.items():
        text = value if type(value) is str else _text(value)
        if text is not None:
            named = f"{name}"
            if not (text.isascii() and named.isascii()):
                _check(named)
                _check(text)
            (asked if named in _FIELDS else properties)[named] = text
    asked["properties"] = properties
    return asked


def _check(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        message = f"{text!r} is no text that can be written"
        raise InvalidContext(message, hint="leave out lone surrogates") from None


def _put(
    attributes: Mapping[str, Any], prefix: str, fields: dict[str, Any], properties: dict[str, str]
) -> None:
    for name, value in attributes.items():
        text = _text(value)
        if text is not None:
            place = fields if not prefix and name in _FIELDS else properties
            place[f"{prefix}{name}"] = text


def _text(value: Any) -> str | None:
    if isinstance(value, (list, tuple, set, frozenset)):
        texts = [text for one in value if (text := text_of(one)) is not None]
        return ",".join(sorted(texts) if isinstance(value, (set, frozenset)) else texts)
    return text_of(value)
