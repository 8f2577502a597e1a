"""LaunchDarkly's own SDK behind the interface: what it does by itself must not reach a caller."""

import gc
import json
import logging
import threading
import time

import pytest
from downhaul_emulators.launchdarkly import boolean, flag_of
from downhaul_launchdarkly.contexts import NOBODY, their_context
from downhaul_launchdarkly.provider import LaunchDarklyProvider, create
from downhaul_launchdarkly.session import Connection

from downhaul import Context, Flag, Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.config import Declaration, RolloutMode, Secret, resolve
from downhaul.errors import ConfigError
from downhaul.evaluator.bucketing import bucket
from downhaul.flag import FlagSet
from downhaul.provider import State
from downhaul.result import ErrorCode, Reason
from downhaul.wrappers.comparisons import Outcome
from downhaul.wrappers.shadow import Shadow


def connection(service, key=None, **more):
    url = service.url
    return Connection(Secret(key or service.sdk_key), url, url, **{"events_url": url, **more})


@pytest.fixture
def connect(service):
    made = []

    def make(ready_within=5.0, declarations=None, **more):
        provider = LaunchDarklyProvider(connection(service, **more))
        flags = Flags.over(provider, declarations=declarations, ready_within=ready_within)
        made.append(flags)
        return flags

    yield make
    for flags in made:
        flags.close()


def paths(service):
    return [one.path for one in service.requests]


def wait_for(holds, timeout=20.0):
    until = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


# The SDK leaves sockets to the collector. A test of that collects them while it is expected.
sockets_are_left = pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


# Starting and ending


@pytest.mark.rule("P1")
@pytest.mark.parametrize("fault", ["refused", "silent", "error"])
def test_a_service_that_is_away_at_the_start_blocks_nobody_and_is_heard_when_it_is_back(
    service, connect, fault
):
    service.put(boolean("agent"))
    if fault == "refused":
        service.stop()
    else:
        service.fail("/all", **({"silent": True} if fault == "silent" else {"status": 503}))
    begun = time.monotonic()
    flags = connect(ready_within=0.2)
    assert time.monotonic() - begun < 2
    result = flags.evaluate("agent", "ada", default=True)
    assert (result.value, result.error_code) == (True, ErrorCode.PROVIDER_NOT_READY)
    assert not flags.is_enabled("agent", "ada")
    assert flags.status().state is State.NOT_READY
    if fault == "silent":
        return  # the SDK waits for minutes on a connection that was accepted
    service.heal()
    if fault == "refused":
        service.start()
    assert flags.wait_ready(20)
    assert flags.is_enabled("agent", "ada")


@pytest.mark.rule("P2", "X1")
@sockets_are_left
def test_a_refused_key_is_told_and_no_flag_is_said_to_be_missing(service):
    service.put(boolean("agent"))
    provider = LaunchDarklyProvider(connection(service, key="sdk-of-somebody-else"))
    with Flags.over(provider, ready_within=0.1) as flags:
        wait_for(lambda: flags.status().state is State.ERROR)
        assert flags.status().provider.message == "LaunchDarkly refuses the SDK key (401)"
        result = flags.evaluate("agent", "ada", default=True)
        assert result.error_code is ErrorCode.PROVIDER_NOT_READY
        assert "sdk-of-somebody-else" not in f"{result}{flags.status()}{provider!r}"
    gc.collect()


@pytest.mark.rule("P2", "X1")
@pytest.mark.parametrize(
    "status, state, told",
    [
        (401, State.ERROR, "LaunchDarkly refuses the SDK key (401)"),
        (403, State.ERROR, "LaunchDarkly refuses the SDK key (403)"),
        (404, State.NOT_READY, "LaunchDarkly answers 404"),
        (500, State.NOT_READY, "LaunchDarkly answers 500"),
    ],
)
@sockets_are_left
def test_a_key_that_is_refused_and_a_wrong_url_are_never_told_as_a_missing_flag(
    service, status, state, told
):
    service.put(boolean("agent"))
    service.fail("/all", status=status)
    with Flags.over(LaunchDarklyProvider(connection(service)), ready_within=0.1) as flags:
        wait_for(lambda: flags.status().provider.message == told)
        assert flags.status().state is state
        result = flags.evaluate("agent", "ada", default=True)
        assert (result.value, result.error_code) == (True, ErrorCode.PROVIDER_NOT_READY)
        assert service.sdk_key not in f"{flags.status()}"
    gc.collect()


