"""Both sides are asked the same, and what they answer is counted for what it is (rule M3)."""

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from downhaul import Context, Flag, Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.errors import Refused
from downhaul.flag import (
    Clause,
    FlagKind,
    FlagSet,
    Operator,
    Prerequisite,
    Rule,
    percentage,
)
from downhaul.migrate.verify import (
    Asked,
    Case,
    Expectation,
    Options,
    Outcome,
    asked_of,
    asked_through,
    cases_from,
    compared,
    of_flags,
    questions_in,
    verify,
)
from downhaul.migrate.verify.outcomes import same
from downhaul.migrate.verify.recorded import Recorded
from downhaul.migrate.verify.report import shown
from downhaul.provider import Capability, Change, FlagProvider, ProviderStatus, State
from downhaul.result import ErrorCode, Reason, Result
from downhaul.staging import Side

TODAY = dt.date(2026, 6, 1)
READY = ProviderStatus(State.READY)
MISSING = Result(
    None, reason=Reason.ERROR, error_code=ErrorCode.FLAG_NOT_FOUND, authoritative=False
)
BROKEN = Result(
    None, reason=Reason.ERROR, error_code=ErrorCode.GENERAL, error_message="out of paper",
    authoritative=False,
)  # fmt: skip


def served(value, variant="v", reason=Reason.DEFAULT):
    return Result(value, variant, reason)


def side(name, answer, *, keys=None, status=READY, many=None):
    """Return a side that answers with what a function of flag and context gives."""
    return Asked(
        name, lambda flag, context, kind: answer(flag, context), lambda: status, keys, many
    )


def always(result):
    return lambda flag, context: result


def asking(flag="f", many=10):
    return [Case(flag, Context(f"user-{n}", {"n": n}), f"case {n}") for n in range(many)]


def run(old, new, cases=None, **fields):
    options = fields.pop("options", Options(salt=b"salt"))
    asked = asking() if cases is None else cases
    return verify(old, new, asked, options=options, today=lambda: TODAY, **fields)


# --- two answers


@pytest.mark.rule("M3")
@pytest.mark.parametrize("old, new, outcome", [
    (served(1), served(1), Outcome.MATCH),
    (served(1), served(1.0), Outcome.MATCH),
    (served(math.nan), served(math.nan), Outcome.MATCH),
    (served({"a": 1, "b": [1, {}]}), served({"b": [1.0, {}], "a": 1}), Outcome.MATCH),
    (served(1), served(2), Outcome.VALUE),
    (served([1, 2]), served([2, 1]), Outcome.VALUE),
    (served({"a": 1}), served({"a": True}), Outcome.VALUE),
    (served(1), served(True), Outcome.TYPE),
    (served(0), served(False), Outcome.TYPE),
    (served("1"), served(1), Outcome.TYPE),
    (served(""), served(None), Outcome.TYPE),
    (served({}), served([]), Outcome.TYPE),
    (served(1, "a"), served(1, "b"), Outcome.VARIANT_ONLY),
    (served(1, "a"), served(1, None), Outcome.MATCH),
    (served(1, "a"), served(2, "a"), Outcome.VALUE),
    (served(1, reason=Reason.SPLIT), served(1), Outcome.REASON_ONLY),
    (MISSING, served(1), Outcome.NOT_FOUND),
    (MISSING, MISSING, Outcome.NOT_FOUND),
    (BROKEN, served(1), Outcome.ERROR),
    (BROKEN, BROKEN, Outcome.ERROR),
    (BROKEN, MISSING, Outcome.ERROR),
])  # fmt: skip
def test_two_answers_are_told_apart_by_value_type_absence_and_error(old, new, outcome):
    assert compared(old, new).outcome is outcome
    assert compared(new, old).outcome is outcome


def test_absence_and_errors_are_of_a_side():
    assert compared(MISSING, served(1)).sides == (Side.OLD,)
    assert compared(served(1), BROKEN).sides == (Side.NEW,)
    assert compared(MISSING, MISSING).sides == (Side.OLD, Side.NEW)
    assert compared(served(1), served(2)).sides == ()


def test_a_value_of_another_kind_than_asked_for_is_a_difference_in_type_and_no_agreement():
    wrong = replace(BROKEN, error_code=ErrorCode.TYPE_MISMATCH)
    assert compared(wrong, served(1)).outcome is Outcome.TYPE
    assert compared(wrong, wrong).outcome is Outcome.TYPE


