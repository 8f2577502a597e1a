"""A flag, compiled into functions of columns: :mod:`.compile`, for many users at once.

Each part of a flag is a stage. It looks at the rows that nothing decided yet, and writes what it
decides. The parts and their order are those of :class:`.compile.Compiler`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import compress, repeat
from typing import Any, Final, TypeVar

from downhaul.evaluator.clauses import compile_clause
from downhaul.evaluator.columns import Chunk, Rows, Test, clause_test, picking
from downhaul.evaluator.compile import Compiler, World
from downhaul.evaluator.outcome import NO_KEY, Leaf, Outcome, kill_outcome, plain
from downhaul.evaluator.shapes import targeted
from downhaul.flag import (
    USER,
    Clause,
    Flag,
    Gate,
    Keys,
    NoKey,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Segment,
    Serve,
)
from downhaul.references import Node
from downhaul.result import Reason

T = TypeVar("T")

DecideColumn = Callable[[Chunk, Rows], list[T]]
"""Decides some rows of a chunk: one answer for each, in order."""

_OPEN: Final[Any] = object()
"""Stands where nothing is decided yet."""

_Member = Callable[[Chunk, Rows], set[int]]

_Stage = Callable[[Chunk, Rows, list[Any]], None]
"""Looks at users that nothing decided yet, and writes what it decides into the list."""


class ColumnCompiler:
    """Compiles the parts of flags into functions of columns. See :class:`.compile.Compiler`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.scalar = Compiler(world)
        self._outcomes: dict[str, DecideColumn[Outcome]] = {}
        self._members: dict[str, _Member] = {}

    def column(self, flag: Flag, leaf: Leaf[T]) -> DecideColumn[T]:
        """Return what decides rows, as :meth:`.compile.Compiler.flag` decides a context."""
        kill = self.world.overlay.kill_of(flag.key, flag.tags)
        if kill is not None:
            return _same(leaf(kill_outcome(flag, kill)))
        if not flag.on:
            return _same(leaf(Outcome(flag.off_variant, Reason.DISABLED, off=True)))
        stages = [self._requirement(flag, one, leaf) for one in flag.prerequisites]
        stages += _targets(flag, leaf)
        stages += [self._rule(flag, rule, index, leaf) for index, rule in enumerate(flag.rules)]
        whole = flag.rules or flag.targets or flag.prerequisites
        stages.append(
            _serve(flag, flag.default, Reason.DEFAULT if whole else Reason.STATIC, "", leaf)
        )
        last = leaf(Outcome(flag.off_variant, Reason.DEFAULT))
        return _through(stages, last, whole=_decides_all(flag.default))

    def _requirement(self, flag: Flag, needed: Prerequisite, leaf: Leaf[T]) -> _Stage:
        failed = leaf(Outcome(flag.off_variant, Reason.DISABLED, prerequisite=needed.flag))
        if self.scalar.outcome_of(needed.flag, Node("flag", flag.key)) is None:
            return lambda _chunk, rows, out: _put(out, rows, repeat(failed, len(rows)))
        required = self.world.flags[needed.flag]
        wanted = frozenset(needed.variants) or frozenset(required.variants) - {required.off_variant}
        outcomes = self._outcomes_of(required)

        def fails(found: Outcome) -> bool:
            served = found.variant in wanted and (needed.while_off or not found.off)
            return served is needed.negate

        def stage(chunk: Chunk, rows: Rows, out: list[Any]) -> None:
            failing = list(compress(rows, _verdicts(outcomes(chunk, rows), fails)))
            _put(out, failing, repeat(failed, len(failing)))

        return stage

    def _rule(self, flag: Flag, rule: Rule, index: int, leaf: Leaf[T]) -> _Stage:
        name = rule.id or str(index)
        tests = [self._test(clause, flag) for clause in rule.clauses]
        serve = _serve(flag, rule.serve, Reason.TARGETING_MATCH, name, leaf)
        gate = None if rule.gate is None else _gate(flag, rule.gate, name, leaf)

        def stage(chunk: Chunk, rows: Rows, out: list[Any]) -> None:
            for test in tests:
                rows = list(compress(rows, test(chunk, rows)))
            if gate is not None:
                rows = gate(chunk, rows, out)
            if rows:
                serve(chunk, rows, out)

        return stage

    def _test(self, clause: Clause, owner: Flag | Segment) -> Test:
        if clause.operator is Operator.IN_SEGMENT:
            return self._in_segment(clause, owner)
        if clause.operator is Operator.SERVES:
            return self._serves(clause, owner)
        return clause_test(clause, compile_clause(clause, self.scalar.around(owner)))

    def _in_segment(self, clause: Clause, owner: Flag | Segment) -> Test:
        node = _node(owner)
        members = [
            self._member_of(self.world.segments[key])
            for key in clause.values
            if isinstance(key, str) and self.scalar.member_of(key, node) is not None
        ]
        negate = clause.negate

        def test(chunk: Chunk, rows: Rows) -> Iterable[bool]:
            inside: set[int] = set()
            for member in members:
                inside |= member(chunk, rows)
            return [(row in inside) is not negate for row in rows]

        return test

    def _serves(self, clause: Clause, owner: Flag | Segment) -> Test:
        if self.scalar.outcome_of(clause.attribute, _node(owner)) is None:
            return lambda _chunk, rows: repeat(False, len(rows))
        outcomes = self._outcomes_of(self.world.flags[clause.attribute])
        wanted, negate = frozenset(clause.values), clause.negate
        return lambda chunk, rows: _verdicts(
            outcomes(chunk, rows), lambda found: (found.variant in wanted) is not negate
        )

    def _outcomes_of(self, flag: Flag) -> DecideColumn[Outcome]:
        if flag.key not in self._outcomes:
            self._outcomes[flag.key] = self.column(flag, plain)
        return self._outcomes[flag.key]

    def _member_of(self, segment: Segment) -> _Member:
        if segment.key not in self._members:
            self._members[segment.key] = self._member(segment)
        return self._members[segment.key]

    def _member(self, segment: Segment) -> _Member:
        included, excluded = _users(segment.included), _users(segment.excluded)
        rules = [
            (
                [self._test(clause, segment) for clause in rule.clauses],
                None
                if rule.gate is None
                else picking(rule.gate.bucketing, segment.key, (rule.gate.share,)),
            )
            for rule in segment.rules
        ]

        def member(chunk: Chunk, rows: Rows) -> set[int]:
            inside = set(compress(rows, map(included.__contains__, chunk.keys_at(rows))))
            if excluded:
                keys = chunk.keys_at(rows)
                rows = [row for row, key in zip(rows, keys, strict=True) if key not in excluded]
            for tests, gate in rules:
                rows = [row for row in rows if row not in inside]
                found = rows
                for test in tests:
                    found = list(compress(found, test(chunk, found)))
                if gate is not None:
                    places = gate(chunk, found)
                    found = [row for row, place in zip(found, places, strict=True) if place == 0]
                inside.update(found)
            return inside

        return member


