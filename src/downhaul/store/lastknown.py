"""What a machine keeps on its own disk of what it last knew: flags, and the register of kills.

Kills have a file of their own, joined with what other processes wrote there under a lock, so that
one that lags never loses a kill that another knew. Flags are written by a thread of their own, well
after they changed, because ten thousand of them take a while.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from downhaul.encoding import flag_from_data, flag_to_data, segment_from_data, segment_to_data
from downhaul.flag import Flag, FlagSet, FlagSetDelta, Segment
from downhaul.overlay import KillRecord, KillRegister
from downhaul.store.diskfile import DiskFile, Unusable

_log: Final = logging.getLogger("downhaul.store")
_PAUSE: Final = 1.0  # seconds in which further changes are gathered before the flags are written
_SHARE: Final = 20  # and at least so many times what writing took: a twentieth of one core
_BROKEN: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError)


class KillCopy:
    """The register of kills on disk."""

    def __init__(self, path: Path) -> None:
        self._file = DiskFile(path)

    @property
    def trouble(self) -> str:
        """Why the last save failed, or nothing."""
        return self._file.trouble

    def load(self) -> KillRegister | None:
        """Return what is kept, or None where there is nothing to read."""
        try:
            return self._kept()
        except Unusable as error:
            self._file.tell(str(error.strerror))
            return None

    def join(self, register: KillRegister) -> KillRegister | None:
        """Join what this process knows with what is kept, keep the whole, and return it.

        None where that failed; ``trouble`` says why.
        """
        try:
            with self._file.locked():
                kept = self._kept()
                joined = (kept or KillRegister()).hear(register.words.values())
                if (kept is None or joined is not kept) and not self._file.save(_words(joined)):
                    return None
        except Unusable as error:
            self._file.tell(str(error.strerror))
            return None
        except OSError as error:
            why = error.strerror or str(error)
            self._file.tell(f"{self._file.path} can't be locked: {why}")
            return None
        return joined

    def _kept(self) -> KillRegister | None:
        items = self._file.load()
        if items is None:
            return None
        try:
            return KillRegister().hear([KillRecord.from_mapping(item) for item in items])
        except _BROKEN as error:
            self._file.set_aside(str(error))
            return None


def _words(register: KillRegister) -> list[dict[str, Any]]:
    return [register.words[word].as_mapping() for word in sorted(register.words)]


@dataclass(frozen=True, slots=True)
class CopiedFlags:
    """Flags out of the copy; ``age`` is in seconds since they were kept."""

    flag_set: FlagSet
    identity: str
    age: float


class FlagCopy:
    """Flags and segments on disk."""

    def __init__(self, path: Path) -> None:
        self._file = DiskFile(path)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._flags: dict[str, Flag] = {}
        self._segments: dict[str, Segment] = {}
        self._revision = ""
        self._identity = ""

    @property
    def trouble(self) -> str:
        """Why the last save failed, or nothing."""
        return self._file.trouble

    def load(self) -> CopiedFlags | None:
        """Return what is kept, or None."""
        try:
            items = self._file.load()
        except Unusable as error:
            self._file.tell(str(error.strerror))
            return None
        if items is None:
            return None
        try:
            about, *documents = items
            flag_set = FlagSet.of(
                [flag_from_data(one) for sort, one in documents if sort == "flag"],
                [segment_from_data(one) for sort, one in documents if sort == "segment"],
                str(about["revision"]),
            )
            age = max(0.0, time.time() - float(about["at"]))
            return CopiedFlags(flag_set, str(about["identity"]), age)
        except _BROKEN as error:
            self._file.set_aside(str(error))
            return None

    def keep(self, news: FlagSet | FlagSetDelta, identity: str) -> None:
        """Take in what changed, and write it soon. Returns at once."""
        with self._lock:
            if isinstance(news, FlagSet):
                self._flags, self._segments = dict(news.flags), dict(news.segments)
            else:
                _merge(self._flags, news.flags)
                _merge(self._segments, news.segments)
            self._revision, self._identity = news.revision, identity
            self._wake.set()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._write_later, name="downhaul-copy", daemon=True
                )
                self._thread.start()

    def close(self, timeout: float) -> None:
        """Write what is left, within ``timeout`` seconds."""
        self._closing.set()
        thread = self._thread
        if thread is not None:
            self._wake.set()
            thread.join(timeout)

    def after_fork(self) -> None:
        """Begin again in a forked child; the parent goes on writing its own."""
        self._begin()

    def _write_later(self) -> None:
        pause = _PAUSE
        while True:
            self._wake.wait()
            self._closing.wait(pause)
            self._wake.clear()
            began = time.monotonic()
            self._write()
            pause = max(_PAUSE, _SHARE * (time.monotonic() - began))
            if self._closing.is_set() and not self._wake.is_set():
                return

    def _write(self) -> None:
        try:
            self._file.save(self._items())
        except _BROKEN:
            _log.exception("the flags can't be written down")

    def _items(self) -> Iterator[Any]:
        with self._lock:
            flags, segments = list(self._flags.values()), list(self._segments.values())
            about = {"identity": self._identity, "revision": self._revision, "at": time.time()}
        yield about
        for flag in flags:
            yield "flag", flag_to_data(flag)
        for segment in segments:
            yield "segment", segment_to_data(segment)


def copies_of(directory: Path | None, url: str, environment: str) -> tuple[Path, Path] | None:
    """Return where flags and kills of a store are kept, or None. ``url`` has no secrets in it."""
    if directory is None:
        return None
    name = hashlib.sha256(f"{url}\0{environment}".encode()).hexdigest()[:16]
    return directory / f"{name}.flags.json", directory / f"{name}.kills.json"


def _merge(known: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, one in changes.items():
        if one is None:
            known.pop(key, None)
        else:
            known[key] = one
