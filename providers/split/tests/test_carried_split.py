"""Flags split by a hash that is not Split's: written by carriers, and asked of the real SDK."""

import time

import pytest
from connected_split import provider_of, wait_for
from downhaul_emulators.split import boolean, rule

from downhaul import Context, Flags
from downhaul.errors import Refused
from downhaul.evaluator.carriers import carrier_of
from downhaul.flag import (
    Bucketing,
    Clause,
    Flag,
    Gate,
    NoKey,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Split,
    Target,
    Weight,
)
from downhaul.provider import ABSENT, Change
from downhaul.result import ErrorCode, Reason

ANA = Change("ana", "it moves here")
HASHES = {
    "downhaul": Bucketing(Scheme.DOWNHAUL, salt="agent"),
    "launchdarkly": Bucketing(Scheme.LAUNCHDARKLY, salt="agent.5a17", no_key=NoKey.FIRST),
    "split": Bucketing(Scheme.SPLIT, seed=467569525, total=100),
    "split_legacy": Bucketing(Scheme.SPLIT_LEGACY, seed=-285565213, total=100),
    "unleash": Bucketing(Scheme.UNLEASH, salt="agent", total=100, no_key=NoKey.MISS),
}


def quarter(how, rest="off", part=25):
    share = how.total * part // 100
    return Split((Weight("on", share), Weight(rest, how.total - share)), how)


def writes(service):
    return [one for one in service.requests if one.method not in ("GET", "HEAD")]


def flipped(service, flag, users):
    """Write a flag at Split, and return whom the real SDK answers otherwise than we."""
    provider = provider_of(service)
    provider.put(flag, ANA, expected=ABSENT)
    with Flags.over(provider, ready_within=20) as theirs, Flags.in_memory([flag]) as ours:
        served = {user: theirs.evaluate("agent", user, None).variant for user in users}
        assert 0.2 < list(served.values()).count("on") / len(users) < 0.3
        return [
            user
            for user, variant in served.items()
            if variant != ours.evaluate("agent", user, None).variant
        ]


def moved(how):
    return Flag(key="agent", default=quarter(how), on=True)


USERS = [f"user-{number}" for number in range(700)] + [f"Zoë-{n}@例え.jp" for n in range(300)]


@pytest.mark.rule("E9")
@pytest.mark.parametrize("scheme", HASHES)
def test_whoever_had_the_feature_has_it_at_split(service, scheme):
    assert flipped(service, moved(HASHES[scheme]), USERS) == []


@pytest.mark.slow
@pytest.mark.rule("E9")
@pytest.mark.parametrize("scheme", HASHES)
def test_no_user_of_twenty_thousand_flips(service, scheme, record_property):
    users = [f"user-{n}" for n in range(10_000)] + [f"{n:08x}-é" for n in range(10_000)]
    found = flipped(service, moved(HASHES[scheme]), users)
    record_property("flipped", len(found))
    assert found == []


EVERYTHING = Flag(
    key="agent",
    on=True,
    targets=(Target("on", frozenset({"ada"})), Target("off", frozenset({"eve"}))),
    rules=(
        Rule("on", (Clause("targetingKey", Operator.IN, ("bob", "ada")),)),
        Rule(
            Split((Weight("on", 30), Weight(None, 40), Weight("off", 30)), HASHES["unleash"]),
            (Clause("plan", Operator.IN, ("gold",)),),
        ),
        Rule(
            quarter(HASHES["split"]),
            (Clause("age", Operator.EQUAL, (18, 19)),),
            Gate(50, HASHES["split_legacy"]),
        ),
        Rule("on", (), Gate(10_000, HASHES["launchdarkly"])),
        Rule("on", (Clause("beta", Operator.PRESENT),), Gate(20_000, outside="off")),
    ),
    default=quarter(HASHES["downhaul"]),
)


@pytest.mark.rule("E9")
def test_gates_falling_through_and_several_hashes_in_one_flag_decide_as_here(service):
    provider = provider_of(service)
    provider.put(EVERYTHING, ANA)
    contexts = [
        Context(user, attributes)
        for user in ("ada", "eve", "bob", *USERS[:100])
        for attributes in ({}, {"plan": "gold"}, {"age": 18}, {"beta": True, "age": 19})
    ]
    with Flags.over(provider, ready_within=20) as theirs, Flags.in_memory([EVERYTHING]) as ours:
        for context in contexts:
            told = theirs.evaluate("agent", context, None)
            assert told.variant == ours.evaluate("agent", context, None).variant, context


