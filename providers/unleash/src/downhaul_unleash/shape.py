"""What Downhaul keeps in a flag's strategies, and how it tells its own from others'.

Unleash ORs strategies, and knows neither targets nor a default. Downhaul's part of a flag is:

- one strategy with the title ``downhaul:rollout``, whose percentage is the flag's default;
- strategies ``downhaul:targets-1``, ``-2`` ..., each with at most 250 users, who always get it;
- for users who never get it, the constraint ``userId NOT_IN [...]`` on *every* strategy but those.

Every other strategy is foreign: somebody made it by hand.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from downhaul.errors import Refused
from downhaul.provider import portable_attribute

Strategy = dict[str, Any]
Constraint = Mapping[str, Any]

ROLLOUT: Final = "downhaul:rollout"
TARGETS: Final = "downhaul:targets-"
MOST_STRATEGIES: Final = 30
"""The server's limit for the strategies of one flag in one environment."""

_WHOLE: Final = 100_000
_PERCENT: Final = 1_000
_KEPT: Final = (
    "name",
    "title",
    "parameters",
    "constraints",
    "segments",
    "variants",
    "disabled",
    "sortOrder",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A flag's strategies in one environment, told apart. ``denies`` stand on all but targets."""

    rollout: Strategy | None
    lists: tuple[Strategy, ...]
    foreign: tuple[Strategy, ...]
    denies: tuple[Constraint, ...]

    @property
    def allowed(self) -> frozenset[str]:
        """Return the users who always get the flag."""
        return _values(one for each in self.lists for one in each["constraints"])

    @property
    def denied(self) -> frozenset[str]:
        """Return the users who never get the flag."""
        return _values(self.denies)

    @property
    def in_part(self) -> tuple[Constraint, ...]:
        """Return denies that our rollout has and a strategy beside it, made later, has not."""
        own = () if self.rollout is None else self.rollout["constraints"]
        return tuple(one for one in own if _is_deny(one) and one not in self.denies)


def shape_of(strategies: Iterable[Mapping[str, Any]]) -> Shape:
    """Return strategies of the admin API told apart. One that is disabled is foreign."""
    rollout: Strategy | None = None
    lists: list[Strategy] = []
    foreign: list[Strategy] = []
    for each in strategies:
        one = normal(each)
        title = one["title"]
        if one["disabled"]:
            foreign.append(one)
        elif title == ROLLOUT and rollout is None:
            rollout = one
        elif is_list(one):
            lists.append(one)
        else:
            foreign.append(one)
    others = [one for one in foreign if not one["disabled"]]
    others += [] if rollout is None else [rollout]
    return Shape(rollout, tuple(lists), tuple(foreign), _common_denies(others))


def normal(one: Mapping[str, Any]) -> Strategy:
    """Return a strategy as the server shows it, with one form for what it shows in several."""
    made: Strategy = {name: copy.deepcopy(one.get(name)) for name in _KEPT}
    if "id" in one:
        made["id"] = one["id"]
    made["title"] = made["title"] or ""
    made["disabled"] = bool(made["disabled"])
    made["sortOrder"] = made["sortOrder"] or 0
    for name in ("constraints", "segments", "variants"):
        made[name] = made[name] or []
    if sum(bool(one.get("weight")) for one in made["variants"]) <= 1:
        # The server sorts them by a locale's order, by which nothing is decided then.
        made["variants"] = sorted(made["variants"], key=lambda one: str(one.get("name")))
    made["parameters"] = {
        name: str(value) for name, value in (made["parameters"] or {}).items() if value is not None
    }
    # What is compared has one form; what is sent, or kept in a snapshot, is as it was said.
    made["said"] = copy.deepcopy(list(one.get("said") or made["constraints"]))
    made["constraints"] = [plain(each) for each in made["constraints"]]
    return made


def share_of(one: Mapping[str, Any], flag: str) -> int | None:
    """Return what our rollout serves in thousandths of a percent; None for what nobody can say."""
    bucket = bucket_of(one, flag)
    text = str(one["parameters"].get("rollout", ""))
    if not (text.isascii() and text.isdigit() and int(text) <= 100):  # noqa: PLR2004  (percent)
        return None
    if bucket is None:
        return int(text) * _PERCENT
    value = str(bucket.get("value", ""))
    whole = value.isascii() and value.isdigit() and int(value) <= _WHOLE
    return int(value) if whole and int(text) == 100 else None  # noqa: PLR2004  (percent)


def bucket_of(one: Mapping[str, Any], flag: str) -> Constraint | None:
    """Return the constraint on a portable rollout's bucket, or None."""
    for each in one["constraints"]:
        if each["contextName"] == portable_attribute(flag) and each["operator"] == "NUM_LT":
            return each if not each.get("inverted") else None
    return None


def rollout_of(
    flag: str,
    weight: int,
    *,
    portable: bool,
    before: Mapping[str, Any] | None = None,
    denies: Sequence[Constraint] = (),
) -> Strategy:
    """Return our rollout strategy with a weight; all else of it is as ``before``, or new.

    Raises Refused for a native percentage that is not whole: Unleash takes "12.5" and then serves
    nobody. The hash's group stays, because another one would give the flag to other users.
    """
    if not portable and weight % _PERCENT:
        raise Refused(
            f"Unleash splits by whole percents, so {weight / _PERCENT:g} % cannot be kept",
            flag=flag,
            hint=f'choose a whole one, or declare `rollout = "portable"` in [flags."{flag}"]',
        )
    made = normal(before or {"name": "flexibleRollout", "title": ROLLOUT, "constraints": denies})
    attribute = portable_attribute(flag)
    rest = [one for one in made["constraints"] if one["contextName"] != attribute]
    parameters = {"groupId": flag, "stickiness": "default", **made["parameters"]}
    if portable:
        bucket = {
            "contextName": attribute,
            "operator": "NUM_LT",
            "values": [],
            "value": str(weight),
        }
        made["constraints"] = [plain(bucket), *rest]
        # Whoever has the attribute is in a bucket already: no hash may leave them out again.
        made["parameters"] = {**parameters, "rollout": "100", "stickiness": "default"}
    else:
        made["constraints"] = rest
        made["parameters"] = {**parameters, "rollout": str(weight // _PERCENT)}
    return made


def conditions_of(one: Strategy, flag: str, denies: Sequence[Constraint]) -> list[Constraint]:
    """Return the constraints of a strategy that are neither our denies nor a portable bucket."""
    bucket = bucket_of(one, flag)
    return [each for each in one["constraints"] if each not in denies and each is not bucket]


_NO_USERS: Final = frozenset({"appName", "currentTime", "environment"})


def serves_anybody(one: Strategy, flag: str, denies: Sequence[Constraint]) -> bool:
    """Return whether a strategy may serve users of whom nothing is known.

    Constraints that only leave somebody out let through whoever lacks the attribute. Those on the
    time, the environment or the application hold for all users at once, or for none.
    """
    if one["disabled"] or one["segments"] or one["name"] not in ("default", "flexibleRollout"):
        return False
    if one["name"] == "flexibleRollout" and one["parameters"].get("rollout") == "0":
        return False
    conditions = conditions_of(one, flag, denies)
    return all(
        each["contextName"] in _NO_USERS
        or bool(each.get("inverted")) ^ (each["operator"] == "NOT_IN")
        for each in conditions
    )


def named(one: Mapping[str, Any]) -> str:
    """Return what a person knows a strategy by: its title, else its kind and what it is for."""
    if one.get("title"):
        return str(one["title"])
    rollout = one.get("parameters", {}).get("rollout")
    share = "" if rollout is None else f" {rollout} %"
    return f"{one.get('name', 'strategy')}{share}, id {one.get('id', 'new')}"


def body_of(one: Strategy) -> Strategy:
    """Return what is compared of a strategy."""
    return {name: one[name] for name in _KEPT}


def sent_of(one: Strategy) -> Strategy:
    """Return what the API takes for a strategy: constraints that stay, to the letter."""
    said = [(plain(each), each) for each in one["said"]]
    constraints = [
        next((each for plain, each in said if plain == wanted), wanted)
        for wanted in one["constraints"]
    ]
    return {**body_of(one), "constraints": copy.deepcopy(constraints)}


def same(one: Strategy, other: Strategy) -> bool:
    """Return whether two strategies are the same but for their ids and places."""
    return {**body_of(one), "sortOrder": 0} == {**body_of(other), "sortOrder": 0}


def plain(one: Constraint) -> dict[str, Any]:
    """Return a constraint without what is said by saying nothing."""
    made = {name: one[name] for name in ("contextName", "operator") if name in one}
    made["values"] = [str(value) for value in one.get("values") or ()]
    if one.get("value") is not None:
        made["value"] = str(one["value"])
    for name in ("inverted", "caseInsensitive"):
        if one.get(name):
            made[name] = True
    return made


def _values(constraints: Iterable[Constraint]) -> frozenset[str]:
    return frozenset(value for one in constraints for value in one["values"])


def is_list(one: Strategy) -> bool:
    """Return whether a strategy with our title is still what we made it."""
    constraints = one["constraints"]
    return (
        one["title"].startswith(TARGETS)
        and len(constraints) == 1
        and constraints[0]["contextName"] == "userId"
        and constraints[0]["operator"] == "IN"
        and not constraints[0].get("inverted")
        and not one["segments"]
        and one["parameters"].get("rollout") == "100"
    )


def _common_denies(strategies: Sequence[Strategy]) -> tuple[Constraint, ...]:
    if not strategies:
        return ()
    first, *others = strategies
    return tuple(
        one
        for one in first["constraints"]
        if _is_deny(one) and all(one in each["constraints"] for each in others)
    )


def _is_deny(one: Constraint) -> bool:
    return (
        one["contextName"] == "userId"
        and one["operator"] == "NOT_IN"
        and not one.get("inverted")
        and not one.get("caseInsensitive")
    )
