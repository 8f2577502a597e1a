"""Rollouts on one backend: one climbs, one is caught, one is taken back, one is killed.

Meanwhile controllers are killed and put to sleep. What is measured comes from three places that
know nothing of each other: the service's log, the store's history, and questions to the processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from downhaul.analysis.model import Check, Measure
from downhaul.control.operator import Operator
from downhaul.demo.agents import AGENT, AGENTS, BROKEN, FIRST, GOOD, MENDED
from downhaul.demo.answers import SECOND, Answer, AnswerLog, Course, lost, time_of
from downhaul.demo.controllers import ControllerProcess, last_lines
from downhaul.demo.traffic import Application
from downhaul.errors import DownhaulError
from downhaul.flag import Flag, FlagKind, FlagType, weight_of
from downhaul.rollout.plan import Plan, Step
from downhaul.rollout.results import Rollout
from downhaul.rollout.service import Rollouts
from downhaul.store.control import SqlControl

MOST_ERRORS: Final = 0.05
MOST_MILLISECONDS: Final = 60.0
_SAMPLE: Final = 20
_LOOK: Final = 0.1
_WITHIN: Final = 120.0  # seconds for anything that a rollout is waited for
_CATCH: Final = 3.0  # seconds in which a controller is to be caught with a lease in hand
_HISTORY: Final = 1000
_QUIET: Final = 1.5  # seconds in which a revived flag's rollout might have stirred

Tell = Callable[[float, str], None]
"""Shows the user of the demo what happened: seconds since the act began, and what."""

Act = Callable[[str], None]
"""Shows which act begins."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How large the steps of the rollouts are, and how many seconds they bake."""

    percents: tuple[float, ...]
    bake: float
    killed_at: int
    """The index of the step at which a controller is killed."""


FULL: Final = Pace((1, 5, 10, 25, 50, 100), 1.0, 2)
QUICK: Final = Pace((5, 25, 100), 0.5, 1)


@dataclass(slots=True)
class Tale:
    """What became of one rollout.

    ``raised`` are the percentages of its steps as the history has them. ``answers`` are those of
    its variant until the next one began, ``failed`` those of them that failed, ``met`` the users
    who got one; ``last`` is how long after its end the last of them came. ``lost`` are users who
    had the variant and then another while it lived, ``moved`` those whose answer afterwards is not
    the one they should have. ``began`` and ``ended`` are seconds since 1970.
    """

    variant: str
    planned: tuple[float, ...]
    raised: tuple[float, ...] = ()
    phase: str = ""
    because: str = ""
    message: str = ""
    answers: int = 0
    failed: int = 0
    met: int = 0
    lost: int = 0
    moved: int = 0
    began: float = 0.0
    ended: float = 0.0
    last: float = 0.0

    @property
    def seconds(self) -> float:
        """From its first step to its end."""
        return self.ended - self.began

    @property
    def once(self) -> bool:
        """Whether each step that was reached was taken once, in its order."""
        return self.raised == self.planned[: len(self.raised)]


@dataclass(slots=True)
class RolloutsReport:
    """What the rollouts on one backend measured. Times are seconds.

    ``held`` says that the killed controller held the lease when it died, ``resumed`` how long it
    took until another one raised, ``slept`` how long a controller was stopped, and ``refused``
    whether its write met a closed door. ``wrong`` are logged answers that the flag did not give
    then; ``logged`` and ``observed`` are the requests that the service and the store know of.
    """

    climb: Tale
    broken: Tale
    by_hand: Tale
    killed: Tale
    held: bool = False
    killed_at: float = 0.0
    resumed: float = 0.0
    slept: float = 0.0
    refused: bool = False
    taken_back: tuple[float, ...] = ()
    kill: tuple[float, ...] = ()
    stirred: bool = False
    logged: int = 0
    failed: int = 0
    wrong: tuple[str, ...] = ()
    observed: int = 0
    observed_failed: int = 0
    sweeps: dict[str, Mapping[str, str | None]] = field(default_factory=dict)

    @property
    def tales(self) -> Mapping[str, Tale]:
        """All rollouts, by the name of their act."""
        return {
            "climb": self.climb,
            "broken": self.broken,
            "by_hand": self.by_hand,
            "killed": self.killed,
        }


