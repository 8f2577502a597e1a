"""Rule E9: variants are Unleash's by name, weight, payload and bucket."""

import pytest

from downhaul.flag import FlagKind

pytestmark = pytest.mark.rule("E9")
DEFAULT = {"name": "default"}
NOBODY = {"name": "userWithId", "parameters": {"userIds": "nobody"}}


def variant(name, weight=500, kind=None, value="", **fields):
    payload = {} if kind is None else {"payload": {"type": kind, "value": value}}
    return {"name": name, "weight": weight, **payload, **fields}


def test_a_feature_without_variants_is_a_boolean(feature):
    flag = feature(DEFAULT).flag()
    assert flag.kind is FlagKind.BOOLEAN
    assert dict(flag.variants) == {"on": True, "off": False}


def test_variants_without_payloads_are_their_names(feature):
    found = feature(DEFAULT, variants=[variant("red", 1000), variant("blue", 0)])
    assert found.flag().kind is FlagKind.STRING
    assert found.value(userId="u") == "red"
    assert dict(found.flag().variants) == {"red": "red", "blue": "blue", "off": "off"}


@pytest.mark.parametrize(
    "kind, text, flag_kind, value",
    [
        ("string", "words", FlagKind.STRING, "words"),
        ("csv", "a,b", FlagKind.STRING, "a,b"),
        ("number", "5", FlagKind.NUMBER, 5),
        ("number", "2.5", FlagKind.NUMBER, 2.5),
        ("json", '{"a": [1]}', FlagKind.OBJECT, {"a": [1]}),
        ("json", "[1]", FlagKind.OBJECT, [1]),
    ],
)
def test_the_kind_follows_the_payloads(feature, kind, text, flag_kind, value):
    found = feature(DEFAULT, variants=[variant("v", 10, kind, text)])
    assert found.flag().kind is flag_kind
    assert found.value(userId="u") == value
    assert not found.told("partial")


@pytest.mark.rule("M1")
@pytest.mark.parametrize(
    "kind, text", [("number", "many"), ("json", "{"), ("json", "5"), ("number", "1e999")]
)
def test_payloads_that_are_not_what_they_say_are_text_and_told(feature, kind, text):
    found = feature(DEFAULT, variants=[variant("v", 10, kind, text), variant("w", 0, kind, "1")])
    assert found.value(userId="u") == text
    assert found.told("partial")


@pytest.mark.rule("M1")
def test_payloads_of_several_types_are_text_and_told(feature):
    found = feature(DEFAULT, variants=[variant("v", 10, "number", "5"), variant("w", 0)])
    assert found.value(userId="u") == "5"
    assert found.flag().variants["w"] == "w"
    assert "several types" in found.told("partial")[0].reason


def test_who_is_not_enabled_gets_the_off_variant(feature):
    found = feature(NOBODY, variants=[variant("red")])
    assert found.variant(userId="u") == "off"
    assert not found.enabled(userId="u")
    assert found.enabled(userId="nobody")


def test_who_is_enabled_without_a_variant_gets_a_plain_on(feature):
    found = feature({**NOBODY, "variants": [variant("red")]}, DEFAULT)
    assert found.variant(userId="nobody") == "red"
    assert found.variant(userId="u") == "on"
    assert found.enabled(userId="u")


def test_names_of_unleash_go_before_ours(feature):
    found = feature(
        {**NOBODY, "variants": [variant("on"), variant("off"), variant("disabled")]}, DEFAULT
    )
    assert found.variant(userId="u") == "enabled"
    assert found.flag().off_variant == "unleash-off"
    assert feature(NOBODY, variants=[variant("off")]).flag().off_variant == "disabled"


@pytest.mark.rule("M1")
def test_two_variants_of_one_name_and_two_payloads_are_two_and_told(feature):
    strategies = [
        {**NOBODY, "variants": [variant("v", 1, "string", "a")]},
        {**DEFAULT, "variants": [variant("v", 1, "string", "b")]},
    ]
    found = feature(*strategies)
    assert found.value(userId="nobody") == "a"
    assert found.value(userId="u") == "b"
    assert '"v-2"' in found.told("partial")[0].reason


def test_the_variants_of_the_first_strategy_that_matches_are_served(feature):
    found = feature(
        {**NOBODY, "variants": [variant("first")]},
        {**DEFAULT, "variants": [variant("second")]},
        {**DEFAULT, "variants": [variant("third")]},
        variants=[variant("never")],
    )
    assert found.variant(userId="nobody") == "first"
    assert found.variant(userId="u") == "second"
    assert "never serves these" in found.told("skipped")[0].reason


def test_a_strategy_without_variants_serves_those_of_the_feature(feature):
    found = feature({**NOBODY, "variants": [variant("own")]}, DEFAULT, variants=[variant("all")])
    assert found.variant(userId="u") == "all"


def test_variants_do_not_go_along_with_the_rollout(feature):
    half = {
        "name": "flexibleRollout",
        "parameters": {"rollout": "50", "stickiness": "userId", "groupId": "f"},
        "variants": [variant("a"), variant("b")],
    }
    found = feature(half)
    among = [found.variant(userId=f"{n}") for n in range(1000)]
    assert 430 < among.count("off") < 570
    assert 190 < among.count("a") < 310
    assert 190 < among.count("b") < 310


def test_a_variant_is_sticky_by_what_its_list_says(feature):
    found = feature(DEFAULT, variants=[variant("a", stickiness="team"), variant("b")])
    teams = [f"team-{n}" for n in range(50)]
    once = [found.variant(properties={"team": team}) for team in teams]
    assert once == [found.variant(userId="u", properties={"team": team}) for team in teams]
    assert set(once) == {"a", "b"}
    assert {found.variant(userId="u") for _ in range(100)} == {"a", "b"}


def test_an_override_goes_before_the_weights(feature):
    mine = [{"contextName": "userId", "values": ["anna"]}, {"contextName": "x", "values": ["1"]}]
    found = feature(DEFAULT, variants=[variant("a", 1000), variant("b", 0, overrides=mine)])
    assert found.variant(userId="u") == "a"
    assert found.variant(userId="anna") == "b"
    assert found.variant(userId="u", properties={"x": "1"}) == "b"


def test_an_override_is_for_whom_the_feature_is_enabled(feature):
    mine = [{"contextName": "userId", "values": ["anna"]}]
    found = feature(NOBODY, variants=[variant("a", overrides=mine)])
    assert found.variant(userId="anna") == "off"


def test_a_gate_that_draws_is_asked_once_whatever_the_overrides(feature):
    mine = [{"contextName": "userId", "values": ["anna"]}]
    draw = {"name": "flexibleRollout", "parameters": {"rollout": "50", "stickiness": "random"}}
    found = feature(draw, variants=[variant("a", overrides=mine), variant("b")])
    on = sum(found.enabled(userId="anna") for _ in range(2000))
    assert 850 < on < 1150  # asked twice, it would be 1500


@pytest.mark.rule("M1")
def test_variants_without_any_weight_are_told(feature):
    found = feature(DEFAULT, variants=[variant("a", 0)])
    assert found.variant(userId="u") == "on"
    assert "no variant has a weight" in found.told("partial")[0].reason
