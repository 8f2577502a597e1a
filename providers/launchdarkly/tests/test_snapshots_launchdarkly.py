"""What was is brought back as LaunchDarkly had it, in one patch; and segments are told of."""

import copy
import json
import logging
from dataclasses import replace

import pytest
from downhaul_emulators.launchdarkly import boolean, flag_of
from managed_launchdarkly import patches, provider_of

from downhaul import Flag
from downhaul.errors import Refused, VersionConflict
from downhaul.flag import Keys, Segment
from downhaul.provider import ABSENT, Change

ANA = Change("ana", "the way back")
EXPERIMENT = {
    "contextKind": "user",
    "kind": "experiment",
    "seed": 61,
    "variations": [
        {"variation": 0, "weight": 30_000, "untracked": False},
        {"variation": 1, "weight": 70_000, "untracked": True},
    ],
}
RULE = {
    "id": "r1",
    "description": "staff",
    "clauses": [
        {
            "contextKind": "user",
            "attribute": "segmentMatch",
            "op": "segmentMatch",
            "values": ["staff"],
            "negate": False,
        }
    ],
    "variation": 0,
    "trackEvents": True,
    "ref": "by-hand",
}


@pytest.fixture
def provider(service):
    return provider_of(service)


@pytest.fixture
def model(service, provider):
    """A flag with all that no verb of ours writes, and what it names."""
    service.put(boolean("base"))
    provider.put_segment(Segment("staff", included=(Keys(frozenset({"ada"})),)), ANA)
    return service.put(
        flag_of(
            "model",
            ["m-2", "m-1"],
            rules=[RULE],
            fallthrough={"rollout": EXPERIMENT},
            targets=[{"variation": 1, "values": ["eve"], "contextKind": "user"}],
            contextTargets=[
                {"variation": 0, "values": ["acme"], "contextKind": "org"},
                {"variation": 1, "values": [], "contextKind": "user"},
            ],
            prerequisites=[{"key": "base", "variation": 0}],
            trackEventsFallthrough=True,
        )
    )


def changed(service):
    service.change(
        "model",
        on=False,
        offVariation=None,
        variations=["m-3", "m-1"],
        rules=[],
        targets=[],
        contextTargets=[],
        prerequisites=[],
        fallthrough={"variation": 1},
        trackEventsFallthrough=False,
    )
    service.about["model"] = {"tags": ["ai"], "description": "edited"}


@pytest.mark.rule("P5", "R8")
def test_a_restore_is_exact_to_the_vendors_own_document(service, provider, model):
    taken = provider.snapshot("model")
    kept = json.loads(json.dumps(dict(taken.document)))
    changed(service)
    before = provider.get("model")
    after = provider.restore(replace(taken, document=kept), ANA, expected=before.version)
    now = copy.deepcopy(service.flags["model"])
    assert {**now, "version": 1} == {**model, "version": 1}
    assert (service.about["model"]["tags"], service.about["model"]["description"]) == ([], "")
    assert len(patches(service)) == 2  # the segment's, and this one
    assert int(after.version) > int(before.version) > int(taken.version)
    assert provider.restore(taken, ANA) == after
    assert len(patches(service)) == 2


@pytest.mark.rule("P6")
def test_a_restore_over_what_somebody_wrote_meanwhile_is_refused(service, provider, model):
    taken = provider.snapshot("model")
    changed(service)
    with pytest.raises(VersionConflict) as refused:
        provider.restore(taken, ANA, expected=taken.version)
    assert refused.value.found == str(service.flags["model"]["version"])
    assert not service.flags["model"]["on"]


@pytest.mark.rule("P5")
def test_a_restore_never_overwrites_a_variation_that_came_since(service, provider, model):
    taken = provider.snapshot("model")
    service.change("model", variations=["m-2", "m-1", "m-4"], fallthrough={"variation": 2})
    after = provider.restore(taken, ANA)
    assert list(after.variants) == ["m-2", "m-1", "m-4"]
    assert service.flags["model"]["fallthrough"] == {"rollout": EXPERIMENT}
    service.put(flag_of("one", ["a", "b", "c"]))
    taken = provider.snapshot("one")
    service.change("one", variations=["a"], offVariation=0)
    with pytest.raises(Refused, match="other variations"):
        provider.restore(taken, ANA)


@pytest.mark.rule("P5")
def test_segments_that_changed_since_are_told_and_left_alone(service, provider, model, caplog):
    taken = provider.snapshot("model")
    changed(service)
    with caplog.at_level(logging.WARNING, "downhaul"):
        provider.restore(taken, ANA)
        assert not caplog.records
        provider.put_segment(Segment("staff", included=(Keys(frozenset({"eve"})),)), ANA)
        changed(service)
        provider.restore(taken, ANA)
    (told,) = caplog.records
    assert 'segment "staff", which it names, changed since' in told.getMessage()
    assert service.segments["staff"]["included"] == ["eve"]


@pytest.mark.rule("R4", "P5")
def test_a_segment_that_cannot_be_read_never_stops_the_way_back(service, provider, model, caplog):
    service.fail("/api/v2/segments", status=403)
    taken = provider.snapshot("model")
    changed(service)
    with caplog.at_level(logging.WARNING, "downhaul"):
        assert provider.restore(taken, ANA).on
    (told,) = caplog.records
    assert "may have changed: it could not be read" in told.getMessage()
    assert {**service.flags["model"], "version": 1} == {**model, "version": 1}


@pytest.mark.rule("P5")
def test_a_flag_comes_back_out_of_the_archive_with_its_salt(service, provider, model):
    taken = provider.snapshot("model")
    provider.delete("model", ANA)
    with pytest.raises(VersionConflict):
        provider.restore(taken, ANA, expected=taken.version)
    provider.restore(taken, ANA, expected=ABSENT)
    assert {**service.flags["model"], "version": 1} == {**model, "version": 1}
    service.delete("model")
    with pytest.raises(Refused, match="was deleted in LaunchDarkly"):
        provider.restore(taken, ANA)


def test_a_snapshot_of_somebody_else_is_refused(service, provider):
    provider.put(Flag.boolean("agent"), ANA)
    taken = provider.snapshot("agent")
    for other in (replace(taken, provider="split"), replace(taken, document={"key": "agent"})):
        with pytest.raises(Refused, match="no document of LaunchDarkly"):
            provider.restore(other, ANA)
