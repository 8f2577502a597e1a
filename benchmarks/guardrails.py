"""What guardrails that are compared by a sequential test find, how soon, and how often they err.

Simulated with the tests as they are shipped, window by window, with fixed seeds. Prints a table
beside its goals, and ends with 1 where a goal is missed.

    python benchmarks/guardrails.py [RUNS]
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from simulated import SEQUENTIAL, simulate

from downhaul.analysis.statistics.budget import FALSE_ROLLBACK, shares
from downhaul.analysis.statistics.likelihood import Tally
from downhaul.analysis.statistics.progress import Against, Answer, Progress

GUARDRAILS: Final = 5
ALPHA: Final = shares(GUARDRAILS)
CONTROL: Final = Against()
Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was simulated, what came out, and the most it may be."""

    what: str
    found: float
    most: float
    unit: str
    median: float | None = None

    @property
    def met(self) -> bool:
        """Whether the goal is met."""
        return self.found <= self.most


def delay(
    random: Random,
    good: float,
    bad: float,
    *,
    share: float = 0.1,
    batch: int = 20,
    after: int = 0,
    within: int = 6_000,
    against: Against = CONTROL,
    alpha: float = ALPHA,
) -> float:
    """Return how many requests of the variant it takes to be found worse; infinity for too many.

    The variant's rate is ``good`` until ``after`` and ``bad`` from then on. A false alarm before is
    infinity as well.
    """
    others = round(batch * (1 - share) / share)
    progress, seen = Progress(), 0
    while seen < after + within:
        rate = bad if seen >= after else good
        treated = Tally(batch, int(random.binomial(batch, rate)))
        control = Tally(others, int(random.binomial(others, good)))
        progress = progress.after(treated, control, against)
        seen += batch
        if progress.answer(alpha) is Answer.WORSE:
            return seen - after if seen > after else math.inf
    return math.inf


def rolled_back(random: Random, rates: list[float], looks: int, share: float, batch: int) -> bool:
    """Return whether a healthy rollout is taken back by any of its guardrails within the looks."""
    others = max(1, round(batch * (1 - share) / share))
    for rate in rates:
        progress = Progress()
        for treated, control in zip(
            random.binomial(batch, rate, looks), random.binomial(others, rate, looks), strict=True
        ):
            progress = progress.after(
                Tally(batch, int(treated)), Tally(others, int(control)), CONTROL
            )
            if progress.answer(shares(len(rates))) is Answer.WORSE:
                return True
    return False


def incident(random: Random, looks: int = 288) -> bool:
    """Return whether an incident that hits both arms (1 to 8 % for some looks) takes it back."""
    begin, last = sorted(int(one) for one in random.integers(0, looks, 2))
    progress = Progress()
    for look in range(looks):
        rate = 0.08 if begin <= look <= min(last, begin + 12) else 0.01
        treated = Tally(100, int(random.binomial(100, rate)))
        control = Tally(1900, int(random.binomial(1900, rate)))
        progress = progress.after(treated, control, CONTROL)
        if progress.answer(FALSE_ROLLBACK) is Answer.WORSE:
            return True
    return False


def clustered(random: Random, burst: int = 5, looks: int = 288, *, known: bool = True) -> bool:
    """Return whether a healthy rollout is taken back where bad requests come in bursts of a user.

    ``known`` says that how many come together is told beforehand.
    """
    against = Against(together=burst) if known else CONTROL
    progress = Progress()
    for _ in range(looks):
        treated = min(200, int(random.poisson(200 * 0.01 / burst)) * burst)
        control = min(1800, int(random.poisson(1800 * 0.01 / burst)) * burst)
        progress = progress.after(Tally(200, treated), Tally(1800, control), against)
        if progress.answer(FALSE_ROLLBACK) is Answer.WORSE:
            return True
    return False


def wrongly_clean(random: Random, base: float, share: float, looks: int = 300) -> bool:
    """Return whether a variant that is as bad as the bound is ever called not worse."""
    batch = 50
    others = round(batch * (1 - share) / share)
    progress = Progress()
    for _ in range(looks):
        progress = progress.after(
            Tally(batch, int(random.binomial(batch, base * CONTROL.bound))),
            Tally(others, int(random.binomial(others, base))),
            CONTROL,
        )
        if progress.answer(1e-12) is Answer.NOT_WORSE:
            return True
    return False


