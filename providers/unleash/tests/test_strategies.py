"""Rule E9: strategies decide as Unleash's engine decides them, and the ledger tells what is odd."""

import pytest

from downhaul.flag import Scheme, Split

pytestmark = pytest.mark.rule("E9")
ROLLOUT = {"name": "flexibleRollout"}
GOLDEN = [3, 22, 29, 38]


def rollout(share, stickiness="userId", group="f", **fields):
    parameters = {"rollout": share, "stickiness": stickiness, "groupId": group}
    return {**ROLLOUT, "parameters": parameters, **fields}


def on_among(found, number=1000):
    return sum(found.enabled(userId=f"user-{one}") for one in range(number))


def test_a_feature_without_strategies_is_on_for_everybody(feature):
    assert feature().enabled()


def test_a_feature_that_is_not_enabled_is_off(feature):
    found = feature({"name": "default"}, enabled=False)
    assert not found.enabled()
    assert found.flag().on is False


def test_strategies_are_alternatives(feature):
    found = feature({"name": "userWithId", "parameters": {"userIds": "anna, ben"}}, rollout("0"))
    assert found.enabled(userId="anna")
    assert found.enabled(userId="ben")
    assert not found.enabled(userId="carl")
    assert not found.enabled()


def test_a_rollout_keeps_the_users_whom_unleash_gave_the_feature(feature):
    # as the engine of UnleashClient 6.9 answers
    found = feature(rollout("25"))
    assert [n for n in range(40) if found.enabled(userId=f"user-{n}")] == GOLDEN


def test_a_plain_rollout_becomes_the_default_split_which_can_be_raised(feature):
    default = feature(rollout("25")).flag().default
    assert isinstance(default, Split)
    assert [(one.variant, one.weight) for one in default.weights] == [("on", 25), ("off", 75)]
    assert default.bucketing.scheme is Scheme.UNLEASH


def test_another_group_is_another_choice_of_users(feature):
    one, other = (feature(rollout("50", group=group)) for group in ("a", "b"))
    users = [f"user-{number}" for number in range(50)]
    assert [one.enabled(userId=u) for u in users] != [other.enabled(userId=u) for u in users]


@pytest.mark.parametrize("share, served", [("0", False), ("100", True)])
def test_nobody_and_everybody(feature, share, served):
    found = feature(rollout(share))
    assert on_among(found, 200) == 200 * served


def test_everybody_by_user_leaves_out_who_has_no_user_id(feature):
    assert not feature(rollout("100")).enabled(sessionId="s")


def test_default_stickiness_goes_by_user_then_by_session_then_draws(feature):
    found = feature(rollout("50", "default"))
    users = [found.enabled(userId=f"{n}", sessionId="s") for n in range(100)]
    assert users == [found.enabled(userId=f"{n}") for n in range(100)]
    assert users == [found.enabled(sessionId=f"{n}") for n in range(100)]
    assert {found.enabled() for _ in range(100)} == {True, False}


def test_random_stickiness_draws_for_everybody(feature):
    found = feature(rollout("50", "random"))
    assert {found.enabled(userId="u") for _ in range(100)} == {True, False}
    assert feature(rollout("100", "random")).enabled()


def test_any_field_of_the_context_may_be_bucketed_by(feature):
    found = feature(rollout("50", "company"))
    by_user = feature(rollout("50"))
    names = [f"{n}" for n in range(50)]
    assert [found.enabled(properties={"company": n}) for n in names] == [
        by_user.enabled(userId=n) for n in names
    ]
    assert not found.enabled(userId="u")


@pytest.mark.parametrize("share", ["12.5", "-5", "", "abc", " 50", "5%", None])
def test_a_percentage_that_is_no_whole_number_serves_nobody_and_is_told(feature, share):
    found = feature(rollout(share))
    assert on_among(found, 100) == 0
    (entry,) = found.told("partial")
    assert "whole percentages only" in entry.reason
    assert entry.path == "features[0].strategies[0]"


def test_more_than_all_keeps_the_whole_feature_off_and_is_told(feature):
    found = feature({"name": "default"}, rollout("150"))
    assert not found.enabled(userId="u")
    assert "150 is more than 100" in found.told("partial")[0].reason


