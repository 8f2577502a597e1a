"""The break-glass file and variable: kills that need no network (rule K3)."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.errors import Refused
from downhaul.overlay import EVERYTHING, Scope
from downhaul.store.breakglass import KillFile, add_kill, add_revive, parse_names

pytestmark = pytest.mark.rule("K3")


def scopes(*names):
    return frozenset(map(Scope.parse, names))


@pytest.fixture
def file(tmp_path):
    return KillFile(tmp_path / "kill")


def test_each_line_names_what_is_killed_or_revived(file):
    file.path.write_text(
        "# a comment\nflag-a\n  tag:agents  # why\nswitch:x\n\n*\nrevive:flag-b\nrevive:*\nflag#1\n"
    )
    named = file.read()
    assert named.killed == scopes("flag-a", "tag:agents", "switch:x", "flag#1")
    assert named.revived == scopes("flag-b", "*"), "the last word on a scope counts"


def test_the_variable_holds_the_same_between_commas():
    named = parse_names(" flag-a, tag:agents ,*,,revive:flag-b")
    assert named.killed == scopes("flag-a", "tag:agents", "*")
    assert named.revived == scopes("flag-b")


def test_a_bad_line_is_told_with_its_number_and_the_others_count(file, caplog):
    file.path.write_bytes(b"one\ntag:\nrevive:\ntwo three\n\xff\xfe four\nlast")
    assert file.read().killed == scopes("one", "last")
    for number in (2, 3, 4, 5):
        assert f"entry {number}" in caplog.text


def test_the_file_is_read_again_when_it_changes(file):
    assert file.read().killed == frozenset()
    add_kill(file.path, Scope.parse("a"), actor="ada", reason="one\nline")
    assert file.read().killed == scopes("a")
    add_kill(file.path, EVERYTHING, actor="ada", reason="all")
    assert file.read().killed == scopes("a", "*")
    add_revive(file.path, Scope.parse("a"), actor="grace", reason="well again")
    named = file.read()
    assert (named.killed, named.revived) == (scopes("*"), scopes("a"))
    add_kill(file.path, Scope.parse("a"), actor="ada", reason="no")
    assert file.read().killed == scopes("a", "*")
    assert "ada: one line" not in file.path.read_text(), "each scope has one line"


@pytest.mark.parametrize("what", ["a folder", "a pipe", "a disk"])
def test_what_is_no_list_of_names_is_told_and_waited_for_by_nobody(file, caplog, what):
    add_kill(file.path, Scope.parse("a"), actor="ada", reason="")
    assert file.read().killed == scopes("a")
    file.path.unlink()
    if what == "a folder":
        file.path.mkdir()
    elif what == "a pipe":
        os.mkfifo(file.path)
    else:
        with file.path.open("wb") as large:
            large.truncate(1 << 30)
    assert file.read().killed == scopes("a"), "what it named before still holds"
    assert str(file.path) in caplog.text
    assert file.trouble


def test_a_link_goes_on_pointing_where_it_did(tmp_path):
    link, real = tmp_path / "kill", tmp_path / "elsewhere"
    real.write_bytes(b"\xff not ours\n")
    link.symlink_to(real)
    add_kill(link, Scope.parse("a"), actor="ada", reason="")
    assert link.is_symlink()
    assert real.read_bytes().startswith(b"\xff not ours\na ")


def test_a_file_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="DOWNHAUL_KILL_FILE"):
        add_kill(tmp_path / "file" / "kill", EVERYTHING, actor="ada", reason="")


@given(st.text())
def test_no_text_makes_reading_fail(text):
    parse_names(text)
