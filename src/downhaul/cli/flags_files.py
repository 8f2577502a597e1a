"""``flags import|export|convert``: many flags at once, from files and into them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Final

import click

from downhaul.cli import render
from downhaul.cli.commands import command
from downhaul.cli.exits import exit_of
from downhaul.cli.inputs import REASON, origin_of, read_set, read_text
from downhaul.cli.session import Session
from downhaul.control import ImportResult, OnConflict
from downhaul.errors import DocumentError, Refused
from downhaul.ledger import Fidelity, Ledger, Translation
from downhaul.provider import FlagSet

_OURS: Final = "downhaul"
_FORMAT: Final = click.Choice(["json", "toml", "yaml"])
_TARGET: Final = click.option(
    "--to",
    "target",
    default=_OURS,
    show_default=True,
    metavar="NAME",
    help="Whose document to print: downhaul, or flagd (JSON only).",
)
_STRICT: Final = click.option(
    "--strict", is_flag=True, help="Refuse a document that isn't carried over in full."
)
_SOURCE: Final = click.option(
    "--from",
    "source",
    default=_OURS,
    show_default=True,
    metavar="NAME",
    help="Whose document it is: downhaul, unleash, ... (see `providers list`).",
)


@command(
    "flags import",
    example="downhaul flags import --from unleash features.json --on-conflict skip",
)
@click.argument("file")
@_SOURCE
@click.option("--format", "format_", type=_FORMAT, help="Of our own document; else by its name.")
@click.option(
    "--on-conflict",
    type=click.Choice([one.value for one in OnConflict]),
    default="fail",
    show_default=True,
    help="What to do with a flag that exists and differs.",
)
@_STRICT
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be written.")
@REASON
def import_file(
    session: Session,
    file: str,
    source: str,
    format_: str | None,
    on_conflict: str,
    strict: bool,
    dry_run: bool,
    reason: str,
) -> None:
    """Write the flags and segments of FILE (- is stdin). All are checked before any is written.

    Whatever a foreign document says that could not be carried over is listed.
    """
    flag_set, ledger = _read(file, source, format_, session)
    if not session.as_json:
        _show_ledger(session, ledger)
    _refuse_lossy(ledger, file, strict=strict)
    with (
        session.operator(create=not dry_run) as operator,
        session.out.progress("importing") as progress,
    ):
        result = operator.import_flags(
            flag_set,
            on_conflict=OnConflict(on_conflict),
            reason=reason or f"imported from {Path(file).name if file != '-' else 'stdin'}",
            dry_run=dry_run,
            progress=progress,
        )
    if session.as_json:
        session.out.json({**render.import_data(result), "ledger": _ledger_data(ledger)})
    else:
        _show(session, result)
    if result.error is not None:
        if not session.as_json:
            session.out.error(str(result.error))
            session.out.note("run it again to go on from here: what is written counts as the same")
        raise click.exceptions.Exit(int(exit_of(result.error)))


@command("flags export", example="downhaul flags export --format toml > flags.toml")
@click.option("--format", "format_", type=_FORMAT, default="json", show_default=True)
@_TARGET
@_STRICT
def export(session: Session, format_: str, target: str, strict: bool) -> None:
    """Print all flags and segments as one document, which `flags import` reads back.

    What somebody else's document can't say is listed on stderr, and left out.
    """
    with session.operator() as operator:
        flag_set = operator.list()
    _write(session, flag_set, format_, target, strict=strict)


@command(
    "flags convert", example="downhaul flags convert --from unleash features.json > flags.json"
)
@click.argument("file")
@_SOURCE
@click.option("--read", "read_format", type=_FORMAT, help="The format of our own document.")
@click.option("--format", "format_", type=_FORMAT, default="json", show_default=True)
@_TARGET
@_STRICT
def convert(
    session: Session,
    file: str,
    source: str,
    read_format: str | None,
    format_: str,
    target: str,
    strict: bool,
) -> None:
    """Print the flags of FILE (- is stdin) as our document; nothing is written anywhere.

    What could not be carried over is listed on stderr.
    """
    flag_set, ledger = _read(file, source, read_format)
    if not session.as_json:
        _show_ledger(session, ledger)
    _refuse_lossy(ledger, file, strict=strict)
    _write(session, flag_set, format_, target, ledger, strict=strict)


def _read(
    file: str, source: str, format_: str | None, session: Session | None = None
) -> tuple[FlagSet, Ledger]:
    """Read our document, or somebody's through the translator of the plugin that knows it."""
    if source == _OURS:
        return read_set(file, format_, session), Ledger()
    from downhaul.plugins import load_translator  # noqa: PLC0415  (pluggy)

    try:
        translated: Translation = load_translator(source).flags_from(read_text(file))
    except DocumentError as error:
        error.origin = error.origin or origin_of(file)
        raise
    return translated.flag_set(), translated.ledger


