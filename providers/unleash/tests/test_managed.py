"""Managing flags at the real server: what each verb writes, and what it must never do."""

import json
from dataclasses import replace

import pytest
from strategies_unleash import rollout, users, variant
from stubs_unleash import ANA, client, eventually, managing

from downhaul import Flag
from downhaul.config import Declaration, RolloutMode
from downhaul.errors import FlagNotFound, ProviderError, Refused, VersionConflict
from downhaul.flag import Clause, FlagKind, Operator, Rule, Split, Weight
from downhaul.provider import ABSENT, portable_attribute

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("unleash")]

PEOPLE = [f"user-{number}" for number in range(400)]


@pytest.fixture
def console(unleash):
    return managing(unleash)


def titles(server, name):
    return [one.get("title") or "" for one in server.state(name)["strategies"]]


@pytest.mark.rule("P5")
def test_a_whole_flag_is_put_read_served_and_deleted(unleash, console):
    flag = Flag.boolean(unleash.fresh_name(), percent=50, allow=["ada"], deny=["eve"])
    written = console.put(flag, ANA, expected=ABSENT)
    assert (written.on, {one.variant: one.keys for one in written.targets}) == (
        True,
        {"on": {"ada"}, "off": {"eve"}},
    )
    assert console.get(flag.key) == written
    assert console.list().flags[flag.key] == written
    with client(managing(unleash), flag.key) as flags:
        assert flags.is_enabled(flag.key, "ada")
        assert not flags.is_enabled(flag.key, "eve")
        assert 130 < sum(flags.is_enabled(flag.key, one) for one in PEOPLE) < 270
    with pytest.raises(VersionConflict):
        console.put(flag, ANA, expected=ABSENT)
    with pytest.raises(VersionConflict):
        console.delete(flag.key, ANA, expected="never")
    console.delete(flag.key, ANA, expected=written.version)
    assert console.get(flag.key) is None
    assert flag.key not in console.list().flags
    for verb in (console.delete, console.switch_on, console.switch_off):
        with pytest.raises(FlagNotFound):
            verb(flag.key, ANA)
    again = console.put(replace(flag, on=False, targets=()), ANA, expected=ABSENT)
    assert (again.on, again.targets) == (False, ())


def test_switching_on_never_adds_a_strategy_for_everybody(unleash, console):
    empty = unleash.create(unleash.fresh_name("empty"), on=False)
    disabled = unleash.create(
        unleash.fresh_name("disabled"), rollout("10", disabled=True), on=False
    )
    for name in (empty, disabled):
        flag = console.switch_on(name, ANA)
        assert (flag.on, flag.default) == (True, "off")
        active = [one for one in unleash.state(name)["strategies"] if not one["disabled"]]
        assert [one["parameters"]["rollout"] for one in active] == ["0"]
        with client(managing(unleash), name) as flags:
            assert not any(flags.is_enabled(name, one) for one in PEOPLE)


@pytest.mark.rule("P5")
def test_off_and_on_again_is_as_before(unleash, console):
    name = unleash.create(unleash.fresh_name(), rollout("30", users("IN", "gold", name="plan")))
    before = unleash.state(name)
    assert not console.switch_off(name, ANA).on
    assert not unleash.state(name)["enabled"]
    assert console.switch_off(name, ANA) == console.switch_off(name, ANA)
    assert console.switch_on(name, ANA).on
    assert unleash.state(name) == before


