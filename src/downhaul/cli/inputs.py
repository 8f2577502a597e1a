"""What a person types or hands over: percentages, values, files, answers to questions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from downhaul.cli.session import Session
from downhaul.errors import DocumentError, DownhaulError
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


def seconds_from(text: str, option: str) -> float:
    """Read a time such as ``2h`` or ``500ms``; an option's error names it."""
    from downhaul.spans import seconds_of  # noqa: PLC0415  (for who gives one only)

    try:
        return seconds_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


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


def read_set(file: str, format_: str | None = None, session: Session | None = None) -> FlagSet:
    """Read a document of flags, whose format is told by its name unless given.

    With a session, its flags may name what is in the store. Raises DocumentError, UsageError.
    """
    from downhaul.documents import parse_document  # noqa: PLC0415  (pydantic)

    known = format_ or _FORMATS.get(Path(file).suffix.lower(), "json" if file == "-" else "")
    if not known:
        message = f"{file}: name it .json, .toml or .yaml, or say --format"
        raise click.UsageError(message)
    text = read_text(file)
    try:
        return parse_document(text, known, origin_of(file))
    except DocumentError:
        there = FlagSet() if session is None else _in_store(session)
        if not (there.flags or there.segments):
            raise
    return parse_document(text, known, origin_of(file), there)


def _in_store(session: Session) -> FlagSet:
    try:
        with session.operator() as operator:
            return operator.list()
    except DownhaulError:
        return FlagSet()  # what is wrong with the document is the better message


def read_flag(session: Session, file: str, key: str | None) -> Flag:
    """Read the one flag of a document, or the named one of several. As :func:`read_set`."""
    found = read_set(file, session=session).flags
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
