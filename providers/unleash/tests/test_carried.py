"""Asking Unleash's own engine with the buckets of other hashes."""

import json

import pytest
from downhaul_unleash.asked import flattened
from downhaul_unleash.known import known_of
from served_unleash import asked_of_the_engine, payload_of

from downhaul import Context, Flag, Flags
from downhaul.flag import (
    Bucketing,
    Clause,
    FlagKind,
    Gate,
    NoKey,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Split,
    Weight,
)
from downhaul.result import ErrorCode, Reason

MANY = [f"user-{number}" for number in range(1_000)]
SCHEMES = {
    "downhaul": Bucketing(salt="new_agent"),
    "launchdarkly": Bucketing(Scheme.LAUNCHDARKLY, salt="new_agent.1f2e"),
    "launchdarkly by seed": Bucketing(Scheme.LAUNCHDARKLY, seed=61),
    "split": Bucketing(Scheme.SPLIT, seed=-1_222_652_054, total=100),
    "split_legacy": Bucketing(Scheme.SPLIT_LEGACY, seed=1_222_652_054, total=100),
    "unleash": Bucketing(
        Scheme.UNLEASH, salt="other", by=("targetingKey",), no_key=NoKey.MISS, total=100
    ),
}


def quarter(how, key="f", **fields):
    part = how.total // 4
    default = Split((Weight("on", part), Weight("off", how.total - part)), how)
    return Flag(key=key, default=default, on=True, **fields)


@pytest.mark.rule("E9")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_of_a_thousand_users_nobody_flips(scheme):
    flag = quarter(SCHEMES[scheme])
    with asked_of_the_engine([flag]) as theirs, Flags.in_memory([flag]) as ours:
        served = {one for one in MANY if theirs.is_enabled("f", one)}
        assert served == {one for one in MANY if ours.is_enabled("f", one)}
        assert 200 < len(served) < 300


@pytest.mark.rule("E10")
def test_a_share_by_a_carrier_is_a_split_and_needs_a_key():
    with asked_of_the_engine([quarter(SCHEMES["split"])]) as flags:
        assert {flags.evaluate("f", one).reason for one in MANY} == {Reason.SPLIT}
        missing = flags.evaluate("f", Context())
        assert (missing.error_code, missing.authoritative) == (
            ErrorCode.TARGETING_KEY_MISSING,
            False,
        )


@pytest.mark.rule("E8")
def test_who_has_no_key_is_refused_only_where_a_split_decides():
    rules = (Rule("off", (Clause("country", Operator.IN, ("de",)),)),)
    with asked_of_the_engine([quarter(SCHEMES["split"], rules=rules)]) as flags:
        assert flags.evaluate("f", {"country": "de"}).value is False
        missing = ErrorCode.TARGETING_KEY_MISSING
        assert flags.evaluate("f", {"country": "fr"}).error_code is missing


def test_a_parent_is_asked_with_its_own_buckets():
    parent = quarter(SCHEMES["split"], "parent")
    child = Flag.boolean("child", prerequisites=(Prerequisite("parent"),))
    with asked_of_the_engine([parent, child]) as theirs, Flags.in_memory([parent, child]) as ours:
        for one in MANY[:200]:
            assert theirs.is_enabled("child", one) is ours.is_enabled("child", one)
        held = theirs.evaluate("child", Context())
        assert (held.value, held.reason) == (False, Reason.DISABLED)


def test_the_bucket_of_another_kind_is_sent_as_its_property():
    how = Bucketing(Scheme.LAUNCHDARKLY, salt="s.t", context_kind="organisation")
    flag = quarter(how)
    with asked_of_the_engine([flag]) as theirs, Flags.in_memory([flag]) as ours:
        for number in range(200):
            both = Context.multi(Context("ada"), Context(f"org-{number}", kind="organisation"))
            assert theirs.is_enabled("f", both) is ours.is_enabled("f", both)


def test_who_lacks_an_attribute_is_told_to_the_engine():
    off = Rule("off", (Clause("plan", Operator.IN, ("pro",), negate=True),))
    flag = Flag(key="f", default="on", on=True, rules=(off,))
    named = [
        one["contextName"]
        for each in payload_of([flag])["features"][0]["strategies"]
        for one in each["constraints"]
    ]
    assert "downhaul:missing?of=plan" in named
    with asked_of_the_engine([flag]) as flags:
        assert flags.is_enabled("f", "ada")
        assert flags.is_enabled("f", Context("ada", {"plan": "pro"}))
        assert not flags.is_enabled("f", Context("ada", {"plan": "free"}))
        assert not flags.is_enabled("f", Context("ada", {"plan": ""}))


def test_a_flag_of_values_tells_its_off_variant():
    flag = Flag(
        key="f",
        kind=FlagKind.NUMBER,
        variants={"new": 2, "old": 1},
        off_variant="old",
        default=Split((Weight("new", 25), Weight("old", 75)), SCHEMES["split"]),
        rules=(Rule("old", (Clause("country", Operator.IN, ("de",)),)),),
    )
    off, on = flag, Flag(**{**{name: getattr(flag, name) for name in flag.__slots__}, "on": True})
    with asked_of_the_engine([off]) as flags:
        made = flags.evaluate("f", "ada")
        assert (made.value, made.variant, made.reason) == (1, "old", Reason.DISABLED)
    with asked_of_the_engine([on]) as flags, Flags.in_memory([on]) as ours:
        for one in MANY[:300]:
            made = flags.evaluate("f", one)
            expected = ours.evaluate("f", one)
            assert (made.value, made.authoritative) == (expected.value, True)
            assert flags.is_enabled("f", one) is ours.is_enabled("f", one)
            assert not flags.is_enabled("f", Context(one, {"country": "de"}))


def test_a_flag_without_carriers_costs_no_look_for_buckets():
    flags = [Flag.boolean("plain"), quarter(SCHEMES["split"], "moved")]
    known = known_of(json.dumps(payload_of(flags))).known
    assert known["plain"].carried is None
    assert known["moved"].carried.needed == (("downhaul:split?seed=-1222652054&of=100", "user"),)


def test_other_kinds_are_flattened_onto_the_user():
    both = Context.multi(Context("ada", {"a": 1}), Context("acme", {"b": 2}, "org"))
    user = flattened(both).of_kind("user")
    assert (user.targeting_key, dict(user.attributes)) == (
        "ada",
        {"a": 1, "org.b": 2, "org": "acme"},
    )
    alone = Context("ada")
    assert flattened(alone) is alone


def test_a_gate_and_a_split_by_two_hashes_serve_whom_they_served():
    rule = Rule(
        Split((Weight("on", 40), Weight("off", 60)), SCHEMES["split"]),
        (Clause("plan", Operator.IN, ("pro",)),),
        Gate(30, SCHEMES["split_legacy"], outside="on"),
    )
    flag = Flag(key="f", default="off", on=True, rules=(rule,))
    with asked_of_the_engine([flag]) as theirs, Flags.in_memory([flag]) as ours:
        for one in MANY[:300]:
            context = Context(one, {"plan": "pro"})
            assert theirs.is_enabled("f", context) is ours.is_enabled("f", context)
            assert not theirs.is_enabled("f", one)
