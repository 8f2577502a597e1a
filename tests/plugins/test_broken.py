"""One broken plugin never stops the others, and two that claim one name are told apart."""

import logging

import pytest

from downhaul import __version__
from downhaul.errors import ProviderNotFound

SPEC = "from downhaul.hookspecs import ProviderSpec, hookimpl\n"

BROKEN = {
    "does not import": ("import no_such_driver", "no_such_driver"),
    "exits": ("raise SystemExit(3)", "SystemExit"),
    "raises": ("1 / 0", "ZeroDivisionError"),
    "has no hook": ("", "downhaul_providers"),
    "has a hook that is not marked": ("def downhaul_providers(): return []", "@hookimpl"),
    "raises in the hook": (
        SPEC + "@hookimpl\ndef downhaul_providers(): raise ValueError('boom')",
        "boom",
    ),
    "exits in the hook": (
        SPEC + "@hookimpl\ndef downhaul_providers(): raise SystemExit",
        "SystemExit",
    ),
    "returns one spec, not a list": (
        SPEC + "@hookimpl\n"
        "def downhaul_providers(): return ProviderSpec(name='bad', schemes=('bad',))",
        "not a list",
    ),
    "returns something else": (SPEC + "@hookimpl\ndef downhaul_providers(): return [3]", "int"),
    "returns nothing": (SPEC + "@hookimpl\ndef downhaul_providers(): return []", '"bad"'),
    "misnames itself": (
        SPEC + "@hookimpl\n"
        "def downhaul_providers(): "
        "return [ProviderSpec(name='good', schemes=('x',), factory='a:b')]",
        "it returned good",
    ),
    "takes an unknown argument": (
        SPEC + "@hookimpl\ndef downhaul_providers(app): return []",
        "app",
    ),
    "is for another Downhaul": (
        SPEC + "@hookimpl\n"
        "def downhaul_providers(): return "
        "[ProviderSpec(name='bad', schemes=('bad',), factory='a:b', interface=2)]",
        "plugin interface 2",
    ),
    "has a field that is gone": (
        SPEC + "@hookimpl\n"
        "def downhaul_providers(): return [ProviderSpec(name='bad', schemes=('bad',), old=1)]",
        "old",
    ),
    "has no factory": (
        SPEC + "@hookimpl\n"
        "def downhaul_providers(): return [ProviderSpec(name='bad', schemes=('bad',))]",
        "neither a factory nor a translator",
    ),
    "has schemes that are a string": (
        SPEC + "@hookimpl\n"
        "def downhaul_providers(): "
        "return [ProviderSpec(name='bad', schemes='bad', factory='a:b')]",
        "schemes",
    ),
    "has a factory that is no path": (
        SPEC + "@hookimpl\n"
        "def downhaul_providers(): "
        "return [ProviderSpec(name='bad', schemes=('bad',), factory='a.b')]",
        "module:name",
    ),
}


@pytest.mark.parametrize("source, reason", BROKEN.values(), ids=BROKEN)
def test_a_plugin_that_is_broken_is_named_with_its_distribution_and_the_others_work(
    site, caplog, source, reason
):
    site.install("bad-flags", "bad", source, version="0.3")
    site.install_provider("good-flags", "good")
    registry = site.registry()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = {one.name: one for one in registry.installed()}
    assert found["good"].spec is not None
    assert found["good"].problem == ""
    assert found["bad"].spec is None
    assert reason in found["bad"].problem
    assert (found["bad"].distribution, found["bad"].version) == ("bad-flags", "0.3")
    [warning] = [one.getMessage() for one in caplog.records]  # once, however often it is asked
    assert "bad-flags 0.3" in warning
    assert registry.spec_for("good").name == "good"
    with pytest.raises(ProviderNotFound, match=r"bad-flags 0\.3") as caught:
        registry.spec_for("bad")
    assert reason in str(caught.value)


