"""What LaunchDarkly can keep of any flags: said part by part, written, and served by its SDK."""

from dataclasses import replace
from itertools import count

import pytest
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_launchdarkly.fitting import fitted
from downhaul_launchdarkly.flags import planned
from downhaul_launchdarkly.written import Writer
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from managed_launchdarkly import provider_of
from strategies import contexts, flag_sets

from downhaul import Flag, Flags
from downhaul.documents import check_flag, check_segment
from downhaul.flag import (
    Bucketing,
    Clause,
    Dialect,
    FlagKind,
    FlagSet,
    Keys,
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
)
from downhaul.ledger import Fidelity
from downhaul.provider import Change

ANA = Change("ana", "moving in")


def bucketings(flag_set):
    for one in (*flag_set.flags.values(), *flag_set.segments.values()):
        serves = [rule.serve for rule in one.rules] if isinstance(one, Flag) else []
        if isinstance(one, Flag):
            serves.append(one.default)
        yield from (each.bucketing for each in serves if isinstance(each, Split))
        yield from (rule.gate.bucketing for rule in one.rules if rule.gate is not None)


def by_lot(flag_set):
    return any(
        one.scheme is Scheme.RANDOM or one.no_key is NoKey.RANDOM for one in bucketings(flag_set)
    )


def switched_on(flag_set):
    flags = {key: replace(one, on=True) for key, one in flag_set.flags.items()}
    return replace(flag_set, flags=flags)


UNSAYABLE = frozenset({Operator.SERVES, Operator.IN_CIDR, Operator.SET_EQUALS, Operator.SUBSET_OF})


def moving(flag_set):
    """Return flags without what LaunchDarkly has no words for, so that most of them are kept."""
    flags = {key: f"flag-{number}" for number, key in enumerate(flag_set.flags)}
    segments = {key: f"segment-{number}" for number, key in enumerate(flag_set.segments)}

    def clauses(rule):
        return tuple(
            replace(
                one,
                values=tuple(segments[each] for each in one.values)
                if one.operator is Operator.IN_SEGMENT
                else one.values,
                missing=Missing.FALSE if one.missing is Missing.NOW else one.missing,
            )
            for one in rule.clauses
            if one.operator not in UNSAYABLE
        )

    def rule(one):
        whole = isinstance(one.serve, str) or all(each.variant for each in one.serve.weights)
        gate = one.gate if one.gate is None or whole else replace(one.gate, outside=None)
        return replace(one, clauses=clauses(one), gate=gate)

    def prerequisite(one):
        wanted = one.variants[:1] or tuple(flag_set.flags[one.flag].variants)[:1]
        return Prerequisite(flags[one.flag], wanted)

    return FlagSet.of(
        [
            replace(
                one,
                key=flags[one.key],
                on=True,
                rules=tuple(map(rule, one.rules)),
                prerequisites=tuple(map(prerequisite, one.prerequisites)),
            )
            for one in flag_set.flags.values()
        ],
        [
            replace(
                one,
                key=segments[one.key],
                rules=tuple(replace(each, clauses=clauses(each)) for each in one.rules),
            )
            for one in flag_set.segments.values()
        ],
    )


def sources():
    """Flag sets as the model has them, and such that most of them are kept."""
    some = flag_sets().filter(lambda one: one.flags)
    return some.map(switched_on) | some.map(moving) | some.map(moving)


def sound(flag_set):
    return not any(check_flag(one, flag_set) for one in flag_set.flags.values()) and not any(
        check_segment(one, flag_set) for one in flag_set.segments.values()
    )


def answered(flags, keys, asked):
    return {
        (key, number): flags.evaluate(key, context, None)
        for key in keys
        for number, context in enumerate(asked)
    }


def said(result):
    return result.value, result.variant, result.error_code


@pytest.fixture(scope="module")
def emulator():
    with LaunchDarklyEmulator(sdk_key="sdk-5ecret") as service:
        yield service


@pytest.fixture(scope="module")
def serving(emulator):
    """A provider on the emulated service, and a client that follows it."""
    provider = provider_of(emulator)
    with Flags.over(provider) as flags:
        assert flags.wait_ready(15)
        yield provider, flags