@pytest.mark.rule("P5")
@pytest.mark.parametrize("flag", [moved(HASHES["unleash"]), EVERYTHING], ids=["plain", "much"])
def test_a_flag_that_is_there_already_is_not_written_again(service, flag):
    provider = provider_of(service)
    put = provider.put(flag, ANA)
    service.requests.clear()
    assert provider.put(flag, ANA) == put
    assert provider.put(put, ANA, expected=put.version) == put
    assert provider.put(provider.get("agent"), ANA) == put
    assert writes(service) == []


@pytest.mark.rule("P5")
def test_a_new_flag_serves_nobody_until_all_of_it_is_written(service):
    flag = EVERYTHING
    provider_of(service).put(flag, ANA)
    _named, made, whole, on = (one.body for one in writes(service))
    assert (made["killed"], made["rules"], made["defaultRule"]) == (
        True,
        [],
        [{"treatment": "off", "size": 100}],
    )
    assert not any(one["keys"] for one in made["treatments"])
    assert (whole["killed"], len(whole["rules"]) > 3) == (True, True)
    assert on == [{"op": "replace", "path": "/killed", "value": False}]


def test_what_is_written_by_carriers_reads_as_the_split_it_was(service):
    provider = provider_of(service)
    for how in HASHES.values():
        put = provider.put(moved(how), ANA)
        assert (put.rules, put.default) == ((), quarter(how))
        provider.delete("agent", ANA)


@pytest.mark.rule("E8")
def test_who_has_no_key_is_told_so_where_a_bucket_decides(service):
    rules = (
        Rule("off", (Clause("plan", Operator.IN, ("free",)),)),
        Rule(quarter(HASHES["downhaul"]), (Clause("plan", Operator.IN, ("gold",)),)),
    )
    flag = Flag(key="agent", default=quarter(HASHES["unleash"]), rules=rules, on=True)
    whole = Flag(key="whole", default=quarter(HASHES["split"], part=100), on=True)
    none = Flag(key="none", default=quarter(HASHES["split"], part=0), on=True)
    by_mail = Flag(key="mail", default=quarter(Bucketing(salt="a", by=("mail",))), on=True)
    provider = provider_of(service)
    flags = (flag, whole, none, by_mail)
    for one in flags:
        provider.put(one, ANA)
    asked = [
        *(Context(None, {"plan": plan}) for plan in ("free", "gold", "pro")),
        Context("ada", {"plan": "gold"}),
    ]
    with Flags.over(provider, ready_within=20) as theirs, Flags.in_memory(flags) as ours:
        for one in flags:
            for context in asked:
                told = theirs.evaluate(one.key, context, None)
                wanted = ours.evaluate(one.key, context, None)
                assert (told.variant, told.error_code) == (wanted.variant, wanted.error_code)
        assert theirs.evaluate("agent", asked[1], None).error_code is (
            ErrorCode.TARGETING_KEY_MISSING
        )
        assert theirs.evaluate("agent", asked[3], None).reason is Reason.SPLIT
        assert theirs.evaluate("whole", asked[0], None).variant == "on"


def test_buckets_go_along_to_required_flags_and_rule_based_segments(service):
    parent = Flag(key="parent", default=quarter(HASHES["split"], part=50), on=True)
    child = Flag(
        key="child",
        default=quarter(HASHES["unleash"], part=60),
        prerequisites=(Prerequisite("parent", ("on",), while_off=True),),
        on=True,
    )
    grandchild = Flag(
        key="grandchild",
        default="off",
        rules=(Rule("on", (Clause("child", Operator.SERVES, ("on",)),)),),
        on=True,
    )
    provider = provider_of(service)
    flags = (parent, child, grandchild)
    for one in flags:
        put = provider.put(one, ANA)
    assert provider.get("child").prerequisites == child.prerequisites
    assert put.rules[0].clauses[0].operator is Operator.SERVES
    with Flags.over(provider, ready_within=20) as theirs, Flags.in_memory(flags) as ours:
        for user in USERS[:300]:
            for one in flags:
                wanted = ours.evaluate(one.key, user, None).variant
                assert theirs.evaluate(one.key, user, None).variant == wanted
        reasons = {theirs.evaluate("child", user, None).reason for user in USERS[:100]}
        assert reasons == {Reason.DISABLED, Reason.SPLIT}
        told = provider._session.known["child"].flag
        assert [one.flag for one in told.prerequisites] == ["parent"]  # whose kill holds it back


