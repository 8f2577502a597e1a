"""What every verb of an operator works with: where flags and kills live, and who is acting."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from downhaul.config.settings import PolicySettings
from downhaul.control.dispatcher import Dispatcher
from downhaul.errors import DownhaulError, FlagNotFound, Refused
from downhaul.flag import Flag, Segment
from downhaul.provider import Capability, Change, ControlStore, FlagProvider


@dataclass(frozen=True, slots=True)
class Desk:
    """One operator at one provider and control store, in one environment."""

    provider: FlagProvider
    control: ControlStore | None
    actor: str
    marked: bool
    environment: str
    alerts: Dispatcher
    kill_file: Path | None
    policy: PolicySettings = field(default_factory=PolicySettings)

    def change(self, reason: str = "") -> Change:
        """Return a new change in the operator's name (rule X4)."""
        return Change(self.actor, reason.strip(), marked=self.marked)

    def has(self, capability: Capability) -> bool:
        """Return whether the provider declares the capability."""
        return capability in self.provider.capabilities

    def shares_store(self) -> bool:
        """Return whether kills live in the provider's own database, so that a kill is whole."""
        if self.control is None:
            return False
        own = getattr(self.provider, "control", None)
        # Of two stores only one has the kills; flags that have moved to the other are told there.
        if own is None or not getattr(self.provider, "is_one_store", True):
            return False
        return own is self.control or bool(own.identity and own.identity == self.control.identity)

    def flag(self, key: str) -> Flag:
        """Return the flag as it is kept now. Raises FlagNotFound, with what may have been meant."""
        found = self.provider.get(key)
        if found is None:
            raise self.unknown_flag(key)
        return found

    def segment(self, key: str) -> Segment:
        """Return the segment as it is kept now. Raises FlagNotFound."""
        segments = self.provider.list().segments
        if key not in segments:
            message = f'no segment "{key}" in {self.place}'
            raise FlagNotFound(
                message,
                hint=did_you_mean(key, segments) or "segments list shows what there is",
                provider=self.provider.name,
            )
        return segments[key]

    def unknown_flag(self, key: str) -> FlagNotFound:
        """Return the error for a flag that isn't there."""
        try:
            close = did_you_mean(key, self.provider.list().flags)
        except DownhaulError:  # the answer is "not found" all the same
            close = None
        return FlagNotFound(
            f'no flag "{key}" in {self.place}',
            hint=close or "flags list shows what there is, flags create makes one",
            flag=key,
            provider=self.provider.name,
        )

    @property
    def place(self) -> str:
        """Where this is, for messages: the provider and the environment."""
        return f"{self.provider.name or type(self.provider).__name__} ({self.environment})"

    def store(self, verb: str) -> ControlStore:
        """Return the control store. Raises Refused, saying what to do, where there is none."""
        if self.control is None:
            message = f'there is no control store beside provider "{self.provider.name}"'
            raise Refused(
                message,
                hint=f"set [control] url or DOWNHAUL_CONTROL_URL; or {verb} with --local, which "
                "holds for processes on this machine that watch the same kill file",
                provider=self.provider.name,
            )
        return self.control


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the closest of the known names, or None."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else None
