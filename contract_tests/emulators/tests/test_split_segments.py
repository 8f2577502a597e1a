"""Segments and flag sets of the admin API."""

from downhaul_emulators.split import boolean, rule

BETA = {"type": "IN_SEGMENT", "string": "beta"}


def test_a_segment_is_created_given_keys_emptied_and_deleted(split, admin, refused):
    made = admin.call(
        "POST",
        f"segments/ws/{split.workspace}/trafficTypes/user",
        json={"name": "beta", "description": "first"},
    ).json()
    assert (made["name"], made["trafficType"]["name"], made["tags"]) == ("beta", "user", None)
    refused(admin.keys("beta", "uploadKeys", ["ada"]), 404, "Production")
    enabled = admin.call("POST", f"segments/{split.environment}/beta").json()
    assert set(enabled) == {"name", "environment", "trafficType", "creationTime"}
    refused(admin.call("POST", f"segments/{split.environment}/beta"), 409, "already")
    assert admin.keys("beta", "uploadKeys", ["ada", "bob", "ada"]).status_code == 200
    refused(admin.call("DELETE", f"segments/{split.environment}/beta"), 409, "keys")
    gone = admin.keys("beta", "removeKeys", ["ada", "bob", "eve"]).json()
    assert gone["message"] == "Deleted 2 keys"
    refused(admin.call("DELETE", f"segments/ws/{split.workspace}/beta"), 409, "environment")
    assert admin.call("DELETE", f"segments/{split.environment}/beta").json() is True
    assert admin.call("DELETE", f"segments/ws/{split.workspace}/beta").json() is True
    refused(admin.call("DELETE", f"segments/ws/{split.workspace}/beta"), 404, "beta")
    assert admin.call("GET", f"segments/ws/{split.workspace}").json()["totalCount"] == 0


def test_keys_come_in_pages_of_a_hundred(split, admin):
    admin.new_segment("beta", [f"user-{place:03}" for place in range(250)])
    found = []
    while len(found) < 250:
        path = f"segments/{split.environment}/beta/keys?limit=500&offset={len(found)}"
        page = admin.call("GET", path).json()
        assert (page["limit"], page["count"]) == (100, 250)
        found += [one["key"] for one in page["keys"]]
    assert found == [f"user-{place:03}" for place in range(250)]


def test_keys_are_added_or_replaced(split, admin):
    admin.new_segment("beta", ["ada"])
    path = f"segments/{split.environment}/beta/keys"

    def keys():
        return [one["key"] for one in admin.call("GET", path).json()["keys"]]

    admin.keys("beta", "uploadKeys", ["bob"], "?replace=false")
    assert keys() == ["ada", "bob"]
    admin.keys("beta", "uploadKeys", ["bob", "eve"], "?replace=true")
    assert keys() == ["bob", "eve"]
    url = f"segments/{split.environment}/beta/upload"
    assert admin.call("PUT", url, json=["ada"]).status_code == 200
    assert keys() == ["bob", "eve", "ada"]


def test_ten_thousand_keys_fit_in_one_request_and_a_hundred_thousand_in_a_segment(admin, refused):
    admin.new_segment("beta")
    many = [f"user-{place}" for place in range(100_001)]
    refused(admin.keys("beta", "uploadKeys", many[:10_001]), 400, "10000")
    for start in range(0, 100_000, 10_000):
        part = many[start : start + 10_000]
        assert admin.keys("beta", "uploadKeys", part).status_code == 200
    refused(admin.keys("beta", "uploadKeys", many[-1:]), 400, "100000")


def test_wrong_keys_change_nothing(split, admin, refused):
    admin.new_segment("beta", ["ada"])
    for wrong in ([], [1], [""], "ada"):
        refused(admin.keys("beta", "uploadKeys", wrong), 400, "keys")
    url = f"segments/{split.environment}/beta/uploadKeys"
    refused(admin.call("PUT", url, json={"keys": ["bob"], "force": True}), 400, "force")
    assert admin.call("GET", f"segments/{split.environment}/beta/keys").json()["count"] == 1


