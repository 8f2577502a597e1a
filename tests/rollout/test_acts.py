"""What a decision writes: in an order that serves nobody on the way, and as good twice as once."""

from dataclasses import replace

import pytest
from hypothesis import given, reject
from rollout_cases import BEFORE, WHO
from rollout_strategies import flags_to_raise

from downhaul.backends.edits import (
    weight_of_variant,
    with_on,
    with_rollout,
    with_segments,
    with_targets,
)
from downhaul.backends.memory import MemoryProvider
from downhaul.encoding import flag_from_data
from downhaul.errors import DownhaulError, FlagNotFound, Refused, VersionConflict
from downhaul.flag import (
    Bucketing,
    Clause,
    Flag,
    FlagSet,
    Operator,
    Rule,
    Scheme,
    Split,
    Weight,
    percentage,
)
from downhaul.provider import Capability
from downhaul.rollout.acts import (
    aim,
    as_kept,
    in_buckets_of,
    lowered,
    perform,
    snapshot_data,
    snapshot_from,
    the_flag,
)
from downhaul.rollout.deciding.case import Action, Operation
from downhaul.rollout.deciding.rising import exposing
from downhaul.rollout.drift import Drift, drift_of

START = Action(Operation.START, weight=10_000)
RAISE = Action(Operation.RAISE, weight=50_000)
LOWER = Action(Operation.LOWER, weight=0)
OFF = Action(Operation.OFF)
RESTORE = Action(Operation.RESTORE)
DARK = with_on(BEFORE, False)
RUNNING = with_rollout(BEFORE, "on", 10_000)


class Place:
    """A provider with one flag, as it was when its snapshot was taken."""

    def __init__(self, flag, provider=MemoryProvider, before=None):
        self.provider = provider(FlagSet.of([before or flag]), validate=False)
        self.snapshot = self.provider.snapshot(flag.key)
        if before is not None:
            self.provider.put(flag, WHO)
        self.first = len(self.provider.history(flag.key))

    @property
    def flag(self):
        return the_flag(self.provider, "agent")

    def do(self, action, flag=None, **options):
        flag = flag or self.flag
        return perform(self.provider, flag, "on", action, self.snapshot, WHO, **options)

    @property
    def written(self):
        """What was written since, the oldest first."""
        records = self.provider.history("agent")[::-1][self.first :]
        return [(one.action, flag_from_data(one.after)) for one in records]


def same(one, other):
    return drift_of(one, other, "on") is Drift.NONE


@pytest.mark.rule("R3")
def test_a_start_sets_the_part_then_who_previews_then_on():
    place = Place(DARK)
    after = place.do(replace(START, targets=("qa",)))
    assert [name for name, _ in place.written] == ["rollout", "targets", "on"]
    assert [flag.on for _, flag in place.written] == [False, False, True]
    assert same(after, aim(DARK, "on", replace(START, targets=("qa",))))
    assert after.targets[-1].keys == {"qa"}
    assert after.targets[0] == DARK.targets[0]


@pytest.mark.rule("R3")
def test_a_raise_writes_the_part_alone_and_never_turns_on():
    place = Place(RUNNING)
    assert weight_of_variant(place.do(RAISE), "on") == 50_000
    assert [name for name, _ in place.written] == ["rollout"]
    off = Place(with_on(RUNNING, False))
    with pytest.raises(DownhaulError, match="50 % and off, and 50 % was written"):
        off.do(RAISE)
    assert not off.flag.on


class PutOffMeanwhile(MemoryProvider):
    """A provider at which somebody puts the flag off right after its share was set."""

    def set_rollout(self, key, variant, weight, change):
        super().set_rollout(key, variant, weight, change)
        return self.switch_off(key, WHO)


@pytest.mark.rule("R3", "R8")
def test_a_start_of_a_flag_that_was_on_turns_it_on_for_nobody_who_put_it_off_meanwhile():
    place = Place(with_rollout(RUNNING, "on", 3_000), PutOffMeanwhile)
    with pytest.raises(DownhaulError, match="10 % and off, and 10 % was written"):
        place.do(START)
    assert not place.flag.on


@pytest.mark.rule("R3")
@pytest.mark.parametrize("action", [START, RAISE])
def test_at_once_is_one_write_of_what_was_read_or_none(action):
    flag = DARK if action is START else RUNNING
    place = Place(flag)
    after = place.do(replace(action, targets=("qa",)), at_once=True)
    assert len(place.written) == 1
    assert same(after, aim(flag, "on", replace(action, targets=("qa",))))
    moved = Place(flag)
    read = moved.flag
    moved.provider.put(replace(read, version="", description="new"), WHO)
    with pytest.raises(VersionConflict):
        moved.do(action, read, at_once=True)
    assert same(moved.flag, flag)


@pytest.mark.rule("R2")
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("action", [START, RAISE, OFF, LOWER])
def test_twice_is_as_good_as_once(action, at_once):
    place = Place(DARK if action is START else RUNNING)
    once = place.do(action, at_once=at_once)
    writes = len(place.written)
    assert same(place.do(action, at_once=at_once), once)
    if action is not LOWER:  # the provider is asked to, and changes nothing
        assert len(place.written) == writes


