"""What a kill could not do at the backend, a controller goes on trying (rule K1)."""

import json
import threading

import pytest
from rollout_world import WHO
from sqlalchemy import select, update

from downhaul import Flag
from downhaul.backends.memory import MemoryProvider
from downhaul.control.results import AtProvider
from downhaul.errors import Unreachable, UnsupportedCapability
from downhaul.flag import FlagSet
from downhaul.provider import Capability


class Vendor(MemoryProvider):
    """A backend that keeps its flags and no kills, and may refuse to be written."""

    name = "vendor"

    def __init__(self, *keys):
        super().__init__(FlagSet.of([Flag.boolean(key) for key in keys]))
        self.refuses = None
        self.asked = []
        self.control = None

    def switch_off(self, key, change):
        self.asked.append((key, change.actor, change.reason))
        if self.refuses is not None:
            raise self.refuses
        return super().switch_off(key, change)


class Sink:
    def __init__(self):
        self.events = []

    def send(self, event):
        self.events.append(event)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def world(request, world_of):
    made = world_of(request.param, Vendor("agent", "model"))
    made.sink = Sink()
    made.second = made.another("second", alerts=(made.sink,))
    return made


def rows(world):
    intents = world.store.database.tables.intents
    with world.store.database.reading() as connection:
        return [
            (json.loads(one.detail)["flag"], one.state, one.attempts)
            for one in connection.execute(select(intents).order_by(intents.c.at))
            if one.rollout.startswith(f"kills:{world.store.environment}:")
        ]


def kill(world, flag="agent", **options):
    return world.operator.kill(flag, "it burns", **options)


@pytest.mark.rule("K1")
def test_what_worked_at_once_is_owed_by_nobody(world):
    assert kill(world).at_provider is AtProvider.SWITCHED_OFF
    assert rows(world) == [("agent", "confirmed", 0)]
    world.second.run_once()
    assert len(world.provider.asked) == 1


@pytest.mark.rule("K1")
def test_without_a_controller_a_kill_says_that_nobody_will_retry(world):
    world.provider.refuses = Unreachable("503")
    result = kill(world)
    assert result.at_provider is AtProvider.LEFT
    [warning] = result.warnings
    assert "no controller is alive, so nobody will retry until one is" in warning
    assert rows(world) == [("agent", "sent", 0)]


@pytest.mark.rule("K1")
def test_a_controller_goes_on_trying_until_the_flag_is_off(world):
    world.provider.refuses = Unreachable("503")
    world.second.tick()  # alive
    result = kill(world)
    assert result.at_provider is AtProvider.OWED
    assert "a controller goes on trying" in result.warnings[0]
    tries = []
    for second in range(40):
        before = len(world.provider.asked)
        world.second._switch_offs.look()
        if len(world.provider.asked) > before:
            tries.append(second)
        world.clock.advance(1)
    assert tries == [0, 1, 3, 7, 15, 31]  # and from then on every 30 seconds
    assert set(world.provider.asked) == {("agent", "ana", "killed: it burns")}
    world.provider.refuses = None
    world.clock.advance(30)
    assert world.second._switch_offs.look() == 1
    assert not world.provider.get("agent").on
    assert world.provider.get("model").on
    assert rows(world) == [("agent", "confirmed", 7)]
    assert world.second._switch_offs.look() == 0


@pytest.mark.rule("K1")
def test_of_two_controllers_one_takes_each_try(world):
    world.provider.refuses = Unreachable("503")
    kill(world)
    first, second = world.another("a")._switch_offs, world.another("b")._switch_offs
    debts = world.control.debts("vendor")
    [seen] = debts.due()
    assert debts.take(seen, 1.0)
    assert not debts.take(seen, 1.0)  # who read the same row comes too late
    asked = len(world.provider.asked)
    for _ in range(20):
        world.clock.advance(1)
        first.look()
        second.look()
    assert len(world.provider.asked) - asked == 4  # after 1, 3, 7 and 15 seconds


@pytest.mark.rule("K1", "K5")
def test_a_revived_flag_is_not_switched_off_late(world):
    world.provider.refuses = Unreachable("503")
    kill(world)
    world.provider.refuses = None
    world.operator.revive("agent", "put out", as_was=True)
    asked = len(world.provider.asked)
    assert world.second._switch_offs.look() == 0
    assert len(world.provider.asked) == asked
    assert world.provider.get("agent").on
    assert rows(world)[0][:2] == ("agent", "superseded")


@pytest.mark.rule("K1")
def test_a_flag_killed_again_is_owed_again(world):
    world.provider.refuses = Unreachable("503")
    kill(world)
    world.operator.revive("agent", "put out", as_was=True)
    world.second._switch_offs.look()
    kill(world)
    world.provider.refuses = None
    assert world.second._switch_offs.look() == 1
    assert rows(world) == [("agent", "confirmed", 1)]


@pytest.mark.rule("K1", "K6")
def test_people_hear_after_half_a_minute_every_five_and_when_it_is_done(world):
    world.provider.refuses = Unreachable("503: the vendor is away")
    kill(world)
    for _ in range(340):
        world.clock.advance(1)
        world.second._switch_offs.look()
    world.second.deliver()
    told = [one.what for one in world.sink.events]
    assert told == ["killed", "not_switched_off", "not_switched_off"]
    first = world.sink.events[1]
    assert (first.subject, first.actor) == ("agent", "ana")
    assert first.after["type"] == "downhaul flags off agent"
    assert "the vendor is away" in first.after["error"]
    assert 30 <= first.after["since"] < 62  # at the first try after half a minute
    world.provider.refuses = None
    world.clock.advance(30)
    world.second.run_once()
    world.second.deliver()
    assert world.sink.events[-1].what == "switched_off"


