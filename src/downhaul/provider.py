"""The seam that backends fill: one interface to evaluate on, one to manage through.

A backend that supplies rules (memory, file, SQL) declares :attr:`Capability.FLAG_SET` and publishes
a :class:`FlagSet`; the core compiles and evaluates it, and never calls ``resolve``. A backend that
resolves by itself (a vendor's SDK) is asked through ``resolve``. Managing is narrow verbs; a
provider overrides the ones it declares, and all others refuse by name (rule P4).

The seam is synchronous. A provider calls its :class:`Listener` from whatever thread it likes.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from downhaul.context import Context
from downhaul.errors import ReadOnly, UnsupportedCapability
from downhaul.evaluator.asking import Ask
from downhaul.evaluator.asking import (
    portable_attribute as portable_attribute,  # noqa: PLC0414  (what a provider writes a rule for)
)
from downhaul.flag import Flag, FlagKind, Segment
from downhaul.flag import FlagSet as FlagSet  # noqa: PLC0414  (what a provider publishes ...
from downhaul.flag import FlagSetDelta as FlagSetDelta  # noqa: PLC0414  ... is named here too)
from downhaul.ledger import Fidelity, Ledger, LedgerEntry, Translation
from downhaul.overlay import KillRecord, Scope
from downhaul.result import Result

ABSENT: Final = "<absent>"
"""As ``expected`` version: the flag must not exist yet, so the write creates it."""


class Capability(StrEnum):
    """What a provider can do. Declared once, on the provider, and tested both ways (rule P4)."""

    FLAG_SET = "flag_set"
    """Publishes rules, which the core evaluates: explaining and evaluating all flags are whole."""
    RESOLVE = "resolve"
    """Evaluates by itself when asked."""
    READ = "read"
    """``get`` and ``list`` show the flags as they are kept."""
    WRITE = "write"
    """``put`` and ``delete`` replace whole flags; the narrow verbs work too."""
    SEGMENTS = "segments"
    COMPARE_AND_SET = "compare_and_set"
    """``expected`` is checked by the backend in the write itself, so no update can be lost."""
    HISTORY = "history"
    """Keeps the ``changes`` of its flags in the same transaction as the flags themselves."""
    SNAPSHOT = "snapshot"
    WATCH = "watch"
    """Tells the application of changes by itself, without a restart."""


def of_one_sort(one: Iterable[Capability], other: Iterable[Capability]) -> bool:
    """Return whether two backends are asked in one way: both publish rules, or both decide."""
    source = {Capability.FLAG_SET, Capability.RESOLVE}
    return source.intersection(one) == source.intersection(other)


class State(StrEnum):
    """How a provider stands (rule P2)."""

    READY = "READY"
    NOT_READY = "NOT_READY"
    STALE = "STALE"
    ERROR = "ERROR"
    FATAL = "FATAL"


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """A provider's state, and how old the data is that it serves.

    ``age`` is in seconds since the backend last confirmed the data; None where there is none.
    """

    state: State
    message: str = ""
    age: float | None = None


@dataclass(frozen=True, slots=True)
class Answering:
    """Which backend answers, of a provider that is made of several.

    ``name`` is what results name as their provider. ``asked`` takes ``resolve`` of the outermost
    provider, and returns what asks through it with this one backend answering, whoever is in
    charge by then: so all answers of one moment come from one backend.
    """

    name: str
    asked: Callable[[Ask], Ask]


class Listener(Protocol):
    """What the core gives a provider to talk to. Calls return soon, and raise nothing."""

    def replaced(self, flag_set: FlagSet, by: Answering | None = None) -> None:
        """The whole flag set is now this one.

        A provider that is made of several says ``by`` whom it is answered from now on.
        """

    def changed(self, delta: FlagSetDelta) -> None:
        """These flags and segments changed, all at once."""

    def keys_changed(self, keys: Iterable[str]) -> None:
        """A resolving backend's flags changed (their rules are not ours to see)."""

    def status_changed(self, status: ProviderStatus) -> None:
        """The provider's state moved."""


class KillListener(Protocol):
    """What the core gives a control store to talk to."""

    def kills(self, records: Iterable[KillRecord]) -> None:
        """The store's words on kills, all of them or the new ones. Order doesn't matter."""


