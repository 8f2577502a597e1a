"""Wrappers: what each adds, what they pass on, how they stack and are configured."""

import inspect
import os
import signal
import threading

import pytest
from rollout_world import Clock, World, plan_for, provider_at, store_at

from downhaul import Context, Flag, Flags, Segment
from downhaul.backends.memory import MemoryProvider
from downhaul.backends.sqlite import SqliteProvider
from downhaul.config import check, resolve
from downhaul.control.service import database_of
from downhaul.control.standing import standings
from downhaul.errors import ConfigError, FlagNotFound, ReadOnly
from downhaul.flag import FlagSet
from downhaul.provider import (
    WRITES,
    Capability,
    Change,
    FlagProvider,
    ProviderSnapshot,
    State,
)
from downhaul.result import ErrorCode, Reason, Result
from downhaul.store import schema
from downhaul.wrappers.failover import Failover
from downhaul.wrappers.read_only import ReadOnlyProvider
from downhaul.wrappers.recording import Call, RecordingProvider
from downhaul.wrappers.wrapper import Wrapper, innermost, shared, stack_of

ANA = Change("ana", "because")


def memory(*keys):
    return MemoryProvider(FlagSet.of([Flag.boolean(key) for key in keys]))


EACH_WRITE = [
    lambda one: one.put(Flag.boolean("agent"), ANA),
    lambda one: one.delete("agent", ANA),
    lambda one: one.switch_on("agent", ANA),
    lambda one: one.switch_off("agent", ANA),
    lambda one: one.set_rollout("agent", "on", 5, ANA),
    lambda one: one.set_targets("agent", "on", ["ada"], ANA),
    lambda one: one.put_segment(Segment("agent"), ANA),
    lambda one: one.delete_segment("agent", ANA),
    lambda one: one.snapshot("agent"),
    lambda one: one.restore(ProviderSnapshot("agent", "", "1", {}, ""), ANA),
]


@pytest.mark.rule("P4")
@pytest.mark.parametrize("kind", [Wrapper, ReadOnlyProvider, RecordingProvider])
def test_every_verb_of_the_seam_reaches_the_inner_provider_or_is_refused(kind):
    verbs = {name for name in vars(FlagProvider) if not name.startswith("_")}
    assert verbs - {name for name in vars(Wrapper) if not name.startswith("_")} == {
        "name",
        "capabilities",
        "publishes_within",
        "archives",
    }
    inner = memory("agent")
    inner.publishes_within = 2.5
    wrapped = kind(inner)
    assert (wrapped.name, wrapped.control) == ("memory", inner.control)
    assert wrapped.publishes_within == Failover(memory(), inner).publishes_within == 2.5
    assert wrapped.get("agent") == inner.get("agent")
    assert wrapped.list() == inner.list()
    assert wrapped.history("agent") == inner.history("agent")
    with pytest.raises(AttributeError):
        _ = wrapped.nothing_of_that_name


def test_a_stack_can_be_read():
    stack = ReadOnlyProvider(Failover(RecordingProvider(memory()), memory()))
    assert stack_of(stack) == "read_only -> failover(recording -> memory, memory)"
    assert stack_of(innermost(stack)) == "memory"


# read_only


@pytest.mark.rule("P4")
@pytest.mark.parametrize("write", EACH_WRITE)
def test_whoever_only_reads_is_refused_every_write_and_nothing_changes(write):
    inner = memory("agent")
    before = inner.list()
    with pytest.raises(ReadOnly) as refused:
        write(ReadOnlyProvider(RecordingProvider(inner)))
    assert '"agent" is not written' in str(refused.value)
    assert "read_only -> recording -> memory" in str(refused.value)
    assert inner.list() == before


@pytest.mark.rule("P4")
def test_every_verb_that_takes_a_change_is_declared_to_write_and_refused():
    taking = {
        name
        for name, verb in vars(FlagProvider).items()
        if inspect.isfunction(verb) and "change" in inspect.signature(verb).parameters
    }
    assert taking == WRITES
    own = {name for name in WRITES if vars(ReadOnlyProvider).get(name) is not None}
    assert own == WRITES


@pytest.mark.rule("P4")
def test_a_refusal_names_the_flag_however_it_is_given():
    for refused in (
        lambda one: one.switch_off(key="agent", change=ANA),
        lambda one: one.put(flag=Flag.boolean("agent"), change=ANA),
    ):
        with pytest.raises(ReadOnly) as caught:
            refused(ReadOnlyProvider(memory("agent")))
        assert caught.value.flag == "agent"
    with pytest.raises(TypeError, match="change"):
        ReadOnlyProvider(memory("agent")).switch_off("agent")


@pytest.mark.rule("K1", "P4")
def test_whoever_only_reads_can_kill_all_the_same():
    inner = memory("agent")
    with Flags.over(ReadOnlyProvider(inner)) as flags:
        assert flags.is_enabled("agent", "ada")
        flags.operator("ana").kill("agent", reason="it burns")
        assert not flags.is_enabled("agent", "ada")
    declared = ReadOnlyProvider(inner).capabilities
    assert declared == frozenset({Capability.FLAG_SET, Capability.READ, Capability.HISTORY}) | (
        inner.capabilities & {Capability.WATCH}
    )


