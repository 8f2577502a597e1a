"""The arguments of a call, by the parameters of a verb."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from downhaul.migrate.code.sdks import Verb


@dataclass(frozen=True, slots=True)
class Arguments:
    """What is passed, without what is not the verb's own."""

    positional: tuple[ast.expr, ...]
    keywords: tuple[ast.keyword, ...]

    @classmethod
    def of(cls, call: ast.Call, shift: int = 0) -> Arguments:
        """Return the arguments of a call, from the ``shift``-th on."""
        return cls(tuple(call.args[shift:]), tuple(call.keywords))

    def get(self, verb: Verb, parameter: str) -> ast.expr | None:
        """Return what is passed for a parameter; None for nothing.

        Where ``*args`` or ``**kwargs`` may hold it, that is what is returned.
        """
        for one in self.keywords:
            if one.arg == parameter:
                return one.value
        place = verb.parameters.index(parameter)
        for number, argument in enumerate(self.positional):
            if isinstance(argument, ast.Starred):
                return argument
            if number == place:
                return argument
        return next((one.value for one in self.keywords if one.arg is None), None)

    def spread(self, parameter: ast.expr | None) -> bool:
        """Return whether this is no argument itself, but what may hold it."""
        return isinstance(parameter, ast.Starred) or any(
            one.arg is None and one.value is parameter for one in self.keywords
        )

    def others(self, verb: Verb) -> Iterator[str]:
        """Yield the keywords that are no parameters."""
        for one in self.keywords:
            if one.arg is not None and one.arg not in verb.parameters:
                yield one.arg

    def fit(self, verb: Verb) -> bool:
        """Return whether the verb can be called so."""
        spread = any(isinstance(one, ast.Starred) for one in self.positional)
        spread = spread or any(one.arg is None for one in self.keywords)
        if len(self.positional) > len(verb.parameters):
            return False
        if not verb.keywords and any(self.others(verb)):
            return False
        needed = verb.parameters[: verb.required]
        return spread or all(self.get(verb, one) is not None for one in needed)


def all_parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterable[str]:
    """Return the names of a function's parameters: by position, then by keyword only."""
    arguments = function.args
    return (one.arg for one in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs])
