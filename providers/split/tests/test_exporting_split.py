"""What Split sends to SDKs, exported, decides as the SDK itself does; the SDK key is enough."""

import json
import time
from dataclasses import replace

import pytest
import responses
from connected_split import connection, provider_of
from downhaul_emulators.split import boolean, buckets, rule
from downhaul_emulators.split.changes import KeySet
from downhaul_split.provider import SplitProvider
from downhaul_split.session import Connection

from downhaul import Context, Flags
from downhaul.config import Secret
from downhaul.errors import ProviderError, Unreachable
from downhaul.flag import Bucketing, Flag, Prerequisite, Scheme, Split, Weight
from downhaul.ledger import Fidelity
from downhaul.provider import Change

ANA = Change("ana", "it leaves")
USERS = [f"user-{number}" for number in range(400)]
URL = "https://sdk.example.com/api"
GOLD = {"type": "IN_LIST_STRING", "attribute": "plan", "strings": ["gold"], "negate": False}


def exporting(service, **more):
    """Return a provider that has no admin token."""
    return SplitProvider(connection(service, **more))


def fill(service):
    """Put some of all that decides into the service."""
    account, environment = service.account, service.account.environments[0]
    kind = account.traffic_types[0]
    account.segments["staff"] = {"name": "staff", "trafficType": kind}
    account.segments["left"] = {"name": "left", "trafficType": kind}
    for name, keys in (("staff", USERS[:50]), ("left", USERS[40:50])):
        environment.segments[name] = KeySet()
        account.change_keys(environment, name, add=keys)
    account.rule_segments["early"] = {"name": "early", "trafficType": kind}
    account.write_rules(
        environment,
        "early",
        {
            "rules": [rule([{"type": "IN_SEGMENT", "string": "staff"}]), rule([GOLD])],
            "excludedKeys": [USERS[0]],
            "excludedSegments": [{"name": "left", "type": "standard_segment"}],
        },
    )
    service.put("parent", boolean(percent=70))
    depends = {"type": "IN_SPLIT", "depends": {"splitName": "parent", "treatment": "on"}}
    service.put(
        "agent",
        boolean(
            percent=30,
            trafficAllocation=60,
            treatments=[{"name": "on", "keys": ["ada"], "segments": ["left"]}, {"name": "off"}],
            rules=[
                rule([{"type": "IN_RULE_BASED_SEGMENT", "string": "early"}], on=50, off=50),
                rule([depends, GOLD], on=100),
            ],
        ),
    )
    service.put(
        "needing", boolean(percent=50, rules=[rule([{**depends, "negate": True}], off=100)])
    )
    service.put("killed", boolean(killed=True))
    asks = rule([{"type": "IN_RULE_BASED_SEGMENT", "string": "early"}], on=100)
    service.put("ruled", boolean(percent=0, rules=[asks]))


@pytest.mark.rule("E9", "M1")
def test_what_is_exported_decides_as_the_sdk_for_every_user(service):
    fill(service)
    provider = exporting(service)
    found = provider.export()
    assert {one.flag for one in found.ledger if one.flag} == set(service.definitions)
    assert {one.fidelity for one in found.ledger} == {Fidelity.FULL}
    contexts = [
        Context(user, attributes)
        for user in ("ada", *USERS)
        for attributes in ({}, {"plan": "gold"})
    ]
    with (
        Flags.over(provider, ready_within=20) as theirs,
        Flags.in_memory(found.flags, segments=found.segments) as ours,
    ):
        for key in service.definitions:
            for context in contexts:
                told = theirs.evaluate(key, context, None)
                assert told.variant == ours.evaluate(key, context, None).variant, (key, context)


def test_it_needs_no_admin_token_and_takes_tags_and_words_along_where_there_is_one(service):
    flag = Flag.boolean("agent", percent=25, tags=("agents",), description="the new one")
    provider_of(service).put(flag, ANA)
    (alone,) = exporting(service).export().flags
    (whole,) = provider_of(service).export().flags
    assert (alone.tags, alone.description) == ((), "")
    assert (whole.tags, whole.description) == (flag.tags, flag.description)
    assert whole.default == alone.default
    assert alone.default.bucketing.scheme is Scheme.SPLIT
    assert alone.default.bucketing.seed is not None