def test_leaving_it_to_the_caller_for_want_of_a_key_is_an_answer():
    keyless = replace(BROKEN, error_code=ErrorCode.TARGETING_KEY_MISSING)
    off = Result(None, None, Reason.DISABLED, authoritative=False)
    assert compared(keyless, keyless).outcome is Outcome.MATCH
    assert compared(keyless, off).outcome is Outcome.REASON_ONLY
    assert compared(keyless, served(False)).outcome is Outcome.VALUE
    assert compared(served(None), off).outcome is Outcome.VALUE


@given(json_values, json_values)
def test_equality_is_symmetric_reflexive_and_true_is_never_one(one, other):
    assert same(one, one)
    assert same(one, other) is same(other, one)
    assert not same([True, one], [1, one])
    assert not same({"a": [False]}, {"a": [0]})


# --- parity


def test_parity_leaves_errors_out_and_counts_absence_as_difference():
    answers = iter([*[served(1)] * 6, served(2), MISSING, BROKEN, served(True)])
    report = run(side("a", always(served(1))), side("b", lambda flag, context: next(answers)))
    (flag,) = report.flags
    counts = flag.cases, flag.match, flag.value, flag.type, flag.not_found, flag.error
    assert counts == (10, 6, 1, 1, 1, 1)
    assert flag.not_found_by == {Side.OLD: 0, Side.NEW: 1}
    assert flag.error_by == {Side.OLD: 0, Side.NEW: 1}
    assert flag.parity == pytest.approx(100 * 6 / 9)
    assert report.parity == flag.parity
    assert not report.passed
    assert report.failures == (
        "parity is 66.66 %, below 100 %",
        "10.00 % of the cases are errors, more than 1 %",
    )


def test_more_errors_than_allowed_fail_even_where_all_that_was_compared_agrees():
    answers = {f"user-{n}": BROKEN for n in range(2)}
    sides = (
        side("a", always(served(1))),
        side("b", lambda flag, context: answers.get(context.targeting_key, served(1))),
    )
    report = run(*sides, asking(many=100))
    assert report.parity == 100.0
    assert report.failures == ("2.00 % of the cases are errors, more than 1 %",)
    assert run(*sides, asking(many=100), options=Options(most_errors=2.0)).passed


def test_errors_of_both_sides_are_no_agreement():
    report = run(side("a", always(BROKEN)), side("b", always(BROKEN)))
    assert report.parity is None
    assert 'flag "f": nothing compared' in report.failures
    assert report.flags[0].parity is None
    assert report.flags[0].error_by == {Side.OLD: 10, Side.NEW: 10}


def test_a_flag_that_no_case_asks_about_is_nothing_compared_and_fails():
    same_side = side("a", always(served(1)))
    report = run(same_side, same_side, flags=["f", "forgotten"])
    assert [(one.flag, one.parity) for one in report.flags] == [("f", 100.0), ("forgotten", None)]
    assert report.failures == ('flag "forgotten": nothing compared',)
    assert run(same_side, same_side, []).failures == ("no flags were compared",)


def test_the_threshold_is_of_all_flags_together():
    new = side("b", lambda flag, context: served(1 if context.targeting_key != "user-0" else 2))
    cases = [*asking("f", 50), *asking("g", 50)]
    report = run(side("a", always(served(1))), new, cases, options=Options(threshold=98.0))
    assert report.parity == 98.0
    assert report.passed
    assert not run(side("a", always(served(1))), new, cases).passed


def test_parity_is_never_rounded_up():
    assert shown(99.999) == "99.99"
    assert shown(100.0) == "100.00"
    assert shown(91 + 2 / 3) == "91.66"
    assert shown(98.3) == "98.30"
    assert shown(None) == "nothing compared"


def test_names_of_variants_and_reasons_count_as_matches_and_are_told():
    answers = iter([served(1, "x"), served(1, reason=Reason.SPLIT), served(1)])
    report = run(
        side("a", always(served(1))), side("b", lambda flag, context: next(answers)), asking(many=3)
    )
    (flag,) = report.flags
    assert (flag.match, flag.variant_only, flag.reason_only, flag.parity) == (3, 1, 1, 100.0)
    assert report.passed
    assert [one.outcome for one in flag.examples] == [Outcome.VARIANT_ONLY]


# --- what is expected


