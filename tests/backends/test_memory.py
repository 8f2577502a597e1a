"""The backend in memory: what the seam asks of a backend with every capability."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from downhaul.backends.memory import MemoryProvider
from downhaul.errors import (
    DocumentError,
    FlagNotFound,
    Refused,
    UnsupportedCapability,
    VersionConflict,
)
from downhaul.flag import Clause, Flag, FlagKind, FlagSet, Operator, Rule, Segment, percentage
from downhaul.provider import ABSENT, Capability, Change, State

WHO = Change("anna", "because")
IN_BETA = Rule("on", (Clause("", Operator.IN_SEGMENT, ("beta",)),))


@pytest.fixture
def provider(heard):
    provider = MemoryProvider(FlagSet.of([Flag.boolean("a", percent=0)], [Segment("beta")]))
    provider.start(heard)
    return provider


# --- starting and stopping


@pytest.mark.rule("P1", "P2")
def test_it_is_ready_once_started_and_tells_what_it_has(heard):
    provider = MemoryProvider(FlagSet.of([Flag.boolean("a")]))
    assert provider.status().state is State.NOT_READY
    assert not provider.wait_ready(0)
    provider.start(heard)
    assert provider.wait_ready(0)
    assert provider.status().state is State.READY
    assert list(heard.flag_set.flags) == ["a"]
    for _ in range(2):
        provider.close()
    assert provider.status().state is State.NOT_READY
    provider.switch_off("a", WHO)
    assert heard.calls == ["replaced"]


@pytest.mark.rule("P4")
def test_it_declares_all_but_resolving(provider):
    assert provider.capabilities == set(Capability) - {Capability.RESOLVE}
    with pytest.raises(UnsupportedCapability, match="resolve"):
        provider.resolve("a", None, None)


# --- writing


@pytest.mark.rule("P5")
def test_a_narrow_verb_touches_only_its_own_field(provider, heard):
    before = provider.get("a")
    assert provider.switch_off("a", WHO) == replace(before, on=False, version="3")
    provider.switch_on("a", WHO)
    after = provider.set_rollout("a", "on", 25_000, WHO)
    assert after == replace(before, default=percentage("on", 25, rest="off"), version="5")
    after = provider.set_targets("a", "off", ["u1"], WHO)
    assert after.targets[0].keys == {"u1"}
    assert heard.flag_set.flags["a"] == provider.get("a") == after


@pytest.mark.rule("P6")
def test_versions_guard_a_write(provider):
    flag = Flag.boolean("b")
    made = provider.put(flag, WHO, expected=ABSENT)
    assert provider.get("b") == made
    with pytest.raises(VersionConflict) as caught:
        provider.put(flag, WHO, expected=ABSENT)
    assert (caught.value.expected, caught.value.found) == (ABSENT, made.version)
    newer = provider.put(replace(made, owner="x"), WHO, expected=made.version)
    with pytest.raises(VersionConflict):
        provider.put(made, WHO, expected=made.version)
    with pytest.raises(VersionConflict):
        provider.delete("b", WHO, expected=made.version)
    provider.delete("b", WHO, expected=newer.version)
    with pytest.raises(VersionConflict) as caught:
        provider.put(made, WHO, expected=newer.version)
    assert caught.value.found == ABSENT


@pytest.mark.rule("P6")
def test_a_flag_made_anew_has_no_version_that_it_had_before(provider):
    first = provider.put(Flag.boolean("b"), WHO)
    provider.delete("b", WHO)
    assert provider.put(Flag.boolean("b"), WHO).version != first.version


@pytest.mark.rule("P6")
def test_of_racing_writers_no_update_is_lost(provider):
    provider.put(Flag.boolean("n", description="0"), WHO)

    def add_one(_):
        while True:
            flag = provider.get("n")
            try:
                after = replace(flag, description=str(int(flag.description) + 1))
                return provider.put(after, WHO, expected=flag.version)
            except VersionConflict:
                continue

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_one, range(200)))
    assert provider.get("n").description == "200"


def test_what_is_not_there_is_not_found(provider):
    for verb in (
        lambda: provider.delete("x", WHO),
        lambda: provider.switch_off("x", WHO),
        lambda: provider.set_rollout("x", "on", 1, WHO),
        lambda: provider.snapshot("x"),
        lambda: provider.delete_segment("x", WHO),
    ):
        with pytest.raises(FlagNotFound):
            verb()
    assert provider.get("x") is None


def test_a_bad_flag_is_refused_with_its_problems_and_changes_nothing(provider, heard):
    before = provider.list()
    with pytest.raises(DocumentError) as caught:
        provider.put(Flag(key="b", default="onn", off_variant="of"), WHO)
    assert len(caught.value.problems) == 2
    with pytest.raises(DocumentError, match="no segment"):
        provider.put(
            Flag(
                key="b",
                default="on",
                rules=(replace(IN_BETA, clauses=(Clause("", Operator.IN_SEGMENT, ("betta",)),)),),
            ),
            WHO,
        )
    with pytest.raises(DocumentError):
        provider.put_segment(Segment("a b"), WHO)
    assert provider.list() is before
    assert heard.calls == ["replaced"]


def test_without_validation_anything_is_kept():
    provider = MemoryProvider(validate=False)
    assert provider.put(Flag(key="b", default="onn"), WHO).default == "onn"


def test_a_flag_that_something_is_wrong_with_still_goes_off():
    provider = MemoryProvider(FlagSet.of([Flag(key="b", default="onn", on=True)]))
    assert provider.switch_off("b", WHO).on is False


def test_what_was_written_is_out_of_the_callers_hands(provider):
    value = {"limit": 1}
    flag = Flag(key="o", kind=FlagKind.OBJECT, variants={"x": value}, off_variant="x", default="x")
    provider.put(flag, WHO)
    value["limit"] = 2
    assert provider.get("o").variants["x"] == {"limit": 1}


# --- segments


def test_a_segment_stays_while_something_names_it(provider, heard):
    provider.put(Flag.boolean("b", rules=(IN_BETA,)), WHO)
    with pytest.raises(Refused, match='named by flag "b"'):
        provider.delete_segment("beta", WHO)
    provider.delete("b", WHO)
    made = provider.put_segment(Segment("beta", description="new"), WHO)
    with pytest.raises(VersionConflict):
        provider.delete_segment("beta", WHO, expected="0")
    provider.delete_segment("beta", WHO, expected=made.version)
    assert heard.flag_set.segments == {}


# --- history and snapshots


@pytest.mark.rule("X4")
def test_every_write_is_on_record_with_who_why_before_and_after(provider):
    provider.set_rollout("a", "on", 25_000, WHO)
    provider.put(Flag.boolean("b"), WHO)
    provider.delete("b", Change("ben", marked=True))
    newest, *rest = provider.history()
    assert (newest.action, newest.actor, newest.marked) == ("delete", "ben", True)
    assert newest.before["key"] == "b"
    assert newest.after is None
    assert [one.action for one in rest] == ["create", "rollout"]
    (first,) = provider.history("a")
    assert (first.actor, first.reason, first.change_id) == ("anna", "because", WHO.id)
    assert [part["weight"] for part in first.before["default"]["split"]] == [0, 100_000]
    assert [part["weight"] for part in first.after["default"]["split"]] == [25_000, 75_000]


def test_history_is_read_in_pages(provider):
    for _ in range(5):
        provider.switch_off("a", WHO)
    first = provider.history("a", limit=2)
    second = provider.history("a", limit=2, before=first[-1].id)
    assert [one.id for one in first + second] == [5, 4, 3, 2]


@pytest.mark.rule("P5")
def test_a_snapshot_comes_back_exactly_as_a_new_version(provider):
    before = provider.put(Flag.boolean("a", percent=10, allow=["x"], owner="me"), WHO)
    snapshot = provider.snapshot("a")
    provider.set_rollout("a", "on", 100_000, WHO)
    back = provider.restore(snapshot, WHO)
    assert replace(back, version=before.version) == before
    assert back.version not in (before.version, snapshot.version)
    with pytest.raises(VersionConflict):
        provider.restore(snapshot, WHO, expected=before.version)
    provider.delete("a", WHO)
    assert replace(provider.restore(snapshot, WHO), version=before.version) == before
    with pytest.raises(Refused, match="of provider"):
        provider.restore(replace(snapshot, provider="other"), WHO)


# --- telling


def test_a_listener_that_writes_does_not_deadlock_and_hears_all_in_order(heard):
    class Writing(type(heard)):
        def changed(self, delta):
            super().changed(delta)
            if "b" in delta.flags and delta.flags["b"].on:
                provider.switch_off("b", WHO)

    listener = Writing()
    provider = MemoryProvider()
    provider.start(listener)
    provider.put(Flag.boolean("b"), WHO)
    assert listener.flag_set == provider.list()
    assert not provider.get("b").on


def test_a_listener_that_waits_for_a_writer_does_not_deadlock(heard):
    class Waiting(type(heard)):
        def changed(self, delta):
            super().changed(delta)
            if len(self.calls) == 2:
                other = threading.Thread(target=provider.switch_off, args=("b", WHO))
                other.start()
                other.join()

    listener = Waiting()
    provider = MemoryProvider()
    provider.start(listener)
    provider.put(Flag.boolean("b"), WHO)
    listener.wait_for(lambda one: len(one.calls) == 3)
    assert listener.flag_set == provider.list()


def test_a_listener_that_fails_loses_no_later_change(heard, caplog):
    class Failing(type(heard)):
        def changed(self, delta):
            super().changed(delta)
            raise RuntimeError("broken")

    listener = Failing()
    provider = MemoryProvider()
    provider.start(listener)
    for key in ("b", "c"):
        provider.put(Flag.boolean(key), WHO)
    assert list(listener.flag_set.flags) == ["b", "c"]
    assert "a listener failed" in caplog.text


def test_what_racing_writers_wrote_is_heard_whole_before_they_return(heard):
    provider = MemoryProvider(validate=False)
    provider.start(heard)

    def put(number):
        made = provider.put(Flag.boolean(f"f{number}"), WHO)
        assert heard.flag_set.flags[made.key].version == made.version

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(200)))
    assert heard.flag_set == provider.list()
