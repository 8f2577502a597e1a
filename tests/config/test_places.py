"""Where the file is found, and what paths and references in it stand for."""

from pathlib import Path

import pytest

from downhaul.errors import ConfigError


@pytest.fixture
def repository(place):
    (place.folder / ".git").mkdir()
    deep = place.folder / "src" / "app"
    deep.mkdir(parents=True)
    return deep


def test_the_file_is_found_upwards_to_the_root_of_the_repository(place, repository):
    place.write('environment = "root"')
    assert place.resolve(directory=repository).environment == "root"
    place.write('environment = "nearer"', "src/downhaul.toml")
    assert place.resolve(directory=repository).environment == "nearer"


def test_the_search_ends_at_the_root_of_the_repository(place):
    place.write('environment = "outside"')
    inner = place.folder / "inner"
    (inner / ".git").mkdir(parents=True)
    assert place.resolve(directory=inner).environment == "default"


def test_the_search_ends_at_the_home_directory(place):
    place.write('environment = "outside"')
    place.write('environment = "mine"', "home/downhaul.toml")
    work = place.folder / "home" / "work"
    work.mkdir()
    assert place.resolve(directory=work).environment == "mine"
    (place.folder / "home" / "downhaul.toml").unlink()
    assert place.resolve(directory=work).environment == "default"


def test_outside_of_both_a_stranger_s_file_further_up_configures_nobody(place):
    place.write('environment = "planted"')
    below = place.folder / "below"
    below.mkdir()
    assert place.resolve(directory=below).environment == "default"


def test_a_table_in_pyproject_does_as_well(place):
    place.write(
        '[project]\nname = "x"\n\n[tool.downhaul]\nenvironment = "shared"', "pyproject.toml"
    )
    made = place.resolve()
    assert made.environment == "shared"
    assert made.origins["environment"] == "pyproject.toml:5"


def test_a_pyproject_without_the_table_is_passed_by(place, repository):
    place.write('environment = "root"')
    place.write('[project]\nname = "downhaul-user"', "src/pyproject.toml")
    place.write("[project\n", "src/app/pyproject.toml")
    assert place.resolve(directory=repository).environment == "root"


def test_downhaul_toml_goes_before_the_table_beside_it_and_says_so(place):
    place.write('environment = "own"')
    place.write('[tool.downhaul]\nenvironment = "shared"', "pyproject.toml")
    made = place.resolve()
    assert made.environment == "own"
    assert any("pyproject.toml is not read" in note for note in made.notes)


def test_a_file_that_is_named_goes_before_the_one_that_is_found(place):
    place.write('environment = "found"')
    place.write('environment = "variable"', "etc/one.toml")
    place.write('environment = "argument"', "etc/two.toml")
    place.environ["DOWNHAUL_CONFIG"] = "etc/one.toml"
    assert place.resolve().environment == "variable"
    assert place.resolve(file="etc/two.toml").environment == "argument"


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "name, text, message",
    [
        ("missing.toml", None, "cannot be read: No such file"),
        ("broken.toml", "a = [1,\nb = 2\n", "is not valid TOML"),
        ("pyproject.toml", "[project]\n", "has no table"),
    ],
)
def test_a_named_file_that_cannot_be_used_is_a_problem(place, name, text, message):
    if text is not None:
        place.write(text, name)
    [problem] = place.check("memory:", file=name)
    assert message in problem.message
    assert problem.origin.startswith(name)


# Paths


def test_paths_in_a_file_resolve_against_the_file(place, repository):
    place.write(
        """
        cache_dir = "state"
        [provider]
        url = "file:flags/all.toml"
        [control]
        url = "sqlite:///control.db"
        kill_file = "/etc/downhaul/kill"
        """
    )
    made = place.resolve(directory=repository)
    assert made.provider.path == place.folder / "flags" / "all.toml"
    assert made.provider.directory == place.folder
    assert made.control.url == f"sqlite:///{place.folder}/control.db"
    assert made.control.kill_file == Path("/etc/downhaul/kill")
    assert made.cache_dir == place.folder / "state"


def test_the_default_database_is_beside_the_file_where_there_is_one(place, repository):
    place.write('environment = "x"')
    assert place.resolve(directory=repository).provider.path == place.folder / "downhaul.db"


