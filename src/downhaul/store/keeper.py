"""Keeps the kills that a process knows of, whatever happens to the places it knows them from."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from downhaul.overlay import KillRecord, KillRegister, Overlay
from downhaul.provider import ControlStore, ProviderStatus, utc_now
from downhaul.store.breakglass import KillFile, Named, parse_names
from downhaul.store.lastknown import KillCopy, copies_of

if TYPE_CHECKING:
    from downhaul.config import Settings

_log: Final = logging.getLogger("downhaul.store")
_POLL: Final = 0.25  # seconds between looks at the kill file
_AGAIN: Final = 2.0  # seconds until a copy that could not be written is tried again
_VARIABLE: Final = "DOWNHAUL_KILL"


class KillKeeper:
    """Joins the control store's words, the break-glass file and variable, and the copy on disk.

    ``on_overlay`` is called with the kills in force whenever they change, and once when the control
    store has been read for the first time; ``on_obeyed`` with the sequence up to which the control
    store's words are in force, each time after it has spoken. No source can take back what another
    one said; see :class:`downhaul.overlay.KillRegister`.
    """

    def __init__(
        self,
        control: ControlStore | None,
        copy: KillCopy | None,
        kill_file: Path | None,
        names: str,
        on_overlay: Callable[[Overlay], None],
    ) -> None:
        self._control = control
        self._copy = copy
        self._kill_file = None if kill_file is None else KillFile(kill_file)
        self._variable = parse_names(names, _VARIABLE)
        self._on_overlay = on_overlay
        self.on_obeyed: Callable[[int], None] = lambda _sequence: None
        self._register = KillRegister()
        self._copied = False
        self._heard = False
        self._unsaved = False
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._save = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def register(self) -> KillRegister:
        """Everything known now; frozen."""
        return self._register

    @property
    def unknown(self) -> bool:
        """Whether a store is configured and neither it nor a copy of it could be read."""
        return self._control is not None and not self._heard and not self._copied

    def start(self) -> None:
        """Bring into force what this machine's disk says, then follow the store and the file."""
        kept = None if self._copy is None else self._copy.load()
        self._copied = kept is not None
        with self._lock:
            self._publish(KillRegister() if kept is None else kept)
        if self._unsaved:
            self._join()  # now, so that what the variable names outlives this process in any case
        self._begin_thread()
        if self._control is not None:
            self._control.start(self)

    def kills(self, records: Iterable[KillRecord]) -> None:
        """Take in the control store's words (KillListener)."""
        said = tuple(records)
        with self._lock:
            first, self._heard = not self._heard, True
            self._publish(self._register.hear(said), always=first)
        self.on_obeyed(max((one.sequence for one in said), default=0))

    def wait_ready(self, timeout: float) -> bool:
        """Wait for the control store's first word, up to ``timeout`` seconds."""
        return True if self._control is None else self._control.wait_ready(timeout)

    def status(self) -> ProviderStatus | None:
        """Return how the control store stands; None without one."""
        return None if self._control is None else self._control.status()

    @property
    def trouble(self) -> str:
        """What is wrong with the copy or the kill file, or nothing."""
        told = ["" if self._copy is None else self._copy.trouble]
        told.append("" if self._kill_file is None else self._kill_file.trouble)
        return "; ".join(filter(None, told))

    def close(self, timeout: float = 2.0) -> None:
        """Stop within ``timeout`` seconds."""
        if self._control is not None:
            self._control.close(timeout)
        self._stop.set()
        self._save.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def after_fork(self) -> None:
        """Follow the store and the file again in a forked child."""
        running = self._thread is not None and not self._stop.is_set()
        self._reset()
        if running:
            self._begin_thread()
        if self._control is not None:
            self._control.after_fork()

    def _begin_thread(self) -> None:
        if self._kill_file is not None or self._copy is not None:
            self._thread = threading.Thread(target=self._run, name="downhaul-kills", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        """Look at the kill file and write the copy, where a slow disk keeps nobody waiting."""
        again = None if self._kill_file is None else _POLL
        while True:
            self._save.wait(again or (_AGAIN if self._unsaved else None))
            self._save.clear()
            try:
                with self._lock:
                    self._publish(self._register)
                if self._unsaved:
                    self._join()
            except Exception:  # noqa: BLE001  (logged below, and the thread lives on)
                # The next look may go better; a kill must never be lost to a thread that died.
                _log.exception("looking at the kill file failed")
            if self._stop.is_set():
                return

    def _join(self) -> None:
        """Join the register with the copy on disk. What another process knew comes into force."""
        if self._copy is None:
            return
        self._unsaved = False
        joined = self._copy.join(self._register)
        if joined is None:
            self._unsaved = True
            return
        with self._lock:
            self._publish(self._register.hear(joined.words.values()), saved=True)

    def _publish(
        self, register: KillRegister, *, always: bool = False, saved: bool = False
    ) -> None:
        """Put a register in force, together with what the break-glass names at this moment."""
        named = self._named()
        register = register.observe(
            named.killed,
            named.revived,
            sequence=time.time_ns() // 1000,
            at=utc_now(),
            origin=_VARIABLE if self._kill_file is None else str(self._kill_file.path),
        )
        if register is self._register and not always:
            return
        self._register = register
        # In force first, on disk second: the disk may be slow.
        self._on_overlay(register.overlay())
        if self._copy is not None and not saved:
            self._unsaved = True
            self._save.set()

    def _named(self) -> Named:
        return (
            self._variable if self._kill_file is None else self._variable | self._kill_file.read()
        )


def keeper_for(
    settings: Settings, control: ControlStore | None, on_overlay: Callable[[Overlay], None]
) -> KillKeeper:
    """Return the keeper that a configuration asks for, with its copy in ``settings.cache_dir``."""
    url = settings.control.safe_url or settings.provider.safe_url
    # What a process keeps in its memory alone is nothing that the next one should be told.
    directory = None if url.startswith("memory:") else settings.cache_dir
    paths = copies_of(directory, url, settings.environment)
    return KillKeeper(
        control,
        None if paths is None else KillCopy(paths[1]),
        settings.control.kill_file,
        settings.control.kill_names,
        on_overlay,
    )