FINDINGS: Final = (
    ("errors 1 to 10 %", 0.01, 0.1, 10, 150),
    ("errors 1 to 5 %", 0.01, 0.05, 20, 500),
    ("errors 1 to 3 %", 0.01, 0.03, 20, 1_400),
    ("p95 latency +30 %: slow 5 to 9.4 %", 0.05, 0.094, 20, 1_200),
)
"""What is to be found within how many requests of the variant, in nine rollouts out of ten."""

HEALTHY: Final = (
    ("72 looks at 5 %, 100 requests each", 72, 0.05, 100),
    ("288 looks at 1 %, 5 requests each", 288, 0.01, 5),
    ("288 looks at 50 %, 100 requests each", 288, 0.5, 100),
)
RATES: Final = (0.001, 0.01, 0.04, 0.05, 0.2)
"""What the five guardrails of a healthy rollout look at."""


def table(runs: int) -> Iterator[Row]:
    """Yield the rows. ``runs`` is how often each thing is simulated."""
    for seed, (what, good, bad, batch, most) in enumerate(FINDINGS):
        yield _delays(
            what,
            most,
            runs,
            seed,
            lambda random: delay(random, good, bad, batch=batch),  # noqa: B023  (used at once)
        )
    yield _delays(
        "errors 1 to 3 % after a healthy day (28,800 requests)",
        2_000,
        max(50, runs // 10),
        10,
        lambda random: delay(random, 0.01, 0.03, share=0.05, batch=50, after=28_800),
    )
    for seed, (what, looks, share, batch) in enumerate(HEALTHY, start=20):
        yield _part(
            f"false rollbacks, {what}",
            0.01,
            max(50, runs // 2),
            seed,
            lambda random: rolled_back(random, list(RATES), looks, share, batch),  # noqa: B023  (used at once)
        )
    yield _part("an incident in both arms rolls back", 0.01, runs, 30, incident)
    yield _part("errors that come in known bursts of five roll back", 0.01, runs, 31, clustered)
    for seed, (base, share) in enumerate(((0.01, 0.05), (0.04, 0.5)), start=40):
        yield _part(
            f"twice as bad ({base:.0%} at {share:.0%} share) is called clean",
            0.05,
            runs,
            seed,
            lambda random: wrongly_clean(random, base, share),  # noqa: B023  (used at once)
        )

    for seed, (per_minute, rate) in enumerate(((20, 0.01), (100, 0.04), (1000, 0.01)), start=50):
        yield _part(
            f"whole rollouts, {per_minute} requests a minute, {rate:.0%} errors, rolled back",
            0.01,
            runs,
            seed,
            lambda random: simulate(random, SEQUENTIAL, per_minute, rate, rate).back,  # noqa: B023  (used at once)
        )
    for seed, (per_minute, times) in enumerate(((1000, 2), (100, 3), (100, 10)), start=60):
        yield _harm(per_minute, times, runs, seed)


def _harm(per_minute: float, times: float, runs: int, seed: int) -> Row:
    """Return how many more requests fail before a whole rollout is taken back, in the middle."""
    random = np.random.default_rng(seed)
    ended = [simulate(random, SEQUENTIAL, per_minute, 0.01, 0.01 * times) for _ in range(runs)]
    failed = sorted(one.failed if one.back else math.inf for one in ended)
    what = f"more requests failed before errors of 1 % by {times:g} were taken back"
    return Row(f"{what}, {per_minute:g} a minute", failed[runs // 2], 25, "failed")


def _delays(what: str, most: float, runs: int, seed: int, once: Callable[[Random], float]) -> Row:
    random = np.random.default_rng(seed)
    found = sorted(once(random) for _ in range(runs))
    return Row(what, found[math.ceil(runs * 0.9) - 1], most, "requests", found[runs // 2])


def _part(what: str, most: float, runs: int, seed: int, once: Callable[[Random], bool]) -> Row:
    random = np.random.default_rng(seed)
    return Row(what, sum(once(random) for _ in range(runs)) / runs, most, "part")


def main(runs: int) -> int:
    """Print the table and return how the program ends."""
    missed = 0
    for row in table(runs):
        missed += not row.met
        sign = "ok" if row.met else "MISSED"
        if row.unit == "part":
            print(f"{sign.ljust(6)}  {row.found:7.2%}  (at most {row.most:.0%})  {row.what}")
        elif row.unit == "failed":
            print(f"{sign.ljust(6)}  {row.found:7.0f}  (at most {row.most:g})  {row.what}")
        else:
            words = f"{row.median:g} / {row.found:g} requests (at most {row.most:g})"
            print(f"{sign.ljust(6)}  {words}  {row.what}")
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    begun = time.monotonic()
    end = main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
    print(f"simulated in {time.monotonic() - begun:.0f} s")
    sys.exit(end)
