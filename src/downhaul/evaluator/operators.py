"""What a clause's operator does with one value of an attribute.

:func:`tester` compiles operator, values and dialect once; what it returns is called at each
evaluation and never raises, whatever an application put into its context.

The dialects differ in what they take for a number, a date or a version:

- native: numbers are numbers (a boolean is none), dates are RFC 3339 strings or ``datetime``
  objects with an offset, versions are Semantic Versioning 2.0.0;
- launchdarkly: dates may also be Unix milliseconds; versions may lack minor or patch (``2.1``);
- split: as its SDK for Python reads them, which :mod:`downhaul.evaluator.split` tells; times are
  Unix seconds, compared by the day for equality and by the minute for order;
- unleash: every value is a string first (``True`` is ``true``), and is read from it as
  :mod:`downhaul.evaluator.unleash` tells.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import re2

from downhaul.evaluator import split, unleash
from downhaul.evaluator.unleash import text_of
from downhaul.flag import Clause, Dialect, Operator

Test = Callable[[Any], bool]

_STRING: Final = frozenset(
    {Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.CONTAINS, Operator.MATCHES}
)
LISTS: Final = (list, tuple, set, frozenset)
"""What a list attribute may be: whatever ends when it is walked through."""

LIST_OPERATORS: Final = frozenset(
    {Operator.HAS_ANY, Operator.HAS_ALL, Operator.SET_EQUALS, Operator.SUBSET_OF}
)
_ORDER: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQUAL: operator.eq,
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
}
_TIME: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    Operator.SAME_TIME: operator.eq,
    Operator.BEFORE: operator.lt,
    Operator.AFTER: operator.gt,
    Operator.AT_OR_BEFORE: operator.le,
    Operator.AT_OR_AFTER: operator.ge,
}
_SEMVER: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    Operator.SEMVER_EQUAL: operator.eq,
    Operator.SEMVER_LESS: operator.lt,
    Operator.SEMVER_LESS_OR_EQUAL: operator.le,
    Operator.SEMVER_GREATER: operator.gt,
    Operator.SEMVER_GREATER_OR_EQUAL: operator.ge,
}

_TEXT: Final[dict[Dialect, Callable[[Any], Any]]] = {
    Dialect.SPLIT: split.text_of,
    Dialect.UNLEASH: text_of,
}
"""How a dialect makes text of a value before it looks at it; the others take it as it is."""

_UNLEASH: Final[dict[Operator, Callable[[Any], float | None]]] = {
    **dict.fromkeys(_ORDER, unleash.number),
    **dict.fromkeys(_TIME, unleash.moment),
}

_DAY: Final = 86_400_000_000  # microseconds
_MINUTE: Final = 60_000_000
_LATEST: Final = 1 << 63  # milliseconds; what is beyond is no time (nor is infinity)
_REGEX_MEMORY: Final = 8 << 20  # bytes that one compiled pattern may take


def tester(clause: Clause) -> Test:
    """Return the test that an operator makes of one value (of a whole list for list operators).

    Values that can't be read under the operator never match; a flag that came through
    :mod:`downhaul.documents` has none.
    """
    kind, values, dialect = clause.operator, clause.values, clause.dialect
    test: Test = lambda value: value is not None  # noqa: E731  (the rest reads no attribute)
    if kind is Operator.IN:
        test = _membership(values, dialect, clause.ignore_case)
    elif kind in _STRING:
        test = _strings(kind, values, dialect, clause.ignore_case)
    elif kind in LIST_OPERATORS:
        test = _sets(kind, values, dialect, clause.ignore_case)
    elif dialect is Dialect.UNLEASH and (read := _UNLEASH.get(kind)):
        compare = unleash.equal if kind is Operator.EQUAL else (_ORDER | _TIME)[kind]
        test = _ordered(compare, values, lambda value: read(text_of(value)))
    elif kind in _ORDER:
        test = _ordered(_ORDER[kind], values, lambda value: number(value, dialect))
    elif kind in _TIME:
        test = _times(kind, values, dialect)
    elif kind in _SEMVER:
        test = _ordered(_SEMVER[kind], values, lambda value: semver(value, dialect))
    elif kind is Operator.IN_CIDR:
        test = _networks(values, dialect)
    return test


def _ordered(
    compare: Callable[[Any, Any], bool], values: Iterable[Any], read: Callable[[Any], Any]
) -> Test:
    return _against(compare, [one for one in map(read, values) if one is not None], read)


def _against(
    compare: Callable[[Any, Any], bool], known: list[Any], read: Callable[[Any], Any]
) -> Test:
    if len(known) == 1:
        (only,) = known

        def against_one(value: Any) -> bool:
            found = read(value)
            return found is not None and compare(found, only)

        return against_one

    def against_any(value: Any) -> bool:
        found = read(value)
        return found is not None and any(compare(found, one) for one in known)

    return against_any


def _times(kind: Operator, values: tuple[Any, ...], dialect: Dialect) -> Test:
    if dialect is not Dialect.SPLIT:
        return _ordered(_TIME[kind], values, lambda value: moment(value, dialect))
    grain = _DAY if kind is Operator.SAME_TIME else _MINUTE
    known = [one // grain for one in map(_split_moment, values) if one is not None]

    def read(value: Any) -> int | None:
        found = split.moment(value)
        return None if found is None else found // grain

    return _against(_TIME[kind], known, read)


def _split_moment(value: Any) -> int | None:
    """Read a time that stands in a rule: seconds, as the context has it, or RFC 3339."""
    found = split.moment(value)
    return moment(value) if found is None else found


# --- equality and strings


def _typed(value: Any) -> Any:
    """Return a key under which equal JSON values of one type are equal, and True is not 1."""
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, (str, int, float)):
        return value
    return None


def _membership(values: tuple[Any, ...], dialect: Dialect, ignore_case: bool) -> Test:
    if dialect is Dialect.SPLIT and any(isinstance(one, bool) for one in values):
        known_booleans = frozenset(one for one in values if isinstance(one, bool))
        return lambda value: split.boolean(value) in known_booleans
    read = _TEXT.get(dialect)
    if read is not None:
        values = tuple(map(read, values))
    fold = _fold_of(dialect, ignore_case)
    known = frozenset(_typed(fold(one)) for one in values) - {None}

    def member(value: Any) -> bool:
        if read is not None:
            value = read(value)
        typed = _typed(fold(value))
        return typed is not None and typed in known

    return member


def _fold_of(dialect: Dialect, ignore_case: bool) -> Callable[[Any], Any]:
    """Return what makes two texts the same that differ in case only; other values stay."""
    if not ignore_case:
        return lambda value: value
    fold = str.lower if dialect is Dialect.UNLEASH else str.casefold
    return lambda value: fold(value) if isinstance(value, str) else value


def _strings(kind: Operator, values: tuple[Any, ...], dialect: Dialect, ignore_case: bool) -> Test:
    if kind is Operator.MATCHES:
        return _patterns(values, dialect, ignore_case)
    fold, read = _fold_of(dialect, ignore_case), _TEXT.get(dialect)
    needles = tuple(fold(one) for one in values if isinstance(one, str))

    def test(value: Any) -> bool:
        if read is not None:
            value = read(value)
        if not isinstance(value, str):
            return False
        value = fold(value)
        if kind is Operator.STARTS_WITH:
            return bool(value.startswith(needles))
        if kind is Operator.ENDS_WITH:
            return bool(value.endswith(needles))
        return any(needle in value for needle in needles)

    return test


def compile_pattern(pattern: str, *, ignore_case: bool = False) -> Any:
    """Compile a regular expression that runs in linear time (RE2 syntax).

    Raises re2.error for what RE2 refuses: backreferences, lookaround, or a pattern too large.
    """
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    options.max_mem = _REGEX_MEMORY
    return re2.compile(pattern, options)


def _patterns(values: tuple[Any, ...], dialect: Dialect, ignore_case: bool) -> Test:
    compiled, read = [], _TEXT.get(dialect)
    for pattern in values:
        try:
            if isinstance(pattern, str):
                compiled.append(compile_pattern(pattern, ignore_case=ignore_case))
        except (re2.error, UnicodeError):
            continue  # documented above: what can't be read never matches

    def test(value: Any) -> bool:
        if read is not None:
            value = read(value)
        if not isinstance(value, str):
            return False
        try:
            return any(pattern.search(value) is not None for pattern in compiled)
        except UnicodeEncodeError:  # a lone surrogate is no text
            return False

    return test


def _sets(kind: Operator, values: tuple[Any, ...], dialect: Dialect, ignore_case: bool) -> Test:
    wanted = frozenset(_element(one, dialect, ignore_case) for one in values)
    if None in wanted:
        # No list has what can't be read, so none can have it among others.
        if kind in (Operator.HAS_ALL, Operator.SET_EQUALS):
            return lambda _value: False
        wanted -= {None}

    def test(value: Any) -> bool:
        if dialect is Dialect.SPLIT:
            held = split.elements(value)
            if held is None:
                return False
            value = list(held)
        if not isinstance(value, LISTS):
            return False
        found = {_element(one, dialect, ignore_case) for one in value}
        if kind is Operator.HAS_ANY:
            return not wanted.isdisjoint(found)
        if kind is Operator.HAS_ALL:
            return wanted <= found
        if kind is Operator.SET_EQUALS:
            return wanted == found
        return bool(found) and found <= wanted

    return test


def _element(value: Any, dialect: Dialect, ignore_case: bool) -> Any:
    if dialect is Dialect.UNLEASH:
        value = text_of(value)
    return _typed(_fold_of(dialect, ignore_case)(value))


# --- numbers, times, versions, networks: None is "can't be read as one"


def number(value: Any, dialect: Dialect = Dialect.NATIVE) -> float | int | None:
    """Read a number. Integers stay exact; NaN is none."""
    if dialect is Dialect.SPLIT:
        return split.number(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return value if isinstance(value, float) and not math.isnan(value) else None


_RFC3339: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d+))?([Zz]|[+-]\d{2}:?\d{2})",
    re.ASCII,
)


def moment(value: Any, dialect: Dialect = Dialect.NATIVE) -> int | None:
    """Read a point in time, as microseconds since 1970 in UTC. A time without an offset is none."""
    if isinstance(value, dt.datetime):
        return None if value.utcoffset() is None else _microseconds(value)
    if isinstance(value, str):
        return _moment_in(value)
    if dialect is Dialect.LAUNCHDARKLY:
        found = number(value)
        if found is not None and abs(found) < _LATEST:
            return int(found * 1000)
        if isinstance(found, float) and math.isfinite(found):
            return int(found) * 1000  # its SDK compares it all the same
    return None


def _moment_in(text: str) -> int | None:
    found = _RFC3339.fullmatch(text)
    if found is None:
        return None
    day, clock, fraction, offset = found.groups()
    offset = "+00:00" if offset in "Zz" else offset
    # Six digits are what datetime holds; a finer fraction only matters below a microsecond.
    micros = (fraction or "")[:6].ljust(6, "0")
    try:
        seconds = dt.datetime.fromisoformat(f"{day}T{clock}{offset}")
        return _microseconds(seconds) + int(micros)
    except ValueError:
        return None


_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _microseconds(value: dt.datetime) -> int:
    return (value - _EPOCH) // dt.timedelta(microseconds=1)


_SEMVER_TEXT: Final = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
_WIDEST: Final = (1 << 64) - 1  # the engine of Unleash's SDKs keeps each number in 64 bits
_SHORT: Final = re.compile(r"(\d+)(\.\d+)?([-+].*)?", re.ASCII | re.DOTALL)


def semver(value: Any, dialect: Dialect = Dialect.NATIVE) -> tuple[Any, ...] | split.Version | None:
    """Read a Semantic Version, as what orders as section 11 of its specification says."""
    if dialect is Dialect.SPLIT:
        return split.version(value)
    if not isinstance(value, str) or len(value) > 256:  # noqa: PLR2004  (no version is longer)
        return None
    if dialect is Dialect.LAUNCHDARKLY and (short := _SHORT.fullmatch(value)):
        value = f"{short[1]}{short[2] or '.0'}.0{short[3] or ''}"
    found = _SEMVER_TEXT.fullmatch(value)
    if found is None:
        return None
    major, minor, patch, before = found.groups()
    if dialect is Dialect.UNLEASH and any(int(one) > _WIDEST for one in (major, minor, patch)):
        return None
    # A release comes after all of its pre-releases; numbers come before words.
    parts: tuple[Any, ...] = (1,)
    if before is not None:
        parts = (
            0,
            tuple(
                (0, int(part), "") if part.isdigit() else (1, 0, part) for part in before.split(".")
            ),
        )
    return int(major), int(minor), int(patch), *parts


def network(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Read an address or a network in CIDR notation; host bits may be set."""
    if not isinstance(value, str):
        return None
    try:
        return ipaddress.ip_network(value.strip(), strict=False)
    except ValueError:
        return None


def _networks(values: tuple[Any, ...], dialect: Dialect) -> Test:
    known = [one for one in map(network, values) if one is not None]
    read = unleash.address if dialect is Dialect.UNLEASH else _address

    def test(value: Any) -> bool:
        address = read(value)
        if address is None:
            return False
        if any(address in one for one in known):
            return True
        # A socket for both families shows an IPv4 client as ::ffff:a.b.c.d. It is the same client.
        mapped = getattr(address, "ipv4_mapped", None) if dialect is Dialect.NATIVE else None
        return mapped is not None and any(mapped in one for one in known)

    return test


def _address(value: Any) -> unleash.Address | None:
    try:
        return ipaddress.ip_address(value.strip()) if isinstance(value, str) else None
    except ValueError:
        return None
