"""Split's own SDK behind the interface: what it does by itself must not reach a caller."""

import datetime as dt
import json
import subprocess
import sys
import threading
import time
from uuid import UUID

import pytest
import requests
from connected_split import connection, wait_for
from downhaul_emulators.split import boolean, buckets, definition_of, rule
from downhaul_split.contexts import NOBODY, their_attributes, their_key
from downhaul_split.provider import SplitProvider, create
from splitio.sync.synchronizer import Synchronizer
from splitio.tasks.util.asynctask import AsyncTask

from downhaul import Context, Flag, Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.config import Declaration, RolloutMode, resolve
from downhaul.errors import ConfigError
from downhaul.evaluator.bucketing import bucket
from downhaul.flag import FlagSet
from downhaul.provider import State
from downhaul.result import ErrorCode, Reason
from downhaul.wrappers.comparisons import Outcome
from downhaul.wrappers.shadow import Shadow


@pytest.fixture
def connect(service):
    made = []

    def make(ready_within=10.0, declarations=None, **more):
        provider = SplitProvider(connection(service, **more))
        flags = Flags.over(provider, declarations=declarations, ready_within=ready_within)
        made.append(flags)
        return flags

    yield make
    for flags in made:
        flags.close()


# Starting and ending


@pytest.mark.rule("P1")
@pytest.mark.slow
@pytest.mark.parametrize("fault", ["refused", "silent", "error"])
def test_a_service_that_is_away_at_the_start_blocks_nobody_and_is_heard_when_it_is_back(
    service, connect, fault
):
    service.put("agent", boolean())
    if fault == "refused":
        service.stop()
    else:
        service.fail("splitChanges", **({"silent": True} if fault == "silent" else {"status": 503}))
    begun = time.monotonic()
    flags = connect(ready_within=0.2)
    assert time.monotonic() - begun < 2
    result = flags.evaluate("agent", "ada", default=True)
    assert (result.value, result.error_code) == (True, ErrorCode.PROVIDER_NOT_READY)
    assert not flags.is_enabled("agent", "ada")
    wait_for(lambda: flags.status().state is State.NOT_READY)
    service.heal()
    if fault == "refused":
        service.start()
    assert flags.wait_ready(30)
    assert flags.is_enabled("agent", "ada")


@pytest.mark.rule("P2", "X1")
def test_a_refused_key_is_told_and_no_flag_is_said_to_be_missing(service):
    service.put("agent", boolean())
    provider = SplitProvider(connection(service, key="sdk-of-somebody-else"))
    with Flags.over(provider, ready_within=0.1) as flags:
        wait_for(lambda: flags.status().state is State.ERROR)
        assert flags.status().provider.message == "Split refuses the SDK key (401)"
        result = flags.evaluate("agent", "ada", default=True)
        assert result.error_code is ErrorCode.PROVIDER_NOT_READY
        assert "sdk-of-somebody-else" not in f"{result}{flags.status()}{provider!r}"


@pytest.mark.rule("P2", "X1")
@pytest.mark.parametrize("body", [{"message": "moved"}, "a proxy's page", {"ff": {"d": []}}])
def test_an_answer_that_is_no_definition_of_flags_is_told_and_leaves_the_flags(
    service, connect, body
):
    service.put("agent", boolean())
    service.fail("splitChanges", status=200, body=body)
    flags = connect(ready_within=0.1, streaming=False)
    wait_for(lambda: "something else than definitions" in flags.status().provider.message)
    assert flags.status().state is State.NOT_READY
    service.heal()
    assert flags.wait_ready(10)
    assert flags.is_enabled("agent", "ada")
    service.fail("splitChanges", status=200, body=body)
    wait_for(lambda: flags.status().state is State.STALE)
    assert "something else than definitions" in flags.status().provider.message
    assert flags.is_enabled("agent", "ada")


_ASKS_AND_ENDS = """
import sys
from downhaul import Flags
from downhaul.config import Secret
from downhaul_split.provider import SplitProvider
from downhaul_split.session import Connection

url = sys.argv[1]
api = f"{url}/api"
connection = Connection(Secret("sdk-5ecret"), api, api, api, url, api)
flags = Flags.over(SplitProvider(connection), ready_within=20)
assert flags.is_enabled("agent", "ada")
print("asked", flush=True)
"""


