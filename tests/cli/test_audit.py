"""``audit``: everything that happened, in its order, and whatever comes after."""

import json

import jsonschema
import pytest

from downhaul.cli import audit
from downhaul.cli.shapes import schema_of
from downhaul.errors import Unreachable
from downhaul.provider import ChangeRecord


def record(number, **fields):
    known = {
        "change_id": "c",
        "at": "2026-11-27T08:00:00.000Z",
        "environment": "default",
        "entity": "rollout",
        "key": "4f2a9c01de",
        "action": "raised",
        "actor": "controller",
        "reason": "step 2 of 6: 5 %",
        "after": {"flag": "agent", "step": 1},
    }
    return ChangeRecord(number, **{**known, **fields})


@pytest.fixture
def busy(agent):
    """A store in which somebody changed a flag, another one, and killed the first."""
    agent("flags", "percent", "agent", "50", "--reason", "clean so far")
    agent("flags", "create", "other")
    agent("kill", "agent", "--reason", "refund loop", "--actor", "bo")
    return agent


@pytest.mark.rule("X4")
def test_everything_that_happened_in_its_order(busy):
    lines = busy("audit").stdout.splitlines()
    assert len(lines) == 4
    assert "flag create" in lines[0]
    assert "on at 50 %" in lines[1]
    assert '"clean so far"' in lines[1]
    assert "bo" in lines[3]
    assert '"refund loop"' in lines[3]


def test_of_one_flag(busy):
    records = busy.json("audit", "--flag", "other")["records"]
    assert [one["key"] for one in records] == ["other"]


def test_the_newest_ones(busy):
    found = busy.json("audit", "--limit", "2")["records"]
    assert [one["id"] for one in found] == sorted(one["id"] for one in found)
    assert found[-1]["entity"] == "kill"
    assert len(found) == 2


@pytest.mark.parametrize("since, count", [("1h", 4), ("2020-01-01T00:00:00Z", 4), ("0s", 0)])
def test_since(busy, since, count):
    assert len(busy.json("audit", "--since", since)["records"]) == count


@pytest.mark.parametrize(
    "since, said", [("yesterday", "is no time"), ("2026-11-27T08:00:00", "has no offset")]
)
def test_a_time_that_is_none_is_a_usage_error(busy, since, said):
    assert said in busy("audit", "--since", since, exit_code=2).stderr


def test_nothing_happened(shell):
    shell("flags", "create", "agent")
    done = shell("audit", "--flag", "else")
    assert (done.stdout, done.stderr) == ("", "nothing happened that is known here\n")


@pytest.mark.rule("X1")
def test_a_provider_without_a_history_says_what_to_do(shell):
    (shell.folder / "flags.json").write_text(json.dumps({"downhaul": 1, "flags": []}))
    done = shell("audit", "--url", "file:flags.json", exit_code=6)
    assert "DOWNHAUL_CONTROL_URL" in done.stderr


@pytest.mark.parametrize(
    "one, said",
    [
        (record(1), "rollout raised        agent (4f2a9c01de)  step 2 of 6: 5 %"),
        (
            record(1, entity="rehearsal", key="agent", action="rehearsed", after={"held": True}),
            'agent  the way back held  "step 2 of 6: 5 %"',
        ),
        (
            record(1, entity="rehearsal", key="agent", action="rehearsed", after={"held": False}),
            "the way back did not hold",
        ),
        (record(1, entity="kill", key="tag:a", action="kill", marked=True), "controller (login)"),
        (record(1, entity="flag", key="f", action="set", after={"odd": 1}), "flag set"),
        (record(1, reason="two\nlines"), "two lines"),
    ],
)
def test_a_record_is_one_line(one, said):
    line = audit.record_line(one)
    assert said in line
    assert line.startswith("2026-11-27T08:00:00.000Z  controller")
    assert "\n" not in line


class Enough(Exception):
    """The test has seen what it wanted."""


class Store:
    """A history that grows between two looks, each growth a list of ids, or an error."""

    def __init__(self, *growths):
        self.growths = list(growths)
        self.there = []
        self.away = None

    def fetch(self, after):
        if self.away is not None:
            raise self.away
        return [one for one in sorted(self.there, key=lambda one: one.id) if one.id > after]

    def wait(self, _seconds):
        if not self.growths:
            raise Enough
        growth = self.growths.pop(0)
        self.away = growth if isinstance(growth, Exception) else None
        if self.away is None:
            self.there += [record(number) for number in growth]


def follow(store, last):
    shown, warned = [], []
    with pytest.raises(Enough):
        audit.follow_on(
            store.fetch,
            lambda found: shown.extend(one.id for one in found),
            warned.append,
            last,
            store.wait,
        )
    return shown, warned


def test_following_shows_what_is_new_once():
    store = Store([4], [], [5, 6], [7])
    store.there = [record(1), record(3)]
    assert follow(store, 3) == ([4, 5, 6, 7], [])


@pytest.mark.rule("X4")
def test_a_transaction_that_commits_late_under_a_lower_id_is_not_missed():
    store = Store([5], [4], [6])
    store.there = [record(3)]
    assert follow(store, 3) == ([5, 4, 6], [])


def test_a_store_that_is_away_is_asked_again_and_told_once():
    away = Unreachable("gone")
    store = Store(away, away, [4])
    shown, warned = follow(store, 0)
    assert shown == [4]
    assert warned == ["gone; asking again"]


def test_more_than_a_page_is_shown_whole():
    class Paged(Store):
        def fetch(self, after):
            return super().fetch(after)[:200]

    store = Paged(range(1, 451), [], [], [], [])
    assert follow(store, 0)[0] == list(range(1, 451))


def test_following_prints_what_there_is_then_what_comes(busy, monkeypatch):
    def changed_meanwhile(fetch, show, _warn, last):
        busy("flags", "off", "other", "--reason", "meanwhile")
        show(fetch(last))

    monkeypatch.setattr(audit, "follow_on", changed_meanwhile)
    lines = busy("audit", "-f", "--limit", "2").stdout.splitlines()
    assert len(lines) == 3
    assert "meanwhile" in lines[-1]
    streamed = busy("audit", "-f", "--json", "--limit", "2").stdout.splitlines()
    for line in streamed:
        jsonschema.validate(json.loads(line), schema_of("audit"))
    assert len(streamed) == 3
