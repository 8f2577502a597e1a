"""The demo's judge: a wrong answer in the service's log is found, and a right one let be."""

import pytest

from downhaul.backends.edits import with_on, with_rollout
from downhaul.demo.agents import AGENT, AgentFailed, Agents
from downhaul.demo.answers import Answer, AnswerLog, Course, lost, time_of
from downhaul.demo.controller import Stopper
from downhaul.demo.rollouts import FULL, MOST_MILLISECONDS, agent_flag, plan_for
from downhaul.encoding import flag_to_data
from downhaul.evaluator.bucketing import bucket
from downhaul.flag import WHOLE
from downhaul.provider import ChangeRecord
from downhaul.rollout.lint import lint
from downhaul.rollout.results import Severity

TEN = with_rollout(agent_flag(), "v2", 10_000)
USERS = [f"user-{number}" for number in range(200)]
INSIDE = next(one for one in USERS if bucket(AGENT, one, WHOLE) < 10_000)
OUTSIDE = next(one for one in USERS if bucket(AGENT, one, WHOLE) >= 10_000)


def record(second: int, entity: str, action: str, after=None, key: str = AGENT) -> ChangeRecord:
    at = f"1970-01-01T00:00:{second:02d}.000000Z"
    return ChangeRecord(second, "c", at, "default", entity, key, action, "demo", after=after)


COURSE = Course(
    [
        record(0, "flag", "create", flag_to_data(agent_flag())),
        record(5, "flag", "create", flag_to_data(with_on(TEN, False)), key="another"),
        record(10, "flag", "set_rollout", flag_to_data(TEN)),
        record(11, "rollout", "started", {"percent": 10}),
        record(20, "kill", "kill", {}),
        record(30, "kill", "revive", {}),
        record(40, "flag", "switch_off", flag_to_data(with_on(TEN, False))),
    ]
)


def answer(at: float, user: str, variant: str, took: float = 0.0, failed: bool = False) -> Answer:
    return Answer(at, at + took, 0, user, variant, failed)


@pytest.mark.parametrize(
    "given,allowed",
    [
        (answer(5.0, INSIDE, "v1"), True),
        (answer(5.0, INSIDE, "v2"), False),
        (answer(9.9, INSIDE, "v2"), False),
        (answer(9.9, INSIDE, "v2", took=0.2), True),
        (answer(10.5, INSIDE, "v2"), True),
        (answer(10.5, INSIDE, "v1"), True),
        (answer(11.1, INSIDE, "v1"), False),
        (answer(15.0, OUTSIDE, "v2"), False),
        (answer(15.0, OUTSIDE, "v1"), True),
        (answer(15.0, OUTSIDE, "v3"), False),
        (answer(21.1, INSIDE, "v2"), False),
        (answer(21.1, INSIDE, "v1"), True),
        (answer(31.1, INSIDE, "v1"), False),
        (answer(31.1, INSIDE, "v2"), True),
        (answer(41.1, INSIDE, "v2"), False),
    ],
)
def test_an_answer_is_held_against_what_the_flag_said_then_or_a_second_before(given, allowed):
    assert COURSE.allows(given) is allowed


def test_a_user_lost_a_variant_who_had_it_and_then_another():
    had = [answer(1, "a", "v2"), answer(1, "b", "v1"), answer(2, "b", "v2"), answer(3, "b", "v2")]
    assert lost(had, "v2") == 0
    assert lost([*had, answer(4, "a", "v1"), answer(5, "a", "v1")], "v2") == 1


def test_the_logs_of_all_processes_are_read_in_the_order_of_time(tmp_path):
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    one.write_text("3.000000 a v1 ok 500.0\n1.000000 b v3 failed 10.0\n2.000000 c v")
    two.write_text("2.500000 d v2 ok 1.0\n")
    log = AnswerLog.read([one, two, tmp_path / "none.log"])
    assert [(each.user, each.process, each.failed) for each in log.answers] == [
        ("b", 0, True),
        ("d", 1, False),
        ("a", 0, False),
    ]
    assert log.answers[-1].until == 3.5
    assert [each.user for each in log.between(1.0, 3.0)] == ["b", "d"]


def test_times_of_the_history_are_seconds_since_1970():
    assert time_of("1970-01-01T00:01:00.250000Z") == 60.25


def test_the_broken_agent_fails_every_tenth_request_and_the_others_none(monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    agents = Agents()

    def fails(version: str) -> bool:
        try:
            agents.work(version)
        except AgentFailed:
            return True
        return False

    assert [fails("v3") for _ in range(14)].count(True) == 2
    assert min(slept) > MOST_MILLISECONDS / 1000
    slept.clear()
    assert not any(fails(version) for version in ("v1", "v2", "v4") for _ in range(10))
    assert max(slept) < MOST_MILLISECONDS / 1000 / 2


def test_a_controller_stops_before_the_write_it_was_told_and_no_other(monkeypatch, capsys):
    stopped = []
    monkeypatch.setattr("os.kill", lambda *signal: stopped.append(signal))
    stopper = Stopper(2)
    for point in ("claimed", "before_write", "after_write", "claimed", "before_write"):
        assert not stopped
        stopper(point, "r")
    assert len(stopped) == 1
    stopper("before_write", "r")
    assert len(stopped) == 1
    assert capsys.readouterr().out.split() == ["stopping", "woke"]


@pytest.mark.parametrize("variant", ["v2", "v3", "v4"])
def test_the_plans_of_the_demo_are_not_refused(variant):
    advice = lint(plan_for(variant, FULL), agent_flag())
    assert [one for one in advice if one.severity is Severity.ERROR] == []
