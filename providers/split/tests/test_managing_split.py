"""Verbs at Split's admin API, emulated, and what the real SDK makes of them."""

import time

import pytest
from connected_split import provider_of
from downhaul_emulators.split import boolean, rule
from downhaul_split.provider import SplitProvider, create
from downhaul_split.session import Connection

from downhaul import Flags
from downhaul.config import Secret, resolve
from downhaul.errors import (
    ConfigError,
    FlagNotFound,
    ProviderError,
    ReadOnly,
    Refused,
    Unreachable,
    UnsupportedCapability,
    VersionConflict,
)
from downhaul.flag import (
    Bucketing,
    Clause,
    Flag,
    FlagKind,
    Gate,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Split,
    Target,
    Weight,
    percentage,
)
from downhaul.provider import ABSENT, Capability, Change

ANA = Change("ana", "it spends too much")
LEAVES = Split((Weight("on", 40), Weight(None, 60)), Bucketing(Scheme.UNLEASH, total=100))
GATE = Gate(30, Bucketing(Scheme.UNLEASH, total=100), outside="off")
GOLDEN = (Clause("plan", Operator.IN, ("gold",)),)
GOLD = {"type": "IN_LIST_STRING", "attribute": "plan", "strings": ["gold"], "negate": False}


@pytest.fixture
def provider(service):
    return provider_of(service)


def writes(service):
    return [one for one in service.requests if one.method not in ("GET", "HEAD")]


@pytest.mark.rule("P5")
def test_switching_off_sets_the_safe_value_in_the_same_request(service, provider):
    service.put("agent", boolean(percent=30, defaultTreatment="on"))
    flag = provider.switch_off("agent", ANA)
    assert (flag.on, flag.off_variant) == (False, "off")
    patch, kill = writes(service)
    assert {one["path"]: one["value"] for one in patch.body} == {
        "/defaultTreatment": "off",
        "/killed": True,
    }
    assert patch.query == {
        "title": "it spends too much",
        "comment": "ana: it spends too much",
    }
    assert kill.path.endswith("/kill")
    assert service.definitions["agent"]["killed"]
    back = provider.switch_on("agent", ANA)
    assert back.on
    assert isinstance(back.default, Split)  # the rollout stayed


@pytest.mark.rule("K6")
def test_a_kill_passes_where_only_kills_need_no_approval(service, provider):
    service.put("agent", boolean())
    service.put("unsafe", boolean(defaultTreatment="on"))
    service.approvals = service.allow_kills = True
    assert not provider.switch_off("agent", ANA).on
    with pytest.raises(ProviderError, match="403") as refused:
        provider.switch_off("unsafe", ANA)  # its default treatment would be served to all
    assert "kill in Downhaul" in refused.value.hint
    service.allow_kills = False
    with pytest.raises(ProviderError, match="403"):
        provider.switch_off("unsafe", ANA)
    with pytest.raises(ProviderError, match="403"):
        provider.set_rollout("agent", "on", 10_000, ANA)


def test_a_running_sdk_serves_what_a_verb_wrote(service, provider):
    service.put("agent", boolean())
    with Flags.over(provider) as flags:
        assert flags.wait_ready(20)
        assert flags.is_enabled("agent", "ada")
        provider.switch_off("agent", ANA)
        service.wait_for(lambda: not flags.is_enabled("agent", "ada", default=True))
        provider.switch_on("agent", ANA)
        provider.set_rollout("agent", "on", 0, ANA)
        provider.set_targets("agent", "on", ["ada"], ANA)
        service.wait_for(lambda: flags.is_enabled("agent", "ada"))
        assert not flags.is_enabled("agent", "bob", default=True)


