"""The default's type is the type asked for (rule E2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from downhaul.result import ErrorCode, Reason, Result


def kind_name(value: Any) -> str:
    """Return the JSON type of a value, integers apart from floats, or else its Python name."""
    if isinstance(value, bool):
        return "boolean"
    for types, name in (
        (str, "string"),
        (int, "integer"),
        (float, "float"),
        (Mapping, "object"),
        ((list, tuple), "array"),
    ):
        if isinstance(value, types):
            return name
    return type(value).__name__


def fitted(result: Result, default: Any) -> Result:
    """Return the result as the caller asked for it: the type of ``default``, or ``default`` itself.

    An integer becomes a float where nothing is lost; no other type becomes another one.
    """
    if not result.authoritative:
        if result.reason is Reason.KILLED and isinstance(default, bool):
            # Of a killed flag that nobody knows, the caller's default tells the kind (rule K2).
            return replace(result, value=False, authoritative=True)
        return replace(result, value=default)
    if default is None:
        return result
    asked, served = kind_name(default), kind_name(result.value)
    if asked == served:
        return result
    if asked == "float" and served == "integer" and _exact(result.value):
        return replace(result, value=float(result.value))
    return replace(
        result,
        value=default,
        variant=None,
        reason=Reason.ERROR,
        error_code=ErrorCode.TYPE_MISMATCH,
        error_message=f"the flag serves {_a(served)}, and the default asks for {_a(asked)}",
        authoritative=False,
    )


def _exact(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
