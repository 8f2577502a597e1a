"""A whole flag of ours as LaunchDarkly's document, and the JSON patch that makes it so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from downhaul.errors import Refused
from downhaul.evaluator.lowering import lifted
from downhaul.flag import USER, Flag, FlagType, Prerequisite, Rule, Split
from downhaul_launchdarkly.api import Operation
from downhaul_launchdarkly.comparing import by_place
from downhaul_launchdarkly.known import kind_of, names_of
from downhaul_launchdarkly.rules import rule_of, serve_of
from downhaul_launchdarkly.spelling import spelled
from downhaul_launchdarkly.stored import PORTABLE, Stored, portable_clause
from downhaul_launchdarkly.translate import OWNER, TYPE
from downhaul_launchdarkly.written import Writer

KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}")
_SHORT_LIVED: Final = frozenset({FlagType.RELEASE, FlagType.EXPERIMENT})
_PROPERTIES: Final = ((OWNER, "Owner"), (TYPE, "Type"))
FIELDS: Final = (
    "on",
    "offVariation",
    "fallthrough",
    "targets",
    "contextTargets",
    "rules",
    "prerequisites",
)
"""What decides, in one environment. A patch asks for those that differ."""


def check_names(flag: Flag, before: Stored | None = None) -> None:
    """Raise Refused for a key, or a variant's name, that LaunchDarkly could not tell its SDKs."""
    writer = Writer(flag)
    if not KEY.fullmatch(flag.key):
        hint = "use letters, digits, '.', '_' and '-', beginning with a letter or a digit"
        raise writer.refused("its keys are others", hint)
    order = _order(flag, before)
    values = [flag.variants[name] for name in order]
    if kind_of(values) != flag.kind:
        hint = f"make it a flag of kind {kind_of(values)}, or change the values"
        raise writer.refused(f"its variants' values are not all of kind {flag.kind}", hint)
    for name, served in zip(order, names_of(values, flag.kind), strict=True):
        if name != served:
            why = f'its SDKs are told no names, so that "{name}" would be served as "{served}"'
            raise writer.refused(why, f'call the variant "{served}"')


def _order(flag: Flag, before: Stored | None) -> list[str]:
    """Return the names of variants in LaunchDarkly's order: what is new comes last."""
    there = () if before is None else before.names
    return [*there, *(name for name in flag.variants if name not in there)]


def new_flag(flag: Flag) -> dict[str, Any]:
    """Return the body that makes a flag: off in every environment, without rules."""
    names = list(flag.variants)
    default = flag.default
    if isinstance(default, Split):
        default = next((one.variant for one in default.weights if one.variant), names[0])
    off = names[-1] if flag.off_variant is None else flag.off_variant
    return {
        "key": flag.key,
        "name": flag.key,
        "description": flag.description,
        "tags": list(flag.tags),
        "temporary": flag.type in _SHORT_LIVED,
        "customProperties": _properties(flag, {}),
        "variations": [{"name": name, "value": value} for name, value in flag.variants.items()],
        "defaults": {"onVariation": names.index(default), "offVariation": names.index(off)},
    }


