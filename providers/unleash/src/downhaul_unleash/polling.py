"""The thread and the memory that Unleash's SDK works with here.

The SDK takes a scheduler and a cache. Its own scheduler runs fetches in threads that a process
waits for at its end, and its own cache is a pickle on disk that all processes with one application
name share, whatever their environment or token. These live and die with one client.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from UnleashClient.cache import BaseCache
from UnleashClient.constants import FEATURES_URL

_NO_NEWS: Final = '{"events":[]}'
_IMPRESSIONS: Final = re.compile(r'"impressionData"\s*:\s*true')


class MemoryCache(BaseCache):
    """Holds the last payload. The SDK loads the engine from it after each fetch.

    Where nothing came since, it gives the SDK an empty list of changes: loading a thousand flags
    again takes 0.1 s, for which evaluations would wait (measured at 2.0 of the engine).
    """

    def __init__(self, payload: str | None = None) -> None:
        self._data: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.payload: str | None = None
        self._fresh = False
        if payload is not None:
            self.set(FEATURES_URL, payload)
            self.bootstrapped = True

    def set(self, key: str, value: Any) -> None:
        """Keep a value; of a payload, without its wish for an event at each evaluation."""
        with self._lock:
            if key == FEATURES_URL:
                value = _IMPRESSIONS.sub('"impressionData":false', value)
                self.payload, self._fresh = value, True
            self._data[key] = value

    def mset(self, data: Mapping[str, Any]) -> None:
        """Keep several values."""
        for key, value in data.items():
            self.set(key, value)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value; a payload once, and afterwards that nothing changed."""
        with self._lock:
            if key == FEATURES_URL and key in self._data:
                fresh, self._fresh = self._fresh, False
                return self._data[key] if fresh else _NO_NEWS
            return self._data.get(key, default)

    def exists(self, key: str) -> bool:
        """Return whether there is a value."""
        return key in self._data

    def destroy(self) -> None:
        """Do nothing: what is in memory goes with it."""


@dataclass(eq=False)
class _Job:
    run: Callable[..., Any]
    interval: float
    arguments: Mapping[str, Any]
    due: float
    jobs: list[_Job] = field(repr=False)

    def remove(self) -> None:
        if self in self.jobs:
            self.jobs.remove(self)


class Turns:
    """What the SDK takes for a scheduler: it runs its jobs in the thread that calls :meth:`run`."""

    def __init__(self) -> None:
        self._jobs: list[_Job] = []
        self._stopped = threading.Event()
        self.state = 0  # what the SDK looks at before it starts one that runs

    def add_job(
        self,
        func: Callable[..., Any],
        trigger: Any,
        executor: str,
        kwargs: Mapping[str, Any] | None = None,
    ) -> _Job:
        """Take a job that is due at each interval of the trigger."""
        interval = trigger.interval.total_seconds()
        job = _Job(func, interval, kwargs or {}, time.monotonic() + interval, self._jobs)
        self._jobs.append(job)
        return job

    def start(self) -> None:
        """Do nothing: the thread runs already."""

    def remove_all_jobs(self) -> None:
        """Forget all jobs."""
        self._jobs.clear()

    def shutdown(self, wait: bool = True) -> None:
        """Let :meth:`run` return after the job that it is at."""
        self._stopped.set()

    def run(self, after_each: Callable[[], None]) -> None:
        """Run jobs as they fall due, until the shutdown, and ``after_each`` after each of them."""
        while not self._stopped.is_set() and self._jobs:
            job = min(self._jobs, key=lambda one: one.due)
            if self._stopped.wait(max(0.0, job.due - time.monotonic())):
                return
            job.run(**job.arguments)
            job.due = time.monotonic() + job.interval
            after_each()
