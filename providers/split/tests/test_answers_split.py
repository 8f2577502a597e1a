"""Split's admin API in the shapes that its documentation shows, answer by answer."""

import json

import pytest
import responses
from downhaul_split.admin import Admin
from downhaul_split.api import Place, api_of
from responses import matchers

from downhaul import Flag
from downhaul.config import Secret
from downhaul.errors import FlagNotFound, ProviderError, Refused
from downhaul.flag import Split, Target
from downhaul.provider import Change

BASE = "https://api.split.io/internal/api/v2"
HERE = f"{BASE}/splits/ws/ws-1/agent/environments/Prod"
ANA = Change("ana", "it spends too much")
WORKSPACES = {
    "objects": [{"name": "Default", "type": "workspace", "id": "ws-1"}],
    "offset": 0,
    "limit": 20,
    "totalCount": 1,
}
ABOUT = {
    "id": "d431cdd0-b0be-11ea-8a80-1660ada9ce39",
    "name": "agent",
    "description": "the new agent",
    "trafficType": {"id": "tt-1", "name": "user"},
    "creationTime": 1534198155,
    "rolloutStatus": {"id": "rs-1", "name": "Ramping"},
    "rolloutStatusTimestamp": 1534198155,
    "tags": [{"name": "agents"}],
    "owners": [],
}
DEFINITION = {
    "id": "d431cdd0-b0be-11ea-8a80-1660ada9ce39",
    "name": "agent",
    "environment": {"id": "env-1", "name": "Prod"},
    "trafficType": {"id": "tt-1", "name": "user"},
    "killed": False,
    "treatments": [
        {"name": "on", "configurations": "", "description": "", "keys": ["ada"], "segments": []},
        {"name": "off", "configurations": "", "description": ""},
    ],
    "defaultTreatment": "off",
    "baselineTreatment": "off",
    "trafficAllocation": 100,
    "rules": [],
    "defaultRule": [{"treatment": "on", "size": 30}, {"treatment": "off", "size": 70}],
    "creationTime": 1534198155,
    "lastUpdateTime": 1534198156,
    "lastTrafficReceivedAt": 1534198157,
}


@pytest.fixture
def admin():
    api = api_of(BASE, Secret("admin-5ecret"), 1.0)
    return Admin(api, Place("Default", "Prod", "user"))


@pytest.fixture
def service():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mocked:
        bearer = matchers.header_matcher({"Authorization": "Bearer admin-5ecret"})
        mocked.get(f"{BASE}/workspaces", json=WORKSPACES, match=[bearer])
        mocked.get(f"{BASE}/splits/ws/ws-1/agent", json=ABOUT, match=[bearer])
        yield mocked


def test_a_definition_is_read_with_what_all_environments_share(service, admin):
    service.get(HERE, json=DEFINITION)
    flag = admin.get("agent")
    assert (flag.on, flag.off_variant, flag.version) == (True, "off", "1534198156")
    assert (flag.tags, flag.description) == (("agents",), "the new agent")
    assert flag.targets == (Target("on", frozenset({"ada"})),)
    assert isinstance(flag.default, Split)
    assert [(one.variant, one.weight) for one in flag.default.weights] == [("on", 30), ("off", 70)]


def test_a_percentage_is_one_patch_of_the_rules_and_the_default_rule(service, admin):
    written = {
        **DEFINITION,
        "defaultRule": [{"treatment": "on", "size": 50}, {"treatment": "off", "size": 50}],
    }
    service.get(HERE, json=DEFINITION)
    service.get(HERE, json=written)
    said = {"title": "it spends too much", "comment": "ana: it spends too much"}
    patch = service.patch(HERE, json=written, match=[matchers.query_param_matcher(said)])
    admin.rollout("agent", "on", 50_000, ANA)
    (call,) = patch.calls
    assert json.loads(call.request.body) == [
        {"op": "replace", "path": "/rules", "value": []},
        {"op": "replace", "path": "/defaultRule", "value": written["defaultRule"]},
    ]


