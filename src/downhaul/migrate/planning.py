"""From what two backends have to a plan: what would be written at the target, and what is lost.

Pure: whoever calls has read both sides. What the source can't tell and what the target can't keep
are told apart by the ledger of each; nothing is left out in silence (rule M1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import accumulate, pairwise
from typing import Final

from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.evaluator.targeting import with_targets_said
from downhaul.flag import (
    WHOLE,
    Bucketing,
    Flag,
    FlagSet,
    Gate,
    Rule,
    Scheme,
    Segment,
    Serve,
    Split,
    Weight,
)
from downhaul.ledger import Fidelity, LedgerEntry, Translation
from downhaul.migrate.likeness import (
    digest,
    pinned,
    pinned_segment,
    plainest,
    users_who_change,
)
from downhaul.migrate.plan import Action, Item
from downhaul.references import Node, in_order, named_by

REBUCKET: Final = "rebucket"
"""The class of loss in which users get another variant, because another hash chooses them."""

Fit = Callable[[FlagSet], Translation]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which flags move, and how. Patterns are those of a shell; nothing named is everything.

    ``keep`` keeps the source's hashes, so that nobody flips; without it the target's own
    percentages choose users anew.
    """

    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    keep: bool = True

    def takes(self, key: str) -> bool:
        """Return whether a flag moves."""
        named = not self.only or any(fnmatchcase(key, one) for one in self.only)
        return named and not any(fnmatchcase(key, one) for one in self.without)


_ALL: Final = Choice()


def plan_items(
    source: Translation,
    there: Translation,
    fit: Fit,
    *,
    choice: Choice = _ALL,
    applied: Mapping[tuple[str, str], tuple[str, str]] | None = None,
) -> tuple[Item, ...]:
    """Return what is to be done with each flag and segment, in an order to write in.

    ``source`` and ``there`` are what both sides have, ``fit`` what the target can keep. ``applied``
    tells of what was written before, by entity and key: digests of what was wanted then, and of
    what the target had then. What is so still is the same, however the target writes it.
    """
    taken = _chosen(source, choice)
    moving = {key: one for key, one in source.flag_set().flags.items() if key in taken}
    segments = _needed_segments(moving, source.flag_set().segments)
    prepared = FlagSet(
        {key: _prepared(one, keep=choice.keep) for key, one in moving.items()},
        {key: pinned_segment(one) for key, one in segments.items()},
    )
    fitted = fit(prepared)
    known = there.flag_set()
    wanted = fitted.flag_set()
    # A target may say with a segment of its own what the source says within a flag.
    own = {key: one for key, one in wanted.segments.items() if key not in prepared.segments}
    prepared = FlagSet(prepared.flags, {**prepared.segments, **own})
    work = _Work(source, fitted, known, wanted, applied or {})
    ordered = in_order(prepared)
    items = [
        work.item(one, moving.get(one.key) if isinstance(one, Flag) else None) for one in ordered
    ]
    return (*items, *_left(source, taken, segments.keys()))


def _chosen(source: Translation, choice: Choice) -> set[str]:
    """Return the flags that move: those that were chosen, and those that they require."""
    flags = source.flag_set().flags
    taken: set[str] = set()
    pending = [key for key in flags if choice.takes(key)]
    while pending:
        key = pending.pop()
        if key in taken or key not in flags:
            continue
        taken.add(key)
        pending += [node.key for node in named_by(flags[key]) if node.sort == "flag"]
    return taken


def _needed_segments(
    flags: Mapping[str, Flag], segments: Mapping[str, Segment]
) -> dict[str, Segment]:
    found: dict[str, Segment] = {}
    pending: list[Node] = [node for one in flags.values() for node in named_by(one)]
    while pending:
        node = pending.pop()
        if node.sort == "segment" and node.key in segments and node.key not in found:
            found[node.key] = segments[node.key]
            pending += named_by(segments[node.key])
    return found


def _prepared(flag: Flag, *, keep: bool) -> Flag:
    """Return a flag as any target is asked to keep it."""
    said = with_targets_said(flag)
    return pinned(said) if keep else _native(said)


def _native(flag: Flag) -> Flag:
    """Return a flag whose percentages are the target's own, whoever they choose."""

    def serve(one: Serve) -> Serve:
        if isinstance(one, str) or one.bucketing.scheme is Scheme.RANDOM:
            return one
        return Split(_scaled(one), Bucketing(context_kind=one.bucketing.context_kind))

    def rule(one: Rule) -> Rule:
        gate = one.gate
        if gate is not None and gate.bucketing.scheme is not Scheme.RANDOM:
            share = round(gate.share * WHOLE / gate.bucketing.total)
            gate = Gate(share, Bucketing(context_kind=gate.bucketing.context_kind), gate.outside)
        return replace(one, serve=serve(one.serve), gate=gate)

    return replace(flag, default=serve(flag.default), rules=tuple(map(rule, flag.rules)))


