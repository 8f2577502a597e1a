"""Split's admin API in the shapes that its documentation shows, answer by answer."""

import json

import pytest
import responses
from downhaul_split.admin import Admin
from downhaul_split.api import Place, api_of
from responses import matchers

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
