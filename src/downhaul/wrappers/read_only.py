"""A provider that can't be written: for applications and hosts that have no business to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from pydantic import BaseModel, ConfigDict

from downhaul.config import Settings
from downhaul.errors import ReadOnly
from downhaul.provider import WRITES, Capability, FlagProvider
from downhaul.wrappers.wrapper import Wrapper, stack_of

_WRITING: Final = frozenset(
    {Capability.WRITE, Capability.SEGMENTS, Capability.COMPARE_AND_SET, Capability.SNAPSHOT}
)
_REFUSED: Final = WRITES | {"snapshot"}  # which is for whoever is about to write


class ReadOnlySettings(BaseModel):
    """``[provider.read_only]``: nothing to say."""

    model_config = ConfigDict(extra="forbid")


class ReadOnlyProvider(Wrapper):
    """Refuses every write by name. Kills are the control store's, and go on working.

    What writes is declared beside the verbs, in :data:`downhaul.provider.WRITES`: none of them can
    be forgotten here.
    """

    label = "read_only"

    def __init__(self, inner: FlagProvider) -> None:
        super().__init__(inner)
        self.capabilities = inner.capabilities - _WRITING

    def _refuse(self, key: str) -> NoReturn:
        raise ReadOnly(
            f'"{key}" is not written: this configuration reads only ({stack_of(self)})',
            hint='write with a configuration whose [provider] wrap has no "read_only"',
            flag=key,
            provider=self.name,
        )


def _refusing(verb: str) -> Callable[..., NoReturn]:
    """Return the verb as it is called, which names what it was to be done to and refuses."""
    signature = inspect.signature(getattr(FlagProvider, verb))

    def refuse(self: ReadOnlyProvider, *args: Any, **named: Any) -> NoReturn:
        _, what, *_ = signature.bind(self, *args, **named).args
        key = getattr(what, "key", None) or getattr(what, "flag", None) or what
        self._refuse(str(key))

    refuse.__name__ = verb
    refuse.__doc__ = "Refuse."
    return refuse


for _verb in _REFUSED:
    setattr(ReadOnlyProvider, _verb, _refusing(_verb))


def create(inner: FlagProvider, _table: Mapping[str, Any], _settings: Settings) -> FlagProvider:
    """Make the wrapper that ``wrap = ["read_only"]`` asks for."""
    return ReadOnlyProvider(inner)
