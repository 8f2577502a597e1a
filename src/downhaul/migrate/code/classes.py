"""Classes of the scanned code: what they inherit from, what inherits from them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from downhaul.migrate.code.annotations import last_name
from downhaul.migrate.code.project import Project
from downhaul.migrate.code.scopes import Binding, Scope
from downhaul.migrate.code.things import Class, External

if TYPE_CHECKING:
    from downhaul.migrate.code.resolving import Resolver

_ENUMS: Final = frozenset({"Enum", "StrEnum", "IntEnum", "Flag", "TextChoices", "IntegerChoices"})

_ABSTRACT: Final = frozenset({"Protocol", "ABC"})

_RECORDS: Final = frozenset(
    {"dataclass", "define", "frozen", "mutable", "attrs", "attrib", "s", "BaseModel", "NamedTuple"}
    | {"BaseSettings", "Struct", "SQLModel", "TypedDict"}
)
"""Decorators and bases that make a field of an annotated name: objects have values of their own."""


class Classes:
    """Says what classes inherit, through as many modules as it takes."""

    def __init__(self, project: Project, resolver: Resolver) -> None:
        self._project = project
        self._resolver = resolver
        self._bases: dict[Scope, list[Scope | External]] = {}
        self._heirs: dict[Scope, list[Scope]] = {}

    def bases(self, scope: Scope) -> list[Scope | External]:
        """Return what a class inherits from directly, as far as it is known."""
        if scope not in self._bases:
            self._bases[scope] = []  # for whoever asks while it is found out
            self._bases[scope] = list(dict.fromkeys(self._find_bases(scope)))
        return self._bases[scope]

    def _find_bases(self, scope: Scope) -> Iterator[Scope | External]:
        if not isinstance(scope.node, ast.ClassDef) or scope.parent is None:
            return
        for base in scope.node.bases:
            named = base.value if isinstance(base, ast.Subscript) else base
            for thing in self._resolver.things(named, scope.parent):
                if isinstance(thing, Class):
                    yield thing.scope
                elif isinstance(thing, External):
                    yield thing

    def ancestry(self, scope: Scope) -> list[Scope | External]:
        """Return a class and what it inherits from, nearest first."""
        found: dict[Scope | External, None] = {scope: None}
        waiting = [scope]
        while waiting:
            for base in self.bases(waiting.pop(0)):
                if base not in found:
                    found[base] = None
                    if isinstance(base, Scope):
                        waiting.append(base)
        return list(found)

    def heirs(self, scope: Scope) -> list[Scope]:
        """Return the classes that inherit from a class, in the order of their files."""
        if scope not in self._heirs:
            self._heirs[scope] = []
            name = getattr(scope.node, "name", "")
            modules = {scope.module: None, **dict.fromkeys(self._project.inheriting(name))}
            direct = [
                one
                for module in sorted(modules, key=lambda module: module.path)
                for one in module.classes
                if one is not scope and scope in self.bases(one)
            ]
            further = [heir for one in direct for heir in self.heirs(one)]
            self._heirs[scope] = list(dict.fromkeys([*direct, *further]))
        return self._heirs[scope]

    def bindings(self, scope: Scope, name: str, *, exact: bool) -> list[Binding]:
        """Return how an attribute comes by its value: the nearest class's, and the heirs' own."""
        found: list[Binding] = []
        for one in self.ancestry(scope):
            if isinstance(one, Scope):
                found = self._own(one, name)
                if found:
                    break
        if not exact:
            found = [*found, *(own for heir in self.heirs(scope) for own in self._own(heir, name))]
        return found

    @staticmethod
    def _own(scope: Scope, name: str) -> list[Binding]:
        return [*scope.bindings.get(name, ()), *scope.attributes.get(name, ())]

    def enum(self, scope: Scope) -> str:
        """Return the name of the sort of enumeration that a class is; empty for any other."""
        for base in self.ancestry(scope):
            name = base.names[1] if isinstance(base, External) else ""
            if name in _ENUMS:
                return name
        return ""

    def is_abstract(self, scope: Scope) -> bool:
        """Return whether a class says only what others are like (``Protocol``, ``ABC``)."""
        bases = self.ancestry(scope)
        return any(isinstance(one, External) and one.names[1] in _ABSTRACT for one in bases)

    def is_text(self, scope: Scope) -> bool:
        """Return whether members of an enumeration are texts themselves."""
        bases = getattr(scope.node, "bases", ())
        mixed_in = any(isinstance(base, ast.Name) and base.id == "str" for base in bases)
        return mixed_in or self.enum(scope) in ("StrEnum", "TextChoices")

    def is_record(self, scope: Scope) -> bool:
        """Return whether annotated names are fields, of which each object has its own value."""
        node = scope.node
        if not isinstance(node, ast.ClassDef):
            return False
        decorators = (one.func if isinstance(one, ast.Call) else one for one in node.decorator_list)
        if any(last_name(one) in _RECORDS for one in decorators):
            return True
        bases = self.ancestry(scope)
        return any(isinstance(base, External) and base.names[1] in _RECORDS for base in bases)
