"""Who is told, as it is configured: what sinks hear of, links, templates, and their faults."""

import json
import logging
import subprocess
import sys

import pytest

from downhaul import config
from downhaul.announcements.severity import Severity
from downhaul.announcements.templates import Template
from downhaul.config.notifiers import REDACTOR, Unusable, load, pieces
from downhaul.errors import ConfigError

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/"
PLANTED = "s3cr3t-Planted"

WHOLE = """
    [alerts]
    link = "https://flags.internal/{environment}/{flag}"
    webhook = { env = "ALERT_WEBHOOK" }
    [alerts.sinks.slack]
    url = { env = "SLACK_URL" }
    severity = "warning"
    only = ["killed", "rolled_back"]
    environments = ["production"]
    [alerts.sinks.mail]
    url = "mailto://example.com"
    [alerts.templates.killed]
    title = "{flag} is down"
    command = "runbook {flag}"
"""


def test_sinks_links_and_templates_are_read(place):
    place.write(WHOLE)
    place.environ |= {"SLACK_URL": SLACK, "ALERT_WEBHOOK": "https://chat.example/x"}
    alerts = place.resolve().alerts
    assert alerts.link == "https://flags.internal/{environment}/{flag}"
    slack, mail = alerts.sinks
    assert (slack.name, slack.severity, slack.only) == (
        "slack",
        Severity.WARNING,
        ("killed", "rolled_back"),
    )
    assert slack.environments == ("production",)
    assert slack.url.reveal() == SLACK
    assert (mail.severity, mail.only, mail.environments) == (Severity.INFO, (), ())
    assert alerts.templates == {
        "killed": Template(title="{flag} is down", command="runbook {flag}")
    }
    assert alerts.unread == ()


def test_a_sink_can_be_set_from_the_environment(place):
    place.write(WHOLE)
    place.environ |= {
        "DOWNHAUL_ALERTS__SINKS__SLACK__URL": SLACK,
        "DOWNHAUL_ALERTS__SINKS__SLACK__ONLY": "killed, revived",
        "DOWNHAUL_ALERTS__SINKS__SLACK__ENVIRONMENTS": "qa",
        "DOWNHAUL_ALERTS__LINK": "https://other/{flag}",
    }
    alerts = place.resolve().alerts
    assert (alerts.sinks[0].only, alerts.sinks[0].environments) == (("killed", "revived"), ("qa",))
    assert alerts.sinks[0].url.reveal() == SLACK
    assert alerts.link == "https://other/{flag}"


WRONG = """
    [alerts]
    link = "https://flags.internal/{environment}/{key}"
    [alerts.sinks.a]
    url = "T1JJ3T3L2/A1BRTD4JD"
    severity = "urgent"
    only = ["killd"]
    colour = "red"
    [alerts.sinks.log]
    url = "json://x"
    [alerts.templates.killed]
    title = "{flagg} is down"
    text = "{flag!r}"
    command = "see {link}"
    [alerts.templates.kiled]
    title = "x"
"""


@pytest.mark.rule("X1")
def test_what_is_wrong_is_told_when_it_is_read_with_its_line(place):
    place.write(WRONG)
    with pytest.raises(ConfigError) as caught:
        place.resolve()
    found = {
        one.path: (one.origin, f"{one.message} {one.hint or ''}") for one in caught.value.problems
    }
    lines = {path: origin.rpartition(":")[2] for path, (origin, _) in found.items()}
    assert lines == {
        "alerts.link": "2",
        "alerts.sinks.a.url": "4",
        "alerts.sinks.a.severity": "5",
        "alerts.sinks.a.only": "6",
        "alerts.sinks.a.colour": "7",
        "alerts.sinks.log.url": "9",
        "alerts.templates.killed.title": "11",
        "alerts.templates.killed.text": "12",
        "alerts.templates.killed.command": "13",
        "alerts.templates.kiled.title": "15",
    }
    said = {path: words for path, (_, words) in found.items()}
    assert (
        "no field {flagg}; there are {event}, {severity}, {flag}"
        in said["alerts.templates.killed.title"]
    )
    assert "{rollout}" not in said["alerts.templates.killed.title"]  # which a kill does not have
    assert "plain name" in said["alerts.templates.killed.text"]
    assert "{where}" in said["alerts.templates.killed.command"]
    assert "did you mean killed?" in said["alerts.templates.kiled.title"]
    assert "did you mean killed?" in said["alerts.sinks.a.only"]
    assert "must be 'info', 'warning' or 'critical'" in said["alerts.sinks.a.severity"]
    assert "known: environments, only, severity, url" in said["alerts.sinks.a.colour"]
    assert "no field {key}" in said["alerts.link"]


