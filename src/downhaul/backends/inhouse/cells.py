"""What a cell of somebody's table means. Databases give one truth in many forms.

Each reader raises :class:`NotMeant` for what can't be meant; nothing is guessed.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from downhaul.backends.inhouse.entries import NotMeant
from downhaul.documents.faults import quoted
from downhaul.flag import FlagKind

_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})
_BITS: Final = {b"\x01": True, b"\x00": False}
_KINDS: Final = {
    **dict.fromkeys(("boolean", "bool", "flag", "switch"), FlagKind.BOOLEAN),
    **dict.fromkeys(("string", "str", "text", "varchar"), FlagKind.STRING),
    **dict.fromkeys(("number", "int", "integer", "float", "double", "decimal"), FlagKind.NUMBER),
    **dict.fromkeys(("object", "json", "list", "array", "map"), FlagKind.OBJECT),
}


def truth(value: Any) -> bool:
    """Return a truth: a boolean, 0 or 1, text such as ``t``, ``true``, ``off``, or one bit."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float, Decimal)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    if isinstance(value, bytes) and value in _BITS:
        return _BITS[value]
    message = f"{quoted(value)} is neither true nor false"
    raise NotMeant(message)


def number(value: Any) -> Decimal:
    """Return a number, exactly as it is written: an integer, a float, a decimal, text of one."""
    if isinstance(value, (int, float, Decimal, str)) and not isinstance(value, bool):
        try:
            found = Decimal(value.strip() if isinstance(value, str) else str(value))
        except InvalidOperation:
            found = Decimal("nan")
        if found.is_finite():
            return found
    message = f"{quoted(value)} is no number"
    raise NotMeant(message)


def share(value: Any, whole: Decimal) -> Decimal:
    """Return a part of ``whole`` as a part of one. Text may end with ``%``, where whole is 100."""
    percent = isinstance(value, str) and value.strip().endswith("%")
    found = number(value.strip()[:-1] if percent else value)
    whole = Decimal(100) if percent else whole
    if not 0 <= found <= whole:
        message = f"{quoted(value)} does not lie between 0 and {whole.normalize():f}"
        raise NotMeant(message)
    return found / whole


def names(value: Any) -> tuple[str, ...]:
    """Return the names in a list: an array, JSON text of one, or text with commas.

    Numbers are their digits. Each name stands once, and empty ones are none.
    """
    if value is None:
        return ()
    found = value
    if isinstance(value, (str, bytes)):
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        found = _json(text) if text.lstrip()[:1] in ("[", "{") else text.split(",")
    if not isinstance(found, (list, tuple, set, frozenset)):
        message = f"{quoted(value)} is no list of names"
        raise NotMeant(message)
    return tuple(dict.fromkeys(name for one in found if (name := name_of(one))))


def name_of(value: Any) -> str:
    """Return one name without the spaces around it: text, or the digits of a whole number."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    # Of a driver's own types, such as a UUID, the text is what applications compare with.
    if value is None or isinstance(value, (bool, float, bytes, list, tuple, dict)):
        message = f"{quoted(value)} is no name"
        raise NotMeant(message)
    return str(value)


def kind_of(value: Any) -> FlagKind:
    """Return the kind of flag that a word names."""
    found = _KINDS.get(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        message = f"{quoted(value)} names no kind of flag"
        raise NotMeant(message)
    return found


def value_of(value: Any, kind: FlagKind | None) -> Any:
    """Return what a flag serves, of its kind; without a kind, as the database types it."""
    if kind is None:
        return _plain(value)
    if kind is FlagKind.BOOLEAN:
        return truth(value)
    if kind is FlagKind.NUMBER:
        return _plain(number(value))
    if kind is FlagKind.STRING and isinstance(value, str):
        return value
    if kind is FlagKind.OBJECT:
        found = _json(value) if isinstance(value, (str, bytes)) else value
        if isinstance(found, (dict, list)):
            return found
    message = f"{quoted(value)} is nothing that a flag of kind {kind.value} serves"
    raise NotMeant(message)


def kind_by(value: Any) -> FlagKind:
    """Return the kind of flag that serves such a value."""
    if isinstance(value, bool):
        return FlagKind.BOOLEAN
    if isinstance(value, (int, float)):
        return FlagKind.NUMBER
    return FlagKind.STRING if isinstance(value, str) else FlagKind.OBJECT


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        whole = value.is_finite() and value == value.to_integral_value()
        return int(value) if whole else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        message = f"{quoted(value)} is no number"
        raise NotMeant(message)
    if isinstance(value, (bool, int, float, str, dict, list)):
        return value
    message = f"{quoted(value)} is nothing that a flag can serve"
    raise NotMeant(message)


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        message = f"{quoted(text)} is broken JSON"
        raise NotMeant(message) from None
