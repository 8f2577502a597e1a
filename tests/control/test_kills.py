"""Killing and reviving through an operator: what comes first, what is left alone, what is said."""

import dataclasses
import threading

import pytest

from downhaul.backends.memory import MemoryControl, MemoryProvider
from downhaul.control import Operator
from downhaul.control.results import AtProvider
from downhaul.errors import Refused, Unreachable
from downhaul.flag import Flag, FlagKind, Split, Weight
from downhaul.overlay import EVERYTHING, KillRegister, Scope, ScopeKind
from downhaul.provider import FlagSet


class Down(MemoryControl):
    """A control store whose database does not answer."""

    def kills(self):
        raise Unreachable("the database does not answer")

    def record_kill(self, *args, **options):
        raise Unreachable("the database does not answer")


class Vendor(MemoryProvider):
    """A backend that keeps flags and no kills, as a vendor does; it may refuse to switch off."""

    name = "vendor"

    def __init__(self, *args, refuses=None, hangs=None, **options):
        super().__init__(*args, **options)
        del self.control
        self.refuses = refuses
        self.hangs = hangs
        self.seen = []

    def switch_off(self, key, change):
        self.seen.append(key)
        if self.hangs is not None:
            self.hangs.wait(30)
        if self.refuses is not None:
            raise self.refuses
        return super().switch_off(key, change)


class Sink:
    def __init__(self):
        self.events = []

    def send(self, event):
        self.events.append(event)


def percent_of(flag):
    return flag.default.weights[0].weight / 1000


@pytest.mark.rule("K5")
def test_a_kill_changes_no_field_of_the_flag(operator):
    before = operator.get("agent")
    result = operator.kill("agent", "errors")
    assert operator.get("agent") == before
    assert result.flag == result.flag_before == before
    assert result.at_provider is AtProvider.NOT_NEEDED


@pytest.mark.rule("K6")
def test_killing_again_writes_nothing_and_says_since_when(operator):
    first = operator.kill("agent", "errors")
    again = operator.kill("agent", "still")
    assert not first.already
    assert again.already
    assert again.record == first.record
    assert len(operator.control.changes("agent")) == 1


@pytest.mark.rule("K6")
def test_a_kill_is_recorded_with_who_and_why(operator):
    operator.kill("agent", "errors")
    record = operator.history("agent")[0].record
    assert (record.entity, record.action, record.actor, record.reason) == (
        "kill",
        "kill",
        "ana",
        "errors",
    )


@pytest.mark.rule("K5")
@pytest.mark.parametrize("verb", ["kill", "revive", "kill_local", "revive_local"])
def test_there_is_no_kill_and_no_revive_without_a_reason(operator, verb):
    with pytest.raises(Refused, match="--reason"):
        getattr(operator, verb)("agent", "  ")


@pytest.mark.rule("K4")
@pytest.mark.parametrize(
    "scope, covered",
    [
        ("agent", ("agent",)),
        ("tag:agents", ("agent",)),
        ("switch:loop", ()),
        ("*", ("agent", "arms", "model")),
    ],
)
def test_every_scope_can_be_killed_and_says_what_it_covers(operator, scope, covered):
    result = operator.kill(scope, "errors")
    assert result.covers == covered
    assert [str(one.scope) for one in operator.kills()] == [scope]


@pytest.mark.rule("K4")
@pytest.mark.parametrize(
    "scope, hint",
    [
        ("agemt", 'did you mean "agent"'),
        ("tag:agent", 'did you mean "agents"'),
        ("nothing", "spell"),
    ],
)
def test_a_name_that_nothing_knows_is_killed_all_the_same_with_a_warning(operator, scope, hint):
    result = operator.kill(scope, "errors")
    assert result.record.killed
    assert hint in " ".join(result.warnings)


@pytest.mark.rule("K4")
def test_a_switch_that_was_set_before_is_known(operator):
    assert operator.kill("switch:loop", "errors").warnings
    operator.revive("switch:loop", "fixed")
    assert not operator.kill("switch:loop", "again").warnings


@pytest.mark.rule("K1")
def test_where_the_store_does_not_answer_nothing_is_killed_and_it_says_so(provider):
    with Operator(provider, Down(), actor="ana") as operator, pytest.raises(Unreachable):
        operator.kill("agent", "errors")


