"""A plan says of every flag what would be written, who would change, and what is lost."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import flag_sets

from downhaul.encoding import flag_from_data
from downhaul.errors import DocumentError
from downhaul.flag import (
    Bucketing,
    Clause,
    Flag,
    FlagKind,
    FlagSet,
    Gate,
    Keys,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Segment,
    Split,
    Target,
    Weight,
)
from downhaul.ledger import Fidelity, Ledger, LedgerEntry, Translation
from downhaul.migrate.likeness import digest, pinned, plainest, users_who_change
from downhaul.migrate.plan import (
    Action,
    Item,
    Plan,
    SideRef,
    loss_class,
    plan_from_data,
    plan_to_data,
    read_plan,
    write_plan,
)
from downhaul.migrate.planning import REBUCKET, Choice, plan_items
from downhaul.provider import whole

EMPTY = Translation()
ON_SPLIT = Bucketing(Scheme.SPLIT, seed=7, total=100)


def items_of(flags, there=(), fit=whole, segments=(), **more):
    source = whole(FlagSet.of(flags, segments))
    found = plan_items(source, whole(FlagSet.of(there)), fit, **more)
    return {one.key: one for one in found}


def plan_of(items):
    old, new = SideRef("db", "sqlite", "sqlite:///a"), SideRef("ld", "launchdarkly", "x:")
    return Plan(old, new, "production", "2026-11-22T10:00:00Z", items=tuple(items))


def test_what_is_not_there_is_created_and_what_is_the_same_is_left():
    same, other = Flag.boolean("same"), Flag.boolean("other", percent=5)
    found = items_of(
        [Flag.boolean("new"), same, other], [replace(same, version="7"), Flag.boolean("other")]
    )
    assert {key: one.action for key, one in found.items()} == {
        "new": Action.CREATE,
        "same": Action.SAME,
        "other": Action.UPDATE,
    }
    assert found["other"].before["on"] is True
    assert found["new"].fidelity is Fidelity.FULL
    assert found["new"].before is None


def test_what_a_backend_writes_in_its_own_way_is_the_same():
    one = Flag.boolean("a", allow=["u1", "u2"], percent=25)
    other = replace(
        one,
        version="9",
        targets=(Target("on", frozenset({"u2"})), Target("on", frozenset({"u1"}))),
        default=Split(one.default.weights, Bucketing(salt="a")),
        rules=(),
    )
    assert digest(one) == digest(other)
    assert plainest(one) != plainest(replace(other, targets=other.targets[:1]))


def test_a_percentage_takes_its_users_along_with_its_salt_said():
    found = items_of([Flag.boolean("agent", percent=25)])["agent"]
    wanted = flag_from_data(found.wanted)
    assert wanted.default.bucketing.salt == "agent"
    assert found.change == 0
    assert not found.losses


@pytest.mark.parametrize(
    "percent, change", [(1, 0.0198), (10, 0.18), (25, 0.375), (50, 0.5), (0, 0), (100, 0)]
)
def test_choosing_anew_says_how_many_change(percent, change):
    flag = Flag(
        key="agent",
        default=Split((Weight("on", percent), Weight("off", 100 - percent)), ON_SPLIT),
        on=True,
    )
    found = items_of([flag], choice=Choice(keep=False))["agent"]
    assert found.change == pytest.approx(change, abs=1e-9)
    assert (REBUCKET in found.classes) is (change > 0)
    assert flag_from_data(found.wanted).default.bucketing == Bucketing()


@pytest.mark.parametrize("total", [7, 3, 100, 1000])
def test_weights_of_another_whole_are_a_whole(total):
    weights = tuple(Weight(name, 1) for name in "abc"[: min(3, total)])
    rest = total - len(weights)
    weights = (*weights, Weight("d", rest)) if rest else weights
    flag = Flag(
        key="agent",
        kind=FlagKind.STRING,
        variants={one: one for one in "abcd"},
        off_variant="d",
        default=Split(weights, Bucketing(Scheme.DOWNHAUL, total=total)),
    )
    found = items_of([flag], choice=Choice(keep=False))["agent"]
    scaled = flag_from_data(found.wanted).default.weights
    assert sum(one.weight for one in scaled) == 100_000
    for one, other in zip(weights, scaled, strict=True):
        assert other.weight == pytest.approx(100_000 * one.weight / total, abs=1)


@pytest.mark.parametrize(
    "path, fidelity, loss, found",
    [
        ("flags.a.b.tags", Fidelity.PARTIAL, "", "tags"),
        ("flags.a.b.rules[2].clauses[0]", Fidelity.PARTIAL, "", "rules"),
        ("flags.a.b", Fidelity.PARTIAL, "", "partial"),
        ("features[3].strategies[0]", Fidelity.PARTIAL, "", "partial"),
        ("flags.a.b.rules[0]", Fidelity.MANUAL, "", "manual"),
        ("flags.a.b.rules[0]", Fidelity.PARTIAL, "rebucket", "rebucket"),
    ],
)
def test_the_class_of_a_loss_is_the_part_of_the_flag_that_is_another(path, fidelity, loss, found):
    assert loss_class(LedgerEntry("a.b", path, fidelity, "because", loss=loss)) == found


def test_how_many_change_is_how_many_change():
    flag = Flag.boolean("agent", percent=30)
    other = replace(flag, default=replace(flag.default, bucketing=Bucketing(salt="x")))
    from downhaul.evaluator.bucketing import bucket

    users = [f"user-{number}" for number in range(20_000)]
    moved = sum((bucket("agent", one) < 30_000) is not (bucket("x", one) < 30_000) for one in users)
    assert users_who_change(flag, other) == pytest.approx(moved / len(users), abs=0.01)


def test_the_share_outside_a_gate_counts():
    rule = Rule("on", gate=Gate(50, ON_SPLIT))
    flag = Flag(key="agent", default="off", rules=(rule,), on=True)
    other = replace(flag, rules=(replace(rule, gate=Gate(50, Bucketing(total=100))),))
    assert users_who_change(flag, other) == pytest.approx(0.5)
    assert users_who_change(flag, pinned(flag)) == 0


def test_what_a_flag_requires_moves_with_it_and_first():
    base = Flag.boolean("base")
    flag = Flag.boolean("agent", prerequisites=(Prerequisite("base"),))
    other = Flag.boolean("other")
    segment = Segment("beta", included=(Keys(frozenset({"u1"})),))
    asks = Rule("on", (Clause("", Operator.IN_SEGMENT, ("beta",)),))
    source = whole(FlagSet.of([flag, replace(base, rules=(asks,)), other], [segment]))
    found = plan_items(source, EMPTY, whole, choice=Choice(only=("agent",)))
    written = [(one.entity, one.key) for one in found if one.writes]
    assert written == [("segment", "beta"), ("flag", "base"), ("flag", "agent")]
    (left,) = [one for one in found if not one.writes]
    assert (left.key, left.action, left.reason) == ("other", Action.SKIP, "it was not chosen")


def test_what_the_target_cannot_keep_is_manual_with_its_fragment():
    def fit(flag_set):
        kept = {key: one for key, one in flag_set.flags.items() if key != "b"}
        lost = LedgerEntry("b", "flags.b.rules[0]", Fidelity.MANUAL, "no such operator", {"x": 1})
        made = whole(FlagSet(kept, flag_set.segments))
        return Translation(made.flags, made.segments, Ledger((*made.ledger, lost)))

    found = items_of([Flag.boolean("a"), Flag.boolean("b")], fit=fit)
    assert found["b"].action is Action.MANUAL
    assert found["b"].wanted is None
    assert found["b"].losses[0].fragment == {"x": 1}
    assert [one.key for one in plan_of(found.values()).blocking()] == ["b"]
    assert not plan_of(found.values()).blocking(classes=["manual"])
    assert not plan_of(found.values()).blocking(flags=["b"])


def test_what_the_source_could_not_tell_is_in_the_plan_too():
    entries = (
        LedgerEntry("odd", "features[3]", Fidelity.MANUAL, "a strategy of your own", {"n": 1}),
        LedgerEntry("old", "features[4]", Fidelity.SKIPPED, "it is archived"),
        LedgerEntry("a", "features[0]", Fidelity.PARTIAL, "python's hash() is not kept"),
    )
    source = Translation((Flag.boolean("a"),), (), Ledger(entries))
    found = {one.key: one for one in plan_items(source, EMPTY, whole)}
    assert found["odd"].action is Action.MANUAL
    assert found["old"].action is Action.SKIP
    assert found["a"].action is Action.CREATE
    assert found["a"].fidelity is Fidelity.PARTIAL
    assert {one.key for one in plan_of(found.values()).blocking()} == {"odd", "a"}


@pytest.mark.rule("M1")
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(flag_sets(), st.sets(st.sampled_from(["rules", "targets", "prerequisites", "flag"])))
def test_nothing_that_a_target_drops_is_without_a_note(flag_set, dropped):
    """A target that forgets parts of flags, and says nothing of it, as a defect would."""

    def forgetful(given_set):
        nothing = dict.fromkeys(dropped - {"flag"}, ())
        flags = {
            key: replace(one, **nothing)
            for key, one in given_set.flags.items()
            if "flag" not in dropped
        }
        return whole(FlagSet(flags, given_set.segments))

    found = {one.key: one for one in plan_items(whole(flag_set), EMPTY, forgetful) if one.kind}
    assert found.keys() == flag_set.flags.keys()
    for key, flag in flag_set.flags.items():
        item = found[key]
        if "flag" in dropped:
            assert (item.action, item.fidelity) == (Action.MANUAL, Fidelity.MANUAL)
        for name in dropped - {"flag"}:
            if getattr(flag, name):
                assert item.losses, name
        assert all(one.reason for one in item.losses)


def test_what_was_applied_before_is_the_same_however_the_target_writes_it():
    wanted = pinned(Flag.boolean("a", percent=25))
    there = Flag.boolean("a", percent=25, description="rewritten by the vendor")
    before = {("flag", "a"): (digest(wanted), digest(there))}
    assert items_of([Flag.boolean("a", percent=25)], [there])["a"].action is Action.UPDATE
    again = items_of([Flag.boolean("a", percent=25)], [there], applied=before)
    assert again["a"].action is Action.SAME
    moved = items_of([Flag.boolean("a", percent=30)], [there], applied=before)
    assert moved["a"].action is Action.UPDATE


def test_a_plan_reads_back_as_it_was_written(tmp_path):
    flags = [Flag.boolean("a", percent=25), Flag.boolean("ü☃", description="ß")]
    made = plan_of(items_of(flags, [Flag.boolean("a")]).values())
    write_plan(made, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == made


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda data: data.update(format="x"), "no plan of a migration"),
        (lambda data: data.update(schema_version=9), "schema version 9"),
        (lambda data: data["items"][0].pop("key"), r"items\[0\].*key"),
        (lambda data: data["items"][0].update(action="burn"), r"items\[0\].*burn"),
        (lambda data: data.update(items=7), "TypeError"),
        (lambda data: data.update(source={"name": "x"}), "TypeError"),
    ],
)
def test_what_is_no_plan_is_refused_with_its_place(spoil, said):
    data = plan_to_data(plan_of([Item("flag", "a", Action.SAME)]))
    spoil(data)
    with pytest.raises(DocumentError, match=said):
        plan_from_data(data, "plan.json")


def test_a_file_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(DocumentError, match="no JSON"):
        read_plan(tmp_path / "plan.json")
