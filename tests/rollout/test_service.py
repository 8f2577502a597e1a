"""The verbs of rollouts: what each does at once, what waits for a controller, what is refused."""

import logging
import threading

import pytest
from rollout_world import ERRORS, WHO, plan_for
from sqlalchemy import update

from downhaul.backends.file import FileProvider
from downhaul.backends.memory import MemoryProvider
from downhaul.config import PolicySettings
from downhaul.control import Operator
from downhaul.errors import (
    DocumentError,
    DownhaulError,
    FlagNotFound,
    Refused,
    Unreachable,
    VersionConflict,
)
from downhaul.overlay import Scope
from downhaul.rollout import service
from downhaul.rollout.service import Rollouts, controller_for
from downhaul.rollout.state import Phase


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """What waits for a controller says so at once: the tests tick themselves."""
    monkeypatch.setattr(service, "_WAIT", 0.0)


def begin(world, *percents, flag="agent", **fields):
    world.flag(flag)
    world.rollouts.start(plan_for(flag, *percents, **fields), "a better agent")
    world.tick(0)
    return world.rollouts.get(flag)


# Starting


@pytest.mark.rule("R1")
def test_starting_records_plan_snapshot_and_who_and_serves_nobody(world):
    was = world.flag(percent=2)
    plan = plan_for("agent", 10, 100, guardrails=(ERRORS,))
    rollout = world.rollouts.start(plan, "a better agent")
    assert (rollout.phase, rollout.flag, rollout.plan) == (Phase.STARTING, "agent", plan)
    assert (rollout.actor, rollout.reason) == ("ana", "a better agent")
    assert world.kept() == was
    row = world.store.existing(rollout.id)
    assert (row.digest, row.snapshot["version"]) == (plan.digest, was.version)
    (planned,) = world.rollouts.events("agent")
    assert (planned.action, planned.detail["steps"]) == ("planned", [10, 100])


@pytest.mark.rule("R1")
def test_a_flag_that_is_rolled_out_is_refused_and_the_live_one_named(world):
    rollout = begin(world)
    with pytest.raises(Refused, match=f"has a live rollout already: {rollout.id}"):
        world.rollouts.start(plan_for("agent"), "again")


@pytest.mark.rule("K5")
@pytest.mark.parametrize("scope", ["agent", "tag:agents", "*"])
def test_a_killed_flag_is_not_rolled_out(world, scope):
    world.flag(tags=("agents",))
    world.control.record_kill(Scope.parse(scope), WHO, killed=True)
    with pytest.raises(Refused, match='"agent" is killed') as caught:
        world.rollouts.start(plan_for("agent"), "")
    assert "revive it first" in caught.value.hint
    assert f"downhaul revive {'--all' if scope == '*' else scope}" in caught.value.hint
    assert world.rollouts.list() == []


@pytest.mark.rule("K5")
@pytest.mark.parametrize("scope", ["agent", "tag:agents", "*"])
def test_one_that_began_in_the_moment_of_the_kill_serves_nobody(world, scope, monkeypatch):
    world.flag(tags=("agents",))
    monkeypatch.setattr(Rollouts, "_kill_of", lambda *_: None)  # it looked before the kill
    world.control.record_kill(Scope.parse(scope), WHO, killed=True)
    world.clock.advance(0.001)
    world.rollouts.start(plan_for("agent"), "")
    world.tick(0)
    assert (world.phase(), world.state().because) == ("stopped", "killed")
    assert world.percent() == 0


# A policy


def under(world, **policy):
    """The rollouts of somebody whose name is only that of the login, under a policy."""
    operator = Operator(
        world.provider,
        world.control,
        actor="ben",
        marked=True,
        environment=world.store.environment,
        policy=PolicySettings(**policy),
    )
    return Rollouts(operator)


@pytest.mark.rule("X4")
def test_taking_a_rollout_to_everybody_by_hand_is_for_who_may(here):
    here.flag()
    ben = under(here, may_promote_full=("ana",))
    with pytest.raises(Refused, match="ben may not give"):
        ben.start(plan_for("agent", 100), "at once")
    ben.start(plan_for("agent", 10, 50, 100), "step by step")
    here.tick(0)
    ben.promote("agent", "to 50")
    here.tick(0)
    assert here.percent() == 50
    with pytest.raises(Refused, match="ben may not give"):
        ben.promote("agent", "to all")
    here.tick(0)
    assert here.percent() == 50
    here.go_to("completed")  # its own steps need nobody's right
    assert here.percent() == 100


