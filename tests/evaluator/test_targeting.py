"""Rules about single users are targets, and everybody is served as before."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import contexts, flags, targeting_keys

from downhaul.client.flags import Flags
from downhaul.context import Context
from downhaul.evaluator.targeting import with_targets_said
from downhaul.flag import (
    TARGETING_KEY,
    Clause,
    Dialect,
    Flag,
    Missing,
    Operator,
    Rule,
    Target,
    percentage,
)


def listing(keys, **more):
    return Clause(TARGETING_KEY, Operator.IN, tuple(sorted(keys)), **more)


LEAVING_OUT = {"negate": True, "missing": Missing.FALSE, "dialect": Dialect.UNLEASH}


def served(flag, asked):
    with Flags.in_memory([flag]) as client:
        answers = [client.evaluate(flag.key, one, None) for one in asked]
    return [(one.value, one.variant, one.error_code) for one in answers]


@st.composite
def listed(draw):
    """Flags with rules about keys among others."""
    flag = draw(flags())
    names = list(flag.variants)
    keys = st.frozensets(targeting_keys.filter(bool), min_size=1, max_size=3)
    rules = list(flag.rules)
    for _ in range(draw(st.integers(0, 3))):
        serve = draw(st.sampled_from(names))
        clause = listing(draw(keys), missing=draw(st.sampled_from(list(Missing)[:2])))
        rules.insert(draw(st.integers(0, len(rules))), Rule(serve, (clause,)))
    if draw(st.booleans()):
        out = draw(keys)
        missing = draw(st.sampled_from(list(Missing)[:2]))
        clause = listing(out, negate=True, missing=missing)
        rules = [replace(one, clauses=(*one.clauses, clause)) for one in rules]
    return replace(flag, on=True, rules=tuple(rules))


@given(listed(), st.lists(contexts(), min_size=1, max_size=8))
def test_everybody_is_served_as_before(flag, asked):
    by_lot = "random" in repr(flag).casefold()
    if not by_lot:
        assert served(with_targets_said(flag), asked) == served(flag, asked)


def test_what_unleash_says_with_strategies_is_said_with_targets():
    out = listing({"u3", "u4"}, **LEAVING_OUT)
    flag = Flag(
        key="agent",
        default="off",
        on=True,
        rules=(
            Rule("on", (Clause("plan", Operator.IN, ("pro",)), out)),
            Rule("on", (listing({"u1", "u2"}),)),
        ),
    )
    said = with_targets_said(flag)
    assert said.targets == (
        Target("on", frozenset({"u1", "u2"})),
        Target("off", frozenset({"u3", "u4"})),
    )
    assert said.rules == (Rule("on", (Clause("plan", Operator.IN, ("pro",)),)),)


@pytest.mark.parametrize(
    "rule",
    [
        Rule("on", (listing({"u1"}), Clause("plan", Operator.IN, ("pro",)))),
        Rule(percentage("on", 5, rest="off"), (listing({"u1"}),)),
        Rule("on", (listing({"u1"}, negate=True),)),
        Rule("on", (listing({"u1"}, ignore_case=True),)),
        Rule("on", (replace(listing({"u1"}), values=("u1", 5)),)),
    ],
)
def test_what_is_more_than_a_list_of_keys_stays_a_rule(rule):
    flag = Flag(key="agent", default="off", rules=(rule,), on=True)
    assert with_targets_said(flag) == flag


def test_a_list_behind_a_rule_for_another_variant_stays_behind_it():
    first = Rule("off", (Clause("plan", Operator.IN, ("free",)),))
    flag = Flag(key="agent", default="off", rules=(first, Rule("on", (listing({"u1"}),))), on=True)
    assert with_targets_said(flag) == flag
    assert served(flag, [Context("u1", {"plan": "free"})])[0][0] is False
