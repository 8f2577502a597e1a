"""A whole flag of ours as a definition of the admin API, or a refusal that says why not.

Split hashes by seeds of its own, so a split by any other hash, and every gate, is written as
clauses on the buckets that carriers bring.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any, Final

from downhaul.errors import Refused
from downhaul.evaluator.lowering import CantLower
from downhaul.flag import USER, WHOLE, Flag, Prerequisite, Rule, Serve
from downhaul_split.carried import lowered_flag, with_listed_keys
from downhaul_split.clauses import NotSaid, alternatives_of
from downhaul_split.contexts import LONGEST
from downhaul_split.native import PERCENT, share_of
from downhaul_split.stored import IN_RULED, STEP, serves
from downhaul_split.values import configurations_of

MOST_TREATMENTS: Final = 20
RESERVED: Final = frozenset(
    re.findall(
        r"\w+",
        """all and between contain contains control datetime does end ends false has have if in is
        match matches not number set split start starts string then treatment true with""",
    )
)
"""What no treatment may be called, in whatever case."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_MOST_RULES: Final = 16  # that one rule of ours may become
Matchers = Sequence[Mapping[str, Any]]
Definition = dict[str, Any]


def definition_of(
    flag: Flag, *, portable: bool, ruled: AbstractSet[str] = frozenset()
) -> Definition:
    """Return the definition that serves what the flag serves. Raises Refused, naming what can't be.

    ``portable`` writes a split of the default by our own bucket. ``ruled`` are the segments that
    are known to be rule-based: they are asked for by another word.
    """
    check_names(flag)
    flag = with_listed_keys(flag)
    off = str(flag.off_variant)
    configurations = configurations_of(flag.variants, flag.kind)
    return {
        "treatments": [
            {"name": name, "configurations": configurations[name], "keys": _targets(flag, name)}
            for name in flag.variants
        ],
        "defaultTreatment": off,
        "baselineTreatment": off,
        "killed": not flag.on,
        **_ruled(_served(flag, off, portable=portable), ruled),
    }


def _ruled(served: Mapping[str, Any], ruled: AbstractSet[str]) -> Mapping[str, Any]:
    for rule in served["rules"]:
        for one in rule["condition"]["matchers"]:
            if one["type"] == "IN_SEGMENT" and one["string"] in ruled:
                one["type"] = IN_RULED
    return served


def nothing_of(definition: Mapping[str, Any]) -> Definition:
    """Return a definition with the same treatments that is killed and serves nobody anything."""
    off = definition["defaultTreatment"]
    return {
        **definition,
        "treatments": [{**one, "keys": []} for one in definition["treatments"]],
        "killed": True,
        "rules": [],
        "defaultRule": [{"treatment": off, "size": PERCENT}],
        "trafficAllocation": PERCENT,
    }


def checked_keys(flag: str, keys: Iterable[str]) -> list[str]:
    """Return targeting keys. Raises Refused for what is none."""
    if isinstance(keys, str):
        message = "targeting keys are a collection of strings, not one string"
        raise Refused(message, flag=flag, hint=f"pass [{keys!r}]")
    found = sorted(set(keys), key=str)
    for key in found:
        if type(key) is not str or not key:
            message = f"a targeting key is a text that is not empty, not {key!r}"
            raise Refused(message, flag=flag, hint="an empty key is a missing one")
    return found


def is_name(name: str) -> bool:
    """Return whether Split takes a name: a letter first, then letters, digits, ``-`` and ``_``."""
    return _NAME.fullmatch(name) is not None


def check_names(flag: Flag) -> None:
    """Raise Refused for a key, or a variant, that Split can't keep by its name."""
    for name in (flag.key, *flag.variants):
        if not is_name(name):
            hint = "a letter comes first, then letters, digits, hyphens and underscores"
            raise _refused(flag, f'"{name}" is no name in Split', hint)
    if reserved := sorted(one for one in flag.variants if one.lower() in RESERVED):
        hint = "give the variant another name"
        raise _refused(flag, f'"{reserved[0]}" is a word of Split\'s own', hint)
    if len(flag.variants) > MOST_TREATMENTS:
        hint = "take out variants that nothing serves"
        raise _refused(flag, f"Split has at most {MOST_TREATMENTS} treatments of a flag", hint)
    if flag.off_variant is None:
        hint = "name the variant that the flag serves when it is off"
        raise _refused(flag, "there is no off variant", hint)


def check_targets(flag: Flag) -> None:
    """Raise Refused for targets that are no users."""
    for one in flag.targets:
        if one.context_kind != USER:
            hint = f'"{one.context_kind}" can be asked for by an attribute, in a rule'
            raise _refused(flag, "targets in Split are users", hint)
        if any(len(key) > LONGEST or not key.strip() for key in one.keys):
            hint = "take it out: the SDK answers nobody of that key"
            message = f"Split takes no key of over {LONGEST} characters, or of blanks"
            raise _refused(flag, message, hint)


def _targets(flag: Flag, variant: str) -> list[str]:
    check_targets(flag)
    found: set[str] = set()
    seen: set[str] = set()
    for one in flag.targets:
        if one.variant == variant:
            found |= one.keys - seen
        seen |= one.keys
    return sorted(found)


