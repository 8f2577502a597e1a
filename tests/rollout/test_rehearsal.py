"""The way back, proved without exposing anyone; and that a bad one would be seen."""

import datetime as dt
import time
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rollout_strategies import flags_to_raise
from strategies import contexts, flag_sets, targeting_keys

from downhaul.backends.edits import with_rollout
from downhaul.context import Context
from downhaul.encoding import flag_from_data
from downhaul.errors import InvalidContext, Refused
from downhaul.flag import (
    Bucketing,
    Clause,
    Flag,
    FlagKind,
    FlagSet,
    Gate,
    Keys,
    NoKey,
    Operator,
    Rule,
    Scheme,
    Segment,
    SegmentRule,
    Split,
    Target,
    Weight,
    percentage,
)
from downhaul.rollout import rehearsal
from downhaul.rollout.lint import lint, refusing
from downhaul.rollout.planfile import make_plan
from downhaul.rollout.population import STRANGERS, population
from downhaul.rollout.rehearsal import rehearse

PLAN = make_plan(flag="a", variant="on", error_rate="5%")
GREEN = make_plan(flag="a", variant="on", audience="qa-1,qa-2", error_rate="5%")
NOW = dt.datetime(2026, 3, 28, 9, tzinfo=dt.UTC)


def held(plan, flag, *others, segments=(), **more):
    return rehearse(plan, flag, FlagSet.of([flag, *others], segments), **more)


# --- a good way back


@pytest.mark.rule("R8")
def test_the_way_back_of_the_guides_canary_holds():
    found = held(PLAN, Flag.boolean("a", on=False, percent=0, allow=["anna"], deny=["ben"]))
    assert found.held
    assert found.population == STRANGERS + 3  # a context without a key as well
    assert (found.flag, found.variant, found.digest) == ("a", "on", PLAN.digest)
    shares = [count / found.population for count in found.exposed]
    assert shares == sorted(shares)
    assert shares[:-1] == pytest.approx([0.01, 0.05, 0.1, 0.25, 0.5], abs=0.03)
    assert found.exposed[-1] == found.population - 1  # all but ben


@pytest.mark.rule("R8", "E7")
@given(flags_to_raise(), st.lists(contexts() | targeting_keys, max_size=20))
def test_the_way_back_of_any_plan_on_any_flag_holds(case, people):
    flag, plan = case
    assume(not refusing(lint(plan, flag)))
    found = held(plan, flag, population=people, now=NOW)
    assert found.held, found
    assert found.population == len(people)
    assert list(found.exposed) == sorted(found.exposed)


@pytest.mark.rule("R8")
@given(flag_sets(most=2), st.data())
@pytest.mark.slow
def test_it_holds_among_other_flags_with_the_population_made_for_it(around, data):
    segments = list(around.segments)
    flag, plan = data.draw(
        flags_to_raise(key=st.just("raised"), segments=segments, others=list(around.flags.values()))
    )
    assume(not refusing(lint(plan, flag)))
    people = population(flag, around.segments, plan.audience)
    few = [people[0], *people[STRANGERS:]]
    found = rehearse(plan, flag, around, few, NOW)
    assert found.held, found


@pytest.mark.rule("R8", "R9")
@pytest.mark.parametrize("on", [True, False])
def test_blue_green_shows_the_audience_first_and_goes_back_in_one_write(on):
    found = held(GREEN, Flag.boolean("a", on=on, percent=0))
    assert found.held
    assert found.exposed == (2, STRANGERS + 3)


@pytest.mark.rule("R9")
def test_blue_is_in_its_place_after_the_first_act_already():
    flag = Flag(
        key="a",
        kind=FlagKind.STRING,
        variants={"blue": "1", "green": "2", "none": "0"},
        off_variant="none",
        on=True,
        default="blue",
    )
    plan = make_plan(flag="a", variant="green", strategy="blue-green", error_rate="5%")
    ((_, switched),) = rehearsal._climbing(plan, flag)
    back = rehearsal._first_act(plan, flag, switched)
    stage = rehearsal._Stage(flag, FlagSet.of([flag]), NOW)
    assert {one.variant for one in stage.answers(switched, ["u", "v"])} == {"green"}
    assert {one.variant for one in stage.answers(back, ["u", "v"])} == {"blue"}


