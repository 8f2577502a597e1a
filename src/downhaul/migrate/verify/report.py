"""What a verification came to: counts by flag and outcome, examples, and whether it passed."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Final

from downhaul.context import Context
from downhaul.migrate.verify.cases import Case, Coverage
from downhaul.migrate.verify.outcomes import Compared, Outcome
from downhaul.result import ErrorCode, Result
from downhaul.staging import Side

_LONG: Final = 4
_KEYLESS: Final = (ErrorCode.TARGETING_KEY_MISSING,)


@dataclass(frozen=True, slots=True)
class Expectation:
    """Divergence that somebody knows of: of flags whose keys match a pattern, for a reason.

    ``about`` is a pattern too, of what a case is about, where it is only some cases of them.
    ``keyless`` is only about cases in which a side says TARGETING_KEY_MISSING: some vendors serve
    bucket zero there, or nobody, and our providers of them say what is missing. It holds through
    the day ``until``, and then counts no longer. Errors are never expected.
    """

    flag: str
    reason: str
    until: dt.date
    about: str = "*"
    keyless: bool = False

    def covers(self, flag: str, today: dt.date) -> bool:
        """Return whether it is about this flag, today. ``*`` and ``?`` are as in file names."""
        return today <= self.until and fnmatchcase(flag, self.flag)

    def knows(self, about: str, *answers: Result) -> bool:
        """Return whether it is about a case like this one, with these answers."""
        if self.keyless and not any(one.error_code in _KEYLESS for one in answers):
            return False
        return fnmatchcase(about, self.about)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one side answered, as far as a report tells."""

    value: Any
    variant: str | None
    reason: str
    error: str = ""

    def __str__(self) -> str:
        return self.error or f"{self.value!r} ({self.variant or 'no variant'}, {self.reason})"


@dataclass(frozen=True, slots=True)
class Example:
    """One question that the sides answered otherwise. ``context`` names nobody."""

    outcome: Outcome
    about: str
    decided: str
    context: Mapping[str, Any]
    old: Answer
    new: Answer
    expected: str = ""


@dataclass(frozen=True, slots=True)
class FlagReport:
    """The counts of one flag.

    ``match`` includes ``variant_only`` and ``reason_only``. ``expected`` of ``value``, ``type`` and
    ``not_found`` are known of. ``not_found_by`` and ``error_by`` count by side; a case of both
    sides counts for each.
    """

    flag: str
    cases: int = 0
    match: int = 0
    variant_only: int = 0
    reason_only: int = 0
    value: int = 0
    type: int = 0
    not_found: int = 0
    error: int = 0
    expected: int = 0
    not_found_by: Mapping[Side, int] = field(default_factory=lambda: MappingProxyType({}))
    error_by: Mapping[Side, int] = field(default_factory=lambda: MappingProxyType({}))
    examples: tuple[Example, ...] = ()
    coverage: Coverage | None = None

    @property
    def compared(self) -> int:
        """How many cases count: all but errors."""
        return self.cases - self.error

    @property
    def agreeing(self) -> int:
        """How many of those agree, or differ as expected."""
        return self.match + self.expected

    @property
    def parity(self) -> float | None:
        """The share of them in percent; None where nothing was compared."""
        return _percent(self.agreeing, self.compared)


