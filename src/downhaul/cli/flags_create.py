"""``flags create``: a flag from options, or from a document."""

from __future__ import annotations

from typing import Any, Final

import click

from downhaul.backends.edits import with_targets
from downhaul.cli.commands import command, each
from downhaul.cli.inputs import REASON, percentage_of, read_flag, read_value
from downhaul.cli.report import written
from downhaul.cli.session import Session
from downhaul.flag import Flag, FlagKind, FlagType, Serve, percentage

_ON_OFF: Final = {"on": True, "off": False}


@command(
    "flags create",
    example='downhaul flags create new_agent_version --on --percent 0 --tag agents --reason "v2"',
)
@click.argument("key", required=False)
@click.option("--file", "file", metavar="FILE", help="The flag's document (- is stdin).")
@click.option(
    "--kind",
    type=click.Choice([one.value for one in FlagKind]),
    default="boolean",
    show_default=True,
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variant and its value, JSON where it can be (may be repeated).",
)
@click.option("--off-variant", metavar="NAME", help="What it serves when off or killed.")
@click.option("--serve", metavar="VARIANT", help="Which variant it gives when on.")
@click.option(
    "--percent",
    type=percentage_of,
    metavar="PERCENT",
    help="Give it to this percentage of all keys only.",
)
@click.option("--on/--off", "on_", default=False, help="On at once; it is off unless said.")
@click.option("--allow", multiple=True, metavar="KEY", help="A key that always gets it.")
@click.option("--deny", multiple=True, metavar="KEY", help="A key that never gets it.")
@click.option("--tag", "tags", multiple=True, help="A tag (may be repeated).")
@click.option("--owner", default="", help="Who looks after it.")
@click.option("--description", default="", help="What it is for.")
@click.option(
    "--type",
    "type_",
    type=click.Choice([one.value for one in FlagType]),
    default="release",
    show_default=True,
)
@REASON
def create(session: Session, key: str | None, file: str | None, reason: str, **given: Any) -> None:
    """Create a flag: boolean and off, unless said; or whatever a document says.

    A missing embedded store is created. PostgreSQL needs `downhaul db upgrade` once before.
    """
    if file is not None:
        flag = read_flag(session, file, key)
    elif key is None:
        message = "name the flag, or give its document with --file"
        raise click.UsageError(message)
    else:
        flag = _from_options(key, given)
    with session.operator(create=True) as operator:
        written(session, operator.create(flag, reason))


def _from_options(key: str, given: dict[str, Any]) -> Flag:
    variants = dict(_variant(text) for text in given["variants"])
    off_variant = given["off_variant"]
    if given["kind"] == "boolean" and not variants:
        variants, off_variant = dict(_ON_OFF), off_variant or "off"
    if not variants or off_variant is None:
        message = (
            f"a {given['kind']} flag needs its variants and its safe one: "
            "--variant NAME=VALUE ... --off-variant NAME"
        )
        raise click.UsageError(message)
    flag = Flag(
        key=key,
        kind=FlagKind(given["kind"]),
        variants=variants,
        off_variant=off_variant,
        default=_default(given, variants, off_variant),
        on=given["on_"],
        tags=tuple(each(given["tags"])),
        owner=given["owner"],
        description=given["description"],
        type=FlagType(given["type_"]),
    )
    allow, deny = each(given["allow"]), each(given["deny"])
    if allow:
        flag = with_targets(flag, _given(given, variants, off_variant), allow)
    return with_targets(flag, off_variant, deny) if deny else flag


def _default(given: dict[str, Any], variants: dict[str, Any], off_variant: str) -> Serve:
    if given["percent"] is not None:
        chosen = _given(given, variants, off_variant)
        return percentage(chosen, given["percent"], rest=off_variant)
    if given["serve"] is None and len(variants) != 2:  # noqa: PLR2004  (the off variant and another)
        return off_variant
    return _given(given, variants, off_variant)


def _given(given: dict[str, Any], variants: dict[str, Any], off_variant: str) -> str:
    """Return the variant that the flag gives, where it is named or there is but one."""
    if given["serve"] is not None:
        return str(given["serve"])
    others = [name for name in variants if name != off_variant]
    if len(others) != 1:
        message = f"which variant does it give? Name one with --serve: {', '.join(others)}"
        raise click.UsageError(message)
    return others[0]


def _variant(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        message = f"--variant {text!r}: write NAME=VALUE"
        raise click.UsageError(message)
    return name, read_value(value)
