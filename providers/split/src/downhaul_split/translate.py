"""Split's documents and contexts in our words.

``flags_from`` reads what Split sends to its SDKs, a file for its localhost mode, and definitions of
the admin API. Each flag decides here as the SDK for Python decides, or the ledger says why not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeVar

from downhaul.context import Context
from downhaul.documents import check_flag
from downhaul.errors import DocumentError, Problem
from downhaul.evaluator.lowering import lifted
from downhaul.flag import Clause, Flag, FlagKind, Operator, Segment
from downhaul.ledger import Fidelity, Ledger, LedgerEntry, Translation
from downhaul.references import clauses_of as clauses_in
from downhaul_split.definitions import as_sent
from downhaul_split.matchers import NotCarried
from downhaul_split.rules import (
    flag_of,
    flags_named,
    rule_based_segment_of,
    segment_of,
    segments_named,
)
from downhaul_split.values import CONTROL

FlagOrSegment = TypeVar("FlagOrSegment", Flag, Segment)

__all__ = ["context_from", "flags_from"]

_WANTED: Final = (
    "it is neither what Split sends to SDKs (`ff`, or `splits`), nor definitions of the admin API"
)


def context_from(mapping: Mapping[str, Any]) -> Context:
    """Return a key and attributes, ``{"key": ..., "attributes": {...}}``, as our context."""
    key = mapping.get("key")
    return Context(None if key is None else str(key), dict(mapping.get("attributes") or {}))


def flags_from(document: Mapping[str, Any] | str | bytes) -> Translation:
    """Return the flags and segments of a Split document, with a ledger of each.

    The keys of segments come from another place than flags: give them beside, as ``segments``, a
    mapping of each name to its keys, or a list of what ``segmentChanges`` answers. Raises
    DocumentError, with the place, for what is no such document.
    """
    try:
        data = json.loads(document) if isinstance(document, (str, bytes)) else document
    except ValueError as error:
        raise _refused("", f"it is no JSON: {error}") from None
    source = _read(data)
    work = _Work()
    for path, name, keys in source.segments:
        work.segment(path, name, partial(segment_of, name, keys))
    ruled = [raw for _path, raw in source.rule_based]
    for path, raw in source.rule_based:
        work.segment(path, str(raw.get("name")), partial(rule_based_segment_of, raw, ruled))
    for path, raw in source.flags:
        work.flag(path, raw)
    work.settle()
    return work.translation()


@dataclass(slots=True)
class _Source:
    flags: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    rule_based: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    segments: list[tuple[str, str, list[str]]] = field(default_factory=list)


class _Work:
    """What was made so far, and what was not."""

    def __init__(self) -> None:
        self._flags: dict[str, Flag] = {}
        self._segments: dict[str, Segment] = {}
        self._lost: dict[tuple[str, str], str] = {}
        self._parts: list[tuple[str, str, str, Any]] = []
        self._partial: dict[str, str] = {}
        self._archived: list[LedgerEntry] = []

    def segment(self, path: str, name: str, make: Callable[[], Segment]) -> None:
        """Make a segment, or note why not."""
        self._parts.append(("segment", name, path, None))
        if name in self._segments:
            self._lost["segment", name] = f'there are two segments "{name}"'
            del self._segments[name]
            return
        try:
            self._segments[name] = make()
        except NotCarried as error:
            self._lost["segment", name] = str(error)

    def flag(self, path: str, raw: Mapping[str, Any]) -> None:
        """Make a flag, or note why not."""
        name = str(raw.get("name"))
        if raw.get("status") not in (None, "ACTIVE"):
            reason = "it is archived: SDKs are told to forget it"
            self._archived.append(LedgerEntry(name, path, Fidelity.SKIPPED, reason, dict(raw)))
            return
        self._parts.append(("flag", name, path, dict(raw)))
        try:
            made, changed = with_objects(lifted(flag_of(raw)))
            if changed:
                self._partial[name] = changed
            if problems := check_flag(made, None):
                raise NotCarried("; ".join(map(str, problems)))  # noqa: TRY301  (one way to note it)
            self._flags[name] = made
        except NotCarried as error:
            self._lost["flag", name] = str(error)

    def settle(self) -> None:
        """Take out what needs something that is not there, until nothing does."""
        told = {*self._flags, *(name for kind, name in self._lost if kind == "flag")}
        self._flags = {key: _without(one, told) for key, one in self._flags.items()}
        self._segments = {key: _without(one, told) for key, one in self._segments.items()}
        while self._out(self._segments, "segment") or self._out(self._flags, "flag"):
            pass

    def _out(self, made: dict[str, Any], kind: str) -> bool:
        for name, one in list(made.items()):
            why = self._needs(one)
            if why:
                self._lost[kind, name] = why
                del made[name]
                return True
        return False

    def _needs(self, one: Flag | Segment) -> str:
        for segment in sorted(segments_named(one) - self._segments.keys()):
            why = self._lost.get(("segment", segment), "the document does not tell its keys")
            return f'it asks for segment "{segment}": {why}'
        if isinstance(one, Flag):
            for flag in sorted(flags_named(one) - self._flags.keys()):
                if ("flag", flag) in self._lost:
                    return f'it asks for flag "{flag}", which is not carried'
        return ""

    def translation(self) -> Translation:
        """Return all of it."""
        entries = [self._entry(*part) for part in self._parts]
        ledger = Ledger((*entries, *self._archived))
        return Translation(tuple(self._flags.values()), tuple(self._segments.values()), ledger)

    def _entry(self, kind: str, name: str, path: str, raw: Any) -> LedgerEntry:
        flag = name if kind == "flag" else ""
        lost = self._lost.get((kind, name))
        if lost is None and flag in self._partial:
            return LedgerEntry(flag, path, Fidelity.PARTIAL, self._partial[flag], raw)
        if lost is None:
            return LedgerEntry(flag, path, Fidelity.FULL)
        return LedgerEntry(flag, path, Fidelity.MANUAL, lost, raw)


def _without(one: FlagOrSegment, told: AbstractSet[str]) -> FlagOrSegment:
    """Return a flag or segment with what is asked of a flag that is not there settled.

    To the SDK, such a flag serves ``control``, which a negated matcher takes for another treatment.
    """
    strange = [clause for clause in clauses_in(one) if _asks_strangers(clause, told)]
    if not strange:
        return one
    met = {id(clause) for clause in strange if (CONTROL in clause.values) is not clause.negate}
    never = {id(clause) for clause in strange} - met
    rules = [
        replace(rule, clauses=tuple(one for one in rule.clauses if id(one) not in met))
        for rule in one.rules
        if not any(id(clause) in never for clause in rule.clauses)
    ]
    return replace(one, rules=tuple(rules))


def _asks_strangers(clause: Clause, told: AbstractSet[str]) -> bool:
    return clause.operator is Operator.SERVES and clause.attribute not in told


def with_objects(flag: Flag) -> tuple[Flag, str]:
    """Return a flag of objects whose values are all objects, and what is other than in Split.

    There, some treatments may have a configuration and others none, or one that is no object.
    """
    strange = {
        name: value
        for name, value in flag.variants.items()
        if flag.kind is FlagKind.OBJECT and not isinstance(value, (Mapping, list))
    }
    if not strange:
        return flag, ""
    plain = {name: {} if value == name else {"value": value} for name, value in strange.items()}
    names = ", ".join(f'"{name}"' for name in strange)
    reason = f"the configuration of {names} is no object as others are: its value here is one"
    return replace(flag, variants={**flag.variants, **plain}), reason


def _read(data: Any) -> _Source:
    if not isinstance(data, Mapping):
        raise _refused("", _WANTED)
    source = _Source()
    if isinstance(data.get("ff"), Mapping):
        source.flags = _listed(data["ff"].get("d"), "ff.d")
        source.rule_based = _listed((data.get("rbs") or {}).get("d") or [], "rbs.d")
    elif isinstance(data.get("splits"), list):
        source.flags = _listed(data["splits"], "splits")
    elif isinstance(data.get("objects"), list):
        source.flags = _defined(_listed(data["objects"], "objects"))
    elif "treatments" in data and "name" in data:
        source.flags = _defined([("$", data)])
    else:
        raise _refused("", _WANTED)
    source.segments = _keys(data.get("segments") or {})
    return source


def _listed(found: Any, path: str) -> list[tuple[str, Mapping[str, Any]]]:
    if not isinstance(found, list):
        raise _refused(path, "it is no list")
    for place, one in enumerate(found):
        if not isinstance(one, Mapping):
            raise _refused(f"{path}[{place}]", "it is no object")
    return [(f"{path}[{place}]", one) for place, one in enumerate(found)]


def _defined(
    parts: Iterable[tuple[str, Mapping[str, Any]]],
) -> list[tuple[str, Mapping[str, Any]]]:
    made: list[tuple[str, Mapping[str, Any]]] = []
    for path, one in parts:
        try:
            made.append((path, as_sent(one)))
        except (KeyError, TypeError, AttributeError) as error:
            raise _refused(path, f"it is no definition: {type(error).__name__} {error}") from None
    return made


def _keys(found: Any) -> list[tuple[str, str, list[str]]]:
    if isinstance(found, Mapping):
        listed = [(f"segments.{name}", name, keys) for name, keys in found.items()]
    else:
        listed = [
            (path, one.get("name"), one.get("added")) for path, one in _listed(found, "segments")
        ]
    for path, name, keys in listed:
        if not isinstance(name, str) or not isinstance(keys, (list, tuple)):
            raise _refused(path, "it has no name with a list of keys")
    return [(path, str(name), [str(key) for key in keys]) for path, name, keys in listed]


def _refused(path: str, message: str) -> DocumentError:
    return DocumentError("Split's document is refused", [Problem(path or "$", message)])