def test_metadata_without_a_name_is_told_by_its_folder(site):
    site.install("odd-flags", "odd", "", metadata="Metadata-Version: 2.1\nVersion: 1.0\n")
    site.install_provider("good-flags", "good")
    found = {one.name: one for one in site.registry().installed()}
    assert found["odd"].distribution == "odd_flags-1.0.dist-info"
    assert "no name" in found["odd"].problem
    assert site.registry().spec_for("good").name == "good"


def test_entry_points_that_cannot_be_read_stop_nobody(site):
    site.install("odd-flags", "odd", "", entry_points="[downhaul]\nno equals sign here\n")
    site.install_provider("good-flags", "good")
    registry = site.registry()
    assert registry.spec_for("good").name == "good"
    broken = [one for one in registry.installed() if one.problem]
    assert [one.distribution for one in broken] == ["odd-flags"]


# Clashes


def test_two_distributions_that_claim_one_name_are_both_named_and_neither_is_used(site):
    site.install_provider("acme-flags", "acme", version="1.0")
    site.install_provider("acme-fork", "acme", version="2.5")
    site.install_provider("good-flags", "good")
    registry = site.registry()
    with pytest.raises(ProviderNotFound) as caught:
        registry.spec_for("acme")
    assert "acme-flags 1.0" in str(caught.value)
    assert "acme-fork 2.5" in str(caught.value)
    assert "DOWNHAUL_DISABLE_PLUGINS" in str(caught.value)
    rivals = [one for one in registry.installed() if one.name == "acme"]
    assert {one.distribution for one in rivals} == {"acme-flags", "acme-fork"}
    assert all(one.spec is None and "acme-fork 2.5" in one.problem for one in rivals)
    assert registry.spec_for("good").name == "good"


def test_a_clash_ends_when_one_of_the_distributions_is_switched_off(site):
    site.install_provider("acme-flags", "acme", "acme")
    site.install_provider("acme-fork", "acme", "acme", "forked")
    registry = site.registry(DOWNHAUL_DISABLE_PLUGINS="acme-fork")
    assert registry.spec_for("acme").schemes == ("acme",)


def test_a_scheme_that_two_claim_is_an_error_and_their_other_schemes_work(site):
    site.install_provider("acme-flags", "acme", "acme", "both")
    site.install_provider("other-flags", "other", "other", "both", version="3.0")
    registry = site.registry()
    with pytest.raises(ProviderNotFound) as caught:
        registry.spec_for("both")
    assert "acme-flags 1.0" in str(caught.value)
    assert "other-flags 3.0" in str(caught.value)
    assert registry.spec_for("acme").name == "acme"
    assert registry.spec_for("other").name == "other"
    found = {one.name: one for one in registry.installed()}
    assert "other-flags 3.0" in found["acme"].problem
    assert "acme-flags 1.0" in found["other"].problem


@pytest.mark.parametrize("name", ["memory", "file", "sqlite"])
def test_nobody_takes_a_name_of_the_core(site, caplog, name):
    site.install("evil-flags", name, "raise AssertionError('imported')")
    registry = site.registry()
    with caplog.at_level(logging.WARNING):
        assert registry.spec_for(name).factory == f"downhaul.backends.{name}:create"
    assert f"downhaul {__version__}" in caplog.text
    assert "evil-flags 1.0" in caplog.text
    [ours, theirs] = sorted(
        (one for one in registry.installed() if one.name == name), key=lambda one: one.distribution
    )
    assert ours.spec is not None
    assert theirs.spec is None
    assert f"downhaul {__version__}" in theirs.problem


def test_nobody_takes_a_scheme_of_the_core(site):
    site.install_provider("evil-flags", "evil", "evil", "sqlite+evil", "memory")
    registry = site.registry()
    assert registry.spec_for("memory").factory == "downhaul.backends.memory:create"
    assert registry.spec_for("sqlite+evil").factory == "downhaul.backends.sqlite:create"
    found = {one.name: one for one in registry.installed()}
    assert f"downhaul {__version__}" in found["evil"].problem
    assert registry.spec_for("evil").name == "evil"
