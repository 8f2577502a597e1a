"""Our flags as flagd's document: each decides there as here, or is left out and told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from downhaul.documents.faults import Place, path_of
from downhaul.documents.flagd.choices import Choice
from downhaul.documents.flagd.conditions import WIDE, Conditions, is_wide, keys_among
from downhaul.documents.flagd.logic import (
    BESIDE,
    HAS_KEY,
    INSIDE,
    NO_KEY,
    Inexpressible,
    Logic,
    all_of,
    asks,
    none_of,
)
from downhaul.documents.flagd.words import DESCRIPTION, OWNER, SCHEMA, TAGS, TYPE
from downhaul.encoding import flag_to_data
from downhaul.flag import USER, Flag, FlagSet, FlagType, Rule, Serve
from downhaul.ledger import Exported, Fidelity, Ledger, LedgerEntry

Branch = tuple[Logic, Logic]
"""A condition and what is served where it holds; ``None`` is the caller's default."""

HASHING: Final = (
    "splits serve the same users in engines that hash as flagd-core 2 for Python does, over CBOR; "
    "an engine that hashes the flag's key and the targeting key as one text assigns them anew"
)
"""What holds of a document with splits, whole as it is."""

_OFF: Final = (
    "the flag is off, and so what it would serve when it is on is not written: "
    "export it again once it is on"
)


def document_of(flag_set: FlagSet) -> Exported:
    """Return flagd's document of a flag set, with a ledger of every flag and segment.

    A flag that flagd can't decide as we do is left out: MANUAL entries say which part of it, and
    why. Paths are those of our own document. Segments are written into the flags that name them.
    """
    entries: list[LedgerEntry] = []
    flags: dict[str, Any] = {}
    for index, flag in enumerate(flag_set.flags.values()):
        writing = _Writing(flag, flag_set, ("flags", index))
        made = writing.flag()
        if made is not None:
            flags[flag.key] = made
        entries += writing.entries
    if any(asks(one.get("targeting"), ("fractional",)) for one in flags.values()):
        entries.append(LedgerEntry("", "flags", Fidelity.FULL, HASHING))
    for index, _ in enumerate(flag_set.segments.values()):
        reason = "written into the flags that name it"
        entries.append(LedgerEntry("", path_of(("segments", index)), Fidelity.FULL, reason))
    return Exported({"$schema": SCHEMA, "flags": flags}, Ledger(tuple(entries)))


