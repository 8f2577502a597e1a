"""From an error to an exit code, in one place (documented in ``docs/command-line.md``)."""

from __future__ import annotations

from enum import IntEnum

from downhaul.errors import (
    DownhaulError,
    InvalidContext,
    ReadOnly,
    Refused,
    Unreachable,
    VersionConflict,
)


class Exit(IntEnum):
    """How a command ends."""

    OK = 0
    FAILURE = 1
    """It failed; the message says what, where, and what to do."""
    USAGE = 2
    """The command line itself can't be understood."""
    CHECK_FAILED = 3
    """A check ran, and found something wrong."""
    CONFLICT = 4
    """Somebody else changed it meanwhile, or it exists already."""
    UNREACHABLE = 5
    """The backend did not answer, or the write there is left undone."""
    REFUSED = 6
    """Understood, and against a rule: nothing was done."""
    INTERRUPTED = 130
    """Ctrl-C."""


class CheckFailed(DownhaulError):
    """A check that the user asked for found something wrong; the report is printed already."""


def exit_of(error: Exception) -> Exit:
    """Return the exit code for an error that ends a command."""
    match error:
        case CheckFailed():
            return Exit.CHECK_FAILED
        case VersionConflict():
            return Exit.CONFLICT
        case Unreachable():
            return Exit.UNREACHABLE
        case Refused() | ReadOnly():
            return Exit.REFUSED
        case InvalidContext():
            return Exit.USAGE
        case _:
            return Exit.FAILURE
