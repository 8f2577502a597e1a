"""What a team agreed on: two people for a revive, rights to revive and to raise in full."""

import dataclasses

import pytest

from downhaul import Flags
from downhaul.backends.memory import MemoryControl, MemoryProvider
from downhaul.config import PolicySettings, resolve
from downhaul.control import Operator
from downhaul.control.service import connect_operator
from downhaul.errors import Refused
from downhaul.flag import Flag, Segment
from downhaul.provider import FlagSet

STRICT = PolicySettings(
    revive_needs_second_person=True,
    may_revive=("cy",),
    may_promote_full=("cy",),
    refuse_login_names=True,
)


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def place(clock):
    """Flags, and a control store whose clock a test moves."""
    flags = [Flag.boolean("agent", percent=25, tags=("agents",)), Flag.boolean("whole")]
    flags.append(dataclasses.replace(Flag.boolean("dark"), on=False))
    provider = MemoryProvider(FlagSet.of(flags))
    return provider, MemoryControl(clock=clock)


@pytest.fixture
def actor(place):
    """A function that makes an operator of this name under a policy."""
    provider, control = place

    def make(name, policy=None, *, marked=False):
        return Operator(provider, control, actor=name, marked=marked, policy=policy)

    return make


SECOND = PolicySettings(revive_needs_second_person=True)


@pytest.mark.rule("K5")
@pytest.mark.parametrize("name", ["ana", " Ana ", "ANA"])
def test_who_killed_does_not_revive_alone(actor, name):
    actor("ana", SECOND).kill("agent", "errors")
    with pytest.raises(Refused, match="killed by ana") as refused:
        actor(name, SECOND).revive("agent", "fixed")
    assert "--request" in str(refused.value)
    assert len(actor("ana").kills()) == 1


@pytest.mark.rule("K5")
def test_somebody_else_revives_plainly(actor):
    actor("ana", SECOND).kill("agent", "errors")
    actor("bo", SECOND).revive("agent", "fixed")
    assert actor("bo").kills() == []


@pytest.mark.rule("K5")
def test_after_a_while_who_killed_revives_alone(actor, clock):
    policy = dataclasses.replace(SECOND, alone_after=1800.0)
    actor("ana", policy).kill("agent", "errors")
    clock.now += 1799
    with pytest.raises(Refused, match="alone in 1s"):
        actor("ana", policy).revive("agent", "fixed")
    clock.now += 2
    actor("ana", policy).revive("agent", "fixed")
    assert actor("ana").kills() == []


@pytest.mark.rule("K5")
def test_a_refused_revive_writes_nothing_to_the_flag(actor):
    one = actor("ana", SECOND)
    one.kill("agent", "errors")
    before = one.get("agent")
    with pytest.raises(Refused):
        one.revive("agent", "fixed")
    assert one.get("agent") == before


@pytest.mark.rule("K5")
def test_a_kill_of_a_machine_is_revived_by_one_person(actor):
    actor("controller (ana)", SECOND).kill("agent", "it rolls back")
    actor("ana", SECOND).revive("agent", "fixed")
    assert actor("ana").kills() == []


@pytest.mark.rule("K5", "X4")
def test_only_who_may_revives(actor, tmp_path):
    policy = PolicySettings(may_revive=("Cy", "di"))
    actor("ana", policy).kill("agent", "errors")
    with pytest.raises(Refused, match="ana may not revive"):
        actor("ana", policy).revive("agent", "fixed")
    with pytest.raises(Refused, match="may_revive"):
        Operator(
            MemoryProvider(), None, actor="ana", policy=policy, kill_file=tmp_path / "kill"
        ).revive_local("agent", "fixed")
    actor("cy", policy).revive("agent", "fixed")
    assert actor("ana").kills() == []


# Two steps


