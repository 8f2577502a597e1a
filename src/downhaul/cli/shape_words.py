"""What the shapes of ``--json`` documents are put together from: a little JSON Schema."""

from __future__ import annotations

from typing import Any, Final

Shape = dict[str, Any]

TEXT: Final[Shape] = {"type": "string"}
FLAG: Final[Shape] = {"type": "boolean"}
COUNT: Final[Shape] = {"type": "integer"}
NUMBER: Final[Shape] = {"type": "number"}
ANY: Final[Shape] = {}
TEXT_OR_NULL: Final[Shape] = {"type": ["string", "null"]}
COUNT_OR_NULL: Final[Shape] = {"type": ["integer", "null"]}
NUMBER_OR_NULL: Final[Shape] = {"type": ["number", "null"]}


def one_of(*values: str) -> Shape:
    """Return one of these words."""
    return {"enum": list(values)}


def list_of(items: Shape) -> Shape:
    """Return a list of such."""
    return {"type": "array", "items": items}


def object_of(**fields: Shape) -> Shape:
    """Return an object with at least these fields."""
    return {"type": "object", "properties": fields, "required": list(fields)}


def or_null(shape: Shape) -> Shape:
    """Return such, or null."""
    return {"anyOf": [shape, {"type": "null"}]}


HERE: Final = {"environment": TEXT, "provider": TEXT}
LOSS: Final = object_of(
    flag=TEXT,
    path=TEXT,
    fidelity=one_of("full", "partial", "manual", "skipped"),
    reason=TEXT,
    fragment=ANY,
    loss=TEXT,
)
"""An entry of a ledger: what became of one part of a flag."""
