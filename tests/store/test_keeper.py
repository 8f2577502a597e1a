"""The keeper of kills: joins what it hears, and forgets nothing (rules K1, K3)."""

import multiprocessing
import os

import pytest

from downhaul.backends.memory import MemoryControl
from downhaul.overlay import BREAK_GLASS, Scope
from downhaul.store.breakglass import add_kill, add_revive
from downhaul.store.keeper import KillKeeper
from downhaul.store.lastknown import KillCopy

pytestmark = pytest.mark.rule("K3")
FLAG = Scope.parse("feature")


class Unreachable(MemoryControl):
    """A store that never says anything."""

    def start(self, listener):
        pass

    def wait_ready(self, timeout):
        return False


@pytest.fixture
def make_keeper(tmp_path):
    """A function that makes and starts a keeper; ``overlays`` of it is what it put in force."""
    made = []

    def make(control=None, *, copy=True, file=None, names=""):
        overlays = []
        path = tmp_path / "copies" / "kills.json"
        keeper = KillKeeper(control, KillCopy(path) if copy else None, file, names, overlays.append)
        keeper.overlays = overlays
        made.append(keeper)
        keeper.start()
        return keeper

    yield make
    for keeper in made:
        keeper.close()


def killed(keeper):
    return FLAG.name in keeper.overlays[-1].flags


def test_what_this_machine_knows_is_in_force_when_start_returns(make_keeper, change):
    control = MemoryControl()
    first = make_keeper(control)
    control.record_kill(FLAG, change, killed=True)
    assert killed(first)
    first.close()
    second = make_keeper(Unreachable())
    assert killed(second)
    assert not second.unknown


def test_without_store_and_copy_kills_are_unknown_until_the_store_speaks(make_keeper):
    assert make_keeper(Unreachable()).unknown
    assert make_keeper(Unreachable(), copy=False).unknown
    assert not make_keeper(None).unknown
    keeper = make_keeper(MemoryControl())
    assert not keeper.unknown
    keeper.close()
    assert not make_keeper(Unreachable()).unknown, "that there are no kills is in the copy"


def test_the_first_word_of_a_store_is_told_even_if_it_is_nothing(make_keeper):
    before = len(make_keeper(Unreachable(), copy=False).overlays)
    assert len(make_keeper(MemoryControl(), copy=False).overlays) > before


def test_the_variable_kills_at_once_and_outlives_the_process(make_keeper):
    first = make_keeper(names="feature")
    assert killed(first)
    first.close()
    assert killed(make_keeper())
    lifted = make_keeper(names="revive:feature")
    assert not killed(lifted)
    lifted.close()
    assert not killed(make_keeper())


def test_a_file_that_names_a_scope_holds_against_a_revive_in_the_store(
    make_keeper, change, tmp_path, wait_until
):
    control, file = MemoryControl(), tmp_path / "kill"
    add_kill(file, FLAG, actor="ada", reason="")
    keeper = make_keeper(control, file=file)
    assert killed(keeper)
    control.record_kill(FLAG, change, killed=False, lift_others=True)
    assert killed(keeper)
    file.unlink()
    wait_until(lambda: not keeper._kill_file.read().killed)
    assert killed(keeper), "a line that is gone lifts nothing"
    control.record_kill(FLAG, change, killed=False, lift_others=True)
    assert not killed(keeper)


def test_a_line_is_obeyed_and_lifted_while_it_runs(make_keeper, tmp_path, wait_until):
    file = tmp_path / "kill"
    keeper = make_keeper(file=file)
    add_kill(file, FLAG, actor="ada", reason="")
    wait_until(lambda: killed(keeper))
    add_revive(file, FLAG, actor="ada", reason="")
    wait_until(lambda: not killed(keeper))


def test_what_another_process_knew_comes_into_force(make_keeper, change):
    first, second = MemoryControl(), MemoryControl()
    one = make_keeper(first)
    first.record_kill(FLAG, change, killed=True)
    one.close()
    other = make_keeper(second)
    second.record_kill(Scope.parse("other"), change, killed=True)
    assert killed(other)
    assert "other" in other.overlays[-1].flags


def test_a_copy_that_cannot_be_written_stops_no_kill_and_is_tried_again(
    make_keeper, change, tmp_path, wait_until, monkeypatch
):
    monkeypatch.setattr("downhaul.store.keeper._AGAIN", 0.05)
    (tmp_path / "copies").touch()
    control = MemoryControl()
    keeper = make_keeper(control)
    control.record_kill(FLAG, change, killed=True)
    assert killed(keeper)
    wait_until(lambda: keeper.trouble)
    (tmp_path / "copies").unlink()
    wait_until(lambda: not keeper.trouble)
    keeper.close()
    assert killed(make_keeper(Unreachable()))


@pytest.mark.fault
def test_a_forked_child_watches_the_file(make_keeper, tmp_path, wait_until):
    file = tmp_path / "kill"
    keeper = make_keeper(file=file)

    def child(answers):
        keeper.after_fork()
        answers.send(killed_soon(keeper))
        answers.close()
        os._exit(0)

    def killed_soon(keeper):
        add_kill(file, FLAG, actor="ada", reason="")
        wait_until(lambda: killed(keeper))
        return str(keeper.register.standing(FLAG).store)

    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(theirs,))
    process.start()
    assert mine.poll(20)
    assert mine.recv() == BREAK_GLASS
    process.join(10)
