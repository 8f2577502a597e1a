"""A definition or segment, as Split sends it to SDKs, in our model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from downhaul.flag import (
    TARGETING_KEY,
    Bucketing,
    Clause,
    Flag,
    Keys,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Segment,
    SegmentRule,
    Serve,
    Split,
    Target,
    Weight,
)
from downhaul_split.known import off_of
from downhaul_split.matchers import NotCarried, clauses_of
from downhaul_split.values import CONTROL, kind_of, values_of

WHOLE: Final = 100
_LEGACY: Final = 1  # the hash of flags that are older than the second one


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


def rule_based_segment_of(raw: Mapping[str, Any]) -> Segment:
    """Return a segment of rules. Raises NotCarried."""
    try:
        excluded = raw.get("excluded") or {}
        keys = frozenset(excluded.get("keys") or ())
        outside = tuple(_outside(one) for one in excluded.get("segments") or ())
        conditions = raw.get("conditions") or ()
        return Segment(
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
    prerequisites = tuple(_required(one) for one in raw.get("prerequisites") or ())
    # What the SDK serves to whom a kill or a prerequisite shuts out is its default treatment.
    exact = raw["killed"] or prerequisites
    targets, rest = _targets(conditions)
    return Flag(
        key=raw["name"],
        kind=kind,
        variants=values,
        off_variant=default if exact else off_of(kind, values, default),
        on=not raw["killed"],
        default=default,
        targets=targets,
        rules=tuple(_rules(raw, rest)),
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


def _targets(
    conditions: Iterable[Mapping[str, Any]],
) -> tuple[tuple[Target, ...], list[Mapping[str, Any]]]:
    """Return the lists of keys that come before all else, and the other conditions."""
    targets: list[Target] = []
    rest = list(conditions)
    seen: set[str] = set()
    while rest and (keys := _whitelist(rest[0])) is not None:
        first = rest.pop(0)
        new = keys - seen  # a key goes by the first list that has it
        seen |= keys
        if new:
            targets.append(Target(_only(first["partitions"]), frozenset(new)))
    return tuple(targets), rest


def _whitelist(condition: Mapping[str, Any]) -> set[str] | None:
    """Return the keys of a condition that is a list of keys for one treatment, else None."""
    matchers = condition["matcherGroup"]["matchers"]
    if condition.get("conditionType", "WHITELIST") != "WHITELIST" or len(matchers) != 1:
        return None
    (matcher,) = matchers
    plain = matcher["matcherType"] == "WHITELIST" and not matcher.get("negate")
    if not plain or (matcher.get("keySelector") or {}).get("attribute") is not None:
        return None
    if len([one for one in condition["partitions"] if one["size"]]) != 1:
        return None
    return set(matcher["whitelistMatcherData"]["whitelist"])


def _rules(raw: Mapping[str, Any], conditions: Iterable[Mapping[str, Any]]) -> Iterator[Rule]:
    allocated = _allocation(raw)
    for place, one in enumerate(conditions):
        if allocated is not None and one.get("conditionType", "WHITELIST") == "ROLLOUT":
            yield Rule(allocated, id="traffic-allocation", description="traffic allocation")
            allocated = None
        serve = _serve(raw, one["partitions"])
        label = one.get("label") or ""
        alternatives = clauses_of(one["matcherGroup"]["matchers"])
        for number, clauses in enumerate(alternatives):
            name = f"condition-{place}" if len(alternatives) == 1 else f"condition-{place}-{number}"
            yield Rule(serve, clauses, id=name, description=label)


def _allocation(raw: Mapping[str, Any]) -> Split | None:
    """Return the split that serves the default treatment to whom the allocation leaves out."""
    share = raw.get("trafficAllocation")
    if share is None or not 0 <= share < WHOLE:
        return None
    weights = (Weight(None, share), Weight(raw["defaultTreatment"], WHOLE - share))
    return Split(weights, _bucketing(raw, "trafficAllocationSeed"))


def _serve(raw: Mapping[str, Any], partitions: Iterable[Mapping[str, Any]]) -> Serve:
    parts = [one for one in partitions if one["size"]]
    if sum(one["size"] for one in parts) != WHOLE:
        message = "the shares of a rule don't add up to 100: the SDK has no answer for some users"
        raise NotCarried(message)
    if len(parts) == 1:
        return _only(parts)
    weights = tuple(Weight(one["treatment"], one["size"]) for one in parts)
    return Split(weights, _bucketing(raw, "seed"))


def _only(partitions: Iterable[Mapping[str, Any]]) -> str:
    return str(next(one["treatment"] for one in partitions if one["size"]))


def _bucketing(raw: Mapping[str, Any], seed: str) -> Bucketing:
    number = raw.get(seed)
    if number is None:
        message = f"it splits users by a seed ({seed}) that the document does not tell"
        raise NotCarried(message)
    scheme = Scheme.SPLIT_LEGACY if raw.get("algo") in (None, _LEGACY) else Scheme.SPLIT
    return Bucketing(scheme, seed=number, by=(TARGETING_KEY,), total=WHOLE)
