"""How a name or an attribute comes by its value, followed through imports to where it is bound."""

from __future__ import annotations

import ast

from downhaul.migrate.code.annotations import is_constant
from downhaul.migrate.code.project import Project
from downhaul.migrate.code.resolving import Resolver
from downhaul.migrate.code.scopes import OPAQUE, Annotated, Binding, Imported, Module, Scope
from downhaul.migrate.code.things import Class, Instance


class Sources:
    """Finds bindings; OPAQUE stands for those outside of the scanned code."""

    def __init__(self, project: Project, resolver: Resolver) -> None:
        self._project = project
        self._resolver = resolver
        self._open: set[tuple[Module, str]] = set()

    def of(self, node: ast.Name | ast.Attribute, scope: Scope) -> list[Binding]:
        """Return all bindings of a name or an attribute; none where nothing is known of it."""
        if isinstance(node, ast.Name):
            found = scope.find(node.id)
            return self._followed(found) if found else self._starred(scope.module, node.id)
        bindings: list[Binding] = []
        for thing in self._resolver.things(node.value, scope):
            match thing:
                case Module():
                    bindings += self._in_module(thing, node.attr)
                case Class(inner, exact) | Instance(Scope() as inner, exact):
                    own = self._resolver.classes.bindings(inner, node.attr, exact=exact)
                    if isinstance(thing, Instance):
                        own = [OPAQUE if self._is_field(one) else one for one in own]
                    bindings += self._followed(own)
                case _:
                    bindings.append(OPAQUE)
        return list(dict.fromkeys(bindings))

    def _is_field(self, binding: Binding) -> bool:
        """Whether each object has a value of its own, which its maker gives."""
        return (
            isinstance(binding, Annotated)
            and binding.scope.is_class
            and not is_constant(binding.annotation)
            and self._resolver.classes.is_record(binding.scope)
        )

    def _in_module(self, module: Module, name: str) -> list[Binding]:
        if (module, name) in self._open:
            return []  # modules that import one another: what there is comes from elsewhere
        self._open.add((module, name))
        try:
            own = module.scope.bindings.get(name)
            return self._starred(module, name) if own is None else self._followed(own)
        finally:
            self._open.discard((module, name))

    def _followed(self, bindings: list[Binding]) -> list[Binding]:
        found: list[Binding] = []
        for one in bindings:
            found += self._imported(one) if isinstance(one, Imported) else [one]
        return found

    def _imported(self, binding: Imported) -> list[Binding]:
        origin = binding.scope.module.path
        if binding.level:
            place = self._project.relative(binding.dotted, binding.level, origin)
        else:
            place = self._project.find(binding.dotted, origin)
        if place is None:
            return [OPAQUE]
        module, names = place
        return self._in_module(module, names[0]) if len(names) == 1 else [OPAQUE]

    def _starred(self, module: Module, name: str) -> list[Binding]:
        for star in module.stars:
            dotted = f"{star.dotted}.{name}".strip(".")
            found = self._imported(Imported(dotted, star.level, star.scope))
            if found and found != [OPAQUE]:
                return found
        return []
