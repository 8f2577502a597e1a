"""Verbs at LaunchDarkly's REST API, emulated, and what the real SDK makes of them."""

import pytest
from downhaul_emulators.launchdarkly import boolean, flag_of
from downhaul_launchdarkly.provider import create
from managed_launchdarkly import patches, provider_of

from downhaul import Flags
from downhaul.config import resolve
from downhaul.errors import (
    FlagNotFound,
    ProviderError,
    ReadOnly,
    Refused,
    Unreachable,
    UnsupportedCapability,
    VersionConflict,
)
from downhaul.flag import percentage
from downhaul.provider import Capability, Change

ANA = Change("ana", "it spends too much")
RULE = {
    "id": "r",
    "description": "pro users",
    "clauses": [{"contextKind": "user", "attribute": "plan", "op": "in", "values": ["pro"]}],
    "variation": 0,
}


@pytest.fixture
def provider(service):
    return provider_of(service)


@pytest.mark.rule("P5")
def test_switching_off_sets_the_safe_value_in_the_same_request(service, provider):
    service.put(boolean("agent", offVariation=0))
    service.conflicts = True  # something is scheduled for the flag, and a kill does not wait for it
    flag = provider.switch_off("agent", ANA)
    assert (flag.on, flag.off_variant) == (False, "off")
    (sent,) = patches(service)
    kinds = [one["kind"] for one in sent.body["instructions"]]
    assert kinds == ["updateOffVariation", "turnFlagOff"]
    assert sent.body["comment"] == "ana: it spends too much"
    assert provider.switch_on("agent", ANA).on


def test_a_running_sdk_serves_what_a_verb_wrote(service, provider):
    service.put(boolean("agent"))
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


def test_a_share_is_written_in_thousandths_of_a_percent(service, provider):
    service.put(boolean("agent"))
    flag = provider.set_rollout("agent", "on", 2_501, ANA)
    assert [(one.variant, one.weight) for one in flag.default.weights] == [
        ("on", 2_501),
        ("off", 97_499),
    ]


@pytest.mark.rule("E10")
def test_a_portable_share_is_a_rule_on_our_bucket_and_replaces_itself(service):
    provider = provider_of(service, portable=["agent"])
    service.put(boolean("agent"))
    provider.set_rollout("agent", "on", 5_000, ANA)
    flag = provider.set_rollout("agent", "on", 25_000, ANA)
    (rule,) = service.flags["agent"]["rules"]
    (clause,) = rule["clauses"]
    assert (clause["attribute"], clause["op"]) == ("downhaul_agent", "lessThan")
    assert (clause["values"], rule["variation"]) == ([25_000], 0)
    assert service.flags["agent"]["fallthrough"] == {"variation": 1}
    # In our words it is a percentage like any other, so that a rollout knows what it wrote.
    assert (flag.rules, flag.default) == ((), percentage("on", 25, rest="off"))


@pytest.mark.parametrize("portable", [(), ("agent",)])
def test_a_hand_made_rule_is_never_written_over(service, portable):
    service.put(boolean("agent", rules=[RULE]))
    with pytest.raises(Refused, match="pro users"):
        provider_of(service, portable=portable).set_rollout("agent", "on", 5_000, ANA)
    assert not patches(service)


def test_a_target_leaves_the_variant_that_it_had_in_one_request(service, provider):
    service.put(boolean("agent", targets=[{"variation": 0, "values": ["ada", "bob"]}]))
    flag = provider.set_targets("agent", "off", ["ada"], ANA)
    found = {one.variant: one.keys for one in flag.targets}
    assert found == {"on": {"bob"}, "off": {"ada"}}
    assert len(patches(service)) == 1
    assert not provider.set_targets("agent", "off", [], ANA).targets[1:]


@pytest.mark.rule("P5")
def test_a_snapshot_is_brought_back_whole_in_one_request(service, provider):
    service.put(
        flag_of("model", ["m-2", "m-1"], rules=[RULE], targets=[{"variation": 1, "values": ["x"]}])
    )
    before = provider.get("model")
    taken = provider.snapshot("model")
    service.change("model", rules=[], targets=[], on=False, fallthrough={"variation": 1})
    with pytest.raises(VersionConflict):
        provider.restore(taken, ANA, expected=taken.version)
    after = provider.restore(taken, ANA)
    assert len(patches(service)) == 1
    assert (after.on, after.default, after.targets) == (True, before.default, before.targets)
    assert [(one.clauses, one.serve) for one in after.rules] == [
        (one.clauses, one.serve) for one in before.rules
    ]
    assert int(after.version) > int(taken.version)


def test_required_approvals_are_told_and_not_tried_again(service, provider):
    service.put(boolean("agent"))
    service.approvals = True
    with pytest.raises(ProviderError, match="requires approvals"):
        provider.switch_off("agent", ANA)
    assert len(patches(service)) == 1


