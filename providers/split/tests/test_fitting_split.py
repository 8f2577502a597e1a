"""What fits into Split is put, and decides there, by the real SDK, as it decides here."""

from dataclasses import replace

import pytest
from connected_split import provider_of
from downhaul_emulators.split import SplitEmulator
from downhaul_emulators.split.validation import RESERVED as EMULATED
from downhaul_split.fitting import fitted
from downhaul_split.writing import RESERVED
from flags_for_split import bucketings_of, by_lot, flag_sets
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import contexts as any_contexts

from downhaul import Context, Flags
from downhaul.flag import (
    USER,
    Bucketing,
    Clause,
    Dialect,
    Flag,
    FlagKind,
    FlagSet,
    FlagType,
    Gate,
    Missing,
    NoKey,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Segment,
    Split,
    Target,
    Weight,
    percentage,
)
from downhaul.ledger import Fidelity
from downhaul.provider import Change
from downhaul.references import named_by
from downhaul.result import ErrorCode

ANA = Change("ana", "it moves here")
NO_KEY = ErrorCode.TARGETING_KEY_MISSING


@pytest.fixture(scope="module")
def shared():
    with SplitEmulator() as emulator:
        yield emulator


def with_user(context):
    """Return a context that is of a user, whatever else it is of, of a key that the SDK takes."""
    user = context.of_kind(USER) or Context("user-1", {"plan": "pro"})
    if user.targeting_key is not None and not user.targeting_key.strip():
        user = Context("user-1", user.attributes)
    kinds = context.kinds or {context.kind: context}
    return Context.multi(user, *(one for kind, one in kinds.items() if kind != USER))


contexts = st.lists(any_contexts().map(with_user), min_size=3, max_size=8)


def lacks_a_kind(flag_set, asked):
    """Return whether somebody lacks the whole kind that LaunchDarkly's way to bucket asks for."""
    return any(
        how.no_key is NoKey.FIRST and context.of_kind(how.context_kind) is None
        for flag in flag_set.flags.values()
        for how in bucketings_of(flag)
        for context in asked
    )


def answers(flags, keys, asked):
    return {
        (key, place): flags.evaluate(key, context, None)
        for key in keys
        for place, context in enumerate(asked)
    }


def same(one, other):
    return (one.variant, one.error_code) == (other.variant, other.error_code)


@pytest.mark.rule("M1", "E9")
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(flag_sets(), contexts)
@pytest.mark.slow
def test_whatever_fits_is_taken_and_decides_as_here(shared, flag_set, asked):
    check(shared, flag_set, asked)


@pytest.mark.slow
@pytest.mark.rule("M1", "E9")
@settings(suppress_health_check=list(HealthCheck))
@given(flag_sets(), contexts)
def test_whatever_fits_decides_as_here_over_many_more(shared, flag_set, asked):
    check(shared, flag_set, asked)


def check(shared, flag_set, asked):
    """Fit, put and put again, then compare the real SDK with what fits, and that with the rest."""
    found = fitted(flag_set)
    assume(found.flags)
    assume(not by_lot(flag_set) and not lacks_a_kind(flag_set, asked))
    keys = [one.key for one in found.flags]
    shared.replace({})
    provider = provider_of(shared)
    for flag in found.flags:
        put = provider.put(flag, ANA)
        assert replace(put, version="") == flag
    shared.requests.clear()
    for flag in found.flags:
        provider.put(flag, ANA)
    assert all(one.method == "GET" for one in shared.requests)
    lossy = {one.flag for one in found.ledger.lossy}
    with (
        Flags.over(provider, ready_within=20) as at_split,
        Flags.in_memory(found.flags) as kept,
        Flags.in_memory(flag_set.flags.values()) as before,
    ):
        theirs, ours = answers(at_split, keys, asked), answers(kept, keys, asked)
        original = answers(before, keys, asked)
    keyless = {place for (_key, place), one in ours.items() if one.error_code is NO_KEY}
    for (key, place), wanted in ours.items():
        depends = any(True for _ in named_by(flag_set.flags[key]))
        if not (depends and place in keyless):
            assert same(theirs[key, place], wanted), (key, asked[place])
        clear = original[key, place].error_code is not NO_KEY
        if clear and not lossy & _reached(flag_set, key):
            assert same(original[key, place], wanted), (key, asked[place])


