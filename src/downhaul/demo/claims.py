"""What the demo claims, and whether it held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from downhaul.demo.agents import BROKEN, GOOD, MENDED
from downhaul.demo.controller import LEASE
from downhaul.demo.imported import Imported
from downhaul.demo.rollouts import RolloutsReport, Tale
from downhaul.demo.story import BackendReport
from downhaul.rollout.state import Because, Phase

_SECOND: Final = 1.0  # a kill that takes longer is no kill switch
_LITTLE: Final = 0.25  # of all users: what a broken version may reach before it is caught

BY_HAND: Final = "Raised and killed by hand"
CLIMB: Final = f"{GOOD} climbs by itself"
CAUGHT: Final = f"{BROKEN} is broken, and caught"
SLEEPER: Final = f"{MENDED}, a controller that sleeps, and the way back by hand"
KILLED: Final = f"{MENDED} again, and a kill"
ALL: Final = "All the time"


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence that the run had to make true; without a backend it is about all of them."""

    act: str
    text: str
    held: bool
    measured: str
    backend: str = ""


def claims_of(reports: Sequence[BackendReport], imported: Imported) -> list[Claim]:
    """Return every claim, with what was measured for it."""
    claims = [
        Claim(act, text, held, measured, report.backend)
        for report in reports
        for act, text, held, measured in _of_backend(report, imported)
    ]
    if len(reports) > 1:
        claims += _alike(reports, imported)
    return claims


_Told = tuple[str, str, bool, str]


def _of_backend(report: BackendReport, imported: Imported) -> Iterator[_Told]:
    yield from _by_hand(report, imported)
    if report.rollouts is not None:
        yield from _climb(report.rollouts, report.users)
        yield from _caught(report.rollouts, report.users)
        yield from _sleeper(report.rollouts, report.users)
        yield from _killed(report.rollouts, report.users)
        yield from _always(report.rollouts)
    yield (ALL, "no request went without an answer", report.failed == 0,
           f"{report.failed} of {report.requests}")  # fmt: skip


def _by_hand(report: BackendReport, imported: Imported) -> Iterator[_Told]:
    unlike = sum(step.unlike for step in report.steps)
    kill = max(report.steps[-1].latencies)
    yield (BY_HAND, "nobody lost the feature while it was raised", report.lost == 0,
           f"{report.lost} of {report.users} users")  # fmt: skip
    yield (BY_HAND, "everybody was served what the flag says", unlike == 0,
           f"{unlike} answers differ")  # fmt: skip
    yield (BY_HAND, "every process obeyed the kill within a second", kill < _SECOND,
           f"{kill * 1000:.0f} ms")  # fmt: skip
    yield (BY_HAND, "nothing was served wrongly after the kill was seen",
           report.wrong_after_kill == 0, f"{report.wrong_after_kill} requests")  # fmt: skip
    if imported.expectations:
        broken = imported.broken(report.imported)
        yield (BY_HAND, "the imported flags answer as their document demands", not broken,
               f"{len(imported.expectations) - len(broken)} of "
               f"{len(imported.expectations)} expectations"
               + "".join(f"; {one}" for one in broken[:3]))  # fmt: skip


def _climb(report: RolloutsReport, users: int) -> Iterator[_Told]:
    tale = report.climb
    completed = tale.phase == Phase.COMPLETED.value
    yield (CLIMB, "it took every step once, in its order, and ended at 100 %",
           completed and tale.raised == tale.planned,
           f"{_steps(tale)} in {tale.seconds:.0f} s")  # fmt: skip
    holding = ", with the lease in hand" if report.held else ""
    yield (CLIMB, "its controller got kill -9 on the way, and another one finished",
           completed and report.resumed < float("inf"),
           f"at {report.killed_at:g} %{holding}; the next step came {report.resumed:.1f} s later"
           )  # fmt: skip
    yield (CLIMB, f"nobody who had {GOOD} lost it", tale.lost == 0,
           f"{tale.lost} of {users} users")  # fmt: skip
    yield (CLIMB, f"everybody has {GOOD} afterwards", tale.moved == 0,
           f"{users - tale.moved} of {users} users")  # fmt: skip


