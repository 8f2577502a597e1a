"""A flag's definition as the admin API shows it, and how its parts are asked for.

What we write can be told by its shape: a rollout in our own bucket is the one rule, of one matcher
on the attribute that carries it; a native one is the default rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from downhaul.encoding import flag_to_data
from downhaul.errors import Refused
from downhaul.evaluator.lowering import lifted
from downhaul.flag import WHOLE, Bucketing, Flag, FlagType, Split, Weight
from downhaul.provider import portable_attribute
from downhaul_split.definitions import as_sent
from downhaul_split.matchers import NotCarried
from downhaul_split.native import is_own, unseeded
from downhaul_split.rules import flag_of
from downhaul_split.values import kind_of, off_of, values_of

KEPT: Final = (
    "treatments",
    "defaultTreatment",
    "baselineTreatment",
    "trafficAllocation",
    "rules",
    "defaultRule",
    "killed",
    "flagSets",
    "impressionsDisabled",
)
"""What a definition decides by; everything else of it is Split's."""

STEP: Final = 1_000  # thousandths of a percent in one percent, which is Split's finest
IN_RULED: Final = "IN_RULE_BASED_SEGMENT"
_ANY_SEED: Final = {"seed": 0, "trafficAllocationSeed": 0}

Definition = Mapping[str, Any]


class Stored:
    """One definition. ``about`` has description and tags."""

    def __init__(self, definition: Definition, about: Definition) -> None:
        self.definition = definition
        self.key: str = definition["name"]
        self.version = str(definition.get("lastUpdateTime", ""))
        self.kept = kept_of(definition)
        self._about = about
        self.names = [one["name"] for one in definition["treatments"]]
        configurations = {
            one["name"]: one.get("configurations") for one in definition["treatments"]
        }
        self.values = values_of(self.names, configurations)
        self.kind = kind_of(self.values.values())

    def flag(self) -> Flag:
        """Return the flag in our words. Raises NotCarried.

        Its splits have no seeds: the admin API tells none, and a rollout must read the same flag
        whether an SDK runs beside it or not.
        """
        made = unseeded(flag_of(_sent(self.definition)))
        return replace(
            lifted(self._plainer(made)),
            kind=self.kind,
            variants=self.values,
            off_variant=self.off(None),
            tags=tuple(one["name"] for one in self._about.get("tags") or ()),
            description=self._about.get("description") or "",
            version=self.version,
        )

    def off(self, declared: str | None) -> str:
        """Return the variant that off must serve: the declared one, or False of a boolean."""
        if declared is not None:
            self.treatment(declared)
            return declared
        return off_of(self.kind, self.values, self.definition["defaultTreatment"])

    def treatment(self, variant: str) -> str:
        """Return a variant's treatment, which has its name. Raises Refused."""
        if variant not in self.names:
            message = f'flag "{self.key}" has no variant "{variant}"'
            raise Refused(message, flag=self.key, hint=f"it has {', '.join(self.names)}")
        return variant

    def plain(self) -> Flag | None:
        """Return the flag where a rollout governs all of it but prerequisites, else None."""
        try:
            flag = self.flag()
        except NotCarried:
            return None
        return None if flag.rules else flag

    def carrier(self) -> Bucketing | None:
        """Return how the default's users are told apart where a carrier brings it, else None."""
        flag = self.plain()
        if flag is None or not isinstance(flag.default, Split):
            return None
        return None if is_own(flag.default.bucketing) else flag.default.bucketing

    def decides_as(self, flag: Flag) -> bool:
        """Return whether the flag is the same already, but for what is told about it."""
        if any(is_portable(one, self.key) for one in self.kept["rules"]):
            return False
        try:
            return _deciding(self.flag()) == _deciding(flag)
        except NotCarried:
            return False

    def ruled(self) -> set[str]:
        """Return the segments that its rules ask for as rule-based ones."""
        matchers = [one for rule in self.kept["rules"] for one in rule["condition"]["matchers"]]
        return {one["string"] for one in matchers if one["type"] == IN_RULED}

    def requirements(self) -> list[dict[str, Any]]:
        """Return the first rules, which prerequisites are."""
        flag = self.plain()
        return self.definition["rules"][: len(flag.prerequisites)] if flag is not None else []

    def refuse_foreign_rules(self) -> None:
        """Raise Refused where a rule stands that a rollout would not govern."""
        foreign = () if self.plain() is not None else self.kept["rules"]
        for one in foreign:
            if not is_portable(one, self.key):
                said = " and ".join(_said(each) for each in one["condition"]["matchers"])
                message = f'flag "{self.key}" has a rule of its own in Split: {said}'
                raise Refused(message, flag=self.key, hint="remove the rule there first")
        if self.kept["trafficAllocation"] not in (None, 100):
            share = self.kept["trafficAllocation"]
            message = f'flag "{self.key}" is for {share} % of the traffic only'
            raise Refused(message, flag=self.key, hint="set its traffic allocation to 100 % first")

    def targeted(self, variant: str, keys: Iterable[str]) -> list[dict[str, Any]]:
        """Return the treatments with these keys on one of them, and on no other."""
        wanted = set(keys)
        made = []
        for one in self.definition["treatments"]:
            others = [key for key in one.get("keys") or () if key not in wanted]
            mine = sorted(wanted) if one["name"] == variant else others
            made.append({**one, "keys": mine})
        return made

    def _plainer(self, flag: Flag) -> Flag:
        """Return the flag with a portable rollout, which is one rule, as its default."""
        stored = self.kept["rules"]
        if len(flag.rules) != 1 or len(stored) != 1 or not is_portable(stored[0], self.key):
            return flag
        weight = stored[0]["condition"]["matchers"][0]["between"]["to"] + 1
        parts = ((str(flag.rules[0].serve), weight), (str(flag.default), WHOLE - weight))
        return replace(flag, rules=(), default=Split(tuple(Weight(*one) for one in parts)))