def _served(flag: Flag, off: str, *, portable: bool) -> Mapping[str, Any]:
    if portable:
        if flag.rules or flag.prerequisites:
            raise _refused(flag, "a portable rollout leaves no place for rules", "remove its rules")
        variant, weight = _share(flag, off)
        served = serves(flag.key, variant, weight, off, portable=True)
        return {"trafficAllocation": PERCENT, **served}
    share = share_of(flag.rules[0], off) if flag.rules else None
    plain = _lowered(flag, rules=flag.rules if share is None else flag.rules[1:])
    rules = [
        *chain.from_iterable(required(flag, one) for one in flag.prerequisites),
        *chain.from_iterable(written_rule(flag, one) for one in plain.rules),
    ]
    return {
        "trafficAllocation": PERCENT if share is None else share,
        "rules": rules,
        "defaultRule": _buckets(flag, plain.serve),
    }


@dataclass(frozen=True, slots=True)
class _Plain:
    """What a flag decides by, without any hash but Split's own."""

    rules: tuple[Rule, ...]
    serve: Serve


def _lowered(flag: Flag, rules: tuple[Rule, ...]) -> _Plain:
    """Return the rules that somebody can come to, and what is served after them."""
    made = lower(flag, rules, flag.default)
    for at, one in enumerate(made.rules):
        if not one.clauses:
            return _Plain(made.rules[:at], one.serve)
    return _Plain(made.rules, made.default)


def lower(flag: Flag, rules: tuple[Rule, ...], default: Serve) -> Flag:
    """Return the flag with these rules, and without any hash but Split's own. Raises Refused."""
    try:
        return lowered_flag(replace(flag, rules=rules, default=default))
    except CantLower as error:
        raise _refused(flag, str(error), "let it serve a variant, or split the rule") from None


def required(flag: Flag, one: Prerequisite) -> list[Definition]:
    """Return the first rules that a prerequisite is: who lacks it is served the off variant."""
    off = str(flag.off_variant)
    if not one.variants:
        hint = f'name the variants of "{one.flag}" with which it is met'
        raise _refused(flag, "a rule there asks for a treatment by its name", hint)
    if not one.while_off:
        hint = f'say `while_off`, if "{one.flag}" serves none of these variants while it is off'
        raise _refused(flag, "a rule there does not see whether another flag is off", hint)
    if any(target.variant != off and target.keys for target in flag.targets):
        hint = "the admin API has no prerequisites, and targets come before rules: remove either"
        raise _refused(flag, "its targets would be served without the prerequisite", hint)
    asked = [
        {
            "type": "IN_SPLIT",
            "depends": {"splitName": one.flag, "treatment": variant},
            "negate": not one.negate,
        }
        for variant in one.variants
    ]
    lacks = [[each] for each in asked] if one.negate else [asked]
    return [_rule(matchers, [_all_to(off)]) for matchers in lacks]


def written_rule(flag: Flag, rule: Rule) -> list[Definition]:
    """Return the rules of Split that a rule without a gate is. Raises Refused."""
    try:
        each = [alternatives_of(one) for one in rule.clauses]
    except NotSaid as error:
        why = f"Split can't say a rule of it: {error}"
        raise _refused(flag, why, "write the rule otherwise") from None
    made = [list(chain.from_iterable(one)) for one in product(*each)]
    if len(made) > _MOST_RULES:
        hint = "ask for fewer values in one rule"
        raise _refused(flag, f"a rule of it would be {len(made)} rules in Split", hint)
    return [_rule(one, _buckets(flag, rule.serve)) for one in made]


def _rule(matchers: Matchers, buckets: list[dict[str, Any]]) -> Definition:
    return {"condition": {"combiner": "AND", "matchers": [*matchers]}, "buckets": buckets}


def _all_to(variant: str) -> dict[str, Any]:
    return {"treatment": variant, "size": PERCENT}


def _share(flag: Flag, off: str) -> tuple[str, int]:
    """Return which variant is rolled out, and to which share in thousandths of a percent."""
    default = flag.default
    if isinstance(default, str):
        others = [name for name in flag.variants if name != off]
        return (others[0] if default == off else default, 0 if default == off else WHOLE)
    served = [one for one in default.weights if one.variant != off]
    weight, finer = divmod(sum(one.weight for one in served) * WHOLE, default.bucketing.total)
    if len(served) != 1 or served[0].variant is None or finer:
        hint = "a portable rollout serves one variant, and the off variant to the rest"
        raise _refused(flag, "its default serves something else", hint)
    return served[0].variant, weight


def _buckets(flag: Flag, serve: Serve) -> list[dict[str, Any]]:
    """Return the shares of one variant, or of a split by Split's own hash."""
    if isinstance(serve, str):
        return [_all_to(serve)]
    parts = []
    for one in serve.weights:
        size, finer = divmod(one.weight * WHOLE, serve.bucketing.total * STEP)
        if finer:
            hint = f'give the split a salt, as "{flag.key}", for thousandths by our own bucket'
            raise _refused(flag, "Split's percentages are whole ones", hint)
        if one.variant is None:
            raise _refused(flag, "a part of a split falls through", "let it serve a variant")
        if size:
            parts.append({"treatment": one.variant, "size": size})
    return parts


def _refused(flag: Flag, why: str, hint: str) -> Refused:
    return Refused(f'flag "{flag.key}" cannot be written: {why}', flag=flag.key, hint=hint)
