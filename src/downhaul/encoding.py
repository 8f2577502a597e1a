"""Flags and segments to JSON data and back: the stores' own documents, read without validation.

The shape is the published document format (``docs/flag-documents.md``). What stands at its
default is left out; sets are written sorted, so that equal flags have equal documents. Reading
trusts what it is given: documents that people write go through :mod:`downhaul.documents`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from downhaul.flag import (
    TARGETING_KEY,
    USER,
    WHOLE,
    Bucketing,
    Clause,
    Dialect,
    Flag,
    FlagKind,
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

Data = dict[str, Any]

# A look-up in a dict takes a tenth of the time of calling the enum.
_KINDS: Final = {one.value: one for one in FlagKind}
_TYPES: Final = {one.value: one for one in FlagType}
_OPERATORS: Final = {one.value: one for one in Operator}
_DIALECTS: Final = {one.value: one for one in Dialect}
_MISSING: Final = {one.value: one for one in Missing}
_SCHEMES: Final = {one.value: one for one in Scheme}
_NO_KEY: Final = {one.value: one for one in NoKey}

_ON_OFF: Final[Mapping[str, Any]] = MappingProxyType({"on": True, "off": False})
_PLAIN: Final = Bucketing()
_BY_KEY: Final = [TARGETING_KEY]


def flag_to_data(flag: Flag) -> Data:
    """Return the flag as JSON data: its document, with ``version`` where it has one."""
    data: Data = {"key": flag.key}
    if flag.kind is not FlagKind.BOOLEAN:
        data["kind"] = flag.kind.value
    data |= _about(flag)
    data["on"] = flag.on
    if not _is_on_off(flag):
        data["variants"] = dict(flag.variants)
    if flag.off_variant != "off" or flag.kind is not FlagKind.BOOLEAN:
        data["off_variant"] = flag.off_variant
    for name, parts in (
        ("prerequisites", [_prerequisite_to_data(one) for one in flag.prerequisites]),
        ("targets", [_target_to_data(one) for one in flag.targets]),
        ("rules", [_rule_to_data(one) for one in flag.rules]),
    ):
        if parts:
            data[name] = parts
    data["default"] = _serve_to_data(flag.default)
    if flag.version:
        data["version"] = flag.version
    return data


def flag_from_data(data: Mapping[str, Any]) -> Flag:
    """Read what :func:`flag_to_data` wrote.

    Nothing is checked: other data gives KeyError, TypeError, AttributeError or a wrong flag.
    Values of object variants are taken over as they are, not copied.
    """
    get = data.get
    variants = get("variants")
    return Flag(
        key=data["key"],
        default=_serve_from_data(data["default"]),
        kind=_KINDS[get("kind", "boolean")],
        variants=_ON_OFF if variants is None else MappingProxyType(dict(variants)),
        off_variant=get("off_variant", "off"),
        on=get("on", False),
        targets=tuple([_target_from_data(one) for one in get("targets", ())]),
        rules=tuple([_rule_from_data(one) for one in get("rules", ())]),
        prerequisites=tuple([_prerequisite_from_data(one) for one in get("prerequisites", ())]),
        tags=tuple(get("tags", ())),
        owner=get("owner", ""),
        description=get("description", ""),
        type=_TYPES[get("type", "release")],
        version=get("version", ""),
    )


def segment_to_data(segment: Segment) -> Data:
    """Return the segment as JSON data: its document, with ``version`` where it has one."""
    data: Data = {"key": segment.key}
    if segment.description:
        data["description"] = segment.description
    if segment.tags:
        data["tags"] = list(segment.tags)
    if segment.included:
        data["included"] = [_keys_to_data(one) for one in segment.included]
    if segment.excluded:
        data["excluded"] = [_keys_to_data(one) for one in segment.excluded]
    if segment.rules:
        data["rules"] = [_conditions_to_data(one.clauses, one.gate) for one in segment.rules]
    if segment.version:
        data["version"] = segment.version
    return data


def segment_from_data(data: Mapping[str, Any]) -> Segment:
    """Read what :func:`segment_to_data` wrote. Nothing is checked."""
    get = data.get
    return Segment(
        key=data["key"],
        included=tuple([_keys_from_data(one) for one in get("included", ())]),
        excluded=tuple([_keys_from_data(one) for one in get("excluded", ())]),
        rules=tuple(
            [
                SegmentRule(_clauses_of(one), _gate_from_data(one.get("gate")))
                for one in get("rules", ())
            ]
        ),
        description=get("description", ""),
        tags=tuple(get("tags", ())),
        version=get("version", ""),
    )


def _about(flag: Flag) -> Data:
    type_ = "" if flag.type is FlagType.RELEASE else flag.type.value
    about: Data = {"description": flag.description, "owner": flag.owner, "type": type_}
    about["tags"] = list(flag.tags)
    return {name: value for name, value in about.items() if value}


def _is_on_off(flag: Flag) -> bool:
    # The order of variants is kept, and 1 equals True, so an equal mapping is not enough.
    if flag.kind is not FlagKind.BOOLEAN or list(flag.variants) != ["on", "off"]:
        return False
    return flag.variants["on"] is True and flag.variants["off"] is False


def _serve_to_data(serve: Serve) -> Any:
    if isinstance(serve, str):
        return serve
    data: Data = {"split": [_weight_to_data(one) for one in serve.weights]}
    if serve.bucketing != _PLAIN:
        data["bucketing"] = _bucketing_to_data(serve.bucketing)
    return data


def _serve_from_data(data: Any) -> Serve:
    if isinstance(data, str):
        return data
    weights = [Weight(one.get("variant"), one["weight"]) for one in data["split"]]
    return Split(tuple(weights), _bucketing_from_data(data.get("bucketing")))


def _weight_to_data(weight: Weight) -> Data:
    if weight.variant is None:
        return {"fall_through": True, "weight": weight.weight}
    return {"variant": weight.variant, "weight": weight.weight}


def _bucketing_to_data(bucketing: Bucketing) -> Data:
    data: Data = {}
    if bucketing.scheme is not Scheme.DOWNHAUL:
        data["scheme"] = bucketing.scheme.value
    if bucketing.salt is not None:
        data["salt"] = bucketing.salt
    if bucketing.seed is not None:
        data["seed"] = bucketing.seed
    if bucketing.by != _PLAIN.by:
        data["by"] = list(bucketing.by)
    if bucketing.context_kind != USER:
        data["context_kind"] = bucketing.context_kind
    if bucketing.no_key is not NoKey.ERROR:
        data["no_key"] = bucketing.no_key.value
    if bucketing.total != WHOLE:
        data["total"] = bucketing.total
    return data


def _bucketing_from_data(data: Mapping[str, Any] | None) -> Bucketing:
    if not data:
        return _PLAIN
    get = data.get
    return Bucketing(
        scheme=_SCHEMES[get("scheme", "downhaul")],
        salt=get("salt"),
        seed=get("seed"),
        by=tuple(get("by", _BY_KEY)),
        context_kind=get("context_kind", USER),
        no_key=_NO_KEY[get("no_key", "error")],
        total=get("total", WHOLE),
    )


def _gate_to_data(gate: Gate) -> Data:
    data: Data = {"share": gate.share}
    if gate.bucketing != _PLAIN:
        data["bucketing"] = _bucketing_to_data(gate.bucketing)
    if gate.outside is not None:
        data["outside"] = gate.outside
    return data


def _gate_from_data(data: Mapping[str, Any] | None) -> Gate | None:
    if data is None:
        return None
    return Gate(data["share"], _bucketing_from_data(data.get("bucketing")), data.get("outside"))


def _clause_to_data(clause: Clause) -> Data:
    data: Data = {}
    if clause.attribute:
        data["attribute"] = clause.attribute
    data["operator"] = clause.operator.value
    if clause.values:
        data["values"] = list(clause.values)
    if clause.negate:
        data["negate"] = True
    if clause.ignore_case:
        data["ignore_case"] = True
    if clause.context_kind != USER:
        data["context_kind"] = clause.context_kind
    if clause.missing is not Missing.NO_MATCH:
        data["missing"] = clause.missing.value
    if clause.dialect is not Dialect.NATIVE:
        data["dialect"] = clause.dialect.value
    return data


def _clause_from_data(data: Mapping[str, Any]) -> Clause:
    get = data.get
    return Clause(
        get("attribute", ""),
        _OPERATORS[data["operator"]],
        tuple(get("values", ())),
        get("negate", False),
        get("ignore_case", False),
        get("context_kind", USER),
        _MISSING[get("missing", "no_match")],
        _DIALECTS[get("dialect", "native")],
    )


def _clauses_of(data: Mapping[str, Any]) -> tuple[Clause, ...]:
    return tuple([_clause_from_data(one) for one in data.get("when", ())])


def _conditions_to_data(clauses: tuple[Clause, ...], gate: Gate | None) -> Data:
    data: Data = {}
    if clauses:
        data["when"] = [_clause_to_data(one) for one in clauses]
    if gate is not None:
        data["gate"] = _gate_to_data(gate)
    return data


def _rule_to_data(rule: Rule) -> Data:
    data: Data = {}
    if rule.id:
        data["id"] = rule.id
    if rule.description:
        data["description"] = rule.description
    data |= _conditions_to_data(rule.clauses, rule.gate)
    data["serve"] = _serve_to_data(rule.serve)
    return data


def _rule_from_data(data: Mapping[str, Any]) -> Rule:
    return Rule(
        serve=_serve_from_data(data["serve"]),
        clauses=_clauses_of(data),
        gate=_gate_from_data(data.get("gate")),
        id=data.get("id", ""),
        description=data.get("description", ""),
    )


def _target_to_data(target: Target) -> Data:
    return {"variant": target.variant, **_keys_to_data(target)}


def _target_from_data(data: Mapping[str, Any]) -> Target:
    return Target(data["variant"], frozenset(data["keys"]), data.get("context_kind", USER))


def _keys_to_data(keys: Keys | Target) -> Data:
    data: Data = {"keys": sorted(keys.keys)}
    if keys.context_kind != USER:
        data["context_kind"] = keys.context_kind
    return data


def _keys_from_data(data: Mapping[str, Any]) -> Keys:
    return Keys(frozenset(data["keys"]), data.get("context_kind", USER))


def _prerequisite_to_data(prerequisite: Prerequisite) -> Data:
    data: Data = {"flag": prerequisite.flag}
    if prerequisite.variants:
        data["variants"] = list(prerequisite.variants)
    if prerequisite.negate:
        data["negate"] = True
    if prerequisite.while_off:
        data["while_off"] = True
    return data


def _prerequisite_from_data(data: Mapping[str, Any]) -> Prerequisite:
    get = data.get
    return Prerequisite(
        data["flag"], tuple(get("variants", ())), get("negate", False), get("while_off", False)
    )
