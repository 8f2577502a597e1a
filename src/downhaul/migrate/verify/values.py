"""The values that tell two readings of a clause apart: on each side of its edges, and odd ones.

They are made from the clause's operator and its values. Whether the clause matches one is asked of
the evaluator, and never assumed here.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from downhaul.evaluator import split, unleash
from downhaul.evaluator.operators import LIST_OPERATORS, moment, network
from downhaul.flag import TARGETING_KEY, Clause, Dialect, Operator
from downhaul.migrate.verify.patterns import samples

PER_CLAUSE: Final = 80
"""The most values that are tried for one clause; what is left out is counted."""

_WHOLE: Final = 3
"""Values of a clause that are tried with all their neighbours; of the others only themselves."""

_KNOWN: Final = 12
"""Values of a clause that are tried at all, besides the last."""


class _Missing:
    """Stands for an attribute that is not there."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class Tried:
    """A value to try, and how it lies to the clause, in words that tell nothing of anybody."""

    value: Any
    about: str


@dataclass(frozen=True, slots=True)
class Values:
    """The values of one clause. ``left_out`` of the clause's own values are not tried."""

    tried: tuple[Tried, ...]
    left_out: int = 0


ODD: Final = (
    Tried(MISSING, "the attribute is missing"),
    Tried(None, "null"),
    Tried("", "empty text"),
    Tried(True, "true"),
    Tried(False, "false"),
    Tried(1, "the number 1"),
    Tried("1", "the text 1"),
    Tried(0, "the number 0"),
    Tried("true", "the text true"),
    Tried(1.5, "the number 1.5"),
    Tried([], "an empty list"),
    Tried(["downhaul"], "a list of something else"),
    Tried("downhaul", "something else"),
)
"""What any clause is asked about, whatever it compares with."""


def values_of(clause: Clause) -> Values:
    """Return the values to try for a clause that names an attribute. Always the same ones."""
    known = list(clause.values)
    asked = [*known[:_KNOWN], *known[-1:]] if len(known) > _KNOWN else known
    found = list(_every(clause, asked))
    odd = [one for one in ODD if _fits(clause, one.value)]
    unique = {_typed(one.value): one for one in reversed([*found, *odd])}
    ordered = [*dict.fromkeys(_typed(one.value) for one in [*found, *odd])]
    tried = [unique[name] for name in ordered if _fits(clause, unique[name].value)]
    # What is asked of every clause stays; neighbours of later values give way.
    kept = [one for one in tried if one in odd]
    room = PER_CLAUSE - len(kept)
    special = [one for one in tried if one not in odd]
    return Values((*special[:room], *kept), len(known) - len(asked) + len(special[room:]))


def _every(clause: Clause, asked: list[Any]) -> Iterator[Tried]:
    neighbours = _neighbours(clause)
    if clause.operator in LIST_OPERATORS:
        yield from _lists(asked)
    for number, value in enumerate(asked, 1):
        if number <= _WHOLE:
            for found, about in neighbours(value):
                yield Tried(found, f"value {number}{about}")
    for number, value in enumerate(asked[_WHOLE:], _WHOLE + 1):
        fitting = next(iter(neighbours(value)), (value, ""))
        yield Tried(fitting[0], f"value {number}{fitting[1]}")


def _fits(clause: Clause, value: Any) -> bool:
    """A targeting key is text; anything else can't be asked."""
    return clause.attribute != TARGETING_KEY or value is MISSING or isinstance(value, str)


def _typed(value: Any) -> tuple[str, str]:
    return type(value).__name__, repr(value)


Neighbour = tuple[Any, str]
Neighbours = Callable[[Any], Iterator[Neighbour]]


def _neighbours(clause: Clause) -> Neighbours:
    """Return what gives a value and those near it, the value itself (or one that fits) first."""
    if clause.operator in _TIMES:
        return lambda value: _times(value, clause.dialect)
    return _NEAR.get(clause.operator, _equals)


# --- equality and text


