"""Flags between two backends: who is served by whom, who is written to, and that off is off."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from downhaul import Context, Flag, Flags
from downhaul.backends.file import FileProvider
from downhaul.backends.memory import MemoryProvider
from downhaul.backends.sqlite import SqliteProvider
from downhaul.config import check
from downhaul.errors import ReadOnly, Unreachable, UnsupportedCapability
from downhaul.flag import WHOLE, FlagKind, FlagSet, Prerequisite, Segment
from downhaul.provider import Capability, Change, State
from downhaul.result import ErrorCode, Reason
from downhaul.staging import STAGES, Side, Stage, Standing
from downhaul.store import schema
from downhaul.wrappers.comparisons import Outcome
from downhaul.wrappers.staged import Staged
from downhaul.wrappers.wrapper import stack_of

sys.path.insert(0, str(Path(__file__).parent))
from two_sides import Deciding, error, wait_for

ANA = Change("ana", "because")
USERS = [f"user-{number}" for number in range(40)]
BOTH = [stage for stage in Stage if len(stage.writes) > 1]


def text(value, key="agent", **fields):
    """A flag that tells by its value which side serves it."""
    variants = {"on": value, "off": "off"}
    given = {"default": "on", "on": True, "off_variant": "off", **fields}
    return Flag(key=key, kind=FlagKind.STRING, variants=variants, **given)


def memory(*flags):
    return MemoryProvider(FlagSet.of(flags))


class Standings:
    """Where flags stand, as a test says."""

    def __init__(self, default=None, **standings):
        self.default = default or Standing()
        self.of = dict(standings)

    def __call__(self, key):
        return self.of.get(key, self.default)


@pytest.fixture
def over():
    """A function that opens a client over two sides, whose flags stand as it is told."""
    opened = []

    def open_(old, new, standing=None, **options):
        standing_of = standing if callable(standing) else Standings(standing)
        options.setdefault("sample", 0)
        staged = Staged(old, new, standing_of, **options)
        flags = Flags.over(staged, declarations=options.pop("declarations", None))
        opened.append(flags)
        return flags, staged, standing_of

    yield open_
    for one in opened:
        one.close()


def served(flags, key="agent"):
    return {flags.value(key, user, "default") for user in USERS}


# Who is served by whom


@pytest.mark.parametrize("stage", Stage)
def test_each_stage_is_served_by_the_side_that_its_table_says(over, stage):
    old, new = Deciding("old", agent="old"), Deciding("new", agent="new")
    flags, staged, _ = over(old, new, Standing(stage), sample=1)
    result = flags.evaluate("agent", "ada")
    assert result.value == result.provider == stage.reads
    if stage.compares:
        wait_for(lambda: staged.report().total(Outcome.VALUE) == 1)
    flags.close()
    other = 1 if stage.compares else 0
    asked = {Side.OLD: len(old.asked), Side.NEW: len(new.asked)}
    assert asked == {stage.reads: 1, stage.reads.other: other}


def test_each_flag_stands_for_itself_and_a_move_holds_at_once(over):
    flags, staged, stands = over(
        memory(text("old", "one"), text("old", "two")),
        memory(text("new", "one"), text("new", "two")),
    )
    heard = []
    flags.on_change(heard.append)
    stands.of["one"] = Standing(Stage.LIVE)
    assert (served(flags, "one"), served(flags, "two")) == ({"new"}, {"old"})
    assert heard == []
    staged.moved(["one"])
    assert heard == [{"one"}]
    staged.moved()
    assert heard[1:] == [{"one", "two"}]
    stands.of["one"] = Standing(Stage.SHADOW)
    assert served(flags, "one") == {"old"}


def test_a_share_of_users_is_a_stage_ahead_and_a_higher_share_takes_nobody_back(over):
    flags, _, stands = over(memory(text("old")), memory(text("new")))
    ahead = set()
    for share in (0, 5_000, 30_000, 70_000, WHOLE):
        stands.of["agent"] = Standing(Stage.LIVE, share)
        now = {user for user in USERS if flags.value("agent", user, "") == "new"}
        assert now >= ahead
        ahead = now
        nobody = flags.value("agent", None, "")
        assert nobody == ("new" if share == WHOLE else "old")
    assert ahead == set(USERS)


@pytest.mark.rule("E1")
def test_a_key_that_is_no_text_is_of_those_who_are_not_ahead(over):
    flags, _, _ = over(memory(text("old")), memory(text("new")), Standing(Stage.LIVE, 99_999))
    assert flags.value("agent", "\ud800", "") == "old"
    assert Standing(Stage.LIVE, 99_999).of("\ud800", "ada") is Stage.SHADOW


def test_a_context_of_several_kinds_goes_by_the_key_of_its_user(over):
    flags, _, _ = over(memory(text("old")), memory(text("new")), Standing(Stage.LIVE, 50_000))
    for user in USERS:
        both = Context.multi(Context("acme", {}, "organisation"), Context(user))
        assert flags.value("agent", both, "") == flags.value("agent", user, "")


def test_without_anything_that_tells_all_flags_stand_where_it_was_said():
    staged = Staged(memory(text("old")), memory(text("new")), standing=Standing(Stage.COMPLETE))
    with Flags.over(staged) as flags:
        assert served(flags) == {"new"}
    with Flags.over(Staged(memory(text("old")), memory(text("new")))) as flags:
        assert served(flags) == {"old"}


def test_rules_decide_on_each_side_whatever_sort_it_is(over):
    half = Flag.boolean("agent", percent=50)
    alone = Flags.in_memory([half])
    vendor = Deciding("vendor", agent=lambda context: context.targeting_key == "ada")
    flags, _, stands = over(memory(half), vendor)
    assert [flags.is_enabled("agent", user) for user in USERS] == [
        alone.is_enabled("agent", user) for user in USERS
    ]
    stands.of["agent"] = Standing(Stage.LIVE)
    assert flags.is_enabled("agent", "ada")
    assert not flags.is_enabled("agent", "bob")
    alone.close()


def test_what_is_known_of_a_flag_is_the_word_of_the_side_that_is_read(over):
    old = memory(text("old", tags=("a",), version="1"), text("old", "gone"))
    new = memory(replace(text("new", tags=("b",)), off_variant="on"), text("new", "more"))
    flags, staged, stands = over(old, new)
    assert set(flags.evaluate_all("ada")) == {"agent", "gone"}
    flags.operator("ana").kill("agent", reason="it burns")
    assert served(flags) == {"off"}
    stands.default = Standing(Stage.COMPLETE)
    staged.moved()
    assert set(flags.evaluate_all("ada")) == {"agent", "more"}
    assert served(flags) == {"new"}  # the off variant of that side
    flags.operator("ana").revive("agent", reason="over", as_was=True)
    for tag in ("a", "b"):
        flags.operator("ana").kill(f"tag:{tag}", reason="it burns")
        assert flags.evaluate("agent", "ada").reason is Reason.KILLED
        flags.operator("ana").revive(f"tag:{tag}", reason="over")


class Ear:
    """Takes what a provider says (Listener)."""

    def __init__(self):
        self.flags, self.keys, self.replacements = {}, [], 0

    def replaced(self, flag_set, by=None):
        self.flags, self.replacements = dict(flag_set.flags), self.replacements + 1

    def changed(self, delta):
        self.flags |= delta.flags

    def keys_changed(self, keys):
        self.keys += keys

    def status_changed(self, status):
        pass


def test_no_rules_are_told_and_in_step_the_word_of_both_on_whether_it_is_on():
    old, new = memory(text("on")), memory(text("on"))
    stands, ear = Standings(), Ear()
    staged = Staged(old, new, stands)
    staged.start(ear)
    assert ear.flags["agent"].default == ""
    new.switch_off("agent", ANA)
    assert ear.flags["agent"].on
    stands.default = Standing(Stage.DUAL_WRITE, in_step=True)
    staged.moved()
    assert not ear.flags["agent"].on
    new.switch_on("agent", ANA)
    assert ear.flags["agent"].on
    staged.close()


def test_after_a_fork_all_that_is_known_is_said_again():
    ear, staged = Ear(), Staged(memory(text("on")), memory())
    staged.start(ear)
    before, ear.flags = ear.replacements, {}
    staged.after_fork()  # as in the child, where the word that was being said may be lost
    assert ear.replacements == before + 1
    assert set(ear.flags) == {"agent"}
    staged.close()


@pytest.mark.rule("K1")
@pytest.mark.parametrize("stage", Stage)
def test_a_kill_holds_at_every_stage(over, stage):
    flags, _, _ = over(memory(text("old")), memory(text("new")), Standing(stage, in_step=True))
    flags.operator("ana").kill("agent", reason="it burns")
    assert served(flags) == {"off"}


@pytest.mark.rule("K1", "M4")
@pytest.mark.parametrize("stage", Stage)
def test_a_kill_of_a_flag_that_has_left_its_store_switches_it_off_where_it_is_written(over, stage):
    old, new = memory(text("on")), memory(text("on"))
    flags, _, _ = over(old, new, Standing(stage))
    killed = flags.operator("ana").kill("agent", reason="it burns")
    assert (str(killed.at_provider) == "switched_off") is (stage.reads is Side.NEW)
    for side, at in ((Side.OLD, old), (Side.NEW, new)):
        assert at.get("agent").on is (stage.reads is Side.OLD or side not in stage.writes)


# Off on either side (rule M4)


@pytest.mark.rule("M4")
@pytest.mark.parametrize("stage", BOTH)
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("share", [0, 50_000, WHOLE])
def test_once_in_step_an_off_on_either_side_is_off_for_everybody(over, stage, side, share):
    old, new = memory(text("on")), memory(text("on"))
    flags, _, stands = over(old, new, Standing(stage, share, in_step=True))
    at = old if side is Side.OLD else new
    assert served(flags) == {"on"}
    at.switch_off("agent", ANA)
    results = [flags.evaluate("agent", user) for user in USERS]
    assert {(one.value, one.variant, one.reason) for one in results} == {
        ("off", "off", Reason.DISABLED)
    }
    assert not flags.is_enabled("agent", "ada")
    told = {one.metadata.get("off_at") for one in results}
    assert told <= {None, f"{side} memory"}
    at.switch_on("agent", ANA)
    assert served(flags) == {"on"}
    at.switch_off("agent", ANA)
    stands.default = alone = Standing(stage, share)  # of sides that are not in step yet
    for user in USERS:
        off = alone.of("agent", user).reads is side
        assert flags.value("agent", user, "") == ("off" if off else "on")


@pytest.mark.rule("M4")
@pytest.mark.parametrize("stage, side", [(Stage.OFF, Side.NEW), (Stage.COMPLETE, Side.OLD)])
def test_where_one_side_alone_is_written_the_other_has_no_say(over, stage, side):
    old, new = memory(text("on")), memory(text("on"))
    flags, _, _ = over(old, new, Standing(stage, in_step=True))
    (old if side is Side.OLD else new).switch_off("agent", ANA)
    assert served(flags) == {"on"}


@pytest.mark.rule("M4", "K2")
@pytest.mark.parametrize(
    "told, kind, served_off",
    [
        (Flag.boolean("agent"), FlagKind.BOOLEAN, (False, "off", True)),
        (replace(Flag.boolean("agent"), off_variant=None), FlagKind.BOOLEAN, (False, None, True)),
        (text("on"), FlagKind.STRING, ("off", "off", True)),
        (text("on", off_variant=None), FlagKind.STRING, (None, None, False)),
        (text("on"), FlagKind.BOOLEAN, (False, "off", True)),  # declared so, as on Split
        (text("on", off_variant="nobody"), FlagKind.STRING, (None, None, False)),
        (text("on"), FlagKind.NUMBER, (None, None, False)),
    ],
)
def test_an_off_of_a_vendor_serves_what_is_known_of_the_flag(over, told, kind, served_off):
    old, new = Deciding("old", agent="on"), Deciding("new", agent="on")
    _, staged, _ = over(old, new, Standing(Stage.LIVE, in_step=True))
    new.told(told)
    old.told(replace(told, on=False))
    result = staged.resolve("agent", Context("ada"), kind)
    assert (result.value, result.variant, result.authoritative) == served_off
    assert (result.reason, result.provider) == (Reason.DISABLED, "new")
    assert result.metadata["off_at"] == "old old"


@pytest.mark.rule("M4")
def test_an_off_variant_that_one_side_does_not_know_is_the_others(over):
    old, new = Deciding("old", agent="on"), Deciding("new", agent="on")
    flags, _, _ = over(old, new, Standing(Stage.LIVE, in_step=True))
    old.told(text("on", on=False))
    new.told(replace(text("on"), off_variant=None, variants={"on": "on"}))
    assert flags.evaluate("agent", "ada").value == "off"
    assert not flags.is_enabled("agent", "ada", default=True)


@pytest.mark.rule("M4")
def test_an_object_that_is_served_off_may_be_changed_by_who_got_it(over):
    def flag(**fields):
        variants = {"on": {"n": 1}, "off": {"n": 0}}
        return Flag(key="agent", kind=FlagKind.OBJECT, variants=variants, default="on", **fields)

    flags, _, _ = over(
        memory(flag(on=False)), memory(flag(on=True)), Standing(Stage.LIVE, in_step=True)
    )
    flags.evaluate("agent", "ada").value["n"] = 5
    assert flags.evaluate("agent", "ada").value == {"n": 0}


@pytest.mark.rule("M4")
def test_an_off_goes_on_holding_when_its_side_is_lost(over):
    old, new = Deciding("old", agent="on"), memory(text("on"))
    flags, _, _ = over(old, new, Standing(Stage.LIVE, in_step=True))
    old.told(text("on", on=False))
    old.move(State.STALE)
    assert served(flags) == {"off"}
    new.put(text("on", on=False), ANA)
    assert served(flags) == {"off"}


@pytest.mark.rule("M4")
def test_a_flag_that_one_side_no_longer_has_is_not_off_there(over):
    old, new = memory(text("on", on=False)), memory(text("on"))
    flags, _, _ = over(old, new, Standing(Stage.LIVE, in_step=True))
    assert served(flags) == {"off"}
    old.delete("agent", ANA)
    assert served(flags) == {"on"}
    old.put(text("on", on=False), ANA)
    assert served(flags) == {"off"}


@pytest.mark.rule("M4")
def test_an_off_holds_though_the_side_that_has_it_can_not_answer(over):
    old, new = Deciding("old", agent="on"), Deciding("new", agent=error(ErrorCode.GENERAL))
    flags, _, _ = over(old, new, Standing(Stage.LIVE, in_step=True))
    old.told(text("on"))
    new.told(text("on", on=False))
    assert served(flags) == {"off"}


class Moves(RuleBasedStateMachine):
    """Two sides, three flags; moves, offs and shares in any order."""

    KEYS = ("one", "two", "three")

    def __init__(self):
        super().__init__()
        self.old = memory(*(text("old", key) for key in self.KEYS))
        self.new = memory(*(text("new", key) for key in self.KEYS))
        self.stands = Standings(**{key: Standing() for key in self.KEYS})
        self.staged = Staged(self.old, self.new, self.stands, sample=0)
        self.flags = Flags.over(self.staged)
        self.killed = set()

    def teardown(self):
        self.flags.close()

    @rule(key=st.sampled_from(KEYS), stage=st.sampled_from(Stage), told=st.booleans())
    def move(self, key, stage, told):
        self.stands.of[key] = replace(self.stands.of[key], stage=stage)
        if told:
            self.staged.moved([key])

    @rule(key=st.sampled_from(KEYS))
    def come_in_step(self, key):
        self.stands.of[key] = replace(self.stands.of[key], in_step=True)

    @rule(key=st.sampled_from(KEYS), share=st.sampled_from([0, 20_000, 60_000, WHOLE]))
    def share(self, key, share):
        before = self.stands.of[key]
        served = {user: self.flags.value(key, user, "") for user in USERS}
        self.stands.of[key] = replace(before, share=share)
        for user in USERS:
            if share >= before.share and served[user] == "new":
                assert self.flags.value(key, user, "") == "new"  # a higher share takes nobody back

    @rule(key=st.sampled_from(KEYS), side=st.sampled_from(Side), on=st.booleans())
    def by_hand(self, key, side, on):
        at = self.old if side is Side.OLD else self.new
        (at.switch_on if on else at.switch_off)(key, ANA)

    @rule(key=st.sampled_from(KEYS), on=st.booleans())
    def through(self, key, on):
        (self.staged.switch_on if on else self.staged.switch_off)(key, ANA)

    @rule(key=st.sampled_from(KEYS))
    def kill(self, key):
        self.flags.operator("ana").kill(key, reason="it burns")
        self.killed.add(key)

    @rule(key=st.sampled_from(KEYS))
    def revive(self, key):
        self.flags.operator("ana").revive(key, reason="over", as_was=True)
        self.killed.discard(key)

    @invariant()
    def everybody_gets_what_they_should(self):
        for key in self.KEYS:
            standing = self.stands.of[key]
            sides = {Side.OLD: self.old.get(key).on, Side.NEW: self.new.get(key).on}
            counts = standing.in_step and standing.stage in BOTH
            for user in USERS:
                reads = standing.of(key, user).reads
                off = key in self.killed or not sides[reads]
                off = off or (counts and not all(sides.values()))
                assert self.flags.value(key, user, "") == ("off" if off else reads), standing


TestMoves = pytest.mark.rule("M4")(Moves.TestCase)
TestMoves.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_a_stage_that_is_taken_back_gives_every_user_the_old_value_again(over):
    half = {"percent": 50}
    old, new = memory(Flag.boolean("agent", **half)), memory(Flag.boolean("agent", percent=90))
    flags, _, stands = over(old, new)
    before = [flags.is_enabled("agent", user) for user in USERS]
    for stage in (*STAGES, *reversed(STAGES)):
        for share in (10_000, WHOLE, 10_000):
            stands.of["agent"] = Standing(stage, share)
            flags.is_enabled("agent", "ada")
    stands.of["agent"] = Standing(Stage.SHADOW)
    assert [flags.is_enabled("agent", user) for user in USERS] == before


# A side that can't answer


AWAY = [
    ErrorCode.PROVIDER_NOT_READY,
    ErrorCode.PROVIDER_FATAL,
    ErrorCode.GENERAL,
    ErrorCode.PARSE_ERROR,
    ErrorCode.FLAG_NOT_FOUND,
]


@pytest.mark.parametrize("code", AWAY)
@pytest.mark.parametrize("stage", BOTH)
def test_once_in_step_the_other_side_answers_where_the_one_that_is_read_can_not(over, stage, code):
    sides = {Side.OLD: Deciding("a", agent="a"), Side.NEW: Deciding("b", agent="b")}
    sides[stage.reads].answers["agent"] = error(code)
    flags, _, stands = over(*sides.values(), Standing(stage, in_step=True))
    result = flags.evaluate("agent", "ada")
    other = sides[stage.reads.other]
    assert (result.value, result.provider) == (other.name, other.name)
    told = f"{stage.reads} {sides[stage.reads].name}: {code}"
    assert result.metadata["instead_of"] == told
    stands.default = Standing(stage)
    assert flags.evaluate("agent", "ada").error_code is code
    other.answers["agent"] = error(ErrorCode.GENERAL)
    stands.default = Standing(stage, in_step=True)
    assert flags.evaluate("agent", "ada").error_code is code


@pytest.mark.parametrize("code", sorted(set(ErrorCode) - set(AWAY)))
def test_what_is_wrong_with_the_question_is_asked_of_nobody_else(over, code):
    old, new = Deciding("old", agent="old"), Deciding("new", agent=error(code))
    flags, _, _ = over(old, new, Standing(Stage.RAMP_DOWN, in_step=True))
    assert flags.evaluate("agent", "ada").error_code is code
    assert old.asked == []


@pytest.mark.parametrize("stage", [Stage.OFF, Stage.COMPLETE])
def test_where_the_other_side_is_not_written_it_never_answers(over, stage):
    sides = {Side.OLD: Deciding("a", agent="a"), Side.NEW: Deciding("b", agent="b")}
    sides[stage.reads].answers["agent"] = error(ErrorCode.PROVIDER_NOT_READY)
    flags, _, _ = over(*sides.values(), Standing(stage, in_step=True))
    assert flags.evaluate("agent", "ada").error_code is ErrorCode.PROVIDER_NOT_READY
    assert sides[stage.reads.other].asked == []


def test_a_flag_that_only_the_other_side_has_is_known_once_in_step(over):
    new = memory(text("new", tags=("beta",)))
    flags, _, _ = over(memory(), new, Standing(Stage.SHADOW, in_step=True))
    assert served(flags) == {"new"}
    flags.operator("ana").kill("tag:beta", reason="it burns")
    assert served(flags) == {"off"}


def test_a_second_that_raises_or_hangs_is_compared_and_waited_for_by_nobody(over):
    new = Deciding("new", agent=OSError())
    flags, staged, _ = over(memory(text("old")), new, Standing(Stage.SHADOW), sample=1)
    assert served(flags) == {"old"}
    wait_for(lambda: staged.report().total(Outcome.ERROR_NEW) == len(USERS))
    new.hangs.clear()
    assert served(flags) == {"old"}
    new.hangs.set()


# Writes


@pytest.mark.parametrize("stage", Stage)
def test_writes_go_to_the_sides_of_the_stage_and_the_first_one_answers(over, stage):
    old, new = memory(text("old")), memory(text("new"))
    _, staged, _ = over(old, new, Standing(stage))
    sides = {Side.OLD: old, Side.NEW: new}
    version = sides[stage.reads].get("agent").version
    written = staged.put(text("both"), ANA, expected=version)
    assert written == staged.get("agent") == sides[stage.reads].get("agent")
    for side, at in sides.items():
        value = at.get("agent").variants["on"]
        assert value == ("both" if side in stage.writes else side)
    assert staged.divergences() == ()
    snapshot = staged.snapshot("agent")
    staged.switch_off("agent", ANA)
    assert [at.get("agent").on for at in sides.values()] == [
        side not in stage.writes for side in sides
    ]
    staged.restore(snapshot, ANA)
    assert old.get("agent").on
    assert new.get("agent").on
    assert staged.history("agent")[0].action == "restore"


@pytest.mark.rule("M4")
def test_each_flag_is_written_as_it_stands_itself(over):
    old = memory(text("old", "one"), text("old", "two"))
    new = memory(text("new", "one"), text("new", "two"))
    stands = Standings(one=Standing(Stage.LIVE), two=Standing(Stage.OFF))
    _, staged, _ = over(old, new, stands)
    staged.switch_off("one", ANA)
    staged.switch_off("two", ANA)
    assert [at.get(key).on for at in (old, new) for key in ("one", "two")] == [
        *(False, False),
        *(False, True),
    ]
    listed = staged.list()
    assert listed.flags == {"one": new.get("one"), "two": old.get("two")}
    assert staged.snapshot("one").document["variants"]["on"] == "new"


def test_a_flag_of_the_new_side_alone_is_listed_where_it_is_read(over):
    stands = Standings(more=Standing(Stage.COMPLETE))
    old, new = memory(text("old", "one")), memory(text("new", "more"), text("new", "other"))
    _, staged, _ = over(old, new, stands)
    assert set(staged.list().flags) == {"one", "more"}


def test_who_was_never_started_lists_what_each_flag_s_side_has():
    stands = Standings(two=Standing(Stage.LIVE))
    old = memory(text("old", "one"), text("old", "two"))
    staged = Staged(old, memory(text("new", "two")), stands)
    assert staged.list().flags == {"one": old.get("one"), "two": staged.second.get("two")}
    assert staged.get("two").variants["on"] == "new"


def test_what_only_one_side_did_is_told(over):
    told = []
    old = memory(text("old"))
    _, staged, _ = over(old, memory(), Standing(Stage.DUAL_WRITE), diverged=told.append)
    staged.switch_off("agent", ANA)
    assert [one.lacking for one in told] == ["new memory"]
    assert 'the last one switch_off of flag "agent"' in staged.status().message


@pytest.mark.rule("K1", "M4")
def test_an_off_reaches_the_other_side_though_the_first_fails_and_holds_at_once(over):
    old, new = memory(text("on")), memory(text("on"))
    flags, staged, _ = over(old, new, Standing(Stage.LIVE, in_step=True))

    def away(_key, _change):
        message = "away"
        raise Unreachable(message)

    new.switch_off = away
    with pytest.raises(Unreachable):
        staged.switch_off("agent", ANA)
    assert served(flags) == {"off"}


@pytest.mark.parametrize(
    "stages, order",
    [
        ((Stage.OFF,), "old"),
        ((Stage.OFF, Stage.SHADOW), "old new"),
        ((Stage.OFF, Stage.COMPLETE), "old new"),
        ((Stage.LIVE, Stage.SHADOW), "old new"),
        ((Stage.LIVE, Stage.COMPLETE), "new old"),
        ((Stage.COMPLETE,), "new"),
    ],
)
def test_segments_go_to_every_side_that_a_flag_is_on(over, stages, order):
    flags = [text("x", f"flag-{number}") for number in range(len(stages))]
    stands = Standings(
        **{one.key: Standing(stage) for one, stage in zip(flags, stages, strict=True)}
    )
    old, new = memory(*flags), memory(*flags)
    _, staged, _ = over(old, new, stands)
    written = staged.put_segment(Segment("staff"), ANA)
    there = [name for name, at in (("old", old), ("new", new)) if "staff" in at.list().segments]
    assert sorted(there) == sorted(order.split())
    first = old if order.startswith("old") else new
    assert written == first.list().segments["staff"] == staged.list().segments["staff"]
    staged.delete_segment("staff", ANA)
    assert not old.list().segments
    assert not new.list().segments


@pytest.mark.rule("P4")
def test_what_can_be_managed_is_what_the_sides_in_charge_can(over, tmp_path):
    path = tmp_path / "flags.json"
    path.write_text('{"downhaul": 1, "flags": [{"key": "agent", "default": "on"}]}')
    old = FileProvider(path)
    new = memory(Flag.boolean("agent"), text("x", "two"))
    _, staged, stands = over(old, new)
    wait_for(lambda: old.wait_ready(0) and "agent" in staged._said)
    reading = {Capability.RESOLVE, Capability.READ, Capability.WATCH}
    assert staged.capabilities == reading
    with pytest.raises(ReadOnly):
        staged.switch_off("agent", ANA)
    with pytest.raises(UnsupportedCapability):
        staged.put_segment(Segment("staff"), ANA)
    stands.of["two"] = Standing(Stage.COMPLETE)
    staged.moved(["two"])
    assert staged.capabilities == reading
    with pytest.raises(ReadOnly):
        staged.put(text("y", "two"), ANA)
    stands.default = Standing(Stage.LIVE)
    staged.moved()
    can = (new.capabilities - {Capability.FLAG_SET}) | {Capability.RESOLVE}
    assert staged.capabilities == can
    assert not staged.switch_off("agent", ANA).on
    assert [one.lacking for one in staged.divergences()] == ["old file"]


def test_two_histories_are_told_as_none(over):
    old, new = memory(text("x", "one")), memory()
    stands = Standings(two=Standing(Stage.COMPLETE))
    _, staged, _ = over(old, new, stands)
    assert staged.history() == []
    new.put(text("x", "two"), ANA)
    assert Capability.HISTORY not in staged.capabilities
    with pytest.raises(UnsupportedCapability):
        staged.history()


# Life


@pytest.mark.rule("P2")
@pytest.mark.parametrize(
    "standing, old, new, state",
    [
        (Standing(), "READY", "NOT_READY", "READY"),
        (Standing(), "STALE", "READY", "STALE"),
        (Standing(Stage.SHADOW), "READY", "FATAL", "READY"),
        (Standing(Stage.LIVE), "READY", "NOT_READY", "NOT_READY"),
        (Standing(Stage.LIVE), "NOT_READY", "READY", "READY"),
        (Standing(Stage.LIVE, 50_000), "NOT_READY", "READY", "NOT_READY"),
        (Standing(Stage.LIVE, 50_000), "READY", "ERROR", "ERROR"),
        (Standing(Stage.LIVE, in_step=True), "READY", "NOT_READY", "STALE"),
        (Standing(Stage.LIVE, in_step=True), "NOT_READY", "READY", "STALE"),
        (Standing(Stage.LIVE, in_step=True), "READY", "READY", "READY"),
        (Standing(Stage.LIVE, in_step=True), "NOT_READY", "FATAL", "FATAL"),
        (Standing(Stage.COMPLETE, in_step=True), "FATAL", "READY", "READY"),
        (Standing(Stage.COMPLETE, in_step=True), "READY", "FATAL", "FATAL"),
    ],
)
def test_it_is_ready_if_everybody_is_served_and_names_both_sides(over, standing, old, new, state):
    first, second = Deciding("a", agent="a"), Deciding("b", agent="b")
    flags, staged, _ = over(first, second, standing)
    told = []
    flags._engine.status_changed = told.append
    first.move(State(old))
    second.move(State(new))
    status = staged.status()
    assert status.state == state
    assert f"old a is {old}" in status.message
    assert f"new b is {new}" in status.message
    assert told[-1].state == state


def test_the_worst_of_all_flags_is_told(over):
    old, new = Deciding("a", one="a", two="a"), Deciding("b", one="b", two="b")
    stands = Standings(two=Standing(Stage.COMPLETE))
    _, staged, _ = over(old, new, stands)
    new.move(State.NOT_READY)
    assert staged.status().state is State.NOT_READY
    stands.of.clear()
    assert staged.status().state is State.READY


def test_the_sides_that_answer_are_waited_for_and_no_other(tmp_path):
    away = tmp_path / "nowhere" / "flags.db"
    for stage, ready in ((Stage.SHADOW, True), (Stage.LIVE, False)):
        staged = Staged(memory(text("x")), SqliteProvider(away), standing=Standing(stage))
        with Flags.over(staged, ready_within=0.2) as flags:
            assert flags.wait_ready(0) is ready
            assert (flags.status().state is State.READY) is ready


@pytest.mark.parametrize("broken", [0, 1])
def test_nothing_is_left_of_a_start_that_failed(tmp_path, broken):
    stores = [SqliteProvider(tmp_path / name, poll=0.02) for name in ("old.db", "new.db")]

    def fail(_listener):
        message = "no such thing"
        raise OSError(message)

    stores[broken].start = fail
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="no such thing"):
        Staged(*stores).start(Ear())
    assert set(threading.enumerate()) == before


@pytest.mark.rule("P1")
def test_closing_keeps_its_time_though_both_hang(over):
    hanging = threading.Event()
    old, new = Deciding("a", agent="a"), Deciding("b", agent="b")
    old.close = new.close = lambda timeout=2.0: hanging.wait(30)
    _, staged, _ = over(old, new)
    begun = time.monotonic()
    staged.close(0.3)
    assert time.monotonic() - begun < 2
    hanging.set()


@pytest.mark.rule("P3", "M4")
def test_a_forked_child_follows_both_sides(over, tmp_path):
    stores = [SqliteProvider(tmp_path / f"{side}.db", poll=0.02) for side in Side]
    for store in stores:
        schema.upgrade(store.database)
        store.put(text("on"), ANA)
    flags, _, _ = over(*stores, Standing(Stage.LIVE, in_step=True), sample=1)
    assert flags.wait_ready(20)
    wait_for(lambda: served(flags) == {"on"})
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        code = 1
        try:
            wait_for(lambda: served(flags) == {"off"})
            code = 0
        finally:
            os._exit(code)
    other = SqliteProvider(tmp_path / "old.db")
    other.switch_off("agent", ANA)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    wait_for(lambda: served(flags) == {"off"})
    other.close()


def test_no_kill_is_lifted_before_the_new_side_has_what_its_revive_had_set(over):
    """Flags and kills come from two places then, and in no order that anybody could rely on."""
    flags, staged, _ = over(memory(text("old")), memory(text("new")), Standing(Stage.LIVE))
    assert staged.control is staged.inner.control
    assert flags._engine.revives._follows
    with Flags.over(memory(text("old"))) as alone:
        assert not alone._engine.revives._follows


def test_a_prerequisite_that_is_killed_holds_back_who_needs_it_on_either_side(over):
    needing = text("x", prerequisites=(Prerequisite("base"),))
    base = Flag.boolean("base")
    flags, _, stands = over(memory(needing, base), memory(needing, base))
    flags.operator("ana").kill("base", reason="it burns")
    assert served(flags) == {"off"}
    stands.default = Standing(Stage.COMPLETE)
    assert served(flags) == {"off"}


# Configuration


TABLE = """
[provider]
url = "memory:"
wrap = ["staged"]
[provider.staged]
to = "sqlite:///new.db"
stage = "live"
share = 12.5
in_step = true
sample = 1.0
expected = [{ flag = "x", reason = "y", until = 2027-01-31 }]
"""


def test_a_side_that_decides_by_itself_is_waited_for(over):
    away = Deciding("new", State.NOT_READY, agent="new")
    flags, staged, stands = over(memory(text("old")), away)
    assert staged.wait_ready(0)
    stands.default = Standing(Stage.LIVE)
    assert not staged.wait_ready(0.01)
    away.move(State.READY)
    assert flags.wait_ready(5)


def test_it_is_made_from_configuration(tmp_path):
    path = tmp_path / "downhaul.toml"
    path.write_text(TABLE)
    assert check(file=path, environ={}) == []
    with Flags.connect(file=path, cache_dir=str(tmp_path / "cache"), ready_within=0) as flags:
        staged = flags._engine.provider
        assert stack_of(staged) == "staged(memory, sqlite)"
        assert staged._standing_of("any") == Standing(Stage.LIVE, 12_500, in_step=True)
        assert staged._comparing.sample == 1
    path.write_text('[provider]\nurl = "memory:"\nwrap = ["staged"]\nstaged.to = "memory:"')
    with Flags.connect(file=path, cache_dir=str(tmp_path / "cache")) as flags:
        assert flags._engine.provider._standing_of("any") == Standing()


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "wrong, path",
    [
        (("live", "alive"), "provider.staged.stage"),
        (("share = 12.5", "share = 101"), "provider.staged.share"),
        (("share = 12.5", "share = 0.00001"), "provider.staged.share"),
        (("in_step", "instep"), "provider.staged.instep"),
    ],
)
def test_what_is_wrong_with_its_table_is_named(tmp_path, wrong, path):
    file = tmp_path / "downhaul.toml"
    file.write_text(TABLE.replace(*wrong))
    found = {one.path: one for one in check(file=file, environ={}, directory=tmp_path)}
    assert found[path].origin.startswith("downhaul.toml:")
