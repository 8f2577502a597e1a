"""Backends that have names: read with the rest, and asked for by whoever moves flags."""

import pytest

from downhaul.config import check, resolve, show
from downhaul.errors import ConfigError

FILE = """
environment = "production"

[provider]
url = "sqlite:///flags.db"

[backends.ld]
url = "launchdarkly:"
sdk_key = { env = "LD_KEY" }
project = "shop"

[backends.pg]
url = "sqlite:///other.db"
"""


@pytest.fixture
def written(tmp_path):
    (tmp_path / "downhaul.toml").write_text(FILE)
    return tmp_path / "downhaul.toml"


def test_a_backend_takes_the_providers_place_with_its_own_options(written):
    settings = resolve(file=written, environ={"LD_KEY": "sdk-1234"})
    found = settings.for_backend("ld")
    assert found.provider.url == "launchdarkly:"
    assert found.provider.options["project"] == "shop"
    assert found.provider.options["sdk_key"].reveal() == "sdk-1234"
    assert found.environment == "production"
    assert found.origins["provider.url"].endswith("downhaul.toml:8")
    assert settings.provider.name == "sqlite"


def test_paths_resolve_against_the_file(written, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = resolve(file=written, environ={"LD_KEY": "x"}).for_backend("pg")
    assert found.provider.path == tmp_path / "other.db"


def test_an_application_needs_no_key_of_a_backend_that_it_does_not_ask(written):
    settings = resolve(file=written, environ={})
    assert settings.provider.name == "sqlite"
    with pytest.raises(ConfigError, match=r"LD_KEY is not set") as told:
        settings.for_backend("ld")
    assert told.value.problems[0].origin.endswith("downhaul.toml:9")
    assert [one.path for one in check(file=written, environ={})] == ["backends.ld.sdk_key"]


def test_a_name_that_no_table_has_is_told_with_those_there_are(written):
    with pytest.raises(ConfigError, match='no backend is called "unleash"') as told:
        resolve(file=written, environ={}).for_backend("unleash")
    assert '"ld", "pg"' in told.value.hint


def test_each_is_looked_at_as_the_provider_is(tmp_path):
    file = tmp_path / "downhaul.toml"
    file.write_text(
        "[backends.a]\nurl = 'sqlite:///x.db'\npol = 1\n"
        "[backends.b]\nurl = 'nosuch://x'\n"
        "[backends.c]\nsdk_key = 'x'\n"
        "[backends.d]\nurl = 'flags.db'\n"
    )
    found = {one.path: one.message for one in check(file=file, environ={})}
    assert found["backends.a.pol"].startswith("unknown key")
    assert "nosuch" in found["backends.b.url"]
    assert found["backends.c.url"] == "is missing"
    assert found["backends.d.url"].startswith("missing scheme")


def test_no_secret_of_a_backend_is_shown(written):
    settings = resolve(file=written, environ={"LD_KEY": "sdk-1234"})
    assert "sdk-1234" not in repr(settings)
    shown = {one.path: one.value for one in show(settings)}
    assert shown["backends.ld.sdk_key"] == "***"
    assert shown["backends.ld.project"] == "shop"


def test_a_variable_sets_one_value_of_one_backend(written):
    environ = {"LD_KEY": "x", "DOWNHAUL_BACKENDS__LD__PROJECT": "other"}
    found = resolve(file=written, environ=environ).for_backend("ld")
    assert found.provider.options["project"] == "other"
