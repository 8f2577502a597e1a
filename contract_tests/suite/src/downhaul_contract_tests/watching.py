"""How an application follows a provider: start, first payload, changes, close."""

from __future__ import annotations

import time

import pytest

from downhaul.flag import Flag, Segment
from downhaul.provider import Capability, FlagProvider, State
from downhaul_contract_tests.backend import Feature
from downhaul_contract_tests.base import CHANGE, Contract, MakeProvider, needs
from downhaul_contract_tests.listening import Recorder
from downhaul_contract_tests.seeds import needing


@needs(Capability.FLAG_SET, Capability.WRITE, Capability.WATCH)
class WatchingContract(Contract):
    """For providers with FLAG_SET, WRITE and WATCH."""

    group = "events and ordering"

    @pytest.mark.rule("P1")
    def test_it_is_ready_with_its_first_payload(self, provider: FlagProvider) -> None:
        """READY, and what was there is published.

        If this fails, check when the status moves.
        """
        written = provider.put(Flag.boolean("one"), CHANGE)
        assert provider.status().state is State.NOT_READY
        recorder = Recorder()
        provider.start(recorder)
        assert provider.wait_ready(20)
        assert provider.status().state is State.READY
        recorder.wait_for(lambda heard: heard.flags == {"one": written})

    @pytest.mark.rule("P1")
    def test_an_empty_store_is_a_payload_too(self, provider: FlagProvider) -> None:
        """Nothing is something to publish.

        If this fails, check that an empty payload is published.
        """
        recorder = Recorder()
        provider.start(recorder)
        assert provider.wait_ready(20)
        recorder.wait_for(lambda heard: heard.replacements == 1)

    @pytest.mark.rule("P1")
    @needs(Capability.SEGMENTS, Feature.PREREQUISITES)
    def test_changes_of_another_writer_are_heard(self, make_provider: MakeProvider) -> None:
        """Each as a change, with no second payload of everything.

        If this fails, check what the watch reads after a notice.
        """
        application, operator = make_provider(), make_provider()
        recorder = Recorder()
        application.start(recorder)
        assert application.wait_ready(20)
        first = operator.put(Flag.boolean("one"), CHANGE)
        recorder.wait_for(lambda heard: heard.flags.get("one") == first)
        needs = operator.put(needing("two", "one"), CHANGE)
        segment = operator.put_segment(Segment("staff"), CHANGE)
        off = operator.switch_off("one", CHANGE)
        recorder.wait_for(
            lambda heard: (
                heard.flags == {"one": off, "two": needs} and heard.segments == {"staff": segment}
            )
        )
        operator.delete("two", CHANGE)
        operator.delete_segment("staff", CHANGE)
        recorder.wait_for(lambda heard: heard.flags == {"one": off} and not heard.segments)
        assert recorder.replacements == 1
        application.close()
        operator.close()

    @pytest.mark.rule("P1")
    def test_many_changes_are_all_heard(self, make_provider: MakeProvider) -> None:
        """None is lost, and the revision is the last.

        If this fails, check how notices that come together are read.
        """
        application, operator = make_provider(), make_provider()
        recorder = Recorder()
        application.start(recorder)
        assert application.wait_ready(20)
        for index in range(40):
            operator.put(Flag.boolean(f"flag-{index % 10}", description=str(index)), CHANGE)
        there = operator.list()
        recorder.wait_for(lambda heard: heard.flags == there.flags)
        recorder.wait_for(lambda heard: heard.revision == there.revision)
        application.close()
        operator.close()

    @pytest.mark.rule("P1")
    def test_a_large_change_is_heard(self, make_provider: MakeProvider) -> None:
        """A notice needs no room for the flag itself.

        If this fails, check the limit of your notices.
        """
        application, operator = make_provider(), make_provider()
        recorder = Recorder()
        application.start(recorder)
        assert application.wait_ready(20)
        keys = [f"user-{index:06d}" for index in range(5_000)]
        written = operator.put(Flag.boolean("large", allow=keys), CHANGE)
        recorder.wait_for(lambda heard: heard.flags == {"large": written})
        application.close()
        operator.close()

    @pytest.mark.rule("P1")
    def test_closing_is_quick_and_may_be_repeated(self, provider: FlagProvider) -> None:
        """``close`` keeps its time.

        If this fails, check which thread ``close`` waits for.
        """
        recorder = Recorder()
        provider.start(recorder)
        assert provider.wait_ready(20)
        started = time.monotonic()
        provider.close(2.0)
        provider.close(2.0)
        assert time.monotonic() - started < 3.0