@pytest.mark.rule("K1")
@pytest.mark.parametrize(
    "refusal, state",
    [
        (UnsupportedCapability("write", provider="vendor"), "failed"),
        (RuntimeError("an SDK's own"), "sent"),
    ],
)
def test_what_can_never_work_is_given_up_and_all_else_is_not(world, refusal, state):
    world.provider.refuses = refusal
    kill(world)
    world.second._switch_offs.look()
    assert rows(world)[0][1] == state


@pytest.mark.rule("K1")
def test_a_flag_that_is_gone_at_the_backend_is_owed_no_more(world):
    world.provider.refuses = Unreachable("503")
    kill(world)
    world.provider.refuses = None
    world.provider.delete("agent", WHO)
    assert world.second._switch_offs.look() == 0
    assert rows(world)[0][1] == "superseded"


@pytest.mark.rule("K1")
def test_a_row_that_somebody_broke_still_names_its_flag(world):
    world.provider.refuses = Unreachable("503")
    kill(world)
    intents = world.store.database.tables.intents
    with world.store.database.writing() as connection:
        connection.execute(update(intents).values(detail="{broken"))
    world.provider.refuses = None
    assert world.second._switch_offs.look() == 1
    assert not world.provider.get("agent").on


@pytest.mark.rule("K1")
def test_a_store_that_can_not_note_the_debt_does_not_hold_up_the_attempt(world, monkeypatch):
    def away(*_words, **_options):
        raise Unreachable("the store went away after the kill")

    monkeypatch.setattr("downhaul.store.owed.Debts.owe", away)
    assert kill(world).at_provider is AtProvider.SWITCHED_OFF
    world.provider.refuses = Unreachable("503")
    result = kill(world, "model")
    assert result.at_provider is AtProvider.LEFT
    assert "nobody will retry" in result.warnings[0]


def test_with_flags_and_kills_in_one_store_nothing_is_owed(here):
    here.flag()
    assert kill(here).at_provider is AtProvider.NOT_NEEDED
    assert rows(here) == []
    assert here.controller._switch_offs.look() == 0


def test_a_backend_that_takes_no_writes_is_owed_nothing(world):
    world.provider.capabilities = frozenset({Capability.FLAG_SET, Capability.READ})
    assert kill(world).at_provider is AtProvider.NOT_OFFERED
    assert rows(world) == []


@pytest.mark.rule("K1")
@pytest.mark.parametrize("scope", ["tag:agents", "*"])
def test_what_a_tag_or_everything_covers_is_switched_off_only_where_that_is_asked_for(world, scope):
    world.provider.put(Flag.boolean("other", tags=("agents",)), WHO)
    world.provider.put(Flag.boolean("agent", tags=("agents",)), WHO)
    plain = kill(world, scope)
    assert plain.at_provider is AtProvider.NOT_NEEDED
    assert (world.provider.asked, rows(world)) == ([], [])
    told = kill(world, scope, vendor=True)
    assert told.at_provider is AtProvider.SWITCHED_OFF
    covered = ["agent", "other"] if scope == "tag:agents" else ["agent", "model", "other"]
    assert [key for key, _who, _why in world.provider.asked] == covered
    assert sorted(rows(world)) == [(key, "confirmed", 0) for key in covered]


@pytest.mark.rule("K1")
def test_each_flag_of_a_tag_that_could_not_be_switched_off_is_owed_until_the_tag_is_revived(world):
    for key in ("agent", "model"):
        world.provider.put(Flag.boolean(key, tags=("agents",)), WHO)
    world.provider.refuses = Unreachable("503")
    world.second.tick()
    result = kill(world, "tag:agents", vendor=True)
    assert result.at_provider is AtProvider.OWED
    assert "did not switch agent, model off (503)" in result.warnings[-1]
    world.provider.refuses = None
    assert world.second._switch_offs.look() == 2
    assert not any(flag.on for flag in world.provider.list().flags.values())
    world.provider.refuses = Unreachable("503")
    kill(world, "tag:agents", vendor=True)
    world.operator.revive("tag:agents", "put out")
    world.provider.refuses = None
    assert world.second._switch_offs.look() == 0
    assert [state for _flag, state, _tries in rows(world)] == ["superseded"] * 2


@pytest.mark.rule("K1")
def test_flags_that_can_not_be_listed_are_told(world, monkeypatch):
    def away():
        raise Unreachable("the vendor is away")

    monkeypatch.setattr(world.provider, "list", away)
    result = kill(world, "tag:agents", vendor=True)
    assert result.at_provider is AtProvider.LEFT
    assert "its flags could not be listed: the vendor is away" in " ".join(result.warnings)


@pytest.mark.rule("K1")
def test_a_defect_in_one_look_is_not_the_end_of_them(world, monkeypatch, caplog):
    looks, enough, stop = [], threading.Event(), threading.Event()

    def look():
        looks.append(1)
        if len(looks) == 3:
            enough.set()
        message = "a defect of an SDK"
        raise ZeroDivisionError(message)

    monkeypatch.setattr(world.second, "interval", 0.01)
    monkeypatch.setattr(world.second._switch_offs, "look", look)
    pays = threading.Thread(target=world.second._pay, args=(stop,))
    pays.start()
    assert enough.wait(20)
    stop.set()
    pays.join(20)
    assert "a look beside the rollouts failed" in caplog.text
