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
from downhaul.flag import FlagSet, Missing, NoKey, Operator, Prerequisite, Scheme, Split
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
