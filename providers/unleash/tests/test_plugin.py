"""Unleash among the providers: it translates, and says that it evaluates nothing yet."""

import subprocess
import sys

import pytest
from downhaul_unleash import translate

from downhaul import plugins
from downhaul.errors import ProviderError
from downhaul.flag import FlagSet


def test_the_translator_is_found_by_name():
    assert plugins.load_translator("unleash") is translate


def test_evaluating_through_an_unleash_server_is_refused_with_what_there_is_instead():
    from downhaul.config import resolve

    settings = resolve("unleash+https://unleash.example/api", environ={})
    with pytest.raises(ProviderError, match="translates documents") as refused:
        plugins.build_provider(settings)
    assert "downhaul flags import --from unleash" in refused.value.hint


def test_listing_the_plugin_imports_no_translator():
    code = (
        "import sys, downhaul_unleash.plugin as p; p.downhaul_providers();"
        "print([n for n in sys.modules if n.startswith('downhaul_unleash.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['downhaul_unleash.plugin']"


def test_what_is_translated_is_a_flag_set():
    made = translate.flags_from('{"features": [{"name": "f", "enabled": true}]}')
    assert isinstance(made.flag_set("1"), FlagSet)
    assert made.flag_set("1").revision == "1"
