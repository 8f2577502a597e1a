"""What LaunchDarkly can keep of flags and segments, part by part, with what differs then.

Nothing is asked of anybody. What comes out is what :meth:`put` takes: the writer looks at each flag
before it counts as kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final

from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.errors import Refused
from downhaul.flag import (
    Bucketing,
    Clause,
    Flag,
    FlagSet,
    Gate,
    NoKey,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Segment,
    SegmentRule,
    Serve,
    Split,
    Target,
    Weight,
)
from downhaul.ledger import Fidelity, Ledger, LedgerEntry, Translation
from downhaul_launchdarkly.flags import planned
from downhaul_launchdarkly.known import kind_of, names_of
from downhaul_launchdarkly.losses import Unsayable
from downhaul_launchdarkly.restating import Restated, restated
from downhaul_launchdarkly.stored import Stored
from downhaul_launchdarkly.whole import KEY
from downhaul_launchdarkly.written import Writer

_NAMES: Final = "variant names"
_KEYS: Final = "segment keys"
_BY_SALT: Final = frozenset({Scheme.DOWNHAUL, Scheme.LAUNCHDARKLY, Scheme.UNLEASH})
_MOST: Final = 220  # characters of a segment's own key that stay in a new one
_NOBODY: Final = "it matches nobody"
_KEYLESS: Final = "no key: a rule that serves nobody is gone, which held back who has no key"


def fitted(flag_set: FlagSet) -> Translation:
    """Return the flags and segments as LaunchDarkly would keep them, what is named first."""
    return _Fitting(flag_set).translation()


class _Lost(Exception):
    """A part that can't be kept, and with it the whole flag or segment."""

    def __init__(self, path: str, reason: str, fragment: Any = None) -> None:
        super().__init__(reason)
        self.path, self.reason, self.fragment = path, reason, fragment


@dataclass(slots=True)
class _Part:
    """A flag or a segment on its way: what is said of it, and where."""

    flag: str
    path: str
    data: Mapping[str, Any]
    entries: list[LedgerEntry] = field(default_factory=list)

    def tell(
        self, path: str, fidelity: Fidelity = Fidelity.FULL, reason: str = "", fragment: Any = None
    ) -> None:
        place = f"{self.path}.{path}" if path else self.path
        self.entries.append(LedgerEntry(self.flag, place, fidelity, reason, fragment))


