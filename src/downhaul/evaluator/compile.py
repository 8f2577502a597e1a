"""One flag, compiled into one closure that takes a context and returns a ready-made answer.

The same compilation serves ``is_enabled`` (leaves are booleans), ``evaluate`` (leaves are results)
and prerequisites (leaves are outcomes), so they can't disagree. Nothing is looked up, built or
formatted at evaluation: measured, a decision object between closure and caller costs a fifth of the
whole call.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeVar

import mmh3

from downhaul.context import Context, as_context
from downhaul.evaluator.bucketing import Heads, hash_limit
from downhaul.evaluator.clauses import (
    Predicate,
    compile_clause,
    compile_segment,
    index_of,
    opens,
)
from downhaul.evaluator.outcome import (
    FALL_THROUGH,
    NO_KEY,
    CallersDefault,
    Leaf,
    Outcome,
    kill_outcome,
    plain,
    variant_of,
)
from downhaul.flag import (
    TARGETING_KEY,
    USER,
    Clause,
    Flag,
    NoKey,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Segment,
    Split,
)
from downhaul.overlay import NO_KILLS, Overlay
from downhaul.result import Reason

T = TypeVar("T")
Decide = Callable[[Any], T]
"""Takes whatever a caller passes as a context. Raises InvalidContext for what can't be read as one."""

_log: Final = logging.getLogger("downhaul.evaluator")


def keyless_of(leaf: Leaf[T]) -> Callable[[], T]:
    """Return what answers a context without a key: a ready answer, or CallersDefault raised.

    ``is_enabled`` has no third answer to return, and asking every answer whether it is one would
    cost each call a seventh of the floor.
    """
    answer = leaf(NO_KEY)
    if answer is not None:
        return lambda: answer

    def raising() -> T:
        raise CallersDefault

    return raising


def utc_clock() -> dt.datetime:
    """Return the host's time in UTC."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class World:
    """All that one flag's decision may depend on: frozen, replaced whole when anything changes."""

    flags: Mapping[str, Flag] = field(default_factory=lambda: MappingProxyType({}))
    segments: Mapping[str, Segment] = field(default_factory=lambda: MappingProxyType({}))
    overlay: Overlay = NO_KILLS
    provider: str = ""
    clock: Callable[[], dt.datetime] = utc_clock


