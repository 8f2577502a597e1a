"""A flag or segment, as LaunchDarkly sends it to its SDKs, in our model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from downhaul.evaluator.operators import compile_pattern
from downhaul.flag import (
    CONTEXT_KIND,
    TARGETING_KEY,
    USER,
    Bucketing,
    Clause,
    Dialect,
    Flag,
    FlagType,
    Gate,
    Keys,
    Missing,
    NoKey,
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
from downhaul_launchdarkly.known import kind_of, names_of

OPERATORS: Final[Mapping[str, Operator]] = {
    "in": Operator.IN,
    "startsWith": Operator.STARTS_WITH,
    "endsWith": Operator.ENDS_WITH,
    "contains": Operator.CONTAINS,
    "matches": Operator.MATCHES,
    "lessThan": Operator.LESS,
    "lessThanOrEqual": Operator.LESS_OR_EQUAL,
    "greaterThan": Operator.GREATER,
    "greaterThanOrEqual": Operator.GREATER_OR_EQUAL,
    "before": Operator.BEFORE,
    "after": Operator.AFTER,
    "semVerEqual": Operator.SEMVER_EQUAL,
    "semVerLessThan": Operator.SEMVER_LESS,
    "semVerGreaterThan": Operator.SEMVER_GREATER,
}
_SPECIAL: Final = {"key": TARGETING_KEY, "kind": CONTEXT_KIND}
_OURS: Final = frozenset({TARGETING_KEY, CONTEXT_KIND})
_TYPES: Final = {one.value: one for one in FlagType}


ANONYMOUS: Final = "anonymous"
_ESCAPE: Final = re.compile("~(?![01])")


class NotCarried(ValueError):
    """Something has no like here; the message says what."""


def is_reference(name: str) -> bool:
    """Return whether LaunchDarkly can read an attribute under a name, which may be a path."""
    if not name.startswith("/"):
        return bool(name)
    return all(name[1:].split("/")) and not _ESCAPE.search(name)


def flag_of(raw: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> Flag:
    """Return a flag that decides as the SDK does. ``others`` are those it may require.

    Raises NotCarried for what has no like here, and for what the SDK calls malformed.
    """
    try:
        return _flag(raw, others)
    except (KeyError, TypeError, AttributeError) as error:
        message = f"it is not as LaunchDarkly sends it: {type(error).__name__} {error}"
        raise NotCarried(message) from None


def segment_of(raw: Mapping[str, Any]) -> Segment:
    """Return a segment that holds whom it holds for the SDK. Raises NotCarried."""
    if raw.get("unbounded"):
        message = "its keys are in a big segment store, not in the document"
        raise NotCarried(message)
    try:
        return Segment(
            key=raw["key"],
            included=tuple(_keys(raw, "included")),
            excluded=tuple(_keys(raw, "excluded")),
            rules=tuple(_segment_rule(one, raw) for one in raw.get("rules") or []),
            description=raw.get("description") or "",
            tags=tuple(raw.get("tags") or ()),
            version=str(raw.get("version", "")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        message = f"it is not as LaunchDarkly sends it: {type(error).__name__} {error}"
        raise NotCarried(message) from None


def segments_named(one: Flag | Segment) -> frozenset[str]:
    """Return the keys of the segments that rules name."""
    clauses = (clause for rule in one.rules for clause in rule.clauses)
    return frozenset(
        str(value)
        for clause in clauses
        if clause.operator is Operator.IN_SEGMENT
        for value in clause.values
    )


def _flag(raw: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> Flag:
    values = raw["variations"]
    kind = kind_of(values)
    names = names_of(values, kind)
    off = raw.get("offVariation")
    targets, late = _in_order(list(_targets(raw, names)))
    return Flag(
        key=raw["key"],
        kind=kind,
        variants=dict(zip(names, values, strict=True)),
        off_variant=None if off is None else _name(names, off),
        on=bool(raw.get("on")),
        default=serve_of(raw["fallthrough"], raw, names),
        targets=tuple(targets),
        rules=tuple(
            Rule(one.variant, (_keyed(one),), id=f"targets-{place}", description="targets")
            for place, one in enumerate(late)
        )
        + tuple(rule_of(one, raw, names) for one in raw.get("rules") or []),
        prerequisites=tuple(_required(one, others) for one in raw.get("prerequisites") or []),
        tags=tuple(raw.get("tags") or ()),
        description=raw.get("description") or "",
        owner=raw.get("owner") or "",
        type=_TYPES.get(raw.get("type") or "", FlagType.RELEASE),
        version=str(raw.get("version", "")),
    )


def rule_of(one: Mapping[str, Any], raw: Mapping[str, Any], names: Sequence[str]) -> Rule:
    """Return a rule of a flag, whose document ``raw`` is. Raises NotCarried."""
    return Rule(
        serve_of(one, raw, names),
        _clauses(one),
        id=one.get("id") or "",
        description=one.get("description") or "",
    )


def _name(names: Sequence[str], index: int) -> str:
    if not 0 <= index < len(names):
        message = f"it has no variation {index}: LaunchDarkly's SDK calls it malformed"
        raise NotCarried(message)
    return names[index]


def _required(one: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> Prerequisite:
    other = others.get(one["key"])
    if other is None:
        message = f'it requires flag "{one["key"]}", which is not in the document'
        raise NotCarried(message)
    values = other["variations"]
    return Prerequisite(one["key"], (_name(names_of(values, kind_of(values)), one["variation"]),))


def _targets(raw: Mapping[str, Any], names: Sequence[str]) -> Iterator[Target]:
    """Return targets in the SDK's order: where there are ``contextTargets``, theirs."""
    users = raw.get("targets") or []
    others = raw.get("contextTargets") or []
    for one in others or users:
        kind = one.get("contextKind") or USER
        same = one["variation"]
        mine = [each for each in users if each["variation"] == same] if others else [one]
        for each in mine if kind == USER else [one]:
            if each["values"]:
                yield Target(_name(names, same), frozenset(each["values"]), kind)


