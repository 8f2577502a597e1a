"""Asking Unleash whether an attribute is there, and whether it is not.

An expression that matches any text asks whether there is one. The server takes no opposite of an
expression, and every other constraint is false, or turned round, alike for whoever lacks the
attribute. So who asks through Downhaul brings along what they lack: a property
``downhaul:missing?of=plan`` that is ``true``, where a flag's strategies ask for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

from downhaul.evaluator.carriers import PREFIX

ANYTHING: Final = ".*"
"""The expression that matches any text."""
TRUE: Final = "true"
_MISSING: Final = f"{PREFIX}missing?of="


def missing_of(name: str) -> str:
    """Return the property that is ``true`` for whoever lacks the one of this name."""
    return f"{_MISSING}{quote(name, safe='')}"


def lacked_by(name: str) -> str | None:
    """Return whose lack a property says, or None for a property that says none."""
    if not name.startswith(_MISSING):
        return None
    found = unquote(name.removeprefix(_MISSING))
    return found if missing_of(found) == name else None


def tell(asked: dict[str, Any], lacks: Sequence[tuple[str, str]]) -> None:
    """Put into what Unleash is asked with what it lacks of these: each a property, and of what."""
    if not lacks:
        return
    properties: Mapping[str, str] = asked["properties"]
    missing = {name: TRUE for name, what in lacks if what not in asked and what not in properties}
    asked["properties"] = {**properties, **missing}