def _reached(flag_set, key):
    """Return a flag and all that it depends on."""
    found = {key}
    for node in named_by(flag_set.flags[key]):
        found |= _reached(flag_set, node.key)
    return found


# What does not fit, and how it is told

SAID = Bucketing(salt="agent")


def of(flag, *others, segments=()):
    """Return a flag as it fits (None where it doesn't), and what is told that is not FULL."""
    found = fitted(FlagSet.of([*others, flag], segments))
    kept = {one.key: one for one in found.flags}.get(flag.key)
    told = {
        one.path.removeprefix(f"flags.{flag.key}"): one
        for one in found.ledger.of(flag.key)
        if one.fidelity is not Fidelity.FULL
    }
    return kept, told


def test_a_percentage_keeps_its_users_by_naming_its_salt():
    kept, told = of(Flag.boolean("agent", percent=2.5))
    assert told == {}
    assert kept.default == Split((Weight("on", 2_500), Weight("off", 97_500)), SAID)


def test_a_seed_that_is_not_said_is_nought_and_not_the_seed_that_split_has():
    how = Bucketing(Scheme.SPLIT, total=100)
    kept, told = of(Flag(key="agent", default=Split((Weight("on", 5), Weight("off", 95)), how)))
    assert told == {}
    assert kept.default.bucketing == replace(how, seed=0)


def test_variants_of_other_names_are_renamed_wherever_they_are_named():
    parent = Flag(
        key="parent",
        kind=FlagKind.STRING,
        variants={"très grand": "a", "v-tr-s-grand": "b", "control": "c"},
        off_variant="control",
        default="très grand",
        on=True,
    )
    rule = Rule("on", (Clause("parent", Operator.SERVES, ("très grand",)),))
    child = Flag(key="child", default="off", rules=(rule,), on=True)
    found = fitted(FlagSet.of([child, parent]))
    first, second = found.flags
    assert (first.key, second.key) == ("parent", "child")  # each after what it asks for
    assert first.variants == {"tr-s-grand": "a", "v-tr-s-grand": "b", "v-control": "c"}
    assert (first.default, first.off_variant) == ("tr-s-grand", "v-control")
    assert second.rules[0].clauses[0].values == ("tr-s-grand",)
    (told,) = found.ledger.lossy
    assert (told.path, told.fidelity) == ("flags.parent.variants", Fidelity.PARTIAL)
    assert '"très grand" is "tr-s-grand"' in told.reason


@pytest.mark.parametrize(
    "fields, path, told",
    [
        ({"key": "1st"}, ".key", "no name in Split"),
        (
            {"kind": FlagKind.STRING, "variants": {f"v{n}": "a" for n in range(21)}}
            | {"off_variant": "v0", "default": "v0"},
            ".variants",
            "at most 20",
        ),
        (
            {"kind": FlagKind.STRING, "variants": {"a": "b"}, "off_variant": None, "default": "a"},
            ".off_variant",
            "caller's own default",
        ),
        ({"off_variant": "on", "on": False}, ".off_variant", "must turn nothing on"),
        ({"targets": (Target("on", frozenset({"acme"}), "team"),)}, ".targets[0]", "are users"),
        ({"targets": (Target("on", frozenset({"k" * 251})),)}, ".targets[0]", "250"),
        ({"prerequisites": (Prerequisite("none"),)}, ".prerequisites[0]", 'no flag "none"'),
        (
            {"prerequisites": (Prerequisite("parent"),)}
            | {"targets": (Target("on", frozenset({"ada"})),)},
            ".prerequisites[0]",
            "its targets would be served",
        ),
        (
            {"prerequisites": (Prerequisite("parent", ("off",)),)},
            ".prerequisites[0]",
            "does not see whether another flag is off",
        ),
        (
            {"rules": (Rule("on", (Clause("a", Operator.PRESENT, context_kind="team"),)),)},
            ".rules[0]",
            'the kind "team"',
        ),
        (
            {"rules": (Rule("on", (Clause("/a/b", Operator.PRESENT),)),)},
            ".rules[0]",
            "within another attribute",
        ),
        (
            {"rules": (Rule("on", (Clause("a", Operator.IN, ("x",), ignore_case=True),)),)},
            ".rules[0]",
            "ignores the case",
        ),
        (
            {"rules": (Rule("on", (Clause("a", Operator.AFTER, ("2026-01-31T09:00:00Z",)),)),)},
            ".rules[0]",
            "is after",
        ),
        ({"rules": (Rule("on", (Clause("", Operator.IN_SEGMENT, ("s",)),)),)}, "", '"s"'),
        ({"rules": (Rule("on", (Clause("lost", Operator.SERVES, ("on",)),)),)}, "", '"lost"'),
    ],
)
def test_what_split_cannot_keep_leaves_the_flag_out_and_is_told_with_its_place(fields, path, told):
    parent = Flag(key="parent", default="on", on=True)
    kept, found = of(Flag(**{"key": "agent", "default": "on", "on": True, **fields}), parent)
    assert kept is None
    assert found[path].fidelity is Fidelity.MANUAL
    assert told in found[path].reason
    assert path == ".off_variant" or found[path].fragment
    assert found[""].fidelity is Fidelity.MANUAL


