"""Kills that need no network: a file on this machine, and an environment variable (rule K3).

One name a line: ``flag-a``, ``tag:agents``, ``switch:agents``, ``*`` for everything,
``revive:NAME`` to lift one again; ``#`` begins a comment. The variable holds the same, separated by
commas. Taking a line out lifts nothing: what was once seen holds until it is revived.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from downhaul.errors import Refused
from downhaul.overlay import Scope, ScopeKind
from downhaul.provider import utc_now
from downhaul.store.diskfile import replace_file

_log: Final = logging.getLogger("downhaul.store")
_REVIVE: Final = "revive:"
_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_BYTES: Final = "surrogateescape"  # what is no UTF-8 in somebody's file stays as it is
_LARGEST: Final = 1 << 20  # bytes; a kill file holds names, and whoever points at a disk is wrong


@dataclass(frozen=True, slots=True)
class Named:
    """What a file or a variable names now: killed, and revived by a ``revive:`` entry."""

    killed: frozenset[Scope] = frozenset()
    revived: frozenset[Scope] = frozenset()

    def __or__(self, other: Named) -> Named:
        return Named(self.killed | other.killed, (self.revived | other.revived) - other.killed)


def parse(entries: Iterable[str], origin: str) -> Named:
    """Read entries in order: the last word on a scope counts. Bad ones are told and left out."""
    killed: set[Scope] = set()
    revived: set[Scope] = set()
    for number, entry in enumerate(entries, 1):
        text = _COMMENT.sub("", entry).strip()
        if not text:
            continue
        lifting = text.startswith(_REVIVE)
        try:
            scope = _scope(text.removeprefix(_REVIVE))
        except ValueError as error:
            _log.warning("%s, entry %d: %s; the others still count", origin, number, error)
            continue
        (revived if lifting else killed).add(scope)
        (killed if lifting else revived).discard(scope)
    return Named(frozenset(killed), frozenset(revived))


def _scope(text: str) -> Scope:
    scope = Scope.parse(text)
    if scope.kind is not ScopeKind.TAG and (any(map(str.isspace, scope.name)) or "," in scope.name):
        message = f'"{text}" is no name; write one a line'
        raise ValueError(message)
    return scope


class KillFile:
    """The break-glass file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int, int] | None = None
        self._named = Named()
        self.trouble = ""

    def read(self) -> Named:
        """Return what the file names now. One that can't be read says what it said before."""
        try:
            found = self.path.stat()
            stamp = found.st_mtime_ns, found.st_size, found.st_ino
            if stamp != self._stamp:
                _must_be_a_list(found)
                text = self.path.read_bytes().decode("utf-8", errors="replace")
                self._named = parse(text.splitlines(), str(self.path))
                self._stamp = stamp
        except FileNotFoundError:
            self._stamp, self._named = None, Named()
        except OSError as error:
            trouble = f"the kill file {self.path} can't be read: {error.strerror or error}"
            if trouble != self.trouble:
                _log.warning("%s; what it named before still holds", trouble)
            self.trouble = trouble
            return self._named
        self.trouble = ""
        return self._named


def _must_be_a_list(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "it is no regular file")  # reading a pipe would never end
    if found.st_size > _LARGEST:
        raise OSError(0, f"it has {found.st_size} bytes, and is no list of names")


def parse_names(names: str, origin: str = "DOWNHAUL_KILL") -> Named:
    """Read the variable's text."""
    return parse(names.split(","), origin)


def add_kill(path: Path, scope: Scope, *, actor: str, reason: str) -> None:
    """Name a scope in the file, for every process here that watches it. Raises Refused."""
    _rewrite(path, scope, str(scope), actor, reason)


def add_revive(path: Path, scope: Scope, *, actor: str, reason: str) -> None:
    """Write that a scope is revived, in the place of its kill. Raises Refused."""
    _rewrite(path, scope, f"{_REVIVE}{scope}", actor, reason)


def _rewrite(path: Path, scope: Scope, entry: str, actor: str, reason: str) -> None:
    path = path.resolve()  # a link goes on pointing there
    about = " ".join(f"{utc_now()} {actor}: {reason}".split())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            text = path.read_text(encoding="utf-8", errors=_BYTES) if path.exists() else ""
            lines = text.splitlines()
            kept = [line for line in lines if scope not in _scopes_in(line)]
            text = "\n".join([*kept, f"{entry}  # {about}", ""])
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
            replace_file(path, text.encode(errors=_BYTES), mode)
    except OSError as error:
        raise Refused(
            f"the kill file {path} can't be written: {error.strerror or error}",
            hint="give this user the right to write it, or name another with DOWNHAUL_KILL_FILE",
        ) from error


def _scopes_in(line: str) -> frozenset[Scope]:
    text = _COMMENT.sub("", line).strip().removeprefix(_REVIVE)
    with contextlib.suppress(ValueError):
        return frozenset({Scope.parse(text)})
    return frozenset()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_name(f"{path.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
