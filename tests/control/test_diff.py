"""Differences between documents, as a person reads them, and losing nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.control.diff import differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.sampled_from(["key", "on", "tags", "default", "rules"]), JSON)


def canonical(document):
    return json.dumps(document, sort_keys=True)


def shown(before, after):
    return [str(one) for one in differences(before, after)]


@pytest.mark.parametrize(
    "before, after, lines",
    [
        ({"on": False}, {"on": True}, ["on: false -> true"]),
        ({}, {"owner": "team-a"}, ['owner: (none) -> "team-a"']),
        ({"tags": ["a", "b"]}, {"tags": ["b", "c"]}, ['tags: +"c" -"a"']),
        (
            {"default": {"split": [{"variant": "on", "weight": 25_000}]}},
            {"default": {"split": [{"variant": "on", "weight": 500}]}},
            ["default.split[on].weight: 25 % -> 0.5 %"],
        ),
        (
            {"default": {"split": [{"variant": "on", "weight": 25}], "bucketing": {"total": 100}}},
            {"default": {"split": [{"variant": "on", "weight": 50}], "bucketing": {"total": 100}}},
            ["default.split[on].weight: 25 % -> 50 %"],
        ),
        (
            {"targets": [{"variant": "on", "keys": ["u1"]}]},
            {"targets": [{"variant": "on", "keys": ["u1", "u2"]}]},
            ['targets[on].keys: +"u2"'],
        ),
        (
            {"rules": [{"serve": "on"}]},
            {"rules": [{"serve": "off"}]},
            ['rules[0].serve: "on" -> "off"'],
        ),
        ({}, {"off_variant": None}, ["off_variant: (none) -> null"]),
        ({"version": "1", "on": True}, {"version": "2", "on": True}, []),
        ({"variants": {"on": True}}, {"variants": {"on": 1}}, ["variants.on: true -> 1"]),
    ],
)
def test_a_change_reads_as_the_field_and_both_values(before, after, lines):
    assert shown(before, after) == lines


def test_a_created_flag_lists_every_field():
    assert [one.path for one in differences(None, {"key": "a", "on": True})] == ["key", "on"]


@given(DOCUMENTS)
def test_a_document_never_differs_from_itself(document):
    assert differences(document, document) == ()


@given(DOCUMENTS, DOCUMENTS)
def test_documents_that_differ_have_differences(before, after):
    assert bool(differences(before, after)) is (canonical(before) != canonical(after))


def test_a_long_value_is_cut_in_the_line_and_whole_in_the_fields():
    found = differences({"about": ""}, {"about": "x" * 500})[0]
    assert len(str(found)) < 120
    assert found.after == "x" * 500