def test_it_begins_where_the_flag_is():
    plan = make_plan(flag="a", steps="50,100", error_rate="5%")
    found = held(plan, Flag.boolean("a", percent=25))
    assert found.held
    assert found.variant == "on"


@pytest.mark.rule("R8")
def test_dice_are_rehearsed_too():
    bucketing = Bucketing(scheme=Scheme.RANDOM, no_key=NoKey.RANDOM)
    flag = Flag(
        key="a",
        on=True,
        default=Split((Weight("on", 1_000), Weight("off", 99_000)), bucketing),
        rules=(
            Rule("on", (Clause("x", Operator.PRESENT),), Gate(50_000, bucketing)),
            Rule("on", (Clause("", Operator.IN_SEGMENT, ("s",)),)),
        ),
    )
    plan = make_plan(flag="a", steps="5,100", error_rate="5%")
    assert held(plan, flag, segments=[Segment("s", (Keys(frozenset({"x"})),))]).held


# --- a bad one is seen


@pytest.mark.rule("R8")
def test_a_restore_that_brings_something_else_is_seen(monkeypatch):
    flag = Flag.boolean("a", percent=1, allow=["anna"])
    monkeypatch.setattr(
        rehearsal, "flag_from_data", lambda data: replace(flag_from_data(data), targets=())
    )
    found = held(PLAN, flag)
    assert not found.held
    (moved,) = found.unlike
    assert (moved.key, moved.when, moved.before, moved.got) == (
        "anna",
        "after the restore",
        "on",
        "off",
    )


@pytest.mark.rule("R8")
def test_a_restore_that_gives_the_same_for_another_reason_is_seen(monkeypatch):
    flag = Flag.boolean("a", on=False, percent=0)
    monkeypatch.setattr(
        rehearsal, "flag_from_data", lambda data: replace(flag_from_data(data), on=True)
    )
    found = held(PLAN, flag, population=["u"])
    assert [(one.before, one.got) for one in found.unlike] == [("off", "off")]


@pytest.mark.rule("R8")
def test_an_off_variant_that_is_the_new_one_serves_more_on_the_way():
    found = held(PLAN, Flag.boolean("a", on=False, percent=0, off_variant="on"))
    assert not found.held
    assert found.more[0].when == "going back from step 1"
    assert {one.got for one in found.more} == {"on"}


@pytest.mark.rule("E7")
def test_a_raise_that_takes_the_variant_from_somebody_is_seen(monkeypatch):
    flag = Flag.boolean("a", on=False, percent=0)

    def moving(before, variant, action):
        salted = Bucketing(salt=str(action.weight))
        after = with_rollout(before, variant, action.weight)
        return replace(after, on=True, default=replace(after.default, bucketing=salted))

    monkeypatch.setattr(rehearsal, "aim", moving)
    found = held(PLAN, flag)
    assert not found.held
    assert not found.more
    assert found.lost[0].when == "raising to step 2"


def test_a_plan_that_the_flag_cannot_take_is_refused():
    split = Split((Weight("on", 0), Weight("off", 7)), Bucketing(total=7))
    with pytest.raises(Refused, match="splits by 7 buckets"):
        held(PLAN, Flag(key="a", default=split))


def test_what_is_no_context_is_refused():
    with pytest.raises(InvalidContext):
        held(PLAN, Flag.boolean("a", percent=0), population=[object()])


# --- the population


def served_by_rule(flag, segments=(), plan=PLAN):
    """Return how many of the made population reach the variant although the percentage is 0."""
    people = population(flag, FlagSet.of([], segments).segments)
    stage = rehearsal._Stage(flag, FlagSet.of([flag], segments), NOW)
    return sum(one.variant == plan.variant for one in stage.answers(flag, people))


