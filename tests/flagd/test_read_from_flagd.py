"""Rules E9 and M1: a flag that was read from flagd decides as flagd's engine does, or is told.

The oracle is flagd's engine for Python, in process.
"""

import json

import pytest
from flagd_engine import Engine, ours
from flagd_strategies import any_context, flagd_flags, plain_context
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from downhaul import Context, Flags
from downhaul.documents.flagd import context_from, flags_from
from downhaul.errors import InvalidContext
from downhaul.flag import Clause, FlagKind, FlagType, Missing, Operator
from downhaul.ledger import Fidelity

VARIANTS = {"on": True, "off": False}


def document(targeting=None, default="off", *, variants=None, **fields):
    flag = {"state": "ENABLED", "variants": variants or VARIANTS, "defaultVariant": default}
    return {"flags": {"f": {**flag, "targeting": targeting or {}, **fields}}}


def read(targeting=None, default="off", **fields):
    return flags_from(document(targeting, default, **fields))


def only(translation):
    (flag,) = translation.flags
    return flag


def told(translation):
    return [(one.fidelity.value, one.path, one.reason) for one in translation.ledger]


def rule_of(condition):
    """Return the one rule that a condition becomes, and what the ledger says of it."""
    translation = read({"if": [condition, "on", None]})
    (rule,) = only(translation).rules
    return rule, translation.ledger.lossy


def agree(definition, pairs):
    translation = flags_from(json.dumps({"flags": {"f": definition}}))
    found = {one.fidelity for one in translation.ledger.of("f")}
    event(min(found & {Fidelity.PARTIAL, Fidelity.MANUAL}, default=Fidelity.FULL).value)
    assert bool(translation.flags) is (Fidelity.MANUAL not in found)
    engine = Engine({"flags": {"f": definition}})
    with Flags.in_memory(translation.flags) as flags:
        for flag in translation.flags:
            for odd, plain in pairs:
                context = plain if Fidelity.PARTIAL in found else odd
                assert engine.decide("f", flag.kind, context) == ours(flags, "f", context)


pairs = st.lists(st.tuples(any_context, plain_context), min_size=1, max_size=6)


@pytest.mark.rule("E9", "M1")
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(flagd_flags(), pairs)
def test_what_is_read_decides_as_flagd_does(definition, pairs):
    agree(definition, pairs)


@pytest.mark.slow
@pytest.mark.rule("E9", "M1")
@settings(max_examples=20 * settings().max_examples, suppress_health_check=list(HealthCheck))
@given(flagd_flags(), pairs)
def test_many_flags_that_are_read_decide_as_flagd_does(definition, pairs):
    agree(definition, pairs)


# --- single conditions


KEY, ROLES, AMONG = {"var": "targetingKey"}, {"var": "roles"}, {"in": [{"var": ""}, ["x"]]}
EXACT = [
    ({"===": [KEY, "ann"]}, ("targetingKey", Operator.IN, ("ann",))),
    ({"in": [KEY, ["ann", "bob"]]}, ("targetingKey", Operator.IN, ("ann", "bob"))),
    ({"starts_with": [KEY, "a"]}, ("targetingKey", Operator.STARTS_WITH, ("a",))),
    ({"some": [ROLES, AMONG]}, ("roles", Operator.HAS_ANY, ("x",))),
    ({"all": [ROLES, AMONG]}, ("roles", Operator.SUBSET_OF, ("x",))),
]  # fmt: skip
ALMOST = [
    ({"==": [{"var": "plan"}, "pro"]}, ("plan", Operator.IN, ("pro",))),
    ({"==": ["pro", {"var": ["plan"]}]}, ("plan", Operator.IN, ("pro",))),
    ({"==": [{"var": "plan"}, "5"]}, ("plan", Operator.IN, ("5", 5))),
    ({"===": [{"var": "a.b"}, "x"]}, ("/a/b", Operator.IN, ("x",))),
    ({"in": [{"var": "plan"}, ["pro", 1]]}, ("plan", Operator.IN, ("pro", 1, True))),
    ({"ends_with": [{"var": "mail"}, "@x.com"]}, ("mail", Operator.ENDS_WITH, ("@x.com",))),
    ({">": [{"var": "age"}, 18]}, ("age", Operator.GREATER, (18,))),
    ({"<=": [18, {"var": "age"}]}, ("age", Operator.GREATER_OR_EQUAL, (18,))),
    ({"sem_ver": [{"var": "v"}, "<", "v1.2"]}, ("v", Operator.SEMVER_LESS, ("1.2.0",))),
]  # fmt: skip


@pytest.mark.parametrize("condition, clause", EXACT + ALMOST, ids=lambda one: str(one)[:60])
def test_a_condition_becomes_a_clause(condition, clause):
    rule, lossy = rule_of(condition)
    assert rule.clauses == (Clause(*clause),)
    assert rule.serve == "on"
    assert bool(lossy) is ((condition, clause) in ALMOST)


