"""What a flag can decide, before it is dressed as a boolean or as a result."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

from downhaul.flag import Flag, FlagKind
from downhaul.overlay import KillRecord
from downhaul.result import NO_METADATA, ErrorCode, Reason, Result

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One of the few answers that a flag can give; each is made once, when the flag is compiled.

    ``variant`` None is the caller's default. ``off`` says that the flag itself was off or killed,
    which fails whoever requires it.
    """

    variant: str | None
    reason: Reason
    error_code: ErrorCode | None = None
    error_message: str | None = None
    off: bool = False
    rule: str = ""
    prerequisite: str = ""
    kill: KillRecord | None = None


Leaf = Callable[[Outcome], T]
"""Dresses an outcome. Called while compiling, never while evaluating."""


Decide = Callable[[Any], T]
"""Takes whatever a caller passes as a context; raises InvalidContext for what can't be one."""


class _FallThrough:
    """Says that a rule did not decide."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "FALL_THROUGH"


FALL_THROUGH: Final = _FallThrough()


NO_KEY: Final = Outcome(
    None,
    Reason.ERROR,
    ErrorCode.TARGETING_KEY_MISSING,
    "a split between 0 and 100 % needs a targeting key, and the context has none",
)
"""What a split decides that has nothing to bucket by (rule E8)."""


class CallersDefault(Exception):
    """Raised out of an ``is_enabled`` decision where the caller's default is the answer."""


def plain(outcome: Outcome) -> Outcome:
    """Leave an outcome as it is (for prerequisites and explanations)."""
    return outcome


def enabled_leaf(flag: Flag) -> Leaf[bool | None]:
    """Return what dresses outcomes for ``is_enabled``; None is the caller's default."""

    def dress(outcome: Outcome) -> bool | None:
        if outcome.variant is None:
            return None if outcome.kill is None else False
        if outcome.variant not in flag.variants:
            return None
        if flag.kind is not FlagKind.BOOLEAN:
            return outcome.variant != flag.off_variant
        value = flag.variants[outcome.variant]
        return value if isinstance(value, bool) else None

    return dress


def result_leaf(flag: Flag, provider: str) -> Leaf[Result]:
    """Return what dresses outcomes of this flag for ``evaluate``.

    A result that is not authoritative holds None; the client puts the caller's default there.
    """

    def dress(outcome: Outcome) -> Result:
        value, authoritative = None, False
        if outcome.variant is not None:
            if outcome.variant not in flag.variants:
                # Documents are checked on the way in; a row edited by hand is not.
                message = f'variant "{outcome.variant}" is not among those of the flag'
                return broken(flag.version, provider, message)
            value, authoritative = flag.variants[outcome.variant], True
        elif _killed_boolean(flag.kind, outcome):
            value, authoritative = False, True
        return Result(
            value,
            outcome.variant,
            outcome.reason,
            outcome.error_code,
            outcome.error_message,
            flag.version,
            provider,
            authoritative,
            _metadata(outcome),
            flag.key,
        )

    return dress


def broken(version: str, provider: str, message: str) -> Result:
    """Return what a flag answers that can't be understood: the caller's default."""
    return Result(
        None,
        reason=Reason.ERROR,
        error_code=ErrorCode.PARSE_ERROR,
        error_message=message,
        flag_version=version,
        provider=provider,
        authoritative=False,
    )


def kill_outcome(flag: Flag, kill: KillRecord) -> Outcome:
    """Return what a killed flag decides: its off variant, for everybody (rule K2)."""
    off = flag.off_variant
    # A row edited by hand may have no such variant, or no boolean there: a kill holds all the same.
    if off is not None and (
        off not in flag.variants
        or (flag.kind is FlagKind.BOOLEAN and not isinstance(flag.variants[off], bool))
    ):
        off = None
    return Outcome(off, Reason.KILLED, off=True, kill=kill)


def fresh(result: Result) -> Result:
    """Return a result whose object value the caller may change without changing the flag."""
    if isinstance(result.value, (dict, list)):
        return replace(result, value=copy.deepcopy(result.value))
    return result


def kill_metadata(kill: KillRecord) -> dict[str, Any]:
    """Return who killed it and why, as results tell it."""
    return {
        "scope": str(kill.scope),
        "actor": kill.actor,
        "reason": kill.reason,
        "at": kill.at,
        "store": kill.store,
    }


def _killed_boolean(kind: FlagKind, outcome: Outcome) -> bool:
    return kind is FlagKind.BOOLEAN and outcome.kill is not None


def _metadata(outcome: Outcome) -> Any:
    told: dict[str, Any] = {}
    if outcome.rule:
        told["rule"] = outcome.rule
    if outcome.prerequisite:
        told["prerequisite"] = outcome.prerequisite
    if outcome.kill is not None:
        told["kill"] = MappingProxyType(kill_metadata(outcome.kill))
    return MappingProxyType(told) if told else NO_METADATA
