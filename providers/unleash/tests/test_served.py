"""Evaluating through Unleash's SDK, fed by the real server."""

import pytest
from strategies_unleash import rollout, users, variant
from stubs_unleash import client, eventually, provider

from downhaul import Context
from downhaul.config import Declaration
from downhaul.flag import FlagKind
from downhaul.provider import State
from downhaul.result import ErrorCode, Reason

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("unleash")]


@pytest.mark.rule("E1", "E3", "E4")
def test_on_off_and_unknown_are_told_apart(unleash):
    on = unleash.create(unleash.fresh_name("on"), rollout())
    off = unleash.create(unleash.fresh_name("off"), rollout(), on=False)
    with client(provider(unleash), on) as flags:
        eventually(lambda: flags.evaluate(off, "ada").error_code is None, "both are known")
        served = flags.evaluate(on, "ada", default=False)
        assert (served.value, served.variant, served.reason) == (True, "on", Reason.STATIC)
        assert served.flag_version
        served = flags.evaluate(off, "ada", default=True)
        assert (served.value, served.variant, served.reason) == (False, "off", Reason.DISABLED)
        unknown = flags.evaluate("never-made", "ada", default=True)
        assert (unknown.value, unknown.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)
        assert flags.is_enabled("never-made", "ada", default=True)


@pytest.mark.rule("E4", "K2")
def test_a_child_that_its_parent_holds_back_is_never_told_as_decided_by_itself(unleash):
    parent = unleash.create(unleash.fresh_name("parent"), rollout())
    child = unleash.create(unleash.fresh_name("child"), rollout())
    other = unleash.create(unleash.fresh_name("other"), rollout())
    base = "/admin/projects/default/features"
    unleash.ask("POST", f"{base}/{child}/dependencies", {"feature": parent, "enabled": True})
    unleash.ask("POST", f"{base}/{other}/dependencies", {"feature": parent, "enabled": False})
    with client(provider(unleash), parent, child, other) as flags:
        served = flags.evaluate(child, "ada", default=True)
        assert (served.value, served.reason) == (True, Reason.STATIC)
        held = flags.evaluate(other, "ada", default=True)
        assert (held.value, held.variant, held.reason) == (False, "off", Reason.DISABLED)
        unleash.switch(parent, on=False)
        eventually(lambda: not flags.is_enabled(child, "ada"), "the parent's switch is heard")
        held = flags.evaluate(child, "ada", default=True)
        assert (held.value, held.variant, held.reason) == (False, "off", Reason.DISABLED)
        assert flags.evaluate(other, "ada", default=False).value is True


@pytest.mark.rule("K2")
def test_a_killed_parent_never_leaves_its_child_on(unleash):
    """Unleash knows nothing of the kill: what its payload tells of dependencies is enough."""
    parent = unleash.create(unleash.fresh_name("parent"), rollout())
    child = unleash.create(unleash.fresh_name("child"), rollout())
    path = f"/admin/projects/default/features/{child}/dependencies"
    unleash.ask("POST", path, {"feature": parent, "enabled": True})
    with client(provider(unleash), parent, child) as flags:
        assert flags.is_enabled(child, "ada")
        flags.operator("ana").kill(parent, reason="it is wrong")
        held = flags.evaluate(child, "ada", default=True)
        assert (held.value, held.reason) == (False, Reason.DISABLED)


def test_no_excuse_of_the_sdk_is_a_value_before_the_server_has_answered(own_unleash):
    name = own_unleash.create(own_unleash.fresh_name(), rollout())
    own_unleash.pause()
    made = provider(own_unleash)
    try:
        with client(made, ready_within=0.0) as flags:
            served = flags.evaluate(name, "ada", default=True)
            assert (served.value, served.error_code) == (True, ErrorCode.PROVIDER_NOT_READY)
            own_unleash.go_on()
            assert flags.wait_ready(15)
            eventually(lambda: flags.evaluate(name, "ada").authoritative, "it is served")
    finally:
        own_unleash.go_on()
    assert made.status().state is State.NOT_READY


@pytest.mark.rule("E7", "E8")
def test_a_percentage_is_a_split_and_never_a_lot_for_who_has_no_key(unleash):
    name = unleash.create(unleash.fresh_name(), rollout("30"))
    with client(provider(unleash), name) as flags:
        found = [flags.evaluate(name, f"user-{number}", default=False) for number in range(1000)]
        assert 230 < sum(one.value for one in found) < 370
        assert {one.reason for one in found} == {Reason.SPLIT}
        nobody = flags.evaluate(name, None, default=True)
        assert (nobody.value, nobody.error_code) == (True, ErrorCode.TARGETING_KEY_MISSING)
        by_session = {flags.is_enabled(name, {"sessionId": f"s{one}"}) for one in range(100)}
        assert by_session == {True, False}


