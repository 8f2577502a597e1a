"""Buckets that travel as attributes: a flag lowered to clauses serves whom its splits served."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from strategies import bucketings, contexts, flag_sets, targeting_keys, texts

from downhaul.client.flags import Flags
from downhaul.context import Context
from downhaul.evaluator.carriers import PREFIX, bucketing_of, carrier_of, carrying
from downhaul.evaluator.lowering import (
    CantLower,
    lifted,
    lifted_segment,
    lowered,
    lowered_segment,
    nothing_is_native,
)
from downhaul.flag import (
    Bucketing,
    Clause,
    Flag,
    FlagKind,
    FlagSet,
    Gate,
    NoKey,
    Operator,
    Rule,
    Scheme,
    Split,
    Weight,
    percentage,
)
from downhaul.references import Node, clauses_of, named_by
from downhaul.result import ErrorCode


def answers_of(flag_set, contexts_):
    """Return what each flag serves in each context."""
    made, parts = flag_set.flags.values(), flag_set.segments.values()
    with Flags.in_memory(made, segments=parts) as flags:
        return {
            (key, number): flags.evaluate(key, context, None)
            for key in flag_set.flags
            for number, context in enumerate(contexts_)
        }


def all_bucketings(flag_set):
    """Yield whatever somebody is bucketed by."""
    for one in (*flag_set.flags.values(), *flag_set.segments.values()):
        serves = [rule.serve for rule in one.rules] if isinstance(one, Flag) else []
        if isinstance(one, Flag):
            serves.append(one.default)
        yield from (each.bucketing for each in serves if isinstance(each, Split))
        yield from (rule.gate.bucketing for rule in one.rules if rule.gate is not None)


def without_chance(flag_set, asked):
    """Return whether no decision is by lot, nor LaunchDarkly's for who lacks a whole kind."""
    return all(
        one.scheme is not Scheme.RANDOM
        and one.no_key is not NoKey.RANDOM
        and (
            one.no_key is not NoKey.FIRST
            or all(context.of_kind(one.context_kind) for context in asked)
        )
        for one in all_bucketings(flag_set)
    )


def switched_on(flag_set):
    return replace(
        flag_set, flags={key: replace(one, on=True) for key, one in flag_set.flags.items()}
    )


def lowered_all(flag_set, native=nothing_is_native):
    return FlagSet(
        {key: lowered(one, native) for key, one in flag_set.flags.items()},
        {key: lowered_segment(one, native) for key, one in flag_set.segments.items()},
    )


def lifted_all(flag_set):
    return FlagSet(
        {key: lifted(one) for key, one in flag_set.flags.items()},
        {key: lifted_segment(one) for key, one in flag_set.segments.items()},
    )


def bearing(flag_set):
    """Return what puts into a context whatever any flag or segment of a set asks for."""
    names = {
        clause.attribute
        for one in (*flag_set.flags.values(), *flag_set.segments.values())
        for clause in clauses_of(one)
    }
    return carrying(names) or (lambda context: context)


def needed_by(plain, key):
    """Return the carriers without which a flag, or what it names, may have no answer."""
    pending, seen, needed = [Node("flag", key)], set(), set()
    while pending:
        node = pending.pop()
        one = (plain.flags if node.sort == "flag" else plain.segments).get(node.key)
        if node in seen or one is None:
            continue
        seen.add(node)
        pending += named_by(one)
        for clause in clauses_of(one):
            how = bucketing_of(clause.attribute)
            if how is not None and how.no_key is NoKey.ERROR:
                needed.add((clause.attribute, how.context_kind))
    return needed


def brings(context, needed):
    """Return whether a context brings every bucket without which a split has no answer.

    Who has no key brings none. Where a split is the same for every key it serves them all the same
    (rule E7), which a comparison of buckets can't say.
    """
    parts = {kind: context.of_kind(kind) for _, kind in needed}
    return all(parts[kind] and name in parts[kind].attributes for name, kind in needed)


def differing(before, after, plain, asked):
    """Return where two sets of answers serve something else to who brings what is needed.

    A flag may find no key to split by where all its carriers are gone, as at 0 %: that is no answer
    either. What requires such a flag is left out with it.
    """
    bear = bearing(plain)
    carried = [bear(one) for one in asked]
    needed = {key: needed_by(plain, key) for key in plain.flags}
    keyless = {
        number
        for (_, number), one in before.items()
        if one.error_code is ErrorCode.TARGETING_KEY_MISSING
    }
    return [
        (key, number)
        for (key, number), one in before.items()
        if number not in keyless
        and brings(carried[number], needed[key])
        and told(one) != told(after[key, number])
    ]


def told(result):
    return result.value, result.variant, result.error_code


asking = contexts() | st.builds(Context, targeting_keys.filter(bool))


