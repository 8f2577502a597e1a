"""Flags that come from elsewhere, at the real server: nobody flips, and rollouts go on."""

from dataclasses import replace

import pytest
from downhaul_unleash.fitting import fitted
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kept_unleash import contexts, flag_sets
from strategies_unleash import rollout, users
from stubs_unleash import ANA, client, eventually, managing
from test_carried import SCHEMES, quarter
from test_composing import FLAG, among

from downhaul import Flag, Flags
from downhaul.errors import Refused
from downhaul.flag import FlagKind, Prerequisite, Rule, Split, Target, Weight
from downhaul.vendors.rest import Asking

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("unleash")]

MANY = [f"user-{number}" for number in range(20_000)]


@pytest.fixture
def console(unleash):
    return managing(unleash)


@pytest.fixture
def changes(monkeypatch):
    """The requests that may change something, as they are made."""
    made = []
    sent = Asking._sent

    def noted(self, one, left):
        if one.method != "GET" and "export" not in one.path:
            made.append(f"{one.method} {one.path.rpartition('/features/')[2]}")
        return sent(self, one, left)

    monkeypatch.setattr(Asking, "_sent", noted)
    return made


@pytest.mark.rule("E9")
def test_of_twenty_thousand_users_of_every_other_scheme_nobody_flips(unleash, console):
    moved = {scheme: quarter(how, unleash.fresh_name("moved")) for scheme, how in SCHEMES.items()}
    for flag in moved.values():
        console.put(flag, ANA)
    flipped = {}
    keys = [one.key for one in moved.values()]
    with (
        client(managing(unleash), *keys) as theirs,
        Flags.in_memory(moved.values()) as ours,
    ):
        for scheme, flag in moved.items():
            key = flag.key
            flipped[scheme] = sum(
                theirs.is_enabled(key, one) is not ours.is_enabled(key, one) for one in MANY
            )
    assert flipped == dict.fromkeys(SCHEMES, 0)


def everything(unleash):
    parent = quarter(SCHEMES["split"], unleash.fresh_name("parent"))
    ruled = replace(FLAG, key=unleash.fresh_name("ruled"), description="moved")
    valued = Flag(
        key=unleash.fresh_name("valued"),
        kind=FlagKind.OBJECT,
        variants={"B": {"a": 1}, "a": [1], "old": {}},
        off_variant="old",
        on=True,
        default=Split((Weight("a", 10), Weight("B", 20), Weight("old", 70)), SCHEMES["split"]),
        rules=(
            Rule("old", (among("country", "de"),), description="not yet"),
            Rule("B", (among("plan", "gold", negate=True),)),
        ),
        targets=(Target("a", frozenset({"ada"})), Target("old", frozenset({"eve"}))),
        prerequisites=(Prerequisite(parent.key),),
    )
    return [parent, ruled, valued]


@pytest.mark.rule("P5", "P6", "M2")
def test_a_flag_that_did_not_change_is_put_again_without_a_write(unleash, console, changes):
    for flag in everything(unleash):
        written = console.put(flag, ANA)
        assert changes
        changes.clear()
        assert console.put(flag, ANA) == written
        assert console.put(written, ANA, expected=written.version) == written
        assert console.list().flags[flag.key] == written
        assert changes == []


@pytest.mark.rule("M2")
def test_a_new_flag_is_on_last_of_all(unleash, console, changes):
    _parent, _ruled, valued = flags = everything(unleash)
    for flag in flags:
        console.put(flag, ANA)
    mine = [one.partition(" ")[2] for one in changes if valued.key in one]
    assert mine[0] == f"{valued.key}/dependencies"
    assert mine[-1] == f"{valued.key}/environments/development/on"
    assert [one for one in mine if one.endswith(("/on", "/off"))] == [mine[-1]]


@pytest.mark.rule("E9", "M1")
def test_what_the_server_tells_its_sdks_is_what_was_put(unleash, console):
    flags = everything(unleash)
    for flag in flags:
        console.put(flag, ANA)
    unleash.settle()
    plain = managing(unleash)
    plain._admin = None
    made = plain.export()
    read = made.flag_set().flags
    for flag in flags:
        assert read[flag.key].default == flag.default
        assert read[flag.key].off_variant == flag.off_variant
        assert set(read[flag.key].targets) == set(flag.targets)
        assert [one.serve for one in read[flag.key].rules] == [one.serve for one in flag.rules]
    assert read[flags[2].key].prerequisites == flags[2].prerequisites
    assert not [one for flag in flags for one in made.ledger.of(flag.key) if one.lossy]