def test_a_segment_that_a_flag_names_stays(split, admin, refused):
    admin.new_segment("beta")
    admin.create("agent", boolean(0, rules=[rule([BETA], on=100)]))
    refused(admin.call("DELETE", f"segments/{split.environment}/beta"), 409, "agent")
    admin.put("agent", boolean(treatments=[{"name": "on", "segments": ["beta"]}, {"name": "off"}]))
    refused(admin.call("DELETE", f"segments/{split.environment}/beta"), 409, "agent")
    admin.put("agent", boolean())
    assert admin.call("DELETE", f"segments/{split.environment}/beta").json() is True


def test_segments_of_an_environment_are_listed(split, admin):
    admin.new_segment("beta")
    path = f"segments/ws/{split.workspace}/environments"
    assert admin.call("GET", f"{path}/Production").json()["objects"][0]["name"] == "beta"
    assert admin.call("GET", f"{path}/Staging").json()["objects"] == []


def test_a_rule_based_segment_is_created_changed_and_deleted(split, admin, refused):
    admin.new_rule_segment("adults")
    adult = {"type": "GREATER_THAN_OR_EQUAL_NUMBER", "attribute": "age", "number": 18}
    rules = [{"condition": {"combiner": "AND", "matchers": [adult]}}]
    changed = admin.rules("adults", rules=rules, excludedKeys=["eve"], comment="why").json()
    assert (changed["rules"], changed["excludedKeys"]) == (rules, ["eve"])
    workspace, environment = split.workspace, split.environment
    listed = admin.call("GET", f"rule-based-segments/ws/{workspace}/environments/{environment}")
    assert listed.json()["objects"] == [changed]
    targeted = rule([{"type": "IN_RULE_BASED_SEGMENT", "string": "adults"}], on=100)
    admin.create("agent", boolean(0, rules=[targeted]))
    refused(admin.call("DELETE", f"rule-based-segments/{environment}/adults"), 409, "agent")
    admin.put("agent", boolean())
    refused(admin.call("DELETE", f"rule-based-segments/ws/{workspace}/adults"), 409, "environment")
    assert admin.call("DELETE", f"rule-based-segments/{environment}/adults").json() is True
    assert admin.call("DELETE", f"rule-based-segments/ws/{workspace}/adults").json() is True
    listed = admin.call("GET", f"rule-based-segments/ws/{workspace}").json()
    assert listed["totalCount"] == 0


def test_a_rule_based_segment_is_checked(admin, refused):
    admin.new_rule_segment("adults")
    excluded = {"name": "nobody", "type": "standard_segment"}
    refused(admin.rules("adults", excludedSegments=[excluded]), 400, "nobody")
    refused(admin.rules("adults", excludedSegments=[{"name": "nobody"}]), 400, "type")
    refused(admin.rules("adults", excludedKeys=[1]), 400, "excludedKeys")
    refused(admin.rules("adults", rules=[rule([BETA], on=100)]), 400, "condition")
    refused(admin.rules("adults", rules=[{"condition": {"matchers": [BETA]}}]), 400, "beta")
    refused(admin.rules("adults", keys=[]), 400, "keys")
    refused(admin.rules("others", rules=[]), 404, "others")


def test_a_flag_set_is_created_used_and_deleted(split, admin, refused):
    made = admin.flag_set("checkout").json()
    refused(admin.flag_set("checkout"), 409, "already")
    refused(admin.flag_set("Checkout"), 400, "lower case")
    admin.create("agent", boolean(flagSets=[{"id": made["id"], "type": "FlagSet"}]))
    listed = admin.call("GET", f"flag-sets?workspace_id={split.workspace}").json()
    assert (listed["data"], listed["nextMarker"]) == ([made], None)
    assert admin.call("GET", f"flag-sets/{made['id']}").json() == made
    refused(admin.call("DELETE", f"flag-sets/{made['id']}"), 409, "agent")
    admin.put("agent", boolean())
    assert admin.call("DELETE", f"flag-sets/{made['id']}").json() is True
    refused(admin.call("GET", f"flag-sets/{made['id']}"), 404, made["id"])
