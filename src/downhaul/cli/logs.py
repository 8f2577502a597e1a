"""What the library logs, while a command runs: warnings on stderr as the command's own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from downhaul.cli.output import Output


class _ToOutput(logging.Handler):
    """Gives records to the output of the command, each once."""

    def __init__(self, out: Output) -> None:
        super().__init__(logging.WARNING)
        self._out = out
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Warn, unless it was said before or the command says it itself."""
        text = record.getMessage()
        if record.name != "downhaul.alerts" and text not in self._said:
            self._said.add(text)
            self._out.warning(text)


@contextmanager
def logged(out: Output, *, silent: bool) -> Iterator[None]:
    """Show what is logged meanwhile; ``silent`` for commands that report the same as data."""
    log = logging.getLogger("downhaul")
    handler: logging.Handler = logging.NullHandler() if silent else _ToOutput(out)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
