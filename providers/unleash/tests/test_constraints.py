"""Rule E9: constraints decide as Unleash's engine decides them, the odd ones too."""

import pytest

pytestmark = pytest.mark.rule("E9")


@pytest.fixture
def holds(feature):
    """Whether a constraint holds for a property ``x``, and what the ledger tells of it."""

    def ask(operator, given, x=None, **fields):
        key = "values" if isinstance(given, list) else "value"
        one = {"contextName": "x", "operator": operator, key: given, **fields}
        found = feature({"name": "default", "constraints": [one]})
        return found.enabled(properties={} if x is None else {"x": x})

    return ask


@pytest.mark.parametrize(
    "operator, given, yes, no",
    [
        ("IN", ["a", "b"], "b", "B"),
        ("NOT_IN", ["a", "b"], "c", "a"),
        ("STR_STARTS_WITH", ["ab", "x"], "abc", "cab"),
        ("STR_ENDS_WITH", ["ab"], "cab", "abc"),
        ("STR_CONTAINS", ["b"], "abc", "ABC"),
        ("NUM_EQ", "5", "5.0", "6"),
        ("NUM_GT", "5", "5.5", "5"),
        ("NUM_GTE", "5", "5", "4"),
        ("NUM_LT", "5", "-1e3", "5"),
        ("NUM_LTE", "5", "5", "six"),
        ("DATE_AFTER", "2024-01-29T13:00:00Z", "2024-01-29T13:00:01Z", "2024-01-29T13:00:00Z"),
        ("DATE_BEFORE", "2024-01-29T13:00:00Z", "2024-01-29T13:30:00+01:00", "yesterday"),
        ("SEMVER_EQ", "1.2.3", "1.2.3+build", "1.2.4"),
        ("SEMVER_GT", "1.2.3", "1.10.0", "1.2.3-rc.1"),
        ("SEMVER_LT", "1.2.3", "1.2.3-rc.1", "v1.0.0"),
        ("REGEX", "^a.c$", "abc", "abcd"),
        ("IN_CIDR", ["10.0.0.0/8"], "10.1.1.1", " 10.1.1.1"),
    ],
)
def test_each_operator(holds, operator, given, yes, no):
    assert holds(operator, given, yes)
    assert not holds(operator, given, no)
    assert not holds(operator, given, yes, inverted=True)
    assert holds(operator, given, no, inverted=True)


@pytest.mark.parametrize(
    "operator, given",
    [
        ("IN", ["a"]),
        ("STR_CONTAINS", ["a"]),
        ("NUM_LT", "5"),
        ("DATE_AFTER", "2024-01-29T13:00:00Z"),
        ("SEMVER_GT", "1.2.3"),
        ("REGEX", "a"),
        ("IN_CIDR", ["10.0.0.0/8"]),
    ],
)
def test_a_missing_field_is_false_and_inverted_true(holds, operator, given):
    assert not holds(operator, given)
    assert holds(operator, given, inverted=True)


def test_not_in_holds_for_a_missing_field(holds):
    assert holds("NOT_IN", ["a"])
    assert not holds("NOT_IN", ["a"], inverted=True)


def test_case_is_folded_one_letter_at_a_time_and_only_by_the_string_operators(holds):
    assert holds("STR_STARTS_WITH", ["AB"], "abc", caseInsensitive=True)
    assert holds("REGEX", "AB", "abc", caseInsensitive=True)
    assert not holds("STR_CONTAINS", ["STRASSE"], "straße", caseInsensitive=True)
    assert not holds("IN", ["A"], "a", caseInsensitive=True)


def test_without_a_current_time_a_date_is_compared_with_the_clock(feature):
    def asked(operator):
        one = {"contextName": "currentTime", "operator": operator, "value": "2020-01-01T00:00:00Z"}
        return feature({"name": "default", "constraints": [one]})

    assert asked("DATE_AFTER").enabled()
    assert not asked("DATE_BEFORE").enabled()
    assert asked("DATE_BEFORE").enabled(currentTime="2019-01-01T00:00:00Z")


def test_an_empty_list_holds_for_nobody(holds):
    assert not holds("IN", [], "a")
    assert holds("NOT_IN", [], "a")


def test_the_value_says_how_it_is_compared_and_not_the_operator(holds):
    assert holds("NUM_GT", "1.2.3", "1.10.0")
    assert holds("SEMVER_GT", "1.2", "1.3")


def test_a_version_with_a_v_holds_for_nobody_inverted_or_not(holds):
    assert not holds("SEMVER_EQ", "v1.2.3", "1.2.3")
    assert not holds("SEMVER_EQ", "v1.2.3", "1.2.3", inverted=True)


def test_a_pattern_that_needs_to_go_back_matches_nobody(holds):
    assert not holds("REGEX", "a(?=b)", "ab")
    assert holds("REGEX", "a(?=b)", "ab", inverted=True)


@pytest.mark.rule("M1")
@pytest.mark.parametrize(
    "one",
    [
        {"operator": "SOUNDS_LIKE", "values": ["a"]},
        {"operator": "NUM_GT", "value": "five"},
        {"operator": "NUM_GT"},
        {"operator": "DATE_AFTER", "value": "2024-13-29T13:00:00Z"},
        {"operator": "DATE_AFTER", "value": "2024-01-29"},
        {"operator": "SEMVER_EQ", "value": "01.2.3"},
        {"operator": "STR_CONTAINS", "values": []},
        {"operator": "IN", "values": ["ends with \\"]},
        {"operator": "IN", "contextName": 'qu"ote', "values": ["a"]},
    ],
)
def test_what_the_engine_cannot_compile_keeps_the_whole_feature_off_and_is_told(feature, one):
    constraint = {"contextName": "x", **one}
    found = feature({"name": "default"}, {"name": "default", "constraints": [constraint]})
    assert not found.enabled(properties={"x": "a"})
    (entry,) = found.told("partial")
    assert "strategies[1].constraints[0]" in entry.reason


@pytest.mark.parametrize("name", ["a b", "/path", "~", "targetingKey", "contextKind", "", "größe"])
def test_a_property_may_have_any_name(feature, name):
    one = {"contextName": name, "operator": "IN", "values": ["yes"]}
    found = feature({"name": "default", "constraints": [one]})
    assert found.enabled(userId="u", properties={name: "yes"})
    assert not found.enabled(userId="yes", properties={name: "no"})


@pytest.mark.rule("M1")
@pytest.mark.parametrize(
    "one, said",
    [
        ({"operator": "REGEX", "value": r"\d+"}, "ASCII"),
        ({"operator": "REGEX", "value": "[a-z&&[^b]]"}, "sets"),
        ({"operator": "REGEX", "value": "("}, "linear time"),
        ({"operator": "IN", "values": ["a"], "caseInsensitive": True}, "caseInsensitive"),
        ({"operator": "IN", "values": ["a"], "value": "b"}, '"value"'),
        ({"operator": "NUM_EQ", "values": ["a"], "value": "5"}, '"values"'),
        ({"operator": "IN_CIDR", "values": ["10.0.0.0/8", "x"]}, "no network"),
    ],
)
def test_what_reads_otherwise_is_told(feature, one, said):
    found = feature({"name": "default", "constraints": [{"contextName": "x", **one}]})
    assert said in found.told("partial")[0].reason
