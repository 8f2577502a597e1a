"""All that two controllers can do to a flag, with crashes, lapsing leases and late writes.

The real decisions and the real order of acts, in every interleaving: see ``rollout_model``.
"""

import itertools
import json
import logging

import pytest
from rollout_model.automaton import NOW, Automaton
from rollout_model.replay import Again
from rollout_model.search import Promises, search
from rollout_model.worlds import Rules
from rollout_world import Clock, provider_at, store_at

from downhaul import Flag
from downhaul.rollout import acts, controller
from downhaul.rollout.deciding import wayback
from downhaul.rollout.late import LateWrites
from downhaul.rollout.plan import Strategy

pytestmark = pytest.mark.rule("R2", "R3", "R7", "R8")

KINDS = {
    "plain": {"at_once": False, "shared": False},
    "compares": {"at_once": True, "shared": False},
    "shared": {"at_once": False, "shared": True},
}
"""A vendor without compare-and-set, one with it, and one database for flags and rollouts."""

OFF, ON = (False, 0), (True, 3)
"""The flag before the rollout: off, or on for three percent."""

ASKED = ("rollback",)


@pytest.fixture(autouse=True)
def quiet():
    """Let no line be logged for each of thousands of controllers that lose a lease."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def model(kind, before, strategy=Strategy.CANARY, **options):
    on, percent = before
    flag = Flag.boolean("agent", on=on, percent=percent)
    percents = (10, 50) if strategy is Strategy.CANARY else (100,)
    return Rules(Automaton(flag, percents, strategy=strategy, **KINDS[kind]), **options)


def broken(found):
    """Return worlds in which a promise is broken, the first of each that is."""
    promises = Promises(found.rules, found.worlds[0])
    astray = found.without(promises.is_at_rest)
    steps = (at for one, at in found.steps() if promises.breaks(one, found.worlds[at]))
    return astray[:1] + list(itertools.islice(steps, 1))


def turned_on_late(rules):
    """Return what is asked to be turned on by a tick that found the rollout begun (rule R3)."""
    asks = [one for one in rules.automaton.nodes if one.request[:2] == ("write", "on")]
    return [one for one in asks if json.loads(one.answers[0][1][1].state)["started_at"]]


def see(record_property, kind, before, least, *, hands=ASKED, strategy=Strategy.CANARY, **may):
    rules = model(kind, before, strategy)
    found = search(rules, rules.first(hands=hands, **may))
    record_property("worlds", len(found.worlds))
    record_property("ticks", rules.automaton.ran)
    said = f"{kind}, {may}: {len(found.worlds)} worlds, {rules.automaton.ran} ticks"
    print(said)  # noqa: T201  (for -s)
    assert not [found.told(at) for at in broken(found)]
    assert not turned_on_late(rules)
    # What is not looked at proves nothing: there are at least so many.
    assert len(found.worlds) >= least
    phases = {one.row.phase for one in found.worlds}
    assert {"starting", "progressing", "rolling_back", "rolled_back", "completed"} <= phases


QUICK = [
    ("plain", OFF, 15_000, {"lapses": 1}),
    ("plain", ON, 7_000, {"lapses": 1}),
    ("plain", ON, 400, {"hands": ("rollback", "edit")}),
    ("plain", OFF, 2_000, {"crashes": 1}),
    ("plain", ON, 2_000, {"crashes": 1}),
    ("plain", OFF, 2_000, {"faults": 1}),
    ("plain", ON, 2_000, {"faults": 1}),
    ("compares", OFF, 4_000, {"lapses": 1}),
    ("compares", ON, 4_000, {"lapses": 1}),
    ("compares", OFF, 1_000, {"crashes": 1}),
    ("compares", OFF, 1_000, {"faults": 1}),
    ("compares", ON, 400, {"hands": ("rollback", "edit")}),
    ("plain", ON, 1_000, {"lapses": 1, "strategy": Strategy.BLUE_GREEN}),
    ("plain", ON, 100, {"crashes": 1, "strategy": Strategy.BLUE_GREEN}),
    ("compares", ON, 100, {"lapses": 1, "strategy": Strategy.BLUE_GREEN}),
    ("shared", OFF, 1_000, {"crashes": 2, "lapses": 2}),
    ("shared", ON, 1_000, {"crashes": 2, "lapses": 2}),
]


def _name(case):
    kind, (on, _), _, may = case
    said = {name: "+".join(n) if isinstance(n, tuple) else n for name, n in may.items()}
    what = (f"{name}_{n}" for name, n in said.items())
    return "-".join([kind, "on" if on else "off", *what])


@pytest.mark.parametrize("kind, before, least, may", QUICK, ids=map(_name, QUICK))
def test_no_end_is_rolled_back_with_the_flag_on(record_property, kind, before, least, may):
    see(record_property, kind, before, least, **may)


SLOW = [
    ("plain", OFF, 500_000, {"crashes": 1, "lapses": 1}),
    ("plain", ON, 200_000, {"crashes": 1, "lapses": 1}),
    ("plain", ON, 100_000, {"faults": 1, "lapses": 1}),
    ("plain", OFF, 20_000, {"faults": 2}),
    ("plain", OFF, 10_000, {"crashes": 1, "faults": 1}),
    ("compares", OFF, 60_000, {"crashes": 1, "lapses": 1}),
    ("compares", ON, 60_000, {"crashes": 1, "lapses": 1}),
    ("compares", OFF, 60_000, {"faults": 1, "lapses": 1}),
    ("plain", ON, 20_000, {"crashes": 1, "lapses": 1, "strategy": Strategy.BLUE_GREEN}),
    ("plain", OFF, 40_000, {"lapses": 1, "hands": ("rollback", "kill")}),
    ("plain", ON, 30_000, {"lapses": 1, "hands": ("pause", "rollback")}),
    ("plain", ON, 20_000, {"lapses": 1, "hands": ("rollback", "edit")}),
    ("compares", ON, 10_000, {"lapses": 1, "hands": ("rollback", "edit")}),
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind, before, least, may", SLOW, ids=map(str, range(len(SLOW))))
def test_nor_where_more_than_one_thing_goes_wrong(record_property, kind, before, least, may):
    see(record_property, kind, before, least, **may)


# What the search finds where a promise is broken


def nothing(*_words, **_options):
    return False


def turns_on(provider, flag, variant, action, change):
    """Set a share, and turn the flag on with it each time."""
    provider.set_rollout(flag.key, variant, action.weight, change)
    return provider.switch_on(flag.key, change)


MUTANTS = {
    "a store that is not fenced": (
        ("plain", ON, {"lapses": 1}),
        {"fenced": False},
        [],
    ),
    "no drift check after the end": (
        ("plain", OFF, {"faults": 1}),
        {"watches": False},
        [(LateWrites, "look_at", nothing)],
    ),
    "a write that was not seen is forgotten": (
        ("compares", OFF, {"faults": 1}),
        {},
        [(controller, "MISSING", "superseded")],
    ),
    "ramps that turn on": (
        ("plain", OFF, {"crashes": 1}),
        {},
        [(acts, "_expose", turns_on)],
    ),
    "a way back without a latch": (
        ("plain", ON, {"hands": ("rollback", "edit")}),
        {},
        [(wayback, "_is_exposed", nothing)],
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_search_finds_what_is_broken(monkeypatch, mutant):
    (kind, before, may), options, patches = MUTANTS[mutant]
    may = {"hands": ASKED, **may}
    for owner, name, value in patches:
        monkeypatch.setattr(owner, name, value)
    rules = model(kind, before, **options)
    first = rules.first(**may)
    found = search(rules, first, until=Promises(rules, first).breaks)
    assert Promises(rules, first).breaks(found.worlds[found.came[-1][0]], found.worlds[-1])
    print(mutant, found.told(len(found.worlds) - 1), sep="\n")  # noqa: T201  (what it found, for -s)


# That the model's store is the store


@pytest.fixture(scope="module")
def clocked_store(tmp_path_factory):
    with store_at(f"sqlite:///{tmp_path_factory.mktemp('store') / 'flags.db'}") as (url, clock):
        clock.advance((NOW - clock.now()) / 1e6)
        assert clock.now() == NOW
        yield url


def gone_again(url, number, found, at):
    """Go the way to a world with real controllers on a real store, and compare where it ends."""
    store = provider_at(url, f"way-{number}")
    Clock(store.database)
    again = Again(found.rules.automaton, store.control)
    world = found.worlds[at]
    try:
        again.go(found.way_to(at))
        assert again.flag() == world.flag, found.told(at)
        assert again.row() == world.row, found.told(at)
        assert again.intents() == sorted((one.operation, one.state) for one in world.intents)
    finally:
        again.close()
        store.close()


WAYS = [
    ("plain", {"faults": 1}, 3),
    ("compares", {"lapses": 1}, 3),
    *(
        pytest.param(kind, may, 100, marks=[pytest.mark.slow, pytest.mark.timeout(900)])
        for kind in ("plain", "compares")
        for may in ({"lapses": 1}, {"crashes": 1}, {"faults": 1})
    ),
]


@pytest.mark.parametrize("kind, may, many", WAYS)
def test_ways_through_the_model_end_alike_on_the_real_store(clocked_store, kind, may, many):
    rules = model(kind, OFF)
    found = search(rules, rules.first(hands=ASKED, **may))
    ends = [at for at, one in enumerate(found.worlds) if not one.row.live and not one.net]
    for way in range(many):
        at = ends[way * len(ends) // many]
        gone_again(clocked_store, f"{kind}-{may}-{many}-{way}", found, at)
