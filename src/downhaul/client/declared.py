"""What is known of the flags of a backend that resolves: what it tells, and what was declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from downhaul.evaluator.asking import portable_bucketing
from downhaul.flag import Bucketing, Flag, FlagKind

if TYPE_CHECKING:
    from downhaul.config import Declaration  # pydantic stands behind it: only who connects pays

Declarations = Mapping[str, "Declaration"]

_ON_OFF: Final[Mapping[str, Any]] = {"on": True, "off": False}


def known_flag(told: Flag | None, key: str, declared: Declaration | None) -> Flag | None:
    """Return what is known of one flag, or None: the declaration counts, tags are joined.

    A flag that is only declared is known too: a kill of one of its tags has to find it, whether the
    backend has been heard or not.
    """
    if declared is None:
        return told
    kind = declared.kind or (told.kind if told is not None else FlagKind.BOOLEAN)
    if told is None or told.kind is not kind:
        variants: Mapping[str, Any] = _ON_OFF if kind is FlagKind.BOOLEAN else {}
        off = "off" if kind is FlagKind.BOOLEAN else None
        base = Flag(key=key, kind=kind, variants=variants, off_variant=off, default="", on=True)
        told = base if told is None else replace(base, version=told.version, tags=told.tags)
    off = declared.off if declared.off is not None else told.off_variant
    return replace(
        told,
        off_variant=off,
        variants=_with_off(told, off),
        tags=tuple(dict.fromkeys((*declared.tags, *told.tags))),
    )


def known_flags(told: Mapping[str, Flag], declarations: Declarations) -> Mapping[str, Flag]:
    """Return what is known of all flags, as :func:`known_flag` does of one."""
    if not declarations:
        return told
    known = dict(told)
    for key, declared in declarations.items():
        flag = known_flag(told.get(key), key, declared)
        if flag is not None:
            known[key] = flag
    return known


def portable_flags(declarations: Declarations) -> Mapping[str, Bucketing]:
    """Return the bucketing of each flag whose rollout is declared portable. Raises ValueError."""
    return {
        key: portable_bucketing(one.scheme, one.salt)
        for key, one in declarations.items()
        if one.rollout == "portable"
    }


def _with_off(flag: Flag, off: str | None) -> Mapping[str, Any]:
    """Return the variants, with the value of a declared off variant that the backend didn't tell.

    A boolean's off variant is False, and a string's is its own name: backends whose values are
    strings have no other. What a number or an object is worth nobody has said.
    """
    if off is None or off in flag.variants:
        return flag.variants
    if flag.kind is FlagKind.BOOLEAN:
        return {**flag.variants, off: False}
    return {**flag.variants, off: off} if flag.kind is FlagKind.STRING else flag.variants
