"""What must hold of one clause: do its values suit its operator, does what it names exist."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import re2

from downhaul.documents.faults import Fault, Place, did_you_mean, quoted
from downhaul.evaluator.operators import compile_pattern, moment, network, number, semver
from downhaul.flag import Clause, Dialect, FlagSet, Missing, Operator

STRING_OPERATORS: Final = frozenset(
    {Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.CONTAINS, Operator.MATCHES}
)
LIST_OPERATORS: Final = frozenset(
    {Operator.HAS_ANY, Operator.HAS_ALL, Operator.SET_EQUALS, Operator.SUBSET_OF}
)
TIME_OPERATORS: Final = frozenset(
    {
        Operator.SAME_TIME,
        Operator.BEFORE,
        Operator.AFTER,
        Operator.AT_OR_BEFORE,
        Operator.AT_OR_AFTER,
    }
)
NUMBER_OPERATORS: Final = frozenset(
    {
        Operator.EQUAL,
        Operator.LESS,
        Operator.LESS_OR_EQUAL,
        Operator.GREATER,
        Operator.GREATER_OR_EQUAL,
    }
)
SEMVER_OPERATORS: Final = frozenset(one for one in Operator if one.value.startswith("semver_"))
_CASED: Final = STRING_OPERATORS | LIST_OPERATORS | {Operator.IN}


@dataclass(frozen=True, slots=True)
class Known:
    """What exists around a flag. None: nobody can tell, so whatever is named is taken to exist.

    ``flags`` gives the variants by flag; None as variants says that they could not be read.
    """

    flags: Mapping[str, Collection[str] | None] | None
    segments: Collection[str] | None

    @classmethod
    def anything(cls) -> Known:
        """Return a world in which everything exists."""
        return cls(None, None)

    @classmethod
    def of(cls, flag_set: FlagSet) -> Known:
        """Return what exists in a flag set."""
        return cls(_Variants(flag_set), flag_set.segments)

    def flag_faults(self, place: Place, key: str) -> Iterator[Fault]:
        """Yield a fault if there is no such flag."""
        if self.flags is not None and key not in self.flags:
            hint = did_you_mean(key, self.flags) or "create it first"
            yield Fault(place, f"there is no flag {quoted(key)}", hint)

    def segment_faults(self, place: Place, key: Any) -> Iterator[Fault]:
        """Yield a fault if there is no such segment."""
        if not isinstance(key, str):
            yield Fault(place, f"should be the key of a segment, not {quoted(key)}")
        elif self.segments is not None and key not in self.segments:
            hint = did_you_mean(key, self.segments) or "create it first"
            yield Fault(place, f"there is no segment {quoted(key)}", hint)

    def variant_faults(self, place: Place, key: str, variant: Any) -> Iterator[Fault]:
        """Yield a fault if the flag is there but has no such variant."""
        if not isinstance(variant, str):
            yield Fault(place, f"should be the name of a variant, not {quoted(variant)}")
            return
        variants = None if self.flags is None else self.flags.get(key)
        if variants is not None and variant not in variants:
            hint = did_you_mean(variant, variants, all_of="its variants are")
            yield Fault(place, f"flag {quoted(key)} has no variant {quoted(variant)}", hint)


class _Variants(Mapping[str, Collection[str] | None]):
    """The variants by flag, looked up in a flag set when asked: making them all costs too much."""

    def __init__(self, flag_set: FlagSet) -> None:
        self._flags = flag_set.flags

    def __getitem__(self, key: str) -> Collection[str] | None:
        return self._flags[key].variants

    def __iter__(self) -> Iterator[str]:
        return iter(self._flags)

    def __len__(self) -> int:
        return len(self._flags)


def check_clause(clause: Clause, known: Known) -> Iterator[Fault]:
    """Yield every fault of a clause, at places within it.

    In a vendor's dialect a value that can't be read, or no value at all, is no fault: the vendor
    keeps such clauses too, and they never match.
    """
    native = clause.dialect is Dialect.NATIVE
    yield from _attribute(clause, known)
    if clause.operator is Operator.PRESENT:
        if clause.values:
            yield Fault(("values",), "present takes no values", "leave them out")
    elif not clause.values and native:
        yield Fault(("values",), f"{clause.operator.value} needs at least one value")
    for index, value in enumerate(clause.values):
        for fault in _value(clause, value, known):
            yield fault.under(("values", index))
    if clause.ignore_case and native and clause.operator not in _CASED:
        yield Fault(("ignore_case",), f"{clause.operator.value} has no letters", "leave it out")
    if clause.missing is Missing.NOW and clause.operator not in TIME_OPERATORS:
        yield Fault(("missing",), "now stands in for dates only", "choose no_match or false")


def _attribute(clause: Clause, known: Known) -> Iterator[Fault]:
    if clause.operator is Operator.IN_SEGMENT:
        return
    if clause.operator is Operator.SERVES:
        yield from known.flag_faults(("attribute",), clause.attribute)
    elif not clause.attribute:
        yield Fault(("attribute",), "is missing", "name what the clause reads, such as plan")


def _value(clause: Clause, value: Any, known: Known) -> Iterator[Fault]:
    if clause.operator is Operator.IN_SEGMENT:
        yield from known.segment_faults((), value)
    elif clause.operator is Operator.SERVES:
        yield from known.variant_faults((), clause.attribute, value)
    elif not isinstance(value, (str, int, float)):
        yield Fault((), f"should be text, a number, true or false, not {quoted(value)}")
    elif clause.operator is Operator.MATCHES:
        yield from _pattern(value)
    elif clause.dialect is Dialect.NATIVE:
        yield from _native(clause.operator, value)


def _native(operator: Operator, value: Any) -> Iterator[Fault]:
    if operator in STRING_OPERATORS:
        if not isinstance(value, str):
            yield Fault((), f"should be text, not {quoted(value)}", "put it in quotes")
    elif operator in NUMBER_OPERATORS:
        found = number(value)
        if found is None or not math.isfinite(found):
            yield Fault((), f"should be a number, not {quoted(value)}")
    elif reads := _READS.get(operator):
        read, wanted, hint = reads
        if read(value) is None:
            yield Fault((), f"should be {wanted}, not {quoted(value)}", hint)


_Read = Callable[[Any], Any]

_READS: Final[dict[Operator, tuple[_Read, str, str]]] = {
    **dict.fromkeys(
        TIME_OPERATORS,
        (moment, "a time in RFC 3339 with an offset", 'as "2026-01-31T09:00:00Z"'),
    ),
    **dict.fromkeys(
        SEMVER_OPERATORS,
        (semver, "a Semantic Version", 'as "2.1.0", in quotes'),
    ),
    Operator.IN_CIDR: (network, "an address or a network", 'as "10.0.0.0/8" or "2001:db8::/32"'),
}

_RE2_HINT: Final = "RE2 runs in linear time: it has no backreferences and no lookaround"
_NOT_IN_RE2: Final = (
    ("(?=", "a lookahead"),
    ("(?!", "a negative lookahead"),
    ("(?<=", "a lookbehind"),
    ("(?<!", "a negative lookbehind"),
    ("(?>", "an atomic group"),
    ("(?P=", "a backreference by name"),
    ("(?#", "a comment"),
    *((f"\\{digit}", "a backreference") for digit in range(1, 10)),
)


def _pattern(value: Any) -> Iterator[Fault]:
    if not isinstance(value, str):
        yield Fault((), f"should be a regular expression as text, not {quoted(value)}")
        return
    try:
        compile_pattern(value)
    except (re2.error, UnicodeError) as error:
        construct = next(
            (f"{name} {quoted(text)}" for text, name in _NOT_IN_RE2 if text in value), ""
        )
        said = error.args[0] if error.args else error
        reason = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        message = f"{quoted(value)} is no regular expression that RE2 takes"
        message += f", because of {construct}" if construct else f": {reason}"
        yield Fault((), message, _RE2_HINT if construct else None)