def _node(one: Flag | Segment) -> Node:
    return Node("flag" if isinstance(one, Flag) else "segment", one.key)


def _users(lists: Iterable[Keys]) -> frozenset[str]:
    return frozenset().union(*(one.keys for one in lists if one.context_kind == USER))


def _same(answer: T) -> DecideColumn[T]:
    return lambda _chunk, rows: [answer] * len(rows)


def _decides_all(serve: Serve) -> bool:
    """Return whether a default is known to leave nobody over."""
    if isinstance(serve, str):
        return True
    served = [one.weight for one in serve.weights if one.variant is not None]
    return serve.bucketing.no_key is not NoKey.MISS and (
        len(served) == len(serve.weights) and sum(served) >= serve.bucketing.total
    )


def _through(stages: Sequence[_Stage], last: T, *, whole: bool) -> DecideColumn[T]:
    """Return what sends rows through the stages; who is left over gets ``last``.

    ``whole`` says that the last stage leaves nobody over.
    """
    *before, default = stages

    def decide(chunk: Chunk, rows: Rows) -> list[T]:
        out: list[Any] = [_OPEN] * len(chunk.keys)
        left = rows
        for stage in before:
            stage(chunk, left, out)
            left = [row for row in left if out[row] is _OPEN]
            if not left:
                break
        else:
            default(chunk, left, out)
            if not whole:
                left = [row for row in left if out[row] is _OPEN]
                _put(out, left, repeat(last, len(left)))
        return out if len(rows) == len(out) else [out[row] for row in rows]

    return decide


