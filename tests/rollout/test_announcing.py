"""What a kill and a rollout tell people: committed with it, told at least once, in nobody's way."""

import logging
import threading
import time
from dataclasses import replace

import pytest
from alert_servers import BlackHole, Web, served
from rollout_world import WHO, plan_for
from sqlalchemy import update

from downhaul.backends.memory import MemoryProvider
from downhaul.config import Secret
from downhaul.control import MemoryAlert, Operator
from downhaul.control import courier as couriers
from downhaul.control import dispatcher as dispatchers
from downhaul.control.apprise_sink import AppriseAlert
from downhaul.control.courier import Courier, event_of
from downhaul.control.hearing import Hearing
from downhaul.control.messages import Wording
from downhaul.control.webhook import WebhookAlert
from downhaul.errors import Unreachable
from downhaul.overlay import Scope
from downhaul.store import writing
from downhaul.store.outbox import Delivery

DAY = 24 * 3600


class Chat(MemoryAlert):
    """A sink that every process has by its configuration."""

    configured = True

    def __init__(self, name="chat", hearing=None, **options):
        super().__init__(name, **options)
        self._hearing = hearing or Hearing()

    def hears(self, event):
        return self._hearing.hears(event)


class Hanging(Chat):
    """A sink that answers nobody until it is let go."""

    def __init__(self, name="hanging"):
        super().__init__(name)
        self.entered = threading.Event()
        self.released = threading.Event()

    def send(self, event):
        self.entered.set()
        assert self.released.wait(60)
        super().send(event)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(dispatchers, "_GRACE", 0.3)
    monkeypatch.setattr(dispatchers, "retry_in", lambda _attempts: 0.01)


