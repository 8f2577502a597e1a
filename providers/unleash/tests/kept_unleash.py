"""Hypothesis strategies for flags of which Unleash can keep much, and for contexts to ask with."""

from hypothesis import strategies as st
from strategies import TIMES, VERSIONS, bucketings, splits

from downhaul import Context
from downhaul.flag import (
    TARGETING_KEY,
    Bucketing,
    Clause,
    Dialect,
    Flag,
    FlagKind,
    FlagSet,
    Gate,
    Keys,
    Missing,
    NoKey,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Segment,
    SegmentRule,
    Split,
    Target,
)

WORDS = ("pro", "free", "Pro", "de", "10", "2.5", "a b", "日本", "true")
PEOPLE = ("user-1", "user-2", "user-3", "日本", "a,b c")
ATTRIBUTES = ("plan", "age", "since", "version", "extra")
KINDS = ("user", "user", "organisation")

_TEXTS = (Operator.IN, Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.CONTAINS)
_NUMBERS = (
    Operator.EQUAL,
    Operator.LESS,
    Operator.LESS_OR_EQUAL,
    Operator.GREATER,
    Operator.GREATER_OR_EQUAL,
)
_TIMES = (
    Operator.SAME_TIME,
    Operator.BEFORE,
    Operator.AFTER,
    Operator.AT_OR_BEFORE,
    Operator.AT_OR_AFTER,
)
_VERSIONS = tuple(one for one in Operator if one.value.startswith("semver_"))


def _some(values, most=3):
    return st.lists(values, min_size=1, max_size=most).map(tuple)


_operations = st.one_of(
    st.tuples(st.sampled_from(_TEXTS), _some(st.sampled_from(WORDS))),
    st.tuples(st.just(Operator.IN), _some(st.sampled_from(WORDS) | st.booleans() | st.integers())),
    st.tuples(st.sampled_from(_NUMBERS), _some(st.sampled_from((0, 5, 10, 2.5, -3)), 2)),
    st.tuples(st.sampled_from(_TIMES), _some(st.sampled_from((TIMES[0], TIMES[2])), 2)),
    st.tuples(st.sampled_from(_VERSIONS), _some(st.sampled_from(VERSIONS), 2)),
    st.tuples(st.just(Operator.MATCHES), _some(st.sampled_from(("^p", "[0-9]+$", "o|e")), 2)),
    st.just((Operator.PRESENT, ())),
)


@st.composite
def clauses(draw, segments=()):
    """A clause that Unleash has words for, mostly."""
    if segments and draw(st.integers(0, 4)) == 0:
        named = tuple(draw(st.lists(st.sampled_from(segments), min_size=1, max_size=2)))
        return Clause("", Operator.IN_SEGMENT, named, negate=draw(st.booleans()))
    operator, values = draw(_operations)
    texts = operator in _TEXTS and operator is not Operator.IN
    return Clause(
        draw(st.sampled_from((*ATTRIBUTES, TARGETING_KEY))),
        operator,
        values,
        negate=draw(st.booleans()),
        ignore_case=texts and draw(st.booleans()),
        context_kind=draw(st.sampled_from(KINDS)),
        missing=draw(st.sampled_from((Missing.NO_MATCH, Missing.FALSE))),
        dialect=draw(st.sampled_from((Dialect.NATIVE, Dialect.LAUNCHDARKLY, Dialect.UNLEASH))),
    )


def hashes():
    """Bucketings without lots: everybody's hash, and Unleash's own with any stickiness."""
    by_lot = (NoKey.RANDOM, NoKey.FIRST)
    return st.one_of(
        bucketings(tuple(one for one in Scheme if one is not Scheme.RANDOM)).filter(
            lambda how: how.no_key not in by_lot
        ),
        st.sampled_from([Bucketing(Scheme.SPLIT, seed=17, total=100), Bucketing(salt="s")]),
        st.builds(
            Bucketing,
            st.just(Scheme.UNLEASH),
            st.sampled_from(("g", "ü", 'a"b')),
            by=st.sampled_from(((TARGETING_KEY,), ("plan",))),
            no_key=st.just(NoKey.MISS),
            total=st.just(100),
        ),
    )


