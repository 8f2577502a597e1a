"""What the arguments of one call say: which keys, and which default."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from downhaul.migrate.code.arguments import Arguments
from downhaul.migrate.code.constants import Constants
from downhaul.migrate.code.containers import Placed, Unknown
from downhaul.migrate.code.model import Default, DefaultKind
from downhaul.migrate.code.resolving import Resolver
from downhaul.migrate.code.scopes import OPAQUE, Scope
from downhaul.migrate.code.sdks import Verb
from downhaul.migrate.code.things import Function


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that are known, and the expressions that are not."""

    known: tuple[str, ...] = ()
    unknown: tuple[ast.expr, ...] = ()
    missing: bool = False
    """No key is passed."""

    def text(self, scope: Scope) -> str | None:
        """Return the source of what is not known."""
        return ", ".join(scope.module.source(one) for one in self.unknown) or None


class Reader:
    """Reads arguments by the parameters of a verb."""

    def __init__(self, resolver: Resolver, constants: Constants) -> None:
        self._resolver = resolver
        self._constants = constants

    def keys(self, verb: Verb, arguments: Arguments, scope: Scope) -> Keys:
        """Return the keys that a call can be asked with."""
        if verb.key is None:
            return Keys()
        named = tuple(arguments.others(verb)) if verb.keywords else ()
        given = arguments.get(verb, verb.key)
        if given is None:
            return Keys(named, missing=not named)
        if arguments.spread(given):
            inner = given.value if isinstance(given, ast.Starred) else given
            return Keys(named, (inner,))
        if not verb.several:
            return self.key(verb, given, scope)
        return self._several(verb, given, scope, named)

    def _several(self, verb: Verb, given: ast.expr, scope: Scope, named: tuple[str, ...]) -> Keys:
        try:
            places = self._constants.containers.elements(Placed(given, scope))
        except Unknown:
            return Keys(named, (given,))
        found = [self.key(verb, one.node, one.scope) for one in places]
        # Of what another module passes, its own text can't be shown from here: the whole stands.
        foreign = any(one.unknown for one in found) and any(
            place.scope.module is not scope.module for place in places
        )
        unknown = (given,) if foreign else tuple(node for one in found for node in one.unknown)
        return Keys((*named, *(key for one in found for key in one.known)), unknown)

    def key(self, verb: Verb, node: ast.expr, scope: Scope) -> Keys:
        """Return the keys that one expression can be."""
        complete = True
        try:
            values = self._constants.values(node, scope)
        except Unknown:
            values, complete = self._constants.known(node, scope), False
        values = [one for one in values if one is not None]
        texts = tuple(_spelled(verb, one) for one in values if isinstance(one, str))
        complete = complete and bool(texts) and len(texts) == len(values)
        return Keys(texts, () if complete else (node,))

    def default(self, verb: Verb, arguments: Arguments, scope: Scope) -> Default:
        """Return the default of a call."""
        if verb.default is None:
            return verb.implicit
        given = arguments.get(verb, verb.default)
        if given is None:
            return verb.implicit
        if arguments.spread(given):
            inner = given.value if isinstance(given, ast.Starred) else given
            return _dynamic(inner, scope)
        if verb.calls_default:
            return self._called(verb, given, scope)
        return self.literal(given, scope)

    def literal(self, node: ast.expr, scope: Scope) -> Default:
        """Return an expression as a default: LITERAL where it is worth one value only."""
        try:
            values = self._constants.values(node, scope)
        except Unknown:
            return _dynamic(node, scope)
        if len(values) != 1 or not _is_data(values[0]):
            return _dynamic(node, scope)
        return Default(DefaultKind.LITERAL, values[0])

    def _called(self, verb: Verb, given: ast.expr, scope: Scope) -> Default:
        """Return what a function that is passed as a default returns."""
        if isinstance(given, ast.Constant) and given.value is None:
            return verb.implicit
        answers: list[tuple[ast.expr, Scope]] = []
        if isinstance(given, ast.Lambda):
            answers.append((given.body, _inside(given, scope)))
        for one in self._resolver.things(given, scope):
            if isinstance(one, Function) and one.scope.ends_in_return:
                answers += [(node, one.scope) for node in one.scope.returns]
        found = [self.literal(node, inner) for node, inner in answers]
        if not found or any(one != found[0] for one in found):
            return _dynamic(given, scope)
        return found[0] if found[0].kind is DefaultKind.LITERAL else _dynamic(given, scope)

    def bulk(self, verb: Verb, arguments: Arguments, scope: Scope) -> str:
        """Return which flags a verb asks for that names none."""
        for parameter in ("flag_set", "flag_sets"):
            if parameter in verb.parameters:
                given = arguments.get(verb, parameter)
                return f"{verb.bulk} {'' if given is None else scope.module.source(given)}".strip()
        return verb.bulk or ""


def _spelled(verb: Verb, key: str) -> str:
    return verb.prefix + (key.removeprefix("!") if verb.negatable else key)


def _inside(function: ast.Lambda, scope: Scope) -> Scope:
    inner = Scope(scope.module, scope, function)
    for one in ast.walk(function.args):
        if isinstance(one, ast.arg):
            inner.bind(one.arg, OPAQUE)
    return inner


def _is_data(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_data, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_data(one) for key, one in value.items())
    return value is None or isinstance(value, str | int | float)


def _dynamic(node: ast.expr, scope: Scope) -> Default:
    return Default(DefaultKind.DYNAMIC, text=scope.module.source(node))
