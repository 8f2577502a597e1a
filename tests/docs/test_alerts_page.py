"""What docs/alerts.md shows is what a real server receives, and its tables are the code's."""

import json
import re
import textwrap
import tomllib
from pathlib import Path

import pytest
from alert_servers import Mail, Web, served

from downhaul.announcements.severity import EVENTS
from downhaul.config import Secret, check, resolve
from downhaul.control.alerts import AlertEvent
from downhaul.control.apprise_sink import AppriseAlert
from downhaul.control.messages import Wording
from downhaul.control.sinks import alerts_for
from downhaul.control.webhook import WebhookAlert

PAGE = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- received: (\w+) (\w+) -->\n```\w+\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHOWN = {(sink, event): text for sink, event, text in BLOCK.findall(PAGE)}
WORDING = Wording("https://flags.internal/{environment}/{flag}")
REASONS = {
    "started": "step 1 of 3: 1 %",
    "raised": "step 2 of 3: 10 %",
    "paused": "error_rate: no requests were seen",
    "rolled_back": "error_rate: 9.1 % of 1200 requests, at most 5 %",
    "killed": "refund loop, INC-4211",
}


def event(what):
    killed = {"scope": "new_agent_version", "killed": True}
    rollout = {"flag": "new_agent_version", "rollout": "5f2c81d9a0", "variant": "on"}
    return AlertEvent(
        what,
        "new_agent_version",
        "sam" if what == "killed" else "controller",
        REASONS[what],
        "production",
        "2026-11-26T09:00:00.000000Z",
        after=killed if what == "killed" else rollout,
        id="9d3b41",
    )


@pytest.fixture
def web():
    with served(Web()) as web:
        yield web


READ = {"json": lambda one: one.json, "form": lambda one: one.form, "xml": lambda one: one.xml}


def test_every_announcement_of_the_guide_is_shown():
    assert {what for _, what in SHOWN} == set(REASONS)


@pytest.mark.parametrize("scheme, what", [one for one in SHOWN if one[0] in READ])
def test_what_is_shown_of_apprise_is_what_comes(web, scheme, what):
    AppriseAlert(Secret(web.url(scheme)), name="a", wording=WORDING).send(event(what))
    came = READ[scheme](web.heard.wait_for(1)[0])
    shown = json.loads(SHOWN[scheme, what])
    assert {name: came[name] for name in shown} == shown
    assert list(shown.values())[1].startswith(f"[{event(what).severity}] ")


def test_what_is_shown_of_the_webhook_is_what_comes(web):
    WebhookAlert(Secret(web.url()), wording=WORDING).send(event("killed"))
    shown = json.loads(SHOWN["webhook", "killed"])
    assert web.heard.wait_for(1)[0].json == shown


def test_what_is_shown_of_a_mail_is_what_comes():
    with served(Mail()) as mail:
        AppriseAlert(Secret(mail.url), name="a", wording=WORDING).send(event("rolled_back"))
        [message] = mail.heard.wait_for(1)
    subject, _, text = SHOWN["mail", "rolled_back"].partition("\n\n")
    assert f"Subject: {message['Subject']}" == subject
    came = message.get_body(("plain",)).get_content()
    assert came.strip().splitlines() == text.strip().splitlines()


def test_words_of_ones_own_come_as_the_page_says(web, tmp_path):
    table = tomllib.loads(SHOWN["words", "killed"])
    table["alerts"]["sinks"] = {"web": {"url": web.url()}}
    settings = resolve({"provider": {"url": "memory:"}, **table}, environ={}, directory=tmp_path)
    _, sink = alerts_for(settings)
    sink.send(event("killed"))
    came = web.heard.wait_for(1)[0].json
    assert came["title"] == "new_agent_version is DOWN in production"
    assert came["body"] == textwrap.dedent("""\
        sam: refund loop, INC-4211
        Runbook: https://runbooks.internal/kill
        https://flags.internal/production/new_agent_version""")
    assert came["command"] == "make unkill FLAG=new_agent_version"


def test_the_first_example_is_a_configuration(tmp_path):
    first = re.search(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[1]
    (tmp_path / "downhaul.toml").write_text(first)
    environ = {
        "SLACK_URL": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#agent-ops",
        "PAGERDUTY_URL": "pagerduty://abcdefghijklmnopqrstuvwxyz123456@mykey1234567890",
    }
    assert check(environ=environ, directory=tmp_path) == []
    settings = resolve(environ=environ, directory=tmp_path)
    assert [one.name for one in alerts_for(settings)] == ["log", "slack", "pager", "audit"]


def test_the_table_of_events_is_the_one_of_the_code():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([^|]+) \| ", PAGE, re.MULTILINE)
    told = {}
    for names, severities in rows:
        events = re.findall(r"`(\w+)`", names)
        words = [one.strip() for one in severities.split(",")]
        if not set(events) <= EVENTS.keys():
            continue  # a row of another table
        for at, name in enumerate(events):
            worse = [one for one in words if one.endswith("on the way back")]
            plain = [one for one in words if one not in worse]
            told[name] = (
                plain[at] if len(plain) > 1 else plain[0],
                worse[0].partition(" ")[0] if worse else None,
            )
    assert told == {
        name: (one.severity.value, one.taken_back and one.taken_back.value)
        for name, one in EVENTS.items()
    }
