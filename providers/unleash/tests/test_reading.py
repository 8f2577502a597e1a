"""Documents that are Unleash's, and refusals of what is none, with every place."""

import json

import pytest
from downhaul_unleash.translate import flags_from

from downhaul.errors import DocumentError

DEFAULT = {"name": "default"}


def one(name="f", **fields):
    return {"name": name, "enabled": True, "strategies": [DEFAULT], **fields}


@pytest.mark.parametrize("form", [lambda d: d, json.dumps, lambda d: json.dumps(d).encode()])
def test_a_document_is_data_or_text(form):
    assert [flag.key for flag in flags_from(form({"features": [one()]})).flags] == ["f"]


def test_the_file_of_a_specification_is_read_by_its_state():
    document = {"name": "01", "state": {"version": 1, "features": [one()]}, "tests": []}
    assert [flag.key for flag in flags_from(document).flags] == ["f"]


def test_events_pile_up_as_they_come():
    events = [
        {"eventId": 1, "type": "hydration", "features": [one("a"), one("b")], "segments": []},
        {"eventId": 2, "type": "feature-removed", "featureName": "a", "project": "default"},
        {"eventId": 3, "type": "segment-updated", "segment": {"id": 4, "constraints": []}},
        {"eventId": 4, "type": "feature-updated", "feature": one("b", enabled=False)},
        {"eventId": 5, "type": "feature-updated", "feature": one("c")},
        {"eventId": 6, "type": "segment-updated", "segment": {"id": 5, "constraints": []}},
        {"eventId": 7, "type": "segment-removed", "segmentId": 4},
    ]
    found = flags_from({"events": events})
    assert {flag.key: flag.on for flag in found.flags} == {"b": False, "c": True}
    assert [segment.key for segment in found.segments] == ["unleash-5"]


@pytest.mark.rule("M1")
def test_of_two_features_with_one_name_the_last_counts_and_the_ledger_tells():
    found = flags_from({"features": [one(enabled=False), one()]})
    assert [flag.on for flag in found.flags] == [True]
    assert "another feature of this name" in str(found.ledger.of("f")[-1])


@pytest.mark.parametrize(
    "document, said",
    [
        ("[]", "a JSON object"),
        ("{", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        ({}, "there are no features"),
        ({"toggles": []}, "frontend"),
        ({"featureStrategies": [], "tags": []}, "export"),
    ],
)
def test_what_is_no_document_is_refused_with_what_was_expected(document, said):
    with pytest.raises(DocumentError, match=said) as refused:
        flags_from(document)
    assert "/api/client/features" in str(refused.value)


def test_a_refusal_names_every_problem_and_its_place():
    strategy = {
        "parameters": [],
        "constraints": [{"contextName": "a", "operator": "IN", "values": 5}],
        "segments": ["1"],
        "variants": [{"name": "v", "weight": -1}, 7],
    }
    document = {"features": [{"name": "f", "strategies": [strategy]}, one(description=[])]}
    with pytest.raises(DocumentError) as refused:
        flags_from(document)
    paths = {problem.path for problem in refused.value.problems}
    assert paths == {
        "features[0].enabled",
        "features[0].strategies[0].name",
        "features[0].strategies[0].parameters",
        "features[0].strategies[0].constraints[0].values",
        "features[0].strategies[0].segments[0]",
        "features[0].strategies[0].variants[0].weight",
        "features[0].strategies[0].variants[1]",
        "features[1].description",
    }


@pytest.mark.rule("M1")
def test_a_number_where_text_belongs_is_read_as_text_and_told():
    strategy = {"name": "flexibleRollout", "parameters": {"rollout": 50, "stickiness": "userId"}}
    found = flags_from({"features": [one(strategies=[strategy])]})
    assert found.flags[0].default.weights[0].weight == 50
    assert [entry.path for entry in found.ledger.lossy] == [
        "features[0].strategies[0].parameters.rollout"
    ]


@pytest.mark.rule("M1")
def test_a_feature_whose_name_no_flag_can_have_is_left_out_and_told():
    found = flags_from({"features": [one("a b"), one("c", dependencies=[{"feature": "a b"}])]})
    assert [flag.key for flag in found.flags] == ["c"]
    (entry,) = [one for one in found.ledger if one.fidelity == "manual"]
    assert entry.flag == "a b"
    assert entry.fragment["name"] == "a b"


def test_names_in_any_script_are_kept():
    assert flags_from({"features": [one("größe-日本")]}).flags[0].key == "größe-日本"


@pytest.mark.rule("M1")
def test_what_decides_nothing_is_skipped_with_its_reason():
    found = flags_from(
        {
            "version": 2,
            "query": {"environment": "development"},
            "features": [
                one(
                    type="kill-switch",
                    description="words",
                    project="web",
                    stale=True,
                    impressionData=True,
                    lastSeenAt="2024-01-01T00:00:00Z",
                    segments=[1],
                    brandNew={"x": 1},
                )
            ],
        }
    )
    (flag,) = found.flags
    assert flag.description == "words"
    assert flag.type == "kill_switch"
    assert flag.tags == ("project:web",)
    skipped = {entry.path.rpartition(".")[2] for entry in found.ledger if entry.reason}
    assert skipped == {
        "version",
        "query",
        "stale",
        "impressionData",
        "lastSeenAt",
        "segments",
        "brandNew",
    }
    assert not found.ledger.lossy
