"""Receipts: who obeys a kill, who is behind, who is silent, and how that is said (rule K6)."""

import pytest

from downhaul.control.receipts import GONE, receipts_of
from downhaul.store.processes import ProcessRow

NOW = 1_000_000_000_000
KILL = NOW - 2_000_000  # two seconds ago
pytestmark = pytest.mark.rule("K6")


def row(name, *, sequence=KILL, obeyed=0.4, seen=1.0, due=30.0, started=60.0, **fields):
    """A process's row: ``obeyed`` seconds after the kill, ``seen`` and ``started`` seconds ago."""
    known = {
        "id": f"{name}-{fields.pop('client', 1)}",
        "environment": "default",
        "process": name,
        "host": "web-1",
        "pid": 7,
        "application": "web",
        "started_at": NOW - round(started * 1e6),
        "seen_at": NOW - round(seen * 1e6),
        "due_at": NOW + round(due * 1e6),
        "sequence": sequence,
        "obeyed_at": KILL + round(obeyed * 1e6),
        "forks": 0,
    }
    return ProcessRow(**{**known, **fields})


def found(*rows, sequence=KILL):
    return receipts_of(sequence, NOW, rows)


def test_all_that_confirmed_are_counted_with_the_time_of_the_last():
    seen = found(row("a", obeyed=0.1), row("b", obeyed=0.4), row("c", obeyed=0.2))
    assert (seen.known, seen.obeyed) == (3, 3)
    assert seen.took == pytest.approx((0.1, 0.2, 0.4))
    assert (seen.median, seen.within) == (pytest.approx(0.2), pytest.approx(0.4))
    assert str(seen) == "3 of 3 processes obeyed within 0.4 s"


def test_one_that_is_behind_is_named_with_when_it_was_last_seen():
    seen = found(row("a"), row("b", sequence=KILL - 1, seen=40, host="web-2", pid=812))
    assert (seen.known, seen.obeyed, len(seen.behind), len(seen.silent)) == (2, 1, 1, 0)
    assert str(seen) == (
        "1 of 2 processes obeyed within 0.4 s; not heard from: web-2:812 web (last seen 40s ago)"
    )


def test_one_that_missed_its_time_is_silent_and_not_behind():
    seen = found(row("a"), row("b", sequence=0, seen=90, due=-45))
    assert (seen.known, seen.obeyed, len(seen.behind), len(seen.silent)) == (2, 1, 0, 1)
    assert str(seen).endswith("silent: web-1:7 web (last seen 1m 30s ago)")


def test_one_that_was_silent_for_long_counts_no_more_and_is_told_of():
    seen = found(row("a"), row("b", sequence=0, seen=GONE + 1, due=-GONE))
    assert (seen.known, seen.obeyed, seen.gone) == (1, 1, 1)
    assert str(seen).endswith("1 more is silent for over 10m, and may be gone")


def test_a_process_obeys_when_all_its_clients_do():
    seen = found(row("a", obeyed=0.1), row("a", client=2, sequence=KILL - 1))
    assert (seen.known, seen.obeyed, len(seen.behind)) == (1, 0, 1)
    seen = found(row("a", obeyed=0.1), row("a", client=2, obeyed=0.3))
    assert (seen.known, seen.obeyed, seen.within) == (1, 1, pytest.approx(0.3))


def test_one_that_started_after_the_kill_obeys_and_tells_nothing_of_its_speed():
    seen = found(row("a", started=1, obeyed=1.5))
    assert (seen.known, seen.obeyed, seen.within) == (1, 1, None)
    assert str(seen) == "1 of 1 process obeyed"


def test_one_that_obeys_a_later_word_obeys_this_one_and_tells_nothing_of_its_speed():
    seen = found(row("a", sequence=KILL + 5))
    assert (seen.obeyed, seen.took) == (1, ())


def test_a_clock_that_went_back_makes_nobody_look_alive():
    seen = found(row("b", sequence=0, seen=-3600, due=3650))
    assert (len(seen.behind), len(seen.silent)) == (0, 1)


def test_children_that_cannot_tell_are_told_of():
    seen = found(row("a", forks=2))
    assert str(seen).endswith("has forked, and its children obey and can't tell")


def test_of_many_five_are_named():
    seen = found(*(row(str(at), sequence=0, pid=at) for at in range(8)))
    assert str(seen).count("last seen") == 5
    assert str(seen).endswith("and 3 more")


def test_without_processes_it_says_that_nobody_told():
    seen = found()
    assert (seen.known, seen.obeyed) == (0, 0)
    assert str(seen) == "no process has told that it follows this store"


def test_processes_are_counted_by_application():
    seen = found(row("a"), row("b"), row("c", application="worker"))
    assert seen.applications == (("web", 2), ("worker", 1))
    assert seen.as_mapping()["applications"] == {"web": 2, "worker": 1}
