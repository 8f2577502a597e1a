"""Flags on the command line: what is printed, and what is in the store afterwards."""

import json

import pytest


def flag(shell, key="agent"):
    return shell.json("flags", "show", key)["flag"]


def weights(shell, key="agent"):
    return {one["variant"]: one["weight"] for one in flag(shell, key)["default"]["split"]}


def test_the_first_flag_creates_the_embedded_store(shell):
    assert not (shell.folder / "downhaul.db").exists()
    done = shell("flags", "create", "agent", "--on", "--percent", "5", "--reason", "v2")
    assert done.stdout.startswith("agent  created  on at 5 %")
    assert (shell.folder / "downhaul.db").exists()


def test_reading_creates_no_store(shell):
    done = shell("flags", "list", exit_code=5)
    assert "flags create" in done.stderr or "db upgrade" in done.stderr
    assert not (shell.folder / "downhaul.db").exists()


def test_plain_output_is_columns_that_stay_where_they_are(agent):
    agent("flags", "create", "b", "--owner", "team", "--tag", "x,y")
    lines = agent("flags", "list").stdout.splitlines()
    assert lines[0].split() == ["KEY", "KIND", "SERVES", "TAGS", "OWNER", "VERSION"]
    assert lines[1].split("  ")[0] == "agent"
    at = lines[0].index("SERVES")
    assert lines[1][at:].startswith("on at 25 %")
    assert lines[2][at:].startswith("off (on for all when on)")
    assert "\x1b" not in "".join(lines)


def test_a_list_is_chosen_by_tag_type_owner_and_kill(agent):
    agent("flags", "create", "b", "--owner", "team", "--type", "permission")

    def keys(*options):
        return [one["key"] for one in agent.json("flags", "list", *options)["flags"]]

    assert keys() == ["agent", "b"]
    assert keys("--tag", "agents") == ["agent"]
    assert keys("--owner", "team", "--type", "permission") == ["b"]
    assert keys("--killed") == []
    agent("kill", "--tag", "agents", "--reason", "errors")
    assert keys("--killed") == ["agent"]


def test_show_tells_it_for_people_and_as_a_document(agent):
    text = agent("flags", "show", "agent").stdout
    assert "serves    on at 25 %" in text
    for format_ in ("json", "toml", "yaml"):
        assert "agent" in agent("flags", "show", "agent", "--format", format_).stdout


@pytest.mark.parametrize(
    "given, share", [("5", 5000), ("0.001", 1), ("12.5%", 12_500), ("0", 0), ("100", 100_000)]
)
def test_percent_sets_the_share(agent, given, share):
    agent("flags", "percent", "agent", given)
    assert weights(agent)["on"] == share


@pytest.mark.parametrize("given", ["101", "-1", "0.0001", "many", "nan"])
def test_what_is_no_percentage_is_a_usage_error(agent, given):
    agent("flags", "percent", "agent", "--", given, exit_code=2)
    assert weights(agent)["on"] == 25_000


def test_percent_shows_what_changed(agent):
    done = agent("flags", "percent", "agent", "50", "--reason", "fine so far")
    first, *rest = done.stdout.splitlines()
    assert first.startswith("agent  percent  on at 50 %  version ")
    assert rest == [
        "  default.split[on].weight: 25 % -> 50 %",
        "  default.split[off].weight: 75 % -> 50 %",
    ]


def test_on_and_off_turn_it(agent):
    agent("flags", "off", "agent")
    assert not flag(agent)["on"]
    agent("flags", "on", "agent")
    assert flag(agent)["on"]


def test_targets_are_added_removed_denied_and_read_from_a_file(agent):
    def targets():
        return {one["variant"]: one["keys"] for one in flag(agent).get("targets", [])}

    agent("flags", "target", "agent", "--add", "u1,u2", "--add", "u3")
    assert targets() == {"on": ["u1", "u2", "u3"]}
    agent("flags", "target", "agent", "--remove", "u3")
    agent("flags", "target", "agent", "--deny", "u1")
    assert targets() == {"on": ["u2"], "off": ["u1"]}
    agent("flags", "target", "agent", "--keys", "-", stdin="u7\n\nu8\n")
    assert targets()["on"] == ["u7", "u8"]
    agent("flags", "target", "agent", "--clear")
    assert "on" not in targets()


@pytest.mark.parametrize(
    "words", [[], ["--add", "u1", "--deny", "u2"], ["--clear", "--add", "u1"], ["--variant", "on"]]
)
def test_a_target_says_one_thing(agent, words):
    agent("flags", "target", "agent", *words, exit_code=2)


def test_fields_are_set_and_tags_added_and_removed(agent):
    agent("flags", "set", "agent", "--owner", "team", "--add-tag", "hot", "--remove-tag", "agents")
    assert (flag(agent)["owner"], flag(agent)["tags"]) == ("team", ["hot"])
    agent("flags", "set", "agent", exit_code=2)


