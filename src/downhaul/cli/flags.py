"""``flags list|show|history|stale``: looking at flags."""

from __future__ import annotations

from typing import Any

import click

from downhaul.cli import render
from downhaul.cli.commands import command, each
from downhaul.cli.session import Session
from downhaul.control import Operator, StaleFlag
from downhaul.control.describe import exposure
from downhaul.encoding import flag_to_data
from downhaul.errors import DownhaulError
from downhaul.flag import Flag
from downhaul.overlay import KillRecord, KillRegister, Overlay
from downhaul.provider import FlagSet


@command("flags list", example="downhaul flags list --tag agents")
@click.option("--tag", "tags", multiple=True, help="Only flags with this tag (may be repeated).")
@click.option("--type", "type_", metavar="TYPE", help="Only flags of this type (release, ...).")
@click.option("--owner", help="Only flags of this owner.")
@click.option("--killed", is_flag=True, help="Only flags that are killed now.")
def list_flags(
    session: Session, tags: tuple[str, ...], type_: str | None, owner: str | None, killed: bool
) -> None:
    """List flags, and whom they serve what."""
    with session.operator() as operator:
        flags = sorted(operator.list().flags.values(), key=lambda flag: flag.key)
        overlay = _overlay(session, operator)
        found = [
            one
            for one in flags
            if set(each(tags)) <= set(one.tags)
            and type_ in (None, one.type.value)
            and owner in (None, one.owner)
            and (not killed or overlay.kill_of(one.key, one.tags) is not None)
        ]
        rows = [render.summary_data(one, overlay) for one in found]
        here = {"environment": operator.environment, "provider": operator.provider.name}
    if session.as_json:
        session.out.json({**here, "flags": rows})
        return
    if not rows:
        session.out.note("no flags; make one with: downhaul flags create KEY")
        return
    session.out.table(
        ["key", "kind", "serves", "tags", "owner", "version"],
        [
            [
                row["key"],
                row["kind"],
                "KILLED" if row["killed"] else row["exposure"],
                ",".join(row["tags"]),
                row["owner"],
                row["version"],
            ]
            for row in rows
        ],
    )


@command("flags show", example="downhaul flags show new_agent_version --format yaml")
@click.argument("key")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["json", "toml", "yaml"]),
    help="Print the flag's document alone.",
)
def show(session: Session, key: str, format_: str | None) -> None:
    """Show one flag whole: whom it serves what, its kill, and its document."""
    with session.operator() as operator:
        flag = operator.get(key)
        if format_ is not None and not session.as_json:
            from downhaul.documents import render_document  # noqa: PLC0415  (pydantic)

            session.out.line(render_document(FlagSet.of([flag]), format_).rstrip("\n"))
            return
        kill = _overlay(session, operator).kill_of(flag.key, flag.tags)
    if session.as_json:
        session.out.json(
            {
                "environment": operator.environment,
                "provider": operator.provider.name,
                "flag": flag_to_data(flag),
                "exposure": exposure(flag),
                "kill": render.kill_record_data(kill),
            }
        )
        return
    session.out.fields(_fields(flag, kill))


@command("flags history", example="downhaul flags history new_agent_version --limit 5")
@click.argument("key", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--before", type=int, metavar="ID", help="Only changes older than this one.")
def history(session: Session, key: str | None, limit: int, before: int | None) -> None:
    """Show who changed what, when, why, and how, newest first; of one flag or of all."""
    with session.operator() as operator:
        entries = operator.history(key, limit=limit, before=before)
    if session.as_json:
        session.out.json({"key": key, "changes": render.history_data(entries)})
        return
    if not entries:
        session.out.note(f'no changes of "{key}" are known' if key else "no changes are known")
    for line in render.history_lines(entries):
        session.out.line(line)


@command("flags stale", example="downhaul flags stale --days 90")
@click.option("--days", type=click.IntRange(0), default=30, show_default=True)
@click.option("--all", "all_", is_flag=True, help="Kill switches, permissions and such too.")
def stale(session: Session, days: int, all_: bool) -> None:
    """List flags that serve one variant to everybody and were not changed for long.

    They have done their work: take them out of the code, then delete them. When an application last
    asked for a flag isn't recorded yet, so look in the code before you delete one.
    """
    with session.operator() as operator:
        found = operator.stale(days=days, include_long_lived=all_)
    if session.as_json:
        flags = [_stale_data(one) for one in found]
        session.out.json({"days": days, "asked_known": False, "flags": flags})
        return
    if not found:
        session.out.note(f"no flag has stood still for {days} days")
        return
    session.out.table(
        ["key", "serves all", "type", "owner", "changed", "days", "asked"],
        [
            [
                one.key,
                one.variant or "the caller's default",
                one.type.value,
                one.owner,
                one.changed or "unknown",
                "unknown" if one.days is None else str(one.days),
                one.asked or "unknown",
            ]
            for one in found
        ],
    )
    session.out.note("when a flag was last asked for isn't recorded: look in the code first")


def _stale_data(one: StaleFlag) -> dict[str, Any]:
    return {
        "key": one.key,
        "on": one.on,
        "variant": one.variant,
        "type": one.type.value,
        "owner": one.owner,
        "changed": one.changed,
        "days": one.days,
        "asked": one.asked,
    }


def _overlay(session: Session, operator: Operator) -> Overlay:
    """Return the kills in force; where they can't be read, say so and go on."""
    if operator.control is None:
        return Overlay()
    try:
        return KillRegister().hear(operator.control.kills()).overlay()
    except DownhaulError as error:
        session.out.warning(f"the kills could not be read: {error}")
        return Overlay()


def _fields(flag: Flag, kill: KillRecord | None) -> list[tuple[str, str]]:
    fields = [("key", flag.key), ("kind", flag.kind.value), ("type", flag.type.value)]
    if kill is not None:
        fields.append(
            ("killed", f'{kill.scope}  since {kill.at}  by {kill.actor}  "{kill.reason}"')
        )
    off = "the caller's default" if flag.off_variant is None else flag.off_variant
    fields += [("serves", exposure(flag)), ("off", off)]
    fields += [
        (name, text)
        for name, text in (
            ("owner", flag.owner),
            ("tags", ", ".join(flag.tags)),
            ("about", flag.description),
            ("version", flag.version),
        )
        if text
    ]
    for target in flag.targets:
        keys = ", ".join(sorted(target.keys)[:10])
        more = f", … {len(target.keys)} in all" if len(target.keys) > 10 else ""  # noqa: PLR2004  (a line)
        fields.append((f"always {target.variant}", f"{keys}{more}"))
    return [*fields, ("document", _document(flag))]


def _document(flag: Flag) -> str:
    import json  # noqa: PLC0415  (beside its only use)

    return json.dumps(flag_to_data(flag), indent=2, ensure_ascii=False)
