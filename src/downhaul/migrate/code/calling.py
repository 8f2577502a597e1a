"""From calls to references: which calls ask an SDK, and how sure that is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from downhaul.migrate.code.annotations import last_name
from downhaul.migrate.code.arguments import Arguments
from downhaul.migrate.code.model import Certainty, Default, Reference
from downhaul.migrate.code.reading import Keys, Reader
from downhaul.migrate.code.resolving import Resolver
from downhaul.migrate.code.scopes import Annotated, Assigned, Loose, Module, Scope
from downhaul.migrate.code.sdks import (
    MIXIN_ATTRIBUTES,
    MIXINS,
    ROOTS,
    VERBS,
    Verb,
)
from downhaul.migrate.code.things import Class, External, Function, Thing
from downhaul.migrate.code.wrappers import Wrappers


@dataclass(slots=True)
class Calls:
    """Finds the references of modules, and ``suggestions`` of aliases on the way."""

    resolver: Resolver
    reader: Reader
    wrappers: Wrappers
    suggestions: set[str]

    def references(self, module: Module) -> Iterator[Reference]:
        """Yield the references in a module, in no order."""
        for call, scope in module.calls:
            yield from self._call(call, scope)
        for loose in module.loose:
            yield from self._loose(loose)
        for scope in module.classes:
            yield from self._mixins(scope)

    # Calls

    def _call(self, call: ast.Call, scope: Scope) -> Iterator[Reference]:
        func = call.func
        if not isinstance(func, ast.Name | ast.Attribute):
            return
        things = self.resolver.things(func, scope)
        asked = [one for one in map(self.wrappers.verb, things) if one is not None]
        for one in asked:
            arguments = Arguments.of(call, one.shift)
            yield self._reference(one.verb, arguments, func, scope, Certainty.PROVEN, call)
        if not asked and not any(map(self._is_settled, things)):
            yield from self._likely(call, func, scope)

    def _is_settled(self, thing: Thing) -> bool:
        """Whether what is called is known to be something else than an SDK's verb."""
        if isinstance(thing, Function) and thing.scope.owner is not None:
            return not self.resolver.classes.is_abstract(thing.scope.owner)
        return isinstance(thing, Function | Class | Module)

    def _likely(
        self, call: ast.Call, func: ast.Name | ast.Attribute, scope: Scope
    ) -> Iterator[Reference]:
        imported = {ROOTS[root] for root in scope.module.roots if root in ROOTS}
        arguments = Arguments.of(call)
        verbs = VERBS.get(last_name(func), ())
        nowhere = not any(verb.sdk in imported for verb in verbs)
        for verb in verbs:
            if isinstance(func, ast.Name) and verb.sdk != "waffle":
                continue  # a method has no name of its own
            keys = self.reader.keys(verb, arguments, scope)
            if not arguments.fit(verb) or _is_no_key(keys):
                continue
            if verb.distinct or verb.sdk in imported:
                yield self._reference(verb, arguments, func, scope, Certainty.LIKELY)
            elif keys.known and nowhere:
                yield self._reference(verb, arguments, func, scope, Certainty.POSSIBLE)

    # Verbs that are passed on

    def _loose(self, loose: Loose) -> Iterator[Reference]:
        """A verb that is passed to a call goes with the arguments after it, as in ``partial``."""
        value, scope, call = loose.value, loose.scope, loose.call
        for thing in self.resolver.things(value, scope):
            asked = self.wrappers.verb(thing)
            if asked is None or (call is not None and isinstance(thing, Class)):
                continue
            verb = asked.verb
            if call is not None:
                arguments = Arguments.of(call, loose.number + 1 + asked.shift)
                if self.reader.keys(verb, arguments, scope).known:
                    yield self._reference(verb, arguments, value, scope, Certainty.LIKELY)
                    continue
            whole = call if call is not None else value
            yield self._made(verb, value, scope, Keys(unknown=(whole,)), verb.implicit)

    # Class attributes

    def _mixins(self, scope: Scope) -> Iterator[Reference]:
        for attribute, verb in MIXIN_ATTRIBUTES.items():
            for binding in scope.bindings.get(attribute, ()):
                value = binding.value if isinstance(binding, Assigned | Annotated) else None
                if value is None or (isinstance(value, ast.Constant) and value.value is None):
                    continue
                bases = self.resolver.classes.ancestry(scope)
                proven = any(isinstance(one, External) and one.names in MIXINS for one in bases)
                if not proven and "waffle" not in scope.module.roots:
                    continue
                certainty = Certainty.PROVEN if proven else Certainty.LIKELY
                arguments = Arguments((value,), ())
                yield self._reference(verb, arguments, value, scope, certainty)

    # References

    def _reference(
        self,
        verb: Verb,
        arguments: Arguments,
        at: ast.expr,
        scope: Scope,
        certainty: Certainty,
        call: ast.Call | None = None,
    ) -> Reference:
        keys = self.reader.keys(verb, arguments, scope)
        if keys.missing and call is not None:
            keys = Keys(unknown=(call,))
        default = self.reader.default(verb, arguments, scope)
        bulk = self.reader.bulk(verb, arguments, scope) if verb.bulk is not None else None
        return self._made(verb, at, scope, keys, default, certainty, bulk, arguments)

    def _made(
        self,
        verb: Verb,
        at: ast.expr,
        scope: Scope,
        keys: Keys,
        default: Default,
        certainty: Certainty = Certainty.PROVEN,
        bulk: str | None = None,
        arguments: Arguments | None = None,
    ) -> Reference:
        line, column = _position(at, scope.module)
        wrapper = None
        if len(keys.unknown) == 1:
            wrapper = self.wrappers.around(keys.unknown[0], scope)
            if wrapper is None and arguments is not None:
                self._suggest(verb, keys.unknown[0], arguments, scope)
        return Reference(
            path=scope.module.path,
            line=line,
            column=column,
            sdk=verb.sdk,
            call=verb.name,
            keys=tuple(dict.fromkeys(keys.known)),
            dynamic=keys.text(scope) if wrapper is None and bulk is None else None,
            default=default,
            certainty=certainty,
            function=scope.qualname,
            bulk=bulk,
            wrapper=wrapper,
        )

    def _suggest(self, verb: Verb, key: ast.expr, arguments: Arguments, scope: Scope) -> None:
        if verb.several or verb.prefix:
            return
        default = arguments.get(verb, verb.default) if verb.default is not None else None
        suggestion = self.wrappers.suggestion(key, default, scope)
        if suggestion is not None:
            self.suggestions.add(suggestion)


def _is_no_key(keys: Keys) -> bool:
    """Whether the only thing in the place of a key can be none: a number, a mapping, nothing."""
    if keys.missing:
        return True
    never = ast.Dict | ast.List | ast.Set | ast.Tuple | ast.Lambda
    return any(
        isinstance(one, never) or (isinstance(one, ast.Constant) and not isinstance(one.value, str))
        for one in keys.unknown
    )


def _position(node: ast.expr, module: Module) -> tuple[int, int]:
    if not isinstance(node, ast.Attribute):
        return node.lineno, module.column(node.lineno, node.col_offset)
    line, end = node.end_lineno or node.lineno, node.end_col_offset or 0
    return line, module.column(line, end - len(node.attr.encode()))
