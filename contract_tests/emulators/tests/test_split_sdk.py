"""The vendor's SDK serves what the admin API wrote."""

import pytest
from downhaul_emulators.split import MATCHER_TYPES, boolean, buckets, definition_of, rule
from splitio import Key

# The SDK names its threads by methods that Python deprecates, and dies of it where warnings raise
pytestmark = pytest.mark.filterwarnings(r"ignore:set(Name|Daemon)\(\) is deprecated")

NOON = 1_700_049_600  # 2023-11-15 12:00:00 UTC, in seconds, as attributes are
DAY = 86_400

MATCHERS = {
    "EQUAL_SET": ({"strings": ["a", "b"]}, ["b", "a"], ["a"]),
    "ANY_OF_SET": ({"strings": ["a", "b"]}, ["b", "c"], ["c"]),
    "ALL_OF_SET": ({"strings": ["a", "b"]}, ["a", "b", "c"], ["a", "c"]),
    "PART_OF_SET": ({"strings": ["a", "b"]}, ["a"], ["a", "c"]),
    "ON_DATE": ({"date": NOON * 1000}, NOON + 3600, NOON + DAY),
    "ON_OR_AFTER_DATE": ({"date": NOON * 1000}, NOON + 60, NOON - 60),
    "ON_OR_BEFORE_DATE": ({"date": NOON * 1000}, NOON - 60, NOON + 60),
    "BETWEEN_DATE": (
        {"between": {"from": NOON * 1000, "to": (NOON + DAY) * 1000}},
        NOON + 3600,
        NOON - 60,
    ),
    "BOOLEAN": ({"bool": True}, True, False),
    "EQUAL_NUMBER": ({"number": 7}, 7, 8),
    "LESS_THAN_OR_EQUAL_NUMBER": ({"number": 7}, 7, 8),
    "GREATER_THAN_OR_EQUAL_NUMBER": ({"number": 7}, 7, 6),
    "BETWEEN_NUMBER": ({"between": {"from": 3, "to": 7}}, 7, 8),
    "IN_LIST_STRING": ({"strings": ["pro", "team"]}, "team", "free"),
    "STARTS_WITH_STRING": ({"strings": ["pr", "te"]}, "pro", "free"),
    "ENDS_WITH_STRING": ({"strings": ["ro", "am"]}, "pro", "free"),
    "CONTAINS_STRING": ({"strings": ["r", "x"]}, "pro", "team"),
    "MATCHES_STRING": ({"string": "^p.o$"}, "pro", "prior"),
    "EQUAL_TO_SEMVER": ({"string": "1.2.3"}, "1.2.3", "1.2.4"),
    "GREATER_THAN_OR_EQUAL_TO_SEMVER": ({"string": "1.2.3"}, "1.10.0", "1.2.2"),
    "LESS_THAN_OR_EQUAL_TO_SEMVER": ({"string": "1.10.0"}, "1.2.3", "1.10.1"),
    "BETWEEN_SEMVER": ({"between": {"from": "1.2.0", "to": "1.10.0"}}, "1.9.9", "1.11.0"),
    "IN_LIST_SEMVER": ({"strings": ["1.2.3", "2.0.0"]}, "2.0.0", "2.0.1"),
}
ON_NAMES = {"IN_SEGMENT", "IN_RULE_BASED_SEGMENT", "IN_SPLIT"}


def test_every_type_of_matcher_has_its_case():
    assert set(MATCHERS) | ON_NAMES == set(MATCHER_TYPES)


@pytest.mark.parametrize("kind", MATCHERS)
@pytest.mark.parametrize("negate", [False, True])
def test_an_attribute_is_matched_as_the_matcher_says(admin, following, kind, negate):
    fields, matching, other = MATCHERS[kind]
    matcher = {"type": kind, "attribute": "about", "negate": negate, **fields}
    targeted = boolean(0, rules=[rule([matcher], on=100)])
    assert admin.create("agent", targeted).status_code == 200
    with following(streaming=False) as client:
        served = [client.get_treatment("u", "agent", {"about": one}) for one in (matching, other)]
    assert served == (["off", "on"] if negate else ["on", "off"])


