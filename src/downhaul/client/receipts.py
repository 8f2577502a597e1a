"""Telling the control store which kills this process obeys: the receipts of a kill (rule K6).

The thread that hears of kills only notes what is in force, and since when. A thread of its own
writes it down, in passing: soon after a kill, and now and then to say that it is still there. How
soon is drawn by lot, over a span that grows with the fleet, so that a thousand processes don't
write at once. A process that ends takes its row with it; one that ends within a second has none.

Nothing waits for any of this: a store that is away or gives no right to it costs receipts, and no
kill.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import sys
import threading
import time
import uuid
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from downhaul._version import __version__
from downhaul.errors import NoRight, SchemaMissing

if TYPE_CHECKING:
    from downhaul.store.processes import Follower

_log: Final = logging.getLogger("downhaul.receipts")

FIRST: Final = (0.5, 1.0)
"""Seconds of its life after which a process tells of itself for the first time, by lot."""

BEAT: Final = 30.0
"""Seconds after which a process says again that it is there, in a small fleet."""

_EACH: Final = 0.005
"""Seconds that a fleet takes for each of its processes to write: 200 a second, all together."""

_BEATS: Final = 0.05  # seconds between two heartbeats of a large fleet, all together
_LEAST_SPREAD: Final = 0.05
_GAP: Final = 0.2  # seconds between two writes of one process, at least
_GRACE: Final = 15.0  # seconds beyond a heartbeat's time, until a process counts as silent
_LONGEST: Final = 30.0  # seconds between two tries at a store that is away
_NO_RIGHT: Final = 600.0  # seconds until a right that was missing is asked for again
_NO_TABLES: Final = 60.0  # seconds until a table that was missing is looked for again
_NAME: Final = 120  # characters of a name that are kept
_AT_EXIT: Final = 1.0


class Register(Protocol):
    """Where processes tell: what is needed of :class:`downhaul.store.processes.Processes`."""

    @property
    def writes_after_fork(self) -> bool:
        """Whether a forked child may tell, beside a parent that follows as well."""

    def acknowledge(
        self, who: Follower, sequence: int, *, ago: float, again_in: float, forks: int = 0
    ) -> int:
        """Say what ``who`` obeys; return how many there are."""

    def leave(self, who: Follower) -> None:
        """Say that ``who`` has ended."""

    def sweep(self) -> None:
        """Forget those that ended long ago without a word."""


class Receipts:
    """Tells of one client, to a ``register``; None is a store that keeps no receipts."""

    def __init__(self, register: Register | None, application: str = "") -> None:
        self._register = register
        self._application = (application or _program())[:_NAME]
        self._warned = False
        self._begin(forked=False)

    def _begin(self, *, forked: bool) -> None:
        self._forked = forked
        self._obeyed: tuple[int, float] | None = None
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._who: Follower | None = None
        self._told = False
        self._deaf = False
        self._fleet = 1
        self._failures = 0
        self._forks = 0

    def obeyed(self, sequence: int) -> None:
        """Note that every kill and revive up to ``sequence`` is in force here, from now on.

        Called by the thread that hears of kills: it waits for nothing here.
        """
        known = self._obeyed
        if self._register is None:
            return
        if known is not None and sequence <= known[0]:
            return
        self._obeyed = sequence, time.monotonic()
        if self._thread is None:
            self._start()
        self._wake.set()

    def close(self, timeout: float) -> None:
        """Take this process out of the register, within ``timeout`` seconds."""
        self._closing.set()
        self._wake.set()
        with self._starting:  # a thread that is being started can't be waited for yet
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def after_fork(self) -> None:
        """Tell in a forked child as somebody else: the parent goes on telling of itself."""
        known, running = self._obeyed, self._thread is not None and not self._closing.is_set()
        self._begin(forked=True)
        if running and known is not None:
            self._obeyed = known
            self._start()

    def forked(self) -> None:
        """Note in the parent that there is one more child."""
        self._forks += 1

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None or self._closing.is_set():
                return
            self._thread = threading.Thread(target=self._run, name="downhaul-receipts", daemon=True)
            _open.add(self)
            self._thread.start()

    def _run(self) -> None:
        register = self._register
        if register is None or (self._forked and not register.writes_after_fork):
            return
        self._closing.wait(random.uniform(*FIRST) + self._lot())  # noqa: S311  (lots)
        while not self._closing.is_set():
            self._wake.clear()
            again_in, written = self._tell(register), time.monotonic()
            (self._closing if self._deaf else self._wake).wait(again_in)
            gap = max(0.0, written + _GAP - time.monotonic())
            self._closing.wait(gap + self._lot())
        self._leave(register)

    def _lot(self) -> float:
        """Return for how many seconds to hold back, so that a fleet doesn't write all at once."""
        return random.uniform(0, max(_LEAST_SPREAD, _EACH * self._fleet))  # noqa: S311

    def _tell(self, register: Register) -> float:
        """Tell the store; return in how many seconds it is time again."""
        assert self._obeyed is not None  # noqa: S101  (who has obeyed nothing yet has no thread)
        sequence, since = self._obeyed
        every = max(BEAT, _BEATS * self._fleet)
        told, self._told, self._deaf = self._told, False, False
        try:
            if self._who is None:
                self._who = _follower(self._application)
            if not told:
                register.sweep()
            self._fleet = register.acknowledge(
                self._who,
                sequence,
                ago=time.monotonic() - since,
                again_in=every + _GRACE,
                forks=0 if register.writes_after_fork else self._forks,
            )
        except NoRight as error:
            self._deaf = True  # a kill is no reason to ask again for a right
            return self._cannot(error, _NO_RIGHT)
        except SchemaMissing as error:
            return self._cannot(error, _NO_TABLES)
        except Exception as error:  # noqa: BLE001  (receipts are worth no application)
            # Of a store that is away, the thread that follows it tells.
            _log.info("which kills are obeyed can't be told: %s", error)
            self._failures += 1
            return min(_LONGEST, 2.0**self._failures) * random.uniform(0.5, 1.0)  # noqa: S311
        self._told, self._warned, self._failures = True, False, 0
        return every * random.uniform(0.8, 1.0)  # noqa: S311

    def _cannot(self, error: Exception, again_in: float) -> float:
        if not self._warned:
            _log.warning("this process obeys kills, and can't tell that it does: %s", error)
        self._warned = True
        return again_in

    def _leave(self, register: Register) -> None:
        if not self._told or self._who is None:
            return
        try:
            register.leave(self._who)
        except Exception as error:  # noqa: BLE001  (its silence tells the same, some time later)
            _log.info("the end of this process can't be told: %s", error)


