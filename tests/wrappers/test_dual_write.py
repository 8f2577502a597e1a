"""What is written to one backend is written to the other, and what it lacks is told."""

import inspect
import os
import signal
import threading
import time

import pytest

from downhaul import Flag, Flags
from downhaul.backends.file import FileProvider
from downhaul.backends.memory import MemoryProvider
from downhaul.backends.sqlite import SqliteProvider
from downhaul.config import check
from downhaul.encoding import flag_to_data
from downhaul.errors import FlagNotFound, Refused, Unreachable, VersionConflict
from downhaul.flag import Clause, FlagSet, Operator, Rule, Segment
from downhaul.provider import ABSENT, WRITES, Capability, Change, State
from downhaul.staging import Stage, Standing
from downhaul.store import schema
from downhaul.wrappers.dual_write import DualWrite
from downhaul.wrappers.recording import RecordingProvider
from downhaul.wrappers.staged import Staged
from downhaul.wrappers.wrapper import stack_of

ANA = Change("ana", "because")


def memory(*keys):
    return MemoryProvider(FlagSet.of([Flag.boolean(key) for key in keys]))


class Failing(MemoryProvider):
    """A backend whose writes all fail with one error, once it is broken."""

    name = "failing"
    error = None

    def __getattribute__(self, name):
        error = object.__getattribute__(self, "error")
        if error is not None and name in WRITES:
            return lambda *_, **__: self.fail(error)
        return object.__getattribute__(self, name)

    def fail(self, error):
        raise error


def pair(*keys, **options):
    flags = FlagSet.of([Flag.boolean(key) for key in keys])
    old, new = MemoryProvider(flags), Failing(flags)
    return old, new, DualWrite(old, new, **options)


def plain(provider):
    """What a backend has, without the versions that are its own."""
    kept = provider.list()
    flags = {key: {**flag_to_data(one), "version": ""} for key, one in kept.flags.items()}
    return flags, {key: one.rules for key, one in kept.segments.items()}


STAFF = Segment("staff", rules=())
EACH_VERB = {
    "put": lambda one: one.put(Flag.boolean("agent", percent=5), ANA),
    "delete": lambda one: one.delete("agent", ANA),
    "switch_on": lambda one: one.switch_on("agent", ANA),
    "switch_off": lambda one: one.switch_off("agent", ANA),
    "set_rollout": lambda one: one.set_rollout("agent", "on", 5_000, ANA),
    "set_targets": lambda one: one.set_targets("agent", "off", iter(["ada"]), ANA),
    "put_segment": lambda one: one.put_segment(STAFF, ANA),
    "delete_segment": lambda one: (one.put_segment(STAFF, ANA), one.delete_segment("staff", ANA)),
    "restore": lambda one: one.restore(one.snapshot("agent"), ANA),
}


@pytest.mark.parametrize("verb", sorted(WRITES))
def test_each_verb_reaches_both(verb):
    old, new, both = pair("agent", "other")
    old_says, new_says = RecordingProvider(old), RecordingProvider(new)
    both = DualWrite(old_says, new_says)
    EACH_VERB[verb](both)
    assert old_says.count(verb) == 1
    assert new_says.count("put" if verb == "restore" else verb) == 1
    assert plain(old) == plain(new)
    assert both.divergences() == ()


def test_every_verb_that_writes_is_written_to_both():
    own = {name for name, verb in inspect.getmembers(DualWrite) if name in WRITES}
    assert own == WRITES == set(EACH_VERB)
    for verb in WRITES:
        assert getattr(DualWrite, verb).__qualname__.startswith("WritesBoth.")


@pytest.mark.parametrize("verb", sorted(WRITES))
@pytest.mark.parametrize(
    "error, said",
    [
        (Unreachable("away", hint="look"), "away (look)"),
        (Refused("it is a rule"), "it is a rule"),
        (OSError("no login with s3cret"), "OSError"),
    ],
)
def test_what_the_second_fails_at_is_told_and_fails_nothing(verb, error, said, caplog):
    told = []
    _old, new, both = pair("agent", diverged=told.append)
    if verb == "delete_segment":
        both.put_segment(STAFF, ANA)
    new.error = error
    verbs = {**EACH_VERB, "delete_segment": lambda one: one.delete_segment("staff", ANA)}
    verbs[verb](both)
    (one,) = both.divergences()
    assert told == [one]
    entity = "segment" if "segment" in verb else "flag"
    key = "staff" if entity == "segment" else "agent"
    assert (one.entity, one.key, one.verb, one.lacking) == (entity, key, verb, "new failing")
    assert (one.change_id, one.error) == (ANA.id, said)
    assert one.at.endswith("Z")
    assert caplog.text.count(said) == 1
    assert "s3cret" not in caplog.text
    with Flags.over(both) as flags:
        assert f'the last one {verb} of {entity} "{key}"' in flags.status().provider.message
        assert flags.status().state is State.READY


