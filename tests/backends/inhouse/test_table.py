"""A team's own table: what its cells mean, what becomes of them, and who follows it."""

import json
import os
import sqlite3
import time

import pytest

from downhaul import Flags
from downhaul.config import check, resolve
from downhaul.errors import ConfigError, ProviderNotFound, ReadOnly, SchemaMissing, Unreachable
from downhaul.flag import Bucketing, FlagKind, Scheme, Split
from downhaul.ledger import Fidelity
from downhaul.plugins import build_provider, installed
from downhaul.plugins.registry import Registry
from downhaul.provider import Capability, Change, State
from downhaul.store import schema

GUIDE = """
    CREATE TABLE feature_flags (
        name VARCHAR(255) PRIMARY KEY,
        enabled BOOLEAN DEFAULT FALSE,
        rollout_percentage INT DEFAULT 0,
        whitelist JSONB DEFAULT '[]',
        created_at TEXT,
        updated_at TEXT
    )
"""
ADD = "INSERT INTO feature_flags (name, enabled, rollout_percentage, whitelist) VALUES (?, ?, ?, ?)"


@pytest.fixture
def guide(sql, path, connect):
    """The guide's table with rows, read with options."""
    sql(GUIDE)

    def guide(*rows, **options):
        sql(ADD, *rows) if rows else None
        return connect(f"table+sqlite:///{path}", **options)

    return guide


def entry(translation, path):
    (found,) = [one for one in translation.ledger if one.path == path]
    return found


def cell(name, column, table="feature_flags", key="name"):
    return f'{table}[{key}="{name}"].{column}'


def reads(provider, context="ada", **more):
    with Flags.over(provider, **more) as flags:
        assert flags.wait_ready(10)
        return {key: flags.is_enabled(key, context) for key in provider.list().flags}


# The guide's table as it is


def test_the_guides_table_is_served_without_any_option(guide):
    provider = guide(
        ("new_agent", 1, 0, "[]"),
        ("old_agent", 0, 0, "[]"),
        ("for_ada", 0, 0, '["ada", "grace"]'),
        ("everybody", 0, 100, "[]"),
    )
    assert reads(provider) == {
        "new_agent": True,
        "old_agent": False,
        "for_ada": True,
        "everybody": True,
    }


def test_a_percentage_by_pythons_hash_is_partial_for_those_between_and_says_why(guide):
    found = guide(("a", 0, 25, "[]"), ("b", 0, 0, "[]"), ("c", 0, 100, "[]")).export()
    lost = entry(found, cell("a", "rollout_percentage"))
    assert lost.fidelity is Fidelity.PARTIAL
    assert "PYTHONHASHSEED" in lost.reason
    assert lost.fragment == 25
    for key in "bc":
        one = entry(found, cell(key, "rollout_percentage"))
        assert one.fidelity in (Fidelity.FULL, Fidelity.SKIPPED)
    split = found.flag_set().flags["a"].default
    assert [one.weight for one in split.weights] == [25_000, 75_000]


def test_every_column_has_its_entry_and_those_without_a_meaning_decide_nothing(guide):
    found = guide(("a", 1, 0, '["ada"]')).export()
    paths = {one.path for one in found.ledger}
    assert {
        cell("a", one) for one in ("name", "enabled", "rollout_percentage", "whitelist")
    } < paths
    assert entry(found, "feature_flags.created_at").fidelity is Fidelity.SKIPPED


def test_an_enabled_flag_with_a_percentage_has_two_readings_and_says_so(guide):
    rows = [("both", 1, 50, "[]"), ("neither", 0, 50, "[]")]
    provider = guide(*rows)
    unsaid = provider.export()
    for key in ("both", "neither"):
        one = entry(unsaid, cell(key, "enabled"))
        assert one.fidelity is Fidelity.PARTIAL
        assert "enabled_means" in one.reason
    assert unsaid.flag_set().flags["both"].default == "on"


