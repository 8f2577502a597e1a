"""Whether two flags are the same but for what a backend writes in its own way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.flag import (
    Bucketing,
    Flag,
    Gate,
    Rule,
    Scheme,
    Segment,
    SegmentRule,
    Serve,
    Split,
    Weight,
)

_SALTED: Final = frozenset(Scheme) - {Scheme.SPLIT, Scheme.SPLIT_LEGACY, Scheme.RANDOM}
_DIGITS: Final = 16


def pinned(flag: Flag) -> Flag:
    """Return a flag whose splits and gates say the salt that goes without saying: the flag's key.

    So they go on choosing the same users wherever they are kept, under whatever key.
    """
    return replace(
        flag,
        default=_pinned_serve(flag.default, flag.key),
        rules=tuple(_pinned_rule(one, flag.key) for one in flag.rules),
    )


def pinned_segment(segment: Segment) -> Segment:
    """Return a segment whose gates say their salt."""
    rules = tuple(
        one if one.gate is None else SegmentRule(one.clauses, _pinned_gate(one.gate, segment.key))
        for one in segment.rules
    )
    return replace(segment, rules=rules)


def plainest(one: Flag | Segment) -> Mapping[str, Any]:
    """Return what a flag or a segment says, in one form: without versions and ids of rules.

    Targets stand in one list for each kind and variant; salts are said.
    """
    if isinstance(one, Segment):
        return segment_to_data(replace(pinned_segment(one), version=""))
    rules = tuple(replace(rule, id="") for rule in pinned(one).rules)
    data = flag_to_data(replace(pinned(one), version="", rules=rules, targets=()))
    targets: dict[str, list[str]] = {}
    seen: set[tuple[str, str]] = set()
    for target in one.targets:
        keys = {key for key in target.keys if (target.context_kind, key) not in seen}
        seen.update((target.context_kind, key) for key in keys)
        if keys:
            targets.setdefault(f"{target.context_kind}:{target.variant}", []).extend(keys)
    data["targets"] = {place: sorted(keys) for place, keys in sorted(targets.items())}
    data["tags"] = sorted(one.tags)
    return data


def digest(one: Flag | Segment) -> str:
    """Return a short hash of :func:`plainest`: the same for what is the same."""
    text = json.dumps(plainest(one), sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def users_who_change(before: Flag, after: Flag) -> float:
    """Return the share of all users, 0..1, whom other hashes give another variant than before.

    Two hashes know nothing of each other: of a split in two at p, 2p(1 - p) change. Where several
    splits differ, the largest share counts, because nobody knows whom each of them is for.
    """
    pairs = zip(_splits(before), _splits(after), strict=False)
    return max((_change(one, other) for one, other in pairs if _moves(one, other)), default=0.0)


def _splits(flag: Flag) -> list[Split]:
    """Return the splits of a flag, a gate with whom it leaves out as one."""
    found = []
    for rule in pinned(flag).rules:
        if rule.gate is not None:
            found.append(_as_split(rule.gate))
        if isinstance(rule.serve, Split):
            found.append(rule.serve)
    default = pinned(flag).default
    return [*found, default] if isinstance(default, Split) else found


def _as_split(gate: Gate) -> Split:
    rest = gate.bucketing.total - gate.share
    return Split((Weight("inside", gate.share), Weight(None, rest)), gate.bucketing)


def _moves(one: Split, other: Split) -> bool:
    return one.bucketing != other.bucketing


def _change(one: Split, other: Split) -> float:
    shares, others = _shares(one), _shares(other)
    return 1.0 - sum(share * others.get(name, 0.0) for name, share in shares.items())


def _shares(split: Split) -> dict[str | None, float]:
    shares: dict[str | None, float] = {}
    for one in split.weights:
        shares[one.variant] = shares.get(one.variant, 0.0) + one.weight / split.bucketing.total
    return shares


def _pinned_serve(serve: Serve, key: str) -> Serve:
    return (
        serve if isinstance(serve, str) else replace(serve, bucketing=_salted(serve.bucketing, key))
    )


def _pinned_gate(gate: Gate, key: str) -> Gate:
    return replace(gate, bucketing=_salted(gate.bucketing, key))


def _pinned_rule(rule: Rule, key: str) -> Rule:
    gate = None if rule.gate is None else _pinned_gate(rule.gate, key)
    return replace(rule, serve=_pinned_serve(rule.serve, key), gate=gate)


def _salted(how: Bucketing, key: str) -> Bucketing:
    return replace(how, salt=key) if how.salt is None and how.scheme in _SALTED else how