def _follower(application: str) -> Follower:
    from downhaul.store.processes import Follower  # noqa: PLC0415  (SQLAlchemy)

    return Follower(
        id=uuid.uuid4().hex,
        process=_process(),
        host=os.uname().nodename[:_NAME],
        pid=os.getpid(),
        application=application,
        version=__version__,
    )


def _program() -> str:
    """Return what this process runs, for who gave it no name: ``gunicorn``, ``worker.py``."""
    path = Path(sys.argv[0] if sys.argv else "")
    name = path.parent.name if path.name == "__main__.py" else path.name
    return name if name not in ("", "-c", "-") else Path(sys.executable or "python").name


_token: tuple[int, str] = (0, "")


def _process() -> str:
    """Return the name of this process among all that ever were, whatever its number."""
    global _token  # noqa: PLW0603  (one for the process, and another one after a fork)
    if _token[0] != os.getpid():
        _token = os.getpid(), uuid.uuid4().hex
    return _token[1]


_open: weakref.WeakSet[Receipts] = weakref.WeakSet()


def _at_exit() -> None:
    """Take out of the register what an application forgot to close; all within a second."""
    until = time.monotonic() + _AT_EXIT
    for one in tuple(_open):
        one.close(max(0.0, until - time.monotonic()))


def _after_fork_in_parent() -> None:
    for one in tuple(_open):
        one.forked()


atexit.register(_at_exit)
os.register_at_fork(after_in_parent=_after_fork_in_parent)
