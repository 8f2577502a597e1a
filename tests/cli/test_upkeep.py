"""Looking after a store, a configuration and its backends from the command line."""

import json
import sqlite3

import pytest

from downhaul.cli.app import cli


def checks(shell, *words, exit_code=0, **options):
    found = shell.json("doctor", *words, exit_code=exit_code, **options)["checks"]
    return {one["name"]: one for one in found}


def test_upgrade_creates_the_tables_once(shell):
    assert shell("db", "upgrade").stdout.rstrip().endswith("(new)")
    assert "is up to date" in shell("db", "upgrade").stdout
    assert shell.json("db", "check")["ok"]


def test_check_says_that_there_are_none(shell):
    done = shell("db", "check", exit_code=3)
    assert "has no tables" in done.stdout
    assert "downhaul db upgrade" in done.stderr
    assert not (shell.folder / "downhaul.db").exists()


def test_a_control_store_elsewhere_is_looked_after_too(shell):
    env = {"DOWNHAUL_CONTROL_URL": "sqlite:///control.db"}
    assert len(shell.json("db", "upgrade", env=env)["databases"]) == 2
    assert (shell.folder / "control.db").exists()


def test_the_sql_of_an_upgrade_is_printed_and_makes_the_same_tables(shell):
    text = shell("db", "sql").stdout
    assert not (shell.folder / "downhaul.db").exists()
    connection = sqlite3.connect(shell.folder / "by-hand.db")
    connection.executescript(text)
    connection.close()
    assert shell.json("db", "check", "--url", "sqlite:///by-hand.db")["ok"]


def test_a_backend_without_tables_says_so(shell):
    (shell.folder / "flags.json").write_text('{"downhaul": 1}')
    done = shell("db", "upgrade", "--url", "file:flags.json", exit_code=6)
    assert "keeps no tables" in done.stderr
    assert "no roles" in shell("db", "roles", exit_code=6).stderr


def test_the_doctor_finds_nothing_wrong_with_a_store_that_works(agent):
    found = checks(agent)
    assert {"configuration", "plugins", "provider", "control store", "tables", "clock"} <= set(
        found
    )
    assert found["provider"]["message"].startswith("its flags (1)")
    assert "fail" not in {one["status"] for one in found.values()}


def test_the_doctor_names_a_store_that_is_not_there_and_what_to_do(shell):
    found = checks(shell, exit_code=3)["provider"]
    assert found["status"] == "fail"
    assert "downhaul db upgrade" in found["hint"]


def test_the_doctor_tells_what_is_killed_and_named(agent):
    agent("kill", "--all", "--yes", "--reason", "errors")
    agent("kill", "agent", "--local", "--reason", "errors")
    done = agent("doctor")
    assert "everything is killed" in done.stdout
    assert "names agent" in done.stdout


def test_the_doctor_goes_on_where_the_configuration_is_broken(shell):
    (shell.folder / "downhaul.toml").write_text("[provider]\nurll = 'x'\n")
    found = checks(shell, exit_code=3)
    assert found["configuration"]["status"] == "fail"
    assert "downhaul.toml:2" in found["configuration"]["message"]
    assert "plugins" in found


def test_the_doctor_sees_a_folder_that_cannot_be_written(agent):
    (agent.folder / "cache").write_text("a file stands in its place")
    assert checks(agent, exit_code=3)["last-known copy"]["status"] == "fail"


def test_every_problem_of_a_configuration_is_named_with_its_line(shell):
    (shell.folder / "downhaul.toml").write_text("environmnt = 'x'\n[control]\nurl = 5\n")
    done = shell("config", "check", exit_code=3)
    assert "downhaul.toml:1" in done.stdout
    assert "downhaul.toml:3" in done.stdout
    assert "did you mean" in done.stdout
    (shell.folder / "downhaul.toml").write_text("environment = 'staging'\n")
    assert "fine" in shell("config", "check").stderr


def test_a_configuration_can_be_named_and_shows_where_values_came_from(shell):
    (shell.folder / "other.toml").write_text("environment = 'staging'\n")
    rows = shell.json("config", "show", "--config", "other.toml")["settings"]
    found = {one["path"]: (one["value"], one["origin"]) for one in rows}
    assert found["environment"] == ("staging", "other.toml:1")


@pytest.mark.rule("P7")
def test_no_secret_is_shown(shell):
    url = "postgresql://me:s3cret@127.0.0.1:1/flags"
    for words in (("config", "show"), ("config", "check"), ("flags", "list"), ("doctor",)):
        done = shell.runner.invoke(cli, [*words, "--url", url])
        assert "s3cret" not in done.output


def test_providers_are_listed_with_what_they_can_do(shell):
    rows = {one["name"]: one for one in shell.json("providers", "list")["providers"]}
    assert rows["sqlite"]["status"] == "ok"
    assert "compare_and_set" in rows["sqlite"]["capabilities"]
    assert rows["file"]["schemes"] == ["file"]


def test_a_broken_plugin_is_shown_and_stops_nothing(shell, tmp_path, monkeypatch):
    from downhaul.plugins import registry

    info = tmp_path / "acme_flags-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-flags\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[downhaul]\nacme = acme_flags.gone\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.cache_clear()
    try:
        rows = {one["name"]: one for one in shell.json("providers", "list")["providers"]}
        assert rows["acme"]["status"] == "broken"
        assert "acme_flags" in rows["acme"]["problem"]
        shell("flags", "create", "agent")
    finally:
        registry.cache_clear()


def test_the_demo_is_started_with_its_options(shell, monkeypatch):
    import sys
    import types

    seen = {}

    def run(**options):
        seen.update(options)
        return 1

    monkeypatch.setitem(sys.modules, "downhaul.demo", types.SimpleNamespace(run=run))
    shell("demo", "--quick", "--users", "500", "--json", exit_code=1)
    assert seen == {
        "import_": None,
        "json": True,
        "users": 500,
        "quick": True,
        "sqlite_only": False,
    }


def test_json_and_text_say_the_same(agent):
    document = agent("flags", "show", "agent", "--json").stdout
    assert json.loads(document)["exposure"] in agent("flags", "show", "agent").stdout