def test_without_a_control_store_it_says_what_there_is_instead(provider):
    with Operator(provider, None, actor="ana") as operator, pytest.raises(Refused, match="--local"):
        operator.kill("agent", "errors")


def test_a_dry_run_changes_nothing(operator):
    result = operator.kill("agent", "errors", dry_run=True)
    assert result.dry_run
    assert result.covers == ("agent",)
    assert operator.kills() == []
    operator.kill("agent", "errors")
    operator.revive("agent", "fixed", dry_run=True)
    assert len(operator.kills()) == 1
    assert percent_of(operator.get("agent")) == 25


# A vendor beside a control store


def vendor(**options):
    return Vendor(FlagSet.of([Flag.boolean("agent", percent=25)]), **options)


@pytest.mark.rule("K1")
def test_a_vendors_flag_is_switched_off_after_the_overlay_is_in_force():
    control = MemoryControl()
    provider = vendor()
    seen = []
    switch_off = provider.switch_off

    def watched(key, change):
        seen.append([str(one.scope) for one in control.kills() if one.killed])
        return switch_off(key, change)

    provider.switch_off = watched
    with Operator(provider, control, actor="ana") as operator:
        result = operator.kill("agent", "errors")
    assert seen == [["agent"]]
    assert result.at_provider is AtProvider.SWITCHED_OFF
    assert not provider.get("agent").on


@pytest.mark.rule("K1")
@pytest.mark.parametrize("refusal", [Unreachable("away"), RuntimeError("405"), Refused("approval")])
def test_a_vendor_that_refuses_cannot_fail_a_kill(refusal):
    control = MemoryControl()
    with Operator(vendor(refuses=refusal), control, actor="ana") as operator:
        result = operator.kill("agent", "errors")
        assert [str(one.scope) for one in operator.kills()] == ["agent"]
    assert result.at_provider is AtProvider.LEFT
    assert "nobody will retry" in " ".join(result.warnings)


@pytest.mark.rule("K1")
def test_a_vendor_that_hangs_delays_a_kill_by_its_deadline_only(monkeypatch):
    monkeypatch.setattr("downhaul.control.at_backend._DEADLINE", 0.05)
    release = threading.Event()
    with Operator(vendor(hangs=release), MemoryControl(), actor="ana") as operator:
        result = operator.kill("agent", "errors")
    release.set()
    assert result.at_provider is AtProvider.LEFT


@pytest.mark.rule("K1")
@pytest.mark.parametrize("scope", ["tag:agents", "switch:loop", "*"])
def test_what_is_no_single_flag_is_an_overlay_only(scope):
    provider = vendor()
    with Operator(provider, MemoryControl(), actor="ana") as operator:
        operator.kill(scope, "errors")
    assert provider.seen == []


# Reviving


@pytest.mark.rule("K5")
def test_a_revived_flag_starts_again_at_the_first_step(operator):
    operator.kill("agent", "errors")
    result = operator.revive("agent", "fixed")
    assert percent_of(result.flag_before) == 25
    assert percent_of(operator.get("agent")) == 1
    assert operator.kills() == []


@pytest.mark.rule("K5")
def test_the_first_step_is_set_before_the_kill_is_lifted(operator):
    operator.kill("agent", "errors")
    operator.revive("agent", "fixed")
    newest = [one.record.action for one in operator.history("agent")][:2]
    assert newest == ["revive", "rollout"]


@pytest.mark.rule("K5")
def test_where_the_first_step_cannot_be_set_nothing_is_lifted(operator):
    operator.kill("arms", "errors")
    with pytest.raises(Refused, match="--as-was"):
        operator.revive("arms", "fixed")
    assert len(operator.kills()) == 1
    operator.revive("arms", "fixed", as_was=True)
    assert operator.kills() == []


@pytest.mark.rule("K5")
def test_as_was_lifts_and_changes_no_field(operator):
    before = operator.get("agent")
    operator.kill("agent", "errors")
    operator.revive("agent", "fixed", as_was=True)
    assert operator.get("agent") == before


@pytest.mark.rule("K5")
@pytest.mark.parametrize("share", [0, 0.5, 1, 100])
def test_a_revive_never_raises_and_leaves_a_whole_flag_whole(operator, share):
    operator.percent("agent", share)
    before = operator.get("agent")
    operator.kill("agent", "errors")
    operator.revive("agent", "fixed")
    assert operator.get("agent") == before


