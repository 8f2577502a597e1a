"""The types that an annotation names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

_AROUND: Final = frozenset(
    {"Optional", "Union", "Annotated", "Final", "ClassVar", "Awaitable", "Coroutine", "Iterator"}
    | {"Generator", "AsyncIterator", "AsyncGenerator", "Iterable", "AsyncIterable"}
    | {"AbstractContextManager", "AbstractAsyncContextManager", "ContextManager"}
    | {"AsyncContextManager", "InitVar", "ReadOnly", "Mapped"}
)
"""Around a type, they say nothing of its methods: what a fixture yields, what is awaited."""

_CONSTANT: Final = frozenset({"Final", "ClassVar"})


def last_name(node: ast.expr) -> str:
    """Return ``Flags`` for ``Flags`` and ``downhaul.Flags``; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def named_types(annotation: ast.expr) -> Iterator[ast.Name | ast.Attribute]:
    """Yield the names of types, from inside unions, strings, ``Optional`` and the like."""
    waiting = [annotation]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Name | ast.Attribute):
            yield node
        elif isinstance(node, ast.BinOp):
            waiting += [node.left, node.right]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            waiting += _parsed(node)
        elif isinstance(node, ast.Subscript):
            waiting += _inside(node)


def _inside(node: ast.Subscript) -> list[ast.expr]:
    name = last_name(node.value)
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Annotated":
        return parts[:1]
    if name in _AROUND:
        return parts
    return [node.value]  # a generic class of somebody's own


def _parsed(node: ast.Constant) -> list[ast.expr]:
    try:
        inner = ast.parse(str(node.value), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # no type, so it names none
    for one in ast.walk(inner):
        if isinstance(one, ast.expr):
            ast.copy_location(one, node)
    return [inner]


def is_constant(annotation: ast.expr) -> bool:
    """Return whether an annotation says that the value stays (``Final``, ``ClassVar``)."""
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return last_name(outer) in _CONSTANT


def literal_values(annotation: ast.expr | None) -> list[ast.expr]:
    """Return the values of ``Literal["a", "b"]``; none for any other annotation."""
    if not isinstance(annotation, ast.Subscript) or last_name(annotation.value) != "Literal":
        return []
    inner = annotation.slice
    return inner.elts if isinstance(inner, ast.Tuple) else [inner]
