"""Looking back, bringing back, and finding what has done its work."""

import dataclasses
import datetime as dt

import pytest

from downhaul.backends.memory import MemoryControl, MemoryProvider
from downhaul.control import Operator, stale
from downhaul.errors import DocumentError, FlagNotFound, UnsupportedCapability
from downhaul.flag import Flag, FlagType, Prerequisite, Rule, Target
from downhaul.provider import Capability, FlagSet


class NoHistory(MemoryProvider):
    capabilities = MemoryProvider.capabilities - {Capability.HISTORY}

    def history(self, key=None, *, limit=100, before=None):
        raise self._unsupported(Capability.HISTORY)


def test_an_earlier_version_comes_back_as_a_new_one(operator):
    first = operator.percent("agent", 30).after
    operator.percent("agent", 60)
    result = operator.restore("agent", first.version)
    assert result.after.default == first.default
    assert result.after.version not in (first.version, result.before.version)
    assert operator.history("agent")[0].record.reason == f"restored version {first.version}"


def test_a_deleted_flag_comes_back(operator):
    was = operator.percent("agent", 30).after
    operator.delete("agent")
    result = operator.restore("agent", was.version)
    assert result.before is None
    assert dataclasses.replace(operator.get("agent"), version="") == dataclasses.replace(
        was, version=""
    )


def test_an_unknown_version_is_refused_with_those_there_are(operator):
    version = operator.percent("agent", 30).after.version
    with pytest.raises(FlagNotFound, match=f"its versions are {version}"):
        operator.restore("agent", "nope")
    with pytest.raises(FlagNotFound, match='did you mean "agent"'):
        operator.restore("agemt", "1")


def test_what_no_longer_fits_is_refused(operator):
    operator.create(Flag.boolean("base"))
    operator.set("agent", prerequisites=(Prerequisite("base"),))
    version = operator.get("agent").version
    operator.set("agent", prerequisites=())
    operator.delete("base")
    with pytest.raises(DocumentError, match="no longer fits"):
        operator.restore("agent", version)


def test_history_holds_flags_and_kills_newest_first(operator):
    operator.percent("agent", 30)
    operator.kill("agent", "errors")
    assert [one.record.action for one in operator.history("agent")] == ["kill", "rollout"]
    assert [str(one) for one in operator.history("agent")[1].differences] == [
        "default.split[on].weight: 25 % -> 30 %",
        "default.split[off].weight: 75 % -> 70 %",
    ]


def test_history_of_two_stores_is_one_by_time():
    provider, control = (
        MemoryProvider(FlagSet.of([Flag.boolean("agent", percent=5)])),
        MemoryControl(),
    )
    del provider.control
    with Operator(provider, control, actor="ana") as operator:
        operator.percent("agent", 30)
        operator.kill("agent", "errors")
        operator.percent("agent", 20)
        actions = [one.record.action for one in operator.history("agent")]
    assert actions == ["rollout", "off", "kill", "rollout"]


@pytest.mark.rule("P4")
def test_without_a_history_it_says_so():
    provider = NoHistory()
    with Operator(provider, None, actor="ana") as operator:
        for call in (operator.history, operator.stale):
            with pytest.raises(UnsupportedCapability, match="history"):
                call()


ON = Flag.boolean("f", on=True)


@pytest.mark.parametrize(
    "flag, serves",
    [
        (ON, (True, "on")),
        (Flag.boolean("f", on=False, percent=20), (True, "off")),
        (Flag.boolean("f", percent=100), (True, "on")),
        (Flag.boolean("f", percent=0), (True, "off")),
        (Flag.boolean("f", percent=50), (False, None)),
        (dataclasses.replace(ON, targets=(Target("on", frozenset("u")),)), (True, "on")),
        (Flag.boolean("f", deny=["u"]), (False, None)),
        (dataclasses.replace(ON, rules=(Rule("off"),)), (False, None)),
        (dataclasses.replace(ON, prerequisites=(Prerequisite("g"),)), (False, None)),
    ],
)
def test_serving_one_variant_to_all_is_seen(flag, serves):
    constant, variant = stale.serves_all(flag)
    assert constant is serves[0]
    if constant:
        assert variant == serves[1]


def test_what_stands_still_for_long_is_stale_and_what_was_touched_is_not():
    provider = MemoryProvider()
    with Operator(provider, provider.control, actor="ana") as operator:
        operator.create(Flag.boolean("done"))
        operator.create(Flag.boolean("rising", percent=20))
        operator.create(Flag.boolean("guard", type=FlagType.KILL_SWITCH))
        desk = operator._desk
        later = dt.datetime.now(dt.UTC) + dt.timedelta(days=31)
        assert [one.key for one in stale.stale(desk, now=later)] == ["done"]
        assert [one.key for one in stale.stale(desk, now=later, include_long_lived=True)] == [
            "done",
            "guard",
        ]
        assert operator.stale() == []
        found = stale.stale(desk, now=later)[0]
        assert (found.variant, found.days, found.asked) == ("on", 31, None)