@pytest.mark.rule("P1")
@pytest.mark.slow
def test_a_process_that_ends_without_closing_is_kept_by_no_thread(service):
    service.put("agent", boolean())
    command = [sys.executable, "-c", _ASKS_AND_ENDS, service.url]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, "asked\n"), ran.stderr


@pytest.mark.rule("P1")
def test_closing_while_split_is_away_leaves_no_thread(service):
    before = set(threading.enumerate())
    service.stop()
    flags = Flags.over(SplitProvider(connection(service)), ready_within=0.1)
    begun = time.monotonic()
    flags.close(1.0)
    assert time.monotonic() - begun < 3
    service.start()
    # The SDK sleeps between two tries; the next one ends it.
    wait_for(
        lambda: (
            not {
                one
                for one in threading.enumerate()
                if "emulat" not in one.name and "process_request" not in one.name
            }
            - before
        ),
        30,
    )


# Following


@pytest.mark.rule("P2")
@pytest.mark.slow
def test_a_service_that_dies_later_leaves_the_flags_and_is_told_as_stale(service, connect):
    service.put("agent", boolean())
    flags = connect()
    service.stop()
    wait_for(lambda: flags.status().state is State.STALE, 30)
    assert flags.is_enabled("agent", "ada")
    assert flags.status().age >= 0
    service.change("agent", killed=True)
    service.start()
    wait_for(lambda: flags.status().state is State.READY, 40)
    wait_for(lambda: not flags.is_enabled("agent", "ada"), 40)


@pytest.mark.rule("P2")
@pytest.mark.slow
def test_a_stream_that_was_refused_is_listened_to_again(service, connect):
    service.put("agent", boolean())
    flags = connect()
    wait_for(service.listening)
    service.stop()
    wait_for(lambda: flags.status().state is State.STALE, 30)
    service.start()
    wait_for(service.listening, 60)
    service.change("agent", killed=True)
    wait_for(lambda: not flags.is_enabled("agent", "ada"))


@pytest.mark.rule("P2")
def test_the_age_of_what_is_known_is_that_of_the_last_question_unless_a_stream_is_open(
    service, connect
):
    service.put("agent", boolean())
    polling = connect(streaming=False, refresh=3600)
    before = polling.status().provider.age
    time.sleep(0.1)
    assert polling.status().provider.age >= before + 0.1
    listening = connect()
    wait_for(service.listening)
    wait_for(lambda: listening.status().provider.age < 0.01)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_change_and_a_kill_are_heard_and_each_flag_is_named(service, connect, streaming):
    service.put("agent", boolean())
    service.put("other", boolean())
    flags = connect(streaming=streaming)
    if streaming:
        wait_for(service.listening)
    heard = []
    flags.on_change(heard.append)
    service.kill("agent")
    wait_for(lambda: not flags.is_enabled("agent", "ada"))
    assert flags.evaluate("agent", "ada").reason is Reason.DISABLED
    assert flags.is_enabled("other", "ada")
    wait_for(lambda: {"agent"} in heard)
    service.delete("other")
    wait_for(lambda: flags.evaluate("other", "ada").error_code is ErrorCode.FLAG_NOT_FOUND)


@pytest.mark.parametrize("inline", [True, False])
def test_a_segment_that_a_change_names_for_the_first_time_is_fetched(service, connect, inline):
    service.inline = inline
    service.put("agent", boolean())
    flags = connect()
    wait_for(service.listening)
    make_segment(service, "staff", ["ada"])
    matcher = {"type": "IN_SEGMENT", "string": "staff"}
    service.change("agent", rules=[rule([matcher], off=100)])
    wait_for(lambda: not flags.is_enabled("agent", "ada"))
    assert flags.is_enabled("agent", "eve")
    service.change("agent", defaultRule=buckets(off=100))  # what comes later is heard too
    wait_for(lambda: not flags.is_enabled("agent", "eve"))


