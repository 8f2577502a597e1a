"""Defaults, file, environment, arguments: the highest source that sets a leaf wins it."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from downhaul import config
from downhaul.errors import ConfigError
from downhaul.flag import FlagKind, Scheme

LEAVES = {
    "environment": ("environment", "DOWNHAUL_ENVIRONMENT", "environment"),
    "provider.url": ("provider.url", "DOWNHAUL_URL", "url"),
    "control.url": ("control.url", "DOWNHAUL_CONTROL_URL", "control_url"),
    "control.kill": ("control.kill", "DOWNHAUL_KILL", "kill"),
    "control.on_unknown_kills": (
        "control.on_unknown_kills",
        "DOWNHAUL_CONTROL__ON_UNKNOWN_KILLS",
        "on_unknown_kills",
    ),
}
VALUES = {
    "environment": ["blue", "green", "red"],
    "provider.url": ["postgresql://one/x", "postgresql://two/x", "postgresql://three/x"],
    "control.url": ["postgresql://four/x", "postgresql://five/x", "postgresql://six/x"],
    "control.kill": ["a", "tag:b", "*"],
    "control.on_unknown_kills": ["off", "serve", "off"],
}


def values_of(made):
    return {
        "environment": made.environment,
        "provider.url": made.provider.url,
        "control.url": made.control.url,
        "control.kill": made.control.kill_names,
        "control.on_unknown_kills": made.control.on_unknown_kills,
    }


def test_with_nothing_configured_it_is_a_sqlite_file_beside_the_process(place):
    made = place.resolve()
    assert made.provider.url == f"sqlite:///{place.folder}/downhaul.db"
    assert made.provider.name == "sqlite"
    assert made.environment == "default"
    assert made.control.url is None
    assert made.control.on_unknown_kills == "serve"
    assert made.cache_dir == place.folder / "home" / ".local" / "state" / "downhaul"


@given(where=st.fixed_dictionaries({path: st.sets(st.integers(0, 2)) for path in LEAVES}))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_highest_source_that_sets_a_leaf_wins_it_and_is_named_as_its_origin(place, where):
    in_file, environ, keywords = [], {"HOME": "/nowhere"}, {}
    for path, ranks in where.items():
        key, variable, keyword = LEAVES[path]
        for rank in ranks:
            value = VALUES[path][rank]
            if rank == 0:
                in_file.append(f'{key} = "{value}"')
            elif rank == 1:
                environ[variable] = value
            else:
                keywords[keyword] = value
    place.write("\n".join(in_file))
    made = place.resolve(environ=environ, **keywords)
    got, plain = (
        values_of(made),
        values_of(place.resolve(environ={}, file=place.write("", "e.toml"))),
    )
    for path, ranks in where.items():
        assert got[path] == (VALUES[path][max(ranks)] if ranks else plain[path])
        origin = made.origins.get(path, "default")
        expected = (
            ("downhaul.toml:", "env DOWNHAUL_", "argument ")[max(ranks)] if ranks else "default"
        )
        assert origin.startswith(expected)


def test_an_empty_variable_is_one_that_is_not_set(place):
    place.write('environment = "from-file"')
    place.environ |= {"DOWNHAUL_ENVIRONMENT": "", "DOWNHAUL_URL": "", "DOWNHAUL_CONFIG": ""}
    assert place.resolve().environment == "from-file"


def test_keywords_that_are_none_are_not_given(place):
    place.write('environment = "from-file"')
    assert (
        place.resolve(None, environment=None, url=None, kill_file=None).environment == "from-file"
    )


def test_a_mapping_is_shaped_as_the_file(place):
    made = place.resolve(
        {
            "environment": "staging",
            "provider": {"url": "memory:"},
            "flags": {"a.b": {"kind": "string", "off": "none", "tags": ["x"]}},
        }
    )
    assert made.environment == "staging"
    assert made.provider.url == "memory:"
    assert made.flags["a.b"] == config.Declaration(FlagKind.STRING, "none", ("x",))


def test_settings_are_returned_as_they_are_and_take_nothing_beside_them(place):
    made = place.resolve("memory:")
    assert place.resolve(made, environment=None) is made
    with pytest.raises(ConfigError, match="environment"):
        place.resolve(made, environment="other")


def test_what_is_no_settings_at_all_is_refused(place):
    with pytest.raises(ConfigError, match="int"):
        place.resolve(3)


def test_a_variable_with_double_underscores_sets_one_leaf_of_a_table(place):
    place.write('[provider]\nurl = "acme://x"\ntoken = "one"\npool = { size = 1, name = "n" }')
    place.environ |= {"DOWNHAUL_PROVIDER__TOKEN": "two", "DOWNHAUL_PROVIDER__POOL__SIZE": "5"}
    options = place.resolve().provider.options
    assert options["token"].reveal() == "two"
    assert options["pool"] == {"size": "5", "name": "n"}


def test_the_short_form_of_a_variable_goes_before_the_long_one(place):
    place.environ |= {"DOWNHAUL_URL": "memory:", "DOWNHAUL_PROVIDER__URL": "file:x.toml"}
    made = place.resolve()
    assert made.provider.url == "memory:"
    assert any("DOWNHAUL_PROVIDER__URL" in note for note in made.notes)


def test_variables_that_are_not_ours_to_read_stop_nothing_and_near_misses_are_told(place):
    place.environ |= {"DOWNHAUL_SERVICE_HOST": "10.0.0.1", "DOWNHAUL_ENVIROMENT": "x"}
    [note] = place.resolve().notes
    assert "did you mean DOWNHAUL_ENVIRONMENT?" in note


def test_options_of_a_provider_are_left_behind_where_a_higher_source_names_another(place):
    place.write('[provider]\nurl = "unleash+https://x/api"\ntoken = "t"')
    assert "token" in place.resolve().provider.options
    assert "token" in place.resolve("unleash+https://y/api").provider.options
    other = place.resolve("sqlite:///x.db")
    assert dict(other.provider.options) == {}
    assert any("provider.token" in note for note in other.notes)


def test_declarations_are_kept_by_key(place):
    place.write(
        """
        [flags."new.agent version"]
        kind = "boolean"
        off = "off"
        tags = ["agents", "beta"]
        rollout = "portable"
        salt = "-1577348401"
        scheme = "split"
        """
    )
    made = place.resolve().flags["new.agent version"]
    assert made == config.Declaration(
        FlagKind.BOOLEAN,
        "off",
        ("agents", "beta"),
        config.RolloutMode.PORTABLE,
        "-1577348401",
        Scheme.SPLIT,
    )


def test_settings_are_frozen(place):
    made = place.resolve()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.environment = "other"


def test_show_names_every_effective_value_with_its_origin(place):
    place.write('[provider]\nurl = "file:flags.toml"\npoll = 2\n[flags."a.b"]\noff = "no"\n')
    place.environ["DOWNHAUL_KILL"] = "tag:agents"
    rows = {row.path: (row.value, row.origin) for row in config.show(place.resolve())}
    assert rows["provider.url"] == (f"file://{place.folder}/flags.toml", "downhaul.toml:2")
    assert rows["provider.poll"] == (2, "downhaul.toml:3")
    assert rows["control.kill"] == ("tag:agents", "env DOWNHAUL_KILL")
    assert rows["environment"] == ("default", "default")
    assert rows['flags."a.b".off'] == ("no", "downhaul.toml:5")


def test_the_package_itself_costs_no_pydantic():
    import subprocess
    import sys

    code = "import sys; from downhaul import config; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
