"""A whole flag of ours as a definition of the admin API, or a refusal that says why not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from downhaul.errors import Refused
from downhaul.flag import USER, WHOLE, Flag, FlagKind, Rule, Serve
from downhaul_split.clauses import NotSaid, matchers_of
from downhaul_split.stored import STEP, serves
from downhaul_split.values import configuration_of

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_ON_OFF: Final = {"on": True, "off": False}


def definition_of(flag: Flag, *, portable: bool) -> dict[str, Any]:
    """Return the definition that serves what the flag serves. Raises Refused, naming what can't be.

    ``portable`` writes a split of the default by our own bucket.
    """
    _check(flag)
    off = str(flag.off_variant)
    return {
        "treatments": [
            {
                "name": name,
                "configurations": configuration_of(value, name, flag.kind),
                "keys": _targets(flag, name),
            }
            for name, value in flag.variants.items()
        ],
        "defaultTreatment": off,
        "baselineTreatment": off,
        "trafficAllocation": 100,
        "killed": not flag.on,
        **_served(flag, off, portable=portable),
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


def _check(flag: Flag) -> None:
    for name in (flag.key, *flag.variants):
        if not _NAME.fullmatch(name):
            hint = "a letter comes first, then letters, digits, hyphens and underscores"
            raise _refused(flag, f'"{name}" is no name in Split', hint)
    named = [name for name, value in flag.variants.items() if value == name]
    if flag.kind is FlagKind.BOOLEAN and dict(flag.variants) != _ON_OFF:
        hint = 'a boolean has the variants "on" and "off"'
        raise _refused(flag, "Split's booleans have no other treatments", hint)
    if len(named) == len(flag.variants) and set(named) <= set(_ON_OFF):
        hint = "give its variants other names"
        raise _refused(flag, "treatments `on` and `off` are read as a boolean", hint)
    if flag.off_variant is None:
        hint = "name the variant that the flag serves when it is off"
        raise _refused(flag, "there is no off variant", hint)
    if flag.prerequisites:
        hint = "let a rule of it ask what the other flag serves"
        raise _refused(flag, "the admin API has no prerequisites", hint)


def _targets(flag: Flag, variant: str) -> list[str]:
    found: set[str] = set()
    seen: set[str] = set()
    for one in flag.targets:
        if one.context_kind != USER:
            hint = f'"{one.context_kind}" can be asked for by an attribute, in a rule'
            raise _refused(flag, "targets in Split are users", hint)
        if one.variant == variant:
            found |= one.keys - seen
        seen |= one.keys
    return sorted(found)


def _served(flag: Flag, off: str, *, portable: bool) -> Mapping[str, Any]:
    if portable:
        if flag.rules:
            raise _refused(flag, "a portable rollout leaves no place for rules", "remove its rules")
        variant, weight = _share(flag, off)
        return serves(flag.key, variant, weight, off, portable=True)
    rules = [_rule(flag, one) for one in flag.rules]
    return {"rules": rules, "defaultRule": _buckets(flag, flag.default)}


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


def _rule(flag: Flag, rule: Rule) -> dict[str, Any]:
    if rule.gate is not None:
        raise _refused(flag, "a rule has a gate, which Split lacks", "split what the rule serves")
    if not rule.clauses:
        raise _refused(flag, "a rule without clauses", "make it the default of the flag")
    try:
        matchers = [matcher for one in rule.clauses for matcher in matchers_of(one)]
    except NotSaid as error:
        why = f"Split can't say a rule of it: {error}"
        raise _refused(flag, why, "write the rule otherwise") from None
    return {
        "condition": {"combiner": "AND", "matchers": matchers},
        "buckets": _buckets(flag, rule.serve),
    }


def _buckets(flag: Flag, serve: Serve) -> list[dict[str, Any]]:
    if isinstance(serve, str):
        return [{"treatment": serve, "size": 100}]
    parts = []
    for one in serve.weights:
        size, finer = divmod(one.weight * WHOLE, serve.bucketing.total * STEP)
        if finer:
            hint = f'declare `rollout = "portable"` for it in [flags."{flag.key}"], for thousandths'
            raise _refused(flag, "Split's percentages are whole ones", hint)
        if one.variant is None:
            raise _refused(flag, "a part of a split falls through", "let it serve a variant")
        if size:
            parts.append({"treatment": one.variant, "size": size})
    return parts


def _refused(flag: Flag, why: str, hint: str) -> Refused:
    return Refused(f'flag "{flag.key}" cannot be written: {why}', flag=flag.key, hint=hint)
