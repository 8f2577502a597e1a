"""Go through a module's tree once, without recursion, and note scopes, bindings and calls."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, Final

from downhaul.migrate.code.annotations import last_name
from downhaul.migrate.code.scopes import (
    OPAQUE,
    Annotated,
    Assigned,
    Binding,
    Defined,
    Element,
    Entered,
    FunctionNode,
    Imported,
    Loose,
    Module,
    Opaque,
    Parameter,
    Scope,
)

_CHANGES: Final = frozenset(
    {"append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"}
    | {"add", "discard", "update", "setdefault", "popitem", "__setitem__"}
)

_LEAVES: Final[frozenset[type[ast.AST]]] = frozenset(
    {ast.Name, ast.Constant, ast.Pass, ast.Break, ast.Continue, ast.alias, ast.arg}
    | {ast.Load, ast.Store, ast.Del, ast.And, ast.Or, ast.Not, ast.USub, ast.UAdd, ast.Invert}
    | {*ast.operator.__subclasses__(), *ast.cmpop.__subclasses__()}
)
"""Nodes that hold nothing to go through: most of any tree."""

_Step = tuple[ast.AST, Scope]


def index(path: str, tree: ast.Module, lines: list[str], names: AbstractSet[str]) -> Module:
    """Return the module with all that stands in it; ``names`` are those of verbs and aliases."""
    module = Module(path, lines)
    module.scope = Scope(module, None, tree)
    _Indexer(module, names).run(tree)
    return module


class _Indexer:
    def __init__(self, module: Module, names: AbstractSet[str]) -> None:
        self._module = module
        self._names = names
        self._loose: list[Loose] = []
        self._changed: list[tuple[ast.expr, Scope]] = []
        self._visitors: dict[type[ast.AST], Callable[[Any, Scope], Iterable[_Step] | None]] = {
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.Lambda: self._lambda,
            ast.ClassDef: self._class,
            ast.ListComp: self._comprehension,
            ast.SetComp: self._comprehension,
            ast.DictComp: self._comprehension,
            ast.GeneratorExp: self._comprehension,
            ast.Assign: self._assign,
            ast.AnnAssign: self._annotated,
            ast.AugAssign: self._augmented,
            ast.NamedExpr: self._walrus,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.withitem: self._with,
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
            ast.Global: self._global,
            ast.Nonlocal: self._nonlocal,
            ast.ExceptHandler: self._opaque_name,
            ast.MatchAs: self._opaque_name,
            ast.MatchStar: self._opaque_name,
            ast.MatchMapping: self._match_mapping,
            ast.Return: self._returned,
            ast.Yield: self._returned,
            ast.Call: self._call,
            ast.Dict: self._container,
            ast.List: self._container,
            ast.Tuple: self._container,
            ast.Set: self._container,
        }
        if sys.version_info >= (3, 12):
            self._visitors[ast.TypeAlias] = self._type_alias

    def run(self, tree: ast.Module) -> None:
        stack: list[_Step] = [(tree, self._module.scope)]
        while stack:
            node, scope = stack.pop()
            visitor = self._visitors.get(type(node))
            steps = None if visitor is None else visitor(node, scope)
            if steps is None:
                stack.extend([(child, scope) for child in _children_backwards(node)])
            else:
                stack.extend(reversed(list(steps)))
        for target, scope in self._changed:
            self._change(target, scope)
        module = self._module
        module.loose = [one for one in self._loose if self._may_be_verb(one.value, one.scope)]
        module.calls = [one for one in module.calls if self._may_be_verb(one[0].func, one[1])]

    def _may_be_verb(self, value: ast.expr, scope: Scope) -> bool:
        if last_name(value) in self._names:
            return True
        if not isinstance(value, ast.Name):
            return False
        for one in scope.find(value.id):
            source = last_name(one.value) if isinstance(one, Assigned) else ""
            if isinstance(one, Imported):
                source = one.dotted.rpartition(".")[2]
            if source in self._names:
                return True
        return False

    # Scopes. Each returns what to go through next, and in which scope.

    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope
    ) -> Iterator[_Step]:
        inner = Scope(self._module, scope, node, _qualified(scope, node.name))
        scope.bind(node.name, Defined(inner))
        if scope.is_class:
            self._receive(node, inner)
        yield from ((one, scope) for one in node.decorator_list)
        yield from self._parameters(node, inner, scope)
        if node.returns is not None:
            yield node.returns, scope
        yield from ((one, inner) for one in node.body)
        inner.ends_in_return = isinstance(node.body[-1], ast.Return)
        node.body = []  # what matters of it is noted by then, and trees are large

    @staticmethod
    def _receive(node: ast.FunctionDef | ast.AsyncFunctionDef, inner: Scope) -> None:
        names = {one.id for one in node.decorator_list if isinstance(one, ast.Name)}
        positional = [*node.args.posonlyargs, *node.args.args]
        if positional and "staticmethod" not in names:
            inner.receiver = positional[0].arg
            by_class = "classmethod" in names or node.name in ("__new__", "__init_subclass__")
            sort = "class" if by_class else "instance"
            inner.bind(inner.receiver, Parameter(inner.receiver, None, None, inner, sort))

    def _lambda(self, node: ast.Lambda, scope: Scope) -> Iterator[_Step]:
        inner = Scope(self._module, scope, node, _qualified(scope, "<lambda>"))
        inner.returns.append(node.body)
        yield from self._parameters(node, inner, scope)
        yield node.body, inner

    def _parameters(self, node: FunctionNode, inner: Scope, outer: Scope) -> Iterator[_Step]:
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
        named = [
            *zip(positional, [*defaults, *arguments.defaults], strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        for one, default in named:
            if one.arg != inner.receiver:
                inner.bind(one.arg, Parameter(one.arg, one.annotation, default, outer))
            if one.annotation is not None:
                yield one.annotation, outer
            if default is not None:
                self._note_loose([default], outer)
                yield default, outer
        for rest in (arguments.vararg, arguments.kwarg):
            if rest is not None:
                inner.bind(rest.arg, OPAQUE)

    def _class(self, node: ast.ClassDef, scope: Scope) -> Iterator[_Step]:
        inner = Scope(self._module, scope, node, _qualified(scope, node.name))
        scope.bind(node.name, Defined(inner))
        self._module.classes.append(inner)
        yield from ((one, scope) for one in node.decorator_list)
        yield from ((one, scope) for one in node.bases)
        yield from ((one.value, scope) for one in node.keywords)
        yield from ((one, inner) for one in node.body)
        node.body = []

    def _comprehension(self, node: ast.expr, scope: Scope) -> Iterator[_Step]:
        inner = Scope(self._module, scope, node, scope.qualname)
        generators: list[ast.comprehension] = node.generators  # type: ignore[attr-defined]
        around = scope
        for one in generators:
            self._bind(one.target, inner, partial(Element, one.iter, around))
            yield one.iter, around
            around = inner
            yield from ((condition, inner) for condition in one.ifs)
        for name in ("key", "value", "elt"):
            part = getattr(node, name, None)
            if part is not None:
                yield part, inner

    # Bindings. They return nothing: all children are gone through in the same scope.

    def _bind(
        self, target: ast.expr, scope: Scope, make: Callable[[tuple[int, ...]], Binding]
    ) -> None:
        waiting: list[tuple[ast.expr, tuple[int, ...]]] = [(target, ())]
        while waiting:
            one, path = waiting.pop(0)
            if isinstance(one, ast.Name):
                scope.bind(one.id, make(path))
            elif isinstance(one, ast.Attribute):
                self._bind_attribute(one, scope, make(path))
            elif isinstance(one, ast.Subscript):
                self._changed.append((one.value, scope))
            elif isinstance(one, ast.Starred):
                waiting.append((one.value, path))
            elif isinstance(one, ast.Tuple | ast.List):
                starred = any(isinstance(part, ast.Starred) for part in one.elts)
                for number, part in enumerate(one.elts):
                    waiting.append((part, (*path, -1 if starred else number)))

    @staticmethod
    def _bind_attribute(target: ast.Attribute, scope: Scope, binding: Binding) -> None:
        method = scope.method()
        owner = None if method is None else method.owner
        if owner is None or method is None or not isinstance(target.value, ast.Name):
            return
        if target.value.id == method.receiver:
            owner.attributes.setdefault(target.attr, []).append(binding)

    def _assign(self, node: ast.Assign, scope: Scope) -> None:
        if last_name(node.value) in self._names:
            for target in node.targets:
                if isinstance(target, ast.Attribute) or not isinstance(scope.node, FunctionNode):
                    renamed = (last_name(target), Assigned(node.value, scope))
                    self._module.renamed.append(renamed)
        for target in node.targets:
            self._bind(target, scope, lambda path: Assigned(node.value, scope, path))

    def _type_alias(self, node: Any, scope: Scope) -> None:
        """``type Asked = Flags | None`` (Python 3.12)."""
        self._bind(node.name, scope, lambda path: Assigned(node.value, scope, path))

    def _annotated(self, node: ast.AnnAssign, scope: Scope) -> None:
        self._bind(node.target, scope, lambda _: Annotated(node.annotation, node.value, scope))

    def _augmented(self, node: ast.AugAssign, scope: Scope) -> None:
        self._bind(node.target, scope, lambda _: OPAQUE)

    def _walrus(self, node: ast.NamedExpr, scope: Scope) -> None:
        home = scope
        while home.is_comprehension and home.parent is not None:
            home = home.parent
        self._bind(node.target, home, lambda path: Assigned(node.value, scope, path))

    def _for(self, node: ast.For | ast.AsyncFor, scope: Scope) -> None:
        self._bind(node.target, scope, lambda path: Element(node.iter, scope, path))

    def _with(self, node: ast.withitem, scope: Scope) -> None:
        if node.optional_vars is not None:
            value = node.context_expr
            self._bind(
                node.optional_vars, scope, lambda path: OPAQUE if path else Entered(value, scope)
            )

    def _opaque_name(
        self, node: ast.ExceptHandler | ast.MatchAs | ast.MatchStar, scope: Scope
    ) -> None:
        if node.name is not None:
            scope.bind(node.name, OPAQUE)

    def _match_mapping(self, node: ast.MatchMapping, scope: Scope) -> None:
        if node.rest is not None:
            scope.bind(node.rest, OPAQUE)

    def _import(self, node: ast.Import, scope: Scope) -> None:
        for alias in node.names:
            root = alias.name.partition(".")[0]
            self._module.roots.add(root)
            if alias.asname is not None:
                scope.bind(alias.asname, Imported(alias.name, 0, scope))
            else:
                scope.bind(root, Imported(root, 0, scope))

    def _import_from(self, node: ast.ImportFrom, scope: Scope) -> None:
        origin = node.module or ""
        if not node.level:
            self._module.roots.add(origin.partition(".")[0])
        for alias in node.names:
            if alias.name == "*":
                self._module.stars.append(Imported(origin, node.level, scope))
            else:
                dotted = f"{origin}.{alias.name}" if origin else alias.name
                imported = Imported(dotted, node.level, scope)
                scope.bind(alias.asname or alias.name, imported)
                if alias.asname is not None and alias.name in self._names:
                    self._module.renamed.append((alias.asname, imported))

    def _global(self, node: ast.Global, scope: Scope) -> None:
        scope.elsewhere.update(dict.fromkeys(node.names, self._module.scope))

    @staticmethod
    def _nonlocal(node: ast.Nonlocal, scope: Scope) -> None:
        for name in node.names:
            around = scope.parent
            while around is not None and (around.is_class or name not in around.bindings):
                around = around.parent
            if around is not None:
                scope.elsewhere[name] = around

    # Values that are passed on, and containers that are changed

    def _returned(self, node: ast.Return | ast.Yield, scope: Scope) -> None:
        while scope.is_comprehension and scope.parent is not None:
            scope = scope.parent
        if node.value is not None:
            scope.returns.append(node.value)
            self._note_loose([node.value], scope)

    def _call(self, node: ast.Call, scope: Scope) -> None:
        if isinstance(node.func, ast.Name) or last_name(node.func) in self._names:
            self._module.calls.append((node, scope))
        for number, value in enumerate(node.args):
            if isinstance(value, ast.Name) or last_name(value) in self._names:
                self._loose.append(Loose(value, scope, node, number))
        self._note_loose([one.value for one in node.keywords], scope)
        if isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
            self._changed.append((node.func.value, scope))

    def _container(self, node: ast.Dict | ast.List | ast.Tuple | ast.Set, scope: Scope) -> None:
        if not isinstance(getattr(node, "ctx", None), ast.Store):
            self._note_loose(node.values if isinstance(node, ast.Dict) else node.elts, scope)

    def _note_loose(self, values: Iterable[ast.expr], scope: Scope) -> None:
        for value in values:
            if isinstance(value, ast.Name) or last_name(value) in self._names:
                self._loose.append(Loose(value, scope))

    def _change(self, target: ast.expr, scope: Scope) -> None:
        """What was changed in place is no constant."""
        if isinstance(target, ast.Name):
            bindings = scope.find(target.id)
            if bindings and not isinstance(bindings[-1], Opaque):
                bindings.append(OPAQUE)
        elif isinstance(target, ast.Attribute):
            self._bind_attribute(target, scope, OPAQUE)


def _children_backwards(node: ast.AST) -> list[ast.AST]:
    """Return the children that can hold more, the last one first: as the standard's, and faster."""
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [one for one in value if isinstance(one, ast.AST) and type(one) not in _LEAVES]
        elif isinstance(value, ast.AST) and type(value) not in _LEAVES:
            found.append(value)
    found.reverse()
    return found


def _qualified(scope: Scope, name: str) -> str:
    around = scope
    while around.is_comprehension and around.parent is not None:
        around = around.parent
    if not around.qualname:
        return name
    inside = "" if around.is_class else "<locals>."
    return f"{around.qualname}.{inside}{name}"
