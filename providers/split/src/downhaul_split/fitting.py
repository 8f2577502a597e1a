"""What Split can keep of flags, and in which form: what ``put`` would write, read back.

So what fits is never guessed: the same code says what can be written and what it then decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.errors import Refused
from downhaul.evaluator.carriers import bucketing_of, carrier_of
from downhaul.flag import (
    Bucketing,
    Clause,
    Flag,
    FlagKind,
    FlagSet,
    FlagType,
    Operator,
    Prerequisite,
    Rule,
    Serve,
    Split,
)
from downhaul.ledger import Fidelity, Ledger, LedgerEntry, Translation
from downhaul.references import named_by
from downhaul_split.carried import with_listed_keys
from downhaul_split.matchers import NotCarried
from downhaul_split.readings import read_otherwise
from downhaul_split.stored import Stored
from downhaul_split.writing import (
    MOST_TREATMENTS,
    RESERVED,
    check_targets,
    definition_of,
    is_name,
    lower,
    required,
    written_rule,
)

_NO_NAME: Final = (
    "its key is no name in Split (a letter, then letters, digits, - and _), and a flag can't be "
    "renamed where code asks for it"
)
_LEFT_OUT: Final = "it is left out whole, for what can't be kept of it"
_MOST_READINGS: Final = 4
_TAGS: Final = "Split's console keeps them, and its SDK isn't told: declare them for a kill by tag"


def fitted(flag_set: FlagSet) -> Translation:
    """Return the flags as Split would keep them, each before those that ask for it, and a ledger.

    A flag is whole in it, or left out with what can't be kept of it.
    """
    names = {key: treatments_of(flag) for key, flag in flag_set.flags.items()}
    made = {key: _Fit(flag, flag_set, names).made() for key, flag in flag_set.flags.items()}
    kept = {key: one for key, one in made.items() if one.flag is not None}
    while lost := [key for key, one in kept.items() if one.misses(kept)]:
        for key in lost:
            del kept[key]
    entries = [entry for one in made.values() for entry in one.entries]
    entries += [
        LedgerEntry("", f"segments.{key}", Fidelity.MANUAL, _SEGMENTS, segment_to_data(one))
        for key, one in flag_set.segments.items()
    ]
    flags = tuple(one.flag for one in _in_order(kept) if one.flag is not None)
    return Translation(flags, (), Ledger(tuple(entries)))


_SEGMENTS: Final = "segments are not written to Split from here: make it there"


def treatments_of(flag: Flag) -> dict[str, str]:
    """Return the name in Split of each variant: its own where Split takes that."""
    made: dict[str, str] = {name: name for name in flag.variants if _is_treatment(name)}
    for name in flag.variants:
        if name in made:
            continue
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
        first = plain if _is_treatment(plain) else f"v-{plain}".rstrip("-")
        taken, number, free = set(made.values()), 2, first
        while free in taken or free in flag.variants:
            free, number = f"{first}-{number}", number + 1
        made[name] = free
    return {name: made[name] for name in flag.variants}


def _is_treatment(name: str) -> bool:
    return is_name(name) and name.lower() not in RESERVED


@dataclass(slots=True)
class _Made:
    """What became of one flag; ``flag`` is None where it can't be kept."""

    flag: Flag | None
    entries: list[LedgerEntry] = field(default_factory=list)

    def misses(self, kept: Mapping[str, _Made]) -> bool:
        """Return whether it asks for what is not kept, and note that it is left out then."""
        if self.flag is None:
            return False
        for node in named_by(self.flag):
            if node.sort != "flag" or node.key not in kept:
                reason = f"it asks for {node}, which Split can't keep"
                whole = self.entries.pop()
                lost = replace(whole, fidelity=Fidelity.MANUAL, reason=reason)
                self.entries.append(replace(lost, fragment=flag_to_data(self.flag)))
                return True
        return False


