"""The story of one evaluation, rule by rule: why each did or did not match.

It walks the flag slowly, with the same compiled parts that the decision is made of, and ends with
the same outcome (a property that the tests hold).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from downhaul.context import Context
from downhaul.evaluator.asking import portable_attribute
from downhaul.evaluator.bucketing import bucket_of
from downhaul.evaluator.clauses import bucket_key, compile_clause, opens, reader
from downhaul.evaluator.compile import Compiler, World
from downhaul.evaluator.outcome import FALL_THROUGH, plain
from downhaul.flag import (
    CONTEXT_KIND,
    Bucketing,
    Clause,
    Flag,
    Gate,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Split,
)
from downhaul.overlay import KillRecord
from downhaul.result import Reason, Result


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at: a kill, the switch, a prerequisite, a target, a rule, a split.

    ``matched`` says whether it decided, or for a clause whether it held. ``why`` is for people;
    ``parts`` are a rule's clauses.
    """

    what: str
    matched: bool
    why: str
    parts: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a result came about: ``steps`` in the order of evaluation, the last one decided."""

    flag: str
    result: Result
    steps: tuple[Step, ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.flag}: {self.result.value!r} ({self.result.reason})"]
        for step in self.steps:
            lines.append(f"  {'yes' if step.matched else 'no ':3} {step.what}: {step.why}")
            lines.extend(
                f"      {'yes' if part.matched else 'no ':3} {part.what}: {part.why}"
                for part in step.parts
            )
        return "\n".join(lines)


def story(world: World, key: str, context: Context, result: Result) -> tuple[Step, ...]:
    """Return what an evaluation looks at for this context, until something decides.

    Of a flag that isn't in the world the result alone tells.
    """
    flag = world.flags.get(key)
    if flag is not None and world.ask is None:
        return tuple(_Walk(world, flag, context).steps())
    kill = world.overlay.kill_of(key, flag.tags if flag is not None else ())
    if kill is not None:
        return (_killed(kill, _off(flag) if flag is not None else _SAFE),)
    return (_asked(world, key, result),)


def _asked(world: World, key: str, result: Result) -> Step:
    why = result.error_message or f"decided by {result.provider}"
    vendor = result.metadata.get("vendor_reason")
    if vendor:
        why = f"{why}, which says {vendor}"
    if key in world.portable:
        why = f"{why}; its bucket went along as {portable_attribute(key)}"
    return Step("flag", matched=True, why=why)


_SAFE: Final = "its off variant, or the caller's default where nobody knows it"


def _killed(kill: KillRecord, serves: str) -> Step:
    why = f"{kill.scope} was killed by {kill.actor or '?'} at {kill.at or '?'}: {kill.reason}"
    return Step("kill", matched=True, why=f"{why}; serves {serves}")


class _Walk:
    """One walk over one flag for one context."""

    def __init__(self, world: World, flag: Flag, context: Context) -> None:
        self.world = world
        self.flag = flag
        self.context = context
        self.compiler = Compiler(world)

    def steps(self) -> list[Step]:
        flag = self.flag
        kill = self.world.overlay.kill_of(flag.key, flag.tags)
        if kill is not None:
            return [_killed(kill, _off(flag))]
        told = [Step("kill", matched=False, why="nothing covers this flag")]
        if not flag.on:
            return [*told, Step("off", matched=True, why=f"the flag is off; serves {_off(flag)}")]
        for needed in flag.prerequisites:
            step = self._prerequisite(needed)
            told.append(step)
            if step.matched:
                return told
        if flag.targets:
            step = self._targets()
            told.append(step)
            if step.matched:
                return told
        for index, rule in enumerate(flag.rules):
            step = self._rule(rule, index)
            told.append(step)
            if step.matched:
                return told
        served, why = self._served(flag.default)
        why = why if served else f"{why}; nothing decided, so {_off(flag)}"
        return [*told, Step("default", matched=True, why=why)]

    def _prerequisite(self, needed: Prerequisite) -> Step:
        what = f'prerequisite "{needed.flag}"'
        required = self.world.flags.get(needed.flag)
        if required is None:
            return Step(what, matched=True, why=f"there is no such flag; serves {_off(self.flag)}")
        found = self.compiler.flag(required, plain)(self.context)
        wanted = needed.variants or tuple(
            name for name in required.variants if name != required.off_variant
        )
        holds = (found.variant in wanted and (needed.while_off or not found.off)) != needed.negate
        state = "off or killed, " if found.off else ""
        why = (
            f"{state}serves {found.variant}, wanted {'not ' if needed.negate else ''}"
            f"{' or '.join(wanted) or 'none'}"
        )
        return Step(
            what, matched=not holds, why=why if holds else f"{why}; serves {_off(self.flag)}"
        )

    def _targets(self) -> Step:
        for target in self.flag.targets:
            part = self.context.of_kind(target.context_kind)
            if part is not None and part.targeting_key in target.keys:
                why = f'{target.context_kind} "{part.targeting_key}" always gets {target.variant}'
                return Step("targets", matched=True, why=why)
        count = sum(len(target.keys) for target in self.flag.targets)
        return Step("targets", matched=False, why=f"not among {count} targeted keys")

    def _rule(self, rule: Rule, index: int) -> Step:
        what = f"rule {index + 1}" + (
            f" ({rule.description or rule.id})" * bool(rule.description or rule.id)
        )
        parts = tuple(self._clause(clause) for clause in rule.clauses)
        if not all(part.matched for part in parts):
            held = sum(part.matched for part in parts)
            return Step(
                what, matched=False, why=f"{held} of {len(parts)} clauses hold", parts=parts
            )
        if rule.gate is not None:
            opened = opens(rule.gate.bucketing, self.flag.key, rule.gate.share)(self.context)
            why = self._gate(rule.gate)
            if opened is None:
                return Step(what, matched=True, why=f"{why}: no key to bucket by", parts=parts)
            if not opened:
                decided = rule.gate.outside is not None
                end = f"serves {rule.gate.outside}" if decided else "goes on"
                return Step(what, matched=decided, why=f"{why}: outside, {end}", parts=parts)
            parts = (*parts, Step("gate", matched=True, why=why))
        served, why = self._served(rule.serve)
        return Step(what, matched=served, why=why, parts=parts)

    def _clause(self, clause: Clause) -> Step:
        matched = compile_clause(clause, self.compiler.around(self.flag))(self.context)
        named = {"negate": "not", "ignore_case": "ignoring case"}
        said = [word for name, word in named.items() if getattr(clause, name)]
        values = ", ".join(map(repr, clause.values))
        what = " ".join(
            filter(None, [clause.attribute, *said, clause.operator, f"[{values}]" * bool(values)])
        )
        if clause.operator in (Operator.IN_SEGMENT, Operator.SERVES):
            return Step(what, matched=matched, why="holds" if matched else "does not hold")
        kind = clause.context_kind
        value = reader(clause.attribute, kind)(self.context)
        if clause.attribute != CONTEXT_KIND and self.context.of_kind(kind) is None:
            why = f'the context has no kind "{kind}"'
        else:
            why = "the attribute is missing" if value is None else f"it is {value!r}"
        return Step(what, matched=matched, why=why)

    def _served(self, serve: str | Split) -> tuple[bool, str]:
        """Return whether something is served at all, and how."""
        if isinstance(serve, str):
            return True, f"serves {serve}"
        weights = ", ".join(
            f"{one.variant or 'next'} {one.weight * 100 / serve.bucketing.total:g} %"
            for one in serve.weights
        )
        place = self._place(serve.bucketing)
        trial = self.compiler.serving(self.flag, serve, Reason.DEFAULT, "", plain)(self.context)
        if trial is FALL_THROUGH:
            return False, f"{place} of {weights}: falls through"
        if trial.error_code is not None:
            return True, f"{place}: {trial.error_message}"
        return True, f"{place} of {weights}: serves {trial.variant}"

    def _gate(self, gate: Gate) -> str:
        share = gate.share * 100 / gate.bucketing.total
        return f"{self._place(gate.bucketing)}, open for {share:g} %"

    def _place(self, how: Bucketing) -> str:
        if how.scheme is Scheme.RANDOM:
            return "a random bucket"
        key = bucket_key(how)(self.context)
        if key is None:
            return "no bucket"
        salt = self.flag.key if how.salt is None else how.salt
        place = bucket_of(how, self.flag.key, key)
        return f"bucket {place:g} of {how.total} ({how.scheme}, salt {salt!r})"


def _off(flag: Flag) -> str:
    return "the caller's default" if flag.off_variant is None else flag.off_variant