@pytest.fixture
def operator_of(request):
    made = []

    def make(world, *alerts, **options):
        made.append(
            Operator(
                world.provider,
                world.control,
                actor="ana",
                environment=world.store.environment,
                alerts=alerts,
                **options,
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.close(0.1)


def kill(world, subject="agent", reason="it burns", **options):
    return world.operator.kill(subject, reason, **options)


def courier_of(world, *alerts):
    return Courier(world.store.outbox, alerts, lambda _name, _value: None)


def waiting(world):
    return [(one.event["what"], one.event["subject"]) for one in world.store.announcements()]


# With the kill


@pytest.mark.rule("K6")
def test_a_kill_and_a_revive_are_announced_in_the_transaction_that_records_them(world, monkeypatch):
    def full(*_words):
        raise Unreachable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "announce", full)
        with pytest.raises(Unreachable):
            kill(world)
    assert world.control.kills() == []
    assert waiting(world) == []
    record = kill(world).record
    [row] = world.store.announcements()
    event = event_of(row)
    assert (event.what, event.subject, event.actor, event.reason) == (
        "killed",
        "agent",
        "ana",
        "it burns",
    )
    assert (event.environment, event.at) == (world.store.environment, record.at)
    assert event.after["sequence"] == record.sequence
    assert event.id == world.control.changes()[0].change_id
    world.operator.revive("agent", "put out", as_was=True)
    assert waiting(world) == [("killed", "agent"), ("revived", "agent")]
    assert event_of(world.store.announcements()[1]).before["killed"] is True


@pytest.mark.rule("K6")
def test_killing_what_is_killed_is_no_news(world):
    for _ in range(3):
        kill(world)
    assert waiting(world) == [("killed", "agent")]


@pytest.mark.rule("K6")
def test_a_kill_of_all_environments_is_told_in_the_one_it_came_from(world_of):
    here, there = world_of("sqlite"), world_of("sqlite")
    kill(here, "of-all-environments", everywhere=True)  # which other tests of the store see too
    chat = Chat(hearing=Hearing(environments=("production",)))
    assert courier_of(there, chat).deliver() == 0
    assert courier_of(here, chat).deliver() == 1
    assert chat.wait_for("killed").environment == "*"


# By a controller


@pytest.mark.rule("K6")
def test_a_controller_tells_of_kills_that_others_pressed(world):
    chat = Chat()
    controller = world.another("teller", alerts=(chat,))
    kill(world)
    assert controller.deliver() == 1
    assert controller.deliver() == 0
    assert chat.told == ["killed agent"]
    assert chat.events[0].after["id"] > 0
    assert waiting(world) == []


def test_controllers_of_an_environment_tell_of_nothing_else(world_of):
    here, there = world_of("sqlite"), world_of("sqlite")
    chat = Chat()
    kill(here)
    assert there.another("teller", alerts=(chat,)).deliver() == 0
    assert chat.told == []
    assert here.another("teller", alerts=(chat,)).deliver() == 1


def test_a_sink_that_hangs_holds_up_no_other(here, monkeypatch):
    hanging, chat = Hanging(), Chat()
    courier = courier_of(here, hanging, chat)
    kill(here)
    began = time.monotonic()
    assert courier.deliver(0.2) == 0
    assert hanging.entered.wait(10)
    assert chat.wait_for("killed")
    here.operator.revive("agent", "put out", as_was=True)
    courier.deliver(0.2)
    assert chat.wait_for("revived")
    assert time.monotonic() - began < 10
    assert waiting(here) == [("killed", "agent"), ("revived", "agent")]
    hanging.released.set()
    assert hanging.wait_for("killed")
    assert courier.deliver() == 2
    assert hanging.told == ["killed agent", "revived agent"]
    assert chat.told == ["killed agent", "revived agent"]


def test_a_sink_that_never_answers_has_failed_after_a_while(here, monkeypatch, caplog):
    monkeypatch.setattr("downhaul.control.sending.PATIENCE", 0.05)
    monkeypatch.setattr(couriers, "PATIENCE", 0.05)
    hanging = Hanging()
    courier = courier_of(here, hanging)
    kill(here)
    before = threading.active_count()
    for attempt in range(1, 6):
        assert courier.deliver() == 0
        [backlog] = here.store.outbox.backlogs()
        assert (backlog.sink, backlog.waiting) == ("hanging", 1)
        assert backlog.error == (
            "no answer within 0.05 s" if attempt <= 3 else "it hangs on what it was given before"
        )
        here.clock.advance(301)
    assert threading.active_count() < before + 10
    hanging.released.set()


def test_a_sink_that_is_down_is_tried_less_and_less_often_and_is_then_given_up(
    world, monkeypatch, caplog
):
    monkeypatch.setattr(couriers, "MOST_TRIES", 6)
    down = Chat("down", fails=[OSError("no route to people")] * 100)
    chat = Chat()
    courier = courier_of(world, down, chat)
    kill(world)
    tries = []
    for second in range(40):
        left = len(down._fails)
        courier.deliver()
        if len(down._fails) < left:
            tries.append(second)
        world.clock.advance(1)
    assert tries == [0, 1, 3, 7, 15, 31]
    assert chat.told == ["killed agent"]
    assert waiting(world) == []
    said = "alert down is given up for killed agent after 6 tries: OSError: no route to people"
    assert said in caplog.text
    [backlog] = world.store.outbox.backlogs()
    assert (backlog.sink, backlog.waiting, backlog.given_up) == ("down", 0, 1)
    world.clock.advance(8 * DAY)
    assert world.store.outbox.backlogs() == []


def test_what_a_sink_does_not_hear_of_does_not_stand_before_what_it_does(here, monkeypatch):
    monkeypatch.setattr(couriers, "_MANY", 5)
    pager = Chat("pager", hearing=Hearing(only=("killed",)))
    down = Chat("down", fails=[OSError()] * 1000)
    courier = courier_of(here, pager, down)
    for number in range(12):
        kill(here, f"flag-{number}")
        here.operator.revive(f"flag-{number}", "put out", as_was=True)
    for _ in range(8):
        courier.deliver()
    assert sorted(pager.told) == sorted(f"killed flag-{number}" for number in range(12))


def test_the_worst_is_told_first(here):
    here.flag()
    here.rollouts.start(plan_for("agent", 10, 50))
    here.go(lambda: here.percent() == 10)
    kill(here, "another")
    chat = Chat()
    courier_of(here, chat).deliver()
    assert chat.told == ["killed another", "started agent"]


def test_what_was_a_week_ago_is_no_news(world, caplog):
    chat = Chat()
    kill(world)
    world.clock.advance(8 * DAY)
    kill(world, "another")
    courier_of(world, chat).deliver()
    assert chat.told == ["killed another"]
    assert "alert chat is not told of killed agent: that was a week ago" in caplog.text
    assert waiting(world) == []


def test_a_sink_that_failed_for_a_week_is_told_all_the_same(world):
    chat = Chat(fails=[OSError()])
    courier = courier_of(world, chat)
    kill(world)
    courier.deliver()
    world.clock.advance(8 * DAY)
    assert courier.deliver() == 1
    assert chat.told == ["killed agent"]


def test_a_row_that_is_broken_is_left_out_and_said_once(world, caplog):
    kill(world)
    outbox = world.store.database.tables.outbox
    here = outbox.c.environment == world.store.environment
    with world.store.database.writing() as connection:
        connection.execute(update(outbox).where(here).values(event="{broken"))
    kill(world, "another")
    chat = Chat()
    courier = courier_of(world, chat)
    for _ in range(3):
        courier.deliver()
    assert chat.told == ["killed another"]
    assert caplog.text.count("can't be read, and is left out") == 1


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_of_any_number_of_controllers_one_tells_each_sink_of_each_event(world_of, kind):
    world = world_of(kind)
    for number in range(12):
        kill(world, f"flag-{number}")
    chats = [(Chat("one"), Chat("two")) for _ in range(4)]
    couriers = [courier_of(world, *pair) for pair in chats]
    threads = [threading.Thread(target=one.deliver) for one in couriers]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    for at in (0, 1):
        told = [word for pair in chats for word in pair[at].told]
        assert sorted(told) == sorted(f"killed flag-{number}" for number in range(12))


def test_a_clock_that_went_back_keeps_nobody_from_hearing(world):
    chat = Chat(fails=[OSError()])
    courier = courier_of(world, chat)
    world.clock.advance(DAY)
    kill(world)
    courier.deliver()
    world.clock.advance(-DAY)
    assert courier.deliver() == 1


def test_a_controller_says_once_why_announcements_wait(here, caplog):
    caplog.set_level(logging.WARNING, "downhaul.controller")
    controller, stop = here.another("teller", alerts=(Chat(),), tick=0.02), threading.Event()
    said = threading.Event()
    looks = []

    def away(_limit=50):
        looks.append(1)
        if len(looks) > 3:
            said.set()
        raise Unreachable("no such table: outbox_deliveries")

    here.store.outbox.waiting = away
    thread = threading.Thread(target=controller.run, args=(stop,))
    thread.start()
    assert said.wait(30)
    stop.set()
    thread.join(30)
    assert caplog.text.count("announcements wait: no such table") == 1


@pytest.mark.rule("R4")
def test_a_way_back_that_kills_is_announced_by_its_kill_alone(apart):
    apart.flag()
    apart.rollouts.start(plan_for("agent", 10, 100))
    apart.go(lambda: apart.percent() == 10)

    def refuses(*_words, **_options):
        raise Unreachable("503")

    apart.store.command(apart.rollouts.get("agent").id, "rollback", 0, {}, WHO)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apart.provider, "switch_off", refuses)
        patch.setattr(apart.provider, "put", refuses)
        patch.setattr(apart.provider, "get", refuses)
        apart.tick()
        apart.tick()
    chat = Chat()
    courier_of(apart, chat).deliver()
    kills = [one for one in chat.events if one.what == "killed"]
    assert [one.subject for one in kills] == ["agent"]
    assert "rolling back, and its backend is away" in kills[0].reason