def test_a_flag_of_another_kind_is_created(shell):
    shell(
        *("flags", "create", "limit", "--kind", "number", "--on"),
        *("--variant", "low=5", "--variant", "high=50", "--off-variant", "low", "--percent", "10"),
        *("--allow", "u1", "--deny", "u2"),
    )
    found = flag(shell, "limit")
    assert found["variants"] == {"low": 5, "high": 50}
    assert weights(shell, "limit") == {"high": 10_000, "low": 90_000}
    shell("flags", "create", "x", "--kind", "string", exit_code=2)


def test_a_whole_flag_comes_from_a_document(shell):
    document = {"downhaul": 1, "flags": [{"key": "agent", "on": True, "default": "on"}]}
    (shell.folder / "f.json").write_text(json.dumps(document))
    shell("flags", "create", "--file", "f.json")
    document["flags"][0]["owner"] = "team"
    shell("flags", "set", "--file", "-", stdin=json.dumps(document))
    assert flag(shell)["owner"] == "team"


def test_a_document_that_was_read_earlier_is_a_conflict(agent):
    document = agent("flags", "show", "agent", "--format", "json").stdout
    (agent.folder / "f.json").write_text(document)
    agent("flags", "percent", "agent", "30")
    done = agent("flags", "set", "--file", "f.json", exit_code=4)
    assert "read it again" in done.stderr


def test_creating_what_exists_is_a_conflict(agent):
    agent("flags", "create", "agent", exit_code=4)


def test_an_unknown_flag_is_named_with_what_may_have_been_meant(agent):
    done = agent("flags", "on", "agemt", exit_code=1)
    assert 'did you mean "agent"?' in done.stderr
    assert done.stdout == ""


def test_history_shows_who_changed_what(agent):
    agent("flags", "percent", "agent", "50", "--reason", "fine", "--actor", "bo")
    text = agent("flags", "history", "agent").stdout
    assert "bo" in text
    assert '"fine"' in text
    assert "default.split[on].weight: 25 % -> 50 %" in text
    assert len(agent.json("flags", "history", "agent", "--limit", "1")["changes"]) == 1


@pytest.mark.rule("X4")
def test_without_a_name_the_login_name_is_recorded_and_marked(agent):
    agent("flags", "off", "agent", env={"DOWNHAUL_ACTOR": ""})
    record = agent.json("flags", "history", "agent")["changes"][0]
    assert record["marked"]
    agent("flags", "on", "agent", env={"DOWNHAUL_ACTOR": "cy"})
    record = agent.json("flags", "history", "agent")["changes"][0]
    assert (record["actor"], record["marked"]) == ("cy", False)


def test_an_earlier_version_is_restored(agent):
    version = agent.json("flags", "show", "agent")["flag"]["version"]
    agent("flags", "percent", "agent", "80")
    agent("flags", "restore", "agent", "--to", version)
    assert weights(agent)["on"] == 25_000
    done = agent("flags", "restore", "agent", "--to", "nope", exit_code=1)
    assert "its versions are" in done.stderr


def test_deleting_needs_a_yes_where_nobody_can_be_asked(agent):
    agent("flags", "delete", "agent", exit_code=2)
    agent("flags", "delete", "agent", "--yes")
    agent("flags", "show", "agent", exit_code=1)


def test_stale_flags_are_listed(agent):
    agent("flags", "create", "done", "--on")
    data = agent.json("flags", "stale", "--days", "0")
    assert [one["key"] for one in data["flags"]] == ["done"]
    assert not data["asked_known"]
    done = agent("flags", "stale", "--days", "0")
    assert "look in the code" in done.stderr


def test_environments_are_apart(agent):
    agent("-e", "staging", "flags", "create", "other")
    assert [one["key"] for one in agent.json("flags", "list")["flags"]] == ["agent"]
    assert [one["key"] for one in agent.json("flags", "list", "-e", "staging")["flags"]] == [
        "other"
    ]


def test_the_url_of_a_command_wins_over_the_configuration(agent):
    agent("flags", "create", "aside", "--url", "sqlite:///aside.db")
    assert [
        one["key"] for one in agent.json("--url", "sqlite:///aside.db", "flags", "list")["flags"]
    ] == ["aside"]


def test_segments_are_made_changed_shown_and_deleted(shell):
    shell("segments", "set", "beta", "--include", "u1,u2", "--description", "early")
    shell("segments", "set", "beta", "--exclude", "u2")
    found = shell.json("segments", "show", "beta")["segment"]
    assert (found["included"], found["excluded"]) == ([{"keys": ["u1"]}], [{"keys": ["u2"]}])
    assert "beta" in shell("segments", "list").stdout
    shell("segments", "delete", "beta", "--yes")
    shell("segments", "show", "beta", exit_code=1)


def test_a_segment_in_use_is_not_deleted(agent):
    agent("segments", "set", "beta", "--include", "u1")
    document = json.loads(agent("flags", "show", "agent", "--format", "json").stdout)
    document["flags"][0]["rules"] = [
        {"serve": "on", "when": [{"operator": "in_segment", "values": ["beta"]}]}
    ]
    agent("flags", "set", "agent", "--file", "-", stdin=json.dumps(document))
    done = agent("segments", "delete", "beta", "--yes", exit_code=6)
    assert "agent" in done.stderr
