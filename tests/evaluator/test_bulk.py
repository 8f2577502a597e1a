"""A population by columns gets what each of its users gets alone."""

import datetime as dt
import json
import time
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import TEXTS, TIMES, VERSIONS, contexts, flag_sets, scalars, targeting_keys

from downhaul import Context, Flag, Flags, Segment
from downhaul.errors import InvalidContext
from downhaul.evaluator import batch
from downhaul.evaluator import bulk as module
from downhaul.evaluator.bucketing import chooser
from downhaul.evaluator.bulk import Bulk, attributes_read
from downhaul.evaluator.columns import choosing
from downhaul.evaluator.compile import World
from downhaul.evaluator.view import View
from downhaul.flag import (
    WHOLE,
    Bucketing,
    Clause,
    Gate,
    Keys,
    Missing,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    SegmentRule,
    Split,
    Weight,
    percentage,
)
from downhaul.overlay import KillRecord, Overlay, Scope
from downhaul.result import ErrorCode, Reason, Result

NOW = dt.datetime(2026, 1, 31, 9, tzinfo=dt.UTC)

_values = (
    scalars
    | st.sampled_from(TIMES + VERSIONS + TEXTS)
    | st.sampled_from(["10.1.2.3", "2001:db8::1", True, 1, 1.0, "1", -0.0, 0])
    | st.lists(scalars, max_size=3)
    | st.fixed_dictionaries({"city": st.sampled_from(TEXTS)})
    | st.none()
)


@st.composite
def populations(draw):
    """Keys and columns, with missing ones, and no column at all for some attributes."""
    size = draw(st.integers(0, 30))
    keys = draw(st.lists(
        st.none() | st.just("") | targeting_keys, min_size=size, max_size=size
    ))  # fmt: skip
    names = draw(st.sets(st.sampled_from(
        ["plan", "age", "since", "version", "ip", "roles", "address", "extra"]
    )))  # fmt: skip
    columns = {
        name: draw(st.lists(_values, min_size=size, max_size=size)) for name in sorted(names)
    }
    return keys, columns


def world_of(flag_set, overlay=None):
    return World(
        flag_set.flags,
        flag_set.segments,
        provider="test",
        clock=lambda: NOW,
        **({} if overlay is None else {"overlay": overlay}),
    )


def one_by_one(world, key, keys, columns):
    decide = View(world).results[key]
    return [
        decide(Context(one, {name: column[row] for name, column in columns.items()}))
        for row, one in enumerate(keys)
    ]


def typed(result):
    return json.dumps(result.value, sort_keys=True, default=repr), result


@pytest.mark.parametrize("chunk", [7, 10_000])
@given(flag_set=flag_sets(), people=populations())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_by_columns_everybody_gets_what_they_get_alone(chunk, flag_set, people):
    keys, columns = people
    world = world_of(flag_set)
    # Dice that always fall the same, so that two paths can be compared.
    with patch("random.randrange", return_value=0), patch.object(module, "_CHUNK", chunk):
        for key in flag_set.flags:
            answers = list(Bulk(world, key).answers(keys, columns))
            assert list(map(typed, answers)) == list(
                map(typed, one_by_one(world, key, keys, columns))
            )


