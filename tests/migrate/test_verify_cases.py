"""Cases ask all of a flag, and would show a flag that decides otherwise anywhere."""

import random
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import KINDS, NUMBERS, TEXTS, TIMES, VERSIONS, flag_sets

from downhaul import Context, Flag, Segment
from downhaul.evaluator.compile import World
from downhaul.evaluator.explain import story
from downhaul.evaluator.view import View
from downhaul.flag import (
    CONTEXT_KIND,
    TARGETING_KEY,
    Bucketing,
    Clause,
    Dialect,
    FlagKind,
    Gate,
    Keys,
    NoKey,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    SegmentRule,
    Split,
    Target,
    Weight,
    percentage,
)
from downhaul.migrate.verify import cases as making
from downhaul.migrate.verify import cases_of, questions_in, questions_of
from downhaul.migrate.verify.buckets import SEARCHED, candidate, edge_keys
from downhaul.migrate.verify.patterns import samples
from downhaul.migrate.verify.search import Lab
from downhaul.migrate.verify.values import MISSING, PER_CLAUSE, values_of

STEADY = tuple(one for one in Scheme if one is not Scheme.RANDOM)

ODDITIES = [
    *TEXTS, *NUMBERS, *TIMES, *VERSIONS, True, False, 1.5, "10.1.2.3", "2001:db8::1", "192.168.1.7",
    ["pro"], ["pro", "de"], [], [1, 5], {"city": "de"}, {"city": "pro"}, None, "pro1", "9",
]  # fmt: skip
WHO = ["user-1", "user-2", "user-3", "日本", "a,b c", None, *map(str, range(20))]
NAMES = ["plan", "age", "since", "version", "ip", "roles", "address", "extra"]


def anybody(dice):
    """Return a context out of the same pools that generated flags ask about."""
    kinds = dice.sample(KINDS, dice.choice([1, 1, 2, 3]))
    return Context.multi(*(
        Context(
            dice.choice(WHO),
            {name: dice.choice(ODDITIES) for name in dice.sample(NAMES, dice.randrange(6))},
            kind,
        )
        for kind in kinds
    ))  # fmt: skip


def ruled(*rules, **fields):
    return Flag(**{"key": "f", "default": "off", "on": True, "rules": rules, **fields})


def on_if(*clauses, **fields):
    return ruled(Rule("on", tuple(clauses)), **fields)


def decisions(flag, cases, segments=(), flags=()):
    world = World({"f": flag} | {one.key: one for one in flags}, {one.key: one for one in segments})
    decide = View(world).results["f"]
    return [decide(case.context) for case in cases]


def differs(flag, other, segments=(), flags=()):
    """Return whether cases made from a flag show that another one decides otherwise."""
    cases = cases_of(flag, {one.key: one for one in segments}, {one.key: one for one in flags})
    found = (decisions(one, cases, segments, flags) for one in (flag, other))
    return any(one.value != two.value for one, two in zip(*found, strict=True))


def values(clause):
    return [one.value for one in values_of(clause).tried]


# --- every rule


@pytest.mark.rule("M3")
@given(flag_set=flag_sets(), seed=st.integers(0, 2**32))
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_whatever_rule_a_long_blind_search_hits_is_hit_by_a_case(flag_set, seed):
    flags = {key: replace(flag, on=True) for key, flag in flag_set.flags.items()}
    lab = Lab(flags, flag_set.segments)
    dice = random.Random(seed)
    for questions in questions_in(flags, flag_set.segments):
        missed = {one.rule: one.why for one in questions.coverage.unreached}
        by_dice = any("by dice" in one for one in questions.left_out)
        if not missed or by_dice:
            continue
        puzzle = lab.puzzle(questions.flag)
        hit = {puzzle.stage(anybody(dice)).rule for _ in range(300)}
        assert not hit & missed.keys(), missed


