"""What the SDK's log says of factories of ours, and of an application's own beside them."""

import logging
import threading

import pytest
from connected_split import connection, wait_for
from downhaul_emulators.split import SplitEmulator, boolean
from downhaul_split.provider import SplitProvider
from downhaul_split.threads import begin_end, end, listens
from splitio import get_factory

from downhaul import Flags


@pytest.fixture
def said(caplog):
    """A function that tells what the SDK logged, warnings and worse."""
    caplog.set_level(logging.WARNING, "splitio")

    def tell():
        return [
            one.getMessage()
            for one in caplog.records
            if one.name.startswith("splitio.") and one.levelno >= logging.WARNING
        ]

    return tell


@pytest.fixture
def elsewhere():
    """Another service of Split's, which an application asks by itself."""
    with SplitEmulator(sdk_key="sdk-of-the-application") as emulator:
        yield emulator


@pytest.fixture
def their_own(elsewhere):
    """A function that makes a factory of an application's own."""
    made = []

    def make(**config):
        one = get_factory(
            elsewhere.sdk_key,
            config={"featuresRefreshRate": 1, "impressionsMode": "NONE", **config},
            sdk_api_base_url=elsewhere.sdk_url,
            events_api_base_url=elsewhere.events_url,
            auth_api_base_url=elsewhere.auth_url,
            streaming_api_base_url=elsewhere.streaming_url,
            telemetry_api_base_url=elsewhere.telemetry_url,
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.block_until_ready(10)
        begin_end(one._sync_manager)  # or it leaves threads behind
        ended = threading.Event()
        one.destroy(ended)
        assert ended.wait(10)


@pytest.fixture
def ours(service):
    service.put("agent", boolean())
    with Flags.over(SplitProvider(connection(service)), ready_within=10) as flags:
        yield flags


@pytest.mark.rule("X1")
def test_an_applications_own_factory_is_advised_beside_ours(ours, their_own, said):
    assert not said()
    their_own(streamingEnabled=False)
    assert any(one.startswith("factory instantiation: You already have") for one in said())


@pytest.mark.rule("X1")
def test_an_applications_own_factory_tells_of_a_request_that_is_too_long_beside_ours(
    ours, their_own, elsewhere, said
):
    their_own(streamingEnabled=False).block_until_ready(10)
    elsewhere.fail("/api/splitChanges", status=414)
    wait_for(lambda: any("Exception caught: the amount of flag" in one for one in said()))


@pytest.mark.rule("X1")
def test_an_applications_own_factory_tells_of_a_stream_that_is_not_open_beside_ours(
    ours, their_own, elsewhere, said
):
    elsewhere.streaming = False
    their_own()
    wait_for(lambda: "Push manager does not have an open SSE connection. Ignoring" in said())


def test_a_second_client_and_one_that_is_closed_are_no_news(service, ours, said):
    with Flags.over(SplitProvider(connection(service)), ready_within=10) as second:
        wait_for(service.listening)
        assert second.is_enabled("agent", "ada")
    with Flags.over(SplitProvider(connection(service, streaming=False)), ready_within=10) as third:
        assert third.is_enabled("agent", "ada")
    assert not said()


def test_a_stream_that_is_closing_is_not_told_to_close_again(service, said):
    provider = SplitProvider(connection(service))
    with Flags.over(provider, ready_within=10):
        manager = provider._session._factory._sync_manager
        wait_for(lambda: listens(manager))
        manager._push._sse_client._client._shutdown_requested = True
        end(manager)
        assert listens(manager)
        manager._push._sse_client._client._shutdown_requested = False
    assert not said()


def test_a_client_that_is_closed_while_split_is_away_says_nothing_more(service, said, caplog):
    service.stop()
    before = set(threading.enumerate())
    with Flags.over(SplitProvider(connection(service)), ready_within=0.1):
        wait_for(lambda: any("Exception caught when trying to sync" in one for one in said()))
    caplog.clear()
    wait_for(lambda: not set(threading.enumerate()) - before)  # its next request ends it
    assert not said()