class _Fit:
    """Fits one flag into Split. ``names`` are the treatments of all flags."""

    def __init__(
        self, flag: Flag, flag_set: FlagSet, names: Mapping[str, Mapping[str, str]]
    ) -> None:
        self._flag = flag
        self._flag_set = flag_set
        self._names = names
        self._own = names[flag.key]
        self._path = f"flags.{flag.key}"
        self._data = flag_to_data(flag)
        self._entries: list[LedgerEntry] = []

    def made(self) -> _Made:
        """Return the flag as Split would keep it, with what became of each of its parts."""
        flag = self._prepared()
        self._parts(flag)
        made = None
        if any(one.fidelity is Fidelity.MANUAL for one in self._entries):
            self._note("", Fidelity.MANUAL, _LEFT_OUT, self._data)
        else:
            made = self._read_back(flag)
        if made is not None:
            self._told()
            self._note("", Fidelity.FULL)
        return _Made(made, self._entries)

    def _read_back(self, flag: Flag) -> Flag | None:
        """Return what is read of the flag once it is written, and stays so if it is written again.

        Two parts of a split that serve the same are one only when they are written again.
        """
        try:
            for _ in range(_MOST_READINGS):
                before, flag = flag, _stored(flag)
                if flag == before:
                    break
        except (Refused, NotCarried) as error:
            self._note("", Fidelity.MANUAL, self._why(error), self._data)
            return None
        return flag

    # What each part becomes before it is written

    def _prepared(self) -> Flag:
        flag = self._flag
        return replace(
            flag,
            variants={self._own[name]: value for name, value in flag.variants.items()},
            off_variant=self._off(),
            targets=tuple(replace(one, variant=self._own[one.variant]) for one in flag.targets),
            prerequisites=tuple(self._prerequisite(one) for one in flag.prerequisites),
            rules=tuple(self._rule(one) for one in flag.rules),
            default=self._serve(flag.default),
            owner="",
            type=FlagType.RELEASE,
            version="",
        )

    def _off(self) -> str | None:
        off = off_variant_of(self._flag)
        return None if off is None else self._own[off]

    def _prerequisite(self, one: Prerequisite) -> Prerequisite:
        """Return a prerequisite that names what meets it, and does not ask whether that is off."""
        other = self._flag_set.flags.get(one.flag)
        if other is None:
            return one
        off = off_variant_of(other)
        wanted = one.variants or tuple(name for name in other.variants if name != off)
        while_off = one.while_off or (off is not None and off not in wanted)
        names = tuple(self._names[one.flag].get(name, name) for name in wanted)
        return replace(one, variants=names, while_off=while_off)

    def _rule(self, rule: Rule) -> Rule:
        gate = rule.gate
        if gate is not None:
            outside = None if gate.outside is None else self._own[gate.outside]
            gate = replace(gate, bucketing=self._said(gate.bucketing), outside=outside)
        clauses = tuple(self._clause(one) for one in rule.clauses)
        return replace(rule, serve=self._serve(rule.serve), clauses=clauses, gate=gate)

    def _clause(self, clause: Clause) -> Clause:
        if clause.operator is not Operator.SERVES:
            return clause
        names = self._names.get(clause.attribute, {})
        return replace(clause, values=tuple(names.get(one, one) for one in clause.values))

    def _serve(self, serve: Serve) -> Serve:
        if isinstance(serve, str):
            return self._own[serve]
        weights = tuple(
            one if one.variant is None else replace(one, variant=self._own[one.variant])
            for one in serve.weights
        )
        return Split(weights, self._said(serve.bucketing))

    def _said(self, how: Bucketing) -> Bucketing:
        """Return a bucketing that says its salt or its seed, so that it is nobody else's."""
        return bucketing_of(carrier_of(how, self._flag.key)) or how

    # What is noted of each part

    def _parts(self, flag: Flag) -> None:
        self._names_and_variants(flag)
        for place, one in enumerate(flag.prerequisites):
            self._required(flag, place, one)
        for place, target in enumerate(flag.targets):
            self._tried(
                f".targets[{place}]", partial(check_targets, replace(flag, targets=(target,)))
            )
        if flag.off_variant is None:
            return
        listed = len(flag.rules) - len(with_listed_keys(flag).rules)
        ended = False
        for place, rule in enumerate(flag.rules):
            path = f".rules[{place}]"
            if ended:
                reason = "nobody comes to it: a rule before it is for all"
                self._note(path, Fidelity.SKIPPED, reason, self._data["rules"][place])
                continue
            if place < listed:
                self._note(path, Fidelity.FULL)
                continue
            clauses = self._tried(path, partial(_write, flag, rule), _differs(rule))
            ended = clauses == 0
        if not ended:
            self._tried(".default", partial(_write_default, flag))

    def _names_and_variants(self, flag: Flag) -> None:
        if not is_name(flag.key):
            self._note(".key", Fidelity.MANUAL, _NO_NAME, flag.key)
        if len(flag.variants) > MOST_TREATMENTS:
            reason = f"Split has at most {MOST_TREATMENTS} treatments of a flag"
            self._note(".variants", Fidelity.MANUAL, reason, list(flag.variants))
        renamed = {name: other for name, other in self._own.items() if name != other}
        if renamed:
            told = ", ".join(f'"{name}" is "{other}"' for name, other in renamed.items())
            reason = f"Split takes no such names: {told} there, with the same value"
            self._note(".variants", Fidelity.PARTIAL, reason, renamed)
        self._off_variant(flag)

    def _off_variant(self, flag: Flag) -> None:
        before, off, path = self._flag.off_variant, flag.off_variant, ".off_variant"
        if off is None:
            reason = "off, it serves each caller's own default, and Split one treatment to all"
            self._note(path, Fidelity.MANUAL, reason)
        elif before is None:
            reason = f'off, it serves "{off}" and not each caller\'s own default'
            self._note(path, Fidelity.PARTIAL, reason)
        elif off != self._own[before]:
            reason = f'off, it serves "{off}" and not "{before}": a kill must turn nothing on'
            now = not flag.on or flag.prerequisites
            self._note(path, Fidelity.MANUAL if now else Fidelity.PARTIAL, reason, before)

    def _required(self, flag: Flag, place: int, one: Prerequisite) -> None:
        path = f".prerequisites[{place}]"
        if one.flag not in self._flag_set.flags:
            reason = f'there is no flag "{one.flag}", so it is never met'
            self._note(path, Fidelity.MANUAL, reason, self._data["prerequisites"][place])
        elif flag.off_variant is not None:
            self._tried(path, partial(required, flag, one))

    def _tried(self, path: str, write: Callable[[], Any], differs: str = "") -> Any:
        """Write one part, and note what became of it. Returns None where it can't be written."""
        try:
            made = write()
        except Refused as error:
            self._note(path, Fidelity.MANUAL, self._why(error), _within(self._data, path))
            return None
        if differs:
            self._note(path, Fidelity.PARTIAL, differs, _within(self._data, path))
        else:
            self._note(path, Fidelity.FULL)
        return made

    def _why(self, error: Exception) -> str:
        return str(error).removeprefix(f'flag "{self._flag.key}" cannot be written: ')

    def _told(self) -> None:
        """Note what is told about the flag and has no place in Split."""
        flag = self._flag
        if flag.tags:
            self._note(".tags", Fidelity.PARTIAL, _TAGS, list(flag.tags))
        for name, value, default in (
            ("owner", flag.owner, ""),
            ("type", flag.type, FlagType.RELEASE),
        ):
            if value != default:
                reason = f"Split has no place for the {name}"
                self._note(f".{name}", Fidelity.SKIPPED, reason, str(value))
        if any(one.id or one.description for one in flag.rules):
            reason = "rules in Split have neither ids nor descriptions"
            self._note(".rules", Fidelity.SKIPPED, reason, [one.id for one in flag.rules])

    def _note(self, path: str, fidelity: Fidelity, reason: str = "", fragment: Any = None) -> None:
        entry = LedgerEntry(self._flag.key, f"{self._path}{path}", fidelity, reason, fragment)
        self._entries.append(entry)


