"""What the admin client does with answers that a real server gives only when something is wrong."""

import datetime as dt
import json
import time

import pytest
import requests
import responses
from downhaul_unleash.admin import Admin
from downhaul_unleash.api import Api
from downhaul_unleash.provider import UnleashProvider
from downhaul_unleash.session import Connection
from stubs_unleash import ANA

from downhaul import Flag
from downhaul.config import Secret
from downhaul.errors import FlagNotFound, ProviderError, Refused, Unreachable

URL = "https://unleash.example/api"
FLAG = f"{URL}/admin/projects/default/features/f"
HERE = f"{FLAG}/environments/development"


def document(*, enabled=True, strategies=()):
    here = {"name": "development", "enabled": enabled, "strategies": list(strategies)}
    return {
        "name": "f",
        "type": "release",
        "project": "default",
        "description": None,
        "stale": False,
        "impressionData": False,
        "dependencies": [],
        "variants": [],
        "environments": [here],
    }


def ours(share="20"):
    return {
        "id": "1",
        "name": "flexibleRollout",
        "title": "downhaul:rollout",
        "parameters": {"rollout": share, "stickiness": "default", "groupId": "f"},
        "constraints": [],
        "segments": [],
        "variants": [],
        "disabled": False,
        "sortOrder": 0,
    }


@pytest.fixture
def server():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def console():
    api = Api(URL, Secret("*:*.very-secret"), deadline=3.0)
    connection = Connection(URL, Secret("*:development.secret"))
    return UnleashProvider(connection, admin=Admin(api, "default", "development"))


@pytest.mark.rule("P7")
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_failure_is_repeated_where_repeating_is_the_same(server, console, status):
    server.get(FLAG, status=status)
    server.get(FLAG, json=document())
    assert console.get("f").on
    assert len(server.calls) == 2


@pytest.mark.rule("P7")
def test_the_servers_own_pause_is_kept(server, console):
    server.get(FLAG, status=429, headers={"Retry-After": "1"})
    server.get(FLAG, json=document())
    began = time.monotonic()
    assert console.get("f").on
    assert 0.9 < time.monotonic() - began < 2.9


@pytest.mark.rule("P7")
@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_a_pause_until_a_moment_is_kept_too(server, console, zone):
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    until = moment.strftime(f"%a, %d %b %Y %H:%M:%S {zone}")
    server.get(FLAG, status=503, headers={"Retry-After": until})
    server.get(FLAG, json=document())
    assert console.get("f").on
    assert dt.datetime.now(dt.UTC) >= moment.replace(microsecond=0)


@pytest.mark.rule("P7")
@pytest.mark.parametrize("said", ["soon", "Thu, 01 Jan 1970 00:00:00 GMT", "-3", "1.5"])
def test_a_pause_that_says_nothing_is_ours(server, console, said):
    server.get(FLAG, status=429, headers={"Retry-After": said})
    server.get(FLAG, json=document())
    assert console.get("f").on


@pytest.mark.rule("P7")
@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_the_admin_token_never_goes_where_the_server_sends_it(server, console, code):
    elsewhere = server.get("https://elsewhere.example/", json=document())
    server.get(FLAG, status=code, headers={"Location": "https://elsewhere.example/"})
    with pytest.raises(ProviderError, match="sends elsewhere") as refused:
        console.get("f")
    assert "set `url`" in refused.value.hint
    assert elsewhere.call_count == 0


@pytest.mark.rule("P7")
def test_a_pause_longer_than_the_deadline_ends_at_the_deadline(server, console):
    server.get(FLAG, status=429, headers={"Retry-After": "3600"})
    began = time.monotonic()
    with pytest.raises(Unreachable, match="429") as unreachable:
        console.get("f")
    assert time.monotonic() - began < 4
    assert "very-secret" not in str(unreachable.value)


