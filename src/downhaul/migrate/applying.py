"""Carrying a plan out: off first, one flag after the other, noted down, and looked over at the end.

What is there already is left alone, so that a second run writes nothing and one that was killed
goes on. A flag that fails keeps no other from moving, unless the backend itself is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from downhaul.control.desk import Desk
from downhaul.control.policy import need_a_name, need_right_in_full
from downhaul.control.raising import refuse_raising
from downhaul.encoding import flag_from_data, segment_from_data
from downhaul.errors import DownhaulError, Refused, Unreachable, VersionConflict
from downhaul.flag import Flag, FlagSet, Segment
from downhaul.migrate.journal import DONE, END, FAILED, STARTED, Entry, Journal
from downhaul.migrate.likeness import digest, plainest
from downhaul.migrate.plan import ABSENT, Action, Item, Plan
from downhaul.provider import ABSENT as NOT_THERE
from downhaul.provider import Change, FlagProvider

Progress = Callable[[int, int], None]
_NAMED: Final = 5  # flags that a sentence names; the others are counted
_GIVEN_UP: Final = 3  # failures in a row to reach the backend, after which it counts as gone
_AGAIN: Final = 0.25  # seconds between two looks whether the target shows what was written
_PATIENCE: Final = 5.0  # seconds beyond what the target says it may take


class Outcome(StrEnum):
    """How it went with one item."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    MISSING = "missing"
    """It was written, and is not there, or not as it was written."""
    LEFT = "left"
    """Manual or skipped: nothing was to be written."""


@dataclass(frozen=True, slots=True)
class Row:
    """One item, and how it went. ``after`` is the digest of what the target has now."""

    item: Item
    outcome: Outcome
    error: str = ""
    after: str = ABSENT
    created: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """A whole run. ``stopped`` says why it did not come to its end."""

    rows: tuple[Row, ...]
    stopped: str = ""

    def count(self, outcome: Outcome) -> int:
        """Return how many items went so."""
        return sum(one.outcome is outcome for one in self.rows)

    @property
    def whole(self) -> bool:
        """Whether all that was to be written is there."""
        return not self.stopped and not (self.count(Outcome.FAILED) + self.count(Outcome.MISSING))


def check_accepted(plan: Plan, classes: Iterable[str] = (), flags: Iterable[str] = ()) -> None:
    """Raise Refused, naming flags and classes, where a loss was accepted by nobody (rule M1)."""
    blocking = plan.blocking(classes, flags)
    if not blocking:
        return
    missing = sorted({name for one in blocking for name in one.classes} - set(classes))
    named = ", ".join(f'"{one.key}"' for one in blocking[:_NAMED])
    more = f" and {len(blocking) - _NAMED} more" if len(blocking) > _NAMED else ""
    message = f"{len(blocking)} of {len(plan.items)} can't be moved without a loss: {named}{more}"
    hint = (
        f"accept it by class, --accept-loss {','.join(missing)}, or by flag, --accept-loss-for "
        "KEY; `migrate show PLAN KEY` says what is lost"
    )
    raise Refused(message, hint=hint)


def apply_plan(
    plan: Plan,
    source: FlagProvider,
    desk: Desk,
    journal: Journal,
    *,
    reason: str = "",
    progress: Progress | None = None,
) -> Applied:
    """Do what a plan says, and return how it went with each item.

    ``desk`` is the target's. Nothing is written where a side changed since the plan was made:
    raises VersionConflict, which names the flags. What fails later is told in the rows.
    """
    need_a_name(desk, "move flags")
    noted = journal.read()
    there = desk.provider.list()
    _refuse_stale(plan, source.export().flag_set(), there, noted)
    run = _Run(plan, desk, journal, desk.change(reason or f"moved from {plan.source.name}"), there)
    run.go(noted, progress)
    return run.settled()


