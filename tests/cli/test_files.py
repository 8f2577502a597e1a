"""Flags in and out of files, ours and other people's."""

import json

import pytest

DOCUMENT = {
    "downhaul": 1,
    "flags": [
        {"key": "a", "on": True, "default": "on"},
        {"key": "b", "on": False, "default": "on", "tags": ["x"]},
    ],
}


@pytest.fixture
def file(shell):
    path = shell.folder / "flags.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


def test_an_import_creates_the_store_and_says_what_it_did(shell, file):
    done = shell("flags", "import", file)
    assert "2 created" in done.stderr
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:]] == [
        ["flag", "a", "created"],
        ["flag", "b", "created"],
    ]
    assert "2 the same already" in shell("flags", "import", file).stderr


def test_a_conflict_writes_nothing_unless_told_what_to_do(shell, file):
    shell("flags", "create", "a", "--percent", "5")
    done = shell("flags", "import", file, exit_code=4)
    assert "--on-conflict skip" in done.stderr
    assert [one["key"] for one in shell.json("flags", "list")["flags"]] == ["a"]
    rows = shell.json("flags", "import", file, "--on-conflict", "skip")["rows"]
    assert {one["key"]: one["action"] for one in rows} == {"a": "skip", "b": "create"}
    shell("flags", "import", file, "--on-conflict", "replace")
    assert shell.json("flags", "show", "a")["exposure"] == "on for all"


def test_a_bad_document_is_refused_whole_with_every_problem_and_its_path(shell):
    bad = {"downhaul": 1, "flags": [{"key": "a", "default": "gone"}, {"key": "b", "default": 5}]}
    (shell.folder / "bad.json").write_text(json.dumps(bad))
    data = shell.json("flags", "import", "bad.json", exit_code=1)
    paths = [one["path"] for one in data["error"]["problems"]]
    assert any(path.startswith("flags[0]") for path in paths)
    assert any(path.startswith("flags[1]") for path in paths)
    assert "Traceback" not in shell("flags", "import", "bad.json", exit_code=1).output


@pytest.mark.parametrize("format_", ["json", "toml", "yaml"])
def test_what_is_exported_imports_as_the_same(shell, file, format_):
    shell("flags", "import", file)
    (shell.folder / f"out.{format_}").write_text(
        shell("flags", "export", "--format", format_).stdout
    )
    shell("flags", "import", f"out.{format_}", "--url", "sqlite:///other.db")
    again = shell("flags", "import", f"out.{format_}")
    assert "2 the same already" in again.stderr


def test_a_dry_run_writes_nothing_and_needs_a_store_only_to_compare(shell, file):
    shell("flags", "create", "c")
    done = shell("flags", "import", file, "--dry-run")
    assert "would create" in done.stdout
    assert [one["key"] for one in shell.json("flags", "list")["flags"]] == ["c"]


def test_convert_prints_and_writes_nothing(shell, file):
    text = shell("flags", "convert", file, "--format", "yaml").stdout
    assert "key: a" in text
    assert not (shell.folder / "downhaul.db").exists()


def test_an_unknown_source_says_what_there_is(shell, file, not_installed):
    not_installed("launchdarkly")
    done = shell("flags", "convert", file, "--from", "launchdarkly", exit_code=1)
    assert "pip install" in done.stderr


def test_a_file_that_is_not_there_is_named(shell):
    assert "gone.json" in shell("flags", "import", "gone.json", exit_code=1).stderr


def test_a_name_that_tells_no_format_is_a_usage_error(shell):
    (shell.folder / "flags").write_text("{}")
    assert "--format" in shell("flags", "import", "flags", exit_code=2).stderr


UNLEASH = {
    "version": 1,
    "features": [
        {
            "name": "agent",
            "enabled": True,
            "strategies": [
                {
                    "name": "flexibleRollout",
                    "parameters": {"rollout": "50", "stickiness": "userId", "groupId": "agent"},
                }
            ],
        },
        {
            "name": "odd",
            "enabled": True,
            "strategies": [{"name": "somebodysOwn", "parameters": {"x": "1"}}],
        },
    ],
}


def test_an_unleash_document_is_imported_with_what_it_could_not_carry(shell):
    (shell.folder / "u.json").write_text(json.dumps(UNLEASH))
    done = shell("flags", "import", "--from", "unleash", "u.json")
    assert "not carried over in full" in done.stderr
    assert "odd" in done.stderr
    assert shell.json("flags", "show", "agent")["flag"]["on"]
    data = shell.json("flags", "convert", "--from", "unleash", "u.json")
    assert data["ledger"]
    refused = shell("flags", "convert", "--from", "unleash", "u.json", "--strict", exit_code=6)
    assert "carried" in refused.stderr


def test_a_document_may_name_what_is_in_the_store(shell):
    shell("segments", "set", "beta", "--include", "u1")
    rule = {"serve": "on", "when": [{"operator": "in_segment", "values": ["beta"]}]}
    flag = {"key": "a", "on": True, "default": "off", "rules": [rule]}
    text = json.dumps({"downhaul": 1, "flags": [flag]})
    shell("flags", "import", "-", stdin=text)
    assert shell.json("eval", "a", "-c", "targetingKey=u1")["value"] is True
    rule["when"][0]["values"] = ["gamma"]
    refused = shell(
        "flags", "import", "-", stdin=json.dumps({"downhaul": 1, "flags": [flag]}), exit_code=1
    )
    assert 'no segment "gamma"' in refused.stderr
