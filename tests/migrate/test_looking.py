"""What there is before a move, and what stands in the way of its end."""

import datetime as dt

import pytest

from downhaul.backends.memory import MemoryProvider
from downhaul.control import Operator
from downhaul.errors import Refused
from downhaul.flag import WHOLE, Flag, FlagSet, FlagType
from downhaul.ledger import Fidelity, Ledger, LedgerEntry, Translation
from downhaul.migrate.code import find_references
from downhaul.migrate.inventory import Worth, inventory_of
from downhaul.migrate.retiring import obstacles, retire
from downhaul.migrate.stages import Stages
from downhaul.provider import Change, whole
from downhaul.staging import STAGES, Stage, Standing
from downhaul.wrappers.standings import Move

NOW = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
ANA = Change("ana", "a test")
OURS = """
from downhaul import Flags
flags = Flags.connect()
if flags.is_enabled("checkout", "u1", False):
    pass
"""
THEIRS = """
import ldclient
client = ldclient.get()
on = client.variation("checkout", user, {default})
"""
ANYTHING = """
import ldclient
client = ldclient.get()
on = client.variation(whatever(), user, False)
"""


def code(folder, *texts):
    for number, text in enumerate(texts):
        (folder / f"code_{number}.py").write_text(text)
    return find_references(folder)


def complete(**fields):
    return Move("checkout", Standing(Stage.COMPLETE), "ld", "db", **fields)


def test_an_inventory_tells_work_that_is_done_from_work_to_move(tmp_path):
    flags = [
        Flag.boolean("everybody"),
        Flag.boolean("part", percent=25),
        Flag.boolean("asked", percent=5),
        Flag.boolean("switch", type=FlagType.KILL_SWITCH),
        Flag.boolean("off", on=False),
    ]
    text = OURS.replace("checkout", "asked") + 'flags.is_enabled("switch", "u", True)\n'
    found = inventory_of(
        whole(FlagSet.of(flags)),
        changed={"part": "2026-11-16T00:00:00Z"},
        code=code(tmp_path, text),
        now=NOW,
    )
    rows = {one.key: one for one in found.rows}
    assert {key: one.worth for key, one in rows.items()} == {
        "asked": Worth.MOVE,
        "everybody": Worth.DONE,
        "off": Worth.DONE,
        "part": Worth.UNUSED,
        "switch": Worth.MOVE,
    }
    assert rows["everybody"].serves == "on"
    assert rows["part"].serves is None
    assert (rows["part"].days, rows["asked"].days) == (10, None)
    assert (rows["asked"].references, rows["part"].references) == (1, 0)
    assert list(rows) == sorted(rows)


def test_without_code_nothing_is_said_of_code():
    found = inventory_of(whole(FlagSet.of([Flag.boolean("a", percent=5)])), now=NOW)
    assert found.rows[0].references is None
    assert found.rows[0].worth is Worth.MOVE
    assert found.unknown is None


def test_what_code_asks_for_and_nobody_has_is_told(tmp_path):
    found = inventory_of(
        whole(FlagSet.of([Flag.boolean("other", percent=5)])),
        code=code(tmp_path, OURS, ANYTHING, "def broken(:\n"),
        now=NOW,
    )
    assert list(found.unknown) == ["checkout"]
    assert found.unknown["checkout"][0].place.startswith("code_0.py:4")
    assert [one.dynamic for one in found.dynamic] == ["whatever()"]
    assert "code_2.py" in str(found.problems[0])


def test_what_could_not_be_read_is_in_the_inventory(tmp_path):
    entries = (
        LedgerEntry("a", "rows[0]", Fidelity.PARTIAL, "hash() is another in every process"),
        LedgerEntry("b", "rows[1]", Fidelity.MANUAL, "a percentage of -5"),
    )
    translation = Translation((Flag.boolean("a", percent=5),), (), Ledger(entries))
    found = inventory_of(translation, code=code(tmp_path, OURS.replace("checkout", "b")), now=NOW)
    assert found.rows[0].worth is Worth.LOST
    assert [one.flag for one in found.left] == ["b"]
    assert not found.unknown  # it is there, if unreadable


def test_a_flag_whose_callers_ask_the_new_side_can_go(tmp_path):
    assert obstacles(complete(), code(tmp_path, OURS), Flag.boolean("checkout", on=False)) == ()


