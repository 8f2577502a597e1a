"""Follow names to what they are: through imports, assignments, annotations, calls and classes."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from downhaul.migrate.code.annotations import last_name, named_types
from downhaul.migrate.code.classes import Classes
from downhaul.migrate.code.project import Project
from downhaul.migrate.code.scopes import (
    Annotated,
    Assigned,
    Binding,
    Defined,
    Element,
    Entered,
    Imported,
    Module,
    Parameter,
    Scope,
)
from downhaul.migrate.code.sdks import KINDS, MAKERS, ROOTS
from downhaul.migrate.code.things import (
    Asked,
    Class,
    External,
    Function,
    Instance,
    Maker,
    Thing,
    Type,
    of_an_sdk,
)

_DEEP: Final = 80  # expressions in one another; deeper ones are not followed

_SAME: Final = frozenset(
    {"contextlib.closing", "contextlib.aclosing", "copy.copy", "asyncio.run", "asyncio.wait_for"}
)
"""Functions that return, or hand over, what their first argument is."""

_PROPERTIES: Final = frozenset({"property", "cached_property", "classproperty"})

Things = tuple[Thing, ...]


class Resolver:
    """Says what expressions are. What it can't follow is nothing; what it says was followed."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._known: dict[object, Things] = {}
        self._open: set[object] = set()
        self._cuts = 0
        self.classes = Classes(project, self)
        self._visitors: dict[type[ast.expr], Callable[[Any, Scope], Iterable[Thing]]] = {
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Call: self._call,
            ast.Await: lambda node, scope: self.things(node.value, scope),
            ast.NamedExpr: lambda node, scope: self.things(node.value, scope),
            ast.IfExp: lambda node, scope: self._any((node.body, node.orelse), scope),
            ast.BoolOp: lambda node, scope: self._any(node.values, scope),
            ast.Subscript: lambda node, scope: (Type(node, scope),),
            ast.BinOp: lambda node, scope: (Type(node, scope),),
        }

    def things(self, node: ast.expr, scope: Scope) -> Things:
        """Return what an expression can be."""
        visitor = self._visitors.get(type(node))
        return () if visitor is None else self._once(node, lambda: visitor(node, scope))

    def binding(self, binding: Binding) -> Things:
        """Return what a name with this binding can be."""
        return self._once(binding, lambda: self._follow(binding))

    def _once(self, subject: object, find: Callable[[], Iterable[Thing]]) -> Things:
        """Remember what was found, unless a circle kept it from being all."""
        if subject in self._known:
            return self._known[subject]
        if subject in self._open or len(self._open) > _DEEP:
            self._cuts += 1
            return ()
        cuts = self._cuts
        self._open.add(subject)
        try:
            found = tuple(dict.fromkeys(find()))
        finally:
            self._open.discard(subject)
        if cuts == self._cuts or not self._open:
            self._known[subject] = found
        return found

    def _any(self, nodes: Iterable[ast.expr], scope: Scope) -> Iterator[Thing]:
        for node in nodes:
            yield from self.things(node, scope)

    def _name(self, node: ast.Name, scope: Scope) -> Iterator[Thing]:
        bindings = scope.find(node.id)
        for binding in bindings:
            yield from self.binding(binding)
        if not bindings:
            yield from self._starred(scope.module, node.id)

    def _starred(self, module: Module, name: str) -> Iterator[Thing]:
        """Look for a name that nothing here binds in what ``import *`` brings."""
        may_be: list[Thing] = []
        for star in module.stars:
            dotted = f"{star.dotted}.{name}".strip(".")
            for one in self._imported(Imported(dotted, star.level, star.scope)):
                if not isinstance(one, External) or of_an_sdk(one.dotted):
                    yield one
                    return
                may_be += [one] if one.names[0] in ROOTS else []
        yield from may_be

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Iterator[Thing]:
        for thing in self.things(node.value, scope):
            yield from self.member(thing, node.attr)

    # Bindings

    def _follow(self, binding: Binding) -> Iterable[Thing]:
        found: Iterable[Thing] = ()
        match binding:
            case Imported():
                found = self._imported(binding)
            case Assigned(value, scope, path):
                part = part_of(value, path)
                found = () if part is None else self.things(part, scope)
            case Annotated(annotation, value, scope):
                declared = self.annotation(annotation, scope)
                found = declared or (() if value is None else self.things(value, scope))
            case Parameter():
                found = self._parameter(binding)
            case Entered(value, scope):
                found = self.things(value, scope)
            case Element(iterable, scope, path):
                found = self._elements(iterable, scope, path)
            case Defined(scope):
                found = (Class(scope) if scope.is_class else Function(scope),)
        return found

    def _parameter(self, parameter: Parameter) -> Things:
        owner = parameter.scope.owner
        if parameter.receiver and owner is not None:
            by_class = parameter.receiver == "class"
            return (Class(owner, exact=False) if by_class else Instance(owner),)
        if parameter.annotation is not None:
            return self.annotation(parameter.annotation, parameter.scope)
        default = parameter.default
        return () if default is None else self.things(default, parameter.scope)

    def _elements(self, iterable: ast.expr, scope: Scope, path: tuple[int, ...]) -> Iterator[Thing]:
        if isinstance(iterable, ast.Tuple | ast.List | ast.Set):
            for element in iterable.elts:
                part = part_of(element, path)
                if part is not None:
                    yield from self.things(part, scope)

    def _imported(self, binding: Imported) -> Things:
        origin = binding.scope.module.path
        if binding.level:
            found = self.project.relative(binding.dotted, binding.level, origin)
            return () if found is None else self._inside(*found)
        return self.dotted(binding.dotted, origin)

    def dotted(self, dotted: str, origin: str) -> Things:
        """Return what a dotted name means to the file ``origin``."""
        if of_an_sdk(dotted):
            return (External(dotted, origin),)
        found = self.project.find(dotted, origin)
        return (External(dotted, origin),) if found is None else self._inside(*found)

    def _inside(self, module: Module, names: tuple[str, ...]) -> Things:
        found: Things = (module,)
        for name in names:
            found = tuple(inner for thing in found for inner in self.member(thing, name))
        return found

    # Attributes

    def member(self, thing: Thing, name: str) -> Things:
        """Return what an attribute of a thing can be."""
        match thing:
            case Module():
                return self._of_module(thing, name)
            case External():
                return self._of_external(thing, name)
            case Class(scope):
                return tuple(self._of_class(thing, scope, name))
            case Instance(str(kind)):
                return of_kind(kind, name, on_class=False)
            case Instance(Scope() as scope):
                return tuple(self._of_class(thing, scope, name))
            case _:
                return ()

    def _of_module(self, module: Module, name: str) -> Things:
        return self._once((module, name), lambda: self._in_module(module, name))

    def _in_module(self, module: Module, name: str) -> Things:
        dotted = f"{self.project.dotted(module)}.{name}"
        if of_an_sdk(dotted):
            return (External(dotted, module.path),)  # the SDK itself is among what is scanned
        bindings = module.scope.bindings.get(name)
        if bindings is not None:
            return tuple(found for binding in bindings for found in self.binding(binding))
        inner = self.project.submodule(module, name)
        return tuple(self._starred(module, name)) if inner is None else (inner,)

    def _of_external(self, thing: External, name: str) -> Things:
        if thing.kind is not None:
            return of_kind(thing.kind, name, on_class=True)
        return self.dotted(f"{thing.dotted}.{name}", thing.origin)

    def _of_class(self, thing: Class | Instance, scope: Scope, name: str) -> Iterator[Thing]:
        on_class = isinstance(thing, Class)
        for binding in self.classes.bindings(scope, name, exact=thing.exact):
            for found in self.binding(binding):
                if isinstance(found, Function) and not on_class and _is_property(found.scope):
                    yield from self.returned(found.scope)
                else:
                    yield found
        if self.classes.bindings(scope, name, exact=True):
            return  # whatever the SDK has of this name is overridden
        for base in self.classes.ancestry(scope):
            if isinstance(base, External) and base.kind is not None:
                yield from of_kind(base.kind, name, on_class=on_class)

    # Calls

    def _call(self, node: ast.Call, scope: Scope) -> Iterator[Thing]:
        if isinstance(node.func, ast.Name) and node.func.id == "super":
            yield from self._super(scope)
            return
        for thing in self.things(node.func, scope):
            match thing:
                case Class(inner):
                    yield Instance(inner, exact=True)
                case Function(inner):
                    yield from self.returned(inner)
                case Maker(kind):
                    yield Instance(kind)
                case External():
                    yield from self._external_call(thing, node, scope)

    def _super(self, scope: Scope) -> Iterator[Thing]:
        method = scope.method()
        if method is not None and method.owner is not None:
            for base in self.classes.bases(method.owner):
                if isinstance(base, External):
                    yield from () if base.kind is None else (Instance(base.kind),)
                else:
                    yield Instance(base, exact=True)

    def _external_call(self, thing: External, node: ast.Call, scope: Scope) -> Things:
        kind = thing.kind or MAKERS.get(thing.names)
        if kind is not None:
            return (Instance(kind),)
        if thing.dotted == "typing.cast" and node.args:
            return self.annotation(node.args[0], scope)
        if thing.dotted in _SAME and node.args:
            return self.things(node.args[0], scope)
        return ()

    def returned(self, function: Scope) -> Things:
        """Return what a call of a scanned function can be."""
        return self._once(("returned", function), lambda: self._returned(function))

    def _returned(self, function: Scope) -> Iterable[Thing]:
        annotation = getattr(function.node, "returns", None)
        if annotation is not None and function.parent is not None:
            declared = self.annotation(annotation, function.parent)
            if declared:
                return declared
        return self._any(function.returns, function)

    def annotation(self, node: ast.expr, scope: Scope) -> Things:
        """Return the objects that an annotation allows, as far as they are known."""
        return self._once(("annotation", node), lambda: self._annotation(node, scope))

    def _annotation(self, node: ast.expr, scope: Scope) -> Things:
        found: list[Thing] = []
        for one in named_types(node):
            if isinstance(one, ast.Name) and one.id == "Self":
                method = scope if scope.is_class else scope.method()
                owner = None if method is None else method if method.is_class else method.owner
                found += [Instance(owner)] if owner is not None else []
                continue
            for thing in self.things(one, scope):
                if isinstance(thing, Class):
                    found.append(Instance(thing.scope))
                elif isinstance(thing, External) and thing.kind is not None:
                    found.append(Instance(thing.kind))
                elif isinstance(thing, Type):
                    found += self.annotation(thing.node, thing.scope)
        return tuple(found)


def of_kind(kind: str, name: str, *, on_class: bool) -> Things:
    """Return an attribute of a class of an SDK, or of an object of it."""
    known = KINDS[kind]
    if name in known.verbs:
        verb = known.verbs[name]
        return (Asked(verb, int(on_class and not verb.static)),)
    made = known.makes.get(name)
    if made is None:
        return ()
    return (Instance(made),) if name == "objects" else (Maker(made),)


def part_of(node: ast.expr, path: tuple[int, ...]) -> ast.expr | None:
    """Return the expression that unpacking takes from a literal; None where it is no literal."""
    for number in path:
        if not isinstance(node, ast.Tuple | ast.List) or not 0 <= number < len(node.elts):
            return None
        if any(isinstance(one, ast.Starred) for one in node.elts):
            return None
        node = node.elts[number]
    return node


def _is_property(function: Scope) -> bool:
    decorators = getattr(function.node, "decorator_list", ())
    return any(last_name(one) in _PROPERTIES for one in decorators)
