"""JSON patches, the archive and segments of the emulated REST API, as the vendor documents them."""

import copy

import pytest
import requests
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.launchdarkly import boolean

VERSION = "/environments/production/version"
ON = "/environments/production/on"


@pytest.fixture
def service():
    with LaunchDarklyEmulator(sdk_key="sdk-k") as emulator:
        emulator.put(boolean("one"))
        yield emulator


def ask(service, method, path, body=None):
    headers = {"Authorization": "api-emulated"}
    url = f"{service.url}/api/v2/{path}"
    return requests.request(method, url, json=body, headers=headers, timeout=5)


def amend(service, *operations, path="flags/default/one"):
    return ask(service, "PATCH", path, {"patch": list(operations), "comment": "by a test"})


def switched_off(service, timeout):
    body = {
        "patch": [{"op": "replace", "path": ON, "value": False}],
        "comment": "by a test",
    }
    headers = {"Authorization": "api-emulated"}
    url = f"{service.url}/api/v2/flags/default/one"
    return requests.patch(url, json=body, headers=headers, timeout=timeout)


def polled(service):
    url = f"{service.url}/sdk/latest-all"
    return requests.get(url, headers={"Authorization": "sdk-k"}, timeout=5).json()


def test_a_patch_with_a_test_is_done_at_that_version_alone(service):
    off = {"op": "replace", "path": ON, "value": False}
    done = amend(service, {"op": "test", "path": VERSION, "value": 1}, off)
    assert (done.status_code, done.json()["environments"]["production"]["version"]) == (200, 2)
    on = {**off, "value": True}
    for status in (409, 400):
        service.mismatch = status
        late = amend(service, on, {"op": "test", "path": VERSION, "value": 1})
        assert (late.status_code, service.flags["one"]["on"]) == (status, False)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/environments/production/nothing", "value": 1},
        {"op": "replace", "path": VERSION, "value": 9},
        {"op": "replace", "path": "/environments/production/salt", "value": "x"},
        {"op": "replace", "path": "/key", "value": "two"},
        {"op": "replace", "path": ON, "value": "yes"},
        {"op": "replace", "path": "/environments/production/offVariation", "value": 7},
        {"op": "add", "path": "/environments/test", "value": {}},
        {
            "op": "replace",
            "path": "/environments/production/fallthrough",
            "value": {"rollout": {"variations": [{"variation": 0, "weight": 5}]}},
        },
        {
            "op": "replace",
            "path": "/environments/production/rules",
            "value": [{"variation": 0, "clauses": []}],
        },
        {
            "op": "replace",
            "path": "/environments/production/rules",
            "value": [
                {
                    "variation": 0,
                    "clauses": [{"op": "segmentMatch", "attribute": "", "values": ["no"]}],
                }
            ],
        },
        {
            "op": "replace",
            "path": "/environments/production/targets",
            "value": [{"variation": 0, "values": ["a"]}, {"variation": 1, "values": ["a"]}],
        },
        {
            "op": "replace",
            "path": "/environments/production/prerequisites",
            "value": [{"key": "nobody", "variation": 0}],
        },
        {
            "op": "replace",
            "path": "/environments/production/prerequisites",
            "value": [{"key": "one", "variation": 0}],
        },
        {"op": "move", "path": ON, "from": VERSION},
        {"op": "remove", "path": "/variations/9"},
        {"path": ON},
    ],
)
def test_what_the_vendor_would_not_keep_is_refused_and_changes_nothing(service, operation):
    before = copy.deepcopy(service.flags["one"])
    assert amend(service, operation).status_code == 400
    assert service.flags["one"] == before


def test_lists_take_members_at_their_places(service):
    tags = {"op": "add", "path": "/tags/-", "value": "ai"}
    assert amend(service, tags, {**tags, "value": "old", "path": "/tags/0"}).json()["tags"] == [
        "old",
        "ai",
    ]
    gone = [{"op": "test", "path": "/tags/0", "value": "old"}, {"op": "remove", "path": "/tags/0"}]
    assert amend(service, *gone, {"op": "replace", "path": "/tags/0", "value": "new"}).json()[
        "tags"
    ] == ["new"]


