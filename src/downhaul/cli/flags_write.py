"""``flags set|on|off|percent|target|restore|delete``: changing one flag."""

from __future__ import annotations

from typing import Any, Final

import click

from downhaul.cli.commands import command, each
from downhaul.cli.inputs import REASON, YES, confirm, percentage_of, read_flag, read_text
from downhaul.cli.report import written
from downhaul.cli.session import Session
from downhaul.flag import Flag, FlagType

_TYPES: Final = click.Choice([one.value for one in FlagType])


@command(
    "flags set", example="downhaul flags set new_agent_version --owner team-agents --tag agents"
)
@click.argument("key", required=False)
@click.option("--file", "file", metavar="FILE", help="The whole flag's document (- is stdin).")
@click.option("--owner", help="Who looks after it.")
@click.option("--description", help="What it is for.")
@click.option("--type", "type_", type=_TYPES)
@click.option("--tag", "tags", multiple=True, help="The tags, all of them (may be repeated).")
@click.option("--add-tag", "add_tags", multiple=True, help="A tag more.")
@click.option("--remove-tag", "remove_tags", multiple=True, help="A tag less.")
@click.option("--off-variant", metavar="NAME", help="What it serves when off or killed.")
@click.option(
    "--serve", metavar="VARIANT", help="What it serves to everybody that no rule matches."
)
@REASON
def set_fields(
    session: Session, key: str | None, file: str | None, reason: str, **given: Any
) -> None:
    """Change fields of a flag, or put a whole document in its place.

    A document with a `version` is written only if the flag still stands at it (exit code 4 if not).
    """
    if file is not None:
        flag = read_flag(session, file, key)
        with session.operator() as operator:
            written(session, operator.put(flag, reason))
        return
    if key is None:
        message = "name the flag, or give its document with --file"
        raise click.UsageError(message)
    with session.operator() as operator:
        before = operator.get(key)
        fields = _fields(before, given)
        if not fields:
            message = "say what to set: --owner, --tag, --serve, ... or --file"
            raise click.UsageError(message)
        written(session, operator.set(key, reason, **fields))


@command("flags on", example='downhaul flags on new_agent_version --reason "start at 1 %"')
@click.argument("key")
@REASON
def on(session: Session, key: str, reason: str) -> None:
    """Turn a flag on; nothing else of it changes."""
    with session.operator() as operator:
        written(session, operator.on(key, reason))


@command("flags off", example="downhaul flags off new_agent_version")
@click.argument("key")
@REASON
def off(session: Session, key: str, reason: str) -> None:
    """Turn a flag off: everybody gets its off variant. Nothing else of it changes."""
    with session.operator() as operator:
        written(session, operator.off(key, reason))


@command("flags percent", example="downhaul flags percent new_agent_version 5")
@click.argument("key")
@click.argument("share", type=percentage_of, metavar="PERCENT")
@click.option("--variant", help="Which one; `on` of a boolean flag, else the only one there is.")
@REASON
def percent(session: Session, key: str, share: float, variant: str | None, reason: str) -> None:
    """Serve a flag to a percentage of all targeting keys. Raising only adds users."""
    with session.operator() as operator:
        written(session, operator.percent(key, share, variant, reason))


@command(
    "flags target", example="downhaul flags target new_agent_version --add user-1 --add user-2"
)
@click.argument("key")
@click.option("--variant", help="What they always get; `on` of a boolean flag unless said.")
@click.option("--add", multiple=True, metavar="KEY", help="A targeting key more (commas do too).")
@click.option("--remove", multiple=True, metavar="KEY", help="A targeting key less.")
@click.option(
    "--deny", multiple=True, metavar="KEY", help="A key that always gets the off variant."
)
@click.option("--keys", metavar="FILE", help="Exactly these, one a line (- is stdin).")
@click.option("--clear", is_flag=True, help="None any more.")
@REASON
def target(session: Session, key: str, variant: str | None, reason: str, **given: Any) -> None:
    """Set which targeting keys always get one variant, or with --deny never get the feature."""
    add, remove, deny = (each(given[name]) for name in ("add", "remove", "deny"))
    whole = given["keys"] is not None or given["clear"]
    kinds = sum([bool(add or remove), bool(deny), whole])
    if kinds != 1:
        message = "say one of: --add and --remove, or --deny, or --keys FILE, or --clear"
        raise click.UsageError(message)
    with session.operator() as operator:
        if deny:
            if variant is not None:
                message = "--deny means the off variant; leave --variant out"
                raise click.UsageError(message)
            written(session, operator.deny(key, deny, reason))
            return
        keys = None
        if whole:
            text = "" if given["clear"] else read_text(given["keys"])
            keys = [line.strip() for line in text.splitlines() if line.strip()]
        written(
            session,
            operator.target(key, variant, add=add, remove=remove, keys=keys, reason=reason),
        )


@command("flags restore", example="downhaul flags restore new_agent_version --to 4")
@click.argument("key")
@click.option(
    "--to", "version", required=True, metavar="VERSION", help="As `flags history` names it."
)
@REASON
def restore(session: Session, key: str, version: str, reason: str) -> None:
    """Bring an earlier version of a flag back, as a new version. A deleted flag comes back too."""
    with session.operator() as operator:
        written(session, operator.restore(key, version, reason))


@command("flags delete", example='downhaul flags delete old_agent_version --yes --reason "shipped"')
@click.argument("key")
@YES
@REASON
def delete(session: Session, key: str, yes: bool, reason: str) -> None:
    """Delete a flag: applications get their own default from then on. History keeps it."""
    with session.operator() as operator:
        operator.get(key)
        confirm(f"delete {key} from {operator.provider.name} ({operator.environment})?", yes=yes)
        written(session, operator.delete(key, reason))


def _fields(before: Flag, given: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: given[name]
        for name in ("owner", "description", "off_variant")
        if given[name] is not None
    }
    if given["serve"] is not None:
        fields["default"] = given["serve"]
    if given["type_"] is not None:
        fields["type"] = FlagType(given["type_"])
    tags = each(given["tags"]) or list(before.tags)
    tags = [
        one for one in [*tags, *each(given["add_tags"])] if one not in each(given["remove_tags"])
    ]
    if given["tags"] or given["add_tags"] or given["remove_tags"]:
        fields["tags"] = tuple(dict.fromkeys(tags))
    return fields
