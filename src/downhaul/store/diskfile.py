"""One file that is always whole: replaced atomically, with a checksum, readable by its owner alone.

A full disk, or a process killed in the middle of writing, leaves the file that was there before.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

_log: Final = logging.getLogger("downhaul.store")
READABLE: Final = 0o644
"""The mode of a report, which is for whoever collects them."""

_STREAMS: Final = {Path("/dev/stdout"): 1, Path("/dev/stderr"): 2}
_DESCRIPTORS: Final = (Path("/dev/fd"), Path("/proc/self/fd"))
_FORMAT: Final = 1
_LOCK_WITHIN: Final = 2.0  # seconds; a process that is stopped while it holds the lock keeps it
_LOCK_AGAIN: Final = 0.02


class Unusable(OSError):
    """The file is there and must not be replaced: it can't be read, or newer code wrote it."""


class DiskFile:
    """Lines of JSON behind a first line that says their format and checksum."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""

    def load(self) -> list[Any] | None:
        """Return what was saved, or None. A damaged file is set aside, and told in the log.

        Raises Unusable.
        """
        try:
            head, _, body = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unusable(error.errno, f"{self.path} can't be read: {error.strerror}") from error
        try:
            header = json.loads(head)
            newer = header["format"] > _FORMAT
            whole = newer or header["checksum"] == hashlib.sha256(body).hexdigest()
            items = [json.loads(line) for line in body.splitlines()] if whole and not newer else []
        except (ValueError, KeyError, TypeError) as error:
            self.set_aside(str(error))
            return None
        if newer:
            raise Unusable(errno.EPROTO, f"{self.path} was written by newer code")
        if not whole:
            self.set_aside("its checksum is wrong")
            return None
        return items

    def set_aside(self, why: str) -> None:
        """Rename a damaged file, so that somebody can look at it and nobody trusts half of it."""
        aside = self.path.with_suffix(".corrupt")
        _log.warning("%s is damaged (%s): set aside as %s", self.path, why, aside)
        with contextlib.suppress(OSError):
            self.path.replace(aside)

    def save(self, items: Iterable[Any]) -> bool:
        """Write JSON data, an item a line; return whether it was written.

        What fails is told once, in the log and in ``trouble``, and the old file stays.
        """
        try:
            # Line by line, so that the interpreter can run others in between.
            body = b"".join(
                json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in items
            )
            header = {"format": _FORMAT, "checksum": hashlib.sha256(body).hexdigest()}
            replace_file(self.path, json.dumps(header).encode() + b"\n" + body)
        except OSError as error:
            self.tell(f"{self.path} can't be written: {error.strerror or error}")
            return False
        self.trouble = ""
        return True

    def tell(self, trouble: str) -> None:
        """Note what is wrong, and log it once."""
        if trouble != self.trouble:
            _log.warning("%s (what was there stays)", trouble)
        self.trouble = trouble

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing meanwhile. Raises OSError where that can't be."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("ab") as lock:
            until = time.monotonic() + _LOCK_WITHIN
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(_LOCK_AGAIN)
            yield


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put ``data`` in the file's place, whole or not at all; what is no file is written to.

    So is what is open already, as ``/dev/stdout``: whoever opened it goes on writing there. Raises
    OSError, which names the file.
    """
    with naming(path):
        number = _descriptor(path)
        if number is not None:
            sys.stdout.flush()  # what was printed before comes before
            with os.fdopen(os.dup(number), "wb") as file:
                file.write(data)
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and not path.is_file() and not path.is_dir():
            # A device or a pipe: in its place there would be a file, for everybody on the machine.
            path.write_bytes(data)
            return
        place = _place(path)
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            Path(name).replace(place)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise


def _descriptor(path: Path) -> int | None:
    """Return the open descriptor that a path is a name of; None for any other path."""
    if path in _STREAMS:
        return _STREAMS[path]
    known = path.parent in _DESCRIPTORS and path.name.isdecimal()
    return int(path.name) if known else None


def _place(path: Path) -> Path:
    """Return where a link leads to, which goes on pointing there. Raises OSError for a circle."""
    try:
        return path.resolve()
    except RuntimeError as error:  # what Python 3.11 and 3.12 say of a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError name the file that somebody asked for: a full disk's names none."""
    try:
        yield
    except OSError as error:
        if error.filename is None or error.filename2 is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
