"""A plan is carried out once, whatever happens in the middle of it, and can be taken back."""

import errno
import json
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from downhaul.backends.memory import MemoryProvider
from downhaul.control import Operator
from downhaul.errors import DocumentError, Refused, Unreachable, VersionConflict
from downhaul.flag import Clause, Flag, FlagSet, Keys, Rule, Segment
from downhaul.flag import Operator as How
from downhaul.migrate import applying
from downhaul.migrate.applying import Outcome, apply_plan, check_accepted
from downhaul.migrate.journal import Journal
from downhaul.migrate.plan import Plan, SideRef
from downhaul.migrate.planning import plan_items
from downhaul.migrate.reverting import Undone, revert
from downhaul.provider import Change, whole

IN_BETA = Rule("on", (Clause("", How.IN_SEGMENT, ("beta",)),))
FLAGS = [
    Flag.boolean("agent", percent=25),
    Flag.boolean("checkout", allow=["u1"], rules=(IN_BETA,)),
    Flag.boolean("old", on=False),
]
SEGMENT = Segment("beta", included=(Keys(frozenset({"u1"})),))


class Target(MemoryProvider):
    """A backend that counts its writes, and fails or dies where it is told to."""

    def __init__(self, flag_set=None):
        super().__init__(flag_set or FlagSet())
        self.writes = []
        self.fails = {}
        self.dies_at = None

    def _wrote(self, verb, key):
        self.writes.append((verb, key))
        if self.dies_at == len(self.writes):
            raise KeyboardInterrupt

    def _tried(self, verb, key):
        error = self.fails.get((verb, key)) or self.fails.get(verb)
        if error is not None:
            raise error

    def put(self, flag, change, *, expected=None):
        self._tried("put", flag.key)
        made = super().put(flag, change, expected=expected)
        self._wrote("put", flag.key)
        return made

    def put_segment(self, segment, change, *, expected=None):
        made = super().put_segment(segment, change, expected=expected)
        self._wrote("segment", segment.key)
        return made

    def switch_on(self, key, change):
        self._tried("on", key)
        made = super().switch_on(key, change)
        self._wrote("on", key)
        return made

    def delete(self, key, change, *, expected=None):
        super().delete(key, change, expected=expected)
        self._wrote("delete", key)


