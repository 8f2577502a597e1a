"""The admin API answers as it is documented, and says no with a reason."""

import pytest
import requests
from downhaul_emulators.split import boolean, buckets, definition_of


def test_a_flag_is_created_listed_changed_and_deleted(split, admin, refused):
    made = admin.new_flag("agent", description="first")
    flag = made.json()
    assert (made.status_code, flag["name"], flag["description"]) == (200, "agent", "first")
    assert flag["trafficType"]["name"] == "user"
    assert (flag["tags"], flag["rolloutStatus"]["name"]) == (None, "Pre-Production")
    base = f"splits/ws/{split.workspace}"
    assert admin.call("GET", f"{base}/agent").json() == flag
    statuses = admin.call("GET", f"rolloutStatuses?wsId={split.workspace}").json()
    ramping = next(one for one in statuses if one["name"] == "Ramping")
    changed = admin.call(
        "PATCH",
        f"{base}/agent",
        json=[
            {"op": "replace", "path": "/description", "value": "second"},
            {"op": "replace", "path": "/rolloutStatus/id", "value": ramping["id"]},
        ],
    ).json()
    assert (changed["description"], changed["rolloutStatus"]) == ("second", ramping)
    assert admin.call("PUT", f"{base}/agent/updateDescription", json="third").status_code == 200
    tagged = admin.call(
        "POST", f"tags/ws/{split.workspace}/object/agent/objecttype/Split", json=["a"]
    )
    assert tagged.json() == [{"name": "a"}]
    assert admin.call("GET", f"{base}?tag=a").json()["totalCount"] == 1
    assert admin.call("GET", f"{base}?tag=b").json()["totalCount"] == 0
    [listed] = admin.call("GET", base).json()["objects"]
    assert (listed["description"], listed["tags"]) == ("third", [{"name": "a"}])
    assert admin.delete("agent").json() is True
    refused(admin.call("GET", f"{base}/agent"), 404, "agent")
    refused(admin.delete("agent"), 404, "agent")


def test_what_names_a_flag_can_not_be_patched(split, admin, refused):
    admin.new_flag("agent")
    body = [{"op": "replace", "path": "/name", "value": "other"}]
    refused(admin.call("PATCH", f"splits/ws/{split.workspace}/agent", json=body), 400, "name")
    body = [{"op": "replace", "path": "/rolloutStatus/id", "value": "no-such"}]
    refused(admin.call("PATCH", f"splits/ws/{split.workspace}/agent", json=body), 400, "no-such")


def test_what_is_there_already_is_not_created_again(admin, refused):
    admin.create("agent", boolean())
    refused(admin.new_flag("agent"), 409, "already")
    refused(admin.call("POST", admin.of("agent"), json=boolean()), 409, "already")


def test_a_definition_is_shown_with_everything_that_was_left_out(split, admin):
    shown = admin.create("agent", boolean(25)).json()
    assert shown["environment"] == {"id": split.environment, "name": "Production"}
    assert shown["creationTime"] == shown["lastUpdateTime"]
    for field, value in {
        "name": "agent",
        "killed": False,
        "defaultTreatment": "off",
        "baselineTreatment": "off",
        "trafficAllocation": 100,
        "rules": [],
        "defaultRule": buckets(on=25, off=75),
        "treatments": [{"name": "on", "description": ""}, {"name": "off", "description": ""}],
    }.items():
        assert shown[field] == value
    assert admin.read("agent").json() == shown


def test_an_environment_answers_to_its_id_and_to_its_name(split, admin, refused):
    shown = admin.create("agent", boolean()).json()
    path = f"splits/ws/{split.workspace}/agent/environments"
    assert admin.call("GET", f"{path}/Production").json() == shown
    refused(admin.call("GET", f"{path}/production"), 404, "production")
    refused(admin.call("GET", f"{path}/Staging"), 404, "Staging")
    refused(admin.call("GET", "splits/ws/other/agent/environments/Production"), 404, "other")


def test_what_was_read_can_be_written_back_as_it_is(admin):
    shown = admin.create("agent", boolean(25)).json()
    again = admin.put("agent", shown).json()
    times = ("lastUpdateTime", "changeNumber")
    assert all(again[one] > shown[one] for one in times)
    assert {**again, **{one: shown[one] for one in times}} == shown


def test_a_full_update_resets_what_it_leaves_out_but_a_kill(admin):
    admin.create("agent", boolean(trafficAllocation=50, impressionsDisabled=True))
    admin.kill("agent")
    shown = admin.put("agent", boolean(10)).json()
    assert (shown["trafficAllocation"], shown["impressionsDisabled"]) == (100, False)
    assert shown["killed"] is True


