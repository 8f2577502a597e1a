"""What an expression is worth, told without running it: all values that it can have, or Unknown."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from downhaul.migrate.code.annotations import literal_values
from downhaul.migrate.code.containers import Containers, Placed, Unknown
from downhaul.migrate.code.model import same_value
from downhaul.migrate.code.resolving import Resolver, part_of
from downhaul.migrate.code.scopes import (
    Annotated,
    Assigned,
    Binding,
    Element,
    Parameter,
    Scope,
)
from downhaul.migrate.code.sources import Sources
from downhaul.migrate.code.things import Class, External

_DEEP: Final = 60
_LONGEST: Final = 4_096  # characters of a text that is put together
_MOST: Final = 1_000  # values of one expression

_TEXT_METHODS: Final = frozenset(
    {"lower", "upper", "casefold", "strip", "lstrip", "rstrip", "removeprefix", "removesuffix"}
)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an enumeration; ``text`` is what f-strings make of it, if that is known."""

    name: str
    value: Any
    text: str | None


class Constants:
    """Folds expressions. What can be one of several is all of them; nothing is guessed."""

    def __init__(self, resolver: Resolver, sources: Sources) -> None:
        self.containers = Containers(resolver, sources)
        self._resolver = resolver
        self._sources = sources
        self._known: dict[object, list[Any] | None] = {}
        self._open: set[object] = set()
        self._visitors: dict[type[ast.expr], Callable[[Any, Scope], Iterable[Any]]] = {
            ast.Constant: lambda node, _: [node.value],
            ast.Name: self._named,
            ast.Attribute: self._attribute,
            ast.JoinedStr: self._joined,
            ast.BinOp: self._sum,
            ast.UnaryOp: self._unary,
            ast.IfExp: self._either,
            ast.BoolOp: self._bool,
            ast.NamedExpr: lambda node, scope: self._fold(node.value, scope),
            ast.Subscript: self._subscript,
            ast.Call: self._call,
            ast.List: self._list,
            ast.Tuple: self._list,
            ast.Dict: self._dict,
        }

    def values(self, node: ast.expr, scope: Scope) -> list[Any]:
        """Return all values that an expression can have, as JSON-like data. Raises Unknown."""
        return _distinct(plain(value) for value in self._fold(node, scope))

    def known(self, node: ast.expr, scope: Scope) -> list[Any]:
        """Return those of the values that are known, where not all of them are."""
        places: list[Placed] = []
        match node:
            case ast.IfExp(_, body, orelse):
                places = [Placed(body, scope), Placed(orelse, scope)]
            case ast.BoolOp(ast.Or(), parts):
                places = [Placed(one, scope) for one in parts]
            case ast.NamedExpr(_, value):
                places = [Placed(value, scope)]
            case ast.Name() | ast.Attribute():
                bindings = self._sources.of(node, scope)
                places = [place for one in bindings for place in self._places(one)]
        return _distinct(
            plain(value) for one in places for value in self._maybe(one.node, one.scope)
        )

    def _places(self, binding: Binding) -> list[Placed]:
        """Return the expressions that a name is bound to, as far as they can be told apart."""
        match binding:
            case Assigned(value, scope, path):
                part = part_of(value, path)
                return [] if part is None else [Placed(part, scope)]
            case Annotated(_, ast.expr() as value, scope):
                return [Placed(value, scope)]
            case Element(iterable, scope, path):
                with suppress(Unknown):
                    return self.containers.looped(Placed(iterable, scope), path)
        return []

    def _fold(self, node: ast.expr, scope: Scope) -> list[Any]:
        if node in self._known:
            known = self._known[node]
            if known is None:
                raise Unknown
            return known
        if node in self._open or len(self._open) > _DEEP:
            raise Unknown
        visitor = self._visitors.get(type(node))
        if visitor is None:
            raise Unknown
        self._open.add(node)
        try:
            found = _distinct(visitor(node, scope))
        except Unknown:
            if len(self._open) == 1:  # inside of others a circle may be to blame
                self._known[node] = None
            raise
        finally:
            self._open.discard(node)
        self._known[node] = found
        return found

    # Names

    def _named(self, node: ast.Name, scope: Scope) -> list[Any]:
        return self._bound(self._sources.of(node, scope))

    def _bound(self, bindings: list[Binding]) -> list[Any]:
        values: list[Any] = []
        known = [one for one in bindings if not (isinstance(one, Annotated) and one.value is None)]
        for binding in known:
            values += self._binding(binding)
        if not known:
            raise Unknown
        return values

    def _binding(self, binding: Binding) -> Iterable[Any]:
        match binding:
            case Assigned(value, scope, path):
                part = part_of(value, path)
                if part is not None:
                    return self._fold(part, scope)
                whole = self.containers.literal(Placed(value, scope))
                inner = part_of(whole.node, path)
                if inner is not None:
                    return self._fold(inner, whole.scope)
            case Annotated(_, ast.expr() as value, scope):
                return self._fold(value, scope)
            case Element(iterable, scope, path):
                return self._looped(iterable, scope, path)
            case Parameter(_, annotation, _, scope):
                choices = literal_values(annotation)
                if choices:
                    return [value for one in choices for value in self._fold(one, scope)]
        raise Unknown

    def _looped(self, iterable: ast.expr, scope: Scope, path: tuple[int, ...]) -> list[Any]:
        if not path:
            for thing in self._resolver.things(iterable, scope):
                if isinstance(thing, Class) and self._resolver.classes.enum(thing.scope):
                    return list(self._members(thing.scope))
        places = self.containers.looped(Placed(iterable, scope), path)
        return [value for one in places for value in self._fold(one.node, one.scope)]

    def _attribute(self, node: ast.Attribute, scope: Scope) -> list[Any]:
        if node.attr in ("value", "name"):
            members = self._maybe(node.value, scope)
            if members and all(isinstance(one, Member) for one in members):
                return [getattr(one, node.attr) for one in members]
        values: list[Any] = []
        for thing in self._resolver.things(node.value, scope):
            if isinstance(thing, Class) and self._resolver.classes.enum(thing.scope):
                values += [self._member(thing.scope, node.attr)]
            elif isinstance(thing, External) and thing.names == ("ldclient", "Stage"):
                values.append(node.attr.lower())
            else:
                return self._bound(self._sources.of(node, scope))
        if not values:
            raise Unknown
        return values

    def _maybe(self, node: ast.expr, scope: Scope) -> list[Any]:
        try:
            return self._fold(node, scope)
        except Unknown:
            return []

    def _members(self, scope: Scope) -> Iterator[Member]:
        for name, bindings in scope.bindings.items():
            if isinstance(bindings[0], Assigned) and not name.startswith("_"):
                yield self._member(scope, name)

    def _member(self, scope: Scope, name: str) -> Member:
        classes = self._resolver.classes
        match scope.bindings.get(name):
            case [Assigned(ast.Call(func), _, ())] if _is_auto(func):
                if classes.enum(scope) != "StrEnum":
                    raise Unknown
                return Member(name, name.lower(), name.lower())
            case [Assigned(value, inner, ())]:
                (found, *more) = self._fold(value, inner)
                if more:
                    raise Unknown
                if classes.enum(scope) == "TextChoices" and isinstance(found, list):
                    found = found[0]
                is_text = classes.is_text(scope)
                return Member(name, found, found if is_text else None)
        raise Unknown

    # Texts

    def _joined(self, node: ast.JoinedStr, scope: Scope) -> list[str]:
        parts: list[list[str]] = []
        for one in node.values:
            if isinstance(one, ast.FormattedValue):
                if one.format_spec is not None or one.conversion not in (-1, ord("s")):
                    raise Unknown
                parts.append([_text(value) for value in self._fold(one.value, scope)])
            else:
                parts.append([_text(value) for value in self._fold(one, scope)])
        return _joined(parts)

    def _sum(self, node: ast.BinOp, scope: Scope) -> list[Any]:
        parts: list[ast.expr] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp) and isinstance(left.op, ast.Add):
            parts.append(left.right)
            left = left.left
        if not parts:
            raise Unknown
        values = [self._fold(one, scope) for one in (left, *reversed(parts))]
        flat = [plain(one) for many in values for one in many]
        if not all(isinstance(one, str) for one in flat):
            raise Unknown
        return _joined([[str(plain(one)) for one in many] for many in values])

    def _unary(self, node: ast.UnaryOp, scope: Scope) -> list[Any]:
        values = [plain(value) for value in self._fold(node.operand, scope)]
        if isinstance(node.op, ast.Not):
            return [not value for value in values]
        numbers = [one for one in values if isinstance(one, int | float)]
        if isinstance(node.op, ast.USub) and len(numbers) == len(values):
            return [-value for value in numbers]
        raise Unknown

    def _either(self, node: ast.IfExp, scope: Scope) -> list[Any]:
        return [*self._fold(node.body, scope), *self._fold(node.orelse, scope)]

    def _bool(self, node: ast.BoolOp, scope: Scope) -> list[Any]:
        """All that can come out: ``or`` goes on after what is falsy, ``and`` after what is not."""
        goes_on = isinstance(node.op, ast.And)
        values: list[Any] = []
        for part in node.values:
            found = self._fold(part, scope)
            last = part is node.values[-1]
            values += [one for one in found if last or bool(plain(one)) is not goes_on]
            if not last and not any(bool(plain(one)) is goes_on for one in found):
                break
        return values

    # Containers

    def _subscript(self, node: ast.Subscript, scope: Scope) -> list[Any]:
        return self._looked_up(Placed(node.value, scope), Placed(node.slice, scope))

    def _looked_up(self, container: Placed, at: Placed) -> list[Any]:
        """Return what stands in a literal at an index, or everything in it where that's unknown."""
        wanted = [plain(one) for one in self._maybe(at.node, at.scope)]
        whole = self.containers.literal(container)
        pairs: list[tuple[Any, Placed]]
        if isinstance(whole.node, ast.Dict | ast.BinOp):
            pairs = [
                (plain(key), value)
                for place, value in self.containers.items(whole)
                for key in self._fold(place.node, place.scope)
            ]
        else:
            pairs = list(enumerate(self.containers.elements(whole)))
            wanted = [one + len(pairs) if _negative(one) else one for one in wanted]
        found = [
            value
            for key, place in pairs
            if not wanted or any(same_value(key, one) for one in wanted)
            for value in self._fold(place.node, place.scope)
        ]
        if not found:
            raise Unknown
        return found

    def _call(self, node: ast.Call, scope: Scope) -> list[Any]:
        match node:
            case ast.Call(ast.Name("str"), [one], []):
                return [_text(value) for value in self._fold(one, scope)]
            case ast.Call(ast.Attribute(value, "get"), [at], []):
                return [*self._looked_up(Placed(value, scope), Placed(at, scope)), None]
            case ast.Call(ast.Attribute(value, "get"), [at, default], []):
                found = self._looked_up(Placed(value, scope), Placed(at, scope))
                return [*found, *self._fold(default, scope)]
            case ast.Call(ast.Attribute(value, name), arguments, []) if name in _TEXT_METHODS:
                given = [self._fold(one, scope) for one in arguments]
                texts = [plain(one) for one in self._fold(value, scope)]
                if all(isinstance(one, str) for one in texts):
                    return [_called(text, name, given) for text in texts]
        raise Unknown

    def _list(self, node: ast.List | ast.Tuple, scope: Scope) -> list[Any]:
        places = self.containers.elements(Placed(node, scope))
        return [[self._single(one) for one in places]]

    def _dict(self, node: ast.Dict, scope: Scope) -> list[Any]:
        pairs = self.containers.items(Placed(node, scope))
        found = {}
        for key, value in pairs:
            name = self._single(key)
            if not isinstance(name, str | int | float | bool | None):
                raise Unknown
            found[name] = self._single(value)
        return [found]

    def _single(self, place: Placed) -> Any:
        values = self._fold(place.node, place.scope)
        if len(values) != 1:
            raise Unknown
        return plain(values[0])


