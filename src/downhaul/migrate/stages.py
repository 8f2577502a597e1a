"""The register of flags that are on their way between two backends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from downhaul.errors import Refused
from downhaul.flag import Flag
from downhaul.provider import ABSENT, Change, FlagProvider
from downhaul.wrappers.standings import Move, from_flag, stage_provider, to_flag

if TYPE_CHECKING:
    from downhaul.config import Settings


@contextmanager
def stages(settings: Settings) -> Iterator[Stages]:
    """Give the register of stages that the settings name. Raises as :func:`stage_provider`."""
    provider = stage_provider(settings)
    try:
        yield Stages(provider)
    finally:
        provider.close()


class Stages:
    """The register: which flags are on their way, and how far."""

    def __init__(self, provider: FlagProvider) -> None:
        self._provider = provider

    def all(self) -> dict[str, Move]:
        """Return every flag that is on its way, by key. Raises Unreachable, Refused."""
        return {key: _read(flag) for key, flag in self._provider.list().flags.items()}

    def get(self, key: str) -> Move | None:
        """Return where one flag stands; None where it is on no way."""
        flag = self._provider.get(key)
        return None if flag is None else _read(flag)

    def put(self, move: Move, change: Change) -> Move:
        """Write where a flag stands; ``version`` is what it was read at, empty for a new one.

        Raises VersionConflict where somebody moved it meanwhile.
        """
        written = self._provider.put(to_flag(move), change, expected=move.version or ABSENT)
        return _read(written)

    def remove(self, move: Move, change: Change) -> None:
        """Forget a flag: it is on no way any more. Raises VersionConflict."""
        self._provider.delete(move.key, change, expected=move.version or None)


def _read(flag: Flag) -> Move:
    try:
        return from_flag(flag)
    except (ValueError, TypeError) as error:
        message = f'where "{flag.key}" stands can\'t be read: {error}'
        hint = "somebody wrote it by hand: put it right, or delete it and apply the plan again"
        raise Refused(message, hint=hint, flag=flag.key) from None
