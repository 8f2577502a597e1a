"""The last-known copy: what a machine keeps on its disk, whatever happens to that."""

import errno
import fcntl
import json
import os
import resource
import stat
import subprocess
import sys

import pytest

from downhaul.flag import Flag, FlagSet, FlagSetDelta, Segment
from downhaul.overlay import KillRecord, KillRegister, Scope
from downhaul.provider import State
from downhaul.store import diskfile
from downhaul.store.lastknown import FlagCopy, KillCopy, copies_of


def word(name, sequence, *, killed=True, store="s"):
    return KillRecord(Scope.parse(name), sequence, killed, "ada", "why", store=store)


def register(*words):
    return KillRegister().hear(words)


@pytest.fixture
def kills(tmp_path):
    return tmp_path / "copies" / "kills.json"


@pytest.mark.rule("K3")
class TestKills:
    def test_what_is_joined_is_read_again(self, kills):
        known = register(word("a", 1), word("b", 2, killed=False))
        assert KillCopy(kills).join(known) == known
        assert KillCopy(kills).load() == known

    def test_a_revive_that_waits_waits_on_disk_too(self, kills):
        revive = KillRecord(Scope.parse("a"), 3, False, "ada", "why", store="s", waits=True)
        assert KillCopy(kills).join(register(revive)) == register(revive)
        assert KillCopy(kills).load().overlay().revived == {"a": revive}

    def test_a_process_that_lags_loses_nothing(self, kills):
        KillCopy(kills).join(register(word("a", 1), word("b", 5)))
        joined = KillCopy(kills).join(register(word("b", 3, killed=False), word("c", 4)))
        assert joined == register(word("a", 1), word("b", 5), word("c", 4))
        assert KillCopy(kills).load() == joined

    def test_knowing_of_no_kill_is_kept_too(self, kills):
        assert KillCopy(kills).load() is None
        KillCopy(kills).join(KillRegister())
        assert KillCopy(kills).load() == KillRegister()

    def test_only_its_owner_can_read_it(self, kills):
        KillCopy(kills).join(register(word("a", 1)))
        assert stat.S_IMODE(kills.stat().st_mode) == 0o600
        assert stat.S_IMODE(kills.parent.stat().st_mode) == 0o700

    @pytest.mark.parametrize("damage", ["cut", "changed", "no JSON", "no words"])
    def test_a_damaged_copy_is_set_aside_and_trusted_in_no_part(self, kills, caplog, damage):
        copy = KillCopy(kills)
        copy.join(register(word("a", 1), word("b", 2)))
        data = kills.read_bytes()
        if damage == "no words":
            diskfile.DiskFile(kills).save([{"scope": "a"}])
        else:
            spoilt = {
                "cut": data[:-10],
                "changed": data.replace(b'"killed":true', b'"killed":null', 1),
                "no JSON": b"\x00\xff",
            }
            kills.write_bytes(spoilt[damage])
        assert copy.load() is None
        assert kills.with_suffix(".corrupt").exists()
        assert "set aside" in caplog.text
        assert copy.join(register(word("c", 3))) == register(word("c", 3))

    def test_a_copy_of_newer_code_is_left_alone(self, kills, caplog):
        kills.parent.mkdir()
        text = json.dumps({"format": 99, "what": "ever"}) + "\nelse\n"
        kills.write_text(text)
        copy = KillCopy(kills)
        assert copy.load() is None
        assert copy.join(register(word("a", 1))) is None
        assert "newer code" in copy.trouble
        assert kills.read_text() == text

    def test_a_disk_that_cannot_be_written_keeps_the_old_copy(self, kills, caplog, monkeypatch):
        copy = KillCopy(kills)
        old = register(word("a", 1))
        copy.join(old)

        def full(handle):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            for sequence in (2, 3):
                assert copy.join(register(word("b", sequence))) is None
            assert "No space left" in copy.trouble
        assert caplog.text.count("No space left") == 1
        assert copy.load() == old
        assert sorted(one.name for one in kills.parent.iterdir()) == ["kills.json", "kills.lock"]
        assert copy.join(register(word("b", 4))) == register(word("a", 1), word("b", 4))
        assert copy.trouble == ""

    @pytest.mark.fault
    def test_a_really_full_disk_keeps_the_old_copy(self, kills):
        old = register(*(word(f"flag-{index}", index) for index in range(20)))
        KillCopy(kills).join(old)
        code = (
            "import resource, signal, sys, pathlib\n"
            "from downhaul.overlay import *\n"
            "from downhaul.store.lastknown import KillCopy\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, (512, {resource.RLIM_INFINITY}))\n"
            "copy = KillCopy(pathlib.Path(sys.argv[1]))\n"
            "new = KillRegister().hear([KillRecord(Scope.parse('new'), 99, True)])\n"
            "print(copy.join(new), copy.trouble)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(kills)], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("None")
        assert "can't be written" in done.stdout
        assert KillCopy(kills).load() == old

    def test_a_process_that_holds_the_lock_for_good_is_not_waited_for(self, kills, monkeypatch):
        monkeypatch.setattr(diskfile, "_LOCK_WITHIN", 0.05)
        copy = KillCopy(kills)
        copy.join(register(word("a", 1)))
        with kills.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert copy.join(register(word("b", 2))) is None
            assert "locked" in copy.trouble
        assert copy.join(register(word("b", 2))) == register(word("a", 1), word("b", 2))


class TestFlags:
    def test_what_was_kept_is_read_again_with_its_age(self, tmp_path):
        copy = FlagCopy(tmp_path / "flags.json")
        assert copy.load() is None
        copy.keep(FlagSet.of([Flag.boolean("a"), Flag.boolean("b")], [Segment("s")], "7"), "id")
        copy.keep(FlagSetDelta({"b": None, "c": Flag.boolean("c", version="8")}, {}, "8"), "id")
        copy.close(10)
        copied = FlagCopy(tmp_path / "flags.json").load()
        there = FlagSet.of([Flag.boolean("a"), Flag.boolean("c", version="8")], [Segment("s")], "8")
        assert (copied.flag_set, copied.identity) == (there, "id")
        assert 0 <= copied.age < 60

    def test_a_damaged_copy_is_set_aside(self, tmp_path, caplog):
        path = tmp_path / "flags.json"
        diskfile.DiskFile(path).save([{"revision": 1, "at": 1, "identity": ""}, ["flag", {}]])
        assert FlagCopy(path).load() is None
        assert path.with_suffix(".corrupt").exists()

    def test_each_store_and_environment_has_its_own(self, tmp_path):
        names = {
            path
            for url in ("sqlite:///a.db", "sqlite:///b.db")
            for environment in ("production", "staging")
            for path in copies_of(tmp_path, url, environment)
        }
        assert len(names) == 8
        assert copies_of(None, "sqlite:///a.db", "default") is None


@pytest.mark.rule("P1", "P2")
class TestServing:
    def test_without_the_database_the_copy_is_served_as_stale(
        self, writer, path, provider_at, recorder, change, tmp_path, wait_until
    ):
        copy = tmp_path / "flags.json"
        one = writer.put(Flag.boolean("one"), change)
        first = provider_at(path, copy=copy)
        first.start(type(recorder)())
        assert first.wait_ready(15)
        first.close()
        path.rename(tmp_path / "away.db")
        second = provider_at(path, copy=copy)
        second.start(recorder)
        recorder.wait_for(lambda heard: heard.flags == {"one": one})
        wait_until(lambda: second.status().state is State.STALE)
        status = second.status()
        assert 0 <= status.age < 60
        assert "copy" in status.message
        (tmp_path / "away.db").rename(path)
        wait_until(lambda: second.status().state is State.READY)
        two = writer.put(Flag.boolean("two"), change)
        recorder.wait_for(lambda heard: heard.flags == {"one": one, "two": two})

    def test_with_the_database_there_the_copy_is_never_served(
        self, writer, path, provider_at, recorder, change, tmp_path
    ):
        copy = tmp_path / "flags.json"
        old = FlagCopy(copy)
        old.keep(FlagSet.of([Flag.boolean("long gone")]), "another store")
        old.close(10)
        application = provider_at(path, copy=copy)
        application.start(recorder)
        assert application.wait_ready(15)
        recorder.wait_for(lambda heard: heard.replacements == 1)
        assert recorder.flags == {}
