"""Text of a document to data: JSON, TOML or YAML, within limits, with every fault and its line."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Callable
from typing import Any, Final

from downhaul.documents.faults import Fault, Place, did_you_mean, path_of, problems_of, quoted
from downhaul.documents.sanity import insane
from downhaul.documents.yaml_events import YamlFaults, read_yaml
from downhaul.errors import DocumentError, Problem

FORMATS: Final = ("json", "toml", "yaml")
LARGEST: Final = 32 << 20
"""Bytes that a document may have."""

LineOf = Callable[[Place], int | None]


def format_of(name: str) -> str:
    """Return the format that a file's suffix says: json, toml, yaml. Raises DocumentError."""
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    known = {"json": "json", "toml": "toml", "yaml": "yaml", "yml": "yaml"}
    if suffix not in known:
        said = f"the suffix .{suffix}" if suffix else "a name without a suffix"
        raise DocumentError(
            f"{said} names no format of flag documents",
            hint="name the file .json, .toml or .yaml",
            origin=name,
        )
    return known[suffix]


def read_data(
    text: str | bytes,
    format: str,  # noqa: A002  (the field's word)
    origin: str,
    section: tuple[str, ...] = (),
) -> Any:
    """Return the data of a document, or of one section of it; the rest may hold what it likes.

    Raises DocumentError with every fault of its text, and where there is no such section.
    """
    if format not in FORMATS:
        hint = did_you_mean(format, FORMATS, all_of="known")
        raise DocumentError(f"{quoted(format)} is no format of flag documents", hint=hint)
    if len(text) > LARGEST:
        message = f"the document is larger than {LARGEST >> 20} MiB"
        raise DocumentError(message, origin=origin, hint="split it in several")
    text = _decoded(text, origin)
    data = _section(_READERS[format](text, origin), section, origin)
    if faults := [one.under(section) for one in insane(data)]:
        raise refused(problems_of(faults, origin, lines_of(text, format)), origin)
    return data


def _section(data: Any, section: tuple[str, ...], origin: str) -> Any:
    for at, name in enumerate(section):
        if not isinstance(data, dict) or name not in data:
            there = map(str, data) if isinstance(data, dict) else ()
            hint = did_you_mean(name, there, all_of="there are")
            message = f"there is no section {path_of(section[: at + 1])}"
            raise DocumentError(message, hint=hint, origin=origin)
        data = data[name]
    return data


def refused(problems: list[Problem], origin: str) -> DocumentError:
    """Return the error that refuses a document whole."""
    count = f"{len(problems)} problems" if len(problems) != 1 else "1 problem"
    return DocumentError(f"the document is refused: {count}", problems, origin=origin or None)


def lines_of(text: str | bytes, format: str) -> LineOf:  # noqa: A002
    """Return what gives the line of a place, as near as can be told, by reading once more."""
    text = text if isinstance(text, str) else text.decode(errors="replace")
    if format == "toml":
        return _toml_lines(text)
    lines: dict[Place, int] = {}
    with contextlib.suppress(YamlFaults):  # JSON is YAML here; where it isn't, there are no lines
        read_yaml(text, lines)

    def line_of(place: Place) -> int | None:
        while place and place not in lines:
            place = place[:-1]
        return lines.get(place)

    return line_of


def _decoded(text: str | bytes, origin: str) -> str:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        message = f"byte {error.start} is no UTF-8"
        problem = Problem("", message, _at(origin, line), "save the file as UTF-8")
        raise refused([problem], origin) from None


def _at(origin: str, line: int) -> str:
    return f"{origin}:{line}" if origin else f"line {line}"


def _broken(message: str, origin: str, line: int) -> DocumentError:
    return refused([Problem("", message, _at(origin, line))], origin)


# --- JSON


class _Twice(ValueError):
    """A key stands twice in one object."""


def _read_json(text: str, origin: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise _broken(f"broken JSON: {error.msg}", origin, error.lineno) from None
    except RecursionError:
        raise _broken("nests too deeply", origin, 1) from None
    except _Twice as error:
        raise _twice(text, origin, str(error)) from None
    except ValueError as error:  # an integer of thousands of digits, NaN
        raise _broken(f"broken JSON: {error}", origin, 1) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return result


def _constant(name: str) -> Any:
    message = f"{name} is no number of a document"
    raise ValueError(message)


def _twice(text: str, origin: str, name: str) -> DocumentError:
    try:
        read_yaml(text)
    except YamlFaults as error:
        twice = [one for one in error.faults if "given twice" in one[0].message]
        if twice:
            return _with_lines(twice, origin)
    message = f"{quoted(name)} is given twice"
    return refused([Problem("", message, origin, "leave one of them")], origin)


def _with_lines(faults: list[tuple[Fault, int]], origin: str) -> DocumentError:
    problems = [
        problem for fault, line in faults for problem in problems_of([fault], _at(origin, line))
    ]
    return refused(problems, origin)


# --- YAML and TOML


def _read_yaml(text: str, origin: str) -> Any:
    try:
        return read_yaml(text)
    except YamlFaults as error:
        raise _with_lines(error.faults, origin) from None


_TOML_AT: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")
_TOML_HEAD: Final = re.compile(r"[ \t]*\[\[[ \t]*(flags|segments)[ \t]*\]\]")


def _read_toml(text: str, origin: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        found = _TOML_AT.search(said)
        line = int(found[1]) if found and found[1] else text.count("\n") + 1
        raise _broken(f"broken TOML: {_TOML_AT.sub('', said)}", origin, line) from None
    except RecursionError:
        raise _broken("nests too deeply", origin, 1) from None
    except ValueError as error:  # a date that no calendar has, an integer of thousands of digits
        raise _broken(f"broken TOML: {error}", origin, 1) from None


def _toml_lines(text: str) -> LineOf:
    lines: dict[Place, int] = {}
    counts = {"flags": 0, "segments": 0}
    for number, line in enumerate(text.splitlines(), start=1):
        if head := _TOML_HEAD.match(line):
            lines[head[1], counts[head[1]]] = number
            counts[head[1]] += 1
    return lambda place: lines.get(place[:2])


_READERS: Final[dict[str, Callable[[str, str], Any]]] = {
    "json": _read_json,
    "toml": _read_toml,
    "yaml": _read_yaml,
}