def test_the_result_and_the_versions_are_those_of_the_first():
    old, new, both = pair("agent")
    new.put(Flag.boolean("one"), ANA)  # so that their counters are apart
    written = both.put(Flag.boolean("agent", percent=1), ANA, expected=old.get("agent").version)
    assert written == old.get("agent") == both.get("agent")
    assert written.version != new.get("agent").version
    with pytest.raises(VersionConflict):
        both.put(Flag.boolean("agent", percent=2), ANA, expected="nobody's")
    assert plain(both)[0]["agent"] == plain(new)[0]["agent"] == plain(old)[0]["agent"]
    both.put(Flag.boolean("one", percent=3), ANA, expected=ABSENT)  # the second has one already
    assert new.get("one").default == old.get("one").default
    assert both.divergences() == ()


@pytest.mark.parametrize("verb", sorted(WRITES - {"switch_off"}))
def test_what_the_first_fails_at_is_not_tried_on_the_second(verb):
    new = memory("agent")
    new.put_segment(STAFF, ANA)
    old = Failing(FlagSet.of([Flag.boolean("agent")]))
    old.error = Unreachable("away")
    both, before = DualWrite(old, new), plain(new)
    verbs = {**EACH_VERB, "delete_segment": lambda one: one.delete_segment("staff", ANA)}
    with pytest.raises(Unreachable, match="away"):
        verbs[verb](both)
    assert plain(new) == before
    assert both.divergences() == ()


@pytest.mark.rule("K1", "M4")
def test_an_off_reaches_the_second_though_the_first_fails():
    new = memory("agent")
    old = Failing(FlagSet.of([Flag.boolean("agent")]))
    old.error = Unreachable("away")
    both = DualWrite(old, new)
    with pytest.raises(Unreachable, match="away"):
        both.switch_off("agent", ANA)
    assert not new.get("agent").on
    (one,) = both.divergences()
    assert (one.verb, one.lacking) == ("switch_off", "old failing")


@pytest.mark.rule("K1", "M4")
def test_the_first_error_is_raised_where_an_off_reaches_nobody():
    old, new = (Failing(FlagSet.of([Flag.boolean("agent")])) for _ in range(2))
    old.error, new.error = Unreachable("old away"), Unreachable("new away")
    both = DualWrite(old, new)
    with pytest.raises(Unreachable, match="old away"):
        both.switch_off("agent", ANA)
    assert [one.lacking for one in both.divergences()] == ["new failing"]


def test_what_is_gone_on_the_second_needs_no_removing():
    old = memory("agent")
    old.put_segment(STAFF, ANA)
    both = DualWrite(old, memory())
    both.delete("agent", ANA)
    both.delete_segment("staff", ANA)
    assert both.divergences() == ()


def test_a_flag_that_the_second_never_had_diverges_until_it_is_written_whole():
    old, new = memory("agent", "other"), memory()
    both = DualWrite(old, new)
    both.switch_on("agent", ANA)
    both.switch_off("agent", ANA)
    both.switch_on("other", ANA)
    assert [one.verb for one in both.divergences()] == ["switch_on", "switch_off", "switch_on"]
    both.put(both.get("agent"), ANA)
    assert [one.key for one in both.divergences()] == ["other"]
    assert plain(new)[0]["agent"] == plain(old)[0]["agent"]
    both.settle("other")
    assert both.divergences() == ()
    with Flags.over(both) as flags:
        assert flags.status().provider.message == ""


@pytest.mark.rule("P4")
def test_a_second_that_takes_no_writes_is_named_and_raises_nothing(tmp_path):
    path = tmp_path / "flags.json"
    path.write_text('{"downhaul": 1, "flags": [{"key": "agent", "default": "on"}]}')
    both = DualWrite(memory("agent"), FileProvider(path))
    both.switch_off("agent", ANA)
    both.put_segment(STAFF, ANA)
    first, second = both.divergences()
    assert first.lacking == second.lacking == "new file"
    assert "flags.json are changed in that file" in first.error
    assert "flags.json are changed in that file" in second.error
    assert both.capabilities == both.inner.capabilities


def test_whoever_is_told_and_fails_stops_no_write(caplog):
    def broken(_divergence):
        message = "no such table"
        raise OSError(message)

    _old, _, both = pair("agent", diverged=broken)
    both.second.error = Unreachable("away")
    assert not both.switch_off("agent", ANA).on
    assert "whoever is told of divergences failed" in caplog.text
    assert len(both.divergences()) == 1


def test_only_the_last_thousand_divergences_are_kept():
    _, new, both = pair("agent")
    new.error = Unreachable("away")
    for number in range(1_010):
        both.set_rollout("agent", "on", number, ANA)
    assert len(both.divergences()) == 1_000


@pytest.mark.rule("P5", "R8")
def test_a_snapshot_comes_back_on_both_whatever_was_done_meanwhile():
    old, new, both = pair("agent")
    rule = Rule("on", (Clause("plan", Operator.IN, ("pro",)),))
    both.put(Flag.boolean("agent", percent=5, rules=(rule,)), ANA)
    snapshot = both.snapshot("agent")
    both.set_rollout("agent", "on", 90_000, ANA)
    new.delete("agent", ANA)
    both.restore(snapshot, ANA)
    assert new.get("agent").rules == old.get("agent").rules == (rule,)
    assert new.get("agent").default == old.get("agent").default