@pytest.mark.rule("P7")
@pytest.mark.parametrize(
    "status, kind, told",
    [
        (401, ProviderError, "401"),
        (403, ProviderError, "403"),
        (404, FlagNotFound, "no flag"),
        (405, ProviderError, "change requests"),
        (400, Refused, "too much of it"),
        (413, ProviderError, "large"),
    ],
)
def test_a_refusal_is_told_apart_and_not_repeated(server, console, status, kind, told):
    server.get(FLAG, json=document())
    body = {"name": "Error", "message": "m", "details": [{"message": "too much of it"}]}
    server.post(f"{HERE}/off", status=status, json=body)
    with pytest.raises(kind) as refused:
        console.switch_off("f", ANA)
    assert told in str(refused.value)
    assert not isinstance(refused.value, Unreachable)
    assert [one.request.method for one in server.calls] == ["GET", "POST"]


@pytest.mark.rule("P6")
def test_a_strategy_that_may_have_been_made_is_never_made_twice(server, console):
    server.get(FLAG, json=document())
    server.post(f"{HERE}/strategies", body=requests.ConnectionError("the connection was lost"))
    with pytest.raises(Unreachable) as unreachable:
        console.set_rollout("f", "on", 5_000, ANA)
    assert sum(one.request.method == "POST" for one in server.calls) == 1
    assert "look at the flag" in unreachable.value.hint


@pytest.mark.rule("P6")
def test_what_is_larger_than_unleash_takes_is_never_begun(server, console):
    server.get(FLAG, json=document())
    users = [f"{number:04}" + "\N{GRINNING FACE}" * 90 for number in range(250)]
    with pytest.raises(Refused, match="kB, and Unleash takes 100") as refused:
        console.set_targets("f", "on", users, ANA)
    assert "shorter targets" in refused.value.hint
    assert {one.request.method for one in server.calls} == {"GET"}


@pytest.mark.rule("P6")
def test_what_the_server_took_and_did_not_keep_is_an_error(server, console):
    server.get(FLAG, json=document(strategies=[ours()]))
    server.put(f"{HERE}/strategies/1", json=ours("50"))
    with pytest.raises(ProviderError, match="not as it was written"):
        console.set_rollout("f", "on", 50_000, ANA)


def test_a_strategy_that_unleash_adds_at_on_is_switched_off_at_once(server, console):
    everybody = {**ours("100"), "id": "2", "title": None}
    off = document(enabled=False, strategies=[ours()])
    server.get(FLAG, json=off)
    server.get(FLAG, json=off)
    server.get(FLAG, json=document(strategies=[ours(), everybody]))
    server.post(f"{HERE}/on", status=200)
    server.post(f"{HERE}/off", status=200)
    with pytest.raises(ProviderError, match="appeared beside"):
        console.switch_on("f", ANA)
    assert server.calls[-1].request.url == f"{HERE}/off"


@pytest.mark.rule("P6")
def test_a_percentage_is_sent_as_the_text_of_a_whole_number(server, console):
    server.get(FLAG, json=document(strategies=[ours("12.5")]))
    server.put(f"{HERE}/strategies/1", json=ours("50"))
    with pytest.raises(ProviderError):
        console.set_rollout("f", "on", 50_000, ANA)
    (written,) = (one for one in server.calls if one.request.method == "PUT")
    assert json.loads(written.request.body)["parameters"]["rollout"] == "50"


def test_an_answer_that_is_no_json_says_that_the_url_is_wrong(server, console):
    server.get(FLAG, body="<html>", content_type="text/html")
    with pytest.raises(ProviderError) as refused:
        console.get("f")
    assert "/api" in refused.value.hint


# Answers of another shape


def strange_strategy(**fields):
    made = {**ours(), **fields}
    return {name: value for name, value in made.items() if value is not None}


