"""Controllers in processes of their own: started, killed, stopped, and woken up."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, Self

from downhaul.demo.controller import LEASE, TICK
from downhaul.errors import DownhaulError

_ANSWER: Final = 60.0  # seconds for a word of a controller, on a busy machine
_END: Final = 10.0


class ControllerProcess:
    """One controller. As a context manager it is gone at the end, whatever became of it."""

    def __init__(self, arguments: Sequence[str], folder: Path, name: str) -> None:
        environment = {**os.environ, "DOWNHAUL_CACHE_DIR": str(folder)}
        self.log = folder / f"controller-{name}.log"
        with self.log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603  (our own module, on this interpreter)
                [sys.executable, "-m", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                cwd=folder,
                text=True,
            )
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        assert self._process.stdout is not None  # noqa: S101  (asked for above)
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    @classmethod
    def running(cls, url: str, folder: Path, name: str) -> Self:
        """Start ``downhaul controller run``."""
        times = ("--tick", f"{TICK:g}s", "--lease", f"{LEASE:g}s")
        return cls(("downhaul", "controller", "run", "--url", url, *times), folder, name)

    @classmethod
    def stopping(cls, url: str, folder: Path, name: str, *, writes: int) -> Self:
        """Start one that stops itself before its ``writes``-th write, with the lease in hand."""
        return cls(("downhaul.demo.controller", url, str(writes)), folder, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def kill(self) -> None:
        """Send SIGKILL: it has no time for anything."""
        self._process.kill()
        self._process.wait()

    def wake(self) -> None:
        """Send SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def expect(self, word: str) -> None:
        """Wait until it says a word. Raises DownhaulError if it never does."""
        while True:
            try:
                said = self._said.get(timeout=_ANSWER)
            except queue.Empty:
                said = ""
            if said == word:
                return
            if not said:
                message = f'a controller of the demo never said "{word}"'
                raise DownhaulError(message, hint="\n".join(last_lines(self.log)) or None)

    def end(self) -> None:
        """Let it end in order: at SIGTERM it gives back what it holds."""
        if self._process.poll() is None:
            self.wake()
            self._process.terminate()
            try:
                self._process.wait(_END)
            except subprocess.TimeoutExpired:
                self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _listen(self, output: IO[str]) -> None:
        for line in output:
            self._said.put(line.strip())
        self._said.put("")


def last_lines(log: Path, count: int = 5) -> list[str]:
    """Return the last lines that a controller logged."""
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
