"""Whatever the flags, the compiled decision is what the model says, by every road."""

import datetime as dt
import functools
from dataclasses import fields, is_dataclass, replace

import pytest
import reference_evaluator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import contexts, flag_sets

from downhaul.backends.memory import MemoryProvider
from downhaul.client.assembly import MemoryKeeper
from downhaul.client.engine import Engine
from downhaul.client.flags import Flags
from downhaul.flag import Bucketing, Clause, Dialect, Flag, FlagKind, NoKey, Operator, Scheme
from downhaul.overlay import KillRecord, Overlay, Scope, ScopeKind
from downhaul.result import ErrorCode, Reason

NOW = dt.datetime(2026, 1, 31, 9, tzinfo=dt.UTC)


@functools.singledispatch
def settled(one):
    """Return a flag set without chance, and with clauses of the native dialect."""
    if isinstance(one, tuple):
        return tuple(map(settled, one))
    if is_dataclass(one):
        changed = {each.name: settled(getattr(one, each.name)) for each in fields(one)}
        return replace(one, **changed)
    return one


@settled.register
def _(one: dict):
    return {key: settled(value) for key, value in one.items()}


@settled.register
def _(one: Bucketing):
    by_chance = one.scheme is Scheme.RANDOM
    return replace(
        one,
        scheme=Scheme.DOWNHAUL if by_chance else one.scheme,
        no_key=NoKey.FIRST if one.no_key is NoKey.RANDOM else one.no_key,
    )


@settled.register
def _(one: Clause):
    usable = one.values
    if one.operator is Operator.IN_CIDR or one.operator.value.startswith(("has", "set", "sub")):
        usable = tuple(value for value in one.values if isinstance(value, (str, int, float)))
    return replace(one, dialect=Dialect.NATIVE, values=usable)


def kills(flag_set):
    """Overlays over a flag set: by flag, by tag, of everything, or none."""
    flags = flag_set.flags.values()
    tags = sorted({tag for flag in flags for tag in flag.tags})
    record = KillRecord(Scope(ScopeKind.FLAG, "x"), 1, killed=True, actor="ana", reason="bad")

    def some(names):
        if not names:
            return st.just({})
        return st.lists(st.sampled_from(names), max_size=2).map(
            lambda all_: dict.fromkeys(all_, record)
        )

    return st.just(Overlay()) | st.builds(
        Overlay,
        flags=some(sorted(flag_set.flags)),
        tags=some(tags),
        everything=st.sampled_from([None, None, None, record]),
    )


worlds = flag_sets().map(settled).flatmap(lambda one: st.tuples(st.just(one), kills(one)))
asked = contexts().map(lambda context: context.at_time(NOW))


def client(flag_set, overlay):
    provider = MemoryProvider(flag_set)
    engine = Engine(provider, lambda on_overlay: MemoryKeeper(provider.control, on_overlay))
    engine.start(1)
    engine.killed(overlay)
    return Flags(engine)


def check(world, several):
    flag_set, overlay = world
    flags = client(flag_set, overlay)
    for key, flag in flag_set.flags.items():
        for context in several:
            variant, reason, rule = reference_evaluator.decide(flag_set, overlay, key, context)
            result = flags.evaluate(key, context)
            assert (result.variant, result.reason.value) == (variant, reason)
            assert result.metadata.get("rule", "") == rule
            assert flags.is_enabled(key, context, default=True) is enabled(flag, result, True)
            assert flags.is_enabled(key, context, default=False) is enabled(flag, result, False)
            check_value(flag, result)


def enabled(flag, result, default):
    if result.variant is None:
        return False if result.reason is Reason.KILLED else default
    if flag.kind is FlagKind.BOOLEAN:
        return flag.variants[result.variant]
    return result.variant != flag.off_variant