@pytest.mark.parametrize(
    "clause",
    [
        Clause("plan", Operator.IN, ("pro", "free")),
        Clause("/address/city", Operator.STARTS_WITH, ("Ber",)),
        Clause("/a~1b/c~0d", Operator.ENDS_WITH, ("x",)),
        Clause("mail", Operator.CONTAINS, ("@",)),
        Clause("mail", Operator.MATCHES, ("^pro$",)),
        Clause("age", Operator.EQUAL, (5,)),
        Clause("age", Operator.LESS, (5,)),
        Clause("age", Operator.LESS_OR_EQUAL, (5,)),
        Clause("age", Operator.GREATER, (5,)),
        Clause("age", Operator.GREATER_OR_EQUAL, (5,)),
        Clause("since", Operator.SAME_TIME, ("2026-01-31T09:00:00Z",)),
        Clause("since", Operator.BEFORE, ("2026-01-31T09:00:00Z",)),
        Clause("since", Operator.AFTER, ("2026-01-31T09:00:00Z",)),
        Clause("since", Operator.AT_OR_BEFORE, ("2026-01-31T09:00:00Z",)),
        Clause("since", Operator.AT_OR_AFTER, ("2026-01-31T09:00:00Z",)),
        Clause("version", Operator.SEMVER_EQUAL, ("2.1.3",)),
        Clause("version", Operator.SEMVER_LESS, ("2.1.3",)),
        Clause("version", Operator.SEMVER_GREATER, ("2.1.3",)),
        Clause("ip", Operator.IN_CIDR, ("10.1.2.3/16",)),
        Clause("roles", Operator.HAS_ANY, ("a", "b")),
        Clause("roles", Operator.HAS_ALL, ("a", "b")),
        Clause("roles", Operator.SET_EQUALS, ("a", "b")),
        Clause("roles", Operator.SUBSET_OF, ("a", "b")),
        Clause("targetingKey", Operator.IN, ("anna",)),
        Clause("plan", Operator.IN, ("pro",), context_kind="organisation"),
        Clause("", Operator.IN_SEGMENT, ("named",)),
        Clause("", Operator.IN_SEGMENT, ("ruled",)),
    ],
    ids=lambda clause: f"{clause.operator}-{clause.values}",
)
@pytest.mark.parametrize("negate", [False, True], ids=["plain", "negated"])
def test_somebody_of_the_population_meets_each_rule(clause, negate):
    segments = [
        Segment("named", included=(Keys(frozenset({"anna"})),)),
        Segment("ruled", rules=(SegmentRule((Clause("plan", Operator.IN, ("pro",)),)),)),
    ]
    rule = Rule("on", (replace(clause, negate=negate),))
    flag = Flag(key="a", on=True, default="off", rules=(rule,))
    assert served_by_rule(flag, segments) > 0


def test_somebody_has_what_only_has_to_be_there():
    rule = Rule("on", (Clause("plan", Operator.PRESENT),))
    assert served_by_rule(Flag(key="a", on=True, default="off", rules=(rule,))) > 0


def test_strangers_have_what_the_split_hashes():
    bucketing = Bucketing(by=("tenant",), context_kind="organisation")
    split = Split((Weight("on", 50_000), Weight("off", 50_000)), bucketing)
    flag = Flag(key="a", on=True, default=split)
    assert served_by_rule(flag) == pytest.approx(STRANGERS / 2, rel=0.1)


def test_the_population_has_everybody_whom_the_flag_names():
    flag = Flag.boolean("a", percent=1, allow=["anna"], deny=["ben"])
    teams = Target("on", frozenset({"team-1"}), "organisation")
    people = population(replace(flag, targets=(*flag.targets, teams)), {}, ("qa-1",))
    assert {"anna", "ben", "qa-1"} <= {one for one in people if isinstance(one, str)}
    contexts_ = [one for one in people if isinstance(one, Context)]
    assert ("organisation", "team-1") in [(one.kind, one.targeting_key) for one in contexts_]
    assert contexts_[-1].targeting_key is None


def test_a_rehearsal_is_quick_beside_ten_thousand_flags():
    flag = Flag.boolean("a", percent=0, allow=["anna"])
    others = FlagSet.of([flag, *(Flag(key=f"f{n}", default="on") for n in range(10_000))])
    started = time.perf_counter()
    assert rehearse(PLAN, flag, others).held
    assert time.perf_counter() - started < 2  # some 0.05 s; the rest is for a loaded machine


def test_only_what_the_flag_needs_is_compiled():
    needs = Flag.boolean(
        "a", percent=0, rules=(Rule("on", (Clause("", Operator.IN_SEGMENT, ("s",)),)),)
    )
    inner = Clause("b", Operator.SERVES, ("on",))
    segment = Segment("s", rules=(SegmentRule((inner,)),))
    others = [Flag(key="b", default=percentage("on", 5, rest="off")), Flag(key="c", default="on")]
    flags, segments = rehearsal._needed(needs, FlagSet.of([needs, *others], [segment]))
    assert (set(flags), set(segments)) == ({"a", "b"}, {"s"})