@dataclass(frozen=True, slots=True)
class Change:
    """Who writes, and why (rule X4). ``marked`` says that the actor is only the login name."""

    actor: str
    reason: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    marked: bool = False


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """One row of the append-only history: what was done to what, by whom, and how it looked.

    ``entity`` is ``flag``, ``segment`` or ``kill``; ``before`` and ``after`` are documents (None
    where there was nothing). ``at`` is RFC 3339 in UTC, from the store's clock.
    """

    id: int
    change_id: str
    at: str
    environment: str
    entity: str
    key: str
    action: str
    actor: str
    marked: bool = False
    reason: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    version: str = ""


ChangeRecords = list[ChangeRecord]
"""A page of the history. Named here, because within a provider ``list`` is a method."""


@dataclass(frozen=True, slots=True)
class ProviderSnapshot:
    """A flag's state at a provider, taken so that it can be restored exactly (rule P5).

    ``document`` is the provider's own; ``version`` what the flag stood at.
    """

    flag: str
    provider: str
    version: str
    document: Mapping[str, Any]
    taken_at: str


class FlagProvider:
    """Base of every backend. Override what the capabilities declare; the rest refuses by name.

    One object serves one environment of one backend, for one process. ``start`` and ``close`` are
    called once each by the core (``close`` maybe more often); all else may come from any thread.
    """

    name: str = ""
    capabilities: frozenset[Capability] = frozenset()
    """What it can do. An object that lacks what it takes (an admin token) declares less."""
    publishes_within: float = 0.0
    """Seconds for which the backend may still hand out a flag from before a write to it."""
    archives: bool = False
    """Whether a flag that was deleted can be brought back as it was."""

    # Evaluating

    def start(self, listener: Listener) -> None:
        """Begin to load and to follow the backend. Doesn't block (rule P1)."""
        raise NotImplementedError

    def wait_ready(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the backend's first payload; return if it came."""
        raise NotImplementedError

    def status(self) -> ProviderStatus:
        """Return how the provider stands, now. Does no I/O."""
        raise NotImplementedError

    def close(self, timeout: float = 2.0) -> None:
        """Stop within ``timeout`` seconds, whatever the backend does. Again: nothing."""
        raise NotImplementedError

    def after_fork(self) -> None:
        """Follow changes again in a forked child, which has no threads of the parent (rule P3)."""

    def resolve(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        """Evaluate one flag at the backend. Raises nothing: errors are results with a code."""
        raise self._unsupported(Capability.RESOLVE)

    # Managing: each write takes a Change, and is read back before it returns (rules P5, P6)

    def get(self, key: str) -> Flag | None:
        """Return the flag as it is kept now, or None."""
        raise self._unsupported(Capability.READ)

    def list(self) -> FlagSet:
        """Return all flags and segments as they are kept now."""
        raise self._unsupported(Capability.READ)

    def put(self, flag: Flag, change: Change, *, expected: str | None = None) -> Flag:
        """Write a whole flag and return it with its new version.

        ``expected`` is the version that it must have now, or ABSENT to create; None writes
        whatever is there. Raises VersionConflict where that does not hold.
        """
        raise self._unsupported(Capability.WRITE)

    def delete(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a flag. Raises FlagNotFound, VersionConflict."""
        raise self._unsupported(Capability.WRITE)

    def switch_on(self, key: str, change: Change) -> Flag:
        """Turn the flag on; nothing else of it changes."""
        raise self._unsupported(Capability.WRITE)

    def switch_off(self, key: str, change: Change) -> Flag:
        """Turn the flag off; nothing else of it changes. Off serves the off variant."""
        raise self._unsupported(Capability.WRITE)

    def set_rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Give ``variant`` ``weight`` thousandths of a percent of the flag's default split."""
        raise self._unsupported(Capability.WRITE)

    def check_rollout(
        self, key: str, variant: str, weights: Iterable[int], targets: Iterable[str]
    ) -> None:
        """Raise Refused for what ``set_rollout`` or ``set_targets`` would refuse as the flag is.

        Writes nothing. Override it where the backend refuses more than the flag itself can tell,
        so that a rollout is told before it starts and not in the middle.
        """

    def set_targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Make ``keys`` (of kind ``user``) the targets of one variant; they leave the others."""
        raise self._unsupported(Capability.WRITE)

    def put_segment(
        self, segment: Segment, change: Change, *, expected: str | None = None
    ) -> Segment:
        """Write a whole segment and return it with its new version."""
        raise self._unsupported(Capability.SEGMENTS)

    def delete_segment(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a segment. Raises Refused while a flag or another segment names it."""
        raise self._unsupported(Capability.SEGMENTS)

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return the flag's state so that :meth:`restore` can bring it back exactly."""
        raise self._unsupported(Capability.SNAPSHOT)

    def restore(
        self, snapshot: ProviderSnapshot, change: Change, *, expected: str | None = None
    ) -> Flag:
        """Bring a snapshot back as a new version."""
        raise self._unsupported(Capability.SNAPSHOT)

    def history(
        self, key: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> ChangeRecords:
        """Return the newest changes first, of a flag or of all; page on with ``before``, an id."""
        raise self._unsupported(Capability.HISTORY)

    # Moving

    def export(self) -> Translation:
        """Return all flags and segments as they decide here, and a ledger of each (rule M1).

        Each split says whose hash it is by, with its seed or salt, so that it chooses the same
        users elsewhere (rule E9). Reads the backend anew; needs no token to manage with where the
        backend tells its SDKs all that they decide by.
        """
        return whole(self.list())

    def fit(self, flag_set: FlagSet) -> Translation:
        """Return the flags and segments as this backend would keep them, and a ledger of each.

        A part that it can't keep is PARTIAL or MANUAL, with the reason; a flag that it can't keep
        at all is left out. Whatever is in the answer can be ``put``. Asks nobody.
        """
        return whole(flag_set)

    def _unsupported(self, capability: Capability) -> UnsupportedCapability | ReadOnly:
        if capability is Capability.WRITE and Capability.READ in self.capabilities:
            message = f'provider "{self.name}" takes no writes'
            return ReadOnly(message, provider=self.name, hint="change the flag where it is kept")
        return UnsupportedCapability(capability.value, provider=self.name)


def whole(flag_set: FlagSet) -> Translation:
    """Return a flag set as the translation in which nothing is lost."""
    paths = [
        *((key, f"flags.{key}") for key in flag_set.flags),
        *(("", f"segments.{key}") for key in flag_set.segments),
    ]
    return Translation(
        tuple(flag_set.flags.values()),
        tuple(flag_set.segments.values()),
        Ledger(tuple(LedgerEntry(flag, path, Fidelity.FULL) for flag, path in paths)),
    )


WRITES: Final = frozenset(
    {
        "put",
        "delete",
        "switch_on",
        "switch_off",
        "set_rollout",
        "set_targets",
        "put_segment",
        "delete_segment",
        "restore",
    }
)
"""The verbs of :class:`FlagProvider` that change something at the backend."""


class ControlStore(Protocol):
    """Where kills and the history of changes live, for one environment (rules K3, X4).

    A SQL provider's own database serves as one. Reading may fail with Unreachable; what was known
    goes on holding.
    """

    identity: str
    """Names this store for good; a new database has a new one. Empty until first reached."""

    def start(self, listener: KillListener) -> None:
        """Begin to follow kills. Doesn't block."""

    def wait_ready(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the kills to be read once; return whether it came."""

    def status(self) -> ProviderStatus:
        """Return how the store stands, now. Does no I/O."""

    def close(self, timeout: float = 2.0) -> None:
        """Stop within ``timeout`` seconds."""

    def after_fork(self) -> None:
        """Follow kills again in a forked child."""

    def kills(self) -> list[KillRecord]:
        """Return the last record of each scope, revives included, as the store has them now."""

    def record_kill(
        self,
        scope: Scope,
        change: Change,
        *,
        killed: bool,
        lift_others: bool = False,
        everywhere: bool = False,
        waits: bool = False,
    ) -> KillRecord:
        """Commit a kill or a revive; ``everywhere`` speaks for all environments (``*``).

        ``waits`` is said of a revive, and kept with it.

        Idempotent: where the store's last word is the same already, that record is returned and
        the history gets nothing (a kill that stands may be said again under a new sequence). A
        revive with ``lift_others`` is always a record of its own: it lifts the kills that other
        stores (a lost one, a restored backup's future) recorded before it.
        """

    def changes(
        self, key: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> list[ChangeRecord]:
        """Return the newest changes first; ``before`` is an id to page from."""


def utc_now() -> str:
    """Return the host's time as RFC 3339 in UTC, for records that no database stamps (rule E11)."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
