"""What a module defines: scopes, and how each name in them comes by its value."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """Bound by an import. ``level`` counts the dots of a relative one."""

    dotted: str
    level: int
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """Bound to the value of an expression, or to the part of it that unpacking takes."""

    value: ast.expr
    scope: Scope
    path: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """Declared with a type; ``value`` is None where it stands without one."""

    annotation: ast.expr
    value: ast.expr | None
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """A parameter of a function; ``receiver`` is ``self`` or ``cls`` of a method."""

    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    scope: Scope
    receiver: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Entered:
    """Bound by ``with ... as``."""

    value: ast.expr
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """Bound by a loop to each element of an expression, or to a part of each."""

    iterable: ast.expr
    scope: Scope
    path: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Defined:
    """Bound by ``def`` or ``class``."""

    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """Bound or changed in a way that is not followed."""


Binding = Imported | Assigned | Annotated | Parameter | Entered | Element | Defined | Opaque

OPAQUE: Final = Opaque()

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(slots=True, eq=False)
class Scope:
    """A module, class, function or comprehension, with what its names are bound to.

    ``attributes`` of a class are those that its methods set on ``self``. ``returns`` of a function
    are what it returns and yields.
    """

    module: Module
    parent: Scope | None
    node: ast.AST
    qualname: str = ""
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    attributes: dict[str, list[Binding]] = field(default_factory=dict)
    elsewhere: dict[str, Scope] = field(default_factory=dict)
    returns: list[ast.expr] = field(default_factory=list)
    ends_in_return: bool = False
    receiver: str = ""
    """What a method calls the object or class it is called on."""

    @property
    def is_class(self) -> bool:
        """Whether this is a class's body."""
        return isinstance(self.node, ast.ClassDef)

    @property
    def is_comprehension(self) -> bool:
        """Whether this is the scope of a comprehension."""
        return isinstance(self.node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp)

    @property
    def owner(self) -> Scope | None:
        """The class that this function is a method of."""
        parent = self.parent
        return parent if parent is not None and parent.is_class else None

    def bind(self, name: str, binding: Binding) -> None:
        """Note one more way in which the name comes by a value."""
        home = self.elsewhere.get(name, self)
        home.bindings.setdefault(name, []).append(binding)

    def find(self, name: str) -> list[Binding]:
        """Return the bindings that the name has here, as Python looks it up; none if unknown."""
        scope: Scope | None = self
        while scope is not None:
            home = scope.elsewhere.get(name, scope)
            if name in home.bindings and (scope is self or not scope.is_class):
                return home.bindings[name]
            scope = scope.parent
        return []

    def method(self) -> Scope | None:
        """Return the method that this scope is, or stands in; its ``receiver`` names the object."""
        scope: Scope | None = self
        while scope is not None and not scope.receiver:
            scope = scope.parent
        return scope


@dataclass(frozen=True, slots=True, eq=False)
class Loose:
    """What may be a verb, where a value is passed on: maybe as the ``number``-th of a call."""

    value: ast.expr
    scope: Scope
    call: ast.Call | None = None
    number: int = 0


@dataclass(slots=True, eq=False)
class Module:
    """A module that was read, as far as references in it are to be found."""

    path: str
    lines: list[str]
    scope: Scope = field(init=False)
    calls: list[tuple[ast.Call, Scope]] = field(default_factory=list)
    classes: list[Scope] = field(default_factory=list)
    loose: list[Loose] = field(default_factory=list)
    renamed: list[tuple[str, Assigned | Imported]] = field(default_factory=list)
    """Names that are bound, for all to see, to what may be a verb of another name."""
    stars: list[Imported] = field(default_factory=list)
    roots: set[str] = field(default_factory=set)
    """The top-level packages that it imports."""

    def source(self, node: ast.expr, limit: int = 120) -> str:
        """Return the source of an expression on one line, cut at ``limit`` characters."""
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        lines = [line.encode() for line in self.lines[first : min(last + 1, first + limit)]]
        if first + len(lines) - 1 == last:
            lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        text = " ".join(b"\n".join(lines).decode().split())
        return text if len(text) <= limit else f"{text[: limit - 1]}…"

    def column(self, line: int, offset: int) -> int:
        """Return the column, in characters from 1, of an offset in bytes of UTF-8."""
        return len(self.lines[line - 1].encode()[:offset].decode(errors="replace")) + 1
