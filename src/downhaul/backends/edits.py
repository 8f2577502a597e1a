"""The narrow verbs as pure functions: one field of a flag changes, everything else stays (rule P5).

A percentage is moved so that raising only adds users and lowering only removes them (rule E7).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from downhaul.errors import Refused
from downhaul.flag import (
    USER,
    WHOLE,
    Clause,
    Flag,
    Operator,
    Rule,
    Split,
    Target,
    Weight,
)

_PERCENT: Final = WHOLE // 100


def with_on(flag: Flag, on: bool) -> Flag:
    """Return the flag switched on or off."""
    return flag if flag.on is on else replace(flag, on=on)


def weight_of_variant(flag: Flag, variant: str) -> float:
    """Return how much of the default goes to ``variant``, in thousandths of a percent.

    A plain default gives all or nothing. The number is whole for every native split; a split with
    a ``total`` of its own may give a float.
    """
    if isinstance(flag.default, str):
        return WHOLE if flag.default == variant else 0
    part = sum(one.weight for one in flag.default.weights if one.variant == variant)
    exact, remainder = divmod(part * WHOLE, flag.default.bucketing.total)
    return exact if not remainder else part * WHOLE / flag.default.bucketing.total


def with_rollout(flag: Flag, variant: str, weight: int) -> Flag:
    """Return the flag with ``weight`` thousandths of a percent of its default for ``variant``.

    What is left goes to the default's other variants in their old proportion. A variant that
    serves nobody yet comes first in the order of the buckets; one that already has users keeps
    its place, and its buckets grow or shrink where they are. So raising only adds users to the
    variant and lowering only removes some (rule E7). Scheme, salt and seed stay. ``on``, targets
    and rules are not touched.

    Raises Refused for an unknown variant, a weight outside 0..100 000 or finer than the split's
    own resolution, and where nothing says who gets the rest.
    """
    _require_variant(flag, variant)
    if type(weight) is not int or not 0 <= weight <= WHOLE:
        raise Refused(
            f"a weight is a whole number from 0 to {WHOLE}, not {weight!r}",
            flag=flag.key,
            hint=f"weights are thousandths of a percent: {_PERCENT * 25} is 25 %",
        )
    if weight_of_variant(flag, variant) == weight:
        return flag
    split = _as_split(flag, variant)
    share = _in_buckets(flag, weight, split.bucketing.total)
    return replace(flag, default=replace(split, weights=_share_out(flag, split, variant, share)))


def with_targets(flag: Flag, variant: str, keys: Iterable[str]) -> Flag:
    """Return the flag with exactly these targeting keys of kind ``user`` as the variant's targets.

    The keys leave the other variants' targets. Targets of other context kinds stay. Raises
    Refused for an unknown variant or a key that is no text.
    """
    _require_variant(flag, variant)
    wanted = _as_keys(flag, keys)
    mine = Target(variant, wanted)
    targets: list[Target] = []
    placed = not wanted
    for target in flag.targets:
        if target.context_kind != USER:
            targets.append(target)
        elif target.variant != variant:
            left = target.keys - wanted
            targets += [replace(target, keys=left)] if left else []
        elif not placed:
            targets.append(mine)
            placed = True
    if not placed:
        targets.append(mine)
    return replace(flag, targets=tuple(targets))


def targeted(flag: Flag, variant: str) -> frozenset[str]:
    """Return the targeting keys of kind ``user`` that the variant's targets hold."""
    return frozenset(
        key
        for target in flag.targets
        if target.variant == variant and target.context_kind == USER
        for key in target.keys
    )


def with_segments(flag: Flag, variant: str, segments: Iterable[str]) -> Flag:
    """Return the flag with a rule for each of these segments that serves the variant to all of it.

    A rule that is there already is enough. New ones come last: what stands before them decides as
    it did, so nobody loses the variant, and whoever gets it is served what the default would give
    at 100 %. Raises Refused for an unknown variant.
    """
    _require_variant(flag, variant)
    missing = [
        Rule(
            variant,
            (Clause("", Operator.IN_SEGMENT, (one,)),),
            description=f"rollout to segment {one}",
        )
        for one in dict.fromkeys(segments)
        if not names_segment(flag, variant, one)
    ]
    return replace(flag, rules=(*flag.rules, *missing)) if missing else flag


def without_segments(
    flag: Flag, variant: str, segments: Iterable[str], *, anywhere: bool = False
) -> Flag:
    """Return the flag without the last rules, as far as they serve the variant to these segments.

    Where the default serves the variant to everybody, those serve nobody else. With ``anywhere``
    the rules before others go too, and whom those others decide for may get another variant.
    """
    names = set(segments)
    named = [any(serves_segment(rule, variant, one) for one in names) for rule in flag.rules]
    if not anywhere:
        last = next((at for at in reversed(range(len(named))) if not named[at]), -1)
        named[: last + 1] = [False] * (last + 1)
    rules = tuple(rule for rule, gone in zip(flag.rules, named, strict=True) if not gone)
    return flag if len(rules) == len(flag.rules) else replace(flag, rules=rules)


def names_segment(flag: Flag, variant: str, segment: str) -> bool:
    """Return whether a rule of the flag serves the variant to all of a segment."""
    return any(serves_segment(rule, variant, segment) for rule in flag.rules)