BETA = {"var": "beta"}
CASES = {
    "one part, no default": ({"fractional": [["on", 1]]}, None),
    "a split in the middle": ({"if": [BETA, {"fractional": [["on", 1], ["off", 3]]}, "on"]}, "off"),
    "a split as a condition": ({"if": [{"===": [{"fractional": [["x", 1]]}, "x"]}, "on"]}, "off"),
    "true is one": ({"if": [{"===": [BETA, True]}, "on"]}, "off"),
    "one is true": ({"if": [{"in": [BETA, [1]]}, "on"]}, "off"),
    "nothing is zero": ({"if": [{"==": [BETA, 0]}, "on"]}, "off"),
    "nothing is nothing": ({"if": [{"===": [BETA, None]}, "on"]}, "off"),
    "the same major version": ({"if": [{"sem_ver": [BETA, "^", "1.2.0"]}, "on"]}, "off"),
    "the same minor version": ({"if": [{"sem_ver": [BETA, "~", "1.2.0"]}, "on"]}, "off"),
    "another version": ({"if": [{"sem_ver": [BETA, "!=", "1.2.0"]}, "on"]}, "off"),
}
BETAS = [None, "x", "1.2.0", "1.2.9", "1.9.9", "1.0.0-a", "2.0.0-a", "2.0.0", True, False, 0, 1, 2]


@pytest.mark.rule("E9")
@pytest.mark.parametrize("name", CASES)
def test_single_cases_decide_as_in_flagd(name):
    targeting, default = CASES[name]
    translation = read(targeting, default)
    engine = Engine(document(targeting, default))
    betas = BETAS[:8] if "version" in name else BETAS  # flagd takes numbers for versions, as told
    with Flags.in_memory(translation.flags) as flags:
        for context in (Context(key, {"beta": beta}) for key in ("u", None) for beta in betas):
            assert engine.decide("f", FlagKind.BOOLEAN, context) == ours(flags, "f", context)


def test_what_contradicts_itself_becomes_no_rule():
    never = {"and": [{"!": [KEY]}, {"in": [KEY, ["ann"]]}]}
    assert only(read({"if": [never, "on", None]})).rules == ()


def test_alternatives_become_rules_and_values():
    either = {"or": [{"===": [{"var": "k"}, "a"]}, {"===": [{"var": "k"}, "b"]}, {"var": "beta"}]}
    rules = only(read({"if": [either, "on", None]})).rules
    assert [rule.serve for rule in rules] == ["on", "on"]
    assert rules[0].clauses == (Clause("k", Operator.IN, ("a", "b")),)


def test_what_is_missing_is_zero_to_flagd_and_so_it_is_here():
    translation = read({"if": [{"<": [{"var": "age"}, 18]}, "on", None]})
    with Flags.in_memory(translation.flags) as flags:
        assert flags.is_enabled("f", "ann")
        assert not flags.is_enabled("f", {"age": 20})


def test_flagds_clock_is_the_time_of_the_evaluation():
    rule, lossy = rule_of({">=": [{"var": "$flagd.timestamp"}, 1_743_360_000]})
    (clause,) = rule.clauses
    assert (clause.operator, clause.missing) == (Operator.AT_OR_AFTER, Missing.NOW)
    assert clause.values == ("2025-03-30T18:40:00Z",)
    assert not lossy


def test_a_list_of_roles_or_a_text_that_holds_the_word():
    translation = read({"if": [{"in": ["admin", {"var": "roles"}]}, "on", None]})
    with Flags.in_memory(translation.flags) as flags:
        for roles, on in (
            (["admin"], True),
            (["superadmin"], False),
            ("superadmin", True),
            (5, False),
        ):
            assert flags.is_enabled("f", {"roles": roles}) is on


def test_a_condition_in_place_of_a_variant_serves_true_and_false():
    variants = {"true": True, "false": False}
    targeting = {"ends_with": [{"var": "mail"}, "@x.com"]}
    flag = only(read(targeting, None, variants=variants | {"d": False}, defaultVariant="d"))
    with Flags.in_memory([flag]) as flags:
        served = [
            flags.evaluate("f", context).variant
            for context in ({"mail": "a@x.com"}, {"mail": "a"}, {"mail": 5})
        ]
    assert served == ["true", "false", "d"]


# --- flags


def test_a_disabled_flag_serves_the_callers_default():
    flag = only(read(state="DISABLED"))
    assert (flag.on, flag.off_variant) == (False, None)


def test_a_flag_without_a_default_and_without_targeting_serves_the_callers_default():
    for default in (None, ""):
        with Flags.in_memory(read(None, default).flags) as flags:
            assert flags.value("f", "ann", True) is True
            assert flags.value("f", "ann", False) is False


@pytest.mark.rule("E6")
def test_a_split_keeps_its_weights_and_its_users():
    definition = document({"fractional": [["on", 1], ["off"], ["on", -5]]}, None)["flags"]["f"]
    agree_with = [Context(f"user-{number}") for number in range(500)]
    translation = flags_from({"flags": {"f": definition}})
    assert not translation.ledger.lossy
    engine = Engine({"flags": {"f": definition}})
    with Flags.in_memory(translation.flags) as flags:
        for context in (*agree_with, Context()):
            assert engine.decide("f", FlagKind.BOOLEAN, context) == ours(flags, "f", context)


