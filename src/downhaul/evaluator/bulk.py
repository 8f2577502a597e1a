"""One flag for a million users: what :mod:`.compile` makes of a flag, by columns.

Each part of a flag looks at the users that the parts before it left, and decides some of them.
Answers are those of the scalar path (a property that the tests hold); a chunk that can't be
decided by columns, such as one with a key that has no UTF-8, is asked user by user.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType
from typing import Any, Final

from downhaul.context import Context
from downhaul.evaluator.columns import Chunk, read_by
from downhaul.evaluator.columnwise import ColumnCompiler, DecideColumn
from downhaul.evaluator.compile import World
from downhaul.evaluator.needs import requires
from downhaul.evaluator.outcome import Leaf, broken, result_leaf
from downhaul.flag import TARGETING_KEY, Clause, Flag, Gate, Operator, Segment, Split
from downhaul.references import Node, clauses_of
from downhaul.result import ErrorCode, Reason, Result

_CHUNK: Final = 10_000  # as in :mod:`.batch`
_PLAIN: Final = frozenset({str, NoneType})


@dataclass(frozen=True, slots=True)
class Answers:
    """What a population gets: the different results, and for each user the index of theirs.

    Results are shared between users: don't change their values.
    """

    results: tuple[Result, ...]
    indexes: array[int]

    def __iter__(self) -> Iterator[Result]:
        return map(self.results.__getitem__, self.indexes)

    def __len__(self) -> int:
        return len(self.indexes)

    def by_result(self) -> list[tuple[Result, int]]:
        """Return the results that somebody gets, with how many do."""
        return [(self.results[index], count) for index, count in sorted(self._counts().items())]

    def by_variant(self) -> dict[str | None, int]:
        """Return how many users each variant is served to; None is the caller's default."""
        found: Counter[str | None] = Counter()
        for index, count in self._counts().items():
            found[self.results[index].variant] += count
        return dict(found)

    def _counts(self) -> Counter[int]:
        return Counter(self.indexes)


class Bulk:
    """A flag of a world, compiled for populations. For one thread at a time.

    All users are asked as of one moment, the world's clock now. ``reads`` are the attributes that
    the answers depend on; other columns need not be given. Raises KeyError for a flag that is not
    there, ValueError for a world whose flags a backend decides.
    """

    def __init__(self, world: World, key: str) -> None:
        if world.ask is not None:
            message = (
                f'flag "{key}" is decided by its backend, which is asked for one user at a time'
            )
            raise ValueError(message)
        now = world.clock()
        world = replace(world, clock=lambda: now)
        flag = world.flags[key]
        self.reads = attributes_read(flag, world)
        self._results: list[Result] = []
        self._provider = world.provider
        self._unreadable: dict[str, int] = {}
        compiler = ColumnCompiler(world)
        dress = result_leaf(flag, world.provider)
        leaf: Leaf[int] = lambda outcome: self._index(dress(outcome))  # noqa: E731  (a Leaf)
        self._decide: DecideColumn[int]
        try:
            self._decide = compiler.column(flag, leaf)
            self._one: Callable[[Context], int] = compiler.scalar.flag(flag, leaf)
        except Exception as error:  # noqa: BLE001  (a row edited by hand, as in the view)
            told = f"{type(error).__name__}: {error}"
            answer = self._index(broken(flag.version, world.provider, told))
            self._decide = lambda _chunk, rows: [answer] * len(rows)
            self._one = lambda _context: answer

    def answers(
        self, keys: Sequence[str | None], columns: Mapping[str, Sequence[Any]] | None = None
    ) -> Answers:
        """Return what users of kind ``user`` get: one targeting key each (None and "": none).

        ``columns`` hold attributes by name, a value for each user; None is a missing one. Raises
        ValueError for columns of different lengths, InvalidContext for a key that is no string.
        """
        given = {name: one for name, one in (columns or {}).items() if name in self.reads}
        for name, column in given.items():
            if len(column) != len(keys):
                message = f"{len(keys)} keys, but {len(column)} values of {name!r}"
                raise ValueError(message)
        indexes = array("I")
        for start in range(0, len(keys), _CHUNK):
            end = start + _CHUNK
            part = {name: column[start:end] for name, column in given.items()}
            indexes.extend(self.indexes_of(_chunk(keys[start:end], part)))
        return Answers(tuple(self._results), indexes)

    def indexes_of(self, chunk: Chunk) -> Iterable[int]:
        """Return the index of each user's result, for one chunk; "" is no key of it."""
        rows = range(len(chunk.keys))
        try:
            return self._decide(chunk, rows)
        except UnicodeEncodeError:
            return [self._alone(chunk.context(row)) for row in rows]

    def _alone(self, context: Context) -> int:
        try:
            return self._one(context)
        except UnicodeEncodeError as error:
            told = str(error)
            if told not in self._unreadable:
                self._unreadable[told] = self._index(_unreadable(told, self._provider))
            return self._unreadable[told]

    def _index(self, result: Result) -> int:
        self._results.append(result)
        return len(self._results) - 1


def _unreadable(told: str, provider: str) -> Result:
    return Result(
        None,
        reason=Reason.ERROR,
        error_code=ErrorCode.INVALID_CONTEXT,
        error_message=told,
        provider=provider,
        authoritative=False,
    )


def _chunk(keys: Sequence[Any], columns: Mapping[str, Sequence[Any]]) -> Chunk:
    types = set(map(type, keys))
    if types == {str} and "" not in keys:
        return Chunk(keys, columns, keyed=True)
    if types <= _PLAIN:
        return Chunk([key or None for key in keys], columns)
    return Chunk([Context(key).targeting_key for key in keys], columns)


def attributes_read(flag: Flag, world: World) -> frozenset[str]:
    """Return the names of a user's attributes that a flag's answers may depend on."""
    found: set[str | None] = set()
    seen: set[Node] = set()
    pending: list[Flag | Segment] = [flag]
    while pending:
        one = pending.pop()
        found |= {read_by(clause) for clause in clauses_of(one)}
        found |= _bucketed_by(one)
        if isinstance(one, Flag):
            for node in requires(one, world.segments) - seen:
                seen.add(node)
                many: Mapping[str, Any] = world.flags if node.sort == "flag" else world.segments
                pending += [many[node.key]] if node.key in many else []
    return frozenset(name for name in found if name is not None) - {TARGETING_KEY, ""}


def _bucketed_by(one: Flag | Segment) -> set[str | None]:
    choices: list[Any] = [rule.gate for rule in one.rules]
    if isinstance(one, Flag):
        choices += [one.default, *(rule.serve for rule in one.rules)]
    return {
        read_by(Clause(name, Operator.PRESENT))
        for choice in choices
        if isinstance(choice, (Split, Gate))
        for name in choice.bucketing.by
    }