def agent_flag() -> Flag:
    """Return the flag that chooses an agent: everybody has the first one, which is the safe one."""
    return Flag(
        key=AGENT,
        kind=FlagKind.STRING,
        variants={name: name for name in AGENTS},
        off_variant=FIRST,
        default=FIRST,
        on=True,
        type=FlagType.RELEASE,
        owner="demo",
        description="Which agent answers a user",
    )


def plan_for(variant: str, pace: Pace) -> Plan:
    """Return a plan that raises a variant to everybody, guarded by errors and mean latency."""
    return Plan(
        flag=AGENT,
        variant=variant,
        steps=tuple(Step(weight_of(one), pace.bake, _WITHIN) for one in pace.percents),
        guardrails=(
            Check(Measure.ERROR_RATE, limit=MOST_ERRORS, min_sample=_SAMPLE),
            Check(Measure.LATENCY, limit=MOST_MILLISECONDS, min_sample=_SAMPLE),
        ),
        interval=0.5,
        metrics={"source": "requests"},
        description=f"agent {variant} for everybody",
    )


class RolloutStory:
    """Tells the acts, one after the other, on one backend."""

    def __init__(
        self,
        url: str,
        folder: Path,
        operator: Operator,
        application: Application,
        pace: Pace,
        act: Act,
        tell: Tell,
    ) -> None:
        control: object = operator.control
        assert isinstance(control, SqlControl)  # noqa: S101  (both stores have one)
        self._control = control
        self._url = url
        self._folder = folder
        self._operator = operator
        self._application = application
        self._pace = pace
        self._act = act
        self._tell = tell
        self._rollouts = Rollouts(operator)
        self._began = 0.0
        self._shown = 0
        self._reason = ""  # that was shown last
        planned = pace.percents
        self._report = RolloutsReport(
            Tale(GOOD, planned), Tale(BROKEN, planned), Tale(MENDED, planned), Tale(MENDED, planned)
        )
        self._ids: dict[str, str] = {}

    def run(self) -> RolloutsReport:
        """Run all acts under traffic; what the logs say is added by :meth:`compare`."""
        self._application.begin_work()
        with ExitStack() as stack:
            second = self._climb(stack)
            self._broken()
            second.end()
            self._sleeper_and_way_back(stack)
            self._killed()
            self._application.end_traffic()
        return self._report

    # The acts

    def _climb(self, stack: ExitStack) -> ControllerProcess:
        """Let a good version climb; kill the controller on the way, and let another finish."""
        self._act(f"agent {GOOD} climbs by itself, and its controller is killed on the way")
        report, tale = self._report, self._report.climb
        with self._controller("first") as first:
            rollout = self._start("climb", tale)
            self._await(rollout, lambda one: one.state.step >= self._pace.killed_at)
            report.held = self._kill_in_the_act(first, rollout)
            died = time.time()
        stands = self._rollouts.get(rollout)
        report.killed_at = stands.plan.steps[stands.state.step].percent
        holding = ", while it held the lease" if report.held else ""
        self._say(f"kill -9 of the controller at {report.killed_at:g} %{holding}; another starts")
        second = stack.enter_context(self._controller("second"))
        self._await(rollout, lambda one: not one.state.live)
        later = [
            at
            for at in (
                time_of(event.at)
                for event in self._rollouts.events(rollout)
                if event.action == "raised"
            )
            if at > died
        ]
        report.resumed = min(later, default=float("inf")) - died
        self._finish(tale, rollout)
        answers = self._sweep(f"{GOOD} climbed")
        tale.moved = _moved(answers, dict.fromkeys(answers, GOOD))
        return second

    def _broken(self) -> None:
        """Let a broken version out on top of the good one."""
        self._act(f"agent {BROKEN} is broken: every tenth request fails, and it is slow")
        tale, before = self._report.broken, self._report.sweeps[f"{GOOD} climbed"]
        rollout = self._start("broken", tale)
        self._await(rollout, lambda one: not one.state.live)
        self._finish(tale, rollout)
        # The history is ahead of the processes, by as long as they need to follow.
        self._application.latencies(lambda: None, AGENT, self._first_user(), GOOD)
        tale.moved = _moved(self._sweep(f"{BROKEN} was caught"), before)

    def _sleeper_and_way_back(self, stack: ExitStack) -> None:
        """Stop a controller with the lease in hand; let another go on; take it all back by hand."""
        self._act(f"agent {MENDED} is well; a controller sleeps through its lease, and wakes up")
        report, tale = self._report, self._report.by_hand
        with ControllerProcess.stopping(self._url, self._folder, "sleeper", writes=2) as sleeper:
            sleeper.expect("ready")
            rollout = self._start("by_hand", tale)
            sleeper.expect("stopping")
            slept = time.monotonic()
            self._look(rollout)
            self._say("SIGSTOP of the controller, about to raise; another starts")
            stack.enter_context(self._controller("third"))
            self._await(rollout, lambda one: one.state.step >= 1)
            sleeper.wake()
            report.slept = time.monotonic() - slept
            self._say(f"SIGCONT after {report.slept:.1f} s")
            sleeper.expect("woke")
            sleeper.expect("lost")
            report.refused = True
            self._say("what it was about to write was refused")
            last = len(tale.planned) - 2
            self._await(rollout, lambda one: one.state.step >= min(2, last))
        self._act(f"an operator takes agent {MENDED} back by hand")
        report.taken_back = tuple(
            self._application.latencies(
                lambda: self._rollouts.rollback(rollout, reason="demo: second thoughts"),
                AGENT,
                self._first_user(),
                GOOD,
            )
        )
        self._await(rollout, lambda one: not one.state.live)
        self._finish(tale, rollout)
        before = report.sweeps[f"{BROKEN} was caught"]
        tale.moved = _moved(self._sweep(f"{MENDED} was taken back"), before)

    def _killed(self) -> None:
        """Kill the flag while its rollout runs, and revive it."""
        self._act(f"agent {MENDED} once more, and a kill while it climbs")
        report, tale = self._report, self._report.killed
        rollout = self._start("killed", tale)
        self._await(rollout, lambda one: one.state.entered)
        report.kill = tuple(
            self._application.latencies(
                lambda: self._operator.kill(AGENT, reason="demo: pull it down"),
                AGENT,
                self._first_user(),
                FIRST,
            )
        )
        self._say("killed")
        self._await(rollout, lambda one: not one.state.live)
        self._finish(tale, rollout)
        answers = self._sweep(f"{MENDED} was killed")
        tale.moved = _moved(answers, dict.fromkeys(answers, FIRST))
        self._operator.revive(AGENT, reason="demo: up again", as_was=True)
        self._say("revived")
        before = self._operator.get(AGENT)
        time.sleep(_QUIET)
        report.stirred = (
            self._operator.get(AGENT) != before or self._rollouts.get(rollout).state.live
        )

    # What the logs say

    def compare(self) -> RolloutsReport:
        """Hold the service's log against the history, once the service has ended."""
        report = self._report
        log, course = AnswerLog.read(self._application.logs), self._course()
        report.logged = len(log.answers)
        report.failed = sum(one.failed for one in log.answers)
        report.wrong = tuple(_told(one) for one in log.answers if not course.allows(one))
        report.observed, report.observed_failed = self._observed()
        tales = list(report.tales.items())
        for name, tale in tales:
            tale.began, tale.ended = self._lifetime(self._ids[name], tale)
        ends = [*(tale.began for _, tale in tales[1:]), float("inf")]
        for (_, tale), until in zip(tales, ends, strict=True):
            _measure(tale, log, until)
        return report

    def _lifetime(self, rollout: str, tale: Tale) -> tuple[float, float]:
        raises = [
            one for one in self._rollouts.events(rollout) if one.action in ("started", "raised")
        ]
        tale.raised = tuple(float(one.detail["percent"]) for one in raises)
        return time_of(raises[0].at), self._rollouts.get(rollout).state.ended_at / 1e6

    def _course(self) -> Course:
        return Course(self._control.audit(None, key=AGENT, limit=_HISTORY))

    def _observed(self) -> tuple[int, int]:
        """Return how many requests the store knows of, and how many of them failed."""
        database = self._control.rollouts.database
        requests = database.tables.requests
        query = select(func.count(), func.count().filter(requests.c.error))
        with database.reading() as connection:
            every, failed = connection.execute(query.where(requests.c.flag == AGENT)).one()
        return int(every), int(failed)

    # Small parts

    def _controller(self, name: str) -> ControllerProcess:
        return ControllerProcess.running(self._url, self._folder, name)

    def _start(self, name: str, tale: Tale) -> str:
        reason = f"demo: {tale.variant} for everybody"
        rollout = self._rollouts.start(plan_for(tale.variant, self._pace), reason=reason)
        self._ids[name] = rollout.id
        self._began, self._shown = rollout.created_at / 1e6, 0
        self._reason = reason
        return rollout.id

    def _await(self, rollout: str, until: Callable[[Rollout], bool]) -> None:
        """Show what happens to a rollout until something is so. Raises DownhaulError."""
        limit = time.monotonic() + _WITHIN
        while True:
            now = self._rollouts.get(rollout)
            self._look(rollout)
            if until(now):
                return
            if time.monotonic() > limit or not now.state.live:
                message = (
                    f"rollout {rollout} stands at step {now.state.step + 1}, {now.phase}: "
                    f"{now.state.message or now.state.hold_message}"
                )
                raise DownhaulError(
                    message, hint=f"the controllers said last:\n{self._last_words()}"
                )
            time.sleep(_LOOK)

    def _look(self, rollout: str) -> None:
        """Show the events that were not shown yet."""
        for event in self._rollouts.events(rollout):
            if event.id > self._shown:
                self._shown = event.id
                said = event.action.replace("_", " ")
                if event.reason and event.reason != self._reason:
                    said += f": {event.reason}"
                self._reason = event.reason
                self._tell(time_of(event.at) - self._began, said)

    def _say(self, text: str) -> None:
        self._tell(time.time() - self._began, text)

    def _kill_in_the_act(self, controller: ControllerProcess, rollout: str) -> bool:
        """Kill a controller as soon as it holds the rollout; return whether it died holding it."""
        limit = time.monotonic() + _CATCH
        while time.monotonic() < limit and not self._is_held(rollout):
            pass
        controller.kill()
        return self._is_held(rollout)

    def _last_words(self) -> str:
        answered = len(AnswerLog.read(self._application.logs).answers)
        observed, _ = self._observed()
        words = [f"{answered} requests were answered, and {observed} observed"]
        logs = sorted(self._folder.glob("controller-*.log"))
        words += [f"{one.stem}: {line}" for one in logs for line in last_lines(one)]
        return "\n".join(words)

    def _is_held(self, rollout: str) -> bool:
        return bool(self._control.rollouts.existing(rollout).lease_owner)

    def _first_user(self) -> str:
        """Return the user whom every step reaches first."""
        return min(self._application.users, key=self._course().bucket)

    def _sweep(self, name: str) -> Mapping[str, str | None]:
        answers = self._application.sweep(AGENT)
        self._report.sweeps[name] = answers
        return answers

    def _finish(self, tale: Tale, rollout: str) -> None:
        now = self._rollouts.get(rollout)
        tale.phase, tale.because = now.phase.value, now.state.because
        tale.message = now.state.message


def _measure(tale: Tale, log: AnswerLog, until: float) -> None:
    """Add what the service's log says of a rollout; the next one begins at ``until``."""
    mine = [one for one in log.between(tale.began - SECOND, until) if one.variant == tale.variant]
    tale.answers = len(mine)
    tale.failed = sum(one.failed for one in mine)
    tale.met = len({one.user for one in mine})
    tale.lost = lost(log.between(tale.began, tale.ended), tale.variant)
    tale.last = max((one.at for one in mine), default=tale.ended) - tale.ended


def _moved(answers: Mapping[str, str | None], expected: Mapping[str, str | None]) -> int:
    return sum(answers[user] != expected[user] for user in expected)


def _told(answer: Answer) -> str:
    return f"{answer.user} got {answer.variant} at {answer.at:.3f}"
