"""On which line of a TOML text a key stands, because ``tomllib`` does not tell.

A scanner for text that ``tomllib`` has accepted: it follows headers, keys and strings, and skips
values. Keys within an inline table are on the line of the table's own key, which is what is asked.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Final

Path = tuple[str, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_KEY_PART: Final = re.compile(
    r"""[ \t]*(?: (?P<bare>[A-Za-z0-9_-]+) | (?P<quoted> "(?:[^"\\]|\\.)*" | '[^']*' ) )[ \t]*""",
    re.VERBOSE,
)
_VALUE_PART: Final = re.compile(
    r'''
    """(?:[^\\]|\\.)*?"{3,5} | \'{3}.*?\'{3,5} | "(?:[^"\\\n]|\\.)*" | '[^'\n]*'
    | \#[^\n]* | (?P<open>[\[{]) | (?P<close>[\]}]) | (?P<end>\n) | [^"'\#\[\]{}\n]+
    ''',
    re.VERBOSE | re.DOTALL,
)


def lines_of(text: str) -> Mapping[Path, int]:
    """Return the line, from 1, of every key and table of a valid TOML text."""
    found: dict[Path, int] = {}
    line, seen = 1, 0
    for path, position in _keys(text):
        line, seen = line + text.count("\n", seen, position), position
        for length in range(1, len(path) + 1):
            if length == len(path):
                found[path] = line
            else:
                found.setdefault(path[:length], line)
    return found


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """Return the line of the path, or of the nearest thing around it that is written down."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _keys(text: str) -> Iterator[tuple[Path, int]]:
    table: Path = ()
    position = _skip(text, 0)
    while position < len(text):
        start = position
        if text[position] == "[":
            position += 2 if text.startswith("[[", position) else 1
            table, position = _key(text, position)
            position += 2 if text.startswith("]]", position) else 1
            yield table, start
        else:
            key, position = _key(text, position)
            yield (*table, *key), start
            position = _after_value(text, position + 1)
        position = _skip(text, position)


def _skip(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    return blank.end() if blank else position


def _key(text: str, position: int) -> tuple[Path, int]:
    parts: list[str] = []
    while found := _KEY_PART.match(text, position):
        quoted = found["quoted"]
        parts.append(found["bare"] if quoted is None else tomllib.loads(f"_ = {quoted}")["_"])
        position = found.end()
        if not text.startswith(".", position):
            return tuple(parts), position
        position += 1
    message = f"no key at character {position}: the text is not valid TOML"
    raise ValueError(message)


def _after_value(text: str, position: int) -> int:
    depth = 0
    while found := _VALUE_PART.match(text, position):
        position = found.end()
        depth += (found["open"] is not None) - (found["close"] is not None)
        if found["end"] and depth == 0:
            break
    return position