def test_a_rollout_tells_people_from_its_start_to_its_way_back(here):
    with served(Web()) as web:
        sink = AppriseAlert(
            Secret(web.url("json")),
            name="chat",
            wording=Wording("https://flags.internal/{environment}/{flag}"),
        )
        teller = here.another("teller", alerts=(sink,))
        here.flag()
        rollout = here.rollouts.start(plan_for("agent", 10, 50, 100)).id
        here.go(lambda: here.percent() == 50, controller=teller)
        here.rollouts.pause("agent", "lunch")
        here.rollouts.rollback("agent", "it is worse")
        here.go_to("rolled_back", controller=teller)
        for _ in range(6):  # each in its order
            teller.deliver()
        told = [one.json for one in web.heard.wait_for(5)]
    place = here.store.environment
    kinds = {one["title"].removesuffix(f" in {place}"): one["type"] for one in told}
    assert kinds == {
        f"[info] Rollout of agent in {place} started: step 1 of 3: 10 %": "info",
        f"[info] Rollout of agent in {place} increased: step 2 of 3: 50 %": "info",
        f"[warning] Rollout of agent in {place} is paused": "warning",
        "[warning] Rolling agent back": "warning",
        "[critical] agent is rolled back": "failure",
    }
    by_title = {one["title"].split()[0]: one["message"].splitlines() for one in told}
    assert "Why: it is worse" in by_title["[critical]"]
    assert f"Type: downhaul rollout status {rollout} -e {place}" in by_title["[critical]"]
    assert f"See: https://flags.internal/{place}/agent" in by_title["[critical]"]