@pytest.mark.parametrize("reference", ['{ env = "SLACK_URL" }', '{ file = "slack" }'])
def test_who_tells_nobody_needs_no_url_and_a_check_says_that_it_is_missing(place, reference):
    place.write(f"[alerts.sinks.slack]\nurl = {reference}\nonly = ['killed']\n")
    settings = place.resolve()
    assert settings.alerts.sinks[0].url is None
    assert [one.path for one in settings.alerts.unread] == ["alerts.sinks.slack.url"]
    [problem] = place.check()
    assert (problem.path, problem.origin) == ("alerts.sinks.slack.url", "downhaul.toml:2")
    assert "slack" in problem.message.lower()


def test_a_webhook_that_can_not_be_read_is_no_reason_to_start_nothing(place):
    place.write('[alerts]\nwebhook = { env = "ALERT_WEBHOOK" }\n')
    assert place.resolve().alerts.webhook is None
    assert [one.path for one in place.check()] == ["alerts.webhook"]


@pytest.mark.parametrize(
    "url, message, hint",
    [
        (f"slak://{PLANTED}", "Apprise knows nothing that answers to slak://", "slack://"),
        (f"slak://{PLANTED}", "slak://", "pip install --upgrade apprise"),
        (f"mqtt://u:{PLANTED}@host/t", "needs paho-mqtt", "pip install paho-mqtt"),
        (f"slack://{PLANTED}/x/y", "no slack:// URL as Apprise takes one", "slack"),
        (f"json://:{PLANTED}:@", "no json:// URL as Apprise takes one", "json"),
    ],
)
@pytest.mark.rule("P7", "X1")
def test_a_url_that_nothing_can_send_to_is_told_by_the_check(place, url, message, hint, caplog):
    caplog.set_level(logging.DEBUG)
    place.write(f'[alerts.sinks.a]\nurl = "{url}"\n')
    [problem] = place.check()
    assert message in problem.message
    assert hint in problem.hint
    assert PLANTED not in f"{problem}{caplog.text}"


@pytest.mark.rule("X1")
def test_without_apprise_the_check_says_what_to_install(place, monkeypatch):
    place.write(f'[alerts.sinks.a]\nurl = "{SLACK}"\n[alerts.sinks.b]\nurl = "https://x/y"\n')
    assert place.check() == []
    monkeypatch.setitem(sys.modules, "apprise", None)
    [problem] = place.check()
    assert problem.path == "alerts.sinks.a.url"
    assert problem.message == "slack:// needs Apprise, which is not installed"
    assert problem.hint == 'pip install "downhaul[alerts]"'


@pytest.mark.rule("P7")
def test_a_url_of_a_sink_is_never_shown(place, caplog):
    caplog.set_level(logging.DEBUG)
    place.write(f'[alerts.sinks.a]\nurl = "json://u:{PLANTED}@127.0.0.1:9/{PLANTED}"\n')
    settings = place.resolve()
    rows = [(row.path, row.value) for row in config.show(settings)]
    assert ("alerts.sinks.a.url", "***") in rows
    assert PLANTED not in f"{settings!r}{settings.alerts}{rows}{json.dumps(rows)}"
    assert place.check() == []
    assert PLANTED not in caplog.text


@pytest.mark.rule("P7")
def test_what_apprise_says_of_tokens_is_taken_out(caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Unusable) as caught:
        load(config.Secret(f"slack://{PLANTED}/A1BRTD4JD/x"))
    assert PLANTED not in f"{caught.value.message}{caught.value.hint}{caught.value.__context__}"
    logging.getLogger("apprise").error("An invalid Slack Token (%s) was specified.", PLANTED)
    assert PLANTED not in caplog.text
    assert "An invalid Slack Token (***) was specified." in caplog.text
    assert REDACTOR.clean(f"x {PLANTED} y") == "x *** y"


@pytest.mark.parametrize(
    "url, hidden, shown",
    [
        (SLACK, {"T1JJ3T3L2", "TIiajkdnlazkcOXrIdevi7FQ"}, set()),
        ("mailto://me:pass-word@mail.example.com", {"pass-word"}, {"mail.example.com"}),
        ("pagerduty://integration@apikey99", {"integration", "apikey99"}, set()),
        ("json://host.example/p%40th-x?+Key=abcdef", {"p@th-x", "abcdef"}, {"host.example"}),
        ("json://[2001:db8::1]:99/secret", {"secret"}, set()),
    ],
)
@pytest.mark.rule("P7")
def test_all_of_a_url_but_a_host_name_may_be_secret(url, hidden, shown):
    assert hidden <= pieces(url)
    assert not shown & pieces(url)


def test_settings_import_nothing_heavy_for_sinks(tmp_path):
    code = (
        "import sys, downhaul.config; "
        "downhaul.config.resolve({'provider': {'url': 'memory:'}, 'alerts': {'sinks': "
        "{'a': {'url': 'slack://x/y/z'}}}}, environ={}); "
        "print('apprise' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