@dataclass(frozen=True, slots=True)
class Report:
    """The whole of a verification. ``threshold`` and ``most_errors`` are percentages.

    ``only_old`` and ``only_new`` are flags that one side has and the other has not, as far as both
    can say. ``expired`` expectations counted no longer, ``unused`` ones met nothing.
    """

    old: str
    new: str
    flags: tuple[FlagReport, ...]
    threshold: float = 100.0
    most_errors: float = 1.0
    only_old: tuple[str, ...] = ()
    only_new: tuple[str, ...] = ()
    expired: tuple[Expectation, ...] = ()
    unused: tuple[Expectation, ...] = ()
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """How many questions were asked, each of both sides."""
        return sum(one.cases for one in self.flags)

    @property
    def errors(self) -> int:
        """How many of them a side could not answer."""
        return sum(one.error for one in self.flags)

    @property
    def parity(self) -> float | None:
        """The share of compared cases that agree, in percent; None where nothing was compared."""
        return _percent(self.agreeing, self.cases - self.errors)

    @property
    def agreeing(self) -> int:
        """How many cases agree, or differ as expected."""
        return sum(one.agreeing for one in self.flags)

    @property
    def error_share(self) -> float:
        """The share of all cases that are errors, in percent."""
        return _percent(self.errors, self.cases) or 0.0

    @property
    def per_second(self) -> float:
        """Questions a second, each asked of both sides."""
        return self.cases / self.seconds if self.seconds > 0 else 0.0

    @property
    def failures(self) -> tuple[str, ...]:
        """Why it failed, in words; empty if it passed."""
        found = [f'flag "{one.flag}": nothing compared' for one in self.flags if not one.compared]
        if not self.flags:
            found.append("no flags were compared")
        parity = self.parity
        if parity is not None and parity < self.threshold:
            found.append(f"parity is {shown(parity)} %, below {self.threshold:g} %")
        if self.error_share > self.most_errors:
            share = f"{self.error_share:.2f} % of the cases are errors"
            found.append(f"{share}, more than {self.most_errors:g} %")
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether parity reaches the threshold, each flag was compared, and errors are few."""
        return not self.failures

    def falls_short(self, flag: FlagReport) -> bool:
        """Return whether a flag by itself is below the threshold, or nothing of it was compared."""
        return flag.parity is None or flag.parity < self.threshold


def _percent(part: int, whole: int) -> float | None:
    if not whole:
        return None
    return 100.0 if part == whole else 100 * part / whole


def shown(parity: float | None) -> str:
    """Return a parity with two digits, rounded down: 99.999 must not look like 100."""
    if parity is None:
        return "nothing compared"
    whole, hundredths = divmod(int(parity * 100 + 1e-9), 100)
    return f"{whole}.{hundredths:02}"


@dataclass(frozen=True, slots=True)
class Hiding:
    """Keeps identities out of a report: the same user has one name in it, and another in the next.

    ``attributes`` shows the values of attributes too, not only their names.
    """

    salt: bytes
    attributes: bool = False

    def name(self, key: str) -> str:
        """Return what stands for a targeting key."""
        text = key.encode(errors="surrogatepass")
        return f"sha256:{hashlib.sha256(self.salt + text).hexdigest()[:12]}"

    def context(self, context: Context) -> dict[str, Any]:
        """Return a context by kind: a hashed key, and the attributes or their names."""
        kinds = context.kinds or {context.kind: context}
        return {kind: self._kind(one) for kind, one in sorted(kinds.items())}

    def _kind(self, one: Context) -> dict[str, Any]:
        key = None if one.targeting_key is None else self.name(one.targeting_key)
        names = sorted(one.attributes)
        shown_: Any = {name: one.attributes[name] for name in names} if self.attributes else names
        return {"key": key, "attributes": shown_}

    def example(
        self, case: Case, found: Compared, old: Result, new: Result, expected: str
    ) -> Example:
        """Return a case as an example."""
        return Example(
            found.outcome,
            case.about,
            case.decided,
            self.context(case.context),
            self._answer(old, case.context),
            self._answer(new, case.context),
            expected,
        )

    def _answer(self, result: Result, context: Context) -> Answer:
        error = ""
        if result.error_code is not None:
            told = self._told(result.error_message or "no message", context)
            error = f"{result.error_code}: {told}"
        return Answer(result.value, result.variant, str(result.reason), error)

    def _told(self, message: str, context: Context) -> str:
        """Return a backend's message without whom, and with what attributes, it was asked for."""
        parts = (context.kinds or {context.kind: context}).values()
        secret = {one.targeting_key for one in parts if one.targeting_key}
        if not self.attributes:
            secret |= {
                value for one in parts for value in one.attributes.values() if type(value) is str
            }
        words = [_as_word(one) for one in sorted(secret - {""}, key=len, reverse=True)]
        if not words:
            return message
        return re.sub("|".join(words), lambda found: self.name(found[0]), message)


def _as_word(text: str) -> str:
    """Return the pattern of a text: a short one only where it is a word of its own."""
    word = re.escape(text)
    return word if len(text) >= _LONG else rf"(?<!\w){word}(?!\w)"
