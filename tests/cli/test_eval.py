"""Asking a flag from the command line."""

import pytest


def test_it_answers_as_an_application_would(agent):
    agent("flags", "target", "agent", "--add", "u1")
    line = agent("eval", "agent", "-c", "targetingKey=u1").stdout.splitlines()[0]
    assert line.startswith("true  variant=on  reason=TARGETING_MATCH  authoritative=yes")


def test_values_are_json_where_they_are_json_and_the_key_is_a_string(agent):
    data = agent.json(
        *("eval", "agent", "-c", "targetingKey=5", "-c", "age=5", "-c", "plan=pro"),
        *("-c", 'tags=["a"]', "-c", "beta=true"),
    )
    assert data["context"] == {
        "targetingKey": "5",
        "age": 5,
        "plan": "pro",
        "tags": ["a"],
        "beta": True,
    }


def test_a_whole_context_is_given_as_json(agent):
    given = '{"kind": "multi", "user": {"key": "u1"}, "device": {"key": "d1"}}'
    data = agent.json("eval", "agent", "--context-json", given)
    assert data["context"]["device"] == {"key": "d1"}


def test_explain_shows_what_was_looked_at(agent):
    text = agent("eval", "agent", "-c", "targetingKey=u1", "--explain").stdout
    assert len(text.splitlines()) > 1
    assert agent.json("eval", "agent", "-c", "targetingKey=u1", "--explain")["steps"]


@pytest.mark.rule("E3")
def test_an_unknown_flag_is_an_error_unless_there_is_a_default(agent):
    agent("eval", "nothing", exit_code=1)
    data = agent.json("eval", "nothing", "--default", "7")
    assert (data["value"], data["error_code"], data["authoritative"]) == (
        7,
        "FLAG_NOT_FOUND",
        False,
    )


def test_a_store_that_is_not_there_is_unreachable(shell):
    shell("eval", "agent", "--wait", "0.2", exit_code=5)


@pytest.mark.parametrize("words", [["-c", "plan"], ["-c", "=x"], ["--context-json", "{"]])
def test_a_context_that_is_none_is_a_usage_error(agent, words):
    agent("eval", "agent", *words, exit_code=2)


def test_a_context_that_is_no_object_is_a_usage_error(agent):
    agent("eval", "agent", "--context-json", "[1]", exit_code=2)
