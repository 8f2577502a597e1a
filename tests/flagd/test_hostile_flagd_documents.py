"""Whatever is no flagd document is refused, whole, with every problem and its place."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import json_values

from downhaul.documents.flagd import flags_from
from downhaul.errors import DocumentError

GOOD = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}


def flag(**fields):
    return {"flags": {"f": {**GOOD, **fields}}}


def targeting(logic):
    return flag(targeting=logic)


LOOP = {"a": {"!": [{"$ref": "b"}]}, "b": {"and": [{"$ref": "a"}]}}
WRONG = {
    "a list": ([], ""),
    "no flags": ({"features": []}, ""),
    "flags": ({"flags": 5}, "flags"),
    "a flag": ({"flags": {"f": True}}, "flags.f"),
    "no key": ({"flags": [GOOD]}, "flags[0]"),
    "two of one key": ({"flags": [{"key": "f", **GOOD}, {"key": "f", **GOOD}]}, "flags[1]"),
    "state": (flag(state="ON"), "flags.f.state"),
    "variants": (flag(variants={}), "flags.f.variants"),
    "null": (flag(variants={"off": None}), "flags.f.variants.off"),
    "default": (flag(defaultVariant="gone"), "flags.f.defaultVariant"),
    "default's type": (flag(defaultVariant=5), "flags.f.defaultVariant"),
    "targeting": (targeting([1]), "flags.f.targeting"),
    "metadata": (flag(metadata={"a": []}), "flags.f.metadata.a"),
    "set metadata": ({**flag(), "metadata": 5}, "metadata"),
    "evaluators": ({**flag(), "$evaluators": [1]}, '["$evaluators"]'),
    "variant": (targeting({"if": [True, "gone"]}), "flags.f.targeting.if[1]"),
    "else": (targeting({"if": [{"var": "a"}, "on", "gone"]}), "flags.f.targeting.if[2]"),
    "true": (targeting({"==": [{"var": "a"}, "b"]}), "flags.f.targeting"),
    "weight": (targeting({"fractional": [["on", True]]}), "flags.f.targeting.fractional[0][1]"),
    "half": (targeting({"fractional": [["on", 0.5]]}), "flags.f.targeting.fractional[0][1]"),
    "part": (targeting({"fractional": [["on", 1], []]}), "flags.f.targeting.fractional[1]"),
    "loop": ({**flag(), "$evaluators": LOOP}, '["$evaluators"].a'),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_its_place(name):
    document, path = WRONG[name]
    with pytest.raises(DocumentError) as refused:
        flags_from(document)
    assert path in [problem.path for problem in refused.value.problems]
    assert all(problem.message for problem in refused.value.problems)


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"flags": NaN}', '{"flags": {"a": 1, "a": 2}}', "[" * 5000, b"\xff", "1e999"],
)
def test_text_that_is_no_document_is_refused(text):
    with pytest.raises(DocumentError):
        flags_from(text)


def test_every_problem_is_told_at_once():
    both = {"flags": {"a": {**GOOD, "state": 1}, "b": {**GOOD, "targeting": {"if": [True, "x"]}}}}
    with pytest.raises(DocumentError) as refused:
        flags_from(both)
    assert [problem.path for problem in refused.value.problems] == [
        "flags.a.state",
        "flags.b.targeting.if[1]",
    ]


WORDS = [
    "if",
    "and",
    "or",
    "!",
    "!!",
    "==",
    "===",
    "<",
    "in",
    "var",
    "some",
    "all",
    "none",
    "merge",
]
WORDS += ["fractional", "starts_with", "sem_ver", "$ref", "cat", "?:"]
SCALARS = st.sampled_from(
    [None, True, False, 0, 1, -1, 2.5, "", "on", "off", "x", "1.0.0", "targetingKey"]
)
logics = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS), inner, min_size=1, max_size=2)
        | st.dictionaries(
            st.sampled_from(WORDS), st.lists(inner, max_size=4), min_size=1, max_size=1
        )
    ),
    max_leaves=12,
)  # fmt: skip


def told_or_refused(document):
    try:
        translation = flags_from(document)
    except DocumentError as error:
        told = error.problems
    else:
        told = translation.ledger.of("f")
    assert told


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(logics, st.dictionaries(st.sampled_from(["a", "b"]), logics, max_size=2))
def test_any_targeting_is_read_or_told_or_refused(logic, evaluators):
    told_or_refused({**targeting(logic), "$evaluators": evaluators})


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from([*GOOD, "targeting", "metadata", "key"]), json_values))
def test_any_flag_is_read_or_told_or_refused(fields):
    told_or_refused(json.loads(json.dumps(flag(**fields))))
