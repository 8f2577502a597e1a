"""Who a strategy is for by its own parameters, as clauses and a gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from downhaul.flag import (
    TARGETING_KEY,
    Bucketing,
    Clause,
    Dialect,
    Gate,
    Missing,
    NoKey,
    Operator,
    Scheme,
)
from downhaul_unleash.attributes import CURRENT_TIME, HOSTNAME, attribute_of
from downhaul_unleash.constraints import networks
from downhaul_unleash.engine import DoesNotCompile, escaped, percentage, quoted
from downhaul_unleash.source import Strategy

_HUNDRED: Final = 100


@dataclass(frozen=True, slots=True)
class Condition:
    """When a strategy enables its feature."""

    clauses: tuple[Clause, ...] = ()
    gate: Gate | None = None
    reasons: tuple[str, ...] = ()
    """What to say of the strategy itself where it is not carried as it stands."""

    @property
    def draws(self) -> bool:
        """Whether the gate may draw at random, so that asking it twice gives two answers."""
        how = None if self.gate is None else self.gate.bucketing
        return how is not None and (how.scheme is Scheme.RANDOM or how.no_key is NoKey.RANDOM)


def condition_of(one: Strategy, feature: str) -> Condition | None:
    """Return a strategy's own condition, without constraints and segments; None if nobody knows it.

    Raises DoesNotCompile where the engine can't compile it.
    """
    make = _KNOWN.get(one.name)
    return None if make is None else make(one, feature)


def stickiness_of(name: str | None) -> Bucketing | None:
    """Return how a rollout buckets by a stickiness; None is at random, for each question anew."""
    if name in (None, "default"):
        by = (TARGETING_KEY, "sessionId")
        return Bucketing(Scheme.UNLEASH, by=by, no_key=NoKey.RANDOM, total=_HUNDRED)
    if name == "random":
        return None
    return Bucketing(Scheme.UNLEASH, by=(attribute_of(name),), no_key=NoKey.MISS, total=_HUNDRED)


def _everybody(_one: Strategy, _feature: str) -> Condition:
    return Condition()


def _flexible(one: Strategy, feature: str) -> Condition:
    stickiness = one.parameters.get("stickiness")
    share = percentage(one.parameters.get("rollout"))
    if share is None:
        return _unreadable(one, "rollout", stickiness, feature)
    group = one.parameters.get("groupId")
    salt = feature if group is None else quoted(group, one.path)
    _within_hundred(one, "rollout", share)
    if stickiness is not None:
        quoted(stickiness, one.path)
    return _gated(stickiness, salt, share)


def _gated(stickiness: str | None, salt: str, share: int) -> Condition:
    how = stickiness_of(stickiness)
    if share == _HUNDRED and (how is None or how.no_key is NoKey.RANDOM):
        return Condition()
    if how is None:
        return Condition(gate=Gate(share, Bucketing(Scheme.RANDOM, total=_HUNDRED)))
    reasons: tuple[str, ...] = ()
    if how.by == (CURRENT_TIME,):
        reasons = ("without currentTime Unleash hashes the clock's; here nobody gets through then",)
    bucketing = Bucketing(how.scheme, salt, by=how.by, no_key=how.no_key, total=how.total)
    return Condition(gate=Gate(share, bucketing), reasons=reasons)


def _unreadable(one: Strategy, parameter: str, stickiness: str | None, feature: str) -> Condition:
    """Return a shut gate, so that whoever mends the percentage finds the rest in place."""
    found = one.parameters.get(parameter)
    said = f"has no {parameter}" if found is None else f"has {parameter} {found!r}"
    reason = f"{one.name} {said}: Unleash takes whole percentages only, and serves nobody by it"
    salt = one.parameters.get("groupId", feature)
    gate = _gated(stickiness, salt, 0).gate
    return Condition(gate=gate, reasons=(reason,))


def _within_hundred(one: Strategy, parameter: str, share: int) -> None:
    if share > _HUNDRED:
        raise DoesNotCompile(one.path, f"{parameter} {share} is more than 100 %")


def _gradual(stickiness: str) -> Callable[[Strategy, str], Condition]:
    def make(one: Strategy, feature: str) -> Condition:
        share = percentage(one.parameters.get("percentage"))
        if share is None:
            return _unreadable(one, "percentage", stickiness, feature)
        group = one.parameters.get("groupId")
        if group is None:
            shut = _gated(stickiness, feature, 0)
            reason = f"{one.name} has no groupId: Unleash serves nobody by it"
            return Condition(gate=shut.gate, reasons=(reason,))
        salt = quoted(group, one.path)
        _within_hundred(one, "percentage", share)
        return _gated(stickiness, salt, share)

    return make


def _gradual_random(one: Strategy, feature: str) -> Condition:
    share = percentage(one.parameters.get("percentage"))
    if share is None:
        return _unreadable(one, "percentage", "random", feature)
    # The engine draws from 1 to 99 and asks whether that is less than the percentage.
    draws = _HUNDRED - 1
    open_to = min(max(share - 1, 0), draws)
    if open_to == draws:
        return Condition()
    return Condition(gate=Gate(open_to, Bucketing(Scheme.RANDOM, total=draws)))


def _user_ids(one: Strategy, _feature: str) -> Condition:
    listed = one.parameters.get("userIds")
    if listed is None:
        return _lacking(one, "userIds")
    values = tuple(escaped(each.strip(), one.path) for each in listed.split(","))
    return Condition((_is_one_of(TARGETING_KEY, tuple(filter(None, values))),))


def _addresses(one: Strategy, _feature: str) -> Condition:
    listed = one.parameters.get("IPs")
    if listed is None:
        return _lacking(one, "IPs")
    values = tuple(quoted(each.strip(), one.path) for each in listed.split(","))
    good, dropped = networks(values)
    clause = Clause(
        "remoteAddress",
        Operator.IN_CIDR,
        good,
        missing=Missing.FALSE,
        dialect=Dialect.UNLEASH,
    )
    reasons = tuple(f"{text!r} is no network: it matches nobody" for text in dropped if text)
    return Condition((clause,), reasons=reasons)


def _hosts(one: Strategy, _feature: str) -> Condition:
    listed = one.parameters.get("hostNames", "")
    values = tuple(quoted(each.strip(), one.path) for each in listed.split(","))
    clause = _is_one_of(HOSTNAME, tuple(filter(None, values)), ignore_case=True)
    reason = (
        "Unleash finds out the name of its host by itself; here the application has to put "
        f'"{HOSTNAME}" into its contexts'
    )
    return Condition((clause,), reasons=(reason,))


def _lacking(one: Strategy, parameter: str) -> Condition:
    reason = f"{one.name} has no {parameter}: Unleash serves nobody by it"
    return Condition((_is_one_of(TARGETING_KEY, ()),), reasons=(reason,))


def _is_one_of(attribute: str, values: tuple[str, ...], *, ignore_case: bool = False) -> Clause:
    return Clause(
        attribute,
        Operator.IN,
        values,
        ignore_case=ignore_case,
        missing=Missing.FALSE,
        dialect=Dialect.UNLEASH,
    )


_KNOWN: Final[Mapping[str, Callable[[Strategy, str], Condition]]] = {
    "default": _everybody,
    "userWithId": _user_ids,
    "gradualRolloutUserId": _gradual("userId"),
    "gradualRolloutSessionId": _gradual("sessionId"),
    "gradualRolloutRandom": _gradual_random,
    "flexibleRollout": _flexible,
    "remoteAddress": _addresses,
    "applicationHostname": _hosts,
}
