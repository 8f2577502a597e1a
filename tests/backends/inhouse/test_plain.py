"""Files of flags as teams have them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values, keys

from downhaul import Flags
from downhaul.backends.inhouse.options import PlainOptions
from downhaul.backends.inhouse.plain import translate
from downhaul.config import check, resolve
from downhaul.errors import ConfigError, DocumentError, ReadOnly
from downhaul.flag import FlagKind
from downhaul.ledger import Fidelity
from downhaul.provider import Change, State

FLAGS = {
    "new_checkout": True,
    "old_checkout": False,
    "search": {"enabled": True, "percentage": 25, "users": ["a"], "description": "finds"},
    "theme": "dark",
    "limit": 20,
    "menu": {"steps": [1, 2]},
}
TOML = """
released = 2026-01-31

[features]
new_checkout = true
theme = "dark"

[features.search]
enabled = true
percentage = 25
users = ["a"]
"""
YAML = """
features:
  new_checkout: true
  theme: dark
  search:
    enabled: true
    percentage: 25
    users: [a]
"""


@pytest.fixture
def file(tmp_path, connect):
    """A function that writes a file of flags and reads it."""

    def file(text, name="flags.json", query="", **options):
        (tmp_path / name).write_text(text if isinstance(text, str) else json.dumps(text))
        return connect(f"plain+file:{tmp_path / name}{query}", **options)

    return file


def entry(translation, path):
    (found,) = [one for one in translation.ledger if one.path == path]
    return found


def test_each_form_of_a_flag_is_read(file):
    with Flags.over(file(FLAGS)) as flags:
        assert flags.wait_ready(10)
        assert flags.is_enabled("new_checkout", "ada")
        assert not flags.is_enabled("old_checkout", "ada", default=True)
        assert flags.is_enabled("search", "a")
        on = [flags.is_enabled("search", f"user-{number}") for number in range(2000)]
        assert 400 < sum(on) < 600
        assert flags.value("theme", "ada", "light") == "dark"
        assert flags.value("limit", "ada", 5) == 20
        assert flags.value("menu", "ada", {}) == {"steps": [1, 2]}


@pytest.mark.parametrize("name, text", [("flags.toml", TOML), ("flags.yaml", YAML)])
def test_flags_may_stand_in_a_section_of_any_format(file, name, text):
    for asked in ({"query": "?section=features"}, {"section": "features"}):
        flags = file(text, name, **asked).list().flags
        assert sorted(flags) == ["new_checkout", "search", "theme"]
        assert flags["search"].default.weights[0].weight == 25_000


def test_the_ledger_names_each_field(file):
    found = file({"app": {"flags": FLAGS}}, query="?section=app.flags").export()
    assert entry(found, "app.flags.new_checkout").fidelity is Fidelity.FULL
    lost = entry(found, "app.flags.search.percentage")
    assert (lost.fidelity, lost.fragment) == (Fidelity.PARTIAL, 25)
    assert entry(found, "app.flags.search.users").fidelity is Fidelity.FULL
    # Said: enabled and a percentage, so it is on for the percentage; not said: which it means.
    assert "enabled_means" in entry(found, "app.flags.search.enabled").reason


def test_a_word_of_ours_for_the_same_thing_will_do(file):
    flags = file({"a": {"on": True, "rollout": 50, "allow": ["x"], "deny": ["y"]}}).list().flags
    assert {one.variant: set(one.keys) for one in flags["a"].targets} == {"off": {"y"}, "on": {"x"}}


def test_the_guides_dictionary_is_read_with_its_meaning(file):
    guide = {"new_agent_version": {"enabled": False, "rollout_percentage": 10, "whitelist": ["u"]}}
    made = file(guide, enabled_means="everyone")
    assert made.get("new_agent_version").default.weights[0].weight == 10_000
    assert not file(guide).get("new_agent_version").on


@pytest.mark.parametrize(
    "said, path",
    [
        (None, "a"),
        ({"enabled": "maybe"}, "a.enabled"),
        ({"enabled": True, "percentag": 5}, "a.percentag"),
        ({"percentage": 5, "rollout": 50}, "a.rollout"),
        ({"description": "only words"}, "a"),
        ({"percentage": 500}, "a.percentage"),
        ({"users": {"x": 1}, "enabled": True}, "a.users"),
        ({"value": "dark", "percentage": 5}, "a.value"),
        ("200%", "a"),
    ],
)
def test_what_can_not_be_meant_is_told_and_left_out(file, said, path):
    made = file({"a": said, "b": True})
    assert list(made.list().flags) == ["b"]
    one = entry(made.export(), path)
    assert (one.fidelity, one.flag) == (Fidelity.MANUAL, "a")


def test_a_value_in_a_table_is_for_all_and_a_percentage_as_text_is_one(file):
    flags = file({"a": {"value": "dark"}, "b": "25%", "c": {"users": ["x"]}}).list().flags
    assert (flags["a"].on, flags["a"].kind) == (True, FlagKind.STRING)
    assert flags["b"].default.weights[0].weight == 25_000
    assert (flags["c"].on, flags["c"].default) == (True, "off")


def test_a_text_that_looks_like_a_boolean_is_told(file):
    made = file({"a": "true"})
    assert made.get("a").kind is FlagKind.STRING
    assert entry(made.export(), "a").fidelity is Fidelity.PARTIAL


@pytest.mark.parametrize(
    "name, text",
    [
        ("flags.json", '{"a": true, "a": false}'),
        ("flags.yaml", "a: true\na: false\n"),
        ("flags.toml", "a = true\na = false\n"),
        ("flags.json", "[]"),
        ("flags.json", '{"a": '),
    ],
)
def test_a_file_with_a_name_twice_or_without_names_is_refused_whole(file, name, text):
    with pytest.raises(DocumentError):
        file(text, name).list()


def test_a_section_that_is_not_there_is_told(file):
    with pytest.raises(DocumentError) as told:
        file({"features": {}}, query="?section=feature").list()
    assert "features" in str(told.value)


def test_what_a_section_can_not_hold_is_told_with_its_place_and_the_rest_may_hold_it(file):
    with pytest.raises(DocumentError) as told:
        file("[features]\nwhen = 2026-01-31\n", "x.toml", section="features").list()
    assert [one.path for one in told.value.problems] == ["features.when"]


def test_it_is_followed_and_a_bad_file_leaves_what_was_known(file, tmp_path, heard):
    provider = file({"a": True}, poll=0.02)
    provider.start(heard)
    assert provider.wait_ready(10)
    (tmp_path / "flags.json").write_text('{"a": tru')
    heard.wait_for(lambda one: one.statuses[-1].state is State.STALE)
    assert heard.flag_set.flags["a"].on
    (tmp_path / "flags.json").write_text('{"a": false}')
    heard.wait_for(lambda one: not one.flag_set.flags["a"].on)
    with pytest.raises(ReadOnly):
        provider.switch_on("a", Change("anna"))


def test_a_url_that_asks_for_something_else_is_refused(connect, tmp_path):
    for query in ("?sections=a", "?section=a..b"):
        with pytest.raises(ConfigError):
            connect(f"plain+file:{tmp_path / 'x.json'}{query}")
    given = {"url": "plain+file:x.json", "sections": "a"}
    (problem,) = check({"provider": given}, environ={})
    assert problem.path == "provider.sections"


def test_a_relative_path_is_beside_the_file_of_settings(tmp_path):
    (tmp_path / "downhaul.toml").write_text('[provider]\nurl = "plain+file:x.json?section=a"\n')
    settings = resolve(file=tmp_path / "downhaul.toml", environ={})
    assert settings.provider.path == tmp_path / "x.json"
    assert settings.provider.url.endswith("x.json?section=a")


fields = st.sampled_from(
    ["enabled", "percentage", "users", "blacklist", "value", "off_value", "kind", "tags", "owner"]
)


@given(
    st.dictionaries(
        keys, json_values | st.dictionaries(fields, json_values, max_size=4), max_size=4
    )
)
def test_whatever_a_file_holds_each_name_is_carried_or_told(data):
    made = translate(data, (), PlainOptions())
    json.dumps([one.as_mapping() for one in made.ledger])
    read = {flag.key for flag in made.flags}
    manual = {one.flag for one in made.ledger if one.fidelity is Fidelity.MANUAL}
    assert read | manual == set(data)
    assert not read & manual
