"""The one face of what an operator does: every verb, with who does it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from downhaul.config.settings import PolicySettings
from downhaul.control import (
    drills,
    flags,
    importing,
    kills,
    listing,
    local,
    receipts,
    restore,
    second,
    stale,
)
from downhaul.control.alerts import Alert
from downhaul.control.audited import audited
from downhaul.control.desk import Desk
from downhaul.control.dispatcher import Dispatcher
from downhaul.control.drills import DrillResult
from downhaul.control.receipts import Receipts
from downhaul.control.results import (
    FlagResult,
    HistoryEntry,
    ImportResult,
    KillResult,
    OnConflict,
    ReviveRequest,
    SegmentResult,
    StandingKill,
)
from downhaul.control.stale import OLD_AFTER_DAYS, StaleFlag
from downhaul.errors import Refused
from downhaul.flag import Flag, Segment
from downhaul.overlay import KillRecord, Scope
from downhaul.provider import Change, ControlStore, FlagProvider, FlagSet

_LOG: Final = logging.getLogger("downhaul.control")
_CLOSE: Final = 2.0  # seconds


class Operator:
    """A person, or a program, that changes flags and kills, on any provider.

    Every verb returns a frozen result with what was before and what is after, and records the
    ``actor``; ``marked`` says that it is only the login name. The errors are those of
    :mod:`downhaul.errors`; nothing is written where one is raised. Use it as a context manager, or
    call :meth:`close`, so that alerts are delivered; with ``owns`` it closes provider and control
    store too. ``policy`` is what a team has agreed on beyond what the backend enforces.
    ``advice`` is said once, with the first kill: that too few people would hear of it.
    """

    def __init__(  # noqa: PLR0913  (what a team's set-up consists of)
        self,
        provider: FlagProvider,
        control: ControlStore | None = None,
        *,
        actor: str,
        marked: bool = False,
        environment: str = "default",
        alerts: Sequence[Alert] = (),
        kill_file: Path | None = None,
        owns: bool = False,
        policy: PolicySettings | None = None,
        advice: str | None = None,
    ) -> None:
        if not actor.strip():
            message = "who is changing this? An actor is named for every write"
            raise Refused(message, hint="pass actor=, --actor or DOWNHAUL_ACTOR")
        self._desk = Desk(
            audited(provider, control),
            control,
            actor.strip(),
            marked,
            environment,
            Dispatcher(alerts, outbox=getattr(control, "outbox", None)),
            kill_file,
            policy or PolicySettings(),
        )
        self._owns = owns
        self._advice = advice

    @property
    def provider(self) -> FlagProvider:
        """Where the flags live."""
        return self._desk.provider

    @property
    def control(self) -> ControlStore | None:
        """Where the kills live, if anywhere but in this machine's kill file."""
        return self._desk.control

    @property
    def environment(self) -> str:
        """The environment that every verb speaks for."""
        return self._desk.environment

    @property
    def actor(self) -> str:
        """Who is recorded with every write."""
        return self._desk.actor

    @property
    def alerts(self) -> Sequence[Alert]:
        """Who is told of kills, revives and rollouts."""
        return self._desk.alerts.sinks

    @property
    def desk(self) -> Desk:
        """What every verb works with, for verbs that live elsewhere."""
        return self._desk

    def change(self, reason: str = "") -> Change:
        """Return a new change in the operator's name, for whoever writes on their behalf."""
        return self._desk.change(reason)

    # Flags

    def get(self, key: str) -> Flag:
        """Return a flag. Raises FlagNotFound, with what may have been meant."""
        return self._desk.flag(key)

    def list(self) -> FlagSet:
        """Return all flags and segments. What :meth:`import_flags` reads back elsewhere."""
        return self._desk.provider.list()

    def create(self, flag: Flag, reason: str = "") -> FlagResult:
        """Write a flag that doesn't exist yet."""
        return flags.create(self._desk, flag, reason)

    def put(self, flag: Flag, reason: str = "") -> FlagResult:
        """Write a whole flag in the place of the one there is; its version is the one expected."""
        return flags.put(self._desk, flag, reason)

    def set(self, key: str, reason: str = "", **fields: Any) -> FlagResult:
        """Set fields of a flag (those of :class:`downhaul.flag.Flag`); the others stay."""
        return flags.update(self._desk, key, fields, reason)

    def on(self, key: str, reason: str = "") -> FlagResult:
        """Turn a flag on; nothing else of it changes."""
        return flags.switch(self._desk, key, on=True, reason=reason)

    def off(self, key: str, reason: str = "") -> FlagResult:
        """Turn a flag off; nothing else of it changes."""
        return flags.switch(self._desk, key, on=False, reason=reason)

    def percent(
        self, key: str, percent: float, variant: str | None = None, reason: str = ""
    ) -> FlagResult:
        """Serve a variant to a percentage of keys. See :func:`downhaul.control.flags.percent`."""
        return flags.percent(self._desk, key, percent, variant, reason)

    def target(
        self,
        key: str,
        variant: str | None = None,
        *,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        keys: Iterable[str] | None = None,
        reason: str = "",
    ) -> FlagResult:
        """Set who always gets a variant. See :func:`downhaul.control.flags.target`."""
        return flags.target(
            self._desk, key, variant, add=add, remove=remove, keys=keys, reason=reason
        )

    def deny(self, key: str, keys: Iterable[str], reason: str = "") -> FlagResult:
        """Make keys always get the off variant."""
        return flags.deny(self._desk, key, keys, reason)

    def delete(self, key: str, reason: str = "") -> FlagResult:
        """Remove a flag; applications get their own default from then on. History keeps it."""
        return flags.delete(self._desk, key, reason)

    def restore(self, key: str, version: str, reason: str = "") -> FlagResult:
        """Write the flag as it was at ``version``, as a new version; a deleted flag comes back."""
        return restore.restore(self._desk, key, version, reason)

    def history(
        self, key: str | None = None, *, limit: int = 20, before: int | None = None
    ) -> Sequence[HistoryEntry]:
        """Return the newest changes first, each with what it changed field by field."""
        return restore.history(self._desk, key, limit=limit, before=before)

    def import_flags(
        self,
        flag_set: FlagSet,
        *,
        on_conflict: OnConflict = OnConflict.FAIL,
        reason: str = "",
        dry_run: bool = False,
        progress: importing.Progress | None = None,
    ) -> ImportResult:
        """Check a whole set, then write it. See :func:`downhaul.control.importing.import_flags`."""
        return importing.import_flags(
            self._desk,
            flag_set,
            on_conflict=on_conflict,
            reason=reason,
            dry_run=dry_run,
            progress=progress,
        )

    def stale(
        self, *, days: int = OLD_AFTER_DAYS, include_long_lived: bool = False
    ) -> Sequence[StaleFlag]:
        """Return the flags that serve one variant to all and were long left alone, oldest first."""
        return stale.stale(self._desk, days=days, include_long_lived=include_long_lived)

    # Segments

    def get_segment(self, key: str) -> Segment:
        """Return a segment. Raises FlagNotFound, with what may have been meant."""
        return self._desk.segment(key)

    def put_segment(self, segment: Segment, reason: str = "") -> SegmentResult:
        """Write a whole segment, new or in the place of the one there is."""
        return flags.put_segment(self._desk, segment, reason)

    def delete_segment(self, key: str, reason: str = "") -> SegmentResult:
        """Remove a segment. Raises Refused while something names it."""
        return flags.delete_segment(self._desk, key, reason)

    # Kills

    def kill(
        self,
        scope: Scope | str,
        reason: str,
        *,
        everywhere: bool = False,
        vendor: bool = False,
        lasts: float | None = None,
        dry_run: bool = False,
    ) -> KillResult:
        """Put the overlay on a flag, ``tag:NAME``, ``switch:NAME`` or ``*``.

        ``everywhere`` means all environments; ``vendor`` switches what a tag or everything covers
        off where it is kept, too; ``lasts`` gives it an end, in seconds from now. See
        :func:`downhaul.control.kills.kill`.
        """
        result = kills.kill(
            self._desk,
            _scope(scope),
            reason,
            everywhere=everywhere,
            vendor=vendor,
            lasts=lasts,
            dry_run=dry_run,
        )
        return self._advised(result)

    def revive(
        self,
        scope: Scope | str,
        reason: str,
        *,
        as_was: bool = False,
        everywhere: bool = False,
        dry_run: bool = False,
    ) -> KillResult:
        """Lift the overlay; a flag at a percentage restarts at the first step, unless ``as_was``.

        See :func:`downhaul.control.kills.revive`.
        """
        return kills.revive(
            self._desk,
            _scope(scope),
            reason,
            as_was=as_was,
            everywhere=everywhere,
            dry_run=dry_run,
        )

    def request_revive(
        self,
        scope: Scope | str,
        reason: str,
        *,
        as_was: bool = False,
        everywhere: bool = False,
    ) -> ReviveRequest:
        """Ask somebody else to lift a kill. See :func:`downhaul.control.second.request`."""
        return second.request(
            self._desk, _scope(scope), reason, as_was=as_was, everywhere=everywhere
        )

    def approve_revive(
        self, scope: Scope | str, reason: str, *, everywhere: bool = False
    ) -> KillResult:
        """Lift a kill as somebody else asked. See :func:`downhaul.control.second.approve`."""
        return second.approve(self._desk, _scope(scope), reason, everywhere=everywhere)

    def kill_local(self, scope: Scope | str, reason: str) -> KillResult:
        """Name the scope in this machine's kill file: no network, no store."""
        return self._advised(local.kill(self._desk, _scope(scope), reason))

    def revive_local(self, scope: Scope | str, reason: str) -> KillResult:
        """Revive the scope in this machine's kill file."""
        return local.revive(self._desk, _scope(scope), reason)

    def kills(self) -> Sequence[KillRecord]:
        """Return the kills in force by the control store's words, the oldest first."""
        return kills.standing(self._desk)

    def standing(self) -> Sequence[StandingKill]:
        """Return the kills in force, each with who obeys it, its end, and who asks to lift it."""
        return listing.standing_kills(self._desk)

    def receipts(self, record: KillRecord, wait: float = 0.0) -> Receipts | None:
        """Return who obeys a word of the store, waiting up to ``wait`` seconds for those alive.

        None where the control store keeps no receipts. Raises Unreachable.
        """
        return receipts.look(self._desk, record, wait)

    def drill(
        self, name: str, reason: str = "", *, real: bool = False, wait: float = 5.0
    ) -> DrillResult:
        """Exercise the kill switch, and record how it went. See :mod:`downhaul.control.drills`."""
        return drills.drill(self._desk, name, reason, real=real, wait=wait)

    def _advised(self, result: KillResult) -> KillResult:
        """Say once what the kill was not asked to wait for."""
        if self._advice is None or result.already:
            return result
        said, self._advice = self._advice, None
        return replace(result, warnings=(*result.warnings, said))

    def close(self, timeout: float = _CLOSE) -> None:
        """Deliver what alerts are left within ``timeout`` seconds; close what is owned.

        What a sink did not take by then is logged.
        """
        self._desk.alerts.flush(timeout)
        for one in self._desk.alerts.untold():
            _LOG.warning("%s", one)
        if not self._owns:
            return
        if self._desk.control is not None:
            self._desk.control.close(min(timeout, _CLOSE))
        self._desk.provider.close(min(timeout, _CLOSE))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _scope(scope: Scope | str) -> Scope:
    return Scope.parse(scope) if isinstance(scope, str) else scope
