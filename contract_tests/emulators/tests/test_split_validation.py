"""What the admin API takes as a definition, and what it refuses."""

import pytest
from downhaul_emulators.split import MATCHER_TYPES, boolean, buckets, definition_of, rule

PRO = {"type": "IN_LIST_STRING", "attribute": "plan", "strings": ["pro"]}


def with_treatment(**fields):
    return boolean(treatments=[{"name": "on", **fields}, {"name": "off"}])


def with_matcher(**fields):
    return boolean(0, rules=[rule([{**PRO, **fields}], on=100)])


def without(field):
    return {name: value for name, value in boolean().items() if name != field}


WRONG = {
    "treatments are mandatory": (without("treatments"), "treatments is mandatory"),
    "a default treatment is mandatory": (without("defaultTreatment"), "defaultTreatment"),
    "a default rule is mandatory": (without("defaultRule"), "defaultRule is mandatory"),
    "a field is unknown": (boolean(trafficAllocations=50), "trafficAllocations"),
    "the default is no treatment": (boolean(defaultTreatment="blue"), "defaultTreatment"),
    "the baseline is no treatment": (boolean(baselineTreatment="blue"), "baselineTreatment"),
    "sizes add up to less": (boolean(defaultRule=buckets(on=20, off=70)), "100: 90"),
    "sizes add up to more": (boolean(defaultRule=buckets(on=50, off=51)), "100: 101"),
    "a size is no integer": (boolean(defaultRule=buckets(on=2.5, off=97.5)), "integer"),
    "a size is negative": (boolean(defaultRule=buckets(on=-1, off=101)), "integer"),
    "a size is a boolean": (boolean(defaultRule=buckets(on=True, off=99)), "integer"),
    "a bucket serves no treatment": (boolean(defaultRule=buckets(blue=100)), "blue"),
    "a bucket has another field": (
        boolean(defaultRule=[{"treatment": "on", "size": 100, "why": 1}]),
        "bucket",
    ),
    "a rule splits nothing": (boolean(rules=[{"condition": {"matchers": [PRO]}}]), "buckets"),
    "a rule matches nothing": (boolean(rules=[rule([], on=100)]), "matchers"),
    "a rule adds up to less": (boolean(rules=[rule([PRO], on=99)]), "rule 0"),
    "a rule joins by or": (
        boolean(
            rules=[
                {
                    "condition": {"combiner": "OR", "matchers": [PRO]},
                    "buckets": buckets(on=100),
                }
            ]
        ),
        "AND",
    ),
    "rules are no list": (boolean(rules={}) | {"rules": {"a": 1}}, "rules"),
    "the traffic allocation is over 100": (boolean(trafficAllocation=101), "percentage"),
    "killed is no boolean": (boolean(killed="yes"), "killed"),
    "control is reserved": (definition_of(["control", "off"]), "reserved"),
    "true is reserved": (definition_of(["true", "off"]), "reserved"),
    "a treatment is there twice": (definition_of(["on", "on"]), "two treatments"),
    "a treatment begins with a digit": (definition_of(["1st", "off"]), "letter"),
    "a treatment has a space": (definition_of(["on call", "off"]), "letter"),
    "there are 21 treatments": (definition_of([f"t{one}" for one in range(21)]), "20"),
    "a treatment has an unknown field": (with_treatment(weight=1), "weight"),
    "a configuration is no JSON": (with_treatment(configurations="{"), "JSON"),
    "a configuration is an object": (with_treatment(configurations={"a": 1}), "JSON"),
    "keys are no strings": (with_treatment(keys=[1]), "keys"),
    "a key is a target twice": (
        boolean(treatments=[{"name": "on", "keys": ["ada"]}, {"name": "off", "keys": ["ada"]}]),
        "ada",
    ),
    "a segment is unknown": (with_treatment(segments=["nobody"]), "nobody"),
    "a flag set is unknown": (boolean(flagSets=[{"id": "none"}]), "flag set"),
    "a matcher is of no type": (with_matcher(type="IN_LIST"), "IN_LIST"),
    "a matcher has another's field": (with_matcher(number=3), "number"),
    "a matcher has an unknown field": (with_matcher(values=["pro"]), "values"),
    "a matcher has no attribute": (with_matcher(attribute=""), "attribute"),
    "a matcher's negation is no boolean": (with_matcher(negate="no"), "negate"),
    "a matcher lists nothing": (with_matcher(strings=[]), "strings"),
    "a number is a text": (with_matcher(type="EQUAL_NUMBER", strings=[], number="3"), "number"),
    "a number is no integer": (with_matcher(type="EQUAL_NUMBER", strings=[], number=0.5), "number"),
    "a range has one end": (
        with_matcher(type="BETWEEN_NUMBER", strings=[], between={"from": 1}),
        "between",
    ),
    "a range ends in a fraction": (
        with_matcher(type="BETWEEN_NUMBER", strings=[], between={"from": 1, "to": 2.5}),
        "between",
    ),
    "a dependency is unknown": (
        boolean(
            rules=[
                rule(
                    [{"type": "IN_SPLIT", "depends": {"splitName": "ghost", "treatment": "on"}}],
                    on=100,
                )
            ]
        ),
        "ghost",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_definition_is_refused_when(admin, refused, case):
    definition, words = WRONG[case]
    before = admin.create("agent", boolean()).json()
    refused(admin.put("agent", definition), 400, words)
    assert admin.read("agent").json() == before


@pytest.mark.parametrize("kind", MATCHER_TYPES)
def test_each_type_of_matcher_needs_its_field(admin, refused, kind):
    bare = {"type": kind, "attribute": "about"}
    refused(admin.create("agent", boolean(0, rules=[rule([bare], on=100)])), 400, "needs the field")


@pytest.mark.parametrize("name", ["1st", "a.b", "a b", "", "ä", "-a", 7])
def test_a_flag_is_named_by_letters_digits_hyphens_and_underscores(admin, refused, name):
    answer = admin.new_flag(name)
    assert answer.status_code == 400


def test_an_unknown_field_or_traffic_type_creates_no_flag(split, admin, refused):
    refused(admin.new_flag("agent", kind="boolean"), 400, "kind")
    refused(admin.new_flag("agent", description=3), 400, "description")
    path = f"splits/ws/{split.workspace}/trafficTypes/machine"
    refused(admin.call("POST", path, json={"name": "agent"}), 404, "machine")


def test_a_flag_does_not_depend_on_itself_through_others(admin, refused):
    def depending(on, treatment="on"):
        matcher = {"type": "IN_SPLIT", "depends": {"splitName": on, "treatment": treatment}}
        return boolean(0, rules=[rule([matcher], on=100)])

    admin.create("one", boolean())
    admin.create("two", depending("one"))
    admin.create("three", depending("two"))
    refused(admin.put("one", depending("three")), 400, "itself")
    refused(admin.put("one", depending("one")), 400, "itself")
    refused(admin.put("three", depending("two", "blue")), 400, "blue")


def test_two_treatments_alone_and_a_split_over_many_are_taken(admin):
    names = [f"t{one}" for one in range(20)]
    many = definition_of(names, defaultRule=buckets(**dict.fromkeys(names, 5)))
    assert admin.create("many", many).status_code == 200
    assert admin.create("two", boolean()).status_code == 200
