"""A flag is moved on one stage at a time, each with its condition, and back at once."""

import json
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.backends.memory import MemoryProvider
from downhaul.backends.sqlite import SqliteProvider
from downhaul.client.flags import Flags
from downhaul.errors import FlagNotFound, Refused, VersionConflict
from downhaul.flag import WHOLE, Flag, FlagSet
from downhaul.migrate.cutover import Step, advance, forget, go_back
from downhaul.migrate.stages import Stages
from downhaul.provider import Change
from downhaul.staging import STAGES, Stage, Standing
from downhaul.store import schema
from downhaul.wrappers.standings import Followed, Move, environment_beside, from_flag, to_flag

ANA = Change("ana", "a test")


@pytest.fixture
def register():
    return Stages(MemoryProvider(FlagSet()))


def standing(register, key, *args, **fields):
    return register.put(Move(key, Standing(*args), "db", "ld", **fields), ANA)


def free(_key):
    return None


def on(register, key="agent", busy=free, **step):
    (moved,) = advance(register, [key], Step(**step), ANA, busy)
    return moved.after.standing


moves = st.builds(
    Move,
    st.text(min_size=1, max_size=8),
    st.builds(Standing, st.sampled_from(STAGES), st.just(WHOLE), st.booleans())
    | st.builds(Standing, st.sampled_from(STAGES[1:]), st.integers(0, WHOLE), st.booleans()),
    *[st.text(max_size=8)] * 4,
    st.booleans(),
    st.text(max_size=20),
    st.booleans(),
)


@given(moves)
def test_where_a_flag_stands_reads_back_from_the_flag_that_says_it(move):
    assert from_flag(to_flag(move)) == move


@given(moves, st.text(min_size=1, max_size=12))
def test_the_flag_that_says_it_serves_each_user_their_stage(move, user):
    with Flags.in_memory([to_flag(move)]) as flags:
        assert flags.evaluate(move.key, user, None).value == move.standing.of(move.key, user)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda flag: replace(flag, description=""),
        lambda flag: replace(flag, description="[]"),
        lambda flag: replace(flag, default="sideways", variants={"sideways": "sideways"}),
        lambda flag: replace(flag, description=json.dumps({"old": "a"}), default="?"),
    ],
)
def test_what_somebody_wrote_by_hand_is_told_and_stands_nowhere(spoil):
    provider = MemoryProvider(FlagSet.of([spoil(to_flag(Move("agent")))]), validate=False)
    with pytest.raises(Refused, match='where "agent" stands'):
        Stages(provider).all()
    followed = Followed(provider, Standing(Stage.SHADOW))
    followed.replaced(provider.list())
    assert followed.standing_of("agent") == Standing(Stage.SHADOW)


def test_it_goes_on_stage_by_stage_to_the_end(register):
    standing(register, "agent", Stage.OFF, WHOLE, True)
    seen = [on(register).stage for _ in range(5)]
    assert seen == list(STAGES[1:])
    assert on(register).stage is Stage.COMPLETE


def test_nobody_goes_live_who_was_not_proved_to_be_in_step(register):
    standing(register, "agent", Stage.SHADOW)
    with pytest.raises(Refused, match="nobody has proved") as told:
        on(register)
    assert "migrate verify --from db --to ld agent" in told.value.hint
    assert on(register, unverified=True).stage is Stage.LIVE


def test_live_is_for_some_then_for_more_then_for_all_then_over(register):
    standing(register, "agent", Stage.SHADOW, WHOLE, True)
    assert on(register, share=10_000) == Standing(Stage.LIVE, 10_000, in_step=True)
    assert on(register, share=50_000).share == 50_000
    assert on(register) == Standing(Stage.LIVE, WHOLE, in_step=True)
    assert on(register).stage is Stage.RAMP_DOWN


@pytest.mark.parametrize(
    "stage, share, step, said",
    [
        (Stage.OFF, WHOLE, {"stage": Stage.LIVE}, "dual-write comes before live"),
        (Stage.LIVE, WHOLE, {"stage": Stage.SHADOW}, "which is beyond shadow"),
        (Stage.LIVE, 10_000, {"stage": Stage.RAMP_DOWN}, "for 10 % only"),
        (Stage.OFF, WHOLE, {"share": 10_000}, "only live can be for some"),
    ],
)
def test_what_has_no_sense_is_refused_in_words(register, stage, share, step, said):
    standing(register, "agent", stage, share, True)
    with pytest.raises(Refused, match=said):
        on(register, **step)
    assert register.get("agent").standing.stage is stage


def test_what_differs_has_to_be_repaired_first(register):
    standing(register, "agent", Stage.DUAL_WRITE, WHOLE, True, unsynced="a write failed")
    with pytest.raises(Refused, match="a write failed") as told:
        on(register)
    assert "migrate sync agent" in told.value.hint


