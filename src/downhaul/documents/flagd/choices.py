"""Splits and gates of ours as flagd's ``fractional``, where it hashes as they do (rule E6).

``fractional`` without a bucketing value hashes ``[flag key, targeting key]``, which is the native
scheme with the flag's own key as salt. Any other value is hashed alone, as no scheme of ours does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from downhaul.documents.faults import quoted
from downhaul.documents.flagd.logic import (
    BESIDE,
    INSIDE,
    MOST_WEIGHT,
    NO_KEY,
    OUTSIDE,
    Inexpressible,
    Logic,
    any_of,
    fractional,
)
from downhaul.flag import TARGETING_KEY, USER, Bucketing, Gate, NoKey, Scheme, Split


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice by bucket, of the labels of weights; BESIDE is whom no weight takes.

    ``constant`` is the label that everybody gets, where there is one. Else ``split`` gives the
    label, and null to whom has no key; ``keyless`` is the label that those get here. ``fails``
    says that they get the caller's default instead.
    """

    constant: str | None = None
    split: Logic = None
    keyless: str = BESIDE
    fails: bool = False
    labels: frozenset[str] = frozenset()

    @classmethod
    def of_split(cls, split: Split, flag_key: str) -> Choice:
        """Return the choice of a split's variants. Raises Inexpressible."""
        parts = [(one.variant or BESIDE, one.weight) for one in split.weights]
        return _choice(split.bucketing, parts, BESIDE, flag_key, flag_key)

    @classmethod
    def of_gate(cls, gate: Gate, flag_key: str, owner: str) -> Choice:
        """Return the choice of INSIDE and OUTSIDE at a gate of a flag or a segment."""
        return _choice(gate.bucketing, [(INSIDE, gate.share)], OUTSIDE, flag_key, owner)

    def inside(self) -> Logic:
        """Return what is true where the gate is open; without a key it is not, unless said."""
        if self.constant is not None:
            return self.constant == INSIDE
        opened = {"===": [self.split, INSIDE]}
        return any_of([NO_KEY, opened]) if self.keyless == INSIDE else opened


def _choice(
    how: Bucketing, parts: Sequence[tuple[str, int]], rest: str, flag_key: str, owner: str
) -> Choice:
    constant = _constant(how, parts, rest)
    if constant is not None:
        return Choice(constant)
    _refuse(how, flag_key, owner)
    left = how.total - sum(weight for _, weight in parts)
    parts = [part for part in (*parts, (rest, left)) if part[0] != rest or part[1] > 0]
    keyless = rest
    if how.no_key is NoKey.FIRST:
        keyless = next((label for label, weight in parts if weight), rest)
    return Choice(
        split=fractional(parts),
        keyless=keyless,
        fails=how.no_key is NoKey.ERROR,
        labels=frozenset(label for label, weight in parts if weight),
    )


def _constant(how: Bucketing, parts: Sequence[tuple[str, int]], rest: str) -> str | None:
    """Return the label that every bucket gets, key or no key; None where it depends."""
    if how.no_key is NoKey.MISS:
        return None
    heavy = [(label, weight) for label, weight in parts if weight]
    if not heavy:
        return rest
    label, weight = heavy[0]
    return label if weight >= how.total else None


def _refuse(how: Bucketing, flag_key: str, owner: str) -> None:
    if how.scheme is not Scheme.DOWNHAUL:
        raise Inexpressible(f"flagd can't hash as the scheme {how.scheme.value} does")
    salt = owner if how.salt is None else how.salt
    if salt != flag_key:
        raise Inexpressible(
            f"flagd hashes [flag key, targeting key] and has no other salt than the flag's key, "
            f"so the salt {quoted(salt)} would assign users anew"
        )
    if how.by != (TARGETING_KEY,) or how.context_kind != USER:
        raise Inexpressible("flagd hashes this way by the user's targeting key only")
    if how.no_key is NoKey.RANDOM:
        raise Inexpressible("flagd draws no bucket for whom has no key")
    if how.total > MOST_WEIGHT:
        raise Inexpressible(f"flagd's weights add up to {MOST_WEIGHT} at most")
