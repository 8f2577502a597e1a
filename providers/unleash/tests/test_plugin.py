"""Unleash among the providers: found by its scheme, configured, with its translator."""

import subprocess
import sys

import pytest
from downhaul_unleash import translate
from downhaul_unleash.configuring import api_url

from downhaul import plugins
from downhaul.config import resolve
from downhaul.errors import ConfigError
from downhaul.flag import FlagSet
from downhaul.provider import Capability

TOKEN = "*:development.very-secret"


def settings(url="unleash+https://unleash.example/api", environment=None, **options):
    options.setdefault("token", TOKEN)
    return resolve(url, provider=options, environment=environment, environ={})


def built(*args, **options):
    return plugins.build_provider(settings(*args, **options))


def test_the_translator_is_found_by_name():
    assert plugins.load_translator("unleash") is translate


def test_listing_the_plugin_imports_no_sdk():
    code = (
        "import sys, downhaul_unleash.plugin as p; p.downhaul_providers();"
        "print([n for n in sys.modules if n.startswith(('downhaul_unleash.', 'UnleashClient'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['downhaul_unleash.plugin']"


def test_what_is_translated_is_a_flag_set():
    made = translate.flags_from('{"features": [{"name": "f", "enabled": true}]}')
    assert isinstance(made.flag_set("1"), FlagSet)
    assert made.flag_set("1").revision == "1"


@pytest.mark.parametrize(
    "url",
    [
        "unleash+https://h/api",
        "unleash+https://h/api/",
        "unleash+https://h",
        "unleash+https://h/",
        "unleash+https://h/api/client/features",
        "unleash+https://h/api/admin",
    ],
)
def test_the_sdk_gets_a_url_that_ends_in_api_however_it_is_written(url):
    assert api_url(url, url) == "https://h/api"


def test_a_path_before_the_api_stays():
    assert api_url("unleash+http://h:4242/flags/api", "x") == "http://h:4242/flags/api"
    assert api_url("unleash+http://h:4242/flags", "x") == "http://h:4242/flags/api"


@pytest.mark.rule("P4")
def test_only_an_admin_token_lets_a_provider_manage():
    reading = {Capability.RESOLVE, Capability.WATCH}
    assert built().capabilities == reading
    managing = built(admin_token="*:*.very-secret").capabilities
    assert managing == reading | {Capability.READ, Capability.WRITE, Capability.SNAPSHOT}


def test_the_environment_is_that_of_the_token():
    assert built(environment="ours")._connection.environment == "development"
    assert built(token="*:*.x", environment="ours")._connection.environment == "ours"
    assert built(token="old-token", environment="ours")._connection.environment == "ours"
    with pytest.raises(ConfigError, match='"development", and "production"'):
        plugins.build_provider(
            resolve(
                {
                    "provider": {
                        "url": "unleash+https://h/api",
                        "token": TOKEN,
                        "environment": "production",
                    }
                },
                environ={},
            )
        )


@pytest.mark.parametrize(
    "url",
    ["unleash://h/api", "unleash+ftp://h/api", "unleash+https://", "unleash+https://h/api?a=b"],
)
def test_a_url_that_says_no_address_is_refused_with_one_that_does(url):
    with pytest.raises(ConfigError) as refused:
        built(url)
    assert "unleash+https://HOST/api" in str(refused.value)


def test_a_missing_token_and_an_unknown_setting_are_told():
    with pytest.raises(ConfigError, match="without a token") as refused:
        plugins.build_provider(resolve("unleash+https://h/api", environ={}))
    assert "UNLEASH_TOKEN" in str(refused.value)
    with pytest.raises(ConfigError, match="refesh"):
        built(refesh=1)


@pytest.mark.rule("P7")
def test_no_token_is_ever_shown():
    made = built(admin_token="*:*.very-secret")
    shown = repr(made) + repr(made._connection) + repr(made._admin) + repr(settings())
    assert "very-secret" not in shown
