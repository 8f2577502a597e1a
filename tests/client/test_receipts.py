"""How a client tells which kills it obeys: aside, in its own time, and whatever the store does."""

import logging
import os
import sys
import threading
import time

import pytest

from downhaul.client import receipts
from downhaul.client.receipts import Receipts
from downhaul.errors import NoRight, SchemaMissing, Unreachable

pytestmark = pytest.mark.rule("K6")


class Register:
    """Keeps what it is told. ``raises`` is raised instead, ``hangs`` waited for."""

    def __init__(self, *, writes_after_fork=True, fleet=1):
        self.writes_after_fork = writes_after_fork
        self.fleet = fleet
        self.told = []
        self.left = []
        self.swept = 0
        self.tries = 0
        self.raises = None
        self.hangs = None

    def acknowledge(self, who, sequence, *, ago, again_in, forks=0):
        self.tries += 1
        if self.hangs is not None:
            self.hangs.wait(10)
        if self.raises is not None:
            raise self.raises
        self.told.append((who, sequence, ago, again_in, forks))
        return self.fleet

    def leave(self, who):
        self.left.append(who)

    def sweep(self):
        self.swept += 1


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(receipts, "FIRST", (0.0, 0.01))
    monkeypatch.setattr(receipts, "_GAP", 0.01)
    monkeypatch.setattr(receipts, "_LEAST_SPREAD", 0.001)


@pytest.fixture
def telling():
    """A function that makes what tells a register; all are closed at the end."""
    made = []

    def make(register, application="shop"):
        made.append(Receipts(register, application))
        return made[-1]

    yield make
    for one in made:
        one.close(2)