def test_a_kill_changes_nothing_else_and_a_restore_ends_it(admin):
    before = admin.create("agent", boolean(25)).json()
    killed = admin.kill("agent").json()
    assert killed["killed"] is True
    assert killed["defaultRule"] == before["defaultRule"]
    restored = admin.restore("agent").json()
    times = ("lastUpdateTime", "changeNumber")
    assert {**restored, **{one: before[one] for one in times}} == before
    assert admin.call("POST", admin.of("agent", "/kill")).json()["killed"] is True


def test_a_patch_is_done_whole_or_not_at_all(admin, refused):
    admin.create("agent", boolean(25))
    operations = [("replace", "/defaultTreatment", "on"), ("replace", "/killed", True)]
    changed = admin.patch("agent", *operations).json()
    assert (changed["defaultTreatment"], changed["killed"]) == ("on", True)
    refused(
        admin.patch("agent", ("replace", "/killed", False), ("remove", "/nowhere")), 400, "nowhere"
    )
    refused(admin.patch("agent", ("replace", "/defaultTreatment", "blue")), 400, "defaultTreatment")
    assert admin.read("agent").json() == changed


@pytest.mark.parametrize(
    "operation, words",
    [
        (("replace", "/name", "other"), "name"),
        (("replace", "/lastUpdateTime", 1), "lastUpdateTime"),
        (("add", "/treatments/0/keys/-", "ada"), "keys"),
        (("add", "/treatments/9", {}), "9"),
        (("add", "/unknown", 1), "unknown"),
        (("replace", "/trafficAllocation", "50"), "percentage"),
        (("replace", "/trafficAllocation"), "value"),
        (("shuffle", "/rules", []), "shuffle"),
        (("replace", "rules", []), "slash"),
    ],
)
def test_a_patch_that_can_not_be_done_is_refused(admin, operation, words, refused):
    before = admin.create("agent", boolean()).json()
    refused(admin.patch("agent", operation), 400, words)
    assert admin.read("agent").json() == before


def test_targets_are_added_by_place_and_removed_by_place(admin, refused):
    admin.create("agent", boolean())
    admin.patch("agent", ("add", "/treatments/0/keys", ["ada"]))
    admin.patch("agent", ("add", "/treatments/0/keys/-", "bob"))
    admin.patch("agent", ("add", "/treatments/0/keys/0", "cat"))
    shown = admin.patch("agent", ("remove", "/treatments/0/keys/1")).json()
    assert shown["treatments"][0]["keys"] == ["cat", "bob"]
    tested = [("test", "/treatments/0/keys/0", "ada"), ("remove", "/treatments/0/keys/0")]
    refused(admin.patch("agent", *tested), 400, "test")
    assert admin.read("agent").json() == shown


def test_a_definition_is_removed_and_the_flag_stays(split, admin, refused):
    admin.create("agent", boolean())
    assert admin.remove("agent").json() is True
    refused(admin.read("agent"), 404, "agent")
    refused(admin.kill("agent"), 404, "agent")
    assert admin.call("GET", f"splits/ws/{split.workspace}/agent").status_code == 200


def test_lists_come_in_pages_of_fifty_at_most(split, admin, refused):
    split.replace({f"flag-{place}": boolean() for place in range(120)})
    path = f"splits/ws/{split.workspace}/environments/{split.environment}"
    first = admin.call("GET", path).json()
    assert (first["limit"], first["offset"], first["totalCount"]) == (20, 0, 120)
    names = []
    while len(names) < 120:
        page = admin.call("GET", f"{path}?limit=100&offset={len(names)}").json()
        assert page["limit"] == 50
        names += [one["name"] for one in page["objects"]]
    assert names == [f"flag-{place}" for place in range(120)]
    assert admin.call("GET", f"{path}?offset=120").json()["objects"] == []
    refused(admin.call("GET", f"{path}?offset=-1"), 400, "offset")
    flags = admin.call("GET", f"splits/ws/{split.workspace}?limit=50&offset=100").json()
    assert len(flags["objects"]) == 20
    assert admin.call("GET", f"splits/ws/{split.workspace}?name=g-11").json()["totalCount"] == 11


def test_workspaces_environments_and_traffic_types_are_listed(split, admin):
    [workspace] = admin.call("GET", "workspaces").json()["objects"]
    assert workspace["id"] == split.workspace
    assert workspace["requiresTitleAndComments"] is False
    found = admin.call("GET", f"environments/ws/{split.workspace}").json()
    assert [(one["name"], one["production"]) for one in found] == [
        ("Production", True),
        ("Staging", False),
    ]
    assert found[0]["id"] == split.environment
    [user] = admin.call("GET", f"trafficTypes/ws/{split.workspace}").json()
    assert user["name"] == "user"


