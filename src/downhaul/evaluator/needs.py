"""What a decision depends on: the flags and segments that it names, and theirs in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from downhaul.flag import Flag, Segment
from downhaul.references import Node, named_by


def requires(flag: Flag, segments: Mapping[str, Segment]) -> frozenset[Node]:
    """Return the flags that a flag names, and all segments below it with the flags they name."""
    return _below(flag, {}, segments)


class Cycles:
    """Finds what takes part in a cycle of prerequisites and segments.

    A reference within a cycle counts as one to something that isn't there, from whichever flag one
    begins to look. So what is compiled doesn't depend on who asked for it first.
    """

    def __init__(self, flags: Mapping[str, Flag], segments: Mapping[str, Segment]) -> None:
        self._flags = flags
        self._segments = segments
        self._reached: dict[Node, frozenset[Node]] = {}

    def joins(self, owner: Node, named: Node) -> bool:
        """Return whether ``owner``, which names ``named``, is itself needed by it."""
        if owner == named:
            return True
        found = self._reached.get(named)
        if found is None:
            one = (self._flags if named.sort == "flag" else self._segments).get(named.key)
            found = frozenset() if one is None else _below(one, self._flags, self._segments)
            self._reached[named] = found
        return owner in found


def _below(
    one: Flag | Segment, flags: Mapping[str, Flag], segments: Mapping[str, Segment]
) -> frozenset[Node]:
    found: set[Node] = set()
    pending: list[Any] = [one]
    while pending:
        for node in named_by(pending.pop()):
            key: Any = node.key
            # A row edited by hand may name what is no key: nothing is there.
            if not isinstance(key, str) or node in found:
                continue
            found.add(node)
            below = (flags if node.sort == "flag" else segments).get(node.key)
            if below is not None:
                pending.append(below)
    return frozenset(found)
