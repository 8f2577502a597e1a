"""What Unleash can keep of any flag of ours, part by part, without asking a server.

What :func:`fitted` answers with is what the writer takes: each clause, each flag goes through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.errors import Refused
from downhaul.evaluator.carriers import bucketing_of, carrier_of
from downhaul.flag import Bucketing, Clause, Flag, FlagSet, Rule, Segment, Serve
from downhaul.ledger import Fidelity, Ledger, LedgerEntry, Translation
from downhaul.references import in_order, named_by
from downhaul_unleash.composing import composed
from downhaul_unleash.entries import Entries
from downhaul_unleash.members import written_out
from downhaul_unleash.naming import Names, names_of
from downhaul_unleash.needing import dependencies_of
from downhaul_unleash.saying import said
from downhaul_unleash.texts import spoken
from downhaul_unleash.whole import check_whole, checked_keys
from downhaul_unleash.why import CantSay

_NO_TAGS: Final = "Unleash's tags are not told to SDKs: declare them, or a kill by tag misses it"
_NO_OWNER: Final = "Unleash keeps no owner"
_NO_ID: Final = "Unleash keeps no names of rules"
_NOBODY: Final = "a rule that serves nobody, and falls through for whoever it matches"
_LEFT_OUT: Final = "left out: a part of it has no place in Unleash, and without it others decide"
_SEGMENT: Final = (
    "written out in the rules of the flags that name it: it changes no more with this segment"
)
_UNUSED: Final = "no flag names it, and Downhaul writes no segments in Unleash"


def fitted(flag_set: FlagSet) -> Translation:
    """Return the flags as Unleash would keep them, and what becomes of each part."""
    flags: dict[str, Flag] = {}
    names: dict[str, Names] = {}
    noted: dict[str, Entries] = {}
    for one in in_order(flag_set):
        if isinstance(one, Flag):
            fitting = _Fitting(one, flag_set.segments, flags, names)
            made = fitting.made()
            noted[one.key] = fitting.noted
            if made is not None:
                flags[one.key] = made
    entries: list[LedgerEntry] = [entry for key in flag_set.flags for entry in noted[key].made]
    entries += _of_segments(flag_set)
    kept = tuple(flags[key] for key in flag_set.flags if key in flags)
    return Translation(kept, (), Ledger(tuple(entries)))


def _of_segments(flag_set: FlagSet) -> Iterator[LedgerEntry]:
    everything: list[Flag | Segment] = [*flag_set.flags.values(), *flag_set.segments.values()]
    named = {node.key for one in everything for node in named_by(one) if node.sort == "segment"}
    for key, segment in flag_set.segments.items():
        path, fragment = f"segments.{key}", segment_to_data(segment)
        if key in named:
            yield LedgerEntry("", path, Fidelity.PARTIAL, _SEGMENT, fragment)
        else:
            yield LedgerEntry("", path, Fidelity.SKIPPED, _UNUSED, fragment)


class _Fitting:
    """One flag on its way. ``noted`` is what became of its parts."""

    def __init__(
        self,
        flag: Flag,
        segments: Mapping[str, Segment],
        others: Mapping[str, Flag],
        names: dict[str, Names],
    ) -> None:
        self.noted = Entries(flag.key)
        self._flag = flag
        self._path = f"flags.{flag.key}"
        self._segments = segments
        self._others = others
        self._names = names
        self._data = flag_to_data(flag)

    def made(self) -> Flag | None:
        """Return the flag as Unleash would keep it, or None where it can't keep it."""
        flag = self._flag
        flag = self._renamed(flag)
        flag = replace(flag, default=self._salted(flag.default))
        flag = self._ruled(flag)
        flag = self._targeted(flag)
        flag = self._needing(flag)
        flag = self._bare(flag)
        self._checked(flag)
        lost = [one for one in self.noted.made if one.fidelity is Fidelity.MANUAL]
        if lost:
            self.noted.made[:] = lost
            self.noted.manual(self._path, _LEFT_OUT, self._data)
            return None
        if not any(one.path == self._path for one in self.noted.made):
            self.noted.full(self._path)
        return flag

    # The parts

    def _renamed(self, flag: Flag) -> Flag:
        names = names_of(flag)
        self._names[flag.key] = names
        if names.refusal:
            self.noted.manual(f"{self._path}.variants", names.refusal, _values_of(self._flag))
        elif names.reasons:
            reason = "; ".join(names.reasons)
            self.noted.partial(f"{self._path}.variants", reason, _values_of(self._flag))
        return names.renamed(flag)

    def _salted(self, serve: Serve) -> Serve:
        if isinstance(serve, str):
            return serve
        return replace(serve, bucketing=self._named(serve.bucketing))

    def _named(self, how: Bucketing) -> Bucketing:
        """Return a bucketing that says its salt, so that nobody takes it for Unleash's own."""
        return bucketing_of(carrier_of(how, self._flag.key)) or how

    def _ruled(self, flag: Flag) -> Flag:
        rules: list[Rule] = []
        for number, rule in enumerate(flag.rules):
            path = f"{self._path}.rules[{number}]"
            data = self._data["rules"][number]
            try:
                parts = written_out(rule, self._segments)
            except CantSay as refusal:
                self.noted.manual(path, str(refusal), data)
                continue
            if _serves_nobody(rule):
                self.noted.skipped(path, _NOBODY, data)
                continue
            if rule.id:
                self.noted.skipped(f"{path}.id", _NO_ID, rule.id)
            if parts != [rule]:
                self.noted.partial(path, _SEGMENT, data)
            else:
                self.noted.full(path)
            rules += [self._rule(one, path) for one in parts]
        return replace(flag, rules=tuple(rules))

    def _rule(self, rule: Rule, path: str) -> Rule:
        clauses: list[Clause] = []
        for number, clause in enumerate(rule.clauses):
            place = f"{path}.clauses[{number}]"
            try:
                found = spoken(clause)
                said(found.clause)
            except CantSay as refusal:
                self._note(self.noted.manual, place, f"{clause.operator}: {refusal}", clause)
                continue
            if found.reasons:
                self._note(self.noted.partial, place, "; ".join(found.reasons), clause)
            else:
                self.noted.full(place)
            clauses.append(found.clause)
        gate = rule.gate
        if gate is not None:
            gate = replace(gate, bucketing=self._named(gate.bucketing))
        serve = self._salted(rule.serve)
        return replace(rule, clauses=tuple(clauses), gate=gate, serve=serve, id="")

    def _note(
        self, note: Callable[[str, str, Any], None], place: str, why: str, clause: Clause
    ) -> None:
        fragment = {
            "attribute": clause.attribute,
            "operator": clause.operator.value,
            "values": list(clause.values),
            "negate": clause.negate,
        }
        note(place, why, fragment)

    def _targeted(self, flag: Flag) -> Flag:
        for number, one in enumerate(flag.targets):
            path = f"{self._path}.targets[{number}]"
            try:
                checked_keys(flag.key, one.keys)
            except Refused as refusal:
                self.noted.manual(
                    path, refusal.message, {"variant": one.variant, "keys": sorted(one.keys)}
                )
            else:
                self.noted.full(path)
        return replace(flag, targets=tuple(one for one in flag.targets if one.keys))

    def _needing(self, flag: Flag) -> Flag:
        needs = tuple(
            self._names[one.flag].prerequisite(one) if one.flag in self._names else one
            for one in flag.prerequisites
        )
        for number, one in enumerate(needs):
            path = f"{self._path}.prerequisites[{number}]"
            try:
                dependencies_of(replace(flag, prerequisites=(one,)), self._others.get)
            except CantSay as refusal:
                self.noted.manual(path, str(refusal), self._data["prerequisites"][number])
            else:
                self.noted.full(path)
        return replace(flag, prerequisites=needs)

    def _bare(self, flag: Flag) -> Flag:
        if flag.tags:
            self.noted.partial(f"{self._path}.tags", _NO_TAGS, list(flag.tags))
        if flag.owner:
            self.noted.skipped(f"{self._path}.owner", _NO_OWNER, flag.owner)
        return replace(flag, tags=(), owner="")

    def _checked(self, flag: Flag) -> None:
        """Note what the writer says of the whole."""
        if any(one.fidelity is Fidelity.MANUAL for one in self.noted.made):
            return
        try:
            check_whole(flag)
            dependencies_of(flag, self._others.get)
            composed(flag)
        except (CantSay, Refused) as refusal:
            why = refusal.message if isinstance(refusal, Refused) else str(refusal)
            self.noted.manual(f"{self._path}.rules", why, self._data)


def _serves_nobody(rule: Rule) -> bool:
    if isinstance(rule.serve, str) or (rule.gate is not None and rule.gate.outside is not None):
        return False
    return not any(one.weight for one in rule.serve.weights if one.variant is not None)


def _values_of(flag: Flag) -> dict[str, Any]:
    return {"variants": dict(flag.variants), "off_variant": flag.off_variant}