@pytest.mark.rule("K5", "X4")
def test_one_asks_and_another_one_approves(actor):
    one, other = actor("ana", SECOND), actor("bo", SECOND)
    one.kill("agent", "errors")
    asked = one.request_revive("agent", "fixed in 4.2.1", as_was=True)
    assert (asked.actor, asked.reason, asked.as_was) == ("ana", "fixed in 4.2.1", True)
    [standing] = one.standing()
    assert standing.request == asked
    assert standing.record.killed
    result = other.approve_revive("agent", "looked at it")
    assert result.record.actor == "bo"
    assert result.record.reason == "fixed in 4.2.1 (asked by ana; approved: looked at it)"
    assert other.get("agent").default.weights[0].weight == 25_000  # as it was asked
    rows = [(one.record.action, one.record.actor) for one in one.history("agent")]
    assert rows[:4] == [
        ("revive", "bo"),
        ("approve_revive", "bo"),
        ("request_revive", "ana"),
        ("kill", "ana"),
    ]


@pytest.mark.rule("K5")
def test_nobody_approves_what_they_asked_for(actor):
    actor("ana", SECOND).kill("agent", "errors")
    actor("bo", SECOND).request_revive("agent", "fixed")
    with pytest.raises(Refused, match="somebody else to approve"):
        actor("Bo", SECOND).approve_revive("agent", "yes")
    # Who killed may say yes to another one: they are two.
    actor("ana", SECOND).approve_revive("agent", "yes")
    assert actor("ana").kills() == []


@pytest.mark.rule("K5")
def test_an_approval_needs_a_request_and_a_kill(actor):
    with pytest.raises(Refused, match="not killed"):
        actor("ana").request_revive("agent", "fixed")
    actor("ana").kill("agent", "errors")
    with pytest.raises(Refused, match="nobody has asked"):
        actor("bo").approve_revive("agent", "yes")
    for name in ("request_revive", "approve_revive"):
        with pytest.raises(Refused, match="reason"):
            getattr(actor("bo"), name)("agent", " ")


@pytest.mark.rule("K5")
def test_what_was_asked_of_one_kill_is_not_asked_of_the_next(actor):
    actor("ana").kill("agent", "errors")
    actor("ana").request_revive("agent", "fixed")
    actor("bo").revive("agent", "fixed")
    actor("ana").kill("agent", "again")
    [standing] = actor("ana").standing()
    assert standing.request is None
    with pytest.raises(Refused, match="nobody has asked"):
        actor("bo").approve_revive("agent", "yes")


@pytest.mark.rule("K5")
def test_a_kill_of_all_environments_is_asked_for_as_such(actor):
    actor("ana").kill("agent", "errors", everywhere=True)
    with pytest.raises(Refused, match="not killed in default"):
        actor("ana").request_revive("agent", "fixed")
    actor("ana").request_revive("agent", "fixed", everywhere=True)
    actor("bo").approve_revive("agent", "yes", everywhere=True)
    assert actor("ana").kills() == []


@pytest.mark.rule("K5", "X4")
def test_who_may_not_revive_may_ask_and_not_approve(actor):
    policy = PolicySettings(may_revive=("cy",))
    actor("ana", policy).kill("agent", "errors")
    actor("ana", policy).request_revive("agent", "fixed")
    with pytest.raises(Refused, match="bo may not revive"):
        actor("bo", policy).approve_revive("agent", "yes")
    actor("cy", policy).approve_revive("agent", "yes")
    assert actor("ana").kills() == []


# In full


FULL = PolicySettings(may_promote_full=("cy",))


@pytest.mark.rule("X4")
@pytest.mark.parametrize(
    "raise_it",
    [
        lambda one: one.percent("agent", 100),
        lambda one: one.on("dark"),
        lambda one: one.set("dark", on=True),
        lambda one: one.put(dataclasses.replace(Flag.boolean("agent"), version="")),
        lambda one: one.create(Flag.boolean("new")),
        lambda one: one.import_flags(FlagSet.of([Flag.boolean("new")])),
    ],
)
def test_giving_a_flag_to_everybody_is_for_who_may(actor, raise_it):
    before = actor("ana").list()
    with pytest.raises(Refused, match=r"may not give .* to everybody"):
        raise_it(actor("ana", FULL))
    assert actor("ana").list() == before
    raise_it(actor("cy", FULL))
    assert actor("ana").list() != before


