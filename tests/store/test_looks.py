"""What is kept of looks at rollouts."""

import pytest
from sqlalchemy import update

from downhaul.store.looks import Looks

AN_HOUR = 3_600_000_000


@pytest.fixture
def looks(writer):
    return Looks(writer.database)


def record(looks, writer, rollout, *documents):
    for one in documents:
        with writer.database.writing() as connection:
            looks.record(connection, rollout, one)


def age(writer, number, microseconds):
    table = writer.database.tables.looks
    with writer.database.writing() as connection:
        connection.execute(
            update(table).where(table.c.id == number).values(at=table.c.at - microseconds)
        )


def test_the_newest_look_of_a_rollout_comes_first_and_none_of_another(looks, writer):
    record(looks, writer, "a", {"step": 1}, {"step": 2})
    record(looks, writer, "b", {"step": 9})
    assert [one.look for one in looks.of("a", limit=5)] == [{"step": 2}, {"step": 1}]
    assert looks.of("c") == []


def test_the_look_of_a_moment_is_the_last_one_before_it(looks, writer):
    record(looks, writer, "a", {"step": 1}, {"step": 2})
    second, first = looks.of("a", limit=2)
    age(writer, first.id, AN_HOUR)
    assert looks.of("a", until=second.at)[0].look == {"step": 2}
    assert looks.of("a", until=second.at - 1)[0].look == {"step": 1}
    assert looks.of("a", until=first.at - AN_HOUR - 1) == []


def test_old_looks_are_swept_piece_by_piece(looks, writer):
    record(looks, writer, "a", {"step": 1}, {"step": 2}, {"step": 3})
    newest, *old = looks.of("a", limit=3)
    for one in old:
        age(writer, one.id, 100 * 24 * AN_HOUR)
    assert [looks.sweep(limit=1), looks.sweep(limit=1), looks.sweep(limit=1)] == [1, 1, 0]
    assert looks.of("a", limit=3) == [newest]


@pytest.mark.parametrize("text", ["{broken", "[]", ""])
def test_a_row_that_somebody_broke_is_an_empty_look(looks, writer, text):
    record(looks, writer, "a", {"step": 1})
    table = writer.database.tables.looks
    with writer.database.writing() as connection:
        connection.execute(update(table).values(look=text))
    assert [dict(one.look) for one in looks.of("a")] == [{}]
