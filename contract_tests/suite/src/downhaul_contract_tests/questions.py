"""Thirteen questions on which providers of one and the same SDK are known to differ.

Asked through Downhaul, every backend gives the same thirteen answers: value, type, reason, error
code, and whether the value is the flag's own. What a backend cannot be asked (a number, where it
keeps texts) it is not asked, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from downhaul import Flags
from downhaul.context import ContextLike
from downhaul.flag import Flag, FlagKind
from downhaul_contract_tests.backend import Backend, Feature
from downhaul_contract_tests.case import Case
from downhaul_contract_tests.seeds import of_kind, text

ON: Final = Flag.boolean("questions-on")
OFF: Final = Flag.boolean("questions-off", on=False)
SHARE: Final = Flag.boolean("questions-share", percent=50)
TEXT: Final = text("questions-text")
TEN: Final = of_kind("questions-ten", FlagKind.NUMBER, {"ten": 10, "none": 0})
HALF: Final = of_kind("questions-half", FlagKind.NUMBER, {"half": 0.5, "none": 0})
FLAGS: Final = (ON, OFF, SHARE, TEXT, TEN, HALF)
"""What the backend holds."""


@dataclass(frozen=True, slots=True)
class Question:
    """One call of an application. ``needs`` is what the backend's model of flags must have."""

    words: str
    flag: str
    default: Any
    context: ContextLike = "ada"
    needs: Feature | None = None


_NOBODY: Final[Mapping[str, Any]] = {}
QUESTIONS: Final = (
    Question("a boolean that is on", ON.key, default=False),
    Question("a boolean that is off, default True", OFF.key, default=True),
    Question("a flag that is not there, default True", "questions-missing", default=True),
    Question("a boolean, asked as a whole number", ON.key, default=7),
    Question("a text, asked as a boolean", TEXT.key, default=False),
    Question("0.5, asked as a whole number", HALF.key, 7, needs=Feature.NUMBERS),
    Question("10, asked as a float", TEN.key, 0.5, needs=Feature.NUMBERS),
    Question("10, asked as a text", TEN.key, "none", needs=Feature.NUMBERS),
    Question("a text", TEXT.key, "none"),
    Question("a boolean, asked for without a default", ON.key, None),
    Question("a flag for everybody, asked for nobody", ON.key, default=False, context=_NOBODY),
    Question("a share of users, asked for nobody", SHARE.key, default=True, context=_NOBODY),
)
"""The first twelve; the thirteenth is whether an application may report how it went."""
REPORT: Final = "the outcome of a request, reported"


def ask(backend: Backend, lacks: Mapping[Feature, str]) -> dict[str, str]:
    """Return a backend's answers by the question's words; ``lacks`` is what it cannot say."""
    backend.reset()
    writer = backend.provider()
    case = Case(backend, writer, lacks)
    try:
        case.seed(*FLAGS)
        return answers_of(case.client(), lacks)
    finally:
        case.close()
        writer.close()


def answers_of(flags: Flags, lacks: Mapping[Feature, str]) -> dict[str, str]:
    """Return what a client answers where :data:`FLAGS` are."""
    answers = {
        one.words: _answer(flags, one)
        for one in QUESTIONS
        if one.needs is None or one.needs not in lacks
    }
    flags.record(flags.evaluate(ON.key, "ada", default=False), "ada", success=True)
    return {**answers, REPORT: "accepted"}


def _answer(flags: Flags, question: Question) -> str:
    found = flags.evaluate(question.flag, question.context, default=question.default)
    parts = [repr(found.value), str(found.reason)]
    parts += [str(found.error_code)] if found.error_code else []
    parts += ["the flag's own"] if found.authoritative else ["the caller's default"]
    return ", ".join(parts)
