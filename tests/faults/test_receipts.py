"""Receipts of kills from real processes that are stopped, killed, forked, cut off (rule K6)."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from downhaul import Flag, Flags
from downhaul.control import Operator
from downhaul.store import schema
from downhaul.store.provider import SqlProvider

from .conftest import WHO, open_store, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.rule("K6")]

_FOLLOW = """
import logging, os, sys
logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
from downhaul import Flags
url, how = sys.argv[1:3]
flags = Flags.connect(url, cache_dir=False, ready_within=10, application=how)
print("up", flush=True)
def answer():
    print(int(flags.is_enabled("feature", "u")), flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == "ask":
        answer()
    elif word == "fork":
        if os.fork() == 0:
            print(f"child {os.getpid()}", flush=True)
    elif word == "close":
        break
flags.close()
"""


class Follower:
    """A process that follows a store and answers what it is asked."""

    def __init__(self, url: str, how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _FOLLOW, url, how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self.line() == "up"

    @property
    def pid(self) -> int:
        return self.process.pid

    def say(self, word: str) -> None:
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def line(self) -> str:
        timer = threading.Timer(30, self.process.kill)
        timer.start()
        line = self.process.stdout.readline().strip()
        timer.cancel()
        return line

    def asked(self) -> bool:
        self.say("ask")
        return self.line() == "1"

    def end(self) -> str:
        """End it, and return what it had to say on stderr."""
        if self.process.poll() is None:
            self.say("close")
        self.process.wait(20)
        said = self.process.stderr.read()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()
        return said

    def destroy(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if not stream.closed:
                stream.close()


@pytest.fixture
def follow() -> Iterator[Callable[..., Follower]]:
    made: list[Follower] = []

    def make(url: str, how: str = "web") -> Follower:
        made.append(Follower(url, how))
        return made[-1]

    yield make
    for one in made:
        one.destroy()


@pytest.fixture
def operator(writer: SqlProvider) -> Operator:
    writer.put(Flag.boolean("feature"), WHO)
    return Operator(writer, writer.control, actor="ana")


def rows(writer: SqlProvider):
    return writer.control.processes.rows()[1]


def wait_for_rows(writer: SqlProvider, count: int) -> None:
    wait_until(lambda: len(rows(writer)) == count, 15, f"{count} processes to tell of themselves")


def killed(operator: Operator, wait: float = 10.0):
    record = operator.kill("feature", "to see it hold").record
    return operator.receipts(record, wait)


@pytest.mark.rule("K1")
def test_every_process_that_follows_confirms_a_kill_and_then_the_revive(
    store_url, writer, operator, follow
):
    followers = [follow(store_url, how) for how in ("web", "web", "worker")]
    wait_for_rows(writer, 3)
    found = killed(operator)
    assert (found.known, found.obeyed, found.behind, found.silent) == (3, 3, (), ())
    assert found.applications == (("web", 2), ("worker", 1))
    assert 0 <= found.median <= found.within < 5
    assert not any(one.asked() for one in followers)
    record = operator.revive("feature", "to see it come back").record
    assert operator.receipts(record, 10.0).obeyed == 3
    assert all(one.asked() for one in followers)


def test_a_process_that_ends_leaves_and_is_expected_no_more(store_url, writer, operator, follow):
    first, second = follow(store_url), follow(store_url)
    wait_for_rows(writer, 2)
    assert "Traceback" not in first.end()
    wait_for_rows(writer, 1)
    found = killed(operator)
    assert (found.known, found.obeyed) == (1, 1)
    assert not second.asked()


def test_a_process_that_nobody_closed_leaves_at_its_exit(store_url, writer):
    code = (
        "import sys, time\n"
        "from downhaul import Flags\n"
        "flags = Flags.connect(sys.argv[1], cache_dir=False, ready_within=10)\n"
        "print('up', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, store_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"up\n"
    wait_for_rows(writer, 1)
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()
    wait_for_rows(writer, 0)


def test_one_that_was_killed_is_not_heard_from_and_then_silent(
    store_url, writer, operator, follow, monkeypatch
):
    first, second = follow(store_url), follow(store_url)
    wait_for_rows(writer, 2)
    second.process.send_signal(signal.SIGKILL)
    second.process.wait(20)
    begun = time.monotonic()
    found = killed(operator, wait=1.0)
    assert time.monotonic() - begun < 5
    assert (found.known, found.obeyed) == (2, 1)
    assert [one.pid for one in found.behind] == [second.pid]
    assert f"not heard from: {found.behind[0].host}:{second.pid} web (last seen" in str(found)
    assert not first.asked()
    # Its time has come, and it said nothing.
    processes = writer.database.tables.processes
    with writer.database.writing() as connection:
        connection.execute(processes.update().where(processes.c.pid == second.pid).values(due_at=0))
    [record] = operator.kills()
    found = operator.receipts(record)
    assert (found.obeyed, found.behind, [one.pid for one in found.silent]) == (1, (), [second.pid])


def test_one_that_is_stopped_is_behind_and_confirms_when_it_goes_on(
    store_url, writer, operator, follow
):
    follow(store_url)
    stopped = follow(store_url)
    wait_for_rows(writer, 2)
    stopped.process.send_signal(signal.SIGSTOP)
    try:
        found = killed(operator, wait=1.0)
        assert (found.known, found.obeyed) == (2, 1)
        assert [one.pid for one in found.behind] == [stopped.pid]
    finally:
        stopped.process.send_signal(signal.SIGCONT)
    [record] = operator.kills()
    found = operator.receipts(record, 10.0)
    assert (found.obeyed, found.behind) == (2, ())
    assert not stopped.asked()


@pytest.mark.rule("P3")
def test_a_forked_child_obeys_and_tells_of_itself_where_its_store_lets_it(
    store_url, writer, operator, follow
):
    parent = follow(store_url)
    wait_for_rows(writer, 1)
    [before] = rows(writer)
    parent.say("fork")
    child = int(parent.line().removeprefix("child "))
    try:
        if store_url.startswith("sqlite"):
            # SQLite takes both for one process: the child obeys, and its parent tells of it.
            time.sleep(2.0)
            found = killed(operator)
            assert (found.known, found.obeyed) == (1, 1)
            [after] = rows(writer)
            assert (after.id, after.forks) == (before.id, 1)
            assert [one.pid for one in found.forked] == [parent.pid]
            assert "has forked, and its children obey and can't tell" in str(found)
        else:
            wait_for_rows(writer, 2)
            found = killed(operator)
            assert (found.known, found.obeyed, found.forked) == (2, 2, ())
            assert {one.pid for one in rows(writer)} == {parent.pid, child}
            assert len({one.process for one in rows(writer)}) == 2
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.postgres
@pytest.mark.rule("K1", "P2")
def test_a_store_that_goes_away_costs_receipts_and_nothing_else(own_postgres, follow):
    writer = open_store(own_postgres.url)
    writer.put(Flag.boolean("feature"), WHO)
    operator = Operator(writer, writer.control, actor="ana")
    one = follow(own_postgres.url)
    wait_for_rows(writer, 1)
    time.sleep(1.0)  # what is written in passing is on the disk a moment later
    own_postgres.stop("immediate")
    assert one.asked()
    time.sleep(1.0)
    own_postgres.start()
    found = killed(operator, wait=45.0)
    assert (found.known, found.obeyed) == (1, 1)
    assert not one.asked()
    said = one.end()
    assert "Traceback" not in said
    assert "can't tell" not in said
    writer.close()


@pytest.mark.rule("K1", "P2")
def test_a_file_that_goes_away_and_comes_back_costs_receipts_and_nothing_else(tmp_path, follow):
    file, aside = tmp_path / "flags.db", tmp_path / "aside"
    aside.mkdir()
    writer = open_store(f"sqlite:///{file}")
    writer.put(Flag.boolean("feature"), WHO)
    one = follow(f"sqlite:///{file}")
    wait_for_rows(writer, 1)
    writer.close()
    with writer.database.reading() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    parts = list(tmp_path.glob("flags.db*"))
    for part in parts:
        part.rename(aside / part.name)
    time.sleep(1.0)
    assert one.asked()
    for part in parts:
        (aside / part.name).rename(part)
    again = open_store(f"sqlite:///{file}")
    found = killed(Operator(again, again.control, actor="ana"), wait=20.0)
    assert (found.known, found.obeyed) == (1, 1)
    assert not one.asked()
    assert "Traceback" not in one.end()
    again.close()


@pytest.mark.postgres
@pytest.mark.rule("X4", "K1")
def test_a_role_without_the_right_obeys_all_the_same_and_is_warned_once(fresh_postgres, follow):
    writer = open_store(fresh_postgres)
    writer.put(Flag.boolean("feature"), WHO)
    name = "downhaul_mute_" + psycopg.conninfo.conninfo_to_dict(fresh_postgres)["dbname"]
    grants = schema.roles(writer.database, application=name, operator="postgres")
    less = "\n".join(line for line in grants.splitlines() if ".processes TO" not in line)
    with psycopg.connect(fresh_postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        connection.execute(less)
    try:
        operator = Operator(writer, writer.control, actor="ana")
        one = follow(fresh_postgres.replace("postgres@", f"{name}@", 1))
        time.sleep(2.0)
        found = killed(operator, wait=0.5)
        assert (found.known, found.obeyed) == (0, 0)
        wait_until(lambda: not one.asked(), 5, "the kill to be obeyed")
        operator.revive("feature", "and again")
        wait_until(one.asked, 5, "the revive to be obeyed")
        said = one.end()
        assert said.count("this process obeys kills, and can't tell that it does") == 1
        assert "downhaul db roles" in said
    finally:
        writer.close()
        with psycopg.connect(fresh_postgres, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.mark.rule("K1", "K5")
def test_a_kill_waits_for_no_receipt(store_url, writer, operator, follow):
    stopped = follow(store_url)
    wait_for_rows(writer, 1)
    stopped.process.send_signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        operator.kill("feature", "to see it hold")
        assert time.monotonic() - begun < 2
    finally:
        stopped.process.send_signal(signal.SIGCONT)


def test_a_database_from_before_receipts_is_followed_all_the_same(tmp_path: Path, caplog):
    url = f"sqlite:///{tmp_path / 'flags.db'}"
    writer = open_store(url)
    writer.put(Flag.boolean("feature"), WHO)
    with writer.database.writing() as connection:
        for table in ("processes", "kill_terms", "drills"):
            connection.exec_driver_sql(f"DROP TABLE downhaul_{table}")
    operator = Operator(writer, writer.control, actor="ana")
    with Flags.connect(url, cache_dir=False, ready_within=5) as flags:
        record = operator.kill("feature", "to see it hold").record
        wait_until(lambda: not flags.is_enabled("feature", "u"), 5, "the kill to be obeyed")
        assert record.killed
        assert [str(one.record.scope) for one in operator.standing()] == ["feature"]
        wait_until(lambda: "can't tell" in caplog.text, 5, "the warning")
    writer.close()
