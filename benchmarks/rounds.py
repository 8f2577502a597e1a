"""Rounds of all contestants, interleaved, and what to make of them.

Whatever slows the machine down for a while slows a round of everybody, not all rounds of one.
Processes are made anew for each heat: how a process happens to lie in memory moves its figures by
some percent, all its life long, and the best of several is told apart from that.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
POSTGRES = "DOWNHAUL_BENCHMARK_POSTGRES"
"""The variable that tells the peers where a PostgreSQL is."""

_LIMIT = 180.0  # seconds for any one answer


@dataclass(frozen=True, slots=True)
class Entry:
    """Who takes part: a name, and the module beside this one (peers: in ``peers``)."""

    name: str
    module: str
    peer: bool = False


OURS = (
    Entry("floor", "floor"),
    Entry("downhaul", "ours"),
    Entry("downhaul, one flag", "ours_alone"),
    Entry("downhaul, a million", "ours_batch"),
)
PEERS = (
    Entry("eppo-server-sdk", "peers.eppo", peer=True),
    Entry("openfeature-sdk, in memory", "peers.openfeature", peer=True),
    Entry("launchdarkly-server-sdk", "peers.launchdarkly", peer=True),
    Entry("UnleashClient", "peers.unleash", peer=True),
    Entry("splitio-client", "peers.split", peer=True),
    Entry("a SELECT per check, SQLite", "peers.select_sqlite", peer=True),
    Entry("a SELECT per check, PostgreSQL", "peers.select_postgres", peer=True),
)


class Unmeasured(Exception):
    """A contestant that can't take part, and why."""


@dataclass(slots=True)
class Series:
    """What one measure took, round by round, in microseconds per evaluation."""

    calls: int
    rounds: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The least."""
        return min(self.rounds)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.rounds)

    def as_data(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return {
            "best_us": round(self.best, 4),
            "median_us": round(self.median, 4),
            "rounds": len(self.rounds),
            "calls": self.calls,
        }


@dataclass(slots=True)
class Standing:
    """What is known of one contestant after the run."""

    entry: Entry
    version: str = ""
    ready: float = 0.0
    told: dict[str, Any] = field(default_factory=dict)
    decided: dict[str, Any] = field(default_factory=dict)
    absent: str = ""
    series: dict[str, Series] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """Return what is kept of it."""
        if self.absent:
            return {"absent": self.absent}
        return {
            "version": self.version,
            "prepared_in_s": round(self.ready, 3),
            **self.told,
            "decided": self.decided,
            "measures": {name: one.as_data() for name, one in self.series.items()},
        }


class Process:
    """One contestant's process. Raises Unmeasured where it can't take part."""

    def __init__(self, entry: Entry, environment: Mapping[str, str]) -> None:
        self.entry = entry
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "contestant.py"), entry.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **environment},
            text=True,
        )
        try:
            self.ready = self._hear()
        except Unmeasured:
            self.close()
            raise
        if "absent" in self.ready:
            self.close()
            raise Unmeasured(self.ready["absent"])

    def ask(self, **words: Any) -> dict[str, Any]:
        """Tell it to do something, and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def seconds(self, measure: str, passes: int) -> float:
        """Run a round."""
        return float(self.ask(measure=measure, passes=passes)["seconds"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        timer = threading.Timer(_LIMIT, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            self._log.seek(0)
            last = self._log.read().strip().splitlines()[-1:] or ["it said nothing"]
            raise Unmeasured(f"its process ended: {last[0]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure: ``heats`` sets of processes, ``rounds`` in each, of ``seconds``.

    The slow, of whom one pass takes more than four rounds' time, take part in every
    ``slow_every``th round only.
    """

    heats: int
    rounds: int
    seconds: float
    slow_every: int


FULL = Plan(heats=4, rounds=12, seconds=0.02, slow_every=4)
QUICK = Plan(heats=1, rounds=3, seconds=0.005, slow_every=3)


def run(
    entries: Sequence[Entry],
    plan: Plan,
    environment: Mapping[str, str],
    progress: Callable[[str], None],
) -> dict[str, Standing]:
    """Measure all entries, and return what is known of each by name."""
    standings = {entry.name: Standing(entry) for entry in entries}
    for heat in range(plan.heats):
        progress(f"heat {heat + 1} of {plan.heats}: starting")
        taking_part = [standings[one.name] for one in entries if not standings[one.name].absent]
        with _processes(taking_part, environment) as processes:
            lanes = [
                lane for name, one in processes.items() for lane in _lanes(one, standings[name])
            ]
            for lane in lanes:
                lane.warm_up(plan.seconds)
            for number in range(plan.rounds):
                progress(f"heat {heat + 1} of {plan.heats}: round {number + 1} of {plan.rounds}")
                for lane in lanes:
                    if not lane.slow or number % plan.slow_every == 0:
                        lane.round()
    return standings


@contextmanager
def _processes(
    standings: Sequence[Standing], environment: Mapping[str, str]
) -> Iterator[dict[str, Process]]:
    processes: dict[str, Process] = {}
    try:
        for standing in standings:
            try:
                process = Process(standing.entry, environment)
            except Unmeasured as error:
                standing.absent = str(error)
                continue
            processes[standing.entry.name] = process
            standing.version = process.ready["version"]
            standing.ready = process.ready["ready"]
            standing.told = process.ready["told"]
            standing.decided = process.ask(decisions=True)
        yield processes
    finally:
        for process in processes.values():
            process.close()


class _Lane:
    """One measure of one process."""

    def __init__(self, process: Process, measure: str, series: Series) -> None:
        self._process = process
        self._measure = measure
        self._series = series
        self._passes = 1
        self.slow = False

    def warm_up(self, seconds: float) -> None:
        """Run it twice, and find out how many passes make a round of ``seconds``."""
        took = min(self._process.seconds(self._measure, 1) for _ in range(2))
        self._passes = max(1, math.ceil(seconds / took))
        self.slow = took > 4 * seconds

    def round(self) -> None:
        """Run a round, and note what an evaluation took."""
        seconds = self._process.seconds(self._measure, self._passes)
        self._series.rounds.append(seconds / self._passes / self._series.calls * 1e6)


def _lanes(process: Process, standing: Standing) -> Iterator[_Lane]:
    for measure, calls in process.ready["measures"].items():
        series = standing.series.setdefault(measure, Series(calls))
        yield _Lane(process, measure, series)
