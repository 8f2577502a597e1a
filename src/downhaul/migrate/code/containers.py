"""Literal lists, sets and mappings: the expressions in them, through names and the usual calls."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Final

from downhaul.migrate.code.annotations import last_name
from downhaul.migrate.code.resolving import Resolver, part_of
from downhaul.migrate.code.scopes import Annotated, Assigned, Scope
from downhaul.migrate.code.sources import Sources

_COPIES: Final = frozenset(
    {"tuple", "list", "set", "frozenset", "sorted", "reversed", "iter", "dict", "MappingProxyType"}
)
_MOST: Final = 2_000  # elements of one literal; of more, nothing is said
_DEEP: Final = 20


class Unknown(Exception):
    """What this is can't be told without running the code."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An expression, and the scope that its names belong to."""

    node: ast.expr
    scope: Scope


class Containers:
    """Opens containers up. Raises Unknown."""

    def __init__(self, resolver: Resolver, sources: Sources) -> None:
        self._resolver = resolver
        self._sources = sources

    def literal(self, placed: Placed, deep: int = 0) -> Placed:
        """Follow names to the literal they stand for, if nothing ever changes it."""
        node, scope = placed.node, placed.scope
        if deep > _DEEP:
            raise Unknown
        if isinstance(node, ast.Call) and _copies(node):
            return self.literal(Placed(node.args[0], scope), deep + 1)
        if not isinstance(node, ast.Name | ast.Attribute):
            return placed
        match self._sources.of(node, scope):
            case [Assigned(value, inner, path)]:
                part = part_of(value, path)
                if part is not None:
                    return self.literal(Placed(part, inner), deep + 1)
            case [Annotated(_, ast.expr() as value, inner)]:
                return self.literal(Placed(value, inner), deep + 1)
        raise Unknown

    def elements(self, placed: Placed, deep: int = 0) -> list[Placed]:
        """Return the elements of a list, tuple or set, the keys of a mapping, what a loop takes."""
        if deep > _DEEP:
            raise Unknown
        node = placed.node
        match node:
            case ast.Call(ast.Attribute(mapping, "keys" | "values" as half), [], []):
                items = self.items(Placed(mapping, placed.scope), deep + 1)
                return [value if half == "values" else key for key, value in items]
        found = self.literal(placed)
        match found.node:
            case ast.Tuple(elts) | ast.List(elts) | ast.Set(elts):
                return self._spread(elts, found.scope, deep)
            case ast.Dict():
                return [key for key, _ in self.items(found, deep + 1)]
            case ast.BinOp(left, ast.Add(), right):
                return self._spread([ast.Starred(left), ast.Starred(right)], found.scope, deep)
        raise Unknown

    def _spread(self, nodes: list[ast.expr], scope: Scope, deep: int) -> list[Placed]:
        found: list[Placed] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                found += self.elements(Placed(node.value, scope), deep + 1)
            else:
                found.append(Placed(node, scope))
            if len(found) > _MOST:
                raise Unknown
        return found

    def items(self, placed: Placed, deep: int = 0) -> list[tuple[Placed, Placed]]:
        """Return the keys and values of a mapping."""
        if deep > _DEEP:
            raise Unknown
        found = self.literal(placed)
        node, scope = found.node, found.scope
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            halves = (node.left, node.right)
            return [one for half in halves for one in self.items(Placed(half, scope), deep + 1)]
        if not isinstance(node, ast.Dict) or len(node.keys) > _MOST:
            raise Unknown
        pairs: list[tuple[Placed, Placed]] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                pairs += self.items(Placed(value, scope), deep + 1)
            else:
                pairs.append((Placed(key, scope), Placed(value, scope)))
        return pairs

    def looped(self, placed: Placed, path: tuple[int, ...]) -> list[Placed]:
        """Return what a loop over an expression binds a name to, that unpacking finds at a path."""
        node, scope = placed.node, placed.scope
        if isinstance(node, ast.Call):
            name = last_name(node.func)
            if name == "enumerate" and node.args:
                if path[:1] != (1,):
                    raise Unknown  # the number
                return self.looped(Placed(node.args[0], scope), path[1:])
            if name == "zip" and path and 0 <= path[0] < len(node.args):
                return self.looped(Placed(node.args[path[0]], scope), path[1:])
            if (
                name == "items"
                and isinstance(node.func, ast.Attribute)
                and path[:1] in ((0,), (1,))
            ):
                pairs = self.items(Placed(node.func.value, scope))
                return self._parts([pair[path[0]] for pair in pairs], path[1:])
        return self._parts(self.elements(placed), path)

    def _parts(self, placed: list[Placed], path: tuple[int, ...]) -> list[Placed]:
        if not path:
            return placed
        found = []
        for one in placed:
            whole = self.literal(one)
            part = part_of(whole.node, path)
            if part is None:
                raise Unknown
            found.append(Placed(part, whole.scope))
        return found


def _copies(call: ast.Call) -> bool:
    return last_name(call.func) in _COPIES and len(call.args) == 1 and not call.keywords
