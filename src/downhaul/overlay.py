"""Kills: an overlay above every provider, kept as a register that forgets nothing (rules K1 to K4).

A *register* holds, for each scope, the last word that was heard: killed or revived, by whom, why,
and under which sequence number. A revive is a record of its own; the absence of a record says
nothing. So a store that was lost, emptied or restored from an old backup can't lift a kill.

Sequence numbers are microseconds of the control store's clock, raised where needed so that each
record of a store is above the one before it. They stay ordered across stores and restored backups.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

BREAK_GLASS: Final = "break-glass"
"""The store identity of kills that come from this machine's file or environment variable."""


class ScopeKind(StrEnum):
    """What a kill covers."""

    FLAG = "flag"
    TAG = "tag"
    SWITCH = "switch"
    EVERYTHING = "everything"


DRILL: Final = "drill:"
"""How the names of switches begin that only drills kill."""


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """A flag, a tag, a named switch, or everything. Written ``flag-a``, ``tag:agents``, ``*``."""

    kind: ScopeKind
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Read ``flag-a``, ``flag:a``, ``tag:agents``, ``switch:agents`` or ``*``."""
        text = text.strip()
        if text == "*":
            return EVERYTHING
        prefix, colon, name = text.partition(":")
        if colon and prefix in ("flag", "tag", "switch"):
            if not name.strip():
                message = f'"{text}" names no {prefix}'
                raise ValueError(message)
            return cls(ScopeKind(prefix), name.strip())
        if not text:
            message = "an empty name kills nothing; write a flag, tag:NAME, switch:NAME or *"
            raise ValueError(message)
        return cls(ScopeKind.FLAG, text)

    def __str__(self) -> str:
        if self.kind is ScopeKind.EVERYTHING:
            return "*"
        plain = self.kind is ScopeKind.FLAG and Scope.parse_is_flag(self.name)
        return self.name if plain else f"{self.kind}:{self.name}"

    @property
    def is_drill(self) -> bool:
        """Whether it is the switch of a drill, which guards nothing: nobody is told of it."""
        return self.kind is ScopeKind.SWITCH and self.name.startswith(DRILL)

    @staticmethod
    def parse_is_flag(name: str) -> bool:
        """Return whether a bare ``name`` reads back as the flag of that name."""
        return name != "*" and not name.startswith(("flag:", "tag:", "switch:"))


EVERYTHING: Final = Scope(ScopeKind.EVERYTHING)


@dataclass(frozen=True, slots=True)
class KillRecord:
    """One word of a register: ``scope`` was killed, or revived, at ``sequence``.

    ``store`` is the identity of the store that says it, ``environment`` the one it speaks for
    (``*``: all). ``at`` is RFC 3339 in UTC. ``lifts`` is the sequence below which kills that other
    stores recorded are lifted: a person revived the scope in this store although the store itself
    held no kill of it. Each later word of the store on the scope carries it on. ``waits`` says of a
    flag's revive that a process obeys it once it has the flag as it was by then: at the first step.
    """

    scope: Scope
    sequence: int
    killed: bool
    actor: str = ""
    reason: str = ""
    at: str = ""
    environment: str = "default"
    store: str = ""
    lifts: int = 0
    waits: bool = False

    def as_mapping(self) -> dict[str, Any]:
        """Return the record as JSON data; :meth:`from_mapping` reads it back."""
        return {
            "scope": str(self.scope),
            "sequence": self.sequence,
            "killed": self.killed,
            "actor": self.actor,
            "reason": self.reason,
            "at": self.at,
            "environment": self.environment,
            "store": self.store,
            "lifts": self.lifts,
            "waits": self.waits,
        }

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> KillRecord:
        """Read what :meth:`as_mapping` wrote. Raises KeyError, TypeError, ValueError."""
        return cls(
            scope=Scope.parse(data["scope"]),
            sequence=int(data["sequence"]),
            killed=bool(data["killed"]),
            actor=str(data.get("actor", "")),
            reason=str(data.get("reason", "")),
            at=str(data.get("at", "")),
            environment=str(data.get("environment", "default")),
            store=str(data.get("store", "")),
            lifts=int(data.get("lifts", 0)),
            waits=bool(data.get("waits", False)),
        )


_Word = tuple[Scope, str, str]  # scope, store, environment


@dataclass(frozen=True, slots=True)
class KillRegister:
    """The last word of every store, and of this machine's break-glass, on every scope.

    Frozen: :meth:`hear` and :meth:`observe` return the register that comes next (the same object
    where nothing was news). Hearing is commutative, associative and idempotent: processes that
    heard the same words in any order agree.
    """

    words: Mapping[_Word, KillRecord] = field(default_factory=lambda: MappingProxyType({}))

    def hear(self, records: Iterable[KillRecord]) -> KillRegister:
        """Take in words of a store, of a disk copy, or of another register."""
        words = dict(self.words)
        for record in records:
            word = (record.scope, record.store, record.environment)
            known = words.get(word)
            words[word] = record if known is None else max(known, record, key=_rank)
        return self if words == self.words else KillRegister(words)

    def observe(
        self,
        killed: Collection[Scope],
        revived: Collection[Scope] = (),
        *,
        sequence: int,
        at: str,
        origin: str,
    ) -> KillRegister:
        """Take in what the break-glass file and variable say at this moment.

        What they name is killed, again if a store revived it meanwhile. What they no longer name
        stays killed: only a ``revive:`` line, or a later revive in a store, lifts it. ``sequence``
        is this machine's clock in microseconds; it is raised above what is known of a scope, for a
        clock that is behind must not make the word an old one.
        """
        said = self._by_scope()
        heard = []
        for scope in {*killed, *revived}:
            words = said.get(scope, [])
            glass = self.words.get((scope, BREAK_GLASS, "*"))
            is_kill = scope in killed
            if is_kill and glass is not None and _stands(glass, words):
                continue
            if not is_kill and (glass is None or not glass.killed):
                continue
            latest = max((max(one.sequence, one.lifts) for one in words), default=0)
            reason = f"{'named' if is_kill else 'revived'} in {origin}"
            heard.append(
                KillRecord(
                    scope,
                    max(sequence, latest + 1),
                    is_kill,
                    origin,
                    reason,
                    at,
                    environment="*",
                    store=BREAK_GLASS,
                )
            )
        return self.hear(heard)

    def standing(self, scope: Scope) -> KillRecord | None:
        """Return the latest record under which the scope is killed now, or None."""
        words = [one for one in self.words.values() if one.scope == scope]
        return max((one for one in words if _stands(one, words)), key=_rank, default=None)

    def overlay(self) -> Overlay:
        """Return the kills in force, sorted by what they cover."""
        by_kind: dict[ScopeKind, dict[str, KillRecord]] = {kind: {} for kind in ScopeKind}
        revived: dict[str, KillRecord] = {}
        for scope, words in self._by_scope().items():
            standing = [one for one in words if _stands(one, words)]
            last = max(standing or words, key=_rank)
            if standing:
                by_kind[scope.kind][scope.name] = last
            elif last.waits and scope.kind is ScopeKind.FLAG:
                revived[scope.name] = last
        return Overlay(
            flags=by_kind[ScopeKind.FLAG],
            tags=by_kind[ScopeKind.TAG],
            switches=by_kind[ScopeKind.SWITCH],
            everything=by_kind[ScopeKind.EVERYTHING].get(""),
            revived=revived,
        )

    def as_mapping(self) -> dict[str, Any]:
        """Return the register as JSON data; :meth:`from_mapping` reads it back."""
        return {"words": [self.words[word].as_mapping() for word in sorted(self.words)]}

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> KillRegister:
        """Read what :meth:`as_mapping` wrote. Raises KeyError, TypeError, ValueError."""
        return cls().hear(KillRecord.from_mapping(item) for item in data["words"])

    def _by_scope(self) -> dict[Scope, list[KillRecord]]:
        found: dict[Scope, list[KillRecord]] = {}
        for record in self.words.values():
            found.setdefault(record.scope, []).append(record)
        return found


def _stands(record: KillRecord, words: Iterable[KillRecord]) -> bool:
    """Return whether a record kills its scope, beside all words on that scope."""
    if not record.killed:
        return False
    for other in words:
        if other.store == record.store:
            continue
        if other.lifts > record.sequence:
            return False
        # A person who revives in any store means the break-glass kill too.
        if record.store == BREAK_GLASS and not other.killed and other.sequence > record.sequence:
            return False
    return True


def _rank(record: KillRecord) -> tuple[int, bool, int, str, str]:
    # The last three only make the order total, so that hearing is commutative for any words.
    return record.sequence, record.killed, record.lifts, record.store, str(record)


@dataclass(frozen=True, slots=True)
class Overlay:
    """The kills in force, as an evaluator compiles them into its view.

    ``revived`` are flags whose last word is a revive that waits for the flag's backend.
    """

    flags: Mapping[str, KillRecord] = field(default_factory=lambda: MappingProxyType({}))
    tags: Mapping[str, KillRecord] = field(default_factory=lambda: MappingProxyType({}))
    switches: Mapping[str, KillRecord] = field(default_factory=lambda: MappingProxyType({}))
    everything: KillRecord | None = None
    revived: Mapping[str, KillRecord] = field(default_factory=lambda: MappingProxyType({}))

    def kill_of(self, key: str, tags: Iterable[str] = ()) -> KillRecord | None:
        """Return the kill that covers a flag with these tags, or None."""
        if self.everything is not None:
            return self.everything
        record = self.flags.get(key)
        if record is None and self.tags:
            record = next((self.tags[tag] for tag in tags if tag in self.tags), None)
        return record


NO_KILLS: Final = Overlay()