@pytest.mark.rule("P1", "P2")
def test_an_sdk_that_does_not_start_leaves_no_thread_and_says_why(service, monkeypatch):
    def broken(*_args, **_options):
        raise RuntimeError("no entropy")

    monkeypatch.setattr("downhaul_launchdarkly.session.LDClient", broken)
    before = threading.active_count()
    with Flags.over(LaunchDarklyProvider(connection(service)), ready_within=0.1) as flags:
        wait_for(lambda: flags.status().state is State.FATAL)
        assert "no entropy" in flags.status().provider.message
        result = flags.evaluate("agent", "ada", default=True)
        assert (result.value, result.error_code) == (True, ErrorCode.PROVIDER_FATAL)
    wait_for(lambda: threading.active_count() <= before)


@pytest.mark.rule("P1")
@sockets_are_left
def test_closing_keeps_its_time_though_the_events_host_never_answers(service, connect):
    service.put(boolean("agent"))
    service.fail("/bulk", silent=True)
    before = set(threading.enumerate())  # others may hang on purpose
    flags = connect(events=True)
    assert flags.is_enabled("agent", "ada")
    begun = time.monotonic()
    flags.close(0.5)
    assert time.monotonic() - begun < 2
    flags.close(0.5)
    service.stop()  # what still hangs ends now, and is collected while its warning is expected
    wait_for(
        lambda: (
            not [
                one
                for one in threading.enumerate()
                if one.name == "downhaul-close" and one not in before
            ]
        )
    )
    gc.collect()


def test_what_the_sdk_says_of_a_start_that_waits_for_nothing_alarms_nobody(connect, caplog):
    with caplog.at_level(logging.WARNING):
        connect()
    assert not [one for one in caplog.records if one.name.startswith("ldclient")]


# Following


@pytest.mark.rule("P2")
def test_a_stream_that_breaks_off_leaves_the_flags_and_is_told_as_stale(service, connect):
    service.put(boolean("agent"))
    flags = connect()
    service.stop()
    wait_for(lambda: flags.status().state is State.STALE)
    assert flags.is_enabled("agent", "ada")
    assert flags.status().age >= 0
    service.change("agent", on=False)
    service.start()
    wait_for(lambda: flags.status().state is State.READY)
    wait_for(lambda: not flags.is_enabled("agent", "ada", default=True))


def test_a_patch_of_a_version_that_is_there_already_changes_nothing(service, connect):
    service.put(boolean("agent"))
    flags = connect()
    heard = []
    flags.on_change(heard.append)
    service.send_stale("agent", on=False)
    service.put(boolean("other"))
    wait_for(lambda: flags.is_enabled("other", "ada"))
    assert flags.is_enabled("agent", "ada")
    assert heard == [{"other"}]


@pytest.mark.rule("P2")
def test_one_flag_that_cannot_be_read_never_takes_the_others_away(service, connect):
    """LaunchDarkly's SDK drops a payload whole that has one field of another type."""
    service.put(boolean("agent"))
    flags = connect()
    service.put({**boolean("odd"), "rules": "none"})
    service.drop_streams()
    wait_for(lambda: flags.status().state is not State.READY)
    assert flags.is_enabled("agent", "ada")
    service.put(boolean("odd"))
    service.drop_streams()
    wait_for(lambda: flags.is_enabled("odd", "ada"))
    assert flags.is_enabled("agent", "ada")


@pytest.mark.rule("P2", "E1")
def test_who_is_told_of_a_change_may_ask_at_once(service, connect):
    service.put(boolean("agent", on=False))
    flags = connect()
    seen = []
    flags.on_change(lambda keys: seen.extend(flags.is_enabled(key, "ada") for key in sorted(keys)))
    service.change("agent", on=True)
    service.put(boolean("new"))
    wait_for(lambda: len(seen) == 2)
    assert seen == [True, True]


def test_a_flag_that_is_deleted_is_gone(service, connect):
    service.put(boolean("agent"))
    flags = connect()
    service.delete("agent")
    wait_for(lambda: "agent" not in flags.evaluate_all("ada"))
    assert flags.evaluate("agent", "ada", default=True).error_code is ErrorCode.FLAG_NOT_FOUND


# Deciding


@pytest.mark.rule("E4")
def test_off_without_an_off_variation_is_the_callers_default_and_no_error(service, connect):
    service.put(boolean("agent", on=False, offVariation=None))
    flags = connect()
    result = flags.evaluate("agent", "ada", default=True)
    assert (result.value, result.variant, result.reason) == (True, None, Reason.DISABLED)
    assert (result.error_code, result.authoritative) == (None, False)