def documents_of(kept, version):
    """Return what LaunchDarkly would send of flags and segments that were made as they are kept."""
    plans = {}
    for one in kept.flags:
        plans[one.key] = planned(one, plans)
    flags = {key: {**one.sent, "version": version} for key, one in plans.items()}
    segments = {
        one.key: {"key": one.key, "salt": "s", "version": version} | Writer(one, "s").segment(one)
        for one in kept.segments
    }
    return flags, segments


def hear(emulator, provider):
    """Wait until the SDK has what the service has."""
    flags = {key: one["version"] for key, one in emulator.flags.items()}
    segments = {key: one["version"] for key, one in emulator.segments.items()}

    def heard():
        session = provider._session
        found = {key: int(one.flag.version) for key, one in session.known.items()}
        held = {key: one["version"] for key, one in session._store.segments.items()}
        return (found, held) == (flags, segments)

    emulator.wait_for(heard, 15)


def write(emulator, provider, kept):
    """Write what was kept, where nothing was."""
    emulator.replace({})
    for one in kept.segments:
        provider.put_segment(one, ANA)
    for one in kept.flags:
        provider.put(one, ANA)
    hear(emulator, provider)


def differing(kept, served_by, asked):
    """Return what a client answers otherwise than our own evaluator."""
    keys = [one.key for one in kept.flags]
    served = answered(served_by, keys, asked)
    ours = answered(Flags.in_memory(kept.flags, kept.segments), keys, asked)
    flags = kept.flag_set().flags
    return [
        (said(served[place]), said(one), flags[place[0]], asked[place[1]])
        for place, one in ours.items()
        if said(served[place]) != said(one)
    ]


versions = count(1)


@pytest.mark.rule("M1", "E9")
@settings(suppress_health_check=list(HealthCheck))
@given(sources(), st.lists(contexts(), min_size=4, max_size=8))
@pytest.mark.slow
def test_what_is_kept_is_served_as_it_is_kept(emulator, serving, source, asked):
    assume(sound(source) and not by_lot(source))
    provider, flags = serving
    kept = provider.fit(source)
    assert sound(kept.flag_set())
    emulator.replace(*documents_of(kept, next(versions)))
    hear(emulator, provider)
    assert not differing(kept, flags, asked)


@pytest.mark.slow
@pytest.mark.rule("M1", "M2", "E9")
@settings(suppress_health_check=list(HealthCheck))
@given(sources(), st.lists(contexts(), min_size=1, max_size=6))
def test_what_is_kept_is_written_and_is_not_written_again(emulator, serving, source, asked):
    assume(sound(source) and not by_lot(source))
    provider, flags = serving
    kept = provider.fit(source)
    write(emulator, provider, kept)
    assert not differing(kept, flags, asked)
    sent = len(changes(emulator))
    for one in kept.segments:
        provider.put_segment(one, ANA)
    for one in kept.flags:
        provider.put(one, ANA)
        provider.put(provider.get(one.key), ANA)
    assert len(changes(emulator)) == sent


def changes(service):
    """Return the requests that change anything."""
    return [one for one in service.requests if one.method not in ("GET", "HEAD")]


@pytest.mark.rule("M1")
@settings(suppress_health_check=list(HealthCheck))
@given(sources(), st.lists(contexts(), min_size=1, max_size=6))
@pytest.mark.slow
def test_what_is_carried_whole_decides_as_it_did_and_nothing_goes_untold(source, asked):
    assume(sound(source) and not by_lot(source))
    kept = fitted(source)
    there = kept.flag_set().flags
    told = {key: kept.ledger.of(key) for key in source.flags}
    for key, entries in told.items():
        manual = [one for one in entries if one.fidelity is Fidelity.MANUAL]
        assert bool(manual) is (key not in there)
        assert entries
    lossy = {one.flag for one in kept.ledger.lossy if not one.reason.startswith("variant names")}
    before = Flags.in_memory(source.flags.values(), source.segments.values())
    after = Flags.in_memory(kept.flags, kept.segments)
    for key in there:
        if "" in lossy or lossy & {key, *required(source, key)}:
            continue
        for context in asked:
            one, other = (each.evaluate(key, context, None) for each in (before, after))
            assert (one.value, one.error_code) == (other.value, other.error_code)


