"""One thread that follows a store: flags, segments and kills, for everybody in this process.

It loads whole at first, then what is newer than what it has. A backend's :class:`Signal` says when
to look: SQLite's looks at the file, PostgreSQL's listens. Lost connections are tried again with
jittered delays; meanwhile everything known goes on being served, and :meth:`Watcher.status` says
how old it is.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from downhaul.errors import DownhaulError, SchemaMissing
from downhaul.flag import Flag, FlagSet, FlagSetDelta, Segment
from downhaul.overlay import KillRecord
from downhaul.provider import ProviderStatus, State
from downhaul.store import reading
from downhaul.store.database import Database
from downhaul.store.reading import Position, Rows

_log: Final = logging.getLogger("downhaul.store")
_FIRST_DELAY: Final = 0.05  # seconds until a lost store is tried again; doubles up to ...
_LAST_DELAY: Final = 2.0
_parents: Final[list[Any]] = []  # what a forked child holds of its parent, and must never close


@dataclass(frozen=True, slots=True)
class News:
    """What a signal brought: a change that needs no reading, or only that there is something."""

    payload: Mapping[str, Any] | None = None


class Moved(Exception):
    """The store is to be read on a new connection, at once; nothing is lost."""


class Signal(Protocol):
    """How a backend tells the watcher when to look. Made anew for each connection."""

    def connect(self) -> Any:
        """Open and return the connection that everything is read on. May raise a driver's error."""

    def wait(self) -> Sequence[News] | None:
        """Wait a while for news. Empty is "look", None is "nothing moved, and all is well".

        Raises Moved where the store is another one, and anything else where it is gone.
        """

    def close(self) -> None:
        """Close the connection. Raises nothing."""

    def interrupt(self) -> None:
        """Make a blocked :meth:`wait` return or raise soon; called from other threads."""


