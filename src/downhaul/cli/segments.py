"""``segments list|show|set|delete``: named audiences."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from downhaul.cli import render
from downhaul.cli.commands import command, each
from downhaul.cli.inputs import REASON, YES, confirm, read_set
from downhaul.cli.report import written
from downhaul.cli.session import Session
from downhaul.encoding import segment_to_data
from downhaul.flag import USER, Keys, Segment


@command("segments list", example="downhaul segments list")
def list_segments(session: Session) -> None:
    """List segments, and how many keys and rules each has."""
    with session.operator() as operator:
        found = sorted(operator.list().segments.values(), key=lambda one: one.key)
        environment, provider = operator.environment, operator.provider.name
    if session.as_json:
        session.out.json(
            {
                "environment": environment,
                "provider": provider,
                "segments": [render.segment_data(one) for one in found],
            }
        )
        return
    if not found:
        session.out.note("no segments; make one with: downhaul segments set KEY --include user-1")
        return
    session.out.table(
        ["key", "included", "excluded", "rules", "about", "version"],
        [
            [
                one.key,
                str(_count(one.included)),
                str(_count(one.excluded)),
                str(len(one.rules)),
                one.description,
                one.version,
            ]
            for one in found
        ],
    )


@command("segments show", example="downhaul segments show beta-testers")
@click.argument("key")
def show(session: Session, key: str) -> None:
    """Show one segment whole."""
    with session.operator() as operator:
        segment = operator.get_segment(key)
    if session.as_json:
        session.out.json({"segment": segment_to_data(segment)})
        return
    session.out.line(json.dumps(segment_to_data(segment), indent=2, ensure_ascii=False))


@command("segments set", example="downhaul segments set beta-testers --include user-1,user-2")
@click.argument("key", required=False)
@click.option("--file", "file", metavar="FILE", help="A document with the segment (- is stdin).")
@click.option("--include", multiple=True, metavar="KEY", help="A targeting key that belongs to it.")
@click.option("--exclude", multiple=True, metavar="KEY", help="A targeting key that doesn't.")
@click.option("--drop", multiple=True, metavar="KEY", help="A key to take out of both lists.")
@click.option("--description", help="What it is for.")
@REASON
def set_segment(
    session: Session, key: str | None, file: str | None, reason: str, **given: Any
) -> None:
    """Create or change a segment: its keys by options, its rules by a document."""
    if file is None and key is None:
        message = "name the segment, or give its document with --file"
        raise click.UsageError(message)
    with session.operator(create=True) as operator:
        if file is not None:
            segment = _from_document(session, file, key)
        else:
            found = operator.list().segments.get(str(key)) or Segment(str(key))
            segment = _edited(found, given)
        written(session, operator.put_segment(segment, reason))


@command("segments delete", example="downhaul segments delete beta-testers --yes")
@click.argument("key")
@YES
@REASON
def delete(session: Session, key: str, yes: bool, reason: str) -> None:
    """Delete a segment. It is refused while a flag or another segment names it."""
    with session.operator() as operator:
        operator.get_segment(key)
        confirm(f"delete segment {key} ({operator.environment})?", yes=yes)
        written(session, operator.delete_segment(key, reason))


def _from_document(session: Session, file: str, key: str | None) -> Segment:
    found = read_set(file, session=session).segments
    if key is not None and key in found:
        return found[key]
    if key is not None or len(found) != 1:
        message = (
            f"the document holds the segments {', '.join(found) or '(none)'}; name one of them"
        )
        raise click.UsageError(message)
    return next(iter(found.values()))


def _edited(segment: Segment, given: dict[str, Any]) -> Segment:
    include, exclude, drop = (set(each(given[name])) for name in ("include", "exclude", "drop"))
    changed = dataclasses.replace(
        segment,
        included=_with(segment.included, include, exclude | drop),
        excluded=_with(segment.excluded, exclude, include | drop),
    )
    if given["description"] is not None:
        changed = dataclasses.replace(changed, description=given["description"])
    return changed


def _with(lists: tuple[Keys, ...], add: set[str], remove: set[str]) -> tuple[Keys, ...]:
    """Return the lists with keys of kind ``user`` added and removed; other kinds stay."""
    mine = frozenset().union(*(one.keys for one in lists if one.context_kind == USER))
    wanted = (mine | add) - remove
    others = tuple(one for one in lists if one.context_kind != USER)
    return (Keys(wanted), *others) if wanted else others


def _count(lists: tuple[Keys, ...]) -> int:
    return sum(len(one.keys) for one in lists)
