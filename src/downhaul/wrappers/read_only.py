"""A provider that can't be written: for applications and hosts that have no business to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn

from pydantic import BaseModel, ConfigDict

from downhaul.config import Settings
from downhaul.errors import ReadOnly
from downhaul.flag import Flag, Segment
from downhaul.provider import Capability, Change, FlagProvider, ProviderSnapshot
from downhaul.wrappers.wrapper import Wrapper, stack_of

_WRITES: Final = frozenset({Capability.WRITE, Capability.SEGMENTS, Capability.COMPARE_AND_SET})


class ReadOnlySettings(BaseModel):
    """``[provider.read_only]``: nothing to say."""

    model_config = ConfigDict(extra="forbid")


class ReadOnlyProvider(Wrapper):
    """Refuses every write by name. Kills are the control store's, and go on working."""

    label = "read_only"

    def __init__(self, inner: FlagProvider) -> None:
        super().__init__(inner)
        self.capabilities = inner.capabilities - _WRITES - {Capability.SNAPSHOT}

    def put(self, flag: Flag, change: Change, *, expected: str | None = None) -> Flag:
        """Refuse."""
        self._refuse(flag.key)

    def delete(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Refuse."""
        self._refuse(key)

    def switch_on(self, key: str, change: Change) -> Flag:
        """Refuse."""
        self._refuse(key)

    def switch_off(self, key: str, change: Change) -> Flag:
        """Refuse."""
        self._refuse(key)

    def set_rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Refuse."""
        self._refuse(key)

    def set_targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Refuse."""
        self._refuse(key)

    def put_segment(
        self, segment: Segment, change: Change, *, expected: str | None = None
    ) -> Segment:
        """Refuse."""
        self._refuse(segment.key)

    def delete_segment(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Refuse."""
        self._refuse(key)

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Refuse: a snapshot is for whoever is about to write."""
        self._refuse(key)

    def restore(
        self, snapshot: ProviderSnapshot, change: Change, *, expected: str | None = None
    ) -> Flag:
        """Refuse."""
        self._refuse(snapshot.flag)

    def _refuse(self, key: str) -> NoReturn:
        raise ReadOnly(
            f'"{key}" is not written: this configuration reads only ({stack_of(self)})',
            hint='write with a configuration whose [provider] wrap has no "read_only"',
            flag=key,
            provider=self.name,
        )


def create(inner: FlagProvider, _table: Mapping[str, Any], _settings: Settings) -> FlagProvider:
    """Make the wrapper that ``wrap = ["read_only"]`` asks for."""
    return ReadOnlyProvider(inner)
