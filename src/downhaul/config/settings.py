"""What a configuration comes to: plain, frozen data that hides its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from downhaul.announcements.severity import Severity
from downhaul.announcements.templates import Template
from downhaul.config.secret import Secret, is_secret_name, masked, strings_in, without
from downhaul.config.urls import local_path, redacted, scheme_of, secrets_of
from downhaul.errors import ConfigError, Problem
from downhaul.flag import FlagKind, Scheme
from downhaul.plugins.known import base_of

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_NO_TEMPLATES: Final[Mapping[str, Template]] = MappingProxyType({})


class RolloutMode(StrEnum):
    """Whose percentage a rollout raises (rule E10)."""

    NATIVE = "native"
    PORTABLE = "portable"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the core must know of a flag that lives elsewhere: a table ``[flags."key"]``.

    ``kind`` None leaves it to what the backend tells, else boolean. ``off`` is the variant that a
    killed flag serves; ``salt`` and ``scheme`` say how a ``portable`` rollout buckets (see
    :func:`downhaul.evaluator.asking.portable_bucketing`).
    """

    kind: FlagKind | None = None
    off: str | None = None
    tags: tuple[str, ...] = ()
    rollout: RolloutMode = RolloutMode.NATIVE
    salt: str | None = None
    scheme: Scheme = Scheme.DOWNHAUL


