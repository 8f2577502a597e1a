"""Contexts to rehearse with: keys of nobody, everybody a flag names, and who meets its rules. Pure.

What meets a rule is guessed from its clauses, one value each. It need not hit: a rehearsal compares
answers of the same contexts, and whom they reach is only how much it proves.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    Segment,
    Serve,
    Split,
)

STRANGERS: Final = 2_000
_PER_RULE: Final = 20
"""Contexts for each rule, with keys of their own: a rule's own split shows in several."""

_OTHER: Final = "something else"
_EARLY: Final = "1970-01-01T00:00:00Z"
_LATE: Final = "9999-01-01T00:00:00Z"
_OLDEST: Final = "0.0.0-0"
_NEWEST: Final = "99999.0.0"
_NESTED: Final = 8


def population(
    flag: Flag,
    segments: Mapping[str, Segment],
    audience: Iterable[str] = (),
    within: Iterable[str] = (),
) -> list[Any]:
    """Return contexts that ask much of the flag: strangers first, then whom it names.

    ``audience`` are keys and ``within`` segments that somebody is about to name.
    """
    buckets = [
        serve.bucketing
        for serve in (flag.default, *(rule.serve for rule in flag.rules))
        if isinstance(serve, Split)
    ]
    found: list[Any] = list(_strangers(buckets))
    found += sorted(audience)
    for target in flag.targets:
        found += [
            key if target.context_kind == USER else Context(key, kind=target.context_kind)
            for key in sorted(target.keys)
        ]
    for rule in flag.rules:
        own = _bucketings(rule.serve, rule.gate)
        for number in range(_PER_RULE):
            found.append(_meeting(rule.clauses, segments, own, f"rule-{number}"))
    for one in within:
        clause = Clause("", Operator.IN_SEGMENT, (one,))
        for number in range(_PER_RULE):
            found.append(_meeting((clause,), segments, buckets, f"{one}-{number}"))
    found.append(Context())
    return found


def _strangers(bucketings: list[Bucketing]) -> Iterator[Any]:
    """Yield strangers with what each split hashes: a plain key, where that is all."""
    plain = all(one.by == (TARGETING_KEY,) and one.context_kind == USER for one in bucketings)
    for number in range(STRANGERS):
        key = f"stranger-{number}"
        yield key if plain else _joined(_Draft.of(bucketings, key))


def _bucketings(serve: Serve, gate: Gate | None) -> list[Bucketing]:
    found = [serve.bucketing] if isinstance(serve, Split) else []
    return [*found, *([gate.bucketing] if gate is not None else [])]


class _Draft:
    """One person in the making: by kind of context, a key and attributes."""

    def __init__(self, key: str) -> None:
        self.keys: dict[str, str] = {USER: key}
        self.attributes: dict[str, dict[str, Any]] = {USER: {}}
        self._key = key

    @classmethod
    def of(cls, bucketings: Iterable[Bucketing], key: str) -> _Draft:
        """Return a person who has what these hash, each once."""
        draft = cls(key)
        for one in bucketings:
            draft.set(one.context_kind, one.by[0] if one.by else TARGETING_KEY, key)
        return draft

    def set(self, kind: str, name: str, value: Any) -> None:
        """Give an attribute, a key or a nested value; the first word on an attribute counts."""
        self.keys.setdefault(kind, self._key)
        attributes = self.attributes.setdefault(kind, {})
        if name == TARGETING_KEY:
            if isinstance(value, str) and value and self.keys[kind] == self._key:
                self.keys[kind] = value
        elif name.startswith("/"):
            *way, last = (one.replace("~1", "/").replace("~0", "~") for one in name[1:].split("/"))
            for step in way:
                inner = attributes.setdefault(step, {})
                if not isinstance(inner, dict):
                    return
                attributes = inner
            attributes.setdefault(last, value)
        elif name and name != CONTEXT_KIND:
            attributes.setdefault(name, value)


def _joined(draft: _Draft) -> Context:
    kinds = [
        Context(draft.keys[kind], attributes, kind) for kind, attributes in draft.attributes.items()
    ]
    return Context.multi(*kinds)


