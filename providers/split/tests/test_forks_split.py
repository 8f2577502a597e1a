"""Children that are forked while somebody holds a lock of the SDK, who does not live in them."""

import contextlib
import os
import threading

import pytest
from connected_split import connection, wait_for
from downhaul_emulators.split import boolean
from downhaul_split.provider import SplitProvider
from splitio.client import factory as sdk

from downhaul import Flags
from downhaul.provider import State
from downhaul.result import ErrorCode, Reason

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
PATIENCE = 20  # seconds until a child that hangs is ended


@contextlib.contextmanager
def held(*locks):
    """Let another thread hold locks."""
    holds, free = threading.Event(), threading.Event()

    def hold():
        with contextlib.ExitStack() as stack:
            for one in locks:
                stack.enter_context(one)
            holds.set()
            free.wait(2 * PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(PATIENCE)
    try:
        yield
    finally:
        free.set()
        holder.join()


def exit_code_of(child):
    """Fork, do something there, and return its exit code: 0 where it is true, 9 where it hangs."""
    process = os.fork()
    if process == 0:  # pragma: no cover  (in the child)
        ended = threading.Timer(PATIENCE, lambda: os._exit(9))
        ended.daemon = True
        ended.start()
        code = 2
        try:
            code = 0 if child() else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def locks_of(provider):
    """Return the locks of the storage that a provider's client reads."""
    factory = provider._session.client._factory
    return [
        factory._get_storage(name)._lock for name in ("splits", "segments", "rule_based_segments")
    ]


@pytest.mark.rule("P1", "P3")
def test_a_child_still_answers(service):
    service.put("agent", boolean())
    provider = SplitProvider(connection(service))
    with Flags.over(provider, ready_within=10) as flags:
        assert flags.is_enabled("agent", "ada")
        with held(*locks_of(provider)):
            assert exit_code_of(lambda: flags.is_enabled("agent", "ada")) == 0


@pytest.mark.rule("P1", "P3")
def test_a_child_of_a_child_still_answers_from_what_its_grandparent_had(service):
    service.put("agent", boolean())
    provider = SplitProvider(connection(service))
    with Flags.over(provider, ready_within=10) as flags:
        assert flags.is_enabled("agent", "ada")
        service.stop()  # no child ever hears of flags of its own

        def grandchild():
            stale = flags.status().state is State.STALE
            return stale and flags.is_enabled("agent", "ada")

        def child():
            wait_for(lambda: provider._session._factory is not None)
            assert not provider._session.own
            with held(*locks_of(provider)):
                return exit_code_of(grandchild) == 0

        assert exit_code_of(child) == 0


@pytest.mark.rule("P3", "E8")
def test_a_child_tells_what_decided_while_its_own_client_is_not_ready(service):
    service.put("half", boolean(percent=50))
    provider = SplitProvider(connection(service))
    with Flags.over(provider, ready_within=10) as flags:
        assert flags.evaluate("half", "ada").reason is Reason.SPLIT
        service.stop()

        def child():
            wait_for(lambda: provider._session._factory is not None)
            keyless = flags.evaluate("half", {"plan": "gold"}, default=True)
            told = flags.evaluate("half", "ada").reason is Reason.SPLIT
            return told and keyless.error_code is ErrorCode.TARGETING_KEY_MISSING

        assert exit_code_of(child) == 0


@pytest.mark.rule("P1", "P3")
def test_a_child_of_a_process_that_records_still_answers(service):
    service.put("agent", boolean())
    provider = SplitProvider(connection(service, events=True))
    with Flags.over(provider, ready_within=10) as flags:
        assert flags.is_enabled("agent", "ada")
        impressions = provider._session.client._factory._get_storage("impressions")
        service.stop()
        with held(impressions._lock):
            assert exit_code_of(lambda: flags.is_enabled("agent", "eve")) == 0


@pytest.mark.rule("P3")
def test_a_child_of_a_process_that_was_making_its_client_gets_one_of_its_own(service):
    service.put("agent", boolean())
    service.stop()
    with (
        Flags.over(SplitProvider(connection(service)), ready_within=0.1) as flags,
        held(sdk._INSTANTIATED_FACTORIES_LOCK),
    ):
        service.start()
        assert exit_code_of(lambda: flags.wait_ready(15)) == 0


@pytest.mark.rule("P3", "E3")
def test_a_child_knows_that_there_are_no_flags_where_its_parent_knew(service):
    with Flags.over(SplitProvider(connection(service)), ready_within=10) as flags:
        assert flags.evaluate("agent", "ada").error_code is ErrorCode.FLAG_NOT_FOUND
        service.stop()

        def child():
            return flags.evaluate("agent", "ada").error_code is ErrorCode.FLAG_NOT_FOUND

        assert exit_code_of(child) == 0