def test_gradual_rollouts_need_a_group(feature):
    with_group = feature(
        {"name": "gradualRolloutUserId", "parameters": {"percentage": "100", "groupId": "g"}}
    )
    without = feature({"name": "gradualRolloutUserId", "parameters": {"percentage": "100"}})
    assert with_group.enabled(userId="u")
    assert not without.enabled(userId="u")
    assert "groupId" in without.told("partial")[0].reason


def test_a_gradual_rollout_goes_by_its_own_field(feature):
    found = feature(
        {"name": "gradualRolloutSessionId", "parameters": {"percentage": "100", "groupId": "g"}}
    )
    assert found.enabled(sessionId="s")
    assert not found.enabled(userId="u")


@pytest.mark.parametrize(
    "share, answers", [("0", {False}), ("1", {False}), ("100", {True}), ("50", {True, False})]
)
def test_a_random_rollout_draws_below_its_percentage(feature, share, answers):
    found = feature({"name": "gradualRolloutRandom", "parameters": {"percentage": share}})
    assert {found.enabled(userId="u") for _ in range(200)} == answers


def test_addresses_are_matched_by_network(feature):
    found = feature({"name": "remoteAddress", "parameters": {"IPs": "10.0.0.0/8, ::1, nonsense"}})
    assert found.enabled(remoteAddress="10.9.9.9")
    assert found.enabled(remoteAddress="::1")
    assert not found.enabled(remoteAddress="11.0.0.1")
    assert not found.enabled()
    assert "'nonsense' is no network" in found.told("partial")[0].reason


def test_the_name_of_the_host_is_asked_of_the_context_and_that_is_told(feature):
    found = feature({"name": "applicationHostname", "parameters": {"hostNames": "web-1, Web-2"}})
    assert found.enabled(properties={"hostname": "WEB-2"})
    assert not found.enabled()
    assert '"hostname"' in found.told("partial")[0].reason


@pytest.mark.rule("M1")
def test_a_strategy_of_somebodys_own_is_left_to_people(feature):
    found = feature({"name": "byMoonPhase", "parameters": {"phase": "full"}}, title="x")
    assert not found.enabled(userId="u")
    (entry,) = found.told("manual")
    assert entry.fragment == {"name": "byMoonPhase", "parameters": {"phase": "full"}}


@pytest.mark.rule("M1")
def test_a_disabled_strategy_serves_nobody(feature):
    found = feature({"name": "default", "disabled": True})
    assert not found.enabled()
    assert "disabled" in found.told("skipped")[0].reason


def test_a_title_and_the_name_tell_rules_apart(feature):
    found = feature(
        {"name": "userWithId", "parameters": {"userIds": "a"}, "title": "staff"}, rollout("5")
    )
    assert [(rule.id, rule.description) for rule in found.flag().rules] == [
        ("userWithId-1", "staff")
    ]


# --- segments

BETA = {
    "id": 3,
    "name": "beta",
    "constraints": [{"contextName": "plan", "operator": "IN", "values": ["beta"]}],
}


def test_segments_are_segments_here_and_named_by_their_ids(feature):
    found = feature({"name": "default", "segments": [3]}, segments=[BETA])
    assert found.enabled(properties={"plan": "beta"})
    assert not found.enabled(properties={"plan": "free"})
    (segment,) = found.translation.segments
    assert (segment.key, segment.description) == ("unleash-3", "beta")


def test_a_segment_without_constraints_has_everybody(feature):
    found = feature({"name": "default", "segments": [1]}, segments=[{"id": 1, "constraints": []}])
    assert found.enabled()


def test_a_segment_that_is_not_there_keeps_the_whole_feature_off_and_is_told(feature):
    found = feature({"name": "default"}, {"name": "default", "segments": [9]})
    assert not found.enabled()
    assert "no segment 9" in found.told("partial")[0].reason


def test_a_segment_that_does_not_compile_keeps_its_features_off(feature):
    broken = {"id": 1, "constraints": [{"contextName": "a", "operator": "SOUNDS_LIKE"}]}
    found = feature({"name": "default"}, {"name": "default", "segments": [1]}, segments=[broken])
    assert not found.enabled()
    assert [one.path for one in found.translation.ledger.lossy] == ["features[0]", "segments[0]"]