@pytest.mark.rule("E7", "E9")
def test_a_rollout_goes_on_by_the_hash_that_it_came_with(unleash, console):
    flag = replace(quarter(SCHEMES["split"], unleash.fresh_name()), rules=FLAG.rules)
    console.put(flag, ANA)
    console.check_rollout(flag.key, "on", [0, 50_000, 100_000], ["ada"])
    with pytest.raises(Refused, match="100 parts"):
        console.check_rollout(flag.key, "on", [12_500], [])
    snapshot = console.snapshot(flag.key)
    served = []
    with client(managing(unleash), flag.key) as flags:
        for weight in (25_000, 50_000, 0, 100_000, 10_000):
            made = console.set_rollout(flag.key, "on", weight, ANA)
            percent = weight // 1_000
            halves = (Weight("on", percent), Weight("off", 100 - percent))
            assert made.default == Split(halves, SCHEMES["split"])
            assert len(made.rules) == len(FLAG.rules)
            expected = quarter(SCHEMES["split"], flag.key, rules=FLAG.rules)
            expected = replace(expected, default=made.default)
            with Flags.in_memory([expected]) as ours:
                wanted = {one for one in MANY[:300] if ours.is_enabled(flag.key, one)}
            eventually(
                lambda wanted=wanted: (
                    wanted == {one for one in MANY[:300] if flags.is_enabled(flag.key, one)}
                ),
                f"{percent} % is served",
            )
            served.append(wanted)
    assert served[4] < served[0] < served[1] < served[3]
    assert not served[2]
    assert console.restore(snapshot, ANA).default == flag.default


@pytest.mark.rule("P5")
def test_targets_of_a_flag_with_rules_win_over_them(unleash, console):
    flag = replace(FLAG, key=unleash.fresh_name(), targets=())
    console.put(flag, ANA)
    console.set_targets(flag.key, "on", ["ada", "bob"], ANA)
    made = console.set_targets(flag.key, "off", ["bob", "eve"], ANA)
    assert {one.variant: one.keys for one in made.targets} == {
        "on": {"ada"},
        "off": {"bob", "eve"},
    }
    assert [one.serve for one in made.rules] == [one.serve for one in flag.rules]
    with client(managing(unleash), flag.key) as flags:
        free = {"country": "fr", "plan": "gold"}
        eventually(lambda: flags.is_enabled(flag.key, {"targetingKey": "ada", **free}), "ada is on")
        assert not flags.is_enabled(flag.key, {"targetingKey": "bob", "country": "de"})


@pytest.mark.rule("P5")
def test_a_strategy_by_hand_beside_ours_is_read_and_nothing_is_written_over(unleash, console):
    flag = replace(FLAG, key=unleash.fresh_name())
    console.put(flag, ANA)
    by_hand = rollout("100", users("IN", "gold", name="plan"), title="by hand")
    unleash.ask("POST", f"{unleash.flag_path(flag.key)}/strategies", by_hand)
    before = unleash.state(flag.key)
    with pytest.raises(Refused, match="did not write"):
        console.put(flag, ANA)
    with pytest.raises(Refused):
        console.set_rollout(flag.key, "on", 50_000, ANA)
    assert unleash.state(flag.key) == before
    assert "by hand" in [one.description for one in console.get(flag.key).rules]


@pytest.mark.rule("P5")
def test_rules_are_taken_away_again_and_their_order_is_kept(unleash, console):
    key = unleash.fresh_name()
    valued = replace(everything(unleash)[2], key=key, prerequisites=())
    console.put(valued, ANA)
    turned = replace(valued, rules=valued.rules[::-1])
    assert [one.serve for one in console.put(turned, ANA).rules] == ["B", "old"]
    bare = console.put(replace(valued, rules=(), targets=()), ANA)
    assert (bare.rules, bare.targets, bare.default) == ((), (), valued.default)


def test_a_prerequisite_comes_and_goes(unleash, console, changes):
    parent = Flag.boolean(unleash.fresh_name())
    child = Flag.boolean(unleash.fresh_name(), prerequisites=(Prerequisite(parent.key),))
    with pytest.raises(Refused, match="no flag"):
        console.put(child, ANA)
    assert changes == []
    console.put(parent, ANA)
    assert console.put(child, ANA).prerequisites == child.prerequisites
    assert console.put(replace(child, prerequisites=()), ANA).prerequisites == ()


@pytest.mark.rule("M1", "E9")
def test_what_fits_is_taken_by_the_real_server_and_decides_the_same(unleash, console):
    """The properties of `test_fitting`, through the server, on fewer flags."""

    @settings(
        max_examples=8, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        derandomize=True,
    )  # fmt: skip
    @given(flag_sets(), st.lists(contexts(), min_size=5, max_size=8))
    def moves(flag_set, asked):
        unleash.clear()
        kept = fitted(flag_set).flags
        for flag in kept:
            console.put(flag, ANA)
        unleash.settle()
        with client(managing(unleash)) as theirs, Flags.in_memory(kept) as ours:
            for flag in kept:
                for context in asked:
                    mine = ours.evaluate(flag.key, context, None)
                    made = theirs.evaluate(flag.key, context, None)
                    assert (made.value, made.error_code) == (mine.value, mine.error_code), flag

    moves()