@pytest.mark.rule("X4", "R4")
def test_a_login_name_moves_no_rollout_up_and_any_down(here):
    rollout = begin(here, 10, 50)
    ben = under(here, refuse_login_names=True)
    for move in (
        lambda: ben.start(plan_for("agent"), ""),
        lambda: ben.resume("agent"),
        lambda: ben.promote("agent"),
    ):
        with pytest.raises(Refused, match="only the login name"):
            move()
    ben.pause("agent", "wait")
    assert here.phase() == "paused"
    ben.rollback("agent", "worse")
    assert here.phase() == "rolled_back"
    assert here.rollouts.get(rollout.id).state.ended_at
    begin(here, 100, flag="other")
    here.go_to("completed", "other")
    ben.revert("other", "worse after all")
    assert here.phase("other") == "reverted"
    begin(here, 10, 50, flag="third")
    ben.cancel("third", "by hand")
    assert here.phase("third") == "stopped"


@pytest.mark.rule("R3", "X1")
def test_a_plan_with_errors_is_refused_with_all_of_them(here):
    here.flag(percent=50)
    with pytest.raises(DocumentError) as caught:
        here.rollouts.start(plan_for("agent", 20, 10, unguarded=""), "")
    assert len(caught.value.problems) >= 2
    assert here.rollouts.list() == []


def test_an_unknown_flag_is_refused_with_what_may_have_been_meant(here):
    here.flag()
    with pytest.raises(FlagNotFound) as caught:
        here.rollouts.start(plan_for("agnt"), "")
    assert "agent" in caught.value.hint


@pytest.mark.rule("R5")
def test_a_metric_source_that_does_not_answer_stops_the_start(here):
    here.flag()
    here.traffic.error = Unreachable("no such table: requests")
    with pytest.raises(Unreachable, match="no such table"):
        here.rollouts.start(plan_for("agent", guardrails=(ERRORS,)), "")
    assert here.rollouts.list() == []


@pytest.mark.rule("P4")
def test_a_backend_that_can_not_be_written_is_refused(here, tmp_path):
    path = tmp_path / "flags.toml"
    path.write_text("")
    operator = Operator(FileProvider(path), here.control, actor="ana")
    with pytest.raises(Refused, match="declares no write"):
        Rollouts(operator).start(plan_for("agent"), "")


def test_without_a_sql_control_store_nothing_is_rolled_out():
    provider = MemoryProvider()
    operator = Operator(provider, provider.control, actor="ana")
    with pytest.raises(Refused, match="rollouts live in a SQL database"):
        Rollouts(operator).list()
    with pytest.raises(Refused, match="no control store to run a controller"):
        controller_for(operator)


# Verbs that freeze or lower: at once, with a controller or none


@pytest.mark.rule("R3")
def test_pause_takes_effect_at_once_and_holds(world):
    begin(world, 10, 50)
    done = world.rollouts.pause("agent", "lunch")
    assert (done.applied, done.outcome, done.rollout.phase) == (True, "paused", Phase.PAUSED)
    for _ in range(8):
        world.tick()
    assert world.percent() == 10
    event = [one for one in world.rollouts.events("agent") if one.action == "paused"][-1]
    assert (event.actor, event.reason) == ("ana", "lunch")
    assert world.rollouts.pause("agent").outcome == "it is paused already"


@pytest.mark.rule("R4", "R8")
@pytest.mark.parametrize("when", ["starting", "progressing", "paused"])
def test_rollback_takes_effect_at_once_in_every_phase(world, when):
    was = world.flag(percent=2)
    world.rollouts.start(plan_for("agent", 10, 50), "")
    if when != "starting":
        world.tick(0)
    if when == "paused":
        world.rollouts.pause("agent")
    done = world.rollouts.rollback("agent", "it is worse")
    assert (done.applied, done.rollout.phase) == (True, Phase.ROLLED_BACK)
    assert done.outcome == "off, and restored as it was before the rollout"
    assert world.kept().default == was.default
    assert world.kept().on


@pytest.mark.rule("X4")
@pytest.mark.parametrize("verb", ["rollback", "revert"])
@pytest.mark.parametrize("reason", ["", "  "])
def test_what_undoes_needs_a_reason(here, verb, reason):
    begin(here)
    with pytest.raises(Refused, match="needs a reason"):
        getattr(here.rollouts, verb)("agent", reason)
    assert here.phase() == "progressing"


def test_cancel_ends_it_and_leaves_the_flag(world):
    begin(world, 10, 50)
    done = world.rollouts.cancel("agent", "by hand from here")
    assert (done.applied, done.rollout.phase) == (True, Phase.STOPPED)
    for _ in range(8):
        world.tick()
    assert world.percent() == 10
    begin(world, 20, 50)  # which makes room for another
    assert world.percent() == 20


# Verbs that raise: for a controller to take (rule R3)


