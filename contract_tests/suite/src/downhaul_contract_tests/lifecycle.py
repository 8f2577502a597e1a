"""From start to close: never blocking, ready with the first payload, gone in time (rule P1)."""

from __future__ import annotations

import time

import pytest

from downhaul import Flags
from downhaul.flag import Flag
from downhaul.provider import Capability, FlagProvider, State
from downhaul_contract_tests.base import Contract
from downhaul_contract_tests.case import Case
from downhaul_contract_tests.listening import Recorder
from downhaul_contract_tests.seeds import OFF, ON

_AT_ONCE = 1.0  # seconds; what does no I/O takes microseconds, on a busy machine too


class LifecycleContract(Contract):
    """For every provider."""

    group = "lifecycle"

    @pytest.mark.rule("P4")
    def test_after_a_reset_there_is_nothing(self, case: Case) -> None:
        """The binding empties its backend.

        If this fails, check ``reset`` of your Backend: it leaves flags of another test behind.
        """
        if case.has(Capability.READ) and case.has(Capability.WRITE):
            assert case.writer.list().flags == {}
        assert case.client().evaluate_all("ada") == {}

    @pytest.mark.rule("E1")
    def test_what_is_seeded_is_served(self, case: Case) -> None:
        """The binding fills its backend.

        If this fails, check ``seed`` of your Backend: it must return only when a new provider
        finds all the flags.
        """
        case.seed(ON, OFF)
        flags = case.client()
        assert flags.is_enabled(ON.key, "ada")
        assert not flags.is_enabled(OFF.key, "ada", default=True)

    @pytest.mark.rule("P2")
    def test_before_it_is_started_it_is_not_ready(self, case: Case) -> None:
        """Nothing came yet, and the status says so.

        If this fails, check that ``status`` is NOT_READY, and ``wait_ready`` False, until a
        payload came from the backend itself.
        """
        provider = case.provider()
        started = time.monotonic()
        assert provider.status().state is State.NOT_READY
        assert provider.wait_ready(0.0) is False
        assert time.monotonic() - started < _AT_ONCE

    @pytest.mark.rule("P1")
    def test_starting_does_not_block(self, case: Case) -> None:
        """An application's start waits for no backend.

        If this fails, check that ``start`` leaves what takes time to a thread.
        """
        case.seed(ON)
        provider = case.provider()
        started = time.monotonic()
        provider.start(Recorder())
        assert time.monotonic() - started < _AT_ONCE

    @pytest.mark.rule("P1", "P2")
    def test_it_becomes_ready_and_says_how_old_its_data_is(self, case: Case) -> None:
        """READY means that a payload came; its age is known.

        If this fails, check ``status``: READY with an age in seconds, from 0 on.
        """
        case.seed(ON)
        status = case.client().status()
        assert status.state is State.READY
        assert status.age is not None
        assert 0 <= status.age < case.patience + 60

    @pytest.mark.rule("P1")
    def test_a_closed_provider_is_closed_again_for_nothing(self, case: Case) -> None:
        """Closing is idempotent, keeps its time, and needs no start.

        If this fails, check that ``close`` joins no thread for longer than its timeout, whatever
        the SDK below does, and that a second call returns at once.
        """
        case.seed(ON)
        never = case.provider()
        never.close(1.0)
        provider = case.provider()
        provider.start(Recorder())
        provider.wait_ready(case.patience)
        started = time.monotonic()
        provider.close(2.0)
        provider.close(2.0)
        assert time.monotonic() - started < 3.0

    @pytest.mark.rule("P1")
    def test_closing_while_it_starts_keeps_its_time(self, case: Case) -> None:
        """An application may end before it was ready.

        If this fails, check that ``close`` can be called while ``start`` still loads.
        """
        case.seed(ON)
        provider = case.provider()
        provider.start(Recorder())
        started = time.monotonic()
        provider.close(2.0)
        assert time.monotonic() - started < 3.0

    @pytest.mark.rule("E1")
    def test_a_closed_client_still_answers(self, case: Case) -> None:
        """Evaluation never raises, after the end neither.

        If this fails, check that ``resolve`` raises nothing on a closed SDK.
        """
        case.seed(ON)
        flags = case.client()
        flags.close()
        for default in (True, False):
            result = flags.evaluate(ON.key, "ada", default=default)
            assert result.authoritative or result.value is default
        assert flags.evaluate("contract-missing", "ada", default=True).value is True

    @pytest.mark.rule("P1")
    def test_one_client_after_another_sees_the_same(self, case: Case) -> None:
        """Nothing of a closed provider stands in the way of the next.

        If this fails, check for state kept in a module or a class, such as an SDK's singleton.
        """
        case.seed(ON, Flag.boolean("contract-half", percent=50))
        users = [f"user-{number}" for number in range(100)]
        seen = []
        for _ in range(3):
            with case.client() as flags:
                seen.append([flags.is_enabled("contract-half", user) for user in users])
        assert seen[0] == seen[1] == seen[2]
        assert set(seen[0]) == {True, False}

    @pytest.mark.rule("P1")
    def test_a_client_that_waits_for_nobody_comes_up(self, case: Case) -> None:
        """``ready_within=0`` returns at once, and the flags come when they come.

        If this fails, check that ``start`` alone is enough for the payload to be fetched.
        """
        case.seed(ON)
        flags = case.client(ready=False)
        assert isinstance(flags, Flags)
        case.eventually(lambda: flags.is_enabled(ON.key, "ada"), "the flags come by themselves")

    @pytest.mark.rule("P4")
    def test_it_says_who_it_is(self, provider: FlagProvider) -> None:
        """A provider has a name and capabilities, and evaluates in one way at least.

        If this fails, check the attributes ``name`` and ``capabilities`` of your provider.
        """
        assert provider.name
        assert provider.capabilities & {Capability.FLAG_SET, Capability.RESOLVE}
        assert all(isinstance(one, Capability) for one in provider.capabilities)
