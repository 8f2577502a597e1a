"""Where Python code refers to flags, with which keys and defaults: read off the syntax tree.

Nothing that is scanned is imported or run.
"""

from downhaul.migrate.code.aliases import Alias
from downhaul.migrate.code.finder import find_references
from downhaul.migrate.code.model import (
    Certainty,
    Default,
    DefaultKind,
    Reference,
    References,
    conflicts,
    same_value,
)

__all__ = [
    "Alias",
    "Certainty",
    "Default",
    "DefaultKind",
    "Reference",
    "References",
    "conflicts",
    "find_references",
    "same_value",
]
