"""Changing a flag: what each verb writes, leaves alone, refuses, and says besides."""

import dataclasses
import threading

import pytest

from downhaul.control import Operator
from downhaul.errors import DocumentError, FlagNotFound, Refused, VersionConflict
from downhaul.flag import Flag, Segment, Target, Weight


def keys_of(flag, variant):
    return {key for one in flag.targets if one.variant == variant for key in one.keys}


@pytest.mark.rule("X4")
def test_every_write_is_recorded_with_its_actor_and_reason(operator):
    operator.percent("agent", 50, reason="looks good")
    record = operator.history("agent")[0].record
    assert (record.actor, record.reason, record.marked) == ("ana", "looks good", False)


@pytest.mark.rule("X4")
def test_a_login_name_is_marked_as_such(provider):
    with Operator(provider, provider.control, actor="root", marked=True) as operator:
        operator.off("agent")
        assert operator.history("agent")[0].record.marked


@pytest.mark.rule("X4")
def test_an_operator_has_a_name(provider):
    with pytest.raises(Refused, match="DOWNHAUL_ACTOR"):
        Operator(provider, provider.control, actor=" ")


def test_create_writes_a_flag_that_was_not_there(operator):
    result = operator.create(Flag.boolean("fresh", on=False))
    assert result.before is None
    assert result.after.version
    assert operator.get("fresh") == result.after


def test_creating_what_exists_is_a_conflict_and_changes_nothing(operator):
    before = operator.get("agent")
    with pytest.raises(VersionConflict):
        operator.create(Flag.boolean("agent"))
    assert operator.get("agent") == before


def test_a_bad_flag_is_refused_with_its_problems(operator):
    bad = Flag.boolean("bad", off_variant="gone")
    with pytest.raises(DocumentError) as caught:
        operator.create(bad)
    assert caught.value.problems


def test_an_unknown_flag_is_named_with_what_may_have_been_meant(operator):
    with pytest.raises(FlagNotFound, match='did you mean "agent"') as caught:
        operator.on("agemt")
    assert caught.value.flag == "agemt"


@pytest.mark.rule("P5")
@pytest.mark.parametrize("verb", ["on", "off"])
def test_switching_touches_nothing_but_the_switch(operator, verb):
    result = getattr(operator, verb)("agent")
    assert result.after.on is (verb == "on")
    assert dataclasses.replace(
        result.after, on=result.before.on, version=result.before.version
    ) == (result.before)


@pytest.mark.rule("P5")
def test_a_percentage_touches_nothing_but_the_split(operator):
    result = operator.percent("agent", 40)
    assert result.after.default.weights[0] == Weight("on", 40_000)
    assert [str(one) for one in result.differences] == [
        "default.split[on].weight: 25 % -> 40 %",
        "default.split[off].weight: 75 % -> 60 %",
    ]


@pytest.mark.parametrize("share", [-1, 100.5, 0.0001, float("nan")])
def test_a_percentage_that_is_none_is_refused(operator, share):
    with pytest.raises(ValueError, match="percentage"):
        operator.percent("agent", share)


def test_the_variant_is_inferred_where_there_is_but_one(operator):
    assert operator.percent("model", 10).after.default.weights[0] == Weight("new", 10_000)


def test_the_variant_is_asked_for_where_it_is_open(operator):
    with pytest.raises(Refused, match="--variant: a, b"):
        operator.percent("arms", 10)
    assert operator.percent("arms", 10, "a").after.default.weights[0] == Weight("a", 10_000)


def test_an_unknown_variant_is_refused_with_those_there_are(operator):
    with pytest.raises(Refused, match="it has on, off"):
        operator.percent("agent", 10, "maybe")


def test_it_says_when_a_raised_flag_serves_nobody_all_the_same(operator):
    operator.off("agent")
    operator.kill("tag:agents", "incident")
    warnings = operator.percent("agent", 50).warnings
    assert any("off" in one for one in warnings)
    assert any("killed (tag:agents)" in one for one in warnings)


def test_targets_are_added_and_removed(operator):
    operator.target("agent", add=["u1", "u2"])
    assert keys_of(operator.target("agent", add=["u3"], remove=["u1"]).after, "on") == {"u2", "u3"}


def test_denied_keys_go_to_the_off_variant_and_leave_the_others(operator):
    operator.target("agent", add=["u1", "u2"])
    after = operator.deny("agent", ["u1"]).after
    assert keys_of(after, "on") == {"u2"}
    assert keys_of(after, "off") == {"u1"}


def test_targets_can_be_set_whole_and_cleared(operator):
    operator.target("agent", add=["u1"])
    assert keys_of(operator.target("agent", keys=["u9"]).after, "on") == {"u9"}
    assert operator.target("agent", keys=[]).after.targets == ()


def test_targets_of_other_context_kinds_survive(operator):
    devices = Target("on", frozenset({"d1"}), context_kind="device")
    operator.set("agent", targets=(devices,))
    assert devices in operator.target("agent", add=["u1"]).after.targets


def test_targets_added_by_many_at_once_all_get_in(provider):
    def add(number):
        with Operator(provider, provider.control, actor=f"op-{number}") as one:
            for index in range(5):
                one.target("agent", add=[f"u{number}-{index}"])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(keys_of(provider.get("agent"), "on")) == 20


def test_setting_fields_leaves_the_others(operator):
    result = operator.set("agent", owner="team-a", description="v2")
    assert (result.after.owner, result.after.description) == ("team-a", "v2")
    assert result.after.default == result.before.default


@pytest.mark.rule("P6")
def test_a_document_read_at_an_older_version_is_a_conflict(operator):
    stale = operator.get("agent")
    operator.percent("agent", 30)
    with pytest.raises(VersionConflict):
        operator.put(dataclasses.replace(stale, owner="late"))
    assert operator.get("agent").owner == ""


def test_delete_takes_the_flag_away_and_history_keeps_it(operator):
    result = operator.delete("agent", "done")
    assert result.after is None
    assert operator.list().flags.keys() == {"model", "arms"}
    assert operator.history("agent")[0].record.action == "delete"


def test_segments_are_written_read_and_deleted(operator):
    created = operator.put_segment(Segment("beta", description="early"))
    assert created.before is None
    changed = operator.put_segment(dataclasses.replace(created.after, description="earliest"))
    assert [str(one) for one in changed.differences] == ['description: "early" -> "earliest"']
    operator.delete_segment("beta")
    with pytest.raises(FlagNotFound):
        operator.get_segment("beta")
