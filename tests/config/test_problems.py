"""Every problem at once, each with its line and what to do about it (rule X1)."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul import config
from downhaul.config.locate import line_of, lines_of
from downhaul.errors import ConfigError

WRONG = """
    environmnt = "production"
    [provider]
    url = "unleash.internal/api"
    token = { env = "UNLEASH_TOKEN" }
    wrap = ["failovr"]
    [control]
    on_unknown_kill = "serve"
    kill_file = 3
    [flags."new.agent"]
    kind = "bool"
    tagz = []
"""


@pytest.mark.rule("X1")
def test_every_problem_is_listed_at_once_with_its_line_and_its_fix(place):
    place.write(WRONG)
    place.environ["DOWNHAUL_ENVIRONMENT"] = "*"
    with pytest.raises(ConfigError) as caught:
        place.resolve()
    assert str(caught.value).splitlines() == [
        "9 problems in the configuration; nothing was started",
        "  downhaul.toml:1  environmnt  unknown key (did you mean environment?)",
        (
            '  downhaul.toml:3  provider.url  missing scheme: "unleash.internal/api" (write a '
            "scheme before it, such as launchdarkly://, openfeature://, postgresql://, "
            "split://, unleash://)"
        ),
        (
            "  downhaul.toml:4  provider.token  the environment variable UNLEASH_TOKEN is not set "
            "(set UNLEASH_TOKEN, or write the value another way)"
        ),
        '  downhaul.toml:5  provider.wrap  no wrapper is called "failovr" (did you mean failover?)',
        "  downhaul.toml:7  control.on_unknown_kill  unknown key (did you mean on_unknown_kills?)",
        "  downhaul.toml:8  control.kill_file  must be a string",
        (
            '  downhaul.toml:10  flags."new.agent".kind  '
            "must be 'boolean', 'string', 'number' or 'object'"
        ),
        '  downhaul.toml:11  flags."new.agent".tagz  unknown key (did you mean tags?)',
        "  env DOWNHAUL_ENVIRONMENT  environment  must be a name, not blank and not *",
    ]
    assert place.check() == list(caught.value.problems)


@pytest.mark.rule("X1")
def test_check_names_unknown_schemes_of_both_urls(place, not_installed):
    not_installed("launchdarkly")
    place.write('[provider]\nurl = "unlaesh+https://x"\n[control]\nurl = "launchdarkly://"')
    one, two = place.check()
    assert (one.origin, one.path) == ("downhaul.toml:2", "provider.url")
    assert 'did you mean "unleash"?' in one.hint
    assert (two.origin, two.path) == ("downhaul.toml:4", "control.url")
    assert two.hint == "pip install downhaul-launchdarkly"


@pytest.mark.rule("X1")
def test_check_asks_the_provider_s_own_model(place):
    place.write('[provider]\nurl = "sqlite:///x.db"\npol = 3\npoll = "often"\n')
    told = [(one.origin, one.path, one.message, one.hint) for one in place.check()]
    assert told == [
        ("downhaul.toml:3", "provider.pol", "unknown key", "did you mean poll?"),
        (
            "downhaul.toml:4",
            "provider.poll",
            "must be a valid number, unable to parse string as a number",
            None,
        ),
    ]


def test_a_good_configuration_has_no_problems(place):
    place.write('[provider]\nurl = "sqlite:///x.db"\npoll = 0.5\n[control]\nkill = ["a", "tag:b"]')
    assert place.check() == []
    assert place.resolve().control.kill_names == "a,tag:b"


@pytest.mark.parametrize(
    "url, hint",
    [
        ("flags.toml", "write file:flags.toml"),
        ("data/flags.db", "write sqlite:///data/flags.db"),
        ("localhost:4242/api", "write a scheme before it"),
    ],
)
def test_a_url_without_a_scheme_is_told_which(place, url, hint):
    [problem] = place.check(url)
    assert problem.message == f'missing scheme: "{url}"'
    assert problem.hint.startswith(hint)
    assert problem.origin == "argument url"


def test_tables_that_are_no_tables_and_keywords_that_are_none_of_ours_are_problems(place):
    paths = [one.path for one in place.check({"provider": 3, "flags": "x"}, enviroment="y")]
    assert sorted(paths) == ["enviroment", "flags", "provider"]


# Lines


@pytest.mark.parametrize(
    "text, path, line",
    [
        ("a = 1\nb = 2", ("b",), 2),
        ("# one\n\n[t] # two\n# three\nb = 2", ("t", "b"), 5),
        ('a = """\nb = 1\n"""\nb = 2', ("b",), 4),
        ("a = '''\nb = 1\n'''\nb = 2", ("b",), 4),
        ('a = """x\\"""\nb = 1\n"""\nb = 2', ("b",), 4),
        ('a = [\n  "]", # ]\n  { c = 1 },\n]\nb = 2', ("b",), 5),
        ("a.b.c = 1\na.b.d = 2", ("a", "b", "d"), 2),
        ('["x.y" . z]\n\n"p = \\"q\\"" = 1', ("x.y", "z", 'p = "q"'), 3),
        ("[[x]]\na = 1\n[[x]]\na = 2", ("x",), 3),
        ("t = { a = { b = 1 } }", ("t", "a", "b"), 1),
        ("a = 1\r\nb = 2\r\n", ("b",), 2),
    ],
)
def test_keys_are_found_on_their_lines(text, path, line):
    tomllib.loads(text)
    assert line_of(lines_of(text), path) == line


