"""An Unleash context in our words."""

import datetime as dt

import pytest
from downhaul_unleash.translate import context_from

from downhaul import Context


def test_the_user_is_the_targeting_key_and_the_rest_are_attributes():
    found = context_from(
        {
            "userId": "u",
            "sessionId": "s",
            "remoteAddress": "::1",
            "environment": "production",
            "appName": "shop",
            "currentTime": "2024-01-01T00:00:00Z",
            "properties": {"plan": "pro"},
        }
    )
    assert found == Context(
        "u",
        {
            "plan": "pro",
            "sessionId": "s",
            "remoteAddress": "::1",
            "environment": "production",
            "appName": "shop",
            "currentTime": "2024-01-01T00:00:00Z",
        },
    )


def test_an_unknown_field_is_a_property_and_goes_before_one_of_that_name():
    found = context_from({"plan": "pro", "properties": {"plan": "free", "seats": "5"}})
    assert found == Context(None, {"plan": "pro", "seats": "5"})


def test_a_user_among_the_properties_is_the_user():
    assert context_from({"properties": {"userId": "u"}}).targeting_key == "u"


@pytest.mark.parametrize(
    "value, text",
    [
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (2.5, "2.5"),
        (5.0, "5.0"),
        (1e21, "1e21"),
        (1e-7, "1e-7"),
        (1.5e-05, "0.000015"),
        (-1e-05, "-0.00001"),
        (dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "2024-01-01T00:00:00+00:00"),
        ("", ""),
    ],
)
def test_everything_is_text(value, text):
    assert context_from({"properties": {"x": value}}).attributes == {"x": text}


@pytest.mark.parametrize(
    "value",
    [None, [], ["a"], {"a": 1}, float("nan"), pytest.param(10**5_000, id="a giant")],
)
def test_what_the_engine_takes_no_notice_of_is_left_out(value):
    assert context_from({"userId": value, "properties": {"x": value}}) == Context()


def test_an_empty_context_is_nobody():
    assert context_from({}) == Context()
    assert context_from({"properties": None}) == Context()