class _Fitting:
    def __init__(self, flag_set: FlagSet) -> None:
        self._source = flag_set
        self._entries: list[LedgerEntry] = []
        self._segments: dict[str, Segment] = {}
        self._made: dict[str, Segment] = {}
        self._flags: dict[str, Flag] = {}
        self._plans: dict[str, Stored] = {}
        self._variants: dict[str, Mapping[str, str]] = {}
        self._seen: set[tuple[str, str]] = set()

    def translation(self) -> Translation:
        """Return everything that is kept, and the ledger of everything there is."""
        for key in self._source.segments:
            self._segment(key)
        for key in self._source.flags:
            self._flag(key)
        segments = (*self._made.values(), *self._segments.values())
        entries = [
            *self._entries,
            *(
                LedgerEntry("", f"segments.{key}", Fidelity.FULL, "made for clauses of others")
                for key in self._made
            ),
        ]
        return Translation(tuple(self._flags.values()), segments, Ledger(tuple(entries)))

    # Segments

    def _segment(self, key: str) -> Segment | None:
        """Return a segment as it is kept, or None."""
        source = self._source.segments.get(key)
        if source is None or ("segment", key) in self._seen:
            return self._segments.get(key)
        self._seen.add(("segment", key))
        part = _Part("", f"segments.{key}", segment_to_data(source))
        try:
            self._segments[key] = self._kept_segment(source, part)
        except _Lost as lost:
            part.tell(lost.path, Fidelity.MANUAL, lost.reason, lost.fragment)
        self._entries += part.entries
        return self._segments.get(key)

    def _kept_segment(self, source: Segment, part: _Part) -> Segment:
        rules = []
        for number, rule in enumerate(source.rules):
            place = f"rules[{number}]"
            clauses = self._clauses(rule.clauses, part, place)
            if clauses is None:
                part.tell(place, Fidelity.SKIPPED, _NOBODY)
                continue
            rules.append(SegmentRule(clauses, _gate(rule.gate, source.key)))
        key = _segment_key(source.key)
        kept = replace(source, key=key, rules=tuple(rules))
        try:
            Writer(kept).segment(kept)
        except Refused as refused:
            raise _Lost("", _why(refused), part.data) from None
        if key != source.key:
            part.tell("key", Fidelity.PARTIAL, f'{_KEYS}: it is called "{key}" there')
        else:
            part.tell("")
        return kept

    def _named(self, alternatives: tuple[tuple[Clause, ...], ...]) -> str:
        """Return the key of a segment of whom these are about, made where there is none yet."""
        rules = tuple(SegmentRule(one) for one in alternatives)
        said = repr(segment_to_data(Segment("", rules=rules)))
        key = f"downhaul-{sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
        self._made[key] = Segment(key, rules=rules, description="made by Downhaul for a clause")
        return key

    # Clauses

    def _clauses(
        self, clauses: Iterable[Clause], part: _Part, place: str
    ) -> tuple[Clause, ...] | None:
        """Return clauses in LaunchDarkly's words; None where they hold for nobody. Raises _Lost."""
        made: list[Clause] = []
        held = True
        for number, one in enumerate(clauses):
            where = f"{place}.clauses[{number}]"
            if one.operator is Operator.IN_SEGMENT:
                made.append(self._in_segment(one, part, where))
                continue
            said = self._restated(one, part, where)
            held = self._add(made, said) and held
        return tuple(made) if held else None

    def _restated(self, one: Clause, part: _Part, where: str) -> Restated:
        try:
            said = restated(one)
        except Unsayable as error:
            raise _Lost(where, str(error), _at(part.data, where)) from None
        for loss in said.losses:
            part.tell(where, Fidelity.PARTIAL, loss, _at(part.data, where))
        return said

    def _add(self, made: list[Clause], said: Restated) -> bool:
        """Take in what a clause is; return whether anybody can match it."""
        if not said.outside:
            if len(said.alternatives) == 1:
                made += said.alternatives[0]
            elif said.alternatives:
                made.append(Clause("", Operator.IN_SEGMENT, (self._named(said.alternatives),)))
            return bool(said.alternatives)
        made += said.beside
        if said.alternatives:
            key = self._named(said.alternatives)
            made.append(Clause("", Operator.IN_SEGMENT, (key,), negate=True))
        return True

    def _in_segment(self, one: Clause, part: _Part, where: str) -> Clause:
        kept = [self._segment(str(key)) for key in one.values]
        for key, segment in zip(one.values, kept, strict=True):
            if segment is None:
                message = f'segment "{key}", which it names, is not kept'
                raise _Lost(where, message, _at(part.data, where))
        return replace(one, values=tuple(each.key for each in kept if each is not None))

    # Flags

    def _flag(self, key: str) -> Flag | None:
        """Return a flag as it is kept, or None."""
        source = self._source.flags.get(key)
        if source is None or ("flag", key) in self._seen:
            return self._flags.get(key)
        self._seen.add(("flag", key))
        needed = [self._flag(one.flag) for one in source.prerequisites]
        part = _Part(key, f"flags.{key}", flag_to_data(source))
        try:
            kept = self._kept_flag(source, needed, part)
            self._plans[key] = self._planned(kept)
            self._flags[key] = kept
        except _Lost as lost:
            part.tell(lost.path, Fidelity.MANUAL, lost.reason, lost.fragment)
        except Refused as refused:
            part.tell("", Fidelity.MANUAL, _why(refused), part.data)
        self._entries += part.entries
        return self._flags.get(key)

    def _planned(self, kept: Flag) -> Stored:
        """Return the flag as it would be made. Raises Refused for what the writer can't say."""
        return planned(kept, self._plans)

    def _kept_flag(self, source: Flag, needed: list[Flag | None], part: _Part) -> Flag:
        if not KEY.fullmatch(source.key):
            raise _Lost("key", "its keys are letters, digits, '.', '_' and '-'", source.key)
        names = self._renamed(source, part)
        part.tell("default")
        return replace(
            source,
            variants={names[name]: source.variants[name] for name in names},
            off_variant=None if source.off_variant is None else names[source.off_variant],
            default=_serve(source.default, source.key, names),
            targets=self._targets(source, names, part),
            rules=tuple(self._rules(source, names, part)),
            prerequisites=tuple(self._required(source, needed, part)),
        )

    def _renamed(self, source: Flag, part: _Part) -> Mapping[str, str]:
        """Return the variants' names there, by the ones they have, in the order they get there."""
        order = _risen(source)
        values = [source.variants[name] for name in order]
        if kind_of(values) is not source.kind:
            message = f"its variants' values are not all of kind {source.kind}"
            raise _Lost("variants", message, part.data.get("variants"))
        names = dict(zip(order, names_of(values, source.kind), strict=True))
        self._variants[source.key] = names
        other = [f'"{old}" is "{new}"' for old, new in names.items() if old != new]
        if other:
            reason = f"{_NAMES}: {', '.join(other)} there, with the same value"
            part.tell("variants", Fidelity.PARTIAL, reason, dict(names))
        else:
            part.tell("variants")
        return names

    def _targets(self, source: Flag, names: Mapping[str, str], part: _Part) -> tuple[Target, ...]:
        if source.targets:
            part.tell("targets")
        return tuple(replace(one, variant=names[one.variant]) for one in source.targets if one.keys)

    def _rules(self, source: Flag, names: Mapping[str, str], part: _Part) -> Iterator[Rule]:
        for number, rule in enumerate(source.rules):
            place = f"rules[{number}]"
            before = len(part.entries)
            clauses = self._clauses(rule.clauses, part, place)
            if clauses is None:
                part.tell(place, Fidelity.SKIPPED, _NOBODY, _at(part.data, place))
                continue
            if _serves_nobody(rule):
                self._tell_of_nobody(rule, part, place)
                continue
            if len(part.entries) == before:
                part.tell(place)
            gate = _gate(rule.gate, source.key)
            if gate is not None and gate.outside is not None:
                gate = replace(gate, outside=names[gate.outside])
            serve = _serve(rule.serve, source.key, names)
            yield replace(rule, serve=serve, clauses=clauses, gate=gate)

    def _tell_of_nobody(self, rule: Rule, part: _Part, place: str) -> None:
        gate = rule.gate
        if gate is None or gate.bucketing.no_key is not NoKey.ERROR:
            part.tell(place, Fidelity.SKIPPED, "it serves nobody", _at(part.data, place))
        else:
            part.tell(place, Fidelity.PARTIAL, _KEYLESS, _at(part.data, place))

    def _required(
        self, source: Flag, needed: list[Flag | None], part: _Part
    ) -> Iterator[Prerequisite]:
        for number, (one, other) in enumerate(zip(source.prerequisites, needed, strict=True)):
            where = f"prerequisites[{number}]"
            if other is None:
                message = f'flag "{one.flag}", which it requires, is not kept'
                raise _Lost(where, message, _at(part.data, where))
            part.tell(where)
            names = self._variants[one.flag]
            yield replace(one, variants=tuple(names[name] for name in one.variants))


