"""How long a change, and a kill, takes from one process to the decisions of another.

A change counts from its commit being sent to the database to the first changed decision in the
other process. A kill counts from the operator's call, so that reading, writing and the disk are in.
"""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from rounds import HERE
from sqlalchemy import Connection, event
from stores import PROBE, provider_at

from downhaul import Change
from downhaul.control import Operator
from downhaul.overlay import Scope
from downhaul.store.provider import SqlProvider

_LIMIT = 30.0  # seconds for any one change to arrive
_LOST = 12  # changes to see without notifications: each waits for a poll


class Follower:
    """Another process that follows the store."""

    def __init__(self, way: str, url: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "follower.py"), way, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )

    def __enter__(self) -> Self:
        self.changed()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def changed(self) -> tuple[int, bool]:
        """Return when its decision changed next, in nanoseconds, and to what."""
        assert self._process.stdout is not None
        timer = threading.Timer(_LIMIT, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            message = f"a following process saw no change within {_LIMIT:g} s"
            raise RuntimeError(message)
        at, decision = line.split()
        return int(at), decision == b"1"


class _Commits:
    """Knows when a store's engine last sent a COMMIT."""

    def __init__(self, provider: SqlProvider) -> None:
        self.at = 0
        engine = provider.database.engine
        event.listen(engine, "commit", self._committing)
        event.listen(engine, "before_cursor_execute", self._executing)

    def _committing(self, _connection: Connection) -> None:
        self.at = time.monotonic_ns()

    def _executing(self, _connection: Connection, _cursor: object, said: str, *_: object) -> None:
        if said == "COMMIT":
            self.at = time.monotonic_ns()


def run(
    url: str,
    changes: int,
    environment: Mapping[str, str],
    progress: Callable[[str], None],
    *,
    pause: float,
) -> dict[str, Any]:
    """Return percentiles in milliseconds, for an idle and a busy process. ``changes`` is even.

    ``pause`` is the longest of the random pauses between changes, in seconds: as long as a poll, so
    that every moment of it is met.
    """
    provider = provider_at(url)
    found: dict[str, Any] = {"changes": changes}
    with Operator(provider, provider.control, actor="benchmark", owns=True) as operator:
        provider.switch_on(PROBE, Change("benchmark"))
        for way in ("idle", "busy"):
            with Follower(way, url, environment) as follower:
                progress(f"{provider.name}: {changes} changes, {way} process")
                taken = _changes(provider, follower, changes, pause)
                found[f"change, {way}"] = percentiles(taken)
                progress(f"{provider.name}: {changes} kills, {way} process")
                taken, calls = _kills(operator, follower, changes, pause)
                found[f"kill, {way}"] = percentiles(taken)
                found[f"kill, {way}: the operator's call"] = percentiles(calls)
    return found


def run_unheard(
    url: str, environment: Mapping[str, str], progress: Callable[[str], None]
) -> dict[str, Any]:
    """Return percentiles as above for changes that are committed without a word to listeners.

    The writer finds a ``pg_notify`` of its own before PostgreSQL's, which does nothing: what a
    listener sees whose LISTEN was lost behind a pooler.
    """
    provider = provider_at(url)
    with provider.database.writing() as connection:
        connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS mute")
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION mute.pg_notify(text, text) RETURNS void "
            "LANGUAGE sql AS 'SELECT'"
        )
    provider.close()
    joint = "&" if "?" in url else "?"
    muted = provider_at(f"{url}{joint}options=-csearch_path%3Dmute,pg_catalog")
    muted.switch_on(PROBE, Change("benchmark"))
    with Follower("idle", url, environment) as follower:
        progress(f"{muted.name}: {_LOST} changes that nobody hears of")
        taken = _changes(muted, follower, _LOST, 2.0)
    muted.close()
    return {"changes": _LOST, "change, idle": percentiles(taken)}


def _changes(provider: SqlProvider, follower: Follower, count: int, pause: float) -> list[float]:
    commits, change = _Commits(provider), Change("benchmark")
    taken = []
    for number in range(count):
        time.sleep(random.uniform(0, pause))
        on = bool(number % 2)
        (provider.switch_on if on else provider.switch_off)(PROBE, change)
        taken.append(_milliseconds(follower, commits.at, on))
    return taken


def _kills(
    operator: Operator, follower: Follower, count: int, pause: float
) -> tuple[list[float], list[float]]:
    """Return how long decisions took to follow, and how long the operator's calls took whole."""
    control, scope = operator.control, Scope.parse(PROBE)
    assert control is not None
    taken, calls = [], []
    for number in range(count):
        time.sleep(random.uniform(0, pause))
        started = time.monotonic_ns()
        operator.kill(PROBE, f"kill {number}")
        calls.append((time.monotonic_ns() - started) / 1e6)
        taken.append(_milliseconds(follower, started, expected=False))
        control.record_kill(scope, Change("benchmark"), killed=False)  # a revive looks at all flags
        follower.changed()
    return taken, calls


def _milliseconds(follower: Follower, since: int, expected: bool) -> float:
    at, decision = follower.changed()
    if decision is not expected:
        message = f"a following process decided {decision} after a change to {expected}"
        raise RuntimeError(message)
    return (at - since) / 1e6


def percentiles(taken: Sequence[float]) -> dict[str, float]:
    """Return p50, p99 and the most."""
    ordered = sorted(taken)

    def at(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 2)

    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0)}
