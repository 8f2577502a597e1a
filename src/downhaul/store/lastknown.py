"""What a machine keeps on its own disk of what it last knew: flags, and the register of kills.

Files are replaced whole and atomically, so that a full disk or a killed process leaves the old one.
Kills have a file of their own, joined with what other processes wrote there under a lock, so that
one that lags never loses a kill that another knew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from downhaul.encoding import flag_from_data, flag_to_data, segment_from_data, segment_to_data
from downhaul.flag import FlagSet, FlagSetDelta
from downhaul.overlay import KillRegister

_log: Final = logging.getLogger("downhaul.store")
_FORMAT: Final = 1
_PAUSE: Final = 1.0  # seconds in which further changes are gathered before the flags are written


class DiskFile:
    """One JSON file with a checksum, replaced atomically and readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""

    def load(self) -> Any:
        """Return what was saved, or None. A damaged file is set aside, and told in the log."""
        try:
            document = json.loads(self.path.read_bytes())
            body = document["body"]
            if document["format"] != _FORMAT or document["checksum"] != _checksum(body):
                raise ValueError("its checksum is wrong")  # noqa: TRY301  (one handler sets it aside)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("the last-known copy %s can't be read: %s", self.path, error)
            return None
        except (ValueError, KeyError, TypeError) as error:
            aside = self.path.with_suffix(".corrupt")
            _log.warning(
                "the last-known copy %s is damaged (%s): set aside as %s", self.path, error, aside
            )
            with contextlib.suppress(OSError):
                self.path.replace(aside)
            return None
        return body

    def save(self, body: Any) -> bool:
        """Write; return whether it was written. A failure is told once, and the old file stays."""
        document = {"format": _FORMAT, "checksum": _checksum(body), "body": body}
        try:
            _replace(self.path, json.dumps(document, separators=(",", ":")).encode())
        except OSError as error:
            trouble = f"the last-known copy {self.path} can't be written: {error.strerror or error}"
            if trouble != self.trouble:
                _log.warning("%s (the one before stays)", trouble)
            self.trouble = trouble
            return False
        self.trouble = ""
        return True

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from joining their kills meanwhile, where a lock can be had."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = self.path.with_suffix(".lock").open("ab")
        except OSError:
            yield  # save() will say what is wrong with the disk
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


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
        body = self._file.load()
        if body is None:
            return None
        try:
            return KillRegister.from_mapping(body)
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("the kills in %s can't be read: %s", self._file.path, error)
            return None

    def join(self, register: KillRegister) -> KillRegister:
        """Join what this process knows with what is kept, keep the whole, and return it."""
        with self._file.locked():
            kept = self.load() or KillRegister()
            joined = kept.hear(register.words.values())
            if joined is not kept or not self._file.path.exists():
                self._file.save(joined.as_mapping())
        return register.hear(joined.words.values())


@dataclass(frozen=True, slots=True)
class CopiedFlags:
    """Flags out of the copy; ``age`` is in seconds since they were kept."""

    flag_set: FlagSet
    identity: str
    age: float


class FlagCopy:
    """Flags and segments on disk, written by a thread of its own, well after they changed."""

    def __init__(self, path: Path) -> None:
        self._file = DiskFile(path)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._flags: dict[str, Any] = {}
        self._segments: dict[str, Any] = {}
        self._revision = ""
        self._identity = ""

    @property
    def trouble(self) -> str:
        """Why the last save failed, or nothing."""
        return self._file.trouble

    def load(self) -> CopiedFlags | None:
        """Return what is kept, or None."""
        body = self._file.load()
        if body is None:
            return None
        try:
            flag_set = FlagSet.of(
                map(flag_from_data, body["flags"]),
                map(segment_from_data, body["segments"]),
                str(body["revision"]),
            )
            age = max(0.0, time.time() - float(body["at"]))
            return CopiedFlags(flag_set, str(body["identity"]), age)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            _log.warning("the flags in %s can't be read: %s", self._file.path, error)
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
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._write_later, name="downhaul-copy", daemon=True
                )
                self._thread.start()
        self._wake.set()

    def close(self, timeout: float) -> None:
        """Write what is left, within ``timeout`` seconds."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def after_fork(self) -> None:
        """Begin again in a forked child; the parent goes on writing its own."""
        self._begin()

    def _write_later(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(_PAUSE)
            self._wake.clear()
            self._write()

    def _write(self) -> None:
        with self._lock:
            flags, segments = list(self._flags.values()), list(self._segments.values())
            revision, identity = self._revision, self._identity
        self._file.save(
            {
                "identity": identity,
                "revision": revision,
                "at": time.time(),
                "flags": [flag_to_data(one) for one in flags],
                "segments": [segment_to_data(one) for one in segments],
            }
        )


def copies_of(directory: Path | None, url: str, environment: str) -> tuple[Path, Path] | None:
    """Return where flags and kills of a store are kept, or None. ``url`` holds no secrets."""
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


def _checksum(body: Any) -> str:
    text = json.dumps(body, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    """Put ``data`` in the file's place, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
