"""``[alerts]``: its shape, and what is wrong with a sink, its URL, or a template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from downhaul.announcements.severity import EVENTS, Severity
from downhaul.announcements.templates import (
    LINK_FIELDS,
    Template,
    fields_of,
    fields_of_command,
    trouble,
)
from downhaul.config.notifiers import WEB, Unusable, load
from downhaul.config.secret import Secret
from downhaul.config.settings import AlertSettings, SinkSettings
from downhaul.config.sources import Where
from downhaul.config.urls import scheme_of
from downhaul.errors import Problem

SINKS: Final = ("alerts", "sinks")
TEMPLATES: Final = ("alerts", "templates")
WEBHOOK: Final = ("alerts", "webhook")
LINK: Final = ("alerts", "link")
_OWN_NAMES: Final = ("log", "webhook")  # sinks that are there without a table


def _plain(value: Any) -> Any:
    """Return the text of a reference: what is no secret by what it is may be kept as one."""
    return value.reveal() if isinstance(value, Secret) else value


def _split(value: Any) -> Any:
    value = _plain(value)
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


def _web(url: Secret | None) -> Secret | None:
    if url is not None and not url.reveal().startswith(("https://", "http://")):
        message = "must begin with https:// or http://"
        raise ValueError(message)
    return url


def _events(names: list[str]) -> list[str]:
    for name in names:
        _known(name)
    return names


def _known(name: str) -> None:
    if (wrong := _unknown(name)) is not None:
        message = f"{wrong[0]}: {wrong[1]}"
        raise ValueError(message)


def _unknown(name: str) -> tuple[str, str] | None:
    if name in EVENTS:
        return None
    near = get_close_matches(name, EVENTS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(EVENTS)}"
    return f'no event is called "{name}"', hint


_Text = Annotated[str, BeforeValidator(_plain)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SinkTable(_Table):
    """``[alerts.sinks.NAME]``."""

    url: Secret
    severity: Annotated[Severity, BeforeValidator(_plain)] = Severity.INFO
    only: Annotated[list[str], BeforeValidator(_split), AfterValidator(_events)] = Field(
        default_factory=list
    )
    environments: Annotated[list[str], BeforeValidator(_split)] = Field(default_factory=list)


class TemplateTable(_Table):
    """``[alerts.templates.EVENT]``."""

    title: _Text | None = None
    text: _Text | None = None
    markdown: _Text | None = None
    command: _Text | None = None


class AlertsTable(_Table):
    """``[alerts]``."""

    webhook: Annotated[Secret | None, AfterValidator(_web)] = None
    link: _Text | None = None
    sinks: dict[str, SinkTable] = Field(default_factory=dict)
    templates: dict[str, TemplateTable] = Field(default_factory=dict)


TABLES: Final[Mapping[str, type[BaseModel]]] = {"sinks": SinkTable, "templates": TemplateTable}
"""The tables within ``[alerts]`` that have names."""


def is_address(path: Where) -> bool:
    """Return whether a value is the URL of a sink: a secret, and one that only tellers need."""
    return path == WEBHOOK or (path[:2] == SINKS and path[3:] == ("url",))


def problems_in(values: Mapping[Where, Any]) -> Iterable[tuple[Where, str, str | None]]:
    """Yield what is wrong with what was written, by itself: path, message, hint."""
    for path, value in values.items():
        text = _plain(value)
        if not isinstance(text, str):
            continue
        if path[:2] == SINKS and is_address(path):
            yield from _wrong_sink(path, text)
        elif path == LINK and (wrong := trouble(text, LINK_FIELDS)):
            yield path, wrong, None
        elif path[:2] == TEMPLATES and len(path) == len(TEMPLATES) + 2:
            yield from _wrong_template(path, text)


def _wrong_sink(path: Where, url: str) -> Iterable[tuple[Where, str, str | None]]:
    if path[2] in _OWN_NAMES:
        yield path, f'the name "{path[2]}" is taken: there is one without a table', "rename it"
    if "://" not in url:
        hint = "write one that Apprise knows, such as slack://..., or an https:// of your own"
        yield path, "must be a URL", hint


def _wrong_template(path: Where, text: str) -> Iterable[tuple[Where, str, str | None]]:
    event, part = path[2:]
    if (unknown := _unknown(event)) is not None:
        yield path, *unknown
        return
    fields = fields_of_command(event) if part == "command" else fields_of(event)
    if wrong := trouble(text, fields):
        yield path, wrong, None


def unusable(values: Mapping[Where, Any]) -> Iterable[tuple[Where, str, str]]:
    """Yield the URLs to which nothing that is installed here can send. Imports Apprise."""
    for path, value in values.items():
        if path[:2] != SINKS or not is_address(path):
            continue
        url = _plain(value)
        if not isinstance(url, str) or scheme_of(url) in {*WEB, ""}:
            continue
        try:
            load(Secret(url))
        except Unusable as error:
            yield path, error.message, error.hint


def alert_settings(table: AlertsTable, unread: Mapping[Where, Problem]) -> AlertSettings:
    """Return the settings of a table. ``unread`` are the references that led nowhere."""
    return AlertSettings(
        webhook=table.webhook,
        link=table.link or "",
        sinks=tuple(
            SinkSettings(
                name,
                None if (*SINKS, name, "url") in unread else one.url,
                one.severity,
                tuple(one.only),
                tuple(one.environments),
            )
            for name, one in table.sinks.items()
        ),
        templates={
            event: Template(one.title, one.text, one.markdown, one.command)
            for event, one in table.templates.items()
        },
        unread=tuple(one for path, one in unread.items() if is_address(path)),
    )
