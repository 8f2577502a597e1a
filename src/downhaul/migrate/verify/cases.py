"""Contexts that ask all of a flag: every rule from inside, from outside, and at its edges.

They are made from the flag as our model has it, and each is labelled with what our own evaluator
decides by, so that what they cover is measured and not hoped for.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from downhaul.context import Context
from downhaul.flag import (
    CONTEXT_KIND,
    TARGETING_KEY,
    USER,
    Bucketing,
    Clause,
    Flag,
    Gate,
    Operator,
    Rule,
    Segment,
    Serve,
    Split,
)
from downhaul.migrate.verify.buckets import candidate, edge_keys, throws_dice
from downhaul.migrate.verify.drafts import NOBODY_SPECIAL, Draft, Slot, context_of, key_of, whole
from downhaul.migrate.verify.pools import choices_of, ends_of, hashed_slots
from downhaul.migrate.verify.search import Found, Lab, Puzzle
from downhaul.migrate.verify.values import MISSING, values_of
from downhaul.references import named_by

PER_FLAG: Final = 4_000
"""The most cases of one flag; what is left out is counted."""

_STRANGERS: Final = 10
_NESTED: Final = 3  # segments within segments whose own clauses are asked about


@dataclass(frozen=True, slots=True)
class Case:
    """One question: a flag and who asks.

    ``about`` says what the case is for, and names nobody. ``decided`` is the part of the flag by
    which our evaluator decides it (``rule 2``, ``target``, ``default``...); empty where that was
    not asked, as for recorded contexts.
    """

    flag: str
    context: Context
    about: str
    decided: str = ""


@dataclass(frozen=True, slots=True)
class Unreached:
    """A rule, by index, that no case is decided by, and why, as far as that can be told."""

    rule: int
    why: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many rules a flag has, and which of them some case is decided by."""

    rules: int
    reached: tuple[int, ...] = ()
    unreached: tuple[Unreached, ...] = ()


@dataclass(frozen=True, slots=True)
class Questions:
    """The cases of a flag, what they cover, and what was left out of them, in words."""

    flag: str
    cases: tuple[Case, ...]
    coverage: Coverage
    left_out: tuple[str, ...] = ()


def cases_of(
    flag: Flag, segments: Mapping[str, Segment], flags: Mapping[str, Flag]
) -> tuple[Case, ...]:
    """Return the cases of a flag; ``flags`` are those that it may require. Always the same ones."""
    return questions_of(flag, segments, flags).cases


def questions_of(
    flag: Flag, segments: Mapping[str, Segment], flags: Mapping[str, Flag]
) -> Questions:
    """Return the cases of a flag with what they cover and what they leave out."""
    return questions_in({**flags, flag.key: flag}, segments, [flag.key])[0]


def questions_in(
    flags: Mapping[str, Flag], segments: Mapping[str, Segment], keys: Iterable[str] | None = None
) -> list[Questions]:
    """Return the questions of several flags (all, unless said): faster than one after the other."""
    lab = Lab(flags, segments)
    found = []
    for key in flags if keys is None else keys:
        puzzle = lab.puzzle(key)
        assert puzzle is not None  # noqa: S101  (for the type checker: nothing is being solved now)
        found.append(_Making(lab, puzzle, flags[key]).questions())
    return found