# From the process that pressed it


@pytest.mark.rule("K6")
def test_without_a_controller_who_pressed_it_tells_people_and_notes_that(world, operator_of):
    chat = Chat()
    operator = operator_of(world, chat)
    operator.kill("agent", "it burns")
    operator.close(20)
    assert chat.told == ["killed agent"]
    [row] = world.store.announcements()  # for sinks that only a controller has
    assert world.store.outbox.done([row.id]) == {row.id: {"chat": Delivery.DELIVERED}}
    theirs, pager = Chat(), Chat("pager")
    assert courier_of(world, theirs, pager).deliver() == 1
    assert (theirs.told, pager.told) == ([], ["killed agent"])
    assert pager.events[0].id == chat.events[0].id


@pytest.mark.rule("K6")
def test_where_a_controller_lives_it_is_left_to_it(world, operator_of, monkeypatch):
    monkeypatch.setattr(dispatchers, "_GRACE", 20.0)
    mine, theirs = Chat(), Chat()
    controller = world.another("teller", alerts=(theirs,))
    controller.tick()  # alive
    operator = operator_of(world, mine)
    operator.kill("agent", "it burns")
    assert controller.deliver() == 1
    began = time.monotonic()
    operator.close(20)
    assert time.monotonic() - began < 10  # it saw that somebody has it
    assert (mine.told, theirs.told) == ([], ["killed agent"])


@pytest.mark.rule("K6")
def test_a_controller_that_died_a_moment_ago_keeps_nobody_from_hearing(world, operator_of):
    world.another("dead", alerts=(Chat(),)).tick()
    mine = Chat()
    operator = operator_of(world, mine)
    operator.kill("agent", "it burns")
    operator.close(20)
    assert mine.told == ["killed agent"]


@pytest.mark.rule("K6")
def test_what_could_not_be_told_is_said_and_waits_for_a_controller(world, operator_of, caplog):
    chat = Chat(fails=[OSError("no route to people")] * 100)
    operator = operator_of(world, chat)
    operator.kill("agent", "it burns")
    operator.close(20)
    assert (
        'alert "chat" is not told of "killed agent" yet (OSError: no route to people); '
        "it waits in the store for a controller"
    ) in caplog.text
    theirs = Chat()
    assert courier_of(world, theirs).deliver() == 1
    assert theirs.told == ["killed agent"]


@pytest.mark.rule("K6")
def test_a_sink_that_fails_once_is_tried_again_from_here(world, operator_of, caplog):
    chat = Chat(fails=[OSError("reset")])
    operator = operator_of(world, chat)
    operator.kill("agent", "it burns")
    operator.close(20)
    assert chat.told == ["killed agent"]
    assert "is not told of" not in caplog.text


@pytest.mark.rule("K6")
@pytest.mark.parametrize("goes_at", ["find", "controllers", "state", "claim", "took"])
def test_a_store_that_goes_away_after_the_kill_keeps_nobody_from_hearing(
    here, operator_of, monkeypatch, goes_at
):
    def away(*_words):
        raise Unreachable("gone")

    monkeypatch.setattr(here.store.outbox, goes_at, away)
    chat = Chat()
    operator = operator_of(here, chat)
    operator.kill("agent", "it burns")
    operator.close(20)
    assert chat.told == ["killed agent"]


