"""Many threads and an event loop ask one client while its flags change (rule E1)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from downhaul.backends.edits import weight_of_variant
from downhaul.flag import Flag
from downhaul.provider import Capability
from downhaul_contract_tests.backend import Feature, Offer
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case
from downhaul_contract_tests.seeds import OFF, ON, USERS

_KEY = "contract-many"


class ConcurrencyContract(Contract):
    """For every provider."""

    group = "concurrency"

    @pytest.mark.rule("E1")
    def test_threads_get_the_answers_of_one(self, case: Case) -> None:
        """Who asks at the same time as others is not given their answer.

        If this fails, check for state of one call that ``resolve`` keeps on the provider.
        """
        case.seed(Flag.boolean(_KEY, percent=50, allow=["ada"]))
        flags = case.client()
        expected = {user: flags.is_enabled(_KEY, user) for user in USERS[:200]}
        found: list[dict[str, bool]] = []

        def ask() -> None:
            found.append({user: flags.is_enabled(_KEY, user) for user in USERS[:200]})

        _all_at_once([ask] * 8)
        assert found == [expected] * 8

    @pytest.mark.rule("E1")
    @needs(Capability.WATCH, Offer.CHANGE)
    def test_while_flags_change_every_answer_is_old_or_new(self, case: Case) -> None:
        """No reader sees half a change, an error or a default.

        If this fails, check that a payload replaces what is known in one step.
        """
        case.seed(ON, OFF)
        flags = case.client()
        done = threading.Event()
        wrong: list[object] = []

        def ask() -> None:
            while not done.is_set():
                for key in (ON.key, OFF.key):
                    result = flags.evaluate(key, "ada", default="no answer")
                    value = flags.evaluate(key, "ada").value
                    if type(value) is not bool or result.value != "no answer":
                        wrong.append((key, value, result))
                if flags.evaluate(ON.key, "ada").value is not True:
                    wrong.append(ON.key)

        def change() -> None:
            try:
                for number in range(10):
                    case.change(replace(OFF, on=number % 2 == 0))
            finally:
                done.set()

        _all_at_once([ask, ask, ask, change])
        assert wrong == []

    @pytest.mark.rule("E1")
    def test_an_event_loop_asks_and_closes(self, case: Case) -> None:
        """Tasks ask without awaiting, and waiting and closing leave the loop free.

        If this fails, check for an event loop that your SDK looks for in the calling thread.
        """
        case.seed(Flag.boolean(_KEY, percent=50))
        flags = case.client()
        expected = [flags.is_enabled(_KEY, user) for user in USERS[:100]]

        async def ask(user: str) -> bool:
            await asyncio.sleep(0)
            return flags.is_enabled(_KEY, user)

        async def main() -> list[bool]:
            assert await flags.await_ready(case.patience)
            found = await asyncio.gather(*(ask(user) for user in USERS[:100]))
            await flags.aclose()
            return found

        assert asyncio.run(main()) == expected

    @pytest.mark.rule("P5", "P6")
    @needs(Capability.READ, Capability.WRITE, Capability.COMPARE_AND_SET, Feature.TARGETS)
    def test_narrow_verbs_at_once_lose_nothing_of_each_other(self, case: Case) -> None:
        """Who switches off while another sets a percentage and a third the targets.

        If this fails, check that a narrow verb writes its own field, or compares and sets.
        """
        for _ in range(5):
            case.seed(Flag.boolean(_KEY, percent=10))
            writers = [case.provider() for _ in range(3)]
            _all_at_once(
                [
                    lambda: writers[0].switch_off(_KEY, CHANGE),  # noqa: B023 - run at once
                    lambda: writers[1].set_rollout(_KEY, "on", 60_000, CHANGE),  # noqa: B023 - as above
                    lambda: writers[2].set_targets(_KEY, "on", ["ada"], CHANGE),  # noqa: B023 - as above
                ]
            )
            kept = case.writer.get(_KEY)
            assert kept is not None
            wanted = Flag.boolean(_KEY, on=False, percent=60, allow=["ada"])
            assert (kept.on, kept.targets) == (wanted.on, wanted.targets)
            assert weight_of_variant(kept, "on") == 60_000


def _all_at_once(calls: list[Callable[[], object]]) -> None:
    """Run calls in threads that begin together; raise the first of what they raised."""
    barrier = threading.Barrier(len(calls))
    failed: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        barrier.wait()
        try:
            call()
        except BaseException as error:  # noqa: BLE001  (raised again by the test's own thread)
            failed.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
