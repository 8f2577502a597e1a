"""Wrappers of an SDK: those that the caller names as aliases, and those that look like one."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from downhaul.errors import Problem
from downhaul.migrate.code.aliases import Alias
from downhaul.migrate.code.arguments import all_parameters
from downhaul.migrate.code.model import Default, DefaultKind
from downhaul.migrate.code.project import Project
from downhaul.migrate.code.reading import Reader
from downhaul.migrate.code.resolving import Resolver
from downhaul.migrate.code.scopes import Parameter, Scope
from downhaul.migrate.code.sdks import FUNCTIONS, Verb
from downhaul.migrate.code.things import Asked, Class, External, Function, Thing


class Wrappers:
    """Knows the aliases by what they name."""

    def __init__(
        self, project: Project, resolver: Resolver, reader: Reader, aliases: Iterable[Alias]
    ) -> None:
        self._project = project
        self._verbs: dict[Scope | str, Verb] = {}
        self._used: set[str] = set()
        self._aliases = tuple(aliases)
        for alias in self._aliases:
            things = resolver.dotted(alias.name, "")
            scopes = [one.scope for one in things if isinstance(one, Function | Class)]
            for scope in scopes:
                self._verbs[scope] = _verb_of(alias, scope, reader)
                self._used.add(alias.name)
            if not scopes:
                self._verbs[alias.name] = _verb_of(alias, None, reader)

    def verb(self, thing: Thing) -> Asked | None:
        """Return the thing as a verb: as it is, or as an alias names it."""
        match thing:
            case Asked():
                return thing
            case Function(scope) | Class(scope):
                found = self._verbs.get(scope)
            case External(dotted):
                found = FUNCTIONS.get(thing.names) or self._verbs.get(dotted)
            case _:
                found = None
        if found is None:
            return None
        self._used.add(found.name)
        return Asked(found)

    def around(self, node: ast.expr, scope: Scope) -> str | None:
        """Return the alias whose own key this expression is, inside of it."""
        parameter = parameter_of(node, scope)
        if parameter is None:
            return None
        function, name = parameter
        for home in (function, function.owner):
            verb = self._verbs.get(home) if home is not None else None
            if verb is not None and verb.key == name:
                return verb.name
        return None

    def suggestion(self, key: ast.expr, default: ast.expr | None, scope: Scope) -> str | None:
        """Return the alias to give for a function that passes a parameter on as a key."""
        found = parameter_of(key, scope)
        if found is None or "<" in found[0].qualname:
            return None
        function, name = found
        place = _place(function, name)
        if place is None:
            return None
        text = f"{self._project.dotted(function.module)}.{function.qualname}:{place}"
        given = None if default is None else parameter_of(default, scope)
        if given is None or given[0] is not function:
            return text
        return f"{text}:{_place(function, given[1])}"

    def unused(self) -> list[Problem]:
        """Return a problem for each alias that names nothing that was seen."""
        return [
            Problem(
                "",
                "names no scanned function, and nothing that is called",
                f'alias "{alias.name}"',
                "write it as it is imported, from the top-level package on",
            )
            for alias in self._aliases
            if alias.name not in self._used
        ]


def parameter_of(node: ast.expr, scope: Scope) -> tuple[Scope, str] | None:
    """Return the function whose parameter a name is, and never anything else."""
    if not isinstance(node, ast.Name):
        return None
    match scope.find(node.id):
        case [Parameter(name, receiver="")]:
            home: Scope | None = scope
            while home is not None and (name not in home.bindings or home.is_class):
                home = home.parent
            is_def = home is not None and isinstance(
                home.node, ast.FunctionDef | ast.AsyncFunctionDef
            )
            return (home, name) if home is not None and is_def else None
    return None


def _place(function: Scope, name: str) -> int | str | None:
    """Return a parameter's position without ``self``, or its name if it goes by keyword only."""
    node = function.node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    positional = [one.arg for one in [*node.args.posonlyargs, *node.args.args]]
    positional = [one for one in positional if one != function.receiver]
    return positional.index(name) if name in positional else name


def _verb_of(alias: Alias, scope: Scope | None, reader: Reader) -> Verb:
    maker = _maker(scope)
    names: list[str] = []
    if maker is not None and isinstance(maker.node, ast.FunctionDef | ast.AsyncFunctionDef):
        names = [one for one in all_parameters(maker.node) if one != maker.receiver]
    for place in (alias.key, alias.default):
        if isinstance(place, int):
            names += [f"argument {number}" for number in range(len(names), place + 1)]
        elif place is not None and place not in names:
            names.append(place)
    key = names[alias.key] if isinstance(alias.key, int) else alias.key
    place = alias.default
    default = names[place] if isinstance(place, int) else place
    implicit = Default(DefaultKind.NONE)
    if default is not None:
        implicit = Default(DefaultKind.DYNAMIC, text=f"the default of {alias.name}")
        for binding in maker.bindings.get(default, ()) if maker is not None else ():
            if isinstance(binding, Parameter) and binding.default is not None:
                implicit = reader.literal(binding.default, binding.scope)
    return Verb("alias", alias.name, tuple(names), 0, key, default, implicit)


def _maker(scope: Scope | None) -> Scope | None:
    """Return the function whose parameters count: of a class, its ``__init__``."""
    if scope is None or not scope.is_class:
        return scope
    for binding in scope.bindings.get("__init__", ()):
        inner = getattr(binding, "scope", None)
        if isinstance(inner, Scope):
            return inner
    return None