def test_an_archived_flag_is_sent_to_nobody_and_comes_back_later(service):
    away = {"op": "replace", "path": "/archived", "value": True}
    assert amend(service, away).json()["archived"] is True
    assert polled(service)["flags"] == {}
    assert ask(service, "GET", "flags/default").json()["items"] == []
    assert ask(service, "POST", "flags/default", {"key": "one"}).status_code == 409
    back = amend(service, {**away, "value": False}).json()
    assert (back["archived"], back["environments"]["production"]["version"]) == (False, 3)
    assert list(polled(service)["flags"]) == ["one"]


def test_a_required_flag_is_not_archived(service):
    service.put(boolean("two", prerequisites=[{"key": "one", "variation": 0}]))
    assert amend(service, {"op": "replace", "path": "/archived", "value": True}).status_code == 400
    assert list(service.flags) == ["one", "two"]


def test_a_flag_made_again_has_a_version_that_sdks_take(service):
    version = service.flags["one"]["version"]
    ask(service, "DELETE", "flags/default/one")
    assert ask(service, "POST", "flags/default", {"key": "one"}).status_code == 201
    assert service.flags["one"]["version"] > version + 1


def test_segments_are_made_changed_listed_and_removed(service):
    path = "segments/default/production"
    body = {"key": "staff", "name": "Staff", "tags": ["people"]}
    assert ask(service, "POST", path, body).status_code == 201
    assert ask(service, "POST", path, body).status_code == 409
    assert ask(service, "POST", path, {**body, "key": "not a key"}).status_code == 400
    include = {"op": "replace", "path": "/included", "value": ["ada"]}
    test = {"op": "test", "path": "/version", "value": 1}
    place = f"{path}/staff"
    assert amend(service, test, include, path=place).json()["version"] == 2
    assert amend(service, test, include, path=place).status_code == 409
    assert amend(service, {**include, "value": [5]}, path=place).status_code == 400
    (listed,) = ask(service, "GET", path).json()["items"]
    assert (listed["included"], listed["tags"]) == (["ada"], ["people"])
    assert polled(service)["segments"]["staff"]["included"] == ["ada"]
    clause = {"op": "segmentMatch", "attribute": "", "values": ["staff"]}
    service.change("one", rules=[{"id": "r", "clauses": [clause], "variation": 0}])
    assert ask(service, "DELETE", place).status_code == 409
    service.change("one", rules=[])
    assert ask(service, "DELETE", place).status_code == 204
    assert ask(service, "GET", place).status_code == 404
    assert ask(service, "GET", "segments/default/elsewhere").status_code == 404


def test_a_request_that_is_withheld_is_carried_out_though_its_sender_gave_up(service):
    service.change("one", on=True)
    late = service.withhold("/flags/default/one", method="PATCH", times=1)
    with pytest.raises(requests.ReadTimeout):
        switched_off(service, timeout=0.1)
    assert late.came.wait(5)
    assert service.flags["one"]["on"]
    assert ask(service, "GET", "flags/default/one").ok  # only that one is kept back
    late.let_through()
    assert not service.flags["one"]["on"]
    late.let_through()  # there is none any more, and it says nothing


def test_what_is_withheld_is_lost_with_the_server(service):
    service.change("one", on=True)
    late = service.withhold("/flags/default/one", method="PATCH", times=1)
    with pytest.raises(requests.ReadTimeout):
        switched_off(service, timeout=0.1)
    assert late.came.wait(5)
    service.stop()
    service.start()
    late.let_through()
    assert service.flags["one"]["on"]


def test_what_is_let_through_before_it_came_is_not_kept(service):
    service.change("one", on=True)
    service.withhold("/flags/default/one", method="PATCH").let_through()
    assert switched_off(service, timeout=5).ok
    assert not service.flags["one"]["on"]
