"""A file of flags: watched, read again whole, and the last good one kept.

A bad file is refused whole with every problem, logged once, and shown in the status; what was
read before goes on serving. Editors replace files, tools write them in halves: neither is ever
half applied, because a file counts only when all of it holds.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

from downhaul.errors import ConfigError, DocumentError, ReadOnly, UnsupportedCapability
from downhaul.flag import Flag
from downhaul.provider import (
    Capability,
    FlagProvider,
    FlagSet,
    Listener,
    ProviderStatus,
    State,
)

if TYPE_CHECKING:
    from downhaul.config import Settings

_POLL: Final = 0.25
_SETTLE: Final = 0.05
_TICK: Final = 2.0  # seconds; FAT has the coarsest clock
_log = logging.getLogger("downhaul.backends.file")


class _Stamp(NamedTuple):
    """What tells one content of the file from another without reading it."""

    modified: int
    size: int
    inode: int


class FileProvider(FlagProvider):
    """Flags from one file in JSON, TOML or YAML, read-only. ``poll`` is in seconds.

    The file may come later: until then the provider is NOT_READY and goes on looking.
    """

    name: str = "file"
    capabilities: frozenset[Capability] = frozenset(
        {Capability.FLAG_SET, Capability.READ, Capability.WATCH}
    )

    def __init__(self, path: str | os.PathLike[str], *, poll: float = _POLL) -> None:
        self.path = Path(path)
        self._poll = poll
        self._listener: Listener | None = None
        self._flag_set: FlagSet | None = None
        self._status = ProviderStatus(State.NOT_READY, "not started")
        self._confirmed = 0.0  # when the file last held what is served, monotonic
        self._seen: _Stamp | None = None
        self._text: bytes | None = None
        self._refused: bytes | None = None
        self._reason = ""
        self._fresh: _Stamp | None = None
        self._revision = 0
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # Evaluating

    def start(self, listener: Listener) -> None:
        """Begin to read and to watch the file, in a thread of its own."""
        self._listener = listener
        self._status = ProviderStatus(State.NOT_READY, f"{self.path} was not read yet")
        self._watch()

    def wait_ready(self, timeout: float) -> bool:
        """Wait until a good file was read."""
        return self._ready.wait(timeout)

    def status(self) -> ProviderStatus:
        """Return how the file stands; the age is since it last held what is served."""
        status = self._status
        if self._flag_set is None or status.state is State.NOT_READY:
            return status
        return ProviderStatus(status.state, status.message, time.monotonic() - self._confirmed)

    def close(self, timeout: float = 2.0) -> None:
        """Stop watching."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        self._listener = None
        self._status = ProviderStatus(State.NOT_READY, "closed")

    def after_fork(self) -> None:
        """Watch again, with a thread of the child's own."""
        running = self._thread is not None and not self._stop.is_set()
        ready, self._ready, self._stop = self._ready.is_set(), threading.Event(), threading.Event()
        if ready:
            self._ready.set()
        if running:
            self._watch()

    # Managing

    def get(self, key: str) -> Flag | None:
        """Return the flag as the file has it now. Raises DocumentError for a bad file."""
        return self.list().flags.get(key)

    def list(self) -> FlagSet:
        """Read the file now. Raises DocumentError if it is bad or not there."""
        return self._parse(self._read())

    def _unsupported(self, capability: Capability) -> UnsupportedCapability | ReadOnly:
        if capability in (Capability.WRITE, Capability.SEGMENTS):
            return ReadOnly(
                f"flags of {self.path} are changed in that file",
                provider=self.name,
                hint="edit the file: it is read again within a second, or use sqlite:",
            )
        return UnsupportedCapability(capability.value, provider=self.name)

    # Watching

    def _watch(self) -> None:
        self._thread = threading.Thread(
            target=self._run,
            args=(self._stop,),
            name=f"downhaul-file-{self.path.name}",
            daemon=True,
        )
        self._thread.start()

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            pause = self._poll
            try:
                pause = self._look(stop)
            except Exception as error:  # noqa: BLE001  (a watch that dies would freeze the flags)
                _log.exception("watching %s failed", self.path)
                self._stand(State.STALE, f"watching {self.path} failed: {error!r}")
            stop.wait(pause)

    def _look(self, stop: threading.Event) -> float:
        """Read the file if it is another than before; return the seconds until the next look."""
        looked = time.monotonic()
        try:
            stamp = _stamp(self.path)
            if stamp == self._seen:
                if self._status.state is State.READY:
                    self._confirmed = looked
                return self._poll
            text = self.path.read_bytes()
            # Half a YAML or TOML file can be a good one with fewer flags. So what was written a
            # moment ago counts once it stood still for a moment.
            moving = stamp != _stamp(self.path) or (stamp != self._fresh and _age(stamp) < _SETTLE)
            self._fresh = stamp
            if moving:
                return min(_SETTLE, self._poll)
        except OSError as error:
            self._seen = None
            reason = error.strerror or type(error).__name__
            self._stand(State.STALE, f"{self.path} cannot be read: {reason}")
            return self._poll
        # Two writes within one tick of the file system's clock may leave the same stamp, so a
        # young file is read again until its stamp can be trusted.
        self._seen = stamp if _age(stamp) > _TICK else None
        if not stop.is_set():
            self._take(text, looked)
        return self._poll

    def _take(self, text: bytes, looked: float) -> None:
        if text != self._text:
            if text == self._refused:
                self._stand(State.STALE, self._reason)
                return
            try:
                flag_set = self._parse(text, str(self._revision + 1))
            except DocumentError as error:
                self._refused = text
                self._reason = str(error)
                _log.error("%s\nWhat was read before stays in force.", error)
                self._stand(State.STALE, self._reason)
                return
            self._revision += 1
            self._text, self._flag_set = text, flag_set
            if (listener := self._listener) is not None:
                listener.replaced(flag_set)
        self._refused = None
        self._confirmed = looked
        self._stand(State.READY, "")
        self._ready.set()

    def _stand(self, state: State, message: str) -> None:
        """Take up a status, and tell it if it is news. Stale needs something to be stale."""
        if self._flag_set is None and state is State.STALE:
            state = State.NOT_READY
        if (state, message) == (self._status.state, self._status.message):
            return
        self._status = ProviderStatus(state, message)
        if (listener := self._listener) is not None:
            listener.status_changed(self.status())

    def _parse(self, text: bytes, revision: str = "") -> FlagSet:
        """Return what the file says. Raises DocumentError with every problem."""
        from downhaul.documents import format_of, parse_document  # noqa: PLC0415  (pydantic: not at import)

        found = parse_document(text, format_of(str(self.path)), str(self.path))
        return FlagSet(found.flags, found.segments, revision)

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise DocumentError(f"cannot be read: {reason}", origin=str(self.path)) from error


def create(settings: Settings) -> FileProvider:
    """Return the provider of ``file:flags.toml``. Raises ConfigError for a URL without a path."""
    path = path_in(settings.provider.url)
    poll = settings.provider.options.get("poll") or _POLL
    return FileProvider(path, poll=float(poll))


def path_in(url: str) -> Path:
    """Return the path in ``file:flags.toml``, ``file:/etc/flags.toml`` or ``file:///etc/flags.toml``."""
    rest = url.partition(":")[2].partition("?")[0]
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if host not in ("", "localhost"):
            raise ConfigError(f'"{url}" names another host', hint=f"write file:{host}{slash}{rest}")
        rest = slash + rest
    if not rest:
        raise ConfigError(f'"{url}" names no file', hint="write file:flags.toml")
    return Path(unquote(rest))


def _stamp(path: Path) -> _Stamp:
    found = os.stat(path)  # noqa: PTH116  (one call less on every look)
    return _Stamp(found.st_mtime_ns, found.st_size, found.st_ino)


def _age(stamp: _Stamp) -> float:
    """Return the seconds since it was written, by two clocks that need not agree."""
    return abs(time.time() - stamp.modified / 1e9)
