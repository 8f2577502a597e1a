"""The register of kills of a provider that keeps one beside its flags (rules K1 to K6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from downhaul.overlay import EVERYTHING, KillRegister, Scope
from downhaul.provider import Change, FlagProvider
from downhaul_contract_tests.backend import Offer
from downhaul_contract_tests.base import CHANGE, Contract, MakeProvider, needs
from downhaul_contract_tests.listening import Recorder

_FLAG = Scope.parse("checkout")
_TAG = Scope.parse("tag:agents")


@needs(Offer.CONTROL)
class KillsContract(Contract):
    """For providers with an attribute ``control`` (a ControlStore)."""

    group = "kill register"

    @pytest.fixture
    def control(self, provider: FlagProvider) -> Iterator[Any]:
        """The control store of a provider, closed at the end."""
        store: Any = provider.control  # type: ignore[attr-defined]
        yield store
        store.close()

    @pytest.mark.rule("K3")
    def test_a_kill_and_a_revive_are_records_of_their_own(self, control: Any) -> None:
        """A revive is a word, and not an absence.

        If this fails, check that a revive is written, and its sequence is higher.
        """
        killed = control.record_kill(_FLAG, Change("ada", "it burns"), killed=True)
        assert (killed.killed, killed.actor, killed.reason) == (True, "ada", "it burns")
        assert control.kills() == [killed]
        revived = control.record_kill(_FLAG, Change("grace", "it is out"), killed=False)
        assert revived.sequence > killed.sequence
        assert control.kills() == [revived]
        assert {killed.store, revived.store} == {control.kills()[0].store}
        assert killed.store

    @pytest.mark.rule("K6")
    def test_saying_the_same_again_is_no_change(self, control: Any) -> None:
        """A kill said twice is one change.

        If this fails, check that the last word is compared first.
        """
        first = control.record_kill(_TAG, CHANGE, killed=True)
        again = control.record_kill(_TAG, Change("somebody else"), killed=True)
        # Only the sequence may move: whoever knows of a later revive must follow a kill said now.
        assert replace(again, sequence=first.sequence) == first
        assert again.sequence >= first.sequence
        assert len(control.changes("tag:agents")) == 1

    @pytest.mark.rule("K3")
    def test_a_revive_of_what_other_stores_killed_lifts_it(self, control: Any) -> None:
        """``lifts`` says up to where.

        If this fails, check how ``lift_others`` is recorded.
        """
        word = control.record_kill(_FLAG, CHANGE, killed=False, lift_others=True)
        assert word.lifts == word.sequence
        again = control.record_kill(_FLAG, CHANGE, killed=False, lift_others=True)
        assert again.sequence > word.sequence
        kill = control.record_kill(_FLAG, CHANGE, killed=True)
        assert kill.lifts == again.lifts
        assert KillRegister().hear([kill]).standing(_FLAG) == kill

    @pytest.mark.rule("K4")
    def test_all_environments_are_a_word_of_their_own(self, control: Any) -> None:
        """A kill of one environment is apart from one of all.

        If this fails, check the environment in the key of a record.
        """
        here = control.record_kill(EVERYTHING, CHANGE, killed=True)
        everywhere = control.record_kill(EVERYTHING, CHANGE, killed=True, everywhere=True)
        assert everywhere.environment == "*"
        assert here.environment != "*"
        assert sorted(control.kills(), key=lambda one: one.sequence) == [here, everywhere]

    @pytest.mark.rule("K6", "X4")
    def test_kills_are_in_the_history(self, control: Any) -> None:
        """Who killed what, why, and what was before.

        If this fails, check that a kill is recorded in the transaction that writes it.
        """
        killed = control.record_kill(_FLAG, Change("ada", "why"), killed=True)
        control.record_kill(_FLAG, Change("grace"), killed=False)
        revive, kill = control.changes("checkout")
        assert (kill.entity, kill.action, kill.actor, kill.reason) == ("kill", "kill", "ada", "why")
        assert (kill.before, revive.action) == (None, "revive")
        assert kill.after == revive.before == killed.as_mapping()

    @pytest.mark.rule("K3")
    def test_what_another_writer_kills_is_heard(self, make_provider: MakeProvider) -> None:
        """A running keeper hears of every kill.

        If this fails, check what the watch reads after a notice.
        """
        application, operator = make_provider(), make_provider()
        first: Any = application.control  # type: ignore[attr-defined]
        second: Any = operator.control  # type: ignore[attr-defined]
        old = second.record_kill(_TAG, CHANGE, killed=True)
        recorder = Recorder()
        first.start(recorder)
        assert first.wait_ready(20)
        recorder.wait_for(lambda heard: heard.register.standing(_TAG) == old)
        new = second.record_kill(_FLAG, CHANGE, killed=True)
        recorder.wait_for(lambda heard: heard.register.standing(_FLAG) == new)
        everywhere = second.record_kill(EVERYTHING, CHANGE, killed=True, everywhere=True)
        recorder.wait_for(lambda heard: heard.register.standing(EVERYTHING) == everywhere)
        second.record_kill(_TAG, CHANGE, killed=False)
        recorder.wait_for(lambda heard: heard.register.standing(_TAG) is None)
        assert first.identity == old.store
        first.close()
        second.close()
        application.close()
        operator.close()
