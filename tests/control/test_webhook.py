"""Alerts as JSON to a URL, and what is never said of the URL."""

import pytest
import requests
import responses

from downhaul.config import Secret, resolve
from downhaul.control.alerts import AlertEvent, LogAlert
from downhaul.control.sinks import alerts_for
from downhaul.control.webhook import WebhookAlert
from downhaul.errors import ConfigError, Unreachable

URL = "https://chat.example/hooks/T0/secret-part"
EVENT = AlertEvent(
    "rolled_back", "checkout", "controller", "error_rate", "production", "2026-01-01"
)


@pytest.fixture
def web():
    with responses.RequestsMock() as mock:
        yield mock


def test_an_event_is_posted_with_a_line_for_people(web):
    web.post(URL, status=204)
    WebhookAlert(Secret(URL)).send(EVENT)
    posted = web.calls[0].request
    assert posted.headers["Content-Type"] == "application/json"
    assert b'"text": "rolled back checkout in production by controller: ' in posted.body
    assert b'"what": "rolled_back"' in posted.body


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_a_refusal_is_told_without_the_url(web, status):
    web.post(URL, status=status)
    with pytest.raises(Unreachable, match=str(status)) as caught:
        WebhookAlert(Secret(URL)).send(EVENT)
    assert "secret-part" not in f"{caught.value}{caught.value.__context__}"


def test_silence_is_told_without_the_url(web):
    web.post(URL, body=requests.ConnectionError(f"no route to {URL}"))
    with pytest.raises(Unreachable, match="did not answer") as caught:
        WebhookAlert(Secret(URL)).send(EVENT)
    assert "secret-part" not in str(caught.value)


def test_the_settings_name_the_sinks(tmp_path):
    environ = {"DOWNHAUL_ALERT_WEBHOOK": URL}
    settings = resolve("sqlite:///flags.db", environ=environ, directory=tmp_path)
    log, webhook = alerts_for(settings)
    assert isinstance(log, LogAlert)
    assert isinstance(webhook, WebhookAlert)
    assert "secret-part" not in repr(settings)
    without = resolve("sqlite:///flags.db", environ={}, directory=tmp_path)
    assert len(alerts_for(without)) == 1


def test_a_webhook_is_a_web_address(tmp_path):
    environ = {"DOWNHAUL_ALERT_WEBHOOK": "chat.example/hooks/T0/secret-part"}
    with pytest.raises(ConfigError, match="https") as caught:
        resolve("sqlite:///flags.db", environ=environ, directory=tmp_path)
    assert "secret-part" not in str(caught.value)
