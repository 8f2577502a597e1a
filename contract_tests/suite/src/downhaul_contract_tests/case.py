"""What a test holds: the backend, clients over it, and somebody else at its console."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from downhaul import Flag, Flags
from downhaul.config import Declaration, RolloutMode
from downhaul.flag import FlagSet, Segment
from downhaul.provider import Capability, FlagProvider
from downhaul.result import ErrorCode
from downhaul_contract_tests.backend import CHANGE, Backend, Feature, offers

_LOOK = 0.01  # seconds between two looks


class Case:
    """One test's view of a backend. ``writer`` is a provider that is never started."""

    def __init__(
        self, backend: Backend, writer: FlagProvider, lacks: Mapping[Feature, str]
    ) -> None:
        self.backend = backend
        self.writer = writer
        self.patience: float = getattr(backend, "patience", Backend.patience)
        self._lacks = lacks
        self._seeded: tuple[str, ...] = ()
        self._declared: dict[str, Declaration] = {}
        self._open = ExitStack()
        self._outage = False

    def has(self, capability: Capability) -> bool:
        """Return whether the provider declares it."""
        return capability in self.writer.capabilities

    def lacks(self, feature: Feature) -> bool:
        """Return whether the backend's model of flags lacks it."""
        return feature in self._lacks

    def seed(self, *flags: Flag, segments: Iterable[Segment] = (), portable: bool = False) -> None:
        """Make the backend hold these flags, and declare what its payload doesn't tell of them."""
        self._declared = {
            one.key: found for one in flags if (found := self._declaration(one, portable))
        }
        if offers(self.backend, "declare"):
            self.backend.declare(self._declared)
        self.backend.seed(FlagSet.of(flags, segments))
        self._seeded = tuple(one.key for one in flags)

    def client(self, *, ready: bool = True, **options: Any) -> Flags:
        """Return a client over a new provider, ready and with all that was seeded."""
        options.setdefault("ready_within", self.patience if ready else 0.0)
        flags = Flags.over(self.provider(), declarations=dict(self._declared), **options)
        self._open.callback(flags.close)
        if ready:
            assert flags.wait_ready(self.patience), flags.status()
            self.eventually(lambda: not _unknown(flags, self._seeded), "what was seeded is there")
        return flags

    def provider(self) -> FlagProvider:
        """Return a new provider, closed at the end."""
        made = self.backend.provider()
        self._open.callback(made.close)
        return made

    def change(self, flag: Flag) -> None:
        """Replace a flag as somebody else would."""
        if offers(self.backend, "change"):
            self.backend.change(flag)
        else:
            self.writer.put(replace(flag, version=""), CHANGE)

    def outage(self) -> None:
        """Cut the backend off until :meth:`restore`, or the end."""
        self._outage = True
        self.backend.outage()

    def restore(self) -> None:
        """End the outage."""
        self.backend.restore()
        self._outage = False

    def eventually(self, holds: Callable[[], bool], what: str, within: float | None = None) -> None:
        """Look until something holds; fail if it doesn't within the backend's patience."""
        until = time.monotonic() + (self.patience if within is None else within)
        pause = threading.Event()
        while not holds():
            assert time.monotonic() < until, f"it never came to be that {what}"
            pause.wait(_LOOK)

    def close(self) -> None:
        """Close all that was made; the backend is reachable again."""
        if self._outage:
            self.restore()
        self._open.close()

    def _declaration(self, flag: Flag, portable: bool) -> Declaration | None:
        mode = RolloutMode.PORTABLE if portable else RolloutMode.NATIVE
        declared = Declaration(
            kind=flag.kind if self.lacks(Feature.TELLS_KIND) else None,
            off=flag.off_variant if self.lacks(Feature.TELLS_OFF) else None,
            tags=flag.tags if self.lacks(Feature.TELLS_TAGS) else (),
            rollout=mode,
        )
        return None if declared == Declaration() else declared


def _unknown(flags: Flags, keys: Iterable[str]) -> list[str]:
    asked = ((key, flags.evaluate(key, "contract-user").error_code) for key in keys)
    gone = (ErrorCode.FLAG_NOT_FOUND, ErrorCode.PROVIDER_NOT_READY)
    return [key for key, code in asked if code in gone]


def enabled(flags: Flags, key: str, users: Iterable[str]) -> set[str]:
    """Return the users for whom a flag is on."""
    return {user for user in users if flags.is_enabled(key, user)}
