"""Where a command's words go: data to stdout, everything else to stderr (rule X2).

In a terminal, tables and progress come from rich, which is imported when the first one is drawn.
Into a pipe or a file goes plain text, in columns that stay where they are. NO_COLOR and
``--no-color`` take the colours away.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final

import click

SCHEMA_VERSION: Final = 1
"""Of every ``--json`` document; raised when a field goes or changes its meaning."""

_GAP: Final = "  "
_SLOW: Final = 0.5  # seconds until progress shows itself


class Output:
    """What a command writes to. ``as_json`` asks for data that programs read."""

    def __init__(self, command: str, *, as_json: bool = False, color: bool = True) -> None:
        self.command = command
        self.as_json = as_json
        self._color = color and not os.environ.get("NO_COLOR")

    @property
    def colored(self) -> bool:
        """Whether colours may be used, where there is a terminal for them."""
        return bool(self._color)

    @property
    def terminal(self) -> bool:
        """Whether stdout is a terminal, and so drawn for eyes."""
        return sys.stdout.isatty()

    def json(self, body: dict[str, Any]) -> None:
        """Print one JSON document, with the schema's version and the command's name first."""
        document = {"schema_version": SCHEMA_VERSION, "command": self.command, **body}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=as_json))

    def json_line(self, body: dict[str, Any]) -> None:
        """Print one document of a stream on a line of its own, at once."""
        document = {"schema_version": SCHEMA_VERSION, "command": self.command, **body}
        click.echo(json.dumps(document, ensure_ascii=False, default=as_json))

    def line(self, text: str = "", *, style: str | None = None) -> None:
        """Print a line of data to stdout."""
        click.echo(self._styled(text, style, sys.stdout))

    def note(self, text: str) -> None:
        """Say something beside the data, on stderr."""
        click.echo(text, err=True)

    def warning(self, text: str) -> None:
        """Warn on stderr."""
        click.echo(f"{self._styled('warning:', 'yellow', sys.stderr)} {text}", err=True)

    def error(self, text: str) -> None:
        """Say on stderr what failed."""
        click.echo(f"{self._styled('error:', 'red', sys.stderr)} {text}", err=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print rows under their headings."""
        if self.terminal:
            self._draw(columns, rows)
            return
        cells = [[one.upper() for one in columns], *[[_flat(one) for one in row] for row in rows]]
        widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
        for row in cells:
            padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            click.echo(_GAP.join(padded).rstrip())

    def fields(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Print names with their values; further lines of a value stand under its first."""
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            first, *more = value.splitlines() or [""]
            label = self._styled(name.ljust(width), "dim", sys.stdout)
            click.echo(f"{label}{_GAP}{first}".rstrip())
            for line in more:
                click.echo(f"{' ' * width}{_GAP}{line}")

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Give a function to call with how much is done, and of how much.

        In a terminal it draws a bar on stderr, after half a second. Elsewhere it is quiet.
        """
        if not sys.stderr.isatty():
            yield lambda _done, _total: None
            return
        import time  # noqa: PLC0415  (only here)

        started = time.monotonic()
        bar: list[Any] = []

        def advance(done: int, total: int) -> None:
            if not bar and time.monotonic() - started > _SLOW:
                bar.extend(_bar(what, total, color=self._color))
            if bar:
                bar[0].update(bar[1], completed=done, total=total)

        try:
            yield advance
        finally:
            if bar:
                bar[0].stop()

    def _draw(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich import box  # noqa: PLC0415  (84 ms, for eyes only)
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*[Text(cell) for cell in row])
        Console(no_color=not self._color).print(table)

    def _styled(self, text: str, style: str | None, stream: IO[str]) -> str:
        if style is None or not self._color or not stream.isatty():
            return text
        return click.style(text, dim=True) if style == "dim" else click.style(text, fg=style)


def as_json(value: Any) -> Any:
    """Return what stands for a value that JSON doesn't know: for :func:`json.dumps`."""
    if hasattr(value, "as_mapping"):
        return value.as_mapping()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)


def _bar(what: str, total: int, *, color: bool) -> tuple[Any, Any]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415
    from rich.progress import TimeRemainingColumn as Remaining  # noqa: PLC0415

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Remaining(),
        console=Console(stderr=True, no_color=not color),
        transient=True,
    )
    bar.start()
    return bar, bar.add_task(what, total=total)


def plain(text: str) -> str:
    """Return text in which nothing moves a terminal's cursor: what is not printed is written out.

    For what comes from whoever asked an application, and not from who runs the command.
    """
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _flat(cell: str) -> str:
    # A row is a line: what tools like cut and awk read must not break in two.
    return " ".join(cell.split()) if "\n" in cell or "\t" in cell else cell
