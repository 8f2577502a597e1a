"""What an application goes through that follows a store: files that vanish, go back, break."""

import sqlite3
import threading
import time

import pytest

from downhaul.flag import Flag
from downhaul.overlay import Scope
from downhaul.provider import State
from downhaul.store import reading


@pytest.fixture
def following(writer, path, provider_at, recorder):
    """A started application on the writer's store."""
    application = provider_at(path)
    application.start(recorder)
    assert application.wait_ready(15)
    return application


def copy_of(path, to):
    """Take a backup, as SQLite itself does it."""
    with sqlite3.connect(path) as source, sqlite3.connect(to) as target:
        source.backup(target)
    source.close()
    target.close()


def replace(path, by):
    """Put another file in the place of the store, as `mv` does."""
    for left in ("-wal", "-shm"):
        path.with_name(path.name + left).unlink(missing_ok=True)
    by.replace(path)


@pytest.mark.rule("P1", "P2")
def test_a_store_that_is_not_there_yet_is_waited_for_and_never_made(
    path, provider_at, recorder, change
):
    application = provider_at(path)
    application.start(recorder)
    assert not application.wait_ready(0.2)
    status = application.status()
    assert status.state is State.NOT_READY
    assert "downhaul db upgrade" in status.message
    assert not path.exists()
    made = provider_at(path, upgrade=True).put(Flag.boolean("one"), change)
    recorder.wait_for(lambda heard: heard.flags == {"one": made})
    assert application.status().state is State.READY


@pytest.mark.rule("P2")
@pytest.mark.parametrize("loss", ["deleted", "emptied", "no tables"])
def test_flags_of_a_lost_file_go_on_being_served(
    following, writer, path, recorder, change, wait_until, tmp_path, loss
):
    one = writer.put(Flag.boolean("one"), change)
    recorder.wait_for(lambda heard: heard.flags == {"one": one})
    if loss == "deleted":
        path.unlink()
    else:
        other = tmp_path / "other.db"
        other.touch()
        if loss == "no tables":
            with sqlite3.connect(other) as connection:
                connection.execute("CREATE TABLE somebody_elses (id)")
            connection.close()
        replace(path, other)
    wait_until(lambda: following.status().state is State.STALE)
    assert "downhaul db upgrade" in following.status().message
    assert recorder.flags == {"one": one}
    assert path.exists() is (loss != "deleted")


def test_another_store_in_its_place_is_followed(
    following, writer, path, recorder, provider_at, change, tmp_path
):
    writer.put(Flag.boolean("one"), change)
    before = following.control.identity
    other = provider_at(tmp_path / "other.db", upgrade=True)
    two = other.put(Flag.boolean("two"), change)
    copy_of(tmp_path / "other.db", tmp_path / "copy.db")
    replace(path, tmp_path / "copy.db")
    recorder.wait_for(lambda heard: heard.flags == {"two": two})
    assert following.control.identity != before


def test_a_restored_backup_is_read_whole(following, writer, path, recorder, change, tmp_path):
    one = writer.put(Flag.boolean("one"), change)
    copy_of(path, tmp_path / "backup.db")
    writer.put(Flag.boolean("two"), change)
    recorder.wait_for(lambda heard: "two" in heard.flags)
    replace(path, tmp_path / "backup.db")
    recorder.wait_for(lambda heard: heard.flags == {"one": one})


def test_a_restored_backup_that_was_written_to_since_is_read_whole(
    following, writer, path, recorder, provider_at, change, tmp_path
):
    one = writer.put(Flag.boolean("one"), change)
    copy_of(path, tmp_path / "backup.db")
    writer.put(Flag.boolean("lost"), change)
    recorder.wait_for(lambda heard: "lost" in heard.flags)
    backup = provider_at(tmp_path / "backup.db")
    # As many writes as were lost, and then more, so that the revision alone tells nothing.
    there = [backup.put(Flag.boolean(key), change) for key in ("a", "b", "c")]
    copy_of(tmp_path / "backup.db", tmp_path / "whole.db")
    replace(path, tmp_path / "whole.db")
    recorder.wait_for(lambda heard: heard.flags == {flag.key: flag for flag in [one, *there]})