def _stored(flag: Flag) -> Flag:
    """Return what is read of a flag that was written. Raises Refused, NotCarried."""
    definition = {"name": flag.key, **definition_of(flag, portable=False)}
    about = {"tags": [{"name": one} for one in flag.tags], "description": flag.description}
    return Stored(definition, about).flag()


def off_variant_of(flag: Flag) -> str | None:
    """Return the variant that a flag serves in Split while it is off, or None where none can be.

    What a boolean serves then is false: a kill must not turn anything on.
    """
    if flag.kind is not FlagKind.BOOLEAN or flag.variants.get(flag.off_variant or "") is False:
        return flag.off_variant
    false = next((name for name, value in flag.variants.items() if value is False), None)
    return false or flag.off_variant


def _write(flag: Flag, rule: Rule) -> int:
    """Write one rule, and return how many clauses it has at least: without any it is for all."""
    made = lower(flag, (rule,), str(flag.off_variant)).rules
    for one in made:
        written_rule(flag, one)
    return min((len(one.clauses) for one in made), default=1)


def _write_default(flag: Flag) -> None:
    definition_of(replace(flag, rules=(), prerequisites=(), targets=()), portable=False)


def _differs(rule: Rule) -> str:
    return "; ".join(dict.fromkeys(filter(None, map(read_otherwise, rule.clauses))))


def _within(data: Any, path: str) -> Any:
    """Return the part of a document at a path such as ``.rules[3]``."""
    for name, place in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        data = data.get(name) if name else data[int(place)]
        if data is None:
            return None
    return data


def _in_order(kept: Mapping[str, _Made]) -> Iterator[_Made]:
    """Yield what is kept, each after all that it asks for."""
    done: set[str] = set()

    def walk(key: str) -> Iterator[_Made]:
        if key in done:
            return
        done.add(key)
        made = kept[key]
        if made.flag is not None:
            for node in named_by(made.flag):
                yield from walk(node.key)
        yield made

    for key in kept:
        yield from walk(key)
