"""What a caller may pass as a context, and what it is then."""

import datetime as dt
import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import contexts, json_values, texts

from downhaul import Context
from downhaul.context import ANONYMOUS, as_context
from downhaul.errors import InvalidContext


class Plan(enum.StrEnum):
    PRO = "pro"


class Old(str, enum.Enum):  # noqa: UP042  (the kind whose str() is not its value)
    PRO = "pro"


@pytest.mark.rule("E1")
@pytest.mark.parametrize(
    "case",
    [
        ("u", Context("u")),
        ("", Context()),
        (None, Context()),
        ({}, Context()),
        ({"targetingKey": "u", "plan": "pro"}, Context("u", {"plan": "pro"})),
        ({"targeting_key": "u", "plan": "pro"}, Context("u", {"plan": "pro"})),
        ({"targetingKey": "u", "targeting_key": "x"}, Context("u", {"targeting_key": "x"})),
        ({"targetingKey": None, "plan": "pro"}, Context(None, {"plan": "pro"})),
        ({"kind": "user", "key": "u", "plan": "pro"}, Context("u", {"plan": "pro"})),
        ({"kind": "org", "key": "o", "size": 5}, Context("o", {"size": 5}, "org")),
        ({"kind": "big", "size": 5}, Context(None, {"kind": "big", "size": 5})),
        ({"kind": 5, "key": "k"}, Context(None, {"kind": 5, "key": "k"})),
        (
            {"targetingKey": "u", "kind": "multi", "key": "k"},
            Context("u", {"kind": "multi", "key": "k"}),
        ),
        (
            {"kind": "multi", "user": {"key": "u", "plan": "pro"}, "org": {"key": "o"}},
            Context.multi(Context("u", {"plan": "pro"}), Context("o", {}, "org")),
        ),
        ({"kind": "multi", "org": {"key": "o"}}, Context("o", {}, "org")),
        (Plan.PRO, Context("pro")),
        (Old.PRO, Context("pro")),
        ({"targetingKey": Old.PRO}, Context("pro")),
    ],
    ids=lambda case: repr(case[0]),
)
def test_a_context_is_read_from_what_callers_have(case):
    given_, expected = case
    found = as_context(given_)
    assert found == expected
    assert type(found.targeting_key) in (str, type(None))


@pytest.mark.parametrize(
    "value",
    [
        5,
        2.5,
        True,
        b"u",
        ["u"],
        {"u"},
        object(),
        {"targetingKey": 5},
        {"targetingKey": True},
        {"kind": "user", "key": 5},
        {"kind": "multi"},
        {"kind": "multi", "user": "u"},
        {"kind": "multi", "user": {"key": 5}},
    ],
    ids=lambda value: "object" if type(value) is object else repr(value),
)
def test_what_cannot_be_a_context_is_refused_with_the_fix(value):
    with pytest.raises(InvalidContext) as caught:
        as_context(value)
    assert caught.value.hint


def test_a_context_passes_through_unchanged():
    context = Context("u", {"plan": "pro"})
    assert as_context(context) is context
    assert as_context(None) is ANONYMOUS


reserved = {"targetingKey", "targeting_key", "kind", "key"}


@given(contexts())
def test_a_context_reads_back_from_its_mapping(context):
    assert as_context(context.as_mapping()) == context


@given(
    st.none() | texts,
    st.dictionaries(texts | st.sampled_from(sorted(reserved - {"targetingKey"})), json_values),
)
def test_attributes_with_telling_names_read_back_too(key, attributes):
    context = Context(key, attributes)
    assert as_context(context.as_mapping()) == context


def test_several_kinds_lend_the_users_part_to_whatever_names_no_kind():
    user, org = Context("u", {"a": 1}), Context("o", {"a": 2}, "org")
    both = Context.multi(org, user)
    assert (both.targeting_key, both.kind, both.attributes) == ("u", "user", {"a": 1})
    assert both.of_kind("org") is org
    assert both.of_kind("user") is user
    assert both.of_kind("device") is None
    device = Context("d", {}, "device")
    assert Context.multi(org, device).targeting_key == "o"
    assert Context.multi(both, device).kinds.keys() == {"org", "user", "device"}
    assert Context.multi(user) == user
    with pytest.raises(InvalidContext, match="given twice"):
        Context.multi(user, Context("v"))
    with pytest.raises(InvalidContext, match="at least one"):
        Context.multi()


def test_what_a_context_lacks_comes_from_the_one_below():
    base = Context("app", {"plan": "free", "region": "eu"})
    assert Context("u", {"plan": "pro"}).over(base) == Context("u", {"plan": "pro", "region": "eu"})
    assert Context(None, {"plan": "pro"}).over(base).targeting_key == "app"
    assert Context().over(base) == base


def test_kinds_that_only_one_of_them_has_are_kept():
    base = Context.multi(Context("app", {"x": 1}), Context("o", {"size": 5}, "org"))
    over = Context("u").over(base)
    assert over == Context.multi(Context("u", {"x": 1}), Context("o", {"size": 5}, "org"))
    device = Context("d", {}, "device").over(base)
    assert device.kinds.keys() == {"user", "org", "device"}


def test_nobody_over_somebody_of_another_kind_adds_no_user():
    org = Context("o", {"size": 5}, "org")
    assert Context().over(org) == org
    assert Context().over(Context()) == Context()


@given(contexts(), contexts(), contexts())
def test_laying_over_is_associative_in_what_can_be_seen(one, two, three):
    left, right = one.over(two).over(three), one.over(two.over(three))
    for kind in ("user", "organisation", "device"):
        parts = [context.of_kind(kind) for context in (left, right)]
        visible = [
            None if part is None else (part.targeting_key, dict(part.attributes)) for part in parts
        ]
        assert visible[0] == visible[1]


@pytest.mark.rule("E11")
def test_the_time_of_an_evaluation_is_kept_when_contexts_are_joined_or_laid_over():
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    timed, org = Context("u").at_time(at), Context("o", {}, "org")
    assert Context.multi(org, timed).at == at
    assert timed.over(org).at == at
    assert Context("u").over(Context("app").at_time(at)).at == at
    assert timed.over(Context("app").at_time(at + dt.timedelta(1))).at == at
    assert Context("u").over(org).at is None


def test_a_context_says_what_it_is():
    assert repr(Context("u", {"a": 1})) == "Context('u', {'a': 1})"
    assert repr(Context("o", {}, "org")) == "Context('o', {}, kind='org')"
    both = Context.multi(Context("u"), Context("o", {}, "org"))
    assert repr(both) == "Context.multi(Context('u', {}), Context('o', {}, kind='org'))"
    assert Context("u") != "u"
    with pytest.raises(TypeError):
        hash(Context("u"))
