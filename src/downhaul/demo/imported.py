"""Somebody else's flags in the demo: read, translated, and asked about on every backend."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from downhaul.errors import DocumentError
from downhaul.flag import FlagKind
from downhaul.provider import FlagSet

_SAMPLE: Final = 50  # users that each imported flag is asked for

Question = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Expectation:
    """An answer that the document demands: enabled or not, or a variant by its vendor's name."""

    question: int
    flag: str
    about: str
    enabled: bool | None = None
    variant: str | None = None
    variant_enabled: bool = False

    def holds(self, answer: Mapping[str, Any], plain: frozenset[str]) -> bool:
        """Return whether an answer of the service is the one demanded.

        A vendor's "no variant" is for us no flag, the off variant, or a plain ``on``: the names in
        ``plain``.
        """
        if self.enabled is not None:
            return answer["enabled"] is self.enabled
        if self.variant_enabled:
            return bool(answer["variant"] == self.variant)
        return answer["variant"] is None or answer["variant"] in plain


@dataclass(frozen=True, slots=True)
class Imported:
    """What was read from somebody's document: flags, questions about them, and demanded answers."""

    source: str
    flag_set: FlagSet
    ledger: tuple[Any, ...]
    questions: tuple[Question, ...]
    expectations: tuple[Expectation, ...]
    plain: Mapping[str, frozenset[str]]

    def broken(self, answers: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return what was demanded and not answered so, in words."""
        return [
            f"{one.about}: answered {answers[one.question]['variant']!r}"
            for one in self.expectations
            if not one.holds(answers[one.question], self.plain.get(one.flag, frozenset()))
        ]


NOTHING: Final = Imported("", FlagSet(), (), (), (), {})


def read(source: str, users: Sequence[str]) -> Imported:
    """Read ``NAME:FILE``, such as ``unleash:features.json``, through that provider's translator.

    A file that carries questions and answers beside its flags, as Unleash's client specification
    does (``state``, ``tests``, ``variantTests``), has them asked too. Raises DocumentError for a
    file that can't be read, ProviderNotFound for a name nobody translates.
    """
    from downhaul.plugins import load_translator  # noqa: PLC0415  (only for who imports)

    name, colon, file = source.partition(":")
    if not colon or not file:
        message = f'"{source}" is not NAME:FILE'
        raise DocumentError(message, hint="write --import unleash:features.json")
    document = _json(Path(file))
    translator = load_translator(name)
    state = document.get("state", document) if isinstance(document, Mapping) else document
    translated = translator.flags_from(state)
    flag_set = FlagSet.of(_many(translated.flags), _many(translated.segments))
    questions: list[Question] = [
        (key, {"targetingKey": user}) for key in flag_set.flags for user in users[:_SAMPLE]
    ]
    expectations: list[Expectation] = []
    for test in _tests(document):
        context = translator.context_from(test.get("context", {})).as_mapping()
        flag = str(test["toggleName"])
        questions.append((flag, context))
        expectations.append(_expectation(len(questions) - 1, flag, test))
    plain = {
        key: frozenset(
            {"on"} | ({flag.off_variant} if flag.off_variant is not None else set())
            if flag.kind is not FlagKind.BOOLEAN
            else {"on", "off"}
        )
        for key, flag in flag_set.flags.items()
    }
    return Imported(
        source, flag_set, tuple(translated.ledger), tuple(questions), tuple(expectations), plain
    )


def _tests(document: Any) -> list[Mapping[str, Any]]:
    if not isinstance(document, Mapping):
        return []
    return [
        test
        for name in ("tests", "variantTests")
        for test in document.get(name, ())
        if isinstance(test, Mapping) and "toggleName" in test and "expectedResult" in test
    ]


def _expectation(question: int, flag: str, test: Mapping[str, Any]) -> Expectation:
    about = str(test.get("description", flag))
    wanted = test["expectedResult"]
    if isinstance(wanted, bool):
        return Expectation(question, flag, about, enabled=wanted)
    return Expectation(
        question,
        flag,
        about,
        variant=str(wanted.get("name")),
        variant_enabled=wanted.get("enabled") is True,
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"it can't be read: {error.strerror}"
        raise DocumentError(message, origin=str(path)) from error
    except ValueError as error:
        message = f"it is no JSON: {error}"
        raise DocumentError(message, origin=str(path)) from error


def _many(items: Any) -> list[Any]:
    return list(items.values()) if hasattr(items, "values") else list(items)
