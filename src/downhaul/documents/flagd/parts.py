"""flagd's ``fractional``, read: which label gets which part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from downhaul.documents.faults import Fault, Place, quoted
from downhaul.documents.flagd.logic import MOST_WEIGHT, Inexpressible, Logic


@dataclass(frozen=True, slots=True)
class Part:
    """A label and its weight. A label is text, true, false or null."""

    label: Any
    weight: int


def parts_of(args: Logic, place: Place, faults: list[Fault]) -> tuple[Part, ...] | None:
    """Return the parts, of which some have weight; None where it answers null to everybody.

    Raises Inexpressible for a split by anything but the flag's key and the targeting key; what is
    no split at all is a fault.
    """
    many = args if isinstance(args, list) else [args]
    at: Place = (*place, "fractional")
    if many and not isinstance(many[0], list):
        raise Inexpressible(
            "its bucketing value is hashed alone, without the flag's key as a part of its own, "
            "which no scheme here does: users would be assigned anew",
            fragment=many[0],
        )
    found = [_part(one, (*at, index), faults) for index, one in enumerate(many)]
    parts = tuple(one for one in found if one is not None)
    total = sum(one.weight for one in parts)
    return parts if 0 < total <= MOST_WEIGHT else None


def _part(one: Logic, at: Place, faults: list[Fault]) -> Part | None:
    if not isinstance(one, list) or len(one) not in (1, 2):
        hint = 'write ["variant", 25]'
        faults.append(Fault(at, f"should be a variant and a weight, not {quoted(one)}", hint))
        return None
    label, weight = one[0], one[1] if len(one) > 1 else 1
    if isinstance(label, (dict, list)):
        raise Inexpressible("a variant of a split is named here, not computed", fragment=label)
    if isinstance(weight, (dict, list)):
        raise Inexpressible("a weight is a number here, not computed", fragment=weight)
    if type(weight) is not int:
        faults.append(Fault((*at, 1), f"a weight is a whole number, not {quoted(weight)}"))
        return None
    return Part(label, max(0, weight))  # flagd takes a negative weight for none
