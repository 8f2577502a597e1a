"""How a command is made: its common options, its example, its errors, and loading it when called.

``downhaul --help`` names every command and imports none of them, so that it answers at once.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Concatenate, Final, NoReturn, ParamSpec

import click

from downhaul.cli.exits import CheckFailed, Exit, exit_of
from downhaul.cli.logs import logged
from downhaul.cli.session import Session
from downhaul.errors import DownhaulError

P = ParamSpec("P")
COMMON: Final = ("url", "config", "environment", "actor", "as_json", "debug", "no_color")


def common_options() -> list[click.Parameter]:
    """Return the options that every command has."""
    return [
        click.Option(["--url"], metavar="URL", help="The provider, instead of the configured one."),
        click.Option(
            ["--config"],
            metavar="FILE",
            type=click.Path(dir_okay=False),
            help="The config file, instead of downhaul.toml found upwards from here.",
        ),
        click.Option(["-e", "--environment"], metavar="NAME", help="The environment to speak for."),
        click.Option(
            ["--actor"], metavar="NAME", help="Who does this [env: DOWNHAUL_ACTOR; else the login]."
        ),
        click.Option(["--json", "as_json"], is_flag=True, help="Print data for programs."),
        click.Option(["--debug"], is_flag=True, help="Show the traceback of a failure."),
        click.Option(["--no-color"], is_flag=True, help="No colours [env: NO_COLOR]."),
    ]


class Command(click.Command):
    """A command whose help ends with an example, and keeps the common options apart."""

    example: str = ""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then those that every command has."""
        own: list[tuple[str, str]] = []
        everywhere: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                (everywhere if parameter.name in COMMON else own).append(record)
        for title, records in (("Options", own), ("Everywhere", everywhere)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        super().format_epilog(ctx, formatter)
        if self.example:
            with formatter.section("Example"):
                for line in self.example.strip().splitlines():
                    formatter.write(f"{' ' * formatter.current_indent}{line.strip()}\n")


class LazyGroup(click.Group):
    """A group that imports a member when it is called. ``members``: where each is, and its help."""

    def __init__(
        self, *args: Any, members: Mapping[str, tuple[str, str]], example: str = "", **extra: Any
    ) -> None:
        super().__init__(*args, **extra)
        self.members = members
        self.example = example

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they were given."""
        return [*self.members, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a member, or return None for an unknown name."""
        if cmd_name not in self.members:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.members[cmd_name][0].partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, click.Command):
            message = f"{self.members[cmd_name][0]} is no command"
            raise TypeError(message)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the member; an unknown name's error names the closest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from downhaul.control.desk import did_you_mean  # noqa: PLC0415  (for an error only)

            close = did_you_mean(args[0], self.list_commands(ctx)) if args else None
            if not close:
                raise
            message = f"{error.message.rstrip('.')}: {close}"
            raise click.UsageError(message, ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names and their help without importing any."""
        records = [(name, text) for name, (_, text) in self.members.items()]
        for name in super().list_commands(ctx):
            other = super().get_command(ctx, name)
            if other is not None:
                records.append((name, other.get_short_help_str()))
        with formatter.section("Commands"):
            formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        super().format_epilog(ctx, formatter)
        if self.example:
            with formatter.section("Example"):
                formatter.write(f"{' ' * formatter.current_indent}{self.example}\n")


def command(
    path: str, *, example: str, silent: bool = False
) -> Callable[[Callable[Concatenate[Session, ...], Any]], Command]:
    """Make a function that takes a :class:`Session` and its own parameters a command.

    ``path`` is the whole name (``flags list``). Its docstring is the help; errors become a message
    and an exit code. ``silent`` keeps the library's log from stderr.
    """

    def decorate(function: Callable[Concatenate[Session, ...], Any]) -> Command:
        @functools.wraps(function)
        def run(**values: Any) -> None:
            inherited = dict(click.get_current_context().find_root().obj or {})
            for name in COMMON:
                given = values.pop(name, None)
                inherited[name] = given or inherited.get(name)
            session = Session(path, **inherited)
            with logged(session.out, silent=silent):
                _guarded(session, functools.partial(function, session, **values))

        made = click.command(name=path.rpartition(" ")[2], cls=Command)(run)
        made.params.extend(common_options())
        made.example = example
        return made

    return decorate


def _guarded(session: Session, call: Callable[[], Any]) -> None:
    """Run a command; give what it raises a message and an exit code (rule X1)."""
    try:
        call()
    except click.ClickException:
        raise
    except click.exceptions.Exit:
        raise
    except (KeyboardInterrupt, click.Abort):
        session.out.note("interrupted")
        _leave(Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader has what it wanted. What is left in the buffers has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(Exit.OK)
    except CheckFailed as error:
        # The report is the data, and is printed already.
        session.out.error(str(error))
        _leave(Exit.CHECK_FAILED)
    except DownhaulError as error:
        _debug(session)
        session.fail(error)
        _leave(exit_of(error))
    except OSError as error:
        _debug(session)
        where = f"{error.filename}: " if error.filename else ""
        session.fail(DownhaulError(f"{where}{error.strerror or error}"))
        _leave(Exit.FAILURE)
    except Exception as error:  # noqa: BLE001  (a defect of ours, or of a plugin: no traceback unasked)
        _debug(session)
        session.fail(
            DownhaulError(
                f"unexpected {type(error).__name__}: {error}",
                hint=None
                if session.debug
                else "run it again with --debug and report what it shows",
            )
        )
        _leave(Exit.FAILURE)


def _debug(session: Session) -> None:
    if session.debug:
        traceback.print_exc()


def _leave(code: Exit) -> NoReturn:
    raise click.exceptions.Exit(int(code))


def each(values: Sequence[str]) -> list[str]:
    """Return the words of an option that may be given several times, or once with commas."""
    return [word.strip() for value in values for word in value.split(",") if word.strip()]