@pytest.mark.rule("K5")
@pytest.mark.parametrize("scope", ["tag:agents", "switch:loop", "*"])
def test_tags_switches_and_everything_are_only_lifted(operator, scope):
    before = operator.list()
    operator.kill(scope, "errors")
    operator.revive(scope, "fixed")
    assert operator.list() == before
    assert operator.kills() == []


def test_a_percentage_of_an_imported_split_is_set_to_its_own_first_step(provider):
    flag = Flag.boolean("agent", percent=50)
    hundred = Split(
        (Weight("on", 50), Weight("off", 50)),
        dataclasses.replace(flag.default.bucketing, total=100),
    )
    provider.put(dataclasses.replace(flag, default=hundred), _change())
    with Operator(provider, provider.control, actor="ana") as operator:
        operator.kill("agent", "errors")
        assert operator.revive("agent", "fixed").flag.default.weights[0] == Weight("on", 1)


def test_it_says_what_still_keeps_a_revived_flag_down(operator):
    operator.kill("agent", "errors")
    operator.kill("tag:agents", "all of them")
    operator.off("agent")
    warnings = " ".join(operator.revive("agent", "fixed").warnings)
    assert "still killed by tag:agents" in warnings
    assert "flags on agent" in warnings


@pytest.mark.rule("K3")
def test_a_kill_that_a_lost_store_recorded_is_lifted_by_a_revive_in_the_new_one(provider):
    lost = MemoryControl()
    with Operator(provider, lost, actor="ana") as operator:
        operator.kill("agent", "errors")
    seen = KillRegister().hear(lost.kills())
    new = MemoryControl()
    with Operator(provider, new, actor="ana") as operator:
        result = operator.revive("agent", "fixed")
    assert result.already
    assert seen.hear(new.kills()).standing(Scope.parse("agent")) is None
    assert percent_of(provider.get("agent")) == 1


def test_a_kill_of_all_environments_is_lifted_in_all_or_not_at_all(operator):
    operator.kill("agent", "errors", everywhere=True)
    with pytest.raises(Refused, match="--all-environments"):
        operator.revive("agent", "fixed")
    operator.revive("agent", "fixed", everywhere=True)
    assert operator.kills() == []


# Alerts


@pytest.mark.rule("K6")
def test_kills_and_revives_are_announced_once_each(provider):
    sink = Sink()
    with Operator(provider, provider.control, actor="ana", alerts=[sink]) as operator:
        operator.kill("agent", "errors")
        operator.kill("agent", "errors")
        operator.revive("agent", "fixed")
    assert [(one.what, one.subject, one.actor, one.reason) for one in sink.events] == [
        ("killed", "agent", "ana", "errors"),
        ("revived", "agent", "ana", "fixed"),
    ]
    assert sink.events[0].after["killed"]
    assert sink.events[1].before["killed"]


# This machine's kill file


@pytest.mark.rule("K3")
def test_a_local_kill_needs_a_file_that_processes_watch(operator):
    with pytest.raises(Refused, match="DOWNHAUL_KILL_FILE"):
        operator.kill_local("agent", "errors")


@pytest.mark.rule("K3")
def test_a_local_kill_needs_no_store(provider, tmp_path):
    file = tmp_path / "kill"
    with Operator(provider, Down(), actor="ana", kill_file=file) as operator:
        result = operator.kill_local("agent", "errors")
        assert result.kill_file == file
        assert "agent" in file.read_text()
        operator.revive_local("agent", "fixed")


def test_scopes_are_given_as_text_or_as_scopes(operator):
    operator.kill(Scope(ScopeKind.TAG, "agents"), "errors")
    operator.kill(EVERYTHING, "errors")
    assert [str(one.scope) for one in operator.kills()] == ["tag:agents", "*"]


def _change():
    from downhaul.provider import Change

    return Change("test")


def test_a_flag_of_another_kind_starts_again_too(operator):
    operator.percent("model", 60)
    operator.kill("model", "errors")
    after = operator.revive("model", "fixed").flag
    assert after.kind is FlagKind.STRING
    assert after.default.weights[0] == Weight("new", 1000)
