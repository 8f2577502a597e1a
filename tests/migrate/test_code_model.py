"""What is done with references: by key, and held against a served value."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.migrate.code import (
    Default,
    DefaultKind,
    Reference,
    References,
    conflicts,
    same_value,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-2, 2, allow_nan=False)
    | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner),
    max_leaves=6,
)


def refers(key="k", kind=DefaultKind.LITERAL, value=None, *, line=1, **more):
    return Reference(
        "a.py", line, 1, "downhaul", "value", (key,), None, Default(kind, value, **more)
    )


@pytest.mark.parametrize(
    "one, other, same",
    [
        (True, True, True),
        (True, 1, False),
        (0, False, False),
        (1, 1.0, True),
        (1, "1", False),
        (None, False, False),
        (None, None, True),
        ([1, 2], (1.0, 2), True),
        ([1], [True], False),
        ([1], [1, 2], False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"b": 1}, False),
        ("control", "control", True),
    ],
)
def test_values_are_compared_with_their_types(one, other, same):
    assert same_value(one, other) is same
    assert same_value(other, one) is same


def test_conflicts_are_literal_defaults_that_differ_from_what_is_served():
    found = [
        refers(value=True, line=1),
        refers(value=False, line=2),
        refers(value=0, line=3),
        refers("other", value=False, line=4),
        refers(kind=DefaultKind.DYNAMIC, text="x", line=5),
        refers(kind=DefaultKind.NONE, line=6),
        refers(kind=DefaultKind.IMPLICIT, value=False, line=7),
        refers(kind=DefaultKind.IMPLICIT, value="control", excuse=True, line=8),
    ]
    assert [one.line for one in conflicts(found, "k", True)] == [2, 3]
    assert [one.line for one in conflicts(found, "k", True, implicit=True)] == [2, 3, 7]
    assert [one.line for one in conflicts(found, "k", False, implicit=True)] == [1, 3]
    assert conflicts(found, "nobody's", True) == ()


@given(JSON, JSON)
def test_a_default_is_in_conflict_exactly_where_it_is_not_the_same(default, served):
    in_conflict = conflicts([refers(value=default)], "k", served)
    assert bool(in_conflict) is not same_value(default, served)
    assert not conflicts([refers(value=served)], "k", served)


def test_a_reference_is_json_data():
    data = refers(value={"a": [1]}).as_mapping()
    assert json.loads(json.dumps(data)) == data
    assert set(data) == {one.name for one in fields(Reference)}
    assert data["default"] == {"kind": "literal", "value": {"a": [1]}, "text": ""}


def test_references_are_found_by_key():
    both = Reference("b.py", 1, 1, "split", "get_treatments", ("b", "a"), "x")
    bulk = Reference("c.py", 1, 1, "split", "all", bulk="all flags")
    found = References((refers("b"), both, bulk))
    assert list(found.by_key()) == ["a", "b"]
    assert found.of("b") == (found.references[0], both)
    assert found.dynamic == (both,)
    assert found.bulk == (bulk,)
    assert len(found) == len(list(found)) == 3