def test_enabled_as_a_switch_is_off_for_all_without_it_and_by_percentage_with_it(
    guide, connect, path
):
    guide(("both", 1, 50, "[]"), ("neither", 0, 50, '["ada"]'), ("null", 1, None, "[]"))
    provider = connect(f"table+sqlite:///{path}", enabled_means="switch")
    flags = provider.list().flags
    assert isinstance(flags["both"].default, Split)
    assert not flags["neither"].on
    assert (flags["null"].on, flags["null"].default) == (True, "on")
    told = provider.export()
    assert entry(told, cell("both", "enabled")).fidelity is Fidelity.FULL


# Cells


@pytest.mark.parametrize("value", [1, "t", "true", "TRUE ", "yes", "on", "1", b"\x01", 1.0])
def test_what_is_true_is_on(guide, value):
    assert guide(("a", value, 0, "[]")).get("a").on is True


@pytest.mark.parametrize("value", [0, "f", "false", "no", "OFF", "0", b"\x00", None])
def test_what_is_false_or_null_is_off(guide, value):
    provider = guide(("a", value, 0, "[]"))
    assert provider.get("a").on is False


def test_null_is_on_where_the_options_say_so(guide):
    provider = guide(("a", None, 0, "[]"), null_enabled=True)
    assert provider.get("a").on is True
    assert "NULL" in entry(provider.export(), cell("a", "enabled")).reason


@pytest.mark.parametrize(
    "column, row",
    [
        ("enabled", ("x", "maybe", 0, "[]")),
        ("enabled", ("x", 2, 0, "[]")),
        ("enabled", ("x", "", 0, "[]")),
        ("rollout_percentage", ("x", 0, 101, "[]")),
        ("rollout_percentage", ("x", 0, -1, "[]")),
        ("rollout_percentage", ("x", 0, "many", "[]")),
        ("rollout_percentage", ("x", 0, "NaN", "[]")),
        ("whitelist", ("x", 0, 0, "[broken")),
        ("whitelist", ("x", 0, 0, '{"ada": true}')),
        ("whitelist", ("x", 0, 0, "[null]")),
        ("whitelist", ("x", 0, 0, "[[1]]")),
        ("whitelist", ("x", 0, 0, 7)),
    ],
)
def test_what_a_value_can_not_mean_is_named_and_the_flag_is_left_out(guide, column, row):
    provider = guide(row, ("well", 1, 0, "[]"))
    found = provider.export()
    one = entry(found, cell("x", column))
    assert (one.fidelity, one.flag) == (Fidelity.MANUAL, "x")
    assert one.reason
    assert list(provider.list().flags) == ["well"]


@pytest.mark.parametrize(
    "given, scale, weight",
    [
        (25, None, 25_000),
        (12.5, None, 12_500),
        ("33.333", None, 33_333),
        ("25%", None, 25_000),
        (0.25, 1, 25_000),
        ("0.1", 1, 10_000),
        (0.07, 1, 7_000),
        (2500, 10_000, 25_000),
        ("25%", 1, 25_000),
    ],
)
def test_percentages_are_read_as_they_are_written(guide, given, scale, weight):
    options = {} if scale is None else {"percentage_scale": scale}
    provider = guide(("a", 0, given, "[]"), bucketing="downhaul", **options)
    assert provider.get("a").default.weights[0].weight == weight
    one = entry(provider.export(), cell("a", "rollout_percentage"))
    assert one.fidelity is Fidelity.FULL


def test_a_percentage_that_looks_like_a_fraction_is_told(guide):
    provider = guide(("a", 0, 0.25, "[]"), bucketing="downhaul")
    one = entry(provider.export(), cell("a", "rollout_percentage"))
    assert one.fidelity is Fidelity.PARTIAL
    assert "percentage_scale" in one.reason


def test_a_percentage_that_is_too_fine_is_rounded_and_told(guide):
    provider = guide(("a", 0, "33.33333", "[]"), bucketing="downhaul")
    assert provider.get("a").default.weights[0].weight == 33_333
    assert "rounded" in entry(provider.export(), cell("a", "rollout_percentage")).reason


