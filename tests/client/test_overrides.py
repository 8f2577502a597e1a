"""Rule E5: an override holds inside its block, for whoever is inside, and above everything else."""

import asyncio
import concurrent.futures
import threading

import pytest

from downhaul import Flag, Flags
from downhaul.flag import FlagKind
from downhaul.overlay import Scope
from downhaul.provider import Change, FlagSetDelta
from downhaul.result import ErrorCode, Reason

ANA = Change("ana", "because")
MODEL = Flag(
    key="model",
    kind=FlagKind.STRING,
    variants={"old": "m-1", "new": "m-2"},
    off_variant="old",
    default="old",
    on=True,
)


@pytest.fixture
def flags():
    with Flags.in_memory([Flag.boolean("f", on=False), Flag.boolean("g"), MODEL]) as flags:
        yield flags


def kill(flags, text):
    control = flags._engine.provider.control
    control.record_kill(Scope.parse(text), ANA, killed=True)


@pytest.mark.rule("E5")
def test_an_override_answers_every_question_and_says_so(flags):
    with flags.override(f=True):
        result = flags.evaluate("f", "u", default=False)
        assert (result.value, result.variant, result.reason) == (True, "on", Reason.STATIC)
        assert result.authoritative
        assert result.metadata == {"override": True}
        assert flags.is_enabled("f", "u") is True
        assert flags.value("f", "u", False) is True
        assert flags.evaluate_all("u")["f"] == result
        assert flags.evaluate_many("f", ["u", None, 17], False) == [result] * 3
        assert flags.explain("f", "u").steps[-1].what == "override"
        assert flags.is_enabled("g")
    assert flags.is_enabled("f") is False


def test_a_value_or_the_name_of_a_variant_may_be_given(flags):
    for given in ("m-2", "new"):
        with flags.override(model=given):
            result = flags.evaluate("model", "u", "")
            assert (result.value, result.variant) == ("m-2", "new")
            assert flags.is_enabled("model") is True
    with flags.override({"model": "old", "f": "on"}):
        assert flags.value("model", "u", "") == "m-1"
        assert flags.is_enabled("model", default=True) is False
        assert flags.is_enabled("f") is True


def test_a_value_that_is_none_of_the_flags_is_answered_as_it_is(flags):
    with flags.override(model="m-9", f=5, unknown=None):
        assert flags.evaluate("model", "u", "").value == "m-9"
        assert flags.evaluate("model", "u", "").variant is None
        # Of a boolean flag it is a mismatch, by every road.
        assert flags.evaluate("f", "u", True).error_code is ErrorCode.TYPE_MISMATCH
        assert flags.is_enabled("f", "u", default=True) is True
        assert flags.is_enabled("f", "u", default=False) is False
        assert flags.is_enabled("unknown", default=True) is False


@pytest.mark.rule("E5")
def test_an_override_stands_above_kills_of_all_sorts(flags):
    for scope in ("g", "*"):
        kill(flags, scope)
    with flags.override(g=True, unknown=True):
        assert flags.is_enabled("g")
        assert flags.is_enabled("unknown")
        assert flags.evaluate("g", "u").reason is Reason.STATIC
    assert not flags.is_enabled("g")
    assert not flags.is_enabled("unknown", default=True)


def test_overrides_nest_and_the_inner_one_wins(flags):
    with flags.override(f=True, g=False):
        with flags.override(f=False):
            assert (flags.is_enabled("f"), flags.is_enabled("g")) == (False, False)
            with flags.override(f=True):
                assert flags.is_enabled("f")
            assert not flags.is_enabled("f")
        assert flags.is_enabled("f")
    assert (flags.is_enabled("f"), flags.is_enabled("g")) == (False, True)


def test_an_override_ends_with_an_exception_too(flags):
    with pytest.raises(RuntimeError), flags.override(f=True):
        raise RuntimeError
    assert not flags.is_enabled("f")
    assert "overridden" not in repr(flags._engine.view.enabled["f"])


