"""Flags in environment variables."""

import pytest

from downhaul import Flags
from downhaul.backends.inhouse.environment import EnvironmentProvider
from downhaul.backends.inhouse.options import EnvironmentOptions
from downhaul.config import check
from downhaul.errors import ConfigError, ReadOnly, UnsupportedCapability
from downhaul.flag import FlagKind
from downhaul.ledger import Fidelity
from downhaul.plugins import installed
from downhaul.provider import Change, State


def provider(variables, **options):
    given = {f"FEATURE_{name}": text for name, text in variables.items()}
    return EnvironmentProvider(
        "FEATURE_", EnvironmentOptions(**options), {"HOME": "/", "OTHER_X": "1", **given}
    )


def entry(translation, path):
    (found,) = [one for one in translation.ledger if one.path == path]
    return found


@pytest.mark.parametrize("text", ["true", "TRUE", "on", "1", " On "])
def test_words_for_on_are_on(text):
    assert provider({"A": text}).get("a").on


@pytest.mark.parametrize("text", ["false", "off", "0", "OFF"])
def test_words_for_off_are_off(text):
    flag = provider({"A": text}).get("a")
    assert (flag.on, flag.kind) == (False, FlagKind.BOOLEAN)


@pytest.mark.parametrize(
    "text, kind, value",
    [
        ("dark", FlagKind.STRING, "dark"),
        ("two words", FlagKind.STRING, "two words"),
        ("NaN", FlagKind.STRING, "NaN"),
        ('"42"', FlagKind.STRING, "42"),
        ("42", FlagKind.NUMBER, 42),
        ("-1.5", FlagKind.NUMBER, -1.5),
        ('{"a": [1]}', FlagKind.OBJECT, {"a": [1]}),
        ("[1, 2]", FlagKind.OBJECT, [1, 2]),
    ],
)
def test_other_values_are_json_or_text(text, kind, value):
    flag = provider({"A": text}).get("a")
    assert (flag.kind, list(flag.variants.values())) == (kind, [value])
    assert (flag.on, flag.off_variant) == (True, None)


def test_a_percentage_is_a_split_whose_hash_is_not_said():
    made = provider({"A": "12.5%"})
    assert made.get("a").default.weights[0].weight == 12_500
    assert entry(made.export(), "FEATURE_A").fidelity is Fidelity.PARTIAL
    known = provider({"A": "25 %"}, bucketing="crc32")
    assert entry(known.export(), "FEATURE_A").fidelity is Fidelity.FULL


@pytest.mark.parametrize("text", ["", "  ", "null", "{broken", '"half', "101%"])
def test_what_says_nothing_is_told_and_left_out(text):
    made = provider({"A": text, "B": "on"})
    assert list(made.list().flags) == ["b"]
    assert entry(made.export(), "FEATURE_A").fidelity is Fidelity.MANUAL


def test_keys_are_lower_case_with_the_separator_that_is_asked_for():
    assert list(provider({"NEW_CHECKOUT": "on"}).list().flags) == ["new_checkout"]
    assert list(provider({"NEW_CHECKOUT": "on"}, separator="-").list().flags) == ["new-checkout"]


def test_names_that_come_to_one_key_are_told_and_neither_counts():
    made = provider({"A_B": "on", "a_b": "off", "C": "on"})
    assert list(made.list().flags) == ["c"]
    told = entry(made.export(), "FEATURE_a_b")
    assert told.fidelity is Fidelity.MANUAL
    assert "FEATURE_A_B" in told.reason


def test_a_secret_is_no_flag_and_is_shown_nowhere():
    made = provider({"API_TOKEN": "s3cret", "A_TOKEN": "{s3cret", "PASSWORD_RESET": "on"})
    assert list(made.list().flags) == ["password_reset"]
    assert "s3cret" not in repr(made.export())


def test_it_is_served_and_takes_no_writes(monkeypatch, connect):
    monkeypatch.setenv("DHTEST_A", "on")
    monkeypatch.setenv("DHTEST_THEME", "dark")
    made = connect("env:DHTEST_")
    assert made.status().state is State.NOT_READY
    with Flags.over(made) as flags:
        assert flags.wait_ready(5)
        assert flags.is_enabled("a", "ada")
        assert flags.value("theme", "ada", "light") == "dark"
        monkeypatch.setenv("DHTEST_A", "off")
        assert flags.is_enabled("a", "ada")  # a running process is not told of its own variables
    assert not made.get("a").on
    with pytest.raises(ReadOnly):
        made.switch_on("a", Change("anna"))
    with pytest.raises(UnsupportedCapability):
        made.history()


@pytest.mark.parametrize("url", ["env:", "env:A=B", "env://host"])
def test_a_url_without_a_prefix_is_refused(connect, url):
    with pytest.raises(ConfigError):
        connect(url)


def test_the_check_of_a_configuration_knows_its_options():
    given = {"url": "env:FEATURE_", "separator": "+", "poll": 5}
    problems = check({"provider": given}, environ={})
    assert {one.path for one in problems} == {"provider.separator", "provider.poll"}
    (spec,) = [one.spec for one in installed() if one.name == "env"]
    assert spec.capabilities == EnvironmentProvider.capabilities
