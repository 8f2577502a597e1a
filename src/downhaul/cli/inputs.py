"""What a person types or hands over: percentages, values, files, answers to questions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from downhaul.errors import DocumentError
from downhaul.flag import Flag, weight_of
from downhaul.provider import FlagSet

REASON: Final = click.option("--reason", default="", help="Why; kept in the history.")
YES: Final = click.option(
    "--yes", is_flag=True, help="Don't ask. Needed where there is no terminal to ask in."
)
_FORMATS: Final = {".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}


def percentage_of(text: str) -> float:
    """Read a percentage from 0 to 100, no finer than 0.001: ``12.5`` or ``12.5%``."""
    try:
        share = float(text.removesuffix("%").strip())
    except ValueError:
        message = f"{text!r} is no percentage; write a number from 0 to 100"
        raise click.BadParameter(message) from None
    try:
        weight_of(share)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return share


def read_value(text: str) -> Any:
    """Read a value as JSON where it is JSON (``5``, ``true``, ``["a"]``), else as a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_text(file: str) -> str:
    """Return what a file holds, or stdin for ``-``. Raises OSError, DocumentError for bytes."""
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        message = "it is no UTF-8 text"
        raise DocumentError(message, origin=origin_of(file), hint="save it as UTF-8") from error


def origin_of(file: str) -> str:
    """Return how messages name the file."""
    return "<stdin>" if file == "-" else file


def read_set(file: str, format_: str | None = None) -> FlagSet:
    """Read a document of flags, whose format is told by its name unless given.

    Raises DocumentError, UsageError.
    """
    from downhaul.documents import parse_document  # noqa: PLC0415  (pydantic)

    known = format_ or _FORMATS.get(Path(file).suffix.lower(), "json" if file == "-" else "")
    if not known:
        message = f"{file}: name it .json, .toml or .yaml, or say --format"
        raise click.UsageError(message)
    return parse_document(read_text(file), known, origin_of(file))


def read_flag(file: str, key: str | None) -> Flag:
    """Read the one flag of a document, or the named one of several. As :func:`read_set`."""
    found = read_set(file).flags
    if key is not None and key in found:
        return found[key]
    if key is not None or len(found) != 1:
        message = f"the document holds {', '.join(found) or 'no flags'}; name one of them"
        raise click.UsageError(message)
    return next(iter(found.values()))


def confirm(question: str, *, yes: bool) -> None:
    """Ask in a terminal; elsewhere ask for ``--yes``. Raises UsageError, Abort."""
    if yes:
        return
    if not sys.stdin.isatty():
        message = "there is no terminal to ask in: add --yes"
        raise click.UsageError(message)
    click.confirm(question, abort=True, err=True)
