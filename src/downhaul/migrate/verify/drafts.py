"""Contexts in the making: by kind and attribute, a value, so that one can be changed at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from downhaul.context import Context
from downhaul.evaluator.clauses import path_of
from downhaul.flag import TARGETING_KEY, USER
from downhaul.migrate.verify.values import MISSING


class Slot(NamedTuple):
    """An attribute of a kind of context. The empty attribute stands for the kind as a whole."""

    kind: str
    attribute: str


Draft = Mapping[Slot, Any]
"""Values by slot; :data:`.values.MISSING` takes an attribute, a key, or a whole kind away."""

NOBODY_SPECIAL: Final = "downhaul-stranger"


def key_of(kind: str) -> Slot:
    """Return the slot of a kind's targeting key."""
    return Slot(kind, TARGETING_KEY)


def whole(kind: str) -> Slot:
    """Return the slot that takes a kind away, or puts it in with nothing but a key."""
    return Slot(kind, "")


def context_of(draft: Draft) -> Context:
    """Return the context that a draft describes. Kinds without a key said are strangers."""
    kinds: dict[str, dict[Slot, Any]] = {USER: {}}
    for slot, value in draft.items():
        kinds.setdefault(slot.kind, {})[slot] = value
    parts = [
        _part(kind, values)
        for kind, values in kinds.items()
        if values.get(whole(kind)) is not MISSING
    ]
    return Context.multi(*parts) if parts else Context()


def _part(kind: str, values: Mapping[Slot, Any]) -> Context:
    key = values.get(key_of(kind), NOBODY_SPECIAL)
    attributes: dict[str, Any] = {}
    nested = []
    for slot, value in values.items():
        if slot.attribute in ("", TARGETING_KEY) or value is MISSING:
            continue
        if slot.attribute.startswith("/"):
            nested.append((path_of(slot.attribute), value))
        else:
            attributes[slot.attribute] = value
    for path, value in nested:
        _put(attributes, path, value)
    return Context(key if isinstance(key, str) else None, attributes, kind)


def _put(attributes: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Write a nested value, unless something that is no mapping stands in the way."""
    *way, last = path
    for name in way:
        inner = attributes.get(name, {})
        if not isinstance(inner, dict):
            return
        # A copy, as the mapping may be a value of the clause that asks for it.
        attributes[name] = dict(inner)
        attributes = attributes[name]
    attributes.setdefault(last, value)