def test_expected_differences_count_for_parity_until_their_day_is_over():
    expected = Expectation("f*", "another hash", TODAY)
    sides = side("a", always(served(1))), side("b", always(served(2)))
    report = run(*sides, options=Options(expected=(expected,)))
    (flag,) = report.flags
    assert (flag.value, flag.expected, flag.parity) == (10, 10, 100.0)
    assert report.passed
    assert not report.expired
    assert {one.expected for one in flag.examples} == {"another hash"}
    late = replace(expected, until=TODAY - dt.timedelta(days=1))
    report = run(*sides, options=Options(expected=(late,)))
    assert report.flags[0].expected == 0
    assert report.flags[0].parity == 0.0
    assert report.expired == (late,)
    assert not report.passed


def test_what_is_expected_may_be_some_cases_of_a_flag():
    expected = (Expectation("f", "why", TODAY, "case 1"), Expectation("f", "no", TODAY, "case ?x"))
    sides = side("a", always(served(1))), side("b", always(served(2)))
    report = run(*sides, options=Options(expected=expected))
    (flag,) = report.flags
    assert (flag.value, flag.expected, flag.parity) == (10, 1, 10.0)
    assert [one.expected for one in flag.examples] == ["", "why", "", "", ""]
    assert report.unused == expected[1:]


def test_what_is_expected_may_be_that_a_key_is_missing():
    keyless = replace(BROKEN, error_code=ErrorCode.TARGETING_KEY_MISSING)
    answers = iter([keyless, *[served(2)] * 2, *[served(1)] * 7])
    expected = Expectation("*", "bucket zero", TODAY, keyless=True)
    sides = side("a", lambda flag, context: next(answers)), side("b", always(served(1)))
    (flag,) = run(*sides, options=Options(expected=(expected,))).flags
    assert (flag.value, flag.expected) == (3, 1)


def test_errors_are_never_expected_and_an_expectation_that_nothing_met_is_told():
    expected = (Expectation("f", "why", TODAY), Expectation("other-?", "why", TODAY))
    sides = side("a", always(served(1))), side("b", always(BROKEN))
    report = run(*sides, options=Options(expected=expected))
    assert report.flags[0].expected == 0
    assert report.unused == expected
    assert not report.passed


# --- the sides


@pytest.mark.parametrize("state", [one for one in State if one is not State.READY])
def test_a_side_that_is_not_ready_is_not_asked(state):
    asked = []
    ready = side("a", lambda flag, context: asked.append(flag) or served(1))
    stale = side("b", ready.ask, status=ProviderStatus(state, "no word for an hour"))
    for sides in ((ready, stale), (stale, ready)):
        with pytest.raises(Refused, match="no word for an hour, so that its answers prove nothing"):
            run(*sides)
    assert asked == []


def test_an_exception_of_a_side_is_an_error_of_that_side_and_stops_nothing():
    def raising(flag, context):
        if context.targeting_key == "user-3":
            message = "no such luck"
            raise RuntimeError(message)
        return served(1)

    report = run(side("a", raising), side("b", always(served(1))))
    (flag,) = report.flags
    assert (flag.match, flag.error, flag.error_by[Side.OLD]) == (9, 1, 1)
    assert flag.examples[0].old.error == "GENERAL: RuntimeError: no such luck"


def test_a_side_is_asked_for_many_at_a_time_where_it_can_and_one_by_one_where_that_fails():
    sizes = []

    def many(flag, contexts):
        sizes.append((flag, len(contexts)))
        if flag == "g":
            message = "one of them"
            raise ValueError(message)
        return [served(1)] * len(contexts)

    single = []
    one = side("a", lambda flag, context: single.append(flag) or served(1), many=many)
    cases = [case for pair in zip(asking("f"), asking("g"), strict=True) for case in pair]
    report = run(one, side("b", always(served(1))), cases)
    assert report.passed
    assert sorted(sizes) == [("f", 10), ("g", 10)]
    assert single == ["g"] * 10


def test_millions_of_cases_are_a_stream():
    held, most = 0, 0

    def stream() -> Iterator[Case]:
        nonlocal held
        for number in range(100_000):
            held += 1
            yield Case("f", Context(f"u{number}"), "x")

    def many(flag, contexts):
        nonlocal held, most
        most, held = max(most, held), 0
        return [same_answer] * len(contexts)

    same_answer = served(1)
    quick = side("a", always(same_answer), many=many)
    report = run(quick, quick, stream())
    assert report.cases == 100_000
    assert most <= 20_000
    assert report.per_second > 10_000