def spoil(path, key, document):
    """Write a row by hand, as nobody should."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE downhaul_flags SET document = ?, revision = revision + 100 WHERE key = ?",
            (document, key),
        )
        connection.execute("UPDATE downhaul_environments SET revision = revision + 100")
    connection.close()


@pytest.mark.parametrize(
    "document", ["{", "[]", '{"default": {}}', '{"kind": "none", "default": ""}']
)
def test_a_broken_row_stops_no_other(
    following, writer, path, recorder, change, wait_until, caplog, document
):
    one, two = (writer.put(Flag.boolean(key), change) for key in ("one", "two"))
    recorder.wait_for(lambda heard: heard.flags == {"one": one, "two": two})
    spoil(path, "one", document)
    off = writer.switch_off("two", change)
    recorder.wait_for(lambda heard: heard.flags == {"one": one, "two": off})
    wait_until(lambda: "flag one" in following.status().message)
    assert "one" in caplog.text
    assert "one" not in writer.list().flags
    with pytest.raises(Exception, match="restore"):
        writer.get("one")
    mended = writer.put(Flag.boolean("one", on=False), change)
    recorder.wait_for(lambda heard: heard.flags == {"one": mended, "two": off})
    wait_until(lambda: following.status().message == "")


def test_a_listener_that_fails_hears_the_next_change(
    writer, path, provider_at, recorder, change, caplog, wait_until
):
    class Failing(type(recorder)):
        def changed(self, delta):
            super().changed(delta)
            if "bad" in delta.flags:
                raise RuntimeError("a bug of a listener")

    listener = Failing()
    application = provider_at(path)
    application.start(listener)
    assert application.wait_ready(15)
    writer.put(Flag.boolean("bad"), change)
    wait_until(lambda: "a bug of a listener" in caplog.text)
    good = writer.put(Flag.boolean("good"), change)
    listener.wait_for(lambda heard: heard.flags.get("good") == good)
    assert application.status().state is State.READY


def test_environments_are_apart(writer, path, provider_at, recorder, change):
    staging = provider_at(path, "staging")
    staging.start(recorder)
    assert staging.wait_ready(15)
    writer.put(Flag.boolean("one"), change)
    here = staging.put(Flag.boolean("one", on=False), change)
    recorder.wait_for(lambda heard: heard.flags == {"one": here})
    assert writer.list().flags["one"].on


class Served:
    """Listens to flags and kills, and notes the shares that are served while nothing is killed."""

    def __init__(self):
        self.share = None
        self.killed = False
        self.seen = []

    def replaced(self, flag_set):
        self.take(flag_set.flags)

    def changed(self, delta):
        self.take(delta.flags)

    def take(self, flags):
        if flags.get("agent") is not None:
            self.share = flags["agent"].default.weights[0].weight
        self.note()

    def kills(self, records):
        for one in records:
            if one.scope == Scope.parse("agent"):
                self.killed = one.killed
        self.note()

    def note(self):
        if not self.killed and self.share is not None:
            self.seen.append(self.share)

    def status_changed(self, status):
        """Nothing that is asked about here."""


@pytest.mark.rule("K5")
def test_nobody_hears_of_a_revive_before_the_first_step_that_was_set_for_it(
    writer, path, provider_at, change, monkeypatch
):
    """Many revives, each after its flag was lowered, heard by a process that polls."""
    scope = Scope.parse("agent")
    slowly = reading.rows_since

    def rows_since(*words):
        time.sleep(0.003)  # what a busy machine does between two statements
        return slowly(*words)

    monkeypatch.setattr(reading, "rows_since", rows_since)
    writer.put(Flag.boolean("agent", percent=1), change)
    application = provider_at(path)
    heard = Served()
    application.start(heard)
    application.control.start(heard)
    assert application.wait_ready(15)
    for _ in range(25):
        writer.control.record_kill(scope, change, killed=True)
        writer.set_rollout("agent", "on", 50_000, change)
        writer.set_rollout("agent", "on", 1_000, change)
        writer.control.record_kill(scope, change, killed=False)
        until = time.monotonic() + 15
        while heard.killed:
            assert time.monotonic() < until
            time.sleep(0.001)
    assert set(heard.seen) == {1_000}


@pytest.mark.rule("K5")
@pytest.mark.parametrize("reads", ["position", "kill_records", "rows_since"])
def test_what_is_raised_under_a_kill_while_a_process_reads_is_not_served(
    writer, path, provider_at, change, monkeypatch, wait_until, reads
):
    """A kill and a raise come between one read of a look and the next."""
    writer.put(Flag.boolean("agent", percent=1), change)
    writer.control.record_kill(Scope.parse("another"), change, killed=True)
    application = provider_at(path)
    heard = Served()
    application.start(heard)
    application.control.start(heard)
    assert application.wait_ready(15)
    read, done = getattr(reading, reads), threading.Event()

    def then_write(*words):
        found = read(*words)
        if threading.current_thread().name == "downhaul-watcher" and not done.is_set():
            done.set()
            writer.control.record_kill(Scope.parse("agent"), change, killed=True)
            writer.set_rollout("agent", "on", 50_000, change)
        return found

    monkeypatch.setattr(reading, reads, then_write)
    writer.put(Flag.boolean("other"), change)
    writer.control.record_kill(Scope.parse("another"), change, killed=False)
    wait_until(lambda: heard.share == 50_000)
    assert set(heard.seen) == {1_000}


@pytest.mark.rule("K5")
def test_a_revive_that_waits_says_so_to_every_process(writer, path, provider_at, recorder, change):
    scope = Scope.parse("agent")
    writer.control.record_kill(scope, change, killed=True)
    application = provider_at(path)
    application.start(recorder)
    application.control.start(recorder)
    revive = writer.control.record_kill(scope, change, killed=False, waits=True)
    assert revive.waits
    assert writer.control.kills() == [revive]
    recorder.wait_for(lambda heard: heard.register.overlay().revived == {"agent": revive})
    assert not writer.control.record_kill(scope, change, killed=True, waits=True).waits
    recorder.wait_for(lambda heard: "agent" in heard.register.overlay().flags)
    assert not writer.control.record_kill(scope, change, killed=False).waits