def _scaled(split: Split) -> tuple[Weight, ...]:
    """Return weights of our total. Edges are rounded, so that all of them are still the whole."""
    total = split.bucketing.total
    edges = [0, *accumulate(one.weight for one in split.weights)]
    scaled = [round(edge * WHOLE / total) for edge in edges]
    return tuple(
        replace(one, weight=after - before)
        for one, (before, after) in zip(split.weights, pairwise(scaled), strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Work:
    source: Translation
    fitted: Translation
    known: FlagSet
    wanted: FlagSet
    applied: Mapping[tuple[str, str], tuple[str, str]]

    def item(self, prepared: Flag | Segment, origin: Flag | None) -> Item:
        """Return what is to be done with one flag or segment."""
        if isinstance(prepared, Segment):
            return self._segment(prepared)
        assert origin is not None  # noqa: S101  (every prepared flag came from one)
        key = prepared.key
        wanted, there = self.wanted.flags.get(key), self.known.flags.get(key)
        losses = [
            one
            for ledger in (self.source.ledger, self.fitted.ledger)
            for one in ledger.of(key)
            if one.lossy
        ]
        change = 0.0
        if wanted is not None and (change := users_who_change(origin, wanted)) > 0:
            losses.append(_rebucketed(key, change))
        losses += _untold(origin, wanted, losses)
        base = Item(
            "flag",
            key,
            Action.MANUAL,
            kind=origin.kind.value,
            fidelity=_worst(losses),
            losses=tuple(losses),
            change=change,
            source=digest(origin),
            origin=flag_to_data(origin),
        )
        if there is not None:
            base = replace(
                base,
                target=digest(there),
                target_version=there.version,
                before=flag_to_data(there),
            )
        if wanted is None:
            return replace(base, fidelity=Fidelity.MANUAL, reason=_first(losses))
        return replace(
            base,
            action=self._action("flag", wanted, there),
            reason=_first(losses),
            wanted=flag_to_data(replace(wanted, version="")),
        )

    def _segment(self, prepared: Segment) -> Item:
        key = prepared.key
        wanted, there = self.wanted.segments.get(key), self.known.segments.get(key)
        base = Item("segment", key, Action.MANUAL, source=digest(prepared))
        if there is not None:
            base = replace(
                base,
                target=digest(there),
                target_version=there.version,
                before=segment_to_data(there),
            )
        if wanted is None:
            reason = "its rules are part of each flag that asks for it: the target keeps none"
            return replace(base, action=Action.SKIP, reason=reason)
        return replace(
            base,
            action=self._action("segment", wanted, there),
            wanted=segment_to_data(replace(wanted, version="")),
        )

    def _action(self, entity: str, wanted: Flag | Segment, there: Flag | Segment | None) -> Action:
        if there is None:
            return Action.CREATE
        if plainest(there) == plainest(wanted):
            return Action.SAME
        before = self.applied.get((entity, wanted.key))
        return Action.SAME if before == (digest(wanted), digest(there)) else Action.UPDATE


def _left(source: Translation, taken: set[str], segments: AbstractSet[str]) -> list[Item]:
    """Return the flags that don't move and are told of all the same: left out, or never read."""
    flags = source.flag_set().flags
    left: dict[str, list[LedgerEntry]] = {}
    for entry in source.ledger:
        if entry.flag and entry.flag not in flags and entry.fidelity is not Fidelity.FULL:
            left.setdefault(entry.flag, []).append(entry)
    items = []
    for key, entries in left.items():
        skipped = all(one.fidelity is Fidelity.SKIPPED for one in entries)
        items.append(
            Item(
                "flag",
                key,
                Action.SKIP if skipped else Action.MANUAL,
                fidelity=Fidelity.SKIPPED if skipped else Fidelity.MANUAL,
                losses=() if skipped else tuple(one for one in entries if one.lossy),
                reason=entries[0].reason,
            )
        )
    return [
        *items,
        *(
            Item("flag", key, Action.SKIP, reason="it was not chosen", source=digest(one))
            for key, one in flags.items()
            if key not in taken
        ),
        *(
            Item("segment", key, Action.SKIP, reason="no flag that moves asks for it")
            for key in sorted(source.flag_set().segments.keys() - segments)
        ),
    ]


def _rebucketed(key: str, change: float) -> LedgerEntry:
    reason = f"{change:.1%} of all users get another variant: another hash chooses them"
    return LedgerEntry(key, f"flags.{key}", Fidelity.PARTIAL, reason, loss=REBUCKET)


def _untold(origin: Flag, wanted: Flag | None, told: list[LedgerEntry]) -> list[LedgerEntry]:
    """Return what is gone without a note, whatever the translators forgot (rule M1)."""
    if told:
        return []
    if wanted is None:
        reason = "the target can't keep it, and doesn't say why"
        return [LedgerEntry(origin.key, f"flags.{origin.key}", Fidelity.MANUAL, reason)]
    gone = [
        name
        for name in ("rules", "targets", "prerequisites")
        if getattr(origin, name) and not getattr(wanted, name) and not _moved(name, origin, wanted)
    ]
    return [
        LedgerEntry(
            origin.key,
            f"flags.{origin.key}.{name}",
            Fidelity.MANUAL,
            f"the target has none of its {name}, and doesn't say why",
            flag_to_data(origin).get(name),
        )
        for name in gone
    ]


def _moved(name: str, origin: Flag, wanted: Flag) -> bool:
    """Return whether what stood elsewhere is said by more rules now, or rules by the default."""
    if name == "rules":
        return wanted.default != pinned(origin).default
    return len(wanted.rules) > len(origin.rules)


_ORDER: Final = (Fidelity.FULL, Fidelity.SKIPPED, Fidelity.PARTIAL, Fidelity.MANUAL)


def _worst(losses: list[LedgerEntry]) -> Fidelity:
    return max((one.fidelity for one in losses), key=_ORDER.index, default=Fidelity.FULL)


def _first(losses: list[LedgerEntry]) -> str:
    more = f" (and {len(losses) - 1} more)" if len(losses) > 1 else ""
    return f"{losses[0].reason}{more}" if losses else ""