def wanted_document(
    flag: Flag, before: Stored, old: Flag, others: Mapping[str, Stored], *, portable: bool
) -> dict[str, Any]:
    """Return the parts of the document that decide, as ``flag`` wants them.

    ``old`` is what ``before`` reads as, rule by rule: what is the same in both stays as it is in
    LaunchDarkly, with all that we don't know of. Raises Refused.
    """
    names = _order(flag, before)
    salt = str(before.sent["salt"] or "")
    writer = Writer(flag, salt, names.index)
    read = lifted(old)
    if (flag.rules, flag.default) == (read.rules, read.default):
        flag = replace(flag, rules=old.rules, default=old.default)
    else:
        flag = spelled(flag, salt, old)
    made: dict[str, Any] = {
        "on": flag.on,
        "offVariation": None if flag.off_variant is None else names.index(flag.off_variant),
    }
    late = _late(old, before)
    if flag.targets == old.targets and flag.rules[: len(late)] == late:
        made |= {name: before.here.get(name) or [] for name in ("targets", "contextTargets")}
        rules = flag.rules[len(late) :]
    else:
        made |= _targets(writer, flag, before)
        rules = flag.rules
    made["rules"] = _rules(writer, rules, before, old.rules[len(late) :], names)
    if flag.prerequisites == old.prerequisites:
        made["prerequisites"] = before.here.get("prerequisites") or []
    else:
        made["prerequisites"] = [_required(writer, one, others) for one in flag.prerequisites]
    if flag.default == old.default:
        made["fallthrough"] = before.here["fallthrough"]
        made["rules"] += before.rules[-1:] if before.portable else []
    elif portable and isinstance(flag.default, Split) and writer.hashes_plainly(flag.default):
        rule, rest = _by_bucket(writer, flag, names)
        made["rules"].append(rule)
        made["fallthrough"] = rest
    else:
        serve = writer.serve(flag.default)
        same = not before.portable and serve_of(serve, before.sent, names) == old.default
        made["fallthrough"] = before.here["fallthrough"] if same else serve
    if made["rules"] == before.rules:
        made["rules"] = before.here.get("rules") or []
    elif len(before.rules) != len(before.here["rules"]):
        hint = "remove them in LaunchDarkly first"
        raise writer.refused("it has rules that are switched off, which would be lost", hint)
    return made


def wanted_about(flag: Flag, before: Stored, old: Flag) -> dict[str, Any]:
    """Return what is to be so beside what decides: in all environments, and served to nobody."""
    new = [{"value": flag.variants[name]} for name in _order(flag, before)[len(before.names) :]]
    made: dict[str, Any] = {
        "archived": False,
        "description": flag.description,
        "tags": list(flag.tags),
        "variations": [{"value": value} for value in before.sent["variations"]] + new,
    }
    if flag.type != old.type:
        made["temporary"] = flag.type in _SHORT_LIVED
    if (flag.owner, flag.type) != (old.owner, old.type):
        properties = before.document.get("customProperties") or {}
        made["customProperties"] = _properties(flag, properties)
    return made


def operations(
    flag: Flag, before: Stored, here: Mapping[str, Any], about: Mapping[str, Any]
) -> list[Operation]:
    """Return the operations of the patch that makes a flag so; none where it is so already."""
    place = place_of(before.environment)
    made = [
        set_to(f"{place}/{name}", before.here.get(name), here[name])
        for name in FIELDS
        if not _same(before.here.get(name), here[name])
    ]
    made += [
        {"op": "add", "path": "/variations/-", "value": {"name": name, "value": value}}
        for name, value in flag.variants.items()
        if name not in before.names
    ]
    return made + [
        set_to(f"/{name}", before.document.get(name), value)
        for name, value in about.items()
        if name != "variations" and (before.document.get(name) or type(value)()) != value
    ]


def refuse_other_variants(flag: Flag, before: Stored) -> None:
    """Raise Refused where a variant would go or change, which every environment has."""
    for name, value in zip(before.names, before.sent["variations"], strict=True):
        if name not in flag.variants or _text(flag.variants[name]) != _text(value):
            kept = "is in the archive with" if before.archived else "has"
            message = (
                f'flag "{flag.key}" {kept} a variant "{name}", {value!r}, in every environment'
            )
            raise Refused(message, flag=flag.key, hint="change or remove it in LaunchDarkly")


def place_of(environment: str) -> str:
    """Return the path of an environment's part of a document, for a JSON patch."""
    return "/environments/" + environment.replace("~", "~0").replace("/", "~1")


def set_to(path: str, before: Any, value: Any) -> Operation:
    """Return the operation that sets a field to a value, whether it was there or not."""
    if value is None:
        return {"op": "remove", "path": path}
    return {"op": "add" if before is None else "replace", "path": path, "value": value}


def _targets(writer: Writer, flag: Flag, before: Stored) -> dict[str, Any]:
    """Return targets as they are to be: as they stand, where that is the same."""
    made = writer.targets(flag)
    kinds = [one["contextKind"] for one in made["contextTargets"]]
    there = before.here.get("contextTargets") or []
    same = kinds == [one.get("contextKind") or USER for one in there] and all(
        by_place(made[name]) == by_place(before.here.get(name)) for name in made
    )
    return {name: before.here.get(name) or [] for name in made} if same else made