def _meeting(
    clauses: Iterable[Clause], segments: Mapping[str, Segment], own: list[Bucketing], key: str
) -> Context:
    draft = _Draft(key)
    _meet(draft, clauses, segments, 0)
    for one in own:
        draft.set(one.context_kind, one.by[0] if one.by else TARGETING_KEY, key)
    return _joined(draft)


def _meet(
    draft: _Draft, clauses: Iterable[Clause], segments: Mapping[str, Segment], depth: int
) -> None:
    for clause in clauses:
        if clause.operator is Operator.IN_SEGMENT:
            if depth < _NESTED and not clause.negate:
                _join_segment(draft, clause, segments, depth)
        elif clause.operator is not Operator.SERVES:
            draft.set(clause.context_kind, clause.attribute, _fitting(clause))


def _join_segment(
    draft: _Draft, clause: Clause, segments: Mapping[str, Segment], depth: int
) -> None:
    """Make the person a member of the first segment that is named: by key, or by a rule."""
    segment = next((segments[key] for key in clause.values if key in segments), None)
    if segment is None:
        return
    if segment.rules:
        _meet(draft, segment.rules[0].clauses, segments, depth + 1)
        return
    for keys in segment.included:
        if keys.keys:
            draft.set(keys.context_kind, TARGETING_KEY, min(keys.keys))
            return


def _fitting(clause: Clause) -> Any:
    """Return a value of the attribute that the clause matches, as far as that is easily told."""
    if clause.operator is Operator.PRESENT:
        return None if clause.negate else _OTHER
    if not clause.values:
        return _OTHER
    if clause.negate:
        return _AGAINST.get(clause.operator, _other)(clause.values[0])
    if clause.operator in _LISTS:
        return list(clause.values)
    return _FITTING.get(clause.operator, _same)(clause.values[0])


def _same(value: Any) -> Any:
    return value


def _other(_value: Any) -> Any:
    return _OTHER


def _added(by: int) -> Callable[[Any], Any]:
    return lambda value: value + by if isinstance(value, (int, float)) else value


def _address(network: Any) -> Any:
    if not isinstance(network, str):
        return network  # a vendor's clause may hold anything, and a number would be read as one
    try:
        return str(ipaddress.ip_network(network, strict=False).network_address)
    except ValueError:
        return network


_LISTS: Final = (Operator.HAS_ANY, Operator.HAS_ALL, Operator.SET_EQUALS, Operator.SUBSET_OF)
_FITTING: Final[Mapping[Operator, Callable[[Any], Any]]] = {
    Operator.LESS: _added(-1),
    Operator.GREATER: _added(1),
    Operator.BEFORE: lambda _time: _EARLY,
    Operator.AFTER: lambda _time: _LATE,
    Operator.SEMVER_LESS: lambda _version: _OLDEST,
    Operator.SEMVER_GREATER: lambda _version: _NEWEST,
    Operator.IN_CIDR: _address,
    Operator.MATCHES: lambda pattern: str(pattern).strip("^$"),
}
_AGAINST: Final[Mapping[Operator, Callable[[Any], Any]]] = {
    Operator.EQUAL: _added(1),
    Operator.LESS: _same,
    Operator.LESS_OR_EQUAL: _added(1),
    Operator.GREATER: _same,
    Operator.GREATER_OR_EQUAL: _added(-1),
    Operator.SAME_TIME: lambda _time: _EARLY,
    Operator.BEFORE: lambda _time: _LATE,
    Operator.AT_OR_BEFORE: lambda _time: _LATE,
    Operator.AFTER: lambda _time: _EARLY,
    Operator.AT_OR_AFTER: lambda _time: _EARLY,
    Operator.IN_CIDR: lambda _network: "192.0.2.1",
    **dict.fromkeys(_LISTS, lambda _value: [_OTHER]),
    Operator.SEMVER_EQUAL: lambda _version: _NEWEST,
    Operator.SEMVER_LESS: lambda _version: _NEWEST,
    Operator.SEMVER_LESS_OR_EQUAL: lambda _version: _NEWEST,
    Operator.SEMVER_GREATER: lambda _version: _OLDEST,
    Operator.SEMVER_GREATER_OR_EQUAL: lambda _version: _OLDEST,
}
