"""A second backend that is asked too, to see whether it agrees; the first alone answers.

Nobody waits for the second one: a share of the answers is compared with its own in a thread, from a
bounded queue.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Unpack

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from downhaul.config import Settings
from downhaul.config.beside import BackendTable
from downhaul.context import Context
from downhaul.flag import FlagKind
from downhaul.provider import FlagProvider, Listener, ProviderStatus, State
from downhaul.result import Result
from downhaul.staging import Side
from downhaul.wrappers.beside import Closing, around_both, told
from downhaul.wrappers.comparing import CAPACITY, Compared, Comparing, Options
from downhaul.wrappers.comparisons import Expectation, Report
from downhaul.wrappers.pair import Pair
from downhaul.wrappers.tallying import tally_for
from downhaul.wrappers.wrapper import stack_of


class ExpectedTable(BaseModel):
    """One of ``expected``: flags that differ, by a pattern, why, and the last day of that."""

    model_config = ConfigDict(extra="forbid")

    flag: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    until: dt.date


class ComparingSettings(BaseModel):
    """What tables of wrappers that compare have in common.

    ``to`` is the second backend: a URL, or a table with ``url`` and whatever else that provider
    takes. ``sample`` is the share of evaluations that is compared, ``queue`` how many may wait.
    """

    model_config = ConfigDict(extra="forbid")

    to: BackendTable
    sample: float = Field(default=0.1, ge=0, le=1)
    queue: PositiveInt = CAPACITY
    expected: tuple[ExpectedTable, ...] = ()


class ShadowSettings(ComparingSettings):
    """``[provider.shadow]``."""


class Compares(Pair):
    """A pair whose sides are compared, as ``comparing`` says."""

    def __init__(
        self, inner: FlagProvider, second: FlagProvider, **comparing: Unpack[Options]
    ) -> None:
        super().__init__(inner, second)
        self._comparing = Comparing(
            {one: Compared(side.ask, side.is_fresh) for one, side in self._sides.items()},
            **comparing,
        )

    def report(self) -> Report:
        """Return what was compared in this process until now."""
        return self._comparing.report()

    def flush(self) -> None:
        """Give the sink, if there is one, what was counted since it last took anything."""
        self._comparing.flush()

    def start(self, listener: Listener) -> None:
        """Start both. Doesn't block. Raises what one of them raises, and leaves nothing running."""
        self._comparing.reopen()
        super().start(listener)

    def _closing(self) -> list[Closing]:
        self._comparing.stop()  # or the ends of the sides would be compared
        return [*super()._closing(), ("the comparisons", self._comparing.close)]

    def after_fork(self) -> None:
        """Follow both again in a forked child, and compare what is asked there."""
        self._comparing.after_fork()
        super().after_fork()


class Shadow(Compares):
    """Answers from ``inner``, the old side, and compares a share with ``second``, the new one.

    Managing is the old side's. ``comparing`` is ``sample``, ``capacity``, ``expected``, ``sink``:
    see :class:`downhaul.wrappers.comparing.Options`.
    """

    label = "shadow"

    def __init__(
        self, inner: FlagProvider, second: FlagProvider, **comparing: Unpack[Options]
    ) -> None:
        super().__init__(inner, second, **comparing)
        self.publishes_within = inner.publishes_within
        self._ask = self._sides[Side.OLD].ask
        self._offer = self._comparing.offer

    def resolve(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        """Ask the old side."""
        result = self._ask(key, context, kind)
        self._offer(key, context, kind, result, Side.OLD)
        return result

    def _stands(self, stands: Mapping[Side, ProviderStatus]) -> ProviderStatus:
        status, second = stands[Side.OLD], stands[Side.NEW]
        if second.state is State.READY:
            return status
        message = f"{stack_of(self.second)}, which is compared with it, is {told(second)}"
        return replace(status, message="; ".join(filter(None, (status.message, message))))


def options_of(table: Mapping[str, Any]) -> Options:
    """Return how a table says that sides are compared, all but where the counts go."""
    given: Iterable[ExpectedTable] = table["expected"]
    expected = tuple(Expectation(one.flag, one.reason, one.until) for one in given)
    return {"sample": table["sample"], "capacity": table["queue"], "expected": expected}


def create(inner: FlagProvider, table: Mapping[str, Any], settings: Settings) -> FlagProvider:
    """Make the wrapper that ``wrap = ["shadow"]`` asks for. Raises ConfigError."""

    def shadow(second: FlagProvider) -> FlagProvider:
        options = options_of(table)
        options["sink"] = tally_for(settings, inner, second)
        return Shadow(inner, second, **options)

    return around_both(settings, Shadow.label, shadow)