@pytest.fixture
def no_naps(monkeypatch):
    clock = count()
    monkeypatch.setattr(applying.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(applying.time, "sleep", lambda _seconds: None)


class Migration:
    """One migration between two backends in memory, applied as often as one likes."""

    def __init__(self, folder, flags=FLAGS, segments=(SEGMENT,), there=()):
        self.source = MemoryProvider(FlagSet.of(flags, segments))
        self.target = Target(FlagSet.of(there))
        self.folder = folder
        self.plan = self.planned()

    def planned(self):
        old, new = SideRef("db", "memory", "memory:a"), SideRef("new", "memory", "memory:b")
        items = plan_items(self.source.export(), whole(self.target.list()), self.target.fit)
        return Plan(old, new, "default", "2026-11-22T10:00:00Z", items=items)

    @property
    def journal(self):
        return Journal(self.folder / "plan.journal", "one")

    def apply(self):
        with self.operator() as operator:
            return apply_plan(self.plan, self.source, operator.desk, self.journal)

    def revert(self, **more):
        with self.operator() as operator:
            return {one.key: one for one in revert(self.plan, operator.desk, self.journal, **more)}

    def operator(self):
        return Operator(self.target, self.target.control, actor="ana")

    def there(self):
        return self.target.list()


@pytest.fixture
def moving(tmp_path, no_naps):
    return Migration(tmp_path)


@pytest.mark.rule("M2")
def test_all_is_written_off_first_then_on(moving):
    applied = moving.apply()
    assert applied.whole
    assert applied.count(Outcome.WRITTEN) == 4
    assert moving.target.writes == [
        ("segment", "beta"),
        ("put", "agent"),
        ("put", "checkout"),
        ("put", "old"),
        ("on", "agent"),
        ("on", "checkout"),
    ]
    there = moving.there()
    assert [there.flags[key].on for key in ("agent", "checkout", "old")] == [True, True, False]
    assert there.flags["agent"].default.weights == FLAGS[0].default.weights


@pytest.mark.rule("M2")
def test_a_second_run_writes_nothing(moving):
    moving.apply()
    before = moving.there()
    moving.target.writes.clear()
    applied = moving.apply()
    assert moving.target.writes == []
    assert applied.count(Outcome.UNCHANGED) == 4
    assert moving.there() == before
    assert {one.action for one in moving.planned().items} == {"same"}


@pytest.mark.rule("M2")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_one_that_dies_in_the_middle_goes_on_to_the_same_end(tmp_path_factory, no_naps, deaths):
    folder = tmp_path_factory.mktemp("run")
    whole_run, moving = Migration(tmp_path_factory.mktemp("other")), Migration(folder)
    whole_run.apply()
    for death in deaths:
        moving.target.writes.clear()
        moving.target.dies_at = death
        try:
            moving.apply()
        except KeyboardInterrupt:
            continue
    moving.target.dies_at = None
    assert moving.apply().whole
    for key, flag in whole_run.there().flags.items():
        assert replace(moving.there().flags[key], version="") == replace(flag, version="")
    assert moving.there().segments.keys() == whole_run.there().segments.keys()


def test_one_that_fails_is_named_and_keeps_no_other_from_moving(moving):
    moving.target.fails["put", "agent"] = Unreachable("the answer was 500", provider="memory")
    applied = moving.apply()
    assert not applied.whole
    assert not applied.stopped
    failed = {one.item.key: one.error for one in applied.rows if one.outcome is Outcome.FAILED}
    assert failed == {"agent": "the answer was 500"}
    assert moving.there().flags.keys() == {"checkout", "old"}
    moving.target.fails.clear()
    assert moving.journal.is_open()
    assert moving.apply().whole
    assert moving.there().flags["agent"].on


def test_one_that_cannot_be_turned_on_is_named(moving):
    moving.target.fails["on", "checkout"] = Refused("an approval is needed")
    applied = moving.apply()
    rows = {one.item.key: one for one in applied.rows}
    assert rows["checkout"].outcome is Outcome.FAILED
    assert rows["checkout"].error == "an approval is needed"
    assert rows["agent"].outcome is Outcome.WRITTEN
    assert not applied.whole


def test_a_backend_that_is_gone_is_not_asked_a_thousand_times(tmp_path, no_naps):
    moving = Migration(tmp_path, flags=[Flag.boolean(f"flag-{n}") for n in range(50)])
    tries = []
    moving.target.fails["put"] = Unreachable("no answer", provider="memory")
    original = moving.target._tried
    moving.target._tried = lambda verb, key: (tries.append(key), original(verb, key))
    applied = moving.apply()
    assert "no answer" in applied.stopped
    assert len(tries) == 3
    assert applied.count(Outcome.FAILED) == 50


@pytest.mark.rule("M2")
def test_what_went_missing_is_found_by_its_key(moving):
    original = moving.target.switch_on

    def lost(key, change):
        made = original(key, change)
        if key == "checkout":
            moving.target.delete("agent", change)
        return made

    moving.target.switch_on = lost
    applied = moving.apply()
    missing = [one.item.key for one in applied.rows if one.outcome is Outcome.MISSING]
    assert missing == ["agent"]
    assert not applied.whole


@pytest.mark.rule("M2")
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_stale_plan_is_refused_and_names_the_flag(tmp_path, no_naps, side):
    moving = Migration(tmp_path, there=[Flag.boolean("agent", percent=1)])
    getattr(moving, side).set_rollout("agent", "on", 40_000, Change("bo"))
    with pytest.raises(VersionConflict, match='flag "agent" changed at'):
        moving.apply()
    assert moving.target.writes == []


@pytest.mark.rule("M2")
def test_a_second_run_writes_nothing_over_what_somebody_changed_since(moving):
    moving.apply()
    moving.target.set_rollout("agent", "on", 40_000, Change("bo"))
    moving.target.writes.clear()
    with pytest.raises(VersionConflict, match='flag "agent" changed at new'):
        moving.apply()
    assert moving.target.writes == []
    assert moving.there().flags["agent"].default.weights[0].weight == 40_000


def test_a_run_that_failed_at_a_write_of_which_nobody_knows_the_end_goes_on(moving):
    """The backend did it, and its answer was lost."""
    original = MemoryProvider.put

    def lost(flag, change, *, expected=None):
        original(moving.target, flag, change, expected=expected)
        message = "the answer was lost"
        raise Unreachable(message, provider="memory")

    kept, moving.target.put = moving.target.put, lost
    moving.apply()
    moving.target.put = kept
    assert moving.apply().whole


def test_a_change_that_ends_where_the_plan_ends_is_no_conflict(moving):
    MemoryProvider.put_segment(moving.target, SEGMENT, Change("bo"))
    for flag in FLAGS:
        MemoryProvider.put(moving.target, flag, Change("bo"))
    applied = moving.apply()
    assert applied.whole
    assert moving.target.writes == []


@pytest.mark.rule("M1")
def test_a_loss_has_to_be_accepted_by_class_or_by_flag(moving):
    from downhaul.ledger import Fidelity, LedgerEntry

    loss = LedgerEntry("agent", "flags.agent", Fidelity.PARTIAL, "other users", loss="rebucket")
    items = [
        replace(one, losses=(loss,)) if one.key == "agent" else one for one in moving.plan.items
    ]
    plan = replace(moving.plan, items=tuple(items))
    with pytest.raises(Refused, match='"agent"') as told:
        check_accepted(plan)
    assert "--accept-loss rebucket" in told.value.hint
    with pytest.raises(Refused):
        check_accepted(plan, ["names"], ["checkout"])
    check_accepted(plan, ["rebucket"])
    check_accepted(plan, [], ["agent"])


def test_taking_back_removes_what_was_made_and_restores_what_was_changed(tmp_path, no_naps):
    moving = Migration(tmp_path, there=[Flag.boolean("agent", percent=1, owner="bo")])
    moving.apply()
    rows = moving.revert()
    assert {key: one.outcome for key, one in rows.items()} == {
        "agent": Undone.RESTORED,
        "checkout": Undone.REMOVED,
        "old": Undone.REMOVED,
        "beta": Undone.REMOVED,
    }
    there = moving.there()
    assert list(there.flags) == ["agent"]
    assert there.flags["agent"].owner == "bo"
    assert there.flags["agent"].default.weights[0].weight == 1_000
    assert not there.segments


def test_taking_back_leaves_what_is_somebody_elses(tmp_path, no_naps):
    moving = Migration(tmp_path, there=[Flag.boolean("theirs")])
    moving.apply()
    moving.target.set_rollout("agent", "on", 30_000, Change("bo"))
    rows = moving.revert(serving=["checkout"])
    assert rows["agent"].outcome is Undone.KEPT
    assert "somebody changed it" in rows["agent"].reason
    assert rows["checkout"].outcome is Undone.KEPT
    assert "serves users already" in rows["checkout"].reason
    assert rows["old"].outcome is Undone.REMOVED
    assert moving.there().flags.keys() == {"theirs", "agent", "checkout"}


def test_taking_back_finds_what_an_apply_that_died_had_made(moving):
    moving.target.dies_at = 2
    with pytest.raises(KeyboardInterrupt):
        moving.apply()
    assert list(moving.there().flags) == ["agent"]
    rows = moving.revert()
    assert rows["agent"].outcome is Undone.REMOVED
    assert not moving.there().flags


def test_a_dry_run_takes_nothing_back(moving):
    moving.apply()
    moving.target.writes.clear()
    rows = moving.revert(dry_run=True)
    assert rows["agent"].outcome is Undone.REMOVED
    assert moving.target.writes == []


def test_a_journal_of_another_plan_is_refused(moving):
    moving.apply()
    with pytest.raises(Refused, match="another plan"):
        Journal(moving.journal.path, "two").read()


def test_a_line_that_was_cut_off_is_gone_on_from(moving):
    moving.target.dies_at = 3
    with pytest.raises(KeyboardInterrupt):
        moving.apply()
    path = moving.journal.path
    path.write_bytes(path.read_bytes()[:-20])
    moving.target.dies_at = None
    assert moving.apply().whole
    assert not moving.journal.is_open()
    assert moving.revert()["agent"].outcome is Undone.REMOVED


def test_a_file_that_is_no_journal_is_left_alone(moving):
    moving.journal.path.write_text('{"format": "mine"}\n')
    with pytest.raises(DocumentError, match="no journal"):
        moving.apply()
    assert json.loads(moving.journal.path.read_text()) == {"format": "mine"}


def test_a_full_disk_stops_before_the_write_that_could_not_be_noted(moving, monkeypatch):
    monkeypatch.setattr(
        "downhaul.migrate.journal.os.fsync",
        lambda _file: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")),
    )
    with pytest.raises(OSError, match="No space left") as failed:
        moving.apply()
    assert failed.value.filename == str(moving.journal.path)
    assert moving.target.writes == []
