"""Whether what a plugin returned can be used, and the dotted paths in it."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any, Final

from downhaul.hookspecs import INTERFACE, MetricSourceSpec, ProviderSpec
from downhaul.provider import Capability

_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9.-]*(\+[a-z][a-z0-9.-]*)?")
_DOTTED: Final = re.compile(r"[\w.]+:[\w.]+")
_TESTS: Final = re.compile(r"[\w.]+(:Test\w*)?")


def flaw(specs: Any, name: str) -> str:
    """Return why a hook's answer cannot serve the entry point ``name``, or an empty string."""
    return _flaw_among(specs, name, ProviderSpec, "downhaul_providers") or _flaw_of(
        next(one for one in specs if one.name == name)
    )


def flaw_of_source(specs: Any, name: str) -> str:
    """Return the same of the hook that brings metric sources."""
    return _flaw_among(specs, name, MetricSourceSpec, "downhaul_metric_sources") or (
        _flaw_of_source(next(one for one in specs if one.name == name))
    )


def _flaw_among(specs: Any, name: str, kind: type, hook: str) -> str:
    if not isinstance(specs, list | tuple):
        return f"{hook} returned {type(specs).__name__}, not a list of {kind.__name__}"
    for one in specs:
        if not isinstance(one, kind):
            return f"{hook} returned a {type(one).__name__} among its {kind.__name__}s"
    if len([one for one in specs if one.name == name]) != 1:
        others = ", ".join(str(one.name) for one in specs) or "nothing"
        return f'{hook} must return one spec named "{name}"; it returned {others}'
    return ""


def _flaw_of_source(spec: Any) -> str:
    problem = _flaw_in_name(spec)
    if problem:
        return problem
    for field in ("factory", "settings"):
        path = getattr(spec, field)
        left_out = path is None and field != "factory"
        if not left_out and not (isinstance(path, str) and _DOTTED.fullmatch(path)):
            return f"its {field} {path!r} is not module:name"
    return ""


def _flaw_in_name(spec: Any) -> str:
    if spec.interface != INTERFACE:
        return (
            f"it was written for plugin interface {spec.interface!r}, "
            f"and this Downhaul has {INTERFACE}"
        )
    if not _NAME.fullmatch(spec.name):
        return f"its name {spec.name!r} is not lower case letters, digits and -"
    return ""


def _flaw_of(spec: Any) -> str:
    problem = _flaw_in_name(spec)
    if problem:
        return problem
    if not isinstance(spec.schemes, tuple) or not spec.schemes:
        return "it names no schemes (a tuple of strings)"
    for scheme in spec.schemes:
        if not isinstance(scheme, str) or not _SCHEME.fullmatch(scheme):
            return f"its scheme {scheme!r} cannot stand in a URL (lower case, without ://)"
    if not isinstance(spec.capabilities, frozenset) or not all(
        isinstance(one, Capability) for one in spec.capabilities
    ):
        return "its capabilities are not a frozenset of Capability"
    return _flaw_in_paths(spec)


def _flaw_in_paths(spec: Any) -> str:
    if spec.factory is None and spec.translator is None:
        return "it has neither a factory nor a translator"
    for field in ("factory", "settings", "commands"):
        path = getattr(spec, field)
        if path is not None and not (isinstance(path, str) and _DOTTED.fullmatch(path)):
            return f"its {field} {path!r} is not module:name"
    path = spec.contract
    if path is not None and not (isinstance(path, str) and _TESTS.fullmatch(path)):
        return f"its contract {path!r} is not module or module:TestClass"
    return ""


def load(path: str) -> Any:
    """Import ``module:name``. Raises ImportError, also where the module has no such name."""
    module, _, names = path.partition(":")
    found: Any = import_module(module)
    for name in names.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            message = f'module "{module}" has no "{names}"'
            raise ImportError(message) from error
    return found


def why(error: BaseException) -> str:
    """Return an error as one line: its type and what it says."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