def flag_at(percent=25, **fields):
    return Flag.boolean("f", percent=percent, allow=["anna"], **fields)


@pytest.mark.rule("M3")
def test_two_providers_of_flags_are_compared_by_cases_that_fit_them():
    plan = Rule("on", (Clause("plan", Operator.IN, ("pro",)),))
    flags = FlagSet.of([
        flag_at(rules=(plan,)), Flag.boolean("g", prerequisites=(Prerequisite("f"),)),
    ])  # fmt: skip
    moved = FlagSet.of(
        [
            flag_at(rules=(replace(plan, clauses=(replace(plan.clauses[0], ignore_case=True),)),)),
            flags.flags["g"],
            Flag.boolean("new"),
        ]
    )
    questions = questions_in(flags.flags, flags.segments)
    coverage = {one.flag: one.coverage for one in questions}
    with asked_of(MemoryProvider(flags)) as old, asked_of(MemoryProvider(flags)) as new:
        report = run(old, new, of_flags(questions), flags=flags.flags, coverage=coverage)
    assert report.passed
    assert report.parity == 100.0
    assert report.flags[0].coverage.reached == (0,)
    with asked_of(MemoryProvider(flags)) as old, asked_of(MemoryProvider(moved)) as new:
        report = run(old, new, of_flags(questions), flags=flags.flags)
    assert not report.passed
    assert [(one.flag, one.parity < 100) for one in report.flags] == [("f", True), ("g", False)]
    about = {one.about for one in report.flags[0].examples}
    assert "rule 1, clause 1 (plan): value 1 in other case" in about
    assert (report.only_old, report.only_new) == ((), ("new",))


class Vendor(FlagProvider):
    """A backend that decides by itself, whose values are texts unless it is told the kind."""

    name = "vendor"
    capabilities = frozenset({Capability.RESOLVE})

    def start(self, listener):
        self.listener = listener

    def wait_ready(self, timeout):
        return True

    def status(self):
        return READY

    def close(self, timeout=2.0):
        pass

    def resolve(self, key, context, kind):
        if key != "f":
            return replace(MISSING, value=None)
        on = context.targeting_key == "anna"
        return Result(on if kind is FlagKind.BOOLEAN else str(on).lower(), "on" if on else "off")


def test_a_backend_that_decides_by_itself_is_told_what_a_flag_holds():
    cases = [Case("f", Context(key), key) for key in ("anna", "ben")]
    flags = FlagSet.of([Flag.boolean("f", percent=0, allow=["anna"])])
    kinds = {"f": FlagKind.BOOLEAN}
    with asked_of(MemoryProvider(flags)) as old, asked_of(Vendor(), kinds) as new:
        assert run(old, new, cases).passed
    with asked_of(MemoryProvider(flags)) as old, asked_of(Vendor()) as new:
        (flag,) = run(old, new, cases).flags
    assert flag.type == 2
    with asked_of(MemoryProvider(flags)) as old, asked_of(Vendor(), kinds) as new:
        (flag,) = run(old, new, [Case("h", Context("anna"), "x")]).flags
    assert flag.not_found_by == {Side.OLD: 1, Side.NEW: 1}


def test_a_flag_that_a_backend_only_was_told_of_is_none_that_it_has():
    flags = FlagSet.of([Flag.boolean("f", percent=0, allow=["anna"]), Flag.boolean("h")])
    kinds = dict.fromkeys(flags.flags, FlagKind.BOOLEAN)
    with asked_of(MemoryProvider(flags)) as old, asked_of(Vendor(), kinds) as new:
        assert new.keys == {"f"}
        report = run(old, new, [Case("f", Context("anna"), "x")])
    assert (report.only_old, report.only_new) == (("h",), ())


def test_a_kill_is_no_difference_between_backends_but_is_one_between_clients():
    def killed():
        provider = MemoryProvider(FlagSet.of([Flag.boolean("f")]))
        from downhaul.overlay import Scope

        provider.control.record_kill(Scope.parse("f"), Change("test", "why"), killed=True)
        return provider

    cases = asking()
    with (
        asked_of(killed()) as old,
        asked_of(MemoryProvider(FlagSet.of([Flag.boolean("f")]))) as new,
    ):
        assert run(old, new, cases).passed
    with Flags.over(killed()) as one, Flags.in_memory([Flag.boolean("f")]) as other:
        old, new = asked_through(one, "killed"), asked_through(other, "alive")
        report = run(old, new, cases)
    assert (old.name, old.keys) == ("killed", {"f"})
    assert report.flags[0].value == 10
    assert report.flags[0].examples[0].old.reason == "KILLED"