@pytest.mark.parametrize("status", [409, 429, 503])
def test_what_passes_is_tried_again(service, provider, status):
    service.put(boolean("agent"))
    service.fail("/api/v2", status=status, headers={"Retry-After": "0"}, times=2)
    assert not provider.switch_off("agent", ANA).on


def test_a_service_that_is_silent_is_unreachable_within_the_deadline(service):
    service.put(boolean("agent"))
    service.fail("/api/v2", silent=True)
    with pytest.raises(Unreachable, match="in time"):
        provider_of(service, deadline=0.3).switch_off("agent", ANA)


def test_a_refused_token_is_told_and_nowhere_shown(service):
    with pytest.raises(ProviderError, match="401") as caught:
        provider_of(service, token="api-5ecret").get("agent")
    assert "5ecret" not in f"{caught.value!r} {caught.value}"


def test_what_is_not_there_is_not_found(service, provider):
    assert provider.get("agent") is None
    with pytest.raises(FlagNotFound):
        provider.switch_off("agent", ANA)
    service.put(boolean("agent"))
    with pytest.raises(Refused, match="no variant"):
        provider.set_targets("agent", "maybe", ["ada"], ANA)


def test_all_pages_are_listed(service, provider):
    for number in range(101):
        service.put(boolean(f"flag-{number}"))
    assert len(provider.list().flags) == 101


def test_without_an_admin_token_nothing_is_managed(service):
    table = {"url": f"launchdarkly+{service.url}", "sdk_key": "sdk-x"}
    bare = create(resolve(provider=table, environ={}))
    assert Capability.WRITE not in bare.capabilities
    with pytest.raises((UnsupportedCapability, ReadOnly)):
        bare.switch_off("agent", ANA)
    service.put(boolean("agent"))
    table |= {"admin_token": service.admin_token, "admin_url": service.url}
    table["environment"] = service.environment
    full = create(resolve(provider=table, environ={}))
    assert Capability.WRITE in full.capabilities
    assert not full.switch_off("agent", ANA).on


def test_a_flag_that_has_no_like_here_is_switched_all_the_same(service, provider):
    clause = {"attribute": "plan", "op": "resembles", "values": ["pro"]}
    odd = {"id": "r", "clauses": [clause], "variation": 0}
    service.put(boolean("agent", rules=[odd]))
    with pytest.raises(ProviderError, match="resembles"):
        provider.get("agent")
    flag = provider.switch_off("agent", ANA)
    assert (flag.on, flag.off_variant) == (False, "off")


def test_prerequisites_are_read(service, provider):
    service.put(boolean("base"))
    service.put(boolean("agent", prerequisites=[{"key": "base", "variation": 0}]))
    (needed,) = provider.get("agent").prerequisites
    assert (needed.flag, needed.variants) == ("base", ("on",))
    assert provider.switch_off("agent", ANA).prerequisites == (needed,)


@pytest.mark.rule("X1")
def test_an_environment_that_the_project_has_not_is_named(service, provider):
    service.put(boolean("agent"))
    service.environment = "staging"
    with pytest.raises(ProviderError, match='no environment "production"') as caught:
        provider.switch_off("agent", ANA)
    assert "`environment`" in caught.value.hint


@pytest.mark.rule("P6")
@pytest.mark.parametrize("keys", ["ada", [""], [5], [None]])
def test_what_is_no_targeting_key_is_never_sent(service, provider, keys):
    service.put(boolean("agent"))
    with pytest.raises(Refused, match="targeting key"):
        provider.set_targets("agent", "on", keys, ANA)
    assert not service.requests


@pytest.mark.rule("P5", "E5")
def test_targets_of_users_beside_those_of_others_are_served(service, provider):
    acme = {"variation": 1, "values": ["acme"], "contextKind": "organisation"}
    service.put(boolean("agent", fallthrough={"variation": 1}, contextTargets=[acme]))
    with Flags.over(provider, ready_within=15) as flags:
        flag = provider.set_targets("agent", "on", ["ada"], ANA)
        assert [(one.variant, one.context_kind) for one in flag.targets] == [
            ("off", "organisation"),
            ("on", "user"),
        ]
        service.wait_for(lambda: flags.is_enabled("agent", "ada"), 15)
        member = {"kind": "multi", "user": {"key": "ada"}, "organisation": {"key": "acme"}}
        assert not flags.is_enabled("agent", member, default=True)


@pytest.mark.rule("K1")
def test_a_verb_asks_over_one_connection_and_leaves_none(service, provider):
    service.put(boolean("agent"))
    connections, known = [], service.opened

    def opened(one):
        connections.append(one)
        known(one)

    service.opened = opened
    provider.switch_off("agent", ANA)
    assert len(service.requests) == 3
    assert len(connections) == 1
    service.wait_for(lambda: connections[0].fileno() == -1, 15)
