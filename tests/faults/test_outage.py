"""The database goes away under load: evaluation never notices, status tells, and it comes back."""

import os
import signal
import threading
import time
from typing import Self

import pytest

from downhaul import Flag, Flags
from downhaul.provider import State

from .conftest import WHO, open_store, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.postgres]
SECONDS_AWAY = float(os.environ.get("DOWNHAUL_OUTAGE_SECONDS", "5"))


class Load:
    """Threads that evaluate all the time, and what they saw."""

    def __init__(self, flags: Flags) -> None:
        self.flags = flags
        self.stop = threading.Event()
        self.count = 0
        self.failed = 0
        self.slowest = 0.0
        self.threads = [threading.Thread(target=self.run) for _ in range(4)]

    def run(self) -> None:
        while not self.stop.is_set():
            begun = time.thread_time()
            result = self.flags.evaluate("feature", "user-1", False)
            # The thread's own time: what the machine gives to others is not the evaluation's.
            self.slowest = max(self.slowest, time.thread_time() - begun)
            self.failed += not (result.authoritative and result.value is True)
            self.count += 1
            if self.count % 100 == 0:
                time.sleep(0.001)

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.rule("P2", "E1")
@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_server_that_stops_makes_stale_and_nothing_slow(
    own_postgres, tmp_path, how, record_property
):
    writer = open_store(own_postgres.url)
    writer.put(Flag.boolean("feature"), WHO)
    with Flags.connect(own_postgres.url, cache_dir=str(tmp_path), ready_within=10) as flags:
        with Load(flags) as load:
            own_postgres.stop(how)
            stale = wait_until(lambda: flags.status().state is State.STALE, 5, "STALE")
            time.sleep(SECONDS_AWAY)
            assert flags.status().age >= SECONDS_AWAY - 0.5
            own_postgres.start()
            back = wait_until(lambda: flags.status().state is State.READY, 15, "READY again")
            writer.put(Flag.boolean("feature", tags=("new",)), WHO)
            wait_until(
                lambda: flags.evaluate("feature", "u").flag_version == "2", 15, "the change since"
            )
        record_property("evaluations", load.count)
        record_property("slowest_ms", round(load.slowest * 1e3, 3))
        record_property("stale_after_s", round(stale, 2))
        record_property("ready_after_s", round(back, 2))
        assert load.failed == 0
        assert load.count > 1000
        assert load.slowest < 0.05
    writer.close()


@pytest.mark.rule("P2")
def test_a_server_that_is_frozen_makes_stale_and_is_followed_again(own_postgres, tmp_path):
    writer = open_store(own_postgres.url)
    writer.put(Flag.boolean("feature"), WHO)
    pids = _processes(writer)
    with Flags.connect(own_postgres.url, cache_dir=str(tmp_path), ready_within=10) as flags:
        pids |= _processes(writer)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: flags.status().state is State.STALE, 12, "STALE while frozen")
            assert flags.is_enabled("feature", "u")
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        wait_until(lambda: flags.status().state is State.READY, 15, "READY again")
        writer.put(Flag.boolean("feature", on=False), WHO)
        wait_until(lambda: not flags.is_enabled("feature", "u"), 10, "the change since")
    writer.close()


def _processes(writer) -> set[int]:
    with writer.database.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
        )
        return {row[0] for row in rows}


@pytest.mark.rule("P2")
def test_without_listen_changes_come_by_polling_and_listening_begins_again(
    fresh_postgres, tmp_path
):
    writer = open_store(fresh_postgres)
    writer.put(Flag.boolean("feature"), WHO)
    with Flags.connect(fresh_postgres, cache_dir=str(tmp_path), ready_within=10) as flags:
        with writer.database.reading() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        writer.put(Flag.boolean("feature", on=False), WHO)
        wait_until(lambda: not flags.is_enabled("feature", "u"), 5, "the change, by polling")
        wait_until(lambda: flags.status().state is State.READY, 5, "READY again")
    writer.close()


@pytest.mark.rule("P1", "P2")
def test_a_start_without_the_database_serves_the_last_known_copy(own_postgres, tmp_path):
    writer = open_store(own_postgres.url)
    writer.put(Flag.boolean("feature"), WHO)
    with Flags.connect(own_postgres.url, cache_dir=str(tmp_path), ready_within=10) as flags:
        assert flags.is_enabled("feature", "u")
    writer.close()
    own_postgres.stop()
    begun = time.monotonic()
    with Flags.connect(own_postgres.url, cache_dir=str(tmp_path), ready_within=1) as flags:
        assert time.monotonic() - begun < 2.5
        assert flags.status().state is State.STALE
        assert flags.status().age is not None
        assert flags.is_enabled("feature", "u")
    own_postgres.start()
