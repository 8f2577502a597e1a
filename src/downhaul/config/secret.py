"""A string that shows itself to nobody who doesn't ask, and the names that hold such strings."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

MASK: Final = "***"

SHORTEST_IN_TEXT: Final = 4
"""Below this many characters a secret is not looked for in running text, which it would shred."""

_SECRET_NAME: Final = re.compile(
    r"token|passw|pwd|secret|credential|authorization|(api|sdk|access|private|server|client)[_-]?key",
    re.IGNORECASE,
)


class Secret:
    """A password, token or key. ``reveal()`` gives it; ``repr``, ``str`` and formats hide it.

    As a field of a plugin's pydantic model it accepts a string.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """Tell pydantic to take a string or a Secret."""
        from pydantic_core import PydanticCustomError, core_schema  # noqa: PLC0415

        def read(value: Any) -> Secret:
            if isinstance(value, Secret):
                return value
            if isinstance(value, str):
                return cls(value)
            raise PydanticCustomError("string_type", "must be a string")

        shown = core_schema.plain_serializer_function_ser_schema(str)
        return core_schema.no_info_plain_validator_function(read, serialization=shown)


def is_secret_name(name: str) -> bool:
    """Return whether a setting or URL parameter of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def revealed(value: Any) -> Any:
    """Return ``value`` with every Secret in it as the plain string."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {key: revealed(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [revealed(one) for one in value]
    return value


def masked(value: Any, secrets: Iterable[str] = (), name: str = "") -> Any:
    """Return ``value`` with each secret in it as ``***``: by type, by name, by what it says."""
    secrets = tuple(secrets)
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, str):
        return MASK if is_secret_name(name) and value else without(value, secrets)
    if isinstance(value, Mapping):
        return {key: masked(one, secrets, str(key)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked(one, secrets, name) for one in value]
    return value


def without(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with each of the secrets replaced by ``***``, the longest first."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_IN_TEXT or secret == text:
            text = text.replace(secret, MASK)
    return text


def strings_in(value: Any) -> Iterable[str]:
    """Return the plain text of every Secret in ``value``."""
    if isinstance(value, Secret):
        yield value.reveal()
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from strings_in(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from strings_in(one)