def _put(out: list[Any], rows: Rows, answers: Iterable[Any]) -> None:
    if len(rows) == len(out):
        out[:] = answers
        return
    for row, answer in zip(rows, answers, strict=True):
        out[row] = answer


def _verdicts(outcomes: list[Outcome], judge: Callable[[Outcome], bool]) -> Iterable[bool]:
    """Return what is judged of each outcome; there are few different ones, each made once."""
    names = list(map(id, outcomes))
    verdicts = {name: judge(one) for name, one in dict(zip(names, outcomes, strict=True)).items()}
    return map(verdicts.__getitem__, names)


def _targets(flag: Flag, leaf: Leaf[T]) -> list[_Stage]:
    answers = dict(targeted(flag, leaf)).get(USER)
    if not answers:
        return []
    found = dict[Any, T](answers)

    def stage(chunk: Chunk, rows: Rows, out: list[Any]) -> None:
        keys = chunk.keys_at(rows)
        if found.keys().isdisjoint(keys):
            return
        for row, key in compress(zip(rows, keys, strict=True), map(found.__contains__, keys)):
            out[row] = found[key]

    return [stage]


def _gate(
    flag: Flag, gate: Gate, rule: str, leaf: Leaf[T]
) -> Callable[[Chunk, Rows, list[Any]], Rows]:
    """Return what decides those whom the gate keeps out, and returns the others."""
    pick = picking(gate.bucketing, flag.key, (gate.share,))
    outside: Any = _OPEN
    if gate.outside is not None:
        outside = leaf(Outcome(gate.outside, Reason.SPLIT, rule=rule))
    keyless = leaf(NO_KEY)

    def stage(chunk: Chunk, rows: Rows, out: list[Any]) -> Rows:
        let_in = []
        for row, place in zip(rows, pick(chunk, rows), strict=True):
            if place == 0:
                let_in.append(row)
            else:
                out[row] = keyless if place is None else outside
        return let_in

    return stage


def _serve(flag: Flag, serve: Serve, reason: Reason, rule: str, leaf: Leaf[T]) -> _Stage:
    if isinstance(serve, str):
        answer = leaf(Outcome(serve, reason, rule=rule))
        return lambda _chunk, rows, out: _put(out, rows, repeat(answer, len(rows)))
    if not serve.weights:
        return lambda _chunk, _rows, _out: None
    weights = tuple(one.weight for one in serve.weights)
    closed = serve.bucketing.scheme is Scheme.LAUNCHDARKLY and serve.weights[-1].variant is not None
    pick = picking(serve.bucketing, flag.key, weights, closed=closed)
    answers: dict[int | None, Any] = {
        index: _OPEN if one.variant is None else leaf(Outcome(one.variant, Reason.SPLIT, rule=rule))
        for index, one in enumerate(serve.weights)
    }
    answers[len(weights)] = _OPEN
    answers[None] = leaf(NO_KEY)

    def stage(chunk: Chunk, rows: Rows, out: list[Any]) -> None:
        _put(out, rows, map(answers.__getitem__, pick(chunk, rows)))

    return stage