@pytest.mark.rule("P5")
def test_a_percentage_reads_the_same_whether_an_sdk_runs_beside_it_or_not(service, provider):
    service.put("agent", boolean(percent=30))
    alone = provider.get("agent")
    assert (alone.default.bucketing.scheme, alone.default.bucketing.seed) == (Scheme.SPLIT, None)
    with Flags.over(provider) as flags:
        assert flags.wait_ready(20)
        assert provider.get("agent") == alone


def test_a_finer_share_is_refused_and_says_how_it_can_be_had(service, provider):
    service.put("agent", boolean())
    with pytest.raises(Refused, match="whole ones") as refused:
        provider.set_rollout("agent", "on", 2_500, ANA)
    assert "portable" in refused.value.hint
    assert not writes(service)


@pytest.mark.rule("E10")
@pytest.mark.parametrize("weight", [0, 100, 2_500, 100_000])
def test_a_portable_share_is_a_rule_on_our_own_bucket_and_read_as_a_percentage(service, weight):
    service.put("agent", boolean(percent=0))
    provider = provider_of(service, portable=["agent"])
    flag = provider.set_rollout("agent", "on", weight, ANA)
    rules = service.definitions["agent"]["rules"]
    assert [one["condition"]["matchers"][0]["between"] for one in rules] == (
        [{"from": 0, "to": weight - 1}] if weight else []
    )
    assert flag.rules == ()
    share = flag.default.weights[0].weight if isinstance(flag.default, Split) else 0
    assert share == weight


@pytest.mark.rule("P6")
def test_a_rule_that_somebody_made_by_hand_is_named_and_stays(service, provider):
    service.put("agent", boolean(rules=[rule([GOLD], on=100)]))
    with pytest.raises(Refused, match="plan IN_LIST_STRING"):
        provider.set_rollout("agent", "on", 10_000, ANA)
    service.put("shared", boolean(trafficAllocation=40))
    with pytest.raises(Refused, match="40 % of the traffic"):
        provider.set_rollout("shared", "on", 10_000, ANA)
    assert not writes(service)
    provider.switch_off("agent", ANA)
    assert service.definitions["agent"]["rules"]


@pytest.mark.rule("P5")
def test_targets_leave_other_variants_and_segments_stay(service, provider):
    service.put(
        "agent",
        boolean(treatments=[{"name": "on", "keys": ["ada", "bob"]}, {"name": "off"}]),
    )
    flag = provider.set_targets("agent", "off", ["ada"], ANA)
    assert {one.variant: one.keys for one in flag.targets} == {
        "on": frozenset({"bob"}),
        "off": frozenset({"ada"}),
    }
    with pytest.raises(Refused, match="one string"):
        provider.set_targets("agent", "on", "ada", ANA)


@pytest.mark.rule("P5")
def test_a_whole_flag_is_put_read_served_and_deleted(service, provider):
    flag = Flag(
        key="checkout",
        kind=FlagKind.OBJECT,
        variants={"new": {"steps": 2, "é": "ü"}, "old": {"value": {"value": 1}}, "none": {}},
        off_variant="old",
        on=True,
        targets=(Target("new", frozenset({"ada"})),),
        rules=(
            Rule("new", (Clause("plan", Operator.IN, ("gold",)),)),
            Rule(
                "old",
                (
                    Clause("plan", Operator.IN, ("free",), negate=True),
                    Clause("age", Operator.LESS, (18,)),
                ),
            ),
        ),
        default=Split((Weight("new", 25_000), Weight("old", 75_000))),
        tags=("checkout", "payments"),
        description='with "quotes" and 漢字',
    )
    put = provider.put(flag, ANA, expected=ABSENT)
    assert (put.variants, put.kind, put.off_variant) == (flag.variants, flag.kind, "old")
    assert (put.tags, put.description, put.targets) == (flag.tags, flag.description, flag.targets)
    assert provider.get("checkout") == put
    assert provider.list().flags == {"checkout": put}
    with Flags.over(provider, ready_within=20) as flags, Flags.in_memory([flag]) as ours:
        for context in (
            "ada",
            {"targetingKey": "eve", "plan": "gold"},
            {"targetingKey": "eve", "plan": "pro", "age": 17},
        ):
            assert flags.value("checkout", context, {}) == ours.value("checkout", context, {})
        asked = {"targetingKey": "eve", "age": 17}  # no plan: a negated clause matches nobody
        assert flags.evaluate("checkout", asked).reason == "SPLIT"
    with pytest.raises(VersionConflict):
        provider.put(flag, ANA, expected=ABSENT)
    with pytest.raises(VersionConflict):
        provider.delete("checkout", ANA, expected="1")
    provider.delete("checkout", ANA, expected=put.version)
    assert provider.get("checkout") is None
    with pytest.raises(FlagNotFound):
        provider.delete("checkout", ANA)
    assert provider.put(flag, ANA).variants == flag.variants  # the name was not used up


