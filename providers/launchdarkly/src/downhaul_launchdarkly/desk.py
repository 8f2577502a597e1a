"""Reading flags of one environment within one verb."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from downhaul.errors import FlagNotFound, ProviderError
from downhaul.evaluator.lowering import lifted
from downhaul.flag import Flag, FlagSet, Segment
from downhaul_launchdarkly import segments
from downhaul_launchdarkly.api import NAME, Asking
from downhaul_launchdarkly.known import known_of
from downhaul_launchdarkly.rules import NotCarried, flag_of, segments_named
from downhaul_launchdarkly.stored import Stored
from downhaul_launchdarkly.translate import flags_from

_log: Final = logging.getLogger("downhaul")


class Desk:
    """What a verb reads, through ``asking``: flags as they are now, and what they name."""

    def __init__(self, asking: Asking, environment: str) -> None:
        self.asking = asking
        self.environment = environment

    def find(self, key: str) -> Stored | None:
        """Return a flag, one in the archive too, or None."""
        try:
            return Stored(self.asking.get(key, self.environment), self.environment)
        except FlagNotFound:
            return None

    def read(self, key: str) -> Stored:
        """Return a flag that is not in the archive. Raises FlagNotFound."""
        state = Stored(self.asking.get(key, self.environment), self.environment)
        if state.archived:
            message = f'flag "{key}" is in the archive of LaunchDarkly'
            raise FlagNotFound(message, flag=key, provider=NAME, hint="bring it back there first")
        return state

    def flag(self, state: Stored) -> Flag:
        """Return a flag in our words. Raises NotCarried."""
        return lifted(self.as_written(state))

    def as_written(self, state: Stored) -> Flag:
        """Return a flag rule by rule, with clauses for hashes of others. Raises NotCarried."""
        found = {key: self.find(key) for key in state.needs}
        others = {key: one.sent for key, one in found.items() if one is not None}
        return state.as_percentage(flag_of(state.sent, {**others, state.key: state.sent}))

    def everything(self) -> FlagSet:
        """Return every flag and segment that has a like here; the log tells of the others."""
        states = [Stored(one, self.environment) for one in self.asking.flags(self.environment)]
        kept = {one["key"]: one for one in self.asking.segments(self.environment)}
        sent = {one.key: one.sent for one in states}
        translation = flags_from({"flags": sent, "segments": kept})
        for entry in translation.ledger.lossy:
            _log.warning("%s in LaunchDarkly has no like here: %s", entry.path, entry.reason)
        by_key = {one.key: one for one in states}
        read = [by_key[one.key].as_percentage(one) for one in translation.flags]
        return FlagSet.of(read, translation.segments)

    def told(self, now: Stored) -> Flag:
        """Return a flag that was written: what is known of it, where it has no like here.

        The write is done by then, so that nothing about its rules may make it look like a failure.
        """
        try:
            return self.flag(now)
        except (NotCarried, ProviderError):
            return replace(known_of(now.sent).flag, tags=tuple(now.sent["tags"]))

    def required(self, flag: Flag) -> dict[str, Stored]:
        """Return the flags that a flag requires, itself or through others."""
        found: dict[str, Stored] = {}
        pending = [one.flag for one in flag.prerequisites]
        while pending:
            key = pending.pop()
            if key in found:
                continue
            state = self.find(key)
            if state is not None and not state.archived:
                found[key] = state
                pending += state.needs
        return found

    def around(self, flag: Flag, others: Mapping[str, Stored]) -> FlagSet:
        """Return enough of the other flags and segments to check what a flag names."""
        kept = [
            Segment(key)
            for key in sorted(segments_named(flag))
            if segments.find(self.asking, self.environment, key) is not None
        ]
        return FlagSet.of((known_of(one.sent).flag for one in others.values()), kept)