def test_code_that_asks_the_old_side_stands_in_the_way(tmp_path):
    found = obstacles(
        complete(), code(tmp_path, THEIRS.format(default=True)), Flag.boolean("checkout")
    )
    (one,) = found
    assert str(one).startswith("code_0.py:4")
    assert "launchdarkly's variation still asks for it" in str(one)


@pytest.mark.parametrize(
    "default, on, stands",
    [("False", True, True), ("True", True, False), ("1", True, True), ("True", False, True)],
)
def test_a_default_that_is_not_what_is_served_stands_in_the_way(tmp_path, default, on, stands):
    text = OURS.replace("False", default)
    found = obstacles(complete(), code(tmp_path, text), Flag.boolean("checkout", on=on))
    assert bool(found) is stands
    if stands:
        assert f"its default is {default}" in str(found[0])


def test_what_may_be_a_call_stands_in_the_way(tmp_path):
    text = "def shown(settings):\n    return settings.client.is_enabled('checkout')\n"
    (one,) = obstacles(complete(), code(tmp_path, text), Flag.boolean("checkout"))
    assert str(one).startswith("code_0.py:2")
    assert "names it: look there" in str(one)


def test_a_key_that_nobody_can_tell_stands_in_the_way(tmp_path):
    (one,) = obstacles(complete(), code(tmp_path, ANYTHING), Flag.boolean("checkout"))
    assert "a key that can't be told: whatever()" in str(one)


def test_a_file_that_could_not_be_read_stands_in_the_way(tmp_path):
    (one,) = obstacles(complete(), code(tmp_path, "def broken(:\n"), Flag.boolean("checkout"))
    assert "code_0.py" in str(one)


def test_what_is_retired_is_not_retired_again(tmp_path):
    (one,) = obstacles(complete(retired=True), code(tmp_path), Flag.boolean("checkout"))
    assert "it is retired at ld already" in str(one)


@pytest.mark.parametrize("stage", STAGES[:-1])
def test_a_flag_that_is_not_there_yet_stays(tmp_path, stage):
    move = Move("checkout", Standing(stage, WHOLE), "ld", "db")
    (one,) = obstacles(move, code(tmp_path), Flag.boolean("checkout"))
    assert f"it stands at {stage}" in str(one)


def test_a_flag_that_the_new_side_lacks_stays(tmp_path):
    (one,) = obstacles(complete(), code(tmp_path), None)
    assert "db has no such flag" in str(one)


class Old(MemoryProvider):
    archives = True


def retired(provider, found=(), **more):
    register = Stages(MemoryProvider(FlagSet()))
    move = register.put(complete(), ANA)
    with Operator(provider, provider.control, actor="ana") as operator:
        done = retire(register, move, operator.desk, ANA, found, **more)
    return done, register


def test_it_is_archived_and_stands_on_as_complete():
    provider = Old(FlagSet.of([Flag.boolean("checkout")]))
    done, register = retired(provider)
    assert done.archived
    assert provider.get("checkout") is None
    left = register.get("checkout")
    assert left.retired
    assert left.standing.stage is Stage.COMPLETE  # who follows it must not ask the old side


def test_where_nothing_is_archived_it_is_switched_off():
    provider = MemoryProvider(FlagSet.of([Flag.boolean("checkout")]))
    done, register = retired(provider)
    assert not done.archived
    assert provider.get("checkout").on is False
    assert register.get("checkout").retired


def test_by_hand_nothing_is_written():
    provider = Old(FlagSet.of([Flag.boolean("checkout")]))
    done, _ = retired(provider, by_hand=True)
    assert provider.get("checkout").on is True
    assert not done.archived


def test_every_obstacle_is_named_and_nothing_is_done(tmp_path):
    provider = Old(FlagSet.of([Flag.boolean("checkout")]))
    found = obstacles(
        complete(),
        code(tmp_path, THEIRS.format(default="False"), ANYTHING),
        Flag.boolean("checkout"),
    )
    assert len(found) == 3
    with pytest.raises(Refused) as told:
        retired(provider, found)
    assert all(str(one) in str(told.value) for one in found)
    assert provider.get("checkout") is not None
