"""``eval``: asking a flag as an application would."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from downhaul.cli.commands import command
from downhaul.cli.inputs import read_value
from downhaul.cli.output import as_json
from downhaul.cli.session import Session
from downhaul.context import as_context
from downhaul.errors import FlagNotFound, InvalidContext, Unreachable
from downhaul.flag import TARGETING_KEY
from downhaul.result import ErrorCode, Result

_KEYS: Final = frozenset({TARGETING_KEY, "targeting_key"})


@command(
    "eval",
    example="downhaul eval new_agent_version -c targetingKey=u1 -c plan=pro --explain",
)
@click.argument("key")
@click.option(
    "-c",
    "--context",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="An attribute, or targetingKey (may be repeated). Values are JSON where they can be.",
)
@click.option("--context-json", "text", metavar="JSON", help="The whole context as a JSON object.")
@click.option("--default", metavar="VALUE", help="What the caller would fall back to.")
@click.option("--explain", is_flag=True, help="Show what was looked at on the way.")
@click.option("--wait", type=float, default=5.0, show_default=True, help="Seconds for the flags.")
def evaluate(
    session: Session,
    key: str,
    pairs: tuple[str, ...],
    text: str | None,
    default: str | None,
    explain: bool,
    wait: float,
) -> None:
    """Ask a flag for one context, obeying all that an application obeys, kills included."""
    context = as_context({**_whole(text), **dict(_pair(one) for one in pairs)})
    fallback = None if default is None else read_value(default)
    from downhaul.client import Flags  # noqa: PLC0415  (the evaluator)

    with Flags.connect(session.settings(), ready_within=wait) as flags:
        if explain:
            explanation = flags.explain(key, context, fallback)
            result, steps = explanation.result, explanation.steps
        else:
            result, steps = flags.evaluate(key, context, fallback), ()
        status = flags.status()
    data = {
        "flag": key,
        "context": context.as_mapping(),
        **_result_data(result),
        "provider_state": status.provider.state.value,
        "steps": [_step_data(one) for one in steps] if explain else None,
    }
    _raise_for(result, key, fallback=fallback)
    if session.as_json:
        session.out.json(data)
        return
    _show(session, result, data["steps"] or [])


def _show(session: Session, result: Result, steps: list[dict[str, Any]]) -> None:
    head = [
        _json(result.value),
        f"variant={result.variant or '-'}",
        f"reason={result.reason}",
        f"authoritative={'yes' if result.authoritative else 'no'}",
    ]
    if result.error_code is not None:
        head.append(f"error={result.error_code}")
    if result.flag_version:
        head.append(f"version={result.flag_version}")
    if result.provider:
        head.append(f"provider={result.provider}")
    session.out.line("  ".join(head))
    kill = result.metadata.get("kill")
    if kill:
        session.out.line(f"  killed: {_json(kill)}")
    if result.error_message:
        session.out.note(f"  {result.error_message}")
    for step in steps:
        session.out.line(
            f"  {'yes' if step['matched'] else 'no ':3}  {step['what']}: {step['why']}"
        )
        for part in step["parts"]:
            session.out.line(
                f"         {'yes' if part['matched'] else 'no ':3}  {part['what']}: {part['why']}"
            )


def _raise_for(result: Result, key: str, *, fallback: Any) -> None:
    """Fail where nothing could be asked, unless a default says what to do then."""
    if fallback is not None:
        return
    if result.error_code is ErrorCode.FLAG_NOT_FOUND:
        raise FlagNotFound(
            result.error_message or f'there is no flag "{key}"',
            hint="flags list shows what there is; --default VALUE answers as an application would",
            flag=key,
        )
    if result.error_code in (ErrorCode.PROVIDER_NOT_READY, ErrorCode.PROVIDER_FATAL):
        raise Unreachable(
            result.error_message or "the backend did not answer",
            hint="downhaul doctor looks further",
            flag=key,
        )


def _result_data(result: Result) -> dict[str, Any]:
    return {
        "value": result.value,
        "variant": result.variant,
        "reason": result.reason.value,
        "error_code": None if result.error_code is None else result.error_code.value,
        "error_message": result.error_message,
        "flag_version": result.flag_version,
        "provider": result.provider,
        "authoritative": result.authoritative,
        "metadata": dict(result.metadata),
    }


def _step_data(step: Any) -> dict[str, Any]:
    return {
        "what": step.what,
        "matched": step.matched,
        "why": step.why,
        "parts": [_step_data(one) for one in step.parts],
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=as_json)


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        message = f"--context {text!r}: write NAME=VALUE"
        raise click.UsageError(message)
    # A targeting key is a string, whatever it looks like.
    return name, value if name in _KEYS else read_value(value)


def _whole(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        message = f"--context-json is no JSON: {error}"
        raise click.UsageError(message) from error
    if not isinstance(found, dict):
        message = "a context is a JSON object"
        raise InvalidContext(message, hint='write {"targetingKey": "u1", "plan": "pro"}')
    return found