@pytest.mark.rule("E9")
def test_a_flag_that_came_from_elsewhere_leaves_as_the_split_it_was(service):
    how = Bucketing(Scheme.UNLEASH, salt="agents", total=100)
    flag = Flag(
        key="agent",
        default=Split((Weight("on", 25), Weight("off", 75)), how),
        prerequisites=(Prerequisite("parent", ("on",), while_off=True),),
        on=True,
    )
    provider = provider_of(service)
    provider.put(Flag.boolean("parent"), ANA)
    provider.put(flag, ANA)
    found = {one.key: one for one in provider.export().flags}["agent"]
    assert (found.default, found.rules, found.prerequisites) == (
        flag.default,
        (),
        flag.prerequisites,
    )


@pytest.mark.rule("P5")
def test_an_exported_flag_put_back_is_not_written(service):
    fill(service)
    provider = provider_of(service)
    found = provider.export()
    service.requests.clear()
    for flag in found.flags:
        provider.put(flag, ANA)
    assert [one for one in service.requests if one.method != "GET"] == []
    ruled = next(one for one in found.flags if one.key == "ruled")
    provider.put(replace(ruled, default="on"), ANA)
    (kept,) = service.definitions["ruled"]["rules"]
    assert kept["condition"]["matchers"][0]["type"] == "IN_RULE_BASED_SEGMENT"
    agent = next(one for one in found.flags if one.key == "needing")
    raised = Split((Weight("on", 80), Weight("off", 20)), agent.default.bucketing)
    put = provider.put(replace(agent, default=raised), ANA)
    assert service.definitions["needing"]["defaultRule"] == buckets(on=80, off=20)
    assert put.default.bucketing == Bucketing(Scheme.SPLIT, total=100)  # Split's own percentage


# What may go wrong


@pytest.mark.parametrize(
    "status, told, hint",
    [
        (401, "refuses the SDK key", "sdk_key"),
        (403, "does not let this SDK key", "server-side"),
        (404, "something unexpected", "sdk_url"),
        (302, "something unexpected", "sdk_url"),
    ],
)
def test_refusals_are_told_apart_and_tell_no_key(service, status, told, hint):
    service.put("agent", boolean())
    service.fail("/splitChanges", status=status)
    with pytest.raises(ProviderError, match=told) as refused:
        exporting(service).export()
    assert hint in refused.value.hint
    assert service.sdk_key not in f"{refused.value}{refused.value.hint}"


def test_a_passing_failure_is_passed_over(service):
    service.put("agent", boolean())
    service.fail("/splitChanges", status=503, times=2)
    assert [one.key for one in exporting(service).export().flags] == ["agent"]


def test_a_service_that_never_answers_ends_the_export_in_its_time(service):
    service.put("agent", boolean())
    service.fail("/splitChanges", silent=True)
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="does not answer in time"):
        exporting(service, deadline=0.5).export()
    assert time.monotonic() - begun < 3


def test_a_segment_that_is_not_there_is_named_with_what_asks_for_it(service):
    fill(service)
    service.fail("/segmentChanges/left", status=404)
    found = exporting(service).export()
    assert "agent" not in {one.key for one in found.flags}
    (lost,) = found.ledger.of("agent")
    assert (lost.fidelity, 'segment "left"' in lost.reason) == (Fidelity.MANUAL, True)
    assert lost.fragment["name"] == "agent"


def served(name, till, **more):
    every = {"matcherType": "ALL_KEYS", "negate": False, "keySelector": None}
    return {
        "name": name,
        "status": "ACTIVE",
        "killed": False,
        "defaultTreatment": "off",
        "seed": till,
        "algo": 2,
        "changeNumber": till,
        "conditions": [
            {
                "conditionType": "ROLLOUT",
                "matcherGroup": {"combiner": "AND", "matchers": [every]},
                "partitions": [{"treatment": "on", "size": 30}, {"treatment": "off", "size": 70}],
            }
        ],
        **more,
    }


def page(since, rules_since, flags, till, rules_till, rules=()):
    asked = {"s": "1.3", "since": since, "rbSince": rules_since}
    body = {
        "ff": {"d": flags, "s": since, "t": till},
        "rbs": {"d": list(rules), "s": rules_since, "t": rules_till},
    }
    return {"json": body, "match": [responses.matchers.query_param_matcher(asked)]}


def at_url():
    return SplitProvider(Connection(Secret("sdk-5ecret"), URL, deadline=1.0))


@responses.activate
def test_changes_are_read_to_the_last_and_the_newest_of_a_flag_holds():
    path = f"{URL}/splitChanges"
    responses.get(path, **page(-1, -1, [served("a", 5), served("b", 5), served("c", 5)], 5, -1))
    changed = [served("b", 8), served("c", 8, status="ARCHIVED")]
    responses.get(path, **page(5, -1, changed, 8, 7))
    responses.get(path, **page(8, 7, [], 8, 7))
    found = at_url().export()
    assert {one.key: one.default.bucketing.seed for one in found.flags} == {"a": 5, "b": 8}
    assert found.ledger.of("c")[0].fidelity is Fidelity.SKIPPED