@pytest.mark.rule("R3")
def test_resume_waits_for_a_controller_and_the_step_bakes_anew(world):
    begin(world, 10, 50)
    world.tick()
    world.rollouts.pause("agent")
    asked = world.rollouts.resume("agent", "back from lunch")
    assert (asked.applied, asked.refused, asked.rollout.pending) == (False, False, ("resume",))
    assert "a controller will take it" in asked.outcome
    world.tick(0)
    state = world.state()
    assert (state.phase, state.baked) == (Phase.PROGRESSING, 0.0)
    world.go_to("completed")


@pytest.mark.rule("R3")
def test_without_a_controller_what_raises_is_recorded_and_said_to_wait(world):
    begin(world, 10, 50)
    world.store.leave(world.controller.owner)
    done = world.rollouts.promote("agent", "it is good")
    assert "no controller is alive" in done.outcome
    assert world.percent() == 10
    world.tick(0)
    assert world.percent() == 50


@pytest.mark.rule("R3")
def test_promote_skips_the_bake_of_the_step_it_was_meant_for(world):
    begin(world, 10, 50, 100)
    world.rollouts.promote("agent", "it is good")
    world.rollouts.promote("agent", "it is good")  # said twice, and meant once
    world.tick(0)
    assert world.percent() == 50
    rollout = world.rollouts.get("agent").id
    outcomes = [world.store.command_done(number).outcome for number in commands_of(world, rollout)]
    assert outcomes[0].startswith("promoted")
    assert world.percent() == 50
    for number in commands_of(world, rollout):
        assert world.store.command_done(number).done_at is not None


def commands_of(world, rollout):
    commands = world.store.database.tables.commands
    with world.store.database.reading() as connection:
        query = commands.select().where(commands.c.rollout == rollout).order_by(commands.c.id)
        return [one.id for one in connection.execute(query)]


@pytest.mark.rule("R3")
def test_a_promotion_that_comes_late_is_refused(here):
    begin(here, 10, 50, 100)
    here.go(lambda: here.percent() == 50)
    here.rollouts.promote("agent", "", step=0)
    here.tick(0)
    assert here.percent() == 50
    (number,) = commands_of(here, here.rollouts.get("agent").id)
    assert "it was meant for step 1, and the rollout is at step 2" in (
        here.store.command_done(number).outcome
    )


@pytest.mark.rule("R5")
def test_promote_raises_nothing_without_data(here):
    begin(here, 10, 50, guardrails=(ERRORS,))
    here.traffic.arms = {}
    here.rollouts.promote("agent", "trust me")
    here.tick()
    assert here.percent() == 10
    (number,) = commands_of(here, here.rollouts.get("agent").id)
    assert "nothing is raised without data" in here.store.command_done(number).outcome


def test_a_verb_waits_for_the_controller_that_holds_the_rollout(here, monkeypatch):
    monkeypatch.setattr(service, "_WAIT", 10.0)
    rollout = begin(here, 10, 50)
    (claim,) = here.store.claim("busy", lease=15, limit=1, provider="sqlite", only=rollout.id)
    busy = threading.Timer(0.3, lambda: (here.store.release([claim]), here.controller.tick()))
    busy.start()
    done = here.rollouts.pause("agent", "lunch")
    busy.join(10)
    assert (done.applied, done.rollout.phase) == (True, Phase.PAUSED)


def test_verbs_that_mean_nothing_in_a_phase_are_refused_with_the_reason(here):
    begin(here, 10, 50)
    here.rollouts.resume("agent")
    here.tick(0)
    (number,) = commands_of(here, here.rollouts.get("agent").id)
    assert here.store.command_done(number).outcome == (
        "refused: resume means nothing to a rollout that is progressing"
    )


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "cancel", "rollback"])
def test_an_ended_rollout_takes_no_verb_but_revert(here, verb):
    begin(here, 10)
    here.go_to("completed")
    with pytest.raises(Refused, match=f"is completed, and there is nothing to {verb}") as caught:
        getattr(here.rollouts, verb)("agent", "why not")
    assert "rollout revert" in caught.value.hint


# Reverting


@pytest.mark.rule("R8")
def test_revert_undoes_a_completed_rollout_within_its_window(world):
    was = world.flag(percent=2)
    world.rollouts.start(plan_for("agent", 10, 100), "")
    world.go_to("completed")
    world.clock.advance(71 * 3600)
    done = world.rollouts.revert("agent", "complaints")
    assert (done.applied, done.rollout.phase) == (True, Phase.REVERTED)
    assert world.kept().default == was.default
    assert world.exposures()[-2:] == [0, 2]
    assert [one for one in world.told() if one.startswith("revert")] == ["reverting", "reverted"]
    with pytest.raises(Refused, match="is reverted; only a completed one"):
        world.rollouts.revert("agent", "again")