class _Making:
    """The cases of one flag in the making."""

    def __init__(self, lab: Lab, puzzle: Puzzle, flag: Flag) -> None:
        self.lab = lab
        self.puzzle = puzzle
        self.flag = flag
        self.cases: dict[str, Case] = {}
        self.left_out: list[str] = []
        self.over: set[str] = set()
        self.thrown: set[str] = set()
        self.dice = _has_dice(flag, lab)

    def questions(self) -> Questions:
        """Return all there is to ask."""
        base = self.puzzle.default.draft
        self._strangers(base)
        for number, rule in enumerate(self.flag.rules):
            self._rule(number, rule)
        self._choice(base, self.flag.default, "default")
        self._targets(base)
        self._prerequisites()
        self._kinds(base)
        if self.thrown:
            self.left_out.append(f"{len(self.thrown)} contexts that are decided by dice")
        if self.over:
            self.left_out.append(f"{len(self.over)} contexts beyond the {PER_FLAG} of one flag")
        cases = tuple(self.cases.values())
        return Questions(self.flag.key, cases, self._coverage(cases), tuple(self.left_out))

    def add(self, draft: Draft, about: str) -> None:
        """Add a case, unless there is one of the same context."""
        context = context_of(draft)
        name = _canonical(context)
        if name in self.cases:
            return
        if self.dice and self._is_thrown(context):
            self.thrown.add(name)
        elif len(self.cases) >= PER_FLAG:
            self.over.add(name)
        else:
            decided = str(self.puzzle.stage(context)) if self.flag.on else "off"
            self.cases[name] = Case(self.flag.key, context, about, decided)

    def _is_thrown(self, context: Context) -> bool:
        """Return whether deciding takes a random number: the next answer may be another one."""
        before = random.getstate()
        self.puzzle.outcome(context)
        return random.getstate() != before

    # The parts of a flag

    def _strangers(self, base: Draft) -> None:
        self.add(base, "default: whoever nothing else is for")
        self.add({}, "a stranger with nothing but a key")
        self.add({key_of(USER): MISSING}, "nobody: no targeting key and no attributes")
        for number in range(_STRANGERS):
            self.add({key_of(USER): candidate(number)}, f"stranger {number + 1}")

    def _rule(self, number: int, rule: Rule) -> None:
        name = f"rule {number + 1}"
        base = self.puzzle.contrasting(number)
        self.add(base, f"{name}: all of its clauses hold")
        for place, clause in enumerate(rule.clauses, 1):
            self._clause(base, clause, f"{name}, clause {place}")
        if rule.gate is not None:
            self._choice(base, rule.gate, f"{name}, its gate")
        self._choice(base, rule.serve, f"{name}, its split")

    def _clause(self, base: Draft, clause: Clause, name: str, depth: int = 0) -> None:
        name = f"{name} ({clause.attribute or clause.operator})" if depth == 0 else name
        if clause.operator is Operator.IN_SEGMENT:
            self._segments(base, clause, name, depth)
        elif clause.operator is Operator.SERVES:
            self._served(base, clause.attribute, name)
        elif clause.attribute == CONTEXT_KIND:
            for number, kind in enumerate(clause.values, 1):
                if isinstance(kind, str) and kind:
                    self.add({**base, whole(kind): None}, f"{name}: with kind {number}")
                    self.add({**base, whole(kind): MISSING}, f"{name}: without kind {number}")
        else:
            found = values_of(clause)
            slot = Slot(clause.context_kind, clause.attribute)
            for one in found.tried:
                self.add({**base, slot: one.value}, f"{name}: {one.about}")
            kind = clause.context_kind
            self.add({**base, whole(kind): MISSING}, f"{name}: without the kind {kind}")
            if found.left_out:
                self.left_out.append(f"{name}: {found.left_out} values are not asked about")

    def _segments(self, base: Draft, clause: Clause, name: str, depth: int) -> None:
        for key in clause.values:
            segment = self.lab.segments.get(key) if isinstance(key, str) else None
            if segment is None or depth >= _NESTED:
                continue
            where = f'{name}, segment "{key}"'
            ways = self.lab.members(key)
            # Who is a member already would be one whatever the other way in says.
            used = {slot for way in ways for slot in way}
            bare = {slot: value for slot, value in base.items() if slot not in used}
            for number, patch in enumerate(ways, 1):
                self.add({**bare, **patch}, f"{where}: a member, way {number} in")
                self.add({**base, **patch}, f"{where}: a member, way {number} in, among others")
            for listed in segment.excluded:
                for number, one in enumerate(ends_of(listed.keys), 1):
                    slot = key_of(listed.context_kind)
                    self.add({**base, slot: one}, f"{where}: excluded, key {number}")
            unlisted = {
                key_of(listed.context_kind): NOBODY_SPECIAL
                for listed in (*segment.included, *segment.excluded)
            }
            for index, way in self.lab.by_rules(key).items():
                rule, patch = segment.rules[index], {**unlisted, **way}
                for place, inner in enumerate(rule.clauses, 1):
                    what = f"{where}, rule {index + 1}, clause {place}"
                    self._clause({**bare, **patch}, inner, what, depth + 1)
                if rule.gate is not None:
                    what = f"{where}, rule {index + 1}, its gate"
                    self._choice({**bare, **patch}, rule.gate, what, segment.key)

    def _served(self, base: Draft, key: str, name: str) -> None:
        puzzle = self.lab.puzzle(key)
        for variant, patch in ({} if puzzle is None else puzzle.by_variant()).items():
            self.add({**base, **patch}, f'{name}: flag "{key}" serves {variant}')
            self.add(patch, f'{name}: flag "{key}" serves {variant}, and nothing else')

    def _choice(self, base: Draft, choice: Serve | Gate, name: str, owner: str = "") -> None:
        if isinstance(choice, str):
            return
        how = choice.bucketing
        weights = tuple(one.weight for one in choice.weights) if isinstance(choice, Split) else ()
        weights = (choice.share,) if isinstance(choice, Gate) else weights
        slots = hashed_slots(how)
        for found in edge_keys(how, owner or self.flag.key, weights):
            lies = "just inside" if found.inside else "just beyond"
            about = f"{name}: a bucket {lies} weight {found.index + 1}"
            for place, slot in enumerate(slots):
                before = dict.fromkeys(slots[:place], MISSING)
                by = "" if place == 0 else f", by {slot.attribute}"
                self.add({**base, **before, slot: found.key}, f"{about}{by}")
        self._unhashable(base, how, slots, name)

    def _unhashable(self, base: Draft, how: Bucketing, slots: tuple[Slot, ...], name: str) -> None:
        without = {**base, **dict.fromkeys(slots, MISSING)}
        self.add(without, f"{name}: nothing to bucket by")
        kind = how.context_kind
        self.add({**base, whole(kind): MISSING}, f"{name}: without the kind {kind}")
        for slot in slots:
            if slot.attribute != TARGETING_KEY:
                for value in (12345, 1.5, True, "", ["a"]):
                    about = f"{name}: {type(value).__name__} to bucket by"
                    self.add({**without, slot: value}, about)

    def _targets(self, base: Draft) -> None:
        for number, target in enumerate(self.flag.targets, 1):
            slot = key_of(target.context_kind)
            for place, key in zip(("first", "last"), ends_of(target.keys), strict=False):
                about = f"target {number} ({target.variant}): its {place} key"
                self.add({**base, slot: key}, about)
                self.add({slot: key}, f"{about}, and nothing else")
                self.add({**base, slot: key.swapcase()}, f"{about} in other case")
                self.add({**base, slot: f"{key} "}, f"{about} and a space")
                other = {**base, slot: NOBODY_SPECIAL, Slot(slot.kind, "key"): key}
                self.add(other, f"{about}, as an attribute of a stranger")

    def _prerequisites(self) -> None:
        starts = [one.draft for one in self.puzzle.found if one.reached]
        bases = [self.puzzle.default.draft, *starts[:2]]
        bases += [{**bases[0], **patch} for patch in self.puzzle.key_patches()]
        for number, needed in enumerate(self.flag.prerequisites, 1):
            for base in bases:
                self._served(base, needed.flag, f"prerequisite {number}")

    def _kinds(self, base: Draft) -> None:
        kinds = self.puzzle.pools.kinds
        for kind in kinds:
            others = {whole(one): MISSING for one in kinds if one != kind}
            self.add({**others, key_of(kind): candidate(0)}, f"the kind {kind} alone")
        self.add({**base, **{whole(kind): None for kind in kinds}}, "all kinds at once")

    # What the cases come to

    def _coverage(self, cases: tuple[Case, ...]) -> Coverage:
        decided = {case.decided for case in cases}
        rules = len(self.flag.rules)
        reached = tuple(n for n in range(rules) if f"rule {n + 1}" in decided)
        unreached = tuple(
            Unreached(number, self._why_not(number))
            for number in range(rules)
            if number not in reached
        )
        return Coverage(rules, reached, unreached)

    def _why_not(self, number: int) -> str:
        if not self.flag.on:
            return "the flag is off, so that no rule of it decides"
        for earlier, rule in enumerate(self.flag.rules[:number]):
            if _for_everybody(rule):
                return f"shadowed by rule {earlier + 1}, which is for everybody"
        rule, found = self.flag.rules[number], self.puzzle.found[number]
        if found.reached:
            return "it is decided by dice, so that its answers can't be compared"
        return _closed(rule) or _held_up(found, number)