def make_segment(service, name, keys):
    admin, place = service.admin_url, service.environment
    headers = {"Authorization": f"Bearer {service.admin_token}"}

    def ask(method, path, body):
        answer = requests.request(method, f"{admin}{path}", json=body, headers=headers, timeout=10)
        answer.raise_for_status()

    ask("POST", f"/segments/ws/{service.workspace}/trafficTypes/user", {"name": name})
    ask("POST", f"/segments/{place}/{name}", None)
    ask("PUT", f"/segments/{place}/{name}/uploadKeys?replace=true", {"keys": keys, "comment": "c"})


# Deciding


@pytest.mark.rule("E4")
def test_reasons_are_those_of_every_backend(service, connect):
    service.put("all", boolean())
    service.put("half", boolean(percent=50))
    plan = {"type": "IN_LIST_STRING", "attribute": "plan", "strings": ["gold"]}
    service.put("rule", boolean(percent=0, rules=[rule([plan], on=100)]))
    targets = [{"name": "on", "keys": ["ada"]}, {"name": "off"}]
    service.put("target", boolean(percent=0, treatments=targets))
    service.put("killed", boolean(killed=True))
    service.put("allocated", boolean(trafficAllocation=0))
    flags = connect()
    gold = Context("ada", {"plan": "gold"})
    reasons = [
        ("all", "ada", Reason.STATIC),
        ("half", "ada", Reason.SPLIT),
        ("rule", gold, Reason.TARGETING_MATCH),
        ("rule", "ada", Reason.DEFAULT),
        ("target", "ada", Reason.TARGETING_MATCH),
        ("target", "eve", Reason.DEFAULT),
        ("killed", "ada", Reason.DISABLED),
        ("allocated", "ada", Reason.SPLIT),
    ]
    for flag, context, reason in reasons:
        assert flags.evaluate(flag, context).reason is reason, flag


@pytest.mark.rule("K2")
def test_a_kill_of_ours_serves_off_though_the_default_treatment_is_on(service, connect):
    service.put("agent", boolean(defaultTreatment="on"))
    service.put("model", definition_of(["m-2", "m-1"]))
    flags = connect()
    flags.operator("ana").kill("agent", reason="it burns")
    flags.operator("ana").kill("model", reason="it burns")
    assert not flags.is_enabled("agent", "ada")
    assert flags.value("model", "ada", "x") == "m-1"


@pytest.mark.rule("E2")
def test_a_treatment_is_true_only_where_its_name_says_so(service, connect):
    service.put("agent", boolean(percent=0))
    service.put("model", definition_of(["v2", "off"]))
    service.put("declared", definition_of(["v2", "off"]))
    boolean_kind = Declaration(kind="boolean")
    flags = connect(declarations={"declared": boolean_kind})
    assert flags.value("agent", "ada", True) is False
    assert flags.evaluate("model", "ada", default=True).error_code is ErrorCode.TYPE_MISMATCH
    assert flags.value("model", "ada", "x") == "v2"
    assert flags.evaluate("declared", "ada", default=True).error_code is ErrorCode.TYPE_MISMATCH


@pytest.mark.rule("E3")
@pytest.mark.parametrize("key", ["a" * 251, "   "])
def test_what_the_sdk_answers_control_to_is_an_error_and_no_treatment(service, connect, key):
    service.put("agent", boolean())
    flags = connect()
    result = flags.evaluate("agent", key, default=True)
    assert (result.value, result.error_code) == (True, ErrorCode.INVALID_CONTEXT)


def test_a_rule_that_the_sdk_does_not_know_is_an_error_and_no_treatment(service, connect, tmp_path):
    strange = {
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
        "conditions": [
            {
                "conditionType": "ROLLOUT",
                "label": "the moon",
                "matcherGroup": {
                    "combiner": "AND",
                    "matchers": [
                        {"matcherType": "IN_THE_MOON", "negate": False, "keySelector": None}
                    ],
                },
                "partitions": [{"treatment": "on", "size": 100}],
            }
        ],
    }
    path = tmp_path / "flags.json"
    path.write_text(
        json.dumps({"ff": {"d": [strange], "s": -1, "t": 5}, "rbs": {"d": [], "s": -1, "t": -1}})
    )
    with Flags.connect(f"split+file://{path}", cache_dir=False, ready_within=10) as flags:
        result = flags.evaluate("agent", "ada", default=True)
        assert (result.value, result.error_code) == (True, ErrorCode.PARSE_ERROR)