def serves_segment(rule: Rule, variant: str, segment: str) -> bool:
    """Return whether a rule serves the variant to all of a segment, and to nobody else."""
    if rule.serve != variant or rule.gate is not None or len(rule.clauses) != 1:
        return False
    (clause,) = rule.clauses
    return (
        clause.operator is Operator.IN_SEGMENT and clause.values == (segment,) and not clause.negate
    )


def _require_variant(flag: Flag, variant: str) -> None:
    if variant in flag.variants:
        return
    close = difflib.get_close_matches(str(variant), flag.variants, n=1)
    names = ", ".join(f'"{name}"' for name in flag.variants)
    hint = f'did you mean "{close[0]}"?' if close else f"its variants are {names}"
    raise Refused(f'flag "{flag.key}" has no variant "{variant}"', flag=flag.key, hint=hint)


def _as_keys(flag: Flag, keys: Iterable[str]) -> frozenset[str]:
    if isinstance(keys, str):
        raise Refused(
            "targeting keys are a collection of strings, not one string",
            flag=flag.key,
            hint=f"pass [{keys!r}]",
        )
    wanted = frozenset(keys)
    for key in wanted:
        if not (type(key) is str and key):
            raise Refused(
                f"a targeting key is a text that is not empty, not {key!r}",
                flag=flag.key,
                hint="an empty key is a missing one",
            )
    return wanted


def _as_split(flag: Flag, variant: str) -> Split:
    """Return the default as a split with a place for the variant: first, where it has no users."""
    default = flag.default
    if isinstance(default, str):
        if default == variant:
            return Split((Weight(variant, WHOLE),))
        return Split((Weight(variant, 0), Weight(default, WHOLE)))
    if any(one.variant is None for one in default.weights):
        raise Refused(
            f'the default of flag "{flag.key}" has a part that falls through to nothing',
            flag=flag.key,
            hint="name a variant for every part of the default, then set the percentage",
        )
    if sum(one.weight for one in default.weights) != default.bucketing.total:
        raise Refused(
            f'the weights of the default of flag "{flag.key}" do not add up to '
            f"{default.bucketing.total}",
            flag=flag.key,
            hint="put the flag with a whole split first",
        )
    places = [index for index, one in enumerate(default.weights) if one.variant == variant]
    users = [index for index in places if default.weights[index].weight]
    if len(users) > 1:
        raise Refused(
            f'the default of flag "{flag.key}" serves "{variant}" in {len(users)} separate parts',
            flag=flag.key,
            hint="put the flag with one part for each variant, then set the percentage",
        )
    if users:
        return default
    others = tuple(one for one in default.weights if one.variant != variant)
    return replace(default, weights=(Weight(variant, 0), *others))


def _in_buckets(flag: Flag, weight: int, total: int) -> int:
    share, remainder = divmod(weight * total, WHOLE)
    if remainder:
        finest = f"{100 / total:.6g} %"
        raise Refused(
            f'flag "{flag.key}" splits by {total} buckets, so {weight / _PERCENT:g} % '
            "cannot be kept",
            flag=flag.key,
            hint=f"its resolution is {finest}: choose a multiple of that",
        )
    return share


def _share_out(flag: Flag, split: Split, variant: str, share: int) -> tuple[Weight, ...]:
    """Give the variant its buckets, and the rest to the others in proportion, exactly.

    The edges between the others are scaled and rounded down, those behind the variant as well as
    those before it. So both ends of the variant's buckets only ever move outwards when it rises,
    and inwards when it falls.
    """
    at = _place(split.weights, variant)
    others = [*split.weights[:at], *split.weights[at + 1 :]]
    rest, total = split.bucketing.total - share, split.bucketing.total
    before = sum(one.weight for one in others)
    if before == 0:
        heir = _heir(flag, others, variant)
        kept = [Weight(one.variant, 0) for one in others if one.variant != heir]
        return (Weight(variant, share), Weight(heir, total - share), *kept)
    shares: list[Weight] = []
    edge = done = 0
    for one in others:
        edge += one.weight
        scaled = edge * rest // before
        shares.append(replace(one, weight=scaled - done))
        done = scaled
    shares.insert(at, Weight(variant, share))
    return tuple(shares)


def _place(weights: Sequence[Weight], variant: str) -> int:
    """Return where the variant's users are, or else where it stands."""
    places = [index for index, one in enumerate(weights) if one.variant == variant]
    return next((index for index in places if weights[index].weight), places[0])


def _heir(flag: Flag, others: Sequence[Weight], variant: str) -> str:
    """Return who gets what a variant that had everybody gives up."""
    names = {one.variant for one in others if one.variant not in (None, variant)}
    if len(names) == 1:
        return str(names.pop())
    if flag.off_variant is not None and flag.off_variant != variant:
        return flag.off_variant
    left = [name for name in flag.variants if name != variant]
    if len(left) == 1:
        return left[0]
    raise Refused(
        f'flag "{flag.key}" serves "{variant}" to everybody, and nothing says who gets the rest',
        flag=flag.key,
        hint="put the flag with a split of two variants first",
    )
