"""From data that somebody wrote to the data that :mod:`downhaul.encoding` reads, or the faults.

Checks which fields there are and of what type; turns percentages into weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from downhaul.documents import models
from downhaul.documents.faults import Fault, Place, did_you_mean, quoted
from downhaul.flag import WHOLE, Dialect, FlagKind, FlagType, Missing, NoKey, Operator, Scheme

Data = dict[str, Any]

_ROOTS: Final[dict[str, type[BaseModel]]] = {"flag": models.Flag, "segment": models.Segment}

# Under these names stand objects of these models; elsewhere the object is the flag or segment.
_MODELS: Final[dict[str, type[BaseModel]]] = {
    "bucketing": models.Bucketing,
    "default": models.Split,
    "excluded": models.Keys,
    "gate": models.Gate,
    "included": models.Keys,
    "off_variant": models.CallersDefault,
    "prerequisites": models.Prerequisite,
    "serve": models.Split,
    "split": models.Weight,
    "targets": models.Target,
    "when": models.Clause,
}
_ENUMS: Final[dict[str, type[StrEnum]]] = {
    "dialect": Dialect,
    "kind": FlagKind,
    "missing": Missing,
    "no_key": NoKey,
    "operator": Operator,
    "scheme": Scheme,
    "type": FlagType,
}

_UNIONS: Final = frozenset({"default", "serve", "off_variant"})

_MESSAGES: Final = {
    "bool_type": "should be true or false",
    "dict_type": "should be an object with fields",
    "float_type": "should be a number",
    "int_from_float": "should be a whole number",
    "int_type": "should be a whole number",
    "list_type": "should be a list",
    "model_attributes_type": "should be an object with fields",
    "model_type": "should be an object with fields",
    "string_type": "should be text",
}


def structured(data: Any, sort: str) -> tuple[Data | None, list[Fault]]:
    """Check the fields of a flag or segment (``sort``); return its stored form, or faults."""
    try:
        _ROOTS[sort].model_validate(data)
    except ValidationError as error:
        return None, [_fault(one, sort) for one in error.errors(include_url=False)]
    faults: list[Fault] = []
    stored = _without_nulls(data)
    if sort == "flag":
        faults += _defaults(data, stored)
    for place, part in _parts(stored):
        faults += _weighed(place, part)
    return (None, faults) if faults else (stored, [])


def _fault(error: Mapping[str, Any], sort: str) -> Fault:
    place = _without_tags(error["loc"])
    kind, value = error["type"], error.get("input")
    if kind == "extra_forbidden":
        known = _model_at(place[:-1], sort).model_fields
        return Fault(
            place, "there is no such field", did_you_mean(place[-1], known, all_of="known")
        )
    if kind == "missing":
        return Fault(place, "is missing")
    if kind == "enum":
        known_values = [one.value for one in _ENUMS[str(place[-1])]]
        hint = did_you_mean(value, known_values, all_of="known")
        return Fault(place, f"{quoted(value)} is no {str(place[-1]).replace('_', ' ')}", hint)
    if kind == "value_error":
        return Fault(place, str(error["msg"]).removeprefix("Value error, "))
    message = _MESSAGES.get(kind) or str(error["msg"]).replace("Input should", "should")
    return Fault(place, f"{message}, not {quoted(value)}")


def _without_tags(place: Place) -> Place:
    """Leave out the tags that the members of a union put behind its field: they are no fields."""
    return tuple(
        one for before, one in zip((None, *place), place, strict=False) if before not in _UNIONS
    )


def _model_at(place: Place, sort: str) -> type[BaseModel]:
    names = [one for one in place if isinstance(one, str)]
    if names and names[-1] == "rules":
        return models.Rule if sort == "flag" else models.SegmentRule
    return _MODELS.get(names[-1], _ROOTS[sort]) if names else _ROOTS[sort]


def _without_nulls(data: Mapping[str, Any]) -> Data:
    """Copy a document's own objects and leave out their nulls, which say what leaving out says."""
    stored: Data = {}
    for name, value in data.items():
        if name in ("variants", "values"):
            stored[name] = value
        elif isinstance(value, Mapping):
            stored[name] = _without_nulls(value)
        elif isinstance(value, list):
            stored[name] = [
                _without_nulls(one) if isinstance(one, Mapping) else one for one in value
            ]
        elif value is not None or name == "off_variant":
            stored[name] = value
    return stored


def _defaults(data: Mapping[str, Any], stored: Data) -> Iterator[Fault]:
    if isinstance(data.get("off_variant"), Mapping):
        stored["off_variant"] = None
    boolean = data.get("kind", "boolean") == FlagKind.BOOLEAN
    if "variants" not in data and not boolean:
        yield Fault(("variants",), "is missing", "only boolean flags have variants by default")
    if "off_variant" not in data and not (boolean and "off" in data.get("variants", ("off",))):
        yield Fault(
            ("off_variant",),
            "is missing",
            "name the variant that is safe while the flag is off; null is the caller's default",
        )


def _parts(stored: Data) -> Iterator[tuple[Place, Data]]:
    """Yield the splits and gates of a flag or segment."""
    yield ("default",), stored.get("default", {})
    for index, rule in enumerate(stored.get("rules", ())):
        yield ("rules", index, "serve"), rule.get("serve", {})
        yield ("rules", index, "gate"), rule.get("gate", {})


def _weighed(place: Place, part: Any) -> Iterator[Fault]:
    """Turn the percentages of a split or a gate into counts of its buckets, in place."""
    if not isinstance(part, dict):
        return
    total = part.get("bucketing", {}).get("total", WHOLE)
    places: list[tuple[Place, Data, str]] = [(place, part, "share")]
    for index, one in enumerate(part.get("split", ())):
        places.append(((*place, "split", index), one, "weight"))
    for where, one, name in places:
        if "percent" not in one:
            continue
        percent = one.pop("percent")
        # A float such as 0.1 is near its decimal, not at it: the noise of that is forgiven.
        count = round(percent * total / 100)
        if abs(count * 100 / total - percent) > 1e-9:  # noqa: PLR2004
            finest = f"{100 / total:.6g}"
            yield Fault((*where, "percent"), f"{percent!r} is finer than {finest} %", "round it")
        one[name] = count