class Watcher:
    """Follows one environment of one store, and keeps what it last knew.

    ``on_flags`` gets whole sets and deltas, ``on_kills`` words of the register; both are called on
    the watcher's thread only.
    """

    def __init__(
        self,
        database: Database,
        environment: str,
        make_signal: Callable[[], Signal],
        *,
        stale_after: float,
    ) -> None:
        self._database = database
        self._environment = environment
        self._make_signal = make_signal
        self._stale_after = stale_after
        self._on_flags: list[Callable[[FlagSet | FlagSetDelta], None]] = []
        self._on_kills: list[Callable[[Sequence[KillRecord]], None]] = []
        self._on_status: list[Callable[[ProviderStatus], None]] = []
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._loaded = threading.Event()
        self._reached = threading.Event()
        self._answered = threading.Event()
        self._thread: threading.Thread | None = None
        self._signal: Signal | None = None
        self._position = Position()
        self._flags: dict[str, Flag] = {}
        self._segments: dict[str, Segment] = {}
        self._kills: dict[tuple[str, str], KillRecord] = {}
        self._broken: dict[str, str] = {}
        self._confirmed: float | None = None
        self._trouble = "not started"
        self._told: State | None = None

    # What others call

    def follow(
        self,
        *,
        flags: Callable[[FlagSet | FlagSetDelta], None] | None = None,
        kills: Callable[[Sequence[KillRecord]], None] | None = None,
        status: Callable[[ProviderStatus], None] | None = None,
    ) -> None:
        """Call back from now on, beginning with what is known; start the thread if need be."""
        with self._lock:
            if flags is not None:
                self._on_flags.append(flags)
                if self._loaded.is_set():
                    flags(self._flag_set())
            if kills is not None:
                self._on_kills.append(kills)
                if self._loaded.is_set():
                    kills(list(self._kills.values()))
            if status is not None:
                self._on_status.append(status)
            if self._thread is None:
                self._trouble = "connecting"
                self._thread = threading.Thread(
                    target=self._run, name="downhaul-watcher", daemon=True
                )
                self._thread.start()

    @property
    def identity(self) -> str:
        """The store's identity, as it was last read."""
        return self._position.identity

    def wait_loaded(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the first whole read."""
        return self._loaded.wait(timeout)

    def wait_answered(self, to_connect: float, to_read: float) -> bool:
        """Wait until the first try to read has ended, well or not; return whether it did.

        One that has connected by then has ``to_read`` seconds more.
        """
        if self._answered.wait(to_connect):
            return True
        return self._reached.is_set() and self._answered.wait(to_read)

    def status(self) -> ProviderStatus:
        """Return how the store stands: READY while it answers, STALE with an age after that."""
        confirmed, trouble = self._confirmed, self._trouble
        if confirmed is None:
            return ProviderStatus(State.NOT_READY, trouble)
        age = max(0.0, time.monotonic() - confirmed)
        if trouble or age > self._stale_after:
            return ProviderStatus(State.STALE, trouble or "the store does not answer", age)
        message = f"unreadable, kept as they were: {', '.join(sorted(self._broken))}"
        return ProviderStatus(State.READY, message if self._broken else "", age)

    def close(self, timeout: float) -> None:
        """Stop the thread within ``timeout`` seconds."""
        self._stop.set()
        thread, signal = self._thread, self._signal
        if signal is not None:
            signal.interrupt()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def after_fork(self) -> None:
        """Begin again in a forked child, on connections of its own; what is known still serves."""
        if self._process == os.getpid():
            return  # flags and kills share this watcher, and both ask
        running = self._thread is not None and not self._stop.is_set()
        kept = self._on_flags, self._on_kills, self._on_status
        confirmed, broken = self._confirmed, self._broken
        _parents.append(self._signal)  # closing it here would end the parent's session
        self._database.engine.dispose(close=False)
        self._reset()
        self._on_flags, self._on_kills, self._on_status = kept
        self._confirmed, self._broken = confirmed, broken
        if running:
            self.follow()

    # The thread

    def _run(self) -> None:
        delay = _FIRST_DELAY
        while not self._stop.is_set():
            signal = self._make_signal()
            self._signal = signal
            try:
                connection = signal.connect()
                self._reached.set()
                self._load(connection)
                delay = _FIRST_DELAY
                while not self._stop.is_set():
                    news = signal.wait()
                    if news is not None:
                        self._take(connection, news)
                    self._confirm()
            except Moved as moved:
                _log.info("%s", moved)
                continue
            except Exception as error:  # noqa: BLE001  (whatever it is, the thread goes on)
                self._lost(error)
                self._answered.set()
            finally:
                signal.close()
            # Half of it is chance, so that a fleet doesn't come back all at once.
            self._stop.wait(delay * random.uniform(0.5, 1.0))  # noqa: S311
            delay = min(delay * 2, _LAST_DELAY)

    def _confirm(self) -> None:
        self._confirmed = time.monotonic()
        self._trouble = ""
        self._tell_status()

    def _lost(self, error: Exception) -> None:
        if self._stop.is_set():
            return
        ours = error if isinstance(error, DownhaulError) else self._database.ours(error)
        if not isinstance(error, DownhaulError) and not self._database.knows(error):
            _log.error("following %s failed", self._database.safe_url, exc_info=error)
        if self._trouble != str(ours):
            level = logging.INFO if isinstance(ours, SchemaMissing) else logging.WARNING
            _log.log(level, "%s", ours)
        self._trouble = str(ours)
        self._tell_status()

    def _tell_status(self) -> None:
        status = self.status()
        if status.state is not self._told:
            self._told = status.state
            for callback in self._on_status:
                callback(status)

    def _load(self, connection: Any) -> None:
        """Read what is newer than what is known, or everything where that can't be trusted.

        All of it as it was at one moment. Were flags read later than kills, one that was raised
        under a kill would be served until the kill is read (rule K5).
        """
        with self._database.at_one_moment(connection):
            take_up = self._read(connection)
        take_up()
        self._confirm()

    def _read(self, connection: Any) -> Callable[[], None]:
        """Read, and return what is left to do with it."""
        found = reading.position(connection, self._database.tables, self._environment)
        if not found.identity:
            raise SchemaMissing(
                f"{self._database.safe_url} has no tables of Downhaul",
                hint="run: downhaul db upgrade",
                provider=self._database.provider,
            )
        known = self._position
        if not self._loaded.is_set() or found.identity != known.identity:
            return self._read_all(
                connection, found, "" if not known.identity else "is another store now"
            )
        if not self._goes_on(connection, known, found):
            return self._read_all(
                connection, found, "went back to an earlier state (a restored backup?)"
            )
        return self._read_newer(connection, found)

    def _goes_on(self, connection: Any, known: Position, found: Position) -> bool:
        """Return whether what is known is part of what the store says now."""
        if found.revision < known.revision or found.kills < known.kills:
            return False
        if found.revision == known.revision:
            return found.token == known.token
        # A backup that was restored and then written to may stand at a later revision than ours.
        return reading.remembers(connection, self._database.tables, known.token)

    def _read_all(self, connection: Any, found: Position, why: str) -> Callable[[], None]:
        if why:
            _log.warning("%s %s: read whole", self._database.safe_url, why)
        tables, environment = self._database.tables, self._environment
        kills = reading.kill_records(connection, tables, environment, found.identity)
        rows = reading.rows_since(connection, tables, environment, -1)
        return lambda: self._replace(found.identity, rows, kills)

    def _replace(self, identity: str, rows: Rows, kills: Sequence[KillRecord]) -> None:
        with self._lock:
            same = identity == self._position.identity
            last_flags = self._flags if same else {}
            last_segments = self._segments if same else {}
            self._flags = _present(rows.flags, rows.broken, "flag", last_flags)
            self._segments = _present(rows.segments, rows.broken, "segment", last_segments)
            self._kills = {(one.environment, str(one.scope)): one for one in kills}
            self._broken = dict(rows.broken)
            self._position = Position(identity, rows.revision, rows.token, _highest(kills))
            # Kills first: a kill is in force before the first flag is.
            _tell(self._on_kills, kills)
            _tell(self._on_flags, self._flag_set())
            self._loaded.set()
            self._answered.set()

    def _read_newer(self, connection: Any, found: Position) -> Callable[[], None]:
        tables, environment, known = self._database.tables, self._environment, self._position
        rows: Rows | None = None
        records: list[KillRecord] = []
        if found.kills > known.kills:
            records = reading.kill_records(
                connection, tables, environment, found.identity, known.kills
            )
        if found.revision > known.revision:
            rows = reading.rows_since(connection, tables, environment, known.revision)
        return lambda: self._add(rows, records)

    def _add(self, rows: Rows | None, records: Sequence[KillRecord]) -> None:
        """Take up what is new: kills, then flags, then revives.

        A kill is in force before anything else. A revive comes after a flag was set to its first
        step (rule K5), so that whoever hears of it must have the flag by then.
        """
        kills = [one for one in records if one.killed]
        if kills:
            with self._lock:
                _tell(self._on_kills, kills)
        if rows is not None:
            self._apply(rows)
        if records:
            self._apply_kills(records)

    def _take(self, connection: Any, news: Sequence[News]) -> None:
        for one in news:
            if one.payload is None or not self._applies(one.payload):
                break
        else:
            if news:
                return
        self._load(connection)

    def _applies(self, payload: Mapping[str, Any]) -> bool:
        try:
            return self._apply_payload(payload)
        except reading.BROKEN as error:
            # Somebody else's words on our channel, or a row that nobody can decode: read the rows.
            _log.warning("a notification can't be understood, so it is looked up: %r", error)
            return False

    def _apply_payload(self, payload: Mapping[str, Any]) -> bool:
        """Apply a change that came with the news; False if it has to be read."""
        if payload.get("e") not in (self._environment, reading.ALL_ENVIRONMENTS):
            return True
        if payload.get("t") == "kill":
            if "d" not in payload:
                return False
            self._apply_kills([KillRecord.from_mapping(payload["d"])])
            return True
        known = self._position
        revision, token = payload["r"], payload["n"]
        if (revision, token) == (known.revision, known.token):
            return True  # it was committed just before it was read
        if (revision, payload["p"]) != (known.revision + 1, known.token) or "d" not in payload:
            return False
        key, document = payload["k"], payload["d"]
        if payload["t"] == "flag":
            flags = {key: reading.read_flag(key, document, revision)}
            self._apply(Rows(revision, token, flags, {}, {}))
        else:
            segments = {key: reading.read_segment(key, document, revision)}
            self._apply(Rows(revision, token, {}, segments, {}))
        return True

    def _apply(self, rows: Rows) -> None:
        with self._lock:
            self._flags = _changed(self._flags, rows.flags)
            self._segments = _changed(self._segments, rows.segments)
            read = {f"flag {key}" for key in rows.flags} | {
                f"segment {key}" for key in rows.segments
            }
            self._broken = {
                **{name: why for name, why in self._broken.items() if name not in read},
                **rows.broken,
            }
            self._position = replace(self._position, revision=rows.revision, token=rows.token)
            _tell(self._on_flags, FlagSetDelta(rows.flags, rows.segments, str(rows.revision)))

    def _apply_kills(self, records: Sequence[KillRecord]) -> None:
        with self._lock:
            for record in records:
                self._kills[record.environment, str(record.scope)] = record
            highest = max(self._position.kills, _highest(records))
            self._position = replace(self._position, kills=highest)
            _tell(self._on_kills, records)

    def _flag_set(self) -> FlagSet:
        return FlagSet(dict(self._flags), dict(self._segments), str(self._position.revision))


def _tell(callbacks: Sequence[Callable[[Any], None]], news: Any) -> None:
    """Call everybody. One that fails keeps no other, and no later change, from being heard."""
    for callback in callbacks:
        try:
            callback(news)
        except Exception:  # noqa: BLE001  (whatever it is, it is the listener's)
            _log.exception("a listener failed on a change")


def _present(
    found: Mapping[str, Any], broken: Mapping[str, str], what: str, last: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is there, with the last good one of each row that could not be read."""
    kept = {key: one for key, one in last.items() if f"{what} {key}" in broken}
    return {**kept, **{key: one for key, one in found.items() if one is not None}}


def _changed(known: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for key, one in changes.items():
        if one is None:
            known.pop(key, None)
        else:
            known[key] = one
    return known


def _highest(records: Sequence[KillRecord]) -> int:
    return max((one.sequence for one in records), default=0)
