"""A backend that is away: what is known goes on serving, and the status tells (rules P1, P2)."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from downhaul.errors import DownhaulError
from downhaul.provider import Capability, State
from downhaul.result import ErrorCode, Reason
from downhaul_contract_tests.backend import Offer
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case
from downhaul_contract_tests.listening import Recorder
from downhaul_contract_tests.seeds import OFF, ON

_DEADLINE = 15.0  # seconds; a verb has ten


@needs(Offer.OUTAGE)
class OutagesContract(Contract):
    """For bindings that can cut their backend off."""

    group = "staleness and outage"

    @pytest.mark.rule("E3", "P1")
    def test_a_start_without_the_backend_is_not_ready_and_keeps_its_time(self, case: Case) -> None:
        """Callers get their defaults, and are told why.

        If this fails, check that ``start`` and ``wait_ready`` wait for nobody longer than asked,
        and that READY needs a payload from the backend.
        """
        case.seed(ON)
        case.outage()
        started = time.monotonic()
        flags = case.client(ready=False, ready_within=0.5)
        assert time.monotonic() - started < 3.0
        assert flags.status().state is not State.READY
        for default in (True, False):
            result = flags.evaluate(ON.key, "ada", default=default)
            assert (result.value, result.authoritative) == (default, False)
            assert result.error_code in (
                ErrorCode.PROVIDER_NOT_READY,
                ErrorCode.PROVIDER_FATAL,
            )

    @pytest.mark.rule("P1")
    def test_it_becomes_ready_when_the_backend_comes(self, case: Case) -> None:
        """A start without the backend is made good by itself.

        If this fails, check that your provider goes on trying after its first failure.
        """
        case.seed(ON)
        case.outage()
        flags = case.client(ready=False)
        assert not flags.is_enabled(ON.key, "ada")
        case.restore()
        assert flags.wait_ready(case.patience)
        case.eventually(lambda: flags.is_enabled(ON.key, "ada"), "the flags come")

    @pytest.mark.rule("P2")
    def test_what_is_known_goes_on_serving(self, case: Case) -> None:
        """An outage changes no answer.

        If this fails, check that a failed look at the backend empties nothing.
        """
        case.seed(ON, OFF)
        flags = case.client()
        case.outage()
        until = time.monotonic() + 1.0
        case.eventually(
            lambda: flags.status().state is not State.READY or time.monotonic() > until,
            "it is noticed, or a second has passed",
        )
        assert flags.evaluate(ON.key, "ada", default=False).value is True
        assert flags.evaluate(OFF.key, "ada", default=True).value is False
        gone = flags.evaluate("contract-missing", "ada", default=True)
        assert (gone.value, gone.reason) == (True, Reason.ERROR)

    @pytest.mark.rule("P2")
    @needs(Capability.WATCH)
    def test_lost_contact_is_told_with_the_age_of_the_data(self, case: Case) -> None:
        """STALE is a state of its own, and the age grows.

        If this fails, check ``status`` after contact is lost: STALE, with an age and a message.
        """
        case.seed(ON)
        flags = case.client()
        case.outage()
        case.eventually(lambda: flags.status().state is State.STALE, "the status is STALE")
        status = flags.status().provider
        assert status.message
        first = status.age
        assert first is not None
        case.eventually(lambda: (flags.status().age or 0.0) > first, "the age grows")

    @pytest.mark.rule("P2")
    @needs(Capability.WATCH, Offer.CHANGE)
    def test_after_an_outage_it_follows_changes_again(self, case: Case) -> None:
        """What changed afterwards is served, and the status is READY.

        If this fails, check that your provider reconnects, and reads the whole state when it does.
        """
        case.seed(OFF)
        flags = case.client()
        case.outage()
        case.eventually(lambda: flags.status().state is not State.READY, "the outage is noticed")
        case.restore()
        case.change(replace(OFF, on=True))
        case.eventually(lambda: flags.is_enabled(OFF.key, "ada"), "the change is served")
        case.eventually(lambda: flags.status().state is State.READY, "the status is READY again")

    @pytest.mark.rule("P1")
    def test_closing_in_an_outage_keeps_its_time(self, case: Case) -> None:
        """An application ends when it wants to.

        If this fails, check that ``close`` waits for no connection.
        """
        case.seed(ON)
        running = case.provider()
        running.start(Recorder())
        assert running.wait_ready(case.patience)
        case.outage()
        starting = case.provider()
        starting.start(Recorder())
        for provider in (running, starting):
            started = time.monotonic()
            provider.close(1.0)
            assert time.monotonic() - started < 2.5

    @pytest.mark.rule("P7")
    @needs(Capability.READ)
    def test_managing_in_an_outage_fails_within_its_deadline(self, case: Case) -> None:
        """A verb that can't be done says so, with what to do, and doesn't hang.

        If this fails, check the timeouts and the deadline of your admin client.
        """
        case.seed(ON)
        case.outage()
        started = time.monotonic()
        with pytest.raises(DownhaulError) as failed:
            case.provider().get(ON.key)
        if case.has(Capability.WRITE):
            with pytest.raises(DownhaulError):
                case.writer.switch_off(ON.key, CHANGE)
        assert time.monotonic() - started < 2 * _DEADLINE
        assert str(failed.value)
