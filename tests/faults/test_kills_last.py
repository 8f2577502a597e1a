"""Rule K3: nothing but a revive lifts a kill, whatever happens to the places that know of it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from downhaul import Flag, Flags
from downhaul.overlay import Scope
from downhaul.store import schema

from .conftest import WHO, open_store, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.rule("K3")]
FEATURE = Scope.parse("feature")

_ASK = """
import sys
from downhaul import Flags
with Flags.connect(sys.argv[1], cache_dir=sys.argv[2], ready_within=2) as flags:
    print(flags.is_enabled("feature", "u", True), flags.evaluate("feature", "u", True).reason)
"""


def asked_in_a_new_process(url: str, cache: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _ASK, url, str(cache)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "flags.db"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def killed(file: Path, cache: Path) -> Path:
    """A store whose feature a client saw killed; returns a backup from before the kill."""
    writer = open_store(f"sqlite:///{file}")
    writer.put(Flag.boolean("feature"), WHO)
    writer.database.engine.dispose()
    with writer.database.reading() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = file.with_suffix(".backup")
    shutil.copy(file, backup)
    writer.control.record_kill(FEATURE, WHO, killed=True)
    assert asked_in_a_new_process(f"sqlite:///{file}", cache) == "False KILLED"
    return backup


def remove(file: Path) -> None:
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()


def test_a_store_that_was_lost_leaves_the_kill(file, cache, killed):
    remove(file)
    assert asked_in_a_new_process(f"sqlite:///{file}", cache) == "False KILLED"


def test_a_new_empty_store_in_its_place_leaves_the_kill(file, cache, killed):
    remove(file)
    writer = open_store(f"sqlite:///{file}")
    writer.put(Flag.boolean("feature"), WHO)
    assert asked_in_a_new_process(f"sqlite:///{file}", cache) == "False KILLED"


def test_an_old_backup_in_its_place_leaves_the_kill_and_a_new_revive_lifts_it(file, cache, killed):
    remove(file)
    shutil.copy(killed, file)
    url = f"sqlite:///{file}"
    assert asked_in_a_new_process(url, cache) == "False KILLED"
    writer = open_store(url)
    writer.control.record_kill(FEATURE, WHO, killed=False, lift_others=True)
    assert asked_in_a_new_process(url, cache) == "True STATIC"


def test_a_revive_that_another_store_holds_of_its_own_kill_lifts_nothing(file, cache, killed):
    remove(file)
    writer = open_store(f"sqlite:///{file}")
    writer.put(Flag.boolean("feature"), WHO)
    writer.control.record_kill(FEATURE, WHO, killed=True)
    writer.control.record_kill(FEATURE, WHO, killed=False)
    assert asked_in_a_new_process(f"sqlite:///{file}", cache) == "False KILLED"


def test_a_lost_copy_leaves_the_kill_that_the_store_has(file, cache, killed):
    shutil.rmtree(cache)
    assert asked_in_a_new_process(f"sqlite:///{file}", cache) == "False KILLED"


def test_a_running_client_keeps_the_kill_through_all_of_it(file, cache, killed):
    url = f"sqlite:///{file}"
    with Flags.connect(url, cache_dir=str(cache), ready_within=2) as flags:
        assert not flags.is_enabled("feature", "u", True)
        remove(file)
        shutil.rmtree(cache)
        wait_until(lambda: flags.status().state == "STALE", 5, "the loss to be noticed")
        assert not flags.is_enabled("feature", "u", True)
        shutil.copy(killed, file)
        wait_until(lambda: flags.status().state == "READY", 5, "the backup to be followed")
        assert not flags.is_enabled("feature", "u", True)


def test_a_break_glass_kill_outlives_its_file_and_its_process(file, cache, tmp_path):
    writer = open_store(f"sqlite:///{file}")
    writer.put(Flag.boolean("feature"), WHO)
    kill_file = tmp_path / "kill"
    options = {
        "cache_dir": str(cache),
        "control": {"kill_file": str(kill_file)},
        "ready_within": 2,
    }
    with Flags.connect(f"sqlite:///{file}", **options) as flags:
        assert flags.is_enabled("feature", "u")
        kill_file.write_text("feature  # somebody's hand\n")
        wait_until(lambda: not flags.is_enabled("feature", "u"), 2, "the file to be seen")
        kill_file.unlink()
        other = tmp_path / "unrelated"
        other.write_text("")
    with Flags.connect(f"sqlite:///{file}", **options) as flags:
        assert not flags.is_enabled("feature", "u")
        kill_file.write_text("revive:feature\n")
        wait_until(lambda: flags.is_enabled("feature", "u"), 2, "the revive to be seen")
    with Flags.connect(f"sqlite:///{file}", **options) as flags:
        assert flags.is_enabled("feature", "u")


def test_a_revive_in_the_store_lifts_a_break_glass_kill_whose_file_is_gone(file, cache, tmp_path):
    writer = open_store(f"sqlite:///{file}")
    writer.put(Flag.boolean("feature"), WHO)
    kill_file = tmp_path / "kill"
    kill_file.write_text("feature\n")
    with Flags.connect(
        f"sqlite:///{file}",
        cache_dir=str(cache),
        control={"kill_file": str(kill_file)},
        ready_within=2,
    ) as flags:
        assert not flags.is_enabled("feature", "u")
        writer.control.record_kill(FEATURE, WHO, killed=False, lift_others=True)
        wait_until(lambda: flags.status().revision == "1", 2, "the store to be read")
        assert not flags.is_enabled("feature", "u"), "the file still names it"
        kill_file.unlink()
        writer.control.record_kill(FEATURE, WHO, killed=False, lift_others=True)
        wait_until(lambda: flags.is_enabled("feature", "u"), 2, "the revive after the file went")


def test_a_schema_made_again_on_the_same_file_does_not_lift(file, cache, killed):
    remove(file)
    writer = open_store(f"sqlite:///{file}")
    assert schema.check(writer.database) == []
    assert asked_in_a_new_process(f"sqlite:///{file}", cache) == "False KILLED"


def test_a_kill_that_a_restored_store_holds_already_is_obeyed_when_said_again(file, cache, killed):
    url = f"sqlite:///{file}"
    writer = open_store(url)
    with writer.database.reading() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = file.with_suffix(".killed")
    shutil.copy(file, backup)
    writer.control.record_kill(FEATURE, WHO, killed=False)
    assert asked_in_a_new_process(url, cache) == "True STATIC"
    remove(file)
    shutil.copy(backup, file)
    assert asked_in_a_new_process(url, cache) == "True STATIC"
    open_store(url).control.record_kill(FEATURE, WHO, killed=True)
    assert asked_in_a_new_process(url, cache) == "False KILLED"
