"""Rollouts on a real store whose clock a test moves: nothing waits for a bake or a lease.

The clock is a row of the database, so that it is the same for every process that uses the store.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

from sqlalchemy import Engine

from downhaul import Flag
from downhaul.analysis.model import Check, Counts, Measure, Sample
from downhaul.analysis.requests_source import RequestsSource
from downhaul.backends.edits import weight_of_variant
from downhaul.config import resolve
from downhaul.control import Operator
from downhaul.plugins import build_provider
from downhaul.provider import Change, FlagProvider
from downhaul.rollout.controller import Controller
from downhaul.rollout.plan import Plan, Step
from downhaul.rollout.service import Rollouts
from downhaul.store import schema
from downhaul.store.control import SqlControl
from downhaul.store.database import Database
from downhaul.store.provider import SqlProvider
from downhaul.store.rollouts import EventRow

WHO = Change("tester", "to see it hold")
TICK = 5.0
BAKE = 10.0
LEASE = 15.0
_numbers = itertools.count(1)
_engines: dict[str, Engine] = {}


class Clock:
    """The time of a database, kept in a row of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        now = "(SELECT us FROM test_clock)"
        self._real = database.dialect.microseconds
        object.__setattr__(database, "dialect", replace(database.dialect, microseconds=now))

    def make(self) -> None:
        """Make the clock, at the time that it is."""
        with self._database.writing() as connection:
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS test_clock (us BIGINT NOT NULL)")
            connection.exec_driver_sql(
                f"INSERT INTO test_clock SELECT {self._real} "
                "WHERE NOT EXISTS (SELECT 1 FROM test_clock)"
            )

    def now(self) -> int:
        return int(self._database.scalar(self._database.dialect.microseconds))

    def advance(self, seconds: float) -> None:
        with self._database.writing() as connection:
            connection.exec_driver_sql(f"UPDATE test_clock SET us = us + {round(seconds * 1e6)}")


@dataclass
class Arm:
    """Requests a second of a variant, the share of them that fail, and how long they take."""

    rate: float = 50.0
    errors: float = 0.0
    latency_ms: float = 100.0


class Traffic:
    """A metric source that says what a test says; ``error`` is raised in place of an answer."""

    def __init__(self, clock: Clock) -> None:
        self.arms = {"on": Arm(), "off": Arm()}
        self.error: Exception | None = None
        self.windows: list = []
        self._clock = clock

    counts_users = True

    def probe(self, flag, thresholds, *, users=False):
        self._answer()

    def watermark(self) -> int:
        self._answer()
        return self._clock.now()

    def sample(self, flag, window, thresholds, *, preview=False, users_since=None) -> Sample:
        self._answer()
        self.windows.append(window)
        seconds = (window.until - window.since) / 1e6
        return Sample(window, {name: _counts(arm, seconds) for name, arm in self.arms.items()})

    def _answer(self) -> None:
        if self.error is not None:
            raise self.error


def _counts(arm: Arm, seconds: float) -> Counts:
    requests = round(arm.rate * seconds)
    errors = round(requests * arm.errors)
    return Counts(requests, errors, requests - errors, requests, requests * arm.latency_ms)


ERRORS = Check(Measure.ERROR_RATE, limit=0.05, min_sample=100)


def plan_for(flag: str, *percents: float, bake: float = BAKE, **fields) -> Plan:
    """Return a plan over the percentages; without guardrails unless they are given."""
    steps = tuple(Step(int(one * 1000), bake, 3 * bake) for one in percents or (10, 50, 100))
    if not fields.get("guardrails"):
        fields.setdefault("unguarded", "a test")
    return Plan(flag, fields.pop("variant", "on"), steps, interval=TICK, **fields)