def test_a_percentage_by_crc32_is_carried_whole_with_the_texts_and_buckets_that_it_had(guide):
    options = {"bucketing": "crc32", "hashed": "{flag}-{user}", "buckets": 1000}
    provider = guide(("a", 0, 12.34, "[]"), ("b", 0, 0, '["ada"]'), **options)
    split = provider.get("a").default
    assert split.bucketing == Bucketing(Scheme.FLIPPER, "a-", total=1000)
    assert [one.weight for one in split.weights] == [124, 876]  # bucket 123 is below 123.4
    one = entry(provider.export(), cell("a", "rollout_percentage"))
    assert one.fidelity is Fidelity.FULL


@pytest.mark.parametrize("hashed", ["{flag}", "{user}{flag}", "{user}{user}"])
def test_a_text_to_hash_that_does_not_end_with_the_user_is_refused(hashed):
    given = {"url": "table+sqlite:///x.db", "bucketing": "crc32", "hashed": hashed}
    (problem,) = check({"provider": given}, environ={})
    assert problem.path == "provider.hashed"


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "other"])
def test_a_hash_that_we_have_not_is_partial(guide, name):
    provider = guide(("a", 0, 10, "[]"), bucketing=name)
    assert entry(provider.export(), cell("a", "rollout_percentage")).lossy


@pytest.mark.parametrize(
    "given, users",
    [
        ('["ada", "grace"]', {"ada", "grace"}),
        ("ada, grace,,", {"ada", "grace"}),
        ('[1, 2, "x"]', {"1", "2", "x"}),
        ("", set()),
        ("[]", set()),
        (None, set()),
        (b'["ada"]', {"ada"}),
    ],
)
def test_a_whitelist_is_an_array_json_or_text_with_commas(guide, given, users):
    provider = guide(("a", 0, 0, given))
    keys = {key for target in provider.get("a").targets for key in target.keys}
    assert keys == users


# Other columns, other tables


def test_any_table_is_read_by_what_its_columns_are_called(sql, path, connect):
    sql(
        "CREATE TABLE switches (slug TEXT, is_on TEXT, ratio REAL, vip TEXT, banned TEXT, "
        "txt TEXT, team TEXT, labels TEXT, val TEXT, otherwise TEXT, sort TEXT)"
    )
    sql(
        "INSERT INTO switches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ("a", "t", 0.5, "ada", "bob,ada", "new one", "core", "x,y", None, None, None),
        ("theme", "t", 0.5, None, "bob", None, None, None, "dark", "light", "string"),
        ("limit", "t", None, None, None, None, None, None, "20", None, "int"),
        ("menu", "t", None, None, None, None, None, None, '{"a": [1]}', None, "json"),
    )
    names = {
        "key": "slug", "enabled": "is_on", "percentage": "ratio", "whitelist": "vip",
        "blacklist": "banned", "description": "txt", "owner": "team", "tags": "labels",
        "value": "val", "off_value": "otherwise", "kind": "sort",
    }  # fmt: skip
    provider = connect(
        f"table+sqlite:///{path}",
        table="switches",
        columns=names,
        percentage_scale=1,
        enabled_means="switch",
        bucketing="downhaul",
    )
    flags = provider.list().flags
    first = flags["a"]
    assert (first.description, first.owner, first.tags) == ("new one", "core", ("x", "y"))
    assert [(one.variant, one.keys) for one in first.targets] == [("off", {"ada", "bob"})]
    told = entry(provider.export(), cell("a", "vip", "switches", "slug"))
    assert "blacklist" in told.reason
    theme = flags["theme"]
    assert (theme.kind, theme.variants) == (FlagKind.STRING, {"dark": "dark", "light": "light"})
    assert theme.off_variant == "light"
    assert flags["limit"].variants == {"on": 20}
    assert flags["limit"].off_variant is None
    assert flags["menu"].variants == {"on": {"a": [1]}}
    with Flags.over(provider) as served:
        assert served.wait_ready(10)
        assert served.value("theme", "bob", "other") == "light"
        assert served.value("limit", "bob", 5) == 20


