"""Plain flags of ours in the vendors' shapes, for an emulator to begin with.

A switch, variants, a default or a share of it, and (at LaunchDarkly) targets. Whatever has more is
refused: a rule that was translated almost would be a test that proves almost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from downhaul.errors import Refused
from downhaul.flag import USER, WHOLE, Flag, FlagKind, Scheme, Split
from downhaul_emulators.launchdarkly.flags import flag_of
from downhaul_emulators.split.refusals import Refusal
from downhaul_emulators.split.validation import check_definition

_PERCENT: Final = WHOLE // 100


def to_launchdarkly(flag: Flag) -> dict[str, Any]:
    """Return LaunchDarkly's document of a flag. Raises Refused."""
    _refuse_more(flag)
    names = list(flag.variants)
    fallthrough: dict[str, Any]
    if isinstance(flag.default, Split):
        weights = [
            {"variation": names.index(name), "weight": weight}
            for name, weight in _weights(flag, flag.default).items()
        ]
        fallthrough = {"rollout": {"contextKind": "user", "variations": weights}}
    else:
        fallthrough = {"variation": names.index(flag.default)}
    targets = [
        {"variation": names.index(one.variant), "values": sorted(one.keys), "contextKind": USER}
        for one in flag.targets
    ]
    off = None if flag.off_variant is None else names.index(flag.off_variant)
    return flag_of(
        flag.key,
        list(flag.variants.values()),
        on=flag.on,
        offVariation=off,
        fallthrough=fallthrough,
        targets=targets,
    )


def whole_launchdarkly(key: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document in LaunchDarkly's shape with everything that was left out in it."""
    variations = document.get("variations")
    if not isinstance(variations, list) or not variations:
        raise Refused(f'flag "{key}" has no variations', flag=key, hint="give it a list of values")
    return {**flag_of(key, variations), **document, "key": key}


def to_split(flag: Flag) -> dict[str, Any]:
    """Return Split's definition of a flag. Raises Refused.

    A flag that is off is a killed one. A value that is not its variant's name is the treatment's
    configuration, ``{"value": ...}``, as Downhaul's provider reads it.
    """
    _refuse_more(flag)
    if flag.targets:
        raise _refused(flag, "targets")
    weights = {flag.default: WHOLE} if isinstance(flag.default, str) else {}
    if isinstance(flag.default, Split):
        weights = _weights(flag, flag.default)
    if any(weight % _PERCENT for weight in weights.values()):
        raise _refused(flag, "a share that is no whole percent")
    return {
        "treatments": [_treatment(flag, name) for name in flag.variants],
        "defaultTreatment": flag.off_variant or next(iter(flag.variants)),
        "killed": not flag.on,
        "defaultRule": [
            {"treatment": name, "size": weight // _PERCENT} for name, weight in weights.items()
        ],
        "rules": [],
    }


def whole_split(key: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition as Split's admin API would take it. Raises Refused, as that would."""
    try:
        check_definition(dict(document))
    except Refusal as refusal:
        raise Refused(f'flag "{key}": {refusal.message}', flag=key) from refusal
    return dict(document)


def _treatment(flag: Flag, name: str) -> dict[str, Any]:
    value = flag.variants[name]
    if value == name or (flag.kind is FlagKind.BOOLEAN and name in ("on", "off")):
        return {"name": name}
    return {"name": name, "configurations": json.dumps({"value": value}, ensure_ascii=False)}


def _weights(flag: Flag, split: Split) -> dict[str, int]:
    """Return who gets how many thousandths of a percent, by the vendor's own hash."""
    weights: dict[str, int] = {}
    for one in split.weights:
        if one.variant is None:
            raise _refused(flag, "a share that falls through")
        weights[one.variant] = weights.get(one.variant, 0) + one.weight
    if split.bucketing.scheme is not Scheme.DOWNHAUL or sum(weights.values()) != WHOLE:
        raise _refused(flag, "a bucketing of its own")
    return weights


def _refuse_more(flag: Flag) -> None:
    if flag.rules:
        raise _refused(flag, "rules")
    if flag.prerequisites:
        raise _refused(flag, "prerequisites")
    if any(one.context_kind != USER for one in flag.targets):
        raise _refused(flag, "targets of other kinds than user")


def _refused(flag: Flag, what: str) -> Refused:
    return Refused(
        f'flag "{flag.key}" has {what}, which no emulator is seeded with',
        flag=flag.key,
        hint='write the file in the vendor\'s own shape: {"flags": {KEY: ...}}',
    )