@pytest.mark.rule("K2")
def test_a_killed_flag_serves_its_off_variation_whichever_that_is(service, connect):
    service.put(flag_of("model", ["m-2", "m-1", "m-0"], offVariation=1))
    flags = connect()
    assert flags.value("model", "ada", "x") == "m-2"
    flags.operator("ana").kill("model", reason="it burns")
    assert flags.value("model", "ada", "x") == "m-1"


@pytest.mark.rule("E2")
def test_the_sdk_s_default_of_another_type_never_comes_out(service, connect):
    service.put(boolean("agent"))
    service.put(flag_of("size", [0.5, 10]))
    flags = connect()
    assert flags.value("agent", "ada", "x") == "x"
    assert flags.evaluate("size", "ada", default=1).error_code is ErrorCode.TYPE_MISMATCH
    assert flags.value("size", "ada", 1.5) == 0.5


@pytest.mark.rule("E8")
def test_a_share_by_another_attribute_needs_no_targeting_key(service, connect):
    shared = boolean("agent", percent=50)["fallthrough"]["rollout"]
    service.put(boolean("agent", fallthrough={"rollout": {**shared, "bucketBy": "team"}}))
    service.put(boolean("everybody", percent=100))
    flags = connect()
    result = flags.evaluate("agent", {"team": "blue"}, default=False)
    assert (result.error_code, result.reason) == (None, Reason.DEFAULT) or result.variant
    assert flags.is_enabled("everybody", {"team": "blue"})


def test_attributes_named_as_the_sdk_s_own_do_not_change_who_is_asking():
    theirs = their_context(Context("ada", {"key": "eve", "kind": "robot", "_meta": {"a": 1}}))
    assert (theirs.key, theirs.kind, theirs.valid) == ("ada", "user", True)
    both = their_context(
        Context.multi(Context("ada", {"plan": None}), Context("acme", {}, "organisation"))
    )
    assert both.get_individual_context("organisation").key == "acme"
    nobody = their_context(Context(None, {"plan": "gold"}))
    assert (nobody.key, nobody.anonymous, nobody.get("plan")) == (NOBODY, True, "gold")


@pytest.mark.rule("E10")
@pytest.mark.parametrize("weight", [0, 100, 2_500, 25_000, 99_999, 100_000])
def test_a_portable_rollout_serves_the_users_that_every_backend_serves(service, connect, weight):
    clause = {
        "contextKind": "user",
        "attribute": "downhaul_agent",
        "op": "lessThan",
        "values": [weight],
        "negate": False,
    }
    rule = {"id": "portable", "clauses": [clause], "variation": 0}
    service.put(boolean("agent", fallthrough={"variation": 1}, rules=[rule]))
    flags = connect(declarations={"agent": Declaration(rollout=RolloutMode.PORTABLE)})
    users = [f"user-{number}" for number in range(4_000)]
    served = {user for user in users if flags.is_enabled("agent", user)}
    assert served == {user for user in users if bucket("agent", user) < weight}
    assert not flags.is_enabled("agent", {"plan": "gold"})  # no key, no bucket: fails closed


@pytest.mark.rule("E1")
def test_there_is_one_result_for_each_outcome_and_none_outlives_its_version(service, connect):
    service.put(boolean("agent", percent=50, targets=[{"variation": 0, "values": ["ada"]}]))
    flags = connect()
    first, again = (flags.evaluate("agent", "ada") for _ in range(2))
    assert first is again
    assert (first.reason, first.metadata["vendor_reason"]) == (
        Reason.TARGETING_MATCH,
        "TARGET_MATCH",
    )
    split = {flags.evaluate("agent", f"user-{number}").reason for number in range(50)}
    assert split == {Reason.SPLIT}
    nobody = flags.evaluate("agent", None, default=True)
    assert (nobody.value, nobody.error_code) == (True, ErrorCode.TARGETING_KEY_MISSING)
    service.change("agent", variations=["x", "y"])
    wait_for(lambda: flags.value("agent", "ada", "") == "x")
    later = flags.evaluate("agent", "ada")
    assert (later.variant, later.flag_version) == ("x", "2")


