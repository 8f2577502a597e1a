"""Writes at a backend without a history are recorded beside the kills (rule X4)."""

import logging

import pytest

from downhaul import Flag, Segment
from downhaul.backends.memory import MemoryProvider
from downhaul.backends.memory_control import MemoryControl
from downhaul.backends.sqlite import SqliteProvider
from downhaul.control import Operator
from downhaul.control.audited import Audited, audited
from downhaul.errors import FlagNotFound, Refused, Unreachable
from downhaul.flag import FlagSet
from downhaul.provider import Capability, FlagProvider
from downhaul.store import schema


class Vendor(MemoryProvider):
    """A backend that keeps flags, and neither kills nor a history."""

    name = "vendor"
    capabilities = frozenset(MemoryProvider.capabilities) - {Capability.HISTORY}

    def __init__(self, *flags):
        super().__init__(FlagSet.of(flags))
        self.control = None


@pytest.fixture(params=["memory", "sqlite"])
def control(request, tmp_path):
    if request.param == "memory":
        yield MemoryControl()
        return
    store = SqliteProvider(tmp_path / "control.db", "default")
    schema.upgrade(store.database)
    yield store.control
    store.close()


@pytest.fixture
def operator(control):
    with Operator(Vendor(Flag.boolean("agent", percent=10)), control, actor="ana") as made:
        yield made


def actions(operator, key="agent"):
    return [
        (one.record.action, one.record.actor, one.record.reason)
        for one in operator.history(key, limit=20)
    ]


@pytest.mark.rule("X4")
def test_every_verb_is_recorded_with_who_and_why_and_what_was_there(operator):
    operator.percent("agent", 25, reason="a")
    operator.off("agent", reason="b")
    operator.on("agent", reason="c")
    operator.target("agent", add=["ada"], reason="d")
    operator.set("agent", reason="e", description="agents")
    operator.delete("agent", reason="f")
    operator.create(Flag.boolean("agent"), reason="g")
    told = actions(operator)
    assert [action for action, _who, _why in told] == [
        "create",
        "delete",
        "put",
        "put",  # a target is added by compare and set where the backend can
        "on",
        "off",
        "rollout",
    ]
    assert [why for _action, _who, why in told] == ["g", "f", "e", "d", "c", "b", "a"]
    assert {who for _action, who, _why in told} == {"ana"}
    changed = {
        one.record.action: [str(difference.path) for difference in one.differences]
        for one in operator.history("agent", limit=20)
    }
    assert changed["off"] == changed["on"] == ["on"]
    assert len(changed["rollout"]) >= 1
    assert not any("variants" in path for path in changed["rollout"])


@pytest.mark.rule("X4", "K1")
def test_what_a_kill_switches_off_is_recorded_after_the_kill(operator):
    operator.kill("agent", "it burns")
    first, second = operator.history("agent", limit=20)
    assert (first.record.entity, first.record.action) == ("flag", "off")
    assert first.record.reason == "killed: it burns"
    assert (second.record.entity, second.record.action) == ("kill", "kill")


@pytest.mark.rule("X4")
def test_a_flag_is_restored_from_what_was_recorded(operator):
    before = operator.percent("agent", 25).after
    operator.percent("agent", 50)
    operator.restore("agent", before.version, reason="back")
    assert operator.get("agent").default == before.default
    with pytest.raises(FlagNotFound, match="was never at version nonsense"):
        operator.restore("agent", "nonsense")


@pytest.mark.rule("X4")
def test_what_changes_nothing_is_not_recorded(operator):
    operator.percent("agent", 10)
    operator.on("agent")
    assert actions(operator) == []


@pytest.mark.rule("X4")
def test_what_was_refused_is_not_recorded(operator):
    with pytest.raises(FlagNotFound):
        operator.provider.switch_off("nobody", operator.change())
    with pytest.raises(Refused):
        operator.percent("agent", 10, variant="nobody")
    assert actions(operator, "nobody") == actions(operator) == []


@pytest.mark.rule("R4", "X4")
def test_a_record_that_can_not_be_made_is_told_and_fails_nothing(operator, monkeypatch, caplog):
    def away(*_words, **_options):
        raise Unreachable("the store is away")

    monkeypatch.setattr(operator.control, "record_change", away)
    with caplog.at_level(logging.ERROR):
        operator.off("agent", reason="now")
    assert not operator.get("agent").on
    assert "off of flag agent by ana is done and not recorded: the store is away" in caplog.text


@pytest.mark.rule("K1")
def test_what_takes_a_flag_back_does_not_read_it_first(control):
    provider = Vendor(Flag.boolean("agent"))
    made = audited(provider, control)
    reads = []
    provider.get = reads.append
    with Operator(made, control, actor="ana") as one:
        made.switch_off("agent", one.change("now"))
    assert reads == []


def test_segments_are_recorded_too(operator):
    operator.put_segment(Segment("staff"))
    operator.delete_segment("staff")
    assert [one.record.action for one in operator.history("staff")] == ["delete", "put"]


def test_only_who_writes_without_a_history_is_audited(control, tmp_path):
    memory = MemoryProvider()
    assert audited(memory, control) is memory
    vendor = Vendor()
    assert audited(vendor, None) is vendor
    once = audited(vendor, control)
    assert isinstance(once, Audited)
    assert audited(once, control) is once
    vendor.capabilities = frozenset({Capability.RESOLVE})
    assert audited(vendor, control) is vendor


@pytest.mark.rule("P4")
def test_every_verb_of_the_seam_is_passed_on(control):
    verbs = {name for name in vars(FlagProvider) if not name.startswith("_")}
    own = {name for name in vars(Audited) if not name.startswith("_")}
    assert verbs - own == {"name", "capabilities", "publishes_within", "archives"}
