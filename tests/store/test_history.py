"""Rule X4: what was done stays written, whoever holds the file."""

import sqlite3

import pytest

from downhaul.flag import Flag

pytestmark = pytest.mark.rule("X4")


@pytest.mark.parametrize(
    "statement", ["UPDATE downhaul_changes SET actor = 'nobody'", "DELETE FROM downhaul_changes"]
)
def test_the_history_cannot_be_changed(writer, path, change, statement):
    writer.put(Flag.boolean("one"), change)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert len(writer.history()) == 1


def test_a_refused_write_leaves_no_trace(writer, change):
    first = writer.put(Flag.boolean("one"), change)
    revision = writer.list().revision
    for write in (
        lambda: writer.put(first, change, expected="7"),
        lambda: writer.set_rollout("one", "no such variant", 1, change),
        lambda: writer.delete("two", change),
    ):
        with pytest.raises(Exception, match=r"one|two"):
            write()
    assert writer.list().revision == revision
    assert len(writer.history()) == 1
