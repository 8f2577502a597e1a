"""Rows of rollouts: one live one a flag, leases that never overlap, and saves that are fenced."""

import json
import threading

import pytest
from rollout_world import Clock, provider_at, store_at
from sqlalchemy import select, update

from downhaul.errors import FlagNotFound, Refused, VersionConflict
from downhaul.provider import Change
from downhaul.store.rollouts import EventRow, LeaseLost, NewRollout, Save

WHO = Change("ana", "a better agent")
PLANNED = EventRow("planned", "ana", "a better agent", {"steps": [10, 100]})
ENVIRONMENTS = iter(range(1, 1000))


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
)
def place(request, tmp_path_factory):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'flags.db'}"
    else:
        url = request.getfixturevalue("module_postgres")
    with store_at(url) as store:
        yield store


@pytest.fixture
def control_at(place):
    made = []

    def make(environment):
        provider = provider_at(place[0], environment)
        Clock(provider.database)
        made.append(provider)
        return provider.control

    yield make
    for one in made:
        one.close()


@pytest.fixture
def environment():
    return f"rows-{next(ENVIRONMENTS)}"


@pytest.fixture
def clock(place):
    return place[1]


@pytest.fixture
def store(control_at, environment):
    return control_at(environment).rollouts


@pytest.fixture
def other(control_at, environment):
    """The same rows, through connections of another process."""
    return control_at(environment).rollouts


def new(flag="agent", provider="here"):
    return NewRollout(
        provider=provider,
        flag=flag,
        variant="on",
        plan={"flag": flag, "steps": [1, 2]},
        digest="d1",
        snapshot={"document": {"key": flag}},
        state={"phase": "starting"},
        phase="starting",
    )


def create(store, flag="agent", provider="here"):
    return store.create(new(flag, provider), WHO, PLANNED)


def claim(store, owner="first", *, lease=15.0, limit=25, only=None):
    return store.claim(owner, lease=lease, limit=limit, provider="here", only=only)


def claim_one(store, owner="first", **options):
    (found,) = claim(store, owner, **options)
    return found


def saved(phase="progressing", due_in=5.0, **fields):
    return Save({"phase": phase}, phase, live=fields.pop("live", True), due_in=due_in, **fields)


# Rows


@pytest.mark.rule("R1")
def test_a_new_rollout_is_kept_whole_and_is_due_at_once(store, clock):
    row = create(store)
    assert (row.flag, row.variant, row.plan, row.digest, row.state, row.evidence) == (
        "agent", "on", {"flag": "agent", "steps": [1, 2]}, "d1", {"phase": "starting"}, {},
    )  # fmt: skip
    assert (row.live, row.epoch, row.lease_owner, row.revision) == (True, 0, "", 1)
    assert row.due_at == row.created_at == clock.now()
    assert (row.actor, row.reason, row.marked) == ("ana", "a better agent", False)
    (event,) = store.events(row.id)
    assert (event.action, event.actor, event.entity) == ("planned", "ana", "rollout")
    assert event.after == {"flag": "agent", "rollout": row.id, "steps": [10, 100]}


@pytest.mark.rule("R1")
def test_a_flag_has_one_live_rollout_at_a_provider_and_a_refused_one_leaves_nothing(store):
    first = create(store)
    with pytest.raises(Refused, match=f"has a live rollout already: {first.id}"):
        create(store)
    assert [one.id for one in store.newest()] == [first.id]
    assert len(store.events(first.id)) == 1
    assert create(store, "another").flag == "another"
    assert create(store, provider="there").provider == "there"


