"""The command line on a real PostgreSQL."""

import pytest

pytest.importorskip("downhaul_postgres.plugin")


@pytest.fixture
def server(shell, fresh_postgres, monkeypatch):
    monkeypatch.setenv("DOWNHAUL_URL", fresh_postgres)
    return shell


def test_a_server_is_set_up_on_purpose_only(server):
    done = server("flags", "create", "agent", exit_code=5)
    assert "downhaul db upgrade" in done.stderr
    assert not server.json("db", "check", exit_code=3)["ok"]
    server("db", "upgrade")
    assert server.json("db", "check")["ok"]
    server("flags", "create", "agent", "--on", "--percent", "25")
    assert server.json("flags", "show", "agent")["exposure"] == "on at 25 %"


@pytest.mark.rule("K1", "K5")
def test_kill_and_revive_work_as_on_the_embedded_store(server):
    server("db", "upgrade")
    server("flags", "create", "agent", "--on", "--percent", "100")
    server("kill", "agent", "--reason", "errors")
    assert server.json("eval", "agent", "-c", "targetingKey=u1")["reason"] == "KILLED"
    server("revive", "agent", "--reason", "fixed")
    assert server.json("eval", "agent", "-c", "targetingKey=u1")["value"] is True
    actions = [one["action"] for one in server.json("flags", "history", "agent")["changes"]]
    assert actions == ["revive", "kill", "create"]


def test_the_doctor_looks_at_tables_clock_and_notifications(server):
    server("db", "upgrade")
    found = {one["name"]: one for one in server.json("doctor")["checks"]}
    assert {found[name]["status"] for name in ("tables", "clock", "notifications")} == {"ok"}


def test_sql_and_roles_are_printed_without_a_server(shell):
    url = "postgresql://nobody@127.0.0.1:1/none"
    assert "CREATE TABLE" in shell("db", "sql", "--url", url).stdout
    text = shell("db", "roles", "--app", "web", "--operator", "ops", "--url", url).stdout
    assert 'TO "web";' in text
    assert 'TO "ops";' in text


@pytest.mark.rule("P7")
def test_a_server_that_is_down_is_unreachable_and_shows_no_password(shell):
    url = "postgresql://me:s3cret@127.0.0.1:1/none"
    done = shell("flags", "list", "--url", url, exit_code=5)
    assert "s3cret" not in done.output
    done = shell("kill", "agent", "--reason", "errors", "--url", url, exit_code=5)
    assert "nothing is killed" in done.stderr
    assert "--local" in done.stderr


@pytest.mark.rule("R3", "R8")
def test_a_rollout_works_as_on_the_embedded_store(server):
    server("db", "upgrade")
    server("flags", "create", "agent", "--on", "--percent", "0")
    server("rollout", "start", "--flag", "agent", "--unguarded", "test", "--reason", "v2")
    server("controller", "run", "--once")
    assert server.json("rollout", "status", "agent")["percent"] == 1.0
    server("rollout", "rollback", "agent", "--reason", "enough")
    assert server.json("rollout", "status", "agent")["phase"] == "rolled_back"
    assert server.json("flags", "show", "agent")["exposure"] == "on at 0 %"
    actions = [one["action"] for one in server.json("audit")["records"]]
    assert [one for one in actions if one in ("planned", "started", "rolled_back")] == [
        "planned",
        "started",
        "rolled_back",
    ]
