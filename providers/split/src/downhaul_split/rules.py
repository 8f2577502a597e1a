"""A definition or segment, as Split sends it to SDKs, in our model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from downhaul.evaluator.lowering import lifted_segment
from downhaul.flag import (
    TARGETING_KEY,
    Bucketing,
    Clause,
    Flag,
    Keys,
    Operator,
    Prerequisite,
    Rule,
    Segment,
    SegmentRule,
    Serve,
    Split,
    Weight,
)
from downhaul_split.conditions import leading_of, only_of, targets_of
from downhaul_split.matchers import NotCarried, clauses_of
from downhaul_split.native import PERCENT, allocation_of, scheme_of
from downhaul_split.values import CONTROL, kind_of, off_of, values_of


def flag_of(raw: Mapping[str, Any]) -> Flag:
    """Return a flag that decides as the SDK does.

    Raises NotCarried for what has no like here, and for what the SDK answers ``control`` to.
    """
    try:
        return _flag(raw)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        message = f"it is not as Split sends it: {type(error).__name__} {error}"
        raise NotCarried(message) from None


def segment_of(name: str, keys: Iterable[str]) -> Segment:
    """Return a segment of keys."""
    return Segment(key=name, included=(Keys(frozenset(keys)),))


def rule_based_segment_of(raw: Mapping[str, Any], all_of_them: Iterable[Any] = ()) -> Segment:
    """Return a segment of rules, which may name others of ``all_of_them``. Raises NotCarried."""
    try:
        excluded = raw.get("excluded") or {}
        _check_excluded(excluded.get("segments") or (), all_of_them)
        keys = frozenset(excluded.get("keys") or ())
        outside = tuple(_outside(one) for one in excluded.get("segments") or ())
        conditions = raw.get("conditions") or ()
        made = Segment(
            key=raw["name"],
            excluded=(Keys(keys),) if keys else (),
            rules=tuple(
                SegmentRule((*outside, *clauses))
                for one in conditions
                for clauses in clauses_of(one["matcherGroup"]["matchers"])
            ),
            version=str(raw.get("changeNumber", "")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        message = f"it is not as Split sends it: {type(error).__name__} {error}"
        raise NotCarried(message) from None
    return lifted_segment(made)


def _check_excluded(segments: Iterable[Mapping[str, Any]], all_of_them: Iterable[Any]) -> None:
    """Raise NotCarried for segments that the SDK leaves out otherwise than by who is in them.

    Whoever a left-out segment itself leaves out by a segment is left out with it; by key, they are
    let in at once, whatever segments come after it.
    """
    named = {one["name"]: one.get("excluded") or {} for one in all_of_them}
    keys_in = ""
    for one in segments:
        if keys_in:
            message = f'it leaves out "{one["name"]}" after "{keys_in}", which leaves out keys'
            raise NotCarried(message)
        inner = named.get(one["name"], {}) if one["type"] == "rule-based" else {}
        if inner.get("segments"):
            message = f'it leaves out "{one["name"]}", which leaves out segments itself'
            raise NotCarried(message)
        keys_in = one["name"] if inner.get("keys") else ""


def segments_named(one: Flag | Segment) -> frozenset[str]:
    """Return the keys of the segments that rules name."""
    return frozenset(
        str(value)
        for clause in _all_clauses(one)
        if clause.operator is Operator.IN_SEGMENT
        for value in clause.values
    )


def flags_named(flag: Flag) -> frozenset[str]:
    """Return the keys of the flags that a flag depends on."""
    return frozenset(one.flag for one in flag.prerequisites) | {
        clause.attribute for clause in _all_clauses(flag) if clause.operator is Operator.SERVES
    }


def _all_clauses(one: Flag | Segment) -> Iterator[Clause]:
    return (clause for rule in one.rules for clause in rule.clauses)


def _outside(one: Mapping[str, Any]) -> Clause:
    if one["type"] not in ("standard", "rule-based"):
        message = f'it leaves out a segment of the type "{one["type"]}"'
        raise NotCarried(message)
    return Clause("", Operator.IN_SEGMENT, (one["name"],), negate=True)


def _flag(raw: Mapping[str, Any]) -> Flag:
    conditions = raw["conditions"]
    default = raw["defaultTreatment"]
    served = [part["treatment"] for one in conditions for part in one["partitions"]]
    treatments = list(dict.fromkeys([*served, default]))
    if CONTROL in treatments:
        message = "it serves `control`, which is the SDK's word for no answer"
        raise NotCarried(message)
    values = values_of(treatments, raw.get("configurations") or {})
    kind = kind_of(values.values())
    targets, rest = targets_of(conditions)
    leading = leading_of(conditions, default)
    prerequisites = (*(_required(one) for one in raw.get("prerequisites") or ()), *leading)
    # What the SDK serves to whom a kill or a prerequisite shuts out is its default treatment.
    exact = raw["killed"] or prerequisites
    rules, last = _without_last([*_rules(raw, rest, passed=len(leading))], default)
    return Flag(
        key=raw["name"],
        kind=kind,
        variants=values,
        off_variant=default if exact else off_of(kind, values, default),
        on=not raw["killed"],
        default=last,
        targets=targets,
        rules=rules,
        prerequisites=prerequisites,
        tags=tuple(sorted(raw.get("sets") or ())),
        version=str(raw.get("changeNumber", "")),
    )


def _required(one: Mapping[str, Any]) -> Prerequisite:
    if not one["ts"]:
        message = f'it requires no treatment of "{one["n"]}", which nothing can meet'
        raise NotCarried(message)
    # Off or killed, it passes where its default treatment is one of these, as in the SDK.
    return Prerequisite(one["n"], tuple(one["ts"]), while_off=True)


def _without_last(rules: list[Rule], default: str) -> tuple[tuple[Rule, ...], Serve]:
    """Return the rules and what whoever they pass over is served: a last rule for all is that."""
    if not rules or rules[-1].clauses:
        return tuple(rules), default
    return tuple(rules[:-1]), rules[-1].serve


def _rules(
    raw: Mapping[str, Any], conditions: Iterable[Mapping[str, Any]], *, passed: int
) -> Iterator[Rule]:
    allocated = _allocation(raw)
    for place, one in enumerate(conditions):
        if allocated is not None and one.get("conditionType", "WHITELIST") == "ROLLOUT":
            yield allocated
            allocated = None
        if place < passed:
            continue
        serve = _serve(raw, one["partitions"])
        label = one.get("label") or ""
        alternatives = clauses_of(one["matcherGroup"]["matchers"])
        for number, clauses in enumerate(alternatives):
            name = f"condition-{place}" if len(alternatives) == 1 else f"condition-{place}-{number}"
            yield Rule(serve, clauses, id=name, description=label)


def _allocation(raw: Mapping[str, Any]) -> Rule | None:
    share = raw.get("trafficAllocation")
    if share is None or not 0 <= share < PERCENT:
        return None
    how = _bucketing(raw, "trafficAllocationSeed")
    return allocation_of(share, raw["defaultTreatment"], how)


def _serve(raw: Mapping[str, Any], partitions: Iterable[Mapping[str, Any]]) -> Serve:
    parts = [one for one in partitions if one["size"]]
    if sum(one["size"] for one in parts) != PERCENT:
        message = "the shares of a rule don't add up to 100: the SDK has no answer for some users"
        raise NotCarried(message)
    if len(parts) == 1:
        return only_of(parts)
    weights = tuple(Weight(one["treatment"], one["size"]) for one in parts)
    return Split(weights, _bucketing(raw, "seed"))


def _bucketing(raw: Mapping[str, Any], seed: str) -> Bucketing:
    number = raw.get(seed)
    if number is None:
        message = f"it splits users by a seed ({seed}) that the document does not tell"
        raise NotCarried(message)
    return Bucketing(scheme_of(raw), seed=number, by=(TARGETING_KEY,), total=PERCENT)
