"""Kills in memory: a register with sequence numbers that only rise."""

import pytest

from downhaul.backends.memory import MemoryControl, MemoryProvider
from downhaul.flag import Flag
from downhaul.overlay import EVERYTHING, KillRegister, Scope
from downhaul.provider import Change, State

WHO = Change("anna", "because")
A, AGENTS = Scope.parse("a"), Scope.parse("tag:agents")


class Clock:
    now = 1_800_000_000.000001

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def control(clock, heard):
    control = MemoryControl(identity="here", clock=clock)
    control.start(heard)
    return control


@pytest.mark.rule("K3")
def test_a_record_says_who_why_when_and_in_which_order(control):
    record = control.record_kill(A, WHO, killed=True)
    assert (record.actor, record.reason, record.store) == ("anna", "because", "here")
    assert record.at == "2027-01-15T08:00:00.000001Z"
    assert record.sequence == 1_800_000_000_000_001
    assert record.environment == "default"
    assert control.record_kill(EVERYTHING, WHO, killed=True, everywhere=True).environment == "*"


@pytest.mark.rule("K3")
def test_sequence_numbers_rise_even_when_the_clock_goes_back(control, clock):
    records = [control.record_kill(A, WHO, killed=True)]
    clock.now -= 3600
    records.append(control.record_kill(A, WHO, killed=False))
    records.append(control.record_kill(AGENTS, WHO, killed=True))
    sequences = [one.sequence for one in records]
    assert sequences == sorted(set(sequences))


@pytest.mark.rule("K6")
def test_saying_the_same_again_writes_nothing(control, heard):
    first = control.record_kill(A, WHO, killed=True)
    assert control.record_kill(A, Change("ben"), killed=True) is first
    assert heard.records == [first]
    assert len(control.changes()) == 1


@pytest.mark.rule("K3")
def test_a_revive_is_a_record_and_may_lift_what_other_stores_said(control):
    assert control.kills() == []
    plain = control.record_kill(A, WHO, killed=False)
    assert (plain.killed, plain.lifts) == (False, 0)
    lifting = control.record_kill(A, WHO, killed=False, lift_others=True)
    assert lifting.lifts == lifting.sequence > plain.sequence
    again = control.record_kill(A, WHO, killed=True)
    assert again.lifts == lifting.sequence
    assert control.kills() == [again]


@pytest.mark.rule("K3")
def test_a_kill_of_a_lost_store_holds_until_it_is_lifted_here(clock, control, heard):
    lost = MemoryControl(identity="lost", clock=clock)
    register = KillRegister().hear([lost.record_kill(A, WHO, killed=True)])
    control.record_kill(A, WHO, killed=False)
    register = register.hear(heard.records)
    assert register.standing(A) is not None
    control.record_kill(A, WHO, killed=False, lift_others=True)
    assert register.hear(heard.records).standing(A) is None


def test_a_listener_hears_what_was_killed_before_it_came_and_what_comes_after(heard):
    control = MemoryControl()
    before = control.record_kill(A, WHO, killed=True)
    assert control.status().state is State.NOT_READY
    control.start(heard)
    assert control.wait_ready(0)
    after = control.record_kill(AGENTS, WHO, killed=True)
    assert heard.records == [before, after]
    control.close()
    control.record_kill(EVERYTHING, WHO, killed=True)
    assert len(heard.records) == 2


@pytest.mark.rule("X4")
def test_kills_stand_in_one_history_with_the_changes_of_the_flags():
    provider = MemoryProvider()
    provider.put(Flag.boolean("a"), WHO)
    provider.control.record_kill(A, WHO, killed=True)
    provider.control.record_kill(A, WHO, killed=False)
    actions = [(one.entity, one.action) for one in provider.control.changes("a")]
    assert actions == [("kill", "revive"), ("kill", "kill"), ("flag", "create")]
    assert [one.entity for one in provider.history()] == ["flag"]