class Compiler:
    """Compiles flags of one world. Cycles of prerequisites or segments end in "no" (rule on read).

    Not for several threads at once. Compiled segments and required flags are kept for as long as
    the compiler is, so that flags which share them share the closures too.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._segments: dict[str, Predicate] = {}
        self._outcomes: dict[str, Decide[Outcome]] = {}
        self._open: list[str] = []  # what is being compiled now, to see cycles
        self._cycles = 0  # met so far: what was compiled inside of one is good only there

    def flag(self, flag: Flag, leaf: Leaf[T]) -> Decide[T]:
        """Return the decision of a flag, kills included, dressed by ``leaf``."""
        kill = self.world.overlay.kill_of(flag.key, flag.tags)
        if kill is not None:
            return _always(leaf(kill_outcome(flag, kill)))
        if not flag.on:
            return _always(leaf(Outcome(flag.off_variant, Reason.DISABLED, off=True)))
        mark = f"flag {flag.key}"
        self._open.append(mark)
        try:
            fast = _fast(flag, leaf) if not (flag.rules or flag.prerequisites) else None
            return self._whole(flag, leaf) if fast is None else fast
        finally:
            self._open.pop()

    # What clauses ask (Surroundings)

    def segment(self, key: str) -> Predicate | None:
        known = self._segments.get(key)
        if known is not None:
            return known
        segment = self.world.segments.get(key)
        if segment is None or self._cyclic(f"segment {key}"):
            return None
        before = self._cycles
        self._open.append(f"segment {key}")
        try:
            member = compile_segment(segment, self)
        finally:
            self._open.pop()
        if self._cycles == before:
            self._segments[key] = member
        return member

    def served(self, key: str) -> Callable[[Context], str | None] | None:
        outcome = self._outcome_of(key)
        return None if outcome is None else lambda context: variant_of(outcome(context))

    def now(self) -> dt.datetime:
        return self.world.clock()

    def _cyclic(self, mark: str) -> bool:
        if mark not in self._open:
            return False
        self._cycles += 1
        _log.warning(
            "%s takes part in a cycle (%s): treated as not matching",
            mark, " -> ".join([*self._open, mark]),
        )  # fmt: skip
        return True

    def _outcome_of(self, key: str) -> Decide[Outcome] | None:
        flag = self.world.flags.get(key)
        if flag is None or self._cyclic(f"flag {key}"):
            return None
        known = self._outcomes.get(key)
        if known is None:
            before = self._cycles
            known = self.flag(flag, plain)
            if self._cycles == before:
                self._outcomes[key] = known
        return known

    # The parts of a flag

    def _whole(self, flag: Flag, leaf: Leaf[T]) -> Decide[T]:
        requirements = tuple(
            (self._requirement(flag, one), leaf(_failed(flag, one.flag)))
            for one in flag.prerequisites
        )
        targets = _targets(flag, leaf)
        rules = tuple(self._rule(flag, rule, index, leaf) for index, rule in enumerate(flag.rules))
        ended = (
            Reason.DEFAULT if flag.rules or flag.targets or flag.prerequisites else Reason.STATIC
        )
        default = self.serving(flag, flag.default, ended, "", leaf)
        last = leaf(Outcome(flag.off_variant, Reason.DEFAULT))

        def decide(context: Any) -> Any:
            if type(context) is not Context:
                context = as_context(context)
            for fulfilled, failed in requirements:
                if not fulfilled(context):
                    return failed
            for kind, answers in targets:
                part = context if context.kind == kind else context.of_kind(kind)
                if part is not None and part.targeting_key in answers:
                    return answers[part.targeting_key]
            for rule in rules:
                answer = rule(context)
                if answer is not FALL_THROUGH:
                    return answer
            answer = default(context)
            return last if answer is FALL_THROUGH else answer

        return decide

    def _requirement(self, flag: Flag, needed: Prerequisite) -> Predicate:
        outcome = self._outcome_of(needed.flag)
        if outcome is None:
            _log.warning('flag "%s" requires "%s", which is not there', flag.key, needed.flag)
            return lambda _context: False
        required = self.world.flags[needed.flag]
        wanted = frozenset(needed.variants) or frozenset(required.variants) - {required.off_variant}
        while_off, negate = needed.while_off, needed.negate

        def fulfilled(context: Context) -> bool:
            found = outcome(context)
            served = found.variant in wanted and (while_off or not found.off)
            return served is not negate

        return fulfilled

    def _rule(self, flag: Flag, rule: Rule, index: int, leaf: Leaf[T]) -> Decide[Any]:
        name = rule.id or str(index)
        serve = self.serving(flag, rule.serve, Reason.TARGETING_MATCH, name, leaf)
        if rule.gate is not None:
            serve = self._gated(flag, rule, name, serve, leaf)
        clauses = tuple(compile_clause(clause, self) for clause in rule.clauses)
        if not clauses:
            return serve
        first, *others = clauses
        if not others:
            return lambda context: serve(context) if first(context) else FALL_THROUGH
        if len(others) == 1:
            (second,) = others

            def both(context: Context) -> Any:
                return serve(context) if first(context) and second(context) else FALL_THROUGH

            return both

        def every(context: Context) -> Any:
            for clause in clauses:
                if not clause(context):
                    return FALL_THROUGH
            return serve(context)

        return every

    def _gated(
        self, flag: Flag, rule: Rule, name: str, serve: Decide[Any], leaf: Leaf[T]
    ) -> Decide[Any]:
        gate = rule.gate
        assert gate is not None  # noqa: S101  (for the type checker: asked by the only caller)
        let_in = opens(gate.bucketing, flag.key, gate.share)
        outside: Any = FALL_THROUGH
        if gate.outside is not None:
            outside = leaf(Outcome(gate.outside, Reason.SPLIT, rule=name))
        keyless = keyless_of(leaf)

        def gated(context: Context) -> Any:
            opened = let_in(context)
            if opened:
                return serve(context)
            return outside if opened is False else keyless()

        return gated

    def serving(
        self, flag: Flag, serve: str | Split, reason: Reason, rule: str, leaf: Leaf[T]
    ) -> Decide[Any]:
        """Return what a rule or a default serves; FALL_THROUGH where a split leaves somebody out."""
        if isinstance(serve, str):
            return _always(leaf(Outcome(serve, reason, rule=rule)))
        native = _native(flag, serve, rule, leaf)
        if native is not None:
            return native
        weights = tuple(one.weight for one in serve.weights)
        if not weights:
            return _always(FALL_THROUGH)
        closed = (
            serve.bucketing.scheme is Scheme.LAUNCHDARKLY and serve.weights[-1].variant is not None
        )
        pick = index_of(serve.bucketing, flag.key, weights, closed=closed)
        answers: list[Any] = [
            FALL_THROUGH
            if one.variant is None
            else leaf(Outcome(one.variant, Reason.SPLIT, rule=rule))
            for one in serve.weights
        ]
        answers.append(FALL_THROUGH)
        keyless = keyless_of(leaf)

        def split(context: Context) -> Any:
            index = pick(context)
            return keyless() if index is None else answers[index]

        return split


def _always(answer: Any) -> Decide[Any]:
    return lambda _context: answer


def _failed(flag: Flag, prerequisite: str) -> Outcome:
    return Outcome(flag.off_variant, Reason.DISABLED, prerequisite=prerequisite)


def _targets(flag: Flag, leaf: Leaf[T]) -> tuple[tuple[str, dict[str, T]], ...]:
    """Return the answer for each targeted key, per context kind. Who is named twice gets the first."""
    kinds: dict[str, dict[str, T]] = {}
    for target in flag.targets:
        answer = leaf(Outcome(target.variant, Reason.TARGETING_MATCH))
        answers = kinds.setdefault(target.context_kind, {})
        for key in target.keys:
            answers.setdefault(key, answer)
    return tuple(kinds.items())


def two_way(serve: str | Split) -> tuple[str | None, str | None, int] | None:
    """Return (inside, outside, hash limit) of a native split in two by the user's key, else None."""
    if not isinstance(serve, Split) or len(serve.weights) != 2:  # noqa: PLR2004  (in and out)
        return None
    how = serve.bucketing
    native = how.scheme is Scheme.DOWNHAUL and how.no_key is NoKey.ERROR
    if not native or how.by != (TARGETING_KEY,) or how.context_kind != USER:
        return None
    inside, outside = serve.weights
    if inside.weight + outside.weight != how.total or not 0 < inside.weight < how.total:
        return None
    return inside.variant, outside.variant, hash_limit(inside.weight, how.total)


