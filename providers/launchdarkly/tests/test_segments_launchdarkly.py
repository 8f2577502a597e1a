"""Segments of an environment, written whole, and read back by LaunchDarkly's own SDK."""

import copy
from dataclasses import replace

import pytest
from downhaul_emulators.launchdarkly import boolean
from managed_launchdarkly import patches, provider_of

from downhaul import Flag, Flags
from downhaul.errors import FlagNotFound, Refused, VersionConflict
from downhaul.flag import (
    Bucketing,
    Clause,
    Dialect,
    Gate,
    Keys,
    Operator,
    Rule,
    Scheme,
    Segment,
    SegmentRule,
)
from downhaul.provider import ABSENT, Change

ANA = Change("ana", "who is who")
STAFF = Segment(
    "staff",
    included=(Keys(frozenset({"ada"})), Keys(frozenset({"acme"}), "organisation")),
    excluded=(Keys(frozenset({"eve"})),),
    rules=(
        SegmentRule(
            (Clause("mail", Operator.ENDS_WITH, ("@acme.example",), dialect=Dialect.LAUNCHDARKLY),)
        ),
    ),
    description="us",
    tags=("people",),
)
INSIDE = Rule("on", (Clause("", Operator.IN_SEGMENT, ("staff",)),))


@pytest.fixture
def provider(service):
    return provider_of(service)


@pytest.mark.rule("P5")
def test_a_segment_is_written_whole_and_the_sdk_asks_it(provider):
    made = provider.put_segment(STAFF, ANA, expected=ABSENT)
    assert replace(made, version="") == STAFF
    assert provider.list().segments == {"staff": made}
    provider.put(Flag.boolean("agent", percent=0, rules=(INSIDE,)), ANA)
    with Flags.over(provider) as flags:
        assert flags.wait_ready(15)
        asked = {
            "ada": "ada",
            "eve": {"targetingKey": "eve", "mail": "eve@acme.example"},
            "mail": {"targetingKey": "bob", "mail": "bob@acme.example"},
            "other": "bob",
        }
        served = {name: flags.is_enabled("agent", context) for name, context in asked.items()}
    assert served == {"ada": True, "eve": False, "mail": True, "other": False}


@pytest.mark.rule("P5")
def test_a_share_of_a_segment_keeps_its_users_and_its_salt(service, provider):
    provider.put_segment(STAFF, ANA)
    salt = service.segments["staff"]["salt"]
    how = Bucketing(Scheme.LAUNCHDARKLY, salt=f"staff.{salt}")
    gated = replace(STAFF.rules[0], gate=Gate(25_000, how))
    provider.put_segment(replace(STAFF, rules=(gated,)), ANA)
    (rule,) = service.segments["staff"]["rules"]
    assert (rule["weight"], rule["rolloutContextKind"], "bucketBy" in rule) == (
        25_000,
        "user",
        False,
    )
    before = copy.deepcopy(service.segments["staff"])
    read = provider.list().segments["staff"]
    assert provider.put_segment(replace(read, description="all of us"), ANA).rules == read.rules
    assert service.segments["staff"]["rules"] == before["rules"]


@pytest.mark.rule("P6")
@pytest.mark.parametrize("status", [409, 400])
def test_a_segment_somebody_wrote_meanwhile_is_not_overwritten(service, provider, status):
    service.mismatch = status
    made = provider.put_segment(STAFF, ANA)
    answer = service.answer
    moved = []

    def somebody_else_first(request):
        if request.method == "PATCH" and not moved:
            moved.append(service.put_segment({**service.segments["staff"], "included": ["zoe"]}))
        return answer(request)

    service.answer = somebody_else_first
    with pytest.raises(VersionConflict):
        provider.put_segment(replace(made, description="new"), ANA, expected=made.version)
    assert service.segments["staff"]["included"] == ["zoe"]
    with pytest.raises(VersionConflict):
        provider.delete_segment("staff", ANA, expected=made.version)


@pytest.mark.rule("P6")
def test_a_segment_that_is_named_stays(service, provider):
    provider.put_segment(STAFF, ANA)
    provider.put(Flag.boolean("agent", rules=(INSIDE,)), ANA)
    with pytest.raises(Refused, match='named by flag "agent"'):
        provider.delete_segment("staff", ANA)
    provider.delete("agent", ANA)
    provider.delete_segment("staff", ANA)
    with pytest.raises(FlagNotFound):
        provider.delete_segment("staff", ANA)


@pytest.mark.rule("P6")
def test_what_a_segment_cannot_say_is_refused_before_it_is_made(service, provider):
    rule = SegmentRule((Clause("a", Operator.HAS_ALL, ("x",)),))
    with pytest.raises(Refused, match="has_all"):
        provider.put_segment(replace(STAFF, rules=(rule,)), ANA)
    assert not service.segments


@pytest.mark.rule("P5")
def test_segments_are_listed_to_the_last_page(service, provider):
    for number in range(101):
        service.put_segment({"key": f"s-{number}", "rules": []})
    assert len(provider.list().segments) == 101


def test_what_has_no_like_here_is_told_and_everything_else_is_listed(service, provider, caplog):
    service.put(boolean("agent"))
    service.put_segment({"key": "big", "unbounded": True, "rules": []})
    listed = provider.list()
    assert (list(listed.flags), list(listed.segments)) == (["agent"], [])
    assert "big segment" in caplog.text
    assert not patches(service)