def _closed(rule: Rule) -> str:
    """Return why a rule can decide nobody, whoever meets its clauses; empty if it can."""
    if rule.gate is not None and rule.gate.outside is not None:
        return ""
    if rule.gate is not None and rule.gate.share <= 0:
        return "its gate lets nobody in"
    if isinstance(rule.serve, Split) and all(one.variant is None for one in rule.serve.weights):
        return "its split leaves everybody to what follows"
    return ""


def _held_up(found: Found, number: int) -> str:
    if not found.met:
        return "no context was found that meets all of its clauses"
    by, _ = max(found.by.items(), key=lambda one: one[1])
    if by.startswith("rule"):
        return f"shadowed by {by}: it decided whoever met all clauses of rule {number + 1}"
    if by == "prerequisite":
        return "a prerequisite failed for whoever met all of its clauses"
    if by == "target":
        return "whoever met all of its clauses is a target"
    return "its gate or its split lets nobody through who was tried"


def _for_everybody(rule: Rule) -> bool:
    """Return whether a rule decides whoever comes to it."""
    if rule.clauses or (rule.gate is not None and rule.gate.outside is None):
        return False
    if isinstance(rule.serve, str):
        return True
    served = [one.weight for one in rule.serve.weights if one.variant is not None]
    return sum(served) >= rule.serve.bucketing.total


def _has_dice(flag: Flag, lab: Lab) -> bool:
    seen: set[Any] = set()
    pending: list[Any] = [flag]
    while pending:
        one = pending.pop()
        if any(throws_dice(bucketing) for bucketing, _ in choices_of(one)):
            return True
        for node in named_by(one):
            many: Mapping[str, Any] = lab.flags if node.sort == "flag" else lab.segments
            key: Any = node.key  # a row edited by hand may name what is no key
            if isinstance(key, str) and node not in seen and key in many:
                seen.add(node)
                pending.append(many[key])
    return False


def _canonical(context: Context) -> str:
    """Return a text that two contexts share only if no backend can tell them apart."""
    kinds = context.kinds or {context.kind: context}
    return repr(
        [(kind, one.targeting_key, _sorted(one.attributes)) for kind, one in sorted(kinds.items())]
    )


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [(name, _sorted(one)) for name, one in sorted(value.items())]
    return value


def of_flags(questions: Iterable[Questions]) -> Iterator[Case]:
    """Yield the cases of all questions, flag by flag."""
    for one in questions:
        yield from one.cases
