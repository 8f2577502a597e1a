"""Users who always, or never, get a flag, as strategies and constraints."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Final

from downhaul.errors import Refused
from downhaul_unleash.shape import TARGETS, Constraint, Shape, Strategy, named, normal, plain

MOST_VALUES: Final = 250
"""The server's limit for the values of one constraint."""
MOST_CONSTRAINTS: Final = 30
"""The server's limit for the constraints of one strategy."""


def with_targets(
    key: str,
    shape: Shape,
    rollout: Strategy,
    allowed: Iterable[str],
    denied: Iterable[str],
    lifted: Sequence[Constraint] = (),
) -> list[Strategy]:
    """Return all strategies of a flag with these targets, foreign ones included.

    ``lifted`` are denies that not all of them have, and that none is to have any more.
    """
    allowed = frozenset(allowed)
    denies = denies_of(denied)
    if frozenset(denied) == shape.denied:
        denies = [dict(one) for one in shape.denies]
    others = [
        one if one["disabled"] else _with_denies(key, one, (*shape.denies, *lifted), denies)
        for one in (*shape.foreign, rollout)
    ]
    return [*others, *lists_of(key, allowed, shape.lists, rollout["variants"])]


def lists_of(
    flag: str,
    users: Iterable[str],
    before: Sequence[Strategy],
    variants: Sequence[Any] = (),
    taken: set[str] | None = None,
) -> list[Strategy]:
    """Return the strategies that list these users. Who is in one already stays in that one.

    So no user is missing for a moment while lists are written one after another. Titles of
    ``taken`` are others', and those of new lists are added to it.
    """
    left = set(users)
    parts: list[list[str]] = []
    for one in before:
        kept = sorted(left.intersection(one["constraints"][0]["values"]))
        left.difference_update(kept)
        parts.append(kept)
    for user in sorted(left):
        room = next((part for part in parts if len(part) < MOST_VALUES), None)
        if room is None:
            parts.append(room := [])
        room.append(user)
    made: list[Strategy] = []
    titles = {one["title"] for one in before} | (taken or set())
    free = (f"{TARGETS}{number}" for number in range(1, len(parts) + len(titles) + 1))
    new = (title for title in free if title not in titles)
    for number, part in enumerate(parts):
        if not part:
            continue
        old = before[number] if number < len(before) else None
        one = normal(old or {"name": "flexibleRollout", "title": next(new)})
        one["parameters"] = {"rollout": "100", "stickiness": "default", "groupId": flag}
        values = sorted(part)
        one["constraints"] = [plain({"contextName": "userId", "operator": "IN", "values": values})]
        one["variants"] = copy.deepcopy(list(variants))
        made.append(one)
    if taken is not None:
        taken.update(one["title"] for one in made)
    return made


def denies_of(users: Iterable[str]) -> list[Constraint]:
    """Return the constraints that leave these users out."""
    return [
        plain({"contextName": "userId", "operator": "NOT_IN", "values": part})
        for part in _parts(users)
    ]


def _with_denies(
    flag: str, one: Strategy, before: Sequence[Constraint], denies: Sequence[Constraint]
) -> Strategy:
    """Return a strategy with these denies in the place of those before. Raises Refused, by name."""
    rest = [each for each in one["constraints"] if each not in before]
    if len(rest) + len(denies) > MOST_CONSTRAINTS:
        raise Refused(
            f'the strategy "{named(one)}" of flag "{flag}" has no room for users to leave out: '
            f"Unleash takes {MOST_CONSTRAINTS} constraints",
            flag=flag,
            hint="remove constraints from it in Unleash, or kill the flag for everybody",
        )
    return {**one, "constraints": [*rest, *denies]}


def _parts(users: Iterable[str]) -> list[list[str]]:
    found = sorted(frozenset(users))
    return [found[at : at + MOST_VALUES] for at in range(0, len(found), MOST_VALUES)]
