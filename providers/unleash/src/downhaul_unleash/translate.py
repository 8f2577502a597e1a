"""Unleash's documents and contexts in our words.

``flags_from`` reads what an Unleash server serves to its SDKs; ``context_from`` reads a context as
applications pass it to those. Every decision is the same as the engine of the SDKs makes, or the
ledger says which is not (rules E9 and M1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from downhaul.documents import check_flag
from downhaul.ledger import LedgerEntry, Translation
from downhaul_unleash.attributes import context_from
from downhaul_unleash.dependencies import Parent
from downhaul_unleash.entries import Entries, entry_of, ledger_of
from downhaul_unleash.features import flag_of, with_dependencies
from downhaul_unleash.reading import read
from downhaul_unleash.segments import segments_of

__all__ = ["context_from", "flags_from"]


def flags_from(document: Mapping[str, Any] | str | bytes) -> Translation:
    """Return the flags and segments of an Unleash document, with a ledger of every part of it.

    The document is what a server answers at ``/api/client/features`` or ``/api/client/delta``, as
    JSON text or as data. Each feature is one flag of the same name; segment 7 is ``unleash-7``.
    Raises DocumentError, with every problem and its place, for what is no such document.
    """
    source = read(document)
    of_none = Entries()
    segments = segments_of(source.segments, of_none)
    entries = {name: Entries(name) for name in source.features}
    parents = {
        name: flag_of(feature, segments, entries[name]) for name, feature in source.features.items()
    }
    parents = {name: one for name, one in parents.items() if _accepted(one, entries[name])}
    flags = [with_dependencies(one, parents, entries[name]) for name, one in parents.items()]
    made: list[LedgerEntry] = [entry for each in entries.values() for entry in each.made]
    remarks = map(entry_of, source.remarks)
    return Translation(tuple(flags), segments.made, ledger_of((*made, *of_none.made, *remarks)))


def _accepted(one: Parent, entries: Entries) -> bool:
    """Return whether the flag is one that our documents take; if not, note it as left out."""
    problems = check_flag(one.flag, None)
    if problems:
        said = "; ".join(map(str, problems))
        entries.made.clear()
        entries.manual(one.source.path, f"it can't be a flag here: {said}", one.source.raw)
    return not problems
