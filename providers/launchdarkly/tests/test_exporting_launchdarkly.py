"""Everything that LaunchDarkly tells its SDKs, as flags of ours that choose the same users."""

import json
import time

import pytest
import yaml
from downhaul_emulators.launchdarkly import boolean, flag_of
from downhaul_emulators.serving import Response
from downhaul_launchdarkly.provider import LaunchDarklyProvider
from downhaul_launchdarkly.session import Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from managed_launchdarkly import provider_of
from random_launchdarkly import CONTEXTS, payloads

from downhaul import Flag, Flags
from downhaul.config import Declaration, RolloutMode, Secret
from downhaul.errors import ProviderError, Unreachable
from downhaul.flag import Bucketing, FlagType, Scheme, Split, Weight
from downhaul.ledger import Fidelity
from downhaul.provider import Change
from downhaul.result import ErrorCode

ANA = Change("ana", "moving out")
FOREIGN = Bucketing(Scheme.SPLIT, seed=7, total=100)


def application(service, **fields):
    """Return a provider as applications have it: with the SDK key, and no other."""
    fields = {"sdk_key": Secret(service.sdk_key), "poll_url": service.url, **fields}
    return LaunchDarklyProvider(Connection(**fields))


@pytest.mark.rule("E9", "M1")
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None
)
@given(payload=payloads(), asked=st.lists(CONTEXTS, min_size=1, max_size=5))
def test_what_is_exported_decides_as_the_sdk_on_that_service(service, payload, asked):
    service.replace(payload["flags"], payload["segments"])
    provider = application(service, stream_url=service.url)
    read = provider.export()
    assert not read.ledger.lossy
    ours = Flags.in_memory(read.flags, read.segments)
    with Flags.over(provider) as theirs:
        assert theirs.wait_ready(15)
        for key in payload["flags"]:
            for context in asked:
                one, other = (
                    each.evaluate(key, {"kind": "multi", **context}, "mine")
                    for each in (ours, theirs)
                )
                assert (one.value, one.variant) == (other.value, other.variant)


@pytest.mark.rule("M1")
def test_it_takes_one_request_with_the_key_of_an_application(service):
    service.put(boolean("agent", percent=25))
    (flag,) = application(service).export().flags
    assert flag.default.bucketing.salt == "agent.salt-of-agent"
    assert [(one.method, one.path) for one in service.requests] == [("GET", "/sdk/latest-all")]


@pytest.mark.rule("E9")
def test_a_hash_of_somebody_elses_reads_as_the_split_that_it_was(service):
    split = Split((Weight("on", 25), Weight("off", 75)), FOREIGN)
    provider_of(service).put(Flag.boolean("agent", default=split), ANA)
    (flag,) = application(service).export().flags
    assert (flag.rules, flag.default.weights) == ((), split.weights)
    assert (flag.default.bucketing.scheme, flag.default.bucketing.seed) == (Scheme.SPLIT, 7)


def test_what_no_sdk_is_told_comes_along_where_there_is_a_token(service):
    provider = provider_of(service)
    made = Flag.boolean(
        "agent",
        percent=25,
        tags=("ai",),
        owner="team",
        type=FlagType.OPERATIONAL,
        description="d",
    )
    provider.put(made, ANA)
    (flag,) = provider.export().flags
    assert (flag.tags, flag.owner, flag.type, flag.description) == (
        made.tags,
        made.owner,
        made.type,
        made.description,
    )
    (without,) = application(service).export().flags
    assert without.tags == ()
    assert without.default == flag.default


@pytest.mark.rule("M1")
def test_what_has_no_like_here_is_told_and_left_out(service):
    service.put(boolean("agent"))
    service.put(flag_of("broken", ["a", "b"], fallthrough={}))
    service.put_segment({"key": "big", "unbounded": True, "rules": []})
    read = application(service).export()
    assert [one.key for one in read.flags] == ["agent"]
    assert {(one.flag, one.fidelity) for one in read.ledger.lossy} == {
        ("broken", Fidelity.MANUAL),
        ("", Fidelity.MANUAL),
    }