def required(flag_set, key):
    """Return the flags that a flag requires, itself or through others."""
    found, pending = set(), [key]
    while pending:
        new = {one.flag for one in flag_set.flags[pending.pop()].prerequisites} - found
        found |= new
        pending += new
    return found


# Part by part


def clause(*args, **fields):
    return Clause("plan", *args, **fields)


def kept_of(*flags, segments=()):
    return fitted(FlagSet.of(flags, segments))


def told(kept, key="agent"):
    return {one.path.partition(f"{key}.")[2]: one for one in kept.ledger.of(key)}


@pytest.mark.rule("M1", "P5")
def test_variants_are_called_what_sdks_are_told_with_those_that_rise_first():
    split = Split((Weight("new", 10_000), Weight("old", 90_000)))
    sizes = {"old": 1, "new": 10, "never": 0}
    flag = Flag(
        key="agent",
        kind=FlagKind.NUMBER,
        variants=sizes,
        default=split,
        off_variant="old",
        targets=(Target("never", frozenset({"eve"})),),
        rules=(Rule("old", (clause(Operator.IN, ("free",)),)),),
    )
    child = Flag.boolean("child", prerequisites=(Prerequisite("agent", ("new",)),))
    kept = kept_of(child, flag)
    assert [one.key for one in kept.flags] == ["agent", "child"]  # what is named comes first
    agent, child = kept.flags
    assert list(agent.variants.items()) == [
        ("variation-0", 10),
        ("variation-1", 1),
        ("variation-2", 0),
    ]
    assert (agent.off_variant, agent.rules[0].serve) == ("variation-1", "variation-1")
    assert [one.variant for one in agent.default.weights] == ["variation-0", "variation-1"]
    assert agent.targets[0].variant == "variation-2"
    assert child.prerequisites == (Prerequisite("agent", ("variation-0",)),)
    (entry,) = kept.ledger.lossy
    assert (entry.flag, entry.path) == ("agent", "flags.agent.variants")
    assert entry.reason.startswith("variant names: ")
    assert '"new" is "variation-0"' in entry.reason


@pytest.mark.rule("M1")
def test_every_part_is_told_and_what_is_whole_stays_as_it_was():
    flag = Flag.boolean(
        "agent",
        percent=25,
        deny=["eve"],
        prerequisites=(Prerequisite("base"),),
        rules=(Rule("on", (clause(Operator.IN, ("pro",)),)),),
    )
    kept = kept_of(Flag.boolean("base"), flag)
    said = replace(flag.default, bucketing=Bucketing(salt="agent"))
    assert kept.flag_set().flags["agent"] == replace(flag, default=said)
    entries = told(kept)
    assert entries.keys() == {"variants", "default", "targets", "rules[0]", "prerequisites[0]"}
    assert not kept.ledger.lossy


@pytest.mark.rule("M1")
@pytest.mark.parametrize(
    "flag, path, why",
    [
        (Flag.boolean("with/slash"), "key", "letters"),
        (Flag.boolean("agent", prerequisites=(Prerequisite("none"),)), "prerequisites[0]", "none"),
        (
            Flag.boolean("agent", prerequisites=(Prerequisite("base", negate=True),)),
            "",
            "not to be so",
        ),
        (
            Flag.boolean("agent", rules=(Rule("on", (clause(Operator.IN_CIDR, ("::1",)),)),)),
            "rules[0].clauses[0]",
            "in_cidr",
        ),
        (
            Flag.boolean("agent", rules=(Rule("on", (Clause("kind", Operator.IN, ("x",)),)),)),
            "rules[0].clauses[0]",
            "never sent",
        ),
        (
            Flag.boolean("agent", rules=(Rule("on", (clause(Operator.MATCHES, (r"a\z",)),)),)),
            "rules[0].clauses[0]",
            "pattern",
        ),
    ],
)
def test_what_has_no_words_there_is_manual_and_its_flag_is_left_out(flag, path, why):
    kept = kept_of(flag, Flag.boolean("base"))
    (entry,) = [one for one in kept.ledger if one.fidelity is Fidelity.MANUAL]
    assert entry.path == ".".join(filter(None, ["flags", flag.key, path]))
    assert why in entry.reason
    assert entry.fragment is not None or "requires" in entry.reason
    assert [one.key for one in kept.flags] == ["base"]


