"""What stands in the way of a percentage, and of a list of users."""

import pytest
from downhaul_unleash.shape import serves_anybody
from downhaul_unleash.whole import checked_keys

from downhaul.errors import Refused


def strategy(*constraints, **fields):
    return {
        "id": "1",
        "name": "flexibleRollout",
        "disabled": False,
        "segments": [],
        "parameters": {"rollout": "100", "stickiness": "default", "groupId": "f"},
        "constraints": [{"values": [], "inverted": False, **one} for one in constraints],
        "variants": [],
        **fields,
    }


@pytest.mark.rule("P5")
@pytest.mark.parametrize(
    "constraint",
    [
        {"contextName": "currentTime", "operator": "DATE_AFTER", "value": "2020-01-01T00:00:00Z"},
        {"contextName": "environment", "operator": "IN", "values": ["development"]},
        {"contextName": "appName", "operator": "IN", "values": ["downhaul"]},
        {"contextName": "plan", "operator": "NOT_IN", "values": ["free"]},
    ],
)
def test_a_condition_that_says_nothing_of_users_serves_anybody(constraint):
    assert serves_anybody(strategy(constraint), "f", ())
    told = {"contextName": "plan", "operator": "IN", "values": ["pro"]}
    assert not serves_anybody(strategy(constraint, told), "f", ())
    assert not serves_anybody(strategy(constraint, disabled=True), "f", ())


@pytest.mark.rule("P6", "X1")
@pytest.mark.parametrize("key", ["a\0b", "a\ud800b", "", "x" * 101, "ends\\"])
def test_a_key_that_unleash_would_not_match_is_refused_before_it_is_sent(key):
    with pytest.raises(Refused) as refused:
        checked_keys("agent", ["ada", key])
    assert refused.value.hint
    assert checked_keys("agent", ["ada", "ü 漢"]) == {"ada", "ü 漢"}