def test_a_value_for_a_part_of_all_needs_one_for_the_others(sql, path, connect):
    sql("CREATE TABLE feature_flags (name, enabled, rollout_percentage, blacklist, val)")
    sql(
        "INSERT INTO feature_flags VALUES (?, ?, ?, ?, ?)",
        ("split", 1, 50, None, "dark"),
        ("denied", 1, None, "bob", "dark"),
        ("wrong", 1, None, None, b"\x02"),
    )
    provider = connect(f"table+sqlite:///{path}", columns={"value": "val"}, enabled_means="switch")
    found = provider.export()
    assert found.flags == ()
    assert "off_value" in entry(found, cell("split", "val")).reason
    assert "off_value" in entry(found, cell("denied", "blacklist")).reason
    assert entry(found, cell("wrong", "val")).lossy


@pytest.mark.parametrize("refers_to", [None, "id"])
def test_users_of_whitelists_may_stand_in_a_table_of_their_own(sql, path, connect, refers_to):
    sql("CREATE TABLE feature_flags (id INTEGER, name TEXT, enabled INT)")
    sql("INSERT INTO feature_flags VALUES (?, ?, ?)", (1, "a", 0), (2, "b", 0))
    sql("CREATE TABLE early (flag, who)")
    owner = {"a": 1, "b": 2} if refers_to else {"a": "a", "b": "b"}
    sql("INSERT INTO early VALUES (?, ?)", (owner["a"], "ada"), (owner["a"], 7), ("gone", "eve"))
    provider = connect(
        f"table+sqlite:///{path}",
        whitelist_table="early",
        whitelist_user="who",
        **({"whitelist_refers_to": refers_to} if refers_to else {}),
    )
    flags = provider.list().flags
    assert [one.keys for one in flags["a"].targets] == [{"ada", "7"}]
    assert not flags["b"].targets
    assert entry(provider.export(), "early.flag").fidelity is Fidelity.SKIPPED


def test_rows_without_a_key_of_their_own_are_told(sql, path, connect):
    sql("CREATE TABLE feature_flags (name, enabled)")
    sql("INSERT INTO feature_flags VALUES (?, ?)", (None, 1), ("a", 1), ("a", 0), ("b c", 1))
    found = connect(f"table+sqlite:///{path}").export()
    assert found.flags == ()
    manual = {one.path for one in found.ledger if one.fidelity is Fidelity.MANUAL}
    assert manual == {
        "feature_flags.name", 'feature_flags[name="a"]', 'feature_flags[name="b c"]'
    }  # fmt: skip


# What is missing


def test_a_table_that_is_not_there_is_told_with_the_ones_that_are(sql, path, connect):
    sql("CREATE TABLE feature_flag (name, enabled)")
    with pytest.raises(SchemaMissing) as told:
        connect(f"table+sqlite:///{path}").list()
    assert "feature_flag" in (told.value.hint or "")
    assert "downhaul db" not in str(told.value)


def test_a_column_that_was_named_and_is_not_there_is_told(sql, path, connect):
    sql("CREATE TABLE feature_flags (name, enabled, percentage)")
    provider = connect(f"table+sqlite:///{path}", columns={"percentage": "percentag"})
    with pytest.raises(SchemaMissing) as told:
        provider.list()
    assert '"percentag"' in str(told.value)
    assert '"percentage"' in (told.value.hint or "")


def test_a_file_that_is_not_there_is_told_and_never_made(path, connect):
    with pytest.raises(Unreachable):
        connect(f"table+sqlite:///{path}").list()
    assert not path.exists()


