"""What an expression can be: a module, class, function or object, of the scanned code or an SDK."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from downhaul.migrate.code.scopes import Module, Scope
from downhaul.migrate.code.sdks import CLASSES, FUNCTIONS, MAKERS, MIXINS, Verb


@dataclass(frozen=True, slots=True)
class External:
    """Something that is imported and was not scanned. ``origin`` is the path of who imports it."""

    dotted: str
    origin: str

    @property
    def names(self) -> tuple[str, str]:
        """The top-level package and its own name, the key of the tables of SDKs."""
        return names_of(self.dotted)

    @property
    def kind(self) -> str | None:
        """The kind that this is, if it is a class of an SDK."""
        return CLASSES.get(self.names)


@dataclass(frozen=True, slots=True)
class Class:
    """A scanned class. Not ``exact``: or one that inherits from it."""

    scope: Scope
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Function:
    """A scanned function."""

    scope: Scope


@dataclass(frozen=True, slots=True)
class Instance:
    """An object of a scanned class, or of a kind of an SDK."""

    of: Scope | str
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Maker:
    """A method of an SDK that returns an object of a kind."""

    kind: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A verb of an SDK; ``shift`` counts leading arguments that are not its own."""

    verb: Verb
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Type:
    """What may be a type that has a name of its own (``Client = Annotated[Flags, ...]``)."""

    node: ast.expr
    scope: Scope


Thing = Module | External | Class | Function | Instance | Maker | Asked | Type


def names_of(dotted: str) -> tuple[str, str]:
    """Return the first and the last part of a dotted name; of a single one, no last part."""
    root, dot, _ = dotted.partition(".")
    return root, dotted.rpartition(".")[2] if dot else ""


def of_an_sdk(dotted: str) -> bool:
    """Return whether the tables of SDKs know the name."""
    names = names_of(dotted)
    return any(names in table for table in (CLASSES, MAKERS, FUNCTIONS, MIXINS))
