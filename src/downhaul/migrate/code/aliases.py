"""Functions of somebody's own that ask for flags: teams wrap SDKs."""

from __future__ import annotations

from dataclasses import dataclass

from downhaul.errors import ConfigError

_HINT = "write MODULE.FUNCTION:KEY or MODULE.FUNCTION:KEY:DEFAULT, such as myapp.flags.enabled:0:1"


@dataclass(frozen=True, slots=True)
class Alias:
    """A function, or a method of a class, that takes a flag's key.

    ``name`` is dotted, as it would be imported (``myapp.flags.enabled``, ``myapp.flags.Gate.on``).
    ``key`` and ``default`` are positions from 0, ``self`` not counted, or names of parameters.
    """

    name: str
    key: int | str = 0
    default: int | str | None = None

    @classmethod
    def parse(cls, text: str) -> Alias:
        """Read ``myapp.flags.enabled:0:1``. Raises ConfigError."""
        name, *places = text.split(":")
        dotted = name.split(".")
        if len(dotted) <= 1 or not all(part.isidentifier() for part in dotted):
            raise ConfigError(f'alias "{text}": "{name}" is no dotted name', hint=_HINT)
        if not 1 <= len(places) <= 2:  # noqa: PLR2004  (the key's, and the default's)
            raise ConfigError(f'alias "{text}" has {len(places)} positions', hint=_HINT)
        return cls(name, *(_place(text, place) for place in places))


def _place(text: str, place: str) -> int | str:
    if place.isascii() and place.isdigit():
        return int(place)
    if place.isidentifier():
        return place
    message = f'alias "{text}": "{place}" is neither a position nor the name of a parameter'
    raise ConfigError(message, hint=_HINT)
