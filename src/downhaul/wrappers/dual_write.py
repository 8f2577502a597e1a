"""What is written to one backend is written to a second one too; the first alone answers.

For the first days of a migration: the second one follows what operators and rollouts do, and
nothing depends on it yet.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from downhaul.config import Settings
from downhaul.config.beside import BackendTable
from downhaul.flag import FlagSet, FlagSetDelta
from downhaul.provider import (
    Answering,
    Capability,
    FlagProvider,
    Listener,
    ProviderStatus,
    State,
)
from downhaul.staging import Side
from downhaul.wrappers.beside import around_both, close_together, told
from downhaul.wrappers.divergences import Diverged, Divergences
from downhaul.wrappers.wrapper import stack_of
from downhaul.wrappers.writing import WritesBoth, lacks

_log: Final = logging.getLogger("downhaul.wrappers")


class DualWriteSettings(BaseModel):
    """``[provider.dual_write]``: the backend that is written to as well.

    ``to`` is a URL, or a table with ``url`` and whatever else that provider takes.
    """

    model_config = ConfigDict(extra="forbid")

    to: BackendTable


class DualWrite(WritesBoth):
    """Answers from ``inner``, the old backend, and writes to ``second``, the new one, too.

    ``diverged`` is told of each write that only one of them did.
    """

    label = "dual_write"

    def __init__(
        self, inner: FlagProvider, second: FlagProvider, *, diverged: Diverged | None = None
    ) -> None:
        super().__init__(inner)
        self.second = second
        self._divergences = Divergences(diverged)

    @property
    def parts(self) -> tuple[FlagProvider, ...]:
        """The old backend and the new one."""
        return self.inner, self.second

    def start(self, listener: Listener) -> None:
        """Start both. Raises what one of them raises, and leaves nothing running."""
        try:
            self.inner.start(listener)
            self.second.start(_Unheard(stack_of(self.second)))
        except BaseException:
            self.close()
            raise

    def status(self) -> ProviderStatus:
        """Return how the old backend stands, and what the new one lacks."""
        status, second = self.inner.status(), self.second.status()
        away = ""
        if second.state is not State.READY:
            away = f"{stack_of(self.second)}, which is written to as well, is {told(second)}"
        said = filter(None, (status.message, away, lacks(self.divergences())))
        return replace(status, message="; ".join(said))

    def close(self, timeout: float = 2.0) -> None:
        """Stop both within ``timeout`` seconds."""
        close_together(((stack_of(one), one.close) for one in self.parts), timeout)

    def after_fork(self) -> None:
        """Let both follow again in a forked child."""
        self._divergences.after_fork()
        for one in self.parts:
            one.after_fork()

    def _order(self, needs: Capability, key: str) -> tuple[Side, ...]:
        return Side.OLD, Side.NEW

    def __str__(self) -> str:
        return f"{self.label}({stack_of(self.inner)}, {stack_of(self.second)})"


class _Unheard:
    """Listens to a backend that answers nobody (Listener)."""

    def __init__(self, name: str) -> None:
        self._name = name

    def replaced(self, flag_set: FlagSet, by: Answering | None = None) -> None:
        pass

    def changed(self, delta: FlagSetDelta) -> None:
        pass

    def keys_changed(self, keys: Iterable[str]) -> None:
        pass

    def status_changed(self, status: ProviderStatus) -> None:
        _log.info("%s, which is written to as well, is %s", self._name, told(status))


def create(inner: FlagProvider, _table: Mapping[str, Any], settings: Settings) -> FlagProvider:
    """Make the wrapper that ``wrap = ["dual_write"]`` asks for. Raises ConfigError."""
    return around_both(settings, DualWrite.label, partial(DualWrite, inner))
