"""A way back that its backend stands in the way of: who hears of it, when, and what to type."""

import pytest
from rollout_cases import NOW, plan_of, state_at
from rollout_world import LEASE, TICK, WHO, plan_for

from downhaul.backends.memory import MemoryProvider
from downhaul.errors import ProviderError, Unreachable
from downhaul.rollout.deciding.case import SECOND
from downhaul.rollout.deciding.overdue import remind
from downhaul.rollout.state import Act, Phase

PLAN = plan_of()


class Vendor(MemoryProvider):
    """A backend that may be away, or answer and refuse."""

    def __init__(self):
        super().__init__()
        self.away = False
        self.refuses = ()

    def get(self, key):
        if self.away:
            raise Unreachable("the vendor is away", provider="memory")
        return super().get(key)

    def switch_off(self, key, change):
        return self._unless_refused("switch_off", key, change)

    def restore(self, snapshot, change, *, expected=None):
        return self._unless_refused("restore", snapshot, change, expected=expected)

    def _unless_refused(self, name, *words, **options):
        if self.away or name in self.refuses:
            raise ProviderError(f"405: no {name}", provider="memory")
        return getattr(super(), name)(*words, **options)


class Sink:
    def __init__(self):
        self.events = []

    def send(self, event):
        self.events.append(event)

    def of(self, what):
        return [one for one in self.events if one.what == what]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def world(request, world_of):
    made = world_of(request.param, Vendor())
    made.sink = Sink()
    made.was = made.flag(percent=3)
    made.rollouts.start(plan_for("agent", 10, 50), "a better agent")
    made.tick(0)
    return made


def take_back(world):
    world.store.command(world.rollouts.get("agent").id, "rollback", 0, {}, WHO)


def look_on(world, seconds, controllers, *, since=0, each=1):
    """Let time pass, with controllers that look by turns; return the seconds when people heard."""
    heard = []
    for turn, second in enumerate(range(since, seconds, each)):
        one = controllers[turn % len(controllers)]
        before = len(world.sink.events)
        one.tick()
        one.deliver()
        heard += [second for event in world.sink.events[before:] if event.what == "not_rolled_back"]
        world.clock.advance(each)
    return heard


@pytest.mark.rule("R4", "K1")
@pytest.mark.parametrize("how", ["away", "refuses"])
def test_people_hear_after_half_a_minute_and_every_five_whoever_looks(world, how):
    controllers = [world.another(name, alerts=(world.sink,)) for name in ("a", "b", "c")]
    if how == "away":
        world.provider.away = True
    else:
        world.provider.refuses = ("switch_off",)
    take_back(world)
    # At the first try after 30 seconds, and after each five minutes from then on.
    assert look_on(world, 40, controllers) == [31]
    second, third = look_on(world, 700, controllers, since=40, each=10)
    assert 331 <= second <= 370
    assert second + 300 <= third <= second + 340
    first = world.sink.of("not_rolled_back")[0]
    assert (first.subject, first.actor) == ("agent", "controller")
    assert first.after["type"] == "downhaul flags off agent"
    assert first.after["or_type"].startswith("downhaul kill agent --reason ")
    assert first.after["since"] == 31
    assert ("away" if how == "away" else "405") in first.after["error"]
    assert len(world.sink.of("stuck")) == 1
    world.provider.away, world.provider.refuses = False, ()
    look_on(world, 40, controllers)
    assert world.phase() == "rolled_back"
    whats = [one.what for one in world.sink.events]
    # Who heard that it is not off, hears; three controllers tell, and either may come first.
    assert sorted(whats[-2:]) == ["exposure_off", "rolled_back"]


@pytest.mark.rule("R2", "R4")
def test_a_controller_that_dies_as_it_tells_leaves_no_word_out_and_says_none_twice(world):
    world.provider.away = True
    take_back(world)
    deaths = []

    def dies(name, _rollout):
        if name == "saved" and "not_rolled_back" in world.told() and not deaths:
            deaths.append(name)
            raise KeyboardInterrupt

    mortal = world.another("mortal", points=dies, alerts=(world.sink,))
    with pytest.raises(KeyboardInterrupt):
        look_on(world, 60, [mortal])
    assert world.sink.of("not_rolled_back") == []  # it was written, and not told
    world.clock.advance(LEASE)
    heir = world.another("heir", alerts=(world.sink,))
    look_on(world, 60, [heir])
    assert len(world.sink.of("not_rolled_back")) == 1


@pytest.mark.rule("R4", "R8")
def test_what_is_off_and_can_not_be_restored_is_told_otherwise(world):
    world.provider.refuses = ("restore",)
    take_back(world)
    heard = look_on(world, 40, [world.another("a", alerts=(world.sink,))])
    assert heard == [31]
    assert not world.kept().on
    [told] = world.sink.of("not_rolled_back")
    assert told.reason.startswith("off, and not restored for 31 s: ")
    assert told.after["or_type"] == "downhaul rollout cancel agent"
    assert world.control.kills() == []  # it is off: nothing is to be held


@pytest.mark.rule("R4")
def test_a_backend_that_was_away_before_the_way_back_counts_from_its_begin(world):
    one = world.another("a", alerts=(world.sink,))
    world.provider.away = True
    for _ in range(20):
        world.tick(TICK, controller=one)
    assert world.sink.of("not_rolled_back") == []
    take_back(world)
    assert look_on(world, 40, [one]) == [31]


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.LATCHED, Phase.ROLLED_BACK])
def test_only_a_way_back_is_overdue(phase):
    state = state_at(PLAN, phase=phase, failed_at=NOW - 3600 * SECOND)
    assert remind(PLAN, state, "it is away", NOW) == (state, ())


def test_a_state_that_an_older_version_wrote_is_told_at_once():
    state = state_at(PLAN, phase=Phase.ROLLING_BACK, failed_at=NOW - 3600 * SECOND)
    told_at, words = remind(PLAN, state, "it is away", NOW)
    assert told_at.told_at == NOW
    assert [one.action for one in words] == ["not_rolled_back"]
    assert remind(PLAN, told_at, "it is away", NOW + 299 * SECOND)[1] == ()
    assert remind(PLAN, told_at, "it is away", NOW + 300 * SECOND)[1] != ()
    off = state_at(PLAN, phase=Phase.REVERTING, act=Act.OFF, failed_at=NOW - 31 * SECOND)
    assert "not restored" in remind(PLAN, off, "it is away", NOW)[1][0].reason
