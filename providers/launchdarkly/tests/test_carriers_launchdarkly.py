"""Users that came with a hash of somebody else's: LaunchDarkly serves them as their source did."""

import json
from dataclasses import replace

import pytest
from downhaul_emulators.launchdarkly import boolean
from managed_launchdarkly import patches, provider_of

from downhaul import Context, Flag, Flags
from downhaul.errors import Refused
from downhaul.evaluator.carriers import carrier_of
from downhaul.flag import (
    Bucketing,
    Clause,
    FlagKind,
    Gate,
    Keys,
    NoKey,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Segment,
    SegmentRule,
    Split,
    Weight,
)
from downhaul.provider import Change
from downhaul.result import Reason

ANA = Change("ana", "they come along")
SCHEMES = {
    "downhaul": Bucketing(salt="agent"),
    "launchdarkly": Bucketing(Scheme.LAUNCHDARKLY, salt="agent.of-another", no_key=NoKey.FIRST),
    "split": Bucketing(Scheme.SPLIT, seed=-71, total=100),
    "split_legacy": Bucketing(Scheme.SPLIT_LEGACY, seed=17, total=100),
    "unleash": Bucketing(Scheme.UNLEASH, salt="group", total=100, no_key=NoKey.MISS),
}
THREE = {"m-1": "m-1", "m-2": "m-2", "m-3": "m-3"}