def test_paths_in_variables_and_arguments_resolve_against_the_working_directory(place, repository):
    place.write('environment = "x"')
    place.environ |= {"DOWNHAUL_KILL_FILE": "kill", "DOWNHAUL_CACHE_DIR": "cache"}
    made = place.resolve("sqlite:///x.db", directory=repository)
    assert made.provider.path == repository / "x.db"
    assert made.control.kill_file == repository / "kill"
    assert made.cache_dir == repository / "cache"
    assert place.resolve(kill_file=Path("other")).control.kill_file == place.folder / "other"


@pytest.mark.parametrize(
    "url, path",
    [
        ("file:a b.toml", "/here/a b.toml"),
        ("file:a%20b.toml", "/here/a b.toml"),
        ("file:100%25.toml", "/here/100%.toml"),
        ("file:/etc/x%3F.toml", "/etc/x?.toml"),
        ("file:///etc/x.toml", "/etc/x.toml"),
        ("file://localhost/etc/x.toml", "/etc/x.toml"),
        ("sqlite:///a b%20.db", "/here/a b%20.db"),
        ("sqlite:////etc/x.db?timeout=3", "/etc/x.db"),
    ],
)
def test_local_urls_name_one_absolute_path_however_often_they_are_resolved(place, url, path):
    made = place.resolve(url, directory="/here")
    assert made.provider.path == Path(path)
    again = place.resolve(made.provider.url, directory="/elsewhere")
    assert again.provider.url == made.provider.url
    assert again.provider.path == Path(path)


@pytest.mark.parametrize("url", ["file:", "file://", "file://server/share/flags.toml"])
def test_a_file_url_without_a_file_here_is_a_problem(place, url):
    [problem] = place.check(url)
    assert problem.hint == "write file:flags.toml"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "memory:"])
def test_what_is_no_path_stays_as_it_is(place, url):
    assert place.resolve(url).provider.url == url


def test_the_state_directory_follows_xdg(place):
    place.environ["XDG_STATE_HOME"] = "/var/state"
    assert place.resolve().cache_dir == Path("/var/state/downhaul")
    place.environ["XDG_STATE_HOME"] = "relative"
    assert place.resolve().cache_dir == place.folder / "home/.local/state/downhaul"


def test_the_copy_on_disk_can_be_declined(place):
    place.write("cache_dir = false")
    assert place.resolve().cache_dir is None


# References


def test_a_string_may_be_kept_in_a_variable_or_in_a_file(place):
    place.write("from-a-file\n", "secrets/token")
    place.write(
        """
        environment = { env = "STAGE" }
        [provider]
        url = { env = "FLAGS_AT" }
        token = { file = "secrets/token" }
        pool = { password = { env = "POOL_PASSWORD" } }
        """
    )
    place.environ |= {"STAGE": "blue", "FLAGS_AT": "acme://x", "POOL_PASSWORD": "pp"}
    made = place.resolve()
    assert made.environment == "blue"
    assert made.provider.url == "acme://x"
    assert made.provider.options["token"].reveal() == "from-a-file"
    assert made.provider.options["pool"]["password"].reveal() == "pp"


@pytest.mark.rule("X1")
def test_a_reference_that_leads_nowhere_is_a_problem_at_its_own_line(place):
    place.write(
        """
        [provider]
        url = { env = "NOT_SET" }
        token = { file = "not-there" }
        other = { file = "empty" }
        """
    )
    place.write("\n", "empty")
    with pytest.raises(ConfigError) as caught:
        place.resolve()
    told = [(one.origin, one.path, one.message) for one in caught.value.problems]
    assert told == [
        ("downhaul.toml:2", "provider.url", "the environment variable NOT_SET is not set"),
        (
            "downhaul.toml:3",
            "provider.token",
            f"the file {place.folder}/not-there cannot be read: No such file or directory",
        ),
        ("downhaul.toml:4", "provider.other", f"the file {place.folder}/empty is empty"),
    ]


def test_a_reference_that_a_higher_source_replaces_is_never_read(place):
    place.write('[provider]\nurl = { env = "NOT_SET" }')
    assert place.resolve("memory:").provider.url == "memory:"