def test_recorded_contexts_are_asked_of_their_flag_or_of_all():
    contexts = [Recorded(Context("a"), None, 2), Recorded(Context("b"), "g", 3)]
    cases = list(cases_from(contexts, ["f", "g"], "traffic.csv"))
    assert [(one.flag, one.context.targeting_key, one.about) for one in cases] == [
        ("f", "a", "line 2 of traffic.csv"),
        ("g", "a", "line 2 of traffic.csv"),
        ("g", "b", "line 3 of traffic.csv"),
    ]


def test_a_raised_percentage_shows_as_often_as_there_are_users_between_the_two():
    flags = [
        Flag(key="f", default=percentage("on", percent, rest="off"), on=True)
        for percent in (25, 35)
    ]
    people = (Case("f", Context(f"user-{n}"), "x") for n in range(20_000))
    with Flags.in_memory(flags[:1]) as one, Flags.in_memory(flags[1:]) as other:
        report = run(asked_through(one, "a"), asked_through(other, "b"), people)
    assert 88 < report.parity < 92


# --- what a report says of people


def test_no_identity_and_no_value_of_an_attribute_is_in_a_report():
    context = Context.multi(
        Context("anna@example.org", {"mail": "anna@example.org", "city": "Bonn"}),
        Context("acme", {"size": 5}, "organisation"),
    )
    told = replace(BROKEN, error_message="no user anna@example.org of acme in Bonn, acme")
    alone = replace(BROKEN, error_message="no user ben")
    answers = {"anna@example.org": told, "ben": alone}
    sides = (
        side("a", lambda flag, context: answers[context.targeting_key]),
        side("b", always(served(1))),
    )
    cases = [Case("f", context, "x")] * 2 + [Case("f", Context("ben"), "x")]
    first = run(*sides, cases, options=Options())
    text = repr(first)
    for secret in ("anna", "Bonn", "acme", "ben"):
        assert secret not in text
    one, again, other = first.flags[0].examples
    assert one.context == again.context != other.context
    assert one.context["user"]["attributes"] == ["city", "mail"]
    assert one.context["user"]["key"].startswith("sha256:")
    assert one.context["user"]["key"] in one.old.error
    # Another report calls the same people otherwise.
    second = run(*sides, cases, options=Options())
    assert second.flags[0].examples[0].context != one.context
    shown_ = run(*sides, cases, options=Options(show_attributes=True))
    assert shown_.flags[0].examples[0].context["user"]["attributes"]["city"] == "Bonn"
    assert "anna@example.org" not in repr(shown_.flags[0].examples[0].context["user"]["key"])


def test_a_short_key_is_hidden_only_where_it_is_a_word():
    told = replace(BROKEN, error_message="a cat, a")
    report = run(
        side("a", always(told)), side("b", always(served(1))), [Case("f", Context("a"), "x")]
    )
    error = report.flags[0].examples[0].old.error
    assert " cat, " in error
    assert error.count("sha256:") == 2


def test_so_many_examples_are_kept_of_each_outcome():
    answers = iter([*[served(2)] * 5, *[MISSING] * 5])
    report = run(
        side("a", always(served(1))),
        side("b", lambda flag, context: next(answers)),
        options=Options(examples=2),
    )
    outcomes = [one.outcome for one in report.flags[0].examples]
    assert outcomes == [Outcome.VALUE, Outcome.VALUE, Outcome.NOT_FOUND, Outcome.NOT_FOUND]


@given(st.lists(st.sampled_from([served(1), served(2), served("1"), MISSING, BROKEN]), max_size=30))
def test_every_case_is_counted_once(answers):
    given_ = iter(answers)
    report = run(
        side("a", always(served(1))),
        side("b", lambda flag, context: next(given_)),
        asking(many=len(answers)),
    )
    for one in report.flags:
        counted = one.match + one.value + one.type + one.not_found + one.error
        assert counted == one.cases == len(answers)
        assert one.match == answers.count(served(1))
