"""Alerts through Apprise, as a real server receives them: text, severity, and what goes wrong."""

import json
import logging
import threading
from dataclasses import replace

import pytest
import responses
from alert_servers import BlackHole, Mail, Web, served

from downhaul.announcements.severity import Severity
from downhaul.announcements.templates import Template
from downhaul.config import Secret
from downhaul.control.alerts import AlertEvent
from downhaul.control.apprise_sink import AppriseAlert
from downhaul.control.hearing import Hearing
from downhaul.control.messages import Wording
from downhaul.control.webhook import WebhookAlert
from downhaul.errors import ConfigError, Unreachable

PLANTED = "s3cr3t-Planted"
KILLED = AlertEvent(
    "killed",
    "new_agent_version",
    "ana",
    "refund loop, INC-4211 *now* <b>",
    "production",
    "2026-11-26T09:00:00Z",
    id="3f2a9c",
)
PAUSED = AlertEvent(
    "paused",
    "new_agent_version",
    "controller",
    "error_rate: no requests were seen",
    "production",
    "2026-11-26T09:00:00Z",
    after={"rollout": "a1b2c3", "variant": "on", "step": 1, "phase": "paused"},
    id="77",
)
STARTED = AlertEvent(
    "started",
    "new_agent_version",
    "controller",
    "step 1 of 3: 10 %",
    "production",
    "2026-11-26T09:00:00Z",
    after={"rollout": "a1b2c3", "variant": "on", "step": 0, "percent": 10.0, "phase": "x"},
    id="76",
)
WORDING = Wording("https://flags.internal/{environment}/{flag}")


@pytest.fixture
def web():
    with served(Web()) as web:
        yield web


def sink(url, **options):
    return AppriseAlert(Secret(url), name="a", wording=WORDING, **options)


FORMS = {
    "json": lambda one: (one.json["title"], one.json["message"], one.json["type"]),
    "xml": lambda one: (one.xml["Subject"], one.xml["Message"], one.xml["MessageType"]),
    "form": lambda one: (one.form["title"], one.form["message"], one.form["type"]),
}


@pytest.mark.parametrize("scheme", FORMS)
@pytest.mark.parametrize(
    "event, severity, said",
    [
        (KILLED, "critical", "failure"),
        (PAUSED, "warning", "warning"),
        (STARTED, "info", "info"),
    ],
    ids=["killed", "paused", "started"],
)
def test_text_and_severity_come_as_they_were_meant(web, scheme, event, severity, said):
    sink(web.url(scheme)).send(event)
    title, text, kind = FORMS[scheme](web.heard.wait_for(1)[0])
    assert kind == said
    assert title.startswith(f"[{severity}] ")
    assert "new_agent_version" in title
    lines = text.splitlines()
    assert f"Why: {event.reason}" in lines
    assert f"By: {event.actor}" in lines
    assert "See: https://flags.internal/production/new_agent_version" in lines
    assert f"Id: {event.id}" in lines
    assert any(line.startswith("Type: downhaul ") for line in lines)


def test_a_service_that_prefers_markdown_gets_markdown(web):
    sink(web.url("json", query="?format=markdown")).send(KILLED)
    message = web.heard.wait_for(1)[0].json["message"]
    assert "- Why: refund loop, INC-4211 \\*now\\* \\<b>" in message
    assert "- See: <https://flags.internal/production/new_agent_version>" in message


def test_mail_comes_as_text_and_as_html():
    with served(Mail()) as mail:
        sink(mail.url).send(KILLED)
        [message] = mail.heard.wait_for(1)
    assert message["Subject"] == "[critical] new_agent_version is killed in production"
    assert message["To"] == "oncall@example.com"
    html = message.get_body(("html",)).get_content()
    assert "refund loop, INC-4211 *now* &lt;b&gt;" in html
    assert '<a href="https://flags.internal/production/new_agent_version">' in html
    assert "<code>downhaul revive new_agent_version -e production" in html
    text = message.get_body(("plain",)).get_content()
    assert "refund loop, INC-4211 *now* <b>" in text


