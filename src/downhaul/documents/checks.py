"""What must hold within a flag or segment, and between them, beyond the types of the fields.

:func:`check_flag` and :func:`check_segment` name every problem of one that is about to be written
into a set; they work on the model, so that flags made in Python are held to the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from downhaul.documents.clauses import Known, check_clause
from downhaul.documents.faults import Fault, Place, did_you_mean, problems_of, quoted
from downhaul.documents.models import KEY_PATTERN, KIND_PATTERN, TAG_PATTERN
from downhaul.documents.sanity import insane
from downhaul.documents.structure import structured
from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.errors import Problem
from downhaul.flag import (
    Bucketing,
    Flag,
    FlagKind,
    FlagSet,
    Gate,
    Keys,
    Rule,
    Scheme,
    Segment,
    SegmentRule,
    Serve,
    Split,
    Target,
)
from downhaul.references import Node, find_cycles

_KEY: Final = re.compile(KEY_PATTERN)
_TAG: Final = re.compile(TAG_PATTERN)
_KIND: Final = re.compile(KIND_PATTERN)
_SEEDS: Final = range(-(1 << 31), 1 << 32)
_UNSIGNED: Final = range(1 << 32)
_MOST_BUCKETS: Final = 1 << 31


def check_flag(flag: Flag, flag_set: FlagSet | None = None) -> list[Problem]:
    """Return every problem of a flag; paths are those of its document.

    Given a flag set, what the flag names must exist there, what names the flag must still fit it,
    and with this flag put in there must be no cycle. Never raises.
    """
    return problems_of(_check(flag, "flag", flag_set))


def check_segment(segment: Segment, flag_set: FlagSet | None = None) -> list[Problem]:
    """Return every problem of a segment, as :func:`check_flag` does for a flag."""
    return problems_of(_check(segment, "segment", flag_set))


def _check(one: Flag | Segment, sort: str, flag_set: FlagSet | None) -> Iterator[Fault]:
    try:
        data = flag_to_data(one) if isinstance(one, Flag) else segment_to_data(one)
    except (TypeError, AttributeError, ValueError, KeyError) as error:
        yield Fault((), f"is no {sort} that can be written down: {error}")
        return
    faults = list(insane(data)) or structured(data, sort)[1]
    if faults:
        yield from faults
        return
    if flag_set is None:
        yield from faults_of(one, Known.anything())
        return
    around = with_one(flag_set, one)
    yield from faults_of(one, Known.of(around))
    yield from cycle_faults(around, [Node(sort, one.key)])
    if isinstance(one, Flag):
        yield from _broken_by(one, flag_set)


def with_one(flag_set: FlagSet, one: Flag | Segment) -> FlagSet:
    """Return the flag set with this flag or segment put in."""
    if isinstance(one, Flag):
        return FlagSet({**flag_set.flags, one.key: one}, flag_set.segments, flag_set.revision)
    return FlagSet(flag_set.flags, {**flag_set.segments, one.key: one}, flag_set.revision)


def faults_of(one: Flag | Segment, known: Known) -> Iterator[Fault]:
    """Yield what is wrong with a flag or segment whose fields have the right types; no cycles."""
    yield from _key(("key",), one.key, "key")
    for index, tag in enumerate(one.tags):
        if not _TAG.fullmatch(tag):
            yield Fault(
                ("tags", index), f"{quoted(tag)} is no tag", "no commas, no spaces around it"
            )
    if isinstance(one, Flag):
        yield from _flag(one, known)
    else:
        yield from _segment(one, known)


def cycle_faults(flag_set: FlagSet, starts: Iterable[Node]) -> Iterator[Fault]:
    """Yield a fault for each cycle of prerequisites, segments and ``serves`` clauses."""
    for cycle in find_cycles(flag_set, starts):
        path = " -> ".join(str(node) for node in cycle)
        yield Fault((), f"a cycle: {path}", "nothing may depend on itself: take one of these out")


def _broken_by(flag: Flag, flag_set: FlagSet) -> Iterator[Fault]:
    """Yield what names a variant that the flag had and has no more."""
    before = flag_set.flags.get(flag.key)
    gone = set() if before is None else set(before.variants) - set(flag.variants)
    if not gone:
        return
    node = Node("flag", flag.key)
    for sort, many in (("flag", flag_set.flags), ("segment", flag_set.segments)):
        for other in many.values():
            for variant in sorted(gone & _variants_named(other, node.key)):
                if other.key != flag.key:
                    message = f'{sort} "{other.key}" names variant {quoted(variant)}'
                    yield Fault(
                        ("variants",), message, "change that one first, or keep the variant"
                    )


def _variants_named(one: Flag | Segment, key: str) -> set[Any]:
    named: set[Any] = set()
    for prerequisite in one.prerequisites if isinstance(one, Flag) else ():
        if prerequisite.flag == key:
            named.update(prerequisite.variants)
    for rule in one.rules:
        for clause in rule.clauses:
            if clause.operator == "serves" and clause.attribute == key:
                named.update(clause.values)
    return named


# --- flags


def _flag(flag: Flag, known: Known) -> Iterator[Fault]:
    yield from _variants(flag)
    if flag.off_variant is not None:
        yield from _named(("off_variant",), flag.off_variant, flag.variants)
    yield from _prerequisites(flag, known)
    yield from _targets(flag)
    ids = [rule.id for rule in flag.rules if rule.id]
    for index, rule in enumerate(flag.rules):
        place: Place = ("rules", index)
        if rule.id and ids.count(rule.id) > 1:
            yield Fault((*place, "id"), f"{quoted(rule.id)} is the id of several rules")
        yield from _conditions(place, rule, known, flag.variants)
        yield from _serve((*place, "serve"), rule.serve, flag.variants)
    yield from _serve(("default",), flag.default, flag.variants, last=True)


def _variants(flag: Flag) -> Iterator[Fault]:
    for name, value in flag.variants.items():
        place = ("variants", name)
        if not name or not name.isprintable():
            yield Fault(place, "a variant's name is printable text")
        if not _fits(value, flag.kind):
            wanted = _WANTED[flag.kind]
            yield Fault(place, f"a {flag.kind.value} flag serves {wanted}, not {quoted(value)}")


_WANTED: Final = {
    FlagKind.BOOLEAN: "true or false",
    FlagKind.STRING: "text",
    FlagKind.NUMBER: "numbers",
    FlagKind.OBJECT: "objects or lists",
}


def _fits(value: Any, kind: FlagKind) -> bool:
    if kind is FlagKind.BOOLEAN:
        return isinstance(value, bool)
    if kind is FlagKind.STRING:
        return isinstance(value, str)
    if kind is FlagKind.NUMBER:
        return type(value) is int or (type(value) is float and math.isfinite(value))
    return isinstance(value, (dict, list))


def _prerequisites(flag: Flag, known: Known) -> Iterator[Fault]:
    for index, one in enumerate(flag.prerequisites):
        place: Place = ("prerequisites", index)
        yield from known.flag_faults((*place, "flag"), one.flag)
        for number, variant in enumerate(one.variants):
            yield from known.variant_faults((*place, "variants", number), one.flag, variant)


def _targets(flag: Flag) -> Iterator[Fault]:
    owners: dict[tuple[str, str], str] = {}
    for index, target in enumerate(flag.targets):
        place: Place = ("targets", index)
        yield from _named((*place, "variant"), target.variant, flag.variants)
        yield from _keys(place, target)
        for key in sorted(target.keys):
            owner = owners.setdefault((target.context_kind, key), target.variant)
            if owner != target.variant:
                message = f"{quoted(key)} is a target of {quoted(owner)} too"
                yield Fault((*place, "keys"), message, "leave it in one of them")


def _serve(
    place: Place, serve: Serve, variants: Mapping[str, Any], *, last: bool = False
) -> Iterator[Fault]:
    if not isinstance(serve, Split):
        yield from _named(place, serve, variants)
        return
    total = serve.bucketing.total
    for index, one in enumerate(serve.weights):
        at = (*place, "split", index)
        if one.variant is not None:
            yield from _named((*at, "variant"), one.variant, variants)
        elif last:
            yield Fault((*at, "fall_through"), "nothing follows the default", "name a variant")
    found = sum(one.weight for one in serve.weights)
    if found != total:
        percent = f"{found * 100 / total:.6g} %" if found < total * 1000 else "far more than 100 %"
        message = f"the weights add up to {found} of {total} ({percent})"
        yield Fault((*place, "split"), message, "they must be 100 % together")
    yield from _bucketing((*place, "bucketing"), serve.bucketing)


def _named(place: Place, variant: str, variants: Collection[str]) -> Iterator[Fault]:
    if variant not in variants:
        hint = did_you_mean(variant, variants, all_of="its variants are")
        yield Fault(place, f"the flag has no variant {quoted(variant)}", hint)


# --- what flags and segments share


def _segment(segment: Segment, known: Known) -> Iterator[Fault]:
    for name, lists in (("included", segment.included), ("excluded", segment.excluded)):
        for index, keys in enumerate(lists):
            yield from _keys((name, index), keys)
    for index, rule in enumerate(segment.rules):
        place = ("rules", index)
        yield from _conditions(place, rule, known, None)
        if rule.gate is not None and rule.gate.outside is not None:
            yield Fault((*place, "gate", "outside"), "a segment serves nothing", "leave it out")


def _conditions(
    place: Place, rule: Rule | SegmentRule, known: Known, variants: Mapping[str, Any] | None
) -> Iterator[Fault]:
    for index, clause in enumerate(rule.clauses):
        at: Place = (*place, "when", index)
        yield from _kind((*at, "context_kind"), clause.context_kind)
        for fault in check_clause(clause, known):
            yield fault.under(at)
    if rule.gate is not None:
        yield from _gate((*place, "gate"), rule.gate, variants)


def _gate(place: Place, gate: Gate, variants: Mapping[str, Any] | None) -> Iterator[Fault]:
    if gate.share > gate.bucketing.total:
        message = f"{gate.share} is more than the {gate.bucketing.total} buckets that there are"
        yield Fault((*place, "share"), message)
    if gate.outside is not None and variants is not None:
        yield from _named((*place, "outside"), gate.outside, variants)
    yield from _bucketing((*place, "bucketing"), gate.bucketing)


def _bucketing(place: Place, bucketing: Bucketing) -> Iterator[Fault]:
    yield from _kind((*place, "context_kind"), bucketing.context_kind)
    for index, name in enumerate(bucketing.by):
        if not name:
            yield Fault((*place, "by", index), "an attribute has a name")
    if bucketing.total > _MOST_BUCKETS:
        yield Fault((*place, "total"), f"at most {_MOST_BUCKETS} buckets")
    seeds = _UNSIGNED if bucketing.scheme is Scheme.UNLEASH else _SEEDS
    if bucketing.seed is not None and bucketing.seed not in seeds:
        yield Fault((*place, "seed"), f"a seed lies between {seeds[0]} and {seeds[-1]}")
    if bucketing.scheme in (Scheme.DOWNHAUL, Scheme.FLIPPER) and bucketing.seed:
        message = f"the scheme {bucketing.scheme} has no seed"
        yield Fault((*place, "seed"), message, "set a salt to assign users anew")


def _key(place: Place, key: str, what: str) -> Iterator[Fault]:
    if not _KEY.fullmatch(key) or not key.isprintable():
        hint = "1 to 200 characters, no spaces, commas, semicolons or quotes, none of *#- first"
        yield Fault(place, f"{quoted(key)} is no {what}", hint)


def _keys(place: Place, keys: Keys | Target) -> Iterator[Fault]:
    yield from _kind((*place, "context_kind"), keys.context_kind)
    if "" in keys.keys:
        yield Fault((*place, "keys"), "an empty targeting key is a missing one", "take it out")


def _kind(place: Place, kind: str) -> Iterator[Fault]:
    if not _KIND.fullmatch(kind) or kind in ("kind", "multi"):
        hint = "letters, digits, dot, dash and underscore, such as user or organisation"
        yield Fault(place, f"{quoted(kind)} is no context kind", hint)