def test_attributes_reach_the_sdk_as_they_are_and_times_as_it_compares_them():
    noon = dt.datetime(1970, 1, 2, 12, tzinfo=dt.UTC)
    values = {
        "n": 5,
        "x": 5.0,
        "deep": {"a": 1, "b": None},
        "list": ["a", None, {"b": 1}],
        "pair": ("a", "b"),
        "set": {"a", "b"},
        "other": UUID(int=7),
    }
    about = Context(
        "ada", {**values, "none": None, "noon": noon, "naive": noon.replace(tzinfo=None)}
    )
    sent = their_attributes(about, about)
    assert sent == {**values, "noon": 129_600}
    assert [(name, type(sent[name])) for name in values] == [
        (name, type(value)) for name, value in values.items()
    ]
    both = Context.multi(about, Context("acme", {"size": 10.0, "since": noon}, "organisation"))
    assert their_attributes(both, about) == {
        **sent,
        "organisation": "acme",
        "organisation.size": 10.0,
        "organisation.since": 129_600,
    }
    assert their_attributes(Context("ada", {"none": None}), Context("ada")) is None
    assert their_key(Context(None, {"plan": "gold"})) == NOBODY


@pytest.mark.rule("E10")
@pytest.mark.parametrize("weight", [0, 100, 2_500, 25_000, 99_999, 100_000])
def test_a_portable_rollout_serves_the_users_that_every_backend_serves(service, connect, weight):
    matcher = {
        "type": "BETWEEN_NUMBER",
        "attribute": "downhaul_agent",
        "between": {"from": 0, "to": weight - 1},
    }
    rules = [rule([matcher], on=100)] if weight else []
    service.put("agent", boolean(percent=0, rules=rules))
    flags = connect(declarations={"agent": Declaration(rollout=RolloutMode.PORTABLE)})
    users = [f"user-{number}" for number in range(4_000)]
    served = {user for user in users if flags.is_enabled("agent", user)}
    assert served == {user for user in users if bucket("agent", user) < weight}
    assert not flags.is_enabled("agent", {"plan": "gold"})  # no key, no bucket: fails closed


# What is sent


def sent(service):
    return [
        *service.impressions,
        *service.counts,
        *service.unique_keys,
        *service.events,
        *service.telemetry,
    ]


def test_nothing_is_sent_of_anybody_unless_it_is_asked_for(service, connect):
    service.put("agent", boolean())
    flags = connect()
    for number in range(20):
        flags.is_enabled("agent", Context(f"user-{number}", {"email": "ada@example.org"}))
    flags.close(10)
    assert sent(service) == []


def test_events_carry_keys_and_no_attributes_where_they_are_asked_for(service, connect):
    service.put("agent", boolean())
    flags = connect(events=True)
    flags.is_enabled("agent", Context("ada", {"email": "ada@example.org"}))
    flags.close(10)
    service.wait_for(lambda: service.impressions)
    text = json.dumps(sent(service))
    assert '"ada"' in text
    assert "ada@example.org" not in text


def test_what_was_asked_before_the_senders_began_is_sent_at_the_close(
    service, connect, monkeypatch
):
    monkeypatch.setattr(Synchronizer, "start_periodic_data_recording", lambda _self: None)
    service.put("agent", boolean())
    flags = connect(events=True)
    flags.is_enabled("agent", "ada")
    flags.close(10)
    assert '"ada"' in json.dumps(service.impressions)