# recording


class Asked(FlagProvider):
    name = "asked"
    capabilities = frozenset({Capability.RESOLVE})

    def start(self, listener):
        self.listener = listener

    def wait_ready(self, timeout):
        return True

    def close(self, timeout=2.0):
        pass

    def resolve(self, key, context, kind):
        if key == "gone":
            return Result(None, error_code=ErrorCode.FLAG_NOT_FOUND, authoritative=False)
        return Result(True, "on", Reason.SPLIT)


def test_calls_are_kept_with_their_outcome_and_nothing_of_the_context():
    recorded = RecordingProvider(Asked())
    with Flags.over(recorded) as flags:
        flags.evaluate("agent", Context("ada", {"email": "ada@example.org"}))
        flags.evaluate("gone", "ada")
    first, second = recorded.calls
    assert (first.verb, first.key, first.outcome) == ("resolve", "agent", "SPLIT")
    assert (second.key, second.outcome) == ("gone", "FLAG_NOT_FOUND")
    assert 0 <= first.seconds < 5
    assert "ada" not in repr(recorded.calls)
    assert recorded.count("resolve") == 2
    recorded.reset()
    assert (recorded.calls, recorded.count("resolve")) == ((), 0)


@pytest.mark.parametrize("write", EACH_WRITE)
def test_each_verb_is_recorded_and_its_error_goes_on(write):
    recorded = RecordingProvider(memory("agent"))
    try:
        write(recorded)
        outcome = "ok"
    except Exception as error:  # noqa: BLE001  (whatever it is, it is to be recorded)
        outcome = type(error).__name__
    assert [(one.key, one.outcome) for one in recorded.calls] == [("agent", outcome)]
    assert recorded.count(recorded.calls[0].verb) == 1
    with pytest.raises(FlagNotFound):
        recorded.switch_off("nobody", ANA)
    assert recorded.calls[-1].outcome == "FlagNotFound"


def test_the_last_calls_are_kept_and_all_are_counted():
    recorded = RecordingProvider(memory("agent"), last=3)
    for number in range(10):
        recorded.get(f"flag-{number}")
    assert [one.key for one in recorded.calls] == ["flag-7", "flag-8", "flag-9"]
    assert isinstance(recorded.calls[0], Call)
    assert [recorded.count("get") for _ in range(3)] == [10, 10, 10]


def test_no_call_of_many_threads_is_lost():
    recorded = RecordingProvider(memory("agent"))

    def ask():
        for _ in range(2_000):
            recorded.get("agent")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for one in threads:
        one.start()
    seen = [recorded.count("get") for _ in range(50)]
    for one in threads:
        one.join()
    assert recorded.count("get") == 16_000
    assert seen == sorted(seen)


def test_calls_are_counted_through_a_fork_at_any_moment():
    recorded = RecordingProvider(memory("agent"))
    recorded.get("agent")
    done = threading.Event()

    def look():
        while not done.is_set():
            recorded.count("get")

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                signal.alarm(15)
                code = 1
                try:
                    recorded.get("agent")
                    code = 0 if recorded.count("get") == 2 else 1
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        done.set()
        looking.join()


# Transactions of a store


class Own(Wrapper):
    """Somebody's wrapper, which knows of no transactions."""


def test_writes_join_a_transaction_through_those_wrappers_that_can(tmp_path):
    store = SqliteProvider(tmp_path / "flags.db")
    schema.upgrade(store.database)
    recorded = RecordingProvider(Failover(store, memory()))
    stack = shared(recorded)
    assert stack is recorded
    store.put(Flag.boolean("agent"), ANA)

    def switch_off_and_fail():
        with store.database.writing() as connection:
            assert not stack.within(connection).switch_off("agent", ANA).on
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        switch_off_and_fail()
    assert store.get("agent").on
    with store.database.writing() as connection:
        stack.within(connection).switch_off("agent", ANA)
    assert not store.get("agent").on
    assert [one.verb for one in recorded.calls] == ["switch_off", "switch_off"]
    assert recorded.count("switch_off") == 2
    for one in (memory(), RecordingProvider(memory()), ReadOnlyProvider(store), Own(store)):
        assert shared(one) is None
        assert shared(RecordingProvider(one)) is None
    store.close()


@pytest.mark.rule("R2")
def test_a_rollout_in_a_recorded_store_is_one_transaction_with_its_flag(tmp_path):
    with store_at(f"sqlite:///{tmp_path / 'flags.db'}") as (url, _):
        store = provider_at(url, "test")
        clock = Clock(store.database)
        world = World(RecordingProvider(store), store.control, "test", clock)
        world.flag(percent=3)
        world.rollouts.start(plan_for("agent", 10, 50), "")

        def crash(name, _rollout):
            if name == "within_write":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            world.tick(0, world.another("dies", points=crash))
        assert world.kept() == store.get("agent")
        assert world.percent() == 3  # taken back with the rollout's state
        clock.advance(16)  # the lease ends
        world.go_to("completed")
        assert world.exposures() == [3, 10, 50]
        assert world.provider.count("put") + world.provider.count("set_rollout") == 1 + 3
        world.close()