def test_a_scheme_that_is_no_sql_is_refused(connect):
    with pytest.raises(ProviderNotFound) as told:
        connect("table+memory:")
    assert "table+sqlite" in (told.value.hint or "")


def test_a_database_that_nothing_installed_drives_says_what_to_install():
    with pytest.raises(ProviderNotFound) as told:
        Registry({}, []).spec_for("table+postgresql")
    assert told.value.hint == "pip install downhaul-postgres"


def test_the_check_of_a_configuration_names_each_wrong_option():
    given = {
        "url": "table+sqlite:///x.db",
        "bucketing": "dice",
        "columns": {"keys": "name"},
        "percentage_scale": 0,
    }
    problems = check({"provider": given}, environ={})
    assert {one.path for one in problems} == {
        "provider.bucketing", "provider.columns.keys", "provider.percentage_scale"
    }  # fmt: skip


def test_the_path_in_a_file_of_settings_is_beside_that_file(tmp_path):
    (tmp_path / "downhaul.toml").write_text('[provider]\nurl = "table+sqlite:///app.db"\n')
    settings = resolve(file=tmp_path / "downhaul.toml", environ={})
    assert settings.provider.path == tmp_path / "app.db"


def test_a_password_in_the_url_is_never_shown():
    settings = resolve("table+postgresql://me:s3cret@nowhere.invalid/app", environ={})
    provider = build_provider(settings)
    with pytest.raises(Unreachable) as told:
        provider.list()
    assert "s3cret" not in str(told.value) + repr(settings) + provider.status().message
    provider.close()


def test_it_is_listed_with_its_schemes_and_capabilities():
    (spec,) = [one.spec for one in installed() if one.name == "table"]
    assert "table+postgresql" in spec.schemes
    assert spec.capabilities == {Capability.FLAG_SET, Capability.READ, Capability.WATCH}


# Following


def test_a_change_is_heard_and_what_did_not_change_is_not_told_again(guide, sql, heard):
    provider = guide(("a", 0, 0, "[]"), poll=0.02)
    provider.start(heard)
    assert provider.wait_ready(10)
    time.sleep(0.2)
    assert heard.calls == ["replaced"]
    sql("UPDATE feature_flags SET enabled = 1")
    heard.wait_for(lambda one: one.flag_set.flags["a"].on)
    assert heard.calls == ["replaced", "replaced"]


def test_a_change_within_one_tick_of_the_clock_is_heard(guide, sql, path):
    source = guide(("a", 0, 0, "[]"))._source
    assert source.look() is not None
    before = path.stat()
    sql("UPDATE feature_flags SET enabled = 1")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert source.look().flag_set().flags["a"].on


def test_an_old_file_is_not_read_again_while_nothing_moves(guide, path, heard, monkeypatch):
    provider = guide(("a", 0, 0, "[]"), poll=0.02)
    os.utime(path, (1, 1))
    looked = []
    theirs = provider._source._theirs
    read = type(theirs)._read
    monkeypatch.setattr(
        type(theirs), "_read", lambda self, *given: (looked.append(1), read(self, *given))[1]
    )
    provider.start(heard)
    assert provider.wait_ready(10)
    time.sleep(0.2)
    assert len(looked) == 1


def test_what_is_written_to_a_log_ahead_is_heard_before_it_is_in_the_file(guide, sql, path, heard):
    sql("PRAGMA journal_mode = WAL")
    provider = guide(("a", 0, 0, "[]"), poll=0.02)
    writer = sqlite3.connect(path, isolation_level=None)  # open, so that nothing is folded in
    os.utime(path, (1, 1))
    provider.start(heard)
    assert provider.wait_ready(10)
    writer.execute("UPDATE feature_flags SET enabled = 1")
    heard.wait_for(lambda one: one.flag_set.flags["a"].on)
    writer.close()