@pytest.mark.rule("P5")
def test_a_flag_without_a_like_is_named_where_flags_are_listed_and_asked_for(
    service, provider, caplog
):
    service.put("agent", boolean())
    pattern = {"type": "MATCHES_STRING", "attribute": "plan", "string": r"(a)\1"}
    service.put("strange", boolean(rules=[rule([pattern], on=100)]))
    assert set(provider.list().flags) == {"agent"}
    assert "strange" in caplog.text
    with pytest.raises(ProviderError, match="linear time"):
        provider.get("strange")
    assert not provider.switch_off("strange", ANA).on


@pytest.mark.rule("P6")
@pytest.mark.parametrize(
    "fields, told",
    [
        ({"key": "no name"}, "is no name in Split"),
        ({"off_variant": None}, "no off variant"),
        ({"prerequisites": (Prerequisite("other"),)}, "by its name"),
        ({"prerequisites": (Prerequisite("other", ("on",)),)}, "does not see whether"),
        (
            {
                "prerequisites": (Prerequisite("other", ("on",), while_off=True),),
                "targets": (Target("on", frozenset({"ada"})),),
            },
            "served without the prerequisite",
        ),
        ({"targets": (Target("on", frozenset({"acme"}), "organisation"),)}, "are users"),
        ({"default": percentage("on", 2.5, rest="off")}, "whole ones"),
        ({"rules": (Rule("on", (Clause("a", Operator.IN_CIDR, ("::/0",)),)),)}, "in_cidr"),
        ({"rules": (Rule("on", (Clause("a", Operator.LESS, (1.5,)),)),)}, "less"),
        (
            {"rules": (Rule("on", (Clause("a", Operator.IN, ("x",), ignore_case=True),)),)},
            "ignores the case",
        ),
        ({"rules": (Rule("on", (Clause("a", Operator.MATCHES, (r"\pN",)),)),)}, "the pattern"),
        ({"rules": (Rule("on", (Clause("a", Operator.EQUAL, tuple(range(17))),)),)}, "17 rules"),
        ({"rules": (Rule(percentage("on", 3, rest=None)),)}, "falls through"),
        (
            {
                "rules": (
                    Rule("off", gate=Gate(5, outside="on")),
                    Rule(LEAVES, GOLDEN, GATE, id="trial"),
                )
            },
            "trial",
        ),
        ({"kind": FlagKind.STRING, "variants": {"true": "a", "off": "b"}}, "Split's own"),
    ],
)
def test_what_split_cannot_keep_is_refused_before_anything_is_written(
    service, provider, fields, told
):
    with pytest.raises(Refused, match=told) as refused:
        provider.put(Flag.boolean(**{"key": "agent", **fields}), ANA)
    assert refused.value.hint
    assert not writes(service)


