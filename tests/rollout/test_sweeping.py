"""A controller deletes what the request log has kept long enough, and nothing else waits for it."""

import threading
import uuid

import pytest

from downhaul.config import resolve
from downhaul.control.service import connect_operator
from downhaul.errors import Unreachable
from downhaul.rollout import controller as module
from downhaul.rollout.service import controller_for
from downhaul.store import requests, schema
from downhaul.store.requests import RequestRow

DAY = 86_400 * 1_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
def operator(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'flags.db'}"
    else:
        url = request.getfixturevalue("fresh_postgres")
    with connect_operator(resolve(url, cache_dir=None, environ={}), "ana", alerts=()) as operator:
        schema.upgrade(operator.provider.database)
        yield operator


def log_rows(operator, many, *, days_ago):
    database, log = operator.provider.database, operator.control.requests
    log.write(
        [
            RequestRow(uuid.uuid4().hex, "agent", "on", "split", True, False, 10.0)
            for _ in range(many)
        ]
    )
    table = database.tables.requests
    newest = table.c.logged_at > log.now() - DAY
    with database.writing() as connection:
        aged = table.update().where(newest).values(logged_at=log.now() - days_ago * DAY)
        connection.execute(aged)


def kept(operator):
    table = operator.provider.database.tables.requests
    with operator.provider.database.reading() as connection:
        return len(connection.execute(table.select()).all())


@pytest.mark.rule("R10")
def test_a_controller_deletes_requests_older_than_two_weeks_and_keeps_the_others(operator):
    log_rows(operator, 7, days_ago=15)
    log_rows(operator, 5, days_ago=13)
    controller = controller_for(operator)
    controller.run_once()
    assert kept(operator) == 5
    assert controller.counters()["requests_deleted"] == 7


def test_pieces_follow_each_other_until_one_is_not_full_and_then_it_rests(operator, monkeypatch):
    monkeypatch.setattr(module, "_PIECE", 10)
    log_rows(operator, 25, days_ago=20)
    controller = controller_for(operator)
    left = []
    for _ in range(4):
        controller.run_once()
        left.append(kept(operator))
    assert left == [15, 5, 0, 0]
    log_rows(operator, 3, days_ago=20)
    controller.run_once()
    assert kept(operator) == 3  # not before the next look


def test_a_running_controller_sweeps_beside_its_announcements(operator):
    log_rows(operator, 4, days_ago=20)
    controller, stop = controller_for(operator, tick=0.02), threading.Event()
    thread = threading.Thread(target=controller.run, args=(stop,))
    thread.start()
    wait = threading.Event()
    for _ in range(1000):
        if kept(operator) == 0:
            break
        wait.wait(0.01)
    stop.set()
    thread.join(10)
    assert (kept(operator), thread.is_alive()) == (0, False)


def test_a_log_that_refuses_is_told_once_a_while_and_stops_nothing(operator, monkeypatch, caplog):
    def refuse(self, at, *, limit):
        raise Unreachable("permission denied for table requests")

    monkeypatch.setattr(requests.RequestLog, "delete_before", refuse)
    controller = controller_for(operator)
    assert [controller.run_once().unreachable for _ in range(3)] == [False] * 3
    assert controller.counters()["sweeps_failed"] == 1
    assert caplog.text.count("old requests could not be deleted: permission denied") == 1
