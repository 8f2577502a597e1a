"""Overrides that meet: of several clients, contexts and threads, and of a whole test (rule E5)."""

import asyncio
import concurrent.futures
import contextvars
import threading

import pytest

from downhaul import Flag, Flags, Reason
from downhaul.overlay import KillRecord, Scope

pytestmark = pytest.mark.rule("E5")


@pytest.fixture
def flags():
    with Flags.in_memory([Flag.boolean("feature", on=False), Flag.boolean("other")]) as client:
        yield client


def test_clients_on_one_engine_do_not_end_each_others_overrides(flags):
    with flags.override(feature=True):
        with flags.with_context("user-1").override(feature=False):
            assert not flags.is_enabled("feature")
        assert flags.is_enabled("feature")
    assert not flags.is_enabled("feature")


def test_an_override_that_ended_in_another_context_has_ended_everywhere(flags):
    override = flags.override(feature=True)
    contextvars.copy_context().run(override.__enter__)
    override.__exit__(None, None, None)
    with flags.override(other=False):
        assert not flags.is_enabled("feature")


def test_an_asynchronous_generator_may_begin_and_end_in_different_tasks(flags):
    async def fixture():
        with flags.override(feature=True):
            yield

    async def main():
        held = fixture()
        await asyncio.create_task(anext(held, None))
        await asyncio.create_task(anext(held, None))
        return flags.is_enabled("feature")

    assert asyncio.run(main()) is False


def test_a_thread_that_outlives_its_override_does_not_carry_it_into_the_next(flags):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with flags.override(feature=True):
            assert pool.submit(flags.is_enabled, "feature").result()
        with flags.override(feature=True):
            assert not pool.submit(flags.is_enabled, "feature").result()


@pytest.mark.rule("K7")
def test_a_switch_is_overridden_as_a_flag_is(flags):
    guarded = flags.guarded_by("agents", otherwise="away")(lambda: "here")
    flags.operator("sam").kill("switch:mail", reason="down")
    with flags.override({"switch:agents": False, "switch:mail": True}):
        assert guarded() == "away"
        assert flags.is_up("mail")
        with flags.override({"switch:agents": True}):
            assert guarded() == "here"
    assert guarded() == "here"
    assert not flags.is_up("mail")


def test_a_shared_layer_holds_in_threads_that_were_there_before(flags):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert not pool.submit(flags.is_enabled, "feature").result()
        layer = flags._engine.overrides.layer()
        layer.set("feature", True)
        assert pool.submit(flags.is_enabled, "feature").result()
        assert flags._engine.overrides.current() is layer
        layer.close()
        assert not pool.submit(flags.is_enabled, "feature").result()
        assert flags._engine.overrides.current() is None


def test_of_two_shared_layers_each_thread_sees_its_own_and_strangers_see_none(flags):
    first = flags._engine.overrides.layer()
    first.set("feature", True)
    seen = []

    def another():
        second = flags._engine.overrides.layer()
        second.set("other", False)
        seen.append((flags.is_enabled("feature"), flags.is_enabled("other")))
        second.close()

    thread = threading.Thread(target=another)
    contextvars.Context().run(thread.start)
    thread.join()
    assert seen == [(False, False)]
    assert (flags.is_enabled("feature"), flags.is_enabled("other")) == (True, True)
    first.close()


@pytest.mark.rule("K2")
def test_an_override_with_a_kill_answers_as_a_killed_flag_does(flags):
    kill = KillRecord(Scope.parse("other"), 1, killed=True, actor="sam", reason="why")
    with flags.override(other=kill, unknown=kill):
        result = flags.evaluate("other", "user-1", True)
        assert (result.value, result.reason) == (False, Reason.KILLED)
        assert result.metadata["kill"]["reason"] == "why"
        assert not flags.is_enabled("unknown", "user-1", default=True)
        assert flags.value("unknown", "user-1", "mine") == "mine"


def test_nothing_is_left_behind(flags):
    start, view = threading.Thread.start, flags._engine.view
    with flags.override({"feature": True, "switch:agents": False}):
        assert threading.Thread.start is not start
    assert threading.Thread.start is start
    assert not view._wrapped
    assert flags._engine.overrides.switch_is_up("agents") is None