def _refuse_stale(plan: Plan, source: FlagSet, there: FlagSet, noted: Sequence[Entry]) -> None:
    left = _left_by(noted)
    stale: list[str] = []
    for item in plan.items:
        if not item.writes:
            continue
        if item.entity == "flag" and _digest(source.flags.get(item.key)) != item.source:
            stale.append(f'flag "{item.key}" changed at {plan.source.name}')
        now = _there(there, item)
        ours = item.name in left and left[item.name].may_be(now)
        if _digest(now) != item.target and not _is_so(item, now) and not ours:
            stale.append(f'{item.entity} "{item.key}" changed at {plan.target.name}')
    if stale:
        message = f"the plan of {plan.created_at} is stale: {'; '.join(stale[:_NAMED])}"
        more = f"; and {len(stale) - _NAMED} more" if len(stale) > _NAMED else ""
        hint = "make the plan anew, and look at it again; nothing was written"
        raise VersionConflict(message + more, hint=hint)


@dataclass(slots=True)
class _Left:
    """What earlier runs of a plan left of an item, as far as their journal tells.

    ``open`` says that the last write was tried, and that nobody knows how it ended.
    """

    versions: set[str] = field(default_factory=set)
    looked: str = ABSENT
    open: bool = False
    created: bool = False

    def take(self, entry: Entry) -> None:
        """Take in a line of the journal."""
        self.created = self.created or entry.created
        self.open = entry.status != DONE
        if entry.version:
            self.versions.add(entry.version)
        if entry.after:
            self.looked = entry.after

    def is_so(self, now: Flag | Segment) -> bool:
        """Return whether what is there is what a run left there."""
        return now.version in self.versions or (bool(self.looked) and digest(now) == self.looked)

    def may_be(self, now: Flag | Segment | None) -> bool:
        """Return whether what is there may be what a run left, so that it can be gone on from.

        What somebody changed after that is theirs, and never written over.
        """
        return self.open or (now is not None and self.is_so(now))


def _left_by(noted: Sequence[Entry]) -> dict[tuple[str, str], _Left]:
    found: dict[tuple[str, str], _Left] = {}
    for entry in noted:
        if entry.key:
            found.setdefault(entry.name, _Left()).take(entry)
    return found