@dataclass(frozen=True, slots=True, repr=False)
class ProviderSettings:
    """Where flags live: ``[provider]``.

    ``url`` is the real one, for the driver; show ``safe_url``. ``options`` is what else stands in
    the table, as the plugin's settings model made it; without a model, what is secret in it is a
    :class:`Secret`. ``wrap`` are names of wrappers, the first outermost, ``wrappers`` their tables.
    ``directory`` is where relative paths in the options resolve, and ``directories`` where those
    of a backend that a wrapper names do. ``secrets`` are the texts of all secrets in the tables.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    wrap: tuple[str, ...] = ()
    wrappers: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: _NOTHING)
    directory: Path = Path()
    directories: Mapping[str, Path] = field(default_factory=lambda: _NOTHING)
    secrets: frozenset[str] = frozenset()

    @property
    def scheme(self) -> str:
        """Return the scheme of the URL, such as ``unleash+https``."""
        return scheme_of(self.url)

    @property
    def name(self) -> str:
        """Return the name of the provider that the scheme asks for, such as ``unleash``."""
        return base_of(self.scheme)

    @property
    def safe_url(self) -> str:
        """Return the URL without its secrets."""
        return _safe(self.url, self.secrets)

    @property
    def path(self) -> Path | None:
        """Return the path that a ``file:`` or ``sqlite:`` URL names; None for all others."""
        return local_path(self.url)

    def __repr__(self) -> str:
        options = masked({**self.options}, self.secrets)
        return f"ProviderSettings({self.safe_url!r}, options={options!r}, wrap={self.wrap!r})"


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """A backend that has a name: ``[backends.NAME]``.

    ``unread`` are references in it that led nowhere: whoever doesn't use it needs none of them.
    """

    provider: ProviderSettings
    unread: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class ControlSettings:
    """Where kills live: ``[control]``. A ``url`` of None is the provider's own place.

    ``on_unknown_kills`` says what to serve while a configured store, and its copy on this machine,
    cannot be read: the flags as they are, or everything off. ``kill_names`` is the text of
    ``DOWNHAUL_KILL``, as it was written.
    """

    url: str | None = None
    on_unknown_kills: Literal["serve", "off"] = "serve"
    kill_file: Path | None = None
    kill_names: str = ""

    @property
    def safe_url(self) -> str | None:
        """Return the URL without its secrets."""
        return None if self.url is None else redacted(self.url)

    def __repr__(self) -> str:
        return (
            f"ControlSettings({self.safe_url!r}, on_unknown_kills={self.on_unknown_kills!r}, "
            f"kill_file={self.kill_file!r}, kill_names={self.kill_names!r})"
        )


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """Who is told, and of what: ``[alerts.sinks.NAME]``.

    ``url`` is a secret, and None where it is kept where this process can't read it. ``severity`` is
    the least that it hears of; ``only`` names events and ``environments`` environments, both empty
    for all.
    """

    name: str
    url: Secret | None
    severity: Severity = Severity.INFO
    only: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Who is told of kills and rollouts: ``[alerts]``.

    ``webhook`` is a URL that gets each event as JSON; knowing it is the right to post there, so it
    is a secret. ``link`` and ``templates`` are as :mod:`downhaul.announcements.templates` reads
    them. ``unread`` are references to URLs that led nowhere: who tells nobody needs none of them.
    """

    webhook: Secret | None = None
    link: str = ""
    sinks: tuple[SinkSettings, ...] = ()
    templates: Mapping[str, Template] = field(default_factory=lambda: _NO_TEMPLATES)
    unread: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Who may do what, beyond what the backend itself allows: ``[policy]``.

    ``alone_after`` are seconds since a kill, after which who killed may revive alone; None: never.
    ``may_revive`` and ``may_promote_full`` name actors; None is anybody. ``ttl_at_most`` is the
    percentage up to which a kill with an end is lifted at its end. None of it holds up what takes
    exposure away: a kill, a rollback, a pause, an off.
    """

    revive_needs_second_person: bool = False
    alone_after: float | None = None
    may_revive: tuple[str, ...] | None = None
    may_promote_full: tuple[str, ...] | None = None
    refuse_login_names: bool = False
    ttl_at_most: float = 1.0


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """What rollouts share: ``[rollout]``.

    ``templates`` is the folder with templates of plans; ``groups`` are names that a plan may give
    the right to approve to, each with who they are.
    """

    templates: Path | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration, as :func:`downhaul.config.resolve` finds it.

    ``application`` is what this process is called among those that obey kills; empty: by its
    program. ``backends`` are those that have names, for whoever moves flags between them.
    ``cache_dir`` is where the last-known copies are kept (None: nowhere). ``origins`` says by path
    (``provider.url``) where a value was written. ``notes`` are things worth telling that are no
    problem, such as a file that another one stands before.
    """

    provider: ProviderSettings
    control: ControlSettings = ControlSettings()
    alerts: AlertSettings = AlertSettings()
    policy: PolicySettings = PolicySettings()
    application: str = ""
    rollout: RolloutSettings = RolloutSettings()
    environment: str = "default"
    flags: Mapping[str, Declaration] = field(default_factory=lambda: _NOTHING)
    backends: Mapping[str, BackendSettings] = field(default_factory=lambda: _NOTHING)
    cache_dir: Path | None = None
    origins: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)

    def redact(self, text: str) -> str:
        """Return ``text`` without any secret of this configuration, for messages of drivers."""
        control = secrets_of(self.control.url) if self.control.url else frozenset()
        return without(text, secrets_of(self.provider.url) | self.provider.secrets | control)

    def for_backend(self, name: str) -> Settings:
        """Return these settings with a backend that has a name in the provider's place.

        Raises ConfigError for a name that no table has, and for a table that can't be read whole.
        """
        found = self.backends.get(name)
        if found is None:
            known = ", ".join(f'"{one}"' for one in sorted(self.backends)) or "none"
            message = f'no backend is called "{name}"'
            hint = f"write a table [backends.{name}] with its `url`; there are: {known}"
            raise ConfigError(message, hint=hint)
        table = f"backends.{name}"
        if found.unread or not found.provider.url:
            missing = Problem(f"{table}.url", "is missing", self._written_at(table))
            problems = found.unread or (missing,)
            raise ConfigError(f'the backend "{name}" can\'t be used', problems)
        origins = {
            path: at for path, at in self.origins.items() if not path.startswith("provider.")
        }
        origins |= {
            f"provider{path.removeprefix(table)}": at
            for path, at in self.origins.items()
            if path.startswith(f"{table}.")
        }
        return replace(self, provider=found.provider, origins=origins)

    def _written_at(self, table: str) -> str:
        return next((at for path, at in self.origins.items() if path.startswith(f"{table}.")), "")

    def for_control(self) -> Settings:
        """Return these settings with the control store's URL in the provider's place."""
        url = self.control.url or self.provider.url
        aside = ProviderSettings(url, directory=self.provider.directory)
        origin = self.origins.get("control.url", "")
        return replace(self, provider=aside, origins={**self.origins, "provider.url": origin})


def secrets_in(options: Mapping[str, Any]) -> frozenset[str]:
    """Return the text of every secret in a provider's options."""
    return frozenset(strings_in(options))


def with_secrets(value: Any, name: str = "") -> Any:
    """Return ``value`` with strings of secret names (``token``) as :class:`Secret`."""
    if isinstance(value, str) and value and is_secret_name(name):
        return Secret(value)
    if isinstance(value, Mapping):
        return {key: with_secrets(one, str(key)) for key, one in value.items()}
    if isinstance(value, list):
        return [with_secrets(one, name) for one in value]
    return value


def _safe(url: str, secrets: frozenset[str]) -> str:
    return without(redacted(url), secrets)
