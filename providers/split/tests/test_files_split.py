"""Flags from a file of the SDK's localhost mode, whatever somebody writes into it."""

import json
import logging
import threading
import time

import pytest
from connected_split import wait_for
from downhaul_emulators.split import buckets
from downhaul_split.provider import SplitProvider
from downhaul_split.session import Connection

from downhaul import Flags
from downhaul.provider import State
from downhaul.result import ErrorCode, Reason

logging.getLogger("splitio").setLevel(logging.CRITICAL)

CONDITION = {
    "conditionType": "ROLLOUT",
    "label": "default rule",
    "matcherGroup": {
        "combiner": "AND",
        "matchers": [{"matcherType": "ALL_KEYS", "negate": False, "keySelector": None}],
    },
    "partitions": buckets(on=100),
}
AGENT = {
    "name": "agent",
    "trafficTypeName": "user",
    "status": "ACTIVE",
    "killed": False,
    "defaultTreatment": "off",
    "seed": 1,
    "algo": 2,
    "changeNumber": 5,
    "trafficAllocation": 100,
    "trafficAllocationSeed": 1,
    "conditions": [CONDITION],
}
STRANGE = {**CONDITION, "matcherGroup": {"combiner": "AND"}}


def text_of(*flags, till=5):
    """Return a file of flags."""
    nothing = {"d": [], "s": -1, "t": -1}
    return json.dumps({"ff": {"d": list(flags), "s": -1, "t": till}, "rbs": nothing})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "flags.json"


@pytest.fixture
def connect(path):
    made = []

    def make():
        flags = Flags.connect(f"split+file://{path}", cache_dir=False, ready_within=0.1)
        made.append(flags)
        return flags

    yield make
    for one in made:
        one.close()


def is_in(flags, state, told=""):
    """Return whether flags are in a state, and say so."""
    status = flags.status().provider
    return status.state is state and told in status.message


YAML = """
- agent:
    treatment: "on"
- model:
    treatment: m-2
    keys: [ada]
"""
BROKEN = [
    ('{"ff": ', "JSONDecodeError"),
    ("", "JSONDecodeError"),
    ("[]", "AttributeError"),
    (json.dumps({"ff": {"d": [AGENT], "s": -1, "t": 5}}), "it lacks 'rbs'"),
    (text_of({**AGENT, "conditions": [STRANGE, CONDITION]}), "it lacks 'matchers'"),
]


@pytest.mark.rule("P2", "X1")
@pytest.mark.parametrize("text, told", BROKEN, ids=range(len(BROKEN)))
def test_a_file_that_is_broken_at_the_start_is_told_and_taken_up_once_it_is_mended(
    path, connect, text, told
):
    path.write_text(text)
    flags = connect()
    wait_for(lambda: is_in(flags, State.ERROR, told))
    assert str(path) in flags.status().provider.message
    result = flags.evaluate("agent", "ada", default=True)
    assert (result.value, result.error_code) == (True, ErrorCode.PROVIDER_NOT_READY)
    assert told in result.error_message
    path.write_text(text_of(AGENT))
    assert flags.wait_ready(10)
    assert is_in(flags, State.READY)
    assert flags.is_enabled("agent", "ada")


@pytest.mark.rule("P1", "P2")
@pytest.mark.slow
@pytest.mark.parametrize("flag", [AGENT, None], ids=["flag", "none"])
def test_a_file_that_is_broken_for_long_is_never_taken_for_one_without_flags(path, flag):
    path.write_text("{")
    provider = SplitProvider(Connection(file=str(path)))
    with Flags.over(provider, ready_within=0.1) as flags:
        session = provider._session
        wait_for(lambda: session._factory is not None and session._factory.ready, 60)
        time.sleep(0.5)  # for what is told of it
        assert is_in(flags, State.ERROR, "JSONDecodeError")
        assert not flags.wait_ready(0.1)
        assert flags.evaluate("agent", "ada").error_code is ErrorCode.PROVIDER_NOT_READY
        path.write_text(text_of() if flag is None else text_of(flag))
        assert flags.wait_ready(10)
        assert is_in(flags, State.READY)
        found = flags.evaluate("agent", "ada", default=False)
        expected = (False, ErrorCode.FLAG_NOT_FOUND) if flag is None else (True, None)
        assert (found.value, found.error_code) == expected


@pytest.mark.rule("P2")
@pytest.mark.slow
@pytest.mark.parametrize("text, told", [*BROKEN, (None, "FileNotFoundError")], ids=range(6))
def test_a_file_that_breaks_later_leaves_the_flags_and_is_told_as_stale_until_it_is_mended(
    path, connect, text, told
):
    path.write_text(text_of(AGENT))
    flags = connect()
    assert flags.wait_ready(10)
    assert flags.is_enabled("agent", "ada")
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    wait_for(lambda: is_in(flags, State.STALE, told))
    age = flags.status().provider.age
    time.sleep(2.5)  # it is read again, twice
    assert is_in(flags, State.STALE, told)
    assert flags.status().provider.age >= age + 2
    assert flags.is_enabled("agent", "ada")
    path.write_text(text_of({**AGENT, "killed": True, "changeNumber": 6}, till=6))
    wait_for(lambda: is_in(flags, State.READY))
    wait_for(lambda: flags.evaluate("agent", "ada").reason is Reason.DISABLED)


@pytest.mark.rule("P2")
def test_the_age_of_a_file_is_that_of_its_last_reading(path, connect):
    path.write_text(text_of(AGENT))
    flags = connect()
    assert flags.wait_ready(10)
    wait_for(lambda: flags.status().provider.age > 0.5)
    wait_for(lambda: flags.status().provider.age < 0.3)


@pytest.mark.rule("X1")
def test_a_file_that_is_read_once_and_is_broken_is_told_with_the_reason(tmp_path):
    path = tmp_path / "flags.yaml"
    path.write_text("- agent:\n    treatment: 'on'\n  - broken\n")
    with Flags.connect(f"split+file://{path}", cache_dir=False, ready_within=0.1) as flags:
        wait_for(lambda: is_in(flags, State.FATAL, "ParserError"))


def test_a_file_that_is_read_once_serves_and_never_the_sdks_word_for_no_answer(tmp_path):
    path = tmp_path / "flags.yaml"
    path.write_text(YAML)
    provider = SplitProvider(Connection(file=str(path)))
    with Flags.over(provider, ready_within=10) as flags:
        assert is_in(flags, State.READY)
        assert flags.value("agent", "ada", False) is True
        assert flags.value("model", "ada", "x") == "m-2"
        nobody = flags.evaluate("model", "eve", default="x")
        assert (nobody.value, nobody.error_code) == ("x", ErrorCode.GENERAL)
        flags.operator("ana").kill("agent", reason="it burns")
        flags.operator("ana").kill("model", reason="it burns")
        assert flags.value("agent", "ada", True) is False
        assert flags.value("model", "ada", "x") == "x"


@pytest.mark.rule("P1")
def test_closing_while_a_file_is_broken_leaves_no_thread(path):
    path.write_text("{")
    before = set(threading.enumerate())
    flags = Flags.over(SplitProvider(Connection(file=str(path))), ready_within=0.1)
    wait_for(lambda: is_in(flags, State.ERROR))
    flags.close()
    wait_for(lambda: not set(threading.enumerate()) - before, 5)