def test_all_matchers_of_a_rule_must_match_and_the_first_rule_that_does_serves(admin, following):
    plan = {"type": "IN_LIST_STRING", "attribute": "plan", "strings": ["pro"]}
    adult = {"type": "GREATER_THAN_OR_EQUAL_NUMBER", "attribute": "age", "number": 18}
    rules = [rule([plan, adult], b=100), rule([plan], c=100)]
    admin.create("agent", definition_of(["a", "b", "c"], rules=rules))
    with following(streaming=False) as client:
        assert client.get_treatment("u", "agent", {"plan": "pro", "age": 18}) == "b"
        assert client.get_treatment("u", "agent", {"plan": "pro", "age": 17}) == "c"
        assert client.get_treatment("u", "agent", {"plan": "free", "age": 18}) == "a"


def test_a_segment_is_followed_key_by_key(split, admin, following, wait_for):
    admin.new_segment("beta", ["ada", "bob"])
    admin.create(
        "agent", boolean(0, rules=[rule([{"type": "IN_SEGMENT", "string": "beta"}], on=100)])
    )
    with following() as client:
        assert [client.get_treatment(one, "agent") for one in ("ada", "eve")] == ["on", "off"]
        admin.keys("beta", "removeKeys", ["ada"])
        admin.keys("beta", "uploadKeys", ["eve"])
        wait_for(lambda: client.get_treatment("eve", "agent") == "on")
        wait_for(lambda: client.get_treatment("ada", "agent") == "off")
        assert client.get_treatment("bob", "agent") == "on"
    since = [one.query["since"] for one in split.requests if "segmentChanges" in one.path]
    assert since[0] == "-1"
    assert int(since[-1]) > 0


def test_a_segment_that_a_rule_names_first_is_fetched_by_polling(admin, following, wait_for):
    admin.create("agent", boolean(0))
    with following(streaming=False) as client:
        assert client.get_treatment("ada", "agent") == "off"
        admin.new_segment("beta", ["ada"])
        targeted = rule([{"type": "IN_SEGMENT", "string": "beta"}], on=100)
        admin.patch("agent", ("replace", "/rules", [targeted]))
        wait_for(lambda: client.get_treatment("ada", "agent") == "on")


def test_a_rule_based_segment_matches_by_rules_but_for_its_exclusions(admin, following, wait_for):
    admin.new_segment("staff", ["bob"])
    admin.new_rule_segment("adults")
    targeted = rule([{"type": "IN_RULE_BASED_SEGMENT", "string": "adults"}], on=100)
    admin.create("agent", boolean(0, rules=[targeted]))
    adult = {"type": "GREATER_THAN_OR_EQUAL_NUMBER", "attribute": "age", "number": 18}
    with following() as client:
        assert client.get_treatment("ada", "agent", {"age": 30}) == "off"
        changed = admin.rules(
            "adults",
            rules=[{"condition": {"matchers": [adult]}}],
            excludedKeys=["eve"],
            excludedSegments=[{"name": "staff", "type": "standard_segment"}],
        )
        assert changed.status_code == 200
        wait_for(lambda: client.get_treatment("ada", "agent", {"age": 30}) == "on")
        assert client.get_treatment("ada", "agent", {"age": 17}) == "off"
        assert client.get_treatment("eve", "agent", {"age": 30}) == "off"


def test_a_flag_that_depends_on_another_follows_it(split, admin, following, wait_for):
    admin.create("parent", boolean(100))
    matcher = {"type": "IN_SPLIT", "depends": {"splitName": "parent", "treatment": "on"}}
    admin.create("child", boolean(0, rules=[rule([matcher], on=100)]))
    with following() as client:
        assert client.get_treatment("ada", "child") == "on"
        admin.kill("parent")
        wait_for(lambda: client.get_treatment("ada", "child") == "off")


def test_individual_targets_come_before_everything_but_a_kill(admin, following, wait_for):
    admin.new_segment("beta", ["cat"])
    treatments = [{"name": "on", "keys": ["ada"], "segments": ["beta"]}, {"name": "off"}]
    admin.create("agent", boolean(0, treatments=treatments, trafficAllocation=0))
    with following() as client:
        served = [client.get_treatment(one, "agent") for one in ("ada", "cat", "eve")]
        assert served == ["on", "on", "off"]
        admin.kill("agent")
        wait_for(lambda: client.get_treatment("ada", "agent") == "off")


def test_who_is_not_in_the_traffic_allocation_gets_the_default_treatment(admin, following):
    admin.create("agent", boolean(100, trafficAllocation=30))
    with following(streaming=False) as client:
        served = [client.get_treatment(f"user-{one}", "agent") for one in range(2000)]
    assert 0.25 < served.count("on") / len(served) < 0.35


