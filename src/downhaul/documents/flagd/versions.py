"""flagd's ``sem_ver`` as clauses of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from downhaul.documents.flagd.alternatives import All, Condition, Some
from downhaul.documents.flagd.logic import Inexpressible
from downhaul.evaluator.operators import semver
from downhaul.flag import Clause, Operator

_COMPARED: Final[Mapping[str, Operator]] = {
    "=": Operator.SEMVER_EQUAL,
    "<": Operator.SEMVER_LESS,
    "<=": Operator.SEMVER_LESS_OR_EQUAL,
    ">": Operator.SEMVER_GREATER,
    ">=": Operator.SEMVER_GREATER_OR_EQUAL,
}


def version_condition(name: str, word: Any, value: Any) -> Condition:
    """Return what is true where an attribute is a version that stands so to another.

    ``^`` asks for the same major version and ``~`` for the same minor one, pre-releases included.
    False where flagd can't read the operator or the version.
    """
    if isinstance(word, (dict, list)) or isinstance(value, (dict, list)):
        raise Inexpressible("clauses here compare an attribute with values")
    text = full_version(str(value))
    if semver(text) is None:
        return False
    major, minor = (int(part) for part in text.split(".")[:2])
    if word == "!=":
        return Some((_is(name, ">", text), _is(name, "<", text)))
    if word == "^":
        return _within(name, f"{major}.0.0-0", f"{major + 1}.0.0-0")
    if word == "~":
        return _within(name, f"{major}.{minor}.0-0", f"{major}.{minor + 1}.0-0")
    return _is(name, word, text) if word in _COMPARED else False


def any_version(name: str) -> Clause:
    """Return what is true where an attribute is a version at all."""
    return _is(name, ">=", "0.0.0-0")


def full_version(text: str) -> str:
    """Return a version with all its three numbers and without a ``v``, as flagd fills it in."""
    text = text[1:] if text.startswith(("v", "V")) else text
    numbers = text.split("-")[0].split("+")[0]
    dots = numbers.count(".")
    return f"{numbers}{'.0' * (2 - dots)}{text[len(numbers) :]}"


def _within(name: str, first: str, beyond: str) -> Condition:
    return All((_is(name, ">=", first), _is(name, "<", beyond)))


def _is(name: str, word: str, text: str) -> Clause:
    return Clause(name, _COMPARED[word], (text,))