def _in_order(targets: Sequence[Target]) -> tuple[Sequence[Target], Sequence[Target]]:
    """Return the targets that can stay targets, and those that must be rules to come later.

    Targets of ours are looked up kind by kind. LaunchDarkly goes on with a first kind after a
    second one, so that what comes back to an earlier kind has to wait.
    """
    seen: list[str] = []
    for place, one in enumerate(targets):
        if one.context_kind in seen[:-1]:
            return targets[:place], targets[place:]
        if one.context_kind not in seen:
            seen.append(one.context_kind)
    return targets, ()


def _keyed(one: Target) -> Clause:
    return Clause(
        TARGETING_KEY,
        Operator.IN,
        tuple(sorted(one.keys)),
        context_kind=one.context_kind,
        dialect=Dialect.LAUNCHDARKLY,
    )


def serve_of(serve: Mapping[str, Any], raw: Mapping[str, Any], names: Sequence[str]) -> Serve:
    """Return what a rule or the fallthrough of a flag serves. Raises NotCarried."""
    if serve.get("variation") is not None:
        return _name(names, serve["variation"])
    rollout = serve.get("rollout") or {}
    if not rollout.get("variations"):
        message = "a rule serves nothing: LaunchDarkly's SDK calls the flag malformed"
        raise NotCarried(message)
    by = None if rollout.get("kind") == "experiment" else rollout.get("bucketBy")
    how = _bucketing(raw, by, rollout.get("contextKind"), rollout.get("seed"))
    return Split(
        tuple(
            Weight(_name(names, one["variation"]), one["weight"]) for one in rollout["variations"]
        ),
        how,
    )


def _bucketing(
    raw: Mapping[str, Any], by: str | None, kind: str | None, seed: int | None = None
) -> Bucketing:
    return Bucketing(
        Scheme.LAUNCHDARKLY,
        salt=f"{raw['key']}.{raw.get('salt') or ''}" if seed is None else str(seed),
        by=(_attribute(by or "key", kind),),
        context_kind=kind or USER,
        no_key=NoKey.FIRST,
    )


