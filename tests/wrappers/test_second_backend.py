"""The second backend of a failover as it is configured: a URL, or a table of its own."""

import importlib
import sys
from dataclasses import replace
from textwrap import dedent

import pytest

from downhaul import Flags
from downhaul.config import Secret, check, resolve
from downhaul.config.report import show
from downhaul.errors import ConfigError, ProviderError
from downhaul.hookspecs import ProviderSpec
from downhaul.plugins import build_provider
from downhaul.provider import Capability
from downhaul.wrappers.wrapper import stack_of

registry = importlib.import_module("downhaul.plugins.registry")

ACME = """
    from pydantic import BaseModel, ConfigDict, Field
    from downhaul.config import Secret
    from downhaul.errors import ConfigError
    from downhaul.provider import Capability, FlagProvider

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid")
        sdk_key: Secret
        retries: int = Field(default=3, gt=0)

    class Acme(FlagProvider):
        name = "acme"
        capabilities = frozenset({Capability.FLAG_SET})

        def __init__(self, settings):
            self.settings = settings

    def create(settings):
        if settings.provider.url.endswith("nowhere"):
            raise ConfigError("acme is nowhere", origin=settings.origins.get("provider.url"))
        if settings.provider.url.endswith("broken"):
            raise OSError(f"no login with {settings.provider.options['sdk_key'].reveal()}")
        return Acme(settings)
"""


