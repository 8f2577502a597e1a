"""Providers that go by a name: what their packages are called with.

Stand-ins take the packages' place, with the signatures of the real ones; where a real one is
installed, it is asked too.
"""

import enum
import json
import os
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest
from downhaul_openfeature.names import named
from stubs_openfeature import Stub

from downhaul import Flags
from downhaul.config import resolve
from downhaul.errors import ConfigError
from downhaul.plugins import build_provider
from downhaul.provider import Capability
from downhaul.result import ErrorCode


class ResolverType(enum.Enum):
    RPC = "rpc"
    IN_PROCESS = "in-process"


class CacheType(enum.Enum):
    LRU = "lru"


def recorded(*names):
    """Return a class of a provider that takes these arguments and keeps them."""

    class Recorded(Stub):
        def __init__(self, **given):
            super().__init__()
            self.given = given

    parameters = ", ".join(f"{name}=None" for name in names)
    made = f"def make({parameters}): return Recorded(**locals())"
    namespace = {"Recorded": Recorded}
    exec(made, namespace)
    return namespace["make"]


@pytest.fixture
def packages(monkeypatch):
    """Stand-ins for the packages of the known names."""

    def put(name, **contents):
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    contrib = "openfeature.contrib.provider"
    put(contrib)
    put(
        f"{contrib}.flagd",
        FlagdProvider=recorded("host", "resolver_type", "cache", "offline_flag_source_path"),
    )
    put(f"{contrib}.flagd.config", ResolverType=ResolverType, CacheType=CacheType)
    put(f"{contrib}.ofrep", OFREPProvider=recorded("base_url", "headers_factory", "timeout"))
    put(
        f"{contrib}.flipt",
        FliptProvider=recorded("base_url", "namespace", "headers_factory", "timeout"),
    )
    closed = []
    client = SimpleNamespace(get=lambda key: SimpleNamespace(close=lambda: closed.append(key)))
    put(
        "configcatclient",
        ConfigCatClient=client,
        ConfigCatOptions=recorded("base_url", "polling_mode"),
        PollingMode=SimpleNamespace(auto_poll=lambda seconds: ("auto", seconds)),
        closed=closed,
    )
    put(
        "configcat_openfeature_provider",
        ConfigCatProvider=lambda key, options: SimpleNamespace(key=key, options=options),
    )


def made(name, options, directory):
    make, _watches = named(name, options, directory)
    return make()


def test_flagd_is_in_process_unless_said(packages, tmp_path):
    assert made("flagd", {}, tmp_path).given["resolver_type"] is ResolverType.IN_PROCESS
    given = made("flagd", {"resolver_type": "rpc", "cache": "lru"}, tmp_path).given
    assert (given["resolver_type"], given["cache"]) == (ResolverType.RPC, CacheType.LRU)


def test_a_file_is_looked_for_beside_the_configuration(packages, tmp_path):
    options = {"offline_flag_source_path": "flags.json"}
    given = made("flagd", options, tmp_path).given
    assert given["offline_flag_source_path"] == str(tmp_path / "flags.json")
    options = {"offline_flag_source_path": "/etc/flags.json"}
    assert made("flagd", options, tmp_path).given["offline_flag_source_path"] == "/etc/flags.json"


def test_a_word_that_flagd_does_not_know_is_refused_with_those_that_it_does(packages, tmp_path):
    with pytest.raises(ConfigError, match=r"rpc, in-process"):
        named("flagd", {"resolver_type": "magic"}, tmp_path)


@pytest.mark.parametrize("name", ["flagd", "ofrep", "flipt"])
def test_an_option_that_is_none_is_refused_before_the_start(packages, tmp_path, name):
    with pytest.raises(ConfigError, match="unexpected keyword argument 'hots'"):
        named(name, {"hots": "x"}, tmp_path)


@pytest.mark.parametrize("name", ["ofrep", "flipt"])
def test_a_request_is_given_half_a_second_unless_said(packages, tmp_path, name):
    given = made(name, {"base_url": "http://x"}, tmp_path).given
    assert (given["base_url"], given["timeout"]) == ("http://x", 0.5)
    assert given["headers_factory"] is None
    options = {"base_url": "http://x", "timeout": 2, "headers": {"Authorization": "Bearer t"}}
    given = made(name, options, tmp_path).given
    assert given["timeout"] == 2
    assert given["headers_factory"]() == {"Authorization": "Bearer t"}


def test_flipt_has_a_namespace(packages, tmp_path):
    assert made("flipt", {}, tmp_path).given["namespace"] == "default"
    assert made("flipt", {"namespace": "mine"}, tmp_path).given["namespace"] == "mine"


def test_configcat_is_polled_and_needs_its_key(packages, tmp_path):
    options = {"sdk_key": "k", "poll_interval_seconds": 5, "base_url": "http://x"}
    provider = made("configcat", options, tmp_path)
    assert provider.key == "k"
    assert provider.options.given == {"base_url": "http://x", "polling_mode": ("auto", 5)}
    with pytest.raises(ConfigError, match="needs its key"):
        named("configcat", {}, tmp_path)


@pytest.mark.rule("P3")
def test_a_forked_child_gets_no_configcat_client_of_its_parents(packages, tmp_path, monkeypatch):
    make, _ = named("configcat", {"sdk_key": "k"}, tmp_path)
    make()
    closed = sys.modules["configcatclient"].closed
    assert not closed
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)
    make()
    assert closed == ["k"]


def test_flagd_itself_serves_a_file_and_follows_it(tmp_path):
    pytest.importorskip("openfeature.contrib.provider.flagd")
    path = tmp_path / "flags.json"

    def write(default):
        flag = {"state": "ENABLED", "variants": {"a": "A", "b": "B"}, "defaultVariant": default}
        off = {"state": "DISABLED", "variants": {"on": True}, "defaultVariant": "on"}
        new = tmp_path / "new"
        new.write_text(json.dumps({"flags": {"letter": flag, "off": off}}), encoding="utf-8")
        new.replace(path)

    write("a")
    options = {"offline_flag_source_path": "flags.json", "deadline_ms": 50}
    document = {"provider": {"url": "openfeature+flagd:", "options": options}}
    provider = build_provider(resolve(document, environ={}, directory=tmp_path))
    assert Capability.WATCH in provider.capabilities
    with Flags.over(provider) as flags:
        changed = threading.Event()
        assert flags.evaluate("letter", "ada", "").variant == "a"
        assert flags.evaluate("off", "ada", True).error_code is None
        assert flags.evaluate("gone", "ada", True).error_code is ErrorCode.FLAG_NOT_FOUND
        flags.on_change(lambda keys: changed.set() if "letter" in keys else None)
        for _ in range(30):
            write("b")  # again, as flagd tells files apart by their times alone
            if changed.wait(1):
                break
        assert changed.is_set()
        assert flags.value("letter", "ada", "") == "B"