@pytest.mark.rule("E10", "M1")
@pytest.mark.parametrize("scheme, salt", [(Scheme.DOWNHAUL, None), (Scheme.SPLIT, "17")])
def test_a_portable_rollout_is_read_as_it_is_declared_and_told_where_it_is_not(
    service, scheme, salt
):
    declared = {"agent": Declaration(rollout=RolloutMode.PORTABLE, scheme=scheme, salt=salt)}
    provider_of(service, portable=declared).put(Flag.boolean("agent", percent=25.5), ANA)
    provider = LaunchDarklyProvider(
        Connection(Secret(service.sdk_key), service.url, service.url), declared=declared
    )
    read = provider.export()
    assert not read.ledger.lossy
    ours = Flags.in_memory(read.flags)
    with Flags.over(provider, declarations=declared) as theirs:
        assert theirs.wait_ready(15)
        for user in (f"user-{number}" for number in range(300)):
            assert ours.is_enabled("agent", user) is theirs.is_enabled("agent", user)
    (entry,) = application(service).export().ledger.lossy
    assert (entry.flag, entry.fidelity) == ("agent", Fidelity.PARTIAL)
    assert "not declared" in entry.reason


@pytest.mark.parametrize("dumped", [json.dumps, yaml.safe_dump])
def test_a_file_is_exported_as_the_sdk_reads_it(tmp_path, dumped):
    place = tmp_path / "flags.data"
    document = {
        "flags": {"agent": boolean("agent", percent=25)},
        "flagValues": {"colour": "red"},
        "segments": {"beta": {"key": "beta", "included": ["ada"], "rules": []}},
    }
    place.write_text(dumped(document))
    provider = LaunchDarklyProvider(Connection(file=str(place)))
    read = provider.export()
    assert not read.ledger.lossy
    assert [one.key for one in read.segments] == ["beta"]
    ours = Flags.in_memory(read.flags, read.segments)
    with Flags.over(provider) as theirs:
        assert theirs.wait_ready(15)
        for user in (f"user-{number}" for number in range(100)):
            assert ours.is_enabled("agent", user) is theirs.is_enabled("agent", user)
        assert ours.value("colour", "ada", "") == theirs.value("colour", "ada", "") == "red"


@pytest.mark.parametrize("text", ["[1, 2]", "{", None])
def test_a_file_that_is_none_is_told_by_its_path(tmp_path, text):
    place = tmp_path / "flags.json"
    if text is not None:
        place.write_text(text)
    with pytest.raises(ProviderError, match=r"flags\.json") as caught:
        LaunchDarklyProvider(Connection(file=str(place))).export()
    assert caught.value.hint


@pytest.mark.rule("P7", "X1")
@pytest.mark.parametrize(
    "status, told", [(401, "SDK key"), (403, "does not let"), (404, "something unexpected")]
)
def test_what_the_service_refuses_is_told_apart_and_the_key_never_shown(service, status, told):
    service.fail("/sdk/latest-all", status=status)
    with pytest.raises(ProviderError, match=told) as caught:
        application(service).export()
    assert caught.value.hint
    assert service.sdk_key not in f"{caught.value} {caught.value!r}"
    assert len(service.requests) == 1


@pytest.mark.rule("P7")
def test_a_failure_that_passes_is_waited_for_and_a_black_hole_ends_in_time(service):
    service.put(boolean("agent"))
    service.fail("/sdk/latest-all", status=503, times=1)
    assert application(service).export().flags
    service.fail("/sdk/latest-all", silent=True)
    began = time.monotonic()
    with pytest.raises(Unreachable):
        application(service, deadline=0.5).export()
    assert time.monotonic() - began < 5


def test_an_answer_of_another_shape_is_no_flags(service):
    service.answer = lambda _request: Response(200, {"items": []})
    with pytest.raises(ProviderError, match="flags"):
        application(service).export()


def test_who_has_no_key_is_told_so_on_both_sides(service):
    split = Split((Weight("on", 25), Weight("off", 75)), FOREIGN)
    provider_of(service).put(Flag.boolean("agent", default=split), ANA)
    read = application(service).export()
    result = Flags.in_memory(read.flags).evaluate("agent", None, False)
    assert result.error_code is ErrorCode.TARGETING_KEY_MISSING