def _equals(value: Any) -> Iterator[Neighbour]:
    if isinstance(value, str):
        yield from _texts(value)
        yield from _read(value)
    elif isinstance(value, bool):
        yield value, ""
        yield not value, ", the other one"
        yield str(value).lower(), " as text"
        yield int(value), " as a number"
    elif isinstance(value, (int, float)):
        yield from _numbers(value)
    else:
        yield value, ""
    yield [value], " in a list"
    yield ["downhaul", value], " last in a list"


def _read(text: str) -> Iterator[Neighbour]:
    """Yield what a text says, where it says a number or a truth: two types, one look."""
    number = _number(text)
    if number is not None:
        yield number, " as a number"
    if text.lower() in ("true", "false"):
        yield text.lower() == "true", " as a truth"


def _texts(value: Any) -> Iterator[Neighbour]:
    if not isinstance(value, str):
        yield value, ""
        return
    yield value, ""
    yield f"{value}x", " and a letter after it"
    yield f"x{value}", " and a letter before it"
    if value:
        yield value[:-1], " less its last letter"
        yield value[1:], " less its first letter"
    for other in (value.swapcase(), value.upper(), value.casefold()):
        if other != value:
            yield other, " in other case"
    yield f" {value} ", " with spaces around it"
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, value)
        if other != value:
            yield other, f" in {form}"
    yield [value], " in a list"


def _matching(value: Any) -> Iterator[Neighbour]:
    for sample in samples(value) if isinstance(value, str) else ():
        yield from ((one, f", a guess at it{about}") for one, about in _texts(sample))


# --- numbers, times, versions, addresses


_LARGEST: Final = 1e300
"""Beyond it there are whole numbers that are no floats, and infinity."""


def _number(value: Any) -> float | int | None:
    if isinstance(value, str):
        found = split.whole_in(value)
        return unleash.number(value) if found is None else found
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _numbers(value: Any) -> Iterator[Neighbour]:
    number = _number(value)
    if number is None or abs(number) > _LARGEST:
        yield from _texts(value)
        return
    yield number, ""
    for step in (1, -1, 0.5, -0.5):
        yield number + step, f", {abs(step)} {'more' if step > 0 else 'less'}"
    yield str(number), " as text"
    yield f" {number}", " as text after a space"
    if float(number) == number:
        whole = int(number) == number
        yield (float(number) if isinstance(number, int) else number), " as a float"
        if whole:
            yield int(number), " as a whole number"
    yield -number, " with the other sign"


_TIMES: Final = frozenset({
    Operator.SAME_TIME, Operator.BEFORE, Operator.AFTER,
    Operator.AT_OR_BEFORE, Operator.AT_OR_AFTER,
})  # fmt: skip

_SECOND: Final = 1_000_000


def _instant(value: Any, dialect: Dialect) -> int | None:
    """Return a clause's time in microseconds."""
    if dialect is Dialect.SPLIT:
        found = split.moment(value)
        return moment(value) if found is None else found
    if dialect is Dialect.UNLEASH:
        nanos = unleash.moment(unleash.text_of(value))
        return None if nanos is None else nanos // 1000
    return moment(value, Dialect.LAUNCHDARKLY)


def _times(value: Any, dialect: Dialect) -> Iterator[Neighbour]:
    at = _instant(value, dialect)
    if at is None:
        yield from _texts(value)
        return
    steps = {0: "", 1: ", a second later", -1: ", a second before"}
    if dialect is Dialect.SPLIT:  # compares by the minute, and for equality by the day
        steps |= {60: ", a minute later", -60: ", a minute before"}
        steps |= {86_400: ", a day later", -86_400: ", a day before"}
    for step, about in steps.items():
        there = at + step * _SECOND
        for written, how in _written(there, dialect):
            yield written, f"{about}{how}"
    yield "yesterday", " in words"