@given(flag_set=flag_sets(), people=populations(), others=st.lists(contexts(), max_size=3))
@settings(suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.slow
def test_many_contexts_are_answered_as_each_is_whatever_the_flag(flag_set, people, others):
    keys, columns = people
    asked = [
        Context(one, {name: column[row] for name, column in columns.items()})
        for row, one in enumerate(keys)
    ]
    plain = [key for key in keys if key is not None]
    with (
        patch("random.randrange", return_value=0),
        patch.object(batch, "_FEW", 1),
        patch.object(batch, "_CHUNK", 11),
        Flags.in_memory(flag_set.flags.values(), flag_set.segments.values()) as flags,
    ):
        for key in flag_set.flags:
            for many in (asked, plain, asked + others, plain + asked):
                found = flags.evaluate_many(key, many)
                assert list(map(typed, found)) == [typed(flags.evaluate(key, one)) for one in many]


@given(
    scheme=st.sampled_from([one for one in Scheme if one is not Scheme.RANDOM]),
    total=st.sampled_from([7, 100, 1000, WHOLE]),
    salt=st.none() | st.text(max_size=5).filter(lambda one: one.isascii()),
    seed=st.integers(-(2**31), 2**32 - 1),
    weights=st.lists(st.integers(0, 60), min_size=1, max_size=5),
    closed=st.booleans(),
    keys=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=40)
    | st.lists(st.text(st.characters(max_codepoint=127), max_size=140), max_size=40),
)
def test_a_list_of_keys_is_placed_as_each_key_is(scheme, total, salt, seed, weights, closed, keys):
    bucketing = Bucketing(scheme, salt=salt, seed=seed, total=total)
    weights = [weight * total // 300 for weight in weights]
    if scheme is Scheme.UNLEASH:
        bucketing = replace(bucketing, seed=abs(seed))
    closed = closed and scheme is Scheme.LAUNCHDARKLY
    keys = [*keys, *map(str, range(200))]
    one = chooser(bucketing, "f", weights, closed=closed)
    assert list(choosing(bucketing, "f", weights, closed=closed)(keys)) == list(map(one, keys))


def test_an_edge_of_launchdarkly_lies_at_the_same_hash_as_for_one_key():
    # An edge that is the very measure of some key: the key is not below it, by either path.
    bucketing = Bucketing(Scheme.LAUNCHDARKLY, salt="f.s", total=1)
    for number in range(300):
        key = f"user-{number}"
        one = chooser(Bucketing(Scheme.LAUNCHDARKLY, salt="f.s"), "f", [WHOLE])
        assert one(key) == 0
        place = _measure(key)
        for edge in (place, place * (1 + 2**-52), place * (1 - 2**-52)):
            with patch("downhaul.evaluator.columns.edges_of", return_value=[edge]):
                (found,) = choosing(bucketing, "f", [1])([key])
            assert found == (edge <= place)


def _measure(key):
    from downhaul.evaluator.bucketing import measure_of

    return measure_of(Bucketing(Scheme.LAUNCHDARKLY, salt="f.s"), "f")(key)


@pytest.mark.parametrize("scheme", [Scheme.SPLIT, Scheme.SPLIT_LEGACY, Scheme.UNLEASH])
def test_the_last_bucket_belongs_to_the_last_weight(scheme):
    keys = [f"user-{number}" for number in range(2_000)]
    one = chooser(Bucketing(scheme, seed=3, total=100), "f", [99, 1])
    found = list(choosing(Bucketing(scheme, seed=3, total=100), "f", [99, 1])(keys))
    assert found == list(map(one, keys))
    assert 5 < sum(found) < 40


@pytest.mark.parametrize("chunk", [1, 10_000])
def test_true_one_and_the_text_are_three_values_of_a_column(chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    clause = Clause("level", Operator.IN, (1,))
    flag = Flag(key="f", default="off", on=True, rules=(Rule("on", (clause,)),))
    levels = [True, 1, 1.0, "1", None, [1], [True], False]
    answers = Bulk(World({"f": flag}), "f").answers(["u"] * 8, {"level": levels})
    assert [one.value for one in answers] == [False, True, True, False, False, True, False, False]


def test_a_gate_of_a_segment_lets_in_whom_it_lets_in_alone():
    segment = Segment("s", rules=(SegmentRule((), Gate(30_000)),))
    rule = Rule("on", (Clause("", Operator.IN_SEGMENT, ("s",)),))
    world = World({"f": Flag(key="f", default="off", on=True, rules=(rule,))}, {"s": segment})
    keys = [*(f"user-{number}" for number in range(500)), None]
    answers = Bulk(world, "f").answers(keys)
    assert list(answers) == one_by_one(world, "f", keys, {})
    assert 100 < answers.by_variant()["on"] < 200


def test_contexts_that_are_of_a_time_of_their_own_are_asked_one_by_one():
    clause = Clause("now", Operator.AFTER, ("2026-06-01T00:00:00Z",), missing=Missing.NOW)
    flag = Flag(key="f", default="off", on=True, rules=(Rule("on", (clause,)),))
    years = [Context("u").at_time(NOW.replace(year=year)) for year in (2025, 2030)]
    with Flags.in_memory([flag]) as flags:
        many = flags.evaluate_many("f", years * 100)
    assert [one.value for one in many] == [False, True] * 100


def test_answers_count_by_variant_and_tell_reasons():
    flag = Flag.boolean("f", percent=25, allow=["user-0"], deny=["user-1"])
    keys = [*(f"user-{number}" for number in range(2_000)), "", None]
    answers = Bulk(World({"f": flag}), "f").answers(keys)
    counts = answers.by_variant()
    assert counts[None] == 2
    assert counts["on"] + counts["off"] == 2_000
    assert 400 < counts["on"] < 600
    by_reason = {(one.reason, one.variant): count for one, count in answers.by_result()}
    assert by_reason[Reason.TARGETING_MATCH, "on"] == 1
    assert by_reason[Reason.TARGETING_MATCH, "off"] == 1
    assert by_reason[Reason.ERROR, None] == 2
    assert sum(by_reason.values()) == len(answers) == 2_002


def test_a_kill_and_an_off_switch_hold_for_a_population_too():
    flags = {"f": Flag.boolean("f"), "g": Flag.boolean("g", prerequisites=(Prerequisite("f"),))}
    kill = KillRecord(Scope.parse("f"), 1, killed=True)
    world = World(flags, overlay=Overlay(flags={"f": kill}))
    killed, requiring = (Bulk(world, key).answers(["a", "b"]) for key in ("f", "g"))
    assert {one.reason for one in killed} == {Reason.KILLED}
    assert [one.value for one in requiring] == [False, False]
    off = Bulk(World({"f": Flag.boolean("f", on=False)}), "f").answers(["a"])
    assert next(iter(off)).reason is Reason.DISABLED


def test_nested_segments_by_key_by_rule_and_by_exclusion():
    inner = Segment("inner", included=(Keys(frozenset(["in"])),))
    outer = Segment(
        "outer",
        included=(Keys(frozenset(["vip"])),),
        excluded=(Keys(frozenset(["out"])),),
        rules=(
            SegmentRule((Clause("", Operator.IN_SEGMENT, ("inner",)),)),
            SegmentRule((Clause("plan", Operator.IN, ("pro",)),)),
        ),
    )
    rule = Rule("on", (Clause("", Operator.IN_SEGMENT, ("outer", "nowhere")),))
    world = World(
        {"f": Flag(key="f", default="off", on=True, rules=(rule,))},
        {"inner": inner, "outer": outer},
    )
    keys = ["vip", "out", "in", "x", "y", None]
    plans = ["free", "pro", "free", "pro", "free", "pro"]
    answers = Bulk(world, "f").answers(keys, {"plan": plans})
    assert [one.value for one in answers] == [True, False, True, True, False, True]


def test_a_key_that_has_no_utf8_is_told_as_such_and_keeps_nobody_else_from_an_answer():
    flag = Flag.boolean("f", percent=50)
    keys = ["a", "b", "\ud800", "c"]
    found = list(Bulk(World({"f": flag}, provider="p"), "f").answers(keys))
    with pytest.raises(UnicodeEncodeError):
        View(World({"f": flag})).results["f"]("\ud800")
    assert found[2].error_code is ErrorCode.INVALID_CONTEXT
    assert found[2].provider == "p"
    assert not found[2].authoritative
    decide = View(World({"f": flag}, provider="p")).results["f"]
    assert [found[0], found[1], found[3]] == [decide("a"), decide("b"), decide("c")]


def test_only_columns_that_decide_are_read():
    segment = Segment("s", rules=(SegmentRule((Clause("/address/city", Operator.IN, ("Bonn",)),)),))
    needed = Flag.boolean("g", percent=5)
    flag = Flag(
        key="f",
        default=Split((Weight("on", 50), Weight("off", 50)), Bucketing(by=("team",), total=100)),
        on=True,
        prerequisites=(Prerequisite("g"),),
        rules=(
            Rule("on", (Clause("", Operator.IN_SEGMENT, ("s",)),)),
            Rule("on", (Clause("plan", Operator.PRESENT),), Gate(5, Bucketing(by=("/x/y",)))),
            Rule("on", (Clause("size", Operator.PRESENT, context_kind="device"),)),
        ),
    )
    world = World({"f": flag, "g": needed}, {"s": segment})
    assert attributes_read(flag, world) == {"address", "team", "plan", "x"}
    assert Bulk(world, "f").reads == {"address", "team", "plan", "x"}


def test_what_is_wrong_with_a_population_is_told():
    world = World({"f": Flag(
        key="f", default="off", on=True, rules=(Rule("on", (Clause("a", Operator.PRESENT),)),)
    )})  # fmt: skip
    bulk = Bulk(world, "f")
    with pytest.raises(ValueError, match="3 keys, but 2 values of 'a'"):
        bulk.answers(["a", "b", "c"], {"a": [1, 2]})
    with pytest.raises(InvalidContext, match="a string, not int"):
        bulk.answers([1])
    with pytest.raises(KeyError):
        Bulk(world, "nobody")


def test_a_flag_that_its_backend_decides_is_not_asked_in_bulk():
    world = World({"f": Flag.boolean("f")}, ask=lambda key, context, kind: Result(True))
    with pytest.raises(ValueError, match="one user at a time"):
        Bulk(world, "f")


def test_a_flag_that_cannot_be_understood_is_an_error_for_everybody():
    rule = Rule("on", (Clause("g", Operator.SERVES, ([],)),))  # what can't be a variant's name
    flag = Flag(key="f", default="off", on=True, rules=(rule,))
    world = World({"f": flag, "g": Flag.boolean("g")}, provider="p")
    found = list(Bulk(world, "f").answers(["a", "b"]))
    assert found == one_by_one(world, "f", ["a", "b"], {})
    assert found[0].error_code is ErrorCode.PARSE_ERROR


def test_a_million_users_take_less_than_a_second_of_processor_time(record_property):
    plan = Clause("plan", Operator.IN, ("pro", "team"))
    rule = Rule(percentage("on", 25, rest="off"), (plan,))
    flag = Flag(
        key="f",
        default="off",
        on=True,
        rules=(rule,),
        targets=Flag.boolean("f", allow=["u1"]).targets,
    )
    keys = [f"u{number}" for number in range(100_000)]
    plans = ["pro", "free", "team", None] * 25_000
    bulk = Bulk(World({"f": flag}), "f")
    spent = []
    for _ in range(5):
        began = time.process_time()
        answers = bulk.answers(keys, {"plan": plans})
        spent.append((time.process_time() - began) * 10)
    record_property("seconds for a million users", min(spent))
    assert 11_000 < answers.by_variant()["on"] < 14_000
    assert min(spent) < 1