def test_a_flag_with_a_live_rollout_does_not_change_sides(register):
    standing(register, "agent", Stage.SHADOW, WHOLE, True)
    with pytest.raises(Refused, match="a live rollout, d4a0"):
        on(register, busy=lambda _key: "a live rollout, d4a0")
    standing(register, "other", Stage.OFF)
    assert on(register, "other", busy=lambda _key: "a live rollout").stage is Stage.DUAL_WRITE


def test_all_are_looked_at_before_the_first_moves(register):
    standing(register, "a", Stage.OFF)
    standing(register, "b", Stage.SHADOW)
    with pytest.raises(Refused):
        advance(register, ["a", "b"], Step(), ANA, free)
    assert register.get("a").standing.stage is Stage.OFF


@given(st.sampled_from(STAGES), st.integers(0, WHOLE), st.booleans(), st.text(max_size=5))
def test_nothing_stands_in_the_way_back(stage, share, in_step, unsynced):
    register = Stages(MemoryProvider(FlagSet()))
    share = share if stage is not Stage.OFF else WHOLE
    standing(register, "agent", stage, share, in_step, unsynced=unsynced)
    (moved,) = go_back(register, ["agent"], None, ANA)
    assert moved.after.standing == Standing(stage.before, WHOLE, in_step)


def test_back_goes_as_far_as_one_says_and_never_on(register):
    standing(register, "agent", Stage.RAMP_DOWN, WHOLE, True)
    (moved,) = go_back(register, ["agent"], Stage.OFF, ANA)
    assert moved.after.standing.stage is Stage.OFF
    with pytest.raises(Refused, match="is not behind it"):
        go_back(register, ["agent"], Stage.LIVE, ANA)


def test_what_the_old_side_has_no_more_is_not_gone_back_to(register):
    standing(register, "agent", Stage.COMPLETE, WHOLE, True, retired=True)
    with pytest.raises(Refused, match="is retired at db") as told:
        go_back(register, ["agent"], None, ANA)
    assert "migrate sync agent" in told.value.hint
    assert register.get("agent").standing.stage is Stage.COMPLETE


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("retired", [False, True])
def test_nothing_is_forgotten_by_which_the_new_side_is_asked(register, stage, retired):
    standing(register, "agent", stage, WHOLE, True, retired=retired)
    if stage.reads == "new" and not retired:
        with pytest.raises(Refused, match="ld answers for it"):
            forget(register, ["agent"], ANA)
        assert register.get("agent") is not None
    else:
        forget(register, ["agent"], ANA)
        assert register.get("agent") is None


def test_a_flag_on_no_way_is_told(register):
    with pytest.raises(FlagNotFound, match='"agent" is on no way'):
        on(register)
    with pytest.raises(FlagNotFound):
        go_back(register, ["agent"], None, ANA)


def test_two_who_move_one_flag_at_once_do_not_pass_each_other(register):
    first = standing(register, "agent", Stage.OFF)
    on(register)
    with pytest.raises(VersionConflict):
        register.put(replace(first, standing=Standing(Stage.DUAL_WRITE)), ANA)


def test_an_application_hears_of_it(tmp_path):
    database = tmp_path / "control.db"
    there = environment_beside("production")
    writer = SqliteProvider(database, environment=there)
    schema.upgrade(writer.database)
    moved = []
    followed = Followed(SqliteProvider(database, environment=there), Standing(), moved.append)
    followed.start()
    try:
        register = Stages(writer)
        made = standing(register, "agent", Stage.DUAL_WRITE)
        wait_for(lambda: followed.standing_of("agent").stage is Stage.DUAL_WRITE)
        assert moved[-1] == {"agent"}
        assert followed.standing_of("other") == Standing()
        register.put(replace(made, standing=Standing(Stage.LIVE, 10_000, in_step=True)), ANA)
        wait_for(lambda: followed.standing_of("agent").stage is Stage.LIVE)
        assert followed.standing_of("agent") == Standing(Stage.LIVE, 10_000, in_step=True)
        register.remove(register.get("agent"), ANA)
        wait_for(lambda: followed.standing_of("agent") == Standing())
    finally:
        followed.provider.close()
        writer.close()


def wait_for(condition, seconds=10):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


def test_flags_of_the_register_are_no_flags_of_the_application(tmp_path):
    writer = SqliteProvider(tmp_path / "flags.db", environment=environment_beside("default"))
    schema.upgrade(writer.database)
    standing(Stages(writer), "agent", Stage.OFF)
    application = SqliteProvider(tmp_path / "flags.db", environment="default")
    assert Flag.boolean("agent").key not in application.list().flags
    writer.close()
    application.close()
