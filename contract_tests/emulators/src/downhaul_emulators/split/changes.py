"""What changed since a change number: logs of documents, and of a segment's keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class ChangeLog:
    """Every version of every document, the oldest first; each has a ``name`` and a number."""

    def __init__(self) -> None:
        self._versions: list[Mapping[str, Any]] = []

    @property
    def till(self) -> int:
        """The number of the last change, -1 before the first."""
        return self._versions[-1]["changeNumber"] if self._versions else -1

    def add(self, document: Mapping[str, Any]) -> None:
        """Record a version. Its number must be higher than all before."""
        self._versions.append(document)

    def newest(self, name: str) -> Mapping[str, Any]:
        """Return the last version of a document. Raises StopIteration where there was none."""
        return next(one for one in reversed(self._versions) if one["name"] == name)

    def number_before(self, changes: int) -> int:
        """Return the number up to which all was known so many changes ago."""
        past = self._versions[: max(0, len(self._versions) - changes)]
        return past[-1]["changeNumber"] if past else -1

    def between(self, since: int, until: int) -> list[Mapping[str, Any]]:
        """Return the last version up to ``until`` of each document that changed after ``since``."""
        found = {one["name"]: one for one in self._versions if since < one["changeNumber"] <= until}
        return list(found.values())


class KeySet:
    """The keys of a segment in one environment, in the order in which they came, and their past."""

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}
        self._log: list[tuple[int, frozenset[str], frozenset[str]]] = []

    @property
    def till(self) -> int:
        """The number of the last change, -1 before the first."""
        return self._log[-1][0] if self._log else -1

    def change(self, number: int, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Add keys and remove others; what is there already, or is not there, stays so."""
        gone = frozenset(remove) & set(self.keys)
        came = frozenset(add) - set(self.keys)
        for key in gone:
            del self.keys[key]
        self.keys.update(dict.fromkeys(key for key in add if key in came))
        self._log.append((number, came, gone))

    def since(self, number: int) -> dict[str, Any]:
        """Return what SDKs are sent: keys that came and keys that went after a change number."""
        added: set[str] = set()
        removed: set[str] = set()
        for at, came, gone in self._log:
            if at > number:
                added = (added - gone) | came
                removed = (removed - came) | gone
        if number < 0:
            removed = set()
        return {
            "added": sorted(added),
            "removed": sorted(removed),
            "since": number,
            "till": max(number, self.till),
        }