def test_a_flag_that_can_not_be_read_any_more_goes_on_as_it_was(guide, sql, heard):
    provider = guide(("a", 1, 0, "[]"), ("b", 1, 0, "[]"), poll=0.02)
    provider.start(heard)
    assert provider.wait_ready(10)
    sql("UPDATE feature_flags SET enabled = 'maybe' WHERE name = 'a'")
    sql("UPDATE feature_flags SET enabled = 0 WHERE name = 'b'")
    heard.wait_for(lambda one: not one.flag_set.flags["b"].on)
    assert heard.flag_set.flags["a"].on
    heard.wait_for(lambda one: "unreadable" in one.statuses[-1].message)
    assert provider.status().state is State.READY
    assert "a" not in provider.list().flags
    sql("DELETE FROM feature_flags WHERE name = 'a'")
    heard.wait_for(lambda one: "a" not in one.flag_set.flags)


@pytest.mark.rule("P2")
def test_a_file_that_goes_away_leaves_what_was_known_and_is_taken_up_again(guide, sql, path, heard):
    provider = guide(("a", 1, 0, "[]"), poll=0.02)
    provider.start(heard)
    assert provider.wait_ready(10)
    away = path.with_suffix(".away")
    path.rename(away)
    heard.wait_for(lambda one: one.statuses[-1].state is State.STALE)
    first = provider.status().age
    assert heard.flag_set.flags["a"].on
    time.sleep(0.05)
    assert provider.status().age > first
    away.rename(path)
    sql("UPDATE feature_flags SET enabled = 0")
    heard.wait_for(lambda one: not one.flag_set.flags["a"].on)
    heard.wait_for(lambda one: one.statuses[-1].state is State.READY)


def test_a_file_that_comes_back_as_it_was_leaves_no_word_of_its_absence(guide, path, heard):
    provider = guide(("a", 1, 0, "[]"), poll=0.02)
    os.utime(path, (1, 1))
    provider.start(heard)
    assert provider.wait_ready(10)
    away = path.with_suffix(".away")
    path.rename(away)
    heard.wait_for(lambda one: one.statuses[-1].state is State.STALE)
    away.rename(path)
    heard.wait_for(lambda one: one.statuses[-1].state is State.READY)
    assert provider.status().message == ""
    assert heard.calls == ["replaced"]


def test_it_is_not_ready_before_the_table_is_there(sql, path, connect, heard):
    provider = connect(f"table+sqlite:///{path}", poll=0.02)
    provider.start(heard)
    assert not provider.wait_ready(0.1)
    assert provider.status().state is State.NOT_READY
    sql(GUIDE)
    assert provider.wait_ready(10)


@pytest.mark.rule("P4")
def test_it_takes_no_writes(guide):
    provider = guide(("a", 1, 0, "[]"))
    with pytest.raises(ReadOnly):
        provider.switch_off("a", Change("anna"))


@pytest.mark.rule("K3")
def test_a_flag_of_the_table_is_killed_through_a_control_store(guide, path, tmp_path):
    guide(("a", 1, 0, "[]"))
    store = f"sqlite:///{tmp_path / 'control.db'}"
    build = build_provider(resolve(store, cache_dir=False, environ={}))
    schema.upgrade(build.database)
    build.close()
    settings = resolve(
        {"provider": {"url": f"table+sqlite:///{path}"}, "control": {"url": store}},
        cache_dir=False,
        environ={},
    )
    with Flags.connect(settings) as flags:
        assert flags.wait_ready(10)
        assert flags.is_enabled("a", "ada")
        flags.operator("anna").kill("a", "it breaks")
        until = time.monotonic() + 10
        while flags.is_enabled("a", "ada"):
            assert time.monotonic() < until
            time.sleep(0.01)


def test_json_of_a_ledger_can_be_written_down(guide):
    found = guide(("a", b"\x02", 3, "[]")).export()
    json.dumps([one.as_mapping() for one in found.ledger])


def test_wrong_options_are_refused_when_it_is_made(connect, path):
    with pytest.raises(ConfigError):
        connect(f"table+sqlite:///{path}", table="a..b")
