"""How Downhaul's strategies are known, for people by their titles and in a payload by a mark.

A server tells its SDKs no titles, but all parameters, and engines take no notice of those that
they don't know. So each strategy of a flag that Downhaul wrote whole has the parameter
``downhaul``: what it stands for, how many of its constraints are its own, and how many at the end
leave out users. Between them stand those that leave out whoever an earlier rule serves off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

PARAMETER: Final = "downhaul"
BY: Final = "downhaul-by"
"""The parameter that names the carrier of a percentage, which 0 and 100 % would forget."""
_MARK: Final = re.compile(
    r"(rule|no-rule|rollout|no-rollout|values|off)-(\d+)/(\d+)/(\d+)", re.ASCII
)
_TITLE: Final = "downhaul:"


class Sort(StrEnum):
    """What a strategy of ours stands for."""

    RULE = "rule"
    NO_RULE = "no-rule"
    """A rule of a boolean that serves off. It stands at 0 %, for the record: what it does is in
    the constraints of those after it."""
    ROLLOUT = "rollout"
    NO_ROLLOUT = "no-rollout"
    VALUES = "values"
    """Stands at 0 %, and has the values of all variants of a flag that has no off variant."""
    OFF = "off"
    """Stands at 0 %, and has the off variant and the values of all others."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a strategy stands for. ``own`` and ``denies`` count constraints, from both ends."""

    sort: Sort
    number: int
    own: int = 0
    denies: int = 0

    @property
    def serves(self) -> bool:
        """Return whether the strategy serves somebody, and is not for the record alone."""
        return self.sort in (Sort.RULE, Sort.ROLLOUT)

    def __str__(self) -> str:
        return f"{self.sort}-{self.number}/{self.own}/{self.denies}"

    def title(self, copy: int, description: str = "") -> str:
        """Return the title of the ``copy``-th strategy with this mark, the first being 1."""
        if self.sort in (Sort.OFF, Sort.VALUES):
            return f"{_TITLE}{self.sort}"
        name = str(self.sort)
        if self.sort is not Sort.ROLLOUT or self.number > 1:
            name += f"-{self.number}"
        name += f".{copy}" if copy > 1 else ""
        return f"{_TITLE}{name} {description}".rstrip()


def mark_of(parameters: Mapping[str, Any]) -> Mark | None:
    """Return the mark of a strategy, or None where it has none."""
    found = _MARK.fullmatch(str(parameters.get(PARAMETER, "")))
    if found is None:
        return None
    sort, number, own, denies = found.groups()
    return Mark(Sort(sort), int(number), int(own), int(denies))
