"""From settings to a provider and to where its kills are kept, through real plugins."""

from textwrap import dedent

import pytest

from downhaul import config, plugins
from downhaul.errors import ConfigError, ProviderError, ProviderNotFound

ACME = """
    from downhaul.hookspecs import ProviderSpec, hookimpl

    @hookimpl
    def downhaul_providers():
        return [
            ProviderSpec(
                name="acme",
                schemes=("acme",),
                factory="acme_backend:create",
                settings="acme_backend:Options",
                translator="acme_backend",
                install_hint="pip install 'acme-flags[driver]'",
            )
        ]
"""

BACKEND = """
    from pydantic import BaseModel, ConfigDict
    from downhaul.config import Secret
    from downhaul.provider import FlagProvider

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid")
        token: Secret
        retries: int = 3
        region: str | None = None

    class Acme(FlagProvider):
        name = "acme"

        def __init__(self, settings):
            self.settings = settings
            self.options = settings.provider.options
            if "kills" in settings.provider.url:
                self.control = f"the kills of {settings.provider.url}"

    def create(settings):
        return Acme(settings)
"""


@pytest.fixture
def acme(site, monkeypatch):
    """Install the plugin and its backend, and have the process look for plugins there."""
    site.install("acme-flags", "acme", ACME)
    (site.folder / "acme_backend.py").write_text(dedent(BACKEND))
    site.modules.append("acme_backend")
    found = site.registry()
    monkeypatch.setattr("downhaul.plugins.build.spec_for", found.spec_for)
    monkeypatch.setattr("downhaul.plugins.build.spec_named", found.spec_named)
    return site


def settings(**tables):
    return config.resolve(tables, environ={}, directory="/nowhere")


TOKEN = {"url": "acme://x", "token": "t"}


def test_the_factory_gets_the_settings_with_options_as_its_model_made_them(acme):
    provider = plugins.build_provider(settings(provider={**TOKEN, "retries": "5"}))
    assert provider.name == "acme"
    assert provider.options == {"token": config.Secret("t"), "retries": 5}


def test_options_that_the_model_refuses_are_all_listed_and_nothing_is_made(acme):
    with pytest.raises(ConfigError) as caught:
        plugins.build_provider(settings(provider={"url": "acme://x", "retrys": 5}))
    told = [(one.path, one.message, one.hint, one.origin) for one in caught.value.problems]
    assert told == [
        ("provider.token", "is missing", None, "argument provider.url"),
        ("provider.retrys", "unknown key", "did you mean retries?", "argument provider.retrys"),
    ]


def test_a_provider_without_its_driver_says_what_to_install(acme):
    (acme.folder / "acme_backend.py").write_text("import no_such_driver")
    with pytest.raises(ConfigError, match="no_such_driver") as refused:
        plugins.build_provider(settings(provider=TOKEN))
    assert refused.value.problems[0].hint == "pip install 'acme-flags[driver]'"
    with pytest.raises(ProviderError) as caught:
        plugins.load_translator("acme")
    assert caught.value.hint == "pip install 'acme-flags[driver]'"


def test_a_factory_that_makes_something_else_is_told_by_name(acme):
    source = (acme.folder / "acme_backend.py").read_text()
    (acme.folder / "acme_backend.py").write_text(
        source.replace("return Acme(settings)", "return 3")
    )
    with pytest.raises(ProviderError, match='provider "acme" returned int'):
        plugins.build_provider(settings(provider=TOKEN))


@pytest.mark.parametrize("raised", ["SystemExit(2)", "RuntimeError('no')", "KeyError('x')"])
def test_whatever_a_factory_raises_is_a_provider_error(acme, raised):
    backend = acme.folder / "acme_backend.py"
    backend.write_text(backend.read_text().replace("return Acme(settings)", f"raise {raised}"))
    with pytest.raises(ProviderError, match=raised.partition("(")[0]) as caught:
        plugins.build_provider(settings(provider=TOKEN))
    assert caught.value.provider == "acme"


def test_wrappers_that_nobody_knows_are_refused(acme):
    with pytest.raises(ConfigError, match="known: dual_write, failover, read_only, rec"):
        settings(provider={**TOKEN, "wrap": ["nobody"]})


def test_a_plugin_that_only_translates_says_so_when_asked_to_evaluate(site, monkeypatch):
    site.install_provider("words-flags", "words", factory="None", translator="'json'")
    monkeypatch.setattr("downhaul.plugins.build.spec_for", site.registry().spec_for)
    with pytest.raises(ProviderError, match="translates documents"):
        plugins.build_provider(settings(provider={"url": "words://x"}))


def test_a_translator_is_found_by_the_provider_s_name(acme):
    assert plugins.load_translator("acme").__name__ == "acme_backend"
    with pytest.raises(ProviderError, match="translates no documents"):
        plugins.load_translator("memory")
    with pytest.raises(ProviderNotFound):
        plugins.load_translator("nobody")


# Where kills are kept


def test_kills_are_kept_by_the_provider_where_nothing_else_is_said(acme):
    made = settings(provider={**TOKEN, "url": "acme://kills"})
    control = plugins.build_control(made, plugins.build_provider(made))
    assert control == "the kills of acme://kills"


def test_a_provider_that_keeps_none_has_no_control_store(acme):
    made = settings(provider=TOKEN)
    assert plugins.build_control(made, plugins.build_provider(made)) is None


def test_a_control_url_of_its_own_is_asked_for_its_control_store(acme):
    made = settings(provider=TOKEN, control={"url": "memory:"})
    control = plugins.build_control(made, plugins.build_provider(made))
    assert type(control).__name__ == "MemoryControl"


def test_a_control_url_that_keeps_no_kills_is_refused_at_its_origin(acme, tmp_path):
    (tmp_path / "flags.toml").write_text("")
    made = settings(provider=TOKEN, control={"url": f"file:{tmp_path}/flags.toml"})
    with pytest.raises(ConfigError, match="keeps no kills") as caught:
        plugins.build_control(made, plugins.build_provider(made))
    assert caught.value.origin == "argument control.url"


@pytest.mark.rule("P4")
@pytest.mark.parametrize("url", ["memory:", "file:flags.toml", "sqlite:///flags.db"])
def test_the_core_s_providers_declare_what_their_specs_say(url, tmp_path):
    made = config.resolve(url, environ={}, directory=tmp_path)
    provider = plugins.build_provider(made)
    spec = plugins.spec_for(made.provider.scheme)
    assert provider.name == spec.name
    assert provider.capabilities == spec.capabilities
    provider.close()