def test_pages_are_read_to_the_last(service, admin):
    for offset in (0, 50):
        names = [f"flag-{number}" for number in range(offset, min(offset + 50, 60))]
        page = {"offset": offset, "limit": 50, "totalCount": 60}
        query = [matchers.query_param_matcher({"limit": 50, "offset": offset})]
        abouts = [{**ABOUT, "name": name} for name in names]
        service.get(f"{BASE}/splits/ws/ws-1", json={"objects": abouts, **page}, match=query)
        definitions = [{**DEFINITION, "name": name} for name in names]
        service.get(
            f"{BASE}/splits/ws/ws-1/environments/Prod",
            json={"objects": definitions, **page},
            match=query,
        )
    assert len(admin.everything().flags) == 60


@pytest.mark.parametrize(
    "status, body, error, told",
    [
        (400, {"code": 400, "message": "Invalid patch", "details": ""}, Refused, "Invalid patch"),
        (401, {"code": 401, "message": "Unauthorized"}, ProviderError, "refuses the admin key"),
        (
            403,
            {"code": 403, "message": "Approvals are required. orgId=o envId=e"},
            ProviderError,
            "Approvals are required",
        ),
        (404, {"code": 404, "message": "Object not found"}, FlagNotFound, "Object not found"),
        (200, "<html>a proxy's page</html>", ProviderError, "something unexpected"),
    ],
)
def test_an_answer_is_told_with_the_services_own_words(service, admin, status, body, error, told):
    given = {"body": body} if isinstance(body, str) else {"json": body}
    service.get(HERE, status=status, **given)
    with pytest.raises(error, match=told) as refused:
        admin.switch("agent", ANA, on=False)
    assert refused.value.hint
    assert "admin-5ecret" not in str(refused.value)


def test_the_longer_of_two_waits_is_waited_for_and_no_longer_than_the_verb_has(service, admin):
    headers = {"X-RateLimit-Reset-Seconds-Org": "0", "X-RateLimit-Reset-Seconds-IP": "60"}
    service.get(HERE, status=429, headers=headers, json={"code": 429, "message": "Too many"})
    with pytest.raises(ProviderError, match="429") as late:
        admin.get("agent")
    assert "1 tries within 1 s" in late.value.hint


ABOUT_PLACE = f"{BASE}/splits/ws/ws-1/agent"
LISTED = f"{BASE}/splits/ws/ws-1"
DEFINED = f"{BASE}/splits/ws/ws-1/environments/Prod"
STRANGE = [
    ("workspaces", {}, "objects"),
    ("workspaces", [], "an object"),
    ("workspaces", {"objects": [{"name": "Default"}]}, "objects[0].id"),
    ("workspaces", {"objects": {"id": "ws-1"}}, "objects"),
    (ABOUT_PLACE, [], "an object"),
    (ABOUT_PLACE, {"tags": ["agents"]}, "tags[0]"),
    (HERE, {}, "name"),
    (HERE, [], "an object"),
    (HERE, None, "an object"),
    (HERE, "a proxy's page", "an object"),
    (HERE, {**DEFINITION, "treatments": {}}, "treatments"),
    (HERE, {**DEFINITION, "treatments": [{}]}, "treatments[0].name"),
    (HERE, {**DEFINITION, "defaultTreatment": None}, "defaultTreatment"),
    (HERE, {**DEFINITION, "defaultRule": None}, "defaultRule"),
    (HERE, {**DEFINITION, "defaultRule": [{"treatment": "on"}]}, "defaultRule[0].size"),
    (HERE, {**DEFINITION, "rules": [{"buckets": []}]}, "rules[0].condition"),
    (HERE, {**DEFINITION, "rules": [{"condition": {}, "buckets": []}]}, "matchers"),
]


