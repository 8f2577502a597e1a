"""From an event to what a person reads: a title, plain text and markdown, with a link."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from downhaul.announcements.severity import Severity, severity_of
from downhaul.announcements.templates import (
    Template,
    filled,
    filled_link,
    filled_markdown,
)
from downhaul.announcements.words import TEMPLATES, UNKNOWN
from downhaul.control.alerts import AlertEvent
from downhaul.overlay import Scope, ScopeKind

_NONE: Final[Mapping[str, Template]] = MappingProxyType({})
_OF_SCOPES: Final = frozenset({"killed", "revived"})
"""Events about a scope: a flag, a tag, a switch or everything; all others are about a flag."""

_EVERYWHERE: Final = "*"


@dataclass(frozen=True, slots=True)
class Message:
    """An event as people read it. ``link`` and ``command`` are empty where there is none."""

    severity: Severity
    title: str
    text: str
    markdown: str
    link: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Wording:
    """How events become messages: the configured link, and templates over those of the house."""

    link: str = ""
    templates: Mapping[str, Template] = field(default_factory=lambda: _NONE)

    def of(self, event: AlertEvent) -> Message:
        """Return the message of an event. Never fails: what an event lacks is left out."""
        template = TEMPLATES.get(event.what, UNKNOWN)
        if event.what in self.templates:
            template = self.templates[event.what].over(template)
        values = values_of(event)
        values["link"] = filled_link(self.link, {**values, "environment": event.environment})
        values["command"] = _command(template, event, values)
        title = " ".join(filled(template.title or "", values).split())
        return Message(
            severity_of(event.what, event.after),
            title or f"{values['event']}: {event.subject}",
            filled(template.text or "", values) or title,
            filled_markdown(template.markdown or "", values) or title,
            values["link"],
            values["command"],
        )


def values_of(event: AlertEvent) -> dict[str, str]:
    """Return the fields of an event as text; what it does not have is empty."""
    detail = event.after
    return {
        "event": event.what.replace("_", " "),
        "severity": severity_of(event.what, detail).value,
        "flag": event.subject,
        "environment": _environment(event),
        "actor": event.actor,
        "reason": event.reason,
        "at": event.at,
        "id": event.id,
        "rollout": _text(detail.get("rollout")),
        "variant": _text(detail.get("variant")),
        "phase": _text(detail.get("phase")).replace("_", " "),
        "step": _step(detail.get("step")),
        "percent": _text(detail.get("percent")),
        "because": _text(detail.get("because")).replace("_", " "),
        "changed": _text(detail.get("changed")),
        "provider": _text(detail.get("provider")),
        "seconds": _whole(detail.get("since", detail.get("after"))),
        "error": _text(detail.get("error")),
    }


def _environment(event: AlertEvent) -> str:
    if event.environment != _EVERYWHERE:
        return event.environment
    host = event.after.get("host")
    return f"all environments on {host}" if host else "all environments"


def _command(template: Template, event: AlertEvent, values: Mapping[str, str]) -> str:
    words = {
        **values,
        "flag": _scope_words(event) if event.what in _OF_SCOPES else _word(event.subject),
        "rollout": _word(values["rollout"]),
        "where": _where(event),
    }
    return " ".join(filled(template.command or "", words).split())


def _scope_words(event: AlertEvent) -> str:
    """Return the scope as ``kill`` and ``revive`` take it."""
    try:
        scope = Scope.parse(event.subject)
    except ValueError:
        return _word(event.subject)
    match scope.kind:
        case ScopeKind.EVERYTHING:
            return "--all"
        case ScopeKind.TAG | ScopeKind.SWITCH:
            return f"--{scope.kind} {_word(scope.name)}"
        case ScopeKind.FLAG:
            return _word(scope.name)


def _where(event: AlertEvent) -> str:
    if "kill_file" in event.after:
        return "--local"
    if event.environment == _EVERYWHERE:
        return "--all-environments"
    return "" if event.environment == "default" else f"-e {_word(event.environment)}"


def _word(text: str) -> str:
    return shlex.quote(text) if text else ""


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "; ".join(str(one) for one in value)
    return str(value)


def _step(value: Any) -> str:
    """Return a step's number as people count: from one."""
    return str(value + 1) if isinstance(value, int) else ""


def _whole(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, int | float) else ""
