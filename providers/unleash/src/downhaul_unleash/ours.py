"""Flags that Downhaul wrote whole: what each verb makes of one, and the strategies that say it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from downhaul.errors import Refused
from downhaul.flag import WHOLE, Bucketing, Flag, FlagKind, Split, Target, Weight
from downhaul_unleash.composing import composed, plain_percentage, two_way
from downhaul_unleash.refusing import no_variant
from downhaul_unleash.shape import Strategy
from downhaul_unleash.state import State
from downhaul_unleash.why import CantSay

_UNLESS: Final = "see `downhaul migrate plan`, which tells what Unleash can keep of a flag"


def strategies_for(flag: Flag, state: State | None) -> list[Strategy]:
    """Return all strategies that a flag is to have, with the ids of those that it has already.

    Those that somebody disabled stay. Raises Refused for what strategies can't say.
    """
    before = () if state is None else state.strategies
    try:
        made = composed(_with_own_percentage(flag, state), before)
    except CantSay as refusal:
        message = f'flag "{flag.key}" cannot be written: {refusal}'
        raise Refused(message, flag=flag.key, hint=_UNLESS) from None
    ids = {one["title"]: one["id"] for one in before if not one["disabled"]}
    wanted = [{**one, "id": ids[one["title"]]} if one["title"] in ids else one for one in made]
    return [*wanted, *(one for one in before if one["disabled"])]


def _with_own_percentage(flag: Flag, state: State | None) -> Flag:
    """Return a flag whose plain percentage is Unleash's own, unless users are split by ours now."""
    found = two_way(flag)
    now = None if state is None or state.ours is None else two_way(state.ours)
    plain = found is not None and found[2] == Bucketing()
    if plain and now is not None and now[2] == Bucketing(salt=flag.key):
        return flag
    return plain_percentage(flag)


def is_bare(flag: Flag, now: Flag | None) -> bool:
    """Return whether a boolean is a percentage and lists alone, by Unleash's own hash."""
    if flag.kind is not FlagKind.BOOLEAN or flag.rules:
        return False
    if isinstance(flag.default, str):
        return True
    known = [Bucketing()]
    if now is not None and isinstance(now.default, Split):
        known.append(now.default.bucketing)
    return flag.default.bucketing in known


def rolled_out(flag: Flag, variant: str, weight: int) -> Flag:
    """Return a flag with a weight, in thousandths of a percent. Raises Refused.

    Whoever is split by some hash stays split by it: the edge moves, and nothing else.
    """
    found = two_way(flag)
    if found is None and isinstance(flag.default, Split):
        raise no_variant(flag, variant, None)
    serving = found[0] if found is not None else flag.default
    if found is None and (serving == flag.off_variant or flag.kind is FlagKind.BOOLEAN):
        serving = "on" if flag.kind is FlagKind.BOOLEAN else variant
    if variant != serving or variant not in flag.variants or variant == flag.off_variant:
        raise no_variant(flag, variant, str(serving))
    how = Bucketing() if found is None else found[2]
    share, rest = divmod(weight * how.total, WHOLE)
    if rest:
        raise Refused(
            f'flag "{flag.key}" is split into {how.total} parts, so that '
            f"{weight * 100 / WHOLE:g} % cannot be kept",
            flag=flag.key,
            hint=f"choose a multiple of {100 / how.total:g} %",
        )
    weights = (Weight(variant, share), Weight(flag.off_variant, how.total - share))
    return replace(flag, default=Split(weights, how))


def targeted(flag: Flag, variant: str, keys: Iterable[str]) -> Flag:
    """Return a flag with the targets of one variant, who leave those of the others."""
    if variant not in flag.variants:
        raise no_variant(flag, variant, None)
    users = frozenset(keys)
    others = [
        Target(one.variant, one.keys - users, one.context_kind)
        for one in flag.targets
        if one.variant != variant
    ]
    mine = [Target(variant, users)] if users else []
    return replace(flag, targets=tuple(one for one in (*mine, *others) if one.keys))
