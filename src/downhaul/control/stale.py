"""Flags that have done their work: they serve one variant to everybody, and nobody touches them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from downhaul.control.desk import Desk
from downhaul.flag import Flag, FlagType, Serve
from downhaul.provider import Capability, FlagProvider

OLD_AFTER_DAYS: Final = 30
"""How long a flag is left alone before it counts as stale, unless said."""

LONG_LIVED: Final = frozenset({FlagType.KILL_SWITCH, FlagType.PERMISSION, FlagType.OPERATIONAL})
"""Types of flags that are meant to stand still for years."""

_PAGE: Final = 500  # records of the history fetched at a time


@dataclass(frozen=True, slots=True)
class StaleFlag:
    """A flag that serves ``variant`` to everybody and was last changed at ``changed``.

    ``variant`` is None where an off flag serves the caller's default. ``changed`` (RFC 3339) and
    ``days`` are None where the history doesn't reach back so far. ``asked`` is when an application
    last asked for it; None where that isn't known.
    """

    key: str
    on: bool
    variant: str | None
    type: FlagType
    owner: str
    changed: str | None
    days: int | None
    asked: str | None = None


def stale(
    desk: Desk,
    *,
    days: int = OLD_AFTER_DAYS,
    include_long_lived: bool = False,
    now: dt.datetime | None = None,
) -> list[StaleFlag]:
    """Return the flags that serve one variant to all, unchanged for ``days``, oldest first.

    Kill switches, permissions and operational flags are left out unless asked for: they are meant
    to stand still. Raises UnsupportedCapability where the provider keeps no history.
    """
    moment = now or dt.datetime.now(dt.UTC)
    flags = desk.provider.list().flags
    touched = last_changes(desk.provider, flags.keys())
    found = []
    for flag in flags.values():
        if flag.type in LONG_LIVED and not include_long_lived:
            continue
        constant, variant = serves_all(flag)
        if not constant:
            continue
        changed = touched.get(flag.key)
        age = None if changed is None else (moment - dt.datetime.fromisoformat(changed)).days
        if age is None or age >= days:
            found.append(
                StaleFlag(
                    flag.key, flag.on, variant, flag.type, flag.owner, changed, age, asked=None
                )
            )
    return sorted(found, key=lambda one: (one.changed or "", one.key))


def serves_all(flag: Flag) -> tuple[bool, str | None]:
    """Return whether everybody gets the same of this flag, and the variant they get."""
    if not flag.on:
        return True, flag.off_variant
    served = set(_variants(flag.default))
    for rule in flag.rules:
        served |= set(_variants(rule.serve))
        if rule.gate is not None and rule.gate.outside is not None:
            served.add(rule.gate.outside)
    served |= {one.variant for one in flag.targets if one.keys}
    if flag.prerequisites:
        served.add(flag.off_variant)
    # What falls through at a rule goes on to the default; at the default it is served nothing.
    if isinstance(flag.default, str):
        served.discard(None)
    return len(served) == 1, next(iter(served))


def _variants(serve: Serve) -> Iterable[str | None]:
    if isinstance(serve, str):
        return [serve]
    return [one.variant for one in serve.weights if one.weight]


def last_changes(provider: FlagProvider, keys: Iterable[str]) -> Mapping[str, str]:
    """Return when each flag was last changed, reading the history no further back than needed.

    Raises UnsupportedCapability where the provider keeps no history.
    """
    if Capability.HISTORY not in provider.capabilities:
        provider.history(limit=1)  # refuses by the provider's own name
    missing = set(keys)
    touched: dict[str, str] = {}
    before: int | None = None
    while missing:
        page = provider.history(limit=_PAGE, before=before)
        for record in page:
            if record.entity == "flag" and record.key in missing:
                missing.discard(record.key)
                touched[record.key] = record.at
        if len(page) < _PAGE:
            break
        before = page[-1].id
    return touched
