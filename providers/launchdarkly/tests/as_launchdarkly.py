"""Flags of ours as LaunchDarkly's service would send them, for what the tests ask about."""

from downhaul.flag import USER, Operator, Split

OPERATORS = {
    Operator.IN: "in",
    Operator.STARTS_WITH: "startsWith",
    Operator.ENDS_WITH: "endsWith",
    Operator.CONTAINS: "contains",
    Operator.MATCHES: "matches",
    Operator.LESS: "lessThan",
    Operator.LESS_OR_EQUAL: "lessThanOrEqual",
    Operator.GREATER: "greaterThan",
    Operator.GREATER_OR_EQUAL: "greaterThanOrEqual",
    Operator.BEFORE: "before",
    Operator.AFTER: "after",
    Operator.SEMVER_EQUAL: "semVerEqual",
    Operator.SEMVER_LESS: "semVerLessThan",
    Operator.SEMVER_GREATER: "semVerGreaterThan",
}


def clause_of(one):
    """Return the SDK's document of a clause."""
    segment = one.operator is Operator.IN_SEGMENT
    return {
        "contextKind": one.context_kind,
        "attribute": "key" if one.attribute == "targetingKey" else one.attribute,
        "op": "segmentMatch" if segment else OPERATORS[one.operator],
        "values": list(one.values),
        "negate": one.negate,
    }


def document_of(flag):
    """Return the SDK's document of a flag."""
    names = list(flag.variants)

    def serves(serve):
        if not isinstance(serve, Split):
            return {"variation": names.index(serve)}
        weights = [
            {"variation": names.index(one.variant), "weight": one.weight} for one in serve.weights
        ]
        return {"rollout": {"contextKind": "user", "variations": weights}}

    targets = [
        {
            "variation": names.index(one.variant),
            "values": sorted(one.keys),
            "contextKind": one.context_kind,
        }
        for one in flag.targets
    ]
    return {
        "key": flag.key,
        "version": int(flag.version or 1),
        "on": flag.on,
        "salt": f"salt-of-{flag.key}",
        "variations": list(flag.variants.values()),
        "offVariation": None if flag.off_variant is None else names.index(flag.off_variant),
        "fallthrough": serves(flag.default),
        "targets": [one for one in targets if one["contextKind"] == USER],
        "contextTargets": [_placed(one) for one in targets]
        if any(one["contextKind"] != USER for one in targets)
        else [],
        "rules": [
            {
                "id": one.id or str(place),
                "clauses": list(map(clause_of, one.clauses)),
                **serves(one.serve),
            }
            for place, one in enumerate(flag.rules)
        ],
        "prerequisites": [{"key": one.flag, "variation": 0} for one in flag.prerequisites],
    }


def _placed(target):
    """Return a target's place among those of all kinds: of users, its keys stand elsewhere."""
    return {**target, "values": []} if target["contextKind"] == USER else target


def about_of(flag):
    """Return what the REST API shows of a flag beside what SDKs are sent."""
    return {"tags": list(flag.tags), "description": flag.description, "names": list(flag.variants)}


def segment_of(segment):
    """Return the SDK's document of a segment."""
    lists = {}
    for name, parts in (("included", segment.included), ("excluded", segment.excluded)):
        keys = {one.context_kind: sorted(one.keys) for one in parts}
        lists[name] = keys.pop(USER, [])
        lists[f"{name}Contexts"] = [
            {"contextKind": kind, "values": values} for kind, values in keys.items()
        ]
    rules = [
        {"id": str(place), "clauses": list(map(clause_of, one.clauses))}
        for place, one in enumerate(segment.rules)
    ]
    return {"key": segment.key, "version": 1, "salt": "s", "rules": rules, **lists}