@pytest.mark.rule("E7", "P5")
def test_a_percentage_moves_only_its_own_strategy(unleash, console):
    name = unleash.create(
        unleash.fresh_name(), rollout("100", users("IN", "gold", name="plan"), title="gold")
    )
    by_hand = unleash.state(name)["strategies"]
    served = set()
    for weight in (0, 1_000, 25_000, 99_000, 100_000):
        flag = console.set_rollout(name, "on", weight, ANA)
        assert flag.on
        state = unleash.state(name)["strategies"]
        assert state[0] == by_hand[0]
        assert [one["title"] for one in state[1:]] == ["downhaul:rollout"]
        assert state[1]["parameters"]["rollout"] == str(weight // 1000)
        with client(managing(unleash), name) as flags:
            eventually(
                lambda flags=flags, weight=weight: (
                    abs(
                        sum(flags.is_enabled(name, one) for one in PEOPLE) - weight * 400 // 100_000
                    )
                    < 50
                ),
                "the new percentage is served",
            )
            now = {one for one in PEOPLE if flags.is_enabled(name, one)}
        assert served <= now
        served = now


@pytest.mark.parametrize("weight", [500, 12_500, 99_999, 1])
def test_a_percentage_that_unleash_would_serve_to_nobody_is_never_sent(unleash, console, weight):
    flag = console.put(Flag.boolean(unleash.fresh_name(), percent=20), ANA)
    before = unleash.state(flag.key)
    with pytest.raises(Refused, match="whole percents") as refused:
        console.set_rollout(flag.key, "on", weight, ANA)
    assert "portable" in refused.value.hint
    assert unleash.state(flag.key) == before


@pytest.mark.parametrize("variant, weight", [("newest", 1000), ("on", -1), ("on", 100_001)])
def test_a_rollout_that_makes_no_sense_changes_nothing(unleash, console, variant, weight):
    flag = console.put(Flag.boolean(unleash.fresh_name(), percent=20), ANA)
    with pytest.raises(Refused):
        console.set_rollout(flag.key, variant, weight, ANA)
    assert console.get(flag.key) == flag


def test_a_strategy_made_by_hand_never_defeats_a_rollout_unnamed(unleash, console):
    name = unleash.create(unleash.fresh_name(), rollout("100", title="everybody at launch"))
    before = unleash.state(name)
    with pytest.raises(Refused, match="everybody at launch"):
        console.set_rollout(name, "on", 5_000, ANA)
    assert unleash.state(name) == before
    unnamed = unleash.create(unleash.fresh_name(), rollout("70", users("NOT_IN", "x", name="p")))
    with pytest.raises(Refused, match=r"flexibleRollout 70 %, id"):
        console.set_rollout(unnamed, "on", 5_000, ANA)


def test_conditions_that_somebody_gave_our_strategy_are_named(unleash, console):
    name = unleash.create(
        unleash.fresh_name(),
        rollout("10", users("IN", "gold", name="plan"), title="downhaul:rollout"),
    )
    with pytest.raises(Refused, match="conditions of its own"):
        console.set_rollout(name, "on", 5_000, ANA)


@pytest.mark.rule("E10")
def test_a_portable_rollout_is_by_the_bucket_to_the_thousandth(unleash):
    name = unleash.fresh_name()
    declared = {name: Declaration(rollout=RolloutMode.PORTABLE)}
    console = managing(unleash, portable=[name], declared=declared)
    console.put(Flag.boolean(name, percent=0), ANA)
    flag = console.set_rollout(name, "on", 2_500, ANA)
    assert flag.default == Split((Weight("on", 2_500), Weight("off", 97_500)))
    (only,) = unleash.state(name)["strategies"]
    assert only["parameters"]["rollout"] == "100"
    assert [(one["contextName"], one["value"]) for one in only["constraints"]] == [
        (portable_attribute(name), "2500")
    ]
    many = [f"user-{number}" for number in range(4_000)]
    with client(managing(unleash), name, declarations=declared) as flags:
        from downhaul.evaluator.bucketing import bucket

        eventually(lambda: any(flags.is_enabled(name, one) for one in many), "it is served")
        assert {one for one in many if flags.is_enabled(name, one)} == {
            one for one in many if bucket(name, one) < 2_500
        }
        assert not flags.is_enabled(name, None)


@pytest.mark.rule("P5")
def test_a_thousand_targets_are_in_lists_that_unleash_takes(unleash, console):
    many = [f"person-{number}" for number in range(1_000)]
    flag = console.put(Flag.boolean(unleash.fresh_name(), percent=0), ANA)
    written = console.set_targets(flag.key, "on", many, ANA)
    assert {one.variant: len(one.keys) for one in written.targets} == {"on": 1000}
    assert titles(unleash, flag.key)[1:] == [f"downhaul:targets-{one}" for one in (1, 2, 3, 4)]
    fewer = console.set_targets(flag.key, "on", many[300:], ANA)
    assert {one.variant: len(one.keys) for one in fewer.targets} == {"on": 700}
    assert console.set_targets(flag.key, "on", [], ANA).targets == ()
    assert titles(unleash, flag.key) == ["downhaul:rollout"]


def test_nobody_who_is_denied_is_served_by_any_strategy(unleash, console):
    name = unleash.create(
        unleash.fresh_name(),
        rollout("100", users("IN", "gold", name="plan")),
        rollout("100", users("IN", "eve", "ada"), title="by hand"),
    )
    console.set_targets(name, "off", ["eve", "mallory"], ANA)
    for one in unleash.state(name)["strategies"]:
        assert users("NOT_IN", "eve", "mallory") in one["constraints"]
    with client(managing(unleash), name) as flags:
        eventually(lambda: not flags.is_enabled(name, "eve"), "eve is denied")
        gold = {"plan": "gold"}
        assert not flags.is_enabled(name, {"targetingKey": "mallory", **gold})
        assert flags.is_enabled(name, {"targetingKey": "bob", **gold})
        assert flags.is_enabled(name, "ada")
    console.set_targets(name, "off", [], ANA)
    assert all(
        one["contextName"] != "userId" or one["operator"] != "NOT_IN"
        for each in unleash.state(name)["strategies"]
        for one in each["constraints"]
    )


def test_a_deny_that_a_strategy_has_no_room_for_is_refused_by_its_name(unleash, console):
    full = [users("IN", "x", name=f"attribute-{number}") for number in range(30)]
    name = unleash.create(unleash.fresh_name(), rollout("100", *full, title="thirty"))
    before = unleash.state(name)
    with pytest.raises(Refused, match="thirty"):
        console.set_targets(name, "off", ["eve"], ANA)
    assert unleash.state(name) == before


@pytest.mark.parametrize("key", [" ada", "ada ", "a,b", "Ünïcode 漢字", "42", '"quoted"', "a\\"])
def test_a_key_that_unleash_would_take_for_another_is_refused_and_others_match(
    unleash, console, key
):
    flag = console.put(Flag.boolean(unleash.fresh_name(), percent=0), ANA)
    try:
        console.set_targets(flag.key, "on", [key], ANA)
    except Refused:
        assert console.get(flag.key).targets == ()
        return
    with client(managing(unleash), flag.key) as flags:
        eventually(lambda: flags.is_enabled(flag.key, key), "the key is served")
        assert not flags.is_enabled(flag.key, key + "x")
        assert not flags.is_enabled(flag.key, "ada")


def test_who_is_put_on_one_list_leaves_the_other(unleash, console):
    flag = console.put(Flag.boolean(unleash.fresh_name(), allow=["ada", "bob"], deny=["eve"]), ANA)
    after = console.set_targets(flag.key, "on", ["bob", "eve"], ANA)
    assert {one.variant: one.keys for one in after.targets} == {"on": {"bob", "eve"}}
    after = console.set_targets(flag.key, "off", ["bob"], ANA)
    assert {one.variant: one.keys for one in after.targets} == {"on": {"eve"}, "off": {"bob"}}
    with pytest.raises(Refused, match="100 characters"):
        console.set_targets(flag.key, "on", ["a" * 101], ANA)
    with pytest.raises(Refused, match="no variant"):
        console.set_targets(flag.key, "newest", ["ada"], ANA)


@pytest.mark.rule("P5", "R8")
def test_a_snapshot_is_restored_exactly_but_for_ids(unleash, console):
    name = unleash.create(
        unleash.fresh_name(),
        rollout(
            "100",
            {**users("IN", "gold", name="plan"), "inverted": False, "caseInsensitive": False},
            {**users("NOT_IN", "old", name="plan"), "inverted": False},
            title="gold",
            sortOrder=5,
        ),
        rollout("25", title="downhaul:rollout", sortOrder=2),
        rollout("100", disabled=True, sortOrder=9),
    )
    was = unleash.state(name)
    snapshot = console.snapshot(name)
    snapshot = replace(snapshot, document=json.loads(json.dumps(dict(snapshot.document))))
    console.set_rollout(name, "on", 80_000, ANA)
    console.set_targets(name, "on", ["ada"], ANA)
    gone = was["strategies"][0]["id"]
    unleash.ask("DELETE", f"{unleash.flag_path(name)}/strategies/{gone}")
    console.switch_off(name, ANA)
    back = console.restore(snapshot, ANA)
    now = unleash.state(name)
    for state in (was, now):
        for one in state["strategies"]:
            del one["id"]
    assert now == was
    assert back.on
    assert console.restore(snapshot, ANA) == back


@pytest.mark.rule("P5")
def test_what_a_console_says_in_a_constraint_is_never_said_otherwise(unleash, console):
    said = {**users("IN", "gold", name="plan"), "inverted": False, "caseInsensitive": False}
    name = unleash.create(unleash.fresh_name(), rollout("100", said), on=False)
    console.set_targets(name, "off", ["eve"], ANA)
    console.set_targets(name, "off", [], ANA)
    by_hand, _ours = unleash.state(name)["strategies"]
    assert by_hand["constraints"] == [said]


@pytest.mark.rule("P5", "P6")
def test_a_change_of_a_segment_moves_the_version_and_is_never_taken_for_nothing(unleash, console):
    title = unleash.fresh_name("segment")
    constraints = [{**users("IN", "gold", name="plan"), "inverted": False}]
    body = {"name": title, "constraints": constraints}
    segment = unleash.ask("POST", "/admin/segments", body)["id"]
    name = unleash.create(
        unleash.fresh_name(), rollout("100", segments=[segment]), rollout(title="downhaul:rollout")
    )
    snapshot = console.snapshot(name)
    assert snapshot.version == console.get(name).version == console.list().flags[name].version
    assert console.restore(snapshot, ANA).version == snapshot.version
    path = f"/admin/segments/{segment}"
    unleash.ask("PUT", path, {**body, "constraints": [users("IN", "free", name="plan")]})
    assert console.get(name).version != snapshot.version
    assert console.list().flags[name].version == console.get(name).version
    with pytest.raises(VersionConflict):
        console.delete(name, ANA, expected=snapshot.version)
    with pytest.raises(Refused, match="changed since the snapshot") as refused:
        console.restore(snapshot, ANA)
    assert title in str(refused.value)
    unleash.ask("PUT", path, {**body, "name": f"{title}-renamed"})
    assert console.restore(snapshot, ANA).version == snapshot.version


@pytest.mark.rule("P5")
def test_a_deny_that_a_later_strategy_goes_round_is_never_beyond_lifting(unleash, console):
    flag = console.put(Flag.boolean(unleash.fresh_name(), percent=50, deny=["mallory"]), ANA)
    by_hand = rollout("100", users("IN", "gold", name="plan"))
    unleash.ask("POST", f"{unleash.flag_path(flag.key)}/strategies", by_hand)
    assert console.get(flag.key).targets == ()
    with pytest.raises(Refused, match="whom other strategies serve") as refused:
        console.set_rollout(flag.key, "on", 1_000, ANA)
    assert "off variant again" in refused.value.hint
    again = console.set_targets(flag.key, "off", ["mallory"], ANA)
    assert {one.variant: one.keys for one in again.targets} == {"off": {"mallory"}}
    assert all("mallory" in json.dumps(one) for one in unleash.state(flag.key)["strategies"])
    unleash.ask("POST", f"{unleash.flag_path(flag.key)}/strategies", by_hand)
    console.set_targets(flag.key, "off", [], ANA)
    assert "mallory" not in json.dumps(unleash.state(flag.key))
    console.set_rollout(flag.key, "on", 1_000, ANA)


def test_a_snapshot_of_elsewhere_is_refused(unleash, console):
    flag = console.put(Flag.boolean(unleash.fresh_name()), ANA)
    snapshot = console.snapshot(flag.key)
    own = {**snapshot.document["unleash"], "environment": "production"}
    elsewhere = {**snapshot.document, "unleash": own}
    for one in (replace(snapshot, provider="x"), replace(snapshot, document=elsewhere)):
        with pytest.raises(Refused):
            console.restore(one, ANA)
    with pytest.raises(FlagNotFound):
        console.snapshot("never-made")


def test_restoring_an_off_flag_never_serves_what_was_off_in_the_meantime(unleash, console):
    name = unleash.create(unleash.fresh_name(), rollout("100", title="downhaul:rollout"), on=False)
    snapshot = console.snapshot(name)
    console.set_rollout(name, "on", 5_000, ANA)
    console.switch_on(name, ANA)
    before = unleash.ask("GET", f"/admin/search/events?feature=IS:{name}&limit=1")["total"]
    assert not console.restore(snapshot, ANA).on
    events = unleash.ask("GET", f"/admin/search/events?feature=IS:{name}&limit=50")["events"]
    done = [one["type"] for one in reversed(events)][before:]
    assert done == ["feature-environment-disabled", "feature-strategy-update"]


@pytest.mark.parametrize(
    "kind, new, old",
    [
        (FlagKind.STRING, "m-2", "m-1"),
        (FlagKind.NUMBER, 2.5, 1),
        (FlagKind.OBJECT, {"a": [1]}, {}),
    ],
)
def test_a_flag_with_values_is_put_rolled_out_and_served(unleash, kind, new, old):
    name = unleash.fresh_name()
    declared = {name: Declaration(off="old")}
    console = managing(unleash, declared=declared)
    flag = Flag(
        key=name,
        kind=kind,
        variants={"new": new, "old": old},
        off_variant="old",
        default=Split((Weight("new", 50_000), Weight("old", 50_000))),
        on=True,
    )
    written = console.put(flag, ANA)
    assert (written.kind, dict(written.variants), written.off_variant) == (
        kind,
        dict(flag.variants),
        "old",
    )
    assert console.set_rollout(name, "new", 100_000, ANA).default == "new"
    with client(managing(unleash, declared=declared), name, declarations=declared) as flags:
        eventually(lambda: flags.evaluate(name, "ada").value == new, "new is served")
        console.switch_off(name, ANA)
        eventually(lambda: flags.evaluate(name, "ada").value == old, "old is served")


def test_what_unleash_has_no_place_for_is_refused_and_nothing_is_made(unleash, console):
    name = unleash.fresh_name()
    by_network = Clause("ip", Operator.IN_CIDR, ("10.0.0.0/8",))
    odd = [
        Flag(key=name, default="off", rules=(Rule("on", (by_network,)),)),
        Flag(key=name, variants={"yes": True, "no": False}, off_variant="no", default="yes"),
        Flag.boolean("no name"),
        Flag.boolean(name, percent=12.5),
    ]
    for flag in odd:
        with pytest.raises(Refused):
            console.put(flag, ANA)
    assert console.get(name) is None


def test_strategies_made_by_hand_are_read_as_rules_and_survive_a_put(unleash, console):
    by_hand = rollout("100", users("IN", "gold", name="plan"), title="gold")
    name = unleash.create(unleash.fresh_name(), by_hand)
    flag = console.get(name)
    assert [one.description for one in flag.rules] == ["gold"]
    written = console.put(replace(flag, default="on"), ANA, expected=flag.version)
    assert (written.rules, written.default) == (flag.rules, "on")
    with pytest.raises(Refused, match="rules"):
        console.put(replace(flag, rules=()), ANA)
    with pytest.raises(VersionConflict):
        console.put(flag, ANA, expected=flag.version)


def test_another_environment_is_never_touched(unleash, console):
    name = unleash.create(unleash.fresh_name(), rollout("100", title="downhaul:rollout"))
    path = unleash.flag_path(name, "production")
    unleash.ask("POST", f"{path}/strategies", rollout("40", title="downhaul:rollout"))
    unleash.ask("POST", f"{path}/on")
    before = unleash.ask("GET", path)
    console.set_rollout(name, "on", 10_000, ANA)
    console.set_targets(name, "off", ["eve"], ANA)
    console.switch_off(name, ANA)
    assert unleash.ask("GET", path) == before


def test_all_flags_are_listed_to_the_last_page(unleash, console):
    names = {unleash.fresh_name("page") for _ in range(120)}
    for name in names:
        unleash.ask("POST", "/admin/projects/default/features", {"name": name})
    assert names <= set(console.list().flags)


def test_variants_made_by_hand_are_read_with_their_values(unleash, console):
    both = [variant("a", 300, ("string", "A")), variant("b", 700, ("string", "B"))]
    name = unleash.create(unleash.fresh_name(), rollout("100", variants=both))
    flag = console.get(name)
    assert {key: flag.variants[key] for key in ("a", "b")} == {"a": "A", "b": "B"}
    with pytest.raises(Refused):
        console.set_rollout(name, "a", 5_000, ANA)


def test_an_environment_that_is_not_there_is_told_with_those_that_are(unleash, console):
    console._admin._environment = "staging"
    name = unleash.create(unleash.fresh_name(), rollout())
    with pytest.raises(ProviderError, match="staging") as refused:
        console.get(name)
    assert "development" in refused.value.hint


@pytest.mark.rule("K1")
def test_a_switch_that_worked_is_no_failure_though_segments_can_not_be_read(
    unleash, console, monkeypatch
):
    flag = console.put(Flag.boolean(unleash.fresh_name()), ANA)

    def refused(*_words):
        raise ProviderError("this token may not read segments (403)", provider="unleash")

    monkeypatch.setattr("downhaul_unleash.admin.segments_for", refused)
    assert not console.switch_off(flag.key, ANA).on
