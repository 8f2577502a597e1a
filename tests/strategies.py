"""Hypothesis strategies for valid flags, segments, flag sets and contexts, as rich as the model.

Attributes, kinds and values come from small pools, so that clauses match now and then.
"""

from hypothesis import strategies as st

from downhaul.context import Context
from downhaul.flag import (
    TARGETING_KEY,
    WHOLE,
    Bucketing,
    Clause,
    Dialect,
    Flag,
    FlagKind,
    FlagSet,
    FlagType,
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
    Weight,
)

KINDS = ("user", "organisation", "device")
ATTRIBUTES = ("plan", "age", "since", "version", "ip", "roles", "/address/city", TARGETING_KEY)
TEXTS = ("pro", "free", "Pro", "", "de", "10", "a b", "日本", "é")
NUMBERS = (0, 1, -1, 5, 5.0, 2.5, 1e20, -0.0)
TIMES = ("2026-01-31T09:00:00Z", "2025-12-31T23:59:59.123456+02:00", "2026-01-31T09:00:00-05:30")
VERSIONS = ("1.0.0", "2.1.3", "2.1.3-rc.1", "2.1.3+build.5", "10.0.0-alpha")
NETWORKS = ("10.0.0.0/8", "192.168.1.7", "2001:db8::/32", "10.1.2.3/16")
PATTERNS = ("^pro", "[0-9]+$", "(?i)PRO|free", ".*", "é+")

STRING_OPERATORS = (Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.CONTAINS)
LIST_OPERATORS = (Operator.HAS_ANY, Operator.HAS_ALL, Operator.SET_EQUALS, Operator.SUBSET_OF)
NUMBER_OPERATORS = (
    Operator.EQUAL,
    Operator.LESS,
    Operator.LESS_OR_EQUAL,
    Operator.GREATER,
    Operator.GREATER_OR_EQUAL,
)
TIME_OPERATORS = (
    Operator.SAME_TIME,
    Operator.BEFORE,
    Operator.AFTER,
    Operator.AT_OR_BEFORE,
    Operator.AT_OR_AFTER,
)
SEMVER_OPERATORS = tuple(one for one in Operator if one.value.startswith("semver_"))
CASED = (*STRING_OPERATORS, Operator.MATCHES, *LIST_OPERATORS, Operator.IN)

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
"""Any text that a document can hold."""

keys = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+~é日-]{0,11}", fullmatch=True)
"""Keys of flags and segments."""

