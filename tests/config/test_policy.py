"""``[policy]`` and ``application``: what holds, what is wrong with it, what reads past it."""

import pytest

from downhaul.config import PolicySettings, show
from downhaul.errors import ConfigError

HEAD = '[provider]\nurl = "memory:"\n'


def test_without_one_nothing_is_held_up(place):
    place.write(HEAD)
    found = place.resolve()
    assert found.policy == PolicySettings()
    assert found.application == ""


def test_every_key_is_read(place):
    place.write(
        'application = "checkout"\n' + HEAD + "[policy]\nrevive_needs_second_person = true\n"
        'alone_after = "30m"\nmay_revive = ["ana", "bo"]\nmay_promote_full = ["ana"]\n'
        "refuse_login_names = true\nttl_at_most = 5\n"
    )
    found = place.resolve()
    assert found.application == "checkout"
    assert found.policy == PolicySettings(
        revive_needs_second_person=True,
        alone_after=1800.0,
        may_revive=("ana", "bo"),
        may_promote_full=("ana",),
        refuse_login_names=True,
        ttl_at_most=5.0,
    )
    rows = {row.path: (row.value, row.origin) for row in show(found)}
    assert rows["policy.may_revive"] == (["ana", "bo"], "downhaul.toml:7")
    assert rows["policy.ttl_at_most"] == (5.0, "downhaul.toml:10")


def test_an_application_is_named_by_its_environment_too(place):
    place.write(HEAD)
    assert place.resolve(environ={"DOWNHAUL_APPLICATION": "worker"}).application == "worker"


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "line, told",
    [
        ('alone_after = "soon"', "is no time"),
        ("may_revive = []", "names nobody"),
        ('may_revive = ["ana", " "]', "a name in it is empty"),
        ('may_promote_full = "ana"', "must be a list"),
        ("ttl_at_most = 101", "less than or equal to 100"),
        ("refuse_login_names = 7", "boolean"),
    ],
)
def test_what_is_wrong_with_one_names_its_line(place, line, told):
    place.write(f"{HEAD}[policy]\n{line}\n")
    with pytest.raises(ConfigError) as refused:
        place.resolve()
    [problem] = refused.value.problems
    assert told in problem.message
    assert problem.origin == "downhaul.toml:4"
    assert problem.path == f"policy.{line.split()[0]}"


def test_a_key_that_is_unknown_says_what_was_meant(place):
    place.write(f'{HEAD}[policy]\nmay_revives = ["ana"]\n')
    [problem] = place.check()
    assert problem.hint == "did you mean may_revive?"


@pytest.mark.rule("K5")
def test_what_asks_no_policy_reads_past_a_broken_one_and_past_nothing_else(place):
    place.write(f'{HEAD}[policy]\nmay_revive = 7\nalone_after = {{ env = "NOT_SET" }}\n')
    with pytest.raises(ConfigError):
        place.resolve()
    found = place.resolve(leave_out=("policy",))
    assert found.policy == PolicySettings()
    assert found.provider.name == "memory"
    place.write(f"{HEAD}[control]\nurl = 5\n[policy]\nmay_revive = 7\n")
    with pytest.raises(ConfigError) as refused:
        place.resolve(leave_out=("policy",))
    assert [one.path for one in refused.value.problems] == ["control.url"]
