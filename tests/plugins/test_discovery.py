"""Listing and asking by scheme: lazily, by the entry point's name first."""

import json

import pytest

from downhaul.errors import ProviderNotFound
from downhaul.plugins.known import BUILTIN, KNOWN

HEAVY = ("sqlalchemy", "psycopg", "alembic", "click", "ldclient", "UnleashClient", "splitio")


def test_listing_providers_imports_no_driver_and_no_sdk(site):
    site.install_provider("acme-flags", "acme")
    out = site.run(f"""
        import json, sys
        from downhaul.plugins import installed
        names = [one.name for one in installed()]
        heavy = [name for name in {HEAVY!r} if name in sys.modules]
        print(json.dumps([names, heavy, "acme_flags_plugin" in sys.modules]))
    """)
    names, heavy, loaded = json.loads(out)
    assert {"acme", "file", "memory", "sqlite"} <= set(names)
    assert heavy == []
    assert loaded


def test_names_are_known_without_importing_any_plugin(site):
    site.install("acme-flags", "acme", "raise AssertionError('imported')")
    assert site.registry().names() == sorted(["acme", *BUILTIN])


def test_a_scheme_loads_only_the_plugin_that_its_first_word_names(site):
    site.install_provider("acme-flags", "acme")
    site.install("other-flags", "other", "raise SystemExit('imported')")
    out = site.run("""
        import sys
        from downhaul.plugins import spec_for
        print(spec_for("acme+https").name, "other_flags_plugin" in sys.modules)
    """)
    assert out.split() == ["acme", "False"]


def test_the_core_s_schemes_load_no_plugin(site):
    site.install("acme-flags", "acme", "raise AssertionError('imported')")
    registry = site.registry()
    for name, spec in BUILTIN.items():
        assert registry.spec_for(spec.schemes[0]).name == name


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "PostgreSQL"])
def test_postgres_answers_to_all_its_spellings(site, scheme):
    site.install_provider("downhaul-postgres", "postgresql", "postgresql", "postgres")
    assert site.registry().spec_for(scheme).name == "postgresql"


def test_a_scheme_that_no_entry_point_is_named_for_is_found_among_all(site):
    site.install_provider("acme-flags", "acme", "acme", "roadrunner+https")
    assert site.registry().spec_for("roadrunner+https").name == "acme"
    with pytest.raises(ProviderNotFound):
        site.registry().spec_for("roadrunner+ftp")


def test_entry_points_of_one_module_each_take_the_spec_of_their_name(site):
    site.install(
        "acme-flags",
        "",
        """
        from downhaul.hookspecs import ProviderSpec, hookimpl

        @hookimpl
        def downhaul_providers():
            return [ProviderSpec(name=n, schemes=(n,), factory="a:b") for n in ("one", "two")]
        """,
        entry_points="[downhaul]\none = acme_flags_plugin\ntwo = acme_flags_plugin\n",
    )
    registry = site.registry()
    assert registry.spec_for("one").name == "one"
    assert registry.spec_for("two").name == "two"


def test_an_older_copy_further_down_the_path_is_no_rival(site, tmp_path):
    site.install_provider("acme-flags", "acme", version="2.0")
    older = tmp_path / "older" / "acme_flags-1.0.dist-info"
    older.mkdir(parents=True)
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: Acme.Flags\nVersion: 1.0\n")
    (older / "entry_points.txt").write_text("[downhaul]\nacme = elsewhere\n")
    from downhaul.plugins import Registry

    registry = Registry({}, [str(site.folder), str(older.parent)])
    assert registry.spec_for("acme").name == "acme"
    assert [one.version for one in registry.installed() if one.name == "acme"] == ["2.0"]


# What is not there


@pytest.mark.rule("X1")
def test_an_unknown_scheme_says_what_is_installed_what_is_known_and_what_was_meant(site):
    site.install_provider("acme-flags", "acme")
    with pytest.raises(ProviderNotFound) as caught:
        site.registry().spec_for("acmee")
    text = str(caught.value)
    assert '"acmee"' in text
    assert 'did you mean "acme"?' in text
    assert f"installed: {', '.join(sorted(['acme', *BUILTIN]))}" in text
    for one in KNOWN.values():
        assert f"pip install {one.package}" in text


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_known_scheme_says_what_to_install(site, name):
    with pytest.raises(ProviderNotFound) as caught:
        site.registry().spec_for(f"{name}+https")
    assert caught.value.hint == f"pip install {KNOWN[name].package}"


def test_a_server_s_address_without_its_kind_is_told_how_to_say_it(site):
    with pytest.raises(ProviderNotFound, match=r"unleash\+https://"):
        site.registry().spec_for("https")


# Switched on and off


def test_plugins_can_be_restricted_to_some(site):
    site.install_provider("acme-flags", "acme")
    site.install_provider("other-flags", "other")
    registry = site.registry(DOWNHAUL_PLUGINS="acme")
    assert registry.spec_for("acme").name == "acme"
    assert registry.spec_for("sqlite").name == "sqlite"
    with pytest.raises(ProviderNotFound, match="DOWNHAUL_PLUGINS"):
        registry.spec_for("other")


@pytest.mark.parametrize("what", ["other", "other-flags", " Other_Flags , x"])
def test_plugins_can_be_switched_off_by_provider_or_distribution(site, what):
    site.install_provider("acme-flags", "acme")
    site.install("other-flags", "other", "raise AssertionError('imported')")
    registry = site.registry(DOWNHAUL_DISABLE_PLUGINS=what)
    assert registry.names() == sorted(["acme", *BUILTIN])
    [off] = [one for one in registry.installed() if one.name == "other"]
    assert off.disabled
    assert "DOWNHAUL_DISABLE_PLUGINS" in off.problem