@pytest.mark.rule("R8")
def test_off_writes_nothing_but_the_switch():
    place = Place(RUNNING)
    assert same(place.do(OFF), with_on(RUNNING, False))


@pytest.mark.rule("R8", "R9")
def test_a_part_that_cannot_be_lowered_is_put_off():
    holes = replace(RUNNING, default=Split((Weight("on", 10_000), Weight(None, 90_000))))
    with pytest.raises(Refused):
        with_rollout(holes, "on", 0)
    assert same(Place(holes).do(LOWER), with_on(holes, False))


@pytest.mark.rule("R8")
def test_a_restore_brings_back_what_decides_and_keeps_what_is_told_about_it():
    changed = replace(with_targets(RUNNING, "on", ["eve"]), on=False, description="new", owner="bo")
    place = Place(changed, before=BEFORE)
    back = place.do(RESTORE)
    assert same(back, BEFORE)
    assert (back.description, back.owner) == ("new", "bo")


@pytest.mark.rule("R8")
def test_a_restore_over_what_somebody_wrote_meanwhile_is_none():
    place = Place(with_on(RUNNING, False), before=BEFORE)
    read = place.flag
    place.provider.put(with_targets(read, "on", ["eve"]), WHO)
    with pytest.raises(VersionConflict):
        place.do(RESTORE, read)
    assert place.flag.targets[-1].keys == {"eve"}


def test_a_document_that_is_not_ours_is_restored_as_it_is():
    class Foreign(MemoryProvider):
        capabilities = MemoryProvider.capabilities - {Capability.FLAG_SET}

    place = Place(replace(RUNNING, on=False, owner="bo"), Foreign, before=BEFORE)
    assert place.do(RESTORE).owner == BEFORE.owner


def test_a_write_that_reads_back_otherwise_is_told():
    class Stubborn(MemoryProvider):
        def set_rollout(self, key, variant, weight, change):
            return self.get(key)

    with pytest.raises(DownhaulError, match="reads back as 10 %, and 50 % was written"):
        Place(RUNNING, Stubborn).do(RAISE)


def test_the_preview_keeps_who_was_named_already():
    named = with_targets(DARK, "on", ["ana"])
    after = Place(named).do(replace(START, targets=("qa",)))
    assert after.targets[-1].keys == {"ana", "qa"}


@pytest.mark.parametrize("action", [OFF, LOWER, RESTORE])
def test_only_what_rises_has_an_aim(action):
    assert aim(RUNNING, "on", action) is None


@pytest.mark.rule("R2")
@given(flags_to_raise(segments=["staff", "beta"]))
def test_every_flag_is_written_as_it_was_aimed_at_and_comes_back_whole(drawn):
    flag, plan = drawn
    place = Place(flag)
    now = the_flag(place.provider, flag.key)
    for number in range(len(plan.steps)):
        action = exposing(plan, number, flag, first=number == 0)
        try:
            meant = aim(now, plan.variant, action)
        except Refused:  # a lint refuses the plan
            reject()
        now = perform(place.provider, now, plan.variant, action, place.snapshot, WHO)
        assert drift_of(meant, now, plan.variant) is Drift.NONE
    now = perform(place.provider, now, plan.variant, OFF, place.snapshot, WHO)
    assert now == replace(now, on=False)
    now = perform(place.provider, now, plan.variant, RESTORE, place.snapshot, WHO)
    assert replace(now, version="") == replace(flag, version="")


def test_a_snapshot_is_kept_as_data():
    taken = Place(RUNNING).snapshot
    assert snapshot_from(snapshot_data(taken)) == taken


def test_a_flag_that_is_gone_is_said_to_be():
    with pytest.raises(FlagNotFound, match="is gone"):
        the_flag(MemoryProvider(FlagSet.of([Flag.boolean("other")])), "agent")


@pytest.mark.parametrize(
    "how, weights",
    [
        (Bucketing(Scheme.LAUNCHDARKLY, salt="a.b"), (10_000, 90_000)),
        (Bucketing(Scheme.SPLIT, total=100), (10, 90)),
    ],
)
def test_a_first_raise_is_known_again_in_the_buckets_of_the_backend(how, weights):
    meant = Flag.boolean("agent", percent=10)
    on, off = weights
    kept = replace(meant, default=Split((Weight("on", on), Weight("off", off)), how))
    assert drift_of(in_buckets_of(kept, meant), kept, "on") is Drift.NONE
    assert drift_of(meant, kept, "on") is not Drift.NONE


def test_a_weight_between_two_buckets_of_the_backend_is_not_taken_for_one_of_them():
    meant = Flag.boolean("agent", percent=2.5)
    kept = replace(
        meant, default=replace(percentage("on", 2, rest="off"), bucketing=Bucketing(total=100))
    )
    assert in_buckets_of(kept, meant) == meant