def _risen(flag: Flag) -> list[str]:
    """Return the names of variants, those that a rollout raises first.

    LaunchDarkly's own percentages go by the order of the variations wherever they are changed.
    """
    default = flag.default
    first = [one.variant for one in default.weights] if isinstance(default, Split) else []
    return list(dict.fromkeys([*(name for name in first if name is not None), *flag.variants]))


def _serves_nobody(rule: Rule) -> bool:
    inside = isinstance(rule.serve, str) or any(
        one.variant is not None and one.weight for one in rule.serve.weights
    )
    return not inside and (rule.gate is None or rule.gate.outside is None)


def _serve(serve: Serve, key: str, names: Mapping[str, str]) -> Serve:
    if isinstance(serve, str):
        return names[serve]
    weights = tuple(
        Weight(None if one.variant is None else names[one.variant], one.weight)
        for one in serve.weights
    )
    return Split(weights, _said(serve.bucketing, key))


def _gate(gate: Gate | None, key: str) -> Gate | None:
    return None if gate is None else replace(gate, bucketing=_said(gate.bucketing, key))


def _said(how: Bucketing, key: str) -> Bucketing:
    """Return a bucketing with the salt that it had as the key, which may not be the same there."""
    return replace(how, salt=key) if how.salt is None and how.scheme in _BY_SALT else how


def _segment_key(key: str) -> str:
    """Return the key of a segment there: another one only where its own is none to LaunchDarkly."""
    if KEY.fullmatch(key):
        return key
    plain = re.sub("[^A-Za-z0-9._-]", "-", key)[:_MOST]
    return f"s-{plain}-{sha256(key.encode()).hexdigest()[:8]}"


def _at(data: Any, path: str) -> Any:
    """Return what stands at a path such as ``rules[0].clauses[1]``, or nothing."""
    for name, number in re.findall(r"(\w+)\[(\d+)\]", path.replace("clauses", "when")):
        part = data.get(name) or [] if isinstance(data, Mapping) else []
        data = part[int(number)] if int(number) < len(part) else None
    return data


def _why(refused: Refused) -> str:
    return refused.message.partition(": ")[2] or refused.message
