"""Every setting with where it came from, fit for any eye."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from downhaul.config.schema import dotted
from downhaul.config.secret import masked
from downhaul.config.settings import AlertSettings, Settings
from downhaul.config.urls import redacted


@dataclass(frozen=True, slots=True)
class Row:
    """One setting: its path in the file, its value without secrets, and its origin."""

    path: str
    value: Any
    origin: str


def show(settings: Settings) -> list[Row]:
    """Return the effective value of every setting, defaults included, with its origin."""
    provider, control = settings.provider, settings.control
    values: dict[str, Any] = {
        "environment": settings.environment,
        "application": settings.application,
        "cache_dir": settings.cache_dir,
        "provider": {
            "url": provider.safe_url,
            "wrap": list(provider.wrap),
            **masked(
                {**provider.options, **_without_passwords(provider.wrappers)}, provider.secrets
            ),
        },
        "control": {
            "url": control.safe_url,
            "on_unknown_kills": control.on_unknown_kills,
            "kill_file": control.kill_file,
            "kill": control.kill_names,
        },
        "policy": asdict(settings.policy),
        "alerts": _alerts(settings.alerts),
        "rollout": {
            "templates": settings.rollout.templates,
            "groups": {name: list(who) for name, who in settings.rollout.groups.items()},
        },
        "backends": {
            name: {
                "url": one.provider.safe_url or None,
                **masked({**one.provider.options}, one.provider.secrets),
            }
            for name, one in settings.backends.items()
        },
        "flags": {key: asdict(one) for key, one in settings.flags.items()},
    }
    rows = ((dotted(path), _plain(value)) for path, value in _leaves(values))
    return [Row(path, value, settings.origins.get(path, "default")) for path, value in rows]


def _alerts(alerts: AlertSettings) -> dict[str, Any]:
    """Return ``[alerts]``, in which a URL is a secret."""
    return {
        "webhook": alerts.webhook,
        "link": alerts.link or None,
        "sinks": {
            one.name: {
                "url": one.url,
                "severity": one.severity.value,
                "only": list(one.only),
                "environments": list(one.environments),
            }
            for one in alerts.sinks
        },
        "templates": {
            event: {part: text for part, text in asdict(one).items() if text is not None}
            for event, one in alerts.templates.items()
        },
    }


def _leaves(table: Mapping[str, Any], under: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    for key, value in table.items():
        path = (*under, key)
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        else:
            yield path, value


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _without_passwords(value: Any) -> Any:
    """Return tables of wrappers with what is secret in their URLs taken out, such as failover's."""
    if isinstance(value, Mapping):
        return {name: _without_passwords(one) for name, one in value.items()}
    return redacted(value) if isinstance(value, str) and "://" in value else value