def _attribute(name: str, kind: str | None) -> str:
    """Return our name of an attribute. It is a path only where a kind is said, as in the SDK."""
    if not name or (kind is not None and not is_reference(name)):
        message = f'"{name}" is no attribute: LaunchDarkly\'s SDK calls the flag malformed'
        raise NotCarried(message)
    if name in _SPECIAL:
        return _SPECIAL[name]
    if name in _OURS or (kind is None and name.startswith("/")):
        return "/" + name.replace("~", "~0").replace("/", "~1")
    return name


def _clauses(rule: Mapping[str, Any]) -> tuple[Clause, ...]:
    return tuple(made for one in rule.get("clauses") or [] for made in _clause(one))


def _clause(one: Mapping[str, Any]) -> tuple[Clause, ...]:
    if one["op"] != "segmentMatch" and one["attribute"] == ANONYMOUS:
        return _anonymous(one)
    return (_plain_clause(one),)


def _anonymous(one: Mapping[str, Any]) -> tuple[Clause, ...]:
    """Return a clause on what every context of LaunchDarkly's has: False where nobody said so."""
    kind = one.get("contextKind") or USER
    values = [each for each in one.get("values") or [] if isinstance(each, bool)]
    asked = set(values if one["op"] == "in" else ())
    wanted = {True, False} - asked if one.get("negate") else asked
    there = Clause(CONTEXT_KIND, Operator.IN, (kind,), dialect=Dialect.LAUNCHDARKLY)
    if len(wanted) != 1:
        return (there,) if wanted else (there, replace(there, negate=True))
    said = Clause(ANONYMOUS, Operator.IN, (True,), context_kind=kind, dialect=Dialect.LAUNCHDARKLY)
    if True in wanted:
        return (said,)
    return (there, replace(said, negate=True, missing=Missing.FALSE))


def _plain_clause(one: Mapping[str, Any]) -> Clause:
    negate, values = bool(one.get("negate")), tuple(one.get("values") or ())
    if one["op"] == "segmentMatch":
        return Clause("", Operator.IN_SEGMENT, values, negate=negate)
    if one["op"] not in OPERATORS:
        message = f'there is no operator "{one["op"]}" here'
        raise NotCarried(message)
    if one["op"] == "matches":
        _check_patterns(values)
    kind = one.get("contextKind")
    return Clause(
        _attribute(one["attribute"], kind),
        OPERATORS[one["op"]],
        values,
        negate=negate,
        context_kind=kind or USER,
        dialect=Dialect.LAUNCHDARKLY,
    )


def _check_patterns(values: Sequence[Any]) -> None:
    """Raise NotCarried for a pattern that is one to the SDK, which has Python's, or here, not both.

    What is none to both matches nothing on either side.
    """
    for value in values:
        if isinstance(value, str) and _readable(re.compile, value) is not _readable(
            compile_pattern, value
        ):
            message = f"the pattern {value!r} is not for both Python's and RE2's expressions"
            raise NotCarried(message)


def _readable(compiled: Callable[[str], Any], pattern: str) -> bool:
    try:
        compiled(pattern)
    except Exception:  # noqa: BLE001  (as the SDK takes it: whatever is raised, it is no pattern)
        return False
    return True


def _keys(raw: Mapping[str, Any], part: str) -> Iterator[Keys]:
    if raw.get(part):
        yield Keys(frozenset(raw[part]))
    for one in raw.get(f"{part}Contexts") or []:
        if one["values"]:
            yield Keys(frozenset(one["values"]), one.get("contextKind") or USER)


def _segment_rule(one: Mapping[str, Any], raw: Mapping[str, Any]) -> SegmentRule:
    clauses = _clauses(one)
    if one.get("weight") is None:
        return SegmentRule(clauses)
    how = _bucketing(raw, one.get("bucketBy"), one.get("rolloutContextKind"))
    return SegmentRule(clauses, Gate(one["weight"], how))