def _sent(definition: Definition) -> dict[str, Any]:
    try:
        return as_sent(definition, _ANY_SEED)
    except (KeyError, TypeError, AttributeError) as error:
        message = f"a rule of it is not as documented: {type(error).__name__} {error}"
        raise NotCarried(message) from None


def kept_of(definition: Definition) -> dict[str, Any]:
    """Return what a definition decides by, in one form whatever was left out of it."""
    made = {name: definition.get(name) for name in KEPT}
    made["treatments"] = [
        {
            "name": one["name"],
            "configurations": one.get("configurations") or None,
            "description": one.get("description") or "",
            "keys": sorted(one.get("keys") or ()),
            "segments": sorted(one.get("segments") or ()),
        }
        for one in definition["treatments"]
    ]
    made["rules"] = [_plain_rule(one) for one in definition.get("rules") or ()]
    made["defaultRule"] = [dict(one) for one in definition["defaultRule"] if one["size"]]
    made["trafficAllocation"] = definition.get("trafficAllocation", 100)
    made["killed"] = bool(definition.get("killed"))
    made["flagSets"] = sorted(str(one.get("id")) for one in definition.get("flagSets") or ())
    made["impressionsDisabled"] = bool(definition.get("impressionsDisabled"))
    return made


def serves(key: str, variant: str, weight: int, rest: str, *, portable: bool) -> dict[str, Any]:
    """Return the rules and the default rule that serve ``variant`` to a share of users.

    Raises Refused for a share that Split's own percentages can't be.
    """
    if portable:
        all_others = [{"treatment": rest, "size": 100}]
        return {
            "rules": [_portable(key, variant, weight)] if weight else [],
            "defaultRule": all_others,
        }
    percent, finer = divmod(weight, STEP)
    if finer:
        message = f"Split's percentages are whole ones, and {weight / STEP:g} % is not"
        hint = f'declare `rollout = "portable"` for the flag in [flags."{key}"], for thousandths'
        raise Refused(message, flag=key, hint=hint)
    parts = [(variant, percent), (rest, 100 - percent)]
    return {
        "rules": [],
        "defaultRule": [{"treatment": name, "size": size} for name, size in parts if size],
    }


def is_portable(rule: Mapping[str, Any], key: str) -> bool:
    """Return whether a rule is a rollout in our own bucket."""
    matchers: Sequence[Mapping[str, Any]] = rule["condition"]["matchers"]
    if len(matchers) != 1 or len(rule["buckets"]) != 1:
        return False
    (one,) = matchers
    return (
        one["type"] == "BETWEEN_NUMBER"
        and one.get("attribute") == portable_attribute(key)
        and not one.get("negate")
        and _from_zero(one.get("between"))
    )


def _from_zero(between: Any) -> bool:
    if not isinstance(between, Mapping):
        return False
    return between.get("from") == 0 and isinstance(between.get("to"), int)


def _portable(key: str, variant: str, weight: int) -> dict[str, Any]:
    matcher = {
        "type": "BETWEEN_NUMBER",
        "attribute": portable_attribute(key),
        "negate": False,
        "between": {"from": 0, "to": weight - 1},
    }
    return {
        "condition": {"combiner": "AND", "matchers": [matcher]},
        "buckets": [{"treatment": variant, "size": 100}],
    }


def _plain_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    matchers = [
        {name: value for name, value in one.items() if value not in (None, "", [], False)}
        | {"negate": bool(one.get("negate"))}
        | ({"bool": one.get("bool")} if one["type"] == "BOOLEAN" else {})
        | ({"number": one["number"]} if one.get("number") == 0 else {})
        for one in rule["condition"]["matchers"]
    ]
    return {
        "condition": {"combiner": "AND", "matchers": matchers},
        "buckets": [dict(one) for one in rule["buckets"] if one["size"]],
    }


def _said(matcher: Mapping[str, Any]) -> str:
    given = (matcher.get(name) for name in ("strings", "string", "number", "date", "between"))
    value = next((one for one in given if one is not None), "")
    return f"{matcher.get('attribute') or 'key'} {matcher['type']} {value}".strip()


def _deciding(flag: Flag) -> str:
    """Return what a flag decides by, as text: 1 is not True there."""
    plain = replace(
        flag,
        variants=dict(sorted(flag.variants.items())),  # SDKs are told of them in any order
        rules=tuple(replace(one, id="", description="") for one in flag.rules),
        tags=(),
        owner="",
        description="",
        type=FlagType.RELEASE,
        version="",
    )
    return json.dumps(flag_to_data(plain), sort_keys=True)