@st.composite
def serves(draw, names, *, fall_through):
    """One variant, or a split by some hash."""
    if draw(st.booleans()):
        return draw(st.sampled_from(names))
    made = draw(splits(names, fall_through=fall_through))
    how = draw(hashes())
    total = sum(one.weight for one in made.weights)
    if how.total != total:
        edges = sorted(draw(st.integers(0, how.total)) for _ in made.weights[1:])
        sizes = [high - low for low, high in zip([0, *edges], [*edges, how.total], strict=True)]
        made = Split(
            tuple(
                type(one)(one.variant, size) for one, size in zip(made.weights, sizes, strict=True)
            )
        )
    return Split(made.weights, how)


@st.composite
def rules(draw, names, segments):
    gate = None
    if draw(st.integers(0, 2)) == 0:
        how = draw(hashes())
        outside = draw(st.none() | st.sampled_from(names))
        gate = Gate(draw(st.integers(0, how.total)), how, outside)
    found = tuple(draw(st.lists(clauses(segments), max_size=2)))
    return Rule(draw(serves(names, fall_through=True)), found, gate)


@st.composite
def targets(draw, names):
    left = list(PEOPLE)
    made = []
    for name in draw(st.lists(st.sampled_from(names), max_size=2, unique=True)):
        users = draw(st.frozensets(st.sampled_from(left), max_size=2)) if left else frozenset()
        left = [one for one in left if one not in users]
        made += [Target(name, users)] if users else []
    return tuple(made)


@st.composite
def segments(draw, key, known):
    keys = st.builds(
        Keys, st.frozensets(st.sampled_from(PEOPLE), max_size=2), st.sampled_from(KINDS)
    )
    gate = draw(st.none() | st.builds(lambda how: Gate(how.total // 3, how), hashes()))
    found = tuple(draw(st.lists(clauses(known), max_size=2)))
    return Segment(
        key,
        tuple(draw(st.lists(keys, max_size=1))),
        tuple(draw(st.lists(keys, max_size=1))),
        (SegmentRule(found, gate),) if draw(st.booleans()) else (),
    )


@st.composite
def flags(draw, key, known, others):
    kind = draw(st.sampled_from((FlagKind.BOOLEAN, FlagKind.BOOLEAN, *FlagKind)))
    variants = {
        FlagKind.BOOLEAN: {"on": True, "off": False},
        FlagKind.STRING: {"b": "B", "A": "a", "c d": "x y"},
        FlagKind.NUMBER: {"one": 1, "half": 0.5},
        FlagKind.OBJECT: {"full": {"a": [1]}, "none": {}},
    }[kind]
    names = list(variants)
    off = "off" if kind is FlagKind.BOOLEAN else draw(st.none() | st.sampled_from(names))
    needs = ()
    if others and draw(st.integers(0, 3)) == 0:
        needs = (Prerequisite(draw(st.sampled_from(others)), negate=draw(st.booleans())),)
    return Flag(
        key=key,
        kind=kind,
        variants=variants,
        off_variant=off,
        default=draw(serves(names, fall_through=False)),
        on=draw(st.integers(0, 4)) > 0,
        targets=draw(targets(names)),
        rules=tuple(draw(st.lists(rules(names, known), max_size=3))),
        prerequisites=needs,
    )


@st.composite
def flag_sets(draw):
    """Flags and segments, of which each names only what stands before it."""
    made_segments = []
    for number in range(draw(st.integers(0, 2))):
        known = tuple(one.key for one in made_segments)
        made_segments.append(draw(segments(f"s{number}", known)))
    known = tuple(one.key for one in made_segments)
    made = []
    for number in range(draw(st.integers(1, 4))):
        made.append(draw(flags(f"f{number}", known, [one.key for one in made])))
    return FlagSet.of(made, made_segments)


_attributes = st.dictionaries(
    st.sampled_from(ATTRIBUTES),
    st.sampled_from((*WORDS, *TIMES, *VERSIONS, ""))
    | st.booleans()
    | st.integers(-5, 12)
    | st.sampled_from((2.5, 5.0))
    | st.none(),
    max_size=5,
)


@st.composite
def contexts(draw):
    """Contexts of one kind or two, with and without keys. Lists and objects are told apart."""
    key = st.none() | st.sampled_from(PEOPLE) | st.integers(0, 500).map(str)
    chosen = draw(st.sampled_from((["user"], ["user"], ["organisation"], ["user", "organisation"])))
    return Context.multi(*(Context(draw(key), draw(_attributes), kind) for kind in chosen))