def _write(
    session: Session,
    flag_set: FlagSet,
    format_: str,
    target: str,
    before: Ledger = Ledger(),  # noqa: B008  (frozen)
    *,
    strict: bool,
) -> None:
    """Print our document, or somebody's through the translator of the plugin that knows it.

    ``before`` is what became of the flags until now.
    """
    if target == _OURS:
        _print_document(session, flag_set, format_, before)
        return
    if format_ != "json":
        raise click.UsageError(f"a document for {target} is JSON: leave --format out")
    from downhaul.plugins import load_writer  # noqa: PLC0415  (pluggy)

    exported = load_writer(target)(flag_set)
    if not session.as_json:
        _show_ledger(session, exported.ledger)
        for entry in exported.ledger:
            if entry.fidelity is Fidelity.FULL and entry.reason and not entry.flag:
                session.out.note(f"  {entry.path}  {entry.reason}")
    _refuse_lossy(exported.ledger, target, strict=strict)
    if session.as_json:
        ledger = _ledger_data(before) + _ledger_data(exported.ledger)
        session.out.json({"document": exported.document, "ledger": ledger})
        return
    session.out.line(json.dumps(exported.document, indent=2, ensure_ascii=False))


def _print_document(session: Session, flag_set: FlagSet, format_: str, ledger: Ledger) -> None:
    documents = importlib.import_module("downhaul.documents")
    if session.as_json:
        document = json.loads(documents.render_document(flag_set, "json"))
        session.out.json({"document": document, "ledger": _ledger_data(ledger)})
        return
    session.out.line(documents.render_document(flag_set, format_).rstrip("\n"))


def _refuse_lossy(ledger: Ledger, file: str, *, strict: bool) -> None:
    if strict and ledger.lossy:
        message = f"{file}: {len(ledger.lossy)} parts of it can't be carried over in full"
        raise Refused(message, hint="they are listed above; without --strict it goes on")


def _show_ledger(session: Session, ledger: Ledger) -> None:
    """Say on stderr what was not carried in full; what nothing here depends on comes last."""
    if ledger.lossy:
        session.out.warning(f"{len(ledger.lossy)} parts are not carried over in full:")
    skipped = [entry for entry in ledger if entry.fidelity is Fidelity.SKIPPED]
    for entry in (*ledger.lossy, *skipped):
        where = f"{entry.flag}  {entry.path}".strip()
        session.out.note(f"  {entry.fidelity.value.upper():7}  {where}  {entry.reason}")


def _ledger_data(ledger: Ledger) -> list[dict[str, Any]]:
    return [entry.as_mapping() for entry in ledger]


def _show(session: Session, result: ImportResult) -> None:
    session.out.table(
        ["what", "key", "action", "version"],
        [[row.entity, row.key, _action(row, result), row.version] for row in result.rows],
    )
    counts = ", ".join(
        f"{result.count(action)} {word}"
        for action, word in (
            ("create", "created"),
            ("replace", "replaced"),
            ("same", "the same already"),
            ("skip", "skipped"),
        )
        if result.count(action)
    )
    session.out.note(f"{'would be: ' if result.dry_run else ''}{counts or 'nothing to import'}")


def _action(row: Any, result: ImportResult) -> str:
    if row.action in ("same", "skip"):
        return str(row.action)
    if result.dry_run:
        return f"would {row.action}"
    if row.error is not None:
        return "failed"
    return f"{row.action}d" if row.written else "not written"