@pytest.mark.rule("X4")
def test_below_all_anybody_raises_and_what_is_whole_stays_whole(actor):
    one = actor("ana", FULL)
    one.percent("agent", 99.999)
    one.percent("agent", 5)
    one.off("whole")
    one.set("whole", owner="team")
    with pytest.raises(Refused):
        one.on("whole")


@pytest.mark.rule("X4")
def test_a_restore_to_everybody_is_for_who_may(place, actor):
    provider, _ = place
    there = Operator(provider, provider.control, actor="ana", policy=FULL)
    there.off("dark")
    on = Operator(provider, provider.control, actor="cy", policy=FULL).on("dark").after
    off = there.off("dark").after
    with pytest.raises(Refused, match="everybody"):
        there.restore("dark", on.version)
    assert there.get("dark") == off


# Login names


@pytest.mark.rule("X4")
@pytest.mark.parametrize(
    "write",
    [
        lambda one: one.on("dark"),
        lambda one: one.percent("agent", 26),
        lambda one: one.create(Flag.boolean("new", percent=1)),
        lambda one: one.put(dataclasses.replace(Flag.boolean("whole"), owner="x")),
        lambda one: one.set("agent", owner="x"),
        lambda one: one.target("agent", add=["u1"]),
        lambda one: one.target("agent", "off", remove=["u1"]),
        lambda one: one.delete("agent"),
        lambda one: one.restore("agent", "1"),
        lambda one: one.import_flags(FlagSet.of([Flag.boolean("new", percent=1)])),
        lambda one: one.put_segment(Segment("beta")),
        lambda one: one.delete_segment("beta"),
        lambda one: one.revive("agent", "fixed"),
        lambda one: one.request_revive("agent", "fixed"),
        lambda one: one.approve_revive("agent", "fixed"),
        lambda one: one.drill("fleet"),
    ],
)
def test_a_bare_login_name_writes_nothing(actor, write):
    actor("ana").kill("agent", "errors")
    before = actor("ana").list()
    policy = PolicySettings(refuse_login_names=True)
    with pytest.raises(Refused, match="only the login name"):
        write(actor("ana", policy, marked=True))
    assert actor("ana").list() == before
    assert len(actor("ana").kills()) == 1


@pytest.mark.rule("K5", "X4")
def test_no_policy_stands_in_the_way_of_taking_exposure_away(actor, tmp_path, place):
    one = actor("ana", STRICT, marked=True)
    one.kill("agent", "errors")
    one.kill("tag:agents", "errors", everywhere=True)
    one.kill("*", "errors", lasts=60)
    one.kill("agent", "errors", dry_run=True)
    one.off("whole")
    one.set("whole", on=False)
    one.percent("agent", 5)
    one.percent("agent", 0)
    one.percent("whole", 100, "off")
    one.deny("agent", ["u1"])
    provider, control = place
    here = Operator(
        provider, control, actor="ana", marked=True, policy=STRICT, kill_file=tmp_path / "kill"
    )
    here.kill_local("agent", "errors")
    assert {str(each.scope) for each in one.kills()} == {"agent", "tag:agents", "*"}
    assert not one.get("whole").on


@pytest.mark.rule("K5", "X4")
def test_the_operator_of_a_client_is_held_to_the_same(tmp_path):
    url = f"sqlite:///{tmp_path / 'flags.db'}"
    policy = {"may_revive": ["cy"], "may_promote_full": ["cy"]}
    with connect_operator(resolve(url, environ={}, cache_dir=False), "ana", create=True) as ana:
        ana.create(Flag.boolean("agent", percent=5))
    with Flags.connect(url, cache_dir=False, policy=policy) as flags:
        ana = flags.operator("ana")
        ana.kill("agent", "errors")
        for refused in (
            lambda: ana.revive("agent", "fixed"),
            lambda: ana.percent("agent", 100),
        ):
            with pytest.raises(Refused, match="ana may not"):
                refused()
        flags.operator("cy").revive("agent", "fixed")