@responses.activate
def test_keys_of_a_segment_are_read_to_the_last():
    asks = {
        "matcherType": "IN_SEGMENT",
        "negate": False,
        "keySelector": None,
        "userDefinedSegmentMatcherData": {"segmentName": "the staff"},
    }
    flag = served("a", 5)
    flag["conditions"][0]["matcherGroup"]["matchers"] = [asks]
    responses.get(f"{URL}/splitChanges", **page(-1, -1, [flag], 5, -1))
    responses.get(f"{URL}/splitChanges", **page(5, -1, [], 5, -1))
    for since, added, removed, till in (
        (-1, ["ada", "eve"], [], 3),
        (3, ["bob"], ["eve"], 9),
        (9, [], [], 9),
    ):
        responses.get(
            f"{URL}/segmentChanges/the%20staff",
            json={"name": "the staff", "added": added, "removed": removed, "till": till},
            match=[responses.matchers.query_param_matcher({"since": since})],
        )
    (segment,) = at_url().export().segments
    assert segment.included[0].keys == {"ada", "bob"}


@responses.activate
def test_an_older_proxy_is_asked_in_its_own_words():
    matcher = responses.matchers.query_param_matcher
    responses.get(
        f"{URL}/splitChanges",
        status=400,
        match=[matcher({"s": "1.3"}, strict_match=False)],
    )
    for since in (-1, 5):
        flags = [served("a", 5)] if since < 0 else []
        responses.get(
            f"{URL}/splitChanges",
            json={"splits": flags, "since": since, "till": 5},
            match=[matcher({"s": "1.1", "since": since})],
        )
    assert [one.key for one in at_url().export().flags] == ["a"]


@responses.activate
@pytest.mark.parametrize("body", ["<html>a proxy's page</html>", "[]", '{"ff": {"d": [{}]}}'])
def test_what_is_no_answer_of_split_is_told(body):
    responses.get(f"{URL}/splitChanges", body=body)
    with pytest.raises(ProviderError, match="something unexpected") as refused:
        at_url().export()
    assert "sdk_url" in refused.value.hint


# Files


def test_a_file_is_exported_with_the_segments_beside_it(tmp_path):
    flag = served("a", 5)
    asks = {"matcherType": "IN_SEGMENT", "negate": False, "keySelector": None}
    named = {"userDefinedSegmentMatcherData": {"segmentName": "staff"}}
    flag["conditions"][0]["matcherGroup"]["matchers"] = [{**asks, **named}]
    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"ff": {"d": [flag], "s": -1, "t": 5}, "rbs": {"d": []}}))
    (tmp_path / "staff.json").write_text('{"name": "staff", "added": ["ada"], "removed": []}')
    found = SplitProvider(Connection(file=str(path))).export()
    assert [one.key for one in found.flags] == ["a"]
    assert found.segments[0].included[0].keys == {"ada"}


def test_a_yaml_file_is_exported_as_the_sdk_reads_it(tmp_path):
    path = tmp_path / "flags.yaml"
    path.write_text(
        "- agent:\n    treatment: 'off'\n"
        "- agent:\n    treatment: 'on'\n    keys: [ada, eve]\n"
        "- text:\n    treatment: red\n    config: '{\"n\": 1}'\n"
        "- some:\n    treatment: 'on'\n    keys: ada\n"
    )
    provider = SplitProvider(Connection(file=str(path)))
    found = provider.export()
    assert found.ledger.of("some")[0].fidelity is Fidelity.MANUAL  # nobody else is served anything
    with (
        Flags.over(provider, ready_within=20) as theirs,
        Flags.in_memory(found.flags) as ours,
    ):
        for key in ("agent", "text"):
            for user in ("ada", "bob"):
                wanted = theirs.evaluate(key, user, None)
                told = ours.evaluate(key, user, None)
                assert (told.variant, told.value) == (wanted.variant, wanted.value)


@pytest.mark.parametrize("name", ["flags.json", "flags.yaml"])
@pytest.mark.parametrize("text", ["{", "- 5", '{"ff": {"d": [5]}}', None])
def test_a_file_that_cannot_be_read_is_told(tmp_path, name, text):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ProviderError, match="is not read"):
        SplitProvider(Connection(file=str(path))).export()
