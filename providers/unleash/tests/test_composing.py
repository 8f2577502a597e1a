"""The strategies that a whole flag becomes, and how they are known again."""

import copy
import json

import pytest
from downhaul_unleash.composing import composed
from downhaul_unleash.marks import Mark, Sort, mark_of
from downhaul_unleash.provider import UnleashProvider
from downhaul_unleash.saying import both, opposite, said
from downhaul_unleash.session import Connection
from downhaul_unleash.translate import flags_from
from downhaul_unleash.why import CantSay
from hypothesis import given
from hypothesis import strategies as st
from kept_unleash import clauses, contexts
from served_unleash import asked_of_the_engine, payload_of

from downhaul import Context, Flag, Flags
from downhaul.evaluator.carriers import carrying
from downhaul.flag import (
    Bucketing,
    Clause,
    FlagKind,
    Gate,
    Missing,
    NoKey,
    Operator,
    Rule,
    Scheme,
    Split,
    Target,
    Weight,
)
from downhaul.references import clauses_of

SPLIT = Bucketing(Scheme.SPLIT, seed=17, total=100)
GROUP = Bucketing(Scheme.UNLEASH, "g", by=("plan",), no_key=NoKey.MISS, total=100)
VARIANTS = Bucketing(
    Scheme.UNLEASH,
    "g",
    86_028_157,
    ("targetingKey", "sessionId"),
    no_key=NoKey.RANDOM,
    total=1_000,
)


def among(attribute, *values, **fields):
    return Clause(attribute, Operator.IN, values, **fields)


def boolean(*rules, **fields):
    return Flag(**{"key": "f", "default": "off", "on": True, "rules": rules, **fields})


def words(one):
    """A strategy's constraints, as one reads them."""
    return [
        f"{'not ' if each.get('inverted') else ''}{each['contextName']} {each['operator']} "
        f"{each.get('value') or ','.join(each['values'])}"
        for each in one["constraints"]
    ]


def serving(strategies):
    return {one["title"]: words(one) for one in strategies if one["parameters"]["rollout"] != "0"}


def test_an_off_rule_stands_turned_round_in_every_strategy_after_it():
    made = composed(
        boolean(
            Rule("on", (among("plan", "gold"),)),
            Rule("off", (among("country", "de"), among("age", "5"))),
            Rule("on", (among("beta", "yes"),)),
            default="on",
        )
    )
    assert serving(made) == {
        "downhaul:rule-1": ["plan IN gold"],
        "downhaul:rule-3": ["beta IN yes", "country NOT_IN de"],
        "downhaul:rule-3.2": ["beta IN yes", "age NOT_IN 5"],
        "downhaul:rollout": ["country NOT_IN de"],
        "downhaul:rollout.2": ["age NOT_IN 5"],
    }


def test_who_is_denied_is_left_out_of_all_strategies_and_who_is_allowed_of_none():
    made = composed(
        boolean(
            Rule("off", (among("country", "de"),)),
            default="on",
            targets=(Target("on", frozenset({"ada"})), Target("off", frozenset({"eve"}))),
        )
    )
    assert serving(made) == {
        "downhaul:rollout": ["country NOT_IN de", "userId NOT_IN eve"],
        "downhaul:targets-1": ["userId IN ada"],
    }


def test_unleashs_own_hash_stays_its_own_percentage():
    made = composed(boolean(Rule("on", (among("plan", "gold"),), Gate(30, GROUP))))
    assert made[0]["parameters"] == {
        "rollout": "30",
        "stickiness": "plan",
        "groupId": "g",
        "downhaul": "rule-1/1/0",
    }
    assert words(made[0]) == ["plan IN gold"]


def test_unleashs_own_choice_of_variants_stays_its_own():
    default = Split((Weight("a", 250), Weight("b", 750)), VARIANTS)
    flag = Flag(
        key="f",
        kind=FlagKind.STRING,
        variants={"a": "A", "b": "B"},
        off_variant=None,
        default=default,
        on=True,
    )
    _values, only = composed(flag)
    assert [(one["name"], one["weight"]) for one in only["variants"]] == [("a", 250), ("b", 750)]
    assert (only["parameters"]["groupId"], words(only)) == ("g", [])
    (read,) = flags_from(payload_of([flag])).flags
    assert (read.default, read.variants, read.off_variant) == (default, flag.variants, None)


def test_a_variant_that_nobody_is_served_keeps_its_value():
    variants = {"b": "B", "a": "A"}
    for off in ("b", None):
        flag = Flag(
            key="f", kind=FlagKind.STRING, variants=variants, off_variant=off, default="a", on=True
        )
        (read,) = flags_from(payload_of([flag])).flags
        assert (read.variants, read.off_variant, read.default) == (variants, off, "a")