def _native(flag: Flag, split: Split, rule: str, leaf: Leaf[T]) -> Decide[Any] | None:
    """Compile the common split, in two by the user's targeting key, into one closure."""
    found = two_way(split)
    if found is None:
        return None
    inside, outside, limit = found
    answers = tuple(
        FALL_THROUGH if variant is None else leaf(Outcome(variant, Reason.SPLIT, rule=rule))
        for variant in (inside, outside)
    )
    within, beyond = answers
    keyless = keyless_of(leaf)
    heads = Heads(flag.key if split.bucketing.salt is None else split.bucketing.salt)
    digest = mmh3.mmh3_32_uintdigest

    def native(context: Context) -> Any:
        part = context if context.kind == USER else context.of_kind(USER)
        if part is None or part.targeting_key is None:
            return keyless()
        key = part.targeting_key.encode()
        return within if digest(heads[len(key)] + key) < limit else beyond

    return native


def _fast(flag: Flag, leaf: Leaf[T]) -> Decide[T] | None:
    """Compile a flag of user targets and at most one native split in two, without any inner call."""
    targets = _targets(flag, leaf)
    if len(targets) > 1 or (targets and targets[0][0] != USER):
        return None
    answers = targets[0][1] if targets else {}
    if isinstance(flag.default, str):
        reason = Reason.DEFAULT if answers else Reason.STATIC
        return _fast_constant(answers, leaf(Outcome(flag.default, reason)))
    found = two_way(flag.default)
    if found is None or found[0] is None or found[1] is None:
        return None
    salt = flag.default.bucketing.salt
    return _fast_split(
        answers,
        Heads(flag.key if salt is None else salt),
        found[2],
        leaf(Outcome(found[0], Reason.SPLIT)),
        leaf(Outcome(found[1], Reason.SPLIT)),
        keyless_of(leaf),
    )