def test_after_the_block_nothing_is_looked_up_any_more(flags):
    flags.is_enabled("f")
    before = flags._engine.view.enabled["f"].__qualname__
    with flags.override(f=True):
        flags.is_enabled("f")
        assert flags._engine.view.enabled["f"].__qualname__ != before
    flags.is_enabled("f")
    assert flags._engine.view.enabled["f"].__qualname__ == before
    assert "unknown" not in flags._engine.view.enabled


def test_a_change_inside_the_block_shows_after_it(flags):
    with flags.override(f=True):
        flags._engine.changed(FlagSetDelta({"f": Flag.boolean("f", percent=100), "g": None}))
        assert flags.is_enabled("f")
        flags._engine.changed(FlagSetDelta({"f": None}))
        assert flags.is_enabled("f")
    assert flags.evaluate("f", "u").error_code is ErrorCode.FLAG_NOT_FOUND


def in_thread(ask):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask()))
    thread.start()
    thread.join()
    return answers[0]


def test_threads_started_inside_see_it_and_those_from_before_do_not(flags):
    go, answers = threading.Event(), []

    def earlier():
        go.wait(30)
        answers.append(flags.is_enabled("f"))

    old = threading.Thread(target=earlier)
    old.start()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # its thread is there from before, too
        with flags.override(f=True):
            assert in_thread(lambda: flags.is_enabled("f")) is True
            assert in_thread(lambda: in_thread(lambda: flags.is_enabled("f"))) is True
            assert pool.submit(flags.is_enabled, "f").result() is False
            with concurrent.futures.ThreadPoolExecutor(1) as inner:
                assert inner.submit(flags.is_enabled, "f").result() is True
            go.set()
            old.join()
        assert in_thread(lambda: flags.is_enabled("f")) is False
    assert answers == [False]
    assert threading.Thread.start.__name__ == "start"


def test_two_tests_in_two_threads_do_not_disturb_each_other(flags):
    meet, failures = threading.Barrier(2, timeout=30), []

    def one_test(value):
        try:
            for _ in range(30):
                with flags.override(f=value, model="new" if value else "old"):
                    meet.wait()
                    assert flags.is_enabled("f") is value
                    assert flags.value("model", "u", "") == ("m-2" if value else "m-1")
                    meet.wait()
                assert flags.is_enabled("f") is False
        except BaseException as error:  # noqa: BLE001  (told in the thread of the test)
            failures.append(error)
            meet.abort()

    threads = [threading.Thread(target=one_test, args=(value,)) for value in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert flags.is_enabled("f") is False


def test_tasks_see_the_overrides_of_the_task_that_made_them(flags):
    async def ask():
        await asyncio.sleep(0)
        return flags.is_enabled("f")

    async def overriding(value):
        with flags.override(f=value):
            await asyncio.sleep(0)
            return (
                flags.is_enabled("f"),
                await asyncio.create_task(ask()),
                await asyncio.to_thread(flags.is_enabled, "f"),
            )

    async def main():
        return await asyncio.gather(overriding(True), ask(), overriding(False), overriding(True))

    assert asyncio.run(main()) == [(True,) * 3, False, (False,) * 3, (True,) * 3]


def test_clients_of_two_engines_do_not_see_each_others_overrides(flags):
    with Flags.in_memory([Flag.boolean("f", on=False)]) as other, flags.override(f=True):
        assert flags.is_enabled("f")
        assert not other.is_enabled("f")
        with other.override(f=True):
            assert other.is_enabled("f")


@pytest.mark.rule("K7")
def test_switches_can_be_overridden_by_name(flags):
    kill(flags, "switch:down")
    with flags.override({"switch:agents": False, "switch:down": True}):
        assert not flags.is_up("agents")
        assert flags.is_up("down")
        assert flags.is_up("others")
    assert flags.is_up("agents")
    assert not flags.is_up("down")


def test_nothing_that_a_block_left_behind_slows_or_changes_the_next(flags):
    for _ in range(100):
        with flags.override(f=True, other=5):
            pass
    overrides = flags._engine.overrides
    assert not overrides._count
    assert flags._engine.view._wrapped == {}
