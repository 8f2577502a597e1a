"""What an apply did so far, a line each, on disk before the next write: a kill loses nothing.

A line is written before a write is tried and after it was done. Whoever resumes knows what is
certainly done, and what may be: that is done again, which changes nothing where it was done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from downhaul.errors import DocumentError, Refused
from downhaul.provider import utc_now
from downhaul.store.diskfile import naming

_FORMAT: Final = "downhaul-migration-journal"
SUFFIX: Final = ".journal.jsonl"

STARTED: Final = "started"
DONE: Final = "done"
FAILED: Final = "failed"
END: Final = "end"
"""The step of the last line of a run that came to its end, however it went with each flag."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: what was tried with one flag or segment, and how it ended.

    ``step`` is ``write`` or ``on``. ``version`` is the target's after the write, ``before`` its
    document before it (None where there was nothing), ``after`` the digest of what it had at the
    end of the run.
    """

    entity: str
    key: str
    step: str
    status: str
    at: str = ""
    version: str = ""
    error: str = ""
    after: str = ""
    created: bool = False
    before: Mapping[str, Any] | None = None

    @property
    def name(self) -> tuple[str, str]:
        """Which flag or segment it is about."""
        return self.entity, self.key


class Journal:
    """The file beside a plan. ``plan`` is the hash of the plan that it belongs to."""

    def __init__(self, path: Path, plan: str) -> None:
        self.path = path
        self._plan = plan

    @classmethod
    def beside(cls, plan_path: Path, plan: str) -> Journal:
        """Return the journal of a plan's file."""
        return cls(plan_path.with_name(plan_path.name + SUFFIX), plan)

    def exists(self) -> bool:
        """Return whether an apply of this plan began already."""
        return self.path.exists()

    def read(self) -> list[Entry]:
        """Return what was noted; nothing where there is no file. Raises DocumentError, Refused.

        A last line that was cut off in the middle of writing was never acted upon.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        whole = lines[:-1]
        if not whole:
            return []
        self._check(self._parsed(whole[0], 1))
        return [self._entry(self._parsed(line, at), at) for at, line in enumerate(whole[1:], 2)]

    def is_open(self) -> bool:
        """Return whether a run of this plan began and did not come to its end."""
        noted = self.read()
        return bool(noted) and noted[-1].step != END

    def note(self, entry: Entry) -> None:
        """Write a line, and wait until it is on disk. Raises OSError where it can't be."""
        new = not self.path.exists() or not self.path.stat().st_size
        with naming(self.path), self.path.open("ab") as file:
            if new:
                head = {"format": _FORMAT, "plan": self._plan, "at": utc_now()}
                file.write(json.dumps(head).encode() + b"\n")
            elif not _ends_well(self.path):
                file.write(b"\n")  # what was cut off stays a line of its own, that nobody can read
            data = {
                name: value
                for name, value in asdict(entry).items()
                if value not in ("", None) or name in ("entity", "key")
            }
            line = json.dumps({**data, "at": entry.at or utc_now()}, ensure_ascii=False)
            file.write(line.encode("utf-8", "surrogatepass") + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _parsed(self, line: bytes, at: int) -> Mapping[str, Any]:
        try:
            data = json.loads(line)
        except ValueError:
            data = None
        if isinstance(data, Mapping):
            return data
        if at > 1:
            return {}  # cut off, and gone on from since
        message = "its first line can't be read"
        raise DocumentError(message, hint=self._hint(), origin=f"{self.path}:{at}")

    def _entry(self, data: Mapping[str, Any], at: int) -> Entry:
        fields = Entry.__dataclass_fields__
        if not data:
            return Entry("", "", "", "")
        try:
            return Entry(**{name: data[name] for name in data if name in fields})
        except TypeError as error:
            raise DocumentError(str(error), hint=self._hint(), origin=f"{self.path}:{at}") from None

    def _check(self, head: Mapping[str, Any]) -> None:
        if head.get("format") != _FORMAT:
            message = "it is no journal of a migration"
            raise DocumentError(message, hint=self._hint(), origin=str(self.path))
        if head.get("plan") != self._plan:
            message = f"{self.path} belongs to another plan than this one"
            raise Refused(message, hint="keep each plan in a file of its own")

    def _hint(self) -> str:
        return f"look at it; without it (move {self.path.name} away) a new plan goes on from here"


def _ends_well(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