targeting_keys = st.sampled_from(["user-1", "user-2", "user-3", "日本", "a,b c"]) | texts.filter(
    bool
)
tags = st.from_regex(r"[A-Za-z0-9é]([A-Za-z0-9 :_-]{0,8}[A-Za-z0-9])?", fullmatch=True)
kinds = st.sampled_from(KINDS)
scalars = (
    st.sampled_from(TEXTS)
    | texts
    | st.booleans()
    | st.sampled_from(NUMBERS)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
json_values = st.recursive(
    st.none() | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
"""Any JSON data within a document's limits."""

_VALUES = {
    FlagKind.STRING: texts,
    FlagKind.NUMBER: st.sampled_from(NUMBERS) | st.integers(-(2**63), 2**63 - 1),
    FlagKind.OBJECT: st.dictionaries(texts, json_values, max_size=3)
    | st.lists(json_values, max_size=3),
}


@st.composite
def bucketings(draw, schemes=tuple(Scheme)):
    """Bucketings of every scheme."""
    scheme = draw(st.sampled_from(schemes))
    total = WHOLE
    if scheme in (Scheme.SPLIT, Scheme.SPLIT_LEGACY):
        total = 100
    elif scheme is Scheme.UNLEASH:
        total = draw(st.sampled_from([100, 1000, WHOLE]))
    elif scheme is Scheme.DOWNHAUL:
        total = draw(st.sampled_from([WHOLE, WHOLE, 100, 7]))
    elif scheme is Scheme.FLIPPER:
        total = draw(st.sampled_from([100, WHOLE]))
    seed = None
    if scheme not in (Scheme.DOWNHAUL, Scheme.FLIPPER):
        least = 0 if scheme is Scheme.UNLEASH else -(2**31)
        seed = draw(st.none() | st.integers(least, 2**32 - 1))
    return Bucketing(
        scheme=scheme,
        salt=draw(st.none() | texts),
        seed=seed,
        by=draw(
            st.just((TARGETING_KEY,))
            | st.lists(st.sampled_from(ATTRIBUTES), min_size=1, max_size=2).map(tuple)
        ),
        context_kind=draw(kinds),
        no_key=draw(st.sampled_from(NoKey)),
        total=total,
    )


@st.composite
def splits(draw, variants, *, fall_through=False, schemes=tuple(Scheme)):
    """Splits over some of the variants, whose weights add up."""
    bucketing = draw(st.just(Bucketing()) | bucketings(schemes))
    names = list(variants) + ([None] if fall_through else [])
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    edges = sorted(draw(st.integers(0, bucketing.total)) for _ in chosen[1:])
    sizes = [high - low for low, high in zip([0, *edges], [*edges, bucketing.total], strict=True)]
    return Split(tuple(map(Weight, chosen, sizes)), bucketing)


@st.composite
def gates(draw, variants=()):
    """Audience gates, with somebody outside where there are variants."""
    bucketing = draw(st.just(Bucketing()) | bucketings())
    outside = draw(st.none() | st.sampled_from(list(variants))) if variants else None
    return Gate(draw(st.integers(0, bucketing.total)), bucketing, outside)


def _values_for(operator, dialect):
    native = {
        **dict.fromkeys(STRING_OPERATORS, st.sampled_from(TEXTS) | texts),
        **dict.fromkeys(NUMBER_OPERATORS, st.sampled_from(NUMBERS)),
        **dict.fromkeys(TIME_OPERATORS, st.sampled_from(TIMES)),
        **dict.fromkeys(SEMVER_OPERATORS, st.sampled_from(VERSIONS)),
        Operator.IN_CIDR: st.sampled_from(NETWORKS),
    }.get(operator, scalars)
    return native if dialect is Dialect.NATIVE else native | scalars


@st.composite
def clauses(draw, segments=(), flags=()):
    """Clauses of every operator and dialect; of segments and flags where there are some to name."""
    possible = set(Operator)
    if not segments:
        possible.remove(Operator.IN_SEGMENT)
    if not flags:
        possible.remove(Operator.SERVES)
    operator = draw(st.sampled_from(sorted(possible)))
    dialect = draw(st.sampled_from(Dialect))
    least = 1 if dialect is Dialect.NATIVE else 0
    attribute = draw(st.sampled_from(ATTRIBUTES) | texts.filter(bool))
    if operator is Operator.PRESENT:
        values = ()
    elif operator is Operator.IN_SEGMENT:
        attribute = ""
        values = draw(st.lists(st.sampled_from(list(segments)), min_size=1, max_size=2))
    elif operator is Operator.SERVES:
        flag = draw(st.sampled_from(list(flags)))
        attribute = flag.key
        values = draw(st.lists(st.sampled_from(list(flag.variants)), min_size=1, max_size=2))
    elif operator is Operator.MATCHES:
        values = draw(st.lists(st.sampled_from(PATTERNS), min_size=least, max_size=2))
    else:
        values = draw(st.lists(_values_for(operator, dialect), min_size=least, max_size=3))
    missing = [Missing.NO_MATCH, Missing.FALSE]
    if operator in TIME_OPERATORS:
        missing.append(Missing.NOW)
    return Clause(
        attribute=attribute,
        operator=operator,
        values=tuple(values),
        negate=draw(st.booleans()),
        ignore_case=operator in CASED and draw(st.booleans()),
        context_kind=draw(kinds),
        missing=draw(st.sampled_from(missing)),
        dialect=dialect,
    )


def _clauses(segments, flags):
    return st.lists(clauses(segments, flags), max_size=3).map(tuple)


@st.composite
def segments(draw, key=keys, known=(), flags=()):
    """Segments; nested in those whose keys are ``known``."""
    lists = st.lists(st.builds(Keys, st.frozensets(targeting_keys, max_size=3), kinds), max_size=2)
    rules = st.builds(SegmentRule, _clauses(known, flags), st.none() | gates())
    return Segment(
        key=draw(key),
        included=tuple(draw(lists)),
        excluded=tuple(draw(lists)),
        rules=tuple(draw(st.lists(rules, max_size=2))),
        description=draw(texts),
        tags=tuple(draw(st.lists(tags, max_size=2))),
        version=draw(texts),
    )


@st.composite
def _targets(draw, variants):
    used = set()
    targets = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(kinds)
        mine = frozenset(
            one
            for one in draw(st.frozensets(targeting_keys, max_size=3))
            if (kind, one) not in used
        )
        used.update((kind, one) for one in mine)
        targets.append(Target(draw(st.sampled_from(variants)), mine, kind))
    return tuple(targets)


@st.composite
def _prerequisites(draw, known):
    chosen = draw(st.lists(st.sampled_from(list(known)), max_size=2)) if known else []
    return tuple(
        Prerequisite(
            flag.key,
            tuple(draw(st.lists(st.sampled_from(list(flag.variants)), max_size=2, unique=True))),
            draw(st.booleans()),
            draw(st.booleans()),
        )
        for flag in chosen
    )


@st.composite
def _variants(draw, kind):
    if kind is FlagKind.BOOLEAN:
        names = draw(st.permutations(["on", "off"]) | st.just(["yes", "no", "also yes"]))
        return {name: name not in ("off", "no") for name in names}
    names = draw(
        st.lists(
            texts.filter(lambda one: one and one.isprintable()), min_size=1, max_size=4, unique=True
        )
    )
    return {name: draw(_VALUES[kind]) for name in names}


@st.composite
def _rules(draw, variants, known_segments, known_flags):
    found = draw(st.integers(0, 3))
    ids = draw(st.lists(keys, min_size=found, max_size=found, unique=True))
    return tuple(
        Rule(
            serve=draw(st.sampled_from(variants) | splits(variants, fall_through=True)),
            clauses=draw(_clauses(known_segments, known_flags)),
            gate=draw(st.none() | gates(variants)),
            id=draw(st.sampled_from(["", one])),
            description=draw(texts),
        )
        for one in ids
    )


@st.composite
def flags(draw, key=keys, segments=(), others=(), schemes=tuple(Scheme)):
    """Flags of every kind; they name ``segments`` (keys) and ``others`` (flags) where given."""
    kind = draw(st.sampled_from(FlagKind))
    variants = draw(_variants(kind))
    names = list(variants)
    return Flag(
        key=draw(key),
        default=draw(st.sampled_from(names) | splits(names, schemes=schemes)),
        kind=kind,
        variants=variants,
        off_variant=draw(st.none() | st.sampled_from(names)),
        on=draw(st.booleans()),
        targets=draw(_targets(names)),
        rules=draw(_rules(names, segments, others)),
        prerequisites=draw(_prerequisites(others)),
        tags=tuple(draw(st.lists(tags, max_size=2))),
        owner=draw(texts),
        description=draw(texts),
        type=draw(st.sampled_from(FlagType)),
        version=draw(texts),
    )


@st.composite
def flag_sets(draw, most=4):
    """Flag sets without cycles: each names only what stands before it."""
    made_segments, made_flags = [], []
    for key in draw(st.lists(keys, max_size=most // 2, unique=True)):
        known = [one.key for one in made_segments]
        made_segments.append(draw(segments(key=st.just(key), known=known)))
    known = [one.key for one in made_segments]
    for key in draw(st.lists(keys, max_size=most, unique=True)):
        made_flags.append(draw(flags(key=st.just(key), segments=known, others=made_flags)))
    return FlagSet.of(made_flags, made_segments)


_attributes = st.dictionaries(
    st.sampled_from(["plan", "age", "since", "version", "ip", "roles", "address", "extra"]),
    scalars
    | st.sampled_from(TIMES + VERSIONS)
    | st.sampled_from(["10.1.2.3", "2001:db8::1"])
    | st.lists(scalars, max_size=3)
    | st.fixed_dictionaries({"city": st.sampled_from(TEXTS)})
    | st.none(),
    max_size=5,
)


@st.composite
def contexts(draw):
    """Contexts of one kind or of several, with and without targeting keys."""
    key = st.none() | st.just("") | targeting_keys
    chosen = draw(st.lists(kinds, min_size=1, max_size=3, unique=True))
    return Context.multi(*(Context(draw(key), draw(_attributes), kind) for kind in chosen))
