"""Whether enough sinks hear of a kill: two that do not hang on one service."""

import pytest

from downhaul.config import Secret, resolve
from downhaul.control.hearing import independent, service_of, too_few, who_hears_of_kills


@pytest.mark.parametrize(
    "url, service",
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "slack"),
        ("slack://bot@T1JJ3T3L2/other", "slack"),
        ("pagerduty://integration@apikey", "pagerduty"),
        ("tgram://123456789:abcdefg/12315544", "tgram"),
        ("mailto://me:pw@mail.example.com", "mail.example.com"),
        ("mailtos://me:pw@mail.example.com:465", "mail.example.com"),
        ("mmosts://chat.example.com/token", "chat.example.com"),
        ("https://chat.example.com/x", "chat.example.com"),
        ("jsons://chat.example.com/y", "chat.example.com"),
        ("http://audit/x", "audit"),
        ("json://localhost:8080", "localhost"),
    ],
)
def test_what_a_sink_hangs_on(url, service):
    assert service_of(Secret(url)) == service


def settings_of(tmp_path, sinks, **fields):
    return resolve(
        {"provider": {"url": "memory:"}, "alerts": {"sinks": sinks, **fields}},
        environ={},
        directory=tmp_path,
        environment="production",
    )


SLACK = {"url": "slack://T1JJ3T3L2/A1BRTD4JD/x"}
MAIL = {"url": "mailto://mail.example.com"}


@pytest.mark.rule("K6")
@pytest.mark.parametrize(
    "sinks, names, count",
    [
        ({}, (), 0),
        ({"a": SLACK}, ("a",), 1),
        ({"a": SLACK, "b": SLACK}, ("a", "b"), 1),
        ({"a": SLACK, "b": MAIL}, ("a", "b"), 2),
        ({"a": SLACK, "b": {**MAIL, "only": ["revived"]}}, ("a",), 1),
        ({"a": SLACK, "b": {**MAIL, "environments": ["staging"]}}, ("a",), 1),
        ({"a": {**SLACK, "severity": "critical"}, "b": MAIL}, ("a", "b"), 2),
        # Kept where controllers can read it.
        ({"a": {"url": {"env": "NOT_SET_HERE"}}, "b": MAIL}, ("a", "b"), 2),
    ],
)
def test_how_many_hear_of_a_kill(tmp_path, sinks, names, count):
    settings = settings_of(tmp_path, sinks)
    assert (who_hears_of_kills(settings), independent(settings)) == (names, count)
    assert (too_few(settings) is None) is (count >= 2)


def test_the_webhook_counts_and_the_log_does_not(tmp_path):
    settings = settings_of(tmp_path, {"a": SLACK}, webhook="https://audit.example.com/x")
    assert who_hears_of_kills(settings) == ("webhook", "a")
    assert too_few(settings) is None
    unread = settings_of(tmp_path, {"a": SLACK}, webhook={"env": "NOT_SET_HERE"})
    assert independent(unread) == 2
