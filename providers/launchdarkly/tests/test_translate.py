"""What is read from LaunchDarkly decides here as LaunchDarkly's own evaluator decides."""

import json

import pytest
from downhaul_emulators.launchdarkly import boolean
from downhaul_launchdarkly.translate import context_from, flags_from
from hypothesis import given
from hypothesis import strategies as st
from ldclient import Context as TheirContext
from ldclient.impl.evaluator import Evaluator
from ldclient.impl.events.types import EventFactory
from ldclient.impl.model import FeatureFlag
from ldclient.impl.model import Segment as TheirSegment
from random_launchdarkly import CONTEXTS, payloads

from downhaul import Flags
from downhaul.errors import DocumentError
from downhaul.ledger import Fidelity

SEGMENT = {"attribute": "", "op": "segmentMatch", "negate": False}


@pytest.mark.rule("E9", "M1")
@given(payload=payloads(), asked=st.lists(CONTEXTS, min_size=1, max_size=5))
def test_what_was_read_decides_as_the_sdk_does(payload, asked):
    translation = flags_from(json.dumps(payload))
    assert not translation.ledger.lossy
    ours = Flags.in_memory(translation.flags, translation.segments)
    models = {key: FeatureFlag(one) for key, one in payload["flags"].items()}
    segments = {key: TheirSegment(one) for key, one in payload["segments"].items()}
    evaluator = Evaluator(models.get, segments.get, lambda _key: None)
    for context in asked:
        parts = [TheirContext.from_dict({"kind": kind, **one}) for kind, one in context.items()]
        theirs = parts[0] if len(parts) == 1 else TheirContext.create_multi(*parts)
        for key, model in models.items():
            detail = evaluator.evaluate(model, theirs, EventFactory(False)).detail
            result = ours.evaluate(key, context_from({"kind": "multi", **context}), "mine")
            expected = "mine" if detail.value is None else detail.value
            assert result.value == expected, (
                detail.reason,
                ours.explain(key, {"kind": "multi", **context}),
            )


def rest_flag(**environments):
    sent = boolean("agent", percent=25)
    here = {name: sent[name] for name in ("on", "salt", "version", "offVariation", "fallthrough")}
    rule = {
        "_id": "r",
        "clauses": [{"_id": "c", "attribute": "plan", "op": "in", "values": ["pro"]}],
        "variation": 0,
    }
    environments = environments or {"production": {**here, "rules": [rule]}}
    variations = [{"_id": "t", "value": True}, {"_id": "f", "value": False}]
    return {"key": "agent", "variations": variations, "tags": ["ai"], "environments": environments}


@pytest.mark.parametrize("listed", [False, True])
def test_a_flag_of_the_rest_api_is_read_with_its_tags(listed):
    document = {"items": [rest_flag()]} if listed else rest_flag()
    (flag,) = flags_from(document).flags
    assert (flag.key, flag.tags, flag.off_variant, flag.version) == ("agent", ("ai",), "off", "1")
    assert [(one.id, one.serve) for one in flag.rules] == [("r", "on")]
    assert [one.weight for one in flag.default.weights] == [25_000, 75_000]


def test_a_document_of_several_environments_is_not_read_as_one_of_them():
    with pytest.raises(DocumentError, match="production, test"):
        flags_from(rest_flag(production={}, test={}))


@pytest.mark.parametrize(
    "changed",
    [
        {"offVariation": 7},
        {"fallthrough": {}},
        {"prerequisites": [{"key": "elsewhere", "variation": 0}]},
        {
            "rules": [
                {"clauses": [{"attribute": "a", "op": "resembles", "values": [1]}], "variation": 0}
            ]
        },
        {"variations": None},
    ],
)
def test_what_would_decide_otherwise_here_is_left_out_and_told(changed):
    translation = flags_from({"flags": {"agent": {**boolean("agent"), **changed}}})
    assert translation.flags == ()
    (entry,) = translation.ledger
    assert (entry.flag, entry.fidelity) == ("agent", Fidelity.MANUAL)


def test_what_needs_something_that_is_left_out_is_left_out_too():
    clause = {"attribute": "", "op": "segmentMatch", "values": ["big"]}
    document = {
        "flags": {
            "bad": boolean("bad", fallthrough={}),
            "child": boolean("child", prerequisites=[{"key": "bad", "variation": 0}]),
            "leaf": boolean("leaf", prerequisites=[{"key": "child", "variation": 0}]),
            "vip": boolean("vip", rules=[{"id": "r", "clauses": [clause], "variation": 0}]),
            "vips": boolean("vips", prerequisites=[{"key": "vip", "variation": 0}]),
            "good": boolean("good"),
        },
        "segments": {"big": {"key": "big", "unbounded": True}},
    }
    translation = flags_from(document)
    assert [one.key for one in translation.flags] == ["good"]
    lossy = [entry.flag for entry in translation.ledger.lossy]
    assert lossy == ["bad", "child", "leaf", "vip", "vips", ""]


def test_what_needs_itself_is_left_out_with_whatever_needs_that():
    def inside(key):
        return [{"id": "r", "clauses": [{**SEGMENT, "values": [key]}], "variation": 0}]

    needs = {
        "one": boolean("one", prerequisites=[{"key": "two", "variation": 0}]),
        "two": boolean("two", prerequisites=[{"key": "one", "variation": 0}]),
        "three": boolean("three", prerequisites=[{"key": "one", "variation": 0}]),
        "four": boolean("four", rules=inside("in")),
        "good": boolean("good"),
    }
    within = {
        key: {"key": key, "rules": [{"clauses": [{**SEGMENT, "values": [other]}]}]}
        for key, other in (("in", "out"), ("out", "in"))
    }
    translation = flags_from({"flags": needs, "segments": within})
    assert ([one.key for one in translation.flags], translation.segments) == (["good"], ())
    told = {(one.flag, one.path) for one in translation.ledger.lossy}
    assert told == {
        *((key, f"flags.{key}") for key in ("one", "two", "three", "four")),
        *(("", f"segments.{key}") for key in within),
    }


@pytest.mark.parametrize("pattern", ["(?!no)", "(a)\\1", r"\pL", r"a\z"])
def test_a_pattern_that_python_and_re2_do_not_share_is_told(pattern):
    clause = {"attribute": "plan", "op": "matches", "values": [pattern]}
    rules = [{"id": "r", "clauses": [clause], "variation": 0}]
    translation = flags_from({"flags": {"agent": boolean("agent", rules=rules)}})
    assert "RE2" in translation.ledger.lossy[0].reason


@pytest.mark.parametrize("name", ["", "/", "//a", "/a/", "/a~2", "/a~"])
def test_a_path_that_the_sdk_calls_malformed_is_told(name):
    clause = {"contextKind": "user", "attribute": name, "op": "in", "values": ["x"]}
    rules = [{"id": "r", "clauses": [clause], "variation": 0}]
    translation = flags_from({"flags": {"agent": boolean("agent", rules=rules)}})
    assert "no attribute" in translation.ledger.lossy[0].reason


def test_a_big_segment_is_told():
    translation = flags_from({"flags": {}, "segments": {"big": {"key": "big", "unbounded": True}}})
    assert "big segment" in translation.ledger.lossy[0].reason


@pytest.mark.parametrize(
    "document", ["{", "[]", "{}", b'{"flags": {"a": 1}}', {"items": [{"environments": {"e": {}}}]}]
)
def test_what_is_no_document_of_launchdarkly_is_refused(document):
    with pytest.raises(DocumentError):
        flags_from(document)