def _rules(
    writer: Writer,
    rules: Iterable[Rule],
    before: Stored,
    read: Sequence[Rule],
    names: Sequence[str],
) -> list[dict[str, Any]]:
    pairs = list(zip(read, before.rules, strict=False))
    left = {rule.id: (rule, raw) for rule, raw in pairs}  # each stands in for one rule at most
    made = []
    for number, one in enumerate(rules):
        known = one.id in left
        place = one.id if known else pairs[number][0].id if number < len(pairs) else None
        old, raw = left.get(place or "", (None, {}))
        new = {} if one == old else _rule(writer, one)
        if old is not None and (
            one == old or rule_of({**new, "id": old.id}, before.sent, names) == old
        ):
            new = dict(raw)  # it says the same, in the same words or in others
        elif known:
            new = {name: raw[name] for name in raw.keys() - _SERVED} | new
        else:
            old = None
        if old is not None:
            del left[old.id]
        made.append(new)
    return made


def _rule(writer: Writer, one: Rule) -> dict[str, Any]:
    described = {"description": one.description} if one.description else {}
    clauses = [writer.clause(each) for each in one.clauses]
    return {**described, "clauses": clauses, **writer.serve(one.serve)}


_SERVED: Final = frozenset({"variation", "rollout", "clauses", "description"})


def _late(old: Flag, before: Stored) -> tuple[Rule, ...]:
    """Return the rules that stand for targets which LaunchDarkly looks at after others."""
    there = len(before.rules) - (1 if before.portable else 0)
    return old.rules[: len(old.rules) - there]


def _required(writer: Writer, one: Prerequisite, others: Mapping[str, Stored]) -> dict[str, Any]:
    if one.negate or one.while_off:
        hint = "let the prerequisite be on, and serve one variant"
        raise writer.refused(f'it requires "{one.flag}" not to be so, or while it is off', hint)
    other = others[one.flag]
    off = other.kept["offVariation"]
    served = [other.index(name) for name in one.variants]
    if not served:
        served = [place for place in range(len(other.names)) if place != off]
    if len(served) != 1:
        hint = "name the one variant that is required"
        raise writer.refused(f'it requires several variants of "{one.flag}"', hint)
    return {"key": one.flag, "variation": served[0]}


def _by_bucket(
    writer: Writer, flag: Flag, names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the rule by our own bucket, and what the rest is served."""
    assert isinstance(flag.default, Split)  # noqa: S101  (the caller looked)
    shares: dict[str | None, int] = {}
    for one in flag.default.weights:
        shares[one.variant] = shares.get(one.variant, 0) + one.weight
    rest = flag.off_variant if flag.off_variant is not None else flag.default.weights[-1].variant
    rising = [variant for variant in shares if variant != rest]
    if len(rising) != 1 or rising[0] is None or rest is None:
        hint = "let its default serve one variant, and the off variant to the rest"
        raise writer.refused("a portable rollout is of one variant", hint)
    rule = {
        "description": PORTABLE,
        "clauses": [portable_clause(flag.key, shares[rising[0]])],
        "variation": names.index(rising[0]),
    }
    return rule, {"variation": names.index(rest)}


def _text(value: Any) -> str:
    """Return a value in a form that tells 1 from 1.0 and True, at any depth."""
    return json.dumps(value, sort_keys=True)


def _same(there: Any, wanted: Any) -> bool:
    return (there or []) == wanted if isinstance(wanted, list) else bool(there == wanted)


def _properties(flag: Flag, there: Mapping[str, Any]) -> dict[str, Any]:
    kind = "" if flag.type is FlagType.RELEASE else flag.type.value
    kept = {key: value for key, value in there.items() if key not in (OWNER, TYPE)}
    said = zip(_PROPERTIES, (flag.owner, kind), strict=True)
    return kept | {key: {"name": name, "value": [value]} for (key, name), value in said if value}