@pytest.fixture(autouse=True)
def acme(tmp_path, monkeypatch):
    """A provider that needs a key, as vendors' do."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "acme_second.py").write_text(dedent(ACME))
    monkeypatch.syspath_prepend(str(folder))
    spec = ProviderSpec(
        name="acme",
        schemes=("acme",),
        factory="acme_second:create",
        settings="acme_second:Options",
    )
    asked = ProviderSpec(
        name="asked",
        schemes=("asked",),
        factory="acme_second:create",
        capabilities=frozenset({Capability.RESOLVE}),
    )
    builtin = {**registry.BUILTIN, "acme": spec, "asked": asked}
    monkeypatch.setattr(registry, "BUILTIN", builtin)
    monkeypatch.setattr(registry, "_PROVIDERS", replace(registry._PROVIDERS, builtin=builtin))
    registry.registry.cache_clear()
    yield
    registry.registry.cache_clear()
    sys.modules.pop("acme_second", None)


@pytest.fixture
def written(tmp_path):
    """A function that writes what follows in the file, and returns where that is."""

    def write(text):
        path = tmp_path / "downhaul.toml"
        first = '[provider]\nurl = "file:one.json"\nwrap = ["failover"]\n'
        path.write_text(first + dedent(text))
        return path

    return write


def second_of(path, **environ):
    return build_provider(resolve(file=path, environ=environ, directory="/")).secondary


def problems_of(path, **environ):
    """What is wrong, as `config check` says it, and as whoever connects hears it."""
    found = check(file=path, environ=environ, directory=path.parent)
    with pytest.raises(ConfigError) as caught:
        build_provider(resolve(file=path, environ=environ, directory=path.parent))
    assert list(caught.value.problems) == found
    return [(one.origin, one.path, one.message, one.hint) for one in found]


def test_a_table_gives_it_all_that_its_provider_takes(written):
    path = written(
        """
        [provider.failover]
        after = 2
        [provider.failover.to]
        url = "acme://there"
        sdk_key = { env = "SECOND_KEY" }
        retries = 5
        """
    )
    given = second_of(path, SECOND_KEY="s3cond").settings.provider
    assert (given.url, given.wrap, given.wrappers) == ("acme://there", (), {})
    assert given.options == {"sdk_key": Secret("s3cond"), "retries": 5}
    assert given.directory == path.parent


def test_a_table_of_one_url_is_that_url(written):
    for to in ('"file:two.json"', '{ url = "file:two.json" }', '{ env = "SECOND" }'):
        second = second_of(written(f"failover.to = {to}"), SECOND="file:two.json")
        assert stack_of(second) == "file"
    by_variables = second_of(
        written('failover.to = { url = "acme://there" }'),
        DOWNHAUL_PROVIDER__FAILOVER__TO__SDK_KEY="s3cond",
    )
    assert by_variables.settings.provider.options["sdk_key"] == Secret("s3cond")


def test_paths_resolve_where_the_second_backend_was_written(tmp_path, written):
    for name in ("one", "two"):
        document = f'{{"downhaul": 1, "flags": [{{"key": "{name}", "default": "on"}}]}}'
        (tmp_path / f"{name}.json").write_text(document)
    path = written('failover.to = { url = "file:two.json", poll = 0.5 }')
    with Flags.connect(file=path, cache_dir=str(tmp_path / "cache")) as flags:
        second = flags._engine.provider.secondary
        assert second.wait_ready(15)
        assert second.list().flags.keys() == {"two"}


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "to, path, told, hint",
    [
        ("5", "", "must be a URL, or a table with one", None),
        ('{ sdk_key = "k" }', ".url", "is missing", None),
        ('"acme://x"', ".sdk_key", "is missing", "write `to` as a table, with `url` and what"),
        ('"two.json"', "", "missing scheme", "write file:two.json"),
        ('{ url = "two.json" }', ".url", "missing scheme", "write file:two.json"),
        ('"nobody://x"', "", 'no installed provider answers to the scheme "nobody"', None),
        ('{ url = "acme://x" }', ".sdk_key", "is missing", None),
        ('{ url = "acme://x", sdk_key = "k", retrys = 2 }', ".retrys", "unknown key", "retries"),
        ('"asked://x"', "", 'can\'t answer for one of "file"', "two that decide by themselves"),
        ('{ url = "file:x", wrap = ["recording"] }', ".wrap", "takes no wrappers", "[provider]"),
        ('{ url = "acme://x", sdk_key = { env = "NO" } }', ".sdk_key", "NO is not set", None),
    ],
)
def test_what_is_wrong_with_it_names_its_place(written, to, path, told, hint):
    origin, at, message, fix = problems_of(written(f"failover.to = {to}\n"))[0]
    assert (origin, at) == ("downhaul.toml:4", f"provider.failover.to{path}")
    assert told in message
    assert hint is None or hint in fix


@pytest.mark.rule("X1")
def test_each_problem_of_a_table_has_its_own_line(written):
    path = written(
        """
        [provider.failover]
        afterr = 2
        [provider.failover.to]
        url = "acme://there"
        retries = 0
        sdkkey = "k"
        """
    )
    assert [(origin, at) for origin, at, _, _ in problems_of(path)] == [
        ("downhaul.toml:6", "provider.failover.afterr"),
        ("downhaul.toml:8", "provider.failover.to.sdk_key"),
        ("downhaul.toml:9", "provider.failover.to.retries"),
        ("downhaul.toml:10", "provider.failover.to.sdkkey"),
    ]


@pytest.mark.rule("X1")
def test_what_its_provider_says_when_it_is_made_names_its_line(written):
    path = written('\n\nfailover.to = { url = "acme://nowhere", sdk_key = "k" }')
    with pytest.raises(ConfigError) as caught:
        build_provider(resolve(file=path, environ={}, directory=path.parent))
    assert str(caught.value) == "downhaul.toml:6: [provider.failover] to: acme is nowhere"


@pytest.mark.rule("P7")
def test_nobody_is_shown_its_secrets(written):
    to = '{ url = "acme://u:h1dden@broken", sdk_key = "s3cond-key", retries = 2 }'
    settings = resolve(file=written(f"failover.to = {to}"), environ={}, directory="/")
    shown = {row.path: row.value for row in show(settings)}
    assert shown["provider.failover.to.url"] == "acme://u:***@broken"
    assert shown["provider.failover.to.sdk_key"] == "***"
    assert shown["provider.failover.to.retries"] == 2
    assert settings.redact("s3cond-key or h1dden") == "*** or ***"
    with pytest.raises(ProviderError) as caught:
        build_provider(settings)
    for told in (str(caught.value), repr(settings)):
        assert "s3cond-key" not in told
        assert "h1dden" not in told
