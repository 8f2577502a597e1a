"""A rollout's machinery over any provider: its rows in a file of its own, its time in our hands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from downhaul.analysis.model import Check, Counts, Measure, Sample, Window
from downhaul.backends.sqlite import SqliteProvider
from downhaul.control import Operator
from downhaul.provider import FlagProvider
from downhaul.rollout.controller import Controller
from downhaul.rollout.plan import Plan, Step, Strategy
from downhaul.rollout.service import Rollouts
from downhaul.store import schema

_TICK: Final = 5.0
_BAKE: Final = 10.0
_LOOKS: Final = 60
_NOW: Final = "(SELECT us FROM contract_clock)"
_BEGIN: Final = (
    "INSERT INTO contract_clock VALUES (1767225600000000)"  # 2026 began, in microseconds
)
_ADVANCE: Final = "UPDATE contract_clock SET us = us + 5000000"  # a tick
ERRORS: Final = Check(Measure.ERROR_RATE, limit=0.05, min_sample=100)


class Machine:
    """A controller, an operator and what they read, over the provider under test.

    ``errors`` is the share of requests under the new variant that fail.
    """

    def __init__(self, provider: FlagProvider, store: SqliteProvider) -> None:
        self.provider = provider
        self.errors = 0.0
        self._store = store
        control: Any = store.control  # its identity is read from the store, and never set
        self._operator = Operator(provider, control, actor="contract")
        self.rollouts = Rollouts(self._operator)
        self._controller = Controller(provider, store.control, lambda _plan: self)

    def tick(self) -> None:
        """Let five seconds pass, then look once."""
        with self._store.database.writing() as connection:
            connection.exec_driver_sql(_ADVANCE)
        report = self._controller.tick()
        assert not report.errors, report

    def go(self, flag: str, holds: Callable[[], bool]) -> None:
        """Look again and again until it holds."""
        for _ in range(_LOOKS):
            if holds():
                return
            self.tick()
        assert holds(), [(one.action, one.reason) for one in self.rollouts.events(flag)]

    def phase(self, flag: str) -> str:
        """Return the phase of the flag's rollout."""
        return self.rollouts.get(flag).phase.value

    # A metric source (downhaul.analysis)

    counts_users: Final = False

    def probe(
        self, flag: str, thresholds: tuple[float, ...], *, users: bool = False
    ) -> tuple[str, ...]:
        """Be there."""
        return ()

    def watermark(self) -> int:
        """Return the time until which everything is known."""
        return int(self._store.database.scalar(_NOW))

    def sample(
        self,
        flag: str,
        window: Window,
        thresholds: tuple[float, ...],
        *,
        preview: bool = False,
        users_since: int | None = None,
    ) -> Sample:
        """Return fifty requests a second for each variant."""
        requests = round(50 * (window.until - window.since) / 1e6)
        return Sample(window, {"on": _counts(requests, self.errors), "off": _counts(requests, 0.0)})


def plan_for(flag: str, *percents: float, guarded: bool = False) -> Plan:
    """Return a plan over the percentages."""
    steps = tuple(Step(round(percent * 1_000), _BAKE, 3 * _BAKE) for percent in percents)
    if guarded:
        return Plan(flag, "on", steps, guardrails=(ERRORS,), interval=_TICK)
    return Plan(flag, "on", steps, unguarded="nothing is served here", interval=_TICK)


def named_first(
    plan: Plan,
    strategy: Strategy,
    *rings: tuple[str, ...],
    segments: tuple[str, ...] = (),
) -> Plan:
    """Return the plan with steps for named users before its own.

    Each of the ``rings`` are targeting keys; the ``segments`` are one more step, the last of them.
    """
    step = Step(0, _BAKE, 3 * _BAKE, preview=True)
    steps = [replace(step, targets=keys) for keys in rings]
    if segments:
        steps.append(replace(step, segments=segments))
    return replace(plan, strategy=strategy, steps=(*steps, *plan.steps))


@contextmanager
def machine_over(provider: FlagProvider) -> Iterator[Machine]:
    """Give a machine over a provider, whose rollouts are kept in a file that goes at the end."""
    with TemporaryDirectory(prefix="downhaul-contract-") as folder:
        path = Path(folder) / "control.db"
        path.write_bytes(_empty_store())
        store = SqliteProvider(path)
        dialect = replace(store.database.dialect, microseconds=_NOW)
        object.__setattr__(store.database, "dialect", dialect)
        try:
            yield Machine(provider, store)
        finally:
            store.control.close()
            store.close()


@cache
def _empty_store() -> bytes:
    """Return a store with tables and a clock: to make one takes longer than a rollout."""
    with TemporaryDirectory(prefix="downhaul-contract-") as folder:
        path = Path(folder) / "control.db"
        store = SqliteProvider(path)
        schema.upgrade(store.database)
        with store.database.writing() as connection:
            connection.exec_driver_sql("CREATE TABLE contract_clock (us BIGINT NOT NULL)")
            connection.exec_driver_sql(_BEGIN)
            connection.exec_driver_sql(_ADVANCE)
        store.close()
        return path.read_bytes()


def _counts(requests: int, share: float) -> Counts:
    errors = round(requests * share)
    return Counts(requests, errors, requests - errors, requests, requests * 100.0)