@given(bucketings(), texts)
def test_a_name_says_the_whole_bucketing_and_each_has_one_name(bucketing, key):
    name = carrier_of(bucketing, key)
    assert name.startswith(PREFIX)
    assert name.isascii()
    read = bucketing_of(name)
    assert carrier_of(read, "another") == name
    assert replace(read, salt=None, seed=None) == replace(bucketing, salt=None, seed=None)


@pytest.mark.parametrize(
    "name",
    [
        "plan",
        "downhaul_agent",
        "downhaul:",
        "downhaul:sha256?salt=a",
        "downhaul:split?seed=x",
        "downhaul:split?seed=1&of=0",
        "downhaul:split?of=100&seed=1",  # written in another order
        "downhaul:downhaul?salt=a&of=100000",  # what goes without saying
        "downhaul:downhaul?salt=a&no_key=maybe",
        "downhaul:downhaul",
    ],
)
def test_what_is_no_name_of_a_carrier_is_none(name):
    assert bucketing_of(name) is None


@pytest.mark.rule("E9")
@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(flag_sets().map(switched_on), st.lists(asking, min_size=1, max_size=6))
@pytest.mark.slow
def test_a_flag_without_hashes_serves_whom_its_splits_served(flag_set, asked):
    assume(without_chance(flag_set, asked))
    try:
        plain = lowered_all(flag_set)
    except CantLower:
        assume(False)
    assert not list(all_bucketings(plain))
    bear = bearing(plain)
    before = answers_of(flag_set, asked)
    after = answers_of(plain, [bear(one) for one in asked])
    assert not differing(before, after, plain, asked)


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(flag_sets().map(switched_on), st.lists(asking, min_size=1, max_size=6))
@pytest.mark.slow
def test_read_back_it_needs_no_carriers_and_serves_the_same(flag_set, asked):
    assume(without_chance(flag_set, asked))
    try:
        plain = lowered_all(flag_set)
    except CantLower:
        assume(False)
    back = lifted_all(plain)
    bear = bearing(back)  # what is too much for one rule stays a clause
    before = answers_of(flag_set, asked)
    after = answers_of(back, [bear(one) for one in asked])
    assert not differing(before, after, plain, asked)


@pytest.mark.parametrize(
    "default",
    [
        percentage("on", 25, rest="off"),
        Split((Weight("on", 25), Weight("off", 75)), Bucketing(Scheme.SPLIT, seed=7, total=100)),
        Split((Weight("off", 10), Weight("on", 30), Weight("off", 60)), Bucketing(total=100)),
    ],
)
def test_a_percentage_reads_back_as_the_percentage_it_was(default):
    flag = Flag(key="agent", default=default)
    read = lifted(lowered(flag))
    assert [(one.variant, one.weight) for one in read.default.weights] == [
        (one.variant, one.weight) for one in default.weights
    ]
    assert read.rules == ()


def test_a_gate_reads_back_as_a_gate_beside_the_split_within():
    how, within = (
        Bucketing(Scheme.SPLIT, seed=1, total=100),
        Bucketing(Scheme.SPLIT, seed=2, total=100),
    )
    clause = Clause("plan", Operator.IN, ("pro",))
    rule = Rule(
        Split((Weight("on", 40), Weight("off", 60)), within), (clause,), Gate(30, how), id="r"
    )
    read = lifted(lowered(Flag(key="agent", default="off", rules=(rule,))))
    (found,) = read.rules
    assert found.clauses == (clause,)
    assert found.gate == Gate(30, bucketing_of(carrier_of(how, "agent")))
    assert [(one.variant, one.weight) for one in found.serve.weights] == [("on", 40), ("off", 60)]


def test_a_percentage_at_its_end_reads_back_with_the_variant_that_nobody_has():
    name = carrier_of(Bucketing(total=100), "agent")
    for edge, weights in ((0, [("on", 0), ("off", 100)]), (100, [("on", 100), ("off", 0)])):
        rule = Rule("on", (Clause(name, Operator.LESS, (edge,)),))
        read = lifted(Flag(key="agent", default="off", rules=(rule,)))
        assert [(one.variant, one.weight) for one in read.default.weights] == weights


@pytest.mark.parametrize("default", ["on", "off"])
def test_who_finds_no_key_in_a_rule_goes_on_to_the_default_though_it_reads_as_one(default):
    how = Bucketing(Scheme.UNLEASH, salt="g", no_key=NoKey.MISS, total=100)
    flag = Flag(key="agent", default=default, on=True, rules=(Rule("off", gate=Gate(30, how)),))
    read = lifted(lowered(flag))
    (before,), (after,) = (
        answers_of(FlagSet.of([one]), [Context(None)]).values() for one in (flag, read)
    )
    assert (before.variant, after.variant) == (default, default)