def _caught(report: RolloutsReport, users: int) -> Iterator[_Told]:
    tale = report.broken
    by_metrics = tale.phase == Phase.ROLLED_BACK.value and tale.because == Because.REGRESSED.value
    reached = max(tale.raised, default=0.0)
    yield (CAUGHT, "its own metrics took it back", by_metrics,
           f"after {tale.seconds:.1f} s, at {reached:g} %: {tale.message}")  # fmt: skip
    yield (CAUGHT, "few met it", tale.met <= users * _LITTLE,
           f"{tale.failed} of {tale.answers} requests failed; {tale.met} of {users} users met it"
           )  # fmt: skip
    yield (CAUGHT, "nobody met it later than a second after it was taken back",
           tale.last < _SECOND, _after(tale.last))  # fmt: skip
    yield (CAUGHT, f"everybody has {GOOD} again, exactly as before", tale.moved == 0,
           f"{tale.moved} of {users} users differ")  # fmt: skip


def _sleeper(report: RolloutsReport, users: int) -> Iterator[_Told]:
    tale = report.by_hand
    slowest = max(report.taken_back, default=float("inf"))
    yield (SLEEPER, "a controller that slept with its lease in hand was refused when it woke",
           report.refused,
           f"asleep for {report.slept:.1f} s, with a lease of {LEASE:g} s")  # fmt: skip
    yield (SLEEPER, "each step was taken once, though two controllers were at it",
           tale.once, _steps(tale))  # fmt: skip
    yield (SLEEPER, "taken back by hand, it was gone at every process within a second",
           tale.phase == Phase.ROLLED_BACK.value and slowest < _SECOND,
           f"{slowest * 1000:.0f} ms")  # fmt: skip
    yield (SLEEPER, f"everybody has {GOOD} again, exactly as before", tale.moved == 0,
           f"{tale.moved} of {users} users differ")  # fmt: skip


def _killed(report: RolloutsReport, users: int) -> Iterator[_Told]:
    tale = report.killed
    kill = max(report.kill, default=float("inf"))
    yield (KILLED, "every process obeyed the kill within a second", kill < _SECOND,
           f"{kill * 1000:.0f} ms")  # fmt: skip
    yield (KILLED, "everybody got the safe variant", tale.moved == 0,
           f"{users - tale.moved} of {users} users")  # fmt: skip
    stopped = tale.phase == Phase.STOPPED.value and tale.because == Because.KILLED.value
    yield (KILLED, "the kill ended the rollout, and a revive did not start it again",
           stopped and not report.stirred, f"{tale.phase}, {tale.because}")  # fmt: skip


def _always(report: RolloutsReport) -> Iterator[_Told]:
    wrong = len(report.wrong)
    examples = "".join(f"; {one}" for one in report.wrong[:3])
    yield (ALL, "every answer in the service's log is what the history says the flag served then",
           wrong == 0, f"{wrong} of {report.logged} differ{examples}")  # fmt: skip
    seen = f"{report.observed} of {report.logged}"
    failed = f"{report.observed_failed} of {report.failed} that failed"
    yield (ALL, "every request was observed with its outcome",
           (report.observed, report.observed_failed) == (report.logged, report.failed),
           f"{seen}, and {failed}")  # fmt: skip


def _alike(reports: Sequence[BackendReport], imported: Imported) -> Iterator[Claim]:
    first, *others = reports
    names = " and ".join(report.backend for report in reports)
    differ = sum(_apart(first, other) for other in others)
    yield Claim(ALL, f"{names} gave every user the same variant", differ == 0,
                f"{differ} users differ at some step")  # fmt: skip
    if imported.questions:
        differ = sum(
            mine["variant"] != theirs["variant"] or mine["enabled"] != theirs["enabled"]
            for other in others
            for mine, theirs in zip(first.imported, other.imported, strict=True)
        )
        yield Claim(ALL, f"{names} answer every question on the imported flags alike",
                    differ == 0, f"{differ} of {len(imported.questions)} differ")  # fmt: skip


def _apart(one: BackendReport, other: BackendReport) -> int:
    """Return how many users were answered differently by two backends, after any command."""
    mine, theirs = _answers(one), _answers(other)
    return len(
        {
            user
            for command, answers in mine.items()
            for user, variant in answers.items()
            if theirs[command][user] != variant
        }
    )


def _answers(report: BackendReport) -> dict[str, dict[str, str | None]]:
    sweeps = {} if report.rollouts is None else report.rollouts.sweeps
    return {name: dict(found) for name, found in (*report.answers.items(), *sweeps.items())}


def _steps(tale: Tale) -> str:
    return f"{', '.join(f'{percent:g}' for percent in tale.raised)} %"


def _after(seconds: float) -> str:
    if seconds < 0:
        return "none came after it"
    return f"the last one {seconds * 1000:.0f} ms after it"