@pytest.mark.rule("K6")
def test_a_sink_that_hangs_delays_no_kill_and_the_end_by_its_time_only(here, operator_of, caplog):
    hanging = Hanging()
    operator = operator_of(here, hanging)
    began = time.monotonic()
    operator.kill("agent", "it burns")
    killed_after = time.monotonic() - began
    assert hanging.entered.wait(10)
    assert world_is_killed(here)
    began = time.monotonic()
    operator.close(0.3)
    assert time.monotonic() - began < 5
    assert killed_after < 5
    assert '"hanging" is not told of "killed agent" yet (no answer yet)' in caplog.text
    hanging.released.set()


def times_of(operator, prefix, count=40):
    """How long each of so many kills took, in seconds."""
    taken = []
    for number in range(count):
        began = time.perf_counter()
        operator.kill(f"{prefix}-{number}", "it burns")
        taken.append(time.perf_counter() - began)
    return sorted(taken)


@pytest.mark.rule("K6")
@pytest.mark.slow
def test_kills_take_as_long_with_sinks_that_are_black_holes_as_without(
    here, operator_of, monkeypatch
):
    with served(BlackHole()) as hole:
        sinks = [
            WebhookAlert(Secret(hole.url()), name="webhook"),
            AppriseAlert(Secret(f"{hole.url('json')}?rto=60"), name="chat"),
            Hanging(),
        ]
        times_of(operator_of(here), "warm")
        before = times_of(operator_of(here), "without")
        told = operator_of(here, *sinks)
        told.kill("first", "it burns")  # Apprise is imported once, beside it
        assert sinks[-1].entered.wait(10)
        until = time.monotonic() + 30
        while len(hole.taken) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(hole.taken) >= 2  # both are in the hole
        after = times_of(told, "with")
        middle = len(before) // 2
        assert after[middle] < 2 * before[middle] + 0.01, (before[middle], after[middle])
        assert after[-1] < before[-1] + 1.0
        sinks[-1].released.set()
    monkeypatch.setattr(dispatchers, "retry_in", lambda _attempt: 0.0)
    assert told._desk.alerts.flush(60)  # or its threads would go on trying in other tests


def world_is_killed(world):
    return "agent" in [str(one.scope) for one in world.control.kills() if one.killed]


def test_a_sink_of_this_process_alone_hears_at_once_and_others_hear_too(world, operator_of):
    mine, theirs = MemoryAlert(), Chat()
    world.another("teller", alerts=(theirs,)).tick()
    operator = operator_of(world, mine)
    operator.kill("agent", "it burns")
    assert mine.wait_for("killed").subject == "agent"
    assert courier_of(world, theirs).deliver() == 1
    assert theirs.told == ["killed agent"]
    assert theirs.events[0] == replace(
        mine.events[0], after={**mine.events[0].after, "id": theirs.events[0].after["id"]}
    )


def test_a_sink_that_can_not_say_what_it_hears_stops_no_kill(here, operator_of, caplog):
    class Odd(Chat):
        def hears(self, event):
            raise RuntimeError("odd")

    odd = Odd()
    operator = operator_of(here, odd)
    operator.kill("agent", "it burns")
    operator.close(20)
    assert odd.told == ["killed agent"]
    assert "can't say whether it hears of killed" in caplog.text


def test_who_has_no_store_tells_people_directly(tmp_path):
    chat = Chat(fails=[OSError("reset")])
    provider = MemoryProvider()
    with Operator(provider, provider.control, actor="ana", alerts=(chat,)) as operator:
        operator.kill("agent", "it burns")
    assert chat.told == ["killed agent"]
    local = Chat(fails=[OSError("gone")] * 100)
    with Operator(
        provider, None, actor="ana", alerts=(local,), kill_file=tmp_path / "k"
    ) as operator:
        operator.kill_local("agent", "it burns")
        operator._desk.alerts.flush(20)
        [untold] = operator._desk.alerts.untold()
    assert "nobody tries again" in str(untold)
    assert untold.event.after["kill_file"] == str(tmp_path / "k")


def test_scopes_are_told_as_they_are_written(here):
    for scope in ("tag:agents", "switch:loop", "*"):
        here.control.record_kill(Scope.parse(scope), WHO, killed=True)
    chat = Chat()
    courier_of(here, chat).deliver()
    assert chat.told == ["killed tag:agents", "killed switch:loop", "killed *"]
