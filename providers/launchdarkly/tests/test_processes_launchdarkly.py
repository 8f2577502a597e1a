"""Processes that fork, and processes that end: what LaunchDarkly's SDK alone would do to them."""

import os
import subprocess
import sys
import time
import warnings

import pytest
from downhaul_emulators.launchdarkly import boolean
from downhaul_launchdarkly.provider import LaunchDarklyProvider
from downhaul_launchdarkly.session import Connection

from downhaul import Flags
from downhaul.config import Secret
from downhaul.result import Reason

pytestmark = pytest.mark.fault

LIMIT = 15.0  # seconds until what must come has come


def connection(service):
    url = service.url
    return Connection(Secret(service.sdk_key), url, url, url)


def in_a_child(found, then=lambda: None):
    """Return what a forked child finds, as text; ``then`` runs in the parent meanwhile."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and forks: that is the test
        child = os.fork()
    if child == 0:
        os.close(read)
        try:
            os.write(write, str(found()).encode())
        except BaseException as error:  # noqa: BLE001  (the parent's assertion tells)
            os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    then()
    with os.fdopen(read) as told:
        said = told.read()
    os.waitpid(child, 0)
    return said


def until(holds):
    end = time.monotonic() + LIMIT
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.rule("P3")
def test_a_child_never_keeps_on_what_was_switched_off_after_the_fork(service):
    service.put(boolean("agent"))
    service.put(boolean("other"))
    with Flags.over(LaunchDarklyProvider(connection(service)), ready_within=LIMIT) as flags:
        assert flags.is_enabled("agent", "ada")
        said = in_a_child(
            lambda: (
                flags.is_enabled("other", "ada"),  # from its first moment on
                until(lambda: not flags.is_enabled("agent", "ada", default=True)),
            ),
            lambda: service.change("agent", on=False),
        )
    assert said == "(True, True)"


@pytest.mark.rule("P3")
def test_workers_of_a_preloaded_application_serve_and_follow_each_by_itself(service):
    """As under gunicorn with ``--preload``: the client is made before the workers are forked."""
    service.put(boolean("agent", on=False))
    with Flags.over(LaunchDarklyProvider(connection(service)), ready_within=LIMIT) as flags:
        reports = []
        for worker in range(2):
            service.change("agent", on=worker % 2 == 1)

            def change(on=worker % 2 == 0):
                service.change("agent", on=on)

            reports.append(
                in_a_child(
                    lambda on=worker % 2 == 0: until(
                        lambda: flags.is_enabled("agent", "ada") is on
                    ),
                    change,
                )
            )
        assert reports == ["True", "True"]
        assert until(lambda: not flags.is_enabled("agent", "ada"))  # and the parent follows too


@pytest.mark.rule("P3")
def test_a_provider_that_was_made_and_not_started_before_the_fork_starts_in_the_child(service):
    service.put(boolean("agent"))
    provider = LaunchDarklyProvider(connection(service))

    def serve():
        with Flags.over(provider, ready_within=LIMIT) as flags:
            return flags.is_enabled("agent", "ada"), flags.evaluate("agent", "ada").reason

    assert in_a_child(serve) == str((True, Reason.STATIC))
    assert serve() == (True, Reason.STATIC)


@pytest.mark.rule("P1", "P3")
def test_a_child_that_is_forked_while_the_service_is_away_is_not_held_up(service):
    service.put(boolean("agent"))
    with Flags.over(LaunchDarklyProvider(connection(service)), ready_within=LIMIT) as flags:
        service.stop()

        def found():
            begun = time.monotonic()
            on = flags.is_enabled("agent", "ada")
            flags.close(1.0)
            return on, time.monotonic() - begun < LIMIT / 2

        assert in_a_child(found) == "(True, True)"


SCRIPT = """
import sys, time
from downhaul import Flags
begun = time.monotonic()
table = {"url": "launchdarkly+" + sys.argv[1], "sdk_key": sys.argv[2], "events": True}
flags = Flags.connect(provider=table, cache_dir=False, ready_within=0.5)
print(flags.is_enabled("agent", "ada"), flags.evaluate("agent", "ada").error_code)
if sys.argv[3] == "close":
    flags.close(1.0)
"""


@pytest.mark.rule("P1")
@pytest.mark.parametrize("ending", ["close", "forget"])
@pytest.mark.parametrize("away", ["refused", "silent", "events"])
def test_a_process_that_lives_shortly_is_never_kept_alive(service, ending, away):
    service.put(boolean("agent"))
    if away == "refused":
        service.stop()
    else:
        service.fail("/bulk" if away == "events" else "", silent=True)
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, service.url, service.sdk_key, ending],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert time.monotonic() - begun < LIMIT
    served = "True None" if away == "events" else "False PROVIDER_NOT_READY"
    assert done.stdout.strip() == served
    assert service.sdk_key not in done.stderr