def quarter(how):
    return Split((Weight("on", how.total // 4), Weight("off", how.total - how.total // 4)), how)


@pytest.fixture
def provider(service):
    return provider_of(service)


@pytest.fixture
def serving(provider):
    """Return a client on what was put, and on the same as our own evaluator has it."""
    opened = []

    def over(*flags, segments=()):
        for one in segments:
            provider.put_segment(one, ANA)
        for one in flags:
            provider.put(one, ANA)
        theirs = Flags.over(provider)
        opened.append(theirs)
        assert theirs.wait_ready(15)
        return theirs, Flags.in_memory(flags, segments=segments)

    yield over
    for one in opened:
        one.close()


def flipped(theirs, ours, users, key="agent"):
    return sum(
        theirs.evaluate(key, one, None).value != ours.evaluate(key, one, None).value
        for one in (f"user-{number}" for number in range(users))
    )


@pytest.mark.rule("E9")
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("users", [1_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_no_user_of_another_hash_is_flipped(serving, scheme, users):
    theirs, ours = serving(Flag.boolean("agent", default=quarter(SCHEMES[scheme])))
    assert flipped(theirs, ours, users) == 0
    on = sum(theirs.is_enabled("agent", f"user-{number}") for number in range(users))
    assert users * 0.2 < on < users * 0.3


@pytest.mark.rule("E9")
def test_a_flag_asks_for_every_bucket_that_any_part_of_it_needs(serving):
    one, two, three = SCHEMES["split"], SCHEMES["unleash"], SCHEMES["downhaul"]
    beta = Segment("beta", rules=(SegmentRule((), Gate(40, replace(one, seed=5))),))
    base = Flag.boolean("base", default=quarter(replace(one, seed=3)))
    split = Split((Weight("m-1", 30), Weight("m-2", 20), Weight(None, 50)), two)
    rules = (
        Rule("m-3", (Clause("", Operator.IN_SEGMENT, ("beta",)),), id="beta"),
        Rule(split, (Clause("plan", Operator.IN, ("pro",)),), Gate(60, replace(two, salt="g"))),
        Rule("m-1", gate=Gate(5_000, three, outside="m-2")),
    )
    agent = Flag(
        key="agent",
        kind=FlagKind.STRING,
        variants=THREE,
        default="m-3",
        off_variant="m-3",
        on=True,
        rules=rules,
        prerequisites=(Prerequisite("base", ("off",)),),
    )
    theirs, ours = serving(base, agent, segments=[beta])
    served = set()
    for number in range(1_000):
        context = Context(f"user-{number}", {"plan": "pro" if number % 2 else "free"})
        answer = theirs.evaluate("agent", context, None)
        served.add(answer.value)
        assert answer.value == ours.evaluate("agent", context, None).value
    assert served == set(THREE)


@pytest.mark.rule("E8", "E9")
@pytest.mark.parametrize("no_key", [NoKey.ERROR, NoKey.MISS, NoKey.FIRST])
@pytest.mark.parametrize("kind", ["user", "org"])
def test_who_has_no_key_gets_what_the_source_says_of_that(serving, no_key, kind):
    how = replace(SCHEMES["split"], no_key=no_key, context_kind=kind)
    rule = Rule("off", (Clause("plan", Operator.IN, ("free",)),))
    theirs, ours = serving(
        Flag.boolean("agent", default=quarter(how), rules=(rule,)),
        Flag.boolean("gated", default="on", rules=(Rule("off", gate=Gate(30, how)),)),
    )
    asked = [
        Context(None),
        Context(None, {"plan": "free"}),
        Context("ada"),
        Context(None, {}, "org"),
        Context.multi(Context("ada"), Context(None, {}, "org")),
        Context.multi(Context(None), Context("acme", {}, "org")),
    ]
    for key in ("agent", "gated"):
        for context in asked:
            one, other = (each.evaluate(key, context, None) for each in (theirs, ours))
            assert (one.value, one.variant, one.error_code) == (
                other.value,
                other.variant,
                other.error_code,
            ), context


@pytest.mark.rule("E8")
def test_a_clause_on_the_key_is_never_about_somebody_without_one(serving):
    others = Clause("targetingKey", Operator.IN, ("eve",), negate=True)
    theirs, ours = serving(Flag.boolean("agent", default="off", rules=(Rule("on", (others,)),)))
    for context in ("ada", "eve", None):
        assert theirs.is_enabled("agent", context) is ours.is_enabled("agent", context)


def test_who_was_chosen_by_a_bucket_that_came_along_is_told_as_a_split(serving):
    how = SCHEMES["unleash"]
    rule = Rule("on", (Clause("plan", Operator.IN, ("pro",)),), Gate(50, how))
    theirs, _ours = serving(
        Flag.boolean("agent", default=quarter(how)),
        Flag.boolean("gated", default="off", rules=(rule,)),
    )
    assert {theirs.evaluate("agent", f"u-{one}", None).reason for one in range(50)} == {
        Reason.SPLIT
    }
    pro = [Context(f"u-{one}", {"plan": "pro"}) for one in range(50)]
    told = {theirs.evaluate("gated", one, None).reason for one in pro}
    assert told == {Reason.SPLIT, Reason.DEFAULT}


@pytest.mark.rule("P5", "M2")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_flag_with_hashes_of_others_that_is_put_again_is_not_written(service, provider, scheme):
    how = SCHEMES[scheme]
    beta = Segment("beta", rules=(SegmentRule((), Gate(how.total // 4, how)),))
    rule = Rule(quarter(how), (Clause("plan", Operator.IN, ("pro",)),), Gate(how.total // 2, how))
    flag = Flag.boolean("agent", default=quarter(how), rules=(rule,))
    provider.put_segment(beta, ANA)
    provider.put(flag, ANA)
    sent = len(patches(service))
    read = provider.get("agent")
    assert [one.weight for one in read.default.weights] == [
        one.weight for one in flag.default.weights
    ]
    assert read.default.bucketing.scheme is how.scheme
    for one in (flag, read, provider.list().flags["agent"]):
        assert provider.put(one, ANA) == read
    for one in (beta, provider.list().segments["beta"]):
        provider.put_segment(one, ANA)
    assert len(patches(service)) == sent
    provider.put(replace(read, on=False), ANA)
    (last,) = patches(service)[sent:]
    assert [one["path"] for one in last.body["patch"]] == [
        "/environments/production/version",
        "/environments/production/on",
    ]


@pytest.mark.rule("E9")
def test_a_plain_percentage_is_the_vendors_own_unless_it_came_with_its_users(service, provider):
    plain = Flag.boolean("agent", percent=25)
    provider.put(plain, ANA)
    assert "rollout" in service.flags["agent"]["fallthrough"]
    said = replace(plain.default, bucketing=Bucketing(salt="agent"))
    provider.put(replace(plain, default=said), ANA)
    assert service.flags["agent"]["fallthrough"] == {"variation": 1}
    sent = len(patches(service))
    provider.put(plain, ANA)
    assert len(patches(service)) == sent


# Rollouts that go on


@pytest.mark.rule("E7", "E9")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_rollout_goes_on_with_the_users_of_its_source(service, provider, serving, scheme):
    how = SCHEMES[scheme]
    theirs, _ours = serving(Flag.boolean("agent", default=quarter(how)))
    before = set()
    for weight in (0, 1_000, 25_000, 60_000, 100_000):
        written = provider.set_rollout("agent", "on", weight, ANA)
        assert [one.weight * 100_000 // how.total for one in written.default.weights] == [
            weight,
            100_000 - weight,
        ]
        version = str(service.flags["agent"]["version"])
        service.wait_for(lambda v=version: theirs.evaluate("agent", "u").flag_version == v, 15)
        share = replace(quarter(how), weights=written.default.weights)
        ours = Flags.in_memory([Flag.boolean("agent", default=share)])
        assert flipped(theirs, ours, 300) == 0
        served = {one for one in range(300) if theirs.is_enabled("agent", f"user-{one}")}
        assert before <= served
        before = served
    assert len(before) == 300


@pytest.mark.rule("E7", "E9")
@pytest.mark.parametrize("share", [0, 100])
def test_a_flag_that_came_with_nobody_or_everybody_goes_on_with_the_users_of_its_source(
    service, provider, serving, share
):
    how = SCHEMES["split"]
    split = Split((Weight("on", share), Weight("off", 100 - share)), how)
    theirs, _ours = serving(Flag.boolean("agent", default=split))
    assert theirs.is_enabled("agent", "ada") is bool(share)
    assert provider.get("agent").default.weights == split.weights
    provider.set_rollout("agent", "on", 25_000, ANA)
    version = str(service.flags["agent"]["version"])
    service.wait_for(lambda: theirs.evaluate("agent", "u").flag_version == version, 15)
    assert flipped(theirs, Flags.in_memory([Flag.boolean("agent", default=quarter(how))]), 300) == 0


@pytest.mark.rule("E7")
def test_the_other_order_of_a_split_stays_as_its_source_has_it(service, provider, serving):
    how = SCHEMES["split"]
    split = Split((Weight("off", 75), Weight("on", 25)), how)
    theirs, _ours = serving(Flag.boolean("agent", default=split))
    before = {one for one in range(300) if theirs.is_enabled("agent", f"user-{one}")}
    provider.set_rollout("agent", "on", 40_000, ANA)
    (rule,) = service.flags["agent"]["rules"]
    assert (rule["variation"], rule["clauses"][0]["values"]) == (1, [60])
    version = str(service.flags["agent"]["version"])
    service.wait_for(lambda: theirs.evaluate("agent", "u").flag_version == version, 15)
    assert before < {one for one in range(300) if theirs.is_enabled("agent", f"user-{one}")}


@pytest.mark.rule("P5")
def test_what_a_rollout_of_a_foreign_hash_cannot_be_is_told_before_it_starts(service, provider):
    provider.put(Flag.boolean("agent", default=quarter(SCHEMES["split"])), ANA)
    provider.check_rollout("agent", "on", [0, 5_000, 100_000], ())
    sent = len(patches(service))
    with pytest.raises(Refused, match="a hash of 100 buckets") as refused:
        provider.check_rollout("agent", "on", [5_000, 12_500], ())
    assert "multiples of 1 %" in str(refused.value)
    with pytest.raises(Refused, match="a hash of 100 buckets"):
        provider.set_rollout("agent", "on", 12_500, ANA)
    three = Split((Weight("m-1", 20), Weight("m-2", 30), Weight("m-3", 50)), SCHEMES["split"])
    model = Flag(
        key="model", kind=FlagKind.STRING, variants=THREE, default=three, off_variant="m-3"
    )
    provider.put(model, ANA)
    with pytest.raises(Refused, match="serves a share to m-2 too"):
        provider.check_rollout("model", "m-1", [5_000], ())
    pro = Rule("off", (Clause("plan", Operator.IN, ("pro",)),))
    provider.put(Flag.boolean("ruled", default=quarter(SCHEMES["split"]), rules=(pro,)), ANA)
    with pytest.raises(Refused, match="a rule of its own"):
        provider.check_rollout("ruled", "on", [5_000], ())
    assert not [one for one in patches(service)[sent:] if "semanticpatch" in str(one.headers)]


@pytest.mark.rule("R8")
def test_a_rollout_by_carried_buckets_is_brought_back_with_its_users(service, provider):
    provider.put(Flag.boolean("agent", default=quarter(SCHEMES["unleash"])), ANA)
    before = service.flags["agent"]
    kept = provider.snapshot("agent")
    provider.set_rollout("agent", "on", 100_000, ANA)
    provider.restore(kept, ANA)
    after = service.flags["agent"]
    assert [one["clauses"] for one in after["rules"]] == [one["clauses"] for one in before["rules"]]
    assert after["fallthrough"] == before["fallthrough"]


# What comes in


@pytest.mark.rule("E9")
def test_a_segment_that_begins_to_ask_for_a_bucket_gets_it(service, provider, serving):
    beta = Segment("beta", included=(Keys(frozenset({"eve"})),))
    inside = Rule("on", (Clause("", Operator.IN_SEGMENT, ("beta",)),))
    flag = Flag.boolean("agent", default="off", rules=(inside,))
    theirs, _ours = serving(flag, segments=[beta])
    assert not any(theirs.is_enabled("agent", f"user-{one}") for one in range(100))
    gated = replace(beta, rules=(SegmentRule((), Gate(30, SCHEMES["split"])),))
    provider.put_segment(gated, ANA)
    ours = Flags.in_memory([flag], segments=[gated])
    service.wait_for(lambda: flipped(theirs, ours, 100) == 0, 15)


def test_what_the_context_says_itself_under_the_name_of_a_carrier_stays(service, serving):
    how = SCHEMES["split"]
    theirs, _ours = serving(Flag.boolean("agent", default=quarter(how)))
    assert theirs.is_enabled("agent", Context("user-2", {carrier_of(how, "agent"): 0}))


def test_no_event_shows_a_bucket(service, provider):
    provider.put(Flag.boolean("agent", default=quarter(SCHEMES["split"])), ANA)
    assert "downhaul:" not in json.dumps(service.events)


def test_a_flag_of_the_vendors_own_is_asked_with_nothing_added(service, provider):
    service.put(boolean("agent", percent=25))
    with Flags.over(provider) as flags:
        assert flags.wait_ready(15)
        flags.evaluate("agent", "ada")
        assert provider._session.serving[2] == {}
