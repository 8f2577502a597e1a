"""From a URL and options to a provider: names, dotted paths, secrets, and what is refused."""

import sys
from types import ModuleType

import pytest
from downhaul_openfeature.names import NAMED
from downhaul_openfeature.plugin import downhaul_providers
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from stubs_openfeature import Stub

from downhaul import Flags
from downhaul.config import resolve
from downhaul.config.resolver import check
from downhaul.errors import ConfigError, ProviderError
from downhaul.plugins import build_provider, installed
from downhaul.provider import Capability, State


@pytest.fixture
def module(monkeypatch):
    """A module of somebody's own, that makes providers."""
    mine = ModuleType("my_flags")
    mine.made = []

    def provider(*, path="", token="", depth=1, nested=None):
        mine.made.append({"path": path, "token": token, "depth": depth, "nested": nested})
        return Stub()

    mine.provider = provider
    mine.number = 7
    mine.in_memory = lambda: InMemoryProvider({"on": InMemoryFlag("yes", {"yes": True})})
    monkeypatch.setitem(sys.modules, "my_flags", mine)
    return mine


def settings(url="openfeature:", environ=None, flags=None, **provider):
    document = {"provider": {"url": url, **provider}, "flags": flags or {}}
    return resolve(document, environ=environ or {}, directory="/")


def test_listing_it_imports_no_sdk():
    (spec,) = downhaul_providers()
    assert (spec.name, spec.schemes) == ("openfeature", ("openfeature",))
    assert any(one.name == "openfeature" and not one.problem for one in installed())


def test_a_dotted_path_is_called_with_the_options(module):
    options = {"path": "/x", "depth": 2, "nested": {"a": [1]}}
    provider = build_provider(settings(provider="my_flags:provider", options=options))
    assert not module.made  # no I/O before the start
    with Flags.over(provider) as flags:
        assert flags.is_enabled("on", "ada")
    assert module.made == [{"path": "/x", "token": "", "depth": 2, "nested": {"a": [1]}}]


def test_any_name_may_stand_in_the_url_beside_a_dotted_path(module):
    provider = build_provider(settings("openfeature+mine:", provider="my_flags:in_memory"))
    with Flags.over(provider) as flags:
        assert flags.status().state is State.READY
        assert flags.is_enabled("on", "ada")


def test_an_application_connects_by_configuration_alone(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "downhaul.toml").write_text(
        '[provider]\nurl = "openfeature:"\nprovider = "my_flags:provider"\n'
        '[provider.options]\ntoken = { env = "MY_TOKEN" }\n'
        '[flags.text]\nkind = "string"\n[flags.shape]\ntags = ["agents"]\n'
    )
    monkeypatch.setenv("MY_TOKEN", "hunter22")
    with Flags.connect() as flags:
        assert flags.value("text", "ada", "") == "hi"
        assert flags.value("shape", "ada", {}) == {"a": 1}
    assert module.made[0]["token"] == "hunter22"


@pytest.mark.rule("P7")
def test_a_token_is_in_no_word_of_the_settings_or_of_errors(module):
    given = settings(
        provider="my_flags:provider",
        options={"token": {"env": "MY_TOKEN"}},
        environ={"MY_TOKEN": "hunter22"},
    )
    assert "hunter22" not in repr(given)

    def failing(**options):
        message = f"401 for {options['token']}"
        raise OSError(message)

    module.provider = failing
    with Flags.over(build_provider(given)) as flags:
        assert flags.status().provider.message.endswith("OSError: 401 for ***")


@pytest.mark.rule("P4")
@pytest.mark.parametrize("watch", [None, True, False])
def test_who_tells_of_changes_is_said_by_the_configuration(module, watch):
    more = {} if watch is None else {"watch": watch}
    provider = build_provider(settings(provider="my_flags:provider", **more))
    assert (Capability.WATCH in provider.capabilities) is (watch is True)


REFUSED = [
    ({"url": "openfeature:"}, "no OpenFeature provider is named", "openfeature+NAME:"),
    ({"url": "openfeature+acme:"}, 'by the name "acme"', "flagd"),
    ({"url": "openfeature+flagd://host:8013"}, "more than a name", "[provider.options]"),
    ({"provider": "my_flags:gone"}, "cannot be imported", "correct the path"),
    ({"provider": "no_such_module_at_all:x"}, "cannot be imported", "install its package"),
    ({"provider": "my_flags:number"}, "cannot be called", "a class or a function"),
    (
        {"provider": "my_flags:provider", "options": {"dept": 2}},
        "unexpected keyword argument 'dept'",
        "[provider.options]",
    ),
]


@pytest.mark.parametrize("given,message,hint", REFUSED)
def test_what_cannot_be_made_is_refused_and_says_what_to_do(module, given, message, hint):
    with pytest.raises(ConfigError) as refused:
        build_provider(settings(**given))
    assert message in str(refused.value)
    assert hint in str(refused.value)
    assert refused.value.provider == "openfeature"


@pytest.mark.parametrize(
    "field,value",
    [("provider", "no_colon"), ("provider", "a b:c"), ("opions", {"a": 1}), ("watch", 7)],
)
def test_a_setting_that_is_wrong_is_named(field, value):
    document = {"provider": {"url": "openfeature:", field: value}}
    problems = check(document, environ={}, directory="/")
    assert any(f"provider.{field}" in one.path for one in problems)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_known_name_without_its_package_says_what_to_install(name, monkeypatch):
    for package in ("openfeature.contrib.provider", "configcat_openfeature_provider"):
        for loaded in [one for one in sys.modules if one.startswith(f"{package}.")]:
            monkeypatch.setitem(sys.modules, loaded, None)
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ProviderError, match="cannot be imported") as refused:
        build_provider(settings(f"openfeature+{name}:"))
    assert refused.value.hint == f"pip install {NAMED[name].package}"