class _Writing:
    """One flag as it is written, and what there is to tell of it."""

    def __init__(self, flag: Flag, flag_set: FlagSet, place: Place) -> None:
        self.entries: list[LedgerEntry] = []
        self._flag = flag
        self._place = place
        self._data = flag_to_data(flag)
        self._failed = False
        self._conditions = Conditions(
            flag.key, flag_set.segments, lambda at, why: self._tell(Fidelity.PARTIAL, at, why)
        )

    def flag(self) -> dict[str, Any] | None:
        """Return the flag as flagd's, or None where flagd can't say it whole."""
        made = self._decided() if self._flag.on else self._off()
        if self._failed:
            self.entries = [one for one in self.entries if one.fidelity is Fidelity.MANUAL]
            return None
        self._check_values()
        made = {"state": "ENABLED", "variants": dict(self._flag.variants)} | made
        metadata = self._metadata()
        if not any(one.lossy for one in self.entries):
            path = path_of(self._place)
            self.entries.insert(0, LedgerEntry(self._flag.key, path, Fidelity.FULL))
        return made | {"metadata": metadata} if metadata else made

    # What it serves

    def _off(self) -> dict[str, Any]:
        flag = self._flag
        for name in ("prerequisites", "targets", "rules"):
            if name in self._data:
                self._tell(Fidelity.SKIPPED, (name,), _OFF)
        if not isinstance(flag.default, str) or flag.default != flag.off_variant:
            self._tell(Fidelity.SKIPPED, ("default",), _OFF)
        if flag.off_variant is None:
            return {"state": "DISABLED", "defaultVariant": next(iter(flag.variants))}
        return {"defaultVariant": flag.off_variant}

    def _decided(self) -> dict[str, Any]:
        for index, one in enumerate(self._flag.prerequisites):
            why = f"flagd's flags can't require one another, and this one requires \"{one.flag}\""
            self._tell(Fidelity.MANUAL, ("prerequisites", index), why)
        branches: list[Branch] = []
        for condition, served in self._branches():
            if condition is not False:
                branches.append((condition, served))
            if condition is True:
                break
        *before, (_, last) = branches or [(True, None)]
        if not before:
            return {"defaultVariant": last} if not isinstance(last, dict) else _targeted(None, last)
        chain = [part for branch in before for part in branch]
        if all(isinstance(served, str) for _, served in branches):
            return _targeted(last, {"if": [*chain, None]})
        return _targeted(None, {"if": [*chain, last]})

    def _branches(self) -> Iterator[Branch]:
        for index, target in enumerate(self._flag.targets):
            if target.context_kind == USER:
                yield keys_among(target.keys), target.variant
            elif target.keys:
                why = f'flagd\'s contexts have no kind "{target.context_kind}"'
                self._tell(Fidelity.MANUAL, ("targets", index), why)
        for index, rule in enumerate(self._flag.rules):
            place: Place = ("rules", index)
            if rule.id or rule.description:
                why = "flagd's rules have no name and no description"
                self._tell(Fidelity.SKIPPED, place, why)
            yield from self._safely(self._rule(rule, place), place)
        yield from self._safely(self._serving(True, self._flag.default), ("default",))
        yield True, self._flag.off_variant

    def _safely(self, branches: Iterator[Branch], place: Place) -> Iterator[Branch]:
        try:
            yield from list(branches)
        except Inexpressible as error:
            self._tell(Fidelity.MANUAL, error.place or place, error.reason)

    def _rule(self, rule: Rule, place: Place) -> Iterator[Branch]:
        when = self._conditions.all(rule.clauses, place)
        keyed = False
        if rule.gate is not None:
            gate = Choice.of_gate(rule.gate, self._flag.key, self._flag.key)
            if gate.fails:
                yield all_of([when, NO_KEY]), None
            if rule.gate.outside is None:
                when = all_of([when, gate.inside()])
                keyed = gate.constant is None and gate.keyless != INSIDE
            else:
                yield all_of([when, none_of(gate.inside())]), rule.gate.outside
        yield from self._serving(when, rule.serve, keyed=keyed)

    def _serving(self, when: Logic, serve: Serve, *, keyed: bool = False) -> Iterator[Branch]:
        """Yield the branches of what is served; ``keyed`` says that there is a targeting key."""
        if isinstance(serve, str):
            yield when, serve
            return
        choice = Choice.of_split(serve, self._flag.key)
        if choice.constant is not None:
            if choice.constant != BESIDE:
                yield when, choice.constant
            return
        if choice.keyless != BESIDE and not keyed:
            yield all_of([when, NO_KEY]), choice.keyless
        if BESIDE in choice.labels:
            if choice.fails and not keyed:
                yield all_of([when, NO_KEY]), None
            yield all_of([when, {"!!": [choice.split]}]), choice.split
        elif keyed or choice.fails or choice.keyless != BESIDE:
            yield when, choice.split
        else:
            yield all_of([when, HAS_KEY]), choice.split

    # What stands beside

    def _check_values(self) -> None:
        for name, value in self._flag.variants.items():
            place: Place = ("variants", name)
            if isinstance(value, list):
                why = "flagd's schema has objects only, and this is a list"
                self._tell(Fidelity.PARTIAL, place, why)
            if any(map(is_wide, _leaves(value))):
                self._tell(Fidelity.PARTIAL, place, WIDE)

    def _metadata(self) -> dict[str, Any]:
        flag = self._flag
        kind = "" if flag.type is FlagType.RELEASE else flag.type.value
        found = {
            OWNER: flag.owner,
            TYPE: kind,
            TAGS: ",".join(flag.tags),
            DESCRIPTION: flag.description,
        }
        return {name: text for name, text in found.items() if text}

    def _tell(self, fidelity: Fidelity, place: Place, reason: str) -> None:
        if fidelity is Fidelity.MANUAL:
            self._failed = True
            reason = f"{reason}; the flag is left out"
        fragment: Any = self._data
        for part in place:
            fragment = fragment[part]
        path = path_of((*self._place, *place))
        entry = LedgerEntry(self._flag.key, path, fidelity, reason, fragment)
        if entry not in self.entries:
            self.entries.append(entry)


def _targeted(default: str | None, targeting: Logic) -> dict[str, Any]:
    return {"defaultVariant": default, "targeting": targeting}


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _leaves(one)
    else:
        yield value