def test_what_is_not_there_has_no_line():
    assert line_of(lines_of("a = 1"), ("b",)) is None


_KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6)
_TEXTS = st.text(st.sampled_from("ab#='[]{}.,\n "), max_size=12)


def _written(value):
    if isinstance(value, list):
        return "[" + ",\n".join(_written(one) for one in value) + "\n]"
    return f'"""\n{value}"""' if "\n" in value else f'"{value}"'


@given(
    tables=st.dictionaries(
        _KEYS,
        st.dictionaries(_KEYS, st.one_of(_TEXTS, st.lists(_TEXTS, max_size=3)), max_size=4),
        max_size=4,
    )
)
def test_whatever_the_values_hold_each_key_is_found_on_its_line(tables):
    def quoted(key):
        return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'

    lines, expected = [], {}
    for table, pairs in tables.items():
        lines.append(f"[{quoted(table)}]")
        expected[table,] = len(lines)
        for key, value in pairs.items():
            first, *more = f"{quoted(key)} = {_written(value)}".split("\n")
            lines.append(first)
            expected[table, key] = len(lines)
            lines += more
    text = "\n".join(lines)
    tomllib.loads(text)
    assert lines_of(text) == expected


def test_the_lines_of_a_syntax_error_are_told(place):
    place.write('[provider]\nurl = "memory:"\nurl = "file:x"\n')
    [problem] = place.check()
    assert problem.origin == "downhaul.toml:3"
    assert "not valid TOML" in problem.message


def test_the_public_names_are_complete():
    assert sorted(config.__all__) == sorted(
        name for name in config.__all__ if getattr(config, name) is not None
    )
    with pytest.raises(AttributeError):
        config.nothing  # noqa: B018


@pytest.mark.rule("E10")
@pytest.mark.parametrize(
    "table, told",
    [
        ('scheme = "split"', "a rollout by Split's hash needs its seed as the salt, not None"),
        ('scheme = "split"\nsalt = "x"', "a rollout by Split's hash needs its seed as the salt"),
        ('scheme = "random"', "a portable rollout needs a bucket that stays: no scheme `random`"),
    ],
)
def test_a_portable_rollout_that_can_not_bucket_is_a_problem(place, table, told):
    place.write(f'[provider]\nurl = "file:x.toml"\n[flags.one]\nrollout = "portable"\n{table}\n')
    with pytest.raises(ConfigError) as refused:
        place.resolve()
    [problem] = refused.value.problems
    assert problem.message.startswith(told)
    assert "downhaul.toml:4" in str(refused.value)