@pytest.mark.rule("R8")
def test_after_its_window_or_below_a_later_rollout_nothing_is_reverted(here):
    first = begin(here, 10, revert_window=3600.0)
    with pytest.raises(Refused, match="only a completed one is reverted"):
        here.rollouts.revert("agent", "now")
    here.go_to("completed")
    here.clock.advance(2 * 3600)
    with pytest.raises(Refused, match=r"closed 1\.0 hours ago"):
        here.rollouts.revert("agent", "too late")
    here.rollouts.start(plan_for("agent", 50), "")
    here.tick(0)
    here.go_to("completed")
    with pytest.raises(Refused, match=r"closed|came later"):
        here.rollouts.revert(first.id, "the first one")


@pytest.mark.rule("R8")
def test_a_rollout_below_a_later_one_is_not_reverted(here):
    first = begin(here, 10)
    here.go_to("completed")
    here.rollouts.start(plan_for("agent", 50), "")
    with pytest.raises(Refused, match="of the same flag came later"):
        here.rollouts.revert(first.id, "the first one")


@pytest.mark.rule("R8")
def test_two_that_revert_at_once_revert_once(here):
    begin(here, 10)
    here.go_to("completed")
    gate, ended = threading.Barrier(2), []

    def revert():
        gate.wait(10)
        try:
            ended.append(here.rollouts.revert("agent", "complaints").rollout.phase)
        except (Refused, VersionConflict) as error:
            ended.append(type(error))

    threads = [threading.Thread(target=revert) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert here.phase() == "reverted"
    assert here.told().count("reverted") == 1
    assert Phase.REVERTED in ended


@pytest.mark.rule("R8")
def test_a_revert_stops_where_somebody_changed_the_flag_since(world):
    begin(world, 10, 100)
    world.go_to("completed")
    world.provider.set_targets("agent", "on", {"vip"}, WHO)
    done = world.rollouts.revert("agent", "complaints")
    assert done.rollout.phase == Phase.LATCHED
    assert not world.kept().on
    assert "targets" in world.rollouts.foreign("agent")[0]
    done = world.rollouts.rollback("agent", "all the same", overwrite=True)
    assert (world.kept().on, world.kept().targets) == (True, ())


# Looking


def test_a_flags_key_means_its_live_rollout_else_its_newest(here):
    first = begin(here, 10)
    here.go_to("completed")
    assert here.rollouts.get("agent").id == first.id
    second = begin(here, 50)
    assert here.rollouts.get("agent").id == second.id
    assert here.rollouts.get(first.id).phase == Phase.COMPLETED
    with pytest.raises(FlagNotFound, match='no rollout "agnt"') as caught:
        here.rollouts.get("agnt")
    assert "agent" in caught.value.hint


def test_a_list_shows_the_newest_first_and_live_ones_alone(here):
    for flag in ("a", "b"):
        begin(here, 10, flag=flag)
        here.clock.advance(1)
    here.rollouts.cancel("a")
    assert [one.flag for one in here.rollouts.list()] == ["b", "a"]
    assert [one.flag for one in here.rollouts.list(live=True)] == ["b"]
    assert [one.flag for one in here.rollouts.list(limit=1)] == ["b"]


def test_a_rollout_says_how_many_controllers_live_and_what_waits(here):
    rollout = begin(here, 10, 50)
    assert (rollout.controllers, rollout.pending) == (1, ())
    here.rollouts.promote("agent")
    assert here.rollouts.get("agent").pending == ("promote",)
    here.clock.advance(60)
    assert here.rollouts.get("agent").controllers == 0


@pytest.mark.parametrize("column", ["plan", "state"])
def test_a_row_that_can_not_be_read_is_said_by_name_and_hides_no_other(here, caplog, column):
    begin(here, 10, flag="sound")
    spoilt = begin(here, 10, flag="spoilt")
    rollouts = here.store.database.tables.rollouts
    with here.store.database.writing() as connection:
        connection.execute(
            update(rollouts).where(rollouts.c.id == spoilt.id).values({column: "{broken"})
        )
    with caplog.at_level(logging.WARNING):
        assert [one.flag for one in here.rollouts.list()] == ["sound"]
    assert f"rollout {spoilt.id} can't be read here" in caplog.text
    with pytest.raises(DownhaulError, match=f"rollout {spoilt.id} can't be read here"):
        here.rollouts.get("spoilt")
    with pytest.raises(DownhaulError, match=f"rollout {spoilt.id} can't be read here"):
        here.rollouts.pause("spoilt")


@pytest.mark.rule("R8")
def test_a_rehearsal_is_recorded_and_shown_where_a_rollout_starts(here):
    here.flag()
    plan = plan_for("agent", 10, 100)
    assert here.rollouts.rehearsed("agent") == ""
    held = here.rollouts.rehearse(plan)
    assert held.held
    assert here.rollouts.rehearsed("agent") == held.at != ""
    here.rollouts.start(plan, "")
    assert here.rollouts.events("agent")[0].detail["rehearsed"] == held.at