# Configuration


def connect(folder, text):
    (folder / "downhaul.toml").write_text(text)
    return Flags.connect(file=folder / "downhaul.toml", cache_dir=str(folder / "cache"))


@pytest.fixture
def folder(tmp_path):
    for name in ("one", "two"):
        document = f'{{"downhaul": 1, "flags": [{{"key": "{name}", "default": "on"}}]}}'
        (tmp_path / f"{name}.json").write_text(document)
    return tmp_path


def test_a_stack_is_made_from_configuration_with_paths_beside_the_file(folder):
    text = """
        [provider]
        url = "file:one.json"
        wrap = ["recording", "failover"]
        recording = { last = 5 }
        [provider.failover]
        to = "file:two.json"
        after = 0.5
    """
    with connect(folder, text) as flags:
        provider = flags._engine.provider
        assert stack_of(provider) == "recording -> failover(file, file)"
        assert (provider._calls.maxlen, provider.inner.after, provider.inner.back) == (5, 0.5, 10)
        assert flags.is_enabled("one", "ada", default=False) is True or flags.wait_ready(5)
        assert set(flags.evaluate_all("ada")) == {"one"}


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "table, told",
    [
        ('wrap = ["failover"]', "provider.failover.to"),
        (
            'wrap = ["failover"]\n[provider.failover]\nto = "file:x"\nafterr = 2',
            "did you mean after?",
        ),
        ('wrap = ["failover"]\n[provider.failover]\nto = "file:x"\nafter = -1', "greater than 0"),
        ('wrap = ["recording"]\nrecording = 5', "must be a table"),
        ('wrap = ["read_only"]\n[provider.read_only]\nstrict = true', "unknown key"),
        ('wrap = ["readonly"]', "did you mean read_only?"),
    ],
)
def test_what_is_wrong_with_a_wrapper_is_a_problem_of_the_configuration(folder, table, told):
    (folder / "downhaul.toml").write_text(f'[provider]\nurl = "file:one.json"\n{table}\n')
    problems = check(file=folder / "downhaul.toml", environ={})
    assert told in "\n".join(f"{one.path} {one.message} {one.hint}" for one in problems)
    with pytest.raises(ConfigError) as refused:
        connect(folder, (folder / "downhaul.toml").read_text())
    assert told in f"{refused.value}"


def test_a_backend_that_decides_by_itself_and_one_that_publishes_rules_are_no_pair():
    with pytest.raises(ConfigError, match="asked can't fail over to memory"):
        Failover(Asked(), memory())


def test_the_tables_of_a_wrapped_store_are_found(tmp_path):
    store = SqliteProvider(tmp_path / "flags.db")
    assert database_of(RecordingProvider(store)) is store.database
    assert database_of(RecordingProvider(memory())) is None
    store.close()


STACK = """
[provider]
url = "file:one.json"
wrap = ["read_only", "failover", "recording"]
[provider.failover]
to = { url = "file:two.json", poll = 0.1 }
"""


@pytest.mark.rule("P2")
def test_doctor_shows_how_each_part_of_the_stack_stands(folder):
    from downhaul.control.examination import examine

    (folder / "downhaul.toml").write_text(STACK)
    found = [
        (one.name, one.status, one.message)
        for one in examine(file=str(folder / "downhaul.toml"))
        if one.name in ("wrapper", "backend")
    ]
    assert found == [
        ("wrapper", "ok", "read_only -> failover(recording -> file, file) is READY"),
        ("wrapper", "ok", "failover(recording -> file, file) is READY"),
        ("wrapper", "ok", "recording -> file is READY"),
        ("backend", "ok", f"file://{folder}/one.json is READY"),
        ("backend", "ok", f"file://{folder}/two.json is READY"),
    ]


@pytest.mark.rule("P2")
def test_a_part_that_is_away_is_named_with_what_it_says(folder):
    (folder / "downhaul.toml").write_text(STACK)
    (folder / "two.json").unlink()
    settings = resolve(file=folder / "downhaul.toml", environ={}, cache_dir=str(folder / "cache"))
    before = set(threading.enumerate())
    *_, first, second = standings(settings, within=0.1)
    assert (first.kind, first.status.state) == ("backend", State.READY)
    assert second.what == f"file://{folder}/two.json"
    assert second.status.state is not State.READY
    assert "two.json" in second.status.message
    assert set(threading.enumerate()) == before
    assert not (folder / "cache").exists()


@pytest.mark.rule("P7")
def test_the_password_of_a_second_backend_is_shown_to_nobody(folder):
    from downhaul.config.report import show

    text = '[provider]\nurl = "file:one.json"\nwrap = ["failover"]\n'
    (folder / "downhaul.toml").write_text(f'{text}failover.to = "postgresql://u:5ecret@h/db"\n')
    shown = str(show(resolve(file=folder / "downhaul.toml", environ={})))
    assert "postgresql://u:***@h/db" in shown
    assert "5ecret" not in shown