def plain(value: Any) -> Any:
    """Return the value of a member of an enumeration; any other as it is."""
    return plain(value.value) if isinstance(value, Member) else value


def _text(value: Any) -> str:
    if isinstance(value, Member):
        if value.text is None:
            raise Unknown
        return value.text
    if isinstance(value, str | int):
        return str(value)
    raise Unknown


def _joined(parts: list[list[str]]) -> list[str]:
    count = length = 1
    for one in parts:
        count *= len(one)
        length += max(map(len, one), default=0)
    if count > _MOST or length > _LONGEST:
        raise Unknown
    return ["".join(one) for one in product(*parts)]


def _called(text: str, method: str, given: list[list[Any]]) -> Any:
    arguments = [plain(values[0]) for values in given]
    if any(len(values) != 1 for values in given) or len(arguments) > 1:
        raise Unknown
    if not all(isinstance(one, str) for one in arguments):
        raise Unknown
    return getattr(text, method)(*arguments)


def _is_auto(func: ast.expr) -> bool:
    return getattr(func, "attr", getattr(func, "id", "")) == "auto"


def _negative(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value < 0


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    texts: set[str] = set()
    for value in values:
        if isinstance(value, str):
            if value in texts:
                continue
            texts.add(value)
        elif any(_is_same(value, one) for one in found):
            continue
        found.append(value)
        if len(found) > _MOST:
            raise Unknown
    return found


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Member) or isinstance(other, Member):
        return one is other or (type(one) is type(other) and bool(one == other))
    return type(one) is type(other) and same_value(one, other)