def test_a_context_is_asked_for_as_it_is_though_another_one_came_before(service, connect):
    clause = {
        "contextKind": "user",
        "attribute": "plan",
        "op": "in",
        "values": ["pro"],
        "negate": False,
    }
    rule = {"id": "r", "clauses": [clause], "variation": 0}
    service.put(boolean("agent", fallthrough={"variation": 1}, rules=[rule]))
    flags = connect()
    pro, free = Context("ada", {"plan": "pro"}), Context("ada", {"plan": "free"})
    asked = [flags.is_enabled("agent", one) for one in (pro, free, pro, pro, free)]
    assert asked == [True, False, True, True, False]
    plans = {"plan": "free"}
    lasting = Context("ada", plans)
    assert not flags.is_enabled("agent", lasting)
    plans["plan"] = "pro"  # which nobody should do, and which other backends see
    assert flags.is_enabled("agent", lasting)


# What is sent


def test_nothing_is_sent_of_anybody_unless_it_is_asked_for(service, connect):
    service.put(boolean("agent"))
    flags = connect()
    for number in range(20):
        flags.is_enabled("agent", Context(f"user-{number}", {"email": "ada@example.org"}))
    flags.close()
    assert set(paths(service)) == {"/all"}


def test_events_carry_keys_and_no_attributes_unless_that_is_asked_for(service, connect):
    service.put(boolean("agent", trackEvents=True))
    for private, seen in ((True, False), (False, True)):
        service.events.clear()
        flags = connect(events=True, private=private)
        flags.is_enabled("agent", Context("ada", {"email": "ada@example.org"}))
        flags.close(10)
        service.wait_for(lambda: service.events)
        sent = json.dumps(service.events)
        assert '"ada"' in sent
        assert ("ada@example.org" in sent) is seen


@pytest.mark.parametrize("events", [False, True])
def test_a_shadow_sends_no_event_whatever_is_asked_for(service, events):
    service.put(boolean("agent", trackEvents=True))
    shadowed = LaunchDarklyProvider(connection(service, events=events))
    old = MemoryProvider(FlagSet.of([Flag.boolean("agent")]))
    shadow = Shadow(old, shadowed, sample=1)
    with Flags.over(shadow) as flags:
        assert shadowed.wait_ready(10)
        wait_for(lambda: flags.is_enabled("agent", "ada") and shadow.report().comparing)
        for number in range(50):
            flags.is_enabled("agent", f"user-{number}")
        wait_for(lambda: shadow.report().total(Outcome.MATCH) >= 50)
        flags.close(10)
    assert service.events == []


def test_who_answers_beside_a_shadow_still_sends_the_events_that_were_asked_for(service):
    service.put(boolean("agent", trackEvents=True))
    old = LaunchDarklyProvider(connection(service, events=True))
    shadow = Shadow(old, MemoryProvider(FlagSet.of([Flag.boolean("agent")])), sample=1)
    with Flags.over(shadow, ready_within=10) as flags:
        flags.is_enabled("agent", "ada")
        wait_for(lambda: shadow.report().total(Outcome.MATCH) == 1)
        flags.close(10)
    service.wait_for(lambda: service.events)
    assert '"ada"' in json.dumps(service.events)


# Configuration


def test_flags_come_from_a_file_without_any_service(tmp_path):
    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"flags": {"agent": boolean("agent", percent=30)}}))
    with Flags.connect(f"launchdarkly+file://{path}", cache_dir=False) as flags:
        assert flags.wait_ready(10)
        share = sum(flags.is_enabled("agent", f"user-{one}") for one in range(1000)) / 1000
        assert 0.25 < share < 0.35
        changed = {"flags": {"agent": boolean("agent", on=False, version=2)}}
        path.write_text(json.dumps(changed))
        wait_for(lambda: flags.evaluate("agent", "ada").reason is Reason.DISABLED)


def test_a_service_is_connected_to_by_its_url(service):
    service.put(boolean("agent"))
    table = {"url": f"launchdarkly+{service.url}", "sdk_key": service.sdk_key}
    with Flags.connect(provider=table, cache_dir=False, ready_within=10) as flags:
        assert flags.is_enabled("agent", "ada")


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "table, told",
    [
        ({"url": "launchdarkly:"}, "tells its flags to nobody without a key"),
        (
            {"url": "launchdarkly+ftp://x", "sdk_key": "k"},
            "does not say how LaunchDarkly is reached",
        ),
    ],
)
def test_what_is_missing_is_told_with_what_to_do(table, told):
    with pytest.raises(ConfigError, match=told) as refused:
        create(resolve(provider=table, environ={}))
    assert refused.value.hint