def test_a_chat_and_a_pager_get_their_own_forms():
    slack = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/"
    pager = "pagerduty://abcdefghijklmnopqrstuvwxyz123456@mykey1234567890"
    with responses.RequestsMock() as web:
        web.post(
            "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "ok"
        )
        web.post("https://events.pagerduty.com/v2/enqueue", json={"status": "success"}, status=202)
        sink(slack).send(KILLED)
        sink(pager).send(KILLED)
        chat, page = (json.loads(one.request.body) for one in web.calls)
    [attachment] = chat["attachments"]
    assert attachment["title"] == "[critical] new_agent_version is killed in production"
    assert "<https://flags.internal/production/new_agent_version>" in attachment["text"]
    assert "`downhaul revive new_agent_version -e production" in attachment["text"]
    assert page["payload"]["severity"] == "critical"
    assert "new_agent_version is killed in production" in page["payload"]["summary"]


def test_the_words_of_the_configuration_are_the_ones_that_come(web):
    wording = Wording(
        templates={"killed": Template(title="DOWN {flag}", text="{reason} / {actor}")}
    )
    AppriseAlert(Secret(web.url("json")), name="a", wording=wording).send(KILLED)
    came = web.heard.wait_for(1)[0].json
    assert came["title"] == "DOWN new_agent_version"
    assert came["message"] == "refund loop, INC-4211 *now* <b> / ana"


@pytest.mark.parametrize("make", [WebhookAlert, AppriseAlert])
@pytest.mark.parametrize("status", [400, 404, 429, 500])
@pytest.mark.rule("P7")
def test_a_refusal_is_told_without_the_url(web, make, status, caplog):
    caplog.set_level(logging.DEBUG)
    scheme = "http" if make is WebhookAlert else "json"
    web.statuses = [status]
    alert = make(Secret(web.url(scheme, f"/{PLANTED}")), name="a")
    with pytest.raises(Unreachable) as caught:
        alert.send(KILLED)
    assert str(status) in str(caught.value)
    assert "[alerts.sinks.a]" in str(caught.value)
    assert PLANTED not in f"{caught.value}{caught.value.__context__}{caplog.text}{alert!r}"
    assert web.heard.all == []


@pytest.mark.rule("P7")
def test_silence_is_told_without_the_url_and_within_a_time(caplog):
    caplog.set_level(logging.DEBUG)
    with served(BlackHole()) as hole:
        url = f"json://{PLANTED}:pw-{PLANTED}@127.0.0.1:{hole.port}/{PLANTED}?cto=0.2&rto=0.2"
        with pytest.raises(Unreachable, match="did not take it") as caught:
            sink(url).send(KILLED)
    assert PLANTED not in f"{caught.value}{caught.value.__context__}{caplog.text}"


def test_a_url_that_nothing_can_send_to_is_an_error_of_the_configuration():
    with pytest.raises(ConfigError, match="did you mean slack://"):
        sink(f"slak://{PLANTED}").send(KILLED)


class Talking:
    """A notifier that fails while another thread's logs what it does."""

    def resolve_format(self, _wanted):
        return None

    def notify(self, **_message):
        log = logging.getLogger("apprise")
        other = threading.Thread(target=log.warning, args=("another sink's trouble",))
        other.start()
        other.join()
        log.warning("my own trouble.")
        return False


def test_of_what_goes_wrong_elsewhere_meanwhile_no_sink_speaks():
    alert = sink("json://127.0.0.1")
    alert._notifier = Talking()
    with pytest.raises(Unreachable) as caught:
        alert.send(KILLED)
    assert caught.value.message == "json:// did not take it: my own trouble"


@pytest.mark.parametrize(
    "hearing, heard",
    [
        (Hearing(), ["killed", "paused", "started"]),
        (Hearing("warning"), ["killed", "paused"]),
        (Hearing("critical"), ["killed"]),
        (Hearing(only=("started", "killed")), ["killed", "started"]),
        (Hearing("warning", only=("started", "killed")), ["killed"]),
        (Hearing(environments=("production",)), ["killed", "paused", "started"]),
        (Hearing(environments=("staging",)), []),
    ],
)
def test_a_sink_hears_what_it_is_configured_to(hearing, heard):
    hearing = replace(hearing, severity=Severity(hearing.severity))
    alert = sink("json://127.0.0.1", hearing=hearing)
    assert [one.what for one in (KILLED, PAUSED, STARTED) if alert.hears(one)] == heard
    everywhere = replace(KILLED, environment="*")
    assert alert.hears(everywhere) is (hearing.only in ((), ("started", "killed")))