def _written(at: int, dialect: Dialect) -> Iterator[Neighbour]:
    try:
        time = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=at)
        elsewhere = time.astimezone(dt.timezone(dt.timedelta(hours=2)))
    except OverflowError:
        return
    text, seconds = time.isoformat().replace("+00:00", "Z"), at // _SECOND
    if dialect is Dialect.SPLIT:
        yield seconds, " in seconds"
        yield text, ""
        return
    yield text, ""
    yield elsewhere.isoformat(), " in another zone"
    if dialect is Dialect.LAUNCHDARKLY:
        yield at // 1000, " in milliseconds"
        yield str(at // 1000), " in milliseconds as text"


_VERSION: Final = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(.*)", re.DOTALL | re.ASCII)


def _versions(value: Any) -> Iterator[Neighbour]:
    found = _VERSION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        yield from _texts(value)
        return
    major, minor, patch = (int(found[part] or 0) for part in (1, 2, 3))
    plain = f"{major}.{minor}.{patch}"
    yield value, ""
    yield plain, ", the release itself"
    yield f"{major}.{minor}.{patch + 1}", ", the next patch"
    yield f"{major}.{minor + 1}.0", ", the next minor version"
    yield f"{major + 1}.0.0", ", the next major version"
    yield _before(major, minor, patch), ", the version before"
    yield f"{plain}-0", ", its first pre-release"
    yield f"{plain}-rc.1", ", a pre-release"
    yield f"{value}+build", ", with a build"
    yield f"{major}.{minor}", ", without patch"
    yield str(major), ", the major version alone"
    yield f"v{value}", ", with a v"
    yield major, ", the major version as a number"


def _before(major: int, minor: int, patch: int) -> str:
    if patch:
        return f"{major}.{minor}.{patch - 1}"
    if minor:
        return f"{major}.{minor - 1}.999"
    return f"{major - 1}.999.999" if major else "0.0.0-0"


def _addresses(value: Any) -> Iterator[Neighbour]:
    found = network(value)
    if found is None:
        yield from _texts(value)
        return
    first, last = int(found.network_address), int(found.broadcast_address)
    family = ipaddress.IPv4Address if found.version == 4 else ipaddress.IPv6Address  # noqa: PLR2004
    yield str(family(first)), ", its first address"
    yield str(family(last)), ", its last address"
    if first > 0:
        yield str(family(first - 1)), ", the address before it"
    if last + 1 < 1 << found.max_prefixlen:
        yield str(family(last + 1)), ", the address after it"
    if found.version == 4:  # noqa: PLR2004
        yield f"::ffff:{family(first)}", ", its first address as a socket of both families has it"
    yield f" {family(first)} ", ", its first address with spaces around it"
    yield str(found), ", the network itself"
    yield first, ", its first address as a number"


# --- lists


def _lists(values: list[Any]) -> Iterator[Tried]:
    yield Tried(list(values), "all of the values")
    yield Tried([*values, "downhaul"], "all of the values and one more")
    yield Tried([*reversed(values)], "all of the values the other way round")
    yield Tried([*values, *values], "all of the values twice")
    if values:
        yield Tried(values[:-1], "all of the values but the last")
        yield Tried(values[:1], "the first value alone")
        yield Tried([values[0], "downhaul"], "the first value and something else")
    yield Tried(",".join(map(str, values)), "the values as one text")
    cased = [one.swapcase() if isinstance(one, str) else one for one in values]
    if cased != values:
        yield Tried(cased, "all of the values in other case")
    texts = [unleash.text_of(one) for one in values]
    if texts != values:
        yield Tried(texts, "all of the values as text")


_NEAR: Final[Mapping[Operator, Neighbours]] = {
    Operator.MATCHES: _matching,
    **dict.fromkeys((Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.CONTAINS), _texts),
    **dict.fromkeys((Operator.EQUAL, Operator.LESS, Operator.LESS_OR_EQUAL), _numbers),
    **dict.fromkeys((Operator.GREATER, Operator.GREATER_OR_EQUAL), _numbers),
    **{one: _versions for one in Operator if one.value.startswith("semver")},
    Operator.IN_CIDR: _addresses,
}