def user_key(context: Any) -> str | None:
    """Return the user's targeting key of whatever a caller passed as a context."""
    part = as_context(context).of_kind(USER)
    return None if part is None else part.targeting_key


def _fast_constant(answers: dict[str, Any], answer: Any) -> Decide[Any]:
    if not answers:

        def constant(context: Any) -> Any:
            if type(context) is not str and type(context) is not Context:
                as_context(context)  # what can't be a context is told, whatever the flag
            return answer

        return constant

    def targeted(context: Any) -> Any:
        key: str | None
        if type(context) is str:
            key = context
        elif type(context) is Context and context.kind == USER:
            key = context.targeting_key
        else:
            key = user_key(context)
        return answers.get(key, answer)

    return targeted


def _fast_split(  # noqa: PLR0913  (each becomes a cell of the closure: that is the point)
    answers: dict[str, Any], heads: Heads, limit: int, within: Any, beyond: Any, keyless: Any
) -> Decide[Any]:
    digest = mmh3.mmh3_32_uintdigest
    if not answers:

        def split(context: Any) -> Any:
            key: str | None
            if type(context) is str:
                key = context
            elif type(context) is Context and context.kind == USER:
                key = context.targeting_key
            else:
                key = user_key(context)
            if not key:
                return keyless()
            text = key.encode()
            return within if digest(heads[len(text)] + text) < limit else beyond

        return split

    def targeted_split(context: Any) -> Any:
        key: str | None
        if type(context) is str:
            key = context
        elif type(context) is Context and context.kind == USER:
            key = context.targeting_key
        else:
            key = user_key(context)
        if key in answers:
            return answers[key]
        if not key:
            return keyless()
        text = key.encode()
        return within if digest(heads[len(text)] + text) < limit else beyond

    return targeted_split


def requires(flag: Flag, segments: Mapping[str, Segment]) -> frozenset[str]:
    """Return what a flag's decision depends on, as ``flag KEY`` and ``segment KEY``, segments' own included."""
    found = {f"flag {one.flag}" for one in flag.prerequisites}
    pending = [clause for rule in flag.rules for clause in rule.clauses]
    while pending:
        for name in _named_by(pending.pop()):
            if name in found:
                continue
            found.add(name)
            kind, _, key = name.partition(" ")
            segment = segments.get(key) if kind == "segment" else None
            if segment is not None:
                pending.extend(clause for rule in segment.rules for clause in rule.clauses)
    return frozenset(found)


def _named_by(clause: Clause) -> list[str]:
    if clause.operator is Operator.SERVES:
        return [f"flag {clause.attribute}"]
    if clause.operator is Operator.IN_SEGMENT:
        return [f"segment {key}" for key in clause.values]
    return []
