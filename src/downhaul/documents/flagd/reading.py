"""flagd's documents and contexts in our words.

Every flag decides here as in flagd's engine for Python, or the ledger says which does not, and why
(rules E9 and M1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from downhaul.context import Context
from downhaul.documents.checks import check_flag
from downhaul.documents.faults import Place, path_of, problems_of
from downhaul.documents.flagd.logic import Inexpressible
from downhaul.documents.flagd.source import Source, SourceFlag, read_source
from downhaul.documents.flagd.targeting import Targeting
from downhaul.documents.flagd.words import DESCRIPTION, OWNER, TAGS, TYPE
from downhaul.documents.reading import refused
from downhaul.flag import TARGETING_KEY, Flag, FlagKind, FlagType
from downhaul.ledger import Fidelity, Ledger, LedgerEntry, Translation

_TYPES: Final = {one.value: one for one in FlagType}
_BESIDE: Final = {
    "$schema": "it names the format",
    "metadata": "metadata of a flag set decide nothing, and nothing here keeps them",
}


def flags_from(document: Mapping[str, Any] | str | bytes) -> Translation:
    """Return the flags of a flagd document, with a ledger of every part of it.

    Each flag of flagd's is one flag of the same key; what can't be a flag here is left out, and
    MANUAL in the ledger. Raises DocumentError, with every problem and its place, for what is no
    such document.
    """
    source = read_source(document)
    flags: list[Flag] = []
    entries: list[LedgerEntry] = []
    for one in source.flags:
        reading = _Reading(one, source)
        flag = reading.flag()
        if flag is not None:
            flags.append(flag)
        entries += reading.entries
    for name, value in source.evaluators.definitions.items():
        path = path_of(("$evaluators", name))
        if name in source.evaluators.used:
            reason = "written into the flags that name it"
            entries.append(LedgerEntry("", path, Fidelity.FULL, reason))
        else:
            entries.append(LedgerEntry("", path, Fidelity.SKIPPED, "no flag names it", value))
    for field, value in source.beside.items():
        reason = _BESIDE.get(field, "a field that decides nothing")
        entries.append(LedgerEntry("", path_of((field,)), Fidelity.SKIPPED, reason, value))
    if source.faults:
        raise refused(problems_of(source.faults), "")
    return Translation(tuple(flags), (), Ledger(tuple(entries)))


def context_from(mapping: Mapping[str, Any]) -> Context:
    """Return a context as flagd is asked with, as ours.

    ``targetingKey`` is the targeting key, everything else an attribute. ``$flagd`` is left out:
    flagd fills it in. Raises InvalidContext for a targeting key that is no text.
    """
    kept = {name: value for name, value in mapping.items() if name not in (TARGETING_KEY, "$flagd")}
    return Context(mapping.get(TARGETING_KEY), kept)


class _Reading:
    """One flag as it is read, and what there is to tell of it."""

    def __init__(self, one: SourceFlag, source: Source) -> None:
        self.entries: list[LedgerEntry] = []
        self._one = one
        self._source = source

    def flag(self) -> Flag | None:
        """Return the flag, or None where it can't be one here."""
        one = self._one
        kind = _kind(one.variants)
        if kind is None:
            why = "its variants are not all text, all numbers, all true or false, or all objects"
            self._left_out(("variants",), why, dict(one.variants))
            return None
        try:
            made = self._decided(kind)
        except Inexpressible as reason:
            fragment = one.targeting if reason.fragment is None else reason.fragment
            self._left_out(("targeting",), reason.reason, fragment)
            return None
        if problems := check_flag(made):
            said = "; ".join(map(str, problems))
            self._left_out((), f"it can't be a flag here: {said}", one.raw)
            return None
        self._note_beside()
        if not any(entry.lossy for entry in self.entries):
            self._tell(Fidelity.FULL, (), "", first=True)
        return made

    def _decided(self, kind: FlagKind) -> Flag:
        one = self._one
        first = one.default or next(iter(one.variants))
        if not one.targeting:
            on = one.enabled and one.default is not None
            return self._flag(kind, first, on=on)
        reading = Targeting(one.variants, one.default, (*one.place, "targeting"))
        decided = reading.read(self._source.evaluators.expanded(one.targeting))
        self._source.faults += reading.faults
        if remarks := reading.asking.remarks():
            self._tell(Fidelity.PARTIAL, ("targeting",), "; ".join(remarks), one.targeting)
        return self._flag(kind, decided.default, on=one.enabled, rules=decided.rules)

    def _flag(self, kind: FlagKind, default: Any, **fields: Any) -> Flag:
        told = self._one.metadata
        return Flag(
            key=self._one.key,
            default=default,
            kind=kind,
            variants=dict(self._one.variants),
            off_variant=None,
            tags=tuple(_text(told, TAGS).split(",")) if _text(told, TAGS) else (),
            owner=_text(told, OWNER),
            description=_text(told, DESCRIPTION),
            type=_TYPES.get(_text(told, TYPE), FlagType.RELEASE),
            **fields,
        )

    def _note_beside(self) -> None:
        for name, value in self._one.metadata.items():
            known = name in (OWNER, TAGS, DESCRIPTION) and isinstance(value, str)
            if not known and not (name == TYPE and value in _TYPES):
                why = "metadata decide nothing, and nothing here keeps them"
                self._tell(Fidelity.SKIPPED, ("metadata", name), why, value)
        for name, value in self._one.beside.items():
            self._tell(Fidelity.SKIPPED, (name,), "a field that decides nothing", value)

    def _left_out(self, place: Place, reason: str, fragment: Any) -> None:
        self.entries.clear()
        self._tell(Fidelity.MANUAL, place, f"{reason}; the flag is left out", fragment)

    def _tell(
        self,
        fidelity: Fidelity,
        place: Place,
        reason: str,
        fragment: Any = None,
        *,
        first: bool = False,
    ) -> None:
        path = path_of((*self._one.place, *place))
        entry = LedgerEntry(self._one.key, path, fidelity, reason, fragment)
        self.entries.insert(0 if first else len(self.entries), entry)


def _kind(variants: Mapping[str, Any]) -> FlagKind | None:
    kinds = {_kind_of(value) for value in variants.values()}
    return kinds.pop() if len(kinds) == 1 else None


def _kind_of(value: Any) -> FlagKind | None:
    if isinstance(value, bool):
        return FlagKind.BOOLEAN
    if isinstance(value, str):
        return FlagKind.STRING
    if isinstance(value, (int, float)):
        return FlagKind.NUMBER
    return FlagKind.OBJECT if isinstance(value, (dict, list)) else None


def _text(metadata: Mapping[str, Any], name: str) -> str:
    value = metadata.get(name)
    return value if isinstance(value, str) else ""