def until(holds, seconds=5.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


def sequences(register):
    return [sequence for _, sequence, *_ in register.told]


def test_a_client_tells_of_itself_and_then_of_each_kill(telling):
    register = Register()
    one = telling(register)
    one.obeyed(0)
    until(lambda: sequences(register) == [0])
    one.obeyed(17)
    until(lambda: sequences(register) == [0, 17])
    who, _, ago, again_in, forks = register.told[-1]
    assert (who.pid, who.application, forks) == (os.getpid(), "shop", 0)
    assert 0 <= ago < 1
    assert again_in > receipts.BEAT
    assert len({told[0].id for told in register.told}) == 1
    assert register.swept == 1


def test_a_word_that_is_no_news_is_told_to_nobody(telling):
    register = Register()
    one = telling(register)
    one.obeyed(17)
    until(lambda: sequences(register) == [17])
    one.obeyed(17)
    one.obeyed(5)  # a store that was restored says less than is known
    time.sleep(0.1)
    assert sequences(register) == [17]


def test_kills_that_come_at_once_are_told_at_once(telling):
    register = Register()
    register.hangs = threading.Event()
    one = telling(register)
    one.obeyed(0)
    until(lambda: register.tries == 1)
    for sequence in range(1, 500):
        one.obeyed(sequence)
    register.hangs.set()
    until(lambda: sequences(register)[-1:] == [499])
    assert len(register.told) <= 3


def test_how_long_ago_it_was_obeyed_counts_from_then_and_not_from_the_telling(telling):
    register = Register()
    register.hangs = threading.Event()
    one = telling(register)
    one.obeyed(0)
    until(lambda: register.tries == 1)
    one.obeyed(17)
    time.sleep(0.2)
    register.hangs.set()
    until(lambda: 17 in sequences(register))
    assert register.told[-1][2] >= 0.2


def test_who_obeys_waits_for_nothing(telling):
    register = Register()
    register.hangs = threading.Event()
    one = telling(register)
    begun = time.monotonic()
    for sequence in range(1000):
        one.obeyed(sequence)
    assert time.monotonic() - begun < 0.5
    register.hangs.set()


def test_without_a_register_nothing_runs(telling):
    one = telling(None)
    one.obeyed(3)
    assert not [each for each in threading.enumerate() if each.name == "downhaul-receipts"]


@pytest.mark.parametrize("error", [NoRight("permission denied"), SchemaMissing("too old")])
def test_a_right_or_table_that_is_missing_is_warned_about_once(telling, caplog, error):
    caplog.set_level(logging.WARNING)
    register = Register()
    register.raises = error
    one = telling(register)
    one.obeyed(0)
    until(lambda: register.tries == 1)
    for sequence in range(1, 20):
        one.obeyed(sequence)
        time.sleep(0.005)
    # A kill is no reason to ask again for a right. Tables may have come meanwhile.
    assert (register.tries == 1) is isinstance(error, NoRight)
    assert len([each for each in caplog.records if "can't tell" in each.message]) == 1


def test_a_store_that_is_away_is_tried_again_and_nobody_is_warned(telling, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(receipts, "_LONGEST", 0.02)
    register = Register()
    register.raises = Unreachable("away")
    one = telling(register)
    one.obeyed(17)
    until(lambda: register.tries >= 3)
    register.raises = None
    until(lambda: sequences(register) == [17])
    assert not caplog.records


@pytest.mark.parametrize("error", [RuntimeError("a defect"), ValueError("another")])
def test_whatever_a_register_does_the_thread_goes_on(telling, monkeypatch, error):
    monkeypatch.setattr(receipts, "_LONGEST", 0.02)
    register = Register()
    register.raises = error
    one = telling(register)
    one.obeyed(17)
    until(lambda: register.tries >= 2)
    register.raises = None
    until(lambda: sequences(register) == [17])


def test_a_client_that_ends_leaves(telling):
    register = Register()
    one = telling(register)
    one.obeyed(0)
    until(lambda: register.told)
    one.close(2)
    assert [each.id for each in register.left] == [register.told[0][0].id]
    one.obeyed(5)
    assert sequences(register) == [0]


def test_a_client_that_never_told_of_itself_leaves_nothing(telling):
    register = Register()
    register.raises = Unreachable("away")
    one = telling(register)
    one.obeyed(0)
    until(lambda: register.tries)
    one.close(2)
    assert register.left == []


def test_closing_keeps_its_time_whatever_the_register_does(telling):
    register = Register()
    register.hangs = threading.Event()
    one = telling(register)
    one.obeyed(0)
    until(lambda: register.tries)
    begun = time.monotonic()
    one.close(0.1)
    assert time.monotonic() - begun < 1
    register.hangs.set()


def test_it_says_again_that_it_is_there(telling, monkeypatch):
    monkeypatch.setattr(receipts, "BEAT", 0.02)
    register = Register()
    telling(register).obeyed(0)
    until(lambda: len(register.told) >= 3)
    assert register.swept == 1


def test_the_larger_the_fleet_the_longer_it_takes_its_time(telling, monkeypatch):
    lots = []

    def uniform(low, high):
        lots.append(high)
        return low

    monkeypatch.setattr(receipts.random, "uniform", uniform)
    register = Register(fleet=2000)
    one = telling(register)
    one.obeyed(0)
    until(lambda: register.told)
    one.obeyed(1)
    until(lambda: len(register.told) == 2)
    assert max(lots) == pytest.approx(10)  # seconds over which two thousand write
    assert register.told[-1][3] > 2000 * 0.05  # and hearts beat no faster than twenty a second


@pytest.mark.rule("P3")
def test_a_forked_child_tells_as_somebody_else(telling):
    register = Register()
    one = telling(register)
    one.obeyed(17)
    until(lambda: register.told)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  (the other process)
        code = 1
        try:
            register.told.clear()
            one.after_fork()
            until(lambda: register.told)
            who, sequence, *_ = register.told[0]
            os.write(write, f"{who.id} {who.process} {who.pid} {sequence}".encode())
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    parent = register.told[0][0]
    identity, process, pid, sequence = os.read(read, 400).decode().split()
    os.close(read)
    os.close(write)
    assert (int(pid), int(sequence)) == (child, 17)
    assert identity != parent.id
    assert process != parent.process


@pytest.mark.rule("P3")
def test_where_a_child_may_not_write_it_is_silent_and_its_parent_says_so(telling, monkeypatch):
    monkeypatch.setattr(receipts, "BEAT", 0.02)
    register = Register(writes_after_fork=False)
    one = telling(register)
    one.obeyed(17)
    until(lambda: register.told)
    child = os.fork()
    if child == 0:  # pragma: no cover  (the other process)
        code = 1
        try:
            register.tries = 0
            one.after_fork()
            time.sleep(0.1)
            code = 0 if register.tries == 0 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    until(lambda: register.told[-1][4] == 1)


@pytest.mark.parametrize(
    "argv, name",
    [
        (["/usr/bin/gunicorn"], "gunicorn"),
        (["worker.py"], "worker.py"),
        (["/site/uvicorn/__main__.py"], "uvicorn"),
    ],
)
def test_a_process_without_a_name_is_called_by_its_program(monkeypatch, argv, name):
    monkeypatch.setattr(sys, "argv", argv)
    assert receipts._program() == name
