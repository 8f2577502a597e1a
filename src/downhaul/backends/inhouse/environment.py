"""Flags in environment variables: ``env:FEATURE_``.

Read once, when the provider starts: what a process is given does not change from outside.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from downhaul.backends.inhouse.entries import Entries, NotMeant
from downhaul.backends.inhouse.meaning import flag_of
from downhaul.config.secret import is_secret_name
from downhaul.documents.faults import quoted
from downhaul.errors import ConfigError, ReadOnly, UnsupportedCapability
from downhaul.flag import Flag, FlagSet
from downhaul.ledger import Ledger, Translation
from downhaul.provider import Capability, FlagProvider, Listener, ProviderStatus, State

if TYPE_CHECKING:
    from downhaul.backends.inhouse.options import EnvironmentOptions
    from downhaul.config import Settings

_SWITCHES: Final = ("true", "false", "on", "off", "1", "0")
_CLOSED: Final = ProviderStatus(State.NOT_READY, "closed")


class EnvironmentProvider(FlagProvider):
    """Flags in the variables whose name begins with a prefix, read-only."""

    name: str = "env"
    capabilities: frozenset[Capability] = frozenset({Capability.FLAG_SET, Capability.READ})

    def __init__(
        self, prefix: str, options: EnvironmentOptions, environ: Mapping[str, str] | None = None
    ) -> None:
        self._prefix = prefix
        self._options = options
        self._environ = os.environ if environ is None else environ
        self._status = ProviderStatus(State.NOT_READY, "not started")

    def start(self, listener: Listener) -> None:
        """Read the variables, once."""
        listener.replaced(self.export().flag_set("1"))
        self._status = ProviderStatus(State.READY, "", 0.0)
        listener.status_changed(self._status)

    def wait_ready(self, timeout: float) -> bool:
        """Return whether it was started: there is nothing to wait for."""
        del timeout
        return self._status.state is State.READY

    def status(self) -> ProviderStatus:
        """Return READY between start and close."""
        return self._status

    def close(self, timeout: float = 2.0) -> None:
        """Stop."""
        del timeout
        self._status = _CLOSED

    def get(self, key: str) -> Flag | None:
        """Return the flag as its variable is now."""
        return self.list().flags.get(key)

    def list(self) -> FlagSet:
        """Return all flags that can be read, as the variables are now."""
        return self.export().flag_set()

    def export(self) -> Translation:
        """Return the flags as the variables are now, with what became of each."""
        return translate(self._environ, self._prefix, self._options)

    def _unsupported(self, capability: Capability) -> UnsupportedCapability | ReadOnly:
        if capability in (Capability.WRITE, Capability.SEGMENTS):
            return ReadOnly(
                f"flags are the variables {self._prefix}... of this process",
                provider=self.name,
                hint="set the variable where the process is started",
            )
        return UnsupportedCapability(capability.value, provider=self.name)


def create(settings: Settings) -> EnvironmentProvider:
    """Return the provider of ``env:PREFIX``. Raises ConfigError without a prefix."""
    from downhaul.backends.inhouse.options import EnvironmentOptions  # noqa: PLC0415  (pydantic)

    prefix = settings.provider.url.partition(":")[2]
    if not prefix or set(prefix) & set("=/?#"):
        raise ConfigError(
            f'"{settings.provider.safe_url}" names no prefix of variables',
            hint="write env:FEATURE_",
            origin=settings.origins.get("provider.url"),
        )
    return EnvironmentProvider(prefix, EnvironmentOptions(**settings.provider.options))


def translate(environ: Mapping[str, str], prefix: str, options: EnvironmentOptions) -> Translation:
    """Return a flag for each variable that begins with the prefix, and the ledger of them."""
    names = sorted(name for name in environ if name.startswith(prefix))
    keys = {name: _key(name.removeprefix(prefix), options.separator) for name in names}
    times = Counter(keys.values())
    made: list[tuple[Entries, Flag | None]] = []
    for name, key in keys.items():
        entries = Entries(key, name)
        if not key:
            entries.manual("", "nothing follows the prefix, so that it names no flag")
        elif times[key] > 1:
            same = ", ".join(other for other, one in keys.items() if one == key)
            entries.manual("", f'{same} are all "{key}", and which one counts is not said')
        made.append((entries, None if entries.left_out else _flag(environ[name], entries, options)))
    flags = tuple(flag for _, flag in made if flag is not None)
    told = tuple(entry for entries, _ in made for entry in entries.made)
    return Translation(flags, ledger=Ledger(told))


def _key(name: str, separator: str) -> str:
    return name.lower().replace("_", separator)


def _flag(text: str, entries: Entries, options: EnvironmentOptions) -> Flag | None:
    secret = is_secret_name(entries.flag)
    try:
        row = _row(text)
    except NotMeant as error:
        reason = "it can't be read, and may be a secret by its name" if secret else str(error)
        entries.manual("", reason, None if secret else text)
        return None
    if secret and "value" in row:
        entries.manual("", "its name says that it is a secret, which no flag may show")
        return None
    columns = dict.fromkeys(row, "")
    return flag_of(entries.flag, row, columns, entries, options, unsaid=True)


def _row(text: str) -> dict[str, Any]:
    """Return what a variable says, as a row of one cell."""
    plain = text.strip()
    if not plain:
        message = "an empty variable says neither on nor off"
        raise NotMeant(message)
    if plain.lower() in _SWITCHES:
        return {"enabled": plain}
    if plain.endswith("%") and plain[:-1].strip().replace(".", "", 1).isdigit():
        return {"percentage": plain}
    return {"value": _value(plain, text)}


def _value(plain: str, text: str) -> Any:
    try:
        found = json.loads(plain, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        if plain[0] in '[{"':
            message = f"{quoted(text)} is broken JSON"
            raise NotMeant(message) from None
        return text
    if found is None:
        message = "null says neither on nor off"
        raise NotMeant(message)
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)
