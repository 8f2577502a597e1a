"""What a rollout asks of LaunchDarkly: a percentage of its own hash, or the edge of a bucket."""

from __future__ import annotations

from typing import Any, Final

from downhaul.errors import Refused
from downhaul.evaluator.carriers import carrier_of
from downhaul.flag import WHOLE, Split
from downhaul_launchdarkly.stored import PORTABLE, Instruction, Stored, portable_clause

Asked = tuple[list[Instruction], dict[str, Any]]
"""Instructions of a semantic patch, and what must be so afterwards (see ``Stored.kept``)."""

_FALLTHROUGH: Final = "updateFallthroughVariationOrRollout"


def ramp(before: Stored, variant: str, weight: int, *, portable: bool) -> Asked:
    """Return how a variant gets ``weight`` thousandths of a percent, the off variant the rest.

    A percentage by a carried bucket goes on by it, so that its users stay. Raises Refused.
    """
    index, off = before.index(variant), before.kept["offVariation"]
    if not 0 <= weight <= WHOLE:
        message = f"a weight lies between 0 and {WHOLE}, not at {weight}"
        raise Refused(message, flag=before.key, hint="100 % are 100000")
    if off is None or off == index:
        message = f'"{variant}" has no other variant for the rest of the users'
        raise Refused(message, flag=before.key, hint="set another off variation in LaunchDarkly")
    split = before.carried()
    if split is not None:
        before.refuse_disabled_rules()
        return _by_carrier(before, split, index, off, weight)
    before.refuse_foreign_rules()
    before.refuse_other_shares(index, off)
    if portable:
        rule = {
            "description": PORTABLE,
            "clauses": [portable_clause(before.key, weight)],
            "variationId": before.ids[index],
        }
        return _asked(before, [rule], {"variationId": before.ids[off]})
    weights = {before.ids[index]: weight, before.ids[off]: WHOLE - weight}
    return _asked(before, [], before.rollout(weights))


def _by_carrier(before: Stored, split: Split, index: int, off: int, weight: int) -> Asked:
    how = split.bucketing
    share, rest = divmod(weight * how.total, WHOLE)
    if rest:
        message = f'flag "{before.key}" has its users by a hash of {how.total} buckets'
        hint = f"serve multiples of {100 / how.total:g} %"
        raise Refused(message, flag=before.key, hint=hint)
    places = list(dict.fromkeys(before.index(str(one.variant)) for one in split.weights))
    before.refuse_thirds(places, index, off)
    first = next((one for one in places if one in (index, off)), index)
    edge = share if first == index else how.total - share
    clause = {
        "contextKind": how.context_kind,
        "attribute": carrier_of(how, before.key),
        "op": "lessThan",
        "values": [edge],
        "negate": False,
    }
    rule = {"clauses": [clause], "variationId": before.ids[first]}
    return _asked(before, [rule], {"variationId": before.ids[off if first == index else index]})


def _asked(before: Stored, rules: list[Instruction], serve: Instruction) -> Asked:
    instructions = [{"kind": _FALLTHROUGH, **serve}]
    wanted: dict[str, Any] = {"fallthrough": before.served(serve)}
    if rules or before.kept["rules"]:
        instructions.insert(0, {"kind": "replaceRules", "rules": rules})
        wanted["rules"] = [before.rule(one) for one in rules]
    return instructions, wanted