@given(flag_set=flag_sets())
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_each_case_says_by_which_part_of_the_flag_it_is_decided(flag_set):
    world = World(flag_set.flags, flag_set.segments)
    view = View(world)
    for questions in questions_in(flag_set.flags, flag_set.segments):
        for case in questions.cases:
            result = view.results[case.flag](case.context)
            last = story(world, case.flag, case.context, result)[-1].what
            if result.error_code is not None:
                assert case.decided == "no key"
            elif last == "targets":
                assert case.decided == "target"
            elif last.startswith("rule "):
                assert case.decided == " ".join(last.split()[:2])
            else:
                assert case.decided == last.split()[0]
        reached = {f"rule {number + 1}" for number in questions.coverage.reached}
        assert reached == {one.decided for one in questions.cases if one.decided[:4] == "rule"}


def test_cases_are_the_same_in_every_process():
    program = """
from downhaul import Flag
from downhaul.flag import *
from downhaul.migrate.verify import cases_of
plan = Clause("plan", Operator.IN, ("pro", "team"))
rules = (Rule("on", (plan, Clause("age", Operator.LESS, (9,)))),
         Rule("off", (Clause("roles", Operator.HAS_ALL, ("a", "b")),), Gate(30_000)))
flag = Flag(key="f", default=percentage("on", 25, rest="off"), on=True, rules=rules,
            targets=(Target("on", frozenset({"x", "y", "z"})),))
print([(one.about, one.decided, one.context) for one in cases_of(flag, {}, {})])
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert said.pop().count(b"rule 2") > 10


def test_no_context_is_asked_twice():
    cases = cases_of(on_if(Clause("a", Operator.IN, (1, "1", True))), {}, {})
    assert len({repr(one.context) for one in cases}) == len(cases)
    asked = [one.context.attributes.get("a") for one in cases]
    assert {(bool, True), (int, 1), (str, "1")} <= {(type(one), one) for one in map(_bare, asked)}


def _bare(value):
    return str(value) if isinstance(value, list) else value


# --- the edges of clauses


@pytest.mark.parametrize("clause, wanted", [
    (Clause("a", Operator.GREATER, (18,)), [17, 18, 19, 17.5, 18.5, 18.0, "18", True, MISSING]),
    (Clause("a", Operator.LESS_OR_EQUAL, (2.5,)), [2.5, 1.5, 3.5, 2.0, 3.0, "2.5"]),
    (
        Clause("a", Operator.BEFORE, ("2026-01-31T09:00:00Z",)),
        ["2026-01-31T08:59:59Z", "2026-01-31T09:00:00Z", "2026-01-31T09:00:01Z",
         "2026-01-31T11:00:00+02:00"],
    ),
    (
        Clause("a", Operator.AFTER, (1769850000000,), dialect=Dialect.LAUNCHDARKLY),
        [1769849999000, 1769850000000, 1769850001000, "2026-01-31T09:00:00Z"],
    ),
    (
        Clause("a", Operator.AT_OR_AFTER, (1769850000,), dialect=Dialect.SPLIT),
        [1769849999, 1769850000, 1769850001, 1769849940, 1769850060, 1769936400],
    ),
    (
        Clause("a", Operator.SEMVER_GREATER, ("2.1.3",)),
        ["2.1.3", "2.1.2", "2.1.4", "2.2.0", "3.0.0", "2.1.3-0", "2.1.3+build", "2.1", "2"],
    ),
    (
        Clause("a", Operator.IN_CIDR, ("10.1.0.0/16",)),
        ["10.1.0.0", "10.1.255.255", "10.0.255.255", "10.2.0.0", "::ffff:10.1.0.0"],
    ),
    (
        Clause("a", Operator.IN, ("Pro",)),
        ["Pro", "pro", "PRO", "Pr", "ro", "Prox", "xPro", " Pro ", "", ["Pro"], [], None],
    ),
    (Clause("a", Operator.IN, ("é",)), ["é", "e\u0301"]),
    (Clause("a", Operator.IN, (1,)), [1, 1.0, "1", True, 0]),
    (Clause("a", Operator.IN, (True,)), [True, False, 1, "true"]),
    (
        Clause("a", Operator.HAS_ALL, ("x", "y")),
        [["x", "y"], ["x"], [], ["x", "y", "downhaul"], ["y", "x"], ["X", "Y"], "x,y"],
    ),
    (Clause("a", Operator.MATCHES, ("^a[0-9]{2}$",)), ["a00", "xa00", "a00x", "a0"]),
    (Clause("a", Operator.PRESENT), [MISSING, None, "", False, 0]),
])  # fmt: skip
def test_values_on_each_side_of_each_edge_are_tried(clause, wanted):
    tried = [(type(one), one) for one in values(clause)]
    assert [one for one in wanted if (type(one), one) not in tried] == []


@pytest.mark.parametrize("operator", [
    one for one in Operator if one not in (Operator.IN_SEGMENT, Operator.SERVES)
])  # fmt: skip
@pytest.mark.parametrize("negate", [False, True])
@pytest.mark.parametrize("dialect", Dialect)
def test_every_operator_is_asked_from_inside_and_from_outside(operator, negate, dialect):
    known = {
        Operator.MATCHES: ("^v[0-9]+(alpha|beta)?$",),
        Operator.IN_CIDR: ("10.0.0.0/8", "2001:db8::/32"),
        Operator.PRESENT: (),
    }
    if "semver" in operator:
        known[operator] = ("2.1.0",)
    if operator in (Operator.SAME_TIME, Operator.BEFORE, Operator.AFTER,
                    Operator.AT_OR_BEFORE, Operator.AT_OR_AFTER):  # fmt: skip
        known[operator] = ("2026-01-31T09:00:00Z",)
    asked = known.get(operator, ("5", "6") if dialect is Dialect.UNLEASH else (5, 6))
    if operator in (Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.CONTAINS):
        asked = ("ab",)
    if operator.value.startswith(("has_", "set_", "subset")):
        asked = ("a", "b")
    flag = on_if(Clause("x", operator, asked, negate=negate, dialect=dialect))
    cases = cases_of(flag, {}, {})
    decided = {one.decided for one in cases if "rule 1" in one.about}
    assert decided == {"rule 1", "default"}


CLAUSES = [
    (Clause("age", Operator.GREATER, (18,)), {"operator": Operator.GREATER_OR_EQUAL}),
    (Clause("age", Operator.GREATER, (18,)), {"values": (19,)}),
    (Clause("age", Operator.EQUAL, (18,)), {"operator": Operator.IN, "values": ("18",)}),
    (Clause("age", Operator.LESS, (18,)), {"missing": "false", "negate": True}),
    (Clause("plan", Operator.IN, ("Pro",)), {"ignore_case": True}),
    (Clause("plan", Operator.IN, ("Pro",)), {"operator": Operator.STARTS_WITH}),
    (Clause("plan", Operator.IN, ("Pro",)), {"operator": Operator.ENDS_WITH}),
    (Clause("plan", Operator.STARTS_WITH, ("Pro",)), {"operator": Operator.CONTAINS}),
    (Clause("plan", Operator.IN, ("Pro",)), {"attribute": "Plan"}),
    (Clause("plan", Operator.IN, ("Pro",)), {"context_kind": "device"}),
    (Clause("plan", Operator.IN, ("Pro",)), {"negate": True}),
    (Clause("plan", Operator.IN, (1,)), {"dialect": Dialect.UNLEASH}),
    (Clause("plan", Operator.IN, (True,)), {"values": (1,)}),
    (Clause("plan", Operator.IN, ("a", "b", "c")), {"values": ("a", "b")}),
    (Clause("plan", Operator.IN, ("caf\u00e9",)), {"values": ("cafe\u0301",)}),
    (Clause("since", Operator.BEFORE, (TIMES[0],)), {"operator": Operator.AT_OR_BEFORE}),
    (Clause("since", Operator.BEFORE, (TIMES[0],)), {"values": ("2026-01-31T09:00:01Z",)}),
    (Clause("v", Operator.SEMVER_LESS, ("2.1.3",)), {"operator": Operator.SEMVER_LESS_OR_EQUAL}),
    (Clause("v", Operator.SEMVER_EQUAL, ("2.1.3",)), {"operator": Operator.IN}),
    (Clause("v", Operator.SEMVER_EQUAL, ("2.1.0",)), {"dialect": Dialect.LAUNCHDARKLY}),
    (Clause("ip", Operator.IN_CIDR, ("10.0.0.0/8",)), {"values": ("10.0.0.0/9",)}),
    (Clause("ip", Operator.IN_CIDR, ("10.0.0.0/8",)), {"dialect": Dialect.UNLEASH}),
    (Clause("r", Operator.HAS_ALL, ("a", "b")), {"operator": Operator.HAS_ANY}),
    (Clause("r", Operator.HAS_ALL, ("a", "b")), {"operator": Operator.SET_EQUALS}),
    (Clause("r", Operator.SUBSET_OF, ("a", "b")), {"operator": Operator.SET_EQUALS}),
    (Clause("r", Operator.HAS_ANY, ("a", "b")), {"operator": Operator.IN}),
    (Clause("r", Operator.PRESENT), {"operator": Operator.IN, "values": ("downhaul",)}),
    (Clause("x", Operator.MATCHES, ("^v[0-9]+$",)), {"values": ("v[0-9]+",)}),
    (Clause(TARGETING_KEY, Operator.IN, ("anna",)), {"values": ("Anna",)}),
    (Clause("/a/city", Operator.IN, ("Bonn",)), {"attribute": "/a/town"}),
    (Clause(CONTEXT_KIND, Operator.IN, ("device",)), {"values": ("org",)}),
]


@pytest.mark.rule("M3")
@pytest.mark.parametrize("clause, change", CLAUSES)
def test_a_clause_that_is_read_otherwise_anywhere_shows(clause, change):
    changed = replace(clause, **change)
    assert differs(on_if(clause), on_if(changed))
    assert not differs(on_if(clause), on_if(replace(clause)))
    # Among others it shows as well, and before a split that hides half of what is changed.
    beside = Clause("country", Operator.IN, ("DE",))
    assert differs(on_if(beside, clause), on_if(beside, changed))
    if clause.attribute == TARGETING_KEY:
        return  # whoever the split serves the same shows nothing, and nothing else can be moved
    default = percentage("on", 50, rest="off")
    assert differs(on_if(clause, default=default), on_if(changed, default=default))
    assert differs(on_if(beside, clause, default=default), on_if(beside, changed, default=default))


# --- the other parts of a flag


def weighted(*weights, **how):
    names = ("a", "b", "c")
    return Split(tuple(map(Weight, names, weights)), Bucketing(total=sum(weights), **how))


def three(serve, **fields):
    return Flag(
        key="f", kind=FlagKind.STRING, variants={"a": "A", "b": "B", "c": "C"}, default=serve,
        off_variant="a", on=True, **fields,
    )  # fmt: skip


@pytest.mark.parametrize("scheme", STEADY)
def test_a_split_is_asked_on_both_sides_of_each_edge(scheme):
    how = {"scheme": scheme, "seed": 7, "salt": "s"}
    flag = three(weighted(20, 30, 50, **how))
    assert {one.value for one in decisions(flag, cases_of(flag, {}, {}))} >= {"A", "B", "C"}
    for other in ((21, 29, 50), (20, 29, 51)):
        assert differs(flag, three(weighted(*other, **how)))
    assert differs(flag, three(weighted(20, 30, 50, **{**how, "salt": "t", "seed": 8})))


def test_no_key_that_was_looked_at_lies_nearer_to_an_edge():
    bucketing = Bucketing(Scheme.UNLEASH, salt="g", total=1000)
    found = edge_keys(bucketing, "f", (250, 750))
    from downhaul.evaluator.bucketing import bucket_of

    places = {one: bucket_of(bucketing, "f", one) for one in map(candidate, range(SEARCHED))}
    inside = next(one for one in found if one.index == 0 and one.inside)
    beyond = next(one for one in found if one.index == 0 and not one.inside)
    last = next(one for one in found if one.index == 1)
    assert places[inside.key] == max(place for place in places.values() if place < 250)
    assert places[beyond.key] == min(place for place in places.values() if place >= 250)
    assert places[last.key] == max(places.values())


def test_even_a_weight_of_a_few_thousandths_is_asked_about():
    flag = three(Split((Weight("a", 20), Weight("b", 99_960), Weight("c", 20))))
    served = {one.value for one in decisions(flag, cases_of(flag, {}, {}))}
    assert served == {"A", "B", "C", None}  # None: who has no key


@pytest.mark.parametrize("no_key", [NoKey.ERROR, NoKey.MISS, NoKey.FIRST])
def test_whoever_has_nothing_to_bucket_by_is_asked_about(no_key):
    flag = three(weighted(20, 30, 50, by=("team",), no_key=no_key))
    for other in set(NoKey) - {no_key, NoKey.RANDOM}:
        changed = three(weighted(20, 30, 50, by=("team",), no_key=other))
        assert differs(flag, changed) or {no_key, other} == {NoKey.MISS, NoKey.FIRST}


def test_a_second_attribute_to_bucket_by_is_asked_about():
    flag = three(weighted(20, 30, 50, by=("team", "office")))
    assert differs(flag, three(weighted(20, 30, 50, by=("team",))))
    assert differs(flag, three(weighted(20, 30, 50, by=("office", "team"))))
    split = percentage("b", 50, rest="c")
    split = replace(split, bucketing=replace(split.bucketing, by=("team", "office")))
    flag = three("a", rules=(Rule(split, (Clause("team", Operator.PRESENT),)),))
    asked = [one.context.attributes for one in cases_of(flag, {}, {}) if ", by office" in one.about]
    assert asked
    assert all(one["office"] and "team" not in one for one in asked)


def test_each_kind_of_context_is_asked_about_alone_and_all_together():
    flag = three(weighted(20, 30, 50, context_kind="device"), rules=(
        Rule("b", (Clause("size", Operator.LESS, (5,), context_kind="organisation"),)),
    ))  # fmt: skip
    kinds = [frozenset(one.context.kinds or {one.context.kind}) for one in cases_of(flag, {}, {})]
    every = {"user", "device", "organisation"}
    assert {frozenset(every), *(frozenset([one]) for one in every)} <= set(kinds)


def test_a_gate_is_asked_on_both_sides():
    gated = ruled(Rule("on", (), Gate(30, Bucketing(Scheme.SPLIT, seed=1, total=100))))
    wider = ruled(Rule("on", (), Gate(31, Bucketing(Scheme.SPLIT, seed=1, total=100))))
    assert differs(gated, wider)


def test_targets_are_asked_about_by_their_first_key_their_last_and_a_stranger():
    targets = (Target("b", frozenset("klm")), Target("c", frozenset("x"), "device"))
    flag = three("a", targets=targets)
    assert differs(flag, three("a", targets=(Target("b", frozenset("lm")), targets[1])))
    assert differs(flag, three("a", targets=(Target("b", frozenset("kl")), targets[1])))
    assert differs(flag, three("a", targets=targets[:1]))
    assert differs(flag, three("a", targets=(targets[0], Target("c", frozenset("x")))))
    assert differs(flag, three("c", targets=targets))


def test_a_segment_is_asked_about_by_member_by_exclusion_and_by_each_nested_rule():
    def with_(**fields):
        made = {
            "included": (Keys(frozenset(["anna"])),),
            "excluded": (Keys(frozenset(["carl"])),),
            "rules": (
                SegmentRule((Clause("mail", Operator.ENDS_WITH, ("@x.org",)),)),
                SegmentRule((Clause("", Operator.IN_SEGMENT, ("inner",)),)),
                SegmentRule((Clause("size", Operator.LESS, (5,)),), Gate(50_000)),
            ),
        }
        return Segment("outer", **{**made, **fields})

    inner = Segment("inner", rules=(SegmentRule((Clause("age", Operator.GREATER, (40,)),)),))
    flag = on_if(Clause("", Operator.IN_SEGMENT, ("outer",)))
    cases = cases_of(flag, {"outer": with_(), "inner": inner}, {})

    def shows(outer, inside=inner):
        before = decisions(flag, cases, (with_(), inner))
        after = decisions(flag, cases, (outer, inside))
        return any(one.value != two.value for one, two in zip(before, after, strict=True))

    rules = with_().rules
    assert not shows(with_())
    assert shows(with_(included=()))
    for left in range(3):
        assert shows(with_(rules=tuple(rule for rule in rules if rule is not rules[left])))
    assert shows(with_(rules=(*rules[:2], replace(rules[2], gate=Gate(50_100)))))
    wider = Clause("size", Operator.LESS_OR_EQUAL, (5,))
    assert shows(with_(rules=(*rules[:2], replace(rules[2], clauses=(wider,)))))
    anywhere = Clause("mail", Operator.CONTAINS, ("@x.org",))
    assert shows(with_(rules=(SegmentRule((anywhere,)), *rules[1:])))
    older = Clause("age", Operator.GREATER_OR_EQUAL, (40,))
    assert shows(with_(), replace(inner, rules=(SegmentRule((older,)),)))
    carl = [one for one in cases if one.about.endswith("excluded, key 1")]
    assert [one.context.targeting_key for one in carl] == ["carl"]


def test_prerequisites_are_asked_about_with_each_variant_of_the_flag_that_is_required():
    rules = tuple(Rule(name, (Clause("x", Operator.IN, (name,)),)) for name in "bc")
    needed = replace(three("a"), key="g", rules=rules)
    flag = ruled(prerequisites=(Prerequisite("g", ("b",)),), default="on")
    cases = cases_of(flag, {}, {"g": needed})
    assert {one.decided for one in cases} == {"default", "prerequisite"}
    for wanted in (("c",), ("b", "c"), ("a",)):
        other = replace(flag, prerequisites=(Prerequisite("g", wanted),))
        assert differs(flag, other, flags=(needed,))
    served = on_if(Clause("g", Operator.SERVES, ("b",)))
    assert differs(served, on_if(Clause("g", Operator.SERVES, ("b", "c"))), flags=(needed,))


def test_flags_that_require_each_other_have_cases_too():
    flags = {
        key: Flag.boolean(key, prerequisites=(Prerequisite(other),))
        for key, other in (("f", "g"), ("g", "f"))
    }
    assert all(one.cases for one in questions_in(flags, {}))


# --- what the cases come to


def test_a_rule_that_cannot_be_reached_is_named_with_the_reason():
    plan = Clause("plan", Operator.IN, ("pro",))
    flag = ruled(
        Rule("on", (plan,)),
        Rule("off", (plan, Clause("age", Operator.GREATER, (5,)))),
        Rule("on", (Clause("a", Operator.GREATER, (5,)), Clause("a", Operator.LESS, (5,)))),
        Rule("on", (), Gate(0)),
        Rule(Split((Weight(None, 100_000),))),
        Rule("on"),
        Rule("off", (Clause("b", Operator.PRESENT),)),
    )
    coverage = questions_of(flag, {}, {}).coverage
    assert coverage.rules == 7
    assert coverage.reached == (0, 5)
    whys = {one.rule: one.why for one in coverage.unreached}
    assert whys[1].startswith("shadowed by rule 1:")
    assert whys[2] == "no context was found that meets all of its clauses"
    assert whys[3] == "its gate lets nobody in"
    assert whys[4] == "its split leaves everybody to what follows"
    assert whys[6] == "shadowed by rule 6, which is for everybody"


def test_of_a_flag_that_is_off_no_rule_decides_and_the_cases_say_so():
    flag = on_if(Clause("plan", Operator.IN, ("pro",)), on=False)
    questions = questions_of(flag, {}, {})
    assert {one.decided for one in questions.cases} == {"off"}
    assert questions.coverage.unreached[0].why.startswith("the flag is off")
    # They are the cases of the flag when it is on, so that another side's being on shows.
    assert differs(flag, replace(flag, on=True))


def test_a_prerequisite_that_always_fails_is_why_a_rule_is_not_reached():
    flag = on_if(Clause("a", Operator.PRESENT), prerequisites=(Prerequisite("g"),))
    found = questions_of(flag, {}, {"g": Flag.boolean("g", percent=0)})
    assert "prerequisite failed" in found.coverage.unreached[0].why


def test_a_clause_of_very_many_values_is_bounded_and_what_is_left_out_is_told():
    clause = Clause("id", Operator.IN, tuple(f"account-{number}" for number in range(5_000)))
    questions = questions_of(on_if(clause), {}, {})
    assert len(values(clause)) <= PER_CLAUSE
    assert len(questions.cases) < PER_CLAUSE + 40
    assert any("rule 1, clause 1 (id)" in one and "values" in one for one in questions.left_out)
    asked = {str(one.context.attributes.get("id")) for one in questions.cases}
    assert {"account-0", "account-11", "account-4999"} <= asked


def test_a_flag_of_very_many_rules_is_bounded_and_what_is_left_out_is_told(monkeypatch):
    rules = [Rule("on", (Clause(f"a{n}", Operator.GREATER, (n,)),)) for n in range(20)]
    whole = questions_of(ruled(*rules), {}, {})
    assert not whole.left_out
    monkeypatch.setattr(making, "PER_FLAG", 300)
    questions = questions_of(ruled(*rules), {}, {})
    assert questions.cases == whole.cases[:300]
    left = len(whole.cases) - 300
    assert questions.left_out == (f"{left} contexts beyond the 300 of one flag",)


def test_what_dice_decide_is_left_out_and_told():
    dice = Split((Weight("on", 50), Weight("off", 50)), Bucketing(Scheme.RANDOM, total=100))
    clause = Clause("plan", Operator.IN, ("pro",))
    questions = questions_of(ruled(Rule(dice, (clause,)), default="off"), {}, {})
    assert {one.decided for one in questions.cases} == {"default"}
    assert any("decided by dice" in one for one in questions.left_out)
    assert "dice" in questions.coverage.unreached[0].why


@given(flag_set=flag_sets())
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_what_a_case_is_about_names_nobody(flag_set):
    named = {"user-1", "user-2", "user-3", "日本", "a,b c"}
    for questions in questions_in(flag_set.flags, flag_set.segments):
        for case in questions.cases:
            for one in named:
                assert one not in case.about.replace(case.flag, "")


# --- texts that an expression may match


@pytest.mark.parametrize("pattern", [
    "^pro", "[0-9]+$", "(?i)PRO|free", "é+", "a{3,}", r"\d\d-\w+@x\.de", "(?P<n>ab)+(cd|ef)$",
    "[^a]x", "(a|b)(c|d)", r"^[\w.]+@(gmail|web)\.(com|de)$", "x?y*z", "[]a]", "a|b|c",
])  # fmt: skip
def test_a_guess_at_an_expression_matches_it(pattern):
    clause = Clause("x", Operator.MATCHES, (pattern,))
    cases = cases_of(on_if(clause), {}, {})
    assert {one.decided for one in cases if "clause" in one.about or "hold" in one.about} >= {
        "rule 1"
    }


@given(st.text(st.sampled_from("ab()[]{}|*+?.^$\\d1,:<>P-"), max_size=12))
def test_no_expression_however_broken_stops_the_guessing(pattern):
    assert all(isinstance(one, str) for one in samples(pattern))


def test_percentages_of_flags_made_by_hand_are_covered():
    flag = Flag.boolean("f", percent=25, allow=["anna"], deny=["ben"])
    questions = questions_of(flag, {}, {})
    assert {one.decided for one in questions.cases} == {"target", "default", "no key"}
    assert differs(flag, replace(flag, default=percentage("on", 25.1, rest="off")))
