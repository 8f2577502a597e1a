"""``[alerts]``: its shape, and what is wrong with a sink, its URL, or a template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
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
WEBHOOK: Final = ("alerts", "webhook")
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
    if name not in EVENTS:
        near = get_close_matches(name, EVENTS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(EVENTS)}"
        message = f'no event is called "{name}": {hint}'
        raise ValueError(message)


def _link(text: str | None) -> str | None:
    if text is not None and (wrong := trouble(text, LINK_FIELDS)):
        raise ValueError(wrong)
    return text


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
    link: Annotated[_Text | None, AfterValidator(_link)] = None
    sinks: dict[str, SinkTable] = Field(default_factory=dict)
    templates: dict[str, TemplateTable] = Field(default_factory=dict)

    @field_validator("sinks")
    @classmethod
    def _free_names(cls, sinks: dict[str, SinkTable]) -> dict[str, SinkTable]:
        for name in _OWN_NAMES:
            if name in sinks:
                message = f'the name "{name}" is taken: there is one without a table'
                raise ValueError(message)
        return sinks

    @model_validator(mode="after")
    def _sound_templates(self) -> Self:
        for event, table in self.templates.items():
            _known(event)
            for part, text in table:
                fields = fields_of_command(event) if part == "command" else fields_of(event)
                if text is not None and (wrong := trouble(text, fields)):
                    message = f"templates.{event}.{part} {wrong}"
                    raise ValueError(message)
        return self


TABLES: Final[Mapping[str, type[BaseModel]]] = {"sinks": SinkTable, "templates": TemplateTable}
"""The tables within ``[alerts]`` that have names."""


def is_address(path: Where) -> bool:
    """Return whether a value is the URL of a sink: a secret, and one that only tellers need."""
    return path == WEBHOOK or (path[:2] == SINKS and path[3:] == ("url",))


def address_problems(values: Mapping[Where, Any]) -> Iterable[tuple[Where, str, str]]:
    """Yield what is wrong with URLs of sinks by themselves: path, message, hint."""
    for path, value in values.items():
        if path[:2] != SINKS or not is_address(path):
            continue
        url = _plain(value)
        if isinstance(url, str) and "://" not in url:
            hint = "write one that Apprise knows, such as slack://..., or an https:// of your own"
            yield path, "must be a URL", hint


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
        unread=tuple(unread.values()),
    )