@dataclass(slots=True)
class _Run:
    plan: Plan
    desk: Desk
    journal: Journal
    change: Change
    there: FlagSet
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    left: dict[tuple[str, str], _Left] = field(default_factory=dict)
    stopped: str = ""
    _silent: int = 0

    def go(self, noted: Sequence[Entry], progress: Progress | None) -> None:
        """Write what is to be written, then turn on what is to be on."""
        self.left = _left_by(noted)
        todo = [one for one in self.plan.items if one.writes]
        steps = [("write", one) for one in todo] + [("on", one) for one in todo if _is_on(one)]
        for number, (step, item) in enumerate(steps, start=1):
            if self.stopped:
                break
            act = self._write if step == "write" else self._turn_on
            self._try(item, step, act)
            if progress is not None:
                progress(number, len(steps))

    def _try(self, item: Item, step: str, act: Callable[[Item], Flag | Segment | None]) -> None:
        before = self.rows.get(item.name)
        if before is not None and before.outcome is Outcome.FAILED:
            return
        left = self.left.get(item.name)
        created = item.action is Action.CREATE or (left is not None and left.created)
        try:
            after = act(item)
        except DownhaulError as error:
            self._silent = self._silent + 1 if isinstance(error, Unreachable) else 0
            self.journal.note(
                Entry(item.entity, item.key, step, FAILED, error=str(error), created=False)
            )
            self.rows[item.name] = Row(item, Outcome.FAILED, str(error), created=created)
            if self._silent >= _GIVEN_UP:
                self.stopped = f"{self.plan.target.name} does not answer: {error}"
            return
        self._silent = 0
        wrote = after is not None or (before is not None and before.outcome is Outcome.WRITTEN)
        outcome = Outcome.WRITTEN if wrote else Outcome.UNCHANGED
        self.rows[item.name] = Row(item, outcome, created=created)

    def _write(self, item: Item) -> Flag | Segment | None:
        """Write an item without turning anything on; return None where it is there already."""
        now = _there(self.there, item)
        left = self.left.get(item.name)
        if _is_so(item, now) or (left is not None and now is not None and left.is_so(now)):
            return None
        wanted = _wanted(item)
        expected = NOT_THERE if now is None else now.version or None
        self.journal.note(
            Entry(item.entity, item.key, "write", STARTED, before=item.before, created=now is None)
        )
        written: Flag | Segment
        if isinstance(wanted, Segment):
            written = self.desk.provider.put_segment(wanted, self.change, expected=expected)
        else:
            written = self._put(wanted, now if isinstance(now, Flag) else None, expected)
        self.journal.note(
            Entry(
                item.entity,
                item.key,
                "write",
                DONE,
                version=written.version,
                created=now is None,
            )
        )
        return written

    def _put(self, wanted: Flag, now: Flag | None, expected: str | None) -> Flag:
        off = replace(wanted, on=wanted.on and now is not None and now.on)
        refuse_raising(self.desk, now, off)
        need_right_in_full(self.desk, now, off)
        return self.desk.provider.put(off, self.change, expected=expected)

    def _turn_on(self, item: Item) -> Flag | None:
        now = self.desk.provider.get(item.key)
        if now is None:
            message = f'flag "{item.key}" was written to {self.plan.target.name}, and is not there'
            raise Refused(message, flag=item.key, hint="apply the plan again")
        if now.on:
            return None
        refuse_raising(self.desk, now, replace(now, on=True))
        need_right_in_full(self.desk, now, replace(now, on=True))
        self.journal.note(Entry(item.entity, item.key, "on", STARTED))
        after = self.desk.provider.switch_on(item.key, self.change)
        self.journal.note(Entry(item.entity, item.key, "on", DONE, version=after.version))
        return after

    def settled(self) -> Applied:
        """Look the target over by its keys, and return how it went (rule M2)."""
        until = time.monotonic() + self.desk.provider.publishes_within + _PATIENCE
        while True:
            there = self.desk.provider.list() if not self.stopped else self.there
            rows = [self._row(item, there) for item in self.plan.items]
            missing = any(one.outcome is Outcome.MISSING for one in rows)
            if self.stopped or not missing or time.monotonic() > until:
                break
            time.sleep(_AGAIN)
        for row in rows:
            if row.outcome is Outcome.WRITTEN:
                self.journal.note(
                    Entry(row.item.entity, row.item.key, "look", DONE, after=row.after)
                )
        applied = Applied(tuple(rows), self.stopped)
        if applied.whole:
            self.journal.note(Entry("", "", END, DONE))
        return applied

    def _row(self, item: Item, there: FlagSet) -> Row:
        now = _there(there, item)
        if item.action is Action.SAME:
            outcome = Outcome.UNCHANGED if now is not None else Outcome.MISSING
            return Row(item, outcome, after=_digest(now))
        if not item.writes:
            return Row(item, Outcome.LEFT)
        row = self.rows.get(item.name)
        if row is None:
            return Row(item, Outcome.FAILED, "it was not come to")
        if row.outcome is Outcome.FAILED:
            return replace(row, after=_digest(now))
        if now is None or (isinstance(now, Flag) and now.on is not _is_on(item)):
            why = "it is not there" if now is None else f"it is {'on' if _on(now) else 'off'}"
            return Row(item, Outcome.MISSING, why, _digest(now), row.created)
        return replace(row, after=_digest(now))


def _is_so(item: Item, now: Flag | Segment | None) -> bool:
    """Return whether the target has what is wanted, but for being off still."""
    if now is None or item.wanted is None:
        return False
    wanted = _wanted(item)
    if isinstance(wanted, Flag) and isinstance(now, Flag) and wanted.on:
        wanted = replace(wanted, on=now.on)
    return bool(plainest(wanted) == plainest(now))


def _wanted(item: Item) -> Flag | Segment:
    assert item.wanted is not None  # noqa: S101  (items that write have it)
    return flag_from_data(item.wanted) if item.entity == "flag" else segment_from_data(item.wanted)


def _there(flag_set: FlagSet, item: Item) -> Flag | Segment | None:
    many: Any = flag_set.flags if item.entity == "flag" else flag_set.segments
    found: Flag | Segment | None = many.get(item.key)
    return found


def _digest(one: Flag | Segment | None) -> str:
    return ABSENT if one is None else digest(one)


def _is_on(item: Item) -> bool:
    return item.entity == "flag" and bool((item.wanted or {}).get("on"))


def _on(one: Flag | Segment) -> bool:
    return isinstance(one, Flag) and one.on
