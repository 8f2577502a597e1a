"""Following a rollout: redrawn in place in a terminal, elsewhere a line for each change."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from downhaul.cli import rollout_words as words
from downhaul.cli.exits import Exit
from downhaul.cli.gate_words import needs_a_person
from downhaul.cli.output import Output
from downhaul.cli.rollout_render import rollout_data
from downhaul.cli.rollout_tree import Line, headline, signs_for, tree
from downhaul.errors import Unreachable
from downhaul.rollout.results import Rollout
from downhaul.rollout.state import Phase

if TYPE_CHECKING:
    from rich.text import Text

LOOK: Final = 1.0  # seconds between two looks
_BAD: Final = 3
_HELD: Final = 4

Fetch = Callable[[], Rollout]
Show = Callable[[Rollout], None]


class Clock:
    """The seconds that pass while somebody watches."""

    def now(self) -> float:
        """Return the time in seconds, from whenever."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


CLOCK: Final = Clock()


def outcome(rollout: Rollout) -> int | None:
    """Return the exit code for whoever waits for a rollout; None while it goes on by itself."""
    match rollout.phase:
        case Phase.COMPLETED:
            return Exit.OK
        case Phase.PAUSED:
            return _HELD
        case Phase.STARTING | Phase.PROGRESSING if needs_a_person(rollout):
            return _HELD
        case Phase.STARTING | Phase.PROGRESSING | Phase.ROLLING_BACK | Phase.REVERTING:
            return None
        case _:
            return _BAD


def follow(
    fetch: Fetch,
    show: Show,
    out: Output,
    *,
    wait: bool,
    timeout: float | None = None,
    clock: Clock = CLOCK,
) -> int:
    """Show the rollout at every look until it has ended; return the exit code.

    With ``wait``, until it needs a person as well, and no longer than ``timeout`` seconds; the code
    then says how it went. A store that is away is asked again.
    """
    until = None if timeout is None else clock.now() + timeout
    away = alone = False
    while True:
        try:
            rollout = fetch()
        except Unreachable as error:
            if not away:
                out.warning(f"{error.message}; asking again")
            away = True
        else:
            away = False
            show(rollout)
            code = outcome(rollout)
            if code is not None and (wait or not rollout.state.live):
                return code if wait else Exit.OK
            if not rollout.controllers and not alone and not out.terminal:
                out.warning(words.NOBODY)
            alone = not rollout.controllers
        if until is not None and clock.now() >= until:
            out.error("the time to wait is over, and the rollout has not come to an end")
            return Exit.UNREACHABLE
        clock.wait(LOOK)


@contextmanager
def shown(out: Output) -> Iterator[Show]:
    """Give a function that shows a rollout, in the way that suits where the words go."""
    if out.as_json:
        yield _changes(lambda one: out.json_line(rollout_data(one)), rollout_data)
    elif out.terminal:
        with _drawn(out) as show:
            yield show
    else:
        signs = signs_for(sys.stdout.encoding)
        yield _changes(
            lambda one: out.line(f"{words.moment(one.now)}  {headline(one, signs)}{_why(one)}"),
            _standing,
        )


def print_tree(out: Output, rollout: Rollout) -> None:
    """Print the tree once."""
    for line in tree(rollout, signs_for(sys.stdout.encoding)):
        out.line(fitting(line.text), style=line.style)


def fitting(text: str, encoding: str | None = None) -> str:
    """Return the text as stdout can encode it; what it can't becomes a question mark."""
    encoding = encoding or sys.stdout.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding)


def _changes(show: Show, of: Callable[[Rollout], Any]) -> Show:
    """Return a function that shows a rollout only where something of it changed."""
    last: list[Any] = [None]

    def changed(rollout: Rollout) -> None:
        found = of(rollout)
        if found != last[0]:
            last[0] = found
            show(rollout)

    return changed


def _standing(rollout: Rollout) -> tuple[Any, ...]:
    """Return what a plain line is worth: not that time passes, but that something happened."""
    state = rollout.state
    verdicts = tuple((one.check, one.verdict) for one in rollout.findings)
    return (state.phase, state.step, state.entered, state.because, state.hold, state.act, verdicts)


def _why(rollout: Rollout) -> str:
    text = words.trouble(rollout) or words.why(rollout)
    return f"   {fitting(text)}" if text else ""


@contextmanager
def _drawn(out: Output) -> Iterator[Show]:
    from rich.console import Console  # noqa: PLC0415  (84 ms, for eyes only)
    from rich.live import Live  # noqa: PLC0415

    console = Console(no_color=not out.colored, highlight=False)
    signs = signs_for(console.encoding)
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        yield lambda one: live.update(_text(tree(one, signs), console.encoding), refresh=True)


def _text(lines: list[Line], encoding: str) -> Text:
    from rich.text import Text  # noqa: PLC0415  (as above)

    text = Text()
    for number, line in enumerate(lines):
        text.append("\n" if number else "")
        text.append(fitting(line.text, encoding), style=line.style or "")
    return text