def check_value(flag, result):
    if result.variant is not None:
        assert result.value == flag.variants[result.variant]
        assert result.authoritative
        assert result.error_code is None
    elif result.reason is Reason.ERROR:
        assert result.error_code is ErrorCode.TARGETING_KEY_MISSING
        assert not result.authoritative
    else:
        killed = result.reason is Reason.KILLED and flag.kind is FlagKind.BOOLEAN
        assert result.authoritative is killed
        assert result.value is (False if killed else None)
    assert result.flag_version == (flag.version or result.flag_version)


several_contexts = st.lists(asked, min_size=1, max_size=4)


@pytest.mark.rule("E1", "E4", "E5")
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(worlds, several_contexts)
def test_a_compiled_decision_is_what_the_model_says(world, several):
    check(world, several)


@pytest.mark.slow
@pytest.mark.rule("E1", "E4", "E5")
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(
    flag_sets(most=8).map(settled).flatmap(lambda one: st.tuples(st.just(one), kills(one))),
    several_contexts,
)
def test_a_compiled_decision_is_what_the_model_says_for_larger_sets(world, several):
    check(world, several)


@pytest.mark.rule("E1")
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(worlds, several_contexts)
@pytest.mark.slow
def test_all_roads_lead_to_one_answer(world, several):
    flag_set, overlay = world
    flags = client(flag_set, overlay)
    odd = [*several, None, "user-1", "", {"targetingKey": "user-2", "plan": "pro"}, 17]
    everything = [flags.evaluate_all(one) for one in odd]
    for key in flag_set.flags:
        results = [flags.evaluate(key, one) for one in odd]
        assert flags.evaluate_many(key, odd) == results
        assert [results_of_all[key] for results_of_all in everything] == results
        assert [flags.explain(key, one).result for one in odd] == results
        for one, result in zip(odd, results, strict=True):
            branches = {name: name for name in flag_set.flags[key].variants} | {"\n": None}
            branch = flags.choose(key, one, branches, otherwise="\n")
            assert branch == result.variant


@pytest.mark.rule("E1")
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(worlds, several_contexts)
def test_an_explanation_ends_where_the_decision_was_made(world, several):
    flag_set, overlay = world
    flags = client(flag_set, overlay)
    for key, flag in flag_set.flags.items():
        for context in several:
            told = flags.explain(key, context)
            *before, last = told.steps
            assert last.matched
            assert not any(step.matched for step in before)
            assert last.what == step_of(flag, told.result, last)
            assert str(told).startswith(f"{key}: ")
            assert all(part.matched for part in last.parts)


def step_of(flag, result, last):
    if result.reason is Reason.KILLED:
        return "kill"
    if "prerequisite" in result.metadata:
        return f'prerequisite "{result.metadata["prerequisite"]}"'
    if result.reason is Reason.DISABLED:
        return "off"
    if result.reason is Reason.ERROR:  # no key: at a gate, at a rule's split, or at the default
        return last.what if last.what.startswith("rule ") else "default"
    if "rule" in result.metadata:
        names = [rule.id or str(index) for index, rule in enumerate(flag.rules)]
        matching = [index for index, name in enumerate(names) if name == result.metadata["rule"]]
        rule = flag.rules[int(last.what.split()[1]) - 1]
        assert flag.rules.index(rule) in matching
        return last.what
    return "targets" if result.reason is Reason.TARGETING_MATCH else "default"


@pytest.mark.rule("E1")
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    shape=st.tuples(
        st.integers(0, 100_000), st.frozensets(st.sampled_from(["u1", "u2", "日本"]), max_size=2)
    ),
    keys=st.lists(
        st.sampled_from(["u1", "u2", "u3", "日本", "", "\ud800"]) | st.text(), max_size=60
    ),
)
def test_a_batch_is_the_same_as_one_by_one(shape, keys):
    weight, allowed = shape
    flags = Flags.in_memory([Flag.boolean("f", percent=weight / 1000, allow=allowed)])
    for default in (None, False, 1.0):
        one_by_one = [flags.evaluate("f", key, default) for key in keys]
        assert flags.evaluate_many("f", keys, default) == one_by_one
        assert flags.evaluate_many("f", iter(keys), default) == one_by_one
