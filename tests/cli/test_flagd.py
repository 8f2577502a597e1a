"""flagd's documents in and out on the command line."""

import json

import pytest

from downhaul.cli.exits import Exit

FLAGD = {
    "flags": {
        "a": {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": "off",
            "targeting": {"fractional": [["on", 25], ["off", 75]]},
        },
        "hashed": {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "targeting": {"fractional": [{"var": "mail"}, ["on", 25], ["off", 75]]},
        },
    }
}


@pytest.fixture
def file(shell):
    path = shell.folder / "flagd.json"
    path.write_text(json.dumps(FLAGD))
    return path


def test_a_flagd_document_is_imported_and_what_is_left_out_is_told(shell, file):
    done = shell("flags", "import", "--from", "flagd", file)
    assert "MANUAL" in done.stderr
    assert "hashed" in done.stderr
    assert [one["key"] for one in shell.json("flags", "list")["flags"]] == ["a"]
    data = shell.json("flags", "convert", "--from", "flagd", file)
    assert [one["key"] for one in data["document"]["flags"]] == ["a"]
    assert {one["fidelity"] for one in data["ledger"]} == {"full", "manual"}


def test_a_key_that_stands_twice_is_refused_with_the_file(shell):
    (shell.folder / "twice.json").write_text('{"flags": {"a": 1, "a": 2}}')
    done = shell("flags", "import", "--from", "flagd", "twice.json", exit_code=1)
    assert "twice.json" in done.stderr
    assert "given twice" in done.stderr


def test_flags_are_exported_for_flagd_and_engines_that_hash_otherwise_are_told_of(shell):
    shell("flags", "create", "a", "--percent", "25")
    shell("flags", "on", "a")
    done = shell("flags", "export", "--to", "flagd")
    document = json.loads(done.stdout)
    assert document["flags"]["a"]["targeting"] == {"fractional": [["on", 25000], ["off", 75000]]}
    assert "CBOR" in done.stderr
    assert json.loads(shell("flags", "export", "--to", "flagd", "--strict").stdout) == document
    assert shell.json("flags", "export", "--to", "flagd")["document"] == document


def test_what_flagd_cannot_say_is_left_out_or_refused_where_one_is_strict(shell):
    patterned = {"when": [{"attribute": "plan", "operator": "matches", "values": ["x"]}]}
    flag = {"key": "b", "on": True, "default": "off", "rules": [{**patterned, "serve": "on"}]}
    (shell.folder / "b.json").write_text(json.dumps({"downhaul": 1, "flags": [flag]}))
    words = ("flags", "convert", "b.json", "--to", "flagd")
    done = shell(*words)
    assert json.loads(done.stdout)["flags"] == {}
    assert "regular expressions" in done.stderr
    strict = shell(*words, "--strict", exit_code=Exit.REFUSED)
    assert strict.stdout == ""


def test_only_json_is_written_for_flagd_and_only_by_who_writes(shell):
    shell("flags", "create", "a")
    done = shell("flags", "export", "--to", "flagd", "--format", "toml", exit_code=2)
    assert "is JSON" in done.stderr
    done = shell("flags", "export", "--to", "unleash", exit_code=1)
    assert "writes none" in done.stderr
    assert "--to flagd" in done.stderr


def test_flagd_evaluates_nothing_by_itself(shell):
    done = shell("flags", "list", "--url", "flagd:", exit_code=1)
    assert "translates documents, and evaluates nothing" in done.stderr