@pytest.mark.rule("M1", "E8")
def test_a_clause_that_holds_for_who_lacks_the_attribute_becomes_a_segment():
    rule = Rule("on", (clause(Operator.IN, ("pro",), negate=True, missing=Missing.FALSE),))
    beta = Segment("équipe", included=(Keys(frozenset({"ada"})),))
    inside = Rule("off", (Clause("", Operator.IN_SEGMENT, ("équipe",)),))
    kept = kept_of(Flag.boolean("agent", rules=(inside, rule)), segments=[beta])
    made, renamed = kept.segments
    assert renamed.key.startswith("s--quipe-")
    assert kept.flags[0].rules[0].clauses[0].values == (renamed.key,)
    assert kept.flags[0].rules[1].clauses == (
        Clause("", Operator.IN_SEGMENT, (made.key,), negate=True),
    )
    assert [one.reason.partition(":")[0] for one in kept.ledger.lossy] == ["segment keys"]
    again = kept_of(Flag.boolean("other", rules=(rule, rule)))
    assert [one.key for one in again.segments] == [made.key]


@pytest.mark.rule("M1")
@pytest.mark.parametrize(
    "given, expected, lost",
    [
        (clause(Operator.IN, ("a",), dialect=Dialect.UNLEASH), ("a",), ""),
        (clause(Operator.IN, ("5",), dialect=Dialect.UNLEASH), ("5", 5), "values"),
        (clause(Operator.IN, ("true",), dialect=Dialect.UNLEASH), ("true", True), ""),
        (clause(Operator.LESS, ("10",), dialect=Dialect.UNLEASH), (10,), "values"),
        (clause(Operator.IN, ("a",), dialect=Dialect.SPLIT), ("a",), "values"),
        (
            Clause("targetingKey", Operator.IN, ("a",), dialect=Dialect.SPLIT),
            ("a",),
            "",
        ),
        (
            clause(Operator.AT_OR_BEFORE, ("2026-01-31T09:00:00Z",)),
            ("2026-01-31T09:00:00.000001Z",),
            "values",
        ),
        (clause(Operator.BEFORE, (90,), dialect=Dialect.SPLIT), (60,), "values"),
        (clause(Operator.IN, ("Pro",), ignore_case=True), ("(?i)^(?:Pro)$",), "case"),
        (clause(Operator.MATCHES, ("^p",), ignore_case=True), ("(?i)^p",), ""),
        (clause(Operator.HAS_ANY, ("a", "b")), ("a", "b"), "values"),
        (clause(Operator.SEMVER_EQUAL, ("1.2.3",)), ("1.2.3",), "values"),
    ],
)
def test_a_clause_says_as_much_as_can_be_and_what_it_leaves_out(given, expected, lost):
    kept = kept_of(Flag.boolean("agent", rules=(Rule("on", (given,)),)))
    (rule,) = kept.flags[0].rules
    assert rule.clauses[0].values == expected
    assert {one.reason.partition(":")[0] for one in kept.ledger.lossy} == (
        {lost} if lost else set()
    )
    for one in kept.ledger.lossy:
        assert one.fragment["operator"] == given.operator.value


@pytest.mark.rule("M1")
def test_a_rule_for_nobody_is_skipped_and_said():
    never = Rule("on", (clause(Operator.LESS, ("x",), dialect=Dialect.UNLEASH),))
    nobody = Rule(Split((Weight(None, 100_000),)), (clause(Operator.IN, ("x",)),))
    kept = kept_of(Flag.boolean("agent", rules=(never, nobody)))
    assert kept.flags[0].rules == ()
    skipped = [one.path for one in kept.ledger if one.fidelity is Fidelity.SKIPPED]
    assert skipped == ["flags.agent.rules[0]", "flags.agent.rules[1]"]