def test_where_there_are_variants_rules_stand_in_their_order():
    flag = Flag(
        key="f",
        kind=FlagKind.STRING,
        variants={"a": "A", "b": "B", "o": "O"},
        off_variant="o",
        default=Split((Weight("a", 50), Weight("b", 30), Weight("o", 20)), SPLIT),
        rules=(Rule("o", (among("country", "de"),)), Rule("b", (among("plan", "gold"),))),
        targets=(Target("b", frozenset({"ada"})), Target("o", frozenset({"eve"}))),
        on=True,
    )
    made = composed(flag)
    assert [one["title"] for one in made] == [
        "downhaul:off",
        "downhaul:targets-1",
        "downhaul:targets-2",
        "downhaul:rule-1",
        "downhaul:rule-2",
        "downhaul:rollout",
        "downhaul:rollout-2",
    ]
    assert [one["sortOrder"] for one in made] == list(range(7))
    assert [{each["name"]: each["weight"] for each in one["variants"]} for one in made[:4]] == [
        {"a": 0, "b": 0, "o": 1000},
        {"b": 1000},
        {"o": 1000},
        {"o": 1000},
    ]


@pytest.mark.parametrize("weight", [0, 1, 60, 99, 100])
@pytest.mark.parametrize("how", [SPLIT, GROUP])
def test_a_percentage_remembers_its_hash_at_every_edge(weight, how):
    default = Split((Weight("on", weight), Weight("off", 100 - weight)), how)
    (read,) = flags_from(payload_of([boolean(default=default)])).flags
    assert read.default == default


def test_a_mark_says_all_of_itself():
    for mark in (Mark(Sort.RULE, 3, 2, 1), Mark(Sort.NO_ROLLOUT, 12), Mark(Sort.OFF, 1)):
        assert mark_of({"downhaul": str(mark)}) == mark
    for text in ("", "rule", "rule-1", "rule-1/2", "role-1/2/3", "rule-1/2/3/4", "rule--1/2/3"):
        assert mark_of({"downhaul": text}) is None


EVERYBODY = [
    Context(key, {"country": country, "plan": plan, "x": x})
    for key in ("ada", "eve", *map(str, range(20)))
    for country in (None, "de", "fr")
    for plan in (None, "gold")
    for x in (None, "y")
]
FLAG = boolean(
    Rule("off", (among("country", "de", negate=True),)),
    Rule("on", (among("plan", "gold"),), Gate(30, SPLIT)),
    default=Split((Weight("on", 25), Weight("off", 75)), SPLIT),
    targets=(Target("off", frozenset({"eve"})), Target("on", frozenset({"ada"}))),
)


def test_what_was_written_is_known_without_any_title():
    document = payload_of([FLAG])
    assert "title" not in json.dumps(document)
    made = flags_from(document)
    (read,) = made.flags
    assert (read.default, set(read.targets)) == (FLAG.default, set(FLAG.targets))
    assert [(one.serve, one.gate) for one in read.rules] == [
        (one.serve, one.gate) for one in FLAG.rules
    ]
    assert read.rules[0].clauses[0].missing is Missing.NO_MATCH
    assert not made.ledger.lossy


@pytest.mark.parametrize(
    "change",
    [
        lambda strategies: strategies[1]["constraints"].pop(),
        lambda strategies: strategies[2]["constraints"].append(
            {"contextName": "x", "operator": "IN", "values": ["y"]}
        ),
        lambda strategies: strategies[1]["parameters"].update(rollout="99"),
        lambda strategies: strategies.append(
            {"name": "default", "constraints": strategies[1]["constraints"]}
        ),
        lambda strategies: strategies.pop(0),
        lambda strategies: strategies[1]["parameters"].update(downhaul="rule-2/9/9"),
    ],
)
def test_what_somebody_changed_by_hand_is_read_as_unleash_decides_by_it(change):
    document = copy.deepcopy(payload_of([FLAG]))
    change(document["features"][0]["strategies"])
    made = flags_from(document)
    carry = carrying(one.attribute for one in clauses_of(made.flags[0])) or (lambda one: one)
    provider = UnleashProvider(Connection("x", None, bootstrap=json.dumps(document)))
    with Flags.over(provider, ready_within=5) as theirs, Flags.in_memory(made.flags) as ours:
        for context in EVERYBODY:
            assert theirs.is_enabled("f", context) is ours.is_enabled("f", carry(context)), context


@given(clauses(), st.lists(contexts(), min_size=4, max_size=4))
def test_a_clause_and_its_opposite_part_everybody(clause, asked):
    try:
        one, other = said(clause), opposite(said(clause))
    except CantSay:
        return
    assert both(one, other) == () or not all(one)
    flags = [
        boolean(Rule("on", (clause,)), key="inside"),
        boolean(Rule("off", (clause,)), key="outside", default="on"),
    ]
    with asked_of_the_engine(flags) as engine:
        for context in asked:
            inside = engine.is_enabled("inside", context)
            assert engine.is_enabled("outside", context) is not inside


@pytest.mark.parametrize(
    "clause",
    [
        Clause("age", Operator.LESS, (2**53,)),
        Clause("since", Operator.BEFORE, ("2026-01-31T09:00:00.000001Z",)),
        Clause("name", Operator.IN, ("ends in \\",)),
        Clause("name", Operator.IN, ("",)),
        Clause('a"b', Operator.IN, ("x",)),
        Clause("userId", Operator.IN, ("x",)),
        Clause("contextKind", Operator.IN, ("user",)),
        Clause("currentTime", Operator.IN, ("x",)),
        Clause("name", Operator.IN, ("x",), ignore_case=True),
        Clause("f", Operator.SERVES, ("on",)),
    ],
)
def test_what_unleash_has_no_words_for_is_refused_by_name(clause):
    with pytest.raises(CantSay):
        said(clause)