def test_two_that_create_at_the_same_moment_make_one(store, other):
    gate, made, refused = threading.Barrier(2), [], []

    def begin(through):
        gate.wait(10)
        try:
            made.append(create(through))
        except Refused as error:
            refused.append(error)

    threads = [threading.Thread(target=begin, args=(one,)) for one in (store, other)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert (len(made), len(refused)) == (1, 1)


def test_a_rollout_that_ended_makes_room_for_the_next_and_is_found_by_its_flag(store, clock):
    first = create(store)
    store.save(claim_one(store), saved("completed", live=False))
    assert store.live_of("agent") is None
    clock.advance(1)
    second = create(store)
    assert store.live_of("agent").id == second.id
    assert store.latest_of("agent").id == second.id
    assert [one.id for one in store.newest()] == [second.id, first.id]
    assert [one.id for one in store.newest(live=True)] == [second.id]
    assert [one.id for one in store.newest(limit=1)] == [second.id]


def test_other_environments_see_nothing_of_it(store, control_at):
    row = create(store)
    elsewhere = control_at("elsewhere").rollouts
    assert elsewhere.live_of("agent") is None
    assert elsewhere.newest() == []
    assert claim(elsewhere) == ()
    assert store.existing(row.id).epoch == 0
    with pytest.raises(FlagNotFound):
        elsewhere.existing("0000000000")


# Claims


@pytest.mark.rule("R2", "X3")
def test_what_one_has_claimed_no_other_gets_until_the_lease_ends(store, other, clock):
    create(store)
    first = claim_one(store, "first", lease=15)
    assert first.epoch == 1
    assert first.row.lease_owner == "first"
    assert first.row.lease_until == first.now + 15_000_000
    assert claim(other, "second") == ()
    assert claim(other, "second", only=first.row.id) == ()
    clock.advance(14.9)
    assert claim(other, "second") == ()
    clock.advance(0.2)
    assert claim_one(other, "second").epoch == 2


def test_an_owner_takes_its_own_claim_again(store):
    create(store)
    assert [claim_one(store).epoch for _ in range(3)] == [1, 2, 3]


def test_only_due_rollouts_are_claimed_the_longest_due_first_and_no_more_than_asked(store, clock):
    rows = []
    for number in range(4):
        rows.append(create(store, f"flag-{number}"))
        clock.advance(1)
    later = claim_one(store, only=rows[3].id)
    store.save(later, saved(due_in=60))
    assert {one.row.flag for one in claim(store, limit=2)} == {"flag-0", "flag-1"}
    assert {one.row.flag for one in claim(store, "second")} == {"flag-2"}
    assert claim_one(store, "second", only=rows[3].id).row.flag == "flag-3"  # due or not


def test_a_provider_claims_its_own_rollouts(store):
    create(store, "agent", "there")
    assert claim(store) == ()
    assert len(store.claim("first", lease=5, limit=5, provider="there")) == 1


def test_a_rollout_that_ended_is_claimed_by_nobody(store):
    row = create(store)
    store.save(claim_one(store), saved("stopped", live=False, due_in=0))
    assert claim(store) == ()
    assert claim(store, only=row.id) == ()


@pytest.mark.rule("R2")
@pytest.mark.slow
def test_many_that_claim_at_once_never_hold_the_same_one(control_at, environment, store):
    for number in range(30):
        create(store, f"flag-{number}")
    gate, held, lock = threading.Barrier(4), [], threading.Lock()

    def take(owner):
        through = control_at(environment).rollouts
        gate.wait(20)
        while found := claim(through, owner, limit=3):
            through.save_all([(one, saved(due_in=3600)) for one in found])
            with lock:
                held.extend((one.row.id, one.epoch) for one in found)

    threads = [threading.Thread(target=take, args=(f"owner-{n}",)) for n in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert sorted(held) == sorted((one.id, 1) for one in store.newest())


@pytest.mark.rule("R2")
def test_a_renewed_lease_lasts_and_a_lost_one_is_not_renewed(store, other, clock):
    create(store)
    first = claim_one(store, lease=10)
    clock.advance(8)
    store.renew(first, 10)
    clock.advance(8)
    assert claim(other, "second") == ()
    clock.advance(3)
    claim_one(other, "second")
    with pytest.raises(LeaseLost):
        store.renew(first, 10)


def test_a_claim_that_is_given_back_is_free_at_once_or_later(store, other, clock):
    create(store)
    store.release([claim_one(store)])
    second = claim_one(other, "second")
    assert second.row.state == {"phase": "starting"}
    other.release([second], due_in=30)
    assert claim(store) == ()
    clock.advance(31)
    third = claim_one(store)
    other.release([second])  # it is not the second one's any more
    assert store.existing(third.row.id).lease_owner == "first"


# Saves


@pytest.mark.rule("R2")
def test_a_save_keeps_state_evidence_and_events_and_ends_the_lease(store, clock):
    row = create(store)
    held = claim_one(store)
    event = EventRow("raised", "controller", "step 2", {"step": 1}, announce=True)
    store.save(held, saved(evidence={"cursor": 7}, events=[event]))
    now = store.existing(row.id)
    assert (now.state, now.phase, now.evidence) == (
        {"phase": "progressing"},
        "progressing",
        {"cursor": 7},
    )
    assert (now.lease_owner, now.lease_until, now.epoch) == ("", 0, 1)
    assert now.due_at == clock.now() + 5_000_000
    assert now.revision == row.revision + 1
    assert [one.action for one in store.events(row.id)] == ["planned", "raised"]
    (told,) = store.announcements()
    assert (told.event["what"], told.event["subject"], told.event["reason"]) == (
        "raised", "agent", "step 2",
    )  # fmt: skip
    assert told.event["detail"] == {"flag": "agent", "rollout": row.id, "step": 1}
    store.save(claim_one(store, only=row.id), saved())
    assert store.existing(row.id).evidence == {"cursor": 7}  # none given: what was is kept


@pytest.mark.rule("R2")
def test_what_a_stale_claim_saves_meets_no_row_and_leaves_nothing(store, other, clock):
    row = create(store)
    asked = store.command(row.id, "pause", 0, {}, WHO)
    stale = claim_one(store, lease=5)
    intent = store.intend(stale, "raise", {"weight": 10})
    clock.advance(6)
    fresh = claim_one(other, "second")
    late = saved(
        "completed",
        evidence={"cursor": 9},
        events=[EventRow("completed", "controller", "", announce=True)],
        done={asked: "paused"},
        settled={intent: "confirmed"},
    )
    for attempt in (
        lambda: store.save(stale, late),
        lambda: store.intend(stale, "raise", {}),
        lambda: store.holding(stale).__enter__(),
    ):
        with pytest.raises(LeaseLost, match="another controller's by now: epoch 1 is over"):
            attempt()
    assert store.save_all([(stale, late)]) == {row.id}
    now = store.existing(row.id)
    assert (now.phase, now.evidence, now.lease_owner) == ("starting", {}, "second")
    assert [one.action for one in store.events(row.id)] == ["planned"]
    assert store.announcements() == []
    assert store.command_done(asked).done_at is None
    assert [one.state for one in store.intents(row.id, unsettled=True)] == ["sent"]
    other.save(fresh, saved("paused"))
    assert store.existing(row.id).phase == "paused"


@pytest.mark.rule("R2")
def test_many_are_saved_at_once_and_the_lost_one_is_named(store, other, clock):
    rows = [create(store, f"flag-{number}") for number in range(3)]
    held = {one.row.flag: one for one in claim(store, lease=5)}
    clock.advance(6)
    claim_one(other, "second", only=rows[1].id)
    lost = store.save_all([(held[f"flag-{n}"], saved("paused")) for n in range(3)])
    assert lost == {rows[1].id}
    assert [store.existing(one.id).phase for one in rows] == ["paused", "starting", "paused"]


def save_and_fail(store, held):
    with store.holding(held) as connection:
        store.save_in(connection, held, saved("rolled_back", live=False))
        raise InterruptedError


@pytest.mark.rule("R7")
def test_what_was_sent_and_not_seen_is_known_until_it_is_settled(store, clock):
    row = create(store)
    held = claim_one(store)
    kinds = {name: store.intend(held, name, {}) for name in ("start", "raise", "off", "restore")}
    settled = {
        kinds["start"]: "missing",
        kinds["raise"]: "confirmed",
        kinds["off"]: "superseded",
    }
    store.save(held, saved("rolled_back", live=False, settled=settled))
    assert {one.operation for one in store.intents(row.id, missing=True)} == {"start", "restore"}
    assert {one.operation for one in store.intents(row.id, unsettled=True)} == {"restore"}
    provider = store.existing(row.id).provider
    assert store.unsure(provider, 60) == [row.id]
    assert store.unsure("elsewhere", 60) == []
    late = EventRow("late_write", "controller", "it came late", announce=True)
    assert store.settle_late(row, [kinds["start"]], late)
    assert not store.settle_late(row, [kinds["start"]], late)  # another was faster
    assert [one.action for one in store.events(row.id)].count("late_write") == 1
    assert store.unsure(provider, 60) == [row.id]
    clock.advance(61)
    assert store.unsure(provider, 60) == []
    assert store.settle_late(row, [kinds["restore"]], late)
    assert store.unsure(provider, 3600) == []


def test_a_live_rollout_is_not_watched(store):
    row = create(store)
    store.intend(claim_one(store), "start", {})
    assert store.unsure(row.provider, 60) == []


def test_a_kept_lease_stays_the_owners_and_one_transaction_holds_flag_and_state(store, other):
    row = create(store)
    held = claim_one(store)
    store.save(held, saved("rolling_back", due_in=0, keep=True))
    assert store.existing(row.id).lease_owner == "first"
    assert claim(other, "second") == ()
    with pytest.raises(InterruptedError):
        save_and_fail(store, held)
    assert store.existing(row.id).phase == "rolling_back"
    with store.holding(held) as connection:
        store.note_intent(connection, held, "i1", "off", {"version": "4"})
        store.save_in(connection, held, saved("rolled_back", live=False))
    assert store.existing(row.id).phase == "rolled_back"
    (intent,) = store.intents(row.id)
    assert (intent.state, intent.operation, intent.detail) == ("confirmed", "off", {"version": "4"})
    assert store.intents(row.id, unsettled=True) == []


# Commands, intents, and what is reopened


@pytest.mark.rule("R1")
def test_commands_are_kept_in_order_with_the_step_they_were_meant_for(store, clock):
    row = create(store)
    store.save(claim_one(store), saved(due_in=3600))
    clock.advance(1)
    first = store.command(row.id, "pause", 1, {}, WHO)
    second = store.command(
        row.id, "rollback", 1, {"overwrite": True}, Change("ben", "", marked=True)
    )
    assert store.existing(row.id).due_at == clock.now()  # due at once
    found = store.commands([row.id, "unknown"])
    assert found["unknown"] == []
    assert [(one.id, one.verb, one.step, one.actor, one.marked) for one in found[row.id]] == [
        (first, "pause", 1, "ana", False),
        (second, "rollback", 1, "ben", True),
    ]
    assert found[row.id][1].options == {"overwrite": True}
    store.save(claim_one(store), saved(done={first: "paused"}))
    assert [one.id for one in store.commands([row.id])[row.id]] == [second]
    assert store.command_done(first).outcome == "paused"
    store.dismiss(second, "the rollout had ended")
    store.dismiss(first, "too late")
    assert store.command_done(second).outcome == "the rollout had ended"
    assert store.command_done(first).outcome == "paused"
    assert store.command_done(10**9) is None


@pytest.mark.rule("R8")
def test_an_ended_rollout_is_reopened_once(store, clock):
    row = create(store)
    store.save(claim_one(store), saved("completed", live=False, due_in=0))
    ended = store.existing(row.id)
    event = EventRow("reverting", "ana", "it is worse", announce=True)
    clock.advance(5)
    store.reopen(row.id, ended.revision, {"phase": "reverting"}, "reverting", event)
    now = store.existing(row.id)
    assert (now.live, now.phase, now.due_at) == (True, "reverting", clock.now())
    with pytest.raises(VersionConflict, match="moved on meanwhile"):
        store.reopen(row.id, ended.revision, {"phase": "reverting"}, "reverting", event)
    assert [one.action for one in store.events(row.id)] == ["planned", "reverting"]
    assert claim_one(store).row.id == row.id


def test_a_rollout_is_not_reopened_beside_a_live_one_of_its_flag(store):
    row = create(store)
    store.save(claim_one(store), saved("completed", live=False))
    ended = store.existing(row.id)
    live = create(store)
    with pytest.raises(Refused, match=f"has a live rollout already: {live.id}"):
        store.reopen(row.id, ended.revision, {}, "reverting", PLANNED)
    assert not store.existing(row.id).live


@pytest.mark.rule("K5")
def test_a_hurry_makes_one_flags_rollout_due_or_all(store, clock):
    rows = {flag: create(store, flag) for flag in ("a", "b")}
    store.save_all([(one, saved(due_in=3600)) for one in claim(store)])
    clock.advance(1)
    store.hurry("a")
    assert [one.row.flag for one in claim(store)] == ["a"]
    store.hurry()
    assert store.existing(rows["b"].id).due_at == clock.now()
    store.hurry("no such flag")


# Announcements and controllers


def test_announcements_are_given_until_they_are_delivered(store, control_at, clock):
    create(store)
    events = [EventRow(f"e{n}", "controller", "", announce=n != 1) for n in range(3)]
    store.save(claim_one(store), saved(events=events))
    first, second = store.announcements()
    assert (first.event["what"], second.event["what"]) == ("e0", "e2")
    outbox = store.outbox
    assert [outbox.claim(one.id, "chat", 60) for one in (first, second)] == [1, 1]
    outbox.took(first.id, "chat")
    outbox.settle(first.id)
    outbox.failed(second.id, "chat", "away", 30)
    assert outbox.due("chat") == []
    assert store.announcements() == [second]
    assert control_at("elsewhere").rollouts.outbox.due("chat") == []
    assert control_at("elsewhere").rollouts.announcements() == []
    clock.advance(31)
    (again,) = outbox.due("chat")
    assert (again.id, again.attempts) == (second.id, 1)


def test_controllers_are_counted_while_their_heartbeats_are_fresh(store, control_at, clock):
    store.beat("first", "host-a", 1, "1.0")
    store.beat("second", "host-b", 2, "1.0")
    clock.advance(10)
    store.beat("first", "host-a", 1, "1.0")
    assert (store.controllers(15), store.controllers(5)) == (2, 1)
    assert control_at("elsewhere").rollouts.controllers(15) == 0
    store.leave("first")
    assert store.controllers(15) == 1
    clock.advance(25 * 3600)
    store.beat("third", "host-a", 3, "1.0")  # sweeps what was left behind
    with store.database.reading() as connection:
        owners = select(store.database.tables.controllers.c.owner)
        assert "second" not in connection.execute(owners).scalars().all()


@pytest.mark.rule("R8")
def test_rehearsals_are_kept_by_flag_the_newest_first(store):
    store.record_rehearsal("agent", {"held": True, "population": 10}, WHO)
    store.record_rehearsal("agent", {"held": False, "population": 20}, WHO)
    assert [one.after["population"] for one in store.rehearsals("agent")] == [20, 10]
    assert store.rehearsals("another") == []


# Rows that are broken


@pytest.mark.parametrize("column", ["plan", "state", "snapshot", "evidence"])
@pytest.mark.parametrize("text", ["{broken", "[1, 2]"])
def test_a_document_that_is_none_spoils_its_own_row_alone(store, column, text):
    spoilt, sound = create(store, "spoilt"), create(store, "sound")
    rollouts = store.database.tables.rollouts
    with store.database.writing() as connection:
        connection.execute(
            update(rollouts).where(rollouts.c.id == spoilt.id).values({column: text})
        )
    found = {one.row.id: one for one in claim(store)}
    assert getattr(found[spoilt.id].row, column) == {"unreadable": text}
    assert found[sound.id].row == store.existing(sound.id)
    assert len(store.newest()) == 2


def test_a_broken_announcement_keeps_no_other_from_being_told(store):
    create(store)
    events = [EventRow(f"e{n}", "controller", "", announce=True) for n in range(2)]
    store.save(claim_one(store), saved(events=events))
    outbox = store.database.tables.outbox
    broken = store.announcements()[0].id
    with store.database.writing() as connection:
        connection.execute(update(outbox).where(outbox.c.id == broken).values(event="{broken"))
    first, second = store.announcements()
    assert first.event == {"unreadable": "{broken"}
    assert second.event["what"] == "e1"


def test_a_broken_intent_is_read_too(store):
    row = create(store)
    intent = store.intend(claim_one(store), "raise", {"weight": 1})
    intents = store.database.tables.intents
    with store.database.writing() as connection:
        connection.execute(update(intents).where(intents.c.id == intent).values(detail="{"))
    assert store.intents(row.id)[0].detail == {"unreadable": "{"}


def test_documents_keep_every_letter(store):
    words = 'naïve "quotes" \\ \u2028 😀'
    row = store.create(
        new(), Change("ana", words), EventRow("planned", "ana", words, {"why": words})
    )
    assert store.existing(row.id).reason == words
    assert json.loads(json.dumps(store.events(row.id)[0].after))["why"] == words
