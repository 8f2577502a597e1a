"""Drills: a real kill that takes nobody's feature, and what of it is kept (rules K1, K5, K6)."""

import threading
import time

import pytest

from downhaul import Flag, Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.client import receipts
from downhaul.config import resolve
from downhaul.control import Operator, drills
from downhaul.control.drills import is_old, words
from downhaul.errors import FlagNotFound, Refused, Unreachable
from downhaul.overlay import Scope
from downhaul.plugins import build_provider
from downhaul.provider import Change
from downhaul.rollout.planfile import parse_plan
from downhaul.rollout.service import Rollouts
from downhaul.store import schema
from downhaul.store.drills import DrillRow

WHO = Change("tester")
DAY = 86_400.0


class Sink:
    def __init__(self):
        self.events = []

    def send(self, event):
        self.events.append(event)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'flags.db'}"
    return request.getfixturevalue("fresh_postgres")


@pytest.fixture
def operator(url):
    provider = build_provider(resolve(url, cache_dir=None, environ={}))
    schema.upgrade(provider.database)
    provider.put(Flag.boolean("agent", percent=25), WHO)
    with Operator(provider, provider.control, actor="ana", owns=True) as made:
        yield made


@pytest.fixture
def follower(url, operator, monkeypatch):
    """A client that follows the store and has told of itself; it notes each answer it gave."""
    monkeypatch.setattr(receipts, "FIRST", (0.0, 0.01))
    with Flags.connect(url, cache_dir=False, ready_within=10) as flags:
        end = time.monotonic() + 10
        while not operator.control.processes.rows()[1]:
            assert time.monotonic() < end
            time.sleep(0.01)
        yield flags


@pytest.mark.rule("K1", "K6")
def test_a_drill_reaches_every_process_and_takes_nobodys_feature(operator, follower):
    heard = []
    follower.on_change(heard.append)
    before = operator.list()
    result = operator.drill("payments", "game day")
    assert result.passed
    assert (result.killed.known, result.killed.obeyed) == (1, 1)
    assert result.lifted.obeyed == 1
    assert 0 <= result.killed.within < 5
    assert set().union(*heard) == {"switch:drill:payments"}
    assert operator.list() == before
    assert operator.kills() == []
    assert follower.is_up("drill:payments")
    row = drills.last(operator.desk)
    assert (row.scope, row.actor, row.processes, row.confirmed, row.lifted) == (
        "switch:drill:payments",
        "ana",
        1,
        1,
        1,
    )
    assert row.reason.endswith(": game day")
    assert row.max_ms >= row.p50_ms > 0
    assert words(row).startswith("last exercised today (0.")
    assert words(row).endswith(" s, 1 of 1 process)")


@pytest.mark.rule("K5", "X4")
def test_a_real_drill_takes_the_flag_and_gives_it_back_as_it_was(operator, follower):
    user = next(one for one in map(str, range(50)) if follower.is_enabled("agent", one))
    seen, stop = [], threading.Event()

    def ask():
        while not stop.wait(0.001):
            seen.append(follower.is_enabled("agent", user))

    asking = threading.Thread(target=ask)
    asking.start()
    before = operator.get("agent")
    sink = Sink()
    with Operator(operator.provider, operator.control, actor="ana", alerts=[sink]) as ana:
        result = ana.drill("agent", "game day", real=True)
    stop.set()
    asking.join()
    assert result.passed
    assert [(one.what, one.subject) for one in sink.events] == [
        ("killed", "agent"),
        ("revived", "agent"),
    ]
    assert sink.events[0].reason.endswith(": game day")
    assert False in seen
    assert follower.is_enabled("agent", user)
    assert operator.get("agent") == before
    actions = [one.record.action for one in operator.history("agent")]
    assert actions[:2] == ["revive", "kill"]


def test_a_drill_whose_process_does_not_obey_says_so_and_is_kept(operator):
    from downhaul.store.processes import Follower

    me = Follower("me", "process", "web-2", 812, "web", "1")
    operator.control.processes.acknowledge(me, 0, ago=0, again_in=60)
    result = operator.drill("fleet", wait=0.2)
    assert not result.passed
    assert "not heard from: web-2:812 web" in str(result.killed)
    assert operator.kills() == []
    assert drills.last(operator.desk).confirmed == 0
    assert is_old(drills.last(operator.desk))


