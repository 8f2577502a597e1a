"""Finding a context for each thing that a flag may do, by asking the evaluator again and again.

A flag is a puzzle: a context for the third rule has to meet its clauses, pass the prerequisites, be
no target, and be left over by two rules before. The values that matter are known (:mod:`.values`),
so a search over them that only ever accepts what is no worse finds most contexts in some hundred
questions. It throws dice that fall the same every time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from downhaul.context import Context
from downhaul.evaluator.clauses import compile_clause, compile_segment
from downhaul.evaluator.compile import Compiler, World
from downhaul.evaluator.outcome import Outcome, plain
from downhaul.flag import Clause, Flag, Operator, Segment
from downhaul.migrate.verify.buckets import edge_keys
from downhaul.migrate.verify.climb import Climb, Condition
from downhaul.migrate.verify.drafts import Draft, Slot, context_of, key_of
from downhaul.migrate.verify.pools import Pools, choices_of, ends_of, hashed_slots
from downhaul.references import clauses_of
from downhaul.result import Reason

TRIES: Final = 600
"""Contexts that are tried for one rule before it is said that none was found."""

_DEEP: Final = 6  # segments within segments, flags that need flags


@dataclass(frozen=True, slots=True)
class Stage:
    """What decided: ``rule`` by index, or ``prerequisite``, ``target``, ``default``, ``no key``."""

    what: str
    rule: int = -1

    def __str__(self) -> str:
        return f"rule {self.rule + 1}" if self.what == "rule" else self.what


@dataclass(slots=True)
class Found:
    """What the search for one rule came to. ``by`` counts what decided where the clauses held."""

    draft: dict[Slot, Any]
    reached: bool = False
    met: bool = False
    by: dict[str, int] = field(default_factory=dict)


class Lab:
    """The flags and segments that cases are made for, and what was found out about them."""

    def __init__(self, flags: Mapping[str, Flag], segments: Mapping[str, Segment]) -> None:
        self.flags = flags
        self.segments = segments
        now = World().clock()
        self.compiler = Compiler(World(flags, segments, clock=lambda: now))
        self._puzzles: dict[str, Puzzle] = {}
        self._listed: dict[str, tuple[Draft, ...]] = {}
        self._by_rules: dict[str, Mapping[int, Draft]] = {}
        self._busy: set[str] = set()

    def puzzle(self, key: str) -> Puzzle | None:
        """Return the puzzle of a flag; None if there is no such flag, or it is being solved."""
        if key not in self.flags or key in self._busy:
            return None
        if key not in self._puzzles:
            self._busy.add(key)
            self._puzzles[key] = Puzzle(self, self.flags[key])
            self._busy.discard(key)
        return self._puzzles[key]

    def members(self, key: str, depth: int = 0) -> tuple[Draft, ...]:
        """Return drafts of members of a segment: the first and last listed, and by each rule."""
        if key not in self._listed:
            segment = self.segments.get(key)
            self._listed[key] = tuple(
                {key_of(one.context_kind): name}
                for one in (segment.included if segment is not None else ())
                for name in ends_of(one.keys)
            )
        return (*self._listed[key], *self.by_rules(key, depth).values())

    def by_rules(self, key: str, depth: int = 0) -> Mapping[int, Draft]:
        """Return a draft for each rule of a segment, by index, that one was found for."""
        if key not in self._by_rules:
            self._by_rules[key] = {}  # a segment that holds itself has no members by that rule
            if key in self.segments and depth <= _DEEP:
                self._by_rules[key] = self._members_by_rules(self.segments[key], depth)
        return self._by_rules[key]

    def _members_by_rules(self, segment: Segment, depth: int) -> dict[int, Draft]:
        around = self.compiler.around(segment)
        member = compile_segment(segment, around)
        pools = Pools(self.flags, self.segments, segment)
        listed = replace(segment, rules=(), excluded=())
        by_key = compile_segment(listed, around)
        keys = tuple(key_of(one.context_kind) for one in segment.included)
        unlisted = [Condition(lambda context: not by_key(context), keys)]
        found: dict[int, Draft] = {}
        for number, rule in enumerate(segment.rules):
            patches = [
                patch
                for clause in rule.clauses
                if clause.operator is Operator.IN_SEGMENT
                for name in clause.values
                if isinstance(name, str)
                for patch in self.members(name, depth + 1)
            ]
            conditions = [
                Condition(compile_clause(clause, around), pools.slots_of(clause))
                for clause in rule.clauses
            ]
            slots = () if rule.gate is None else hashed_slots(rule.gate.bucketing)
            conditions += [Condition(member, slots), *unlisted]
            climb = Climb(pools, patches, _dice(f"{segment.key}:{number}"))
            draft, held = climb.to(conditions, TRIES // 4)
            if held:
                found[number] = draft
        return found


def _dice(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311  (a search that is the same every time, no secret)


class Puzzle:
    """One flag, and a context for each of its rules, as far as one is found."""

    def __init__(self, lab: Lab, flag: Flag) -> None:
        self.lab = lab
        # Asked as if it were on, with rules that go by their place, whatever they are called.
        rules = tuple(replace(rule, id=f"#{n}") for n, rule in enumerate(flag.rules))
        self.flag = replace(flag, rules=rules, on=True)
        self._decide = lab.compiler.flag(self.flag, plain)
        bare = replace(self.flag, targets=(), prerequisites=())
        self._rest = lab.compiler.flag(replace(bare, rules=()), plain)
        # Each rule by itself; whom it leaves over gets the first variant, by default.
        bare = replace(bare, default=next(iter(flag.variants), ""))
        self._alone = [lab.compiler.flag(replace(bare, rules=(rule,)), plain) for rule in rules]
        self.pools = Pools(lab.flags, lab.segments, flag)
        around = lab.compiler.around(flag)
        self.conditions = [
            [
                Condition(compile_clause(clause, around), self.pools.slots_of(clause))
                for clause in rule.clauses
            ]
            for rule in flag.rules
        ]
        self.patches = list(self._all_patches())
        self._hashed = tuple(
            slot for bucketing, _ in choices_of(self.flag) for slot in hashed_slots(bucketing)
        )
        self.found = [self._rule(number) for number in range(len(flag.rules))]
        self.default = self._default()

    def outcome(self, context: Context) -> Outcome:
        """Return what the flag decides, if it were on."""
        return self._decide(context)

    def stage(self, context: Context) -> Stage:
        """Return which part of the flag decides, if it were on."""
        return stage_of(self._decide(context))

    def contrasting(self, number: int) -> dict[Slot, Any]:
        """Return the draft of a rule, with keys whom the rest of the flag serves otherwise.

        Whoever leaves the rule then gets another variant, so that leaving it shows.
        """
        draft = self.found[number].draft
        for moved in (draft, *({**draft, **patch} for patch in self.key_patches())):
            context = context_of(moved)
            outcome = self._decide(context)
            if stage_of(outcome).rule != number:
                continue
            if self._after(number, context).variant != outcome.variant:
                return dict(moved)
        return draft

    def _after(self, number: int, context: Context) -> Outcome:
        """Return what decides whoever a rule leaves over."""
        for decide in self._alone[number + 1 :]:
            outcome = decide(context)
            if stage_of(outcome).what != "default":
                return outcome
        return self._rest(context)

    def key_patches(self) -> Iterator[Draft]:
        """Yield drafts with one thing to bucket by, on all sides of all edges of the flag."""
        for bucketing, weights in choices_of(self.flag):
            for one in edge_keys(bucketing, self.flag.key, weights):
                for slot in hashed_slots(bucketing):
                    yield {slot: one.key}

    def by_variant(self) -> dict[str, Draft]:
        """Return a draft for each variant that the flag is known to serve, by any way."""
        starts: list[Draft] = [one.draft for one in self.found if one.reached]
        starts += [self.default.draft, *self._targeted()]
        starts += [{**self.default.draft, **patch} for patch in self.key_patches()]
        found: dict[str, Draft] = {}
        for draft in starts:
            outcome = self._decide(context_of(draft))
            found.setdefault(str(outcome.variant), draft)
        return found

    def patches_of(self, clause: Clause) -> tuple[Draft, ...]:
        """Return drafts that decide a clause of a segment or of another flag."""
        if clause.operator is Operator.IN_SEGMENT:
            return tuple(
                patch
                for name in clause.values
                if isinstance(name, str)
                for patch in self.lab.members(name)
            )
        if clause.operator is Operator.SERVES:
            puzzle = self.lab.puzzle(clause.attribute)
            return () if puzzle is None else tuple(puzzle.by_variant().values())
        return ()

    def _all_patches(self) -> Iterator[Draft]:
        for clause in clauses_of(self.flag):
            yield from self.patches_of(clause)
        for needed in self.flag.prerequisites:
            puzzle = self.lab.puzzle(needed.flag)
            if puzzle is not None:
                yield from puzzle.by_variant().values()

    def _targeted(self) -> Iterator[Draft]:
        for target in self.flag.targets:
            for key in ends_of(target.keys):
                yield {key_of(target.context_kind): key}

    def _rule(self, number: int) -> Found:
        conditions = self.conditions[number]
        found = Found({})

        def progress(context: Context) -> tuple[float, tuple[Slot, ...]]:
            stage = self.stage(context)
            if stage.what == "rule" and stage.rule == number:
                return 1.0, ()
            if all(one.holds(context) for one in conditions):
                found.met = True
                found.by[str(stage)] = found.by.get(str(stage), 0) + 1
            return self._far(stage, number)

        climb = Climb(self.pools, self.patches, _dice(f"{self.flag.key}:{number}"))
        found.draft, found.reached = climb.to(conditions, TRIES, progress=progress)
        return found

    def _default(self) -> Found:
        def progress(context: Context) -> tuple[float, tuple[Slot, ...]]:
            stage = self.stage(context)
            if stage.what == "default":
                return 1.0, ()
            return self._far(stage, len(self.flag.rules))

        climb = Climb(self.pools, self.patches, _dice(f"{self.flag.key}:default"))
        draft, reached = climb.to([], TRIES, progress=progress)
        return Found(draft, reached)

    def _far(self, stage: Stage, number: int) -> tuple[float, tuple[Slot, ...]]:
        """Return how far towards a rule an evaluation came, and the slots that held it up."""
        if stage.what == "prerequisite":
            return 0.0, self.pools.slots
        if stage.what == "target":
            return 0.1, tuple(key_of(target.context_kind) for target in self.flag.targets)
        if stage.what == "rule" and stage.rule < number:
            slots = tuple(slot for one in self.conditions[stage.rule] for slot in one.slots)
            return 0.2 + 0.6 * stage.rule / (number + 1), (*slots, *self._hashed)
        return 0.8, self._hashed  # left over: a gate, a split that falls through, a clause, no key


def stage_of(outcome: Outcome) -> Stage:
    """Return which part of a flag decided an outcome, of a flag whose rules go by their place."""
    if outcome.prerequisite:
        return Stage("prerequisite")
    if outcome.off:
        return Stage("off")
    if outcome.error_code is not None:
        return Stage("no key")
    if outcome.rule:
        return Stage("rule", int(outcome.rule.removeprefix("#")))
    if outcome.reason is Reason.TARGETING_MATCH:
        return Stage("target")
    return Stage("default")
