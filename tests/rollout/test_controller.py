"""Whole lives of rollouts: a real controller on a real store whose clock the test moves."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from rollout_world import BAKE, ERRORS, TICK, WHO, Arm, plan_for
from sqlalchemy import update

from downhaul.backends.memory import MemoryProvider
from downhaul.errors import Unreachable
from downhaul.overlay import Scope
from downhaul.rollout.plan import OnMetricsLost, OnUndecided, Plan, Strategy
from downhaul.rollout.plan import Step as PlanStep

GUARDED = {"guardrails": (ERRORS,)}


def started(world, *percents, percent=0, on=True, **fields):
    """Begin a rollout of a new flag, and put its first step at the provider."""
    was = world.flag(percent=percent, on=on)
    world.rollouts.start(plan_for("agent", *percents, **fields), "a better agent")
    assert not world.tick(0).errors
    assert world.phase() == "progressing"
    return was


def same(one, other):
    """Whether two flags decide alike and read alike, whatever their version is."""
    return replace(one, version="") == replace(other, version="")


# Climbing


@pytest.mark.rule("R1", "R2", "R3")
@pytest.mark.parametrize("on", [True, False])
def test_a_plan_climbs_step_by_step_and_is_completed(world, on):
    world.flag(on=on)
    world.rollouts.start(plan_for("agent", 1, 10, 100), "a better agent")
    assert world.percent() == 0  # starting serves nobody
    world.go_to("completed")
    assert world.exposures()[-3:] == [1, 10, 100]
    assert world.told() == ["planned", "started", "raised", "raised", "completed"]
    assert [one.step for one in world.state().history] == [0, 1, 2]
    assert all(one.baked >= BAKE for one in world.state().history)
    assert not world.tick(3600).claimed


@pytest.mark.rule("R3")
def test_on_is_written_at_the_start_and_never_again(world):
    started(world, 10, 50, on=False)
    assert world.kept().on
    world.provider.switch_off("agent", WHO)
    for _ in range(6):
        world.tick()
    assert not world.kept().on
    assert world.phase() == "paused"


@pytest.mark.rule("R2")
def test_a_tick_moves_many_rollouts_and_a_broken_one_stops_no_other(world):
    for number in range(5):
        world.flag(f"flag-{number}")
        world.rollouts.start(plan_for(f"flag-{number}", 10, 100), "")
    break_row(world, "flag-2", "state", "{broken")
    report = world.tick(0)
    assert (report.claimed, report.acted) == (5, 4)
    assert [world.percent(f"flag-{n}") for n in range(5)] == [10, 10, 0, 10, 10]


@pytest.mark.rule("R3", "R5")
def test_a_bake_is_the_time_of_the_store_and_not_of_ticks(world):
    started(world, 10, 50)
    for _ in range(8):
        world.tick(0)
    assert world.percent() == 10
    world.go(lambda: world.percent() == 50)
    assert world.state().history[0].baked >= BAKE


@pytest.mark.rule("R5")
def test_after_an_absence_of_all_controllers_the_step_bakes_anew(world):
    started(world, 10, 50, bake=20)
    for _ in range(3):
        world.tick()
    world.tick(3600)
    assert world.percent() == 10
    assert "bakes anew" in world.rollouts.events("agent")[-1].reason
    world.tick()
    world.tick()
    assert world.percent() == 10
    world.go(lambda: world.percent() == 50)


@pytest.mark.rule("R1")
def test_a_plan_that_is_edited_after_the_start_changes_nothing(world):
    plan = plan_for("agent", 10, 50, bake=60)
    world.flag()
    rollout = world.rollouts.start(plan, "")
    edited = replace(plan, steps=(PlanStep(100_000, 0.0, 0.0),))
    assert edited.digest != plan.digest == rollout.plan.digest
    for _ in range(4):
        world.tick()
    assert (world.percent(), world.rollouts.get("agent").plan) == (10, plan)


# Metrics


@pytest.mark.rule("R4", "R8")
def test_a_regression_takes_everything_back_exactly(world):
    was = started(world, 10, 50, percent=3, **GUARDED)
    world.go(lambda: world.percent() == 50)
    world.traffic.arms["on"].errors = 0.2
    world.go_to("rolled_back")
    assert same(world.kept(), was)
    assert world.told()[-3:] == ["rolling_back", "exposure_off", "rolled_back"]
    assert world.exposures()[-2:] == [0, 3]  # off before it is restored
    assert world.state().because == "regressed"
    assert "error_rate" in world.state().message
    assert not world.tick(3600).claimed


@pytest.mark.rule("R4")
def test_a_paused_rollout_is_taken_back_too(world):
    was = started(world, 10, 50, **GUARDED)
    world.rollouts.pause("agent", "lunch")
    world.traffic.arms["on"].errors = 0.5
    world.go_to("rolled_back")
    assert same(world.kept(), was)


@pytest.mark.rule("R5")
def test_without_requests_nothing_rises_and_at_last_it_pauses(world):
    started(world, 10, 50, on_undecided=OnUndecided.PROMOTE, **GUARDED)
    world.traffic.arms = {}
    world.go_to("paused")
    assert (world.percent(), world.state().because) == (10, "no_data")
    assert world.state().waited >= 3 * BAKE


@pytest.mark.rule("R5")
@pytest.mark.parametrize(
    "error", [Unreachable("the log is away"), ZeroDivisionError("a defect of the source")]
)
def test_a_metric_source_that_fails_holds_and_is_told_once(world, error):
    started(world, 10, 50, **GUARDED)
    world.traffic.error = error
    for _ in range(8):
        world.tick()
    assert (world.phase(), world.percent()) == ("progressing", 10)
    assert str(error) in world.state().hold_message
    assert world.told().count("metrics_lost") == 1
    world.traffic.error = None
    world.go(lambda: world.percent() == 50)
    assert "metrics_found" in world.told()


@pytest.mark.rule("R4")
@pytest.mark.parametrize("error", [Unreachable("away"), ZeroDivisionError("a defect")])
def test_a_rollback_by_hand_waits_for_no_metric_source(world, error):
    was = started(world, 10, 50, **GUARDED)
    world.traffic.error = error
    done = world.rollouts.rollback("agent", "enough")
    assert (done.applied, done.rollout.phase) == (True, "rolled_back")
    assert same(world.kept(), was)


@pytest.mark.rule("R5")
def test_metrics_that_stay_away_take_it_back_where_the_plan_says_so(world):
    fields = {"on_metrics_lost": OnMetricsLost.ROLLBACK, "metrics_lost_after": 60.0}
    was = started(world, 10, 50, **GUARDED, **fields)
    world.traffic.error = Unreachable("away")
    world.go_to("rolled_back")
    assert same(world.kept(), was)
    assert world.state().because == "metrics_lost"


@pytest.mark.rule("R10")
def test_windows_follow_each_other_without_gap_or_overlap(world):
    started(world, 10, 50, bake=20, **GUARDED)
    for _ in range(3):
        world.tick()
    world.traffic.error = Unreachable("away")
    world.tick()
    world.traffic.error = None
    world.tick()
    windows = world.traffic.windows
    assert len(windows) == 4
    for early, late in pairwise(windows):
        assert early.until == late.since
    assert world.state().findings[0].requests == 25 * 50


# Kills


@pytest.mark.rule("K5")
@pytest.mark.parametrize("scope", ["agent", "tag:agents", "*"])
def test_a_kill_ends_a_rollout_and_a_revive_does_not_go_on_with_it(world, scope):
    world.flag(tags=("agents",))
    world.rollouts.start(plan_for("agent", 10, 50), "")
    world.tick(0)
    world.control.record_kill(Scope.parse(scope), WHO, killed=True)
    world.tick(0)  # it is due at once
    assert (world.phase(), world.state().because) == ("stopped", "killed")
    assert world.percent() == 10  # the overlay keeps everybody off, and the flag is not touched
    world.control.record_kill(Scope.parse(scope), WHO, killed=False)
    for _ in range(6):
        world.tick(60)
    assert (world.phase(), world.percent()) == ("stopped", 10)


@pytest.mark.rule("K5")
def test_a_kill_that_was_lifted_between_two_looks_ended_it_all_the_same(world):
    started(world, 10, 50)
    for killed in (True, False):
        world.clock.advance(0.001)
        world.control.record_kill(Scope.parse("agent"), WHO, killed=killed)
    world.tick()
    assert (world.phase(), world.state().because) == ("stopped", "killed")


@pytest.mark.rule("K5")
def test_a_kill_from_before_the_rollout_and_a_kill_of_another_flag_end_nothing(world):
    world.flag()
    for killed in (True, False):
        world.control.record_kill(Scope.parse("agent"), WHO, killed=killed)
        world.clock.advance(0.001)
    world.rollouts.start(plan_for("agent", 10, 50), "")
    world.control.record_kill(Scope.parse("another"), WHO, killed=True)
    world.control.record_kill(Scope.parse("switch:llm"), WHO, killed=True)
    world.go_to("completed")


@pytest.mark.rule("K5", "R4")
def test_a_kill_stops_no_way_back(world):
    was = started(world, 10, 50)
    world.control.record_kill(Scope.parse("agent"), WHO, killed=True)
    world.store.command(world.rollouts.get("agent").id, "rollback", 0, {}, WHO)
    world.tick(0)
    assert world.phase() == "rolled_back"
    assert same(world.kept(), was)
    assert world.control.kills()[0].killed


# Drift


@pytest.mark.rule("R7")
@pytest.mark.parametrize("how", ["weight", "off"])
def test_what_somebody_lowered_is_accepted_and_pauses(world, how):
    started(world, 10, 50)
    if how == "off":
        world.provider.switch_off("agent", WHO)
    else:
        world.provider.set_rollout("agent", "on", 2_000, WHO)
    lowered = world.percent()
    for _ in range(6):
        world.tick()
    assert (world.phase(), world.state().because) == ("paused", "drift_lowered")
    assert world.percent() == lowered


@pytest.mark.rule("R7")
def test_what_somebody_raised_pauses_and_is_told(world):
    started(world, 10, 50)
    world.provider.set_rollout("agent", "on", 40_000, WHO)
    for _ in range(6):
        world.tick()
    assert (world.phase(), world.state().because) == ("paused", "drift_raised")
    assert world.percent() == 40  # taken back by people only
    (told,) = [one for one in world.rollouts.events("agent") if one.action == "drift"]
    assert "raised it by hand" in told.reason


@pytest.mark.rule("R7")
def test_another_change_pauses_and_one_of_words_does_not(world):
    started(world, 10, 50, 100)
    kept = world.kept()
    world.provider.put(replace(kept, description="new words", owner="ben"), WHO)
    world.tick()
    assert world.phase() == "progressing"
    world.provider.set_targets("agent", "on", {"user-1"}, WHO)
    world.tick()
    assert (world.phase(), world.state().because) == ("paused", "drift_other")


@pytest.mark.rule("R7", "R8")
def test_words_that_were_edited_outlive_the_way_back(world):
    was = started(world, 10, 50)
    world.provider.put(replace(world.kept(), description="new words", owner="ben"), WHO)
    world.rollouts.rollback("agent", "enough")
    assert world.phase() == "rolled_back"
    assert same(world.kept(), replace(was, description="new words", owner="ben"))


@pytest.mark.rule("R7")
def test_a_deleted_flag_pauses_it_and_is_never_written_again(world):
    started(world, 10, 50)
    world.provider.delete("agent", WHO)
    for _ in range(5):
        world.tick()
    assert (world.phase(), world.state().because) == ("paused", "flag_gone")
    assert world.provider.get("agent") is None
    world.rollouts.rollback("agent", "never mind")
    assert world.phase() == "rolled_back"
    assert world.provider.get("agent") is None


@pytest.mark.rule("R8")
def test_what_somebody_else_changed_stops_the_restore_with_the_exposure_off(world):
    was = started(world, 10, 50)
    world.provider.set_targets("agent", "on", {"vip"}, WHO)
    done = world.rollouts.rollback("agent", "it is worse")
    assert done.rollout.phase == "latched"
    assert not world.kept().on
    assert "targets" in done.outcome
    for _ in range(5):
        world.tick()
    assert world.phase() == "latched"
    done = world.rollouts.rollback("agent", "restore it all the same", overwrite=True)
    assert done.rollout.phase == "rolled_back"
    assert same(world.kept(), was)


@pytest.mark.rule("R7")
def test_what_is_turned_on_again_while_latched_goes_off_again_a_few_times(world):
    started(world, 10, 50)
    world.provider.set_targets("agent", "on", {"vip"}, WHO)
    world.rollouts.rollback("agent", "it is worse")
    for _ in range(3):
        world.provider.switch_on("agent", WHO)
        world.tick()
        assert not world.kept().on
    world.provider.switch_on("agent", WHO)
    for _ in range(3):
        world.tick()
    assert world.kept().on  # people were called
    assert "keeps turning it on" in world.rollouts.events("agent")[-1].reason


# Blue-green


def blue_green(**fields) -> Plan:
    steps = (PlanStep(0, BAKE, 3 * BAKE, preview=True), PlanStep(100_000, BAKE, 3 * BAKE))
    return Plan(
        "agent",
        "on",
        steps,
        Strategy.BLUE_GREEN,
        audience=("vip-1", "vip-2"),
        interval=TICK,
        unguarded="" if fields else "a test",
        **fields,
    )


def targets(world):
    return {key for one in world.kept().targets if one.variant == "on" for key in one.keys}


@pytest.mark.rule("R9")
def test_blue_green_previews_switches_in_one_write_and_is_completed(world):
    was = world.flag()
    world.rollouts.start(blue_green(), "")
    world.tick(0)
    assert (world.percent(), targets(world)) == (0, {"vip-1", "vip-2"})
    world.go(lambda: world.percent() == 100)
    assert [one for one in world.exposures() if one] == [100]
    world.go_to("completed")
    world.rollouts.revert("agent", "blue was better")
    assert world.phase() == "reverted"
    assert same(world.kept(), was)
    assert world.exposures().count(100) == 1


@pytest.mark.rule("R9", "R4")
def test_blue_takes_over_again_in_one_write_when_green_regresses(world):
    was = world.flag()
    world.rollouts.start(blue_green(**GUARDED), "")
    world.go(lambda: world.percent() == 100)
    world.traffic.arms = {"on": Arm(errors=0.3)}
    world.go_to("rolled_back")
    assert same(world.kept(), was)
    history = world.provider.history("agent")
    assert all(one.after["on"] for one in history if "on" in one.after)  # blue stayed armed
    assert world.told()[-3:] == ["rolling_back", "exposure_off", "rolled_back"]


# Rows that this code can't read, or that others wrote


def break_row(world, flag, column, value):
    rollouts = world.store.database.tables.rollouts
    with world.store.database.writing() as connection:
        connection.execute(
            update(rollouts)
            .where(rollouts.c.environment == world.store.environment, rollouts.c.flag == flag)
            .values({column: value})
        )


def raw(world, flag="agent"):
    rollouts = world.store.database.tables.rollouts
    columns = [rollouts.c.plan, rollouts.c.state, rollouts.c.snapshot, rollouts.c.evidence]
    with world.store.database.reading() as connection:
        return connection.execute(
            rollouts.select()
            .with_only_columns(*columns)
            .where(rollouts.c.environment == world.store.environment, rollouts.c.flag == flag)
        ).one()


@pytest.mark.rule("R1")
@pytest.mark.parametrize("column", ["plan", "state", "snapshot"])
def test_a_row_that_is_broken_is_left_as_it_is(world, column):
    started(world, 10, 50)
    break_row(world, "agent", column, "{broken")
    before = raw(world)
    for _ in range(3):
        world.tick(61)
    assert raw(world) == before
    assert world.percent() == 10


@pytest.mark.rule("R1")
@pytest.mark.parametrize("column, schema", [("state", 2), ("state", 99), ("plan", 3)])
def test_a_row_of_a_newer_version_is_left_alone_for_one_that_can_read_it(world, column, schema):
    started(world, 10, 50)
    row = world.store.live_of("agent")
    newer = {**getattr(row, column), "schema": schema, "unheard_of": True}
    break_row(world, "agent", column, json.dumps(newer))
    before = raw(world)
    for _ in range(6):
        world.tick()
    assert raw(world) == before
    assert world.percent() == 10
    assert world.controller.counters()["unreadable"] >= 1
    newer.pop("unheard_of")
    break_row(world, "agent", column, json.dumps({**newer, "schema": 1}))
    world.clock.advance(61)
    world.go_to("completed")


@pytest.mark.rule("R1")
def test_a_row_of_an_older_version_is_read_with_the_defaults_of_what_it_lacks(world):
    started(world, 10, 50, **GUARDED)
    row = world.store.live_of("agent")
    needed = ("schema", "phase", "step", "entered", "entered_at", "desired", "started_at")
    state = {name: row.state[name] for name in needed}
    plan = {name: row.plan[name] for name in ("flag", "variant", "guardrails", "interval")}
    plan["steps"] = [{"weight": one["weight"], "bake": one["bake"]} for one in row.plan["steps"]]
    break_row(world, "agent", "state", json.dumps(state))
    break_row(world, "agent", "plan", json.dumps(plan))
    world.go_to("completed")
    assert world.exposures()[-2:] == [10, 50]


def test_evidence_that_is_broken_is_counted_anew_and_delays_no_way_back(world):
    was = started(world, 10, 50, **GUARDED)
    world.tick()
    break_row(world, "agent", "evidence", "{broken")
    world.tick()
    assert world.phase() == "progressing"
    world.traffic.arms["on"].errors = 0.5
    world.go_to("rolled_back")
    assert same(world.kept(), was)


@pytest.mark.rule("R4")
def test_a_command_that_this_version_does_not_know_is_refused_and_stops_nothing(world):
    started(world, 10, 50)
    rollout = world.rollouts.get("agent").id
    unknown = world.store.command(rollout, "teleport", 0, {}, WHO)
    world.store.command(rollout, "pause", 0, {}, WHO)
    report = world.tick(0)
    assert not report.errors
    assert world.phase() == "paused"
    assert world.store.command_done(unknown).outcome.startswith("refused: ")


# A backend that does not share the store


class Moody(MemoryProvider):
    """A backend that fails where a test says so, before or after it did what it was asked."""

    def __init__(self):
        super().__init__()
        self.away = False
        self.silent = False  # it does what it is asked, and the answer is lost
        self.calls = []

    def _do(self, name, verb, *words, **options):
        self.calls.append(name)
        if self.away:
            raise Unreachable("the vendor is away", provider="memory")
        done = verb(*words, **options)
        if self.silent:
            raise Unreachable("the answer was lost", provider="memory")
        return done

    def get(self, key):
        if self.away:
            raise Unreachable("the vendor is away", provider="memory")
        return super().get(key)


for _name in ("put", "switch_on", "switch_off", "set_rollout", "set_targets", "restore"):

    def _verb(self, *words, _name=_name, **options):
        return self._do(_name, getattr(super(Moody, self), _name), *words, **options)

    setattr(Moody, _name, _verb)


@pytest.fixture
def vendor(world_of):
    return world_of("apart", Moody())


@pytest.mark.rule("R2", "R7")
def test_a_backend_that_is_away_freezes_it_and_the_step_is_written_once_it_is_back(vendor):
    started(vendor, 10, 50)
    vendor.provider.away = True
    for _ in range(8):
        vendor.tick()
    assert (vendor.phase(), vendor.state().hold) == ("progressing", "provider")
    assert vendor.told().count("stuck") == 1
    vendor.provider.away = False
    vendor.go(lambda: vendor.percent() == 50)
    assert vendor.exposures()[-2:] == [10, 50]


@pytest.mark.rule("R2")
def test_a_write_whose_answer_was_lost_is_recognised(vendor):
    started(vendor, 10, 50)
    vendor.provider.silent = True
    vendor.go(lambda: vendor.percent() == 50)
    vendor.provider.silent = False
    vendor.go_to("completed")
    assert "drift" not in vendor.told()
    assert vendor.told().count("raised") == 1
    assert vendor.exposures()[-2:] == [10, 50]


@pytest.mark.rule("R2")
@pytest.mark.parametrize("point", ["intended", "before_write", "after_write"])
@pytest.mark.parametrize("operation", ["start", "raise", "off", "restore"])
def test_after_a_crash_at_any_point_of_a_write_the_next_one_goes_on(apart, point, operation):
    was = apart.flag(percent=3, on=operation != "start")
    apart.rollouts.start(plan_for("agent", 10, 50), "")
    if operation != "start":
        apart.tick(0)
    if operation in ("off", "restore"):
        apart.store.command(apart.rollouts.get("agent").id, "rollback", 0, {}, WHO)
    reached = []

    def crash(name, _rollout):
        if name == point:
            reached.append(name)
            if len(reached) == (2 if operation == "restore" else 1):
                raise KeyboardInterrupt

    dies = apart.another("dies", points=crash)
    with pytest.raises(KeyboardInterrupt):
        apart.go(lambda: False, controller=dies)
    apart.clock.advance(16)  # the lease ends
    if operation in ("off", "restore"):
        apart.go_to("rolled_back")
        assert same(apart.kept(), was)
    else:
        apart.go_to("completed")
        assert [one for one in apart.exposures() if one != 3][-2:] == [10, 50]
        assert apart.exposures().count(10) == apart.exposures().count(50) == 1
    assert "drift" not in apart.told()
    assert len(apart.told()) == len(set(apart.told()))  # each step is told once
    assert apart.store.intents(apart.rollouts.get("agent").id, unsettled=True) == []


@pytest.mark.rule("K1", "R4")
def test_a_kill_holds_the_line_while_a_backend_can_not_be_told_to_put_it_off(vendor):
    was = started(vendor, 10, 50, **GUARDED)
    vendor.traffic.arms["on"].errors = 0.5
    vendor.provider.away = True
    for _ in range(4):
        vendor.tick()
    assert vendor.phase() == "rolling_back"
    (kill,) = vendor.control.kills()
    assert (kill.killed, str(kill.scope)) == (True, "agent")
    assert "its backend is away" in kill.reason
    assert vendor.told().count("killed") == 1
    vendor.provider.away = False
    vendor.go_to("rolled_back")
    assert same(vendor.kept(), was)
    assert vendor.control.kills()[0].killed  # a rollout lifts none


@pytest.mark.rule("K1")
def test_a_control_store_that_hiccups_is_no_backend_that_is_away(vendor, monkeypatch):
    was = started(vendor, 10, 50)
    fails = [Unreachable("the store is away")]
    intend = vendor.store.intend

    def once(*words):
        if fails:
            raise fails.pop()
        return intend(*words)

    monkeypatch.setattr(vendor.store, "intend", once)
    vendor.store.command(vendor.rollouts.get("agent").id, "rollback", 0, {}, WHO)
    vendor.tick(0)
    vendor.go_to("rolled_back")
    assert same(vendor.kept(), was)
    assert vendor.control.kills() == []


@pytest.mark.rule("R2")
def test_a_save_that_fails_after_a_write_leaves_it_to_be_recognised(vendor, monkeypatch):
    started(vendor, 10, 50)
    fails = [Unreachable("the store is away")]
    save = vendor.store.save

    def once(*words):
        if fails:
            raise fails.pop()
        return save(*words)

    monkeypatch.setattr(vendor.store, "save", once)
    for _ in range(8):
        vendor.tick()
    assert not fails
    vendor.go_to("completed")
    assert "drift" not in vendor.told()
    assert vendor.exposures()[-2:] == [10, 50]


class Plain(Moody):
    """A backend that knows no compare-and-set: each narrow verb is a write of its own."""

    capabilities = MemoryProvider.capabilities - {"compare_and_set"}


@pytest.mark.rule("R2", "R3")
@pytest.mark.parametrize("plan", [blue_green(), plan_for("agent", 10, 50)], ids=["blue", "canary"])
@pytest.mark.parametrize("done", [0, 1])
def test_a_start_that_was_cut_off_between_its_writes_is_finished(world_of, plan, done):
    world = world_of("apart", Plain())
    was = world.flag(on=False)
    world.rollouts.start(plan, "")
    calls = world.provider.calls
    calls.clear()
    before = world.provider._do

    def cut(name, verb, *words, **options):
        if len(calls) == done:
            raise KeyboardInterrupt
        return before(name, verb, *words, **options)

    world.provider._do = cut
    with pytest.raises(KeyboardInterrupt):
        world.tick(0)
    assert len(calls) == done
    world.provider._do = before
    world.clock.advance(16)
    world.go(lambda: world.state().entered)
    assert "drift" not in world.told()
    assert world.told().count("started") == 1
    assert (world.kept().on, targets(world)) == (True, set(plan.audience))
    world.rollouts.rollback("agent", "enough")
    assert same(world.kept(), was)


@pytest.mark.rule("R7")
def test_a_change_between_the_look_and_the_write_is_seen_before_anything_is_written(world):
    started(world, 10, 50)

    def meanwhile(name, _rollout):
        if name == "before_write":
            world.provider.switch_off("agent", WHO)

    other = world.another("other", points=meanwhile)
    world.go(lambda: not world.kept().on, controller=other)
    assert world.exposures()[-2:] == [10, 0]  # 50 was never written
    world.go_to("paused")
    assert world.exposures()[-2:] == [10, 0]


def overtake(world, point):
    """Let a controller be overtaken at a point of the tick in which it would raise."""
    was = started(world, 10, 50)
    overtaken = []

    def meanwhile(name, _rollout):
        if name != point or overtaken or world.state().baked < BAKE - TICK:
            return
        overtaken.append(name)
        world.clock.advance(16)
        world.store.command(world.rollouts.get("agent").id, "rollback", 0, {}, WHO)
        world.tick(0)
        assert world.phase() == "rolled_back"

    slow = world.another("slow", points=meanwhile)
    lost = sum(world.tick(controller=slow).lost for _ in range(8))
    assert overtaken
    assert lost == 1
    assert world.phase() == "rolled_back"
    assert same(world.kept(), was)
    assert 50 not in world.exposures()


@pytest.mark.rule("R2")
@pytest.mark.parametrize("point", ["claimed", "observed", "decided", "before_write"])
def test_one_that_was_overtaken_on_the_way_writes_nothing(world, point):
    overtake(world, point)


@pytest.mark.rule("R2")
def test_one_that_was_overtaken_after_it_said_what_it_will_write_does_not_write_it(apart):
    overtake(apart, "intended")


# Announcements


class Sink:
    def __init__(self):
        self.events = []
        self.fails = 0

    def send(self, event):
        if self.fails:
            self.fails -= 1
            message = "no route to people"
            raise OSError(message)
        self.events.append(event)


@pytest.mark.rule("R2")
def test_announcements_are_delivered_and_again_where_a_sink_failed(world):
    sink = Sink()
    teller = world.another("teller", alerts=(sink,))
    started(world, 10, 50)
    world.go_to("completed")
    sink.fails = 2
    assert teller.deliver() == 1
    assert [one.what for one in sink.events] == ["completed"]
    assert teller.deliver() == 0
    world.clock.advance(2)
    assert teller.deliver() == 2
    assert sorted(one.what for one in sink.events) == ["completed", "raised", "started"]
    assert {one.subject for one in sink.events} == {"agent"}
    assert teller.deliver() == 0


def test_an_announcement_that_was_sent_and_not_settled_is_sent_again_under_its_number(
    world, monkeypatch
):
    sink = Sink()
    teller = world.another("teller", alerts=(sink,))
    started(world, 10, 50)
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delivered", lambda _: None)  # it died before it settled it
        teller.deliver()
    assert world.another("other", alerts=(sink,)).deliver() == 0  # it is in somebody's hands
    world.clock.advance(61)
    teller.deliver()
    first, second = sink.events
    assert (first.what, first.after["id"]) == (second.what, second.after["id"])
    assert teller.deliver() == 0


def test_an_announcement_that_is_broken_keeps_no_other_from_people(world):
    sink = Sink()
    teller = world.another("teller", alerts=(sink,))
    started(world, 10, 50)
    outbox = world.store.database.tables.outbox
    with world.store.database.writing() as connection:
        connection.execute(
            update(outbox)
            .where(outbox.c.environment == world.store.environment)
            .values(event="{broken")
        )
    world.go(lambda: world.percent() == 50)
    teller.deliver()
    assert [one.what for one in sink.events] == ["raised"]


# Running


def test_one_look_for_cron_takes_everything_that_is_due(here):
    cron = here.another("cron", batch=3)
    for number in range(7):
        here.flag(f"flag-{number}")
        here.rollouts.start(plan_for(f"flag-{number}", 10, 100), "")
    report = cron.run_once()
    assert (report.claimed, report.acted) == (7, 7)
    assert all(here.percent(f"flag-{number}") == 10 for number in range(7))
    assert here.store.controllers(15) == 0  # it said that it left


@pytest.mark.rule("X1")
def test_a_store_that_is_away_is_told_and_tried_again(here, monkeypatch):
    started(here, 10, 50)

    def away(*_words, **_options):
        raise Unreachable("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(here.store, "claim", away)
        report = here.tick()
        assert (report.unreachable, report.claimed) == (True, 0)
        assert here.controller.health()["last_error"] == "the store is away"
    here.go_to("completed")
    assert here.controller.health()["ready"]


@pytest.mark.rule("R2")
def test_kills_that_can_not_be_read_hold_everything(here, monkeypatch):
    started(here, 10, 50)

    def away():
        raise Unreachable("the register is away")

    with monkeypatch.context() as patch:
        patch.setattr(here.control, "kills", away)
        for _ in range(6):
            assert here.tick().unreachable
    assert here.percent() == 10
    assert here.store.live_of("agent").lease_owner == ""