@pytest.mark.rule("X1")
@pytest.mark.parametrize("place, body, missing", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.parametrize(
    "verb",
    [
        lambda admin: admin.get("agent"),
        lambda admin: admin.switch("agent", ANA, on=False),
        lambda admin: admin.rollout("agent", "on", 10_000, ANA),
        lambda admin: admin.put(Flag.boolean("agent"), ANA, None),
        lambda admin: admin.snapshot("agent"),
        lambda admin: admin.delete("agent", ANA, None),
    ],
    ids=["get", "switch", "rollout", "put", "snapshot", "delete"],
)
def test_an_answer_of_another_shape_names_the_endpoint_and_what_it_lacks(
    service, admin, place, body, missing, verb
):
    url = f"{BASE}/workspaces" if place == "workspaces" else place
    service.get(HERE, json=DEFINITION)
    service.replace(responses.GET, url, json=body)
    with pytest.raises(ProviderError, match="something unexpected to GET") as refused:
        verb(admin)
    assert missing in str(refused.value)
    assert f"GET {url}" in refused.value.hint
    assert missing in refused.value.hint
    # An SDK that another test left may still post its figures elsewhere.
    ours = [call.request for call in service.calls if call.request.url.startswith(BASE)]
    assert {one.method for one in ours} == {"GET"}


@pytest.mark.rule("X1")
@pytest.mark.parametrize("place", [LISTED, DEFINED])
@pytest.mark.parametrize(
    "body, missing",
    [
        ({}, "objects"),
        ([], "an object"),
        ({"objects": [{}]}, "objects[0].name"),
        ({"objects": [{**ABOUT, **DEFINITION}], "totalCount": "many"}, "totalCount"),
    ],
)
def test_a_page_of_another_shape_names_the_endpoint_and_what_it_lacks(
    service, admin, place, body, missing
):
    service.get(LISTED, json={"objects": []})
    service.get(DEFINED, json={"objects": []})
    service.replace(responses.GET, place, json=body)
    with pytest.raises(ProviderError, match="something unexpected to GET") as refused:
        admin.everything()
    assert missing in str(refused.value)
    assert f"GET {place} must answer with" in refused.value.hint


@pytest.mark.rule("X1", "P5")
@pytest.mark.parametrize(
    "matcher",
    [
        {"type": "IN_LIST_STRING", "attribute": "plan"},
        {"type": "BETWEEN_NUMBER", "attribute": "downhaul_agent", "between": {"from": 0}},
        {"type": "BOOLEAN", "attribute": "vip"},
        {"type": "IN_SPLIT", "depends": None},
    ],
)
def test_a_matcher_without_its_data_has_no_like_here_and_the_flag_is_switched_all_the_same(
    service, admin, matcher
):
    rule = {"condition": {"matchers": [matcher]}, "buckets": [{"treatment": "on", "size": 100}]}
    strange = {**DEFINITION, "rules": [rule]}
    service.get(HERE, json=strange)
    with pytest.raises(ProviderError, match='"agent" has no like here'):
        admin.get("agent")
    with pytest.raises(Refused, match="a rule of its own"):
        admin.rollout("agent", "on", 10_000, ANA)
    service.patch(HERE, json={})
    service.put(f"{HERE}/kill", json={})
    service.replace(responses.GET, HERE, json={**strange, "killed": True})
    assert not admin.switch("agent", ANA, on=False).on


# A flag that other environments have


MADE = f"{BASE}/splits/ws/ws-1/trafficTypes/user"


@pytest.mark.rule("P5")
def test_a_flag_that_is_there_is_defined_here_whatever_words_say_that_it_is(service, admin):
    service.get(HERE, status=404, json={"code": 404, "message": "Object not found"})
    service.post(MADE, status=409, json={"code": 409, "message": "this name is in use"})
    service.post(HERE, status=409, json={"code": 409, "message": "somebody was faster"})
    with pytest.raises(Refused, match="somebody was faster"):
        admin.put(Flag.boolean("agent"), ANA, None)
    assert [call.request.url for call in service.calls if call.request.method == "POST"] == [
        MADE,
        HERE,
    ]


@pytest.mark.rule("P6")
def test_a_flag_that_is_refused_is_not_taken_for_one_that_is_there(service, admin):
    service.get(HERE, status=404, json={"code": 404, "message": "Object not found"})
    told = "a traffic type of that id already exists, under another name"
    service.post(MADE, status=400, json={"code": 400, "message": told})
    with pytest.raises(Refused, match="under another name"):
        admin.put(Flag.boolean("agent"), ANA, None)
    assert [call.request.url for call in service.calls if call.request.method == "POST"] == [MADE]
