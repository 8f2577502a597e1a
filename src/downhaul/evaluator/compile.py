"""One flag, compiled into one closure that takes a context and returns a ready-made answer.

The same compilation serves ``is_enabled`` (leaves are booleans), ``evaluate`` (leaves are results)
and prerequisites (leaves are outcomes), so they can't disagree. Nothing is looked up, built or
formatted at evaluation: measured, a decision object between closure and caller costs a fifth of the
whole call.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from downhaul.context import Context, as_context
from downhaul.evaluator.asking import Ask
from downhaul.evaluator.clauses import (
    Predicate,
    Surroundings,
    compile_clause,
    compile_segment,
    index_of,
    opens,
)
from downhaul.evaluator.needs import Cycles
from downhaul.evaluator.outcome import (
    FALL_THROUGH,
    Decide,
    Leaf,
    Outcome,
    kill_outcome,
    plain,
)
from downhaul.evaluator.shapes import always, keyless_of, native_split, targeted, whole_flag
from downhaul.flag import Bucketing, Flag, Prerequisite, Rule, Scheme, Segment, Split
from downhaul.overlay import NO_KILLS, Overlay
from downhaul.references import Node
from downhaul.result import Reason

T = TypeVar("T")


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
    ask: Ask | None = None
    """A backend that resolves: what is not killed is asked there, ``flags`` are what is known."""
    portable: Mapping[str, Bucketing] = field(default_factory=lambda: MappingProxyType({}))
    """Flags that are asked with their bucket in the context, by key (rule E10)."""


class Compiler:
    """Compiles flags of one world. A reference within a cycle is one to nothing (harmless on read).

    Not for several threads at once. Compiled segments and required flags are kept for as long as
    the compiler is, so that flags which share them share the closures too.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.complaints: list[str] = []  # for the log, once nobody waits for this compiler
        self._segments: dict[str, Predicate] = {}
        self._outcomes: dict[str, Decide[Outcome]] = {}
        self._cycles = Cycles(world.flags, world.segments)

    def flag(self, flag: Flag, leaf: Leaf[T]) -> Decide[T]:
        """Return the decision of a flag, kills included, dressed by ``leaf``."""
        kill = self.world.overlay.kill_of(flag.key, flag.tags)
        if kill is not None:
            return always(leaf(kill_outcome(flag, kill)))
        if not flag.on:
            return always(leaf(Outcome(flag.off_variant, Reason.DISABLED, off=True)))
        fast = whole_flag(flag, leaf) if not (flag.rules or flag.prerequisites) else None
        return self._whole(flag, leaf) if fast is None else fast

    def around(self, owner: Flag | Segment) -> Surroundings:
        """Return what the clauses of a flag or a segment may ask."""
        return _Around(self, _node(owner))

    def member_of(self, key: str, owner: Node) -> Predicate | None:
        """Return the test of membership in a segment that ``owner`` names; None: there is none."""
        segment = self.world.segments.get(key)
        if segment is None or self._circular(owner, Node("segment", key)):
            return None
        known = self._segments.get(key)
        if known is None:
            known = self._segments[key] = compile_segment(segment, self.around(segment))
        return known

    def outcome_of(self, key: str, owner: Node) -> Decide[Outcome] | None:
        """Return what a flag that ``owner`` names decides; None if there is no such flag."""
        flag = self.world.flags.get(key)
        if flag is None or self._circular(owner, Node("flag", key)):
            return None
        known = self._outcomes.get(key)
        if known is None:
            known = self._outcomes[key] = self.flag(flag, plain)
        return known

    def _circular(self, owner: Node, named: Node) -> bool:
        circular = self._cycles.joins(owner, named)
        if circular:
            self.complaints.append(f"{owner} names {named}, which needs it: treated as not there")
        return circular

    # The parts of a flag

    def _whole(self, flag: Flag, leaf: Leaf[T]) -> Decide[T]:
        requirements = tuple(
            (self._requirement(flag, one), leaf(_failed(flag, one.flag)))
            for one in flag.prerequisites
        )
        targets = targeted(flag, leaf)
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
        outcome = self.outcome_of(needed.flag, _node(flag))
        if outcome is None:
            self.complaints.append(f'flag "{flag.key}" requires "{needed.flag}": there is none')
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
        clauses = tuple(compile_clause(clause, self.around(flag)) for clause in rule.clauses)
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
        """Return what a rule or a default serves; FALL_THROUGH where a split leaves one out."""
        if isinstance(serve, str):
            return always(leaf(Outcome(serve, reason, rule=rule)))
        native = native_split(flag, serve, rule, leaf)
        if native is not None:
            return native
        weights = tuple(one.weight for one in serve.weights)
        if not weights:
            return always(FALL_THROUGH)
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


def _failed(flag: Flag, prerequisite: str) -> Outcome:
    return Outcome(flag.off_variant, Reason.DISABLED, prerequisite=prerequisite)


def _node(one: Flag | Segment) -> Node:
    return Node("flag" if isinstance(one, Flag) else "segment", one.key)


class _Around:
    """What the clauses of one flag or segment may ask of its world."""

    def __init__(self, compiler: Compiler, owner: Node) -> None:
        self._compiler = compiler
        self._owner = owner
        self.clock = compiler.world.clock

    def segment(self, key: str) -> Predicate | None:
        """Return the test of membership (Surroundings)."""
        return self._compiler.member_of(key, self._owner)

    def served(self, key: str) -> Callable[[Context], str | None] | None:
        """Return what gives the variant that another flag serves (Surroundings)."""
        outcome = self._compiler.outcome_of(key, self._owner)
        return None if outcome is None else lambda context: outcome(context).variant
