"""Flag sets that Split can mostly keep: as rich as the model, with names and clauses made tame."""

from dataclasses import replace

from hypothesis import strategies as st
from strategies import VERSIONS, flags

from downhaul.flag import (
    USER,
    Clause,
    Flag,
    FlagSet,
    Missing,
    NoKey,
    Operator,
    Scheme,
    Split,
)

NAMES = ("agent", "b", "Checkout", "d-e_f")
_MOSTLY = st.sampled_from([True, True, True, False])


_WORDS = st.sampled_from(["pro", "free", "Pro", "de", "10", "a b", "日本"])
_NUMBERS = st.integers(-2, 20) | st.sampled_from([5.0, 10.0])
_VALUES = {
    **dict.fromkeys(
        (
            Operator.IN,
            Operator.STARTS_WITH,
            Operator.ENDS_WITH,
            Operator.CONTAINS,
            Operator.HAS_ANY,
            Operator.HAS_ALL,
            Operator.SET_EQUALS,
            Operator.SUBSET_OF,
        ),
        _WORDS,
    ),
    **dict.fromkeys(
        (
            Operator.EQUAL,
            Operator.LESS,
            Operator.LESS_OR_EQUAL,
            Operator.GREATER,
            Operator.GREATER_OR_EQUAL,
        ),
        _NUMBERS,
    ),
    Operator.MATCHES: st.sampled_from(["^pro", "[0-9]+$", "(?i)PRO|free", ".*", "é+"]),
    **dict.fromkeys(
        (
            Operator.SEMVER_EQUAL,
            Operator.SEMVER_LESS_OR_EQUAL,
            Operator.SEMVER_GREATER_OR_EQUAL,
        ),
        st.sampled_from(VERSIONS),
    ),
}


@st.composite
def _tame_clause(draw, clause):
    """Return a clause that Split has a word for; one that asks for another flag stays as it is."""
    if clause.operator is Operator.SERVES:
        return clause
    attribute = draw(st.sampled_from(["plan", "age", "roles", "version"]))
    missing = draw(st.sampled_from([Missing.NO_MATCH, Missing.FALSE]))
    negate = draw(st.booleans())
    if draw(st.integers(0, 9)) == 0:
        return Clause(attribute, Operator.PRESENT, negate=negate)
    operator = draw(st.sampled_from(sorted(_VALUES)))
    values = draw(st.lists(_VALUES[operator], min_size=1, max_size=3))
    if operator is Operator.IN and draw(st.booleans()):
        values = draw(st.lists(_WORDS | _NUMBERS | st.booleans(), min_size=1, max_size=3))
    return Clause(
        attribute, operator, tuple(values), negate, missing=missing, dialect=clause.dialect
    )


@st.composite
def _tame(draw, flag):
    """Return a flag with users for targets and clauses of attributes, all of it or most."""
    off = next((name for name, value in flag.variants.items() if value is False), None)
    off = off or flag.off_variant or next(iter(flag.variants))
    rules = []
    for rule in flag.rules:
        clauses = rule.clauses
        if draw(_MOSTLY):
            clauses = tuple(draw(_tame_clause(one)) for one in clauses)
        rules.append(replace(rule, clauses=clauses))
    targets = [replace(one, context_kind=USER) for one in flag.targets]
    seen = set()
    for place, one in enumerate(targets):
        targets[place] = replace(one, keys=one.keys - seen)
        seen |= one.keys
    needed = flag.prerequisites
    if needed and draw(_MOSTLY):
        targets = [replace(one, variant=off) for one in targets]
    return replace(
        flag, on=draw(_MOSTLY), off_variant=off, rules=tuple(rules), targets=tuple(targets)
    )


@st.composite
def flag_sets(draw, most=3):
    """Flag sets without cycles: each flag names only what stands before it."""
    made: list[Flag] = []
    for key in NAMES[: draw(st.integers(1, most))]:
        flag = draw(flags(key=st.just(key), others=made))
        made.append(flag if draw(st.integers(0, 9)) == 0 else draw(_tame(flag)))
    return FlagSet.of(made)


def by_lot(flag_set):
    """Return whether anything in a flag set is decided by lot."""
    return any(
        how.scheme is Scheme.RANDOM or how.no_key is NoKey.RANDOM
        for flag in flag_set.flags.values()
        for how in bucketings_of(flag)
    )


def bucketings_of(flag):
    """Yield whatever users of a flag are told apart by."""
    for serve in (*(one.serve for one in flag.rules), flag.default):
        if isinstance(serve, Split):
            yield serve.bucketing
    yield from (one.gate.bucketing for one in flag.rules if one.gate is not None)