@pytest.mark.parametrize(
    "fields, path, told",
    [
        ({"off_variant": None}, ".off_variant", "caller's own default"),
        ({"off_variant": "on"}, ".off_variant", "must turn nothing on"),
        ({"tags": ("agents",)}, ".tags", "its SDK isn't told"),
        (
            {"rules": (Rule("on", (Clause("plan", Operator.IN, ("pro",)),)),)},
            ".rules[0]",
            "Split reads plan as text",
        ),
        (
            {"rules": (Rule("on", (Clause("age", Operator.LESS, (5,)),)),)},
            ".rules[0]",
            "as a whole number",
        ),
        (
            {"rules": (Rule("on", (Clause("v", Operator.SEMVER_EQUAL, ("1.2.3",)),)),)},
            ".rules[0]",
            "as a version",
        ),
        (
            {"rules": (Rule("on", (Clause("v", Operator.IN, ("a", 1, True)),)),)},
            ".rules[0]",
            "or as true or false",
        ),
    ],
)
def test_what_is_kept_but_for_something_says_what(fields, path, told):
    kept, found = of(Flag(**{"key": "agent", "default": "on", "on": True, **fields}))
    assert kept is not None
    assert found[path].fidelity is Fidelity.PARTIAL
    assert told in found[path].reason


def test_what_only_tells_about_a_flag_and_what_nobody_comes_to_is_passed_over():
    flag = Flag(
        key="agent",
        default="off",
        rules=(Rule("on", id="all"), Rule("off", (Clause("a", Operator.AFTER, ("x",)),))),
        owner="ana",
        type=FlagType.EXPERIMENT,
        on=True,
    )
    kept, told = of(flag)
    assert (kept.default, kept.rules) == ("on", ())
    assert {path: one.fidelity for path, one in told.items()} == {
        ".owner": Fidelity.SKIPPED,
        ".type": Fidelity.SKIPPED,
        ".rules": Fidelity.SKIPPED,
        ".rules[1]": Fidelity.SKIPPED,
    }


def test_a_flag_that_came_from_split_is_kept_whole():
    moved = Bucketing(Scheme.SPLIT, seed=-5, total=100)
    clause = Clause("plan", Operator.IN, ("pro",), missing=Missing.FALSE, dialect=Dialect.SPLIT)
    flag = Flag(
        key="agent",
        default=percentage("on", 25, rest="off"),
        rules=(Rule("off", (clause,), Gate(40, moved)),),
        on=True,
    )
    kept, told = of(flag)
    assert told == {}
    assert kept.rules[0].gate == Gate(40, moved)


def test_segments_and_what_asks_for_them_are_left_to_be_made_by_hand():
    asks = Rule("on", (Clause("", Operator.IN_SEGMENT, ("staff",)),))
    flag = Flag(key="agent", default="off", rules=(asks,), on=True)
    child = Flag(
        key="child", default="on", prerequisites=(Prerequisite("agent", ("on",), while_off=True),)
    )
    found = fitted(FlagSet.of([flag, child], [Segment("staff")]))
    assert found.flags == ()
    told = {one.path: one.reason for one in found.ledger.lossy}
    assert 'asks for segment "staff"' in told["flags.agent"]
    assert 'asks for flag "agent"' in told["flags.child"]
    kept = [one.path for one in found.ledger if one.fidelity is Fidelity.FULL]
    assert not {"flags.agent", "flags.child"} & set(kept)
    assert "segments.staff" in told


def test_the_words_that_split_keeps_for_itself_are_those_of_its_guide():
    assert RESERVED == EMULATED
