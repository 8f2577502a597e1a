"""``rollout templates|new``: plans out of templates that a team shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from downhaul.cli.commands import command
from downhaul.cli.inputs import read_value
from downhaul.cli.session import Session
from downhaul.errors import Refused

if TYPE_CHECKING:
    from downhaul.rollout.plan import Plan
    from downhaul.rollout.results import Advice
    from downhaul.rollout.templating import Argument, Template

_DEFAULT = "default"  # the origin of a setting that nobody wrote


@command("rollout templates", example="downhaul rollout templates")
def list_templates(session: Session) -> None:
    """List the templates of plans: those that are built in, and those of the configured folder."""
    found = templates_of(session)
    if session.as_json:
        session.out.json({"templates": [_data(one) for one in found.values()]})
        return
    session.out.table(
        ["name", "version", "what it is", "arguments", "from"],
        [
            [
                one.name,
                str(one.version),
                one.description,
                ", ".join(_shown(each) for each in one.arguments) or "none",
                one.origin,
            ]
            for one in found.values()
        ],
    )


@command(
    "rollout new",
    example="downhaul rollout new new_agent_version --template guide --arg bake=12h > plan.toml",
)
@click.argument("flag", metavar="FLAG")
@click.option("--template", "name", required=True, metavar="NAME", help="The template.")
@click.option(
    "--arg",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument, as JSON where it is JSON; may be given several times.",
)
def new(session: Session, flag: str, name: str, given: tuple[str, ...]) -> None:
    """Print a plan that a template makes for a flag. Nothing is started.

    What is printed is a file like any other: read it, change it, keep it beside the code.
    """
    from downhaul.control.desk import did_you_mean  # noqa: PLC0415  (for an error only)
    from downhaul.rollout.templating import plan_text  # noqa: PLC0415  (pydantic)

    found = templates_of(session)
    if name not in found:
        raise Refused(
            f'no template "{name}" is known here',
            hint=did_you_mean(name, found) or f"known: {', '.join(found)}",
            flag=flag,
        )
    text = plan_text(found[name], flag, _arguments(given))
    if session.as_json:
        session.out.json({"flag": flag, "template": found[name].title, "text": text})
    else:
        session.out.line(text.rstrip("\n"))


def templates_of(session: Session) -> Mapping[str, Template]:
    """Return the templates that this run knows. Raises ConfigError, DocumentError, OSError."""
    from downhaul.rollout.templating import templates  # noqa: PLC0415  (pydantic)

    settings = session.settings()
    written = settings.origins.get("rollout.templates", _DEFAULT) != _DEFAULT
    return templates(settings.rollout.templates, needed=written)


def advice_on(session: Session, plan: Plan) -> tuple[Advice, ...]:
    """Return what is to be said about a plan's template; nothing for a plan that has none."""
    if not plan.template:
        return ()
    from downhaul.rollout.templating import template_advice  # noqa: PLC0415  (pydantic)

    return tuple(template_advice(plan, templates_of(session)))


def _arguments(given: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            message = f"{one!r} is no argument: write name=value"
            raise click.BadParameter(message, param_hint="--arg")
        found[name] = read_value(value)
    return found


def _shown(argument: Argument) -> str:
    if argument.default is None:
        return f"{argument.name} (needed)"
    return f"{argument.name}={argument.default}"


def _data(template: Template) -> dict[str, Any]:
    return {
        "name": template.name,
        "version": template.version,
        "description": template.description,
        "origin": template.origin,
        "arguments": [
            {"name": one.name, "default": one.default, "description": one.description}
            for one in template.arguments
        ],
    }