@pytest.mark.parametrize("value", ["x", True, 2.5, float("inf"), float("nan"), None, [1]])
def test_a_clause_on_a_carrier_that_names_no_edge_stays_a_clause(value):
    clause = Clause(carrier_of(Bucketing(total=100), "agent"), Operator.LESS, (value,))
    flag = Flag(key="agent", default="off", rules=(Rule("on", (clause,)),))
    assert lifted(flag) == flag


def test_a_split_that_the_backend_hashes_itself_stays_one():
    flag = Flag(key="agent", default=percentage("on", 25, rest="off"))
    assert lowered(flag, lambda how: how.scheme is Scheme.DOWNHAUL) == flag


@pytest.mark.parametrize(
    "how",
    [
        Bucketing(),
        Bucketing(Scheme.LAUNCHDARKLY, salt="agent.x"),
        Bucketing(Scheme.SPLIT, seed=-7, total=100),
        Bucketing(Scheme.SPLIT_LEGACY, seed=7, total=100),
        Bucketing(Scheme.UNLEASH, salt="group", total=100),
        Bucketing(Scheme.UNLEASH, salt="group", seed=86028157, total=1000),
        Bucketing(Scheme.FLIPPER, salt="agent"),
    ],
    ids=lambda how: f"{how.scheme.value}-{how.total}",
)
@pytest.mark.parametrize("share", [0.01, 0.25, 0.99])
def test_a_carrier_carries_whom_the_hash_chose_to_the_last_user(how, share):
    """Edges are where a bucket that is off by one shows: so many users, and every bucket of 100."""
    weight = int(how.total * share)
    flag = Flag(
        key="agent",
        default=Split((Weight("on", weight), Weight("off", how.total - weight)), how),
        on=True,
    )
    plain = lowered_all(FlagSet.of([flag]))
    bear = bearing(plain)
    asked = [Context(f"user-{number}") for number in range(3_000)]
    before = answers_of(FlagSet.of([flag]), asked)
    after = answers_of(plain, [bear(one) for one in asked])
    assert [one.value for one in before.values()] == [one.value for one in after.values()]
    assert 0 < sum(one.value is True for one in before.values()) < len(asked)


def test_who_falls_through_in_the_middle_of_a_split_goes_on_to_the_next_rule():
    middle = Split((Weight("a", 20), Weight(None, 30), Weight("b", 50)), Bucketing(total=100))
    flag = Flag(
        key="agent",
        kind=FlagKind.STRING,
        variants={"a": "1", "b": "2", "c": "3"},
        off_variant="c",
        rules=(Rule(middle),),
        default="c",
        on=True,
    )
    plain = lowered_all(FlagSet.of([flag]))
    bear = bearing(plain)
    asked = [Context(f"user-{number}") for number in range(1_000)]
    before = answers_of(FlagSet.of([flag]), asked)
    after = answers_of(plain, [bear(one) for one in asked])
    back = answers_of(lifted_all(plain), asked)
    for place, one in before.items():
        assert one.value == after[place].value == back[place].value
    assert {one.value for one in before.values()} == {"1", "2", "3"}


def test_raising_the_edge_only_adds_users():
    keys = [f"user-{number}" for number in range(2_000)]
    served = []
    for percent in (1, 25, 50, 100):
        flag = Flag(key="agent", default=percentage("on", percent, rest="off"), on=True)
        plain = lowered_all(FlagSet.of([flag]))
        bear = bearing(plain)
        answers = answers_of(plain, [bear(Context(key)) for key in keys])
        served.append({place for place, one in answers.items() if one.value is True})
    assert served[0] < served[1] < served[2] < served[3]
    assert len(served[3]) == len(keys)


@pytest.mark.parametrize(
    "serve",
    [
        Split((Weight("on", 40), Weight(None, 60)), Bucketing(total=100)),
        Split((Weight("on", 100),), Bucketing(Scheme.SPLIT, no_key=NoKey.MISS, total=100)),
    ],
)
def test_what_leaves_some_outside_and_some_to_the_next_rule_is_refused_by_name(serve):
    rule = Rule(
        serve,
        gate=Gate(30, Bucketing(total=100), outside="off"),
        id="trial",
    )
    with pytest.raises(CantLower, match='rule "trial"'):
        lowered(Flag(key="agent", default="off", rules=(rule,)))


@example("downhaul:downhaul?salt=agent", "mine")
@given(st.just("downhaul:downhaul?salt=agent"), st.text(min_size=1))
def test_what_the_context_says_itself_under_that_name_stays(name, key):
    carried = carrying([name, "plan"])(Context(key, {name: 5, "plan": "pro"}))
    assert carried.attributes == {name: 5, "plan": "pro"}


def test_nothing_is_carried_where_no_attribute_is_a_carrier():
    assert carrying(["plan", "downhaul_agent", ""]) is None