def test_with_nobody_to_obey_nothing_was_exercised(operator):
    result = operator.drill("fleet", wait=0.2)
    assert not result.passed
    assert is_old(drills.last(operator.desk))


@pytest.mark.rule("K5")
def test_a_real_drill_leaves_kills_and_rollouts_of_others_alone(operator):
    operator.kill("agent", "errors")
    with pytest.raises(Refused, match="is killed"):
        operator.drill("agent", real=True)
    operator.revive("agent", "fixed")
    plan = parse_plan('flag = "agent"\nsteps = [50, 100]\nunguarded = "a test"', "toml")
    rollout = Rollouts(operator).start(plan)
    with pytest.raises(Refused, match=rollout.id):
        operator.drill("agent", real=True)
    with pytest.raises(FlagNotFound):
        operator.drill("agemt", real=True)
    assert operator.kills() == []
    assert operator.drill("agent", wait=0.1).scope == Scope.parse("switch:drill:agent")


@pytest.mark.rule("K3", "K5")
def test_a_kill_that_somebody_means_outlives_the_drill_it_fell_into(operator, monkeypatch):
    look = drills.receipts.look

    def and_somebody_kills(desk, record, wait):
        if record.killed:
            Operator(operator.provider, operator.control, actor="bo").kill("agent", "it burns")
        return look(desk, record, 0.0)

    monkeypatch.setattr(drills.receipts, "look", and_somebody_kills)
    result = operator.drill("agent", real=True)
    assert not result.passed
    assert "stays killed" in " ".join(result.warnings)
    assert [str(one.scope) for one in operator.kills()] == ["agent"]


@pytest.mark.rule("K5")
def test_a_kill_from_just_before_the_drill_is_not_taken_for_its_own(operator, monkeypatch):
    monkeypatch.setattr(drills, "_need_peace", lambda *_: None)  # it looked before that kill
    operator.kill("agent", "it burns")
    with pytest.raises(Refused, match="it burns"):
        operator.drill("agent", real=True)
    assert len(operator.kills()) == 1


@pytest.mark.rule("K5")
def test_whatever_happens_in_a_drill_it_is_taken_back(operator, monkeypatch):
    def away(*_):
        raise Unreachable("away")

    monkeypatch.setattr(drills.receipts, "look", away)
    with pytest.raises(Unreachable):
        operator.drill("fleet")
    assert operator.kills() == []


def test_one_that_was_cut_off_is_taken_up_by_the_next(operator):
    operator.control.record_kill(Scope.parse("switch:drill:fleet"), WHO, killed=True)
    operator.drill("fleet", wait=0.1)
    assert operator.kills() == []


def test_a_store_without_receipts_can_not_be_drilled():
    provider = MemoryProvider()
    with (
        Operator(provider, provider.control, actor="ana") as operator,
        pytest.raises(Refused, match="no receipts"),
    ):
        operator.drill("fleet")


@pytest.mark.parametrize(
    "row, old, said",
    [
        (None, True, "never exercised"),
        (
            DrillRow("default", "x", "ana", "", 12, 12, 12, 200.0, 300.0, age=12 * DAY),
            False,
            "last exercised 12 days ago (0.3 s, 12 of 12 processes)",
        ),
        (
            DrillRow("default", "x", "ana", "", 12, 12, 12, 200.0, 300.0, age=91 * DAY),
            True,
            "last exercised 91 days ago (0.3 s, 12 of 12 processes)",
        ),
        (
            DrillRow("default", "x", "ana", "", 2, 0, 0, None, None, age=DAY),
            True,
            "last exercised 1 day ago (0 of 2 processes)",
        ),
    ],
)
def test_when_it_was_last_exercised(row, old, said):
    assert is_old(row) is old
    assert words(row) == said


@pytest.mark.rule("K6")
def test_nobody_is_called_for_a_drill_of_a_switch_and_a_real_one_is_told_once(operator):
    operator.drill("game-day")
    assert operator.control.outbox.waiting() == []
    operator.drill("agent", "game day", real=True)
    assert [one.event["what"] for one in operator.control.outbox.waiting()] == ["killed", "revived"]