@pytest.mark.rule("R2")
def test_no_transaction_of_the_first_leads_past_the_second(tmp_path):
    store = SqliteProvider(tmp_path / "flags.db")
    schema.upgrade(store.database)
    assert not hasattr(DualWrite(store, memory()), "within")
    store.close()


# Life


def test_the_second_answers_nobody_and_its_words_reach_nobody():
    old, new = memory("agent"), memory("agent", "other")
    both, heard = DualWrite(old, new), []
    assert both.publishes_within == old.publishes_within
    with Flags.over(both) as flags:
        flags.on_change(heard.append)
        new.switch_off("agent", ANA)
        assert flags.is_enabled("agent", "ada")
        assert set(flags.evaluate_all("ada")) == {"agent"}
        assert heard == []
        old.switch_off("agent", ANA)
        assert not flags.is_enabled("agent", "ada")
        assert heard == [{"agent"}]
        assert flags.explain("agent", "ada").steps  # the rules are seen, as behind no wrapper


@pytest.mark.rule("P2")
def test_a_second_that_is_away_is_told_and_changes_no_state(tmp_path):
    new = SqliteProvider(tmp_path / "nowhere" / "flags.db", poll=0.05)
    with Flags.over(DualWrite(memory("agent"), new)) as flags:
        status = flags.status()
        assert status.state is State.READY
        assert "sqlite, which is written to as well, is NOT_READY" in status.provider.message
        assert flags.is_enabled("agent", "ada")


@pytest.mark.parametrize("broken", [0, 1])
def test_nothing_is_left_of_a_start_that_failed(tmp_path, broken):
    stores = [SqliteProvider(tmp_path / name, poll=0.02) for name in ("old.db", "new.db")]

    def fail(_listener):
        message = "no such thing"
        raise OSError(message)

    stores[broken].start = fail
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="no such thing"):
        Flags.over(DualWrite(*stores))
    assert set(threading.enumerate()) == before


@pytest.mark.rule("P1")
def test_closing_keeps_its_time_though_the_second_hangs():
    hanging, closed = threading.Event(), []
    old, new = memory("agent"), memory("agent")
    old.close = lambda timeout=2.0: closed.append("old")
    new.close = lambda timeout=2.0: hanging.wait()
    both = DualWrite(old, new)
    begun = time.monotonic()
    both.close(0.3)
    assert time.monotonic() - begun < 2.0
    assert closed == ["old"]
    hanging.set()


def staged(old, new):
    return Staged(old, new, standing=Standing(Stage.DUAL_WRITE))


@pytest.mark.rule("P3")
@pytest.mark.parametrize("make", [DualWrite, staged])
def test_a_forked_child_writes_to_both_whoever_was_writing(make):
    old, new, _ = pair("agent")
    both = make(old, new)
    new.error = Unreachable("away")
    done = threading.Event()

    def write():
        while not done.is_set():
            both.switch_on("agent", ANA)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(10):
            lock = both._divergences._lock
            lock.acquire()  # as if another thread were noting one
            pid = os.fork()
            if pid != 0:
                lock.release()
            if pid == 0:
                signal.alarm(15)
                code = 1
                try:
                    both.after_fork()
                    new.error = None
                    both.put(Flag.boolean("agent", on=False), ANA)
                    off = not old.get("agent").on and not new.get("agent").on
                    code = 0 if off and not both.divergences() else 2
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        done.set()
        writing.join()


# Configuration


def test_it_is_made_from_configuration_and_says_what_it_is(tmp_path):
    path = tmp_path / "downhaul.toml"
    path.write_text(
        '[provider]\nurl = "memory:"\nwrap = ["dual_write"]\ndual_write.to = "sqlite:///new.db"\n'
    )
    with Flags.connect(file=path, cache_dir=str(tmp_path / "cache")) as flags:
        assert stack_of(flags._engine.provider) == "dual_write(memory, sqlite)"
    assert check(file=path, environ={}) == []


@pytest.mark.rule("X1")
def test_what_is_wrong_with_its_table_names_its_line(tmp_path):
    path = tmp_path / "downhaul.toml"
    path.write_text(
        '[provider]\nurl = "memory:"\nwrap = ["dual_write"]\n[provider.dual_write]\nto = "nobody:x"'
    )
    (problem,) = check(file=path, environ={}, directory=tmp_path)
    assert (problem.origin, problem.path) == ("downhaul.toml:5", "provider.dual_write.to")


def test_a_flag_that_nobody_has_is_told_by_the_first():
    with pytest.raises(FlagNotFound):
        pair("agent")[2].switch_off("nobody", ANA)
    assert Capability.WRITE in pair("agent")[2].capabilities