# --- segments

NAMING = replace(START, weight=0, targets=("qa",), segments=("staff",))


@pytest.mark.rule("R3")
@pytest.mark.parametrize("at_once", [True, False])
def test_segments_are_named_in_one_write_of_what_was_read(at_once):
    place = Place(DARK)
    after = place.do(NAMING, at_once=at_once)
    assert same(after, aim(DARK, "on", NAMING))
    assert len(place.written) == 1
    assert [rule.clauses[0].values for rule in after.rules] == [("staff",)]
    assert same(place.do(NAMING, at_once=at_once), after)
    assert len(place.written) == 1
    moved = Place(DARK)
    read = moved.flag
    moved.provider.put(replace(read, version="", description="new"), WHO)
    with pytest.raises(VersionConflict):
        moved.do(NAMING, read, at_once=at_once)


@pytest.mark.rule("E7", "R3")
def test_a_rule_goes_with_the_write_that_serves_everybody():
    named = with_segments(RUNNING, "on", ["staff"])
    everybody = replace(RAISE, weight=100_000, segments=(), obsolete=("staff",))
    after = Place(named).do(everybody)
    assert (weight_of_variant(after, "on"), after.rules) == (100_000, ())
    kept = Place(named).do(replace(everybody, weight=50_000, obsolete=()))
    assert kept.rules == named.rules


@pytest.mark.parametrize(
    "action, lacking", [(NAMING, 'target "qa", segment "staff"'), (START, None)]
)
def test_names_that_do_not_read_back_are_told(action, lacking):
    class Deaf(MemoryProvider):
        def put(self, flag, change, *, expected=None):
            bare = replace(flag, rules=(), targets=())
            return super().put(bare, change, expected=expected)

    place = Place(DARK, Deaf)
    if lacking is None:
        place.do(action, at_once=True)
    else:
        with pytest.raises(DownhaulError, match=f"reads back without {lacking}"):
            place.do(action, at_once=True)


@pytest.mark.rule("R2")
def test_rules_are_known_again_under_the_ids_of_the_backend():
    own = Rule("on", (Clause("plan", Operator.PRESENT),), id="7f")
    flag = replace(RUNNING, rules=(own,))
    meant = with_segments(flag, "on", ["staff", "beta"])
    ids = ("7f", "80", "81")
    kept = replace(
        meant, rules=tuple(replace(one, id=new) for one, new in zip(meant.rules, ids, strict=True))
    )
    assert drift_of(meant, kept, "on") is Drift.OTHER
    assert as_kept(kept, meant) == kept
    other = replace(kept, rules=(replace(own, id="99"), *kept.rules[1:]))
    assert drift_of(as_kept(other, meant), other, "on") is Drift.OTHER
    fewer = replace(kept, rules=kept.rules[:2])
    assert drift_of(as_kept(fewer, meant), fewer, "on") is Drift.OTHER


# --- a lowering that takes names with it

SHOWN = with_segments(with_targets(RUNNING, "on", ["qa", "ana"]), "on", ["staff"])
LOWER_ALL = replace(LOWER, leaving=("qa",), obsolete=("staff",))


@pytest.mark.rule("R8", "R9")
@pytest.mark.parametrize("at_once", [True, False])
def test_a_lowering_takes_the_names_of_the_rollout_and_no_others(at_once):
    behind = replace(SHOWN, rules=(*SHOWN.rules, Rule("off", (Clause("x", Operator.PRESENT),))))
    for flag in (SHOWN, behind):
        place = Place(flag)
        after = place.do(LOWER_ALL, at_once=at_once)
        assert same(after, lowered(flag, "on", LOWER_ALL))
        assert [one.keys for one in after.targets if one.variant == "on"] == [{"ana"}]
        assert after.rules == flag.rules[1:]
        assert after.on
        assert same(place.do(LOWER_ALL, at_once=at_once), after)


@pytest.mark.rule("R8", "R9")
@pytest.mark.parametrize("at_once, on", [(True, True), (False, False)])
def test_a_backend_that_refuses_a_percentage_beside_rules_is_lowered_whole_or_put_off(at_once, on):
    class Strict(MemoryProvider):
        def set_rollout(self, key, variant, weight, change):
            raise Refused("it has a rule of its own", flag=key)

    place = Place(SHOWN, Strict)
    after = place.do(LOWER, at_once=at_once)
    assert after.on is on
    assert weight_of_variant(after, "on") == (0 if on else 10_000)


@pytest.mark.rule("R7", "R8")
@pytest.mark.parametrize("at_once", [True, False])
def test_a_lowering_never_raises_what_somebody_lowered_further(at_once):
    less = with_rollout(SHOWN, "on", 1_000)
    for action in (LOWER_ALL, replace(LOWER_ALL, obsolete=())):
        after = Place(less).do(replace(action, weight=5_000), at_once=at_once)
        assert weight_of_variant(after, "on") == 1_000
        assert [one.keys for one in after.targets if one.variant == "on"] == [{"ana"}]