def test_a_percentage_is_kept_in_whole_percents_and_only_adds_users(admin, following, wait_for):
    admin.create("agent", boolean(25))
    users = [f"user-{one}" for one in range(2000)]
    with following() as client:
        before = {one for one in users if client.get_treatment(one, "agent") == "on"}
        admin.patch("agent", ("replace", "/defaultRule", buckets(on=50, off=50)))
        wait_for(lambda: sum(client.get_treatment(one, "agent") == "on" for one in users) > 800)
        after = {one for one in users if client.get_treatment(one, "agent") == "on"}
    assert before < after
    assert 0.2 < len(before) / len(users) < 0.3
    assert 0.45 < len(after) / len(users) < 0.55


def test_a_flag_made_anew_draws_other_users(admin, following):
    admin.create("agent", boolean(50))
    users = [f"user-{one}" for one in range(200)]
    with following(streaming=False) as client:
        before = [client.get_treatment(one, "agent") for one in users]
    assert admin.delete("agent").json() is True
    admin.create("agent", boolean(50))
    with following(streaming=False) as client:
        assert [client.get_treatment(one, "agent") for one in users] != before


def test_configurations_reach_the_sdk_as_they_were_written(admin, following):
    treatments = [{"name": "on", "configurations": '{"n": 1}'}, {"name": "off"}]
    admin.create("agent", boolean(treatments=treatments))
    with following(streaming=False) as client:
        assert client.get_treatment_with_config("ada", "agent") == ("on", '{"n": 1}')
        admin_view = admin.read("agent").json()
    assert admin_view["treatments"][0]["configurations"] == '{"n": 1}'


def test_the_manager_tells_kind_default_and_change_number(split, admin, sdk):
    admin.create("agent", boolean(10))
    admin.kill("agent")
    with sdk(streaming=False) as factory:
        factory.block_until_ready(15)
        told = factory.manager().split("agent")
    assert (told.killed, told.default_treatment, sorted(told.treatments)) == (
        True,
        "off",
        ["off", "on"],
    )
    assert told.change_number == admin.read("agent").json()["lastUpdateTime"]


def test_each_environment_has_its_own_definitions_and_its_own_key(split, admin, following):
    admin.create("agent", boolean(100))
    with following(streaming=False, key=f"{split.sdk_key}-staging") as client:
        assert client.get_treatment("ada", "agent") == "control"
    path = f"splits/ws/{split.workspace}/agent/environments/Staging"
    assert admin.call("POST", path, json=boolean(0)).status_code == 200
    with following(streaming=False, key=f"{split.sdk_key}-staging") as client:
        assert client.get_treatment("ada", "agent") == "off"
    with following(streaming=False) as client:
        assert client.get_treatment("ada", "agent") == "on"


def test_an_sdk_that_asks_for_a_flag_set_gets_no_other_flags(split, admin, following, wait_for):
    made = admin.flag_set("checkout").json()
    admin.create("agent", boolean(100, flagSets=[{"id": made["id"], "type": "FlagSet"}]))
    admin.create("other", boolean(100))
    with following(flagSetsFilter=["checkout"]) as client:
        assert client.get_treatments_by_flag_set("ada", "checkout") == {"agent": "on"}
        assert client.get_treatment("ada", "other") == "control"
        admin.patch("agent", ("replace", "/flagSets", []))
        wait_for(lambda: client.get_treatment("ada", "agent") == "control")


@pytest.mark.parametrize("streaming", [True, False])
def test_an_sdk_follows_an_operator(admin, following, wait_for, streaming):
    admin.create("agent", boolean(0))
    with following(streaming=streaming) as client:
        assert client.get_treatment("ada", "agent") == "off"
        admin.patch("agent", ("replace", "/defaultRule", buckets(on=100)))
        wait_for(lambda: client.get_treatment("ada", "agent") == "on")
        admin.kill("agent")
        wait_for(lambda: client.get_treatment("ada", "agent") == "off")
        admin.restore("agent")
        wait_for(lambda: client.get_treatment("ada", "agent") == "on")
        admin.remove("agent")
        wait_for(lambda: client.get_treatment("ada", "agent") == "control")


def test_what_an_sdk_sends_is_kept(split, admin, sdk):
    admin.create("agent", boolean(100))
    with sdk(streaming=False) as factory:
        factory.block_until_ready(15)
        client = factory.client()
        client.get_treatment(Key("ada", "ada"), "agent")
        assert client.track("ada", "user", "bought", 3)
    [[sent]] = split.impressions
    assert (sent["f"], sent["i"][0]["k"], sent["i"][0]["t"]) == ("agent", "ada", "on")
    assert split.events[0][0]["eventTypeId"] == "bought"
    assert split.telemetry
