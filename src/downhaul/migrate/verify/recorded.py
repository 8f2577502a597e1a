"""Contexts that were recorded from traffic, read from CSV or JSON lines, one line at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from downhaul.context import Context, as_context
from downhaul.errors import DocumentError, InvalidContext
from downhaul.flag import TARGETING_KEY, USER
from downhaul.migrate.verify.cases import Case

_FLAG: Final = "flag"
_COMMENTED: Final = frozenset({"context", _FLAG})


@dataclass(frozen=True, slots=True)
class Recorded:
    """A context from a file. ``flag`` is the one that it was recorded for, None for any."""

    context: Context
    flag: str | None
    line: int


def recorded(path: str | Path) -> Iterator[Recorded]:
    """Yield the contexts of a file, told by its name: ``.csv``, or ``.jsonl`` and ``.ndjson``.

    CSV has a header. ``targetingKey`` is the key and every other column an attribute; a column
    ``organisation.size`` is one of another kind, and ``organisation.targetingKey`` its key.
    ``age:int`` says a type (``int``, ``float``, ``bool``, ``json``; text unless said); an empty
    cell is a missing attribute. A line of JSON is a context as a mapping, or ``{"context": ...,
    "flag": ...}``. The column ``flag`` names the flag to ask about.

    Raises DocumentError, with file and line, for what can't be read; OSError.
    """
    path = Path(path)
    reads = {".csv": _from_csv, ".jsonl": _from_lines, ".ndjson": _from_lines}
    read = reads.get(path.suffix.lower())
    if read is None:
        message = f"{path}: contexts are read from .csv, .jsonl and .ndjson"
        raise DocumentError(message, hint="give the file the name of its format")
    with path.open(encoding="utf-8-sig", newline="") as file:
        place = _Place(str(path))
        try:
            yield from read(file, place)
        except UnicodeDecodeError:
            place.refuse("it is no UTF-8 text", "save it as UTF-8")


def cases_from(contexts: Iterable[Recorded], flags: Sequence[str], source: str) -> Iterator[Case]:
    """Yield the cases of recorded contexts: of their flag, or else of each of ``flags``.

    ``source`` is what reports call the file.
    """
    for one in contexts:
        about = f"line {one.line} of {source}"
        for flag in flags if one.flag is None else (one.flag,):
            yield Case(flag, one.context, about)


@dataclass(slots=True)
class _Place:
    """Where the reader is: errors name it."""

    path: str
    line: int = 0

    def refuse(self, message: str, hint: str | None = None) -> NoReturn:
        """Raise DocumentError for the line that is read."""
        raise DocumentError(message, origin=f"{self.path}:{max(self.line, 1)}", hint=hint)


# --- JSON lines


def _from_lines(file: IO[str], place: _Place) -> Iterator[Recorded]:
    for line in file:
        place.line += 1
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            place.refuse(f"it is no JSON: {error}", "write one context in each line")
        if not isinstance(data, dict):
            place.refuse(f"a context is an object, not {type(data).__name__}")
        flag = None
        if isinstance(data.get("context"), dict) and data.keys() <= _COMMENTED:
            flag, data = data.get(_FLAG), data["context"]
            if flag is not None and not isinstance(flag, str):
                place.refuse(f"a flag's key is text, not {type(flag).__name__}")
        try:
            yield Recorded(as_context(data), flag or None, place.line)
        except InvalidContext as error:
            place.refuse(error.message, error.hint)


# --- CSV


@dataclass(frozen=True, slots=True)
class _Column:
    kind: str
    name: str
    title: str
    read: Callable[[str], Any]


def _from_csv(file: IO[str], place: _Place) -> Iterator[Recorded]:
    rows = csv.reader(file, strict=True)
    try:
        header = next(rows, None)
        place.line = 1
        if not header:
            place.refuse("it has no header", f"begin with a line such as {TARGETING_KEY},plan")
        columns = _columns(header, place)
        for row in rows:
            place.line = rows.line_num
            if row:
                yield _row(columns, row, place)
    except csv.Error as error:
        place.line = rows.line_num
        place.refuse(f"it is no CSV: {error}")


def _columns(header: Sequence[str], place: _Place) -> list[_Column]:
    columns = [_column(title.strip(), place) for title in header]
    names = [(one.kind, one.name) for one in columns]
    for title, name in zip(header, names, strict=True):
        if names.count(name) > 1:
            place.refuse(f'the column "{title}" is there twice')
    if all(one.name != TARGETING_KEY for one in columns):
        place.refuse(f"no column is called {TARGETING_KEY}", "say which column identifies who asks")
    return columns


def _column(title: str, place: _Place) -> _Column:
    name, colon, how = title.rpartition(":")
    if not colon:
        name, how = title, "text"
    read = _READS.get(how)
    if read is None:
        place.refuse(f'the column "{title}" has no type "{how}"', f"types are {', '.join(_READS)}")
    if name == _FLAG:
        return _Column("", _FLAG, title, read)
    kind, dot, attribute = name.partition(".")
    if dot:
        name = attribute
    if not name or (dot and not kind):
        place.refuse(f'the column "{title}" has no name')
    if name == TARGETING_KEY:
        read = str
    return _Column(kind if dot else USER, name, title, read)


def _row(columns: Sequence[_Column], row: Sequence[str], place: _Place) -> Recorded:
    if len(row) != len(columns):
        place.refuse(f"it has {len(row)} cells, and the header {len(columns)}")
    flag: str | None = None
    kinds: dict[str, dict[str, Any]] = {}
    for column, cell in zip(columns, row, strict=True):
        if not cell:
            continue
        if not column.kind:
            flag = cell
            continue
        try:
            kinds.setdefault(column.kind, {})[column.name] = column.read(cell)
        except (ValueError, RecursionError):
            place.refuse(f'"{column.title}": {cell[:40]!r} can\'t be read as that type')
    parts = [
        Context(attributes.pop(TARGETING_KEY, None), attributes, kind)
        for kind, attributes in kinds.items()
    ]
    return Recorded(Context.multi(*parts) if parts else Context(), flag, place.line)


def _truth(cell: str) -> bool:
    if cell.lower() not in ("true", "false"):
        raise ValueError(cell)
    return cell.lower() == "true"


_READS: Final[Mapping[str, Callable[[str], Any]]] = {
    "text": str,
    "int": int,
    "float": float,
    "bool": _truth,
    "json": json.loads,
}
