"""The one object that an application holds: branches, switches, callbacks, contexts, its life."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import warnings

import pytest

import downhaul
from downhaul import Context, Flag, Flags, Segment
from downhaul.flag import Clause, FlagKind, Keys, Operator, Prerequisite, Rule, Target
from downhaul.overlay import Scope
from downhaul.provider import ABSENT, Change, FlagSetDelta, State
from downhaul.result import ErrorCode, Reason

ANA = Change("ana", "because")


def kill(flags, text, killed=True):
    control = flags._engine.provider.control
    control.record_kill(Scope.parse(text), ANA, killed=killed)


def put(flags, flag):
    flags._engine.provider.put(flag, ANA)


# --- choose

MODEL = Flag(
    key="model",
    kind=FlagKind.STRING,
    variants={"old": "m-1", "new": "m-2", "newer": "m-3"},
    off_variant="old",
    default="old",
    targets=(Target("new", frozenset({"ana"})), Target("newer", frozenset({"bob"}))),
    on=True,
)


def test_the_branch_of_the_variant_is_chosen():
    flags = Flags.in_memory([Flag.boolean("f", allow=["ana"], deny=["bob"]), MODEL])
    branches = {"on": "A2", "off": "A1"}
    assert flags.choose("f", "ana", branches) == "A2"
    assert flags.choose("f", "bob", branches) == "A1"
    assert flags.choose("model", "ana", {"new": 2, "old": 1}) == 2
    kill(flags, "f")
    assert flags.choose("f", "ana", branches) == "A1"


def test_where_nothing_can_be_decided_the_safe_branch_is_chosen(caplog):
    flags = Flags.in_memory([MODEL, Flag.boolean("half", percent=50)])
    assert flags.choose("unknown", "u", {"off": 1, "on": 2}) == 1
    assert flags.choose("unknown", "u", {"new": 2, "old": 1}) == 1  # the last
    assert flags.choose("unknown", "u", {"new": 2, "old": 1}, otherwise="new") == 2
    assert flags.choose("half", None, {"off": 1, "on": 2}) == 1
    assert caplog.text == ""
    assert flags.choose("model", "bob", {"new": 2, "old": 1}) == 1
    assert 'serves variant "newer", for which there is no branch' in caplog.text
    with pytest.raises(ValueError, match="no branches"):
        flags.choose("model", "bob", {})


def test_an_override_chooses_too_even_of_a_flag_that_nobody_knows():
    flags = Flags.in_memory([MODEL])
    branches = {"on": 2, "off": 1}
    with flags.override(unknown=True, model="new"):
        assert flags.choose("unknown", "u", branches) == 2
        assert flags.choose("model", "u", {"old": 1, "new": 2}) == 2
    with flags.override(unknown=False, model="m-3"):
        assert flags.choose("unknown", "u", branches) == 1
        assert flags.choose("model", "u", {"newer": 3, "old": 1}) == 3


# --- switches: rule K7


@pytest.mark.rule("K4", "K7")
def test_a_switch_that_nobody_set_is_up_and_a_kill_of_everything_takes_it_down():
    flags = Flags.in_memory([Flag.boolean("agents")])
    assert flags.is_up("agents")
    kill(flags, "agents")  # the flag of that name
    kill(flags, "tag:agents")
    assert flags.is_up("agents")
    for scope in ("switch:agents", "*"):
        kill(flags, scope)
        assert not flags.is_up("agents")
        kill(flags, scope, killed=False)
        assert flags.is_up("agents")


@pytest.mark.rule("K7")
def test_a_guarded_function_answers_the_fallback_while_its_switch_is_down():
    flags = Flags.in_memory()

    @flags.guarded_by("agents", otherwise="sorry")
    def answer(question, *, loud=False):
        """Answer it."""
        return question.upper() if loud else question

    @flags.guarded_by("agents", otherwise=lambda question, **_: f"no {question}")
    def refuse(question, *, loud=False):
        return question

    @flags.guarded_by("agents")
    def nothing():
        return 1

    assert (answer.__name__, answer.__doc__) == ("answer", "Answer it.")
    assert answer("a", loud=True) == "A"
    assert (refuse("a"), nothing()) == ("a", 1)
    kill(flags, "switch:agents")
    assert answer("a") == "sorry"
    assert refuse("a", loud=True) == "no a"
    assert nothing() is None
    kill(flags, "switch:agents", killed=False)
    assert answer("a") == "a"


@pytest.mark.rule("K7")
def test_a_guarded_method_and_its_exceptions_pass_through():
    flags = Flags.in_memory()

    class Agent:
        name = "x"

        @flags.guarded_by("agents", otherwise=lambda self: f"{self.name} is down")
        def run(self):
            raise LookupError(self.name)

        @classmethod
        @flags.guarded_by("agents", otherwise="down")
        def make(cls):
            return cls

    with pytest.raises(LookupError, match="x"):
        Agent().run()
    assert Agent.make() is Agent
    kill(flags, "switch:agents")
    assert Agent().run() == "x is down"
    assert Agent.make() == "down"


@pytest.mark.rule("K7")
def test_a_guarded_async_function_may_have_a_plain_or_an_async_fallback():
    flags = Flags.in_memory()

    async def instead(question):
        await asyncio.sleep(0)
        return f"no {question}"

    @flags.guarded_by("agents", otherwise=instead)
    async def ask(question):
        await asyncio.sleep(0)
        return question

    @flags.guarded_by("agents", otherwise="sorry")
    async def tell(question):
        return question

    async def both():
        return await ask("a"), await tell("a")

    assert asyncio.run(both()) == ("a", "a")
    kill(flags, "switch:agents")
    assert asyncio.run(both()) == ("no a", "sorry")
    import inspect

    assert inspect.iscoroutinefunction(ask)


@pytest.mark.rule("K7")
def test_a_guarded_generator_is_asked_when_it_is_called_and_goes_on():
    flags = Flags.in_memory()

    @flags.guarded_by("agents", otherwise=())
    def count(limit):
        yield from range(limit)

    @flags.guarded_by("agents", otherwise=())
    async def acount(limit):
        for number in range(limit):
            yield number

    begun = count(3)
    assert next(begun) == 0
    kill(flags, "switch:agents")
    assert list(begun) == [1, 2]
    assert list(count(3)) == []
    assert acount(3) == ()
    kill(flags, "switch:agents", killed=False)

    async def gather():
        return [number async for number in acount(3)]

    assert asyncio.run(gather()) == [0, 1, 2]


# --- callbacks


@pytest.fixture
def told():
    return []


def test_callbacks_hear_of_every_flag_whose_decision_may_have_changed(told):
    inside = Rule("on", (Clause("", Operator.IN_SEGMENT, ("s",)),))
    flags = Flags.in_memory(
        [
            Flag.boolean("a", tags=("t",)),
            Flag.boolean("b", prerequisites=(Prerequisite("a"),)),
            Flag(key="c", default="off", on=True, rules=(inside,)),
            Flag.boolean("d"),
        ],
        [Segment("s")],
    )
    flags.on_change(told.append)
    put(flags, Flag.boolean("a", on=False, tags=("t",)))
    assert told.pop() == {"a", "b"}
    provider = flags._engine.provider
    provider.put_segment(Segment("s", included=(Keys(frozenset("u")),)), ANA)
    assert told.pop() == {"c"}
    put(flags, Flag.boolean("new"))
    assert told.pop() == {"new"}
    provider.delete("new", ANA)
    assert told.pop() == {"new"}
    kill(flags, "tag:t")
    assert told.pop() == {"a", "b"}
    kill(flags, "switch:agents")
    assert told.pop() == {"switch:agents"}
    kill(flags, "*")
    assert told.pop() == {"a", "b", "c", "d", "*"}
    kill(flags, "nobody")
    assert told.pop() == {"nobody"}
    assert told == []


def test_a_callback_that_fails_is_its_own_fault(told, caplog):
    flags = Flags.in_memory([Flag.boolean("a")])

    def failing(keys):
        raise RuntimeError("mine")

    flags.on_change(failing)
    flags.on_change(told.append)
    put(flags, Flag.boolean("a", on=False))
    assert told == [{"a"}]
    assert "an on_change callback failed" in caplog.text
    assert flags.is_enabled("a") is False


def test_a_callback_ends_when_its_subscriber_says_so(told):
    flags = Flags.in_memory([Flag.boolean("a")])
    end = flags.on_change(told.append)
    end()
    end()
    put(flags, Flag.boolean("a", on=False))
    assert told == []


def test_a_callback_already_sees_what_it_is_told_of(told):
    flags = Flags.in_memory([Flag.boolean("a"), Flag.boolean("b")])
    flags.on_change(lambda keys: told.append({key: flags.is_enabled(key) for key in keys}))
    put(flags, Flag.boolean("a", on=False))
    kill(flags, "b")
    assert told == [{"a": False}, {"b": False}]


# --- contexts


def test_a_default_context_lies_below_every_call():
    rule = Rule("on", (Clause("region", Operator.IN, ("eu",)),))
    pro = Rule("on", (Clause("plan", Operator.IN, ("pro",)),))
    flags = Flags.in_memory(
        [
            Flag(key="f", default="off", on=True, rules=(rule,)),
            Flag(
                key="both", default="off", on=True, rules=(Rule("on", rule.clauses + pro.clauses),)
            ),
            Flag.boolean("half", percent=50),
        ],
        context={"targetingKey": "app", "region": "eu"},
    )
    assert flags.is_enabled("f")
    assert flags.is_enabled("f", "u")
    assert not flags.is_enabled("f", {"region": "us"})
    assert flags.evaluate("half").variant == flags.evaluate("half", "app").variant
    over = flags.with_context({"plan": "pro"})
    assert over.is_enabled("both")  # over both of the contexts below
    assert not flags.is_enabled("both")
    assert over.evaluate_all("u") == {key: over.evaluate(key, "u") for key in ("f", "both", "half")}
    assert over.evaluate_many("both", ["u", {"plan": "free"}])[0].value is True
    assert over.evaluate_many("both", ["u", {"plan": "free"}])[1].value is False
    assert over.explain("both", "u").result.value is True
    assert over.explain("both", "u").context["plan"] == "pro"
    assert over.value("both", "u", False) is True
    assert over.choose("both", "u", {"on": 2, "off": 1}) == 2
    assert over.with_context(None).is_enabled("both")
    assert flags.with_context(None).is_enabled("f")


def test_a_client_over_a_context_shares_the_flags_and_does_not_close_them():
    flags = Flags.in_memory([Flag.boolean("f")])
    with flags.with_context("u") as over:
        put(flags, Flag.boolean("f", on=False))
        assert not over.is_enabled("f")
        with flags.override(f=True):
            assert over.is_enabled("f")
        with over.override(f=True):
            assert flags.is_enabled("f")
    assert flags.status().state is State.READY


@pytest.mark.rule("E1")
def test_what_cannot_be_a_context_is_told_by_every_call():
    flags = Flags.in_memory([Flag.boolean("f", percent=50), Flag.boolean("on"), MODEL])
    for client in (flags, flags.with_context({"targetingKey": "app"})):
        for key in ("f", "on", "model"):
            result = client.evaluate(key, 17, default="mine")
            assert (result.value, result.error_code) == ("mine", ErrorCode.INVALID_CONTEXT)
            assert "pass a Context" in result.error_message
            assert result.provider == "memory"
            assert client.is_enabled(key, 17, default=True) is True
            assert client.evaluate_all(17)[key].error_code is ErrorCode.INVALID_CONTEXT
            assert client.evaluate_many(key, ["u", 17])[1].error_code is ErrorCode.INVALID_CONTEXT
            assert client.explain(key, 17).steps[-1].what == "context"


# --- evaluating many, while things change


def test_a_batch_is_of_one_moment():
    flags = Flags.in_memory([Flag.boolean("f", percent=30)])
    keys = [f"user-{number}" for number in range(3_000)]
    thirty = [flags.is_enabled("f", key) for key in keys]
    put(flags, Flag.boolean("f", percent=60))
    sixty = [flags.is_enabled("f", key) for key in keys]
    stop = threading.Event()

    def writer():
        while not stop.is_set():
            for percent in (30, 60):
                flags._engine.changed(FlagSetDelta({"f": Flag.boolean("f", percent=percent)}))

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        seen = [[result.value for result in flags.evaluate_many("f", keys)] for _ in range(60)]
    finally:
        stop.set()
        thread.join()
    assert all(answers in (thirty, sixty) for answers in seen)


def test_all_flags_are_answered_from_one_snapshot():
    flags = Flags.in_memory([Flag.boolean("a"), Flag.boolean("b")])
    stop = threading.Event()

    def writer():
        on = True
        while not stop.is_set():
            on = not on
            flags._engine.changed(FlagSetDelta({key: Flag.boolean(key, on=on) for key in "ab"}))

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        for _ in range(2_000):
            results = flags.evaluate_all("u")
            assert results["a"].value is results["b"].value
    finally:
        stop.set()
        thread.join()


def test_sixteen_threads_ask_while_flags_change():
    flags = Flags.in_memory([Flag.boolean(f"f{n}", percent=50) for n in range(20)])
    expected = {
        (f"f{n}", f"u{m}"): flags.is_enabled(f"f{n}", f"u{m}") for n in range(20) for m in range(20)
    }
    failures = []

    def ask():
        try:
            for _ in range(10):
                for (key, user), value in expected.items():
                    assert flags.is_enabled(key, user) is value
                    assert flags.evaluate(key, Context(user)).value is value
        except BaseException as error:  # noqa: BLE001  (told in the thread of the test)
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for n in range(20):
            put(flags, Flag.boolean(f"f{n}", percent=50, description="touched"))
    for thread in threads:
        thread.join()
    assert failures == []


# --- its life


@pytest.mark.rule("P1")
def test_closing_again_does_nothing_and_what_is_known_goes_on_serving():
    flags = Flags.in_memory([Flag.boolean("f")])
    provider = flags._engine.provider
    flags.close()
    flags.close()
    provider.put(Flag.boolean("f", on=False), ANA)
    assert flags.is_enabled("f")
    assert flags.evaluate("unknown", "u", True).error_code is ErrorCode.FLAG_NOT_FOUND


def test_it_is_a_context_manager_in_both_worlds():
    with Flags.in_memory([Flag.boolean("f")]) as flags:
        assert flags.is_enabled("f")
        assert repr(flags) == "<Flags on memory: READY>"
    assert flags.status().state is State.NOT_READY

    async def use():
        async with Flags.in_memory([Flag.boolean("f")]) as flags:
            assert await flags.await_ready(1)
            assert flags.is_enabled("f")
        return flags

    assert asyncio.run(use()).status().state is State.NOT_READY


def test_the_status_says_what_it_serves_and_what_is_killed():
    flags = Flags.in_memory([Flag.boolean("f"), Flag.boolean("g")])
    for scope in ("f", "tag:t", "switch:s", "*"):
        kill(flags, scope)
    status = flags.status()
    assert (status.name, status.flags, status.state) == ("memory", 2, State.READY)
    assert status.kills == ("*", "f", "switch:s", "tag:t")
    assert status.age is not None
    assert not status.kills_unknown


@pytest.mark.rule("P3")
def test_a_forked_child_follows_its_own_changes_and_the_parent_its_own():
    flags = Flags.in_memory(
        [Flag.boolean("f"), Flag.boolean("g", prerequisites=(Prerequisite("f"),))]
    )
    assert flags.is_enabled("g")
    stop = threading.Event()

    def writer():
        while not stop.is_set():
            flags._engine.changed(FlagSetDelta({"x": Flag.boolean("x")}))

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        for _ in range(10):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
                child = os.fork()
            if child == 0:  # no assertion may leave the child
                right = flags.is_enabled("g", "u")
                kill(flags, "f")
                right = right and not flags.is_enabled("g", "u")
                kill(flags, "f", killed=False)
                put(flags, Flag.boolean("f", on=False))
                right = right and not flags.is_enabled("g", "u")
                os._exit(0 if right else 1)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
    finally:
        stop.set()
        thread.join()
    assert flags.is_enabled("g")


def test_a_client_that_nobody_holds_is_collected():
    import weakref

    flags = Flags.in_memory([Flag.boolean("f")])
    flags.is_enabled("f")
    engine = weakref.ref(flags._engine)
    flags.close()
    del flags
    gc.collect()
    assert engine() is None


def test_an_operator_on_these_flags_changes_them():
    with Flags.in_memory([Flag.boolean("f", on=False)]) as flags:
        with flags.operator("ana") as operator:
            operator.on("f", reason="launch")
        assert flags.is_enabled("f")
        flags._engine.provider.put(Flag.boolean("h"), ANA, expected=ABSENT)
        assert flags.evaluate("h").reason is Reason.STATIC


# --- the package


def test_the_public_names_are_complete():
    assert set(downhaul.__all__) <= set(dir(downhaul))
    for name in downhaul.__all__:
        assert getattr(downhaul, name) is not None
    assert downhaul.__all__ == sorted(downhaul.__all__, key=lambda name: (name[0] == "_", name))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        downhaul.Nothing  # noqa: B018  (asking is the test)
    for name in set(downhaul.__all__) - {"__version__"}:
        assert getattr(downhaul, name).__doc__


HEAVY = (
    "alembic", "asyncio", "click", "jinja2", "ldclient", "pluggy", "psycopg", "pydantic",
    "requests", "rich", "splitio", "sqlalchemy", "starlette", "UnleashClient", "uvicorn", "yaml",
)  # fmt: skip
_IMPORTED = """
import json, sys, time
before = time.process_time()
if sys.argv[1:]:
    from downhaul import Context, Flags
print(json.dumps([time.process_time() - before, sorted(sys.modules)]))
"""


def imported(*arguments):
    done = subprocess.run(
        [sys.executable, "-I", "-c", _IMPORTED, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_importing_it_costs_little_and_brings_nothing_heavy():
    costs = []
    for _ in range(5):
        cost, modules = imported("downhaul")
        costs.append(cost)
        assert not set(HEAVY) & set(modules)
    # The goal is 60 ms of a quiet core, which the benchmark holds; this one may be a busy one's.
    assert min(costs) < 0.12
