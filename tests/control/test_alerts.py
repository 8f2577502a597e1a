"""Alerts reach their sinks, and never hold up who sends them (rule K6)."""

import logging
import threading
import time

import pytest

from downhaul.control.alerts import AlertEvent, LogAlert
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
