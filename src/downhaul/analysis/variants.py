"""Which of our variants something outside stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from downhaul.documents.faults import quoted
from downhaul.errors import Problem

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_SCALARS: Final = (str, int, float, bool)


@dataclass(frozen=True, slots=True)
class Variants:
    """Leads from what is held outside to our variants. What isn't named is called the same."""

    ours: Mapping[str, str] = field(default_factory=lambda: _NONE)

    def of(self, held: str) -> str:
        """Return whose counts a value's are; one that stands for none of ours is its own.

        The "v2" that is held is not ours, where ours is said to be its "2.0".
        """
        if held in self.ours:
            return self.ours[held]
        return f"{held} (unmapped)" if held in self.ours.values() else held

    @classmethod
    def read(cls, given: Any, problems: list[Problem]) -> Variants:
        """Return what a plan says: a variant, and what stands for it, or a list of that."""
        if not isinstance(given, Mapping):
            hint = 'such as { v2 = "2.0" }'
            message = "leads from the flag's variants to what stands for them"
            problems.append(Problem("metrics.variants", message, hint=hint))
            return cls()
        found: dict[str, str] = {}
        for variant, held in given.items():
            for one in held if isinstance(held, (list, tuple)) else [held]:
                path = f"metrics.variants.{variant}"
                if not isinstance(one, _SCALARS):
                    problems.append(Problem(path, f"{quoted(one)} stands for no variant"))
                    continue
                for text in _texts(one):
                    if found.setdefault(text, str(variant)) != variant:
                        message = f"{quoted(text)} stands for {quoted(found[text])} already"
                        problems.append(Problem(path, message))
        return cls(MappingProxyType(found))


def _texts(value: Any) -> tuple[str, ...]:
    """Return a value as it is written as text elsewhere."""
    if isinstance(value, bool):  # PostgreSQL has true, SQLite 1
        return (str(value).lower(), str(int(value)))
    return (str(value),)
