"""Alerts reach their sinks, and never hold up who sends them (rule K6)."""

import logging
import os
import threading
import time
import warnings

import pytest

from downhaul.control.alerts import AlertEvent, LogAlert, MemoryAlert, named
from downhaul.control.dispatcher import Dispatcher

EVENT = AlertEvent("killed", "agent", "ana", "errors", "default", "2026-01-01T00:00:00Z")


class Hanging:
    def __init__(self):
        self.release = threading.Event()
        self.entered = threading.Event()

    def send(self, event):
        self.entered.set()
        self.release.wait(30)


class Broken:
    def send(self, event):
        raise RuntimeError("no network")


class Sink:
    def __init__(self):
        self.events = []

    def send(self, event):
        self.events.append(event)


@pytest.mark.rule("K6")
def test_a_sink_that_hangs_delays_nobody():
    hanging = Hanging()
    dispatcher = Dispatcher([hanging], capacity=2)
    started = time.perf_counter()
    dispatcher.send(EVENT)
    assert hanging.entered.wait(10)
    for _ in range(100):
        dispatcher.send(EVENT)
    assert time.perf_counter() - started < 5
    assert dispatcher.dropped == 98
    assert not dispatcher.flush(0.01)
    hanging.release.set()
    assert dispatcher.flush(10)


@pytest.mark.rule("K6")
def test_a_sink_that_breaks_is_logged_and_the_others_are_served(caplog):
    sink = Sink()
    dispatcher = Dispatcher([Broken(), sink])
    with caplog.at_level(logging.ERROR, "downhaul.alerts"):
        dispatcher.send(EVENT)
        assert dispatcher.flush(10)
    assert sink.events == [EVENT]
    assert "Broken failed for agent" in caplog.text


def test_a_kill_is_logged_as_a_warning(caplog):
    with caplog.at_level(logging.INFO, "downhaul.alerts"):
        LogAlert().send(EVENT)
    assert caplog.records[0].levelno == logging.WARNING
    assert caplog.messages == ['killed agent in default by ana: "errors"']


def test_without_sinks_nothing_is_started():
    before = threading.active_count()
    dispatcher = Dispatcher([])
    dispatcher.send(EVENT)
    assert dispatcher.flush(0)
    assert threading.active_count() == before


@pytest.mark.rule("K6")
def test_a_sink_that_hangs_holds_up_no_other():
    hanging, sink = Hanging(), MemoryAlert()
    dispatcher = Dispatcher([hanging, sink])
    dispatcher.send(EVENT)
    assert sink.wait_for("killed") == EVENT
    assert hanging.entered.wait(10)
    until = time.monotonic() + 10
    while len(untold := dispatcher.untold()) > 1 and time.monotonic() < until:
        time.sleep(0.005)  # the other one has it in hand, and is about to say that it took it
    assert [str(one) for one in untold] == [
        'alert "Hanging" is not told of "killed agent" yet (no answer yet); nobody tries again'
    ]
    hanging.release.set()
    assert dispatcher.flush(10)
    assert dispatcher.untold() == []


def senders():
    return [one for one in threading.enumerate() if one.name.startswith("downhaul-alerts-apart")]


def test_no_thread_is_left_where_nothing_is_to_be_told():
    sink = MemoryAlert("apart")
    dispatcher = Dispatcher([sink])
    for number in range(1, 4):  # and each event that comes later is told all the same
        dispatcher.send(EVENT)
        assert dispatcher.flush(10)
        assert len(sink.events) == number
        until = time.monotonic() + 10
        while senders() and time.monotonic() < until:
            time.sleep(0.005)
        assert senders() == []


@pytest.mark.rule("K6")
def test_an_event_that_comes_as_the_thread_goes_is_told():
    sink = MemoryAlert("apart")
    dispatcher = Dispatcher([sink])
    for _ in range(2000):
        dispatcher.send(EVENT)
        assert dispatcher.flush(10)
    assert len(sink.events) == 2000


@pytest.mark.rule("K6")
def test_a_verb_does_not_fail_where_no_thread_is_to_be_had(monkeypatch, caplog):
    sink = MemoryAlert("apart")
    dispatcher = Dispatcher([sink])

    def no_more(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", no_more)
        dispatcher.send(EVENT)
    assert [one.event for one in dispatcher.untold()] == [EVENT]
    assert "alert apart can't be told now" in caplog.text
    dispatcher.send(EVENT)  # the next one takes along what waits
    assert dispatcher.flush(10)
    assert len(sink.events) == 2


def test_a_forked_child_tells_people_too():
    sink = MemoryAlert()
    dispatcher = Dispatcher([sink])
    dispatcher.send(EVENT)
    assert dispatcher.flush(10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = os.fork()
    if child == 0:  # no assertion may leave the child
        dispatcher.send(EVENT)
        told = dispatcher.flush(20) and len(sink.events) == 2
        os._exit(0 if told else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(sink.events) == 1


def test_sinks_of_one_name_are_told_apart():
    sinks = [Sink(), Sink(), MemoryAlert("chat"), Sink()]
    assert list(named(sinks)) == ["Sink", "Sink-2", "chat", "Sink-3"]


def test_a_double_remembers_fails_as_told_and_waits():
    double = MemoryAlert(fails=[OSError("away")])
    with pytest.raises(OSError, match="away"):
        double.send(EVENT)
    with pytest.raises(TimeoutError, match='not told of "killed" within'):
        double.wait_for("killed", 0.01)
    threading.Timer(0.02, double.send, (EVENT,)).start()
    assert double.wait_for("killed") == EVENT
    assert double.told == ["killed agent"]
    double.clear()
    assert double.events == ()