def test_a_rule_based_segment_may_come_to_ask_for_a_bucket(service):
    how = HASHES["split"]
    name = carrier_of(how, "")
    low = {"type": "LESS_THAN_OR_EQUAL_NUMBER", "attribute": name, "number": 29}
    ages = {"type": "EQUAL_NUMBER", "attribute": "age", "number": 5}
    kind = service.account.traffic_types[0]
    service.account.rule_segments["early"] = {"name": "early", "trafficType": kind}
    environment = service.account.environments[0]
    service.account.write_rules(environment, "early", {"rules": [rule([ages])]})
    asks = {"type": "IN_RULE_BASED_SEGMENT", "string": "early"}
    service.put("agent", boolean(rules=[rule([asks], on=100)], percent=0))
    with Flags.over(provider_of(service), ready_within=20) as flags:
        assert not any(flags.is_enabled("agent", user) for user in USERS)
        service.account.write_rules(environment, "early", {"rules": [rule([low])]})
        gate = Flag(key="agent", rules=(Rule("on", gate=Gate(30, how)),), default="off", on=True)
        with Flags.in_memory([gate]) as ours:
            wanted = {user for user in USERS if ours.is_enabled("agent", user)}
        wait_for(lambda: {user for user in USERS if flags.is_enabled("agent", user)} == wanted)


def served_to(flags):
    return {user for user in USERS if flags.is_enabled("agent", user)}


@pytest.mark.rule("E7", "E9")
@pytest.mark.parametrize("scheme", HASHES)
@pytest.mark.slow
def test_raising_adds_users_of_the_same_hash_from_nobody_to_everybody_and_back(service, scheme):
    how = HASHES[scheme]
    provider = provider_of(service)
    provider.put(Flag(key="agent", default=quarter(how, part=0), on=True), ANA)
    before = set()
    with Flags.over(provider, ready_within=20) as flags:
        for percent in (1, 25, 50, 100, 50, 0, 25):
            put = provider.set_rollout("agent", "on", percent * 1_000, ANA)
            assert put.default == quarter(how, part=percent)
            with Flags.in_memory([put]) as ours:
                wanted = served_to(ours)
            wait_for(lambda wanted=wanted: served_to(flags) == wanted)
            assert before <= wanted or wanted <= before
            before = wanted
    assert 0.2 < len(before) / len(USERS) < 0.3


def test_a_percentage_that_names_no_salt_keeps_the_hash_that_is_there(service):
    provider = provider_of(service)
    provider.put(moved(HASHES["unleash"]), ANA)
    put = provider.put(Flag.boolean("agent", percent=40), ANA)
    assert put.default == quarter(HASHES["unleash"], part=40)


def test_a_percentage_between_two_buckets_is_refused_before_a_rollout_starts(service):
    provider = provider_of(service)
    provider.put(moved(HASHES["split"]), ANA)
    service.requests.clear()
    with pytest.raises(Refused, match="splits by 100 buckets"):
        provider.check_rollout("agent", "on", [10_000, 12_500], [])
    with pytest.raises(Refused, match="splits by 100 buckets"):
        provider.set_rollout("agent", "on", 12_500, ANA)
    assert writes(service) == []


@pytest.mark.rule("P5")
def test_a_snapshot_of_a_carried_flag_brings_its_users_back(service):
    provider = provider_of(service)
    put = provider.put(moved(HASHES["launchdarkly"]), ANA)
    snapshot = provider.snapshot("agent")
    provider.set_rollout("agent", "on", 100_000, ANA)
    provider.switch_off("agent", ANA)
    back = provider.restore(snapshot, ANA)
    assert (back.default, back.on) == (put.default, True)


def test_a_rollout_leaves_prerequisites_where_they_are(service):
    provider = provider_of(service)
    provider.put(Flag.boolean("parent"), ANA)
    needs = (Prerequisite("parent", ("on",), while_off=True),)
    for how in (Bucketing(), HASHES["unleash"]):
        provider.put(Flag(key="agent", default=quarter(how), prerequisites=needs, on=True), ANA)
        put = provider.set_rollout("agent", "on", 50_000, ANA)
        assert put.prerequisites == needs
        provider.delete("agent", ANA)


@pytest.mark.slow
@pytest.mark.rule("E10")
def test_a_flag_that_asks_for_no_bucket_costs_what_it_did(service, record_property):
    provider = provider_of(service)
    provider.put(Flag.boolean("plain", percent=25), ANA)
    provider.put(moved(HASHES["split"]), ANA)
    context = Context("ada", {"plan": "gold"})
    with Flags.over(provider, ready_within=20):
        taken = {key: _seconds(provider, key, context) for key in ("plain", "agent")}
    record_property("microseconds", {key: round(one * 1e6, 1) for key, one in taken.items()})
    assert taken["agent"] < 3 * taken["plain"]


def _seconds(provider, key, context):
    """Return the least time of one evaluation, over several runs."""
    runs = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(2_000):
            provider.resolve(key, context, None)
        runs.append((time.perf_counter() - begun) / 2_000)
    return min(runs)
