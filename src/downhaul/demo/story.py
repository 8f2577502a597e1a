"""The first act on one backend: somebody raises a flag by hand under traffic, then kills it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from downhaul.control.operator import Operator
from downhaul.demo.rollouts import RolloutsReport
from downhaul.demo.traffic import Application
from downhaul.evaluator.bucketing import bucket
from downhaul.flag import WHOLE, Flag, FlagType, weight_of

FLAG: Final = "new_agent_version"
STEPS: Final = (0, 1, 10, 50, 100)

Answers = Mapping[str, str | None]
Tell = Callable[["StepReport"], None]


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one command did: ``share`` and ``asked`` are fractions of all users, latencies seconds.

    ``lost`` counts users who had the feature before a raise and not after; ``unlike`` those whose
    answer isn't the one that the flag's definition gives them.
    """

    backend: str
    command: str
    asked: float
    share: float
    lost: int
    unlike: int
    latencies: tuple[float, ...]


@dataclass(slots=True)
class BackendReport:
    """What one backend's run measured; ``answers`` has every user's variant after each command.

    A request ``failed`` if it got no answer at all.
    """

    backend: str
    users: int
    processes: int
    steps: list[StepReport] = field(default_factory=list)
    answers: dict[str, Answers] = field(default_factory=dict)
    imported: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    failed: int = 0
    wrong_after_kill: int = 0
    rollouts: RolloutsReport | None = None

    @property
    def lost(self) -> int:
        """Users who lost the feature while it was raised."""
        return sum(step.lost for step in self.steps if step.command != "kill")

    @property
    def latencies(self) -> list[float]:
        """Seconds from command to changed answer, of every process and command."""
        return [second for step in self.steps for second in step.latencies]


def users_of(count: int) -> list[str]:
    """Return distinct user ids: the same at every run, in no order of their buckets."""
    picked = random.Random(20_250_101)  # noqa: S311  (made-up users, not secrets)
    return [f"user-{number:05d}" for number in picked.sample(range(100_000), count)]


def demo_flag() -> Flag:
    """Return the flag that the demo raises, before anyone has it."""
    return Flag.boolean(
        FLAG,
        percent=0,
        type=FlagType.RELEASE,
        owner="demo",
        description="The application's new agent, let out step by step",
    )


def tell_story(
    report: BackendReport,
    operator: Operator,
    application: Application,
    questions: Sequence[tuple[str, Mapping[str, Any]]],
    tell: Tell,
) -> None:
    """Raise the flag through all steps and kill it, under traffic; add what was measured."""
    application.begin_traffic(FLAG)
    before: Answers = application.sweep(FLAG)
    last = 0.0
    for percent in STEPS:
        before = _raise(report, operator, application, before, last, percent)
        last = percent
        tell(report.steps[-1])
    report.imported = application.ask_all(questions)
    _kill(report, operator, application, before)
    tell(report.steps[-1])
    application.end_traffic()
    report.wrong_after_kill += application.counts.wrong_after_kill


def _raise(
    report: BackendReport,
    operator: Operator,
    application: Application,
    before: Answers,
    last: float,
    percent: float,
) -> Answers:
    newcomer = _between(application.users, weight_of(last), weight_of(percent))

    def command() -> object:
        return operator.percent(FLAG, percent, reason=f"demo: {percent} %")

    if newcomer is None:
        command()
        latencies: list[float] = []
    else:
        latencies = application.latencies(command, FLAG, newcomer, "on")
    answers = application.sweep(FLAG)
    expected = {user: _expected(user, weight_of(percent)) for user in application.users}
    _note(report, f"{percent} %", percent / 100, before, answers, expected, latencies)
    return answers


def _kill(
    report: BackendReport, operator: Operator, application: Application, before: Answers
) -> None:
    application.expect_kill(FLAG)
    victim = next(user for user in application.users if before[user] == "on")
    latencies = application.latencies(
        lambda: operator.kill(FLAG, reason="demo: pull it down"), FLAG, victim, "off"
    )
    answers = application.sweep(FLAG)
    expected = dict.fromkeys(application.users, "off")
    _note(report, "kill", 0.0, before, answers, expected, latencies)
    report.wrong_after_kill += sum(answer != "off" for answer in answers.values())


def _note(
    report: BackendReport,
    command: str,
    asked: float,
    before: Answers,
    answers: Answers,
    expected: Answers,
    latencies: Iterable[float],
) -> None:
    on = {user for user, variant in answers.items() if variant == "on"}
    report.answers[command] = answers
    report.steps.append(
        StepReport(
            backend=report.backend,
            command=command,
            asked=asked,
            share=len(on) / len(answers),
            lost=sum(before[user] == "on" and user not in on for user in before),
            unlike=sum(answers[user] != expected[user] for user in expected),
            latencies=tuple(latencies),
        )
    )


def _expected(user: str, weight: int) -> str:
    """Return what the definition of the flag gives a user, computed apart from the service."""
    return "on" if bucket(FLAG, user, WHOLE) < weight else "off"


def _between(users: Iterable[str], low: int, high: int) -> str | None:
    return next((user for user in users if low <= bucket(FLAG, user, WHOLE) < high), None)