@pytest.mark.rule("P5")
def test_a_snapshot_is_brought_back_whole_and_touches_no_other_field(service, provider):
    service.put(
        "agent",
        boolean(
            treatments=[
                {"name": "on", "keys": ["ada"], "configurations": '{"a": 1}'},
                {"name": "off"},
            ],
            rules=[rule([GOLD], on=40, off=60)],
            trafficAllocation=80,
            baselineTreatment="on",
        ),
    )
    before = {**service.definitions["agent"]}
    snapshot = provider.snapshot("agent")
    service.put("agent", boolean(percent=3, killed=True))
    provider.restore(snapshot, ANA)
    now = service.definitions["agent"]
    changed = {name for name in before if now[name] != before[name]}
    assert changed <= {"lastUpdateTime"}
    with pytest.raises(VersionConflict):
        provider.restore(snapshot, ANA, expected="1")


# What the API answers


@pytest.mark.parametrize(
    "status, error, told",
    [
        (401, ProviderError, "refuses the admin key"),
        (403, ProviderError, "does not let this key"),
        (404, FlagNotFound, "no flag"),
        (400, Refused, "refuses it"),
        (302, ProviderError, "something unexpected"),
    ],
)
def test_refusals_are_told_apart_and_not_repeated(service, provider, status, error, told):
    service.put("agent", boolean())
    service.fail("/environments/", status=status, method="PATCH")
    with pytest.raises(error, match=told) as refused:
        provider.set_rollout("agent", "on", 10_000, ANA)
    assert refused.value.hint
    assert len(writes(service)) == 1
    assert service.admin_token not in f"{refused.value}{refused.value.hint}{provider!r}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 429, "headers": {"X-RateLimit-Reset-Seconds-Org": "1"}},
        {"drop": True},
        {"status": 503, "after": True},
    ],
)
def test_what_may_pass_is_tried_again_and_done_once(service, provider, fault):
    service.put("agent", boolean())
    service.fail("/environments/", method="PATCH", times=2, **fault)
    begun = time.monotonic()
    flag = provider.set_rollout("agent", "on", 10_000, ANA)
    assert flag.default.weights[0] == Weight("on", 10)  # of a hundred
    if fault.get("status") == 429:
        assert time.monotonic() - begun >= 2  # as the service asked


def test_a_service_that_never_answers_ends_the_verb_in_its_time(service):
    service.put("agent", boolean())
    provider = provider_of(service, deadline=0.5)
    service.fail("/splits/", silent=True)
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="does not answer in time"):
        provider.switch_off("agent", ANA)
    assert time.monotonic() - begun < 3


def test_a_definition_that_is_not_as_written_is_told(service, provider):
    service.put("agent", boolean())
    service.fail("/environments/", method="PATCH", status=200, body={})
    with pytest.raises(ProviderError, match="defaultRule is not so"):
        provider.set_rollout("agent", "on", 10_000, ANA)


# Configuration


def test_without_an_admin_key_nothing_is_managed_and_it_says_so(service):
    provider = SplitProvider(Connection(Secret("sdk"), service.sdk_url))
    assert Capability.WRITE not in provider.capabilities
    for ask in (provider.list, lambda: provider.switch_off("agent", ANA)):
        with pytest.raises((UnsupportedCapability, ReadOnly)):
            ask()


def test_a_workspace_is_found_by_its_name_and_a_wrong_one_is_told(service):
    service.put("agent", boolean())
    assert provider_of(service, workspace="Default").get("agent") is not None
    with pytest.raises(ConfigError, match="no 'Nowhere'") as refused:
        provider_of(service, workspace="Nowhere").get("agent")
    assert "Default" in refused.value.hint


def test_a_provider_that_manages_is_made_from_a_configuration(service):
    service.put("agent", boolean())
    table = {
        "url": f"split+{service.url}",
        "sdk_key": service.sdk_key,
        "admin_token": service.admin_token,
        "admin_url": service.admin_url,
        "environment": "Production",
    }
    provider = create(resolve(provider=table, environ={}))
    assert Capability.WRITE in provider.capabilities
    assert not provider.switch_off("agent", ANA).on
