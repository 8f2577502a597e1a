"""A flag set as a document: what :func:`downhaul.documents.parse_document` reads back as equal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from downhaul.documents.faults import did_you_mean, path_of, quoted
from downhaul.documents.models import FORMAT_VERSION
from downhaul.documents.reading import FORMATS
from downhaul.documents.yaml_events import NUMBERS
from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.errors import DocumentError, Problem
from downhaul.flag import FlagSet


def render_document(flag_set: FlagSet, format: str = "json") -> str:  # noqa: A002
    """Write flags and segments as ``json``, ``toml`` or ``yaml``, in the order that they stand.

    Raises DocumentError for what a format can't say: TOML has no null within object values.
    """
    if format not in FORMATS:
        hint = did_you_mean(format, FORMATS, all_of="known")
        raise DocumentError(f"{quoted(format)} is no format of flag documents", hint=hint)
    data: dict[str, Any] = {"downhaul": FORMAT_VERSION}
    if flag_set.flags:
        data["flags"] = [flag_to_data(flag) for flag in flag_set.flags.values()]
    if flag_set.segments:
        data["segments"] = [segment_to_data(one) for one in flag_set.segments.values()]
    if format == "json":
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    return _to_yaml(data) if format == "yaml" else "".join(_toml(data))


# --- YAML: our reader takes words for numbers that PyYAML's own would not, so those are quoted too


_Dumper: Final[Any] = type("_Dumper", (getattr(yaml, "CSafeDumper", yaml.SafeDumper),), {})
_Dumper.ignore_aliases = lambda _self, _data: True
for _pattern in NUMBERS:
    _Dumper.add_implicit_resolver("tag:downhaul,number", _pattern, None)


def _to_yaml(data: dict[str, Any]) -> str:
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


# --- TOML: a table per flag, sub-tables for rules, targets and prerequisites, all else inline


_BARE: Final = re.compile(r"[A-Za-z0-9_-]+\Z")


def _toml(data: dict[str, Any]) -> Iterator[str]:
    yield f"downhaul = {data['downhaul']}\n"
    for field in ("flags", "segments"):
        for index, one in enumerate(data.get(field, ())):
            yield f"\n[[{field}]]\n"
            yield from _table(field, one, (field, index))


def _table(path: str, one: dict[str, Any], place: tuple[str | int, ...]) -> Iterator[str]:
    tables = {
        name: value
        for name, value in one.items()
        if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    for name, value in one.items():
        if name == "off_variant" and value is None:
            yield "off_variant = { callers_default = true }\n"
        elif name not in tables:
            yield f"{_name(name)} = {_inline(value, (*place, name))}\n"
    for name, parts in tables.items():
        for index, part in enumerate(parts):
            yield f"\n[[{path}.{name}]]\n"
            for inner, value in part.items():
                yield f"{_name(inner)} = {_inline(value, (*place, name, index, inner))}\n"


def _name(name: str) -> str:
    return name if _BARE.match(name) else _text(name)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _inline(value: Any, place: tuple[str | int, ...]) -> str:
    if isinstance(value, dict):
        parts = [f"{_name(name)} = {_inline(one, (*place, name))}" for name, one in value.items()]
        return f"{{ {', '.join(parts)} }}" if parts else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_inline(one, (*place, i)) for i, one in enumerate(value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if value is None:
        problem = Problem(path_of(place), "TOML has no null", hint="write JSON or YAML")
        raise DocumentError("the flags cannot be written as TOML", [problem])
    return repr(value)
