"""Backends that resolve: what the core answers itself, and what it asks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul import Context, Flag, Flags
from downhaul.config import Declaration, RolloutMode
from downhaul.evaluator.asking import portable_bucket, portable_bucketing
from downhaul.evaluator.bucketing import bucket
from downhaul.flag import FlagKind, FlagSet, FlagSetDelta, Prerequisite, Scheme
from downhaul.overlay import Scope
from downhaul.provider import (
    Capability,
    Change,
    FlagProvider,
    ProviderStatus,
    State,
    portable_attribute,
)
from downhaul.result import ErrorCode, Reason, Result

ANA = Change("ana", "because")


class Vendor(FlagProvider):
    """Serves what ``answers`` says, and remembers what it was asked."""

    name = "vendor"
    capabilities = frozenset({Capability.RESOLVE, Capability.WATCH})

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []
        self.listener = None

    def start(self, listener):
        self.listener = listener

    def wait_ready(self, timeout):
        return self.listener is not None

    def status(self):
        return ProviderStatus(State.READY, age=0.0)

    def close(self, timeout=2.0):
        self.listener = None

    def resolve(self, key, context, kind):
        self.asked.append((key, context, kind))
        if key not in self.answers:
            return Result(
                None,
                reason=Reason.ERROR,
                error_code=ErrorCode.FLAG_NOT_FOUND,
                provider=self.name,
                authoritative=False,
                flag=key,
            )
        variant, value = self.answers[key]
        return Result(
            value,
            variant,
            Reason.TARGETING_MATCH,
            flag_version="7",
            provider=self.name,
            flag=key,
            metadata={"vendor_reason": "RULE_MATCH"},
        )

    def tell(self, *flags):
        self.listener.replaced(FlagSet.of(flags))


def known(key, kind=FlagKind.BOOLEAN, **fields):
    fields = {"variants": {"on": True, "off": False}, "off_variant": "off", **fields}
    return Flag(key=key, kind=kind, default="off", on=True, **fields)


@pytest.fixture
def vendor():
    return Vendor(agent=("on", True), model=("big", "m-2"))


def kill(flags, text, killed=True):
    flags.operator("ana").control.record_kill(Scope.parse(text), ANA, killed=killed)


@pytest.mark.rule("E1")
@pytest.mark.parametrize("told", [True, False])
def test_a_flag_is_asked_for_at_its_backend_whether_it_was_told_of_or_not(vendor, told):
    with Flags.over(vendor) as flags:
        if told:
            vendor.tell(known("agent"))
        assert flags.is_enabled("agent", "ada")
        result = flags.evaluate("agent", "ada", default=False)
        assert (result.value, result.variant, result.flag_version) == (True, "on", "7")
        assert flags.evaluate("agent", "ada", default="x").error_code is ErrorCode.TYPE_MISMATCH
        kinds = [kind for _key, _context, kind in vendor.asked]
        assert kinds == [FlagKind.BOOLEAN if told else None] * 3  # once for each question
        assert {one.targeting_key for _key, one, _kind in vendor.asked} == {"ada"}


@pytest.mark.rule("E3")
def test_what_the_backend_does_not_have_is_the_callers_default(vendor):
    with Flags.over(vendor, declarations={"gone": Declaration(tags=("agents",))}) as flags:
        for key in ("gone", "never heard of"):
            result = flags.evaluate(key, "ada", default=True)
            assert (result.value, result.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)
            assert not result.authoritative
            assert flags.is_enabled(key, "ada", default=True)
            assert not flags.is_enabled(key, "ada")


@pytest.mark.rule("E2")
def test_a_value_of_another_type_is_the_callers_default(vendor):
    with Flags.over(vendor) as flags:
        vendor.tell(known("agent"), known("model", FlagKind.STRING, off_variant="small"))
        assert flags.evaluate("agent", "ada", default=1).error_code is ErrorCode.TYPE_MISMATCH
        assert flags.value("agent", "ada", "x") == "x"
        assert flags.value("model", "ada", "x") == "m-2"
        assert flags.is_enabled("model", "ada")  # another variant than the off variant
        vendor.answers["model"] = ("small", "m-1")
        assert not flags.is_enabled("model", "ada")
        vendor.answers["agent"] = ("on", "yes")
        assert flags.is_enabled("agent", "ada", default=False) is False
        assert flags.is_enabled("agent", "ada", default=True) is True


@pytest.mark.rule("K1", "K2", "E5")
@pytest.mark.parametrize("scope", ["model", "tag:agents", "*"])
def test_a_kill_wins_before_the_backend_is_asked(vendor, scope):
    with Flags.over(vendor) as flags:
        vendor.tell(
            known(
                "model",
                FlagKind.STRING,
                variants={"big": "m-2", "small": "m-1"},
                off_variant="small",
                tags=("agents",),
            )
        )
        kill(flags, scope)
        vendor.asked.clear()
        result = flags.evaluate("model", "ada", default="x")
        assert (result.value, result.variant, result.reason) == ("m-1", "small", Reason.KILLED)
        assert not flags.is_enabled("model", "ada")
        assert flags.evaluate_many("model", ["ada", "bob"]) == [result, result]
        assert vendor.asked == []
        kill(flags, scope, killed=False)
        assert flags.value("model", "ada", "x") == "m-2"


@pytest.mark.rule("K2")
@pytest.mark.parametrize("scope", ["base", "tag:base"])
def test_who_needs_what_is_killed_is_held_back_though_the_backend_knows_of_no_kill(vendor, scope):
    vendor.answers |= {"base": ("on", True), "top": ("on", True), "other": ("on", True)}
    with Flags.over(vendor) as flags:
        vendor.tell(
            known("base", tags=("base",)),
            known("agent", prerequisites=(Prerequisite("base"), Prerequisite("agent"))),
            known("top", prerequisites=(Prerequisite("agent"),)),
            known("other", prerequisites=(Prerequisite("base", while_off=True),)),
        )
        assert all(flags.is_enabled(key, "ada") for key in ("agent", "top", "other"))
        kill(flags, scope)
        for key in ("agent", "top"):
            assert not flags.is_enabled(key, "ada", default=True)
            result = flags.evaluate(key, "ada", default=True)
            assert (result.value, result.variant, result.reason) == (False, "off", "DISABLED")
            assert result.metadata["prerequisite"] == "base"
        assert flags.is_enabled("other", "ada")
        kill(flags, scope, killed=False)
        assert all(flags.is_enabled(key, "ada") for key in ("agent", "top", "other"))


@pytest.mark.rule("K2")
def test_a_declared_off_variant_and_tag_hold_before_the_backend_was_heard(vendor):
    declared = {
        "agent": Declaration(FlagKind.BOOLEAN, off="off", tags=("agents",)),
        "model": Declaration(FlagKind.STRING, off="small", tags=("agents",)),
    }
    with Flags.over(vendor, declarations=declared) as flags:
        kill(flags, "tag:agents")
        killed = flags.evaluate("agent", "ada", default=True)
        assert (killed.value, killed.variant, killed.authoritative) == (False, "off", True)
        assert flags.value("model", "ada", "x") == "small"
        vendor.tell(known("agent", tags=("vendor-tag",)))
        assert not flags.is_enabled("agent", "ada", default=True)
        kill(flags, "tag:agents", killed=False)
        kill(flags, "tag:vendor-tag")
        assert not flags.is_enabled("agent", "ada", default=True)
        assert flags.value("model", "ada", "x") == "m-2"
        vendor.listener.changed(FlagSetDelta({"agent": None}))
        kill(flags, "tag:agents")
        assert not flags.is_enabled("agent", "ada", default=True)
        assert vendor.asked[-1][0] == "model"


def test_all_flags_are_asked_for_and_changes_are_told(vendor):
    heard = []
    with Flags.over(vendor) as flags:
        flags.on_change(heard.append)
        vendor.tell(known("agent"), known("model", FlagKind.STRING))
        assert {key: one.value for key, one in flags.evaluate_all("ada").items()} == {
            "agent": True,
            "model": "m-2",
        }
        vendor.listener.changed(FlagSetDelta({"agent": known("agent", version="8")}))
        vendor.listener.keys_changed(["model"])
    assert heard == [{"agent", "model"}, {"agent"}, {"model"}]


def test_many_contexts_are_asked_for_one_by_one(vendor):
    with Flags.over(vendor) as flags:
        # A split that the core could run by itself: its rules are the backend's all the same.
        vendor.tell(Flag.boolean("agent", percent=0))
        assert [one.value for one in flags.evaluate_many("agent", ["a", "b"])] == [True, True]


def test_explain_tells_whose_decision_it_was(vendor):
    declared = {"agent": Declaration(rollout=RolloutMode.PORTABLE)}
    with Flags.over(vendor, declarations=declared) as flags:
        text = str(flags.explain("agent", "ada"))
        assert "decided by vendor, which says RULE_MATCH" in text
        assert "its bucket went along as downhaul_agent" in text
        kill(flags, "agent")
        assert "agent was killed by ana" in str(flags.explain("agent", "ada"))


@pytest.mark.rule("E10")
def test_a_portable_flag_is_asked_with_its_own_bucket_and_no_other_flag_is(vendor):
    declared = {"agent": Declaration(rollout=RolloutMode.PORTABLE)}
    name = portable_attribute("agent")
    with Flags.over(vendor, declarations=declared) as flags:
        flags.evaluate("agent", Context("ada", {"plan": "gold"}))
        flags.evaluate("model", "ada")
        flags.evaluate("agent", Context.multi(Context("ada"), Context("acme", kind="organisation")))
        flags.evaluate("agent", {"plan": "gold"})
        flags.is_enabled("agent", Context("acme", kind="organisation"))
    one, other, several, nobody, organisation = (context for _key, context, _kind in vendor.asked)
    assert one.attributes == {"plan": "gold", name: bucket("agent", "ada")}
    assert type(one.attributes[name]) is int
    assert name not in other.attributes
    assert several.of_kind("user").attributes == {name: bucket("agent", "ada")}
    assert several.of_kind("organisation") == Context("acme", kind="organisation")
    assert nobody.attributes == {"plan": "gold"}  # no key, no bucket: the rule matches nobody
    assert organisation.attributes == {}


@pytest.mark.rule("E10")
@given(key=st.text(min_size=1).filter(lambda key: key.isprintable()), weight=st.integers(0, 100))
@pytest.mark.parametrize(
    "scheme, salt",
    [
        (Scheme.DOWNHAUL, None),
        (Scheme.DOWNHAUL, "pepper"),
        (Scheme.LAUNCHDARKLY, "agent.pepper"),
        (Scheme.SPLIT, "-1577348401"),
        (Scheme.SPLIT_LEGACY, "123"),
        (Scheme.UNLEASH, "group"),
    ],
)
def test_a_portable_bucket_stands_where_the_scheme_itself_decides(scheme, salt, key, weight):
    from downhaul.evaluator.bucketing import chooser
    from downhaul.flag import Bucketing

    declared = portable_bucketing(scheme, salt)
    place = portable_bucket(declared, "agent")(key)
    assert 0 <= place < 100_000
    share = weight * declared.total // 100
    own = Bucketing(scheme, salt=declared.salt, seed=declared.seed, total=declared.total)
    inside = chooser(own, "agent", [share, declared.total - share])(key) == 0
    edge = weight * 1000
    # Where a bucket and an edge are the same float but for its last digit, both answers are right.
    if scheme is not Scheme.LAUNCHDARKLY or not math.isclose(place, edge, abs_tol=1):
        assert (place < edge) is inside


def test_an_operator_of_a_backend_without_a_store_of_its_own_kills_in_the_one_that_was_given(
    vendor,
):
    from downhaul.backends.memory_control import MemoryControl

    control = MemoryControl()
    with Flags.over(vendor, control=control) as flags:
        vendor.tell(known("agent"))
        flags.operator("ana").kill("agent", reason="it burns")
        assert not flags.is_enabled("agent", "ada")
    assert [str(one.scope) for one in control.kills()] == ["agent"]
