"""What may come between a decision about a flag and the write of it, at its backend."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from downhaul.errors import DownhaulError, VersionConflict
from downhaul.flag import Flag
from downhaul.provider import FlagProvider
from downhaul.rollout.acts import the_flag
from downhaul.rollout.deciding.case import Action, Operation, Seen
from downhaul.store.rollouts import (
    LeaseLost,
)

_log: Final = logging.getLogger("downhaul.controller")


class Moved(DownhaulError):
    """The flag is not as it was when it was decided upon. Nothing was written."""


class BackendFailed(DownhaulError):
    """The backend did not answer, or refused."""


def unmoved(provider: FlagProvider, action: Action, seen: Seen, *, held: bool) -> Flag:
    """Return the flag, if it is as it was when it was decided upon. Raises Moved.

    To take the exposure off is right however the flag looks (rule R8), where the claim is ``held``
    for certain; one whose lease ended meanwhile could put off what another has restored.
    """
    key = seen.snapshot.key
    flag = the_flag(provider, key)
    if held and action.operation in (Operation.OFF, Operation.LOWER):
        return flag
    if seen.flag is None or flag.version != seen.flag.version:
        raise Moved(f'"{key}" was changed meanwhile', flag=key)
    return flag


@contextmanager
def at_the_backend() -> Iterator[None]:
    """Tell what goes wrong at the backend, a plugin's defects too, from all else that does."""
    try:
        yield
    except (LeaseLost, Moved):
        raise
    except VersionConflict as error:  # somebody wrote between the look and the write
        raise Moved(error.message) from error
    except DownhaulError as error:
        raise BackendFailed(error.message) from error
    except Exception as error:
        _log.exception("the backend's provider failed")
        message = f"{type(error).__name__}: {error}"
        raise BackendFailed(message) from error