STRANGE = [
    ({}, "environments"),
    ([], "an object"),
    ("a proxy's page", "an object"),
    ({**document(), "environments": {}}, "environments"),
    ({**document(), "environments": [{"name": "development"}]}, "environments[0].enabled"),
    (document(strategies=[strange_strategy(id=None)]), "strategies[0].id"),
    (document(strategies=[strange_strategy(parameters="50")]), "strategies[0].parameters"),
    (document(strategies=[strange_strategy(segments=["1"])]), "strategies[0].segments[0]"),
    (
        document(strategies=[strange_strategy(constraints=[{"operator": "IN"}])]),
        "constraints[0].contextName",
    ),
    (
        document(strategies=[strange_strategy(variants=[{"name": "a"}])]),
        "strategies[0].variants[0].weight",
    ),
    ({**document(), "dependencies": [{}]}, "dependencies[0].feature"),
]


@pytest.mark.rule("X1")
@pytest.mark.parametrize("body, missing", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.parametrize(
    "verb",
    [
        lambda one: one.get("f"),
        lambda one: one.switch_off("f", ANA),
        lambda one: one.set_rollout("f", "on", 10_000, ANA),
        lambda one: one.put(Flag.boolean("f"), ANA),
        lambda one: one.delete("f", ANA),
        lambda one: one.snapshot("f"),
    ],
    ids=["get", "switch_off", "set_rollout", "put", "delete", "snapshot"],
)
def test_a_flag_of_another_shape_names_the_endpoint_and_what_it_lacks(
    server, console, body, missing, verb
):
    server.get(FLAG, json=body)
    with pytest.raises(ProviderError, match="something unexpected to GET /admin") as told:
        verb(console)
    assert missing in str(told.value)
    assert f"GET {FLAG} must answer with" in told.value.hint
    assert missing in told.value.hint
    assert {one.request.method for one in server.calls} == {"GET"}


FEATURES = f"{URL}/admin/projects/default/features"
EXPORT = f"{URL}/admin/features-batch/export"
EXPORTED = {
    "features": [{"name": "f"}],
    "featureStrategies": [{**ours(), "featureName": "f", "segments": [7]}],
    "featureEnvironments": [{"featureName": "f", "enabled": True}],
}
LISTS = [
    ("GET", FEATURES, {}, "features"),
    ("GET", FEATURES, [], "an object"),
    ("GET", FEATURES, {"features": [{}]}, "features[0].name"),
    ("GET", f"{URL}/admin/projects", {"projects": {}}, "projects"),
    ("GET", f"{URL}/admin/projects", {"projects": [{}]}, "projects[0].id"),
    ("POST", EXPORT, {}, "featureStrategies"),
    ("POST", EXPORT, None, "an object"),
    ("POST", EXPORT, {**EXPORTED, "featureStrategies": [{"featureName": "f"}]}, "[0].id"),
    ("POST", EXPORT, {**EXPORTED, "featureEnvironments": [{}]}, "[0].featureName"),
    ("GET", f"{URL}/admin/segments", {}, "segments"),
    ("GET", f"{URL}/admin/segments", {"segments": [{"name": "s"}]}, "segments[0].id"),
]


@pytest.mark.rule("X1")
@pytest.mark.parametrize("method, place, body, missing", LISTS, ids=range(len(LISTS)))
def test_a_list_of_another_shape_names_the_endpoint_and_what_it_lacks(
    server, console, method, place, body, missing
):
    names = [] if place.endswith("/projects") else [{"name": "f"}]
    server.get(FEATURES, json={"features": names})
    server.get(f"{URL}/admin/projects", json={"projects": [{"id": "default"}]})
    server.post(EXPORT, json=EXPORTED)
    server.get(f"{URL}/admin/segments", json={"segments": []})
    server.replace(method, place, json=body)
    with pytest.raises(ProviderError, match=f"something unexpected to {method} /admin") as told:
        console.list()
    assert missing in str(told.value)
    assert f"{method} {place} must answer with" in told.value.hint


def test_a_list_has_what_was_asked_for_and_leaves_out_what_was_not(server, console):
    other = {**ours(), "id": "2", "featureName": "of-somebody-else"}
    mine = {**ours("100"), "featureName": "f"}
    server.get(FEATURES, json={"features": [{"name": "f"}]})
    server.post(EXPORT, json={**EXPORTED, "featureStrategies": [other, mine]})
    assert console.list().flags["f"].default == "on"