def test_a_task_that_had_only_just_started_ends_too(service, connect, monkeypatch):
    late = threading.Event()
    run = AsyncTask._execution_wrapper

    def wrapped(task):
        late.wait(20)  # until its stop was said, and not heard
        run(task)

    monkeypatch.setattr(AsyncTask, "_execution_wrapper", wrapped)
    service.put("agent", boolean())
    flags = connect(events=True)
    flags.close(10)
    begun = [one for one in threading.enumerate() if one.name.startswith("AsyncTask::")]
    late.set()
    assert begun
    for one in begun:
        one.join(10)
        assert not one.is_alive(), one.name


@pytest.mark.parametrize("events", [False, True])
def test_a_shadow_posts_no_key_and_no_impression_whatever_is_asked_for(service, events):
    service.put("agent", boolean())
    shadowed = SplitProvider(connection(service, events=events))
    old = MemoryProvider(FlagSet.of([Flag.boolean("agent")]))
    shadow = Shadow(old, shadowed, sample=1)
    with Flags.over(shadow) as flags:
        assert shadowed.wait_ready(10)
        service.wait_for(lambda: flags.is_enabled("agent", "ada") and shadow.report().comparing)
        for number in range(50):
            flags.is_enabled("agent", f"user-{number}")
        service.wait_for(lambda: shadow.report().total(Outcome.MATCH) >= 50)
        flags.close(10)
    assert not (service.impressions)
    assert not (service.counts)
    assert not (service.unique_keys)
    assert not (service.events)


def test_who_answers_beside_a_shadow_still_posts_what_was_asked_for(service):
    service.put("agent", boolean())
    old = SplitProvider(connection(service, events=True))
    shadow = Shadow(old, MemoryProvider(FlagSet.of([Flag.boolean("agent")])), sample=1)
    with Flags.over(shadow, ready_within=10) as flags:
        flags.is_enabled("agent", "ada")
        service.wait_for(lambda: shadow.report().total(Outcome.MATCH) == 1)
        flags.close(10)
    service.wait_for(lambda: service.impressions)
    assert '"ada"' in json.dumps(service.impressions)


# Configuration


def test_flags_come_from_a_file_without_any_service(tmp_path):
    path = tmp_path / "flags.json"
    condition = {
        "conditionType": "ROLLOUT",
        "label": "default rule",
        "matcherGroup": {
            "combiner": "AND",
            "matchers": [{"matcherType": "ALL_KEYS", "negate": False, "keySelector": None}],
        },
        "partitions": buckets(on=30, off=70),
    }
    flag = {
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
        "conditions": [condition],
    }
    path.write_text(
        json.dumps({"ff": {"d": [flag], "s": -1, "t": 5}, "rbs": {"d": [], "s": -1, "t": -1}})
    )
    with Flags.connect(f"split+file://{path}", cache_dir=False) as flags:
        assert flags.wait_ready(10)
        share = sum(flags.is_enabled("agent", f"user-{one}") for one in range(1000)) / 1000
        assert 0.25 < share < 0.35
        changed = {**flag, "killed": True, "changeNumber": 6}
        path.write_text(
            json.dumps(
                {"ff": {"d": [changed], "s": -1, "t": 6}, "rbs": {"d": [], "s": -1, "t": -1}}
            )
        )
        wait_for(lambda: flags.evaluate("agent", "ada").reason is Reason.DISABLED)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with Flags.connect(f"split+file://{tmp_path}/flags.json", cache_dir=False) as flags:
        wait_for(lambda: flags.status().state is State.FATAL)
        assert "there is no file" in flags.status().provider.message


def test_a_service_is_connected_to_by_its_url(service):
    service.put("agent", boolean())
    table = {"url": f"split+{service.url}", "sdk_key": service.sdk_key}
    with Flags.connect(provider=table, cache_dir=False, ready_within=10) as flags:
        assert flags.is_enabled("agent", "ada")


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "table, told",
    [
        ({"url": "split:"}, "tells its flags to nobody without a key"),
        ({"url": "split+ftp://x", "sdk_key": "k"}, "does not say how Split is reached"),
        ({"url": "split+file:///flags.txt"}, "reads no file"),
    ],
)
def test_what_is_missing_is_told_with_what_to_do(table, told):
    with pytest.raises(ConfigError, match=told) as refused:
        create(resolve(provider=table, environ={}))
    assert refused.value.hint
