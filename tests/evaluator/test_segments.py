"""Segments: who is included, who is excluded, and whom a rule takes in."""

import pytest

from downhaul import Context, Flag, Flags, Segment
from downhaul.flag import (
    WHOLE,
    Bucketing,
    Clause,
    Gate,
    Keys,
    NoKey,
    Operator,
    Rule,
    Scheme,
    SegmentRule,
)

PRO = Clause("plan", Operator.IN, ("pro",))


def keys(*names, kind="user"):
    return Keys(frozenset(names), kind)


def within(*names, negate=False):
    return Clause("", Operator.IN_SEGMENT, names, negate=negate)


def members(*segments, clause=None):
    rule = Rule("on", (clause or within(segments[0].key),))
    return Flags.in_memory([Flag(key="f", default="off", on=True, rules=(rule,))], segments)


def test_included_stands_above_excluded_and_excluded_above_rules():
    segment = Segment(
        "s",
        included=(keys("ana"),),
        excluded=(keys("ana", "bob"),),
        rules=(SegmentRule((PRO,)),),
    )
    flags = members(segment)
    assert flags.is_enabled("f", "ana")
    assert flags.is_enabled("f", Context("eve", {"plan": "pro"}))
    assert not flags.is_enabled("f", Context("bob", {"plan": "pro"}))
    assert not flags.is_enabled("f", "eve")
    assert not flags.is_enabled("f")


def test_lists_may_be_of_other_kinds():
    flags = members(Segment("s", included=(keys("o1", kind="org"),), excluded=(keys("ana"),)))
    org = Context("o1", {}, "org")
    assert flags.is_enabled("f", org)
    assert flags.is_enabled("f", Context.multi(Context("ana"), org))
    assert not flags.is_enabled("f", "o1")


def test_any_rule_takes_in_and_all_of_its_clauses_must_hold():
    eu = Clause("region", Operator.IN, ("eu",))
    flags = members(Segment("s", rules=(SegmentRule((PRO, eu)), SegmentRule((within("t"),)))),
                    Segment("t", included=(keys("ana"),)))  # fmt: skip
    assert flags.is_enabled("f", Context("u", {"plan": "pro", "region": "eu"}))
    assert not flags.is_enabled("f", Context("u", {"plan": "pro"}))
    assert flags.is_enabled("f", "ana")  # by the segment within
    everybody = members(Segment("s", rules=(SegmentRule(),)))
    assert everybody.is_enabled("f")


def test_one_of_several_segments_is_enough_and_none_of_them_where_negated():
    one, other = Segment("s", included=(keys("ana"),)), Segment("t", included=(keys("bob"),))
    either = members(one, other, clause=within("s", "t", "missing"))
    neither = members(one, other, clause=within("s", "t", "missing", negate=True))
    for name, inside in (("ana", True), ("bob", True), ("eve", False)):
        assert either.is_enabled("f", name) is inside
        assert neither.is_enabled("f", name) is not inside


@pytest.mark.rule("E7", "E8")
def test_a_share_of_those_whom_a_rule_matches_is_sticky_and_needs_a_key():
    half = Gate(WHOLE // 2)
    flags = members(Segment("s", rules=(SegmentRule((PRO,), half),)))
    users = [Context(f"user-{number}", {"plan": "pro"}) for number in range(1_000)]
    inside = [flags.is_enabled("f", user) for user in users]
    assert 430 < sum(inside) < 570
    assert inside == [flags.is_enabled("f", user) for user in users]
    # The segment's own key is the salt: another segment takes in others.
    again = members(Segment("z", rules=(SegmentRule((PRO,), half),)))
    assert inside != [again.is_enabled("f", user) for user in users]
    assert not flags.is_enabled("f", Context(None, {"plan": "pro"}))


@pytest.mark.rule("E9")
def test_a_gate_that_misses_for_want_of_a_key_takes_nobody_in():
    how = Bucketing(Scheme.UNLEASH, no_key=NoKey.MISS, total=100)
    flags = members(Segment("s", rules=(SegmentRule((), Gate(100, how)),)))
    assert flags.is_enabled("f", "ana")
    assert not flags.is_enabled("f")