def test_kinds_are_told_by_the_variants():
    for value, kind in (
        (1, "number"),
        (2.5, "number"),
        ("a", "string"),
        ({}, "object"),
        ([], "object"),
    ):
        flag = only(read(None, "v", variants={"v": value}))
        assert flag.kind.value == kind


def test_metadata_that_we_know_are_read_and_the_others_are_told():
    told_of = {"owner": "ana", "tags": "a,b", "type": "experiment", "description": "D", "x": 1}
    translation = read(metadata=told_of)
    flag = only(translation)
    assert (flag.owner, flag.tags, flag.description) == ("ana", ("a", "b"), "D")
    assert flag.type is FlagType.EXPERIMENT
    assert ("skipped", "flags.f.metadata.x") in [one[:2] for one in told(translation)]


@pytest.mark.rule("M1")
def test_every_part_of_the_document_has_an_entry():
    whole = document({"if": [{"$ref": "staff"}, "on", None]}, source="s")
    whole["$schema"], whole["metadata"] = "https://flagd.dev/schema/v0/flags.json", {"team": "x"}
    whole["$evaluators"] = {
        "staff": {"===": [KEY, "ann"]},
        "idle": {"var": "x"},
    }
    assert [one[:2] for one in told(flags_from(whole))] == [
        ("full", "flags.f"),
        ("skipped", "flags.f.source"),
        ("full", '["$evaluators"].staff'),
        ("skipped", '["$evaluators"].idle'),
        ("skipped", '["$schema"]'),
        ("skipped", "metadata"),
    ]


def test_the_daemons_list_of_flags_is_read_too():
    flag = document()["flags"]["f"]
    translation = flags_from({"flags": [{"key": "a", **flag}, {"key": "b", **flag}]})
    assert [one.key for one in translation.flags] == ["a", "b"]
    assert told(translation)[0][1] == "flags[0]"


# --- what a flag here can't say


NEITHER = {"!!": [{"fractional": [[False, 1], [True, 1]]}]}
HALF = {"fractional": [["on", 1], ["off", 1]]}
CUBES = [{"or": [{"var": f"{one}{other}"} for other in "xyz"]} for one in "abcdef"]
SPLIT_BY_MAIL = {"fractional": [{"var": "mail"}, ["on", 1], ["off", 1]]}
LEFT_OUT = {
    "hash": (SPLIT_BY_MAIL, "is hashed alone"),
    "computed": ({"fractional": [[{"var": "x"}, 1]]}, "named here, not computed"),
    "weight": ({"fractional": [["on", {"var": "x"}]]}, "a number here, not computed"),
    "operator": ({"if": [{"substr": [{"var": "x"}, 1]}, "on"]}, '"substr"'),
    "two attributes": ({"if": [{"==": [{"var": "a"}, {"var": "b"}]}, "on"]}, "with values"),
    "path": ({"if": [{"==": [{"var": "roles.0"}, "x"]}, "on"]}, "by its name"),
    "default": ({"if": [{"==": [{"var": ["a", "d"]}, "x"]}, "on"]}, "by its name"),
    "variant": ({"var": "color"}, "says no variant"),
    "reference": ({"if": [{"$ref": "gone"}, "on"]}, 'no evaluator "gone"'),
    "buckets": ({"if": [NEITHER, HALF]}, "first buckets"),
    "many": ({"if": [{"and": CUBES}, "on"]}, "more than 64 rules"),
}  # fmt: skip


@pytest.mark.rule("M1")
@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_flag_that_ours_cannot_say_is_left_out_and_told_with_the_fragment(name):
    targeting, reason = LEFT_OUT[name]
    translation = read(targeting)
    assert translation.flags == ()
    (entry,) = translation.ledger.lossy
    assert (entry.fidelity, entry.path) == (Fidelity.MANUAL, "flags.f.targeting")
    assert reason in entry.reason
    assert entry.fragment is not None


@pytest.mark.rule("M1")
def test_a_default_of_the_code_for_some_is_told():
    translation = read({"if": [{"==": [{"var": "plan"}, "pro"]}, "on"]}, None)
    assert translation.flags == ()
    assert "code's default" in translation.ledger.lossy[0].reason


@pytest.mark.rule("M1")
def test_variants_of_several_types_and_keys_that_no_flag_has_are_told():
    assert "not all text" in read(variants={"off": False, "a": "A"}).ledger.lossy[0].reason
    named = {"flags": {"a b": document()["flags"]["f"]}}
    assert "can't be a flag here" in flags_from(named).ledger.lossy[0].reason


# --- contexts


def test_a_context_is_the_targeting_key_and_attributes():
    made = context_from({"targetingKey": "ann", "plan": "pro", "kind": "x", "$flagd": {"a": 1}})
    assert made == Context("ann", {"plan": "pro", "kind": "x"})
    assert context_from({}) == Context()
    with pytest.raises(InvalidContext):
        context_from({"targetingKey": 5})
