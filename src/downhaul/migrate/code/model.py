"""What was found: references to flags, their defaults, and what could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from downhaul.errors import Problem


class Certainty(StrEnum):
    """How sure it is that a call goes to the SDK it is counted for."""

    PROVEN = "proven"
    """What is called was followed to the SDK."""
    LIKELY = "likely"
    """It is called as the SDK's is, and nothing says that it is something else."""
    POSSIBLE = "possible"
    """It has a name that many things have, takes a text, and nothing says what it is."""


class DefaultKind(StrEnum):
    """Where the value comes from that the code goes on with when nothing can be decided."""

    LITERAL = "literal"
    """The code says it, and it can be told without running it."""
    IMPLICIT = "implicit"
    """The code says none, so the SDK gives one of its own."""
    DYNAMIC = "dynamic"
    """The code works it out, or has several."""
    NONE = "none"
    """The call takes none."""


@dataclass(frozen=True, slots=True)
class Default:
    """The default of one reference.

    ``value`` is JSON-like data, and means something where ``kind`` is LITERAL or IMPLICIT. ``text``
    is the source of a DYNAMIC default; of an IMPLICIT one that a setting decides, the setting's
    name. An ``excuse`` is what an SDK says instead of a value (Split's ``control``).
    """

    kind: DefaultKind
    value: Any = None
    text: str = ""
    excuse: bool = False

    def as_mapping(self) -> dict[str, Any]:
        """Return the default as JSON data."""
        return {"kind": self.kind.value, "value": self.value, "text": self.text}


NO_DEFAULT: Final = Default(DefaultKind.NONE)


@dataclass(frozen=True, slots=True)
class Reference:
    """One place in code that refers to flags.

    ``path`` is relative to the scanned folder, with ``/``. ``line`` and ``column`` are where the
    name of what is called ends its way through the source: both count from 1, columns in
    characters. ``sdk`` is ``downhaul``, ``launchdarkly``, ``split``, ``unleash``, ``openfeature``,
    ``waffle`` or ``alias``; ``call`` the SDK's name of the call, or the alias's.

    ``keys`` are all keys that it can be asked with, as far as they are known; ``dynamic`` is the
    source of what is not known, ``bulk`` says which flags are meant where none is named. Named
    switches of Downhaul are keys such as ``switch:agents``. ``function`` is the qualified name of
    the function or class around it, empty at the top of a module. ``wrapper`` names the alias
    whose own key argument is passed on here: its callers are references of their own.
    """

    path: str
    line: int
    column: int
    sdk: str
    call: str
    keys: tuple[str, ...] = ()
    dynamic: str | None = None
    default: Default = NO_DEFAULT
    certainty: Certainty = Certainty.PROVEN
    function: str = ""
    bulk: str | None = None
    wrapper: str | None = None

    @property
    def place(self) -> str:
        """The place as editors read it: ``path:line:column``."""
        return f"{self.path}:{self.line}:{self.column}"

    def as_mapping(self) -> dict[str, Any]:
        """Return the reference as JSON data."""
        return {
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "sdk": self.sdk,
            "call": self.call,
            "keys": list(self.keys),
            "dynamic": self.dynamic,
            "default": self.default.as_mapping(),
            "certainty": self.certainty.value,
            "function": self.function,
            "bulk": self.bulk,
            "wrapper": self.wrapper,
        }


@dataclass(frozen=True, slots=True)
class References:
    """All references below a folder, sorted by place, and the files that could not be read.

    ``possible`` are no references: calls such as ``settings.client.is_enabled("new-checkout")``,
    with a text for a key, whose receiver is not known, in a module that imports no SDK. Where the
    text is a flag's key, somebody should look.
    ``files`` and ``lines`` count what was scanned. ``suggestions`` are aliases that would say more:
    functions of the scanned code that pass a parameter on as a flag's key, as ``Alias.parse``
    takes them.
    """

    references: tuple[Reference, ...] = ()
    problems: tuple[Problem, ...] = ()
    files: int = 0
    lines: int = 0
    suggestions: tuple[str, ...] = ()
    possible: tuple[Reference, ...] = ()

    def __iter__(self) -> Iterator[Reference]:
        return iter(self.references)

    def __len__(self) -> int:
        return len(self.references)

    def by_key(self) -> Mapping[str, tuple[Reference, ...]]:
        """Return the references of each key, in the order of the keys."""
        found: dict[str, list[Reference]] = {}
        for reference in self.references:
            for key in reference.keys:
                found.setdefault(key, []).append(reference)
        return {key: tuple(found[key]) for key in sorted(found)}

    def of(self, key: str) -> tuple[Reference, ...]:
        """Return the references of one key."""
        return tuple(one for one in self.references if key in one.keys)

    @property
    def dynamic(self) -> tuple[Reference, ...]:
        """Those with a key that is not known: each may refer to any flag."""
        return tuple(one for one in self.references if one.dynamic is not None)

    @property
    def bulk(self) -> tuple[Reference, ...]:
        """Those that ask for many flags without naming them."""
        return tuple(one for one in self.references if one.bulk is not None)


def conflicts(
    references: Iterable[Reference], key: str, served: Any, *, implicit: bool = False
) -> tuple[Reference, ...]:
    """Return the references of a key whose literal default is another value than what is served.

    With ``implicit``, those count too whose SDK gives a value of its own, such as Unleash's False.
    What an SDK says instead of a value (``control``) is no value, and never in conflict.
    """
    kinds = {DefaultKind.LITERAL} | ({DefaultKind.IMPLICIT} if implicit else set())
    return tuple(
        one
        for one in references
        if key in one.keys
        and one.default.kind in kinds
        and not one.default.excuse
        and not same_value(one.default.value, served)
    )


def same_value(one: Any, other: Any) -> bool:
    """Return whether two values of flags are the same: ``1`` is ``1.0``, but not ``True``."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_value(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_value, one, other))
    return type(one) is type(other) and bool(one == other)