def test_nobody_is_never_a_user_called_none(unleash):
    name = unleash.create(unleash.fresh_name(), rollout("100", users("IN", "None")))
    with client(provider(unleash), name) as flags:
        assert not flags.is_enabled(name, None)
        assert not flags.is_enabled(name, Context(None, {"plan": None}))
        assert flags.is_enabled(name, "None")


@pytest.mark.parametrize(
    "value, text",
    [(True, "true"), (False, "false"), (5, "5"), (2.5, "2.5"), ("x", "x"), (["a", "b"], "a,b")],
)
def test_attributes_arrive_as_the_text_that_is_documented(unleash, value, text):
    name = unleash.create(unleash.fresh_name(), rollout("100", users("IN", text, name="attribute")))
    with client(provider(unleash), name) as flags:
        assert flags.evaluate(name, Context("ada", {"attribute": value})).value is True
        assert flags.evaluate(name, Context("ada", {"attribute": None})).value is False
        assert flags.evaluate(name, Context("ada", {"attribute": {"a": 1}})).value is False


def test_targets_and_denies_are_told_as_targeting(unleash):
    name = unleash.create(
        unleash.fresh_name(),
        rollout("100", users("IN", "ada")),
        rollout("0", users("NOT_IN", "eve")),
    )
    with client(provider(unleash), name) as flags:
        assert flags.evaluate(name, "ada").reason is Reason.TARGETING_MATCH
        assert flags.evaluate(name, "eve").reason is Reason.TARGETING_MATCH
        assert flags.evaluate(name, "bob").value is False


@pytest.mark.rule("E2")
@pytest.mark.parametrize(
    "kind, payload, value",
    [
        (FlagKind.STRING, ("string", "m-2"), "m-2"),
        (FlagKind.STRING, ("csv", "a,b"), "a,b"),
        (FlagKind.STRING, None, "big"),
        (FlagKind.NUMBER, ("number", "2.5"), 2.5),
        (FlagKind.NUMBER, ("number", "7"), 7),
        (FlagKind.OBJECT, ("json", '{"a": [1]}'), {"a": [1]}),
    ],
)
def test_a_payload_is_a_value_of_its_type(unleash, kind, payload, value):
    name = unleash.create(unleash.fresh_name(), rollout(variants=[variant("big", payload=payload)]))
    with client(provider(unleash), name) as flags:
        served = flags.evaluate(name, "ada")
        assert (served.value, served.variant) == (value, "big")
        assert type(served.value) is type(value)
        assert flags.is_enabled(name, "ada")
        unleash.switch(name, on=False)
        eventually(lambda: flags.evaluate(name, "ada").reason is Reason.DISABLED, "it is off")
        served = flags.evaluate(name, "ada", default=value)
        assert (served.value, served.authoritative) == (value, False)
        assert not flags.is_enabled(name, "ada")


@pytest.mark.rule("E4", "K2")
def test_a_declared_off_variant_is_served_when_it_is_off(unleash):
    name = unleash.create(
        unleash.fresh_name(), rollout(variants=[variant("new", payload=("string", "new"))])
    )
    declared = {name: Declaration(off="old")}
    made = provider(unleash)
    made._off = {name: "old"}
    with client(made, name, declarations=declared) as flags:
        assert flags.value(name, "ada", "x") == "new"
        unleash.switch(name, on=False)
        eventually(lambda: flags.value(name, "ada", "x") == "old", "it is off")
        assert flags.evaluate(name, "ada").authoritative


def test_a_flag_with_variants_that_is_declared_boolean_is_asked_as_a_boolean(unleash):
    name = unleash.create(unleash.fresh_name(), rollout(variants=[variant("big")]))
    declared = {name: Declaration(FlagKind.BOOLEAN)}
    with client(provider(unleash), name, declarations=declared) as flags:
        assert flags.evaluate(name, "ada", default=False).value is True


def test_impressions_of_users_are_never_gathered(unleash):
    name = unleash.create(unleash.fresh_name(), rollout(), impressionData=True)
    made = provider(unleash)
    with client(made, name) as flags:
        assert flags.is_enabled(name, "ada")
        assert '"impressionData":true' not in made._session._cache.payload


def test_a_change_at_the_console_is_told_by_key(unleash):
    name = unleash.create(unleash.fresh_name(), rollout())
    heard = []
    with client(provider(unleash), name) as flags:
        eventually(lambda: flags.is_enabled(name, "ada"), "it is on")
        flags.on_change(heard.append)
        unleash.switch(name, on=False)
        eventually(lambda: not flags.is_enabled(name, "ada"), "it is off", within=5)
        eventually(lambda: {name} in heard, "it was told", within=5)


@pytest.mark.rule("E1")
def test_text_that_cannot_be_written_is_never_answered_as_off(unleash):
    name = unleash.create(unleash.fresh_name(), rollout())
    with client(provider(unleash), name) as flags:
        for context in (Context("\ud800"), Context("ada", {"plan": "\udfff"})):
            served = flags.evaluate(name, context, default=True)
            assert (served.value, served.error_code) == (True, ErrorCode.INVALID_CONTEXT)
