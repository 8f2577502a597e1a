"""From a configuration to an operator, and who it acts for."""

import pytest

from downhaul.control.service import connect_operator, resolve_settings, who
from downhaul.flag import Flag


@pytest.mark.rule("X4")
@pytest.mark.parametrize(
    "given, environ, expected",
    [
        ("bo", {"DOWNHAUL_ACTOR": "ana"}, ("bo", False)),
        (None, {"DOWNHAUL_ACTOR": " ana "}, ("ana", False)),
        ("", {"DOWNHAUL_ACTOR": "ana"}, ("ana", False)),
    ],
)
def test_an_actor_is_given_or_comes_from_the_environment(given, environ, expected):
    assert who(given, environ) == expected


@pytest.mark.rule("X4")
def test_the_login_name_is_the_last_resort_and_is_marked(monkeypatch):
    monkeypatch.setenv("LOGNAME", "cy")
    assert who(None, {}) == ("cy", True)


@pytest.mark.rule("X4")
def test_a_user_without_a_name_is_a_number(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nobody)
    name, marked = who(None, {})
    assert name.startswith("uid-")
    assert marked


def test_an_operator_speaks_for_the_configured_environment():
    settings = resolve_settings(url="memory:", environment="staging")
    with connect_operator(settings, actor="ana") as operator:
        operator.create(Flag.boolean("agent"))
        assert operator.kill("agent", "errors").environment == "staging"
        assert operator.history("agent")[0].record.actor == "ana"