class World:
    """One environment of a store, with a flag in it, and what moves it."""

    def __init__(
        self, provider: FlagProvider, control: SqlControl, environment: str, clock: Clock
    ) -> None:
        self.provider, self.control, self.clock = provider, control, clock
        self.store = control.rollouts
        self.operator = Operator(provider, control, actor="ana", environment=environment)
        self.rollouts = Rollouts(self.operator)
        self.traffic: Any = Traffic(clock)
        self.controller = self.another("first")

    @classmethod
    def at(cls, place: Any) -> Self:
        """Return the world of a place: where its ``flags`` and ``control`` are, an environment.

        Both are URLs; ``flags`` may be a vendor's, as a table ``[provider]`` says where that is.
        """
        store = provider_at(place.control, place.environment)
        provider: FlagProvider = store
        if isinstance(place.flags, dict):
            provider = vendor_at(place.flags, place.environment)
        elif not place.shared:
            provider = provider_at(place.flags, place.environment)
        return cls(provider, store.control, place.environment, Clock(store.database))

    def count_requests(self) -> None:
        """Measure by the request log, in place of what a test says."""
        self.traffic = RequestsSource(self.control.requests)

    def close(self) -> None:
        self.operator.close()
        self.control.close()
        self.provider.close()

    def another(self, owner: str | None = None, **options) -> Controller:
        return Controller(
            self.provider, self.control, lambda _: self.traffic, owner=owner, **options
        )

    def flag(self, key: str = "agent", *, percent: float = 0, **fields) -> Flag:
        return self.provider.put(Flag.boolean(key, percent=percent, **fields), WHO)

    def tick(self, seconds: float = TICK, controller: Controller | None = None):
        """Let time pass, then look once."""
        if seconds:
            self.clock.advance(seconds)
        return (controller or self.controller).tick()

    def go(
        self, holds: Callable[[], bool], most: int = 60, controller: Controller | None = None
    ) -> None:
        """Look again and again until it holds."""
        for _ in range(most):
            if holds():
                return
            report = self.tick(controller=controller)
            assert not report.errors, report
        assert holds(), [(one.action, one.reason) for one in self.rollouts.events("agent")]

    def go_to(self, phase: str, flag: str = "agent", **options) -> None:
        self.go(lambda: self.phase(flag) == phase, **options)

    def phase(self, flag: str = "agent") -> str:
        row = self.store.latest_of(flag)
        assert row is not None
        return row.phase

    def state(self, flag: str = "agent"):
        return self.rollouts.get(flag).state

    def kept(self, flag: str = "agent") -> Flag:
        found = self.provider.get(flag)
        assert found is not None
        return found

    def percent(self, flag: str = "agent", variant: str = "on") -> float:
        """What the variant gets of the default, or 0 for a flag that is off."""
        kept = self.kept(flag)
        return weight_of_variant(kept, variant) / 1000 if kept.on else 0.0

    def reopen(self, flag: str = "agent") -> None:
        """Ask for a revert that no controller has taken yet."""
        row = self.store.latest_of(flag)
        assert row is not None
        state = {**row.state, "phase": "reverting", "act": "exposed", "message": "worse"}
        self.store.reopen(
            row.id, row.revision, state, "reverting", EventRow("reverting", "ana", "worse")
        )

    def told(self, flag: str = "agent") -> list[str]:
        """What happened to the flag's rollout, in order."""
        return [one.action for one in self.rollouts.events(flag)]

    def exposures(self, flag: str = "agent", variant: str = "on") -> list[float]:
        """What the variant got after each write of the flag, the oldest first."""
        return exposures(self.provider, flag, variant)


def exposures(provider: FlagProvider, flag: str, variant: str = "on") -> list[float]:
    from downhaul.encoding import flag_from_data

    found = []
    for record in reversed(provider.history(flag, limit=500)):
        after = None if record.after is None else flag_from_data(record.after)
        on = after is not None and after.on
        found.append(weight_of_variant(after, variant) / 1000 if on else 0.0)
    return found


@contextlib.contextmanager
def store_at(url: str) -> Iterator[tuple[str, Clock]]:
    """Make a store with tables and a clock, and give its URL and the clock."""
    provider = provider_at(url)
    schema.upgrade(provider.database)
    clock = Clock(provider.database)
    clock.make()
    # Whoever closes the last connection to an SQLite file moves the whole log into it.
    with provider.database.reading():
        yield url, clock
    provider.close()


def provider_at(url: str, environment: str | None = None) -> SqlProvider:
    provider = build_provider(resolve(url, cache_dir=None, environ={}, environment=environment))
    assert isinstance(provider, SqlProvider)
    return provider


def vendor_at(settings: dict[str, Any], environment: str) -> FlagProvider:
    """Return the provider of a vendor by what a configuration says of it, for managing only."""
    wanted = {"environment": environment, "provider": settings}
    return build_provider(resolve(wanted, cache_dir=None, environ={}))


def a_world(url: str, provider: FlagProvider | None = None) -> World:
    """Return a world in an environment that nobody else uses.

    Its flags are in the store as well, or at another ``provider``.
    """
    environment = f"test-{next(_numbers)}"
    store = provider_at(url, environment)
    # Statements are compiled once for each engine, which takes longer than most tests.
    engine = _engines.setdefault(url, store.database.engine)
    object.__setattr__(store.database, "engine", engine)
    clock = Clock(store.database)
    return World(provider or store, store.control, environment, clock)
