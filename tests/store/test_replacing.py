"""A file that somebody named is put in place whole, and what is no file stays what it is."""

import errno
import os
import stat
import subprocess
import sys
import threading

import pytest

from downhaul.store.diskfile import replace_file


@pytest.fixture
def file(tmp_path):
    return tmp_path / "plan.json"


def test_a_file_is_its_owners_alone_unless_it_is_said(file):
    replace_file(file, b"one")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"one", 0o600)
    replace_file(file, b"two", 0o644)
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"two", 0o644)


def test_a_full_disk_leaves_the_old_file_and_the_error_names_it(file, monkeypatch):
    replace_file(file, b"old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as failed:
        replace_file(file, b"new")
    assert (failed.value.errno, failed.value.filename) == (errno.ENOSPC, str(file))
    assert [one.name for one in file.parent.iterdir()] == ["plan.json"]
    assert file.read_bytes() == b"old"


def test_a_folder_is_named_and_stays(file):
    (file / "kept").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as failed:
        replace_file(file, b"new")
    assert failed.value.filename == str(file)
    assert [one.name for one in file.parent.iterdir()] == ["plan.json"]
    assert (file / "kept").is_dir()


def test_a_link_goes_on_pointing_where_it_did(file, tmp_path):
    real = tmp_path / "elsewhere" / "real.json"
    real.parent.mkdir()
    real.write_bytes(b"old")
    file.symlink_to(real)
    replace_file(file, b"new")
    assert file.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_stays_a_pipe(file):
    os.mkfifo(file)
    read = []
    reader = threading.Thread(target=lambda: read.append(file.read_bytes()), daemon=True)
    reader.start()
    replace_file(file, b"new")
    reader.join(10)
    assert read == [b"new"]
    assert stat.S_ISFIFO(file.stat().st_mode)


WRITES = """
from pathlib import Path
from downhaul.store.diskfile import replace_file

print("first")
replace_file(Path({name!r}), b"second\\n")
print("third")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_what_is_open_already_goes_on_being_written_to(file, name):
    with file.open("wb") as log:
        subprocess.run([sys.executable, "-c", WRITES.format(name=name)], stdout=log, check=True)
    assert file.read_text() == "first\nsecond\nthird\n"


def test_a_circle_of_links_is_an_error_of_the_file(file):
    other = file.with_name("other")
    file.symlink_to(other)
    other.symlink_to(file)
    with pytest.raises(OSError, match="symbolic links") as failed:
        replace_file(file, b"new")
    assert (failed.value.errno, failed.value.filename) == (errno.ELOOP, str(file))
