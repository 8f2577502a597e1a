"""What a treatment is worth: Split's treatments are names, with a configuration beside each.

``on`` and ``true`` are True, ``off`` and ``false`` are False, where nothing else is among the
treatments. Another treatment is worth its own name, unless its configuration says more: an object
is the value, and an object with nothing but ``value`` holds the value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from downhaul.flag import FlagKind

BOOLEANS: Final[Mapping[str, bool]] = {"on": True, "true": True, "off": False, "false": False}
CONTROL: Final = "control"
"""What the SDK answers when it has no answer; no flag may have a treatment of that name."""


def values_of(
    treatments: Iterable[str], configurations: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the value of each treatment."""
    names = list(treatments)
    if all(name in BOOLEANS and not configurations.get(name) for name in names):
        return {name: BOOLEANS[name] for name in names}
    return {name: _value(name, configurations.get(name)) for name in names}


def kind_of(values: Iterable[Any]) -> FlagKind:
    """Return the kind of a flag by the values of its treatments; of several kinds: an object."""
    kinds = {_kind(value) for value in values}
    return kinds.pop() if len(kinds) == 1 else FlagKind.OBJECT


def off_of(kind: FlagKind, values: Mapping[str, Any], default_treatment: str) -> str:
    """Return the variant that a kill serves.

    Split serves the default treatment to whom a kill, or the traffic allocation, shuts out. It may
    be ``on``; what a kill of ours serves then is the treatment that is False.
    """
    if kind is FlagKind.BOOLEAN and values.get(default_treatment, True):
        return next((name for name, value in values.items() if not value), default_treatment)
    return default_treatment


def value_for(kind: FlagKind | None, treatment: str, value: Any) -> Any:
    """Return a value as the kind that is asked for, where the treatment's name can be read so."""
    if kind is FlagKind.BOOLEAN and type(value) is not bool:
        return BOOLEANS.get(treatment, value)
    if kind is FlagKind.STRING and type(value) is bool:
        return treatment
    if kind is FlagKind.NUMBER and value == treatment:
        number = _json(treatment)
        return number if _kind(number) is FlagKind.NUMBER else value
    return value


def configurations_of(variants: Mapping[str, Any], kind: FlagKind) -> dict[str, str | None]:
    """Return the configuration that makes each treatment worth its value; None: it is so already.

    Where names alone would be read as a boolean, or as none, every treatment says its value.
    """
    booleans = set(variants) <= set(BOOLEANS)
    if kind is FlagKind.BOOLEAN:
        named = booleans and all(BOOLEANS[name] is value for name, value in variants.items())
    else:
        named = not booleans
    return {name: _configuration(name, value, named) for name, value in variants.items()}


def _configuration(name: str, value: Any, named: bool) -> str | None:
    if named and (isinstance(value, bool) or value == name):
        return None
    if isinstance(value, Mapping) and set(value) != {"value"}:
        return json.dumps(value, ensure_ascii=False)
    return json.dumps({"value": value}, ensure_ascii=False)


def _value(name: str, configuration: str | None) -> Any:
    if not configuration:
        return name
    held = _json(configuration)
    if isinstance(held, Mapping):
        return held["value"] if set(held) == {"value"} else held
    return name if held is None else held


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # a configuration may be any text


def _kind(value: Any) -> FlagKind:
    if isinstance(value, bool):
        return FlagKind.BOOLEAN
    if isinstance(value, str):
        return FlagKind.STRING
    return FlagKind.NUMBER if isinstance(value, (int, float)) else FlagKind.OBJECT
