"""What flags and segments name: other flags, their variants, segments; and who names them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from downhaul.flag import Clause, Flag, FlagSet, Operator, Segment


class Node(NamedTuple):
    """A flag or a segment, as a point of the graph of what names what."""

    sort: str
    key: str

    def __str__(self) -> str:
        return f'{self.sort} "{self.key}"'


def clauses_of(one: Flag | Segment) -> Iterator[Clause]:
    """Yield the clauses of all rules."""
    for rule in one.rules:
        yield from rule.clauses


def named_by(one: Flag | Segment) -> Iterator[Node]:
    """Yield the flags and segments that a flag or a segment names, in order, maybe repeatedly."""
    if isinstance(one, Flag):
        for prerequisite in one.prerequisites:
            yield Node("flag", prerequisite.flag)
    for clause in clauses_of(one):
        if clause.operator is Operator.IN_SEGMENT:
            for value in clause.values:
                yield Node("segment", value)
        elif clause.operator is Operator.SERVES:
            yield Node("flag", clause.attribute)


def segment_users(flag_set: FlagSet, key: str) -> list[str]:
    """Return who names the segment, sorted, such as ``flag "a"``."""
    return _users(flag_set, Node("segment", key))


def flag_users(flag_set: FlagSet, key: str) -> list[str]:
    """Return who names the flag as a prerequisite or in a clause, sorted."""
    return _users(flag_set, Node("flag", key))


def _users(flag_set: FlagSet, node: Node) -> list[str]:
    named = [
        Node(sort, one.key)
        for sort, many in (("flag", flag_set.flags), ("segment", flag_set.segments))
        for one in many.values()
        if node in named_by(one)
    ]
    return [str(one) for one in sorted(named) if one != node]


def find_cycles(flag_set: FlagSet, starts: Iterable[Node]) -> list[list[Node]]:
    """Return the cycles reachable from ``starts``, each as a path back to where it began.

    What does not exist ends a path. No recursion: chains may be as long as the set.
    """
    finished: set[Node] = set()
    cycles: list[list[Node]] = []
    for start in starts:
        path: dict[Node, Iterator[Node]] = {}
        node: Node | None = start
        while node is not None:
            if node not in finished and node not in path:
                path[node] = _next_of(flag_set, node)
            elif node in path:
                nodes = list(path)
                cycle = [*nodes[nodes.index(node) :], node]
                if cycle not in cycles:
                    cycles.append(cycle)
            node = _step(path, finished)
    return cycles


def _step(path: dict[Node, Iterator[Node]], finished: set[Node]) -> Node | None:
    while path:
        last = next(reversed(path))
        following = next(path[last], None)
        if following is not None:
            return following
        del path[last]
        finished.add(last)
    return None


def _next_of(flag_set: FlagSet, node: Node) -> Iterator[Node]:
    many: Mapping[str, Flag | Segment]
    many = flag_set.flags if node.sort == "flag" else flag_set.segments
    one = many.get(node.key)
    return iter(()) if one is None else named_by(one)


def in_order(flag_set: FlagSet) -> list[Flag | Segment]:
    """Return all flags and segments so that each stands after what it names: an order to write in.

    The members of a cycle, which a store refuses anyway, come in some order.
    """
    finished: set[Node] = set()
    ordered: list[Flag | Segment] = []
    everything = [
        *(Node("segment", key) for key in flag_set.segments),
        *(Node("flag", key) for key in flag_set.flags),
    ]
    for start in everything:
        path = {start: _next_of(flag_set, start)} if start not in finished else {}
        while path:
            last = next(reversed(path))
            following = next(path[last], None)
            if following is None:
                del path[last]
                finished.add(last)
                ordered += _existing(flag_set, last)
            elif following not in finished and following not in path:
                path[following] = _next_of(flag_set, following)
    return ordered


def _existing(flag_set: FlagSet, node: Node) -> list[Flag | Segment]:
    many: Mapping[str, Flag | Segment]
    many = flag_set.flags if node.sort == "flag" else flag_set.segments
    return [many[node.key]] if node.key in many else []
