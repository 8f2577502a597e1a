"""Where approvals are required, what one key asks for another must approve."""

import pytest
from downhaul_emulators.split import boolean


@pytest.fixture
def approver(split, operator):
    return operator(split.approver_token)


def ask(service, admin, **about):
    path = f"changeRequests/ws/{service.workspace}/environments/{service.environment}"
    body = {"title": "please", "comment": "why", "approvers": [], **about}
    return admin.call("POST", path, json=body)


def decide(operator, request, status):
    body = {"status": status, "comment": "so be it"}
    return operator.call("PUT", f"changeRequests/{request['id']}", json=body)


def test_direct_changes_are_refused_and_change_nothing(split, admin, refused):
    before = admin.create("agent", boolean()).json()
    admin.new_segment("beta", ["ada"])
    admin.new_flag("other")
    split.approvals = True
    for answer in (
        admin.kill("agent"),
        admin.restore("agent"),
        admin.patch("agent", ("replace", "/killed", True)),
        admin.put("agent", boolean(10)),
        admin.remove("agent"),
        admin.delete("agent"),
        admin.call("POST", admin.of("other"), json=boolean()),
        admin.keys("beta", "uploadKeys", ["bob"]),
        admin.keys("beta", "removeKeys", ["ada"]),
    ):
        refused(answer, 403, f"Approvals are required. orgId={split.organization}")
    assert admin.read("agent").json() == before
    assert admin.delete("other").json() is True


def test_another_environment_goes_on_without_approvals(split, admin):
    admin.create("agent", boolean())
    split.approvals = True
    path = f"splits/ws/{split.workspace}/agent/environments/Staging"
    assert admin.call("POST", path, json=boolean()).status_code == 200
    assert admin.call("PUT", f"{path}/kill").json()["killed"] is True


def test_a_kill_is_made_when_another_key_approves_it(split, admin, approver, refused):
    admin.create("agent", boolean())
    split.approvals = True
    asked = ask(split, admin, split={"name": "agent"}, operationType="KILL").json()
    assert (asked["status"], asked["segment"], asked["operationType"]) == (
        "REQUESTED",
        None,
        "KILL",
    )
    refused(decide(admin, asked, "APPROVED"), 403, "withdraw")
    assert admin.read("agent").json()["killed"] is False
    done = decide(approver, asked, "APPROVED").json()
    assert [one["role"] for one in done["comments"]] == ["SUBMITTER", "APPROVER"]
    assert done["status"] == "PUBLISHED"
    assert admin.read("agent").json()["killed"] is True
    refused(decide(approver, asked, "APPROVED"), 409, "PUBLISHED")


def test_every_operation_on_a_flag_is_made(split, admin, approver):
    admin.new_flag("agent")
    split.approvals = True

    def done(operation, **definition):
        about = {"name": "agent", **definition}
        asked = ask(split, admin, split=about, operationType=operation)
        assert asked.status_code == 200, asked.text
        assert decide(approver, asked.json(), "APPROVED").json()["status"] == "PUBLISHED"
        return admin.read("agent")

    assert done("CREATE", **boolean(10)).json()["defaultRule"][0]["size"] == 10
    assert done("UPDATE", **boolean(20)).json()["defaultRule"][0]["size"] == 20
    assert done("KILL").json()["killed"] is True
    assert done("RESTORE").json()["killed"] is False
    assert done("ARCHIVE").status_code == 404


def test_keys_of_a_segment_are_added_and_removed(split, admin, approver):
    admin.new_segment("beta", ["ada"])
    split.approvals = True
    for operation, count in (("CREATE", 2), ("ARCHIVE", 1)):
        about = {"name": "beta", "keys": ["bob"]}
        asked = ask(split, admin, segment=about, operationType=operation).json()
        decide(approver, asked, "APPROVED")
        shown = admin.call("GET", f"segments/{split.environment}/beta/keys").json()
        assert shown["count"] == count


def test_rules_of_a_segment_are_changed(split, admin, approver):
    admin.new_rule_segment("adults")
    split.approvals = True
    about = {"name": "adults", "excludedKeys": ["eve"]}
    asked = ask(split, admin, ruleBasedSegment=about, operationType="UPDATE").json()
    decide(approver, asked, "APPROVED")
    path = f"rule-based-segments/ws/{split.workspace}/environments/{split.environment}"
    assert admin.call("GET", path).json()["objects"][0]["excludedKeys"] == ["eve"]


def test_what_is_rejected_or_withdrawn_is_not_made(split, admin, approver, refused):
    admin.create("agent", boolean())
    split.approvals = True
    first = ask(split, admin, split={"name": "agent"}, operationType="KILL").json()
    second = ask(split, admin, split={"name": "agent"}, operationType="KILL").json()
    waiting = admin.call("GET", "changeRequests").json()
    assert [one["id"] for one in waiting["data"]] == [first["id"], second["id"]]
    assert decide(approver, first, "REJECTED").json()["status"] == "REJECTED"
    assert decide(admin, second, "WITHDRAWN").json()["status"] == "WITHDRAWN"
    assert admin.call("GET", "changeRequests").json()["data"] == []
    found = admin.call("GET", "changeRequests?status=REJECTED").json()["data"]
    assert [one["id"] for one in found] == [first["id"]]
    assert admin.call("GET", f"changeRequests/{second['id']}").json()["status"] == "WITHDRAWN"
    assert admin.read("agent").json()["killed"] is False
    refused(admin.call("GET", "changeRequests/none"), 404, "none")


def test_a_wrong_request_is_refused(split, admin, refused):
    admin.create("agent", boolean())
    agent = {"name": "agent"}
    refused(ask(split, admin, split=agent, operationType="BURN"), 400, "BURN")
    refused(ask(split, admin, split={"name": "x"}, operationType="KILL"), 404, "x")
    refused(ask(split, admin, split=agent, operationType="UPDATE"), 400, "mandatory")
    refused(ask(split, admin, split=agent, operationType="CREATE"), 409, "already")
    refused(ask(split, admin, operationType="KILL"), 400, "one of")
    refused(ask(split, admin, split=agent, operationType="KILL", title=""), 400, "title")
    refused(ask(split, admin, segment={"name": "x"}, operationType="CREATE"), 404, "x")
    asked = ask(split, admin, split=agent, operationType="KILL").json()
    refused(decide(admin, asked, "SCHEDULED"), 400, "status")


def test_lists_of_change_requests_go_on_after_a_marker(split, admin):
    admin.create("agent", boolean())
    ids = [
        ask(split, admin, split={"name": "agent"}, operationType="KILL").json()["id"]
        for _ in range(5)
    ]
    found, marker = [], ""
    while marker is not None:
        page = admin.call("GET", f"changeRequests?limit=2&after={marker}").json()
        found += [one["id"] for one in page["data"]]
        marker = page["nextMarker"]
    assert found == ids
