"""``migrate verify``: proof that two backends give everybody the same answer."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Final

import click

from downhaul.cli.commands import command
from downhaul.cli.exits import CheckFailed
from downhaul.cli.inputs import REASON
from downhaul.cli.migrate import SIDES
from downhaul.cli.session import Session
from downhaul.errors import ConfigError, Unreachable
from downhaul.migrate.proving import note_in_step, prove
from downhaul.migrate.verify import (
    HEADINGS,
    Expectation,
    Options,
    Report,
    junit,
    report_data,
    rows,
)
from downhaul.store.diskfile import READABLE, replace_file

_NAMED: Final = 10  # keys that a line names
_KEYLESS: Final = Expectation(
    "*",
    "a vendor's split by users is no answer here for who has no targeting key",
    date.max,
    keyless=True,
)


@command(
    "migrate verify",
    example="downhaul migrate verify --from db --to launchdarkly --traffic users.csv",
)
@SIDES[0]
@SIDES[1]
@click.argument("keys", nargs=-1, metavar="[FLAG]...")
@click.option(
    "--traffic",
    multiple=True,
    metavar="FILE",
    help="Ask about recorded contexts too: CSV or JSONL.",
)
@click.option(
    "--min-parity",
    type=click.FloatRange(0, 100),
    default=100.0,
    show_default=True,
    help="Percent of compared cases that must agree.",
)
@click.option(
    "--most-errors",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Percent of cases that may fail on a side.",
)
@click.option(
    "--expect",
    multiple=True,
    metavar="PATTERN=REASON@DATE",
    help="These flags may differ until a day, such as 'beta-*=segments are late@2026-12-31'.",
)
@click.option(
    "--strict-keyless", is_flag=True, help="Hold contexts without a targeting key to it too."
)
@click.option("--show-attributes", is_flag=True, help="Put the values of attributes into examples.")
@click.option("--junit", "junit_file", metavar="FILE", help="Write a report for CI there.")
@click.option("-o", "--out", metavar="FILE", help="Write the whole report there, as JSON.")
@click.option("--no-note", is_flag=True, help="Don't write down which flags are in step.")
@REASON
def verify(  # noqa: PLR0913, PLR0917  (what there is to say)
    session: Session,
    source: str,
    target: str,
    keys: tuple[str, ...],
    traffic: tuple[str, ...],
    min_parity: float,
    most_errors: float,
    expect: tuple[str, ...],
    strict_keyless: bool,
    show_attributes: bool,
    junit_file: str | None,
    out: str | None,
    no_note: bool,
    reason: str,
) -> None:
    """Ask both sides the same questions, made of every rule, and say where they differ.

    Flags that agree are noted as in step where they are on their way.
    """
    options = Options(
        threshold=min_parity,
        most_errors=most_errors,
        expected=(*map(_expectation, expect), *(() if strict_keyless else (_KEYLESS,))),
        show_attributes=show_attributes,
    )
    settings = session.settings()
    report = prove(
        settings,
        source,
        target,
        keys=keys,
        traffic=[Path(one) for one in traffic],
        options=options,
    )
    data = report_data(report)
    if out is not None:
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
        replace_file(Path(out), text.encode(), READABLE)
    if junit_file is not None:
        replace_file(Path(junit_file), junit(report).encode(), READABLE)
    if session.as_json:
        session.out.json({"report": data})
    else:
        session.out.table([one.lower() for one in HEADINGS], rows(report))
        for key, where in ((report.only_old, source), (report.only_new, target)):
            if key:
                session.out.note(f"only at {where}: {', '.join(key[:_NAMED])}")
        session.out.note(f"{report.cases} cases, {report.per_second:.0f} a second on both sides")
    if not no_note:
        _note(session, source, target, report, reason)
    if not report.passed:
        raise CheckFailed("; ".join(report.failures))


def _note(session: Session, source: str, target: str, report: Report, reason: str) -> None:
    try:
        noted = note_in_step(
            session.settings(), source, target, report, actor=session.actor, reason=reason
        )
    except (ConfigError, Unreachable) as error:
        session.out.note(f"who is in step is written down nowhere: {error}")
        return
    if noted and not session.as_json:
        session.out.note(f"{len(noted)} in step")


def _expectation(text: str) -> Expectation:
    """Read ``PATTERN=REASON@DATE``."""
    pattern, _, rest = text.partition("=")
    why, _, until = rest.rpartition("@")
    try:
        return Expectation(pattern, why, date.fromisoformat(until))
    except ValueError:
        message = f"{text!r} is not PATTERN=REASON@DATE"
        raise click.BadParameter(message, param_hint="--expect") from None