def test_a_key_must_be_known_and_its_role_must_allow_the_call(split, admin, operator, refused):
    admin.create("agent", boolean())
    refused(operator("other").read("agent"), 401, "key")
    refused(operator(split.sdk_key).read("agent"), 401, "key")
    viewer = operator(split.viewer_token)
    assert viewer.read("agent").status_code == 200
    refused(viewer.kill("agent"), 403, "role")
    assert admin.read("agent").json()["killed"] is False
    url = f"{split.admin_url}/{admin.of('agent')}"
    headers = {"x-api-key": split.admin_token}
    assert requests.get(url, headers=headers, timeout=5).status_code == 200


def test_what_is_no_endpoint_is_not_found_and_another_method_not_allowed(split, admin, refused):
    refused(admin.call("GET", "nowhere"), 404, "nowhere")
    refused(admin.call("DELETE", "workspaces"), 405, "DELETE")
    assert admin.call("GET", "workspaces/").status_code == 200


def test_a_body_that_is_no_object_is_refused(admin, refused):
    admin.create("agent", boolean())
    for body in ([], "text", 3):
        refused(admin.call("PUT", admin.of("agent"), json=body), 400, "object")
    refused(admin.call("PUT", admin.of("agent"), data="{"), 400, "object")


def test_the_rate_limit_tells_what_is_left_and_when_it_ends(split, admin, refused):
    admin.create("agent", boolean())
    split.limits.set(2, org=40, ip=90)
    left = [admin.read("agent").headers["X-RateLimit-Remaining-Org"] for _ in range(2)]
    assert left == ["1", "0"]
    answer = admin.kill("agent")
    refused(answer, 429, "Too many")
    assert answer.headers["X-RateLimit-Remaining-IP"] == "0"
    resets = [answer.headers[f"X-RateLimit-Reset-Seconds-{one}"] for one in ("Org", "IP")]
    assert 38 <= int(resets[0]) <= 40
    assert 88 <= int(resets[1]) <= 90
    split.limits.set(None)
    shown = admin.read("agent")
    assert shown.json()["killed"] is False
    assert "X-RateLimit-Remaining-Org" not in shown.headers


def test_where_titles_are_required_a_change_without_one_is_refused_without_a_word(split, admin):
    admin.create("agent", boolean())
    split.titles = True
    answer = admin.patch("agent", ("replace", "/killed", True))
    assert (answer.status_code, answer.content) == (400, b"")
    assert admin.put("agent", {**boolean(), "title": "t"}).status_code == 400
    explained = "?title=stop&comment=it+fails"
    path = admin.of("agent", explained)
    body = [{"op": "replace", "path": "/killed", "value": True}]
    assert admin.call("PATCH", path, json=body).json()["killed"] is True
    assert admin.put("agent", {**boolean(), "title": "t", "comment": "c"}).status_code == 200
    [workspace] = admin.call("GET", "workspaces").json()["objects"]
    assert workspace["requiresTitleAndComments"] is True


def test_a_read_can_be_one_change_old(split, admin):
    admin.create("agent", boolean(10))
    admin.patch("agent", ("replace", "/defaultRule", buckets(on=20, off=80)))
    split.stale_reads = 1
    assert admin.read("agent").json()["defaultRule"] == buckets(on=10, off=90)
    assert admin.read("agent").json()["defaultRule"] == buckets(on=20, off=80)


def test_a_change_can_be_made_and_its_answer_lost(split, admin):
    admin.create("agent", boolean())
    split.fail("/agent/", status=503, method="PATCH", after=True, times=1)
    assert admin.patch("agent", ("replace", "/killed", True)).status_code == 503
    assert admin.read("agent").json()["killed"] is True
    split.fail("/restore", after=True, drop=True, times=1)
    with pytest.raises(requests.ConnectionError):
        admin.restore("agent")
    assert admin.read("agent").json()["killed"] is False


def test_a_fault_can_spoil_one_method_and_say_what_it_likes(split, admin):
    admin.create("agent", boolean())
    body = {"code": 409, "message": "somebody else was faster"}
    split.fail("/splits/", status=409, method="PUT", body=body)
    assert admin.kill("agent").json() == body
    assert admin.read("agent").json()["killed"] is False


def test_another_process_changes_flags_by_http(split):
    url = f"{split.url}/emulator/flags/agent"
    assert requests.put(url, json=boolean(10), timeout=5).json()["name"] == "agent"
    assert requests.put(url, json={"treatments": []}, timeout=5).status_code == 400
    assert requests.delete(url, timeout=5).status_code == 204
    assert requests.delete(url, timeout=5).status_code == 404
    assert split.definitions == {}


def test_definitions_are_replaced_and_changed_from_a_test(split, admin):
    split.replace({"one": boolean(), "two": definition_of(["a", "b", "c"])})
    split.replace({"two": boolean(10)})
    assert list(split.definitions) == ["two"]
    assert split.change("two", trafficAllocation=7)["trafficAllocation"] == 7
    split.kill("two")
    assert admin.read("two").json()["killed"] is True
