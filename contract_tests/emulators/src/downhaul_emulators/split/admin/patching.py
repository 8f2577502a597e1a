"""JSON patches (RFC 6902), done whole or not at all."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from downhaul_emulators.split.refusals import bad

_NEED: Final[Mapping[str, frozenset[str]]] = {
    "add": frozenset({"value"}),
    "replace": frozenset({"value"}),
    "test": frozenset({"value"}),
    "remove": frozenset(),
    "move": frozenset({"from"}),
    "copy": frozenset({"from"}),
}


def patched(document: Mapping[str, Any], operations: Any) -> dict[str, Any]:
    """Return the document with all operations done to a copy. Refuses what can't be done."""
    if not isinstance(operations, list) or not operations:
        raise bad("a patch must be a list of operations")
    made = copy.deepcopy(dict(document))
    for one in operations:
        if not isinstance(one, dict) or one.get("op") not in _NEED or "path" not in one:
            raise bad(f"an operation must have an op and a path: {one!r}")
        if lacking := _NEED[one["op"]] - set(one):
            raise bad(f"{one['op']} needs {min(lacking)}")
        _apply(made, one)
    return made


def _apply(document: dict[str, Any], operation: Mapping[str, Any]) -> None:
    op, path = operation["op"], _parts(operation["path"])
    if op == "add":
        _add(document, path, copy.deepcopy(operation["value"]))
    elif op == "replace":
        _take(document, path)
        _add(document, path, copy.deepcopy(operation["value"]))
    elif op == "remove":
        _take(document, path)
    elif op == "test":
        if _at(document, path) != operation["value"]:
            raise bad(f"the test of {operation['path']} failed")
    else:
        source = _parts(operation["from"])
        value = _take(document, source) if op == "move" else copy.deepcopy(_at(document, source))
        _add(document, path, value)


def _parts(pointer: Any) -> list[str]:
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise bad(f"a path must start with a slash: {pointer!r}")
    return [one.replace("~1", "/").replace("~0", "~") for one in pointer[1:].split("/")]


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(document, list):
            document = document[_index(document, part)]
        elif isinstance(document, dict) and part in document:
            document = document[part]
        else:
            raise bad(f"no such path: /{'/'.join(path)}")
    return document


def _add(document: Any, path: list[str], value: Any) -> None:
    parent, last = _at(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        index = len(parent) if last == "-" else _index(parent, last, end=True)
        parent.insert(index, value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise bad(f"no such path: /{'/'.join(path)}")


def _take(document: Any, path: list[str]) -> Any:
    taken = _at(document, path)
    parent, last = _at(document, path[:-1]), path[-1]
    del parent[_index(parent, last) if isinstance(parent, list) else last]
    return taken


def _index(found: list[Any], text: str, *, end: bool = False) -> int:
    if not text.isdecimal() or int(text) >= len(found) + end:
        raise bad(f"no such place in a list: {text}")
    return int(text)
